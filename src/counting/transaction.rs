//! The transaction's counting state, and what happens to it at savepoints, commit, abort and prepare.
//!
//! Order at commit: PRE_COMMIT buffers what it can in buffered mode (`buffered.rs`), announces the xid and settles other
//! pending deltas into slot rows (errors abort as any would); PostgreSQL commits; COMMIT adds the same deltas to shared
//! memory, invalidates what was changed in rows directly, and withdraws the announcement. A crash in between loses
//! shared memory as a whole, and rows and journal hold all.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::pending::{Delta, Pending};
use super::{buffered, settle};
use crate::errors::CounterError;
use crate::family;
use crate::memory::epochs::{self, Cut, Opening};
use crate::memory::table::Key;
use crate::memory::{cells, databases, load, restore_guard, table};
use crate::pg::lock::{self, Subject};
use crate::pg::{Oid, catalog, process, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::bigint_parts;
use crate::settings::{self, Mode};

/// Ids a transaction holds pending before it writes them out.
const MAX_PENDING: usize = 65_536;
/// At a savepoint, pending ids of its own that make a spill worth while.
const MIN_SPILL: usize = 1024;
/// Ids remembered as changed in rows; past it, everything of the database is invalidated.
const MAX_TOUCHED: usize = 65_536;
/// Ids a prepared transaction marks one by one; past it, one mark stands for all.
const MAX_MARKS: usize = 64;

type Ids = HashSet<Box<[u8]>, foldhash::fast::RandomState>;

/// Ids whose rows this transaction changed itself. It reads them from rows, and forgets them in memory at commit.
#[derive(Default)]
struct Touched {
    /// The total table the ids belong to: a COMMIT callback may not look into the catalogs.
    relation: u32,
    ids: Ids,
    all: bool,
}

impl Touched {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.all
    }

    fn contains(&self, id: &[u8]) -> bool {
        self.all || self.ids.contains(id)
    }

    fn note(&mut self, id: &[u8]) {
        if self.all || self.ids.contains(id) {
            return;
        }
        if self.ids.len() >= MAX_TOUCHED {
            self.all = true;
            self.ids = Ids::default();
        } else {
            self.ids.insert(id.into());
        }
    }
}

/// Settled deltas on their way from rows to memory.
struct Settled {
    xid: u32,
    relation: u32,
    deltas: Vec<Delta>,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
    static TOUCHED: RefCell<Touched> = RefCell::new(Touched::default());
    static SETTLED: RefCell<Option<Settled>> = const { RefCell::new(None) };
    /// The total table that pending deltas are meant for: the extension may be dropped and made anew meanwhile.
    static PENDING_FOR: Cell<u32> = const { Cell::new(0) };
    /// Increments this transaction spilled, for statistics.
    static SPILLED: Cell<u64> = const { Cell::new(0) };
    /// All that this transaction counts must be in rows.
    static COUNTS_IN_ROWS: Cell<bool> = const { Cell::new(false) };
    /// The transaction's deltas are written: nothing may be added any more.
    static IS_SETTLED: Cell<bool> = const { Cell::new(false) };
    /// The total table that this transaction drops, if it is not rolled back to a savepoint before that.
    static DROPS_EXTENSION: Cell<u32> = const { Cell::new(0) };
    /// It has written rows that its deltas must agree with.
    static ROWS_AGREE: Cell<bool> = const { Cell::new(false) };
    static CREATES_EXTENSION: Cell<bool> = const { Cell::new(false) };
    /// Somebody inserted rows for compaction by hand.
    static RESTORES: Cell<bool> = const { Cell::new(false) };
    /// The epoch that this transaction folds into rows.
    static FOLDS: Cell<Option<Cut>> = const { Cell::new(None) };
    /// Buffered mode opens when this transaction commits.
    static OPENS: Cell<Option<Opening>> = const { Cell::new(None) };
    /// The compactor's and our own row changes are not foreign.
    static IS_DIRTY: Cell<bool> = const { Cell::new(false) };
}

