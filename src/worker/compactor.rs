//! The compactor of one database: a pass now and then, each in several short transactions.
//!
//! Its commits are asynchronous: a pass that a crash takes back only leaves the rows as they were, and whoever
//! commits later makes it durable on the way. An error ends the pass, not the worker; it is logged when it is new,
//! counted always, and the next pass tries again, later each time.

use std::time::{Duration, Instant};

use super::journal_keeper::Keeper;
use super::serve_database;
use crate::audit::sealing;
use crate::counting::compaction::{self, Batch, SHARES};
use crate::counting::read;
use crate::idempotency;
use crate::memory::databases::{self, Pass, WorkerState};
use crate::memory::epochs::{self, JournalState};
use crate::memory::restore_guard::NewRows;
use crate::memory::table;
use crate::pg::background::{self, StartArgument};
use crate::pg::lock::{self, Subject};
use crate::pg::table::Access;
use crate::pg::{Oid, wal, xact};
use crate::rows::access::{self, Tables};
use crate::rows::fold::Share;
use crate::rows::journal_position;
use crate::rows::list::Id;
use crate::settings;
use crate::visitors::compaction as visits;

/// A pass is followed by at least so many times its own duration of rest: under a held snapshot, where dead rows
/// pile up, it then costs no more than a fifth of a core.
const REST_PER_WORK: u32 = 4;
/// Without increments a pass is still made now and then, for what came in by other ways (COMMIT PREPARED, a restore).
const IDLE_PASS_INTERVAL: Duration = Duration::from_secs(10);
/// How soon what a lock kept from being recovered or set up is tried again.
const JOURNAL_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const RATE_INTERVAL: Duration = Duration::from_secs(1);
/// How often tokens that are too old are forgotten.
const PURGE_INTERVAL: Duration = Duration::from_secs(30);
const LONGEST_ERROR_DELAY: Duration = Duration::from_secs(60);

/// Why a pass ended early.
pub(super) enum Obstacle {
    NoExtension,
    /// DDL or another pass holds the tables.
    Busy,
    Ending,
    Failed(String),
}

background::entry_point!(counter_ext_compactor_main, serve);

fn serve(argument: StartArgument) {
    serve_database(argument, run);
}

/// Works until told to end.
fn run(database: u32) -> WorkerState {
    background::set_setting("synchronous_commit", "off");
    let mut compactor = Compactor::new(database);
    loop {
        let rest = match compactor.round() {
            Ok(rest) => rest,
            Err(Obstacle::NoExtension) => return WorkerState::NoExtension,
            Err(Obstacle::Ending) => return WorkerState::None,
            Err(Obstacle::Busy) => compactor.put_off(None),
            Err(Obstacle::Failed(message)) => compactor.put_off(Some(message)),
        };
        if !background::rest(rest) {
            return WorkerState::None;
        }
    }
}

/// What the worker remembers between rounds.
struct Compactor {
    database: u32,
    keeper: Keeper,
    last_pass: Instant,
    /// When it was last looked whether a pass is due.
    looked_at: Instant,
    /// The next pass comes this long after the last one, or after the interval if that is longer.
    least_rest: Duration,
    last_rates: Instant,
    last_purge: Instant,
    /// Increments and visits that the last pass knew of.
    seen_changes: u64,
    /// The last pass found nothing to do.
    idle: bool,
    error_delay: Duration,
}

impl Compactor {
    fn new(database: u32) -> Compactor {
        let now = Instant::now();
        Compactor {
            database,
            keeper: Keeper::default(),
            last_pass: now - IDLE_PASS_INTERVAL,
            looked_at: now - IDLE_PASS_INTERVAL,
            least_rest: Duration::ZERO,
            last_rates: now,
            last_purge: now,
            seen_changes: u64::MAX,
            idle: false,
            error_delay: Duration::ZERO,
        }
    }

    /// Drains, makes a pass if one is due, and says how long to rest.
    fn round(&mut self) -> Result<Duration, Obstacle> {
        let next_round = self.keeper.tend(self.database)?;
        if self.until_pass().is_zero() || databases::pass_wanted(self.database) {
            self.pass_if_due()?;
        }
        if self.last_purge.elapsed() >= PURGE_INTERVAL {
            while in_transaction(|tables| Ok(idempotency::purge(tables)))? {}
            self.last_purge = Instant::now();
        }
        if self.last_rates.elapsed() >= RATE_INTERVAL {
            table::take_rates(self.database, self.last_rates.elapsed().as_secs_f64());
            self.last_rates = Instant::now();
        }
        let until_pass = self.until_pass();
        Ok(next_round.map_or(until_pass, |round| round.min(until_pass)))
    }

    /// The interval is looked up each time, since it may have changed meanwhile.
    fn until_pass(&self) -> Duration {
        let interval = Duration::from_millis(settings::compact_interval_ms());
        interval.max(self.least_rest).saturating_sub(self.looked_at.elapsed())
    }

