//! Epochs: how compaction cuts the stream of buffered deltas exactly.
//!
//! Contract:
//!
//! - Each database counts its own epochs. A committer announces the current one in its backend's cell before its
//!   record is written, looks again whether it still is, and withdraws after its deltas are in memory. Whoever raises
//!   the epoch therefore knows, once no cell shows an older one, that nothing will be added to it any more.
//! - At most two epochs hold deltas: the current one and, until its fold has committed, the one before. So their
//!   parity tells them apart, in memory and in the journal's table (`cursor.rs`).
//! - The journal lock guards raising, draining, and the end of a fold. It is taken before partition locks, and held for the time of one
//!   record. Nobody reads a page, takes a heavyweight lock or allocates shared memory under it.
//! - `folded_epoch` changes in the fold's COMMIT callback. Only then are the pages of that epoch's parity used again. The WAL of that
//!   use comes after the fold's commit record, so whatever a crash or a backup leaves has either the old pages or the fold.
//! - A drain writes on pages of the epoch that it has announced, also records of the epoch before: pages are used again two epochs
//!   later, and then both are folded. It may announce itself after a session has waited for all (see below), so a new epoch is
//!   not begun while somebody is inside one that is folded.
//! - A session without a worker folds both epochs at once. It suspends buffered mode meanwhile: who announces himself looks whether it
//!   is suspended after his announcement, and the session looks at the announcements after suspending. It resumes when its
//!   transaction ends, well or not.
//! - A crash at any point loses all of it; recovery starts a new epoch above any that the journal's table shows.
//! - Lock order: journal lock → partition lock.
//!
//! BOUND: two epochs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::buffer;
use super::cells;
pub use super::cursor::{RecordKind, Taken};
use super::databases;
use super::layout::{BackendCell, DatabaseCell};
use super::lwlock::LockGuard;
use super::segment::segment;
use super::workers;
use crate::pg::process;

/// Whether a database's deltas may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// Nobody has looked since the server started: there may be something to recover.
    Unknown = 0,
    Recovering = 1,
    Ready = 2,
}

impl JournalState {
    fn from_number(number: u32) -> JournalState {
        match number {
            1 => JournalState::Recovering,
            2 => JournalState::Ready,
            _ => JournalState::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            JournalState::Unknown => "unknown",
            JournalState::Recovering => "recovering",
            JournalState::Ready => "ready",
        }
    }
}

/// What `counter_stats` shows of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalStatistics {
    pub state: JournalState,
    pub epoch: u64,
    pub folded_epoch: u64,
    pub cut_delayed_by: u32,
    pub buffered_increments: u64,
    pub journal_bytes: u64,
    pub recovered_records: u64,
}

pub fn statistics(database: u32) -> Option<JournalStatistics> {
    databases::with(database, |cell| JournalStatistics {
        state: JournalState::from_number(cell.journal_state.load(Ordering::SeqCst)),
        epoch: cell.epoch.load(Ordering::SeqCst),
        folded_epoch: cell.folded_epoch.load(Ordering::SeqCst),
        cut_delayed_by: cell.cut_delayed_by.load(Ordering::Relaxed),
        buffered_increments: cell.counts.buffered_increments.load(Ordering::Relaxed)
            + cells::counted(database).1,
        journal_bytes: cell.journal_bytes.load(Ordering::Relaxed),
        recovered_records: cell.recovered_records.load(Ordering::Relaxed),
    })
}

/// Whether the database's deltas may be buffered, and what stands in the way.
pub fn state(database: u32) -> JournalState {
    databases::with(database, |cell| JournalState::from_number(cell.journal_state.load(Ordering::SeqCst)))
        .unwrap_or(JournalState::Unknown)
}

// --- committers ---

/// Announces that this transaction's deltas belong to the current epoch, and returns it; `None` while deltas for
/// these tables may not be buffered.
pub fn announce(database: u32, relation: u32) -> Option<u64> {
    announce_where(database, |cell| {
        cell.journal_relation.load(Ordering::SeqCst) == relation
            && cell.journal_suspended_by.load(Ordering::SeqCst) == 0
    })
}

