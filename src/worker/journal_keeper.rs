//! The compactor's part in buffered mode: recovery after a start, drains, cuts, folds.
//!
//! Order of a fold: raise the epoch, wait until nobody is inside the old one, fold its deltas and note that it is folded in one
//! transaction; memory follows at its commit, and only then are the pages of the journal's table used again that the epoch's records are on.
//! Whatever dies in between, the cut stays as it was announced in shared memory, and the next worker takes it up; after a crash everything is
//! read back from the journal's table.

use std::time::Duration;

use super::transactions::{Obstacle, in_transaction, in_transaction_on};
use crate::counting::{draining, folding};
use crate::errors::OrRaise;
use crate::memory::epochs::{self, Cut, JournalState, Recovered};
use crate::memory::restore_guard::NewRows;
use crate::memory::{buffer, databases};
use crate::pg::table::Access;
use crate::pg::{background, lock, process, wal, xact};
use crate::rows::access;
use crate::settings;

/// How long a cut waits for backends inside the old epoch before it leaves them to the next pass.
const PATIENCE: Duration = Duration::from_millis(200);
/// Rounds without anything to drain after which the worker sleeps longer.
const QUIET_ROUNDS: u32 = 10;

/// What the keeper remembers between rounds.
#[derive(Debug, Default)]
pub struct Keeper {
    /// The backend that was last complained of for delaying a cut.
    complained_of: u32,
    quiet_rounds: u32,
}

impl Keeper {
    /// One round: recovers if that is still to be done, and drains. Returns when the next round is due at the latest,
    /// `None` where nothing waits for it.
    pub fn tend(&mut self, database: u32) -> Result<Option<Duration>, Obstacle> {
        if epochs::state(database) != JournalState::Ready {
            recover(database)?;
        }
        self.drain(database)?;
        let busy = self.quiet_rounds < QUIET_ROUNDS;
        Ok(busy.then(|| Duration::from_millis(wal::writer_delay_ms())))
    }

    fn drain(&mut self, database: u32) -> Result<(), Obstacle> {
        if !buffer::has_unjournaled(database, epochs::relation(database)) {
            self.quiet_rounds += 1;
            return Ok(());
        }
        self.quiet_rounds = 0;
        // Not a transaction of a pass: a session that compacts does not keep drains from going on.
        let drained = xact::run_in_worker(|| {
            let tables = access::find_tables()?;
            lock::try_lock_table(tables.total, Access::Write)
                .then(|| draining::drain(database, false).or_raise())
                .flatten()
        });
        if let Some(lsn) = drained.map_err(Obstacle::Failed)? {
            wal::flush(lsn);
        }
        Ok(())
    }

    /// Cuts the stream and folds what lies before the cut: everything that was committed before the call, unless a
    /// backend stands still in its commit. Returns the number of counters that had deltas.
    pub fn fold(&mut self, database: u32, new_rows: NewRows) -> Result<u64, Obstacle> {
        let Some(proof) = epochs::recovered(database, epochs::relation(database)) else { return Ok(0) };
        let mut counters = 0;
        // What an earlier pass cut and could not fold comes first.
        if let Some(cut) = epochs::cut(database) {
            match self.fold_cut(database, cut, &proof, new_rows)? {
                Some(folded) => counters += folded,
                None => return Ok(0),
            }
        }
        if let Some(cut) = make_cut(database, &proof) {
            counters += self.fold_cut(database, cut, &proof, new_rows)?.unwrap_or(0);
        }
        Ok(counters)
    }

    /// `None` where a backend is still inside the epoch.
    fn fold_cut(
        &mut self,
        database: u32,
        cut: Cut,
        proof: &Recovered,
        new_rows: NewRows,
    ) -> Result<Option<u64>, Obstacle> {
        if let Err(pid) = epochs::await_quiet(database, cut.last, PATIENCE) {
            if self.complained_of != pid {
                self.complained_of = pid;
                pgrx::log!(
                    "counter_ext compactor: process {pid} delays the folding of buffered increments; \
                     reads and writes go on"
                );
            }
            return Ok(None);
        }
        self.complained_of = 0;
        in_transaction_on(cut.relation, |tables| {
            // A session may have folded it meanwhile. From here on the compaction lock keeps others from it, until memory knows.
            if epochs::cut(database) == Some(cut) {
                folding::fold_cut(tables, cut, proof, new_rows)
            } else {
                Ok(0)
            }
        })
        .map(Some)
    }
}

/// After a start: reads the journal back, if there is anything in it, and opens buffered mode.
fn recover(database: u32) -> Result<(), Obstacle> {
    let is_needed = in_transaction(|_| folding::is_recovery_needed())?;
    if !is_needed && !databases::is_registered(database) {
        // There is nothing to do, and nowhere to say so.
        return Ok(());
    }
    if is_needed {
        background::report_activity(Some("recovering buffered increments"));
        epochs::recovery_begins(database);
        process::sleep_whole_ms(settings::debug_recovery_window_ms(), process::check_for_interrupts);
    }
    let found = in_transaction(|tables| {
        // A session may have been faster.
        match epochs::recovered(database, u32::from(tables.total)) {
            Some(_) => Ok(folding::Found::default()),
            None => folding::recover(tables).map(|(_, found)| found),
        }
    })?;
    if found.records > 0 {
        pgrx::log!(
            "counter_ext: recovered {} records of buffered increments, with {} increments of counters",
            found.records,
            found.deltas
        );
    }
    Ok(())
}

/// Ends the current epoch, if it holds anything.
fn make_cut(database: u32, proof: &Recovered) -> Option<Cut> {
    let epoch = epochs::statistics(database)?.epoch;
    if !buffer::has_deltas(database, epochs::relation(database), epoch) {
        return None;
    }
    let lock = epochs::lock_journal(database, true)?;
    lock.raise(proof);
    drop(lock);
    epochs::cut(database)
}
