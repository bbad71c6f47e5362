//! Background workers: a launcher, and compactors that it sends into the databases that have the extension.
//! They come in from the other end: nothing calls them, and they call no SQL function.

use pgrx::prelude::*;

use crate::memory::workers::{self, WorkerState};
use crate::pg::background::{self, StartArgument};
use crate::pg::{Oid, process};

pub mod compactor;
pub mod database_commands;
mod journal_keeper;
pub mod launcher;
mod slot_vacuum;
mod transactions;

/// Names the postmaster finds the entry points by.
const LAUNCHER_MAIN: &str = "counter_ext_launcher_main";
const COMPACTOR_MAIN: &str = "counter_ext_compactor_main";
/// What pg_stat_activity shows as backend_type.
const LAUNCHER_TYPE: &str = "counter_ext launcher";
const COMPACTOR_TYPE: &str = "counter_ext compactor";

/// Registers the launcher while libraries are preloaded.
pub fn register() {
    crate::pg::background::register_static(LAUNCHER_TYPE, LAUNCHER_TYPE, LAUNCHER_MAIN);
}

/// What a worker of one database does: it takes up the place that the launcher gave it, connects, works, and says how it ended. It
/// does not connect where a command keeps workers out.
fn serve_database(argument: StartArgument, work: fn(u32) -> WorkerState) {
    let Some(database) = workers::take_up(background::argument_value(argument)) else {
        return;
    };
    process::before_exit(on_exit);
    background::connect(Some(Oid::from(database)));
    background::set_setting("lock_timeout", "1s");
    background::set_setting("statement_timeout", "0");
    background::set_setting("search_path", "pg_catalog");
    // A worker's own queries would take the processes that are left to others.
    background::set_setting("max_parallel_workers_per_gather", "0");
    background::set_setting("max_parallel_maintenance_workers", "0");
    workers::connected(database);
    // A command may have come while this worker waited to be let in.
    let state = if workers::is_held(database) { WorkerState::Held } else { work(database) };
    workers::leave(state);
}

#[pg_guard]
extern "C-unwind" fn on_exit(_code: std::ffi::c_int, _argument: process::ExitArgument) {
    workers::leave(WorkerState::None);
}
