//! PostgreSQL functions that never raise, without the guard that pgrx's bindings put round every call: a dozen of them
//! are on the way of each increment, and a guard costs as much as the function.
//!
//! Some would raise on a caller's mistake (a buffer that is not pinned, a record that was not begun). Those that can raise otherwise, as
//! writing to the log can, are for critical sections, where an error is a PANIC and unwinds nothing.

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // xact.h
    pub fn GetCurrentTransactionNestLevel() -> c_int;
    pub fn GetTopTransactionIdIfAny() -> pg_sys::TransactionId;
    pub fn GetCurrentTransactionIdIfAny() -> pg_sys::TransactionId;
    pub fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
    pub fn IsInParallelMode() -> bool;
    // xlog.h
    pub fn RecoveryInProgress() -> bool;
    // palloc.h: with MCXT_ALLOC_NO_OOM and a size that is allowed
    pub fn MemoryContextAllocExtended(
        context: pg_sys::MemoryContext,
        bytes: usize,
        flags: c_int,
    ) -> *mut std::ffi::c_void;
    pub fn pfree(chunk: *mut std::ffi::c_void);
    // miscadmin.h
    pub fn GetUserId() -> pg_sys::Oid;
    // pg_sema.h: a semaphore that fails ends the process
    pub fn PGSemaphoreLock(semaphore: pg_sys::PGSemaphore);
    pub fn PGSemaphoreUnlock(semaphore: pg_sys::PGSemaphore);
    // bufmgr.h: of a pinned buffer
    pub fn LockBuffer(buffer: pg_sys::Buffer, mode: c_int);
    pub fn ReleaseBuffer(buffer: pg_sys::Buffer);
    // bufmgr.h, bufpage.h, xloginsert.h: in a critical section
    pub fn MarkBufferDirty(buffer: pg_sys::Buffer);
    pub fn PageAddItemExtended(
        page: pg_sys::Page,
        item: *mut c_char,
        bytes: usize,
        offset: pg_sys::OffsetNumber,
        flags: c_int,
    ) -> pg_sys::OffsetNumber;
    pub fn XLogBeginInsert();
    pub fn XLogRegisterData(data: *mut c_char, bytes: u32);
    pub fn XLogRegisterBuffer(block_id: u8, buffer: pg_sys::Buffer, flags: u8);
    pub fn XLogRegisterBufData(block_id: u8, data: *mut c_char, bytes: u32);
    pub fn XLogInsert(manager: pg_sys::RmgrId, info: u8) -> pg_sys::XLogRecPtr;
}
