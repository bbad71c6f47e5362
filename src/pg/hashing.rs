//! A value of any type as 64 bits: the same for equal values, in every process, after a restart, in a restored dump.
//!
//! Types that are their bytes are hashed by MurmurHash3 with seed 0, as postgresql-hll's `hll_hash_boolean`, `_smallint`,
//! `_integer`, `_bigint`, `_bytea` and `_text` do; so are dates, times and uuids. Everything else goes through the type's
//! own hash support, which knows which values are equal (1.0 and 1.00), and then through MurmurHash3. A `counter` is its id's text. Text is hashed by its
//! bytes, also where a nondeterministic collation calls different bytes equal. An enum is
//! hashed by its label, since its number is another one after a restore (inside an array or a record it is
//! hashed by that number all the same). postgresql-hll's `hll_hashval` is taken as it is.
//!
//! BOUND: a type's name.

use std::cell::Cell;

use pgrx::pg_sys;

use super::Oid;
use super::args::{argument_bytes, inline_varlena};
use super::errors::SourceError;
use super::type_ids;
use crate::errors::CounterError;
use crate::hll::murmur;
use crate::pg::session::{SessionLocal, session_local};

/// How values of one type are hashed.
#[derive(Clone, Copy)]
pub enum Hasher {
    Byte,
    TwoBytes,
    FourBytes,
    EightBytes,
    /// A varlena's payload.
    Bytes,
    /// The same without trailing blanks, which do not count in `char(n)`.
    BlankPadded,
    /// As many bytes behind a pointer.
    Fixed(usize),
    Name,
    Enum,
    /// postgresql-hll's `hll_hashval`: is a hash already.
    Hash,
    /// The type's own extended hash function, kept in the type cache for the life of the process.
    Support {
        function: *mut pg_sys::FmgrInfo,
        collation: Oid,
    },
}

session_local! {
    static LAST: Cell<Option<(u32, Hasher)>> = const { Cell::new(None) };
}

impl Hasher {
    /// Errors: 42883 the type has no hash support.
    pub fn of_type(oid: Oid) -> Result<Hasher, CounterError> {
        if let Some(hasher) = Hasher::built_in(oid) {
            return Ok(hasher);
        }
        if let Some((last, hasher)) = LAST.get()
            && last == u32::from(oid)
        {
            return Ok(hasher);
        }
        let hasher = Hasher::look_up(oid)?;
        LAST.set(Some((u32::from(oid), hasher)));
        Ok(hasher)
    }

    fn built_in(oid: Oid) -> Option<Hasher> {
        use type_ids::*;
        Some(match u32::from(oid) {
            BOOL | CHAR => Hasher::Byte,
            INT2 => Hasher::TwoBytes,
            INT4 | OID | DATE => Hasher::FourBytes,
            INT8 | TIME | TIMESTAMP | TIMESTAMPTZ => Hasher::EightBytes,
            TEXT | VARCHAR | BYTEA => Hasher::Bytes,
            BPCHAR => Hasher::BlankPadded,
            UUID => Hasher::Fixed(16),
            NAME => Hasher::Name,
            _ => return None,
        })
    }

    fn look_up(oid: Oid) -> Result<Hasher, CounterError> {
        // SAFETY: catalog look-ups inside a transaction; type cache entries are never freed.
        unsafe {
            let base = pg_sys::getBaseType(oid);
            if let Some(hasher) = Hasher::built_in(base) {
                return Ok(hasher);
            }
            if is_hash_value(base) {
                return Ok(Hasher::Hash);
            }
            if is_id(base) {
                return Ok(Hasher::Bytes);
            }
            if pg_sys::type_is_enum(base) {
                return Ok(Hasher::Enum);
            }
            if base == pg_sys::RECORDOID {
                // Whether it can be hashed depends on each record's fields; the function itself looks.
                let function = kept_function(&RECORD_HASH, pg_sys::F_HASH_RECORD_EXTENDED);
                return Ok(Hasher::Support { function, collation: Oid::from(0) });
            }
            let entry = pg_sys::lookup_type_cache(base, pg_sys::TYPECACHE_HASH_EXTENDED_PROC_FINFO as i32);
            let function = &raw mut (*entry).hash_extended_proc_finfo;
            if u32::from((*function).fn_oid) == 0 {
                return Err(SourceError::NotHashable { type_name: type_name(oid) }.into());
            }
            Ok(Hasher::Support { function, collation: (*entry).typcollation })
        }
    }

