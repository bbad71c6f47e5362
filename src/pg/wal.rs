//! The write-ahead log: flushing it, and waiting for it as a commit does.

use pgrx::pg_sys;

/// A position in the log.
pub type Lsn = u64;

/// Runs `work` where an error takes the whole server down for recovery: nothing less would do.
pub fn in_critical_section<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: what START_CRIT_SECTION and END_CRIT_SECTION do.
    unsafe { pg_sys::CritSectionCount += 1 };
    let value = work();
    // SAFETY: as above.
    unsafe { pg_sys::CritSectionCount -= 1 };
    value
}

/// Makes the log up to `lsn` durable on this machine.
pub fn flush(lsn: Lsn) {
    // SAFETY: a position that XLogInsert returned.
    unsafe { pg_sys::XLogFlush(lsn) }
}

/// Tells the WAL writer that the log up to `lsn` is to become durable soon.
pub fn flush_soon(lsn: Lsn) {
    // SAFETY: a position that XLogInsert returned.
    unsafe { pg_sys::XLogSetAsyncXactLSN(lsn) }
}

/// Waits for synchronous standbys as a commit does, but under `remote_apply` only until they have flushed: they would
/// tell of a commit record's replay at once, and of ours with their next report only. Called in a COMMIT callback, where
/// interrupts are held off.
pub fn wait_for_standbys(lsn: Lsn) {
    // SAFETY: SyncRepWaitForLSN wants interrupts held off; the count is put back.
    unsafe {
        pg_sys::InterruptHoldoffCount += 1;
        pg_sys::SyncRepWaitForLSN(lsn, false);
        pg_sys::InterruptHoldoffCount -= 1;
    }
}

/// Whether a commit of this transaction waits for synchronous standbys, as far as this process has read the settings. PostgreSQL goes by what
/// the checkpointer has read: for a moment after a reload, and for as long as a procedure commits without end, it may wait all the same.
pub fn has_standbys_to_wait_for() -> bool {
    const LOCAL: std::ffi::c_int = pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_LOCAL_FLUSH as std::ffi::c_int;
    // SAFETY: plain reads of settings; the names are NULL or end with a zero.
    unsafe {
        let names = pg_sys::SyncRepStandbyNames;
        pg_sys::synchronous_commit > LOCAL && pg_sys::max_wal_senders > 0 && !names.is_null() && *names != 0
    }
}

/// What this backend wrote is flushed, or its flush is on its way: its next transaction need not see to it.
pub fn forget_own_writes() {
    // SAFETY: a plain write of a backend variable; what RecordTransactionCommit does at its end.
    unsafe { pg_sys::XactLastRecEnd = 0 }
}

/// Whether commits of this transaction wait for their log to be durable.
pub fn is_commit_synchronous() -> bool {
    // SAFETY: a plain read of a setting.
    unsafe { pg_sys::synchronous_commit > pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as std::ffi::c_int }
}

unsafe extern "C-unwind" {
    // walwriter.h; not among pgrx's bindings.
    #[link_name = "WalWriterDelay"]
    static WAL_WRITER_DELAY_MS: std::ffi::c_int;
}

/// How long an asynchronous commit may wait for the WAL writer's next round.
pub fn writer_delay_ms() -> u64 {
    // SAFETY: a plain read of a setting.
    unsafe { WAL_WRITER_DELAY_MS.max(1) as u64 }
}
