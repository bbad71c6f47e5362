//! Uniting visits: a bounded number of rows in one transaction, or all in the caller's.

use crate::counting::compaction::as_owner;
use crate::errors::CounterError;
use crate::memory::restore_guard::NewRows;
use crate::pg::{process, xact};
use crate::rows::access::Tables;
use crate::rows::list::Id;
use crate::rows::visitors::Writer;
use crate::settings;

/// Rows one transaction unites.
const BATCH_ROWS: u64 = 4096;
/// Ids one transaction unites: each rewrites a sketch or two.
const BATCH_IDS: usize = 256;

/// What uniting a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub rows: u64,
    /// Where the next batch starts; `None` at the end.
    pub last: Option<Id>,
}

/// Unites the next ids' visits after an id. Runs inside a transaction, with the tables locked.
pub fn unite_after(tables: Tables, after: &[u8], sketches: NewRows) -> Result<Batch, CounterError> {
    as_owner(tables, || {
        let mut writer = Writer::open(tables, settings::node())?;
        writer.sketches = sketches;
        let mut batch = Batch { rows: 0, last: Some(after.into()) };
        for _ in 0..BATCH_IDS {
            process::check_for_interrupts();
            let after = batch.last.as_deref().unwrap_or_default();
            let Some(id) = xact::in_scratch_memory(|| writer.next_id(after)) else {
                batch.last = None;
                return Ok(batch);
            };
            let folded = xact::in_scratch_memory(|| writer.fold(&id, BATCH_ROWS))?;
            batch.rows += folded.rows;
            if !folded.more {
                batch.last = Some(id);
            }
            if folded.more || batch.rows >= BATCH_ROWS {
                break;
            }
        }
        Ok(batch)
    })
}

/// Unites everything in the caller's transaction.
pub fn run_here(tables: Tables) -> Result<u64, CounterError> {
    crate::rows::access::lock_visitors_for_writing(tables)?;
    let mut rows = 0;
    let mut after = Id::default();
    loop {
        let batch = unite_after(tables, &after, NewRows::Made)?;
        rows += batch.rows;
        // The next batch may go on with the same id.
        xact::see_own_changes();
        match batch.last {
            Some(last) => after = last,
            None => return Ok(rows),
        }
    }
}
