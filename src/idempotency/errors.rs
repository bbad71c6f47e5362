//! Errors of what counts once.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyError {
    /// A source's row that another transaction changes by hand.
    SourceHeld { source: Vec<u8> },
}

impl Explain for IdempotencyError {
    fn explain(&self) -> Explanation {
        match self {
            Self::SourceHeld { source } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("offset of source \"{}\" is being changed by another transaction", text(source)),
            )
            .hint(TRY_AGAIN),
        }
    }
}