/// The callbacks to register.
pub static HOOKS: xact::Hooks = xact::Hooks {
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
    if IS_SETTLED.get() { Err(CounterError::AfterSettling) } else { Ok(()) }
}

/// Checks that this call may change counters, for its purpose.
pub fn enter_to_change(function: &'static str, purpose: Purpose, level: u32) -> Result<Tables, CounterError> {
    check_may_change(function)?;
    buffered::check_mode()?;
    let to_slots = purpose != Purpose::Count || settings::mode() == Mode::Slotted;
    access::enter(purpose, level, to_slots)
}

/// As `enter_to_change`, for counting: what this transaction counts goes to slot rows, in whatever mode it is.
///
/// Rows of a cached table and of its counters must be seen by the same snapshots, or what they differ by would depend on
/// when one looks. Buffered deltas are in no row for a while; so a transaction that counts such rows buffers none at all. It
/// has an xid anyway. Kept also when a savepoint is rolled back: rows are right for every delta.
pub fn enter_to_count_in_rows(function: &'static str, level: u32) -> Result<Tables, CounterError> {
    check_may_change(function)?;
    let tables = access::enter(Purpose::Count, level, true)?;
    IS_DIRTY.set(true);
    COUNTS_IN_ROWS.set(true);
    Ok(tables)
}

/// Adds to rows at once, past what is pending: what readers of the rows in this transaction, under snapshots of their own, are to
/// see or not to see as they see other rows.
pub fn add_to_rows_now(tables: Tables, deltas: Vec<(Vec<u8>, i128)>) -> Result<(), CounterError> {
    let mut rows = Vec::with_capacity(deltas.len());
    for (id, delta) in deltas {
        note_touched(tables, &id);
        let id: Box<[u8]> = id.into();
        rows.extend(bigint_parts(delta).map(|net| Delta { id: id.clone(), net, increments: 1 }));
    }
    settle::insert_fresh(tables, &rows)
}

/// This transaction's own pending deltas of the ids that begin with a prefix, in their order.
pub fn own_after_prefix(tables: Tables, prefix: &[u8]) -> Vec<(Box<[u8]>, i64)> {
    if !IS_DIRTY.get() || PENDING_FOR.get() != u32::from(tables.total) {
        return Vec::new();
    }
    let mut own: Vec<_> = PENDING.with_borrow(|pending| {
        pending.each().filter(|(id, _)| id.starts_with(prefix)).map(|(id, net)| (id.into(), net)).collect()
    });
    own.sort_unstable();
    own
}

/// Adds a checked delta of a checked id.
pub fn add(tables: Tables, id: &[u8], delta: i64, level: u32) -> Result<(), CounterError> {
    let relation = u32::from(tables.total);
    if PENDING_FOR.get() != relation {
        if !PENDING.with_borrow(Pending::is_empty) {
            return Err(CounterError::CountedBeforeDrop);
        }
        PENDING_FOR.set(relation);
    }
    let pending = PENDING.with_borrow_mut(|pending| pending.add(id, delta, level).map(|()| pending.len()));
    IS_DIRTY.set(true);
    match pending {
        Ok(len) if len > MAX_PENDING => spill(tables, level),
        Ok(_) => Ok(()),
        Err(_) => Err(CounterError::PendingOutOfRange { id: id.to_vec() }),
    }
}

/// Writes this level's pending deltas to slot rows, inside the transaction.
fn spill(tables: Tables, level: u32) -> Result<(), CounterError> {
    let over = PENDING.with_borrow(Pending::len).saturating_sub(MAX_PENDING);
    if level > 1 && over < MIN_SPILL {
        return Ok(());
    }
    let deltas = PENDING.with_borrow_mut(|pending| pending.take_level(level));
    for delta in &deltas {
        note_touched(tables, &delta.id);
        SPILLED.set(SPILLED.get() + delta.increments);
    }
    settle::insert_fresh(tables, &deltas)?;
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
    forget_own(id, level);
    add_to_rows(tables, id, bigint_parts(net))
}

