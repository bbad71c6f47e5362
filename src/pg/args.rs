//! SQL argument and result types that stay bytes, so that ids work in every server encoding.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, UnboxDatum};
use pgrx::nullable::Nullable;
use pgrx::pg_sys;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{FromDatum, IntoDatum};

use std::net::IpAddr;

use super::installed;
use super::interval::Interval;
use super::type_ids;
use crate::errors::OrRaise;
use crate::fallible;

/// The payload of a varlena that is neither compressed nor out of line.
///
/// # Safety
/// `pointer` must point to a varlena that outlives `'a`.
pub(super) unsafe fn inline_varlena<'a>(pointer: *mut pg_sys::varlena) -> Option<&'a [u8]> {
    // SAFETY: by the caller's promise; the first byte says which header it has.
    unsafe {
        if pgrx::varatt_is_1b_e(pointer) || pgrx::varatt_is_4b_c(pointer) {
            return None;
        }
        let length = pgrx::varsize_any_exhdr(pointer);
        Some(std::slice::from_raw_parts(pgrx::vardata_any(pointer).cast(), length))
    }
}

/// # Safety
/// `datum` must be a non-null varlena argument of the running function call.
pub(super) unsafe fn argument_bytes<'fcx>(datum: pg_sys::Datum) -> &'fcx [u8] {
    // SAFETY: by the caller's promise.
    unsafe { varlena_bytes(datum.cast_mut_ptr()) }
}

/// The payload of any varlena; what is compressed or out of line is copied into the current memory context.
///
/// # Safety
/// `pointer` must point to a varlena that outlives `'a`, and `'a` may not outlive the memory context.
pub(super) unsafe fn varlena_bytes<'a>(pointer: *mut pg_sys::varlena) -> &'a [u8] {
    // SAFETY: by the caller's promise.
    unsafe {
        match inline_varlena(pointer) {
            Some(bytes) => bytes,
            None => inline_varlena(pg_sys::pg_detoast_datum_packed(pointer)).unwrap_or(&[]),
        }
    }
}

/// A copy that Rust owns. Raises 53200, as palloc does.
fn copied(bytes: &[u8]) -> Vec<u8> {
    fallible::copy(bytes, "a value").or_raise()
}

macro_rules! sql_type {
    ($type:ty, $sql:literal) => {
        // SAFETY: the mapping names the SQL type whose representation From/IntoDatum handle below.
        unsafe impl SqlTranslatable for $type {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($type);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }
    };
}

/// An argument of type `counter`: an id's bytes.
#[derive(Clone, Copy, Debug)]
pub struct CounterArg<'fcx>(pub &'fcx [u8]);

sql_type!(CounterArg<'_>, "counter");

impl FromDatum for CounterArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: `counter` is a varlena type, and the datum is not null here.
        (!is_null).then(|| CounterArg(unsafe { argument_bytes(datum) }))
    }
}

/// An argument of type `counter_hll`, or `bytea`: a sketch's bytes, checked when they became a `counter_hll`.
#[derive(Clone, Copy, Debug)]
pub struct SketchArg<'fcx>(pub &'fcx [u8]);

sql_type!(SketchArg<'_>, "counter_hll");

impl FromDatum for SketchArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: `counter_hll` is a varlena type, and the datum is not null here.
        (!is_null).then(|| SketchArg(unsafe { argument_bytes(datum) }))
    }
}

/// An argument of type `text`, as bytes.
#[derive(Clone, Copy, Debug)]
pub struct TextArg<'fcx>(pub &'fcx [u8]);

sql_type!(TextArg<'_>, "text");

impl FromDatum for TextArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: text is a varlena type, and the datum is not null here.
        (!is_null).then(|| TextArg(unsafe { argument_bytes(datum) }))
    }
}

/// An argument of type `numeric`, as its text.
#[derive(Clone, Copy, Debug)]
pub struct NumericArg<'fcx>(pub &'fcx [u8]);

sql_type!(NumericArg<'_>, "numeric");

impl FromDatum for NumericArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: numeric_out takes a numeric and returns a palloc'd C string, which lives as long as the call's memory.
        unsafe {
            let text = pgrx::direct_function_call_as_datum(pg_sys::numeric_out, &[Some(datum)])?;
            Some(NumericArg(std::ffi::CStr::from_ptr(text.cast_mut_ptr()).to_bytes()))
        }
    }
}

