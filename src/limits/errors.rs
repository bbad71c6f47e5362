//! Errors of rate limits and of the bot filter.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation};
use crate::memory::limits::MOST_TOGETHER;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitError {
    /// Rate limits need shared memory.
    NotPreloaded { function: &'static str },
    /// All windows that a key of this database may have are in use.
    NoRoom,
    /// Arrays of one call, of which each has an element a limit.
    LengthsDiffer { keys: usize, argument: &'static str, elements: usize },
    /// More limits in one call than are locked together.
    TooManyTogether { count: usize },
    /// A period longer than anybody may fill shared memory for.
    LongPeriod { argument: &'static str, longest_s: i64 },
}

impl Explain for LimitError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NotPreloaded { function } => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("{function}() needs counter_ext to be preloaded to keep a limit"),
            )
            .hint("Add counter_ext to shared_preload_libraries and restart the server."),
            Self::NoRoom => Explanation::new(
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "shared memory has no room for another rate limit: counter_ext.max_limits",
            )
            .hint(
                "Raise counter_ext.max_limits and restart the server, or use fewer keys or shorter periods.",
            ),
            Self::LengthsDiffer { keys, argument, elements } => Explanation::new(
                ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("arrays differ in length: {keys} keys, {elements} {argument}"),
            ),
            Self::TooManyTogether { count } => Explanation::new(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("{count} limits at once are more than {MOST_TOGETHER}"),
            ),
            Self::LongPeriod { argument, longest_s } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{argument}\" is longer than counter_ext.max_limit_period, which is {longest_s} s"),
            )
            .hint(
                "A limit takes shared memory for as long as its period. Use a shorter one, or have the administrator raise \
                 counter_ext.max_limit_period.",
            ),
        }
    }
}