fn add_to_rows(tables: Tables, id: &[u8], deltas: impl Iterator<Item = i64>) -> Result<(), CounterError> {
    let deltas: Vec<Delta> = deltas.map(|net| Delta { id: id.into(), net, increments: 1 }).collect();
    note_touched(tables, id);
    settle::insert_fresh(tables, &deltas)?;
    xact::see_own_changes();
    Ok(())
}

/// This transaction's own pending delta of an id.
pub fn own(tables: Tables, id: &[u8]) -> i64 {
    if !IS_DIRTY.get() || PENDING_FOR.get() != u32::from(tables.total) {
        return 0;
    }
    PENDING.with_borrow(|pending| pending.net(id)).unwrap_or(0)
}

/// Whether this transaction made the counter, or added to it.
pub fn has_own(tables: Tables, id: &[u8]) -> bool {
    IS_DIRTY.get()
        && PENDING_FOR.get() == u32::from(tables.total)
        && PENDING.with_borrow(|pending| pending.net(id)).is_some()
}

/// Counters that this transaction has pending deltas of.
pub fn own_ids(tables: Tables) -> Vec<Box<[u8]>> {
    if !IS_DIRTY.get() || PENDING_FOR.get() != u32::from(tables.total) {
        return Vec::new();
    }
    PENDING.with_borrow(|pending| pending.ids().map(Into::into).collect())
}

/// This transaction has written rows that must agree with its deltas under any one snapshot, entries of the audit log for one.
/// It has rows to write at commit as it is, so all its deltas go to slot rows, in whatever mode it is.
pub fn note_rows_agree() {
    IS_DIRTY.set(true);
    ROWS_AGREE.set(true);
}

/// Whether it has.
pub(super) fn rows_agree() -> bool {
    ROWS_AGREE.get()
}

/// Forgets this transaction's own pending delta of an id.
pub fn forget_own(id: &[u8], level: u32) {
    PENDING.with_borrow_mut(|pending| pending.forget(id, level));
}

/// Notes that this transaction changed rows of an id directly.
pub fn note_touched(tables: Tables, id: &[u8]) {
    IS_DIRTY.set(true);
    TOUCHED.with_borrow_mut(|touched| {
        touched.relation = u32::from(tables.total);
        touched.note(id);
    });
}

/// Notes that this transaction changed rows of any id.
pub fn note_all_touched() {
    IS_DIRTY.set(true);
    TOUCHED.with_borrow_mut(|touched| touched.all = true);
}

/// Whether an id must be read from rows in this transaction.
pub fn is_touched(id: &[u8]) -> bool {
    IS_DIRTY.get() && TOUCHED.with_borrow(|touched| touched.contains(id))
}

/// The extension's tables are about to be dropped.
pub fn note_extension_dropped(total: Oid) {
    IS_DIRTY.set(true);
    DROPS_EXTENSION.set(total.into());
}

/// Whether the tables really are dropped by this transaction, at its end.
fn drops_extension() -> bool {
    DROPS_EXTENSION.get() != 0 && !lock::relation_exists(DROPS_EXTENSION.get().into())
}

/// Rows are being inserted into our tables by hand, as a restore does. Noted before the first of them can be seen, and again
/// when the transaction ends, from which on the session is idle.
pub fn note_restore() {
    if !RESTORES.replace(true) {
        IS_DIRTY.set(true);
        restore_guard::note(u32::from(catalog::my_database()));
    }
}

/// The extension was just created.
pub fn note_extension_created() {
    IS_DIRTY.set(true);
    CREATES_EXTENSION.set(true);
}

