//! Loading a counter into memory while others commit, counting everything once.
//!
//! Contract, in order:
//!
//! 1. Under the exclusive partition lock the entry is made, LOADING without a snapshot. A committer that meets it
//!    now skips its delta: it is visible already, so the snapshot will see it.
//! 2. The caller checks, without the lock, that no prepared transaction holds rows of the id (COMMIT PREPARED runs
//!    no callback). A transaction that prepares later marks the id first and then invalidates the entry.
//! 3. Under the lock again the snapshot is taken and published in the load cell, and the value starts from the
//!    buffered deltas that the snapshot does not see in rows. From now on a committer skips what the snapshot saw
//!    and adds everything else; buffered deltas are always added.
//! 4. Rows are summed under the snapshot, without the lock.
//! 5. Backends whose commit the snapshot saw, but that have not run their callback yet, are waited for.
//! 6. Under the lock the sum is added and the entry becomes LOADED, unless it was invalidated meanwhile.
//!
//! After an `ERROR` or `FATAL` at any step the transaction's or savepoint's abort removes the entry. A loader that is
//! stopped for long is overtaken: who waits for it removes the entry and reads rows.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::layout::*;
use super::segment::{Segment, segment};
use super::table::{self, Found, Hashed, Key};
use super::{buffer, cells, databases};
use crate::pg::process;
use crate::pg::snapshot::Snapshot;

/// How long a reader waits for another backend's load or commit before it reads rows instead.
const PATIENCE: Duration = Duration::from_millis(200);

/// A load under way; dropping it gives it up.
pub struct Ticket<'a> {
    segment: Segment,
    hashed: Hashed<'a>,
    generation: u64,
    cell: u32,
    finished: bool,
}

#[derive(Clone, Copy)]
struct Unfinished {
    partition: usize,
    hash: u64,
    generation: u64,
    cell: u32,
}

thread_local! {
    /// For the abort callback: neither ERROR nor FATAL drops the ticket.
    static UNFINISHED: Cell<Option<Unfinished>> = const { Cell::new(None) };
}

/// Begins to load a counter that memory does not have. `None` when another backend was faster, or there is no room.
pub fn begin(key: Key<'_>) -> Option<Ticket<'_>> {
    let segment = segment()?;
    let hashed = Hashed::new(&segment, key);
    let cell = take_cell(&segment)?;
    let _held = segment.lock_partition(hashed.partition);
    let made = match table::find(&segment, &hashed) {
        Some(index) => warm_up(&segment, hashed.partition, index, cell).then_some(index),
        None => table::make(&segment, &hashed, Some(cell)),
    };
    let Some(index) = made else {
        free_cell(&segment, cell);
        return None;
    };
    // SAFETY: exclusive under the partition lock.
    let generation = unsafe { (*segment.entry(hashed.partition, index)).generation.load(Ordering::Relaxed) };
    UNFINISHED.set(Some(Unfinished { partition: hashed.partition, hash: hashed.hash, generation, cell }));
    Some(Ticket { segment, hashed, generation, cell, finished: false })
}

/// Makes a COLD entry LOADING; false when it is not cold. The caller holds the exclusive partition lock.
fn warm_up(segment: &Segment, partition: usize, index: u32, cell: u32) -> bool {
    // SAFETY: exclusive under the partition lock.
    let entry = unsafe { &mut *segment.entry(partition, index) };
    if entry.state.load(Ordering::Relaxed) != COLD {
        return false;
    }
    table::draw_generation(segment, entry);
    entry.load_cell = cell;
    entry.used.store(1, Ordering::Relaxed);
    entry.state.store(LOADING, Ordering::Relaxed);
    true
}

impl Ticket<'_> {
    /// Takes the snapshot that the rows are to be summed under. `None` when the entry was invalidated.
    pub fn take_snapshot(&self) -> Option<Snapshot> {
        let _held = self.segment.lock_partition(self.hashed.partition);
        let index = self.current()?;
        let snapshot = Snapshot::fresh();
        // Buffered deltas that are not in the rows that the sum will see; committers add theirs from now on.
        let buffered = buffer::unfolded_by(&self.segment, self.hashed.partition, index, &snapshot);
        // SAFETY: exclusive under the partition lock.
        let entry = unsafe { &*self.segment.entry(self.hashed.partition, index) };
        entry.value.store(buffered, Ordering::SeqCst);
        let (xids, room) = self.segment.load_cell_xids(self.cell as usize);
        let running = snapshot.running();
        if running.len() > room {
            return None;
        }
        // SAFETY: the cell is ours, and committers read it under the shared partition lock, which excludes ours.
        unsafe {
            std::ptr::copy_nonoverlapping(running.as_ptr(), xids, running.len());
            let cell = self.segment.load_cell(self.cell as usize);
            (*cell).xmin = snapshot.xmin();
            (*cell).xmax = snapshot.xmax();
            (*cell).running = running.len() as u32;
            (*cell).has_snapshot = 1;
        }
        Some(snapshot)
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
            let _held = self.segment.lock_partition(self.hashed.partition);
            let index = self.current()?;
            // SAFETY: exclusive under the partition lock.
            let entry = unsafe { &mut *self.segment.entry(self.hashed.partition, index) };
            let value = sum + i128::from(entry.value.load(Ordering::SeqCst));
            let value = i64::try_from(value).ok()?;
            entry.value.store(value, Ordering::SeqCst);
            entry.load_cell = NIL;
            entry.state.store(LOADED, Ordering::SeqCst);
            value
        };
        self.finished = true;
        databases::count(database, |cell| &cell.loads, 1);
        Some(value)
    }

    /// Our entry, if it is still there. The caller holds the partition lock.
    fn current(&self) -> Option<u32> {
        let index = table::find(&self.segment, &self.hashed)?;
        // SAFETY: found under the partition lock.
        let entry = unsafe { &*self.segment.entry(self.hashed.partition, index) };
        (entry.generation.load(Ordering::Relaxed) == self.generation).then_some(index)
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
            let _held = self.segment.lock_partition(self.hashed.partition);
            if let Some(index) = self.current() {
                table::forget(&self.segment, self.hashed.partition, index);
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
        let _held = segment.lock_partition(mine.partition);
        // SAFETY: chains are walked under the exclusive partition lock.
        unsafe {
            let mut index = *segment.bucket(mine.partition, mine.hash);
            while index != NIL {
                let entry = &*segment.entry(mine.partition, index);
                if entry.generation.load(Ordering::Relaxed) == mine.generation {
                    table::forget(&segment, mine.partition, index);
                    break;
                }
                index = entry.next;
            }
        }
    }
    free_cell(&segment, mine.cell);
}

