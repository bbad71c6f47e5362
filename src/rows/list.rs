//! Walking over many counters in id order, in batches of bounded size.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::access::Tables;
use super::keyed::Keyed;
use super::latest;
use super::sum::{Reader, RowSum, for_each_visible};
use super::{slot_columns, total_columns};
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;

const WHAT: &str = "a list of counters";

pub type Id = Box<[u8]>;

/// The next counters after an id, at most `limit`, as the snapshot sees them. Empty at the end. Raises 53200, 55000.
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
        (reader.slot().or_raise(), slot_columns::ID, RowSum::add_slot),
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

/// The smallest ids of those it is shown, as many as asked for, each once.
pub struct Smallest {
    limit: usize,
    /// At most twice as many as asked for.
    found: Vec<Id>,
    /// Those that sort after it are not among the smallest.
    bound: Option<Id>,
}

impl Smallest {
    pub fn new(limit: usize) -> Smallest {
        Smallest { limit, found: Vec::new(), bound: None }
    }

    pub fn add(&mut self, id: &[u8]) -> Result<(), OutOfMemory> {
        let is_last = self.found.last().is_some_and(|last| **last == *id);
        if is_last || self.bound.as_ref().is_some_and(|bound| *id > **bound) {
            return Ok(());
        }
        fallible::push(&mut self.found, fallible::boxed(id, WHAT)?, WHAT)?;
        if self.found.len() >= self.limit.saturating_mul(2).max(16) {
            self.settle();
            self.bound = match self.found.last() {
                Some(last) if self.found.len() == self.limit => Some(fallible::boxed(last, WHAT)?),
                _ => None,
            };
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.found.sort_unstable();
        self.found.dedup();
        self.found.truncate(self.limit);
    }

    pub fn into_sorted(mut self) -> Vec<Id> {
        self.settle();
        self.found
    }
}

/// Shows the next ids after an id that begin with a prefix and have rows that the snapshot sees: at least the first `limit` of them.
pub fn add_ids_after(
    reader: &Reader,
    prefix: &[u8],
    after: &[u8],
    limit: usize,
    snapshot: &mut Snapshot,
    smallest: &mut Smallest,
) -> Result<(), CounterError> {
    let tables = [(reader.total(), total_columns::ID), (reader.slot()?, slot_columns::ID)];
    for (keyed, column) in tables {
        add_ids_of(keyed, column, (prefix, after), limit, snapshot, smallest)?;
    }
    Ok(())
}

/// As `add_ids_after`, of one table whose primary key begins with the id, in this column.
pub fn add_ids_of(
    keyed: &Keyed,
    column: usize,
    (prefix, after): (&[u8], &[u8]),
    limit: usize,
    snapshot: &mut Snapshot,
    smallest: &mut Smallest,
) -> Result<(), OutOfMemory> {
    let range = if *after < *prefix { Range::From(prefix) } else { Range::After(after) };
    let mut last = Id::default();
    let mut left = limit;
    let mut added = Ok(());
    for_each_visible(keyed, range, snapshot, |columns| {
        let id = columns.text(column);
        if *id == *last {
            return ControlFlow::Continue(());
        }
        if left == 0 || !id.starts_with(prefix) {
            return ControlFlow::Break(());
        }
        left -= 1;
        added = fallible::boxed(id, WHAT).and_then(|id| {
            last = id;
            smallest.add(&last)
        });
        if added.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    added
}

/// Rows of an id that a walk over ids goes past one by one: as many as are on the way where it would look for the next id.
const MOST_ROWS_PASSED: usize = 4;

/// The next ids after `after` that have slot rows nobody holds, at most `limit`.
pub fn ids_to_fold(tables: Tables, after: &[u8], limit: usize) -> Result<Vec<Id>, CounterError> {
    let slot = Keyed::slot(tables, Access::Read)?;
    let mut ids: Vec<Id> = Vec::new();
    let mut scan = IdScan::begin(&slot.table, &slot.key, Range::After(after));
    // Of the last id.
    let mut rows = 0;
    while ids.len() < limit {
        let read =
            |columns: &Columns<'_>| Some(fallible::boxed(columns.text(slot_columns::ID), WHAT).or_raise());
        let Some((_, id)) = latest::next_free(&mut scan, read) else { break };
        // An id that cannot be read where it lies is passed over, or the scan would start from the beginning.
        if id.is_empty() {
            continue;
        }
        if ids.last() != Some(&id) {
            rows = 1;
            fallible::push(&mut ids, id, WHAT)?;
            continue;
        }
        rows += 1;
        if rows >= MOST_ROWS_PASSED {
            // Straight to the next id: this one may have a thousand rows.
            scan.restart(Range::After(&id));
        }
    }
    Ok(ids)
}

/// Slot rows that the snapshot sees.
pub fn slot_rows(reader: &Reader, snapshot: &mut Snapshot) -> Result<u64, CounterError> {
    let mut rows = 0;
    for_each_visible(reader.slot()?, Range::After(b""), snapshot, |_| {
        rows += 1;
        ControlFlow::Continue(())
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Smallest;

    proptest! {
        #[test]
        fn the_smallest_are_kept_each_once(
            ids in prop::collection::vec(prop::collection::vec(97u8..102, 1..4), 0..200),
            limit in 0usize..40,
        ) {
            let mut smallest = Smallest::new(limit);
            ids.iter().for_each(|id| smallest.add(id).unwrap());
            let kept: Vec<Vec<u8>> = smallest.into_sorted().into_iter().map(Vec::from).collect();
            let all: BTreeSet<Vec<u8>> = ids.into_iter().collect();
            prop_assert_eq!(kept, all.into_iter().take(limit).collect::<Vec<_>>());
        }
    }
}
