//! The type `counter_hll`: sketches of distinct values as bytes, and what can be asked of them.

use std::ffi::CStr;

use allocator_api2::alloc::Allocator;
use pgrx::AnyElement;
use pgrx::prelude::*;

use crate::errors::SketchError;
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::hll::{Differ, Malformed, Parameters, Sketch, Stored};
use crate::pg::args::{self, MessageArg, SketchArg, SketchBytes, TextArg, TypeModifiers};
use crate::pg::{Oid, hashing};

/// Reads a sketch's bytes into their one form, with the parameters that a column asks for (-1: any).
fn checked(bytes: &[u8], typmod: i32) -> Result<SketchBytes, CounterError> {
    let sketch = Sketch::decode_foreign(bytes)?;
    match Parameters::from_typmod(typmod) {
        // It says nothing, in whatever parameters.
        Some(wanted) if sketch.is_undefined() => Ok(SketchBytes(Sketch::undefined(wanted).encode()?)),
        _ => {
            check_modifier(sketch.parameters(), typmod)?;
            Ok(SketchBytes(sketch.encode()?))
        }
    }
}

fn check_modifier(parameters: Parameters, typmod: i32) -> Result<(), CounterError> {
    match Parameters::from_typmod(typmod) {
        Some(wanted) if wanted != parameters => {
            Err(SketchError::Column(Differ { left: wanted, right: parameters }).into())
        }
        _ => Ok(()),
    }
}

/// Reads a sketch from hex. Errors: 22P03 malformed; 22023 other parameters than the column's.
#[pg_extern(sql = false, name = "counter_hll_in")]
fn counter_hll_in(input: &CStr, _element: Oid, typmod: i32) -> SketchBytes {
    let read = || match input.to_bytes().strip_prefix(b"\\x") {
        Some(digits) => checked(&from_hex(digits)?.ok_or(Malformed::Hex)?, typmod),
        None => checked(&args::read_bytea(input), typmod),
    };
    read().or_raise()
}

const WHAT: &str = "a sketch's bytes";

fn from_hex(digits: &[u8]) -> Result<Option<Vec<u8>>, OutOfMemory> {
    let length = digits.len() / 2;
    let mut bytes = fallible::with_room(length, WHAT)?;
    bytes.resize(length, 0);
    Ok(hex::decode_to_slice(digits, &mut bytes).is_ok().then_some(bytes))
}

/// Reads a sketch in binary form. Errors: those of `counter_hll_in`.
#[pg_extern(sql = false, name = "counter_hll_recv")]
fn counter_hll_recv(message: MessageArg<'_>, _element: Oid, typmod: i32) -> SketchBytes {
    checked(&message.bytes(), typmod).or_raise()
}

/// Takes bytes for a sketch. Errors: 22P03 malformed.
#[pg_extern(sql = false, name = "counter_hll_from_bytea")]
fn counter_hll_from_bytea(bytes: SketchArg<'_>) -> SketchBytes {
    checked(bytes.0, -1).or_raise()
}

/// Checks a sketch's parameters against a column's. Errors: 22023 they differ.
#[pg_extern(sql = false, name = "counter_hll_check")]
fn counter_hll_check(sketch: SketchArg<'_>, typmod: i32, _is_explicit: bool) -> SketchBytes {
    let check = || -> Result<SketchBytes, CounterError> {
        if Sketch::stored_as(sketch.0)? == Stored::Undefined {
            return checked(sketch.0, typmod);
        }
        check_modifier(Sketch::parameters_of(sketch.0)?, typmod)?;
        Ok(SketchBytes(fallible::copy(sketch.0, WHAT)?))
    };
    check().or_raise()
}

/// `counter_hll(log2m, regwidth, expthresh, sparseon)` as a type modifier. Errors: 22023 out of range.
#[pg_extern(sql = false, name = "counter_hll_typmod_in")]
fn counter_hll_typmod_in(modifiers: TypeModifiers<'_>) -> i32 {
    modifier(&args::type_modifiers(modifiers)).or_raise().to_typmod()
}

fn modifier(texts: &[String]) -> Result<Parameters, CounterError> {
    // BOUND: `type_modifiers` gives no more than five.
    let numbers: Result<Vec<i64>, _> = texts.iter().map(|text| text.trim().parse()).collect();
    let numbers = numbers.map_err(|_| SketchError::Modifiers)?;
    if numbers.len() > 4 {
        return Err(SketchError::Modifiers.into());
    }
    let given = |position: usize, default| numbers.get(position).copied().unwrap_or(default);
    Ok(Parameters::new(given(0, 14), given(1, 5), given(2, -1), given(3, 1))?)
}

/// A type modifier as text.
#[pg_extern(sql = false, name = "counter_hll_typmod_out")]
fn counter_hll_typmod_out(typmod: i32) -> std::ffi::CString {
    let text = Parameters::from_typmod(typmod).map_or_else(String::new, |parameters| parameters.to_string());
    std::ffi::CString::new(text).unwrap_or_default()
}

