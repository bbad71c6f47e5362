//! The audit log: every change of chosen counters, in the transaction that makes it, sealed with a chain of hashes.
//!
//! An entry is appended as a counter changes; auditing is switched by prefix; the worker seals entries, and anybody who may read
//! the log can have it verified. The log of a counter and its total agree under any one snapshot: both are rows of the same
//! transactions, since one that changes an audited counter takes the way of slot rows in buffered mode too.

mod anchor;
pub mod audited_rows;
pub mod chain;
pub mod entry;
mod errors;
mod log_rows;
pub mod pending_rows;
pub mod sealing;
mod settings;
pub mod switching;
pub mod verification;

use crate::counting::transaction;
use crate::errors::CounterError;
use crate::family::{Change, Family};
use crate::pg::table::Access;
use crate::pg::transaction_setting;
use crate::rows::emptying;

use self::log_rows::{ANCHOR, HEAD, LOG};
use self::pending_rows::PENDING;

pub static FAMILY: Family = Family {
    define_settings: settings::define,
    transaction: Some(&transaction_setting::HOOKS),
    counter_changed: Some(log_if_audited),
    try_lock_to_drop: |_| audited_rows::AUDITED.try_lock(Access::Read) && PENDING.try_lock(Access::Write),
    // What is audited stays so.
    forget_all: |_| emptying::truncate(&[PENDING, LOG, HEAD, ANCHOR]),
    steps: &[sealing::SEAL],
    ..Family::NONE
};

/// Appends a change to the audit log, if the counter is audited.
fn log_if_audited(change: Change<'_>) -> Result<(), CounterError> {
    let Change { id, delta, operation, actor } = change;
    if audited_rows::is_audited(id)? {
        transaction::note_rows_agree();
        pending_rows::append(id, delta, operation.into(), actor)?;
    }
    Ok(())
}
