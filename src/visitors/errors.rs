//! Errors of unique visitors.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisitorError {
    /// Rows of visitors that somebody else holds cannot be dropped.
    Held { id: Vec<u8> },
}

impl Explain for VisitorError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Held { id } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("visitors of \"{}\" are being changed by another transaction", text(id)),
            )
            .hint(TRY_AGAIN),
        }
    }
}