/// Distinct values that a sketch has seen: exact while it keeps them one by one, else an estimate with a standard
/// error of 1.04 / sqrt(2^log2m). O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017).
/// NULL for postgresql-hll's "undefined" sketch.
///
/// Errors: 22003 every register is full.
#[pg_extern(sql = false, name = "counter_hll_count")]
fn counter_hll_count(sketch: SketchArg<'_>) -> Option<i64> {
    let count = || {
        let sketch = Sketch::decode(sketch.0)?;
        if sketch.is_undefined() { Ok(None) } else { rounded(&sketch).map(Some) }
    };
    count().or_raise()
}

/// An estimate as bigint, of a sketch that has one.
pub(super) fn rounded<A: Allocator + Copy>(sketch: &Sketch<A>) -> Result<i64, CounterError> {
    let count = sketch.count();
    // 2^63, which no bigint holds.
    if count < 9_223_372_036_854_775_808.0 { Ok(count.round() as i64) } else { Err(SketchError::Full.into()) }
}

/// The sketch that the same values would have made with fewer registers: so sketches of several `log2m` can be united. Exact, but for
/// values whose hash left no trace in the larger one: one of 2^(64 - log2m).
///
/// Errors: 22023 `log2m` is out of range, or larger than the sketch's own.
#[pg_extern(sql = false, name = "counter_hll_fold")]
fn counter_hll_fold(sketch: SketchArg<'_>, log2m: i32) -> SketchBytes {
    let fold = || -> Result<Vec<u8>, CounterError> {
        let sketch = Sketch::decode(sketch.0)?;
        let to = sketch.parameters().and_log2m(i64::from(log2m))?;
        Ok(sketch.fold(to)?.encode()?)
    };
    SketchBytes(fold().or_raise())
}

/// What a sketch was made with, and its stage: log2m, regwidth, expthresh, sparseon, 0 undefined to 4 full. For `counter_hll_info` alone.
#[pg_extern(sql = false, name = "counter_hll_header")]
fn counter_hll_header(sketch: SketchArg<'_>) -> Vec<i64> {
    let header = || -> Result<Vec<i64>, CounterError> {
        let parameters = Sketch::parameters_of(sketch.0)?;
        let stage = Sketch::stored_as(sketch.0)?;
        // BOUND: five numbers.
        Ok(vec![
            i64::from(parameters.log2m()),
            i64::from(parameters.regwidth()),
            parameters.expthresh(),
            i64::from(parameters.sparseon()),
            stage as i64,
        ])
    };
    header().or_raise()
}

/// All that either has seen. NULL has seen nothing, so that a day without a sketch takes nothing from a month; NULL where both are.
///
/// Errors: 22023 their parameters differ.
#[pg_extern(sql = false, name = "counter_hll_union")]
fn counter_hll_union(left: Option<SketchArg<'_>>, right: Option<SketchArg<'_>>) -> Option<SketchBytes> {
    let unite = |one: SketchArg<'_>, other: Option<SketchArg<'_>>| -> Result<Vec<u8>, CounterError> {
        let mut united = Sketch::decode(one.0)?;
        if let Some(other) = other {
            united.unite_encoded(other.0)?;
        }
        Ok(united.encode()?)
    };
    let (one, other) = if left.is_some() { (left?, right) } else { (right?, None) };
    Some(SketchBytes(unite(one, other).or_raise()))
}

/// A sketch that has seen nothing. Errors: 22023 a parameter out of range.
#[pg_extern(sql = false, name = "counter_hll_empty")]
fn counter_hll_empty(log2m: i32, regwidth: i32, expthresh: i64, sparseon: i32) -> SketchBytes {
    let parameters = Parameters::new(i64::from(log2m), i64::from(regwidth), expthresh, i64::from(sparseon));
    SketchBytes(Sketch::new(parameters.or_raise()).encode().or_raise())
}

fn add(sketch: Option<SketchArg<'_>>, hash: Option<u64>) -> Result<SketchBytes, CounterError> {
    let mut sketch = match sketch {
        Some(bytes) => Sketch::decode(bytes.0)?,
        None => Sketch::new(Parameters::default()),
    };
    if let Some(hash) = hash {
        sketch.add(hash)?;
    }
    Ok(SketchBytes(sketch.encode()?))
}

/// The sketch and one value more; a NULL sketch is an empty one, a NULL value adds nothing.
///
/// Errors: 42883 values of that type cannot be hashed.
#[pg_extern(sql = false, name = "counter_hll_add")]
fn counter_hll_add(sketch: Option<SketchArg<'_>>, element: Option<AnyElement>) -> SketchBytes {
    let added = || add(sketch, element.as_ref().map(hashing::hash).transpose()?);
    added().or_raise()
}

/// As above, for text: an untyped literal is text.
#[pg_extern(sql = false, name = "counter_hll_add_text")]
fn counter_hll_add_text(sketch: Option<SketchArg<'_>>, element: Option<TextArg<'_>>) -> SketchBytes {
    add(sketch, element.map(|text| hashing::hash_text(text.0))).or_raise()
}

extension_sql_file!("../../sql/hll.sql", name = "counter_hll", requires = ["counter_ext_type"]);
