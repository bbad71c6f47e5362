//! Counters by id, page by page: those that have rows, those that are buffered only, and this transaction's own.
//!
//! Each page begins at its place in the index, so a late one costs what an early one does. Each value is what counter_get says.

use super::read::{self, Standing};
use super::{reserved, transaction};
use crate::errors::{CounterError, FIRST_FREE_BYTE};
use crate::fallible;
use crate::journal::position;
use crate::memory::buffer;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, xact};
use crate::rows::access::Tables;
use crate::rows::list::{self, Id, Smallest};
use crate::rows::sum::Reader;

const WHAT: &str = "a list of counters";

/// Refuses prefixes of what families keep for themselves.
pub fn check_prefix(prefix: &[u8]) -> Result<(), CounterError> {
    if prefix.first().is_some_and(|byte| *byte < FIRST_FREE_BYTE) {
        Err(CounterError::ReservedId)
    } else {
        Ok(())
    }
}

/// Some counters, in order.
pub struct Page {
    pub counters: Vec<(Id, Standing)>,
    /// The last id that was looked at; `None` at the end.
    pub last: Option<Id>,
}

/// The next counters after an id that begin with a prefix, at most `limit`, and where each stands.
pub fn page(tables: Tables, prefix: &[u8], after: &[u8], limit: usize) -> Result<Page, CounterError> {
    let ids = ids(tables, prefix, after, limit)?;
    let last = ids.last().map(|id| fallible::boxed(id, WHAT)).transpose()?;
    let mut counters = fallible::with_room(ids.len(), WHAT)?;
    for id in ids {
        // One that was dropped this moment is none.
        if let Some(standing) = read::standing(tables, &id)? {
            // BOUND: room was made above.
            counters.push((id, standing));
        }
    }
    Ok(Page { counters, last })
}

/// The next ids after an id that begin with a prefix, in order, at most `limit`: of counters that are committed by now, and of
/// this transaction's own.
pub(super) fn ids(
    tables: Tables,
    prefix: &[u8],
    after: &[u8],
    limit: usize,
) -> Result<Vec<Id>, CounterError> {
    // Ids of families sort before all others.
    let after = if prefix.is_empty() && *after < reserved::LAST[..] { &reserved::LAST } else { after };
    let is_next = |id: &[u8]| *id > *after && id.starts_with(prefix) && !reserved::is_reserved(id);
    let mut smallest = Smallest::new(limit);
    transaction::each_own_id(tables, |id| if is_next(id) { smallest.add(id) } else { Ok(()) })?;
    if xact::in_recovery() || !read::is_recovered(tables) {
        journaled(|id| if is_next(id) { smallest.add(id) } else { Ok(()) })?;
    } else {
        // Before the rows: what is folded meanwhile is found there.
        let database = u32::from(catalog::my_database());
        buffer::each_unfolded_id(database, u32::from(tables.total), |id| {
            if is_next(id) { smallest.add(id) } else { Ok(()) }
        })?;
    }
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    xact::in_scratch_memory(|| {
        list::add_ids_after(&reader, prefix, after, limit, &mut snapshot, &mut smallest)
    })?;
    Ok(smallest.into_sorted())
}

/// Ids of buffered deltas that memory does not know of: those in the journal.
fn journaled(mut see: impl FnMut(&[u8]) -> Result<(), fallible::OutOfMemory>) -> Result<(), CounterError> {
    let journal = position::lock(Access::Read)?;
    let mut snapshot = Snapshot::fresh();
    let folded = position::read(journal, &mut snapshot)?;
    position::for_each_delta(journal, folded, &mut snapshot, |id, _| see(id))
}
