//! A worker's transactions. They take their locks without waiting, so that DDL never meets a worker in a deadlock; what asks other servers takes none of
//! these, and waits for its own tables up to the worker's lock_timeout.

use crate::errors::CounterError;
use crate::journal::position;
use crate::pg::lock::{self, Subject};
use crate::pg::table::Access;
use crate::pg::{Oid, background, installed, xact};
use crate::rows::access::{self, Tables};

/// Why a pass ended early.
pub enum Obstacle {
    NoExtension,
    /// The SQL of the extension is of another version than the library: this one.
    OtherVersion(String),
    /// DDL or another pass holds the tables.
    Busy,
    Ending,
    Failed(String),
}

/// As `in_transaction`, if the tables are still those that something was found out about; else there is no hurry.
pub fn in_transaction_on<T>(
    relation: u32,
    work: impl FnOnce(Tables) -> Result<T, CounterError>,
) -> Result<T, Obstacle> {
    in_transaction(
        |tables| if u32::from(tables.total) == relation { work(tables).map(Some) } else { Ok(None) },
    )?
    .ok_or(Obstacle::Busy)
}

/// One transaction of a pass. It takes its locks without waiting, so that DDL never meets it in a deadlock.
pub fn in_transaction<T>(work: impl FnOnce(Tables) -> Result<T, CounterError>) -> Result<T, Obstacle> {
    in_transaction_with(lock_all, work)
}

/// As `in_transaction`, without any lock: for what waits for other servers. A worker that is to end does not wait for their answer.
pub fn in_transaction_without_locks<T>(
    work: impl FnOnce(Tables) -> Result<T, CounterError>,
) -> Result<T, Obstacle> {
    let _ends = background::EndsAtOnce::begin();
    in_transaction_with(|_| true, work)
}

fn in_transaction_with<T>(
    lock: impl FnOnce(Tables) -> bool,
    work: impl FnOnce(Tables) -> Result<T, CounterError>,
) -> Result<T, Obstacle> {
    if background::is_ending() {
        return Err(Obstacle::Ending);
    }
    let result = xact::run_in_worker(|| {
        let tables = access::find_tables().ok_or_else(no_tables)?;
        let locked = lock(tables);
        if !locked || access::find_tables() != Some(tables) {
            return Err(Obstacle::Busy);
        }
        // Raised, so that what was half done is rolled back.
        Ok(work(tables).unwrap_or_else(|error| error.raise()))
    });
    result.unwrap_or_else(|message| Err(Obstacle::Failed(message)))
}

fn no_tables() -> Obstacle {
    installed::other_version().map_or(Obstacle::NoExtension, Obstacle::OtherVersion)
}

fn lock_all(tables: Tables) -> bool {
    let each: [Oid; 2] = [tables.total, tables.slot];
    each.into_iter().all(|table| lock::try_lock_table(table, Access::Write))
        && position::try_lock()
        && lock::try_lock_exclusive(tables.total, Subject::Compaction)
}
