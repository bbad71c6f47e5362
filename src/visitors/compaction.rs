//! Visitors' step of a compaction pass: rows of visits are united into the rows of their days and of ever.

use std::time::Duration;

use super::access::{self, VisitorTables};
use super::rows::VisitWriter;
use crate::errors::CounterError;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::restore_guard::NewRows;
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::list::Id;
use crate::settings;

/// Rows one transaction unites.
const BATCH_ROWS: u64 = 4096;
/// Ids one transaction unites: each rewrites a sketch or two.
const BATCH_IDS: usize = 256;

pub const UNITE_VISITS: Step = Step {
    name: "uniting visits",
    every: Duration::ZERO,
    is_essential: true,
    begin: || Box::new(UniteVisits::default()),
};

#[derive(Default)]
struct UniteVisits {
    after: Id,
}

impl Work for UniteVisits {
    fn next(&mut self, _counters: Tables, how: How) -> Result<Progress, CounterError> {
        let done = Progress { is_done: true, ..Progress::default() };
        let Some(tables) = access::find() else { return Ok(done) };
        if how.waits {
            access::lock_for_writing(tables)?;
        } else if !access::try_lock_for_writing(tables) || access::find() != Some(tables) {
            return Ok(done);
        }
        let UnitedBatch { rows, last } = unite_after(tables, &self.after, how.new_rows)?;
        let is_done = last.is_none();
        self.after = last.unwrap_or_default();
        Ok(Progress { rows, overflowed: 0, is_done })
    }
}

/// What uniting a batch came to.
struct UnitedBatch {
    rows: u64,
    /// Where the next batch starts; `None` at the end.
    last: Option<Id>,
}

/// Unites the next ids' visits after an id. Runs inside a transaction, with the tables locked.
fn unite_after(tables: VisitorTables, after: &[u8], sketches: NewRows) -> Result<UnitedBatch, CounterError> {
    as_owner(tables.counters, |_| {
        let mut writer = VisitWriter::open(tables, settings::node())?;
        writer.sketches = sketches;
        let mut batch = UnitedBatch { rows: 0, last: Some(after.into()) };
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
