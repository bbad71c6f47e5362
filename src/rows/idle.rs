//! Totals that are wanted for something, found in the order of their ids; rows of counters that nobody has changed for a while, taken away.
//!
//! Nothing here waits. A row that another transaction holds, or is about to make, belongs to a counter that is not idle. Only this
//! node's rows go: each node drops what was counted there, or several that do it at once would take more away than there is.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::access::Tables;
use super::keyed::Keyed;
use super::remove::Removed;
use super::{bigint_parts, latest, slot_columns, slots, total_columns};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::{Columns, Status};
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{process, random};
use crate::rows::list::Id;

const WHAT: &str = "idle counters";

/// How far one look goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub found: usize,
    pub versions: usize,
    pub time: Duration,
}

/// What a look has found.
#[derive(Default)]
pub struct Found {
    /// Counters whose total is wanted.
    pub ids: Vec<Id>,
    /// When that of the others was changed that has waited longest; microseconds since 2000-01-01.
    pub oldest_other_us: Option<i64>,
    /// The last id that was looked at; `None` if there was none.
    pub last: Option<Id>,
    /// There are no more under the prefix.
    pub is_end: bool,
}

/// A total that nobody holds.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    pub value: i64,
    /// In microseconds since 2000-01-01.
    pub updated_at_us: i64,
}

/// Looks for counters under a prefix: in the totals of this node, after an id, or from the prefix on. Stops where the bounds say.
pub fn find(
    tables: Tables,
    node: i32,
    (prefix, after): (&[u8], Option<&[u8]>),
    is_wanted: impl Fn(Total) -> bool,
    bounds: Bounds,
) -> Result<Found, CounterError> {
    let started = Instant::now();
    let total = Keyed::total(tables, Access::Read)?;
    let mut found = Found::default();
    let mut seen = 0;
    let range = after.map_or(Range::From(prefix), Range::After);
    let mut scan = IdScan::begin(&total.table, &total.key, range);
    while found.ids.len() < bounds.found && seen < bounds.versions && started.elapsed() < bounds.time {
        let mut failed = Ok(());
        let entry = scan.next_entry(|version| {
            seen += 1;
            let columns = version.columns();
            let id = columns.text(total_columns::ID);
            // One that cannot be read where it lies is passed over.
            if id.is_empty() {
                return ControlFlow::Continue(());
            }
            if !id.starts_with(prefix) {
                found.is_end = true;
                return ControlFlow::Break(());
            }
            let is_own = columns.int(total_columns::NODE) == node;
            let value = columns.bigint(total_columns::VALUE);
            let updated_at_us = columns.bigint(total_columns::UPDATED_AT);
            failed = note(&mut found.last, id);
            if failed.is_ok() && is_own && version.status() == Status::Free {
                if is_wanted(Total { value, updated_at_us }) {
                    failed = fallible::boxed(id, WHAT)
                        .and_then(|id| fallible::push(&mut found.ids, id, WHAT))
                        .map_err(CounterError::from);
                } else if found.oldest_other_us.is_none_or(|oldest_us| updated_at_us < oldest_us) {
                    found.oldest_other_us = Some(updated_at_us);
                }
            }
            if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let is_over = entry.is_none();
        failed?;
        found.is_end |= is_over;
        if found.is_end {
            break;
        }
    }
    Ok(found)
}

fn note(last: &mut Option<Id>, id: &[u8]) -> Result<(), CounterError> {
    if last.as_ref().is_none_or(|last| **last != *id) {
        *last = Some(fallible::boxed(id, WHAT)?);
    }
    Ok(())
}

/// Deletes this node's rows of the counter, if nobody has changed it since a time, on any node, nor is about to. What the snapshot sees is
/// taken away; a row that somebody has come to hold meanwhile is neutralised. `None` where the counter is not idle, or has no rows
/// of this node.
pub fn remove(
    tables: Tables,
    node: i32,
    id: &[u8],
    snapshot: &mut Snapshot,
    before_us: i64,
) -> Result<Option<Removed>, CounterError> {
    let total = Keyed::total(tables, Access::Write)?;
    let slot = Keyed::slot(tables, Access::Write)?;
    let is_idle = is_idle(&total, id, total_columns::UPDATED_AT, before_us)
        && is_idle(&slot, id, slot_columns::AT, before_us);
    if !is_idle {
        return Ok(None);
    }
    let of_total = |columns: &Columns<'_>| {
        (columns.int(total_columns::NODE) == node).then(|| columns.bigint(total_columns::VALUE))
    };
    let of_slot = |columns: &Columns<'_>| Some(columns.bigint(slot_columns::DELTA));
    let from_totals = take(&total, id, snapshot, of_total);
    let from_slots = take(&slot, id, snapshot, of_slot);
    let removed = Removed {
        existed: from_totals.rows + from_slots.rows > 0,
        amount: from_totals.amount + from_slots.amount,
        from_totals: from_totals.amount - from_totals.left,
    };
    for part in bigint_parts(-(from_totals.left + from_slots.left)) {
        slots::insert(&slot.table, id, random::bits() as i64, part, process::statement_started_us());
    }
    Ok(removed.existed.then_some(removed))
}

/// Whether nobody holds a row of the counter, is about to make one, or has changed one since a time.
fn is_idle(keyed: &Keyed, id: &[u8], changed_at: usize, before_us: i64) -> bool {
    let mut is_idle = true;
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    while is_idle {
        let entry = scan.next_entry(|version| {
            is_idle = match version.status() {
                Status::Free => version.columns().bigint(changed_at) < before_us,
                Status::Updated | Status::Deleted => true,
                Status::Changing(_) | Status::Unborn(_) | Status::Locked(_) | Status::Mine => false,
            };
            if is_idle { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        if entry.is_none() {
            break;
        }
    }
    is_idle
}

#[derive(Default)]
struct Rows {
    rows: u64,
    amount: i128,
    /// What rows hold that could not be deleted.
    left: i128,
}

/// Deletes the rows that the snapshot sees and that have a value which may go.
fn take(
    keyed: &Keyed,
    id: &[u8],
    snapshot: &mut Snapshot,
    value_of: impl Fn(&Columns<'_>) -> Option<i64>,
) -> Rows {
    let mut taken = Rows::default();
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    while let Some((candidate, value)) = latest::next_visible(&mut scan, snapshot, &value_of) {
        let Some(value) = value.map(i128::from) else { continue };
        taken.rows += 1;
        taken.amount += value;
        if candidate.delete().is_err() {
            taken.left += value;
        }
    }
    taken
}
