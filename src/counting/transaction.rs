//! The transaction's counting state, and what happens to it at savepoints, commit, abort and prepare.
//!
//! Order at commit: PRE_COMMIT buffers what it can in buffered mode (`buffered.rs`), announces the xid and settles other
//! pending deltas into rows (errors abort as any would); PostgreSQL commits; COMMIT adds the same deltas to shared
//! memory, invalidates what was changed in rows directly, and withdraws the announcement. A crash in between loses
//! shared memory as a whole, and rows and journal hold all.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use super::pending::{Delta, NotAdded, Pending};
use super::settle::Rows;
use super::state::{self, Rest, Settled, Touched};
use super::{buffered, fold_end, id_locks, prepared, settle};
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::family::{self, followed};
use crate::journal::errors::JournalError;
use crate::memory::epochs;
use crate::memory::table::Key;
use crate::memory::{self, cells, databases, generations, load, restore_guard, slotted, table, workers};
use crate::pg::{Oid, catalog, lock, privilege, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::bigint_parts;
use crate::settings::{self, Mode};

const WHAT: &str = "what this transaction has counted";

/// Ids a transaction holds pending before it writes them out.
const MAX_PENDING: usize = 65_536;
/// At a savepoint, pending ids of its own that make a spill worth while.
const MIN_SPILL: usize = 1024;

/// The callbacks to register.
pub static HOOKS: xact::Hooks = xact::Hooks {
    participant: xact::Participant::Counting,
    is_idle,
    pre_commit,
    commit,
    abort,
    pre_prepare,
    prepared,
    savepoint_released,
    savepoint_rolled_back,
};

/// Checks that this transaction may change anything.
pub fn check_may_change(function: &'static str) -> Result<(), CounterError> {
    if xact::is_read_only() {
        return Err(if xact::in_recovery() {
            CounterError::InRecovery { function }
        } else {
            CounterError::ReadOnly { function }
        });
    }
    if xact::is_parallel() {
        // A worker's pending deltas would never reach the leader's commit.
        return Err(CounterError::ParallelMode { function });
    }
    if xact::is_ending() { Err(CounterError::AfterSettling) } else { Ok(()) }
}

/// Checks that this call may change counters, for its purpose.
pub fn enter_to_change(function: &'static str, purpose: Purpose, level: u32) -> Result<Tables, CounterError> {
    enter_to_change_for(privilege::current_user(), function, purpose, level)
}

/// As `enter_to_change`, where it is the rights of `user` that count.
pub fn enter_to_change_for(
    user: Oid,
    function: &'static str,
    purpose: Purpose,
    level: u32,
) -> Result<Tables, CounterError> {
    check_may_change(function)?;
    buffered::check_mode()?;
    let to_slots = purpose != Purpose::Count || settings::mode() == Mode::Slotted;
    access::enter_for(user, purpose, level, to_slots)
}

/// As `enter_to_change_for`, for counting: what this transaction counts goes to rows, in whatever mode it is.
///
/// Rows of a cached table and of its counters must be seen by the same snapshots, or what they differ by would depend on
/// when one looks. Buffered deltas are in no row for a while; so a transaction that counts such rows buffers none at all. It
/// has an xid anyway. Kept also when a savepoint is rolled back: rows are right for every delta.
pub fn enter_to_count_in_rows(user: Oid, function: &'static str, level: u32) -> Result<Tables, CounterError> {
    check_may_change(function)?;
    let tables = access::enter_for(user, Purpose::Count, level, true)?;
    note_rows_agree();
    Ok(tables)
}

/// Adds to rows at once, past what is pending: what readers of the rows in this transaction, under snapshots of their own, are to
/// see or not to see as they see other rows.
pub fn add_to_rows_now(tables: Tables, deltas: Vec<(Vec<u8>, i128)>) -> Result<(), CounterError> {
    let mut rows = fallible::with_room(deltas.len(), WHAT)?;
    for (id, delta) in deltas {
        note_touched(tables, &id);
        for net in bigint_parts(delta) {
            fallible::push(&mut rows, Delta { id: fallible::boxed(&id, WHAT)?, net, increments: 1 }, WHAT)?;
        }
    }
    settle::insert_fresh(tables, &rows)
}

/// Adds a delta to a slot row of its own, with the time at which it happened.
pub fn add_booked(tables: Tables, id: &[u8], delta: i64, at_us: i64) -> Result<(), CounterError> {
    note_touched(tables, id);
    state::change(|state| state.spilled += 1);
    settle::insert_booked(tables, id, delta, at_us)?;
    xact::see_own_changes();
    Ok(())
}

/// Ids and their pending deltas.
pub type Own = Vec<(Box<[u8]>, i64)>;

/// This transaction's own pending deltas of the ids that begin with a prefix, in their order.
pub fn own_after_prefix(tables: Tables, prefix: &[u8]) -> Result<Own, OutOfMemory> {
    let own = look_at_own(tables, |pending| {
        let under = pending.each().filter(|(id, _)| id.starts_with(prefix));
        fallible::try_collect(under.map(|(id, net)| Ok((fallible::boxed(id, WHAT)?, net))), WHAT)
    });
    let mut own = own.unwrap_or(Ok(Vec::new()))?;
    own.sort_unstable();
    Ok(own)
}

/// Looks at this transaction's pending deltas for the tables, if it has any.
fn look_at_own<T>(tables: Tables, look: impl FnOnce(&Pending) -> T) -> Option<T> {
    state::look(|state| (state.pending_for == u32::from(tables.total)).then(|| look(&state.pending)))
        .flatten()
}

/// Adds a checked delta of a checked id.
pub fn add(tables: Tables, id: &[u8], delta: i64, level: u32) -> Result<(), CounterError> {
    let relation = u32::from(tables.total);
    let pending = state::change(|state| {
        if state.pending_for != relation {
            if !state.pending.is_empty() {
                return Err(CounterError::CountedBeforeDrop);
            }
            state.pending_for = relation;
        }
        match state.pending.add(id, delta, level) {
            Ok(()) => Ok(state.pending.held()),
            Err(NotAdded::Overflow) => Err(CounterError::PendingOutOfRange { id: id.to_vec() }),
            Err(NotAdded::OutOfMemory(refused)) => Err(refused.into()),
        }
    })?;
    if pending > MAX_PENDING { spill(tables, level) } else { Ok(()) }
}

/// Writes this level's pending deltas to rows, inside the transaction.
fn spill(tables: Tables, level: u32) -> Result<(), CounterError> {
    let mut deltas = state::change(|state| {
        let over = state.pending.held().saturating_sub(MAX_PENDING);
        if level > 1 && over < MIN_SPILL {
            return Ok(Vec::new());
        }
        let deltas = state.pending.take_level(level)?;
        state.spilled += deltas.iter().map(|delta| delta.increments).sum::<u64>();
        Ok::<_, OutOfMemory>(deltas)
    })?;
    if deltas.is_empty() {
        return Ok(());
    }
    for delta in &deltas {
        note_touched(tables, &delta.id);
    }
    // Rows that lie side by side are written one after the other.
    deltas.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    // A transaction that is prepared may hold its rows for days.
    let rows = if lock::max_prepared_transactions() == 0 { Rows::TotalsToo } else { Rows::Slots };
    settle::spill(tables, &deltas, rows)?;
    xact::see_own_changes();
    Ok(())
}

/// Adds a delta of any size. What the pending map cannot hold goes straight to slot rows.
pub fn add_wide(tables: Tables, id: &[u8], delta: i128, level: u32) -> Result<(), CounterError> {
    let net = i128::from(own(tables, id)) + delta;
    if let (Ok(delta), Ok(_)) = (i64::try_from(delta), i64::try_from(net)) {
        return add(tables, id, delta, level);
    }
    // Rows take the whole of it, so that what comes after has all of bigint again.
    forget_own(id, level)?;
    add_to_rows(tables, id, bigint_parts(net))
}

fn add_to_rows(tables: Tables, id: &[u8], deltas: impl Iterator<Item = i64>) -> Result<(), CounterError> {
    let deltas =
        deltas.map(|net| Ok::<_, OutOfMemory>(Delta { id: fallible::boxed(id, WHAT)?, net, increments: 1 }));
    let deltas = fallible::try_collect(deltas, WHAT)?;
    note_touched(tables, id);
    settle::insert_fresh(tables, &deltas)?;
    xact::see_own_changes();
    Ok(())
}

/// Whether this transaction has counted, or changed rows of counters.
pub fn has_changed_any() -> bool {
    state::is_dirty()
}

/// This transaction's own pending delta of an id.
pub fn own(tables: Tables, id: &[u8]) -> i64 {
    look_at_own(tables, |pending| pending.net(id)).flatten().unwrap_or(0)
}

/// Whether this transaction made the counter, or added to it.
pub fn has_own(tables: Tables, id: &[u8]) -> bool {
    look_at_own(tables, |pending| pending.net(id).is_some()).unwrap_or(false)
}

/// Counters that this transaction has pending deltas of.
pub fn own_ids(tables: Tables) -> Result<Vec<Box<[u8]>>, OutOfMemory> {
    let own = look_at_own(tables, |pending| {
        fallible::try_collect(pending.ids().map(|id| fallible::boxed(id, WHAT)), WHAT)
    });
    own.unwrap_or(Ok(Vec::new()))
}

/// Shows the ids of counters that this transaction has pending deltas of, in no order.
pub fn each_own_id(
    tables: Tables,
    see: impl FnMut(&[u8]) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    look_at_own(tables, |pending| pending.ids().try_for_each(see)).unwrap_or(Ok(()))
}

/// This transaction has written rows that must agree with its deltas under any one snapshot, entries of the audit log for one.
/// It has rows to write at commit as it is, so all its deltas go to rows, in whatever mode it is. Kept also when a savepoint
/// is rolled back: rows are right for every delta.
pub fn note_rows_agree() {
    state::change(|state| state.needs_rows = true);
}

/// Forgets this transaction's own pending delta of an id.
pub fn forget_own(id: &[u8], level: u32) -> Result<(), OutOfMemory> {
    state::change_if_dirty(|state| state.pending.forget(id, level)).unwrap_or(Ok(()))
}

/// Forgets all of this transaction's own pending deltas.
pub fn forget_all_own(tables: Tables, level: u32) -> Result<(), OutOfMemory> {
    state::change_if_dirty(|state| {
        if state.pending_for == u32::from(tables.total) { state.pending.forget_all(level) } else { Ok(()) }
    })
    .unwrap_or(Ok(()))
}

/// Notes that this transaction changed rows of an id directly.
pub fn note_touched(tables: Tables, id: &[u8]) {
    state::change(|state| {
        state.touched.relation = u32::from(tables.total);
        state.touched.note(id);
    });
}

/// Notes that this transaction changed rows of any id.
pub fn note_all_touched() {
    state::change(|state| state.touched.all = true);
}

/// Whether an id must be read from rows in this transaction.
pub fn is_touched(id: &[u8]) -> bool {
    state::look(|state| state.touched.contains(id)).unwrap_or(false)
}

/// Rows of the touched ids are written by others than our own functions, this moment or later in the transaction.
pub fn note_by_hand() {
    state::change(|state| state.writes_by_hand = true);
}

/// Has memory know of the slot rows that others have written, before anybody can see them.
fn tell_of_slots_by_hand(touched: &Touched) {
    let database = u32::from(catalog::my_database());
    if touched.all {
        slotted::forget(database);
    } else {
        touched.ids.iter().for_each(|id| slotted::add(database, id));
    }
}

/// The extension's tables are about to be dropped.
pub fn note_extension_dropped(total: Oid) {
    state::change(|state| state.drops_extension = total.into());
}

/// Whether the tables really are dropped by this transaction, at its end.
fn drops_extension() -> bool {
    let total = state::look(|state| state.drops_extension).unwrap_or(0);
    total != 0 && !lock::relation_exists(total.into())
}

/// Rows are being inserted into our tables by hand, as a restore does. Noted before the first of them can be seen, and again
/// when the transaction ends, from which on the session is idle.
pub fn note_restore() {
    if !state::change(|state| std::mem::replace(&mut state.restores, true)) {
        restore_guard::note(u32::from(catalog::my_database()));
    }
}

/// The extension was just created.
pub fn note_extension_created() {
    state::change(|state| state.creates_extension = true);
}

/// This transaction has written deltas to rows that memory is to take at its commit.
fn note_settled(tables: Tables, xid: u32, deltas: Vec<Delta>) {
    let relation = u32::from(tables.total);
    state::change(|state| state.settled = Some(Settled { xid, relation, deltas }));
}

/// A counter's key in memory, for tables that need not be there any more.
pub fn key(relation: u32, id: &[u8]) -> Key<'_> {
    Key { database: u32::from(catalog::my_database()), relation, id }
}

