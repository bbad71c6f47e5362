//! Rows that another server writes here by logical replication.
//!
//! They are that server's: it will change them again, and expects to find them as it left them. So nothing here is folded into
//! them, and nothing of theirs into anything else. Slots and visits are not taken in at all: their server folds them, and the rows
//! of counter_ext.total and counter_ext.visitors that it folds them into follow. A row of those two is told from ours by its
//! node. Where a server sends rows of this node's own number (every server's is 0 unless it is set), they keep it, and
//! what is counted here goes to the rows of another number, `-1 - node`, from then on.
//!
//! Contract: counter_ext.replicated names the ids whose total has come so; the empty id stands for visitors. The first of a node is
//! noted under the compaction lock and a lock on counter_ext.replicated that keeps out who adds to totals, both held to the
//! transaction's end: no fold and no such increment that does not know of it is under way, and the next one is told, as backends are of DDL,
//! before it can take its lock. A crash leaves rows and note, or neither.

use std::cell::Cell;

use super::access::{self, FamilyTable, Tables};
use super::column_types::*;
use crate::errors::CounterError;
use crate::pg::catalog::{self, Watch};
use crate::pg::lock::{self, Subject};
use crate::pg::page;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::{Access, Table};
use crate::pg::{Oid, confined, table, xact};
use crate::settings;

/// counter_ext.replicated
const REPLICATED: FamilyTable = FamilyTable {
    name: "replicated",
    relation: c"replicated",
    columns: &[TEXT, INT4],
    key: "id, node",
    hint: "It is written by the extension only.",
};

/// Columns of counter_ext.replicated.
mod replicated_columns {
    pub const NODE: usize = 1;
}

/// Stands for visitors of all ids.
const VISITORS: &[u8] = b"";

thread_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    /// The node that was asked about, and whether its rows come by replication.
    static KNOWN: Cell<(i32, bool)> = const { Cell::new((0, false)) };
    static HAS_WARNED: Cell<bool> = const { Cell::new(false) };
}

/// The number of the rows that this database's own counts and visits are folded into. The caller has locked counter_ext.total.
pub fn own_node() -> Result<i32, CounterError> {
    let node = settings::node();
    Ok(if is_replicated(node)? { beside(node) } else { node })
}

/// What is counted here goes there where another server writes the rows of the node.
fn beside(node: i32) -> i32 {
    -1 - node
}

/// As `own_node`, for who writes to a row outside compaction: whether the node's rows come by replication cannot change before the
/// transaction ends. `None` where that cannot be had without waiting.
pub fn own_node_to_write() -> Result<Option<i32>, CounterError> {
    let locked = REPLICATED.find().is_some_and(|table| lock::try_lock_table(table, Access::Write));
    if !locked {
        return Ok(None);
    }
    let node = settings::node();
    // Who may write may read. To ask for a lock for reading as well would be to wait behind who waits for ours.
    Ok(Some(if is_replicated_locked(node, |_| true)? { beside(node) } else { node }))
}

fn is_replicated(node: i32) -> Result<bool, CounterError> {
    is_replicated_locked(node, |table| access::try_lock_in_time(table, Access::Read))
}

/// `lock` says whether the table is locked for reading, or more.
fn is_replicated_locked(node: i32, lock: impl FnOnce(Oid) -> bool) -> Result<bool, CounterError> {
    let (known_node, known) = KNOWN.get();
    if KNOWN_VERSION.get() == WATCH.with(|watch| watch.version()) && known_node == node {
        return Ok(known);
    }
    // The version is read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let Some(replicated) = REPLICATED.find() else { return Ok(false) };
    WATCH.with(|watch| watch.set(&[replicated]));
    if !lock(replicated) {
        return Err(CounterError::TableLocked { table: REPLICATED.name });
    }
    if REPLICATED.find() != Some(replicated) {
        return Err(CounterError::NotInstalled);
    }
    // The caller may have waited for the compaction lock with a snapshot from before what he waited for.
    // By hand: at a commit no query may run.
    let has_rows = page::any_visible(&Table::open(replicated), &mut Snapshot::fresh(), |columns| {
        columns.int(replicated_columns::NODE) == node
    });
    KNOWN.set((node, has_rows));
    KNOWN_VERSION.set(version);
    Ok(has_rows)
}

/// Locks the table for reading unless somebody holds a conflicting lock: the worker waits for nobody.
pub fn try_lock() -> bool {
    REPLICATED.find().is_some_and(|table| lock::try_lock_table(table, Access::Read))
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What its server folds into totals and sketches.
    Unfolded,
    Totals,
    Sketches,
}

/// What becomes of a row that comes by replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    TakenIn,
    LeftOut,
}