    /// Hashes a value that is not NULL.
    ///
    /// # Safety
    /// `datum` must be of the type that the hasher was made for, and live as long as the call.
    #[inline]
    pub unsafe fn hash(self, datum: pg_sys::Datum) -> u64 {
        let bits = datum.value() as u64;
        // SAFETY: by the caller's promise the datum is what its type says.
        unsafe {
            match self {
                Hasher::Byte => murmur::hash(&[bits as u8]),
                Hasher::TwoBytes => murmur::hash(&(bits as u16).to_le_bytes()),
                Hasher::FourBytes => murmur::hash(&(bits as u32).to_le_bytes()),
                Hasher::EightBytes => murmur::hash_u64(bits),
                Hasher::Bytes => murmur::hash(argument_bytes(datum)),
                Hasher::BlankPadded => murmur::hash(without_trailing_blanks(argument_bytes(datum))),
                Hasher::Fixed(length) => {
                    murmur::hash(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), length))
                }
                Hasher::Hash => bits,
                Hasher::Name => murmur::hash(std::ffi::CStr::from_ptr(datum.cast_mut_ptr()).to_bytes()),
                Hasher::Enum => {
                    let label =
                        pg_sys::OutputFunctionCall(kept_function(&ENUM_OUTPUT, pg_sys::F_ENUM_OUT), datum);
                    let hash = murmur::hash(std::ffi::CStr::from_ptr(label).to_bytes());
                    pg_sys::pfree(label.cast());
                    hash
                }
                Hasher::Support { function, collation } => {
                    let seed = pg_sys::Datum::from(0i64);
                    let hash = pg_sys::FunctionCall2Coll(function, collation, datum, seed);
                    murmur::hash_u64(hash.value() as u64)
                }
            }
        }
    }
}

impl Hasher {
    /// As `hash`, for the types that are hashed without a call into PostgreSQL: cannot fail. `None` for any other, and for what
    /// is compressed or out of line.
    ///
    /// # Safety
    /// As for `hash`.
    #[inline]
    pub(super) unsafe fn hash_quickly(self, datum: pg_sys::Datum) -> Option<u64> {
        // SAFETY: by the caller's promise the datum is what its type says.
        unsafe {
            match self {
                Hasher::EightBytes => Some(murmur::hash_u64(datum.value() as u64)),
                Hasher::FourBytes => Some(murmur::hash(&(datum.value() as u32).to_le_bytes())),
                Hasher::Bytes => inline_varlena(datum.cast_mut_ptr()).map(murmur::hash),
                Hasher::Fixed(length) => {
                    Some(murmur::hash(std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), length)))
                }
                _ => None,
            }
        }
    }
}

/// Hashes a function's argument of any type.
///
/// Errors: 42883 the type has no hash support.
pub fn hash(element: &pgrx::AnyElement) -> Result<u64, CounterError> {
    let hasher = Hasher::of_type(element.oid())?;
    // SAFETY: PostgreSQL passes an argument of the type it says.
    Ok(unsafe { hasher.hash(element.datum()) })
}

/// Hashes text.
pub fn hash_text(bytes: &[u8]) -> u64 {
    murmur::hash(bytes)
}

pub(super) fn without_trailing_blanks(bytes: &[u8]) -> &[u8] {
    let length = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &bytes[..length]
}

/// A built-in function's call information, kept for the life of the process.
type Kept = Cell<*mut pg_sys::FmgrInfo>;

session_local! {
    static ENUM_OUTPUT: Kept = const { Cell::new(std::ptr::null_mut()) };
    static RECORD_HASH: Kept = const { Cell::new(std::ptr::null_mut()) };
}

fn kept_function(place: &'static SessionLocal<Kept>, function: u32) -> *mut pg_sys::FmgrInfo {
    if place.get().is_null() {
        // SAFETY: the structure is made in the longest-lived context, and filled for a built-in function.
        unsafe {
            let context = pg_sys::TopMemoryContext;
            let info = pg_sys::MemoryContextAllocZero(context, std::mem::size_of::<pg_sys::FmgrInfo>())
                as *mut pg_sys::FmgrInfo;
            pg_sys::fmgr_info_cxt(Oid::from(function), info, context);
            place.set(info);
        }
    }
    place.get()
}

/// By name, since that extension need not be there.
fn is_hash_value(oid: Oid) -> bool {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        pg_sys::get_typlen(oid) == 8 && pg_sys::get_typbyval(oid) && type_name(oid).ends_with(b"hll_hashval")
    }
}

/// Whether it is the type `counter`: an id's text, and hashed as that, since it becomes text by itself.
fn is_id(oid: Oid) -> bool {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let extension = pg_sys::getExtensionOfObject(pg_sys::TypeRelationId, oid);
        u32::from(extension) != 0
            && extension == pg_sys::get_extension_oid(c"counter_ext".as_ptr(), true)
            && pg_sys::IsBinaryCoercible(oid, pg_sys::TEXTOID)
    }
}

fn type_name(oid: Oid) -> Vec<u8> {
    // SAFETY: a catalog look-up inside a transaction; the result is a palloc'd string.
    unsafe { std::ffi::CStr::from_ptr(pg_sys::format_type_be(oid)) }.to_bytes().to_vec()
}
