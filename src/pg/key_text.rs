//! Values of any type as the text that names them: what the type's output function says, without calling it for the types
//! that keys are usually of.
//!
//! BOUND: numbers and names; other values are appended fallibly.

use std::ffi::CStr;
use std::io::Write;

use pgrx::pg_sys;

use super::args::inline_varlena;
use super::errors::SourceError;
use super::{Oid, type_ids};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;

/// How the values of a column become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyText {
    Int2,
    Int4,
    Int8,
    Text,
    /// As its cast to text: without the blanks at the end.
    BlankPadded,
    /// As its cast to text: `true` or `false`.
    Boolean,
    Uuid,
    /// By this output function.
    Output(Oid),
}

impl KeyText {
    /// Errors: 0A000 the text of this type's values depends on settings of the session, so it names nothing for good.
    pub fn of_type(oid: Oid) -> Result<KeyText, CounterError> {
        let text = match u32::from(oid) {
            type_ids::INT2 => KeyText::Int2,
            type_ids::INT4 => KeyText::Int4,
            type_ids::INT8 => KeyText::Int8,
            type_ids::TEXT | type_ids::VARCHAR => KeyText::Text,
            type_ids::BPCHAR => KeyText::BlankPadded,
            type_ids::BOOL => KeyText::Boolean,
            type_ids::UUID => KeyText::Uuid,
            _ => {
                // SAFETY: syscache look-ups inside a transaction.
                let base = unsafe { pg_sys::getBaseType(oid) };
                if base != oid {
                    return KeyText::of_type(base);
                }
                KeyText::Output(output_function(base)?)
            }
        };
        Ok(text)
    }

    /// Whether a text can be one of a value's. Only the usual types are known that well.
    pub fn can_say(self, text: &[u8]) -> bool {
        let Ok(text) = str::from_utf8(text) else {
            return matches!(self, KeyText::Text | KeyText::BlankPadded | KeyText::Output(_));
        };
        match self {
            KeyText::Int2 => text.parse::<i16>().is_ok_and(|value| value.to_string() == text),
            KeyText::Int4 => text.parse::<i32>().is_ok_and(|value| value.to_string() == text),
            KeyText::Int8 => text.parse::<i64>().is_ok_and(|value| value.to_string() == text),
            KeyText::Uuid => {
                text.len() == 36
                    && text.bytes().enumerate().all(|(at, byte)| match at {
                        8 | 13 | 18 | 23 => byte == b'-',
                        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
                    })
            }
            KeyText::Boolean => matches!(text, "true" | "false"),
            KeyText::BlankPadded => !text.ends_with(' '),
            KeyText::Text | KeyText::Output(_) => true,
        }
    }

    /// Appends a value's text.
    ///
    /// # Safety
    /// `datum` must be a non-null value of the type that `self` was made for.
    pub(super) unsafe fn append(self, datum: pg_sys::Datum, text: &mut Vec<u8>) {
        match self {
            KeyText::Int2 => append_number(i64::from(datum.value() as i16), text),
            KeyText::Int4 => append_number(i64::from(datum.value() as i32), text),
            KeyText::Int8 => append_number(datum.value() as i64, text),
            KeyText::Boolean => {
                text.extend_from_slice(if datum.value() as u8 != 0 { b"true" } else { b"false" });
            }
            // SAFETY: by the caller's promise.
            KeyText::BlankPadded => unsafe {
                let from = text.len();
                KeyText::Text.append(datum, text);
                let length = text[from..].iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
                text.truncate(from + length);
            },
            // SAFETY: by the caller's promise a varlena; a detoasted copy is freed here.
            KeyText::Text => unsafe {
                let stored: *mut pg_sys::varlena = datum.cast_mut_ptr();
                if let Some(bytes) = inline_varlena(stored) {
                    append(text, bytes);
                } else {
                    let copy = pg_sys::pg_detoast_datum_packed(stored);
                    append(text, inline_varlena(copy).unwrap_or(&[]));
                    pg_sys::pfree(copy.cast());
                }
            },
            // SAFETY: by the caller's promise a pointer to a uuid's sixteen bytes.
            KeyText::Uuid => append_uuid(unsafe { &*datum.cast_mut_ptr::<[u8; 16]>() }, text),
            // SAFETY: the type's own output function; its result is palloc'd.
            KeyText::Output(function) => unsafe {
                let output = pg_sys::OidOutputFunctionCall(function, datum);
                append(text, CStr::from_ptr(output).to_bytes());
                pg_sys::pfree(output.cast());
            },
        }
    }
}

