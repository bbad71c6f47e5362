//! Loading a counter's total from rows into memory while others commit, so that every delta is counted once.
//!
//! Contract, in order:
//!
//! 1. Under the exclusive partition lock the entry is made: LOADING, and without a snapshot. A committer that finds it so
//!    does not add its delta: its commit is visible already, so the snapshot that is still to come will see the rows.
//! 2. The caller checks, without the lock, that no prepared transaction holds rows of the id (COMMIT PREPARED runs
//!    no callback). A transaction that prepares later marks the id first and then invalidates the entry.
//! 3. Under the lock again the snapshot is taken and published in the load cell, and the value starts from the
//!    buffered deltas that the snapshot does not see in rows. From now on a committer skips what the snapshot saw
//!    and adds everything else; buffered deltas are always added.
//! 4. Rows are summed under the snapshot, without the lock.
//! 5. Backends whose commit the snapshot saw, but that have not run their callback yet, are waited for.
//! 6. Under the lock the sum is added and the entry becomes LOADED, unless it was invalidated meanwhile.
//!
//! After an `ERROR` or `FATAL` at any step the abort of the transaction or savepoint removes the entry. Where a loader stands
//! still for long, the process that waits for it removes the entry, and reads rows. `tests/memory_model` runs steps 1, 3, 5
//! and 6 among commits in every order.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::key::{Hashed, Key};
use super::layout::*;
use super::partition::{ExclusivePartition, SharedPartition};
use super::segment::{Segment, segment};
use super::table::{self, Found};
use super::{buffer, cells, databases};
use crate::pg::process;
use crate::pg::session::session_local;
use crate::pg::snapshot::{Snapshot, Taken};

/// How long a reader waits for another backend's load or commit before it reads rows instead.
const PATIENCE: Duration = Duration::from_millis(200);

/// A load under way; dropping it gives it up.
pub struct Ticket<'a> {
    segment: Segment,
    hashed: Hashed<'a>,
    generation: u64,
    cell: u8,
    finished: bool,
}

#[derive(Clone, Copy)]
struct Unfinished {
    partition: usize,
    hash: u64,
    generation: u64,
    cell: u8,
}

session_local! {
    /// For the abort callback: neither ERROR nor FATAL drops the ticket.
    static UNFINISHED: Cell<Option<Unfinished>> = const { Cell::new(None) };
}

/// Begins to load a counter that memory does not have. `None` when another backend was faster, or there is no room.
pub fn begin(key: Key<'_>) -> Option<Ticket<'_>> {
    let segment = segment()?;
    let hashed = Hashed::new(&segment, key);
    let cell = take_cell(&segment)?;
    let mut partition = segment.lock_partition(hashed.partition);
    let made = match partition.find(&hashed) {
        Some(index) => warm_up(&partition, index, cell).then_some(index),
        None => table::make(&mut partition, &hashed, Some(cell)),
    };
    let Some(index) = made else {
        drop(partition);
        free_cell(&segment, cell);
        return None;
    };
    let generation = partition.entry(index).generation();
    UNFINISHED.set(Some(Unfinished { partition: hashed.partition, hash: hashed.hash, generation, cell }));
    Some(Ticket { segment, hashed, generation, cell, finished: false })
}

/// Makes a COLD entry LOADING; false when it is not cold.
fn warm_up(partition: &ExclusivePartition, index: u32, cell: u8) -> bool {
    let entry = partition.entry(index);
    if entry.state() != COLD {
        return false;
    }
    entry.set_load_cell(Some(cell));
    entry.touch();
    entry.lifecycle().load_begins(partition.segment().draw_generation());
    true
}

impl Ticket<'_> {
    /// Takes the snapshot that the rows are to be summed under. `None` when the entry was invalidated.
    pub fn take_snapshot(&self) -> Option<Snapshot> {
        let partition = self.segment.lock_partition(self.hashed.partition);
        let index = self.current(&partition)?;
        let taken = Taken::now();
        // Buffered deltas that are not in the rows that the sum will see; committers add theirs from now on.
        let buffered = buffer::unfolded_by(&partition, index, &taken);
        partition.entry(index).value.store(buffered, Ordering::SeqCst);
        let xids = self.segment.load_cell_xids(self.cell as usize);
        let running = taken.running();
        if running.len() > xids.len() {
            return None;
        }
        for (place, xid) in xids.iter().zip(running) {
            place.store(*xid, Ordering::Relaxed);
        }
        let cell = self.segment.load_cell(self.cell as usize);
        cell.xmin.set(taken.xmin());
        cell.xmax.set(taken.xmax());
        cell.running.set(running.len() as u32);
        cell.has_snapshot.set(1);
        drop(partition);
        Some(taken.register())
    }

    /// Enters the sum and makes the entry LOADED; returns the total now. `None` when that cannot be done exactly:
    /// the entry was invalidated, a commit takes too long, or the total does not fit bigint.
    pub fn finish(mut self, snapshot: &Snapshot, sum: i128) -> Option<i64> {
        let database = self.hashed.key.database;
        if !cells::await_commits_seen_by(database, snapshot, PATIENCE) {
            databases::count(database, |cell| &cell.load_timeouts, 1);
            return None;
        }
        let value = {
            let partition = self.segment.lock_partition(self.hashed.partition);
            let entry = partition.entry(self.current(&partition)?);
            let value = sum + i128::from(entry.value.load(Ordering::SeqCst));
            let value = i64::try_from(value).ok()?;
            entry.set_load_cell(None);
            entry.lifecycle().load_ends(value);
            value
        };
        self.finished = true;
        databases::count(database, |cell| &cell.loads, 1);
        Some(value)
    }

    /// Our entry, if it is still there.
    fn current(&self, partition: &SharedPartition) -> Option<u32> {
        partition.find(&self.hashed).filter(|index| partition.entry(*index).generation() == self.generation)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An ERROR may have come while the partition lock was held, which only the transaction's abort
            // releases: `abandon` runs there.
            return;
        }
        if !self.finished {
            let mut partition = self.segment.lock_partition(self.hashed.partition);
            if let Some(index) = self.current(&partition) {
                table::forget(&mut partition, index);
            }
        }
        UNFINISHED.set(None);
        free_cell(&self.segment, self.cell);
    }
}

