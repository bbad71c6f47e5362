//! What compaction has not taken in yet of a board: slot rows, buffered deltas, this transaction's own, changes by others.
//!
//! All of it is read as of one snapshot, and what is in memory as of that or later. A member it names has the score that it says, and
//! not the one in the board's rows.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use super::board_rows::Board;
use super::changed_rows::{self, CHANGED};
use super::ranking;
use crate::counting::{read, reserved, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::memory::{buffer, epochs};
use crate::pg::id_scan::Range;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{catalog, xact};
use crate::rows::access::{self, Keyed, Tables};
use crate::rows::list::Id;
use crate::rows::slot_columns;
use crate::rows::sum::{RowSum, for_each_visible};

const WHAT: &str = "members of boards";

/// Slot rows, and counters, that the top of a board has put in at most. What is hot beyond that shows when it is compacted.
pub const MOST_OF_TOP: usize = 10_000;
/// The same for a rank. Where more are hot it goes by what is compacted.
pub const MOST_OF_RANK: usize = 100;
/// How often a fold that comes in between is met.
const TRIES: usize = 4;

/// What a member that is hot has not got in its total rows.
#[derive(Clone, Copy, Default)]
struct Rest {
    delta: i128,
    /// It is a counter even without total rows.
    exists: bool,
}

type Rests = HashMap<Id, Rest, foldhash::fast::RandomState>;

/// Scores of hot members; `None` for those that are not on the board any more.
pub type Scores = HashMap<Id, Option<i64>, foldhash::fast::RandomState>;

/// A snapshot, and the hot members as of then.
pub struct Hot {
    pub snapshot: Snapshot,
    pub scores: Scores,
    /// There is no more that is hot.
    pub is_whole: bool,
}

/// Gathers what is hot on a board, about as much at most. Its tables are locked.
pub fn gather(tables: Tables, prefix: &[u8], most: usize) -> Result<Hot, CounterError> {
    access::lock_for_reading(tables);
    let (slots, totals) = (Keyed::slot(tables, Access::Read)?, Keyed::total(tables, Access::Read)?);
    let database = u32::from(catalog::my_database());
    // BOUND: a prefix.
    let board = Board { prefix: prefix.to_vec(), is_declared: true, state: None };
    let mut tries = 0;
    let (mut snapshot, (rests, is_whole)) = loop {
        tries += 1;
        let folded = epochs::folded_epoch(database);
        let mut snapshot = Snapshot::fresh();
        let rests = xact::in_scratch_memory(|| rests(tables, &slots, &board, most, &mut snapshot))?;
        if tries == TRIES || folded == epochs::folded_epoch(database) {
            break (snapshot, rests);
        }
    };
    let mut scores = Scores::default();
    fallible::reserve(&mut scores, rests.len(), WHAT)?;
    for (id, rest) in &rests {
        let Some(member) = board.member(id) else { continue };
        let score = xact::in_scratch_memory(|| score(&totals, id, *rest, &mut snapshot));
        // BOUND: room was made above.
        scores.insert(fallible::boxed(member, WHAT)?, score);
    }
    read::keep_memory_from_undercutting(tables, &snapshot, rests.keys().map(|id| &**id));
    Ok(Hot { snapshot, scores, is_whole })
}

fn score(totals: &Keyed, id: &[u8], rest: Rest, snapshot: &mut Snapshot) -> Option<i64> {
    let mut sum = RowSum::default();
    for_each_visible(totals, Range::Id(id), snapshot, |columns| {
        sum.add_total(columns);
        ControlFlow::Continue(())
    });
    (rest.exists || sum.exists()).then(|| ranking::score(sum.value + rest.delta))
}

fn rests(
    tables: Tables,
    slots: &Keyed,
    board: &Board,
    most: usize,
    snapshot: &mut Snapshot,
) -> Result<(Rests, bool), CounterError> {
    let mut rests = Rests::default();
    let is_whole = Cell::new(true);
    let mut add = |id: &[u8], delta: i128, exists: bool| -> Result<(), OutOfMemory> {
        if board.member(id).is_none() || reserved::is_reserved(id) {
            return Ok(());
        }
        if !rests.contains_key(id) {
            if rests.len() >= most {
                is_whole.set(false);
                return Ok(());
            }
            fallible::reserve(&mut rests, 1, WHAT)?;
            rests.insert(fallible::boxed(id, WHAT)?, Rest::default());
        }
        if let Some(rest) = rests.get_mut(id) {
            rest.delta += delta;
            rest.exists |= exists;
        }
        Ok(())
    };
    // This transaction's own come first: they show whatever else is hot.
    for (id, delta) in transaction::own_after_prefix(tables, &board.prefix)? {
        add(&id, i128::from(delta), true)?;
    }
    let changed = CHANGED.lock(Access::Read)?;
    changed_rows::each(changed, &board.prefix, snapshot, |id| {
        add(id, 0, false).or_raise();
        if is_whole.get() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if xact::in_recovery() || !read::is_recovered(tables) {
        // The journal may hold more.
        is_whole.set(false);
    } else {
        let database = u32::from(catalog::my_database());
        let relation = u32::from(tables.total);
        buffer::each_unfolded(database, relation, snapshot, |id, delta| add(id, i128::from(delta), true))?;
    }
    let mut left = most;
    // Ids of families sort before all others.
    let from = board.prefix.as_slice().max(&reserved::LAST);
    for_each_visible(slots, Range::From(from), snapshot, |columns| {
        let id = columns.text(slot_columns::ID);
        if !id.starts_with(&board.prefix) {
            return ControlFlow::Break(());
        }
        if left == 0 {
            is_whole.set(false);
            return ControlFlow::Break(());
        }
        left -= 1;
        add(id, i128::from(columns.bigint(slot_columns::DELTA)), true).or_raise();
        ControlFlow::Continue(())
    });
    Ok((rests, is_whole.get()))
}
