//! How far the journal is folded into rows: the one row of counter_ext.journal. And where the journal's tables are.
//!
//! Whoever folds writes it in the transaction that folds, so that both are there or neither is. That is one at a time: he holds the
//! compaction lock. A row that is not there, or not one, is an error: never as if nothing were to be recovered.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::errors::JournalError;
use super::record;
use crate::errors::CounterError;
use crate::pg::catalog::{self, Watch};
use crate::pg::page::{self, Page, Status};
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::pg::write::{Candidate, Value};
use crate::pg::{Oid, lock, process};
use crate::rows::column_types::{BOOL, BYTEA, INT8};

/// The journal's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalTables {
    pub position: Oid,
    pub tail: Oid,
}

/// Columns of counter_ext.journal.
mod position_columns {
    pub const EPOCH: usize = 1;
}

/// Columns of counter_ext.journal_tail.
mod tail_columns {
    pub const EPOCH: usize = 0;
    pub const RECORD: usize = 1;
}

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN: Cell<Option<(JournalTables, u64)>> = const { Cell::new(None) };
}

/// The tables, if they are there and as they were made.
pub fn find() -> Option<JournalTables> {
    if let Some((tables, known_at)) = KNOWN.get()
        && known_at == WATCH.with(|watch| watch.version())
    {
        return Some(tables);
    }
    KNOWN.set(None);
    // A change of whatever tables are found makes the next call look again.
    WATCH.with(|watch| watch.set(&[]));
    let version = WATCH.with(|watch| watch.version());
    let tables = JournalTables {
        position: catalog::relation(c"counter_ext", c"journal")?,
        tail: catalog::relation(c"counter_ext", c"journal_tail")?,
    };
    let is_ours = catalog::is_member(tables.position, c"counter_ext")
        && catalog::is_member(tables.tail, c"counter_ext")
        && catalog::has_column_types(tables.position, &[BOOL, INT8])
        && catalog::has_column_types(tables.tail, &[INT8, BYTEA]);
    if !is_ours {
        return None;
    }
    WATCH.with(|watch| watch.set(&[tables.position, tables.tail]));
    KNOWN.set(Some((tables, version)));
    Some(tables)
}

/// Locks both tables. Waits for DDL on them.
pub fn lock(access: Access) -> Result<JournalTables, CounterError> {
    let tables = find().ok_or(CounterError::NotInstalled)?;
    lock::lock_table(tables.position, access);
    lock::lock_table(tables.tail, access);
    // Taking a lock also takes in what others changed.
    if find() == Some(tables) { Ok(tables) } else { Err(CounterError::NotInstalled) }
}

/// Locks both tables for writing, unless somebody holds a conflicting lock: the worker waits for nobody.
pub fn try_lock() -> bool {
    find().is_some_and(|tables| {
        lock::try_lock_table(tables.position, Access::Write)
            && lock::try_lock_table(tables.tail, Access::Write)
            && find() == Some(tables)
    })
}

/// The last epoch that rows hold, as the snapshot sees it. The caller has the table locked.
pub fn read(tables: JournalTables, snapshot: &mut Snapshot) -> Result<u64, CounterError> {
    let mut found = None;
    let mut rows = 0;
    page::any_visible(&Table::open(tables.position), snapshot, |columns| {
        rows += 1;
        found = u64::try_from(columns.bigint(position_columns::EPOCH)).ok();
        false
    });
    found.filter(|_| rows == 1).ok_or_else(|| JournalError::NoPosition.into())
}

/// Writes the last epoch that rows hold. The caller has the table locked for writing, and the compaction lock.
pub fn write(tables: JournalTables, epoch: u64) -> Result<(), CounterError> {
    let table = Table::open(tables.position);
    let mut is_held = false;
    for block in 0..table.blocks() {
        let page = Page::pin(&table, block);
        page.prune();
        let candidate = {
            let locked = page.lock_shared();
            (1..=locked.lines()).find_map(|offset| {
                let mut version = locked.version(offset)?;
                match version.status() {
                    Status::Free => Some(Candidate::new(&mut version)),
                    Status::Updated | Status::Deleted => None,
                    _ => {
                        is_held = true;
                        None
                    }
                }
            })
        };
        if let Some(candidate) = candidate {
            let change = [(position_columns::EPOCH, Value::Bigint(epoch as i64))];
            return match candidate.update(&change) {
                Ok(_) => Ok(()),
                Err(_) => Err(JournalError::PositionHeld.into()),
            };
        }
    }
    Err(if is_held { JournalError::PositionHeld } else { JournalError::NoPosition }.into())
}

/// Size of the table that holds what is not folded.
pub fn tail_bytes() -> Result<u64, CounterError> {
    let tables = lock(Access::Read)?;
    Ok(Table::open(tables.tail).bytes())
}

/// Shows the id and amount of each delta in records beyond an epoch that the snapshot sees, up to the first that is refused. The caller has
/// the table locked. Errors: that of `see`; XX001 a record cannot be read.
pub fn for_each_delta<E: Into<CounterError>>(
    tables: JournalTables,
    after: u64,
    snapshot: &mut Snapshot,
    mut see: impl FnMut(&[u8], i64) -> Result<(), E>,
) -> Result<(), CounterError> {
    let mut seen = Ok(());
    for_each_record(tables, after, snapshot, |block, _, bytes| {
        let read = record::read(bytes, |id, delta| {
            if seen.is_ok() {
                seen = see(id, delta).map_err(Into::into);
            }
        });
        if let Err(why) = read {
            seen = Err(JournalError::Unreadable { block, why }.into());
        }
        if seen.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    seen
}

/// Shows the epoch and bytes of each record beyond an epoch that the snapshot sees, until told to stop; where it is, too. No page
/// is locked meanwhile. The caller has the table locked.
pub fn for_each_record(
    tables: JournalTables,
    after: u64,
    snapshot: &mut Snapshot,
    mut see: impl FnMut(u32, u64, &[u8]) -> ControlFlow<()>,
) {
    let table = Table::open(tables.tail);
    // One page's records, one behind the other.
    let mut bytes: Vec<u8> = Vec::new();
    let mut records: Vec<(u64, usize)> = Vec::new();
    for block in 0..table.blocks() {
        process::check_for_interrupts();
        bytes.clear();
        records.clear();
        {
            let page = Page::pin(&table, block);
            let locked = page.lock_shared();
            for offset in 1..=locked.lines() {
                let Some(mut version) = locked.version(offset) else { continue };
                let columns = version.columns();
                let epoch = columns.bigint(tail_columns::EPOCH) as u64;
                if epoch > after && version.visible(snapshot) {
                    // BOUND: one page's rows.
                    bytes.extend_from_slice(columns.text(tail_columns::RECORD));
                    records.push((epoch, bytes.len()));
                }
            }
        }
        let mut from = 0;
        for (epoch, to) in &records {
            if see(block, *epoch, &bytes[from..*to]).is_break() {
                return;
            }
            from = *to;
        }
    }
}
