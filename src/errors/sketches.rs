//! Errors of HyperLogLog sketches. `hll` itself is plain Rust and knows no SQLSTATE.

use std::borrow::Cow;

use pgrx::PgSqlErrorCode::*;

use super::{CounterError, Explain, Explanation};
use crate::hll::{BadParameter, Differ, Malformed, Refused, TooCoarse};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SketchError {
    /// Bytes that are not a HyperLogLog sketch.
    Malformed(Malformed),
    Differ(Differ),
    TooCoarse(TooCoarse),
    Parameter(BadParameter),
    Modifiers,
    /// A sketch of other parameters than its column's.
    Column(Differ),
    /// Every register is full: there is no telling how many there were.
    Full,
}

impl Explain for SketchError {
    fn explain(&self) -> Explanation {
        let invalid = |message: String| Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, message);
        match self {
            Self::Malformed(malformed) => Explanation::new(
                ERRCODE_INVALID_BINARY_REPRESENTATION,
                format!("invalid counter_hll: {malformed}"),
            )
            .hint(
                "A sketch is read from hexadecimal behind \\x. To add a value call counter_hll_add, \
                 to make a sketch of values counter_hll_agg.",
            ),
            Self::Differ(differ) => invalid(differ.to_string()).hint(
                differ.larger_log2m().map_or_else(
                    || Cow::Borrowed("Make both with the same log2m, regwidth, expthresh and sparseon."),
                    |(larger, smaller)| Cow::Owned(format!("Fold the one of log2m {larger} down: counter_hll_fold(sketch, {smaller}).")),
                ),
            ),
            Self::TooCoarse(coarse) => invalid(coarse.to_string())
                .hint("A sketch can be folded to fewer and narrower registers only. Fold the other ones down to it."),
            Self::Parameter(parameter) => invalid(format!("counter_hll parameter {parameter}")),
            Self::Modifiers => invalid(
                "type counter_hll takes up to four integers: log2m, regwidth, expthresh, sparseon".to_owned(),
            ),
            Self::Column(Differ { left, right }) => invalid(format!(
                "counter_hll has parameters {right} where {left} are asked for"
            ))
            .hint(match (Differ { left: *left, right: *right }).larger_log2m() {
                Some((larger, smaller)) if larger == right.log2m() => {
                    Cow::Owned(format!("Fold it down: counter_hll_fold(sketch, {smaller})."))
                }
                _ => Cow::Borrowed(
                    "Make it with these parameters: counter_hll_empty, or counter_hll_agg(value, log2m).",
                ),
            }),
            Self::Full => Explanation::new(
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                "every register of the counter_hll is full: it has no estimate",
            )
            .hint("Use a larger regwidth."),
        }
    }
}

impl From<Malformed> for CounterError {
    fn from(malformed: Malformed) -> CounterError {
        SketchError::Malformed(malformed).into()
    }
}

impl From<Differ> for CounterError {
    fn from(differ: Differ) -> CounterError {
        SketchError::Differ(differ).into()
    }
}

impl From<BadParameter> for CounterError {
    fn from(parameter: BadParameter) -> CounterError {
        SketchError::Parameter(parameter).into()
    }
}

impl From<Refused> for CounterError {
    fn from(refused: Refused) -> CounterError {
        match refused {
            Refused::Malformed(malformed) => malformed.into(),
            Refused::Differ(differ) => differ.into(),
            Refused::TooCoarse(coarse) => SketchError::TooCoarse(coarse).into(),
            Refused::OutOfMemory(refused) => refused.into(),
        }
    }
}
