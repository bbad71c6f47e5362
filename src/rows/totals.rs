//! Adding to a counter's total directly, where nobody holds it.
//!
//! A counter that is seldom counted costs one new version of its total so: no slot row, no index entry, nothing to fold. Where the total is held,
//! by another increment or by compaction, or is being made by somebody, the caller goes to slot rows; so nobody waits, and two transactions that
//! count the same counters in any order cannot meet in a deadlock.
//!
//! A backend remembers where it last saw the totals of a few counters (see `place`), and which of them it found held: those of a hot counter
//! nearly always are, so it goes to slot rows without a look for a few increments, for more of them each time that it finds the total held again.

use std::cell::{OnceCell, RefCell};
use std::hash::BuildHasher;

use super::access::{self, Tables};
use super::keyed::Keyed;
use super::place::{self, Found};
use super::total_columns;
use crate::errors::CounterError;
use crate::memory::restore_guard::NewRows;
use crate::pg::id_scan::Range;
use crate::pg::page::{Columns, Tid};
use crate::pg::session::session_local;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{catalog, process};
use crate::rows::latest::{self, Latest};
use crate::settings;

/// Places a backend remembers, one for each value of a part of an id's hash.
const PLACES: usize = 512;
/// The most increments that go to slot rows without a look at a total that was held.
const MAX_PASSED_OVER: u8 = 63;
/// Versions looked at for a total that is at no remembered place: behind a held snapshot they pile up.
const MAX_SEARCHED: usize = 2048;

/// What an attempt to add to a total came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Added,
    /// Somebody holds it or is making it, or it would leave bigint or come to 0, or it is not to be made now, or is behind too many old
    /// versions.
    Held,
}

/// What a total held before.
#[derive(Clone, Copy, Debug)]
struct Before {
    value: i64,
    updated_at_us: i64,
}

/// A row of counter_ext.total.
pub(super) fn values(id: &[u8], node: i32, value: i64, updated_at_us: i64) -> [Value<'_>; 4] {
    [Value::Text(id), Value::Int(node), Value::Bigint(value), Value::Bigint(updated_at_us)]
}

/// Where a total was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    tid: Tid,
    /// Increments that go to slot rows before the total is looked at again.
    passes_over: u8,
    /// As many as there were, when it was last found held.
    passed_over: u8,
}

impl Seen {
    fn free(tid: Tid, passed_over: u8) -> Seen {
        Seen { tid, passes_over: 0, passed_over }
    }

    /// One that was found held goes by twice as many increments as before, and one more.
    fn held(tid: Tid, before: u8) -> Seen {
        let passes_over = (before.saturating_mul(2) + 1).min(MAX_PASSED_OVER);
        Seen { tid, passes_over, passed_over: passes_over }
    }
}

/// What is remembered of a total.
enum Recalled {
    Nothing,
    /// It was held, and is not to be looked at now.
    PassOver,
    At(Seen),
}

/// Where totals were last seen, with their hashes. Another counter may have the same hash: a place is looked at before it is used.
struct Places {
    relations_version: u64,
    total_table: u32,
    /// Empty until the first place is remembered.
    seen: Vec<Option<(u64, Seen)>>,
    hasher: foldhash::fast::RandomState,
}

session_local! {
    static PLACES_SEEN: RefCell<Places> = RefCell::new(Places {
        relations_version: 0,
        total_table: 0,
        seen: Vec::new(),
        hasher: foldhash::fast::RandomState::default(),
    });
}

impl Places {
    fn hash(&self, id: &[u8]) -> u64 {
        self.hasher.hash_one(id)
    }
}

/// The totals' table, open for adding.
pub struct Writer {
    tables: Tables,
    table: Table,
    /// As many as there were when it was first asked, under the lock that also keeps vacuum from truncating the table.
    blocks: OnceCell<u32>,
    keyed: OnceCell<Keyed>,
    node: i32,
}

impl Writer {
    pub fn open(tables: Tables) -> Writer {
        let table = Table::open(tables.total);
        Writer { tables, table, blocks: OnceCell::new(), keyed: OnceCell::new(), node: settings::node() }
    }