/// Takes the pending deltas, if any, with the tables they are for. Those of tables that this transaction dropped went
/// with them; anything else that hides the tables is an error.
fn take_pending() -> Option<(Tables, Vec<Delta>)> {
    let (relation, deltas) = state::change_if_dirty(|state| {
        (!state.pending.is_empty()).then(|| (state.pending_for, state.pending.take()))
    })
    .flatten()?;
    let deltas = deltas.or_raise();
    match access::find_tables() {
        // The tables are locked since the first increment.
        Some(tables) if u32::from(tables.total) == relation => Some((tables, deltas)),
        _ if lock::relation_exists(relation.into()) => CounterError::CountedBeforeDrop.raise(),
        _ => None,
    }
}

fn is_idle() -> bool {
    let is_untouched = !state::is_dirty() && !generations::is_any_noted();
    is_untouched && access::holds_no_locks() && id_locks::holds_none() && buffered::has_drained_own()
}

fn pre_commit() {
    if state::is_dirty() {
        if !drops_extension() {
            state::change(|state| state.drops_extension = 0);
        }
        fold_end::confirm();
        note_touched_generations();
        state::look(|state| {
            if state.writes_by_hand {
                tell_of_slots_by_hand(&state.touched);
            }
        });
        settle_pending();
    }
    buffered::write_before_commit();
    generations::begin();
}

