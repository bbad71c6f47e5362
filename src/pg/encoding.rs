//! Texts of the database as UTF-8, and back.

use pgrx::pg_sys;

use crate::errors::OrRaise;
use crate::fallible;

const WHAT: &str = "a text in another encoding";

/// A text of the database as UTF-8. What an SQL_ASCII database holds may be in any encoding: what is no UTF-8 there is replaced.
pub fn to_utf8(text: &[u8]) -> String {
    // SAFETY: a plain read of the database's encoding.
    let server = unsafe { pg_sys::GetDatabaseEncoding() };
    let bytes = converted(text, server, pg_sys::pg_enc::PG_UTF8 as i32);
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// A text in the database's encoding. Raises 22P05 where that has not got a character.
pub fn from_utf8(text: &str) -> Vec<u8> {
    // SAFETY: a plain read of the database's encoding.
    let server = unsafe { pg_sys::GetDatabaseEncoding() };
    converted(text.as_bytes(), pg_sys::pg_enc::PG_UTF8 as i32, server)
}

fn converted(text: &[u8], from: i32, to: i32) -> Vec<u8> {
    // SAFETY: called inside a transaction, with as many bytes as are said; the result is the argument itself, or a palloc'd C string.
    unsafe {
        let start = text.as_ptr().cast_mut();
        let result = pg_sys::pg_do_encoding_conversion(start, text.len() as i32, from, to);
        if std::ptr::eq(result, start) || result.is_null() {
            return fallible::copy(text, WHAT).or_raise();
        }
        fallible::copy(std::ffi::CStr::from_ptr(result.cast()).to_bytes(), WHAT).or_raise()
    }
}
