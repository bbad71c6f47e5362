//! The compactor of one database: a pass now and then, each in several short transactions.
//!
//! Its commits are asynchronous: a pass that a crash takes back only leaves the rows as they were, and whoever
//! commits later makes it durable on the way. An error ends the pass, not the worker; it is logged when it is new,
//! counted always, and the next pass tries again, later each time.
//!
//! BOUND: as many as there are steps of families.

use std::time::{Duration, Instant};

use super::journal_keeper::Keeper;
use super::serve_database;
use super::slot_vacuum::SlotVacuum;
use super::transactions::{Obstacle, in_transaction, in_transaction_without_locks};
use crate::errors::CounterError;
use crate::family::pass::{self, How, Step, Work};
use crate::memory::databases;
use crate::memory::epochs::{self, JournalState};
use crate::memory::restore_guard::NewRows;
use crate::memory::statistics::{self, Pass};
use crate::memory::table;
use crate::memory::workers::{self, WorkerState};
use crate::pg::background::{self, StartArgument};
use crate::pg::{process, wal};
use crate::settings;

/// A pass is followed by at least so many times its own duration of rest: under a held snapshot, where dead rows
/// pile up, it then costs no more than a fifth of a core.
const REST_PER_WORK: u32 = 4;
/// Without increments a pass is still made now and then, for what came in by other ways (COMMIT PREPARED, a restore).
const IDLE_PASS_INTERVAL: Duration = Duration::from_secs(10);
/// How soon what a lock kept from being recovered is tried again.
const JOURNAL_RETRY_INTERVAL: Duration = Duration::from_millis(200);
const RATE_INTERVAL: Duration = Duration::from_secs(1);
/// How long one step of a pass may go on before the others have their turn; it goes on in the next pass.
const STEP_BUDGET: Duration = Duration::from_millis(500);
/// The same while somebody waits for this pass, and what it is to be done by its end.
const WANTED_STEP_BUDGET: Duration = Duration::from_secs(20);
/// Where databases wait for a worker, how long each one's turn lasts at least.
const TURN: Duration = Duration::from_secs(1);
const LONGEST_ERROR_DELAY: Duration = Duration::from_secs(60);

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
            Err(Obstacle::OtherVersion(installed)) => {
                pgrx::warning!(
                    "counter_ext compactor: {}; nothing is compacted in database {database} until they are the same",
                    CounterError::OtherVersion { installed }.explain().message
                );
                return WorkerState::NoExtension;
            }
            Err(Obstacle::Ending) => return WorkerState::None,
            Err(Obstacle::Busy) => compactor.put_off(None),
            Err(Obstacle::Failed(message)) => compactor.put_off(Some(message)),
        };
        if compactor.gives_way() {
            // With work left it comes back as soon as there is a place, not only when it would be looked after unasked.
            if !compactor.idle {
                workers::want_again(compactor.database);
            }
            return WorkerState::Waiting;
        }
        if !background::rest(rest) {
            return WorkerState::None;
        }
    }
}

/// What the worker remembers of a family's step.
struct StepState {
    step: &'static Step,
    /// Where the last pass left it, if it was not done.
    under_way: Option<Box<dyn Work>>,
    last_done: Option<Instant>,
}

impl StepState {
    fn new(step: &'static Step) -> StepState {
        StepState { step, under_way: None, last_done: None }
    }

    fn is_due(&self) -> bool {
        self.under_way.is_some() || self.last_done.is_none_or(|at| at.elapsed() >= self.step.every)
    }
}

/// What the worker remembers between rounds.
struct Compactor {
    database: u32,
    keeper: Keeper,
    slots: SlotVacuum,
    began_at: Instant,
    last_pass: Instant,
    /// When it was last looked whether a pass is due.
    looked_at: Instant,
    /// The next pass comes this long after the last one, or after the interval if that is longer.
    least_rest: Duration,
    last_rates: Instant,
    /// When drains were last looked after.
    last_tended: Instant,
    steps: Vec<StepState>,
    /// Increments and visits that the last pass knew of.
    seen_changes: u64,
    /// The last pass found nothing to do.
    idle: bool,
    /// A step of this pass waits for something that tells nobody when it comes.
    expects_more: bool,
    error_delay: Duration,
}