/// Announces that this process writes records on pages of the current epoch, of what memory holds already; also while buffered mode is
/// suspended. It must not have announced itself already.
pub fn announce_drain(database: u32) -> Option<u64> {
    announce_where(database, |cell| cell.journal_relation.load(Ordering::SeqCst) != 0)
}

fn announce_where(database: u32, may: impl Fn(&DatabaseCell) -> bool) -> Option<u64> {
    let segment = segment()?;
    let slot = process::my_slot().filter(|slot| *slot < segment.backend_cells())?;
    let mine = segment.backend_cell(slot);
    debug_assert!(mine.epoch.load(Ordering::Relaxed) == 0);
    databases::with(database, |cell| {
        if mine.database.load(Ordering::Relaxed) != database {
            cells::hand_over(slot);
            mine.database.store(database, Ordering::SeqCst);
        }
        loop {
            let epoch = cell.epoch.load(Ordering::SeqCst);
            mine.epoch.store(epoch, Ordering::SeqCst);
            if !may(cell) {
                mine.epoch.store(0, Ordering::SeqCst);
                return None;
            }
            if cell.epoch.load(Ordering::SeqCst) == epoch {
                return Some(epoch);
            }
        }
    })
    .flatten()
}

/// The deltas are in memory, or the transaction is aborted.
pub fn withdraw() {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && slot < segment.backend_cells()
    {
        let cell = segment.backend_cell(slot);
        if cell.epoch.load(Ordering::Relaxed) != 0 {
            cell.epoch.store(0, Ordering::SeqCst);
        }
    }
}

/// Asks for a worker, which makes buffered mode ready.
pub fn want_journal(database: u32) {
    if databases::register(database) && state(database) != JournalState::Ready {
        workers::want_worker(database);
    }
}

pub fn count_journaled(database: u32, bytes: u64) {
    databases::with(database, |cell| cell.journal_bytes.fetch_add(bytes, Ordering::Relaxed));
}

// --- draining ---

/// The number of the last drain that began: deltas added before reading it are in the journal once a later one is
/// done.
pub fn drains_begun(database: u32) -> u64 {
    databases::with(database, |cell| cell.drains_begun.load(Ordering::SeqCst)).unwrap_or(0)
}

/// Whether a drain that began after number `begun` is done.
pub fn is_drained_since(database: u32, begun: u64) -> bool {
    databases::with(database, |cell| cell.drains_done.load(Ordering::SeqCst) > begun).unwrap_or(true)
}

