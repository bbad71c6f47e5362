//! Sealing: entries move from counter_ext.audit_pending to counter_ext.audit_log, each linked to the one before it.
//!
//! One transaction takes a bounded number of committed entries, inserts them and moves the heads on; a crash between any two steps
//! leaves an aborted transaction, that is, everything as it was. The compaction lock, which the caller holds, keeps a
//! chain from being written by two. Locks on the log's tables are tried only, so that DDL on them waits for nobody
//! who waits for it.

use super::chain::{START, link};
use crate::counting::compaction::as_owner;
use crate::errors::CounterError;
use crate::memory::restore_guard::NewRows;
use crate::pg::lock;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access::{Keyed, Tables};
use crate::rows::audit_entry::{Entry, Head, Sealed};
use crate::rows::audit_log::{self, HEAD, LOG};
use crate::rows::audit_pending::{self, PENDING};
use crate::rows::list::Id;

/// Entries one transaction seals.
const BATCH: usize = 5000;

/// Seals the next entries of an id and those after it. Returns where the next batch starts; `None` at the end, where DDL holds the
/// tables, and while a restore fills them.
pub fn seal_from(tables: Tables, from: &[u8], new_rows: NewRows) -> Result<Option<Id>, CounterError> {
    if !new_rows.are_made() {
        return Ok(None);
    }
    let (Some(pending), Some(log), Some(heads)) = (PENDING.find(), LOG.find(), HEAD.find()) else {
        return Ok(None);
    };
    let locked = [pending, heads].into_iter().all(|table| lock::try_lock_table(table, Access::Write))
        && audit_log::try_lock(log);
    if !locked || [PENDING.find(), LOG.find(), HEAD.find()] != [Some(pending), Some(log), Some(heads)] {
        return Ok(None);
    }
    as_owner(tables, || {
        let taken = xact::in_scratch_memory(|| audit_pending::take(pending, from, BATCH))?;
        if !new_rows.are_made() {
            // Among them may be some whose head comes later. Rolls back, to be tried again.
            return Err(CounterError::Internal(
                "a restore began while the audit log was being sealed".to_owned(),
            ));
        }
        let heads = audit_log::open_heads(heads)?;
        for entries in taken.chunk_by(|a, b| a.id == b.id) {
            seal_chain(&heads, entries)?;
        }
        Ok(taken.last().filter(|_| taken.len() == BATCH).map(|last| last.id.as_slice().into()))
    })
}

/// Appends entries of one counter to its chain.
fn seal_chain(heads: &Keyed, entries: &[Entry]) -> Result<(), CounterError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let head = xact::in_scratch_memory(|| audit_log::latest_head(heads, &first.id))?;
    let mut head = head.unwrap_or_else(|| Head { seq: 0, hash: START.to_vec() });
    let mut sealed = Vec::with_capacity(entries.len());
    for entry in entries {
        head.seq += 1;
        head.hash = link(&head.hash, head.seq, entry).to_vec();
        sealed.push(Sealed { seq: head.seq, entry: entry.clone(), hash: head.hash.clone() });
    }
    audit_log::insert(&sealed)?;
    xact::in_scratch_memory(|| audit_log::write_head(heads, &first.id, &head))
}

/// Seals everything in the caller's transaction, for servers without a worker. The caller holds the compaction lock.
pub fn seal_here(tables: Tables) -> Result<(), CounterError> {
    let mut from = Id::default();
    while let Some(next) = seal_from(tables, &from, NewRows::Made)? {
        xact::see_own_changes();
        from = next;
    }
    xact::see_own_changes();
    Ok(())
}
