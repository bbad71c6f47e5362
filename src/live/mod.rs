//! Live totals: the worker sends changed totals to channels, as JSON.
//!
//! What has changed is noted in rows by compaction, in the transaction that folds it, and sent soon after, no more often than asked for.

pub mod changed_rows;
mod errors;
mod payload;
mod sending;
pub mod watch_rows;
pub mod watching;

use crate::errors::CounterError;
use crate::family::Family;
use crate::rows::access::Tables;
use crate::rows::emptying;

use self::changed_rows::CHANGED;

pub static FAMILY: Family = Family {
    totals_changed: Some(|tables, id| changed_rows::note(tables, &[id])),
    // What is watched stays so.
    forget_all: |_| emptying::truncate(&[CHANGED]),
    steps: &[sending::SEND],
    ..Family::NONE
};

/// Compaction has just folded these counters, in the running transaction.
fn folded(tables: Tables, ids: &[&[u8]]) -> Result<(), CounterError> {
    changed_rows::note(tables, ids)
}
