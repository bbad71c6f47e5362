//! Errors of unique visitors.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};
use crate::hll::TooCoarse;

/// How late a visit may be: a leap year.
pub const MAX_LATE_DAYS: i64 = 366;

fn day(message: String) -> Explanation {
    Explanation::new(ERRCODE_DATETIME_FIELD_OVERFLOW, message)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitorError {
    /// Rows of visitors that somebody else holds cannot be dropped.
    Held {
        id: Vec<u8>,
    },
    /// A visit, or a sketch, of a day that takes none; days since today.
    Day {
        days: i64,
        latest: bool,
        /// Whose day today is.
        zone: String,
    },
    NoDay,
    /// A sketch of which nobody knows what it has seen.
    Undefined,
    /// A sketch that knows less than those of visitors.
    TooCoarse(TooCoarse),
}

impl Explain for VisitorError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Held { id } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("visitors of \"{}\" are being changed by another transaction", text(id)),
            )
            .hint(TRY_AGAIN),
            Self::Day { days, latest: true, zone } => day(format!(
                "\"at\" is {days} days after today ({zone}): a visit may be of tomorrow at the latest"
            )),
            Self::Day { days, latest: false, zone } => day(format!(
                "\"at\" is {} days before today ({zone}): a visit may be {MAX_LATE_DAYS} days late",
                -days
            ))
            .hint("counter_visitors_add(id, sketch, at) takes the visitors of any day of the past."),
            Self::NoDay => day("\"at\" is infinite, which is no day".to_owned()),
            Self::Undefined => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "nobody knows what an undefined sketch has seen",
            ),
            Self::TooCoarse(coarse) => {
                Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, coarse.to_string()).hint(
                    "Sketches of visitors have these parameters, and take those with as many registers, as wide, or more. Make one from the \
                     visitors themselves: counter_hll_agg(visitor::text).",
                )
            }
        }
    }
}
