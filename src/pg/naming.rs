//! Values that name a person or a thing, of whatever type the caller has them: 7, 7::bigint, 7::smallint and '7' name the same one,
//! and so do a uuid and its text.
//!
//! BOUND: an integer or a uuid; text is appended fallibly.

use std::cell::Cell;
use std::ffi::CStr;
use std::net::IpAddr;

use pgrx::pg_sys;

use super::args::{argument_bytes, inet_address};
use super::errors::SourceError;
use super::hashing::without_trailing_blanks;
use super::key_text::KeyText;
use super::short_name::ShortName;
use super::{Oid, type_ids};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::session::session_local;

/// The bytes of the name that an argument of any type stands for.
///
/// Errors: 42804 its type is neither an integer, nor uuid, nor like text: what another type's text is may depend on settings, or say
/// equal values in several ways.
pub fn name_of(argument: &'static str, value: &pgrx::AnyElement) -> Result<Vec<u8>, CounterError> {
    if value.oid() == pg_sys::UNKNOWNOID {
        // An untyped literal, where the function is declared with "any".
        // SAFETY: PostgreSQL passes such a value as a C string.
        let literal = unsafe { CStr::from_ptr(value.datum().cast_mut_ptr()) };
        return Ok(fallible::copy(literal.to_bytes(), "a name")?);
    }
    let text = text_of_type(argument, value.oid())?;
    let mut name = Vec::new();
    // SAFETY: PostgreSQL passes an argument of the type it says, which is not NULL here.
    unsafe { text.append(value.datum(), &mut name) };
    Ok(name)
}

/// The address of a value of type `inet` or `cidr`.
pub fn address_of(value: &pgrx::AnyElement) -> Option<IpAddr> {
    let is_address = matches!(value.oid(), pg_sys::INETOID | pg_sys::CIDROID);
    // SAFETY: PostgreSQL passes an argument of the type it says, which is not NULL here, and these two are varlenas.
    if is_address { inet_address(unsafe { argument_bytes(value.datum()) }) } else { None }
}

/// A name that was not copied where that could be helped.
#[derive(Clone, Debug)]
pub enum Name<'a> {
    Text(&'a [u8]),
    Short(ShortName),
    Owned(Vec<u8>),
}

/// Digits of a digest of 16 bytes (MD5), and of a uuid without dashes.
const DIGEST_DIGITS: usize = 32;

impl Name<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Name::Text(bytes) => bytes,
            Name::Short(name) => name.bytes(),
            Name::Owned(bytes) => bytes,
        }
    }

    /// The same name, where a borrowed text that says a uuid has one spelling.
    #[inline]
    pub fn in_one_spelling(self) -> Self {
        match self {
            // Digits alone are a digest as likely as a uuid, and what was counted as a text stays the same visitor.
            Name::Text(bytes) if bytes.len() == DIGEST_DIGITS => self,
            Name::Text(bytes) => ShortName::of_uuid_text(bytes).map_or(self, Name::Short),
            Name::Short(_) | Name::Owned(_) => self,
        }
    }
}

session_local! {
    /// The type that was last asked for its base type, and that.
    static LAST_BASE: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

/// The name of an integer, a uuid, or a text, which every session reads the same. `None` for any other type.
#[inline]
pub fn borrowed_name<'a>(value: &'a pgrx::AnyElement) -> Option<Name<'a>> {
    let oid = u32::from(value.oid());
    // SAFETY: PostgreSQL passes an argument of the type it says, which is not NULL here.
    unsafe {
        name_of_built_in(oid, value.datum()).or_else(|| name_of_built_in(base_type(oid)?, value.datum()))
    }
}

/// # Safety
/// `datum` must be a non-null value of that type, and an argument of the running call.
#[inline]
unsafe fn name_of_built_in<'a>(oid: u32, datum: pg_sys::Datum) -> Option<Name<'a>> {
    // SAFETY: by the caller's promise the datum is what its type says.
    unsafe {
        Some(match oid {
            type_ids::INT8 => Name::Short(ShortName::of_integer(datum.value() as i64)),
            type_ids::INT4 => Name::Short(ShortName::of_integer(i64::from(datum.value() as i32))),
            type_ids::INT2 => Name::Short(ShortName::of_integer(i64::from(datum.value() as i16))),
            type_ids::UUID => Name::Short(ShortName::of_uuid(&*datum.cast_mut_ptr::<[u8; 16]>())),
            type_ids::TEXT | type_ids::VARCHAR => Name::Text(argument_bytes(datum)),
            type_ids::BPCHAR => Name::Text(without_trailing_blanks(argument_bytes(datum))),
            type_ids::NAME => Name::Text(CStr::from_ptr(datum.cast_mut_ptr()).to_bytes()),
            _ => return None,
        })
    }
}

/// What a domain is of; `None` for what is no domain.
fn base_type(oid: u32) -> Option<u32> {
    let (last, base) = LAST_BASE.get();
    let base = if last == oid {
        base
    } else {
        // SAFETY: a syscache look-up inside a transaction.
        let base = u32::from(unsafe { pg_sys::getBaseType(Oid::from(oid)) });
        LAST_BASE.set((oid, base));
        base
    };
    (base != oid).then_some(base)
}

/// The name of an id that is text, a `counter`, an integer or a uuid. Errors: 42804 it is of another type.
pub fn id_name_of<'a>(argument: &'static str, value: &'a pgrx::AnyElement) -> Result<Name<'a>, CounterError> {
    match borrowed_name(value) {
        Some(name) => Ok(name),
        None => name_of(argument, value).map(Name::Owned),
    }
}

/// A copy of the text of a value whose type has one that is the same in every session, of an `inet` that of its address; `None` for any
/// other type.
pub fn text_if_it_has_one(value: &pgrx::AnyElement) -> Option<Vec<u8>> {
    if let Some(address) = address_of(value) {
        return Some(address.to_string().into_bytes());
    }
    let text = KeyText::of_type(value.oid()).ok()?;
    let mut name = Vec::new();
    // SAFETY: PostgreSQL passes an argument of the type it says, which is not NULL here.
    unsafe { text.append(value.datum(), &mut name) };
    Some(name)
}

fn text_of_type(argument: &'static str, oid: Oid) -> Result<KeyText, CounterError> {
    use type_ids::*;
    if matches!(u32::from(oid), INT2 | INT4 | INT8 | UUID | TEXT | VARCHAR) {
        return KeyText::of_type(oid);
    }
    // SAFETY: syscache look-ups inside a transaction; a name is a palloc'd string.
    let (base, category, type_name) = unsafe {
        let base = pg_sys::getBaseType(oid);
        let (mut category, mut is_preferred) = (0, false);
        pg_sys::get_type_category_preferred(base, &mut category, &mut is_preferred);
        (base, category as u8, CStr::from_ptr(pg_sys::format_type_be(oid)).to_bytes().to_vec())
    };
    if matches!(u32::from(base), INT2 | INT4 | INT8 | UUID) || category == b'S' {
        return KeyText::of_type(base);
    }
    Err(SourceError::NoName { argument, type_name }.into())
}