/// An argument of type `interval`.
#[derive(Clone, Copy, Debug)]
pub struct IntervalArg<'fcx>(pub Interval, std::marker::PhantomData<&'fcx ()>);

sql_type!(IntervalArg<'_>, "interval");

impl FromDatum for IntervalArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: `interval` is passed by reference, and the datum is not null here.
        (!is_null)
            .then(|| IntervalArg(unsafe { Interval::read(datum.cast_mut_ptr()) }, std::marker::PhantomData))
    }
}

impl FromDatum for TextBytes {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: text is a varlena type, and the datum is not null here.
        (!is_null).then(|| TextBytes(copied(unsafe { argument_bytes(datum) })))
    }
}

// SAFETY: copies the bytes, so that nothing outlives the datum.
unsafe impl UnboxDatum for TextBytes {
    type As<'src> = TextBytes;

    unsafe fn unbox<'src>(datum: Datum<'src>) -> TextBytes
    where
        Self: 'src,
    {
        // SAFETY: by the caller's promise a text datum.
        TextBytes(copied(unsafe { argument_bytes(datum.sans_lifetime()) }))
    }
}

/// The `internal` argument of a receive function: what is left of a message in the client's encoding.
#[derive(Clone, Copy, Debug)]
pub struct MessageArg<'fcx>(pg_sys::StringInfo, std::marker::PhantomData<&'fcx ()>);

sql_type!(MessageArg<'_>, "internal");

impl MessageArg<'_> {
    /// The rest of the message as it is.
    pub fn bytes(self) -> Vec<u8> {
        // SAFETY: PostgreSQL calls receive functions with a StringInfo; the result points into it.
        unsafe {
            let left = (*self.0).len - (*self.0).cursor;
            let bytes = pg_sys::pq_getmsgbytes(self.0, left);
            copied(std::slice::from_raw_parts(bytes as *const u8, left as usize))
        }
    }

    /// The rest of the message as text in the server's encoding, checked.
    pub fn text(self) -> Vec<u8> {
        let mut bytes = 0;
        // SAFETY: PostgreSQL calls receive functions with a StringInfo; the result is palloc'd.
        unsafe {
            let left = (*self.0).len - (*self.0).cursor;
            let text = pg_sys::pq_getmsgtext(self.0, left, &mut bytes);
            copied(std::slice::from_raw_parts(text as *const u8, bytes as usize))
        }
    }
}

impl FromDatum for MessageArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then(|| MessageArg(datum.cast_mut_ptr(), std::marker::PhantomData))
    }
}

/// An argument of type `text[]` or `bigint[]`, not yet taken apart.
#[derive(Clone, Copy, Debug)]
struct ArrayArg(*mut pg_sys::ArrayType);

impl ArrayArg {
    /// # Safety
    /// `datum` must be a non-null array argument of the running function call.
    unsafe fn new(datum: pg_sys::Datum) -> ArrayArg {
        // SAFETY: by the caller's promise.
        ArrayArg(unsafe { pg_sys::pg_detoast_datum(datum.cast_mut_ptr()) as *mut pg_sys::ArrayType })
    }

    fn dimensions(self) -> i32 {
        // SAFETY: a detoasted array.
        unsafe { (*self.0).ndim }
    }

    /// Takes the array apart, in the current memory context.
    fn elements<'fcx>(self, oid: u32, length: i32, by_value: bool, align: u8) -> Elements<'fcx> {
        let mut values = std::ptr::null_mut();
        let mut nulls = std::ptr::null_mut();
        let mut count = 0;
        // SAFETY: a detoasted array of the element type the function was declared with; deconstruct_array allocates and fills
        // `count` values and null flags, which live as long as the call's memory.
        unsafe {
            pg_sys::deconstruct_array(
                self.0,
                pg_sys::Oid::from(oid),
                length,
                by_value,
                align as std::ffi::c_char,
                &mut values,
                &mut nulls,
                &mut count,
            );
            if count == 0 {
                return Elements { values: &[], nulls: &[] };
            }
            Elements {
                values: std::slice::from_raw_parts(values, count as usize),
                nulls: std::slice::from_raw_parts(nulls, count as usize),
            }
        }
    }
}

