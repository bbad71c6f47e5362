//! Counters that have changed since they were last sent: rows of counter_ext.watch_changed.
//!
//! A row is written in the transaction that folds the change, and deleted in the one that sends the total as it is then. So the last
//! change is always followed by a sending, whatever crashes.
//!
//! BOUND: an id of at most 255 bytes.

use std::ops::ControlFlow;

use super::watch_rows::{self, Watch};
use crate::errors::CounterError;
use crate::pg::id_scan::Range;
use crate::pg::random;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact};
use crate::rows::access::Tables;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::noted;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "counters to be sent";
const ID: usize = 2;

/// counter_ext.watch_changed
pub const CHANGED: FamilyTable = FamilyTable {
    name: "watch_changed",
    relation: c"watch_changed",
    columns: &[TEXT, TEXT, TEXT, INT8],
    key: "prefix, channel, id, entry",
    hint: "GRANT it on counter_ext.watch_changed.",
};

/// These counters' totals change in the running transaction, which holds the compaction lock to its end, as whoever sends does.
pub fn note_folded(ids: &[&[u8]]) -> Result<(), CounterError> {
    note(ids, |changed, watch, id| {
        let range = Range::Triple(&watch.prefix, &watch.channel, id);
        // One that is there, and that nobody is about to send, says enough.
        if !matches!(latest::find(changed, range, |_| true, |_| ()), Latest::Free(..) | Latest::Mine) {
            insert(changed, watch, id);
        }
    })
}

/// This counter's total changes in the running transaction, which keeps nobody from sending: what is noted already may be sent before this
/// commits, and says nothing of it.
pub fn note_change(_: Tables, id: &[u8]) -> Result<(), CounterError> {
    note(&[id], insert)
}

fn note(ids: &[&[u8]], note_one: impl Fn(&Keyed, &Watch, &[u8])) -> Result<(), CounterError> {
    let watches = watch_rows::all()?;
    let is_concerned = |watch: &&Watch| ids.iter().any(|id| watch.concerns(id));
    let mut concerned = watches.iter().filter(is_concerned).peekable();
    if concerned.peek().is_none() {
        return Ok(());
    }
    let table = CHANGED.lock_in_time(Access::Write)?;
    // What this transaction has noted before is to be found.
    xact::see_own_changes();
    xact::in_scratch_memory(|| {
        let changed = CHANGED.open(table, Access::Write)?;
        for watch in concerned {
            for id in ids.iter().filter(|id| watch.concerns(id)) {
                note_one(&changed, watch, id);
            }
        }
        Ok::<(), CounterError>(())
    })?;
    xact::see_own_changes();
    Ok(())
}

fn insert(changed: &Keyed, watch: &Watch, id: &[u8]) {
    let row = [
        Value::Text(&watch.prefix),
        Value::Text(&watch.channel),
        Value::Text(id),
        Value::Bigint(random::bits() as i64),
    ];
    write::insert(&changed.table, &row);
}

/// Takes some ids of a watch, each once, in their order: those of committed changes. The table is locked.
pub fn take(table: Oid, watch: &Watch, most: usize) -> Result<Vec<Id>, CounterError> {
    let range = Range::Pair(&watch.prefix, &watch.channel);
    noted::take(&CHANGED.open(table, Access::Write)?, range, ID, most, WHAT)
}

/// Whether anything of a watch waits to be sent. The table is locked.
pub fn has_any(table: Oid, watch: &Watch) -> Result<bool, CounterError> {
    let changed = CHANGED.open(table, Access::Read)?;
    let mut any = false;
    let range = Range::Pair(&watch.prefix, &watch.channel);
    for_each_visible(&changed, range, &mut Snapshot::fresh(), |_| {
        any = true;
        ControlFlow::Break(())
    });
    Ok(any)
}
