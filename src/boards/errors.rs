//! Errors of boards.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoardError {
    NoBoard {
        prefix: Vec<u8>,
    },
    /// Its members are not all there yet: it was declared, or restored, just now.
    BeingBuilt {
        prefix: Vec<u8>,
    },
    /// A row that another transaction changes by hand.
    Held {
        prefix: Vec<u8>,
    },
    /// An index is not there as it was made.
    NoIndex,
    EmptyMember,
    /// Board and member together are no id.
    LongMember {
        bytes: usize,
    },
}

impl Explain for BoardError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NoBoard { prefix } => {
                Explanation::new(ERRCODE_UNDEFINED_OBJECT, format!("there is no board \"{}\"", text(prefix)))
                    .hint("Declare it with counter_board.")
            }
            Self::BeingBuilt { prefix } => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("board \"{}\" is still being built", text(prefix)),
            )
            .hint("Try again soon, or call counter_compact()."),
            Self::Held { prefix } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("board \"{}\" is being changed by another transaction", text(prefix)),
            )
            .hint(TRY_AGAIN),
            Self::NoIndex => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "index counter_ext.board_member_place is not there as it was made",
            )
            .hint(
                "It is CREATE INDEX board_member_place ON counter_ext.board_member (board, place, member).",
            ),
            Self::EmptyMember => Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, "member is empty"),
            Self::LongMember { bytes } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("board and member are {bytes} bytes long together, at most 255 are allowed"),
            ),
        }
    }
}