/// A row of one of our tables comes by replication, or is changed or deleted so; `key` is the new row's, if there is one.
pub fn receive(
    tables: Tables,
    kind: Kind,
    key: Option<RowKey<'_>>,
    is_new: bool,
) -> Result<Fate, CounterError> {
    if kind == Kind::Unfolded {
        if !HAS_WARNED.replace(true) {
            pgrx::warning!(
                "rows of counter_ext.slot and counter_ext.visit that come by replication are left out; \
                 replicate counter_ext.total and counter_ext.visitors"
            );
        }
        return Ok(Fate::LeftOut);
    }
    let node = settings::node();
    let Some(key) = key.filter(|key| key.node == node) else { return Ok(Fate::TakenIn) };
    let is_total = kind == Kind::Totals;
    if !is_replicated(node)? {
        // No fold and no increment that takes the node's rows for ours is under way from here on. Increments hold the lock only
        // while they commit.
        lock::lock_exclusive(tables.total, Subject::Compaction);
        lock::lock_table(REPLICATED.find().ok_or(CounterError::NotInstalled)?, Access::AgainstWriters);
    }
    confined::as_owner(table::owner(tables.total), |confined| {
        let spi = Spi::connect(confined)?;
        let (node, other) = (Parameter::Int(node), Parameter::Int(beside(node)));
        let id = Parameter::Text(key.id);
        if is_new && is_total {
            // Where an earlier subscription has left it, it is replaced; else it is our own, and makes way.
            spi.run_with(MOVE_TOTAL.as_bytes(), &[id, node, other])?;
            spi.run_with(CLEAR_TOTAL.as_bytes(), &[id, node])?;
        } else if is_new && let Some(day) = key.day {
            // Taken twice they are the same.
            let day = Parameter::Date(day);
            spi.run_with(MOVE_VISITORS.as_bytes(), &[id, node, day, other])?;
            spi.run_with(CLEAR_VISITORS.as_bytes(), &[id, node, day])?;
        }
        let noted = if is_total { key.id } else { VISITORS };
        spi.run_with(NOTE.as_bytes(), &[Parameter::Text(noted), node])
    })?;
    if !is_replicated(node)? {
        catalog::announce_change(REPLICATED.find().ok_or(CounterError::NotInstalled)?);
        xact::see_own_changes();
    }
    Ok(Fate::TakenIn)
}

/// What a row of counter_ext.total or counter_ext.visitors is found by.
#[derive(Clone, Copy, Debug)]
pub struct RowKey<'a> {
    pub id: &'a [u8],
    pub node: i32,
    /// Days since 2000-01-01, of visitors.
    pub day: Option<i32>,
}

const NOTE: &str = "INSERT INTO counter_ext.replicated (id, node) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const MOVE_TOTAL: &str = "INSERT INTO counter_ext.total AS own (id, node, value) \
    SELECT t.id, $3, t.value FROM counter_ext.total t \
    WHERE t.id OPERATOR(pg_catalog.=) $1 AND t.node OPERATOR(pg_catalog.=) $2 \
    AND NOT EXISTS (SELECT FROM counter_ext.replicated r \
        WHERE r.id OPERATOR(pg_catalog.=) $1 AND r.node OPERATOR(pg_catalog.=) $2) \
    ON CONFLICT (id, node) DO UPDATE SET (value) = ROW (own.value OPERATOR(pg_catalog.+) excluded.value)";
const CLEAR_TOTAL: &str = "DELETE FROM counter_ext.total t \
    WHERE t.id OPERATOR(pg_catalog.=) $1 AND t.node OPERATOR(pg_catalog.=) $2";
const MOVE_VISITORS: &str = "INSERT INTO counter_ext.visitors AS own (id, day, node, sketch) \
    SELECT v.id, v.day, $4, v.sketch FROM counter_ext.visitors v \
    WHERE v.id OPERATOR(pg_catalog.=) $1 AND v.node OPERATOR(pg_catalog.=) $2 \
    AND v.day OPERATOR(pg_catalog.=) $3 \
    ON CONFLICT (id, day, node) DO UPDATE SET (sketch) = ROW (counter_ext.counter_hll_union(own.sketch, excluded.sketch))";
const CLEAR_VISITORS: &str = "DELETE FROM counter_ext.visitors v \
    WHERE v.id OPERATOR(pg_catalog.=) $1 AND v.node OPERATOR(pg_catalog.=) $2 \
    AND v.day OPERATOR(pg_catalog.=) $3";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::beside;

    proptest! {
        #[test]
        fn no_node_has_that_number(node in 0..=i32::MAX, other in 0..=i32::MAX) {
            prop_assert!(beside(node) < 0);
            prop_assert_eq!(beside(node) == beside(other), node == other);
        }
    }
}
