//! Values that name a person or a thing, of whatever type the caller has them: 7, 7::bigint, 7::smallint and '7' name the same one,
//! and so do a uuid and its text.
//!
//! BOUND: an integer or a uuid; text is appended fallibly.

use std::ffi::CStr;
use std::net::IpAddr;

use pgrx::pg_sys;

use super::args::{argument_bytes, inet_address};
use super::errors::SourceError;
use super::key_text::KeyText;
use super::{Oid, type_ids};
use crate::errors::CounterError;
use crate::fallible;

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
