//! Memory for errors when there is none.
//!
//! Where PostgreSQL raises an ERROR, pgrx copies it with palloc, to carry it outwards through Rust, and raises it again from
//! another such copy. Where the ERROR says that there is no memory, that palloc may raise the same again, inside of the handling
//! of the first; after the fifth PostgreSQL ends with a PANIC, and all sessions with it. So both copies are made in a context of
//! their own, whose memory has been there since the library was loaded. `build.rs` has the linker put these functions in place
//! of PostgreSQL's, for this library alone.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

/// More than two copies of an error, of which each has a message, a hint and the names of a function and a file.
const BYTES: usize = 16 * 1024;

session_local! {
    static CONTEXT: Cell<pg_sys::MemoryContext> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes the context. Called when the library is loaded; sessions that are forked from the postmaster inherit it.
pub fn prepare() {
    // SAFETY: TopMemoryContext lives as long as the process. A context's first block is allocated with it, and kept.
    let context = unsafe {
        pg_sys::AllocSetContextCreateExtended(
            pg_sys::TopMemoryContext,
            c"counter_ext errors".as_ptr(),
            BYTES,
            BYTES,
            BYTES,
        )
    };
    CONTEXT.set(context);
}

unsafe extern "C-unwind" {
    fn __real_CopyErrorData() -> *mut pg_sys::ErrorData;
    fn __real_errstart(level: c_int, domain: *const c_char) -> bool;
}

/// # Safety
/// As `CopyErrorData`. The copy is freed by itself, wherever it lies.
#[cfg(not(target_os = "macos"))]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __wrap_CopyErrorData() -> *mut pg_sys::ErrorData {
    let context = CONTEXT.get();
    // SAFETY: by the caller's promise; the context lives as long as the process, and the caller's is put back.
    unsafe {
        if context.is_null() {
            return __real_CopyErrorData();
        }
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let copy = __real_CopyErrorData();
        pg_sys::CurrentMemoryContext = before;
        copy
    }
}

/// # Safety
/// As `errstart`. From an ERROR there is no way back to the caller, so nobody misses the context that was current.
#[cfg(not(target_os = "macos"))]
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __wrap_errstart(level: c_int, domain: *const c_char) -> bool {
    let context = CONTEXT.get();
    // SAFETY: by the caller's promise; the context lives as long as the process.
    unsafe {
        if level >= pgrx::PgLogLevel::ERROR as c_int && !context.is_null() {
            pg_sys::CurrentMemoryContext = context;
        }
        __real_errstart(level, domain)
    }
}
