//! Workers: who serves which database, who waits for one, and which commands keep them out.
//!
//! Contract:
//!
//! - The launcher alone gives worker places away and takes them back. A place says which database its worker is for, from before the
//!   postmaster is asked for a process until that process is gone. Stage and generation of a place are one word, changed by
//!   compare-and-swap, so that a worker that comes late finds that it is not meant any more.
//! - A command that needs a database without connections first notes that in its process's word among the holds, and then looks at all
//!   places. The launcher first marks a place and then looks at the holds; so does a worker before it connects. Whichever
//!   comes second sees the other: no worker slips in, and the command waits for one that is there already.
//! - A hold counts while the process that noted it lives. It lasts as long as the command; what PostgreSQL itself locks until the end of
//!   the transaction (ALTER DATABASE … RENAME) the launcher sees by that lock.
//! - A worker that stands still holds nobody up: sessions watch its heartbeat.
//! - All is atomics; a crash makes them anew, and ends the workers.
//!
//! BOUND: as many places as background workers can have.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use super::databases::{self, with};
use super::layout::WorkerPlace;
use super::segment::segment;
use super::statistics::{self, Pass};
use crate::pg::process;
use crate::pg::session::session_local;

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
    /// Gone, to let another database have its turn.
    Waiting = 5,
}

impl WorkerState {
    fn from_number(number: u32) -> WorkerState {
        match number {
            1 => WorkerState::Idle,
            2 => WorkerState::Compacting,
            3 => WorkerState::NoExtension,
            4 => WorkerState::Held,
            5 => WorkerState::Waiting,
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
            WorkerState::Waiting => "waiting",
        }
    }
}

// --- places: the launcher, and the workers it sends ---

/// How far a place is. The lowest bits of its word; the generation is above them.
const STAGE_BITS: u32 = 2;
const STAGES: u64 = (1 << STAGE_BITS) - 1;
const FREE: u64 = 0;
/// The launcher has sent a worker, or is about to.
const ASSIGNED: u64 = 1;
/// The worker is there. It may be about to connect.
const SERVING: u64 = 2;
/// The worker will not touch the database any more, but may be connected still.
const LEFT: u64 = 3;

/// A worker's place, as one assignment of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    index: usize,
    generation: u64,
}

/// Bits of a worker's argument that say which place it is.
const INDEX_BITS: u32 = 16;

impl Place {
    /// What the worker is started with.
    pub fn argument(self) -> u64 {
        self.generation << INDEX_BITS | self.index as u64
    }

    fn of_argument(argument: u64) -> Place {
        let index = argument & ((1 << INDEX_BITS) - 1);
        Place { index: index as usize, generation: argument >> INDEX_BITS }
    }

    fn word(self, stage: u64) -> u64 {
        self.generation << STAGE_BITS | stage
    }

    fn shared(self) -> Option<&'static WorkerPlace> {
        segment()?.worker_places().get(self.index)
    }

    fn stage(self) -> u64 {
        let Some(place) = self.shared() else { return FREE };
        let word = place.word.load(Ordering::SeqCst);
        if word >> STAGE_BITS == self.generation { word & STAGES } else { FREE }
    }

    fn step(self, from: u64, to: u64) -> bool {
        self.shared().is_some_and(|place| {
            let (from, to) = (self.word(from), self.word(to));
            place.word.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }
}

/// How far a worker is, as the launcher sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has not shown up yet.
    Sent,
    Serving,
    Gone,
}

