//! Many counters at once: `counter_set_many`, `counter_drop_many`, `counter_drop_prefix`.

use pgrx::prelude::*;

use super::increments::checked_ids;
use crate::counting::{bulk, dropping};
use crate::errors::{CounterError, OrRaise, given};
use crate::pg::args::{BigintArray, TextArg, TextArray};

/// Makes each counter's value `values[i]`, in the caller's transaction, and returns how many counters it set. Of an id that
/// repeats, the last value holds. Counters are set in the order of their ids; who sets, resets or drops one of them is waited for.
///
/// Errors: those of `counter_set`, 22004 NULL array or element, 2202E arrays of different length or dimension; nothing is set then.
#[pg_extern]
fn counter_set_many(ids: Option<TextArray<'_>>, values: Option<BigintArray<'_>>) -> i64 {
    let set = || {
        let ids = checked_ids(ids)?;
        bulk::set_many(ids, checked_values(values)?)
    };
    set().or_raise() as i64
}

fn checked_values<'a>(
    values: Option<BigintArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = i64> + use<'a>, CounterError> {
    const ARGUMENT: &str = "values";
    let values = given(ARGUMENT, values)?;
    if values.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument: ARGUMENT });
    }
    let values = values.elements();
    if let Some(index) = values.clone().position(|value| value.is_none()) {
        return Err(CounterError::NullElement { argument: ARGUMENT, position: index + 1 });
    }
    Ok(values.map(Option::unwrap_or_default))
}

/// Drops many counters, as `counter_drop` does one, in the order of their ids, and returns of how many there was anything.
///
/// Errors: those of `counter_drop`, 22004 NULL array or element, 2202E more than one dimension; nothing is dropped then.
#[pg_extern]
fn counter_drop_many(ids: Option<TextArray<'_>>) -> i64 {
    let drop = || dropping::drop_many(&bulk::sorted(checked_ids(ids)?)?);
    drop().or_raise() as i64
}

/// Drops all counters whose ids begin with `prefix`, and forgets the visitors of all such ids; returns of how many there was
/// anything. What is counted meanwhile stays.
///
/// Errors: those of `counter_drop`; 22023 empty or over-long prefix.
#[pg_extern(strict)]
fn counter_drop_prefix(prefix: TextArg<'_>) -> i64 {
    dropping::drop_prefix(prefix.0).or_raise() as i64
}
