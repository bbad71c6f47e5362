//! Making room: a compactor is a connection, and DROP DATABASE, CREATE DATABASE … TEMPLATE, ALTER DATABASE … RENAME
//! and … SET TABLESPACE need a database without any.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::memory::{buffer, databases};
use crate::pg::{Oid, process, xact};

/// PostgreSQL itself waits five seconds more for connections to end.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// The database this process holds workers out of.
    static HELD: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Sends the database's compactor away and keeps it out until the command's transaction has ended. A copy is to have
/// everything that was committed, so what is buffered is folded before.
pub fn make_room(database: Oid, copies: bool) {
    let database = u32::from(database);
    if copies && databases::has_worker(database) && buffer::holds_any(database) {
        databases::request_pass(database);
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

/// The command is over. The launcher sees whether the database is still there.
fn let_in_again() {
    if let Some(database) = HELD.take() {
        databases::release(database);
    }
}
