//! Making room: a compactor is a connection, and DROP DATABASE, CREATE DATABASE … TEMPLATE, ALTER DATABASE … RENAME
//! and … SET TABLESPACE need a database without any.
//!
//! The command holds workers out before it looks for them, and each worker looks for holds before it connects: see
//! `memory/workers.rs`. Once the command is over, PostgreSQL's own lock on the database keeps workers out for as long as that is
//! needed.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::errors::CounterError;
use crate::memory::epochs::{self, JournalState};
use crate::memory::{buffer, databases, purge_database, workers};
use crate::pg::hooks::{CommandKind, DatabaseCommand};
use crate::pg::xact::Ending;
use crate::pg::{Oid, process, replication_slot, xact};

/// How long a command waits for the database's worker to be gone. A worker ends within milliseconds, unless somebody has stopped it;
/// then PostgreSQL says who is connected.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a worker that is just connecting is left to find out by itself that it is kept out.
const TIME_TO_CONNECT: Duration = Duration::from_secs(1);

/// How long a copy waits for the source's compactor.
const COPY_PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    /// The database that this transaction drops.
    static DROPS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Sends the database's worker away and keeps it out. A copy is to have everything that was committed, so what is buffered is
/// folded before.
pub fn make_room(command: DatabaseCommand) {
    let database = u32::from(command.database);
    if command.kind == CommandKind::Copy && replication_slot::exists() {
        fold_everything(database);
    }
    if command.kind == CommandKind::Drop {
        DROPS.set(Some(database));
    }
    workers::hold(database);
    xact::at_end(end);
    let started = Instant::now();
    while workers::send_away(database, started.elapsed() > TIME_TO_CONNECT) && started.elapsed() < PATIENCE {
        process::check_for_interrupts();
        process::sleep_us(2000);
    }
}

/// Has what is in the journal and in memory folded into rows; raises where that cannot be done now.
fn fold_everything(database: u32) {
    let started = Instant::now();
    workers::wake_launcher();
    while databases::is_registered(database) && !workers::has_no_extension(database) {
        match epochs::state(database) {
            JournalState::Off => return,
            JournalState::Ready => {
                if !buffer::holds_any(database) {
                    return;
                }
                workers::request_pass(database);
            }
            // The launcher sends a worker to each database that nobody has looked into.
            JournalState::Unknown | JournalState::Recovering => {}
        }
        if started.elapsed() > COPY_PATIENCE {
            CounterError::CannotCopy.raise();
        }
        process::check_for_interrupts();
        process::sleep_us(2000);
    }
}

/// The command is over.
pub fn let_in_again() {
    workers::release();
}

/// The transaction is over, or the savepoint that the command ran in, perhaps because the command has failed. What memory knows
/// of a dropped database goes with it: the next one may get the same oid.
fn end(ending: Ending) {
    if let (Some(database), Ending::Committed) = (DROPS.take(), ending) {
        forget(Oid::from(database));
    }
    workers::release();
}

/// Forgets everything that memory holds of a database that is not there. Cannot fail.
pub fn forget(database: Oid) {
    let database = u32::from(database);
    purge_database(database);
    databases::unregister(database);
}
