//! Rows of `counter_ext.expiry`: which counters expire, and how many have.

use std::ops::ControlFlow;

use super::errors::ExpiryError;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::Range;
use crate::pg::lock::{self, Subject};
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::Value;
use crate::pg::{Oid, xact};
use crate::rows::access::Tables;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "prefixes under which counters expire";

/// counter_ext.expiry
pub const EXPIRY: FamilyTable = FamilyTable {
    name: "expiry",
    relation: c"expiry",
    columns: &[TEXT, INTERVAL, TIMESTAMPTZ, INT8, TIMESTAMPTZ],
    key: "prefix",
    hint: "GRANT it on counter_ext.expiry: to have counters expire takes INSERT and UPDATE, to end it DELETE.",
};

const PREFIX: usize = 0;
const IDLE: usize = 1;
const DROPPED: usize = 3;
const LAST_DROPPED_AT: usize = 4;

/// Who declares what expires keeps the worker from dropping anything to the end of his transaction, and the worker him for the
/// length of a piece.
pub fn subject() -> Subject {
    Subject::Key(lock::id_hash(b"declarations of expiry"))
}

/// Counters under the prefix expire when nobody has incremented them for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub prefix: Id,
    pub idle_us: i64,
}

/// All declarations, in the order of their prefixes, as of now. The table is locked.
pub fn all(table: Oid) -> Result<Vec<Declared>, CounterError> {
    xact::in_scratch_memory(|| {
        let keyed = EXPIRY.open(table, Access::Read)?;
        let mut all = Vec::new();
        // The empty prefix, put there by hand, is none.
        for_each_visible(&keyed, Range::After(b""), &mut Snapshot::fresh(), |columns| {
            let idle_us = columns.interval(IDLE).map_or(i128::MAX, |idle| idle.length_us());
            let prefix = fallible::boxed(columns.text(PREFIX), WHAT).or_raise();
            let idle_us = i64::try_from(idle_us).unwrap_or(i64::MAX);
            fallible::push(&mut all, Declared { prefix, idle_us }, WHAT).or_raise();
            ControlFlow::Continue(())
        });
        Ok(all)
    })
}

/// Notes that so many counters were dropped now. Returns whether the row could be had; the table is locked.
pub fn note_dropped(table: Oid, prefix: &[u8], counters: u64) -> Result<bool, CounterError> {
    xact::in_scratch_memory(|| {
        let keyed = EXPIRY.open(table, Access::Write)?;
        let found = latest::find(&keyed, Range::Id(prefix), |_| true, |columns| columns.bigint(DROPPED));
        let Latest::Free(row, before) = found else { return Ok(false) };
        let dropped = before.saturating_add(i64::try_from(counters).unwrap_or(i64::MAX));
        Ok(row.update(&[(DROPPED, Value::Bigint(dropped)), (LAST_DROPPED_AT, Value::Now)]).is_ok())
    })
}

/// Checks that no counters expire that a cache with this prefix would keep. What is declared at the same time is waited for. Errors: 42710.
pub fn check_cache(tables: Tables, prefix: &[u8]) -> Result<(), CounterError> {
    let Some(table) = EXPIRY.find() else { return Ok(()) };
    EXPIRY.lock(Access::Read)?;
    lock::lock_exclusive(tables.total, subject());
    match all(table)?.iter().find(|declared| overlap(&declared.prefix, prefix)) {
        // BOUND: two prefixes.
        Some(declared) => {
            Err(ExpiryError::Expires { prefix: prefix.to_vec(), other: declared.prefix.to_vec() }.into())
        }
        None => Ok(()),
    }
}

/// Whether a counter could be meant under both. A cache with the empty prefix may keep any.
pub fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn prefixes_overlap_either_way_round() {
        assert!(overlap(b"post:", b"post:") && overlap(b"post:", b"p") && overlap(b"p", b"post:"));
        assert!(overlap(b"", b"post:") && !overlap(b"post:", b"user:"));
    }
}
