//! Errors of the audit log.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditError {
    /// A prefix's row that another transaction changes by hand.
    PrefixHeld { prefix: Vec<u8> },
}

impl Explain for AuditError {
    fn explain(&self) -> Explanation {
        match self {
            Self::PrefixHeld { prefix } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("prefix \"{}\" is being changed by another transaction", text(prefix)),
            )
            .hint(TRY_AGAIN),
        }
    }
}
