//! `counter_incr` and its batch form.

use pgrx::prelude::*;

use crate::counting::change;
use crate::errors::{CounterError, OrRaise, check_id, given};
use crate::pg::args::{BigintArray, TextArg, TextArray};

/// Adds `delta` to a counter, in the caller's transaction. Never waits for another transaction's increment.
///
/// Errors: 22023 empty or over-long id; 22003 this transaction's deltas of the counter leave bigint; 25006 read-only
/// transaction or standby; 42501 INSERT or UPDATE on counter_ext.total is missing.
#[pg_extern(strict)]
fn counter_incr(id: TextArg<'_>, delta: default!(i64, 1)) {
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
    ids.zip(deltas).try_for_each(|(id, delta)| change::increment(entered, id, delta))
}

/// The ids of an array argument, each checked.
pub(super) fn checked_ids<'a>(
    ids: Option<TextArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a>, CounterError> {
    const ARGUMENT: &str = "ids";
    let ids = given(ARGUMENT, ids)?;
    if ids.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let ids = ids.elements();
    for (index, id) in ids.clone().enumerate() {
        check_id(id.ok_or(CounterError::NullElement { argument: ARGUMENT, position: index + 1 })?)?;
    }
    Ok(ids.map(Option::unwrap_or_default))
}

/// The deltas of an array argument, one an id; 1 each where there is no array.
pub(super) fn checked_deltas<'a>(
    deltas: Option<BigintArray<'a>>,
    ids: usize,
) -> Result<impl Iterator<Item = i64> + Clone + use<'a>, CounterError> {
    const ARGUMENT: &str = "deltas";
    if deltas.is_some_and(|deltas| deltas.dimensions() > 1) {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let given = deltas.map(BigintArray::elements);
    if let Some(given) = &given {
        if let Some(index) = given.clone().position(|delta| delta.is_none()) {
            return Err(CounterError::NullElement { argument: ARGUMENT, position: index + 1 });
        }
        if given.len() != ids {
            return Err(CounterError::LengthsDiffer { ids, deltas: given.len() });
        }
    }
    // Without deltas all of them are 1, as many as there are ids.
    let ones = if given.is_none() { ids } else { 0 };
    let given = given.into_iter().flatten().map(|delta| delta.unwrap_or(1));
    Ok(given.chain(std::iter::repeat_n(1, ones)))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr(id counter, delta bigint DEFAULT 1) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr(id bigint, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_incr(id uuid, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;
"#,
    name = "counter_incr_ids",
    requires = [counter_incr, "counter_ext_type"]
);
