//! What a hot standby has instead of a compactor: a watcher, which reads how far the primary has folded the journal, so
//! that the launcher keeps the WAL that a promotion would need. It writes nothing, and ends when the standby is
//! promoted; the launcher then sends a compactor.

use std::time::{Duration, Instant};

use super::serve_database;
use crate::memory::epochs;
use crate::memory::statistics;
use crate::memory::workers::WorkerState;
use crate::pg::background::{self, StartArgument};
use crate::pg::xact;
use crate::rows::access;
use crate::rows::journal_position;

/// How often the position is read. What lies between is WAL kept for longer than needed.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// How soon a promotion is noticed.
const PROMOTION_INTERVAL: Duration = Duration::from_millis(200);

background::entry_point!(counter_ext_watcher_main, serve);

fn serve(argument: StartArgument) {
    serve_database(argument, watch);
}

fn watch(database: u32) -> WorkerState {
    let mut read_at: Option<Instant> = None;
    while xact::in_recovery() {
        if read_at.is_none_or(|at| at.elapsed() >= READ_INTERVAL) {
            let found = xact::run_in_worker(|| access::find_tables().map(journal_position::read));
            match found {
                Ok(None) => return WorkerState::NoExtension,
                // Not readable for reads either, once promoted, until a compactor has read the journal back.
                Ok(Some(Some(position))) => epochs::recovery_begins(database, position.lsn),
                Ok(Some(None)) => {}
                Err(message) => {
                    statistics::note_error(database, &message);
                }
            }
            read_at = Some(Instant::now());
        }
        if !background::rest(PROMOTION_INTERVAL) {
            return WorkerState::None;
        }
    }
    WorkerState::None
}
