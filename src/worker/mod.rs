//! Background workers: a launcher, and one compactor a database that has the extension; on a hot standby a watcher
//! instead. They come in from the other end: nothing calls them, and they call no SQL function.

use pgrx::prelude::*;

use crate::memory::databases::{self, WorkerState};
use crate::pg::background::{self, StartArgument};
use crate::pg::{catalog, process};

pub mod compactor;
pub mod database_commands;
mod journal_keeper;
pub mod launcher;
mod retention;
mod transactions;
mod watcher;

/// Names the postmaster finds the entry points by.
const LAUNCHER_MAIN: &str = "counter_ext_launcher_main";
const COMPACTOR_MAIN: &str = "counter_ext_compactor_main";
const WATCHER_MAIN: &str = "counter_ext_watcher_main";
/// What pg_stat_activity shows as backend_type.
const LAUNCHER_TYPE: &str = "counter_ext launcher";
const COMPACTOR_TYPE: &str = "counter_ext compactor";
const WATCHER_TYPE: &str = "counter_ext standby watcher";

/// Registers the launcher while libraries are preloaded.
pub fn register() {
    crate::pg::background::register_static(LAUNCHER_TYPE, LAUNCHER_TYPE, LAUNCHER_MAIN);
}

/// What a worker of one database does: connects, says that it is there, works, and says how it ended.
fn serve_database(argument: StartArgument, work: fn(u32) -> WorkerState) {
    let database = background::argument_database(argument);
    background::connect(Some(database));
    background::set_setting("lock_timeout", "1s");
    background::set_setting("statement_timeout", "0");
    background::set_setting("search_path", "pg_catalog");
    let number = u32::from(database);
    databases::register(number);
    databases::worker_started(number);
    process::before_exit(on_exit);
    let state = work(number);
    databases::worker_ended(number, state);
}

#[pg_guard]
extern "C-unwind" fn on_exit(_code: std::ffi::c_int, _argument: process::ExitArgument) {
    databases::worker_ended(u32::from(catalog::my_database()), WorkerState::None);
}
