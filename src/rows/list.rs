//! Walking over many counters in id order, in batches of bounded size.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::access::{Keyed, Tables};
use super::latest;
use super::sum::{Reader, RowSum, for_each_visible};
use super::{slot_columns, total_columns};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;

const WHAT: &str = "a list of counters";

pub type Id = Box<[u8]>;

/// The next counters after an id, at most `limit`, as the snapshot sees them. Empty at the end. Raises 53200.
pub fn counters_after(
    reader: &Reader,
    after: &[u8],
    limit: usize,
    snapshot: &mut Snapshot,
) -> Vec<(Id, RowSum)> {
    let mut found: BTreeMap<Id, RowSum> = BTreeMap::new();
    let mut complete_to: Option<Id> = None;
    type Add = fn(&mut RowSum, &Columns<'_>);
    let sources: [(&Keyed, usize, Add); 2] = [
        (reader.total(), total_columns::ID, RowSum::add_total),
        (reader.slot(), slot_columns::ID, RowSum::add_slot),
    ];
    for (keyed, id_column, add) in sources {
        let mut last: Id = Id::default();
        let mut distinct = 0;
        for_each_visible(keyed, Range::After(after), snapshot, |columns| {
            let id = columns.text(id_column);
            if *last != *id {
                if distinct == limit {
                    // All rows up to `last` were seen, those after it were not.
                    if complete_to.as_ref().is_none_or(|bound| last < *bound) {
                        complete_to = Some(std::mem::take(&mut last));
                    }
                    return ControlFlow::Break(());
                }
                distinct += 1;
                last = fallible::boxed(id, WHAT).or_raise();
            }
            match found.get_mut(id) {
                Some(sum) => add(sum, columns),
                // Where there is no memory for an id, there is none for a node of the map either.
                None => add(found.entry(fallible::boxed(id, WHAT).or_raise()).or_default(), columns),
            }
            ControlFlow::Continue(())
        });
    }
    let complete = found.into_iter().filter(|(id, _)| complete_to.as_ref().is_none_or(|bound| id <= bound));
    fallible::collect(complete.take(limit), WHAT).or_raise()
}

/// The next ids after `after` that have slot rows nobody holds, at most `limit`.
pub fn ids_to_fold(tables: Tables, after: &[u8], limit: usize) -> Result<Vec<Id>, CounterError> {
    let slot = Keyed::slot(tables, Access::Read)?;
    let mut ids: Vec<Id> = Vec::new();
    let mut scan = IdScan::begin(&slot.table, &slot.key, Range::After(after));
    while ids.len() < limit {
        let read =
            |columns: &Columns<'_>| Some(fallible::boxed(columns.text(slot_columns::ID), WHAT).or_raise());
        let Some((_, id)) = latest::next_free(&mut scan, read) else { break };
        // An id that cannot be read where it lies is passed over, or the scan would start from the beginning.
        if !id.is_empty() {
            // Straight to the next id: this one may have a thousand rows.
            scan.restart(Range::After(&id));
            fallible::push(&mut ids, id, WHAT)?;
        }
    }
    Ok(ids)
}

/// Slot rows that the snapshot sees.
pub fn slot_rows(reader: &Reader, snapshot: &mut Snapshot) -> u64 {
    let mut rows = 0;
    for_each_visible(reader.slot(), Range::After(b""), snapshot, |_| {
        rows += 1;
        ControlFlow::Continue(())
    });
    rows
}
