//! The launcher: finds databases that have the extension, and keeps a compactor in each.
//!
//! It cannot look into a database itself, so it sends a compactor to each one it does not know yet; a compactor that
//! finds no extension says so and ends. From then on the database is left alone until CREATE EXTENSION there, or an
//! increment, asks for a worker. What dies is started again, with a growing delay.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{COMPACTOR_MAIN, COMPACTOR_TYPE, WATCHER_MAIN, WATCHER_TYPE, retention};
use crate::memory::{self, databases};
use crate::pg::background::{self, Condition, StartArgument, Started};
use crate::pg::catalog::Database;
use crate::pg::{Oid, catalog, replication_slot, xact};

/// How often the launcher looks for new databases without being asked.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How often a standby looks into databases that had no extension.
const STANDBY_PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// How often it looks after workers that are starting or ending.
const BUSY_INTERVAL: Duration = Duration::from_millis(200);
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A worker that lived so long did not fail at its start.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);
/// Databases that are sent their first worker at once: the others' turn comes when these have answered.
const PROBES_AT_ONCE: usize = 2;

/// A database's worker as the launcher sees it.
struct Ward {
    worker: Option<Started>,
    started_at: Instant,
    delay: Duration,
    not_before: Instant,
    /// It has answered: it stays, or there is no extension.
    known: bool,
}

impl Ward {
    fn new() -> Ward {
        let now = Instant::now();
        Ward { worker: None, started_at: now, delay: FIRST_DELAY, not_before: now, known: false }
    }
}

background::entry_point!(counter_ext_launcher_main, run);

fn run(_argument: StartArgument) {
    background::connect(None);
    databases::launcher_started();
    let mut wards: HashMap<u32, Ward> = HashMap::new();
    let mut complained = false;
    let mut has_listed = false;
    let mut complaint: Option<String> = None;
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
        // Read before the list of databases: one made in between is not mistaken for a dropped one.
        let registered = databases::registered();
        match xact::run_in_worker(catalog::databases) {
            Ok(present) => {
                compare(&mut wards, &registered, &present);
                has_listed = true;
            }
            Err(message) => pgrx::log!("counter_ext launcher: cannot list databases: {message}"),
        }
        let mut busy = false;
        for (database, ward) in &mut wards {
            busy |= look_after(*database, ward);
        }
        let (started_all, probing) = start_wanted(&mut wards);
        busy |= probing;
        if !started_all && !complained {
            pgrx::log!("counter_ext launcher: no background worker slot is free; raise max_worker_processes");
        }
        complained = !started_all;
        // One that refuses connections now may still need what it needed.
        let others = databases::registered().into_iter().filter(|database| !wards.contains_key(database));
        let known: Vec<retention::Known> = wards
            .iter()
            .map(|(database, ward)| retention::Known { database: *database, answered: ward.known })
            .chain(others.map(|database| retention::Known { database, answered: true }))
            .collect();
        // Without a list nobody seems to need anything.
        let tended = if has_listed { retention::tend(&known).err() } else { None };
        if let Some(message) = tended.as_ref().filter(|message| complaint.as_ref() != Some(message)) {
            pgrx::log!("counter_ext launcher: {message}");
        }
        complaint = tended;
        let interval = match (busy, was_standby) {
            (true, _) => BUSY_INTERVAL,
            (_, true) => FIRST_DELAY,
            _ => LOOK_INTERVAL,
        };
        if !background::rest(interval) {
            break;
        }
    }
    databases::launcher_ended();
    background::exit_to_be_restarted();
}

/// Takes in new databases, and frees what dropped ones had. One that refuses connections keeps its cell; where buffered
/// mode is used anywhere it also gets a worker, since it may have something to recover.
fn compare(wards: &mut HashMap<u32, Ward>, registered: &[u32], present: &[Database]) {
    let all_count = replication_slot::exists();
    let existing: HashSet<u32> = present.iter().map(|database| u32::from(database.oid)).collect();
    let connectable: HashSet<u32> = present
        .iter()
        .filter(|database| database.connectable || (all_count && !database.is_off_limits))
        .map(|database| u32::from(database.oid))
        .collect();
    for database in &connectable {
        wards.entry(*database).or_insert_with(Ward::new);
    }
    wards.retain(|database, ward| connectable.contains(database) || ward.worker.is_some());
    for database in registered.iter().filter(|database| !existing.contains(database)) {
        memory::purge_database(*database);
        databases::unregister(*database);
    }
}

/// Takes note of what became of a worker. Returns whether to look again soon.
fn look_after(database: u32, ward: &mut Ward) -> bool {
    let Some(worker) = &ward.worker else {
        return Instant::now() < ward.not_before && databases::wants_worker(database);
    };
    match worker.condition() {
        Condition::Starting => true,
        Condition::Running => {
            ward.known |= databases::worker_pid(database) != 0;
            !ward.known
        }
        Condition::Stopped => {
            ward.worker = None;
            ward.known = true;
            if databases::is_held(database) {
                ward.not_before = Instant::now();
                return true;
            }
            let no_extension = databases::has_no_extension(database);
            databases::unregister_without_extension(database);
            if no_extension && xact::in_recovery() {
                // Nobody tells a standby of CREATE EXTENSION: it looks again.
                ward.not_before = Instant::now() + STANDBY_PROBE_INTERVAL;
                return false;
            }
            if no_extension || ward.started_at.elapsed() > HEALTHY_AFTER {
                ward.delay = FIRST_DELAY;
                ward.not_before = Instant::now();
            } else {
                ward.not_before = Instant::now() + ward.delay;
                ward.delay = (ward.delay * 2).min(LONGEST_DELAY);
            }
            true
        }
    }
}

/// Starts the workers that are wanted. Returns whether there was a place for each, and whether a first answer is
/// still awaited.
fn start_wanted(wards: &mut HashMap<u32, Ward>) -> (bool, bool) {
    let mut probes = wards.values().filter(|w| w.worker.is_some() && !w.known).count();
    let mut started_all = true;
    let mut waiting = probes > 0;
    for (database, ward) in wards.iter_mut() {
        if ward.worker.is_some() || Instant::now() < ward.not_before {
            continue;
        }
        // Only a database that nobody has looked into is given a cell here; in others the extension asks for one.
        let looks = !ward.known || xact::in_recovery();
        if looks && !databases::register(*database) {
            continue;
        }
        if !databases::wants_worker(*database) || databases::has_worker(*database) {
            continue;
        }
        if databases::is_held(*database) || (!ward.known && probes >= PROBES_AT_ONCE) {
            waiting = true;
            continue;
        }
        let (kind, main) =
            if xact::in_recovery() { (WATCHER_TYPE, WATCHER_MAIN) } else { (COMPACTOR_TYPE, COMPACTOR_MAIN) };
        let name = format!("{kind} for database {database}");
        match background::start(&name, kind, main, Oid::from(*database)) {
            Some(worker) => {
                ward.worker = Some(worker);
                ward.started_at = Instant::now();
                probes += usize::from(!ward.known);
                waiting = true;
            }
            None => started_all = false,
        }
    }
    (started_all, waiting)
}
