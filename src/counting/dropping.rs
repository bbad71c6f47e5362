//! Counters cease to exist: one, many, or all of a prefix.
//!
//! Many go in batches. Of each batch the ids are taken first, in their order, and compaction is kept out after that: nobody is
//! waited for while it is. So whoever folds by hand and holds one of these ids meets no deadlock.

use super::change::{self, between_passes, remove_rows, tell};
use super::change_errors::ChangeError;
use super::reserved::{self, Kind};
use super::{folding, id_locks, listing, read, transaction};
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::family::{self, IdsAfter, Operation};
use crate::memory::epochs::Recovered;
use crate::memory::{buffer, workers};
use crate::pg::{process, xact};
use crate::rows::access::{Purpose, Tables};
use crate::rows::list::Id;

/// Ids that are dropped while compaction is kept out once.
const BATCH: usize = 500;
const WHAT: &str = "ids to drop";

fn enter(function: &'static str) -> Result<(Tables, u32), CounterError> {
    let level = xact::nest_level();
    Ok((transaction::enter_to_change(function, Purpose::Drop, level)?, level))
}

/// Makes the counter not exist, and what else there is of the id. Returns whether there was anything. What others increment
/// meanwhile makes it anew. The families' part runs while compaction is kept out.
pub fn drop_counter(id: &[u8]) -> Result<bool, CounterError> {
    Ok(drop_batch(enter("counter_drop")?, &[id])? > 0)
}

/// Drops counters whose ids are in order. Returns of how many ids there was anything.
pub fn drop_many(ids: &[&[u8]]) -> Result<u64, CounterError> {
    let entered = enter("counter_drop_many")?;
    let mut dropped = 0;
    for batch in ids.chunks(BATCH) {
        dropped += drop_batch(entered, batch)?;
    }
    Ok(dropped)
}

/// Drops all counters whose ids begin with a prefix, and what else there is of such ids. Returns of how many there was anything.
pub fn drop_prefix(prefix: &[u8]) -> Result<u64, CounterError> {
    if prefix.is_empty() {
        return Err(ChangeError::EmptyPrefix.into());
    }
    check_prefix(prefix)?;
    let entered @ (tables, _) = enter("counter_drop_prefix")?;
    let mut dropped = 0;
    let mut after = Id::default();
    loop {
        let mut ids = listing::ids(tables, prefix, &after, BATCH)?;
        let of_families = family::ids_after(tables, IdsAfter { prefix, after: &after, limit: BATCH })?;
        fallible::reserve(&mut ids, of_families.len(), WHAT)?;
        ids.extend(of_families);
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(BATCH);
        let Some(last) = ids.last() else { return Ok(dropped) };
        after = fallible::boxed(last, WHAT)?;
        let batch = fallible::collect(ids.iter().map(|id| &**id), WHAT)?;
        dropped += drop_batch(entered, &batch)?;
    }
}

/// Brings all counters whose ids begin with a prefix to nothing, as TRUNCATE of a cached table does: what was counted of them when, and what else
/// there is of their ids, stays. Returns how many there were. The caller has entered to count in rows.
pub fn empty_prefix(entered @ (tables, _): (Tables, u32), prefix: &[u8]) -> Result<u64, CounterError> {
    let mut emptied = 0;
    let mut after = Id::default();
    loop {
        let ids = listing::ids(tables, prefix, &after, BATCH)?;
        let Some(last) = ids.last() else { return Ok(emptied) };
        after = fallible::boxed(last, WHAT)?;
        change::empty(entered, &ids)?;
        xact::see_own_changes();
        emptied += ids.len() as u64;
    }
}

fn drop_batch((tables, level): (Tables, u32), ids: &[&[u8]]) -> Result<u64, CounterError> {
    for id in ids {
        process::check_for_interrupts();
        id_locks::take(tables, id)?;
        family::drop_asked_for(tables, id)?;
    }
    let recovered = folding::ensure_recovered(tables)?;
    // What was filtered of a counter goes with it. Nobody can name that by itself, so one lock does for both.
    let mut had_buffered = fallible::with_room(ids.len(), WHAT)?;
    for id in ids {
        let filtered = reserved::id(Kind::Filtered, id).ok();
        let mut had_any = false;
        for id in [Some(*id), filtered.as_deref()].into_iter().flatten() {
            had_any |= fold_buffered(&recovered, tables, id)?;
        }
        // BOUND: room was made above.
        had_buffered.push(had_any);
    }
    // A pass holds a counter's rows for milliseconds. Between passes they can be deleted, not just neutralised.
    between_passes(tables, || {
        let mut dropped = 0;
        for (id, had_buffered) in ids.iter().zip(had_buffered) {
            process::check_for_interrupts();
            let had_any = drop_taken(&recovered, (tables, level), id)?;
            dropped += u64::from(had_any || had_buffered);
        }
        Ok(dropped)
    })
}

/// Drops what there is of an id here, as somebody has asked for elsewhere. Nobody is waited for. Returns whether it could. The caller holds the
/// compaction lock, and what `family::try_lock_to_drop` locks.
pub fn drop_here(recovered: &Recovered, tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    if !id_locks::try_take(tables, id)? {
        return Ok(false);
    }
    drop_taken(recovered, (tables, xact::nest_level()), id)?;
    Ok(true)
}

/// Drops what there is of an id that this transaction has taken.
fn drop_taken(
    recovered: &Recovered,
    (tables, level): (Tables, u32),
    id: &[u8],
) -> Result<bool, CounterError> {
    let filtered = reserved::id(Kind::Filtered, id).ok();
    let mut had_any = false;
    let mut was_counted = transaction::has_own(tables, id);
    let mut amount = i128::from(transaction::own(tables, id));
    for each in [Some(id), filtered.as_deref()].into_iter().flatten() {
        had_any |= transaction::has_own(tables, each);
        transaction::forget_own(each, level)?;
        let removed = remove_rows(recovered, tables, each)?;
        had_any |= removed.existed;
        if each == id {
            amount += removed.amount;
            was_counted |= removed.existed || removed.unfolded != 0;
        }
    }
    had_any |= family::counter_dropped(tables, id)?;
    if was_counted {
        tell(id, -amount, Operation::Drop, None)?;
    }
    Ok(had_any)
}

/// Has the id's buffered deltas folded into rows, which can be deleted. Returns whether there were any. Where that cannot be done
/// now, they are taken back by as much, and the counter stays, at nothing.
pub(super) fn fold_buffered(_proof: &Recovered, tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    let key = read::key(tables, id);
    if !buffer::has_unfolded(key) {
        return Ok(false);
    }
    if workers::has_worker(key.database) {
        workers::request_pass(key.database);
    } else {
        folding::fold_here(tables)?;
    }
    Ok(true)
}