fn take_cell(segment: &Segment) -> Option<u32> {
    let pid = process::my_pid() as u32;
    (0..LOAD_CELLS).find_map(|index| {
        let cell = segment.load_cell(index);
        // SAFETY: in bounds; ownership goes by compare-and-swap, and the owner alone writes the rest until the
        // entry is published under the partition lock.
        unsafe {
            (*cell).owner.compare_exchange(0, pid, Ordering::SeqCst, Ordering::Relaxed).ok()?;
            (*cell).has_snapshot = 0;
        }
        Some(index as u32)
    })
}

fn free_cell(segment: &Segment, cell: u32) {
    // SAFETY: the cell is ours; waiters only sleep on its condition variable.
    unsafe {
        let cell = segment.load_cell(cell as usize);
        (*cell).owner.store(0, Ordering::SeqCst);
        pg_sys::ConditionVariableBroadcast(&raw mut (*cell).finished);
    }
}

/// Waits for another backend's load. Returns what memory then says; past its patience removes the stuck entry, so
/// that only one reader had to wait, and says `Absent`.
pub fn await_load(key: Key<'_>, generation: u64, cell: u32) -> Found {
    let Some(segment) = segment() else {
        return Found::Absent;
    };
    if cell as usize >= LOAD_CELLS {
        return table::read(key);
    }
    let started = Instant::now();
    // SAFETY: the cell lies in the segment; sleeping on a condition variable that meanwhile serves another load
    // only wakes us once too often.
    let finished = unsafe { &raw mut (*segment.load_cell(cell as usize)).finished };
    // SAFETY: as above.
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
    let _held = segment.lock_partition(hashed.partition);
    if let Some(index) = table::find(segment, &hashed) {
        // SAFETY: exclusive under the partition lock.
        let entry = unsafe { &*segment.entry(hashed.partition, index) };
        if entry.generation.load(Ordering::Relaxed) == generation
            && entry.state.load(Ordering::Relaxed) == LOADING
        {
            table::forget(segment, hashed.partition, index);
        }
    }
}

/// Before a value read from rows is given out: waits until memory has caught up with what the snapshot saw, so that
/// a later read from memory is not below it.
pub fn settle_after_rows(database: u32, snapshot: &Snapshot) {
    cells::await_commits_seen_by(database, snapshot, PATIENCE);
}