session_local! {
    static MY_PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// Takes a place for a worker of the database. `None` where all are taken. Only the launcher calls this.
pub fn assign(database: u32) -> Option<Place> {
    let places = segment()?.worker_places();
    let (index, place) =
        places.iter().enumerate().find(|(_, place)| place.word.load(Ordering::SeqCst) & STAGES == FREE)?;
    let generation = (place.word.load(Ordering::SeqCst) >> STAGE_BITS) + 1;
    place.pid.store(0, Ordering::SeqCst);
    place.verdict.store(WorkerState::None as u32, Ordering::SeqCst);
    place.database.store(database, Ordering::SeqCst);
    let assigned = Place { index, generation };
    place.word.store(assigned.word(ASSIGNED), Ordering::SeqCst);
    Some(assigned)
}

/// The place is free again. Only the launcher calls this, when the worker is gone or will never come.
pub fn take_back(place: Place) {
    if let Some(shared) = place.shared() {
        let next = Place { generation: place.generation + 1, ..place };
        shared.word.store(next.word(FREE), Ordering::SeqCst);
        shared.database.store(0, Ordering::SeqCst);
    }
}

/// How far the place's worker is, and what it has said of its database.
pub fn look_at(place: Place) -> (Progress, WorkerState) {
    let Some(shared) = place.shared() else { return (Progress::Gone, WorkerState::None) };
    let progress = match place.stage() {
        ASSIGNED => Progress::Sent,
        stage if is_there(shared, stage) => Progress::Serving,
        _ => Progress::Gone,
    };
    (progress, WorkerState::from_number(shared.verdict.load(Ordering::SeqCst)))
}

/// Whether a place's worker exists, connected or not.
fn is_there(place: &WorkerPlace, stage: u64) -> bool {
    let pid = place.pid.load(Ordering::SeqCst) as i32;
    match stage {
        FREE => false,
        // It writes its process id right after it has taken up the place.
        SERVING => pid == 0 || process::exists(pid),
        LEFT => process::is_backend(pid),
        _ => true,
    }
}

/// A launcher that is just starting takes over the workers of the one before it; those who have not shown up yet are not meant any
/// more.
pub fn take_over() -> Vec<(u32, Place)> {
    let Some(segment) = segment() else { return Vec::new() };
    let mut taken = Vec::new();
    for (index, shared) in segment.worker_places().iter().enumerate() {
        let word = shared.word.load(Ordering::SeqCst);
        let place = Place { index, generation: word >> STAGE_BITS };
        let next = Place { generation: place.generation + 1, ..place };
        let was_assigned = word & STAGES == ASSIGNED;
        if was_assigned
            && shared.word.compare_exchange(word, next.word(FREE), Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            shared.database.store(0, Ordering::SeqCst);
        } else if was_assigned || word & STAGES != FREE {
            taken.push((shared.database.load(Ordering::SeqCst), place));
        }
    }
    taken
}

/// This process is the worker of the argument's place: the database it is to serve. `None` where it is not meant any more, or a
/// command keeps workers out: then it must not connect.
pub fn take_up(argument: u64) -> Option<u32> {
    let place = Place::of_argument(argument);
    if !place.step(ASSIGNED, SERVING) {
        return None;
    }
    let shared = place.shared()?;
    MY_PLACE.set(Some(place));
    shared.slot.store(process::my_slot().unwrap_or(0) as u32, Ordering::SeqCst);
    shared.pid.store(process::my_pid() as u32, Ordering::SeqCst);
    let database = shared.database.load(Ordering::SeqCst);
    if is_held(database) {
        leave(WorkerState::Held);
        return None;
    }
    Some(database)
}

/// This worker is connected, and at work.
pub fn connected(database: u32) {
    if let Some(shared) = MY_PLACE.get().and_then(Place::shared) {
        shared.verdict.store(WorkerState::Idle as u32, Ordering::SeqCst);
    }
    show_up(database);
}

/// Sessions of this worker's database find it in the database's cell, which it may have got just now.
pub fn show_up(database: u32) {
    with(database, |cell| {
        let me = process::my_pid() as u32;
        if cell.worker.pid.load(Ordering::Relaxed) != me {
            cell.worker.slot.store(process::my_slot().unwrap_or(0) as u32, Ordering::Relaxed);
            cell.worker.state.store(WorkerState::Idle as u32, Ordering::Relaxed);
            cell.worker.wanted.store(0, Ordering::SeqCst);
            cell.worker.pid.store(me, Ordering::Release);
        }
    });
}

/// This worker ends, for a reason; called in its exit callback too, where the reason given first counts.
pub fn leave(verdict: WorkerState) {
    let Some(place) = MY_PLACE.take() else { return };
    if let Some(shared) = place.shared() {
        let database = shared.database.load(Ordering::SeqCst);
        with(database, |cell| {
            let me = process::my_pid() as u32;
            if cell.worker.pid.compare_exchange(me, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                cell.worker.state.store(verdict as u32, Ordering::Relaxed);
            }
        });
        shared.verdict.store(verdict as u32, Ordering::SeqCst);
        place.step(SERVING, LEFT);
    }
    wake_launcher();
}

pub fn set_state(database: u32, state: WorkerState) {
    with(database, |cell| cell.worker.state.store(state as u32, Ordering::Relaxed));
}

/// The worker has got something done.
pub fn beat(database: u32) {
    with(database, |cell| cell.worker.heartbeat.fetch_add(1, Ordering::Relaxed));
}

// --- turns ---

/// The launcher says how many databases wait until a worker of another one gives way; those who could are woken.
pub fn publish_queue(databases: u32) {
    let Some(segment) = segment() else { return };
    segment.header().databases_in_queue.store(databases, Ordering::SeqCst);
    if databases > 0 {
        for place in segment.worker_places() {
            if place.word.load(Ordering::SeqCst) & STAGES == SERVING && place.pid.load(Ordering::SeqCst) != 0
            {
                process::wake(place.slot.load(Ordering::SeqCst) as usize);
            }
        }
    }
}

/// Whether databases wait for a worker that cannot be had until another one gives way.
fn is_anybody_in_queue() -> bool {
    segment().is_some_and(|segment| segment.header().databases_in_queue.load(Ordering::SeqCst) > 0)
}

/// Whether this worker is to give way to another database; each of those in the queue is given way to once.
pub fn gives_way() -> bool {
    segment().is_some_and(|segment| {
        let queue = &segment.header().databases_in_queue;
        queue.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| waiting.checked_sub(1)).is_ok()
    })
}

