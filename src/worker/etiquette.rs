//! Making room: a compactor is a connection, and DROP DATABASE, CREATE DATABASE … TEMPLATE, ALTER DATABASE … RENAME
//! and … SET TABLESPACE need a database without any.

use std::time::{Duration, Instant};

use crate::memory::{databases, table};
use crate::pg::hooks::DatabaseCommand;
use crate::pg::{Oid, process};

/// PostgreSQL itself waits five seconds more for connections to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends the database's compactor away and keeps it out.
pub fn make_room(database: Oid) {
    let database = u32::from(database);
    let pid = databases::hold(database);
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

/// The command is over: the compactor may come back, or there is nothing left to compact.
pub fn end(command: DatabaseCommand) {
    let database = u32::from(command.database);
    if command.dropped {
        table::invalidate_database(database);
    }
    databases::release(database);
}
