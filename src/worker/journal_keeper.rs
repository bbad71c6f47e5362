//! The compactor's part in buffered mode: recovery after a start, drains, cuts, folds.
//!
//! Order of a fold: read the insert position, raise the epoch, wait until nobody is inside the old one, fold its
//! deltas and note the position in one transaction whose commit is flushed; only then does the position that the
//! replication slot follows move. Whatever dies in between, the cut stays as it was announced in shared memory, and
//! the next worker takes it up; after a crash everything is read back from the position noted last.

use std::time::Duration;

use super::transactions::{Obstacle, in_transaction, in_transaction_on};
use crate::counting::{draining, folding};
use crate::journal::record::{self, Header};
use crate::journal::recovery::{self, Recovered, Stretch, Undecided};
use crate::memory::epochs::{self, Cut, JournalState, Retention};
use crate::memory::{buffer, workers};
use crate::pg::{background, process, random, wal, xact};
use crate::rows::journal_position::{self, Position};
use crate::{journal, settings};

/// How long a cut waits for backends inside the old epoch before it leaves them to the next pass.
const PATIENCE: Duration = Duration::from_millis(200);
/// With nothing to fold, the position still moves once so much WAL lies behind it.
const IDLE_LAG_BYTES: u64 = 8 * 1024 * 1024;
/// Attempts to read WAL before what cannot be read is given up.
const ATTEMPTS: u32 = 3;
/// Rounds without anything to drain after which the worker sleeps longer.
const QUIET_ROUNDS: u32 = 10;

/// What the keeper remembers between rounds.
#[derive(Debug, Default)]
pub struct Keeper {
    failed_attempts: u32,
    /// The backend that was last complained of for delaying a cut.
    complained_of: u32,
    quiet_rounds: u32,
}

impl Keeper {
    /// One round: gets buffered mode ready where it can, and drains. Returns when the next round is due at the latest,
    /// `None` where nothing waits for it.
    pub fn tend(&mut self, database: u32) -> Result<Option<Duration>, Obstacle> {
        if matches!(epochs::state(database), JournalState::Unknown | JournalState::Recovering) {
            self.look(database)?;
        }
        match epochs::state(database) {
            JournalState::Off if epochs::is_wanted(database) => return set_up(database),
            JournalState::Ready => self.drain(database),
            _ => {}
        }
        let busy = epochs::state(database) == JournalState::Ready && self.quiet_rounds < QUIET_ROUNDS;
        Ok(busy.then(|| Duration::from_millis(wal::writer_delay_ms())))
    }

    fn drain(&mut self, database: u32) {
        if buffer::has_unjournaled(database, epochs::relation(database)) {
            self.quiet_rounds = 0;
            if let Some(lsn) = draining::drain(database, true) {
                wal::flush(lsn);
            }
        } else {
            self.quiet_rounds += 1;
        }
    }

    /// After a start: is there anything to recover?
    fn look(&mut self, database: u32) -> Result<(), Obstacle> {
        let (relation, position) =
            in_transaction(|tables| Ok((u32::from(tables.total), journal_position::read(tables))))?;
        match position {
            Some(position) => self.recover(database, relation, position),
            None => {
                epochs::publish_off(database);
                Ok(())
            }
        }
    }

    fn recover(&mut self, database: u32, relation: u32, position: Position) -> Result<(), Obstacle> {
        background::report_activity(Some("recovering buffered increments"));
        epochs::recovery_begins(database, position.lsn);
        // Ends the stretch: all that buffered mode wrote before this start lies before it.
        let to = end_mark(relation);
        wal::flush(to);
        let from = if position.lsn > to {
            pgrx::warning!(
                "counter_ext: the journal's position {} lies beyond the end of WAL at {}; \
                 increments buffered before this server's WAL was reset are lost",
                wal::display(position.lsn),
                wal::display(to)
            );
            to
        } else {
            position.lsn
        };
        let Position { key, epoch, .. } = position;
        let stretch = Stretch { database, relation, key, folded_epoch: epoch, from, to };
        let recovered = self.scan(stretch)?;
        warn_of_losses(&recovered);
        process::sleep_whole_ms(settings::debug_recovery_window_ms(), process::check_for_interrupts);
        let end = Position { key, epoch: recovered.highest_epoch, lsn: to };
        durably(|| {
            in_transaction_on(relation, |tables| {
                folding::fold_recovered(tables, &recovered.sums, end, recovered.records)
            })
        })?;
        if recovered.records > 0 {
            pgrx::log!(
                "counter_ext: recovered {} records of buffered increments of {} counters from WAL {} to {}",
                recovered.records,
                recovered.sums.len(),
                wal::display(from),
                wal::display(to)
            );
        }
        workers::wake_launcher();
        Ok(())
    }