// --- passes ---

/// The number of the last pass asked for; a pass that begins after reading it serves all requests up to it.
pub fn passes_requested(database: u32) -> u64 {
    with(database, |cell| cell.worker.passes_requested.load(Ordering::SeqCst)).unwrap_or(0)
}

/// Whether somebody waits for a pass.
pub fn pass_wanted(database: u32) -> bool {
    with(database, |cell| {
        cell.worker.passes_requested.load(Ordering::SeqCst)
            > cell.worker.passes_completed.load(Ordering::SeqCst)
    })
    .unwrap_or(false)
}

/// Notes a pass, and wakes those who asked for it.
pub fn pass_completed(database: u32, serves: u64, pass: Pass) {
    statistics::note_pass(database, pass);
    answer(database, serves, pass.rows);
}

/// A pass could not be made: those who asked for it make their own.
pub fn pass_failed(database: u32, serves: u64) {
    answer(database, serves, NO_PASS);
}

/// In `last_pass_rows`: the worker could not make the pass.
const NO_PASS: u64 = u64::MAX;

/// Tells those who asked for a pass up to `serves` what came of it.
fn answer(database: u32, serves: u64, rows: u64) {
    with(database, |cell| {
        cell.worker.last_pass_rows.store(rows, Ordering::SeqCst);
        cell.worker.passes_completed.fetch_max(serves, Ordering::SeqCst);
        // SAFETY: initialised at start; the cell is mapped for the life of the process.
        unsafe { pg_sys::ConditionVariableBroadcast(cell.worker.pass_done.0.as_ptr()) };
    });
}

/// Asks the worker for a pass that nobody waits for. Called at commit: cannot fail.
pub fn want_pass(database: u32) {
    with(database, |cell| cell.worker.passes_requested.fetch_add(1, Ordering::SeqCst));
    want_worker(database);
    wake_worker(database);
}

