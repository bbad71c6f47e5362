//! One cell a database: its statistics, its worker, and what is asked of it.
//!
//! Contract: a cell is given to a database, and taken from one that is gone, under the database lock; the error text
//! is guarded by the same lock. All else is atomics. A backend remembers where its own database's cell is, and looks
//! whether it still is: a database that turned out to have no extension loses its cell too.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::cells;
use super::layout::*;
use super::segment::{Segment, segment};
use crate::pg::process;

/// What a database's worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Not there.
    None = 0,
    Idle = 1,
    Compacting = 2,
    /// It looked and found no extension.
    NoExtension = 3,
    /// Gone, to make room for a command that needs the database alone.
    Held = 4,
}

impl WorkerState {
    fn from_number(number: u32) -> WorkerState {
        match number {
            1 => WorkerState::Idle,
            2 => WorkerState::Compacting,
            3 => WorkerState::NoExtension,
            4 => WorkerState::Held,
            _ => WorkerState::None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            WorkerState::None => "none",
            WorkerState::Idle => "idle",
            WorkerState::Compacting => "compacting",
            WorkerState::NoExtension => "no extension",
            WorkerState::Held => "held",
        }
    }
}

/// What `counter_stats` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    pub worker_pid: u32,
    pub worker_state: Option<WorkerState>,
    pub increments: u64,
    pub compactions: u64,
    pub rows_folded: u64,
    pub last_compaction_at_us: i64,
    pub overflowed: u64,
    pub errors: u64,
    pub last_error: String,
    pub last_error_at_us: i64,
    pub entries: i64,
    pub loads: u64,
    pub load_timeouts: u64,
    pub evictions: u64,
    pub invalidations: u64,
}

thread_local! {
    static MINE: Cell<Option<(u32, usize)>> = const { Cell::new(None) };
}

fn cell_of(segment: &Segment, index: usize) -> &'static DatabaseCell {
    // SAFETY: in bounds and mapped for the life of the process; shared access touches atomics, and the error text
    // under the database lock.
    unsafe { &*segment.database_cell(index) }
}

fn find(segment: &Segment, database: u32) -> Option<usize> {
    if let Some((known, index)) = MINE.get()
        && known == database
        && cell_of(segment, index).database.load(Ordering::Acquire) == database
    {
        return Some(index);
    }
    let index = (0..DATABASES).find(|i| cell_of(segment, *i).database.load(Ordering::Acquire) == database)?;
    if u32::from(crate::pg::catalog::my_database()) == database {
        MINE.set(Some((database, index)));
    }
    Some(index)
}

/// Where the database's cell is.
pub(super) fn index_of(database: u32) -> Option<usize> {
    find(&segment()?, database)
}