    /// Adds to the counter's total of this node, if that can be had now; makes it if there is none.
    pub fn try_add(&self, id: &[u8], delta: i64) -> Result<Outcome, CounterError> {
        let is_ours = |columns: &Columns<'_>| {
            columns.int(total_columns::NODE) == self.node && columns.text(total_columns::ID) == id
        };
        let read = |columns: &Columns<'_>| Before {
            value: columns.bigint(total_columns::VALUE),
            updated_at_us: columns.bigint(total_columns::UPDATED_AT),
        };
        let seen = match self.recall(id) {
            Recalled::PassOver => return Ok(Outcome::Held),
            Recalled::At(seen) => Some(seen),
            Recalled::Nothing => None,
        };
        if let Some(seen) = seen {
            // There is one live row of an id and node at most, so whatever carries ours leads to it, or to nothing.
            match place::follow(&self.table, seen.tid, is_ours, read) {
                Found::Free(candidate, before) => {
                    return Ok(self.add_to(id, candidate, before, delta, seen.passed_over));
                }
                Found::Held(tid) => {
                    self.remember(id, Seen::held(tid, seen.passed_over));
                    return Ok(Outcome::Held);
                }
                Found::Nothing => {}
            }
        }
        let keyed = self.keyed()?;
        let is_our_node = |columns: &Columns<'_>| columns.int(total_columns::NODE) == self.node;
        Ok(match latest::find_within(keyed, Range::Id(id), MAX_SEARCHED, is_our_node, read) {
            Some(Latest::Free(candidate, before)) => self.add_to(id, candidate, before, delta, 0),
            Some(Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine) | None => Outcome::Held,
            Some(Latest::Absent) => self.insert(id, delta),
        })
    }

    /// Makes the counter's total, unless somebody else does, or a restore may be about to.
    fn insert(&self, id: &[u8], delta: i64) -> Outcome {
        let new_rows = NewRows::UnlessRestored(u32::from(catalog::my_database()));
        if delta <= 0 || !new_rows.are_made() {
            return Outcome::Held;
        }
        let values = values(id, self.node, delta, process::statement_started_us());
        // Asked again where a restore that has begun meanwhile would find the row.
        match write::insert_unless_taken(&self.table, &values, || new_rows.are_made()) {
            Ok(tid) => {
                self.remember(id, Seen::free(tid, 0));
                Outcome::Added
            }
            Err(_) => Outcome::Held,
        }
    }

    fn add_to(
        &self,
        id: &[u8],
        candidate: Candidate<'_>,
        before: Before,
        delta: i64,
        passed_over: u8,
    ) -> Outcome {
        let Some(sum) = sum_to_write(before.value, delta) else {
            return Outcome::Held;
        };
        let change = [
            (total_columns::VALUE, Value::Bigint(sum)),
            // A long statement may have begun before the last change.
            (
                total_columns::UPDATED_AT,
                Value::Bigint(before.updated_at_us.max(process::statement_started_us())),
            ),
        ];
        match candidate.update(&change) {
            Ok(tid) => {
                self.remember(id, Seen::free(tid, passed_over / 2));
                Outcome::Added
            }
            // Somebody was faster between our look and our update.
            Err(_) => Outcome::Held,
        }
    }

    /// The index is opened only where it is needed.
    fn keyed(&self) -> Result<&Keyed, CounterError> {
        if let Some(keyed) = self.keyed.get() {
            return Ok(keyed);
        }
        let keyed = Keyed::total(self.tables, Access::Write)?;
        Ok(self.keyed.get_or_init(|| keyed))
    }

    fn recall(&self, id: &[u8]) -> Recalled {
        PLACES_SEEN.with_borrow_mut(|places| {
            let version = access::version();
            let table = u32::from(self.table.oid());
            if places.relations_version != version || places.total_table != table {
                // The table was rewritten, truncated or replaced: places in it mean nothing any more.
                places.seen.clear();
                places.relations_version = version;
                places.total_table = table;
            }
            let hash = places.hash(id);
            let Some(Some((remembered, seen))) = places.seen.get_mut(hash as usize % PLACES) else {
                return Recalled::Nothing;
            };
            if *remembered != hash {
                return Recalled::Nothing;
            }
            if let Some(left) = seen.passes_over.checked_sub(1) {
                seen.passes_over = left;
                return Recalled::PassOver;
            }
            let blocks = *self.blocks.get_or_init(|| self.table.blocks());
            match seen.tid.block < blocks || seen.tid.block < self.table.blocks() {
                true => Recalled::At(*seen),
                false => Recalled::Nothing,
            }
        })
    }

    fn remember(&self, id: &[u8], seen: Seen) {
        PLACES_SEEN.with_borrow_mut(|places| {
            if places.seen.is_empty() {
                // BOUND: a constant number of places.
                places.seen.resize(PLACES, None);
            }
            let hash = places.hash(id);
            places.seen[hash as usize % PLACES] = Some((hash, seen));
        });
    }
}

/// The new total, if it is to be written directly. What comes to 0 goes through compaction, which removes counters that no row refers to
/// any more; so does what falls below, since another node's total may make up for it.
fn sum_to_write(value: i64, delta: i64) -> Option<i64> {
    let sum = value.checked_add(delta)?;
    (delta == 0 || sum > 0 || (delta > 0 && sum < 0)).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::{MAX_PASSED_OVER, Seen, sum_to_write};
    use crate::pg::page::Tid;

    #[test]
    fn a_total_that_is_always_held_is_looked_at_seldom() {
        let tid = Tid { block: 1, offset: 1 };
        let mut seen = Seen::free(tid, 0);
        let mut passed_over = Vec::new();
        for _ in 0..8 {
            seen = Seen::held(tid, seen.passed_over);
            passed_over.push(seen.passes_over);
        }
        assert_eq!(passed_over, [1, 3, 7, 15, 31, 63, MAX_PASSED_OVER, MAX_PASSED_OVER]);
        assert_eq!(Seen::free(tid, seen.passed_over / 2).passes_over, 0);
    }

    #[test]
    fn nothing_comes_to_0_directly() {
        assert_eq!(sum_to_write(5, 1), Some(6));
        assert_eq!(sum_to_write(5, -4), Some(1));
        assert_eq!(sum_to_write(5, -5), None);
        assert_eq!(sum_to_write(-5, 5), None);
        assert_eq!(sum_to_write(-5, 4), Some(-1));
        assert_eq!(sum_to_write(-5, 6), Some(1));
        assert_eq!(sum_to_write(-5, -1), None);
        assert_eq!(sum_to_write(0, 0), Some(0));
        assert_eq!(sum_to_write(i64::MAX, 1), None);
    }
}