/// Asks the worker for a pass and waits for it. `None` when the worker cannot make it (somebody, perhaps the caller, holds the
/// tables), stands still, or is not there and cannot be had soon.
pub fn request_pass(database: u32) -> Option<u64> {
    /// A restarted worker needs about a second.
    const WITHOUT_WORKER: Duration = Duration::from_secs(5);
    /// A worker that is at work gets something done far more often.
    const STANDSTILL: Duration = Duration::from_secs(3);
    const LONGEST_WAIT: Duration = Duration::from_secs(60);
    let worker = with(database, |cell| &cell.worker)?;
    let started = Instant::now();
    let ticket = worker.passes_requested.fetch_add(1, Ordering::SeqCst) + 1;
    want_worker(database);
    wake_worker(database);
    let mut last_seen = started;
    let mut last_beat = started;
    let mut heartbeat = worker.heartbeat.load(Ordering::Relaxed);
    let done = worker.pass_done.0.as_ptr();
    // SAFETY: initialised at start; the cell is mapped for the life of the process.
    unsafe { pg_sys::ConditionVariablePrepareToSleep(done) };
    let rows = loop {
        if worker.passes_completed.load(Ordering::SeqCst) >= ticket {
            let rows = worker.last_pass_rows.load(Ordering::SeqCst);
            break (rows != NO_PASS).then_some(rows);
        }
        let beat = worker.heartbeat.load(Ordering::Relaxed);
        if beat != heartbeat {
            (heartbeat, last_beat) = (beat, Instant::now());
        }
        if has_worker(database) {
            last_seen = Instant::now();
        } else {
            last_beat = Instant::now();
            if !can_worker_come() || last_seen.elapsed() > WITHOUT_WORKER {
                break None;
            }
        }
        if last_beat.elapsed() > STANDSTILL || started.elapsed() > LONGEST_WAIT {
            break None;
        }
        // SAFETY: as above; interrupts are let through inside.
        unsafe { pg_sys::ConditionVariableTimedSleep(done, 100, pg_sys::PG_WAIT_EXTENSION) };
    };
    // SAFETY: as above.
    unsafe { pg_sys::ConditionVariableCancelSleep() };
    rows
}

/// Whether a database that has no worker may have one soon: there is a launcher, and nobody waits for a free slot.
pub fn can_worker_come() -> bool {
    segment().is_some_and(|segment| {
        process::is_backend(segment.header().launcher_pid.load(Ordering::Acquire) as i32)
    }) && !is_anybody_in_queue()
}

// --- sessions ---

/// Asks the launcher for a worker where there is none. Called at commit: cheap, and cannot fail.
pub fn want_worker(database: u32) {
    let wake = with(database, |cell| {
        cell.worker.pid.load(Ordering::Relaxed) == 0 && cell.worker.wanted.swap(1, Ordering::SeqCst) == 0
    });
    if wake == Some(true) {
        wake_launcher();
    }
}

/// As `want_worker`, also in a database that has counted nothing yet. Not at a commit.
pub fn call_worker(database: u32) {
    if databases::register(database) {
        want_worker(database);
    }
}

/// A worker that ends while there is work left asks for the next one.
pub fn want_again(database: u32) {
    with(database, |cell| cell.worker.wanted.store(1, Ordering::SeqCst));
}

/// Asks for a worker even where one looked and found no extension: the extension was just created.
pub fn extension_created(database: u32) {
    databases::register(database);
    if let Some(segment) = segment() {
        segment.header().look_again.store(1, Ordering::SeqCst);
    }
    // Under the lock, so that the launcher does not take the cell in between.
    databases::change(database, |cell| {
        cell.worker.state.store(WorkerState::None as u32, Ordering::Relaxed);
        cell.worker.wanted.store(1, Ordering::SeqCst);
    });
    wake_launcher();
    wake_worker(database);
}

/// Makes the worker look again: the extension was just dropped.
pub fn extension_dropped(database: u32) {
    with(database, |cell| cell.worker.passes_requested.fetch_add(1, Ordering::SeqCst));
    wake_worker(database);
}