    /// Reads the journal. What cannot be read, try after try, is left out, from there to the next segment file.
    fn scan(&mut self, stretch: Stretch) -> Result<Recovered, Obstacle> {
        let mut recovered = Recovered { highest_epoch: stretch.folded_epoch, ..Recovered::default() };
        let mut undecided = Undecided::default();
        let mut from = stretch.from;
        while from < stretch.to {
            // In a transaction, since reading raises where a file is missing or short.
            let read = xact::run_in_worker(|| {
                recovery::scan(stretch, from, &mut recovered, &mut undecided, background::is_ending)
            });
            let Err(why) = read.and_then(|read| read) else { break };
            if background::is_ending() {
                return Err(Obstacle::Ending);
            }
            let at = recovered.reached;
            self.failed_attempts += 1;
            if self.failed_attempts < ATTEMPTS {
                return Err(Obstacle::Failed(format!("could not read WAL at {}: {why}", wal::display(at))));
            }
            from = (at / wal::segment_bytes() + 1) * wal::segment_bytes();
            recovered.lose(at, from.min(stretch.to));
        }
        self.failed_attempts = 0;
        Ok(recovered)
    }

    /// Cuts the stream and folds what lies before the cut: everything that was committed before the call, unless a
    /// backend stands still in its commit. Returns the number of counters that had deltas.
    pub fn fold(&mut self, database: u32) -> Result<u64, Obstacle> {
        if epochs::state(database) != JournalState::Ready {
            return Ok(0);
        }
        let mut counters = 0;
        // What an earlier pass cut and could not fold comes first.
        if let Some(cut) = epochs::cut(database) {
            match self.fold_cut(database, cut)? {
                Some(folded) => counters += folded,
                None => return Ok(0),
            }
        }
        if let Some(cut) = make_cut(database) {
            counters += self.fold_cut(database, cut)?.unwrap_or(0);
        }
        Ok(counters)
    }

    /// `None` where a backend is still inside the epoch.
    fn fold_cut(&mut self, database: u32, cut: Cut) -> Result<Option<u64>, Obstacle> {
        if let Err(pid) = epochs::await_quiet(database, cut.epoch, PATIENCE) {
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
        durably(|| in_transaction_on(cut.relation, |tables| folding::fold_cut(tables, cut))).map(Some)
    }
}

/// Ends the current epoch, if that is worth a transaction.
fn make_cut(database: u32) -> Option<Cut> {
    if !is_worth_a_cut(database) {
        return None;
    }
    let lock = epochs::lock_journal(database, true)?;
    lock.raise(wal::insert_position());
    drop(lock);
    epochs::cut(database)
}

fn is_worth_a_cut(database: u32) -> bool {
    epochs::statistics(database).is_some_and(|journal| {
        buffer::has_deltas(database, epochs::relation(database), journal.epoch)
            || wal::insert_position().saturating_sub(journal.needed_lsn) > IDLE_LAG_BYTES
    })
}

/// Makes buffered mode ready where it was never used: once WAL is being kept, notes from where on.
fn set_up(database: u32) -> Result<Option<Duration>, Obstacle> {
    const SOON: Duration = Duration::from_millis(20);
    const LATER: Duration = Duration::from_secs(10);
    let retention = epochs::retention().0;
    if retention != Retention::Held {
        workers::wake_launcher();
        // Where there is none to be had it may be had later.
        return Ok(Some(if retention == Retention::None { SOON } else { LATER }));
    }
    let start = Position { key: random::bits(), epoch: 0, lsn: wal::insert_position() };
    if !durably(|| in_transaction(|tables| folding::begin_journal(tables, start)))? {
        epochs::look_again(database);
    }
    workers::wake_launcher();
    Ok(Some(SOON))
}

/// A record without deltas; its end.
fn end_mark(relation: u32) -> wal::Lsn {
    let mut text = Vec::new();
    record::begin(&mut text, Header { relation, key: 0, epoch: 0, needs_commit: false });
    journal::write(&text)
}

/// Runs a transaction whose commit is flushed here, whatever standbys do.
fn durably<T>(work: impl FnOnce() -> T) -> T {
    background::set_setting("synchronous_commit", "local");
    let value = work();
    background::set_setting("synchronous_commit", "off");
    value
}

fn warn_of_losses(recovered: &Recovered) {
    if let Some((from, to)) = recovered.lost {
        pgrx::warning!(
            "counter_ext: WAL from {} to {} is not there any more; increments of buffered mode in it are lost",
            wal::display(from),
            wal::display(to)
        );
    }
    if let Some(why) = recovered.last_malformed {
        pgrx::warning!(
            "counter_ext: {} records of buffered increments could not be read, the last because {why}",
            recovered.malformed
        );
    }
}