/// Who remembers something of counters whose rows this transaction has changed itself reads anew.
fn note_touched_generations() {
    state::look(|state| {
        if state.touched.all {
            generations::note_all();
        }
        state.touched.ids.iter().for_each(|id| followed::note_change(id));
    });
}

/// Shows other backends that this transaction is about to commit, until its COMMIT callbacks are over.
pub fn announce() {
    state::change(|_| ());
    cells::announce(u32::from(catalog::my_database()), xact::assign_xid());
}

fn settle_pending() {
    let Some((tables, deltas)) = take_pending() else { return };
    deltas.iter().for_each(|delta| followed::note_change(&delta.id));
    let needs_rows = state::look(|state| state.needs_rows).unwrap_or(false);
    let deltas = if needs_rows { deltas } else { buffered::take_in(tables, deltas) };
    if deltas.is_empty() {
        return;
    }
    let mut deltas = deltas;
    deltas.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let xid = xact::assign_xid();
    cells::announce(u32::from(catalog::my_database()), xid);
    if let Err(error) = settle::settle(tables, &deltas, Rows::TotalsToo) {
        error.raise();
    }
    note_settled(tables, xid, deltas);
}

fn commit() {
    if !state::is_dirty() {
        reset();
        return;
    }
    let database = u32::from(catalog::my_database());
    let buffered = buffered::commit();
    let mut increments = buffered + state::look(|state| state.spilled).unwrap_or(0);
    if let Some(settled) = state::take_settled() {
        settings::stretch_commit_window();
        for delta in &settled.deltas {
            table::add(key(settled.relation, &delta.id), settled.xid, delta.net, delta.increments);
            increments += delta.increments;
        }
        state::keep_memory(settled.deltas);
    }
    let rest = state::take_rest();
    if let Some(touched) = rest.as_ref().and_then(|rest| rest.touched.as_ref()) {
        invalidate(database, touched);
    }
    cells::withdraw();
    if increments > 0 && databases::register(database) {
        cells::count_increments(database, increments, buffered);
        workers::want_worker(database);
    }
    if let Some(rest) = rest {
        tell_rest(database, rest);
    }
    reset();
}

