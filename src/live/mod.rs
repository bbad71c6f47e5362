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
use crate::fallible;
use crate::family::Family;
use crate::family::followed::{Amount, Follower};
use crate::pg::table::Access;
use crate::rows::access::Tables;
use crate::rows::emptying;

use self::changed_rows::CHANGED;
use self::watch_rows::WATCH;

pub static FAMILY: Family = Family {
    follower: Some(Follower { table: WATCH, looks_at_totals: true, folded }),
    totals_changed: Some(changed_rows::note_change),
    try_lock_to_drop: |_| changed_rows::CHANGED.try_lock(Access::Write),
    // What is watched stays so.
    forget_all: |_| emptying::truncate(&[CHANGED]),
    later_steps: &[sending::SEND],
    ..Family::NONE
};

/// Compaction has just folded these counters, in the running transaction.
fn folded(_: Tables, amounts: &[&Amount], _: bool) -> Result<(), CounterError> {
    // Nothing was added to some of them.
    let changed = amounts.iter().filter(|amount| amount.delta != 0).map(|amount| &*amount.id);
    let mut ids = fallible::collect(changed, "counters to be sent")?;
    ids.sort_unstable();
    ids.dedup();
    changed_rows::note_folded(&ids)
}