/// Appends a value of any length. Raises 53200.
fn append(text: &mut Vec<u8>, bytes: &[u8]) {
    fallible::append(text, bytes, "a key's text").or_raise();
}

fn append_number(number: i64, text: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{number}");
}

fn append_uuid(uuid: &[u8; 16], text: &mut Vec<u8>) {
    let mut digits = [0; 32];
    // Two digits a byte always fit.
    let _ = hex::encode_to_slice(uuid, &mut digits);
    for (at, group) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
        if at > 0 {
            text.push(b'-');
        }
        text.extend_from_slice(&digits[group]);
    }
}

/// The output function of a type whose text is the same in every session.
fn output_function(base: Oid) -> Result<Oid, CounterError> {
    // Some show values as settings of the session say, names as search_path does.
    const DEPENDENT: [Oid; 20] = [
        pg_sys::BYTEAOID,
        pg_sys::FLOAT4OID,
        pg_sys::FLOAT8OID,
        pg_sys::MONEYOID,
        pg_sys::DATEOID,
        pg_sys::TIMESTAMPOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::INTERVALOID,
        pg_sys::TIMETZOID,
        pg_sys::REGPROCOID,
        pg_sys::REGPROCEDUREOID,
        pg_sys::REGOPEROID,
        pg_sys::REGOPERATOROID,
        pg_sys::REGCLASSOID,
        pg_sys::REGTYPEOID,
        pg_sys::REGCONFIGOID,
        pg_sys::REGDICTIONARYOID,
        pg_sys::REGNAMESPACEOID,
        pg_sys::REGROLEOID,
        pg_sys::REGCOLLATIONOID,
    ];
    let mut function = pg_sys::InvalidOid;
    let mut is_varlena = false;
    // SAFETY: syscache look-ups inside a transaction; a type without an output function is an ERROR. The name is palloc'd.
    unsafe {
        let category = pg_sys::get_typtype(base) as u8;
        let is_array = pg_sys::get_element_type(base) != pg_sys::InvalidOid;
        // Composites, ranges and arrays hold values of other types.
        let is_simple = matches!(category, b'b' | b'e') && !is_array;
        if !is_simple || DEPENDENT.contains(&base) {
            let type_name = CStr::from_ptr(pg_sys::format_type_be(base)).to_bytes().to_vec();
            return Err(SourceError::KeyType { type_name }.into());
        }
        pg_sys::getTypeOutputInfo(base, &mut function, &mut is_varlena);
    }
    Ok(function)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_reads_as_postgresql_writes_it() {
        let mut text = Vec::new();
        append_uuid(&core::array::from_fn(|at| at as u8 * 17), &mut text);
        assert_eq!(text, b"00112233-4455-6677-8899-aabbccddeeff");
        assert!(KeyText::Uuid.can_say(&text));
        assert!(!KeyText::Uuid.can_say(b"00112233-4455-6677-8899-AABBCCDDEEFF"));
        assert!(!KeyText::Uuid.can_say(b"00112233"));
    }

    #[test]
    fn numbers_are_said_in_one_way_only() {
        for text in ["", "+1", "01", "-0", " 1", "1 ", "1:likes", "99999999999"] {
            assert!(!KeyText::Int4.can_say(text.as_bytes()), "{text}");
        }
        assert!(!KeyText::Int2.can_say(b"40000"));
        assert!(!KeyText::Int8.can_say(b"\xff"));
        assert!(KeyText::Text.can_say(b"\xff"));
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_said(number: i64) {
            let mut text = Vec::new();
            append_number(number, &mut text);
            prop_assert!(KeyText::Int8.can_say(&text));
        }
    }
}
