//! Which counters of a database may have slot rows: a cold counter that is ruled out is read from its totals alone.
//!
//! Contract: that of `filter.rs`, in the database's cell. Writers of slot rows are `rows/slots` and `rows/fold`, which tell of each row once
//! it is on its page. What others write is told of before its transaction commits, or is prepared, by the triggers' notes
//! (`counting/transaction`). The worker renews the bits in its passes, so what an owner wrote past the triggers is missed until the next one,
//! as memory misses it. After a start, in a database without a cell and where the extension was made anew nothing is ruled out before a
//! renewal has ended; so a prepared transaction's rows that were there before are found by the walk. During recovery, and without preload,
//! nobody asks.

use std::hash::BuildHasher;

use super::databases;
use super::filter::{Filter, Noted, Renewal};
use super::segment::segment;

fn with<T>(database: u32, look: impl FnOnce(Filter<'static>) -> T) -> Option<T> {
    databases::with(database, |cell| look(cell.slotted()))
}

/// As `with`, for who writes: that the database had no cell a moment ago is not taken on trust, or a row would be ruled out.
fn with_cell_of_now<T>(database: u32, look: impl FnOnce(Filter<'static>) -> T) -> Option<T> {
    databases::with_cell_of_now(database, |cell| look(cell.slotted()))
}

fn hash(id: &[u8]) -> u64 {
    let seed = segment().map_or(0, |segment| segment.header().seed);
    foldhash::quality::FixedState::with_seed(seed).hash_one(id)
}

/// A slot row of the counter was written just now. Cannot fail.
pub fn add(database: u32, id: &[u8]) {
    with_cell_of_now(database, |filter| filter.add(hash(id)));
}

/// Slot rows of unknown counters were written. Cannot fail.
pub fn forget(database: u32) {
    with_cell_of_now(database, Filter::forget);
}

/// What is known of a database's slot rows before a snapshot is taken.
#[derive(Clone, Copy)]
pub struct Known(Option<(Filter<'static>, Noted)>);

/// To be asked before a snapshot is taken. `relation` is the table of totals.
pub fn known(database: u32, relation: u32) -> Known {
    Known(with(database, |filter| filter.note(relation).map(|noted| (filter, noted))).flatten())
}

impl Known {
    /// Whether the snapshot, taken meanwhile, sees no slot row of the counter; asked before that, whether it is likely.
    pub fn rules_out(self, id: &[u8]) -> bool {
        self.0.is_some_and(|(filter, noted)| filter.rules_out(noted, hash(id)))
    }
}

/// A walk over the slot table that the bits are made anew by.
pub struct Walk {
    filter: Filter<'static>,
    renewal: Renewal,
    relation: u32,
}

/// Begins one, if there is anything to gain by it. The caller holds the compaction lock, has written nothing in this transaction, and
/// shows all rows that are not deleted for good.
pub fn renew(database: u32, relation: u32) -> Option<Walk> {
    let begin = |filter: Filter<'static>| {
        (!filter.is_empty(relation)).then(|| Walk { filter, renewal: filter.begin(relation), relation })
    };
    with(database, begin).flatten()
}

impl Walk {
    pub fn see(&self, id: &[u8]) {
        self.filter.add(hash(id));
    }

    pub fn end(self) {
        // Where it was void the next pass walks again.
        self.filter.end(self.renewal, self.relation);
    }
}
