//! Errors of counting that no other family has.
//!
//! BOUND: the first digits of a number.

use pgrx::PgSqlErrorCode::*;

use super::amount::NotAnAmount;
use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

/// Digits of a number that a message shows; a numeric can have 147,455.
const MAX_SHOWN: usize = 60;

/// A numeric that is no amount to count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmountError {
    argument: &'static str,
    shown: Vec<u8>,
    is_cut: bool,
    why: NotAnAmount,
}

impl AmountError {
    pub fn new(argument: &'static str, number: &[u8], why: NotAnAmount) -> AmountError {
        let shown = &number[..number.len().min(MAX_SHOWN)];
        AmountError { argument, shown: shown.to_vec(), is_cut: shown.len() < number.len(), why }
    }
}

impl Explain for AmountError {
    fn explain(&self) -> Explanation {
        let rest = if self.is_cut { "..." } else { "" };
        let number = format!("argument \"{}\" is {}{rest}", self.argument, text(&self.shown));
        match self.why {
            NotAnAmount::NotFinite => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("{number}; it must be a whole number"),
            ),
            NotAnAmount::Fraction => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("{number}; it must be a whole number"),
            )
            .hint("Count in a smaller unit, cents for example, or round it."),
            NotAnAmount::OutOfRange => Explanation::new(
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("{number}, out of range for bigint"),
            ),
        }
    }
}

/// All that is counted under a prefix is to be in totals, and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountingError {
    TotalHeld { id: Vec<u8> },
}

impl Explain for CountingError {
    fn explain(&self) -> Explanation {
        match self {
            Self::TotalHeld { id } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("total of counter \"{}\" is held by another transaction", text(id)),
            )
            .hint(TRY_AGAIN),
        }
    }
}

/// Arithmetic with a counter, which is an id.
#[derive(Clone, Copy, Debug)]
pub struct NoNumber;

impl Explain for NoNumber {
    fn explain(&self) -> Explanation {
        Explanation::new(
            ERRCODE_UNDEFINED_FUNCTION,
            "a counter is an id, not a number that could be added to",
        )
        .hint("Count with counter_incr(id, delta). To reckon with its total, cast it: id::bigint.")
    }
}
