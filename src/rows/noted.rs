//! Ids that transactions have noted in a table, for a pass to take.

use std::cell::Cell;

use super::keyed::Keyed;
use super::latest;
use super::list::Id;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;

/// Deletes the next rows that no other transaction holds, and returns the ids in their `column`, in the scan's order, each once: at most
/// so many. All rows of an id go together: what the caller does with it answers for each of them.
pub fn take(
    keyed: &Keyed,
    range: Range<'_>,
    column: usize,
    most: usize,
    what: &'static str,
) -> Result<Vec<Id>, CounterError> {
    let mut ids: Vec<Id> = Vec::new();
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, range);
    let read = |columns: &Columns<'_>| Some(fallible::boxed(columns.text(column), what).or_raise());
    while ids.len() < most
        && let Some((row, id)) = latest::next_free(&mut scan, read)
    {
        if row.delete().is_ok() && ids.last() != Some(&id) {
            fallible::push(&mut ids, id, what)?;
        }
    }
    if let Some(last) = ids.last() {
        let is_past = Cell::new(false);
        let is_same = |columns: &Columns<'_>, is_free: bool| {
            is_past.set(columns.text(column) != &**last);
            (is_free && !is_past.get()).then_some(())
        };
        while !is_past.get()
            && let Some(found) = latest::next_if_free(&mut scan, is_same)
        {
            if let Some((row, ())) = found {
                // Nobody else holds it. One that goes otherwise is gone as well.
                let _ = row.delete();
            }
        }
    }
    Ok(ids)
}
