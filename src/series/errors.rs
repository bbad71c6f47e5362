//! Errors of series.

use pgrx::PgSqlErrorCode::*;

use super::level::Level;
use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesError {
    /// No series has the counter.
    NotTracked {
        id: Vec<u8>,
    },
    /// Neither a series nor a board by windows has the counter.
    NotBooked {
        id: Vec<u8>,
    },
    /// Another series has some of the counters.
    Overlaps {
        prefix: Vec<u8>,
        other: Vec<u8>,
    },
    NoResolution {
        named: Vec<u8>,
    },
    /// A resolution that is named twice.
    TwiceResolution {
        level: Level,
    },
    LengthsDiffer {
        resolutions: usize,
        keep: usize,
    },
    /// There are none, or longer buckets are not kept longer.
    NotRising,
    BadKeep {
        given: Vec<u8>,
    },
    LongZone,
    /// It is none of PostgreSQL's zones; an abbreviation means something in sessions that have it set.
    NoZone {
        named: Vec<u8>,
    },
    /// That of a series which this server does not know.
    UnknownZone {
        prefix: Vec<u8>,
        zone: Vec<u8>,
    },
    NoStep {
        named: Vec<u8>,
    },
    /// A series without beginning or end.
    Infinite {
        argument: &'static str,
    },
    TooManySteps {
        most: i64,
    },
    /// A time from which on there are no buckets short enough any more.
    TooShortStep {
        step: Level,
    },
    /// An event is not to be booked any more, or not yet.
    TooOld {
        kept: bool,
    },
    InFuture,
    /// A total past bigint.
    OutOfRange {
        id: Vec<u8>,
    },
    /// Somebody holds rows of a prefix.
    PrefixHeld {
        prefix: Vec<u8>,
    },
}

impl Explain for SeriesError {
    fn explain(&self) -> Explanation {
        let invalid = |message: String| Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, message);
        match self {
            Self::NotTracked { id } => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("counter \"{}\" has no series", text(id)),
            )
            .hint("Call counter_track with the first characters of its id."),
            Self::NotBooked { id } => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("counter \"{}\" has no series, and is on no board by hour, day, week or month", text(id)),
            )
            .hint("Call counter_track with the first characters of its id, or counter_board with \"by\"."),
            Self::Overlaps { prefix, other } => Explanation::new(
                ERRCODE_DUPLICATE_OBJECT,
                format!(
                    "prefix \"{}\" and tracked prefix \"{}\" have ids in common",
                    text(prefix),
                    text(other)
                ),
            )
            .hint("Call counter_untrack for the one that is tracked, or track another prefix."),
            Self::NoResolution { named } => invalid(format!("there is no resolution \"{}\"", text(named)))
                .hint("Use minute, hour or day."),
            Self::TwiceResolution { level } => {
                invalid(format!("resolution \"{}\" is named twice", level.name()))
            }
            Self::LengthsDiffer { resolutions, keep } => Explanation::new(
                ERRCODE_ARRAY_ELEMENT_ERROR,
                format!("arrays differ in length: {resolutions} resolutions, {keep} keep"),
            )
            .hint("Give both arguments, with an element of keep for each resolution."),
            Self::NotRising => invalid("buckets of a longer resolution must be kept longer".to_owned())
                .hint("For example resolutions => '{minute,hour,day}', keep => '{2 days,90 days,forever}'."),
            Self::BadKeep { given } => invalid(format!("cannot keep buckets for \"{}\"", text(given)))
                .hint("Use a positive interval of at least an hour, or forever."),
            Self::NoZone { named } => invalid(format!("time zone \"{}\" is not recognized", text(named)))
                .hint("View pg_timezone_names lists them. Abbreviations are not taken: what they mean depends on the session."),
            Self::LongZone => invalid("time zone's name is longer than 255 bytes".to_owned()),
            Self::UnknownZone { prefix, zone } => invalid(format!(
                "hours and days of series \"{}\" are those of UTC here: time zone \"{}\" is not known",
                text(prefix),
                text(zone)
            ))
            .hint("It was known where the series began. Install the time zones of that server and restart this one, or call counter_track with another zone."),
            Self::NoStep { named } => invalid(format!("there is no step \"{}\"", text(named)))
                .hint("Use minute, hour, day, week, month or year."),
            Self::Infinite { argument } => Explanation::new(
                ERRCODE_DATETIME_FIELD_OVERFLOW,
                format!("argument \"{argument}\" is infinite"),
            )
            .hint("A series has a row for each step. counter_total takes infinite times."),
            Self::TooManySteps { most } => Explanation::new(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("the series would have more than {most} rows"),
            )
            .hint("Begin later, or use a longer step."),
            Self::TooShortStep { step } => Explanation::new(
                ERRCODE_DATETIME_FIELD_OVERFLOW,
                format!("buckets of one {} are not kept from then on", step.name()),
            )
            .hint("Begin later, or use a longer step."),
            Self::TooOld { kept: true } => Explanation::new(
                ERRCODE_DATETIME_FIELD_OVERFLOW,
                "argument \"at\" is longer ago than the series is kept, or than events can be late",
            )
            .hint("Buckets of a minute and an hour take events of the last 4000 days, those of a day of the last 36000."),
            Self::TooOld { kept: false } => {
                Explanation::new(ERRCODE_DATETIME_FIELD_OVERFLOW, "argument \"at\" is no point in time")
            }
            Self::InFuture => Explanation::new(
                ERRCODE_DATETIME_FIELD_OVERFLOW,
                "argument \"at\" is more than an hour in the future",
            ),
            Self::OutOfRange { id } => Explanation::new(
                ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
                format!("a sum of the series of counter \"{}\" is out of range for bigint", text(id)),
            ),
            Self::PrefixHeld { prefix } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("prefix \"{}\" is being changed by another transaction", text(prefix)),
            )
            .hint(TRY_AGAIN),
        }
    }
}
