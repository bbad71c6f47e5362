//! Epochs: how compaction cuts the stream of buffered deltas exactly.
//!
//! Contract:
//!
//! - Each database counts its own epochs. A committer announces the current one in its backend's cell before its
//!   record is written, looks again whether it still is, and withdraws after its deltas are in memory. Whoever raises
//!   the epoch therefore knows, once no cell shows an older one, that nothing will be added to it any more.
//! - At most two epochs hold deltas: the current one and, until its fold has committed, the one before. So their
//!   parity tells them apart.
//! - The journal lock guards raising, draining, and the end of a fold. It is taken before partition locks.
//! - `folded_epoch` and `needed_lsn` change in the fold's COMMIT callback, and `needed_lsn` is what the replication
//!   slot follows: the fold is flushed by then (the worker commits with `synchronous_commit = local`).
//! - A crash at any point loses all of it; the worker's recovery starts a new epoch above any that WAL shows.
//! - Lock order: journal lock → partition lock.
//!
//! BOUND: two epochs.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::buffer;
use super::cells;
use super::databases;
use super::lwlock::LockGuard;
use super::segment::segment;
use super::workers;
use crate::pg::process;

/// Whether a database's deltas may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// Nobody has looked since the server started: there may be something to recover.
    Unknown = 0,
    /// Nothing to recover, and nobody has asked for buffered mode.
    Off = 1,
    Recovering = 2,
    Ready = 3,
}

impl JournalState {
    fn from_number(number: u32) -> JournalState {
        match number {
            1 => JournalState::Off,
            2 => JournalState::Recovering,
            3 => JournalState::Ready,
            _ => JournalState::Unknown,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            JournalState::Unknown => "unknown",
            JournalState::Off => "off",
            JournalState::Recovering => "recovering",
            JournalState::Ready => "ready",
        }
    }
}

/// The replication slot that keeps WAL for recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// None is needed, or nobody has asked yet.
    None = 0,
    Held = 1,
    /// `wal_level` is minimal.
    NoWalLevel = 2,
    /// `max_replication_slots` is used up.
    NoFreeSlot = 3,
}

impl Retention {
    fn from_number(number: u32) -> Retention {
        match number {
            1 => Retention::Held,
            2 => Retention::NoWalLevel,
            3 => Retention::NoFreeSlot,
            _ => Retention::None,
        }
    }
}

