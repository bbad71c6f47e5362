//! Errors of what counts once.

use pgrx::PgSqlErrorCode::*;

use crate::errors::{Explain, Explanation, TRY_AGAIN, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdempotencyError {
    /// A source whose name is kept for what nodes of a cluster deliver to each other.
    OwnSource { source: Vec<u8> },
    /// A source's row that another transaction changes by hand.
    SourceHeld { source: Vec<u8> },
    /// A token that has counted another delta.
    OtherDelta { token: Vec<u8>, id: Vec<u8>, delta: i64 },
    /// A batch that begins past its end.
    EndsBeforeFirst { first: i64, upto: i64 },
    /// A batch with more or fewer deltas than offsets, which do not say to which of them they belong.
    NotOneEach { first: i64, upto: i64, ids: usize },
    /// As many offsets as deltas are needed.
    OffsetsDiffer { ids: usize, offsets: usize },
    /// As many times as deltas are needed.
    TimesDiffer { ids: usize, times: usize },
    /// A delta of an offset that the batch does not cover.
    OffsetOutside { position: usize, offset: i64, first: i64, upto: i64 },
}

impl Explain for IdempotencyError {
    fn explain(&self) -> Explanation {
        let invalid = |message: String| Explanation::new(ERRCODE_INVALID_PARAMETER_VALUE, message);
        let wrong_array = |message: String| Explanation::new(ERRCODE_ARRAY_ELEMENT_ERROR, message);
        match self {
            Self::OwnSource { source } => {
                invalid(format!("name of source \"{}\" is kept for the extension itself", text(source)))
                    .hint("Choose a name that does not begin with \"counter_ext.\".")
            }
            Self::SourceHeld { source } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!("offset of source \"{}\" is being changed by another transaction", text(source)),
            )
            .hint(TRY_AGAIN),
            Self::OtherDelta { token, id, delta } => invalid(format!(
                "token \"{}\" has counted for counter \"{}\" with another delta than {delta}",
                text(token),
                text(id)
            ))
            .hint("A token stands for one event: repeat it with the delta that it had, or give this event a token of its own."),
            Self::EndsBeforeFirst { first, upto } => {
                invalid(format!("batch begins at offset {first}, and ends before that, at {upto}"))
            }
            Self::NotOneEach { first, upto, ids } => wrong_array(format!(
                "batch covers {} offsets, from {first} to {upto}, but has {ids} ids",
                i128::from(*upto) - i128::from(*first) + 1
            ))
            .hint("Give one id an offset, NULL where an offset counts nothing; or say in argument \"offsets\" which offset each belongs to."),
            Self::OffsetsDiffer { ids, offsets } => {
                wrong_array(format!("arrays differ in length: {ids} ids, {offsets} offsets"))
            }
            Self::TimesDiffer { ids, times } => wrong_array(format!(
                "arrays differ in length: {ids} ids, {times} elements of argument \"at\""
            )),
            Self::OffsetOutside { position, offset, first, upto } => invalid(format!(
                "element {position} of argument \"offsets\" is {offset}, outside of the batch from {first} to {upto}"
            )),
        }
    }
}