/// Gives up this backend's load, if it has one: called at transaction and savepoint abort, after PostgreSQL released
/// all lightweight locks.
pub fn abandon() {
    let (Some(segment), Some(mine)) = (segment(), UNFINISHED.take()) else {
        return;
    };
    {
        let mut partition = segment.lock_partition(mine.partition);
        if let Some(index) = partition.find_generation(mine.hash, mine.generation) {
            table::forget(&mut partition, index);
        }
    }
    free_cell(&segment, mine.cell);
}

fn take_cell(segment: &Segment) -> Option<u8> {
    let pid = process::my_pid() as u32;
    // Not all begin at the same one.
    let first = process::my_slot().unwrap_or(0);
    (0..LOAD_CELLS).find_map(|step| {
        let index = (first + step) % LOAD_CELLS;
        let cell = segment.load_cell(index);
        cell.owner.compare_exchange(0, pid, Ordering::SeqCst, Ordering::Relaxed).ok()?;
        // Nobody else looks at it before the entry that names it is published under the partition's lock.
        cell.has_snapshot.set(0);
        Some(index as u8)
    })
}

fn free_cell(segment: &Segment, cell: u8) {
    let cell = segment.load_cell(cell as usize);
    cell.owner.store(0, Ordering::SeqCst);
    // SAFETY: initialised when the segment was made; it has a lock of its own inside.
    unsafe { pg_sys::ConditionVariableBroadcast(cell.finished.as_ptr()) };
}

/// Waits for another backend's load. Returns what memory then says; past its patience removes the stuck entry, so
/// that only one reader had to wait, and says `Absent`.
pub fn await_load(key: Key<'_>, generation: u64, cell: Option<u8>) -> Found {
    let Some(segment) = segment() else {
        return Found::Absent;
    };
    let Some(cell) = cell else { return table::read(key) };
    let started = Instant::now();
    // Should it serve another load meanwhile, that only wakes us once too often.
    let finished = segment.load_cell(cell as usize).finished.as_ptr();
    // SAFETY: initialised when the segment was made, and mapped for the life of the process.
    unsafe { pg_sys::ConditionVariablePrepareToSleep(finished) };
    let found = loop {
        match table::read(key) {
            Found::Loading { generation: now, .. } if now == generation => {}
            found => break found,
        }
        if started.elapsed() > PATIENCE {
            overtake(&segment, key, generation);
            databases::count(key.database, |cell| &cell.load_timeouts, 1);
            break Found::Absent;
        }
        // SAFETY: as above.
        unsafe { pg_sys::ConditionVariableTimedSleep(finished, 10, pg_sys::PG_WAIT_EXTENSION) };
    };
    // SAFETY: as above.
    unsafe { pg_sys::ConditionVariableCancelSleep() };
    found
}

fn overtake(segment: &Segment, key: Key<'_>, generation: u64) {
    let hashed = Hashed::new(segment, key);
    let mut partition = segment.lock_partition(hashed.partition);
    if let Some(index) = partition.find(&hashed) {
        let entry = partition.entry(index);
        if entry.generation() == generation && entry.state() == LOADING {
            table::forget(&mut partition, index);
        }
    }
}

/// Before a value read from rows is given out: waits until memory has caught up with what the snapshot saw. False when that takes
/// too long: memory must then forget what was read from rows, or a later read from it would be below what this one shows.
#[must_use]
pub fn settle_after_rows(database: u32, snapshot: &Snapshot) -> bool {
    cells::await_commits_seen_by(database, snapshot, PATIENCE)
}
