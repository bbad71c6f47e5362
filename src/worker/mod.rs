//! Background workers: a launcher, and one compactor a database that has the extension; on a hot standby a watcher
//! instead. They come in from the other
//! end: nothing calls them, and they call no SQL function.

pub mod compactor;
pub mod etiquette;
mod journal_keeper;
pub mod launcher;
mod retention;
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
