//! Increments, and the changes that read first: reset, set, drop.
//!
//! Whoever reads first takes a lock on the id that lasts to the end of the transaction, so that two of them cannot
//! take the same amount. Increments do not take it: they go on, and are kept.

use super::{read, transaction};
use crate::errors::CounterError;
use crate::memory::{buffer, databases};
use crate::pg::lock::{self, Subject};
use crate::pg::{process, xact};
use crate::rows::access::{Purpose, Tables};
use crate::rows::audit_entry::Operation;
use crate::rows::{audit_pending, audited, remove};
use crate::settings;

/// Checks that the caller may count.
pub fn enter(function: &'static str) -> Result<(Tables, u32), CounterError> {
    let level = xact::nest_level();
    Ok((transaction::enter_to_change(function, Purpose::Count, level)?, level))
}

/// Adds a delta of a checked id to the transaction.
pub fn increment(entered: (Tables, u32), id: &[u8], delta: i64) -> Result<(), CounterError> {
    let (tables, level) = entered;
    transaction::add(tables, id, delta, level)?;
    log(id, i128::from(delta), Operation::Increment)
}

/// Appends a change to the audit log, if the counter is audited.
fn log(id: &[u8], delta: i128, operation: Operation) -> Result<(), CounterError> {
    if audited::is_audited(id)? {
        transaction::note_audited();
        audit_pending::append(id, delta, operation)?;
    }
    Ok(())
}

fn lock_id(tables: Tables, id: &[u8]) {
    lock::lock_exclusive(tables.total, Subject::Change(transaction::id_hash(id)));
}

/// Takes the whole amount away and returns it. What others increment meanwhile stays.
pub fn reset(id: &[u8]) -> Result<i64, CounterError> {
    let level = xact::nest_level();
    let tables = transaction::enter_to_change("counter_reset", Purpose::Take, level)?;
    lock_id(tables, id);
    let value = read::current(tables, id)?;
    if value != 0 {
        transaction::add_wide(tables, id, -i128::from(value), level)?;
        log(id, -i128::from(value), Operation::Reset)?;
    }
    Ok(value)
}

/// Makes the value what is asked for. What others increment meanwhile comes on top.
pub fn set(id: &[u8], value: i64) -> Result<(), CounterError> {
    let level = xact::nest_level();
    let tables = transaction::enter_to_change("counter_set", Purpose::Count, level)?;
    lock_id(tables, id);
    let before = read::current_wide(tables, id)?;
    transaction::add_wide(tables, id, i128::from(value) - before, level)?;
    log(id, i128::from(value) - before, Operation::Set)
}

/// Waits, a little, until no compaction pass runs, and keeps further ones out. False when one takes longer.
fn wait_for_pass(tables: Tables) -> bool {
    const TRIES: usize = 500;
    (0..TRIES).any(|_| {
        let kept_out = lock::try_lock_exclusive(tables.total, Subject::Compaction);
        if !kept_out {
            process::check_for_interrupts();
            process::sleep_us(1000);
        }
        kept_out
    })
}

/// Has the id's buffered deltas folded into rows, which can be deleted. Returns whether there were any. Where the worker
/// cannot do it now, they are taken back by as much, and the counter stays, at nothing.
fn fold_buffered(tables: Tables, id: &[u8]) -> bool {
    let key = read::key(tables, id);
    if !buffer::has_unfolded(key) {
        return false;
    }
    databases::request_pass(key.database);
    true
}

/// Makes the counter not exist, and what else there is of the id. Returns whether there was anything. What others increment
/// meanwhile makes it anew. `drop_others` runs while compaction is kept out.
pub fn drop_counter(
    id: &[u8],
    drop_others: impl FnOnce(Tables) -> Result<bool, CounterError>,
) -> Result<bool, CounterError> {
    let level = xact::nest_level();
    let tables = transaction::enter_to_change("counter_drop", Purpose::Drop, level)?;
    lock_id(tables, id);
    let had_own = transaction::has_own(tables, id);
    let own = transaction::own(tables, id);
    transaction::forget_own(id, level);
    let had_buffered = fold_buffered(tables, id);
    // A pass holds a counter's rows for milliseconds. Between passes they can be deleted, not just neutralised.
    let between_passes = wait_for_pass(tables);
    let (snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(tables, id));
    let removed =
        xact::in_scratch_memory(|| remove::remove(tables, settings::node(), id, snapshot, unfolded))?;
    let had_others = drop_others(tables)?;
    if between_passes {
        lock::unlock_exclusive(tables.total, Subject::Compaction);
    }
    if had_own || removed.existed || unfolded != 0 {
        log(id, -(removed.amount + i128::from(own)), Operation::Drop)?;
    }
    if removed.existed || unfolded != 0 {
        transaction::note_touched(tables, id);
        xact::see_own_changes();
    }
    Ok(had_own || had_buffered || removed.existed || had_others)
}
