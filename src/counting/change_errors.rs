//! Errors of changes of many counters, and of counters that move.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    ValuesDiffer {
        ids: usize,
        values: usize,
    },
    EmptyPrefix,
    /// A counter is to be renamed to an id that is taken.
    IsTaken {
        id: Vec<u8>,
    },
    /// A counter is to be merged into itself.
    IntoItself {
        id: Vec<u8>,
    },
}

impl Explain for ChangeError {
    fn explain(&self) -> Explanation {
        match self {
            Self::ValuesDiffer { ids, values } => Explanation::new(
                ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("arrays differ in length: {ids} ids, {values} values"),
            ),
            Self::EmptyPrefix => Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, "prefix is empty")
                .hint("counter_forget_all() forgets all counters."),
            Self::IsTaken { id } => {
                Explanation::new(ERRCODE_DUPLICATE_OBJECT, format!("counter \"{}\" already exists", text(id)))
                    .hint("counter_merge adds a counter to one that exists.")
            }
            Self::IntoItself { id } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("cannot merge counter \"{}\" into itself", text(id)),
            ),
        }
    }
}
