//! Background workers: registration, their main loop's primitives, what pg_stat_activity shows of them.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::ffi::CString;
use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::pg_sys;

use super::Oid;

/// A worker's start argument.
pub type StartArgument = pg_sys::Datum;

/// Makes a function the entry point that the postmaster finds by name.
macro_rules! entry_point {
    ($name:ident, $run:path) => {
        // SAFETY: the name is unique to this library.
        #[pgrx::pg_guard]
        #[unsafe(no_mangle)]
        pub extern "C-unwind" fn $name(argument: $crate::pg::background::StartArgument) {
            $run(argument)
        }
    };
}
pub(crate) use entry_point;

const LIBRARY: &str = "counter_ext";

fn describe(name: &str, kind: &str, function: &str, argument: u64) -> pg_sys::BackgroundWorker {
    fn copy(target: &mut [std::ffi::c_char], source: &str) {
        for (to, from) in target.iter_mut().zip(source.bytes().chain([0])) {
            *to = from as std::ffi::c_char;
        }
    }
    // SAFETY: all-zero is a valid BackgroundWorker; the names are far shorter than their fields.
    let mut worker = unsafe { std::mem::zeroed::<pg_sys::BackgroundWorker>() };
    copy(&mut worker.bgw_name, name);
    copy(&mut worker.bgw_type, kind);
    copy(&mut worker.bgw_library_name, LIBRARY);
    copy(&mut worker.bgw_function_name, function);
    worker.bgw_flags =
        (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as std::ffi::c_int;
    // On a hot standby too.
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_ConsistentState;
    worker.bgw_restart_time = pg_sys::BGW_NEVER_RESTART;
    worker.bgw_main_arg = pg_sys::Datum::from(argument as usize);
    worker
}

/// Registers a worker that the postmaster starts, and starts again a second after it ended.
pub fn register_static(name: &str, kind: &str, function: &str) {
    let mut worker = describe(name, kind, function, 0);
    worker.bgw_restart_time = 1;
    // SAFETY: called while shared_preload_libraries are loaded.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) }
}

/// A worker that this process started.
pub struct Started(*mut pg_sys::BackgroundWorkerHandle);

/// What became of a started worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Starting,
    Running,
    Stopped,
}

impl Started {
    pub fn condition(&self) -> Condition {
        let mut pid = 0;
        // SAFETY: the handle came from RegisterDynamicBackgroundWorker.
        match unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) } {
            pg_sys::BgwHandleStatus::BGWH_STARTED => Condition::Running,
            pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED => Condition::Starting,
            _ => Condition::Stopped,
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: palloc'd in a context that lives as long as this process; freed once.
        unsafe { pg_sys::pfree(self.0.cast()) }
    }
}

/// Background workers that this server runs at once, of whatever kind.
pub fn max_workers() -> usize {
    // SAFETY: a postmaster-start setting, constant for the life of the process.
    unsafe { pg_sys::max_worker_processes.max(1) as usize }
}

/// Starts a worker; `None` when max_worker_processes is used up.
pub fn start(name: &str, kind: &str, function: &str, argument: u64) -> Option<Started> {
    let mut worker = describe(name, kind, function, argument);
    worker.bgw_notify_pid = super::process::my_pid();
    let mut handle = std::ptr::null_mut();
    // SAFETY: the handle must outlive the call's memory context, so it is made in the longest-lived one.
    unsafe {
        let previous = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::TopMemoryContext;
        let started = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::CurrentMemoryContext = previous;
        started.then(|| Started(handle))
    }
}

/// What a worker was started with.
pub fn argument_value(argument: StartArgument) -> u64 {
    argument.value() as u64
}

/// Connects to no database (shared catalogs only) or to one, also one that takes no connections, and listens for
/// SIGTERM and SIGHUP. A SIGTERM that comes while it connects, and perhaps waits for a lock on the database, ends it at once.
pub fn connect(database: Option<Oid>) {
    let ends = EndsAtOnce::begin();
    // SAFETY: first thing a worker does, once.
    unsafe {
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            database.unwrap_or(pg_sys::InvalidOid),
            pg_sys::InvalidOid,
            pg_sys::BGWORKER_BYPASS_ALLOWCONN,
        );
    }
    drop(ends);
}

/// While it lives, a SIGTERM ends this worker at its next check for interrupts, whatever it waits for. Otherwise the worker is only told, and ends
/// between two transactions.
pub struct EndsAtOnce(());

impl EndsAtOnce {
    pub fn begin() -> EndsAtOnce {
        // SAFETY: the handler is PostgreSQL's own, for processes of the kind that workers are.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(end_at_once));
            #[cfg(feature = "pg18")]
            pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(end_at_once));
        }
        EndsAtOnce(())
    }
}

impl Drop for EndsAtOnce {
    fn drop(&mut self) {
        BackgroundWorker::attach_signal_handlers(SignalWakeFlags::SIGHUP | SignalWakeFlags::SIGTERM);
    }
}

/// PostgreSQL's own handler: the process ends at its next check for interrupts. Without the guard that pgrx's bindings put round
/// calls, which a signal handler must not go through.
///
/// # Safety
/// Called by the operating system as a signal handler.
unsafe extern "C-unwind" fn end_at_once(signal: std::ffi::c_int) {
    unsafe extern "C-unwind" {
        fn die(signal: std::ffi::c_int);
    }
    // SAFETY: made to be called by signal handlers.
    unsafe { die(signal) }
}

/// Sets a setting for this worker whatever the database's or role's defaults are.
pub fn set_setting(name: &str, value: &str) {
    let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) else {
        return;
    };
    // SAFETY: NUL-terminated strings, copied by the callee.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Sleeps until woken or until the time is over; reloads the configuration when asked to.
/// Returns false when the worker is to end.
pub fn rest(time: Duration) -> bool {
    let go_on = BackgroundWorker::wait_latch(Some(time)) && !is_ending();
    if !go_on {
        ENDING.set(true);
    }
    if BackgroundWorker::sighup_received() {
        // SAFETY: outside any transaction, as in every worker's main loop.
        unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) }
    }
    go_on
}

/// Ends this process so that the postmaster starts it again, unless the server is shutting down: a worker that just
/// returns is never started again.
pub fn exit_to_be_restarted() -> ! {
    // SAFETY: the ordinary end of a server process; runs all exit callbacks. Not every version's binding says that it
    // does not return.
    #[allow(unreachable_code)]
    unsafe {
        pg_sys::proc_exit(1);
        unreachable!("proc_exit does not return")
    }
}

session_local! {
    /// This worker was asked to end. pgrx forgets that once it was asked about.
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Whether the worker was asked to end.
pub fn is_ending() -> bool {
    if BackgroundWorker::sigterm_received() {
        ENDING.set(true);
    }
    ENDING.get()
}

/// What pg_stat_activity shows; `None` is idle.
pub fn report_activity(what: Option<&str>) {
    let text = what.and_then(|what| CString::new(what).ok());
    let (state, pointer) = match &text {
        Some(text) => (pg_sys::BackendState::STATE_RUNNING, text.as_ptr()),
        None => (pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
    };
    // SAFETY: the text is copied.
    unsafe { pg_sys::pgstat_report_activity(state, pointer) }
}

/// Sends this worker's table statistics, so that autovacuum learns of its writes.
pub fn report_statistics() {
    // SAFETY: outside a transaction.
    unsafe {
        pg_sys::pgstat_report_stat(true);
    }
}
