//! Many counters are set at once, in the order of their ids: two that set the same ones wait for each other, and never both.

use super::change;
use super::change_errors::ChangeError;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::process;
use crate::rows::members::Scope;

const WHAT: &str = "counters to set";

/// Sets each counter to its value, of this node where several count; of an id that comes again, the last value holds. Returns how many counters were set.
pub fn set_many<'a>(
    ids: impl ExactSizeIterator<Item = &'a [u8]>,
    values: impl ExactSizeIterator<Item = i64>,
) -> Result<u64, CounterError> {
    if ids.len() != values.len() {
        return Err(ChangeError::ValuesDiffer { ids: ids.len(), values: values.len() }.into());
    }
    let mut wanted =
        fallible::collect(ids.zip(values).enumerate().map(|(at, (id, value))| (id, at, value)), WHAT)?;
    wanted.sort_unstable();
    let entered = change::enter_to_set("counter_set_many", Scope::Own)?;
    let mut set = 0;
    for same in wanted.chunk_by(|(a, ..), (b, ..)| a == b) {
        let Some((id, _, value)) = same.last() else { continue };
        process::check_for_interrupts();
        change::set_in(entered, id, *value, Scope::Own)?;
        set += 1;
    }
    Ok(set)
}

/// Ids in their order, each once.
pub fn sorted<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Result<Vec<&'a [u8]>, CounterError> {
    let mut ids = fallible::collect(ids, "ids to drop")?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
