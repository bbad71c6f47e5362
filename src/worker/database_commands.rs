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
use crate::pg::session::session_local;
use crate::pg::xact::Ending;
use crate::pg::{Oid, process, xact};

/// How long a command waits for the database's worker to be gone. A worker ends within milliseconds, unless somebody has stopped it;
/// then PostgreSQL says who is connected.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an administrator does not notice. A longer wait is logged.
const AT_ONCE: Duration = Duration::from_secs(3);

/// How long a worker that is just connecting is left to find out by itself that it is kept out.
const TIME_TO_CONNECT: Duration = Duration::from_secs(1);

/// How long a copy waits for the source's compactor.
const COPY_PATIENCE: Duration = Duration::from_secs(20);

session_local! {
    /// The database that this transaction drops.
    static DROPS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Sends the database's worker away and keeps it out. A copy is to have everything that was committed, so what is buffered is
/// folded before.
pub fn make_room(command: DatabaseCommand) {
    let database = u32::from(command.database);
    let mut waiting = Waiting::begin();
    if command.kind == CommandKind::Copy {
        fold_memory(database, &mut waiting);
    }
    if command.kind == CommandKind::Drop {
        DROPS.set(Some(database));
    }
    workers::hold(database);
    xact::at_end(end);
    let started = Instant::now();
    while workers::send_away(database, started.elapsed() > TIME_TO_CONNECT) && started.elapsed() < PATIENCE {
        waiting.go_on();
    }
}

/// How long a command has waited for workers.
struct Waiting {
    since: Instant,
    is_told: bool,
}

impl Waiting {
    fn begin() -> Waiting {
        Waiting { since: Instant::now(), is_told: false }
    }

    /// Waits for a moment. It can be cancelled.
    fn go_on(&mut self) {
        let waited = self.since.elapsed();
        if waited > AT_ONCE && !self.is_told {
            self.is_told = true;
            pgrx::log!(
                "counter_ext: a command on a database has waited {} ms for the database's workers, and waits on",
                waited.as_millis()
            );
        }
        process::check_for_interrupts();
        process::sleep_us(2000);
    }
}

/// Has what memory holds folded into rows; raises where that cannot be done now. What is in the journal alone is copied with its
/// table, and the copy reads it back as the source does.
fn fold_memory(database: u32, waiting: &mut Waiting) {
    let started = Instant::now();
    while epochs::state(database) == JournalState::Ready && buffer::holds_any(database) {
        workers::want_worker(database);
        workers::request_pass(database);
        if started.elapsed() > COPY_PATIENCE {
            CounterError::CannotCopy.raise();
        }
        waiting.go_on();
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
