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
    /// No board by windows of this length.
    NoWindows {
        prefix: Vec<u8>,
        length: &'static str,
    },
    /// Several boards of a prefix, and it is not said which.
    WhichWindows {
        prefix: Vec<u8>,
    },
    NoLength {
        named: Vec<u8>,
    },
    BadKeep,
    /// A board whose windows begin by another zone.
    OtherZone {
        prefix: Vec<u8>,
        length: &'static str,
        zone: Vec<u8>,
    },
    /// A board whose zone this server does not know.
    UnknownZone {
        prefix: Vec<u8>,
        length: &'static str,
        zone: Vec<u8>,
    },
    /// What is left of an earlier board.
    BeingRemoved {
        prefix: Vec<u8>,
    },
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
            Self::NoWindows { prefix, length } => Explanation::new(
                ERRCODE_UNDEFINED_OBJECT,
                format!("there is no board \"{}\" by {length}", text(prefix)),
            )
            .hint(format!("Declare it: counter_board(…, by => '{length}').")),
            Self::WhichWindows { prefix } => Explanation::new(
                ERRCODE_AMBIGUOUS_PARAMETER,
                format!("there are several boards \"{}\", by windows of different lengths", text(prefix)),
            )
            .hint("Say which one: by => 'day', for example."),
            Self::NoLength { named } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("windows of a board are no \"{}\" long", text(named)),
            )
            .hint("\"by\" is hour, day, week or month."),
            Self::BadKeep => {
                Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, "\"keep\" is negative")
            }
            Self::OtherZone { prefix, length, zone } => Explanation::new(
                ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "board \"{}\" by {length} has windows in time zone \"{}\", and counter_ext.time_zone is another one",
                    text(prefix),
                    text(zone)
                ),
            )
            .hint("Set counter_ext.time_zone to that, or end the board with counter_unboard first, which forgets its windows."),
            Self::UnknownZone { prefix, length, zone } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!(
                    "windows of board \"{}\" by {length} begin in UTC here: time zone \"{}\" is not known",
                    text(prefix),
                    text(zone)
                ),
            )
            .hint("It was known where the board was declared. Install the time zones of that server, and restart this one; what is counted until then stays in windows of UTC."),
            Self::BeingRemoved { prefix } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("an earlier board \"{}\" is still being removed", text(prefix)),
            )
            .hint("Try again soon, or call counter_compact()."),
            Self::EmptyMember => Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, "member is empty"),
            Self::LongMember { bytes } => Explanation::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("board and member are {bytes} bytes long together, at most 255 are allowed"),
            ),
        }
    }
}
