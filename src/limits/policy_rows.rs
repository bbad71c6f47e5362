//! Rows of the bot filter: `counter_ext.policy` and `counter_ext.blocked`. Read as the extension, whatever the caller's rights on
//! them are, by hand and under a fresh snapshot, so also a transaction with an older one sees what holds now.

use std::ops::ControlFlow;

use super::network::Network;
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::pg::id_scan::Range;
use crate::pg::interval::Interval;
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{Oid, lock};
use crate::rows::access;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
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
    columns: &[TEXT, TEXT, TIMESTAMPTZ, CIDR],
    key: "actor",
    hint: "GRANT it on counter_ext.blocked.",
};

const PREFIX: usize = 0;
const MAX_PER_ACTOR: usize = 1;
const PER: usize = 2;
const MIN_INTERVAL: usize = 3;
const ACTOR: usize = 0;
const UNTIL: usize = 2;
const NETWORK: usize = 3;
/// Indexes of the block list: by actor in small letters, and of the rows with a network.
const BY_FOLDED_ACTOR: &std::ffi::CStr = c"blocked_folded";
const OF_NETWORKS: &std::ffi::CStr = c"blocked_network";

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

/// Until when an actor is blocked, in microseconds since 2000-01-01; `None` for one that is not on the list. Capitals are small letters, in ASCII.
pub fn blocked_until(tables: PolicyTables, actor: &[u8]) -> Result<Option<i64>, CounterError> {
    let folded = actor.to_ascii_lowercase();
    let by_folded = BLOCKED.open_by_text(tables.blocked, BY_FOLDED_ACTOR, Access::Read);
    let mut until = None;
    let mut look = |columns: &Columns<'_>| {
        until = until.max(Some(until_us(columns)));
        ControlFlow::Continue(())
    };
    match by_folded {
        Some(keyed) => for_each_visible(&keyed, Range::Id(&folded), &mut Snapshot::fresh(), look),
        // Somebody has dropped the index.
        None => {
            let keyed = BLOCKED.open(tables.blocked, Access::Read)?;
            for_each_visible(&keyed, Range::After(b""), &mut Snapshot::fresh(), |columns| {
                if columns.text(ACTOR).eq_ignore_ascii_case(actor) {
                    look(columns)
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
    }
    Ok(until)
}

/// Shows the networks on the block list, each with the time until which it is blocked.
pub fn networks(
    tables: PolicyTables,
    mut see: impl FnMut(Network, i64) -> Result<(), OutOfMemory>,
) -> Result<(), CounterError> {
    let keyed = match BLOCKED.open_by_text(tables.blocked, OF_NETWORKS, Access::Read) {
        Some(keyed) => keyed,
        None => BLOCKED.open(tables.blocked, Access::Read)?,
    };
    for_each_visible(&keyed, Range::After(b""), &mut Snapshot::fresh(), |columns| {
        // A `cidr` is stored where its row is, as short as it is.
        if let Some(network) = Network::read(columns.text(NETWORK)) {
            see(network, until_us(columns)).or_raise();
        }
        ControlFlow::Continue(())
    });
    Ok(())
}

fn until_us(columns: &Columns<'_>) -> i64 {
    if columns.is_null(UNTIL) { i64::MAX } else { columns.bigint(UNTIL) }
}
