//! This process, its neighbours, and time.

use std::sync::OnceLock;
use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::unguarded;

/// This process's slot in PostgreSQL's process array, or `None` in one that has none.
pub fn my_slot() -> Option<usize> {
    // SAFETY: reads pointers set at process start; MyProc points into allProcs. Computed since the field that
    // holds it has another name in each version.
    unsafe {
        if pg_sys::MyProc.is_null() {
            return None;
        }
        Some(pg_sys::MyProc.offset_from((*pg_sys::ProcGlobal).allProcs) as usize)
    }
}

/// The process in a slot of the process array, 0 when it is empty.
pub fn pid_in_slot(slot: usize) -> u32 {
    // SAFETY: callers pass a number that some process's `my_slot` gave; the slot stays mapped for the server's life.
    unsafe { (*(*pg_sys::ProcGlobal).allProcs.add(slot)).pid as u32 }
}

pub fn my_pid() -> i32 {
    // SAFETY: a plain read of a backend variable.
    unsafe { pg_sys::MyProcPid }
}

/// Whether this session applies changes that come from elsewhere (`session_replication_role = replica`).
pub fn is_replica() -> bool {
    /// commands/trigger.h; the same in every supported version.
    const REPLICA: std::ffi::c_int = 1;
    // SAFETY: a plain read of a setting.
    unsafe { pg_sys::SessionReplicationRole == REPLICA }
}

/// Whether a backend of this process id is there.
pub fn is_backend(pid: i32) -> bool {
    // SAFETY: looks in the process array under its own lock.
    pid != 0 && unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Whether a backend of this process id is in a transaction.
pub fn is_in_transaction(pid: i32) -> bool {
    if pid == 0 {
        return false;
    }
    // SAFETY: looks in the process array under its own lock; a process's slot stays mapped for the server's life, and its
    // local transaction id is a number that is read whole.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return false;
        }
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        let local = (&raw const (*process).lxid).read_volatile();
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        let local = (&raw const (*process).vxid.lxid).read_volatile();
        local != 0
    }
}

/// Wakes the process in a slot of the process array.
pub fn wake(slot: usize) {
    // SAFETY: callers pass what `my_slot` gave; a latch stays mapped for the server's life, and a wrong owner
    // just wakes up once too often.
    unsafe {
        let process = (*pg_sys::ProcGlobal).allProcs.add(slot);
        pg_sys::SetLatch(&raw mut (*process).procLatch);
    }
}

/// Sleeps on this process's semaphore until `is_over`, which another process makes true before it calls
/// `wake_sleeper`. Interrupts are not let through.
pub fn sleep_until(is_over: impl Fn() -> bool) {
    // SAFETY: our own semaphore. Wake-ups that were meant for something else are given back, as PostgreSQL's own
    // sleepers do.
    unsafe {
        let semaphore = (*pg_sys::MyProc).sem;
        let mut others = 0;
        pg_sys::my_wait_event_info.write_volatile(pg_sys::PG_WAIT_EXTENSION);
        loop {
            unguarded::PGSemaphoreLock(semaphore);
            if is_over() {
                break;
            }
            others += 1;
        }
        pg_sys::my_wait_event_info.write_volatile(0);
        for _ in 0..others {
            unguarded::PGSemaphoreUnlock(semaphore);
        }
    }
}

/// Wakes the process in a slot, which sleeps in `sleep_until`.
pub fn wake_sleeper(slot: usize) {
    // SAFETY: callers pass what that process's `my_slot` gave. Its semaphore stays for the server's life, and a wake-up too many does no harm.
    unsafe { unguarded::PGSemaphoreUnlock((*(*pg_sys::ProcGlobal).allProcs.add(slot)).sem) }
}

/// Asks a process of ours to end as pg_terminate_backend does.
pub fn ask_to_end(pid: i32) {
    if pid > 0 {
        // SAFETY: plain kill(2).
        unsafe { libc_kill(pid, pg_sys::SIGTERM as std::ffi::c_int) };
    }
}

