//! Boards are built and removed, and brought up to date after changes by others: the family's step of a compaction pass.
//!
//! A board is built in two walks: its members are written in the order of the counters, and then counted in the order of the board.
//! All state is in rows: a crash leaves an aborted piece, and the next pass goes on from where the last committed one ended. Since a score
//! is read anew each time, folds may bring members up to date before or after the first walk has come to them; of the second, folds
//! change the counts of what it has come to.
//!
//! BOUND: as many boards as there are, of a prefix each, and an id.

use std::time::Duration;

use super::board_rows::{self, Board, STATES, State};
use super::changed_rows::{self, CHANGED};
use super::count_rows::{NODES, Nodes};
use super::member_rows::{MEMBERS, Members};
use super::ranking;
use super::windows::score_rows::SCORES;
use super::windows::{length, scoring};
use crate::counting::reserved;
use crate::errors::CounterError;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access::{Tables, as_owner};
use crate::rows::keyed::Keyed;
use crate::rows::list::{self, Id, Smallest};
use crate::rows::total_columns;

/// Counters that one transaction adds to a board, or brings up to date.
const BATCH: usize = 5000;
/// Members that one transaction counts.
const COUNTED_BATCH: usize = 20_000;
/// Rows of a board that one transaction removes.
const REMOVED_BATCH: usize = 5000;

pub const RANK: Step =
    Step { name: "ranking boards", every: Duration::ZERO, is_essential: false, begin: || Box::new(Rank) };

/// What there is to do is in rows.
struct Rank;

impl Work for Rank {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        let done = Progress { is_done: true, ..Progress::default() };
        let can_write = || how.waits || (ranking::try_lock() && SCORES.try_lock(Access::Write));
        if board_rows::BOARD.find().is_none() || !can_write() {
            return Ok(done);
        }
        as_owner(tables, |_| {
            let boards = board_rows::all()?;
            for board in boards.iter().filter(|board| !is_settled(board)) {
                if advance(tables, board)? {
                    return Ok(Progress { rows: 1, ..Progress::default() });
                }
            }
            let table = CHANGED.lock(Access::Write)?;
            let ids = xact::in_scratch_memory(|| changed_rows::take(table, BATCH))?;
            if ids.is_empty() {
                return Ok(done);
            }
            // Those of windows come first.
            let (of_windows, totals_of) = ids.split_at(ids.partition_point(|id| length::is_name(id)));
            scoring::refresh_noted(of_windows)?;
            let all: Vec<&[u8]> = totals_of.iter().map(|id| &**id).collect();
            ranking::refresh(tables, &all)?;
            Ok(Progress { rows: ids.len() as u64, ..Progress::default() })
        })
    }
}

/// Whether there is nothing to build or remove.
fn is_settled(board: &Board) -> bool {
    board.is_declared && board.state == Some(State::Ready)
}

/// Builds, or removes, some more of a board. Returns whether there was anything to do: what somebody holds stays, and so does the board; a
/// later pass has it. The caller holds the compaction lock, or keeps writers out.
pub fn advance(tables: Tables, board: &Board) -> Result<bool, CounterError> {
    let states = STATES.lock(Access::Write)?;
    let set = |state: Option<&State>| board_rows::set_state(states, &board.prefix, state).map(|()| true);
    match &board.state {
        None => set(Some(&State::Building(Vec::new()))),
        Some(State::Building(upto)) if board.is_declared => {
            let ids = xact::in_scratch_memory(|| next_ids(tables, board, upto))?;
            ranking::refresh_ids(tables, board, &ids)?;
            match ids.last() {
                Some(last) if ids.len() == BATCH => set(Some(&State::Building(last.to_vec()))),
                // Nothing is counted: no member is empty.
                _ => set(Some(&State::Counting(i64::MAX, Vec::new()))),
            }
        }
        Some(State::Counting(..)) if board.is_declared => {
            let last = ranking::count_some(board, COUNTED_BATCH)?;
            set(Some(&last.map_or(State::Ready, |(score, member)| State::Counting(score, member.to_vec()))))
        }
        Some(State::Going) => match remove_some(&board.prefix)? {
            Left::Nothing => set(None),
            Left::More => Ok(true),
            Left::Held => Ok(false),
        },
        // Ended: its row was deleted.
        Some(State::Building(_) | State::Counting(..) | State::Ready) => set(Some(&State::Going)),
    }
}

/// The next counters of a board that have totals.
fn next_ids(tables: Tables, board: &Board, upto: &[u8]) -> Result<Vec<Id>, CounterError> {
    let totals = Keyed::total(tables, Access::Read)?;
    let mut smallest = Smallest::new(BATCH);
    // The prefix itself is no member; ids of families sort before all others.
    let after = upto.max(&board.prefix[..]).max(&reserved::LAST[..]);
    let prefix = &board.prefix[..];
    let mut snapshot = Snapshot::fresh();
    list::add_ids_of(&totals, total_columns::ID, (prefix, after), BATCH, &mut snapshot, &mut smallest)?;
    Ok(smallest.into_sorted())
}

/// What is left of a board after some of it was removed.
enum Left {
    Nothing,
    /// Perhaps more that can be removed.
    More,
    /// What others hold.
    Held,
}

/// Removes some of what there is of a board.
fn remove_some(prefix: &[u8]) -> Result<Left, CounterError> {
    let (members, nodes) = (MEMBERS.lock(Access::Write)?, NODES.lock(Access::Write)?);
    let members = Members::open(members, Access::Write)?;
    let nodes = Nodes::open(nodes, prefix, &members, Snapshot::fresh(), Access::Write)?;
    let of_members = members.remove_some(prefix, REMOVED_BATCH);
    let removed = if of_members > 0 { of_members } else { nodes.remove_some(REMOVED_BATCH) };
    xact::see_own_changes();
    Ok(match removed {
        0 if members.has_any(prefix) || nodes.has_any() => Left::Held,
        0 => Left::Nothing,
        _ => Left::More,
    })
}
