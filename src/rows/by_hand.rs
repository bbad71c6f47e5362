//! Rows of ours that are not written by the extension itself: who may, and which triggers see it.
//!
//! INSERT and UPDATE on counter_ext.total are the rights to count, through functions that keep each counter's total, log and
//! memory together. Those on tables that say what the worker does with counters (watch, expiry, cache, board) are looked at by functions that also ask for
//! the rights on these counters. Writing the rows by hand goes past all of that, so it takes more: owning the table, as a restore and an apply
//! worker do, or TRUNCATE on it, which is the right to take all rows away.

use pgrx::PgSqlErrorCode::*;

use super::access;
use crate::errors::{CounterError, Explain, Explanation};
use crate::pg::{Oid, catalog, privilege};

#[derive(Clone, Debug, PartialEq, Eq)]
enum ByHandError {
    /// One of our trigger functions is on a table of somebody else's.
    NotOurs,
    NotAllowed {
        table: String,
    },
}

impl Explain for ByHandError {
    fn explain(&self) -> Explanation {
        match self {
            Self::NotOurs => Explanation::new(
                ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "this trigger function serves the tables of extension counter_ext only",
            ),
            Self::NotAllowed { table } => Explanation::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("permission denied to write table counter_ext.{table} by hand"),
            )
            .hint(
                "Call the function that does it: counter_incr, counter_set, counter_visit, counter_drop, counter_watch, counter_expire, \
                 counter_cache, counter_board. Rows are written by hand by the table's owner, and by whoever has TRUNCATE on it.",
            ),
        }
    }
}

/// Whether the table belongs to the extension.
pub fn is_ours(table: Oid) -> bool {
    let known = access::find_tables().is_some_and(|tables| [tables.total, tables.slot].contains(&table));
    known || catalog::is_member(table, c"counter_ext")
}

/// Errors: 39P01 a trigger has fired on a table that is not the extension's.
pub fn check_ours(table: Oid) -> Result<(), CounterError> {
    if is_ours(table) { Ok(()) } else { Err(ByHandError::NotOurs.into()) }
}

/// Errors: 42501 the running user may count at most.
pub fn check_may_write(table: Oid) -> Result<(), CounterError> {
    if privilege::may_write_by_hand(table, privilege::current_user()) {
        return Ok(());
    }
    Err(ByHandError::NotAllowed { table: catalog::relation_name(table) }.into())
}
