//! The type `counter`: a column holding a counter's id.
//!
//! BOUND: an id is checked, at most 255 bytes, before it is copied.

use std::ffi::CStr;

use pgrx::prelude::*;

use crate::counting::errors::NoNumber;
use crate::errors::{CounterError, OrRaise, check_id};
use crate::pg::args::{CounterBytes, MessageArg, TextArg};

fn checked(id: &[u8]) -> Result<CounterBytes, CounterError> {
    check_id(id)?;
    Ok(CounterBytes(id.to_vec()))
}

/// Reads an id. Errors: 22023 empty or over-long.
#[pg_extern(sql = false, name = "counter_in")]
fn counter_in(input: &CStr) -> CounterBytes {
    checked(input.to_bytes()).or_raise()
}

/// Reads an id in binary form. Errors: 22023 empty or over-long.
#[pg_extern(sql = false, name = "counter_recv")]
fn counter_recv(message: MessageArg<'_>) -> CounterBytes {
    checked(&message.text()).or_raise()
}

/// An id from text. Errors: 22023 empty or over-long.
#[pg_extern(sql = false, name = "counter_from_text")]
fn counter_from_text(input: TextArg<'_>) -> CounterBytes {
    checked(input.0).or_raise()
}

/// What `+` and `-` of a counter come to. Errors: 42883 with the function to call.
#[pg_extern(sql = false, name = "counter_no_arithmetic")]
fn counter_no_arithmetic() {
    CounterError::from(NoNumber).raise()
}

extension_sql_file!(
    "../../sql/counter_type.sql",
    name = "counter_ext_type_beside_others",
    requires = ["counter_ext_type"]
);

extension_sql_file!("../../sql/schema.sql", name = "counter_ext_type", bootstrap);
