//! Ids that transactions have noted in a table, for a pass to take.

use super::access::Keyed;
use super::latest;
use super::list::Id;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;

/// Deletes the next rows that no other transaction holds, and returns the ids in their `column`, in the scan's order, each once: at most
/// so many.
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
    Ok(ids)
}
