//! Taking a counter's rows away.
//!
//! One snapshot decides what there is to take: exactly one version of each row. Nothing waits: a version that cannot
//! be deleted, because another transaction (a writer in its slot, the compactor) holds or has replaced it, is
//! neutralised by a slot row of minus its value. What others add on top of what the snapshot saw stays.

use super::access::Tables;
use super::keyed::Keyed;
use super::latest;
use super::node::{self, Whose};
use super::{bigint_parts, slot_columns, slots, total_columns};
use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{process, random};

/// What was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// There was a committed row, of whatever node.
    pub existed: bool,
    /// With what was not in rows yet.
    pub amount: i128,
    /// What deleted rows of counter_ext.total held.
    pub from_totals: i128,
}

/// Deletes this node's rows of the counter, committed ones and this transaction's own, and neutralises those that
/// cannot be deleted. Rows that other nodes go on changing stay as they are, and are no part of what is taken away.
/// `unfolded` is what the snapshot does not see in rows yet; it is neutralised too.
pub fn remove(
    tables: Tables,
    node: i32,
    id: &[u8],
    mut snapshot: Snapshot,
    unfolded: i64,
) -> Result<Removed, CounterError> {
    let total = Keyed::total(tables, Access::Write)?;
    let slot = Keyed::slot(tables, Access::Write)?;
    let mut left = i128::from(unfolded);
    let mut removed = Removed { existed: false, amount: i128::from(unfolded), from_totals: 0 };

    let from_total = |columns: &Columns<'_>| {
        (node::whose(columns.int(total_columns::NODE), node), columns.bigint(total_columns::VALUE))
    };
    let from_slot = |columns: &Columns<'_>| (Whose::Ours, columns.bigint(slot_columns::DELTA));
    remove_from(&total, id, &mut snapshot, from_total, &mut left, &mut removed);
    removed.from_totals = removed.amount - left;
    remove_from(&slot, id, &mut snapshot, from_slot, &mut left, &mut removed);

    for part in bigint_parts(-left) {
        slots::insert(&slot.table, id, random::bits() as i64, part, process::statement_started_us());
    }
    Ok(removed)
}

/// `value_of` says whose a row is, and what it holds.
fn remove_from(
    keyed: &Keyed,
    id: &[u8],
    snapshot: &mut Snapshot,
    value_of: impl Fn(&Columns<'_>) -> (Whose, i64),
    left: &mut i128,
    removed: &mut Removed,
) {
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    while let Some((candidate, (whose, value))) = latest::next_visible(&mut scan, snapshot, &value_of) {
        removed.existed = true;
        if whose == Whose::Theirs {
            continue;
        }
        removed.amount += i128::from(value);
        if whose == Whose::Inherited || candidate.delete().is_err() {
            *left += i128::from(value);
        }
    }
}
