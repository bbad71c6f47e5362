//! Making room: a compactor is a connection, and DROP DATABASE, CREATE DATABASE … TEMPLATE, ALTER DATABASE … RENAME
//! and … SET TABLESPACE need a database without any.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::errors::CounterError;
use crate::memory::epochs::{self, JournalState};
use crate::memory::{buffer, databases};
use crate::pg::{Oid, process, replication_slot, xact};

/// PostgreSQL itself waits five seconds more for connections to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a copy waits for the source's compactor.
const COPY_PATIENCE: Duration = Duration::from_secs(20);

thread_local! {
    /// The database this process holds workers out of.
    static HELD: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Sends the database's compactor away and keeps it out until the command's transaction has ended. A copy is to have
/// everything that was committed, so what is buffered is folded before.
pub fn make_room(database: Oid, copies: bool) {
    let database = u32::from(database);
    if copies && replication_slot::exists() {
        fold_everything(database);
    }
    let pid = databases::hold(database);
    HELD.set(Some(database));
    xact::at_end(let_in_again);
    if pid == 0 {
        return;
    }
    process::terminate(pid as i32);
    let started = Instant::now();
    while process::is_backend(pid as i32) && started.elapsed() < PATIENCE {
        process::check_for_interrupts();
        process::sleep_us(2000);
    }
}

/// Has what is in the journal and in memory folded into rows; raises where that cannot be done now.
fn fold_everything(database: u32) {
    let started = Instant::now();
    databases::wake_launcher();
    while databases::is_registered(database) && !databases::has_no_extension(database) {
        match epochs::state(database) {
            JournalState::Off => return,
            JournalState::Ready => {
                if !buffer::holds_any(database) {
                    return;
                }
                databases::request_pass(database);
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

/// The command is over. The launcher sees whether the database is still there.
fn let_in_again() {
    if let Some(database) = HELD.take() {
        databases::release(database);
    }
}
