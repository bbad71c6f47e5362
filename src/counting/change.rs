//! Increments, and the changes that read first: reset, set; `dropping` and `moving` have the others.
//!
//! Whoever reads first takes the id to the end of the transaction (`id_locks`), so that two of them cannot
//! take the same amount. Increments do not take it: they go on, and are kept.

use super::{folding, id_locks, read, share, transaction};
use crate::errors::CounterError;
use crate::family::{self, Change, Operation, followed};
use crate::memory::buffer;
use crate::memory::epochs::Recovered;
use crate::pg::lock::{self, Subject};
use crate::pg::{Oid, process, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::members::{self, Scope};
use crate::rows::remove;
use crate::settings;

/// Checks that the caller may count.
pub fn enter(function: &'static str) -> Result<(Tables, u32), CounterError> {
    let level = xact::nest_level();
    Ok((transaction::enter_to_change(function, Purpose::Count, level)?, level))
}

/// As `enter`, where it is another's rights that count.
pub fn enter_for(user: Oid, function: &'static str) -> Result<(Tables, u32), CounterError> {
    let level = xact::nest_level();
    Ok((transaction::enter_to_change_for(user, function, Purpose::Count, level)?, level))
}

/// As `enter_for`, for what must be in rows when it commits, in whatever mode.
pub fn enter_to_count_in_rows(user: Oid, function: &'static str) -> Result<(Tables, u32), CounterError> {
    let level = xact::nest_level();
    Ok((transaction::enter_to_count_in_rows(user, function, level)?, level))
}

/// Adds a delta of a checked id to the transaction.
pub fn increment(entered: (Tables, u32), id: &[u8], delta: i64) -> Result<(), CounterError> {
    increment_by(entered, id, delta, None)
}

/// Checks that the caller may count, and locks what is written to rows at once.
pub fn enter_to_rows(function: &'static str) -> Result<(Tables, u32), CounterError> {
    let entered = enter(function)?;
    access::lock_slot_for_writing(entered.0);
    Ok(entered)
}

/// As `increment`, of what happened at another time: in rows at once. The caller has entered to rows.
pub fn increment_at(
    (tables, _): (Tables, u32),
    id: &[u8],
    delta: i64,
    at_us: i64,
) -> Result<(), CounterError> {
    transaction::add_booked(tables, id, delta, at_us)?;
    tell(id, i128::from(delta), Operation::Increment, None)
}

/// Adds a delta of a checked id to the transaction, and returns what a read says next in it.
pub fn add(id: &[u8], delta: i64) -> Result<i64, CounterError> {
    let entered = enter("counter_add")?;
    let readable = read::enter()?;
    increment(entered, id, delta)?;
    read::current(readable, id)
}

/// As `increment`, by an actor whom the audit log is to name.
pub fn increment_by(
    (tables, level): (Tables, u32),
    id: &[u8],
    delta: i64,
    actor: Option<&[u8]>,
) -> Result<(), CounterError> {
    transaction::add(tables, id, delta, level)?;
    tell(id, i128::from(delta), Operation::Increment, actor)
}

/// As `increment`, also by more than a bigint.
pub fn increment_wide((tables, level): (Tables, u32), id: &[u8], delta: i128) -> Result<(), CounterError> {
    transaction::add_wide(tables, id, delta, level)?;
    tell(id, delta, Operation::Increment, None)
}

/// Writes what counters are to be mended by to rows at once.
pub fn mend(tables: Tables, drifts: Vec<(Vec<u8>, i128)>) -> Result<(), CounterError> {
    for (id, drift) in &drifts {
        tell(id, *drift, Operation::Set, None)?;
    }
    transaction::add_to_rows_now(tables, drifts)
}

/// Tells the families of a change.
pub(super) fn tell(
    id: &[u8],
    delta: i128,
    operation: Operation,
    actor: Option<&[u8]>,
) -> Result<(), CounterError> {
    family::counter_changed(Change { id, delta, operation, actor })
}

/// Takes the whole amount away, of this node or of all, and returns it. What others increment meanwhile stays.
pub fn reset(id: &[u8], scope: Scope) -> Result<i64, CounterError> {
    let level = xact::nest_level();
    let tables = transaction::enter_to_change("counter_reset", Purpose::Take, level)?;
    members::check_may_take(scope)?;
    id_locks::take(tables, id)?;
    let recovered = folding::ensure_recovered(tables)?;
    let value = share::amount(&recovered, tables, id, scope)?;
    // BOUND: an id.
    let value = i64::try_from(value).map_err(|_| CounterError::TotalOutOfRange { id: id.to_vec() })?;
    if value != 0 {
        transaction::add_wide(tables, id, -i128::from(value), level)?;
        tell(id, -i128::from(value), Operation::Reset, None)?;
    }
    Ok(value)
}

/// Makes the value, of this node or of all, what is asked for. What others increment meanwhile comes on top.
pub fn set(id: &[u8], value: i64, scope: Scope) -> Result<(), CounterError> {
    let entered = enter_to_set("counter_set", scope)?;
    set_in(entered, id, value, scope)
}

/// Checks that the caller may set such amounts.
pub fn enter_to_set(function: &'static str, scope: Scope) -> Result<(Tables, u32), CounterError> {
    let entered = enter(function)?;
    members::check_may_take(scope)?;
    Ok(entered)
}

/// As `set`, where the caller has entered.
pub fn set_in(
    (tables, level): (Tables, u32),
    id: &[u8],
    value: i64,
    scope: Scope,
) -> Result<(), CounterError> {
    id_locks::take(tables, id)?;
    let recovered = folding::ensure_recovered(tables)?;
    let before = share::amount(&recovered, tables, id, scope)?;
    transaction::add_wide(tables, id, i128::from(value) - before, level)?;
    tell(id, i128::from(value) - before, Operation::Set, None)
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

/// Brings counters to nothing, rows and pending deltas alike, since what they count is emptied. What is there now decides, not
/// what was counted: rows of the counters may be gone already, and may still go in this transaction. The caller has entered to
/// count in rows.
pub fn empty<Id: AsRef<[u8]>>(
    (tables, level): (Tables, u32),
    ids: impl IntoIterator<Item = Id>,
) -> Result<(), CounterError> {
    let recovered = folding::ensure_recovered(tables)?;
    between_passes(tables, || {
        for id in ids {
            let id = id.as_ref();
            process::check_for_interrupts();
            let own = i128::from(transaction::own(tables, id));
            transaction::forget_own(id, level)?;
            let amount = empty_rows(&recovered, tables, id)?.amount + own;
            if amount != 0 {
                tell(id, -amount, Operation::Reset, None)?;
            }
        }
        Ok(())
    })
}

/// Does something while no compaction pass runs, if one that does ends soon.
pub fn between_passes<T>(
    tables: Tables,
    work: impl FnOnce() -> Result<T, CounterError>,
) -> Result<T, CounterError> {
    let are_kept_out = wait_for_pass(tables);
    let done = work();
    if are_kept_out {
        lock::unlock_exclusive(tables.total, Subject::Compaction);
    }
    done
}

/// What there was of an id.
pub(super) struct Gone {
    pub existed: bool,
    pub amount: i128,
    pub unfolded: i64,
    /// What went with rows of counter_ext.total.
    pub from_totals: i128,
}

/// Removes an id's rows, and what is not in rows yet.
pub(super) fn remove_rows(_proof: &Recovered, tables: Tables, id: &[u8]) -> Result<Gone, CounterError> {
    let (snapshot, unfolded) = buffer::snapshot_with_unfolded(read::key(tables, id));
    let node = settings::node();
    let removed = xact::in_scratch_memory(|| remove::remove(tables, node, id, snapshot, unfolded))?;
    if removed.existed || unfolded != 0 {
        transaction::note_touched(tables, id);
        xact::see_own_changes();
        family::totals_changed(tables, id)?;
    }
    Ok(Gone { existed: removed.existed, amount: removed.amount, unfolded, from_totals: removed.from_totals })
}

/// As `remove_rows`, where what followers have of the counter stays: they are told that its total goes.
pub(super) fn empty_rows(proof: &Recovered, tables: Tables, id: &[u8]) -> Result<Gone, CounterError> {
    let gone = remove_rows(proof, tables, id)?;
    followed::book(tables, id, -gone.from_totals, process::now_us())?;
    Ok(gone)
}
