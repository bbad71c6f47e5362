//! A connection to another server, of the kind that a subscription makes: through PostgreSQL's own walreceiver library.
//!
//! BOUND: messages of libpq and of the other server, parameters of a connection, and the answer to a query of ours.
//!
//! It runs SQL there, outside this transaction: what it has done stays done where this transaction rolls back.

use std::ffi::{CStr, CString, c_char};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::args::varlena_bytes;

/// What went wrong, as the other server or the library says it; not in any particular encoding.
pub type Failure = Vec<u8>;

/// Closed when it is dropped, also by an error that unwinds.
pub struct Peer(*mut pg_sys::WalReceiverConn);

const NO_LIBRARY: &[u8] = b"the library libpqwalreceiver cannot be used";

fn functions() -> Result<pg_sys::WalReceiverFunctionsType, Failure> {
    // SAFETY: the library sets this once, when it is loaded, to a constant of its own, and PostgreSQL never unloads it.
    unsafe {
        if pg_sys::WalReceiverFunctions.is_null() {
            pg_sys::load_file(c"libpqwalreceiver".as_ptr(), false);
        }
        pg_sys::WalReceiverFunctions.as_ref().copied().ok_or_else(|| NO_LIBRARY.to_vec())
    }
}

/// What is behind a pointer that may be NULL, as bytes.
fn text(pointer: *const c_char) -> Failure {
    if pointer.is_null() {
        return b"no reason given".to_vec();
    }
    // SAFETY: the library gives NUL-terminated strings, in the current memory context.
    unsafe { CStr::from_ptr(pointer) }.to_bytes().to_vec()
}

/// Checks that libpq can read these parameters. Errors: 42601 with parts of them in its message, as any of PostgreSQL's own about them.
pub fn check_parameters(parameters: &[u8]) -> Result<(), Failure> {
    let check = functions()?.walrcv_check_conninfo.ok_or_else(|| NO_LIBRARY.to_vec())?;
    let parameters = CString::new(parameters).map_err(|_| b"the parameters hold a NUL".to_vec())?;
    // SAFETY: a string that outlives the call; an ERROR in it becomes a panic, as of any call of PostgreSQL's.
    unsafe {
        pg_guard_ffi_boundary(|| {
            #[cfg(feature = "pg15")]
            {
                check(parameters.as_ptr())
            }
            #[cfg(not(feature = "pg15"))]
            {
                check(parameters.as_ptr(), false)
            }
        });
    }
    Ok(())
}

impl Peer {
    /// Connects as a superuser's subscription with these parameters of libpq would. The server itself connects, so only superusers may come
    /// here: others could use a password that it knows.
    pub fn connect(parameters: &[u8]) -> Result<Peer, Failure> {
        let functions = functions()?;
        let parameters = CString::new(parameters).map_err(|_| b"the parameters hold a NUL".to_vec())?;
        let connect = functions.walrcv_connect.ok_or_else(|| NO_LIBRARY.to_vec())?;
        let name = c"counter_ext";
        let mut problem: *mut c_char = std::ptr::null_mut();
        // SAFETY: strings that outlive the call; an ERROR in it becomes a panic, as of any call of PostgreSQL's.
        let connection = unsafe {
            pg_guard_ffi_boundary(|| {
                #[cfg(feature = "pg15")]
                {
                    connect(parameters.as_ptr(), true, name.as_ptr(), &mut problem)
                }
                #[cfg(feature = "pg16")]
                {
                    connect(parameters.as_ptr(), true, false, name.as_ptr(), &mut problem)
                }
                #[cfg(any(feature = "pg17", feature = "pg18"))]
                {
                    connect(parameters.as_ptr(), true, true, false, name.as_ptr(), &mut problem)
                }
            })
        };
        if connection.is_null() { Err(text(problem)) } else { Ok(Peer(connection)) }
    }

    /// Runs a query whose only column is a text; returns that of its first row, if there is one and it is not NULL.
    pub fn ask(&mut self, query: &CStr) -> Result<Option<Vec<u8>>, Failure> {
        let run = functions()?.walrcv_exec.ok_or_else(|| NO_LIBRARY.to_vec())?;
        let types = [pg_sys::TEXTOID];
        // SAFETY: the connection is open; as many types as said. The result is in the current memory context until it is cleared, and
        // its rows are in its own tuple store.
        unsafe {
            let result = pg_guard_ffi_boundary(|| run(self.0, query.as_ptr(), 1, types.as_ptr()));
            let answer = match (*result).status {
                pg_sys::WalRcvExecStatus::WALRCV_OK_TUPLES => Ok(first_text(&*result)),
                pg_sys::WalRcvExecStatus::WALRCV_OK_COMMAND => Ok(None),
                _ => Err(text((*result).err)),
            };
            pg_sys::walrcv_clear_result(result);
            answer
        }
    }
}

/// # Safety
/// `result` must be of a query with one column of text.
unsafe fn first_text(result: &pg_sys::WalRcvExecResult) -> Option<Vec<u8>> {
    // SAFETY: by the caller's promise; the slot is dropped before the tuple store is.
    unsafe {
        let slot = pg_sys::MakeSingleTupleTableSlot(result.tupledesc, &raw const pg_sys::TTSOpsMinimalTuple);
        let mut found = None;
        if pg_sys::tuplestore_gettupleslot(result.tuplestore, true, false, slot) {
            pg_sys::slot_getsomeattrs_int(slot, 1);
            if !*(*slot).tts_isnull {
                found = Some(varlena_bytes((*(*slot).tts_values).cast_mut_ptr()).to_vec());
            }
        }
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        found
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(pg_sys::WalReceiverFunctionsType { walrcv_disconnect: Some(disconnect), .. }) = functions()
        {
            // SAFETY: opened in `connect`, closed once; it raises nothing.
            unsafe { disconnect(self.0) }
        }
    }
}
