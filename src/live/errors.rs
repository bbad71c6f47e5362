//! Errors of live totals.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveError {
    BadChannel {
        bytes: usize,
    },
    BadInterval,
    /// A row that another transaction changes by hand.
    Held {
        channel: Vec<u8>,
    },
}

impl Explain for LiveError {
    fn explain(&self) -> Explanation {
        let invalid = |message: String| Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, message);
        match self {
            Self::BadChannel { bytes: 0 } => invalid("channel is empty".to_owned()),
            Self::BadChannel { bytes } => {
                invalid(format!("channel is {bytes} bytes long, at most 63 are allowed"))
            }
            Self::BadInterval => {
                invalid("argument \"at_most_every\" is negative, or longer than a day".to_owned())
            }
            Self::Held { channel } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("channel \"{}\" is being changed by another transaction", text(channel)),
            )
            .hint(TRY_AGAIN),
        }
    }
}
