//! Idempotent counting: `counter_incr_once` and `counter_apply`.

use pgrx::prelude::*;

use super::increments::{checked_deltas, checked_ids};
use crate::errors::{CounterError, OrRaise, check_id, check_key, given};
use crate::idempotency;
use crate::pg::args::{BigintArray, CounterArg, TextArg, TextArray};

/// Adds `delta` to a counter unless `token` (1 to 255 bytes) has been seen for it; returns whether it did. Tokens are remembered
/// for `counter_ext.token_retention`. One that another transaction is just using is waited for: if that rolls back, this
/// one counts. The token commits or rolls back with the caller's transaction.
///
/// Errors: those of `counter_incr`; 22023 empty or over-long token; 42501 INSERT on counter_ext.token is missing.
#[pg_extern(strict)]
fn counter_incr_once(id: CounterArg<'_>, delta: i64, token: TextArg<'_>) -> bool {
    let once = || {
        check_id(id.0)?;
        check_key("token", token.0)?;
        idempotency::increment_once(id.0, delta, token.0)
    };
    once().or_raise()
}

/// Adds a batch, `deltas[i]` to `ids[i]` (1 to each without `deltas`), if `upto` is greater than what its source has delivered
/// so far; returns whether it did. Batches of one source are put in order: the second of two concurrent ones waits for
/// the first to end. Offsets may be passed over; counter_ext.source_offset.skipped says how many brought no delta.
///
/// Errors: those of `counter_incr_many`; 22023 empty or over-long source; 22004 NULL source or offset; 42501 INSERT or UPDATE on
/// counter_ext.source_offset is missing; 55006 another transaction changes the source's row by hand.
#[pg_extern]
fn counter_apply(
    source: Option<TextArg<'_>>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: default!(Option<BigintArray<'_>>, "NULL"),
) -> bool {
    apply(source, upto, ids, deltas).or_raise()
}

fn apply(
    source: Option<TextArg<'_>>,
    upto: Option<i64>,
    ids: Option<TextArray<'_>>,
    deltas: Option<BigintArray<'_>>,
) -> Result<bool, CounterError> {
    let source = given("source", source)?;
    check_key("source", source.0)?;
    let upto = given("upto", upto)?;
    let ids = checked_ids(ids)?;
    let deltas = checked_deltas(deltas, ids.len())?;
    idempotency::apply(source.0, upto, ids.len(), ids.zip(deltas))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr_once(id text, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_once(id bigint, delta bigint, token text) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr_once($1::pg_catalog.text::@extschema@.counter, $2, $3); END;
"#,
    name = "counter_idempotency_bigint",
    requires = [counter_incr_once]
);

extension_sql_file!(
    "../../sql/idempotency.sql",
    name = "counter_idempotency_tables",
    requires = ["counter_ext_type"]
);