    fn pass_if_due(&mut self) -> Result<(), Obstacle> {
        let requested = databases::passes_requested(self.database);
        let changes = databases::increments(self.database) + databases::visits(self.database);
        let due = !self.idle
            || changes != self.seen_changes
            || databases::pass_wanted(self.database)
            || self.last_pass.elapsed() >= IDLE_PASS_INTERVAL;
        self.least_rest = Duration::ZERO;
        if due {
            let started = Instant::now();
            databases::set_worker_state(self.database, WorkerState::Compacting);
            background::report_activity(Some("compacting counters"));
            // Nothing new into the way of a restore, unless somebody asked for it.
            let new_rows = match databases::pass_wanted(self.database) {
                true => NewRows::Made,
                false => NewRows::UnlessRestored(self.database),
            };
            let were_made = new_rows.are_made();
            let pass = run_pass(self.database, &mut self.keeper, new_rows)?;
            self.seal(new_rows)?;
            databases::pass_completed(self.database, requested, pass);
            self.idle = pass.rows == 0 && were_made && new_rows.are_made();
            self.seen_changes = changes;
            self.error_delay = Duration::ZERO;
            self.at_rest();
            self.least_rest = started.elapsed() * REST_PER_WORK;
        }
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Seals the audit log. Where that fails (a partition is missing, for one) counting goes on, and the next pass tries again.
    fn seal(&mut self, new_rows: NewRows) -> Result<(), Obstacle> {
        let mut from = Id::default();
        loop {
            match in_transaction(|tables| sealing::seal_from(tables, &from, new_rows)) {
                Ok(Some(next)) => from = next,
                Ok(None) | Err(Obstacle::Busy) => return Ok(()),
                Err(Obstacle::Failed(message)) => {
                    if databases::note_error(self.database, &message) {
                        pgrx::warning!("counter_ext compactor: audit log not sealed, will retry: {message}");
                    }
                    return Ok(());
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn at_rest(&mut self) {
        databases::set_worker_state(self.database, WorkerState::Idle);
        background::report_activity(None);
        background::report_statistics();
        self.last_pass = Instant::now();
    }

    /// A pass could not be made: those who asked for it make their own; the next one comes later each time when it
    /// failed. How long to rest.
    fn put_off(&mut self, failure: Option<String>) -> Duration {
        databases::pass_failed(self.database, databases::passes_requested(self.database));
        self.idle = false;
        self.least_rest = Duration::ZERO;
        if let Some(message) = failure {
            if databases::note_error(self.database, &message) {
                pgrx::warning!("counter_ext compactor: pass failed, will retry: {message}");
            }
            self.error_delay = (self.error_delay * 2).clamp(Duration::from_secs(1), LONGEST_ERROR_DELAY);
            self.least_rest = self.error_delay;
        }
        self.at_rest();
        self.looked_at = Instant::now();
        let rest = self.until_pass();
        // Drains do not wait for passes, nor does recovery, nor who asked for buffered mode.
        match epochs::state(self.database) {
            JournalState::Ready => rest.min(Duration::from_millis(wal::writer_delay_ms())),
            JournalState::Off if !epochs::is_wanted(self.database) => rest,
            _ => rest.min(self.error_delay.max(JOURNAL_RETRY_INTERVAL)),
        }
    }
}

/// One pass over all counters that have slot rows, and all ids that were visited. Those that have no row yet to take it in are
/// left as they are where `new_rows` are not made.
fn run_pass(database: u32, keeper: &mut Keeper, new_rows: NewRows) -> Result<Pass, Obstacle> {
    let mut pass = Pass { rows: keeper.fold(database)?, ..Pass::default() };
    let mut after = Id::default();
    loop {
        let first = Share { index: 0, of: SHARES };
        let batch: Batch = in_transaction(|tables| compaction::fold_after(tables, &after, first, new_rows))?;
        pass.rows += batch.pass.rows;
        pass.overflowed += batch.pass.overflowed;
        for index in 1..SHARES {
            if batch.wide.is_empty() {
                break;
            }
            let share = Share { index, of: SHARES };
            let part: Pass =
                in_transaction(|tables| compaction::fold_share(tables, &batch.wide, share, new_rows))?;
            pass.rows += part.rows;
            pass.overflowed = pass.overflowed.max(part.overflowed);
        }
        in_transaction(|tables| batch.busiest.iter().try_for_each(|(_, id)| read::warm(tables, id)))?;
        match batch.last {
            Some(last) => after = last,
            None => break,
        }
    }
    after = Id::default();
    loop {
        let batch = in_transaction(|tables| visits::unite_after(tables, &after, new_rows))?;
        pass.rows += batch.rows;
        match batch.last {
            Some(last) => after = last,
            None => return Ok(pass),
        }
    }
}

/// As `in_transaction`, if the tables are still those that something was found out about; else there is no hurry.
pub(super) fn in_transaction_on<T>(
    relation: u32,
    work: impl FnOnce(Tables) -> Result<T, crate::errors::CounterError>,
) -> Result<T, Obstacle> {
    in_transaction(
        |tables| if u32::from(tables.total) == relation { work(tables).map(Some) } else { Ok(None) },
    )?
    .ok_or(Obstacle::Busy)
}

/// One transaction of a pass. It takes its locks without waiting, so that DDL never meets it in a deadlock.
pub(super) fn in_transaction<T>(
    work: impl FnOnce(Tables) -> Result<T, crate::errors::CounterError>,
) -> Result<T, Obstacle> {
    if background::is_ending() {
        return Err(Obstacle::Ending);
    }
    let result = xact::run_in_worker(|| {
        let tables = access::find_tables().ok_or(Obstacle::NoExtension)?;
        let locked = lock_all(tables);
        if !locked || access::find_tables() != Some(tables) {
            return Err(Obstacle::Busy);
        }
        // Raised, so that what was half done is rolled back.
        Ok(work(tables).unwrap_or_else(|error| error.raise()))
    });
    result.unwrap_or_else(|message| Err(Obstacle::Failed(message)))
}

fn lock_all(tables: Tables) -> bool {
    let each: [Oid; 4] = [tables.total, tables.slot, tables.visitors, tables.visit];
    each.into_iter().all(|table| lock::try_lock_table(table, Access::Write))
        && journal_position::try_lock()
        && lock::try_lock_exclusive(tables.total, Subject::Compaction)
}
