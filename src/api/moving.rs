//! `counter_rename`, `counter_merge`, `counter_forget_all`.

use pgrx::prelude::*;

use crate::counting::{forgetting, moving};
use crate::errors::{CounterError, OrRaise};
use crate::owners::check_id;
use crate::pg::args::TextArg;

fn check(from: &[u8], to: &[u8]) -> Result<(), CounterError> {
    check_id(from)?;
    check_id(to)
}

/// Gives a counter another id, in the caller's transaction: its total, what was filtered of it, its visitors and likes. Returns whether
/// there was anything of it. Increments of the old id that commit later are kept, and make the old id anew; nobody waits for them. Tokens
/// and the entries of the audit log keep the old id.
///
/// Errors: those of `counter_incr`; 42710 there is anything of the new id; 55000 a cache keeps one of them; 42501 SELECT, INSERT,
/// UPDATE or DELETE on counter_ext.total is missing, or on counter_ext.visitors where it has visitors, INSERT or DELETE on counter_ext.liked
/// where it has likes; 55006 another transaction is changing the visitors' rows by hand.
#[pg_extern(strict)]
fn counter_rename(from: TextArg<'_>, to: TextArg<'_>) -> bool {
    check(from.0, to.0).and_then(|()| moving::rename(from.0, to.0)).or_raise()
}

/// Makes a counter part of another, in the caller's transaction: totals add up, who visited both or liked both is one. The first is
/// gone then. Returns whether there was anything of it.
///
/// Errors: those of `counter_rename` but 42710; 22023 both are the same; 22003 the sum is out of range for bigint.
#[pg_extern(strict)]
fn counter_merge(from: TextArg<'_>, into: TextArg<'_>) -> bool {
    check(from.0, into.0).and_then(|()| moving::merge(from.0, into.0)).or_raise()
}

/// Forgets everything of this database, in the caller's transaction: counters, buffered increments, likes, visitors, tokens and
/// source offsets, the audit log. For test suites: it waits for open transactions that count, and they for it. Prefixes that are audited,
/// caches, policies and the block list stay. Windows of limits are forgotten when the transaction commits.
///
/// Errors: 25006; 42501 TRUNCATE on one of the tables is missing; 0A000 by PREPARE TRANSACTION where increments were buffered.
#[pg_extern(strict)]
fn counter_forget_all() {
    forgetting::forget_all().or_raise();
}

extension_sql!(
    r#"
CREATE FUNCTION counter_rename("from" counter, "to" counter) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;
CREATE FUNCTION counter_rename("from" bigint, "to" bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;
CREATE FUNCTION counter_rename("from" uuid, "to" uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;
CREATE FUNCTION counter_merge("from" counter, "into" counter) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;
CREATE FUNCTION counter_merge("from" bigint, "into" bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;
CREATE FUNCTION counter_merge("from" uuid, "into" uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;
"#,
    name = "counter_moving_ids",
    requires = [counter_rename, counter_merge, "counter_ext_type"]
);