/// Tells memory the rest, after what was touched. Cannot fail.
#[cold]
fn tell_rest(database: u32, rest: Rest) {
    fold_end::commit(database, rest.folds, rest.opens);
    if rest.drops_extension != 0 {
        epochs::close(database);
        memory::purge_extension(database);
        workers::extension_dropped(database);
    }
    if rest.forgets_all > 0 {
        family::all_forgotten(database);
    }
    if rest.restores {
        restore_guard::note(database);
    }
    if rest.creates_extension {
        workers::extension_created(database);
    }
}

/// Has memory forget the ids.
fn invalidate(database: u32, touched: &Touched) {
    if touched.all {
        memory::invalidate_database(database);
    } else {
        for id in &touched.ids {
            table::invalidate(key(touched.relation, id));
        }
        if !touched.ids.is_empty() {
            family::ids_invalidated(database, &|id| touched.ids.contains(id));
        }
    }
}

fn abort() {
    load::abandon();
    buffered::abort();
    cells::withdraw();
    fold_end::abort();
    reset();
}

/// COMMIT PREPARED runs no callback, and may come after a restart. So the ids are marked by locks that the prepared
/// transaction keeps, which bars them from being loaded, and only then invalidated.
fn pre_prepare() {
    buffered::drain_own();
    if !state::is_dirty() {
        return;
    }
    if drops_extension() {
        // COMMIT PREPARED would not tell shared memory.
        CounterError::PreparesDrop.raise();
    }
    if fold_end::is_told() {
        // Nor of this.
        CounterError::from(JournalError::Prepared).raise();
    }
    if state::look(|state| state.forgets_all > 0).unwrap_or(false) {
        // COMMIT PREPARED tells nobody.
        family::all_forgotten(u32::from(catalog::my_database()));
    }
    let Some(tables) = access::find_tables() else { return };
    let deltas = take_pending().map_or_else(Vec::new, |(_, deltas)| deltas);
    for delta in &deltas {
        note_touched(tables, &delta.id);
    }
    // Taken out: marking may wait, and a process that is ended there aborts, which needs the state.
    let touched = state::change(|state| std::mem::take(&mut state.touched));
    prepared::mark(tables, &touched);
    tell_of_slots_by_hand(&touched);
    invalidate(u32::from(catalog::my_database()), &touched);
    if !deltas.is_empty()
        && let Err(error) = settle::settle(tables, &deltas, Rows::Slots)
    {
        error.raise();
    }
}

fn prepared() {
    cells::withdraw();
    reset();
}

fn savepoint_released(level: u32) {
    state::change_if_dirty(|state| {
        state.pending.release(level);
        if state.forgets_all == level {
            state.forgets_all = level - 1;
        }
    });
    fold_end::savepoint_released(level);
    access::hand_locks_down(level);
    id_locks::hand_down(level);
}

fn savepoint_rolled_back(level: u32) {
    load::abandon();
    state::change_if_dirty(|state| {
        state.pending.roll_back(level);
        if state.forgets_all >= level {
            state.forgets_all = 0;
        }
    });
    fold_end::savepoint_rolled_back(level);
    access::forget_locks_above(level);
    id_locks::forget_above(level);
}

fn reset() {
    access::forget_locks();
    id_locks::forget();
    state::reset();
    generations::end();
}