/// When the last drain ended, in microseconds since 2000-01-01.
pub fn last_drain_at_us(database: u32) -> i64 {
    databases::with(database, |cell| cell.last_drain_at_us.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The journal lock, held.
pub struct JournalLock {
    database: u32,
    _held: LockGuard,
}

/// Takes the database's journal lock; with `wait` false only if that is possible at once.
pub fn lock_journal(database: u32, wait: bool) -> Option<JournalLock> {
    let segment = segment()?;
    let index = databases::index_of(database)?;
    let held = if wait { segment.lock_journal(index) } else { segment.try_lock_journal(index)? };
    Some(JournalLock { database, _held: held })
}

impl JournalLock {
    /// A drain of all that waits begins; its number.
    pub fn drain_begins(&self) -> u64 {
        databases::with(self.database, |cell| cell.drains_begun.fetch_add(1, Ordering::SeqCst) + 1)
            .unwrap_or(0)
    }

    /// Whether records of an epoch of these tables may still be written.
    pub fn is_open(&self, relation: u32, epoch: u64) -> bool {
        open_epochs(self.database).is_some_and(|open| open.relation == relation && open.contains(epoch))
    }

    /// Begins a new epoch. False while the epoch before the current one is not folded, or a drain still writes on its pages.
    pub fn raise(&self, _proof: &Recovered) -> bool {
        databases::with(self.database, |cell| {
            let epoch = cell.epoch.load(Ordering::SeqCst);
            let folded = cell.folded_epoch.load(Ordering::SeqCst);
            if folded + 1 != epoch || inside(self.database, folded).next().is_some() {
                return false;
            }
            cell.cursors.begin_epoch(epoch + 1);
            cell.epoch.store(epoch + 1, Ordering::SeqCst);
            true
        })
        .unwrap_or(false)
    }

    /// The journal's table has been rewritten into another file, of so many blocks.
    pub fn table_moved(&self, file: u32, blocks: u32) {
        databases::with(self.database, |cell| {
            if cell.cursors.file() != file {
                cell.cursors.move_to(file, blocks, cell.epoch.load(Ordering::SeqCst));
            }
        });
    }

    /// Keeps everybody from buffering until this process resumes. All open epochs; `None` where somebody else has suspended it, or
    /// it is not open for these tables.
    pub fn suspend(&self, relation: u32) -> Option<Cut> {
        let me = process::my_pid() as u32;
        databases::with(self.database, |cell| {
            cell.journal_suspended_by.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
        .filter(|suspended| *suspended)?;
        let open = open_epochs(self.database).filter(|open| open.relation == relation);
        if open.is_none() {
            resume(self.database);
        }
        open.map(|Open { relation, first, last }| Cut { relation, first, last })
    }
}

/// Ends a drain of this number. Everything that had been added before it began is in the journal.
pub fn drain_ended(database: u32, number: u64, now_us: i64) {
    databases::with(database, |cell| {
        cell.last_drain_at_us.store(now_us, Ordering::Relaxed);
        cell.drains_done.fetch_max(number, Ordering::SeqCst);
    });
}

/// Lets buffered mode go on, if this process has suspended it. Cannot fail.
pub fn resume(database: u32) {
    let me = process::my_pid() as u32;
    databases::with(database, |cell| {
        let _ = cell.journal_suspended_by.compare_exchange(me, 0, Ordering::SeqCst, Ordering::SeqCst);
    });
}

/// Epochs that hold deltas of some tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub relation: u32,
    pub first: u64,
    pub last: u64,
}

impl Open {
    fn contains(self, epoch: u64) -> bool {
        (self.first..=self.last).contains(&epoch)
    }
}

/// The epochs that hold deltas now: the current one, and perhaps the one before.
pub fn open_epochs(database: u32) -> Option<Open> {
    databases::with(database, |cell| {
        let relation = cell.journal_relation.load(Ordering::SeqCst);
        // In this order: the current epoch is never the lower one.
        let first = cell.folded_epoch.load(Ordering::SeqCst) + 1;
        let last = cell.epoch.load(Ordering::SeqCst);
        (relation != 0).then_some(Open { relation, first, last })
    })
    .flatten()
}

/// All epochs up to this one are in rows.
pub fn folded_epoch(database: u32) -> u64 {
    databases::with(database, |cell| cell.folded_epoch.load(Ordering::SeqCst)).unwrap_or(0)
}

/// How many folds have committed whose amounts are gone from memory, or about to go. Who walks over amounts compares it from before the
/// snapshot with that after the walk: while it stays, no amount has gone that rows under the snapshot do not include.
pub fn folds_ended(database: u32) -> u64 {
    databases::with(database, |cell| cell.folds_ended.load(Ordering::SeqCst)).unwrap_or(0)
}

// --- where records go ---

/// The file of the journal's table that records go to.
pub fn file(database: u32) -> u32 {
    databases::with(database, |cell| cell.cursors.file()).unwrap_or(0)
}

/// Takes room for a record of an announced epoch.
pub fn take_room(database: u32, epoch: u64, kind: RecordKind, bytes: u16) -> Option<Taken> {
    databases::with(database, |cell| cell.cursors.take(epoch, kind, bytes)).flatten()
}

/// Claims a block for records of an announced epoch.
pub fn claim_block(database: u32, epoch: u64) -> Option<u32> {
    databases::with(database, |cell| cell.cursors.claim(epoch, cell.folded_epoch.load(Ordering::SeqCst)))
}

/// Offers the room left on a claimed block.
pub fn offer_room(database: u32, epoch: u64, kind: RecordKind, block: u32, bytes: u16) {
    databases::with(database, |cell| cell.cursors.offer(epoch, kind, block, bytes));
}

/// Offers a claimed block that is empty for when the current one is full.
pub fn offer_spare(database: u32, epoch: u64, kind: RecordKind, block: u32, bytes: u16) {
    databases::with(database, |cell| cell.cursors.offer_spare(epoch, kind, block, bytes));
}

/// Gives room back, before the epoch is withdrawn from. Cannot fail.
pub fn give_room_back(database: u32, epoch: u64, kind: RecordKind, block: u32, bytes: u16) {
    databases::with(database, |cell| cell.cursors.give_back(epoch, kind, block, bytes));
}

/// A block has turned out not to be there.
pub fn retire_block(database: u32, epoch: u64, kind: RecordKind, block: u32) {
    databases::with(database, |cell| cell.cursors.retire(epoch, kind, block));
}

// --- the worker ---

/// Epochs that are over, from the first to the last, and not folded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub relation: u32,
    pub first: u64,
    pub last: u64,
}

impl Cut {
    pub fn epochs(self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.last
    }
}

/// The epoch that is over and not folded yet.
pub fn cut(database: u32) -> Option<Cut> {
    open_epochs(database).filter(|open| open.first + 1 == open.last).map(|open| Cut {
        relation: open.relation,
        first: open.first,
        last: open.first,
    })
}

/// Waits until no backend is inside the epoch or an older one. The process id of one that still is after `patience`.
pub fn await_quiet(database: u32, epoch: u64, patience: Duration) -> Result<(), u32> {
    let Some(segment) = segment() else {
        return Ok(());
    };
    let started = Instant::now();
    for index in 0..segment.backend_cells() {
        let mut pause_us = 20;
        while is_inside(segment.backend_cell(index), database, epoch) {
            if started.elapsed() > patience {
                let pid = process::pid_in_slot(index);
                databases::with(database, |cell| cell.cut_delayed_by.store(pid, Ordering::Relaxed));
                return Err(pid);
            }
            process::check_for_interrupts();
            process::sleep_us(pause_us);
            pause_us = (pause_us * 2).min(2000);
        }
    }
    databases::with(database, |cell| cell.cut_delayed_by.store(0, Ordering::Relaxed));
    Ok(())
}

fn is_inside(cell: &BackendCell, database: u32, epoch: u64) -> bool {
    let announced = cell.epoch.load(Ordering::SeqCst);
    announced != 0 && announced <= epoch && cell.database.load(Ordering::SeqCst) == database
}

/// Slots of backends that are inside an epoch or an older one.
fn inside(database: u32, epoch: u64) -> impl Iterator<Item = usize> {
    segment().into_iter().flat_map(move |segment| {
        (0..segment.backend_cells())
            .filter(move |index| is_inside(segment.backend_cell(*index), database, epoch))
    })
}

/// A transaction that folds epochs, and where their amounts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold {
    pub xid: u32,
    parities: u8,
}

impl Fold {
    pub fn takes(self, parity: usize) -> bool {
        self.parities & 1 << parity != 0
    }
}

/// Announces the transaction that folds the cut, before it commits.
pub fn fold_begins(database: u32, xid: u32, cut: Cut) {
    let parities = cut.epochs().fold(0, |parities, epoch| parities | 1 << (epoch & 1));
    // In one word, so that nobody sees the one without the other.
    let fold = u64::from(xid) << 2 | parities;
    databases::with(database, |cell| cell.fold.store(fold, Ordering::SeqCst));
}

pub(super) fn fold_under_way(database: u32) -> Option<Fold> {
    let fold = databases::with(database, |cell| cell.fold.load(Ordering::SeqCst))?;
    (fold != 0).then_some(Fold { xid: (fold >> 2) as u32, parities: (fold & 3) as u8 })
}

/// The fold has committed: its COMMIT callback. Cannot fail.
pub fn fold_committed(database: u32, cut: Cut) {
    let Some(_lock) = lock_journal(database, true) else {
        return;
    };
    // Before the first amount goes: `folded_epoch` would tell who walks over amounts meanwhile only after the last one has.
    databases::with(database, |cell| cell.folds_ended.fetch_add(1, Ordering::SeqCst));
    for epoch in cut.epochs() {
        buffer::note_folded(database, cut.relation, epoch);
    }
    databases::with(database, |cell| {
        cell.fold.store(0, Ordering::SeqCst);
        // Where the current epoch was folded too, the next one begins. Whoever folded it has waited until nobody was inside it or the
        // one before, and a drain that came since is inside this one.
        if cell.epoch.load(Ordering::SeqCst) == cut.last {
            cell.cursors.begin_epoch(cut.last + 1);
            cell.epoch.store(cut.last + 1, Ordering::SeqCst);
        }
        cell.folded_epoch.store(cut.last, Ordering::SeqCst);
    });
    resume(database);
}

pub fn fold_aborted(database: u32) {
    databases::with(database, |cell| cell.fold.store(0, Ordering::SeqCst));
    resume(database);
}

/// The journal is being read back: until `open`, rows do not hold everything.
pub fn recovery_begins(database: u32) {
    databases::with(database, |cell| {
        let _ = cell.journal_state.compare_exchange(
            JournalState::Unknown as u32,
            JournalState::Recovering as u32,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    });
}

/// From where on deltas may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub relation: u32,
    /// The file of the journal's table.
    pub file: u32,
    /// Epochs up to this one are in rows.
    pub epoch: u64,
    pub recovered_records: u64,
}

/// Everything journaled is in rows: deltas may be buffered from now on, in the next epoch. Called in the COMMIT callback
/// of the transaction that found it so, which keeps others who recover out until then and has the tables locked. Cannot fail.
pub fn open(database: u32, opening: Opening) {
    databases::with(database, |cell| {
        cell.epoch.store(opening.epoch + 1, Ordering::SeqCst);
        cell.folded_epoch.store(opening.epoch, Ordering::SeqCst);
        cell.fold.store(0, Ordering::SeqCst);
        cell.cursors.begin(opening.file);
        cell.recovered_records.fetch_add(opening.recovered_records, Ordering::Relaxed);
        cell.journal_relation.store(opening.relation, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Ready as u32, Ordering::SeqCst);
    });
}

/// The tables are gone: nothing is buffered for them any more. Cannot fail.
pub fn close(database: u32) {
    databases::with(database, |cell| {
        cell.journal_relation.store(0, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Unknown as u32, Ordering::SeqCst);
    });
}

/// Proof that rows and memory together hold everything: nothing is in the journal alone. Whatever changes a counter by what it reads of it takes
/// one, and so does what folds and cuts.
#[derive(Debug)]
pub struct Recovered(());

/// The proof, where the journal of these tables has been read back since the server started.
pub fn recovered(database: u32, relation: u32) -> Option<Recovered> {
    databases::with(database, |cell| {
        cell.journal_state.load(Ordering::SeqCst) == JournalState::Ready as u32
            && cell.journal_relation.load(Ordering::SeqCst) == relation
    })
    .unwrap_or(false)
    .then_some(Recovered(()))
}

impl Recovered {
    /// For who has just folded the whole journal in this transaction, with everybody else kept out.
    pub fn by_folding() -> Recovered {
        Recovered(())
    }
}

/// The tables that deltas are buffered for; 0 when they are not.
pub fn relation(database: u32) -> u32 {
    databases::with(database, |cell| cell.journal_relation.load(Ordering::SeqCst)).unwrap_or(0)
}
