//! Members of boards are brought up to date with the totals of their counters.
//!
//! A score is read anew from the counter's rows rather than added to: it does not matter how often that is done, nor what else has changed
//! meanwhile. It happens in the transaction that has changed the rows, a fold, so that a snapshot sees total and score agree; or, after
//! changes by others, soon after (`changed_rows`). Whoever does it holds the compaction lock, or keeps writers, the worker among them, out.

use std::ops::ControlFlow;

use super::board_rows::{self, BOARD, Board, STATES, State};
use super::changed_rows::CHANGED;
use super::count_rows::{NODES, Nodes};
use super::member_rows::{MEMBERS, Members};
use super::tree::{self, Change, Counted};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed;
use crate::pg::id_scan::Range;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{lock, xact};
use crate::rows::access::Tables;
use crate::rows::keyed::Keyed;
use crate::rows::list::Id;
use crate::rows::sum::{RowSum, for_each_visible};

const WHAT: &str = "members of boards";

/// Brings the members that these ids stand for up to date, on each board that has them.
pub fn refresh(tables: Tables, ids: &[&[u8]]) -> Result<(), CounterError> {
    let boards = board_rows::all()?;
    for board in boards.iter().filter(|board| board.is_kept()) {
        let own = ids.iter().copied().filter(|id| board.member(id).is_some());
        let mut own = fallible::collect(own, WHAT)?;
        own.sort_unstable();
        own.dedup();
        refresh_board(tables, board, &own)?;
    }
    Ok(())
}

/// As `refresh`, of one board, whose members these ids are, each once.
pub fn refresh_board(tables: Tables, board: &Board, ids: &[&[u8]]) -> Result<(), CounterError> {
    let Some(first) = ids.first() else { return Ok(()) };
    followed::note_change(first);
    let (members, nodes) = (MEMBERS.lock_in_time(Access::Write)?, NODES.lock_in_time(Access::Write)?);
    // What this transaction has just folded is to be seen.
    xact::see_own_changes();
    let members = Members::open(members, Access::Write)?;
    let totals = Keyed::total(tables, Access::Read)?;
    let counted = board.counted();
    let mut changes: Vec<Change> = fallible::with_room(ids.len(), WHAT)?;
    let mut snapshot = Snapshot::fresh();
    for id in ids {
        let Some(member) = board.member(id) else { continue };
        let after = xact::in_scratch_memory(|| total(&totals, id, &mut snapshot));
        let before = xact::in_scratch_memory(|| members.set(&board.prefix, member, after))?;
        let is_counted = |score: &i64| counted.has(*score, member);
        let change = Change { before: before.filter(is_counted), after: after.filter(is_counted) };
        if change.before != change.after {
            // BOUND: room was made above.
            changes.push(change);
        }
    }
    drop(snapshot);
    if !changes.is_empty() {
        xact::see_own_changes();
        let nodes = Nodes::open(nodes, &board.prefix, &members, Snapshot::fresh(), Access::Write)?;
        xact::in_scratch_memory(|| tree::apply(&mut nodes.of(counted), &changes))?;
    }
    xact::see_own_changes();
    Ok(())
}

/// Counts the next members of a board, at most so many. Returns the last one; `None` where all are counted.
pub fn count_some(board: &Board, most: usize) -> Result<Option<(i64, Id)>, CounterError> {
    let Some(State::Counting(score, member)) = &board.state else { return Ok(None) };
    let (members, nodes) = (MEMBERS.lock_in_time(Access::Write)?, NODES.lock_in_time(Access::Write)?);
    let members = Members::open(members, Access::Write)?;
    let mut snapshot = Snapshot::fresh();
    let mut next = members.behind(&board.prefix, (member, *score), most, |_| false, &mut snapshot)?;
    drop(snapshot);
    let changes =
        fallible::collect(next.iter().map(|(_, score)| Change { before: None, after: Some(*score) }), WHAT)?;
    let last = next.pop().map(|(member, score)| (score, member));
    if let Some((score, member)) = &last {
        let nodes = Nodes::open(nodes, &board.prefix, &members, Snapshot::fresh(), Access::Write)?;
        xact::in_scratch_memory(|| tree::apply(&mut nodes.of(Counted::Upto(*score, member)), &changes))?;
        xact::see_own_changes();
    }
    Ok(last.filter(|_| changes.len() == most))
}

/// The score of a counter: what its total rows come to, `None` where it has none.
fn total(totals: &Keyed, id: &[u8], snapshot: &mut Snapshot) -> Option<i64> {
    let mut sum = RowSum::default();
    for_each_visible(totals, Range::Id(id), snapshot, |columns| {
        sum.add_total(columns);
        ControlFlow::Continue(())
    });
    sum.exists().then(|| score(sum.value))
}

/// A total as a score: one outside bigint is as high, or as low, as bigint goes.
pub fn score(total: i128) -> i64 {
    total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Whether the tables of boards can be written without waiting for anybody. Once they are locked they stay so to the end of the
/// transaction.
pub fn try_lock() -> bool {
    [BOARD, STATES, MEMBERS, NODES, CHANGED]
        .iter()
        .all(|table| table.find().is_some_and(|table| lock::try_lock_table(table, Access::Write)))
}

/// The same for ids that are owned.
pub fn refresh_ids(tables: Tables, board: &Board, ids: &[Id]) -> Result<(), CounterError> {
    refresh_board(tables, board, &fallible::collect(ids.iter().map(|id| &**id), WHAT)?)
}
