//! Errors of the journal of buffered increments.

use pgrx::PgSqlErrorCode::*;

use super::record::Malformed;
use crate::errors::{Explain, Explanation, TRY_AGAIN};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// A row of counter_ext.journal_tail that is not a record.
    Unreadable { block: u32, why: Malformed },
    /// The row of counter_ext.journal is not there, or not one.
    NoPosition,
    /// Another transaction changes that row by hand.
    PositionHeld,
    /// A backend stands still in its commit, and has not added its increments to memory yet.
    StandsInCommit { pid: u32 },
    /// SQL that changes the journal's tables.
    ChangedByHand,
    /// The table of records is unlogged, or this transaction has rewritten it.
    NotLogged,
    /// PREPARE TRANSACTION of one that folds buffered increments.
    Prepared,
}

impl Explain for JournalError {
    fn explain(&self) -> Explanation {
        match self {
            Self::Unreadable { block, why } => Explanation::new(
                ERRCODE_DATA_CORRUPTED,
                format!("a row of counter_ext.journal_tail, on block {block}, cannot be read: {why}"),
            ),
            Self::NoPosition => {
                Explanation::new(ERRCODE_DATA_CORRUPTED, "table counter_ext.journal has not exactly one row")
            }
            Self::PositionHeld => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                "the row of counter_ext.journal is being changed by another transaction",
            )
            .hint(TRY_AGAIN),
            Self::StandsInCommit { pid } => Explanation::new(
                ERRCODE_OBJECT_IN_USE,
                format!(
                    "buffered increments cannot be folded now: process {pid} has not finished its commit"
                ),
            )
            .hint(TRY_AGAIN),
            Self::ChangedByHand => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "the tables of the journal of buffered increments cannot be changed by SQL",
            )
            .hint("Call counter_compact(), which folds what it holds into totals."),
            Self::NotLogged => Explanation::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "what is written to table counter_ext.journal_tail would not be durable",
            )
            .hint(
                "Call it in another transaction than the one that rewrites the table. If the table is unlogged: ALTER TABLE \
                 counter_ext.journal_tail SET LOGGED.",
            ),
            Self::Prepared => Explanation::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has folded buffered increments of counters",
            )
            .hint("Fold them, with counter_compact() for one, in a transaction that is not prepared."),
        }
    }
}