pub(super) fn with<T>(database: u32, look: impl FnOnce(&'static DatabaseCell) -> T) -> Option<T> {
    let segment = segment()?;
    find(&segment, database).map(|index| look(cell_of(&segment, index)))
}

/// Gives the database a cell, if it has none and one is free.
pub fn register(database: u32) -> bool {
    let Some(segment) = segment() else {
        return false;
    };
    if find(&segment, database).is_some() {
        return true;
    }
    let _held = segment.lock_databases();
    if find(&segment, database).is_some() {
        return true;
    }
    let free = (0..DATABASES).find(|i| cell_of(&segment, *i).database.load(Ordering::Relaxed) == 0);
    let Some(free) = free else { return false };
    let cell = cell_of(&segment, free);
    for counter in [
        &cell.passes_requested,
        &cell.passes_completed,
        &cell.last_pass_rows,
        &cell.increments,
        &cell.visits,
        &cell.filtered,
        &cell.compactions,
        &cell.rows_folded,
        &cell.overflowed,
        &cell.loads,
        &cell.load_timeouts,
        &cell.evictions,
        &cell.invalidations,
        &cell.errors,
        &cell.journal_key,
        &cell.epoch,
        &cell.folded_epoch,
        &cell.cut_lsn,
        &cell.needed_lsn,
        &cell.fold,
        &cell.drains_begun,
        &cell.drains_done,
        &cell.buffered_increments,
        &cell.journal_bytes,
        &cell.recovered_records,
    ] {
        counter.store(0, Ordering::Relaxed);
    }
    for number in [
        &cell.worker_pid,
        &cell.worker_state,
        &cell.held_by,
        &cell.wanted,
        &cell.journal_state,
        &cell.journal_relation,
        &cell.journal_wanted,
        &cell.cut_delayed_by,
        &cell.group_queue,
    ] {
        number.store(0, Ordering::Relaxed);
    }
    for number in [&cell.last_compaction_at_us, &cell.last_error_at_us, &cell.entries, &cell.last_drain_at_us]
    {
        number.store(0, Ordering::Relaxed);
    }
    for pid in &cell.restored_by {
        pid.store(0, Ordering::Relaxed);
    }
    // SAFETY: guarded by the database lock.
    unsafe { (*segment.database_cell(free)).last_error_length = 0 };
    cell.database.store(database, Ordering::Release);
    true
}

/// Whether the database has a cell.
pub fn is_registered(database: u32) -> bool {
    index_of(database).is_some()
}

/// Whether one more database could have a cell.
pub fn has_free_cell() -> bool {
    segment().is_some_and(|segment| {
        (0..DATABASES).any(|i| cell_of(&segment, i).database.load(Ordering::Relaxed) == 0)
    })
}

/// Takes the cell of a database that is gone.
pub fn unregister(database: u32) {
    unregister_if(database, |_| true);
}

/// Takes the cell of a database where a worker found no extension, and nobody has asked for one since.
pub fn unregister_without_extension(database: u32) {
    unregister_if(database, |cell| {
        cell.wanted.load(Ordering::SeqCst) == 0
            && cell.worker_state.load(Ordering::Relaxed) == WorkerState::NoExtension as u32
    });
}

fn unregister_if(database: u32, may: impl FnOnce(&DatabaseCell) -> bool) {
    let Some(segment) = segment() else { return };
    let _held = segment.lock_databases();
    if let Some(index) = find(&segment, database) {
        let cell = cell_of(&segment, index);
        if may(cell) {
            cell.database.store(0, Ordering::Release);
        }
    }
}

/// Databases that have a cell.
pub fn registered() -> Vec<u32> {
    let Some(segment) = segment() else {
        return Vec::new();
    };
    (0..DATABASES)
        .map(|i| cell_of(&segment, i).database.load(Ordering::Acquire))
        .filter(|database| *database != 0)
        .collect()
}

/// Adds to one of the database's counters; nothing where it has no cell.
pub(super) fn count(database: u32, field: impl FnOnce(&DatabaseCell) -> &AtomicU64, by: u64) {
    with(database, |cell| field(cell).fetch_add(by, Ordering::Relaxed));
}

pub(super) fn adjust_entries(database: u32, by: i64) {
    with(database, |cell| cell.entries.fetch_add(by, Ordering::Relaxed));
}

/// Committed increments so far, to see whether there is anything to compact.
pub fn increments(database: u32) -> u64 {
    with(database, |cell| cell.increments.load(Ordering::Relaxed)).unwrap_or(0) + cells::counted(database).0
}

/// Counts sketches that committed visits have changed.
pub fn count_visits(database: u32, sketches: u64) {
    count(database, |cell| &cell.visits, sketches);
}

/// Counts a view that a bot filter did not count.
pub fn count_filtered(database: u32) {
    if register(database) {
        count(database, |cell| &cell.filtered, 1);
    }
}

/// Views filtered so far; `None` where nothing is measured.
pub fn filtered(database: u32) -> Option<u64> {
    with(database, |cell| cell.filtered.load(Ordering::Relaxed))
}

/// Visits so far, to see whether there is anything to compact.
pub fn visits(database: u32) -> u64 {
    with(database, |cell| cell.visits.load(Ordering::Relaxed)).unwrap_or(0)
}

// --- the worker's side ---

/// The worker is there.
pub fn worker_started(database: u32) {
    with(database, |cell| {
        cell.worker_slot.store(process::my_slot().unwrap_or(0) as u32, Ordering::Relaxed);
        cell.worker_state.store(WorkerState::Idle as u32, Ordering::Relaxed);
        cell.wanted.store(0, Ordering::Relaxed);
        cell.worker_pid.store(process::my_pid() as u32, Ordering::Release);
    });
}

/// The worker ends; called in its exit callback too.
pub fn worker_ended(database: u32, state: WorkerState) {
    with(database, |cell| {
        let me = process::my_pid() as u32;
        if cell.worker_pid.compare_exchange(me, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            cell.worker_state.store(state as u32, Ordering::Relaxed);
        }
    });
    wake_launcher();
}

pub fn set_worker_state(database: u32, state: WorkerState) {
    with(database, |cell| cell.worker_state.store(state as u32, Ordering::Relaxed));
}

/// The number of the last pass asked for; a pass that begins after reading it serves all requests up to it.
pub fn passes_requested(database: u32) -> u64 {
    with(database, |cell| cell.passes_requested.load(Ordering::SeqCst)).unwrap_or(0)
}

/// Whether somebody waits for a pass.
pub fn pass_wanted(database: u32) -> bool {
    with(database, |cell| {
        cell.passes_requested.load(Ordering::SeqCst) > cell.passes_completed.load(Ordering::SeqCst)
    })
    .unwrap_or(false)
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub rows: u64,
    pub overflowed: u64,
}

/// Notes a pass, and wakes those who asked for it.
pub fn pass_completed(database: u32, serves: u64, pass: Pass) {
    note_pass(database, pass);
    answer(database, serves, pass.rows);
}

/// A pass could not be made: those who asked for it make their own.
pub fn pass_failed(database: u32, serves: u64) {
    answer(database, serves, NO_PASS);
}

/// Tells those who asked for a pass up to `serves` what came of it.
fn answer(database: u32, serves: u64, rows: u64) {
    with(database, |cell| {
        cell.last_pass_rows.store(rows, Ordering::SeqCst);
        cell.passes_completed.fetch_max(serves, Ordering::SeqCst);
        // SAFETY: initialised at start; the cell is mapped for the life of the process.
        unsafe {
            pg_sys::ConditionVariableBroadcast((&raw const cell.pass_done).cast_mut());
        }
    });
}

/// In `last_pass_rows`: the worker could not make the pass.
const NO_PASS: u64 = u64::MAX;

/// Counts a pass, whoever ran it.
pub fn note_pass(database: u32, pass: Pass) {
    with(database, |cell| {
        cell.compactions.fetch_add(1, Ordering::Relaxed);
        cell.rows_folded.fetch_add(pass.rows, Ordering::Relaxed);
        cell.overflowed.store(pass.overflowed, Ordering::Relaxed);
        cell.last_compaction_at_us.store(process::now_us(), Ordering::Relaxed);
    });
}

/// Notes a worker's error. Returns whether it differs from the last one, that is, deserves a log line.
pub fn note_error(database: u32, message: &str) -> bool {
    let Some(segment) = segment() else {
        return true;
    };
    let Some(index) = find(&segment, database) else {
        return true;
    };
    let cell = cell_of(&segment, index);
    cell.errors.fetch_add(1, Ordering::Relaxed);
    cell.last_error_at_us.store(process::now_us(), Ordering::Relaxed);
    let _held = segment.lock_databases();
    // SAFETY: the error text is guarded by the database lock.
    let cell = unsafe { &mut *segment.database_cell(index) };
    let mut end = message.len().min(cell.last_error.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let bytes = &message.as_bytes()[..end];
    let differs = &cell.last_error[..cell.last_error_length as usize] != bytes;
    cell.last_error[..end].copy_from_slice(bytes);
    cell.last_error_length = end as u32;
    differs
}

// --- the backends' side ---

/// Asks the launcher for a worker where there is none. Called at commit: cheap, and cannot fail.
pub fn want_worker(database: u32) {
    let wake = with(database, |cell| {
        cell.worker_pid.load(Ordering::Relaxed) == 0 && cell.wanted.swap(1, Ordering::SeqCst) == 0
    });
    if wake == Some(true) {
        wake_launcher();
    }
}

/// Asks for a worker even where one looked and found no extension: the extension was just created.
pub fn extension_created(database: u32) {
    if let Some(segment) = segment() {
        // Under the lock, so that the launcher does not take the cell in between.
        let _held = segment.lock_databases();
        if let Some(index) = find(&segment, database) {
            let cell = cell_of(&segment, index);
            cell.worker_state.store(WorkerState::None as u32, Ordering::Relaxed);
            cell.wanted.store(1, Ordering::SeqCst);
        }
    }
    wake_launcher();
    wake_worker(database);
}

/// Makes the worker look again: the extension was just dropped.
pub fn extension_dropped(database: u32) {
    with(database, |cell| cell.passes_requested.fetch_add(1, Ordering::SeqCst));
    wake_worker(database);
}

/// Wakes the database's worker.
pub fn wake_worker(database: u32) {
    with(database, |cell| {
        if cell.worker_pid.load(Ordering::Acquire) != 0 {
            process::wake(cell.worker_slot.load(Ordering::Relaxed) as usize);
        }
    });
}

/// The worker's process id, 0 when there is none.
pub fn worker_pid(database: u32) -> u32 {
    with(database, |cell| cell.worker_pid.load(Ordering::Acquire)).unwrap_or(0)
}

/// Whether there is a worker whose passes are seen here.
pub fn has_worker(database: u32) -> bool {
    process::is_backend(worker_pid(database) as i32)
}

/// Asks the worker for a pass and waits for it. `None` when the worker cannot make it (somebody, perhaps the caller,
/// holds the tables), went away and did not come back, or stands still.
pub fn request_pass(database: u32) -> Option<u64> {
    /// A restarted worker needs about a second.
    const WITHOUT_WORKER: Duration = Duration::from_secs(5);
    /// Far longer than any pass.
    const LONGEST_WAIT: Duration = Duration::from_secs(60);
    let segment = segment()?;
    let cell = cell_of(&segment, find(&segment, database)?);
    let started = Instant::now();
    let ticket = cell.passes_requested.fetch_add(1, Ordering::SeqCst) + 1;
    wake_worker(database);
    let mut last_seen = Instant::now();
    let done = (&raw const cell.pass_done).cast_mut();
    // SAFETY: initialised at start; the cell is mapped for the life of the process.
    unsafe { pg_sys::ConditionVariablePrepareToSleep(done) };
    let rows = loop {
        if cell.passes_completed.load(Ordering::SeqCst) >= ticket {
            let rows = cell.last_pass_rows.load(Ordering::SeqCst);
            break (rows != NO_PASS).then_some(rows);
        }
        if has_worker(database) {
            last_seen = Instant::now();
        } else if last_seen.elapsed() > WITHOUT_WORKER {
            break None;
        }
        if started.elapsed() > LONGEST_WAIT {
            break None;
        }
        // SAFETY: as above; interrupts are let through inside.
        unsafe { pg_sys::ConditionVariableTimedSleep(done, 100, pg_sys::PG_WAIT_EXTENSION) };
    };
    // SAFETY: as above.
    unsafe { pg_sys::ConditionVariableCancelSleep() };
    rows
}

/// The database's statistics, where it has any.
pub fn statistics(database: u32) -> Option<Statistics> {
    let segment = segment()?;
    let index = find(&segment, database)?;
    let cell = cell_of(&segment, index);
    let last_error = {
        let _held = segment.lock_databases();
        // SAFETY: the error text is guarded by the database lock.
        let cell = unsafe { &*segment.database_cell(index) };
        String::from_utf8_lossy(&cell.last_error[..cell.last_error_length as usize]).into_owned()
    };
    let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Some(Statistics {
        worker_pid: cell.worker_pid.load(Ordering::Acquire),
        worker_state: Some(WorkerState::from_number(cell.worker_state.load(Ordering::Relaxed))),
        increments: number(&cell.increments) + cells::counted(database).0,
        compactions: number(&cell.compactions),
        rows_folded: number(&cell.rows_folded),
        last_compaction_at_us: cell.last_compaction_at_us.load(Ordering::Relaxed),
        overflowed: number(&cell.overflowed),
        errors: number(&cell.errors),
        last_error,
        last_error_at_us: cell.last_error_at_us.load(Ordering::Relaxed),
        entries: cell.entries.load(Ordering::Relaxed),
        loads: number(&cell.loads),
        load_timeouts: number(&cell.load_timeouts),
        evictions: number(&cell.evictions),
        invalidations: number(&cell.invalidations),
    })
}

// --- commands that need a database without connections ---

/// Keeps workers out of a database while this process runs such a command, unless another process does already;
/// returns the worker to be ended.
pub fn hold(database: u32) -> u32 {
    with(database, |cell| {
        let holder = cell.held_by.load(Ordering::SeqCst);
        if !process::is_backend(holder as i32) {
            let me = process::my_pid() as u32;
            let _ = cell.held_by.compare_exchange(holder, me, Ordering::SeqCst, Ordering::Relaxed);
        }
        cell.worker_pid.load(Ordering::SeqCst)
    })
    .unwrap_or(0)
}

/// Lets workers in again.
pub fn release(database: u32) {
    with(database, |cell| {
        let me = process::my_pid() as u32;
        let _ = cell.held_by.compare_exchange(me, 0, Ordering::SeqCst, Ordering::Relaxed);
        cell.wanted.store(1, Ordering::SeqCst);
    });
    wake_launcher();
}

/// Whether a live process holds workers out.
pub fn is_held(database: u32) -> bool {
    with(database, |cell| process::is_backend(cell.held_by.load(Ordering::SeqCst) as i32)).unwrap_or(false)
}

// --- the launcher's side ---

/// Whether the launcher should start a worker: somebody wants one, or nobody has looked yet.
pub fn wants_worker(database: u32) -> bool {
    with(database, |cell| {
        cell.wanted.load(Ordering::SeqCst) != 0
            || cell.worker_state.load(Ordering::Relaxed) != WorkerState::NoExtension as u32
    })
    .unwrap_or(false)
}

/// What a worker that ended said of the database.
pub fn has_no_extension(database: u32) -> bool {
    with(database, |cell| cell.worker_state.load(Ordering::Relaxed) == WorkerState::NoExtension as u32)
        .unwrap_or(false)
}

/// This process is the launcher.
pub fn launcher_started() {
    if let Some(segment) = segment() {
        let header = segment.header();
        header.launcher_slot.store(process::my_slot().unwrap_or(0) as u32, Ordering::Relaxed);
        header.launcher_pid.store(process::my_pid() as u32, Ordering::Release);
    }
}

/// The launcher ends.
pub fn launcher_ended() {
    if let Some(segment) = segment() {
        segment.header().launcher_pid.store(0, Ordering::Release);
    }
}

pub fn wake_launcher() {
    if let Some(segment) = segment() {
        let header = segment.header();
        if header.launcher_pid.load(Ordering::Acquire) != 0 {
            process::wake(header.launcher_slot.load(Ordering::Relaxed) as usize);
        }
    }
}
