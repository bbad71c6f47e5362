//! A compaction pass: the steps of all families, each in bounded pieces.
//!
//! The worker runs each piece in a transaction of its own and does other work between pieces. `counter_compact()`, where there
//! is no worker, runs them one after the other in the caller's transaction. Either holds the compaction lock, so that two
//! passes never move the same amounts.

use std::time::Duration;

use crate::errors::CounterError;
use crate::memory::restore_guard::NewRows;
use crate::pg::lock::{self, Subject};
use crate::pg::xact;
use crate::rows::access::{self, Tables};

/// A family's part in passes.
pub struct Step {
    /// What pg_stat_activity and log lines call it: "folding slots".
    pub name: &'static str,
    /// The least time between two of the worker's runs of it; zero for every pass.
    pub every: Duration,
    /// Where it fails, the pass has failed. A step that is not essential is left out and tried again in the next pass.
    pub is_essential: bool,
    /// Begins the step: its first piece comes from the result.
    pub begin: fn() -> Box<dyn Work>,
}

/// A step under way; it keeps its place between pieces.
pub trait Work {
    /// Does one bounded piece inside a transaction that holds the compaction lock and counter_ext.total and slot. It locks
    /// tables of its own without waiting where `how.waits` is false, and skips the step where they cannot be had.
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError>;

    /// Whether the next piece speaks to other servers. The worker then holds none of those locks, so that nobody here waits for their answer.
    fn asks_others(&self) -> bool {
        false
    }

    /// Whether something is waited for that tells nobody when it comes: the worker makes the next pass soon, though this one found nothing.
    fn expects_more(&self) -> bool {
        false
    }
}

/// How pieces are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct How {
    /// Whether rows may be made that restores of dumps may be about to make.
    pub new_rows: NewRows,
    /// In the caller's transaction: locks may be waited for. The worker waits for nobody.
    pub waits: bool,
}

impl How {
    /// In the transaction of the caller.
    pub const HERE: How = How { new_rows: NewRows::Made, waits: true };
}

/// What one piece came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows taken in.
    pub rows: u64,
    /// Counters that could not be folded since their total would leave bigint; replaces what was said before.
    pub overflowed: u64,
    pub is_done: bool,
}

/// What a pass, or a part of it, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub rows: u64,
    pub overflowed: u64,
}

impl Outcome {
    pub fn add(&mut self, progress: Progress) {
        self.rows += progress.rows;
        self.overflowed += progress.overflowed;
    }
}

/// The steps of all families, in their order.
pub fn steps() -> impl Iterator<Item = &'static Step> {
    let later = super::all().iter().flat_map(|family| family.later_steps);
    super::all().iter().flat_map(|family| family.steps).chain(later)
}

/// Which steps are run in a caller's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// There is no worker.
    All,
    /// A worker is there but late: what is not essential is left to it, since all pieces of this pass are one transaction, and building
    /// a board of millions of members would hold everybody's passes up until its end.
    Essential,
}

/// A whole pass in the caller's transaction. Waits for other passes. What rows it takes stay held until the transaction ends, and
/// writers go round them.
pub fn run_here(tables: Tables, which: Steps) -> Result<Outcome, CounterError> {
    access::lock_slot_for_writing(tables);
    lock::lock_exclusive(tables.total, Subject::Compaction);
    let mut outcome = Outcome::default();
    for step in steps().filter(|step| which == Steps::All || step.is_essential) {
        let mut work = (step.begin)();
        loop {
            let progress = work.next(tables, How::HERE)?;
            outcome.add(progress);
            // What this piece has written is not to be found again by the next one.
            xact::see_own_changes();
            if progress.is_done {
                break;
            }
        }
    }
    Ok(outcome)
}