impl Compactor {
    fn new(database: u32) -> Compactor {
        let now = Instant::now();
        Compactor {
            database,
            keeper: Keeper::default(),
            slots: SlotVacuum::new(),
            began_at: now,
            last_pass: now.checked_sub(IDLE_PASS_INTERVAL).unwrap_or(now),
            looked_at: looked_last(database, now),
            least_rest: Duration::ZERO,
            last_rates: now,
            last_tended: now,
            steps: pass::steps().map(StepState::new).collect(),
            seen_changes: u64::MAX,
            idle: false,
            expects_more: false,
            error_delay: Duration::ZERO,
        }
    }

    /// Drains, makes a pass if one is due, and says how long to rest.
    fn round(&mut self) -> Result<Duration, Obstacle> {
        databases::give_up_if_wanted(self.database);
        workers::show_up(self.database);
        let next_round = self.tend()?;
        if self.until_pass().is_zero() || workers::pass_wanted(self.database) {
            self.pass_if_due()?;
        }
        self.vacuum_slots()?;
        if self.last_rates.elapsed() >= RATE_INTERVAL {
            table::take_rates(self.database, self.last_rates.elapsed().as_secs_f64());
            self.last_rates = Instant::now();
        }
        let until_pass = self.until_pass();
        Ok(next_round.map_or(until_pass, |round| round.min(until_pass)))
    }

    /// A table of slot rows that stays large does no harm to counts.
    fn vacuum_slots(&mut self) -> Result<(), Obstacle> {
        match self.slots.run_if_due() {
            Err(Obstacle::Failed(message)) => {
                if statistics::note_error(self.database, &message) {
                    pgrx::warning!("counter_ext compactor: vacuuming slots failed, will retry: {message}");
                }
                Ok(())
            }
            Err(Obstacle::Busy) => Ok(()),
            other => other,
        }
    }

    /// Whether this worker ends so that another database has its turn: the passes that were due here have been made, and nobody waits for
    /// one.
    fn gives_way(&self) -> bool {
        self.began_at.elapsed() >= TURN && !workers::pass_wanted(self.database) && workers::gives_way()
    }

    /// The interval is looked up each time, since it may have changed meanwhile.
    fn until_pass(&self) -> Duration {
        let interval = Duration::from_millis(settings::compact_interval_ms());
        interval.max(self.least_rest).saturating_sub(self.looked_at.elapsed())
    }

    fn pass_if_due(&mut self) -> Result<(), Obstacle> {
        let requested = workers::passes_requested(self.database);
        let changes = statistics::increments(self.database) + statistics::visits(self.database);
        let due = !self.idle
            || changes != self.seen_changes
            || workers::pass_wanted(self.database)
            || self.last_pass.elapsed() >= IDLE_PASS_INTERVAL;
        self.least_rest = Duration::ZERO;
        if due {
            let started = Instant::now();
            workers::set_state(self.database, WorkerState::Compacting);
            background::report_activity(Some("folding buffered increments"));
            // Nothing new into the way of a restore, unless somebody asked for it.
            let new_rows = match workers::pass_wanted(self.database) {
                true => NewRows::Made,
                false => NewRows::UnlessRestored(self.database),
            };
            let were_made = new_rows.are_made();
            let pass = self.run_pass(new_rows)?;
            self.slots.note(pass.rows);
            workers::pass_completed(self.database, requested, pass);
            let all_done = self.steps.iter().all(|step| step.under_way.is_none());
            let found_nothing = pass.rows == 0 && all_done && !self.expects_more;
            self.idle = found_nothing && were_made && new_rows.are_made();
            self.seen_changes = changes;
            self.error_delay = Duration::ZERO;
            self.at_rest();
            self.least_rest = started.elapsed() * REST_PER_WORK;
        }
        self.looked_at = Instant::now();
        Ok(())
    }

    /// Looks after the journal, and says when to do so again at the latest.
    fn tend(&mut self) -> Result<Option<Duration>, Obstacle> {
        self.last_tended = Instant::now();
        workers::beat(self.database);
        self.keeper.tend(self.database)
    }

