//! The launcher: finds the databases that have the extension, and sends compactors into them.
//!
//! It cannot look into a database itself, so it sends a compactor to each one it does not know yet; a compactor that
//! finds no extension says so and ends. From then on the database is left alone until CREATE EXTENSION there, or an
//! increment, asks for a worker. What dies is started again, with a growing delay.
//!
//! Where there are fewer places for workers than databases, the databases take turns. The launcher says how many of them wait, and as
//! many workers whose turn has lasted long enough end. Whose last turn is longest ago comes first, and those that ask for a
//! worker before those that do not.
//!
//! The launcher and its workers take at most half of max_worker_processes, and one worker there always is: the other half is for
//! parallel query, logical replication and other extensions. PostgreSQL gives a parallel query what is free and no more, so a
//! larger share of ours would silently make queries slower.
//!
//! BOUND: four bytes for each database of the server.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{COMPACTOR_MAIN, COMPACTOR_TYPE};
use crate::memory::workers::{self, Place, Progress, WorkerState};
use crate::memory::{self, databases};
use crate::pg::background::{self, Condition, StartArgument, Started};
use crate::pg::catalog::Database;
use crate::pg::{Oid, catalog, lock, xact};

/// How often the launcher looks for new databases without being asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How often it looks after workers that are starting or ending.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A worker that lived so long did not fail at its start.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Databases that are sent their first worker at once: the others' turn comes when these have answered.
const PROBES_AT_ONCE: usize = 2;
/// A database that does not ask for a worker has its turn so long after the last one: what came in by other ways (COMMIT PREPARED, a
/// restore) is to be folded too.
const UNASKED_TURN_INTERVAL: Duration = Duration::from_secs(10);
/// The same for one that has no cell to ask by.
const CELLLESS_TURN_INTERVAL: Duration = Duration::from_secs(3);

/// Workers there are at most, of as many as this server allows.
fn most_workers(max_worker_processes: usize) -> usize {
    const LAUNCHER: usize = 1;
    (max_worker_processes / 2).saturating_sub(LAUNCHER).max(1)
}

/// A database's worker as the launcher sees it.
struct Ward {
    worker: Option<Worker>,
    started_at: Instant,
    delay: Duration,
    not_before: Instant,
    /// It has answered: it stays, or there is no extension.
    known: bool,
    /// What the last worker said.
    has_extension: bool,
    /// When its last turn was over.
    served_at: Instant,
    had_cell: bool,
}

/// A worker that was sent into a database.
struct Worker {
    place: Place,
    /// Not there for those that the launcher before this one has sent.
    process: Option<Started>,
}

impl Worker {
    /// How far it is, and what it said of its database.
    fn look_at(&self) -> (Progress, WorkerState) {
        let (progress, verdict) = workers::look_at(self.place);
        let will_never_come = progress == Progress::Sent
            && self.process.as_ref().is_some_and(|process| process.condition() == Condition::Stopped)
            // It may have come and gone in between.
            && workers::look_at(self.place).0 == Progress::Sent;
        (if will_never_come { Progress::Gone } else { progress }, verdict)
    }
}

impl Ward {
    fn new() -> Ward {
        let now = Instant::now();
        Ward {
            worker: None,
            started_at: now,
            delay: FIRST_DELAY,
            not_before: now,
            known: false,
            has_extension: true,
            served_at: now,
            had_cell: false,
        }
    }

    /// Whether the database should have a worker: somebody asks for one, it has the extension, or nobody has looked yet.
    fn wants_worker(&self, database: u32) -> bool {
        !self.known || self.has_extension || workers::is_wanted(database) == Some(true)
    }

    /// Whether another database's worker is to give way for it.
    fn is_urgent(&self, database: u32) -> bool {
        let waits = self.served_at.elapsed();
        match workers::is_wanted(database) {
            Some(wanted) => wanted || !self.known || waits >= UNASKED_TURN_INTERVAL,
            None => !self.known || waits >= CELLLESS_TURN_INTERVAL,
        }
    }
}

background::entry_point!(counter_ext_launcher_main, run);

