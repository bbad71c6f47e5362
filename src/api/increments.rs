//! `counter_incr` and its batch form.

use pgrx::prelude::*;

use crate::counting::change;
use crate::errors::{CounterError, OrRaise, check_id, given};
use crate::pg::args::{BigintArray, CounterArg, TextArray};

/// Adds `delta` to a counter, in the caller's transaction. Never waits for another transaction's increment.
///
/// Errors: 22023 empty or over-long id; 22003 this transaction's deltas of the counter leave bigint; 25006 read-only
/// transaction or standby; 42501 INSERT or UPDATE on counter_ext.total is missing.
#[pg_extern(strict)]
fn counter_incr(id: CounterArg<'_>, delta: default!(i64, 1)) {
    let increment = || {
        check_id(id.0)?;
        change::increment(change::enter("counter_incr")?, id.0, delta)
    };
    increment().or_raise();
}

/// Adds to many counters at once: `deltas[i]` to `ids[i]`, or 1 to each without `deltas`. An id may repeat.
///
/// Errors: those of `counter_incr`, 22004 NULL array or element, 2202E arrays of different length or dimension;
/// nothing is counted then.
#[pg_extern]
fn counter_incr_many(ids: Option<TextArray<'_>>, deltas: default!(Option<BigintArray<'_>>, "NULL")) {
    increment_many(ids, deltas).or_raise();
}

fn increment_many(ids: Option<TextArray<'_>>, deltas: Option<BigintArray<'_>>) -> Result<(), CounterError> {
    let ids = checked_ids(ids)?;
    let deltas = checked_deltas(deltas, ids.len())?;
    let entered = change::enter("counter_incr_many")?;
    ids.iter().zip(deltas).try_for_each(|(id, delta)| change::increment(entered, id, delta))
}

/// The ids of an array argument, each checked.
pub(super) fn checked_ids(ids: Option<TextArray<'_>>) -> Result<Vec<&[u8]>, CounterError> {
    const ARGUMENT: &str = "ids";
    let ids = given(ARGUMENT, ids)?;
    if ids.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    ids.elements()
        .into_iter()
        .enumerate()
        .map(|(index, id)| {
            let id = id.ok_or(CounterError::NullElement { argument: ARGUMENT, position: index + 1 })?;
            check_id(id)?;
            Ok(id)
        })
        .collect()
}

/// The deltas of an array argument, one an id; 1 each where there is no array.
pub(super) fn checked_deltas(deltas: Option<BigintArray<'_>>, ids: usize) -> Result<Vec<i64>, CounterError> {
    const ARGUMENT: &str = "deltas";
    let Some(deltas) = deltas else {
        return Ok(vec![1; ids]);
    };
    if deltas.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let deltas: Vec<i64> = deltas
        .elements()
        .into_iter()
        .enumerate()
        .map(|(index, delta)| {
            delta.ok_or(CounterError::NullElement { argument: ARGUMENT, position: index + 1 })
        })
        .collect::<Result<_, _>>()?;
    if deltas.len() != ids {
        return Err(CounterError::LengthsDiffer { ids, deltas: deltas.len() });
    }
    Ok(deltas)
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr(id bigint, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text::@extschema@.counter, $2); END;
"#,
    name = "counter_incr_bigint",
    requires = [counter_incr]
);
