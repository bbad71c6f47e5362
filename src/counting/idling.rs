//! Counters that nobody increments any more are dropped by the worker.
//!
//! As `dropping`, but nobody is waited for, and a counter goes only where there is nothing of it under way: no row that another transaction
//! holds, no buffered delta. That is looked at again once the id is taken. What is counted and not committed yet is in no row: it
//! makes the counter anew when it commits.

use super::change::tell;
use super::reserved::{self, Kind};
use super::{id_locks, read, transaction};
use crate::errors::CounterError;
use crate::family::{self, Operation};
use crate::memory::buffer;
use crate::memory::epochs::Recovered;
use crate::pg::xact;
use crate::rows::access::Tables;
use crate::rows::idle;
use crate::rows::remove::Removed;
use crate::settings;

/// Drops a counter and what else there is of the id, if nobody has incremented it since a time (microseconds since 2000-01-01). Returns
/// whether it is gone. The caller holds the compaction lock, and what `family::try_lock_to_drop` locks.
pub fn drop_if_idle(
    _proof: &Recovered,
    tables: Tables,
    id: &[u8],
    before_us: i64,
) -> Result<bool, CounterError> {
    if !id_locks::try_take(tables, id)? {
        return Ok(false);
    }
    let Some(removed) = remove_rows(tables, id, before_us)? else { return Ok(false) };
    // What was filtered of it counts as of the same age.
    if let Ok(filtered) = reserved::id(Kind::Filtered, id) {
        remove_rows(tables, &filtered, i64::MAX)?;
    }
    family::counter_dropped(tables, id)?;
    tell(id, -removed.amount, Operation::Drop, None)?;
    Ok(true)
}

fn remove_rows(tables: Tables, id: &[u8], before_us: i64) -> Result<Option<Removed>, CounterError> {
    if transaction::has_own(tables, id) {
        return Ok(None);
    }
    let key = read::key(tables, id);
    // What is buffered before the snapshot is marked after it: nobody folds meanwhile.
    let (mut snapshot, unfolded) = buffer::snapshot_with_unfolded(key);
    if unfolded != 0 || buffer::has_unfolded(key) {
        return Ok(None);
    }
    let node = settings::node();
    let removed = xact::in_scratch_memory(|| idle::remove(tables, node, id, &mut snapshot, before_us))?;
    if removed.is_some() {
        transaction::note_touched(tables, id);
        xact::see_own_changes();
        family::totals_changed(tables, id)?;
    }
    Ok(removed)
}