    /// One pass: what is buffered, then each family's steps that are due.
    fn run_pass(&mut self, new_rows: NewRows) -> Result<Pass, Obstacle> {
        let mut pass = Pass { rows: self.keeper.fold(self.database, new_rows)?, ..Pass::default() };
        self.expects_more = false;
        for index in 0..self.steps.len() {
            if !self.steps[index].is_due() {
                continue;
            }
            let step = self.steps[index].step;
            background::report_activity(Some(step.name));
            match self.run_step(index, new_rows, &mut pass) {
                Err(Obstacle::Failed(message)) if !step.is_essential => {
                    if statistics::note_error(self.database, &message) {
                        pgrx::warning!("counter_ext compactor: {} failed, will retry: {message}", step.name);
                    }
                }
                Err(Obstacle::Busy) if !step.is_essential => {}
                other => other?,
            }
        }
        Ok(pass)
    }

    /// Runs a step piece by piece, each in a transaction of its own; drains go on between them. A step that takes long goes on in
    /// the next pass, unless somebody waits for this one.
    fn run_step(&mut self, index: usize, new_rows: NewRows, pass: &mut Pass) -> Result<(), Obstacle> {
        let started = Instant::now();
        let step = self.steps[index].step;
        let under_way = self.steps[index].under_way.take();
        // Who waits for this pass may have counted what the last one has gone past.
        let goes_on = !(step.is_essential && workers::pass_wanted(self.database));
        let mut work = under_way.filter(|_| goes_on).unwrap_or_else(|| (step.begin)());
        let how = How { new_rows, waits: false };
        loop {
            let progress = if work.asks_others() {
                in_transaction_without_locks(|tables| work.next(tables, how))?
            } else {
                in_transaction(|tables| work.next(tables, how))?
            };
            workers::beat(self.database);
            pass.rows += progress.rows;
            pass.overflowed += progress.overflowed;
            if progress.is_done {
                self.steps[index].last_done = Some(Instant::now());
                self.expects_more |= work.expects_more();
                return Ok(());
            }
            if self.last_tended.elapsed() >= Duration::from_millis(wal::writer_delay_ms()) {
                self.tend()?;
            }
            let is_wanted = self.steps[index].step.is_essential && workers::pass_wanted(self.database);
            let budget = if is_wanted { WANTED_STEP_BUDGET } else { STEP_BUDGET };
            if started.elapsed() >= budget {
                self.steps[index].under_way = Some(work);
                return Ok(());
            }
        }
    }

    fn at_rest(&mut self) {
        workers::set_state(self.database, WorkerState::Idle);
        background::report_activity(None);
        background::report_statistics();
        self.last_pass = Instant::now();
    }

    /// A pass could not be made: those who asked for it make their own; the next one comes later each time when it
    /// failed. How long to rest.
    fn put_off(&mut self, failure: Option<String>) -> Duration {
        workers::pass_failed(self.database, workers::passes_requested(self.database));
        self.idle = false;
        self.least_rest = Duration::ZERO;
        if let Some(message) = failure {
            if statistics::note_error(self.database, &message) {
                pgrx::warning!("counter_ext compactor: pass failed, will retry: {message}");
            }
            self.error_delay = (self.error_delay * 2).clamp(Duration::from_secs(1), LONGEST_ERROR_DELAY);
            self.least_rest = self.error_delay;
        }
        self.at_rest();
        self.looked_at = Instant::now();
        let rest = self.until_pass();
        // Drains do not wait for passes, nor does recovery.
        match epochs::state(self.database) {
            JournalState::Ready => rest.min(Duration::from_millis(wal::writer_delay_ms())),
            _ => rest.min(self.error_delay.max(JOURNAL_RETRY_INTERVAL)),
        }
    }
}

/// When it was last looked whether a pass is due, by the worker before this one. Where nobody knows, the interval may have passed
/// long ago.
fn looked_last(database: u32, now: Instant) -> Instant {
    const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);
    let ago = match statistics::last_compaction_at_us(database) {
        None => LONGEST_INTERVAL,
        Some(0) => IDLE_PASS_INTERVAL,
        Some(at_us) => Duration::from_micros((process::now_us() - at_us).clamp(0, 3_600_000_000) as u64),
    };
    now.checked_sub(ago).unwrap_or(now)
}
