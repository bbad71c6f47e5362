//! Errors of likes.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LikesError {
    /// A page is asked for that begins where no page ended.
    BadCursor { cursor: Vec<u8> },
}

impl Explain for LikesError {
    fn explain(&self) -> Explanation {
        match self {
            Self::BadCursor { cursor } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("\"{}\" is not where a page of likes ended", text(cursor)),
            )
            .hint("Pass the column cursor of the last row of the page before, or NULL for the first page."),
        }
    }
}
