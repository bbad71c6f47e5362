//! Texts of the database as UTF-8.

use pgrx::pg_sys;

use crate::errors::OrRaise;
use crate::fallible;

const WHAT: &str = "a text in another encoding";
const UTF8: i32 = pg_sys::pg_enc::PG_UTF8 as i32;

fn server() -> i32 {
    // SAFETY: a plain read of the database's encoding.
    unsafe { pg_sys::GetDatabaseEncoding() }
}

/// Whether the database holds any UTF-8 as it is. In an SQL_ASCII one the bytes of a text may be of any encoding.
pub fn holds_utf8() -> bool {
    server() == UTF8 || server() == pg_sys::pg_enc::PG_SQL_ASCII as i32
}

/// A text of the database as UTF-8. What cannot be converted is replaced by U+FFFD, a character or a byte at a time: anybody who may count makes
/// ids of bytes that are no character. Conversions are looked up in search_path.
pub fn to_utf8(text: &[u8]) -> String {
    if holds_utf8() {
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut converted = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let read = convert_some(rest, &mut converted);
        rest = &rest[read..];
        if !rest.is_empty() {
            fallible::append(&mut converted, "\u{FFFD}".as_bytes(), WHAT).or_raise();
            // SAFETY: looks at the first byte, or the first two, of a text that is followed by a NUL.
            let length = unsafe {
                let head = [rest[0], rest.get(1).copied().unwrap_or(0), 0, 0];
                pg_sys::pg_encoding_mblen(server(), head.as_ptr().cast())
            };
            rest = &rest[usize::try_from(length).unwrap_or(1).clamp(1, rest.len())..];
        }
    }
    String::from_utf8_lossy(&converted).into_owned()
}

/// Appends what can be converted from the text's start on; how many bytes that were.
fn convert_some(text: &[u8], converted: &mut Vec<u8>) -> usize {
    let size = text.len() * pg_sys::MAX_CONVERSION_GROWTH as usize + 1;
    let mut buffer: Vec<u8> = fallible::with_room(size, WHAT).or_raise();
    buffer.resize(size, 0);
    // BOUND: an id, which a conversion reads up to its length, or a NUL.
    let mut source = text.to_vec();
    // SAFETY: called inside a transaction; the buffer has room for what so many bytes can become and a NUL, which the conversion, a function of
    // PostgreSQL's, writes behind it. It is told not to raise where it stops.
    let read = unsafe {
        let conversion = pg_sys::FindDefaultConversionProc(server(), UTF8);
        if conversion == pg_sys::InvalidOid {
            return 0;
        }
        pg_sys::pg_do_encoding_conversion_buf(
            conversion,
            server(),
            UTF8,
            source.as_mut_ptr(),
            source.len() as i32,
            buffer.as_mut_ptr().cast(),
            size as i32,
            true,
        )
    };
    let length = buffer.iter().position(|byte| *byte == 0).unwrap_or(0);
    fallible::append(converted, &buffer[..length], WHAT).or_raise();
    usize::try_from(read).unwrap_or(0).min(text.len())
}
