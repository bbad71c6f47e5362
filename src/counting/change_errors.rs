//! Errors of changes of many counters, and of counters that move.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    ValuesDiffer { ids: usize, values: usize },
    EmptyPrefix,
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
        }
    }
}
