//! Sealing: entries move from counter_ext.audit_pending to counter_ext.audit_log, each linked to the one before it.
//!
//! One transaction takes a bounded number of committed entries, inserts them and moves the heads on; a crash between any two steps
//! leaves an aborted transaction, that is, everything as it was. The compaction lock, which the caller holds, keeps a
//! chain from being written by two. Locks on the log's tables are tried only, so that DDL on them waits for nobody
//! who waits for it.

use std::time::Duration;

use super::anchor::Anchor;
use super::chain::{START, link};
use super::entry::{Head, LogEntry, Sealed};
use super::log_rows::{self, ANCHOR, HEAD, Heads, LOG};
use super::pending_rows::{self, PENDING};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::pass::{How, Progress, Step, Work};
use crate::memory::restore_guard::NewRows;
use crate::pg::confined::Confined;
use crate::pg::lock;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access::{Tables, as_owner};
use crate::rows::list::Id;

const REFUSED: fallible::OutOfMemory = fallible::OutOfMemory { what: "entries to seal", bytes: 0 };

/// Entries one transaction seals.
const BATCH: usize = 5000;

/// A log that cannot be sealed (a partition is missing, for one) does not keep counters from being compacted.
pub const SEAL: Step = Step {
    name: "sealing the audit log",
    every: Duration::ZERO,
    is_essential: false,
    begin: || Box::new(Seal::default()),
};

#[derive(Default)]
struct Seal {
    from: Id,
}

impl Work for Seal {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        let next = seal_from(tables, &self.from, how.new_rows)?;
        let is_done = next.is_none();
        self.from = next.unwrap_or_default();
        Ok(Progress { is_done, ..Progress::default() })
    }
}

/// Seals the next entries of an id and those after it. Returns where the next batch starts; `None` at the end, where DDL holds the
/// tables, and while a restore fills them.
fn seal_from(tables: Tables, from: &[u8], new_rows: NewRows) -> Result<Option<Id>, CounterError> {
    if !new_rows.are_made() {
        return Ok(None);
    }
    let tables_now = || Some((PENDING.find()?, LOG.find()?, HEAD.find()?, ANCHOR.find()?));
    let Some((pending, log, heads, anchor)) = tables_now() else {
        return Ok(None);
    };
    let locked = [pending, heads, anchor].into_iter().all(|table| lock::try_lock_table(table, Access::Write))
        && log_rows::try_lock(log);
    if !locked || tables_now() != Some((pending, log, heads, anchor)) {
        return Ok(None);
    }
    as_owner(tables, |confined| {
        let taken = xact::in_scratch_memory(|| pending_rows::take(pending, from, BATCH))?;
        if taken.is_empty() {
            return Ok(None);
        }
        if !new_rows.are_made() {
            // Among them may be some whose head comes later. Rolls back, to be tried again.
            return Err(CounterError::Internal(
                "a restore began while the audit log was being sealed".to_owned(),
            ));
        }
        let heads = Heads::open(heads, anchor)?;
        let mut anchor = xact::in_scratch_memory(|| heads.anchor())?;
        for entries in taken.chunk_by(|a, b| a.id == b.id) {
            seal_chain(confined, &heads, &mut anchor, entries)?;
        }
        xact::in_scratch_memory(|| heads.write_anchor(&anchor))?;
        Ok(taken.last().filter(|_| taken.len() == BATCH).map(|last| last.id.as_slice().into()))
    })
}

/// Appends entries of one counter to its chain.
fn seal_chain(
    confined: &Confined<'_>,
    heads: &Heads,
    anchor: &mut Anchor,
    entries: &[LogEntry],
) -> Result<(), CounterError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let before = xact::in_scratch_memory(|| heads.latest(&first.id))?;
    // BOUND: a hash.
    let mut head = before.clone().unwrap_or_else(|| Head { seq: 0, hash: START.to_vec() });
    let mut sealed = fallible::with_room(entries.len(), "entries to seal")?;
    for entry in entries {
        head.seq += 1;
        // BOUND: a hash.
        head.hash = link(&head.hash, head.seq, entry).to_vec();
        let entry = fallible::not_from_the_spare(REFUSED, || Ok(entry.clone()))?;
        sealed.push(Sealed { seq: head.seq, entry, hash: head.hash.clone() });
    }
    log_rows::insert(confined, &sealed)?;
    if let Some(before) = before {
        anchor.remove(&first.id, &before);
    }
    anchor.add(&first.id, &head);
    xact::in_scratch_memory(|| heads.write(&first.id, &head))
}
