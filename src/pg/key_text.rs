//! Values of any type as the text that names them: what the type's output function says, without calling it for the types
//! that keys are usually of.
//!
//! BOUND: numbers and names; other values are appended fallibly.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::args::inline_varlena;
use super::errors::SourceError;
use super::short_name::ShortName;
use super::{Oid, type_ids};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;

/// A btree support function, in nbtree.h: whether equal values are the same bytes.
const EQUAL_IMAGE: i16 = 4;
const NUMERIC_OUT: Oid = Oid::from_u32(pg_sys::F_NUMERIC_OUT);

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
    /// Without zeros at the end of a fraction, as 1.50 and 1.5 are equal.
    Numeric,
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
            type_ids::NUMERIC => KeyText::Numeric,
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

    /// Checks that values of the type, in the collation, have the same text where they are equal, and else not. PostgreSQL itself has
    /// to know this of a type, to keep equal values once in an index. Errors: 0A000.
    pub fn check_equality(self, oid: Oid, collation: Oid) -> Result<(), CounterError> {
        match self {
            KeyText::Int2 | KeyText::Int4 | KeyText::Int8 => return Ok(()),
            KeyText::Boolean | KeyText::Uuid | KeyText::Numeric => return Ok(()),
            KeyText::Text | KeyText::BlankPadded | KeyText::Output(_) => {}
        }
        // SAFETY: a syscache look-up inside a transaction; the result is a palloc'd string.
        unsafe {
            if collation != pg_sys::InvalidOid && !pg_sys::get_collation_isdeterministic(collation) {
                let name = CStr::from_ptr(pg_sys::get_collation_name(collation));
                return Err(SourceError::KeyCollation { collation: name.to_bytes().to_vec() }.into());
            }
        }
        if !matches!(self, KeyText::Output(_)) {
            return Ok(());
        }
        match equality(oid, collation) {
            Equality::OfTexts => Ok(()),
            Equality::OfMore => Err(SourceError::KeyEquality { type_name: type_name(oid) }.into()),
            Equality::Unknown => Err(SourceError::NoEquality { type_name: type_name(oid) }.into()),
        }
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
            KeyText::Numeric => is_number(text),
            KeyText::Text | KeyText::Output(_) => true,
        }
    }

    /// Whether all texts are short, and none can be taken for something else.
    pub fn is_short(self) -> bool {
        matches!(self, KeyText::Int2 | KeyText::Int4 | KeyText::Int8 | KeyText::Boolean | KeyText::Uuid)
    }

    /// Whether a value's text can have a colon.
    pub fn may_hold_colon(self) -> bool {
        matches!(self, KeyText::Text | KeyText::BlankPadded | KeyText::Output(_))
    }

    /// Whether equal values of columns of both kinds have the same text, and can be compared.
    pub fn refers_to(self, other: KeyText) -> bool {
        let is_integer = |kind| matches!(kind, KeyText::Int2 | KeyText::Int4 | KeyText::Int8);
        self == other || is_integer(self) && is_integer(other)
    }

    /// The same text as SQL says it of an expression: by the type's output function, which `format` calls, but for some.
    pub fn sql(self, expression: &[u8]) -> Vec<u8> {
        let (function, cast) = match self {
            KeyText::Boolean | KeyText::BlankPadded => (b"".as_slice(), b"::pg_catalog.text".as_slice()),
            KeyText::Numeric => (b"pg_catalog.trim_scale".as_slice(), b"".as_slice()),
            _ => (b"".as_slice(), b"".as_slice()),
        };
        [b"pg_catalog.format('%s', ".as_slice(), function, b"(", expression, b")", cast, b")"].concat()
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
            // SAFETY: by the caller's promise; the text is palloc'd.
            KeyText::Numeric => unsafe {
                let output = pg_sys::OidOutputFunctionCall(NUMERIC_OUT, datum);
                append(text, without_final_zeros(CStr::from_ptr(output).to_bytes()));
                pg_sys::pfree(output.cast());
            },
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
    text.extend_from_slice(ShortName::of_integer(number).bytes());
}

/// A number without zeros at the end of its fraction.
fn without_final_zeros(number: &[u8]) -> &[u8] {
    if !number.contains(&b'.') {
        return number;
    }
    let length = number.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let number = &number[..length];
    number.strip_suffix(b".").unwrap_or(number)
}

/// Whether the text is a number's without zeros at the end of its fraction.
fn is_number(text: &str) -> bool {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    are_digits(whole)
        && are_digits(fraction)
        && (whole == "0" || !whole.starts_with('0'))
        && !fraction.ends_with('0')
        && text != "-0"
}

/// What two values being equal says of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Equality {
    /// That they are the same.
    OfTexts,
    /// Nothing, as far as is known.
    OfMore,
    /// There is no such thing.
    Unknown,
}

fn equality(oid: Oid, collation: Oid) -> Equality {
    // SAFETY: syscache look-ups inside a transaction; the support function takes the type's oid.
    unsafe {
        let base = pg_sys::getBaseType(oid);
        let class = pg_sys::GetDefaultOpClass(base, pg_sys::BTREE_AM_OID);
        if class == pg_sys::InvalidOid {
            let hash = pg_sys::GetDefaultOpClass(base, pg_sys::HASH_AM_OID);
            return if hash == pg_sys::InvalidOid { Equality::Unknown } else { Equality::OfMore };
        }
        let input = pg_sys::get_opclass_input_type(class);
        let family = pg_sys::get_opclass_family(class);
        let function = pg_sys::get_opfamily_proc(family, input, input, EQUAL_IMAGE);
        let is_of_texts = function != pg_sys::InvalidOid
            && pg_sys::OidFunctionCall1Coll(function, collation, pg_sys::Datum::from(input)).value() as u8
                != 0;
        if is_of_texts { Equality::OfTexts } else { Equality::OfMore }
    }
}

fn type_name(oid: Oid) -> Vec<u8> {
    // SAFETY: a syscache look-up inside a transaction; the result is a palloc'd string.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(oid)).to_bytes().to_vec() }
}

fn append_uuid(uuid: &[u8; 16], text: &mut Vec<u8>) {
    text.extend_from_slice(ShortName::of_uuid(uuid).bytes());
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
            return Err(SourceError::KeyType { type_name: type_name(base) }.into());
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

    #[test]
    fn equal_numbers_are_said_alike() {
        for (number, text) in
            [("1.50", "1.5"), ("1.00", "1"), ("100", "100"), ("0.00", "0"), ("-0.10", "-0.1"), ("NaN", "NaN")]
        {
            assert_eq!(without_final_zeros(number.as_bytes()), text.as_bytes());
            assert!(KeyText::Numeric.can_say(text.as_bytes()), "{text}");
            assert!(number == text || !KeyText::Numeric.can_say(number.as_bytes()), "{number}");
        }
        for text in ["", "-", ".5", "5.", "01", "-0", "1.5.1", "1e3", " 1", "+1"] {
            assert!(!KeyText::Numeric.can_say(text.as_bytes()), "{text}");
        }
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
