//! Counters whose totals, and members whose scores in windows, others than compaction have changed: rows of counter_ext.board_changed, written in the transaction of the change,
//! taken by the pass that brings the members up to date.

use std::ops::ControlFlow;

use super::board_rows;
use crate::errors::CounterError;
use crate::family::followed;
use crate::pg::id_scan::Range;
use crate::pg::random;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact};
use crate::rows::access::Tables;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::list::Id;
use crate::rows::noted;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "counters whose boards are to be brought up to date";
const ID: usize = 0;

/// counter_ext.board_changed
pub const CHANGED: FamilyTable = FamilyTable {
    name: "board_changed",
    relation: c"board_changed",
    columns: &[TEXT, INT8],
    key: "id, entry",
    hint: "GRANT it on counter_ext.board_changed.",
};

/// This transaction changes, or takes away, total rows of an id.
pub fn note(_: Tables, id: &[u8]) -> Result<(), CounterError> {
    // Also where an earlier board of that prefix is still being removed: the members of this one may be written before we commit.
    let is_ranked = board_rows::all()?.iter().any(|board| board.is_declared && board.member(id).is_some());
    if is_ranked {
        followed::note_change(id);
        insert(CHANGED.lock_in_time(Access::Write)?, id);
    }
    Ok(())
}

/// This transaction changes a member's score in a window: noted as the window's name with the member behind it.
pub fn note_member(window: &[u8], member: &[u8]) -> Result<(), CounterError> {
    let table = CHANGED.lock_in_time(Access::Write)?;
    // BOUND: a name, and an id.
    insert(table, &[window, member].concat());
    Ok(())
}

fn insert(table: Oid, noted: &[u8]) {
    xact::in_scratch_memory(|| {
        let entry = random::bits() as i64;
        write::insert(&Table::open(table), &[Value::Text(noted), Value::Bigint(entry)]);
    });
    xact::see_own_changes();
}

/// Takes some ids, each once, in their order: those of committed changes. The table is locked.
pub fn take(table: Oid, most: usize) -> Result<Vec<Id>, CounterError> {
    noted::take(&CHANGED.open(table, Access::Write)?, Range::After(b""), ID, most, WHAT)
}

/// Shows the ids under a prefix that wait to be taken. The table is locked.
pub fn each(
    table: Oid,
    prefix: &[u8],
    snapshot: &mut Snapshot,
    mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), CounterError> {
    let changed = CHANGED.open(table, Access::Read)?;
    for_each_visible(&changed, Range::From(prefix), snapshot, |columns| {
        let id = columns.text(ID);
        if id.starts_with(prefix) { see(id) } else { ControlFlow::Break(()) }
    });
    Ok(())
}
