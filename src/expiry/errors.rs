//! Errors of expiry.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

/// The longest that a counter may be idle; in years.
pub const MOST_YEARS: i64 = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpiryError {
    EmptyPrefix,
    TooLong,
    /// Counters of a cache are as many as its rows say.
    Cached {
        prefix: Vec<u8>,
        other: Vec<u8>,
        table: Vec<u8>,
    },
    /// The other way round.
    Expires {
        prefix: Vec<u8>,
        other: Vec<u8>,
    },
}

impl Explain for ExpiryError {
    fn explain(&self) -> Explanation {
        match self {
            Self::EmptyPrefix => Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, "prefix is empty")
                .hint("Have counters expire under prefixes that say what they count."),
            Self::TooLong => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("argument \"idle\" is longer than {MOST_YEARS} years"),
            )
            .hint("counter_unexpire(prefix) lets counters stay for ever."),
            Self::Cached { prefix, other, table } => Explanation::new(
                ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "prefix \"{}\" overlaps prefix \"{}\", under which rows of table {} are counted",
                    text(prefix),
                    text(other),
                    text(table)
                ),
            )
            .hint("Counters of a cache go when no row refers to them. Take a prefix that overlaps that of no cache."),
            Self::Expires { prefix, other } => Explanation::new(
                ERRCODE_DUPLICATE_OBJECT,
                format!("prefix \"{}\" overlaps prefix \"{}\", under which counters expire", text(prefix), text(other)),
            )
            .hint("Take another prefix, or call counter_unexpire() first: counters of a cache go when no row refers to them."),
        }
    }
}
