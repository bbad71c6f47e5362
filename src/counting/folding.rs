//! Folding buffered deltas into totals: epochs that are over, from memory; or, after a start, the whole journal.
//!
//! The worker does both, and so can any session: where there is no worker, what needs to know that rows and memory hold everything
//! (`ensure_recovered`) reads the journal back in its own transaction. Whoever folds holds the compaction lock to the end of his
//! transaction, so nobody else does. What memory is told at its end: `fold_end`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::fold_end;
use crate::errors::{CounterError, OrRaise};
use crate::family::followed::Booking;
use crate::journal::errors::JournalError;
use crate::journal::position::{self, JournalTables};
use crate::journal::record;
use crate::journal::tail::Tail;
use crate::memory::epochs::{self, Cut, Opening, Recovered};
use crate::memory::restore_guard::NewRows;
use crate::memory::{buffer, databases, is_attached, workers};
use crate::pg::lock::{self, Subject};
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, process, xact};
use crate::rows::access::{self, Tables, as_owner};
use crate::rows::fold::Folder;
use crate::settings;

/// Counters whose sums recovery holds before it writes them to rows.
const BATCH: usize = 4096;
/// How long a session that folds by itself waits for backends that are inside their commit.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a change waits for a worker that is there to read the journal back.
const WORKER_PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits for a worker to come.
const NO_WORKER_PATIENCE: Duration = Duration::from_millis(300);

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub records: u64,
    pub deltas: u64,
}

/// Folds epochs that nobody adds to any more. Runs inside a transaction that holds the compaction lock, with the tables locked; memory
/// follows at its commit. Returns how many counters had deltas.
pub fn fold_cut(
    tables: Tables,
    cut: Cut,
    _proof: &Recovered,
    new_rows: NewRows,
) -> Result<u64, CounterError> {
    let database = u32::from(catalog::my_database());
    let journal = position::lock(Access::Write)?;
    let mut counters = 0;
    as_owner(tables, |_| {
        for epoch in cut.epochs() {
            let amounts = buffer::of_epoch(database, cut.relation, epoch);
            let mut folder = Folder::open(tables, settings::node(), settings::slots())?;
            folder.totals = new_rows;
            let mut booking = Booking::begin(tables)?;
            for amount in &amounts {
                process::check_for_interrupts();
                let added = xact::in_scratch_memory(|| {
                    folder.add(&amount.id, i128::from(amount.amount), amount.changed_at_us)
                });
                booking.add(&amount.id, added, amount.changed_at_us)?;
            }
            booking.finish()?;
            counters += amounts.len() as u64;
            // The next epoch may have the same counters.
            xact::see_own_changes();
        }
        position::write(journal, cut.last)
    })?;
    fold_end::note_fold(cut);
    epochs::fold_begins(database, xact::assign_xid(), cut);
    Ok(counters)
}

/// The epoch that has to be folded for everything to be in rows that was committed by now; 0 where all is.
pub fn goal(tables: Tables) -> u64 {
    let database = u32::from(catalog::my_database());
    let relation = u32::from(tables.total);
    epochs::open_epochs(database)
        .filter(|open| open.relation == relation)
        .and_then(|open| {
            (open.first..=open.last).rev().find(|epoch| buffer::has_deltas(database, relation, *epoch))
        })
        .unwrap_or(0)
}

/// Whether all up to an epoch is folded, and the journal of these tables read back.
pub fn is_folded(tables: Tables, epoch: u64) -> bool {
    let database = u32::from(catalog::my_database());
    !is_attached()
        || (epochs::recovered(database, u32::from(tables.total)).is_some()
            && epochs::folded_epoch(database) >= epoch)
}

/// Folds everything that was committed by now, in the caller's transaction. Buffered mode is suspended until it ends: increments
/// meanwhile go to slot rows. Returns how many counters had deltas. Errors: 55006 a backend stands still in its commit.
pub fn fold_here(tables: Tables) -> Result<u64, CounterError> {
    access::lock_to_fold(tables)?;
    lock::lock_exclusive(tables.total, Subject::Compaction);
    let database = u32::from(catalog::my_database());
    let relation = u32::from(tables.total);
    let Some(proof) = epochs::recovered(database, relation) else {
        return recover(tables).map(|(_, found)| found.deltas);
    };
    if goal(tables) == 0 {
        return Ok(0);
    }
    let cut = epochs::lock_journal(database, true).and_then(|lock| lock.suspend(relation));
    let Some(cut) = cut else { return Ok(0) };
    // From here on the transaction's end resumes it.
    fold_end::note_fold(cut);
    epochs::await_quiet(database, cut.last, PATIENCE).map_err(|pid| JournalError::StandsInCommit { pid })?;
    fold_cut(tables, cut, &proof, NewRows::Made)
}

/// Net deltas by id, of any size.
type Sums = HashMap<Box<[u8]>, i128, foldhash::fast::RandomState>;

