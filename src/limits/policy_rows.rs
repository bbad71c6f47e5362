//! Rows of the bot filter: `counter_ext.policy` and `counter_ext.blocked`. Read as the extension, whatever the caller's rights on
//! them are, by hand and under a fresh snapshot, so also a transaction with an older one sees what holds now.

use std::ops::ControlFlow;

use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::Range;
use crate::pg::interval::Interval;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{Oid, lock};
use crate::rows::access::{self, FamilyTable, Keyed};
use crate::rows::column_types::*;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "policies of limits";

const POLICY: FamilyTable = FamilyTable {
    name: "policy",
    relation: c"policy",
    columns: &[TEXT, INT4, INTERVAL, INTERVAL],
    key: "prefix",
    hint: "GRANT it on counter_ext.policy.",
};
const BLOCKED: FamilyTable = FamilyTable {
    name: "blocked",
    relation: c"blocked",
    columns: &[TEXT, TEXT, TIMESTAMPTZ],
    key: "actor",
    hint: "GRANT it on counter_ext.blocked.",
};

const PREFIX: usize = 0;
const MAX_PER_ACTOR: usize = 1;
const PER: usize = 2;
const MIN_INTERVAL: usize = 3;
const UNTIL: usize = 2;

/// Both tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyTables {
    pub policy: Oid,
    pub blocked: Oid,
}

/// A row of counter_ext.policy.
#[derive(Clone, Debug)]
pub struct PolicyRow {
    pub prefix: Box<[u8]>,
    pub max_per_actor: Option<i32>,
    pub per: Option<Interval>,
    pub min_interval: Option<Interval>,
}

/// Finds the tables and locks them for reading, to the end of the transaction.
pub fn enter() -> Result<PolicyTables, CounterError> {
    let found = find()?;
    lock(found)?;
    // Taking a lock also takes in what others changed: the tables may have been dropped, and made anew.
    if find()? == found { Ok(found) } else { Err(CounterError::NotInstalled) }
}

/// Locks tables that were found before, to the end of the transaction.
pub fn lock(tables: PolicyTables) -> Result<(), CounterError> {
    access::lock_total_first(access::tables()?.total);
    lock::lock_table(tables.policy, Access::Read);
    lock::lock_table(tables.blocked, Access::Read);
    let exist = lock::relation_exists(tables.policy) && lock::relation_exists(tables.blocked);
    if exist { Ok(()) } else { Err(CounterError::NotInstalled) }
}

fn find() -> Result<PolicyTables, CounterError> {
    let found = |table: FamilyTable| table.find().ok_or(CounterError::NotInstalled);
    Ok(PolicyTables { policy: found(POLICY)?, blocked: found(BLOCKED)? })
}

/// All policies.
pub fn policies(tables: PolicyTables) -> Result<Vec<PolicyRow>, CounterError> {
    let mut rows: Vec<PolicyRow> = Vec::new();
    let keyed = POLICY.open(tables.policy, Access::Read)?;
    // The empty prefix sorts before what any `After` finds.
    for range in [Range::Id(b""), Range::After(b"")] {
        for_each_visible(&keyed, range, &mut Snapshot::fresh(), |columns| {
            let prefix = fallible::boxed(columns.text(PREFIX), WHAT).or_raise();
            // Between the two looks the row of the empty prefix can be neither lost nor seen twice.
            if matches!(range, Range::Id(_)) || !columns.text(PREFIX).is_empty() {
                fallible::reserve(&mut rows, 1, WHAT).or_raise();
                rows.push(PolicyRow {
                    prefix,
                    max_per_actor: (!columns.is_null(MAX_PER_ACTOR)).then(|| columns.int(MAX_PER_ACTOR)),
                    per: columns.interval(PER),
                    min_interval: columns.interval(MIN_INTERVAL),
                });
            }
            ControlFlow::Continue(())
        });
    }
    Ok(rows)
}

/// Whether there is any row in the block list.
pub fn blocks_anybody(tables: PolicyTables) -> Result<bool, CounterError> {
    let keyed = BLOCKED.open(tables.blocked, Access::Read)?;
    let mut found = false;
    for_each_visible(&keyed, Range::After(b""), &mut Snapshot::fresh(), |_| {
        found = true;
        ControlFlow::Break(())
    });
    Ok(found)
}

/// Until when an actor is blocked, in microseconds since 2000-01-01; `None` for one that is not on the list.
pub fn blocked_until(tables: PolicyTables, actor: &[u8]) -> Result<Option<i64>, CounterError> {
    let keyed: Keyed = BLOCKED.open(tables.blocked, Access::Read)?;
    let mut until = None;
    for_each_visible(&keyed, Range::Id(actor), &mut Snapshot::fresh(), |columns| {
        until = Some(if columns.is_null(UNTIL) { i64::MAX } else { columns.bigint(UNTIL) });
        ControlFlow::Break(())
    });
    Ok(until)
}
