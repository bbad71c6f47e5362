//! PostgreSQL functions that never raise, without the guard that pgrx's bindings put round every call: a dozen of them
//! are on the way of each increment, and a guard costs as much as the function.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // xact.h
    pub fn GetCurrentTransactionNestLevel() -> std::ffi::c_int;
    pub fn GetTopTransactionIdIfAny() -> pg_sys::TransactionId;
    pub fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    pub fn IsInParallelMode() -> bool;
    // xlog.h
    pub fn RecoveryInProgress() -> bool;
    // palloc.h: with MCXT_ALLOC_NO_OOM and a size that is allowed
    pub fn MemoryContextAllocExtended(
        context: pg_sys::MemoryContext,
        bytes: usize,
        flags: std::ffi::c_int,
    ) -> *mut std::ffi::c_void;
    pub fn pfree(chunk: *mut std::ffi::c_void);
    // miscadmin.h
    pub fn GetUserId() -> pg_sys::Oid;
}