/// Whether there is a process of this id, connected or not.
pub fn exists(pid: i32) -> bool {
    // SAFETY: kill(2) with signal 0 sends none.
    pid > 0 && unsafe { libc_kill(pid, 0) } == 0
}

/// Processes that are connected to a database: sessions, autovacuum, other workers.
pub fn connected_to(database: u32) -> usize {
    // SAFETY: looks in the process array under its own lock.
    unsafe { pg_sys::CountDBBackends(super::Oid::from(database)).max(0) as usize }
}

unsafe extern "C" {
    #[link_name = "kill"]
    fn libc_kill(pid: std::ffi::c_int, signal: std::ffi::c_int) -> std::ffi::c_int;
}

/// Lets a cancel or terminate request through.
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

/// Sleeps without listening to the latch; interrupts are let through by the caller.
pub fn sleep_us(us: i64) {
    // SAFETY: plain sleep.
    unsafe { pg_sys::pg_usleep(us as _) }
}

/// Sleeps the whole time, through whatever signals come, and calls `between` every millisecond.
pub fn sleep_whole_ms(ms: u64, between: fn()) {
    let until = Instant::now() + std::time::Duration::from_millis(ms);
    while Instant::now() < until {
        sleep_us(1000);
        between();
    }
}

/// Microseconds since 2000-01-01 (PostgreSQL's timestamptz), now.
pub fn now_us() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// When the statement began that the client has sent, as `statement_timestamp()`; at a COMMIT, that. Costs nothing.
pub fn statement_started_us() -> i64 {
    // SAFETY: a plain read of transaction state.
    unsafe { unguarded::GetCurrentStatementStartTimestamp() }
}

/// When the clock of `clock_us` stood at 0. Set by the postmaster, so that all its children have the same.
static CLOCK_ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Starts the clock of this process and of those it forks, if it does not run yet.
pub fn start_clock() {
    CLOCK_ORIGIN.get_or_init(Instant::now);
}

/// Microseconds on a clock that nobody sets and that never goes back, the same in all processes of the server; counted from
/// `start_clock`.
pub fn clock_us() -> i64 {
    CLOCK_ORIGIN.get_or_init(Instant::now).elapsed().as_micros() as i64
}

/// A timestamptz from microseconds since 2000-01-01; 0 stands for never.
pub fn timestamp(us: i64) -> Option<TimestampWithTimeZone> {
    if us == 0 { None } else { TimestampWithTimeZone::try_from(us).ok() }
}

/// A time from microseconds since 2000-01-01; the ends of the range are the infinities. `None` where PostgreSQL has no such time.
pub fn any_timestamp(us: i64) -> Option<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(us).ok()
}

/// A time as microseconds since 2000-01-01; the infinities are the ends of the range.
pub fn timestamp_us(at: TimestampWithTimeZone) -> i64 {
    i64::from(at)
}

/// A date as days since 2000-01-01; the infinities are the ends of the range.
pub fn day_number(day: Date) -> i32 {
    day.to_pg_epoch_days()
}

/// Processes that may be connected at once.
pub fn max_backends() -> usize {
    // SAFETY: set before shared memory is requested, constant afterwards.
    unsafe { pg_sys::MaxBackends as usize }
}

pub fn shared_buffers_bytes() -> u64 {
    // SAFETY: set before libraries are preloaded, constant afterwards.
    unsafe { pg_sys::NBuffers as u64 * u64::from(pg_sys::BLCKSZ) }
}

/// Whether shared_preload_libraries are being loaded right now.
pub fn is_preloading() -> bool {
    // SAFETY: a plain read of a backend variable.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// What an exit callback is given besides the exit code.
pub type ExitArgument = pg_sys::Datum;

/// Runs `callback` when this process exits in any way but a crash; registered once by the caller.
pub fn before_exit(callback: unsafe extern "C-unwind" fn(std::ffi::c_int, ExitArgument)) {
    // SAFETY: the callback has PostgreSQL's signature and lives as long as the process.
    unsafe { pg_sys::before_shmem_exit(Some(callback), pg_sys::Datum::null()) }
}