/// What `counter_stats` shows of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalStatistics {
    pub state: JournalState,
    pub epoch: u64,
    pub folded_epoch: u64,
    pub needed_lsn: u64,
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
        needed_lsn: cell.needed_lsn.load(Ordering::SeqCst),
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
    let segment = segment()?;
    let slot = process::my_slot().filter(|slot| *slot < segment.backend_cells())?;
    let mine = segment.backend_cell(slot);
    databases::with(database, |cell| {
        if mine.database.load(Ordering::Relaxed) != database {
            cells::hand_over(slot);
            mine.database.store(database, Ordering::SeqCst);
        }
        loop {
            let epoch = cell.epoch.load(Ordering::SeqCst);
            mine.epoch.store(epoch, Ordering::SeqCst);
            if cell.journal_relation.load(Ordering::SeqCst) != relation {
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

/// Asks the database's worker to make buffered mode ready.
pub fn want_journal(database: u32) {
    if databases::register(database) {
        let first = databases::with(database, |cell| cell.journal_wanted.swap(1, Ordering::SeqCst) == 0);
        if first == Some(true) {
            workers::want_worker(database);
            workers::wake_worker(database);
        }
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
    /// The tables and the epochs that hold deltas, oldest first.
    pub fn open_epochs(&self) -> Option<(u32, Vec<u64>)> {
        databases::with(self.database, |cell| {
            let relation = cell.journal_relation.load(Ordering::SeqCst);
            let epoch = cell.epoch.load(Ordering::SeqCst);
            let folded = cell.folded_epoch.load(Ordering::SeqCst);
            (relation != 0).then(|| (relation, (folded + 1..=epoch).collect()))
        })
        .flatten()
    }

    pub fn drain_begins(&self) {
        databases::with(self.database, |cell| cell.drains_begun.fetch_add(1, Ordering::SeqCst));
    }

    pub fn drain_ends(&self, now_us: i64) {
        databases::with(self.database, |cell| {
            cell.last_drain_at_us.store(now_us, Ordering::Relaxed);
            cell.drains_done.store(cell.drains_begun.load(Ordering::SeqCst), Ordering::SeqCst);
        });
    }

    /// Begins a new epoch whose records all lie at `lsn` or later; the position must have been read under this lock.
    /// False while the epoch before the current one is not folded.
    pub fn raise(&self, lsn: u64) -> bool {
        databases::with(self.database, |cell| {
            let epoch = cell.epoch.load(Ordering::SeqCst);
            if cell.folded_epoch.load(Ordering::SeqCst) + 1 != epoch {
                return false;
            }
            cell.cut_lsn.store(lsn, Ordering::SeqCst);
            cell.epoch.store(epoch + 1, Ordering::SeqCst);
            true
        })
        .unwrap_or(false)
    }
}

// --- the worker ---

/// An epoch that is over, and where the next one's WAL begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub relation: u32,
    pub epoch: u64,
    pub lsn: u64,
}

/// The epoch that is over and not folded yet.
pub fn cut(database: u32) -> Option<Cut> {
    databases::with(database, |cell| {
        let epoch = cell.epoch.load(Ordering::SeqCst);
        let folded = cell.folded_epoch.load(Ordering::SeqCst);
        (folded + 2 == epoch).then(|| Cut {
            relation: cell.journal_relation.load(Ordering::SeqCst),
            epoch: epoch - 1,
            lsn: cell.cut_lsn.load(Ordering::SeqCst),
        })
    })
    .flatten()
    .filter(|cut| cut.relation != 0)
}

/// Waits until no backend is inside the epoch or an older one. The process id of one that still is after `patience`.
pub fn await_quiet(database: u32, epoch: u64, patience: Duration) -> Result<(), u32> {
    let Some(segment) = segment() else {
        return Ok(());
    };
    let started = Instant::now();
    for index in 0..segment.backend_cells() {
        let cell = segment.backend_cell(index);
        let inside = || {
            let announced = cell.epoch.load(Ordering::SeqCst);
            announced != 0 && announced <= epoch && cell.database.load(Ordering::SeqCst) == database
        };
        let mut pause_us = 20;
        while inside() {
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

/// A transaction that folds an epoch, and where that epoch's amounts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fold {
    pub xid: u32,
    pub parity: usize,
}

/// Announces the transaction that folds the cut, before it commits.
pub fn fold_begins(database: u32, xid: u32, cut: Cut) {
    // In one word, so that nobody sees the one without the other.
    let fold = u64::from(xid) << 1 | (cut.epoch & 1);
    databases::with(database, |cell| cell.fold.store(fold, Ordering::SeqCst));
}

pub(super) fn fold_under_way(database: u32) -> Option<Fold> {
    let fold = databases::with(database, |cell| cell.fold.load(Ordering::SeqCst))?;
    (fold != 0).then_some(Fold { xid: (fold >> 1) as u32, parity: (fold & 1) as usize })
}

/// The fold has committed: its COMMIT callback. Cannot fail.
pub fn fold_committed(database: u32, cut: Cut) {
    let Some(_lock) = lock_journal(database, true) else {
        return;
    };
    buffer::note_folded(database, cut.relation, cut.epoch);
    databases::with(database, |cell| {
        cell.fold.store(0, Ordering::SeqCst);
        cell.folded_epoch.store(cut.epoch, Ordering::SeqCst);
        cell.needed_lsn.store(cut.lsn, Ordering::SeqCst);
    });
}

pub fn fold_aborted(database: u32) {
    databases::with(database, |cell| cell.fold.store(0, Ordering::SeqCst));
}

/// WAL is being read: until `open`, rows do not hold everything.
pub fn recovery_begins(database: u32, needed_lsn: u64) {
    databases::with(database, |cell| {
        cell.needed_lsn.store(needed_lsn, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Recovering as u32, Ordering::SeqCst);
    });
}

/// From where on deltas may be buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    pub relation: u32,
    pub key: u64,
    /// Epochs up to this one are in rows.
    pub epoch: u64,
    pub lsn: u64,
    pub recovered_records: u64,
}

/// Everything journaled is in rows: deltas may be buffered from now on, in the next epoch. Called in the COMMIT callback
/// of the transaction that wrote the position, while it has the tables locked. Cannot fail.
pub fn open(database: u32, opening: Opening) {
    databases::with(database, |cell| {
        cell.journal_key.store(opening.key, Ordering::SeqCst);
        cell.epoch.store(opening.epoch + 1, Ordering::SeqCst);
        cell.folded_epoch.store(opening.epoch, Ordering::SeqCst);
        cell.cut_lsn.store(opening.lsn, Ordering::SeqCst);
        cell.needed_lsn.store(opening.lsn, Ordering::SeqCst);
        cell.fold.store(0, Ordering::SeqCst);
        cell.recovered_records.fetch_add(opening.recovered_records, Ordering::Relaxed);
        cell.journal_relation.store(opening.relation, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Ready as u32, Ordering::SeqCst);
    });
}

/// Somebody has to look again whether there is anything to recover.
pub fn look_again(database: u32) {
    databases::with(database, |cell| {
        cell.journal_state.store(JournalState::Unknown as u32, Ordering::SeqCst);
    });
}

/// What records carry to show that they are ours.
pub fn key(database: u32) -> u64 {
    databases::with(database, |cell| cell.journal_key.load(Ordering::SeqCst)).unwrap_or(0)
}

/// There is no journal here.
pub fn publish_off(database: u32) {
    databases::with(database, |cell| {
        cell.needed_lsn.store(0, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Off as u32, Ordering::SeqCst);
    });
}

/// The tables are gone: nothing is buffered for them any more. Cannot fail.
pub fn close(database: u32) {
    databases::with(database, |cell| {
        cell.journal_relation.store(0, Ordering::SeqCst);
        cell.journal_wanted.store(0, Ordering::SeqCst);
        cell.journal_state.store(JournalState::Off as u32, Ordering::SeqCst);
        cell.needed_lsn.store(0, Ordering::SeqCst);
    });
}

/// The tables that deltas are buffered for; 0 when they are not.
pub fn relation(database: u32) -> u32 {
    databases::with(database, |cell| cell.journal_relation.load(Ordering::SeqCst)).unwrap_or(0)
}

/// Whether somebody in the database asked for buffered mode.
pub fn is_wanted(database: u32) -> bool {
    databases::with(database, |cell| cell.journal_wanted.load(Ordering::SeqCst) != 0).unwrap_or(false)
}

// --- the launcher, who owns the replication slot ---

/// What a database says of the WAL it needs: `None` while it does not know, 0 for none.
pub fn needed_lsn(database: u32) -> Option<u64> {
    databases::with(database, |cell| {
        let lsn = cell.needed_lsn.load(Ordering::SeqCst);
        match JournalState::from_number(cell.journal_state.load(Ordering::SeqCst)) {
            JournalState::Unknown => None,
            _ => Some(lsn),
        }
    })
    .flatten()
}

pub fn publish_retention(retention: Retention, lsn: u64) {
    if let Some(segment) = segment() {
        segment.header().retained_lsn.store(lsn, Ordering::SeqCst);
        segment.header().retention.store(retention as u32, Ordering::SeqCst);
    }
}

/// How the replication slot stands, and where it keeps WAL from.
pub fn retention() -> (Retention, u64) {
    segment().map_or((Retention::None, 0), |segment| {
        let header = segment.header();
        (
            Retention::from_number(header.retention.load(Ordering::SeqCst)),
            header.retained_lsn.load(Ordering::SeqCst),
        )
    })
}