fn run(_argument: StartArgument) {
    background::connect(None);
    workers::launcher_started();
    let mut wards: HashMap<u32, Ward> = HashMap::new();
    for (database, place) in workers::take_over() {
        wards.insert(database, Ward { worker: Some(Worker { place, process: None }), ..Ward::new() });
    }
    let mut has_told_of_turns = false;
    let mut was_standby = xact::in_recovery();
    loop {
        if was_standby && !xact::in_recovery() {
            // Promoted: every database is to be looked at anew.
            was_standby = false;
            for ward in wards.values_mut() {
                ward.known = ward.worker.is_some();
                ward.not_before = Instant::now();
                ward.delay = FIRST_DELAY;
            }
        }
        if workers::takes_another_look() {
            look_anew_without_cells(&mut wards);
        }
        // Read before the list of databases: one made in between is not mistaken for a dropped one.
        let registered = databases::registered();
        match xact::run_in_worker(catalog::databases) {
            Ok(present) => compare(&mut wards, &registered, &present),
            Err(message) => pgrx::log!("counter_ext launcher: cannot list databases: {message}"),
        }
        let mut busy = false;
        for (database, ward) in &mut wards {
            busy |= look_after(*database, ward);
        }
        let started = start_wanted(&mut wards);
        busy |= started.waits_for_an_answer;
        workers::publish_queue(started.queue);
        if started.queue > 0 && started.are_too_few && !has_told_of_turns {
            has_told_of_turns = true;
            pgrx::log!(
                "counter_ext launcher: databases take turns at background workers, since there are too few for all; raise \
                 max_worker_processes, of which counter_ext takes at most half"
            );
        }
        let interval = match (busy || started.queue > 0, was_standby) {
            (true, _) => BUSY_INTERVAL,
            (_, true) => FIRST_DELAY,
            _ => LOOK_INTERVAL,
        };
        if !background::rest(interval) {
            break;
        }
    }
    workers::launcher_ended();
    background::exit_to_be_restarted();
}

/// Somebody has created the extension, perhaps in a database that has no cell to say so.
fn look_anew_without_cells(wards: &mut HashMap<u32, Ward>) {
    for (database, ward) in wards {
        if ward.worker.is_none() && !databases::is_registered(*database) {
            ward.known = false;
        }
    }
}

/// Takes in new databases, and frees what dropped ones had. One that refuses connections keeps its cell.
fn compare(wards: &mut HashMap<u32, Ward>, registered: &[u32], present: &[Database]) {
    let existing: HashSet<u32> = present.iter().map(|database| u32::from(database.oid)).collect();
    let connectable: HashSet<u32> = present
        .iter()
        .filter(|database| database.connectable)
        .map(|database| u32::from(database.oid))
        .collect();
    for database in &connectable {
        wards.entry(*database).or_insert_with(Ward::new);
    }
    // Elsewhere who drops a database does this, and nobody counts in the one that comes after it before that is done.
    if xact::in_recovery() {
        let gone: HashSet<u32> = registered.iter().chain(wards.keys()).copied().collect();
        gone.difference(&existing).copied().for_each(memory::purge_database);
    }
    registered
        .iter()
        .filter(|database| !existing.contains(database))
        .copied()
        .for_each(databases::unregister);
    wards.retain(|database, ward| connectable.contains(database) || ward.worker.is_some());
    for (database, ward) in wards {
        let has_cell = databases::is_registered(*database);
        if ward.had_cell && !has_cell {
            // It had nothing going on, so its cell went to another database, and its place in memory goes too.
            memory::invalidate_database(*database);
        }
        ward.had_cell = has_cell;
    }
}

/// Takes note of what became of a worker. Returns whether to look again soon.
fn look_after(database: u32, ward: &mut Ward) -> bool {
    let Some(worker) = &ward.worker else {
        return Instant::now() < ward.not_before && ward.wants_worker(database);
    };
    let (progress, verdict) = worker.look_at();
    match progress {
        Progress::Sent => true,
        Progress::Serving => {
            ward.known |= verdict != WorkerState::None;
            ward.has_extension &= verdict != WorkerState::NoExtension;
            !ward.known
        }
        Progress::Gone => {
            workers::take_back(worker.place);
            ward.worker = None;
            ward.known |= verdict != WorkerState::Held;
            ward.served_at = Instant::now();
            ward.has_extension = verdict != WorkerState::NoExtension;
            workers::unregister_without_extension(database);
            plan_the_next(ward, verdict);
            true
        }
    }
}