/// The elements of an array, in order.
#[derive(Clone, Copy, Debug)]
struct Elements<'fcx> {
    values: &'fcx [pg_sys::Datum],
    nulls: &'fcx [bool],
}

impl<'fcx> Elements<'fcx> {
    fn iter(self) -> impl ExactSizeIterator<Item = Option<pg_sys::Datum>> + Clone + use<'fcx> {
        self.values.iter().zip(self.nulls).map(|(value, is_null)| (!is_null).then_some(*value))
    }
}

/// What the array types have in common; what their elements are, each says itself.
macro_rules! array_type {
    ($type:ident, $sql:literal) => {
        #[doc = concat!("`", $sql, "`")]
        #[derive(Clone, Copy, Debug)]
        pub struct $type<'fcx>(ArrayArg, std::marker::PhantomData<&'fcx ()>);

        sql_type!($type<'_>, $sql);

        impl $type<'_> {
            pub fn dimensions(self) -> i32 {
                self.0.dimensions()
            }
        }

        impl FromDatum for $type<'_> {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _typoid: pg_sys::Oid,
            ) -> Option<Self> {
                // SAFETY: declared as an array of that type, and not null here.
                (!is_null).then(|| $type(unsafe { ArrayArg::new(datum) }, std::marker::PhantomData))
            }
        }
    };
}

array_type!(TextArray, "text[]");

impl<'fcx> TextArray<'fcx> {
    /// The elements' bytes in order; `None` for NULL.
    pub fn elements(self) -> impl ExactSizeIterator<Item = Option<&'fcx [u8]>> + Clone + use<'fcx> {
        let datums = self.0.elements(type_ids::TEXT, -1, false, b'i');
        // SAFETY: non-null text elements of an array that lives as long as the call.
        datums.iter().map(|datum| datum.map(|d| unsafe { argument_bytes(d) }))
    }
}

array_type!(BigintArray, "bigint[]");

impl<'fcx> BigintArray<'fcx> {
    /// The elements in order; `None` for NULL.
    pub fn elements(self) -> impl ExactSizeIterator<Item = Option<i64>> + Clone + use<'fcx> {
        const INT8: u32 = 20;
        let datums = self.0.elements(INT8, 8, true, b'd');
        datums.iter().map(|datum| datum.map(|d| d.value() as i64))
    }
}

array_type!(TimestampArray, "timestamptz[]");

impl<'fcx> TimestampArray<'fcx> {
    /// The elements in order, microseconds since 2000-01-01; `None` for NULL.
    pub fn elements(self) -> impl ExactSizeIterator<Item = Option<i64>> + Clone + use<'fcx> {
        let datums = self.0.elements(type_ids::TIMESTAMPTZ, 8, true, b'd');
        datums.iter().map(|datum| datum.map(|d| d.value() as i64))
    }
}

array_type!(IntervalArray, "interval[]");

impl<'fcx> IntervalArray<'fcx> {
    /// The elements in order; `None` for NULL.
    pub fn elements(self) -> impl ExactSizeIterator<Item = Option<Interval>> + Clone + use<'fcx> {
        let datums = self.0.elements(type_ids::INTERVAL, 16, false, b'd');
        // SAFETY: non-null elements of an array that lives as long as the call.
        datums.iter().map(|datum| datum.map(|d| unsafe { Interval::read(d.cast_mut_ptr()) }))
    }
}

/// An argument of type `inet`: its address; what it says of a network is left out.
#[derive(Clone, Copy, Debug)]
pub struct AddressArg<'fcx>(pub IpAddr, std::marker::PhantomData<&'fcx ()>);

sql_type!(AddressArg<'_>, "inet");

/// The address in the payload of an `inet`: family, bits of the network, address.
pub(super) fn inet_address(payload: &[u8]) -> Option<IpAddr> {
    let address = payload.get(2..)?;
    address
        .first_chunk::<16>()
        .map(|bytes| IpAddr::from(*bytes))
        .or_else(|| address.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)))
}

impl FromDatum for AddressArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: `inet` is a varlena type, and the datum is not null here.
        let address = inet_address(unsafe { argument_bytes(datum) })?;
        Some(AddressArg(address, std::marker::PhantomData))
    }
}