/// This transaction folds an epoch.
pub(super) fn note_fold(cut: Cut) {
    IS_DIRTY.set(true);
    FOLDS.set(Some(cut));
}

/// Buffered mode opens when this transaction commits.
pub(super) fn note_opening(opening: Opening) {
    IS_DIRTY.set(true);
    OPENS.set(Some(opening));
}

/// This transaction has written deltas to rows that memory is to take at its commit.
pub(super) fn note_settled(tables: Tables, xid: u32, deltas: Vec<Delta>) {
    IS_DIRTY.set(true);
    let relation = u32::from(tables.total);
    SETTLED.with_borrow_mut(|settled| *settled = Some(Settled { xid, relation, deltas }));
}

/// A counter's key in memory, for tables that need not be there any more.
pub fn key(relation: u32, id: &[u8]) -> Key<'_> {
    Key { database: u32::from(catalog::my_database()), relation, id }
}

/// Takes the pending deltas, if any, with the tables they are for. Those of tables that this transaction dropped went
/// with them; anything else that hides the tables is an error.
fn take_pending() -> Option<(Tables, Vec<Delta>)> {
    if PENDING.with_borrow(Pending::is_empty) {
        return None;
    }
    let deltas = PENDING.with_borrow_mut(Pending::take);
    match access::find_tables() {
        // The tables are locked since the first increment.
        Some(tables) if u32::from(tables.total) == PENDING_FOR.get() => Some((tables, deltas)),
        _ if lock::relation_exists(PENDING_FOR.get().into()) => CounterError::CountedBeforeDrop.raise(),
        _ => None,
    }
}

fn pre_commit() {
    IS_SETTLED.set(true);
    if IS_DIRTY.get() {
        if !drops_extension() {
            DROPS_EXTENSION.set(0);
        }
        settle_pending();
    }
    buffered::write_before_commit();
}

/// Shows other backends that this transaction is about to commit, until its COMMIT callbacks are over.
pub fn announce() {
    IS_DIRTY.set(true);
    cells::announce(u32::from(catalog::my_database()), xact::assign_xid());
}

fn settle_pending() {
    let Some((tables, deltas)) = take_pending() else { return };
    let deltas = if COUNTS_IN_ROWS.get() { deltas } else { buffered::take_in(tables, deltas) };
    if deltas.is_empty() {
        return;
    }
    let xid = xact::assign_xid();
    cells::announce(u32::from(catalog::my_database()), xid);
    if let Err(error) = settle::settle(tables, &deltas) {
        error.raise();
    }
    note_settled(tables, xid, deltas);
}

fn commit() {
    if !IS_DIRTY.get() {
        reset();
        return;
    }
    let database = u32::from(catalog::my_database());
    let buffered = buffered::commit();
    let mut increments = SPILLED.get() + buffered;
    if let Some(settled) = SETTLED.take() {
        stretch_window();
        for delta in &settled.deltas {
            table::add(key(settled.relation, &delta.id), settled.xid, delta.net, delta.increments);
            increments += delta.increments;
        }
    }
    invalidate_touched(database);
    cells::withdraw();
    if let Some(cut) = FOLDS.take() {
        process::sleep_whole_ms(settings::debug_fold_window_ms(), || ());
        epochs::fold_committed(database, cut);
    }
    if let Some(opening) = OPENS.take() {
        epochs::open(database, opening);
    }
    if increments > 0 && databases::register(database) {
        cells::count_increments(database, increments, buffered);
        databases::want_worker(database);
    }
    if DROPS_EXTENSION.get() != 0 {
        epochs::close(database);
        table::purge_database(database);
        databases::extension_dropped(database);
    }
    if RESTORES.get() {
        restore_guard::note(database);
    }
    if CREATES_EXTENSION.get() && databases::register(database) {
        databases::extension_created(database);
    }
    reset();
}

/// For tests: the commit is visible, and not yet in memory.
pub fn stretch_window() {
    let window_ms = settings::debug_commit_window_ms();
    if window_ms > 0 {
        process::sleep_whole_ms(window_ms, || ());
    }
}

