//! Errors and warnings as PostgreSQL wants them: in the database's encoding.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, pg_sys};

use super::{catalog, installed};
use crate::errors::{CounterError, Explanation, user_text};
use crate::fallible;

impl CounterError {
    /// Raises the error to the caller.
    pub fn raise(self) -> ! {
        let error = match self {
            Self::NotInstalled => what_is_there(),
            error => error,
        };
        report(error.explain(), PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    /// Tells the caller of it, and goes on.
    pub fn warn(&self) {
        report(self.explain(), PgLogLevel::WARNING);
    }
}

/// What was looked for by its name is not found. To install it once more is no help where it is there.
fn what_is_there() -> CounterError {
    match installed::other_version() {
        Some(installed) => CounterError::OtherVersion { installed },
        None if catalog::has_extension(c"counter_ext") => CounterError::TablesMoved,
        None => CounterError::NotInstalled,
    }
}

fn report(explanation: Explanation, level: PgLogLevel) {
    let Explanation { code, message, hint } = explanation;
    let mut report = ErrorReport::new(code, in_server_encoding(&message), "counter_ext");
    if let Some(hint) = hint {
        report = report.set_hint(in_server_encoding(&hint));
    }
    report.report(level);
}

const WHAT: &str = "a message";

/// A message in the database's encoding. That need not be UTF-8, but pgrx takes its bytes in a `String` only.
fn in_server_encoding(message: &str) -> String {
    // PostgreSQL's strings end at a NUL.
    let mut bytes = user_text::to_bytes(message, is_presentable);
    bytes.retain(|byte| *byte != 0);
    // SAFETY: the string goes to pgrx, which copies its bytes for errmsg and errhint and never looks at its characters. Where an
    // error is caught instead, in a worker, `xact` takes its bytes.
    unsafe { String::from_utf8_unchecked(bytes) }
}

/// Whether the client can be shown these characters of the database's encoding: PostgreSQL would raise another error in
/// place of one whose message it cannot convert.
fn is_presentable(bytes: &[u8]) -> bool {
    // More than any id or name has.
    const MAX_BYTES: usize = 4096;
    let length = bytes.len() as i32;
    // SAFETY: plain reads of the session's encodings; the functions look at `length` bytes. The conversion is looked for inside a
    // transaction, and writes no more than the buffer has room for.
    unsafe {
        let (server, client) = (pg_sys::GetDatabaseEncoding(), pg_sys::pg_get_client_encoding());
        let ascii = pg_sys::pg_enc::PG_SQL_ASCII as i32;
        if client == server || client == ascii {
            return true;
        }
        if server == ascii {
            return pg_sys::pg_encoding_verifymbstr(client, bytes.as_ptr().cast(), length) == length;
        }
        if bytes.len() > MAX_BYTES || !pg_sys::IsTransactionState() {
            return false;
        }
        let conversion = pg_sys::FindDefaultConversionProc(server, client);
        if conversion == pg_sys::InvalidOid {
            return false;
        }
        let converted_bytes = bytes.len() * pg_sys::MAX_CONVERSION_GROWTH as usize + 1;
        let (Ok(mut source), Ok(mut converted)) =
            (fallible::with_room(bytes.len() + 1, WHAT), fallible::with_room(converted_bytes, WHAT))
        else {
            return false;
        };
        // BOUND: the room that was made for both.
        source.extend_from_slice(bytes);
        source.push(0);
        converted.resize(converted_bytes, 0u8);
        let done = pg_sys::pg_do_encoding_conversion_buf(
            conversion,
            server,
            client,
            source.as_mut_ptr(),
            length,
            converted.as_mut_ptr(),
            converted.len() as i32,
            true,
        );
        done == length
    }
}