/// Wakes the database's worker.
pub fn wake_worker(database: u32) {
    with(database, |cell| {
        if cell.worker.pid.load(Ordering::Acquire) != 0 {
            process::wake(cell.worker.slot.load(Ordering::Relaxed) as usize);
        }
    });
}

/// What the database's worker is doing; `None` where the database has no cell to say so.
pub fn state(database: u32) -> Option<WorkerState> {
    with(database, |cell| WorkerState::from_number(cell.worker.state.load(Ordering::Relaxed)))
}

/// The worker's process id, 0 when there is none.
pub fn pid(database: u32) -> u32 {
    with(database, |cell| cell.worker.pid.load(Ordering::Acquire)).unwrap_or(0)
}

/// Whether there is a worker whose passes are seen here.
pub fn has_worker(database: u32) -> bool {
    process::is_backend(pid(database) as i32)
}

// --- commands that need a database without connections ---

/// Keeps workers out of a database until `release`; of one database at a time.
pub fn hold(database: u32) {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && let Some(word) = segment.holds().get(slot)
    {
        word.store(u64::from(process::my_pid() as u32) << 32 | u64::from(database), Ordering::SeqCst);
    }
}

/// Lets workers in again. Cannot fail.
pub fn release() {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && let Some(word) = segment.holds().get(slot)
    {
        let database = word.swap(0, Ordering::SeqCst) as u32;
        with(database, |cell| cell.worker.wanted.store(1, Ordering::SeqCst));
        wake_launcher();
    }
}

/// Whether a live process holds workers out.
pub fn is_held(database: u32) -> bool {
    segment().is_some_and(|segment| {
        segment.holds().iter().enumerate().any(|(slot, word)| {
            let word = word.load(Ordering::SeqCst);
            word as u32 == database && word != 0 && process::pid_in_slot(slot) == (word >> 32) as u32
        })
    })
}

/// Asks the database's workers to end, and also those that are just connecting where `impatient`: they look for holds as soon as they
/// are in, but may wait to be let in. Returns whether any is there still, or on its way.
pub fn send_away(database: u32, impatient: bool) -> bool {
    let Some(segment) = segment() else { return false };
    let mut any = false;
    for place in segment.worker_places().iter() {
        let word = place.word.load(Ordering::SeqCst);
        if word & STAGES == FREE || place.database.load(Ordering::SeqCst) != database {
            continue;
        }
        let is_there = is_there(place, word & STAGES);
        any |= is_there;
        let is_connected = place.verdict.load(Ordering::SeqCst) != WorkerState::None as u32;
        if is_there && word & STAGES == SERVING && (is_connected || impatient) {
            process::ask_to_end(place.pid.load(Ordering::SeqCst) as i32);
        }
    }
    any
}

// --- the launcher's side ---

/// Whether somebody in the database asks for a worker; `None` where it has no cell to ask by.
pub fn is_wanted(database: u32) -> Option<bool> {
    with(database, |cell| {
        cell.worker.wanted.load(Ordering::SeqCst) != 0
            || cell.worker.passes_requested.load(Ordering::SeqCst)
                > cell.worker.passes_completed.load(Ordering::SeqCst)
    })
}

/// Takes the cell of a database where a worker found no extension, and nobody has asked for one since.
pub fn unregister_without_extension(database: u32) {
    databases::unregister_if(database, |cell| {
        cell.worker.wanted.load(Ordering::SeqCst) == 0
            && cell.worker.state.load(Ordering::Relaxed) == WorkerState::NoExtension as u32
    });
}

/// Whether somebody created the extension since this was last asked.
pub fn takes_another_look() -> bool {
    segment().is_some_and(|segment| segment.header().look_again.swap(0, Ordering::SeqCst) != 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_workers_argument_says_which_assignment_of_which_place(index in 0usize..0x1_0000, generation in 0u64..1 << 46) {
            let place = Place { index, generation };
            prop_assert_eq!(Place::of_argument(place.argument()), place);
        }
    }
}