/// Folds the whole journal into rows, in the running transaction, which must hold the compaction lock; buffered mode opens when it commits.
/// What is held in memory is bounded, however long the journal is.
pub fn recover(tables: Tables) -> Result<(Recovered, Found), CounterError> {
    let journal = position::lock(Access::Write)?;
    // What this transaction has folded itself is to be seen.
    xact::see_own_changes();
    let mut snapshot = Snapshot::fresh();
    let folded = position::read(journal, &mut snapshot)?;
    let (found, highest) = as_owner(tables, |_| fold_journal(tables, journal, folded, &mut snapshot))?;
    if is_attached()
        && databases::register(u32::from(catalog::my_database()))
        && let Some(file) = Tail::file_of(journal)
    {
        fold_end::note_opening(Opening {
            relation: u32::from(tables.total),
            file,
            epoch: highest,
            recovered_records: found.records,
        });
    }
    Ok((Recovered::by_folding(), found))
}

fn fold_journal(
    tables: Tables,
    journal: JournalTables,
    folded: u64,
    snapshot: &mut Snapshot,
) -> Result<(Found, u64), CounterError> {
    let folder = Folder::open(tables, settings::node(), settings::slots())?;
    let mut sums = Sums::default();
    let mut found = Found::default();
    let mut highest = folded;
    let mut failed = None;
    position::for_each_record(journal, folded, snapshot, |block, epoch, bytes| {
        highest = highest.max(epoch);
        found.records += 1;
        let read = record::read(bytes, |id, delta| {
            found.deltas += 1;
            match sums.get_mut(id) {
                Some(sum) => *sum += i128::from(delta),
                None => drop(sums.insert(id.into(), i128::from(delta))),
            }
        });
        if let Err(why) = read {
            failed = Some(JournalError::Unreadable { block, why });
            return ControlFlow::Break(());
        }
        if sums.len() >= BATCH {
            fold_sums(tables, &folder, &mut sums).or_raise();
        }
        ControlFlow::Continue(())
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    fold_sums(tables, &folder, &mut sums)?;
    if highest > folded {
        position::write(journal, highest)?;
        xact::see_own_changes();
    }
    Ok((found, highest))
}

fn fold_sums(tables: Tables, folder: &Folder, sums: &mut Sums) -> Result<(), CounterError> {
    // The journal does not say when.
    let now_us = process::now_us();
    let mut booking = Booking::begin(tables)?;
    for (id, sum) in sums.drain() {
        process::check_for_interrupts();
        let added = xact::in_scratch_memory(|| folder.add(&id, sum, now_us));
        booking.add(&id, added, now_us)?;
    }
    booking.finish()?;
    // The next batch may have the same counters.
    xact::see_own_changes();
    Ok(())
}

/// Whether the journal holds anything that rows do not.
pub fn is_recovery_needed() -> Result<bool, CounterError> {
    let journal = position::lock(Access::Read)?;
    let mut snapshot = Snapshot::fresh();
    let folded = position::read(journal, &mut snapshot)?;
    let mut is_needed = false;
    position::for_each_record(journal, folded, &mut snapshot, |_, _, _| {
        is_needed = true;
        ControlFlow::Break(())
    });
    Ok(is_needed)
}

/// Proof that rows and memory hold everything. Where the journal has not been read back since the server started, and no worker does it
/// soon, this transaction does.
pub fn ensure_recovered(tables: Tables) -> Result<Recovered, CounterError> {
    ensure_recovered_before(tables, Access::Write)
}

/// As `ensure_recovered`, for who is about to lock counter_ext.total in that way: it must not have a weaker lock first, which two of them
/// would wait for each other with. What recovery has still to fold the worker could not while we hold the lock.
pub fn ensure_recovered_before(tables: Tables, access: Access) -> Result<Recovered, CounterError> {
    let database = u32::from(catalog::my_database());
    let relation = u32::from(tables.total);
    let started = Instant::now();
    loop {
        if let Some(proof) = epochs::recovered(database, relation) {
            return Ok(proof);
        }
        if !is_attached() || !databases::register(database) {
            break;
        }
        workers::want_worker(database);
        let patience = if workers::has_worker(database) { WORKER_PATIENCE } else { NO_WORKER_PATIENCE };
        if started.elapsed() > patience {
            break;
        }
        process::check_for_interrupts();
        process::sleep_us(2000);
    }
    if xact::is_read_only() {
        return Err(CounterError::NotRecovered);
    }
    // Without shared memory nobody writes to the journal.
    if !is_attached() && !is_recovery_needed()? {
        return Ok(Recovered::by_folding());
    }
    lock::lock_table(tables.total, access);
    access::lock_to_fold(tables)?;
    // Waits for whoever reads it back at this moment.
    lock::lock_exclusive(tables.total, Subject::Compaction);
    match epochs::recovered(database, relation) {
        Some(proof) => Ok(proof),
        None => recover(tables).map(|(proof, _)| proof),
    }
}
