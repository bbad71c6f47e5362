//! Counters leave this node: what it has of them is taken away, for another node to count.

use super::change::{empty_rows, tell};
use super::reserved::{self, Kind};
use super::{id_locks, listing};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::Operation;
use crate::memory::epochs::Recovered;
use crate::rows::access::Tables;
use crate::rows::bigint_parts;
use crate::rows::list::Id;

const WHAT: &str = "counters that leave";

/// The next ids after one that there is something of here, in order, at most so many.
pub fn ids_after(tables: Tables, after: &[u8], limit: usize) -> Result<Vec<Id>, CounterError> {
    listing::ids(tables, b"", after, limit)
}

/// Takes what is committed of a counter by now, and of what was filtered of it, and adds it to the amounts. What others add meanwhile stays,
/// for the next time. Nobody is waited for: false where somebody sets, resets or drops it. The caller holds the compaction lock, and what
/// `family::try_lock_to_drop` locks.
pub fn take(
    recovered: &Recovered,
    tables: Tables,
    id: &[u8],
    amounts: &mut Vec<(Id, i64)>,
) -> Result<bool, CounterError> {
    if !id_locks::try_take(tables, id)? {
        return Ok(false);
    }
    let filtered = reserved::id(Kind::Filtered, id).ok();
    for each in [Some(id), filtered.as_deref()].into_iter().flatten() {
        let amount = empty_rows(recovered, tables, each)?.amount;
        for part in bigint_parts(amount).filter(|part| *part != 0) {
            fallible::push(amounts, (fallible::boxed(each, WHAT)?, part), WHAT)?;
        }
        if amount != 0 && each == id {
            tell(id, -amount, Operation::Reset, None)?;
        }
    }
    Ok(true)
}
