//! A running TRUNCATE. It fires the triggers of all tables that it empties before it empties the first: until it ends, rows are there still
//! that triggers have been told of.
//!
//! What a command's triggers have in common is the memory context that they are called in, which goes with the command.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys;

use crate::errors::CounterError;
use crate::fallible;
use crate::pg::session::session_local;

/// One TRUNCATE of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncation(usize);

session_local! {
    static RUNNING: RefCell<Vec<(pg_sys::MemoryContext, Truncation)>> = const { RefCell::new(Vec::new()) };
    static LAST: Cell<usize> = const { Cell::new(0) };
}

impl Truncation {
    /// The one that has fired a trigger, asked for in the memory context that the trigger was called in.
    pub(super) fn of_caller() -> Result<Truncation, CounterError> {
        // SAFETY: a plain read of backend state.
        let context = unsafe { pg_sys::CurrentMemoryContext };
        let known = RUNNING
            .with_borrow(|running| running.iter().find(|(other, _)| *other == context).map(|(_, one)| *one));
        if let Some(known) = known {
            return Ok(known);
        }
        let truncation = Truncation(LAST.get().wrapping_add(1));
        LAST.set(truncation.0);
        // SAFETY: the callback is allocated in the context that it is registered with, which calls it before that memory goes.
        unsafe {
            let size = size_of::<pg_sys::MemoryContextCallback>();
            let callback = pg_sys::MemoryContextAlloc(context, size) as *mut pg_sys::MemoryContextCallback;
            RUNNING.with_borrow_mut(|running| {
                fallible::push(running, (context, truncation), "running commands")
            })?;
            callback.write(pg_sys::MemoryContextCallback {
                func: Some(ended),
                arg: truncation.0 as *mut std::ffi::c_void,
                next: std::ptr::null_mut(),
            });
            pg_sys::MemoryContextRegisterResetCallback(context, callback);
        }
        Ok(truncation)
    }

    /// Whether it has not ended yet.
    pub fn is_running(self) -> bool {
        RUNNING.with_borrow(|running| running.iter().any(|(_, one)| *one == self))
    }
}

/// The command's memory goes. Raises nothing, and allocates nothing.
///
/// # Safety
/// Called by PostgreSQL as a MemoryContextCallback.
unsafe extern "C-unwind" fn ended(truncation: *mut std::ffi::c_void) {
    RUNNING.with_borrow_mut(|running| running.retain(|(_, one)| one.0 != truncation as usize));
}
