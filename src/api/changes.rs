//! `counter_reset`, `counter_set`, `counter_drop`.

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::increments::named_amount;
use crate::counting::{change, dropping};
use crate::errors::OrRaise;
use crate::owners::check_id;
use crate::pg::args::{NumericArg, TextArg};
use crate::rows::members::Scope;

/// Takes a counter's whole amount away, in the caller's transaction, and returns it. Two that reset the same counter
/// wait for each other and never take the same amount; increments go on meanwhile, and are kept. Where several nodes count, it is the amount
/// that this node has counted: no two nodes take the same.
///
/// Errors: those of `counter_incr`; 42501 also without SELECT on counter_ext.total; 55000 one node takes the amounts of all nodes.
#[pg_extern(strict)]
fn counter_reset(id: TextArg<'_>) -> i64 {
    check_id(id.0).and_then(|()| change::reset(id.0, Scope::Own)).or_raise()
}

/// As above; with `everywhere` the amount that all nodes have counted, as far as it has arrived here.
///
/// Errors: those of `counter_reset`; 55000 `everywhere`, and counter_node_harvester() has not named this node on every node.
#[pg_extern(strict, name = "counter_reset")]
fn counter_reset_everywhere(id: TextArg<'_>, everywhere: bool) -> i64 {
    check_id(id.0).and_then(|()| change::reset(id.0, scope(everywhere))).or_raise()
}

fn scope(everywhere: bool) -> Scope {
    if everywhere { Scope::Everywhere } else { Scope::Own }
}

/// Makes a counter's value `value`, in the caller's transaction. Waits for others that set or reset it; what is
/// incremented meanwhile comes on top. Where several nodes count, it is what this node has counted that becomes `value`.
///
/// Errors: those of `counter_incr`; 55000 one node takes the amounts of all nodes.
#[pg_extern(strict)]
fn counter_set(id: TextArg<'_>, value: i64) {
    check_id(id.0).and_then(|()| change::set(id.0, value, Scope::Own)).or_raise()
}

/// As above; with `everywhere` the value of all nodes, as far as it has arrived here, becomes `value`.
///
/// Errors: those of `counter_set`; 55000 `everywhere`, and counter_node_harvester() has not named this node on every node.
#[pg_extern(strict, name = "counter_set")]
fn counter_set_everywhere(id: TextArg<'_>, value: i64, everywhere: bool) {
    check_id(id.0).and_then(|()| change::set(id.0, value, scope(everywhere))).or_raise()
}

/// As above, for a value that `sum()` gives.
///
/// Errors: those of `counter_set`; 22023 a fraction, NaN or an infinity; 22003 beyond bigint; 42804 the id's type names nothing.
#[pg_extern(sql = false)]
fn counter_set_numeric(id: AnyElement, value: NumericArg<'_>) {
    named_amount(&id, "value", value).and_then(|(id, value)| change::set(&id, value, Scope::Own)).or_raise()
}

/// Makes a counter not exist, and what was filtered of it, and forgets the visitors of its id; returns whether there was anything. What is incremented or
/// visited meanwhile makes it anew.
///
/// Errors: 22023, 25006 as `counter_incr`; 42501 DELETE on counter_ext.total is missing, or on counter_ext.visitors where the
/// id has visitors; 55006 another transaction is changing the visitors' rows by hand.
#[pg_extern(strict)]
fn counter_drop(id: TextArg<'_>) -> bool {
    let drop = || {
        check_id(id.0)?;
        dropping::drop_counter(id.0)
    };
    drop().or_raise()
}

extension_sql!(
    r#"
CREATE FUNCTION counter_reset(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_reset_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_reset(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text); END;
CREATE FUNCTION counter_reset(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text); END;
CREATE FUNCTION counter_reset(id counter, everywhere boolean) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_reset_everywhere_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_reset(id bigint, everywhere boolean) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_reset(id uuid, everywhere boolean) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_set(id counter, value bigint, everywhere boolean) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_everywhere_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_set(id bigint, value bigint, everywhere boolean) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_set(id uuid, value bigint, everywhere boolean) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2, $3); END;
-- As those of counter_incr.
CREATE FUNCTION counter_set(id counter, value bigint) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_set(id bigint, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_set(id uuid, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_set(id "any", value numeric) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_numeric_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_set(id smallint, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_set(id integer, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_drop(id counter) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_drop_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_drop(id bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_drop($1::pg_catalog.text); END;
CREATE FUNCTION counter_drop(id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_drop($1::pg_catalog.text); END;
"#,
    name = "counter_changes_ids",
    requires = [
        counter_reset,
        counter_reset_everywhere,
        counter_set,
        counter_set_everywhere,
        counter_drop,
        "counter_ext_type"
    ]
);