/// When the next worker may be sent, after one has ended.
fn plan_the_next(ward: &mut Ward, verdict: WorkerState) {
    ward.not_before = Instant::now();
    match verdict {
        WorkerState::NoExtension | WorkerState::Held | WorkerState::Waiting => ward.delay = FIRST_DELAY,
        _ if ward.started_at.elapsed() > HEALTHY_AFTER => ward.delay = FIRST_DELAY,
        _ => {
            ward.not_before += ward.delay;
            ward.delay = (ward.delay * 2).min(LONGEST_DELAY);
        }
    }
}

/// What starting the workers that are wanted came to.
#[derive(Default)]
struct Round {
    /// Databases that wait until another one's worker gives way.
    queue: u32,
    /// Whether there are too few workers for those that have the extension. Others wait to be looked into, once.
    are_too_few: bool,
    /// Whether a first answer is still awaited, or a command kept a worker out.
    waits_for_an_answer: bool,
}

/// What sending a worker came to.
enum Sent {
    Yes(Worker),
    KeptOut,
    NoPlace,
}

/// Starts the workers that are wanted, as far as there are places for them.
fn start_wanted(wards: &mut HashMap<u32, Ward>) -> Round {
    let mut round = Round::default();
    // A standby has nothing to compact, and nothing to keep.
    if xact::in_recovery() {
        return round;
    }
    let mut probes = wards.values().filter(|ward| ward.worker.is_some() && !ward.known).count();
    round.waits_for_an_answer = probes > 0;
    let mut workers_there = wards.values().filter(|ward| ward.worker.is_some()).count();
    let now = Instant::now();
    let mut wanted: Vec<(bool, Instant, u32)> = wards
        .iter()
        .filter(|(database, ward)| {
            ward.worker.is_none() && now >= ward.not_before && ward.wants_worker(**database)
        })
        .map(|(database, ward)| (!ward.is_urgent(*database), ward.served_at, *database))
        .collect();
    wanted.sort_unstable();
    let with_extension = wards.values().filter(|ward| ward.known && ward.has_extension).count();
    round.are_too_few = with_extension > most_workers(background::max_workers());
    let mut is_full = false;
    for (can_wait, _, database) in wanted {
        let Some(ward) = wards.get_mut(&database) else { continue };
        if !ward.known && probes >= PROBES_AT_ONCE {
            round.waits_for_an_answer = true;
            continue;
        }
        is_full |= workers_there >= most_workers(background::max_workers());
        if is_full {
            round.queue += u32::from(!can_wait);
            continue;
        }
        match send(database, ward.known) {
            Sent::Yes(worker) => {
                ward.worker = Some(worker);
                ward.started_at = Instant::now();
                workers_there += 1;
                probes += usize::from(!ward.known);
                round.waits_for_an_answer = true;
            }
            Sent::KeptOut => round.waits_for_an_answer = true,
            Sent::NoPlace => {
                is_full = true;
                round.are_too_few = true;
                round.queue += u32::from(!can_wait);
            }
        }
    }
    round
}

/// Sends a worker into a database. A command that needs the database alone either sees the place that is marked here, or is seen here.
fn send(database: u32, is_known: bool) -> Sent {
    let Some(place) = workers::assign(database) else { return Sent::NoPlace };
    let is_kept_out = workers::is_held(database)
        || xact::run_in_worker(|| lock::is_database_locked(Oid::from(database))).unwrap_or(true);
    if is_kept_out {
        workers::take_back(place);
        return Sent::KeptOut;
    }
    // Only a database that nobody has looked into is given a cell here; in others CREATE EXTENSION or an increment asks for one.
    if !is_known {
        databases::register_if_free(database);
    }
    let name = format!("{COMPACTOR_TYPE} for database {database}");
    match background::start(&name, COMPACTOR_TYPE, COMPACTOR_MAIN, place.argument()) {
        Some(process) => Sent::Yes(Worker { place, process: Some(process) }),
        None => {
            workers::take_back(place);
            Sent::NoPlace
        }
    }
}

#[cfg(test)]
mod tests {
    use super::most_workers;

    #[test]
    fn half_of_the_worker_processes_are_left_to_others_and_one_worker_there_always_is() {
        let most: Vec<usize> = [0, 1, 2, 3, 4, 6, 8, 16].map(most_workers).to_vec();
        assert_eq!(most, [1, 1, 1, 1, 1, 2, 3, 7]);
    }
}