fn invalidate_touched(database: u32) {
    TOUCHED.with_borrow(|touched| {
        if touched.all {
            table::invalidate_database(database);
        } else {
            for id in &touched.ids {
                table::invalidate(key(touched.relation, id));
            }
            if !touched.ids.is_empty() {
                family::ids_invalidated(database, &|id| touched.ids.contains(id));
            }
        }
    });
}

fn abort() {
    load::abandon();
    buffered::abort();
    cells::withdraw();
    if FOLDS.take().is_some() {
        epochs::fold_aborted(u32::from(catalog::my_database()));
    }
    reset();
}

/// COMMIT PREPARED runs no callback, and may come after a restart. So the ids are marked by locks that the prepared
/// transaction keeps, which bars them from being loaded, and only then invalidated.
fn pre_prepare() {
    IS_SETTLED.set(true);
    buffered::drain_own();
    if !IS_DIRTY.get() {
        return;
    }
    if drops_extension() {
        // COMMIT PREPARED would not tell shared memory.
        CounterError::PreparesDrop.raise();
    }
    let Some(tables) = access::find_tables() else { return };
    let deltas = take_pending().map_or_else(Vec::new, |(_, deltas)| deltas);
    for delta in &deltas {
        note_touched(tables, &delta.id);
    }
    let hashes: Option<Vec<u32>> = TOUCHED.with_borrow(|touched| {
        (!touched.all && touched.ids.len() <= MAX_MARKS)
            .then(|| touched.ids.iter().map(|id| id_hash(id)).collect())
    });
    match hashes {
        Some(hashes) => {
            for hash in hashes {
                lock::mark(tables.total, Subject::Prepared(hash));
            }
        }
        None => lock::mark(tables.total, Subject::Prepared(ALL_IDS)),
    }
    invalidate_touched(u32::from(catalog::my_database()));
    if !deltas.is_empty()
        && let Err(error) = settle::settle(tables, &deltas)
    {
        error.raise();
    }
}

fn prepared() {
    cells::withdraw();
    reset();
}

/// Stands for every id among prepared transactions' marks.
const ALL_IDS: u32 = 0;

/// Whether a prepared transaction holds rows of the id.
pub fn is_prepared(tables: Tables, id: &[u8]) -> bool {
    lock::max_prepared_transactions() > 0
        && (lock::is_marked(tables.total, Subject::Prepared(id_hash(id)))
            || lock::is_marked(tables.total, Subject::Prepared(ALL_IDS)))
}

/// A lock tag's number for an id, never `ALL_IDS`.
pub fn id_hash(id: &[u8]) -> u32 {
    lock::key_hash(id).max(1)
}

fn savepoint_released(level: u32) {
    if IS_DIRTY.get() {
        PENDING.with_borrow_mut(|pending| pending.release(level));
    }
    access::hand_locks_down(level);
}

fn savepoint_rolled_back(level: u32) {
    load::abandon();
    if IS_DIRTY.get() {
        PENDING.with_borrow_mut(|pending| pending.roll_back(level));
    }
    access::forget_locks_above(level);
}

fn reset() {
    access::forget_locks();
    IS_SETTLED.set(false);
    if !IS_DIRTY.get() {
        return;
    }
    PENDING.with_borrow_mut(Pending::clear);
    TOUCHED.with_borrow_mut(|touched| {
        if !touched.is_empty() {
            *touched = Touched::default();
        }
    });
    SETTLED.take();
    SPILLED.set(0);
    PENDING_FOR.set(0);
    DROPS_EXTENSION.set(0);
    OPENS.set(None);
    ROWS_AGREE.set(false);
    CREATES_EXTENSION.set(false);
    RESTORES.set(false);
    COUNTS_IN_ROWS.set(false);
    IS_DIRTY.set(false);
}