/// Arguments of functions. Those in front of `;` are looked at only where the SQL that passes them is this library's: that of another may
/// have declared another type there. The others are values of our types on their way into and out of PostgreSQL.
macro_rules! argument {
    ($($checked:ident),* $(,)?; $($type:ident),*) => {
        $(argument!(@ $checked, installed::check());)*
        $(argument!(@ $type);)*
    };
    (@ $type:ident $(, $check:expr)?) => {
            // SAFETY: unboxes through FromDatum above, which checks for null.
            unsafe impl<'fcx> ArgAbi<'fcx> for $type<'fcx> {
                unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                    $($check;)?
                    // SAFETY: the function is declared with the mapped SQL type.
                    match unsafe { arg.unbox_arg_using_from_datum() } {
                        Some(value) => value,
                        None => unreachable!("a STRICT function got NULL"),
                    }
                }

                unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                    $($check;)?
                    // SAFETY: the function is declared with the mapped SQL type.
                    unsafe { arg.unbox_arg_using_from_datum().into() }
                }
            }
    };
}

/// An argument of type `regclass`.
#[derive(Clone, Copy, Debug)]
pub struct RelationArg<'fcx>(pub super::Oid, std::marker::PhantomData<&'fcx ()>);

sql_type!(RelationArg<'_>, "regclass");

impl FromDatum for RelationArg<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        (!is_null).then(|| RelationArg(pg_sys::Oid::from(datum.value() as u32), std::marker::PhantomData))
    }
}

argument!(
    NumericArg,
    RelationArg,
    CounterArg,
    TextArg,
    IntervalArg,
    TextArray,
    BigintArray,
    TimestampArray,
    IntervalArray,
    AddressArg;
    SketchArg,
    MessageArg,
    TypeModifiers
);

pub(super) fn bytes_datum(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: copies the bytes into the current memory context.
    pg_sys::Datum::from(unsafe {
        pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32)
    })
}

macro_rules! returned_bytes {
    ($type:ident, $sql:literal, $oid:expr) => {
        #[derive(Clone, Debug)]
        pub struct $type(pub Vec<u8>);

        sql_type!($type, $sql);

        impl IntoDatum for $type {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                Some(bytes_datum(&self.0))
            }

            fn type_oid() -> pg_sys::Oid {
                $oid
            }
        }

        // SAFETY: returns a palloc'd varlena of the mapped SQL type.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                // SAFETY: the datum is what the function is declared to return.
                unsafe { fcinfo.return_raw_datum(bytes_datum(&self.0)) }
            }
        }
    };
}

returned_bytes!(TextBytes, "text", pg_sys::TEXTOID);
returned_bytes!(CounterBytes, "counter", pg_sys::TEXTOID);
returned_bytes!(SketchBytes, "counter_hll", pg_sys::BYTEAOID);

/// Reads what PostgreSQL reads as `bytea`: hex behind `\x`, or the escape format.
pub fn read_bytea(input: &std::ffi::CStr) -> Vec<u8> {
    // SAFETY: byteain takes a C string and returns a palloc'd varlena, or raises.
    unsafe {
        let argument = Some(pg_sys::Datum::from(input.as_ptr()));
        pgrx::direct_function_call_as_datum(pg_sys::byteain, &[argument])
            .map_or_else(Vec::new, |datum| copied(argument_bytes(datum)))
    }
}

/// The integers of a type modifier's list, as text: the first five of them, one more than any type of ours takes. Errors: 22023, 2202E as PostgreSQL's own types raise them.
pub fn type_modifiers(list: TypeModifiers<'_>) -> Vec<String> {
    let datums = list.0.elements(type_ids::CSTRING, -2, false, b'c');
    datums
        .iter()
        .flatten()
        .take(5)
        // SAFETY: elements of a cstring array.
        .map(|datum| unsafe { std::ffi::CStr::from_ptr(datum.cast_mut_ptr()) }.to_string_lossy().into_owned())
        // BOUND: five.
        .collect()
}

/// `cstring[]`: what stands in the brackets behind a type's name.
#[derive(Clone, Copy, Debug)]
pub struct TypeModifiers<'fcx>(ArrayArg, std::marker::PhantomData<&'fcx ()>);

sql_type!(TypeModifiers<'_>, "cstring[]");

impl FromDatum for TypeModifiers<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: declared as cstring[], and not null here.
        (!is_null).then(|| TypeModifiers(unsafe { ArrayArg::new(datum) }, std::marker::PhantomData))
    }
}
