//! A board begins and ends.
//!
//! To begin keeps writers out of counter_ext.total until it is committed: nobody is half way, and whoever counts after that follows
//! the board, so that what he counts comes to its members through compaction. A small board is built at once, a large one by the
//! passes after that, in bounded pieces, while counting goes on.

use super::board_rows::{self, BOARD, Board, STATES, State};
use super::building;
use crate::counting::{folding, following, transaction};
use crate::errors::{CounterError, check_prefix};
use crate::memory::is_attached;
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{self, Tables, as_owner};

/// Pieces of a board that are built at once.
const PIECES: usize = 8;

/// Declares a board. Returns whether there was none.
pub fn declare(prefix: &[u8]) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    transaction::check_may_change("counter_board")?;
    let tables = access::tables()?;
    // Before the lock, which keeps everybody out, and after it.
    let table = BOARD.find().ok_or(CounterError::NotInstalled)?;
    BOARD.check_rights(table, Rights::INSERT, "INSERT")?;
    folding::ensure_recovered_before(tables, Access::AgainstWriters)?;
    following::keep_writers_out()?;
    let table = BOARD.enter_to_write(Rights::INSERT, "INSERT")?;
    if !xact::in_scratch_memory(|| board_rows::add(table, prefix))? {
        return Ok(false);
    }
    as_owner(tables, |_| begin(tables, prefix))?;
    Ok(true)
}

fn begin(tables: Tables, prefix: &[u8]) -> Result<(), CounterError> {
    let states = STATES.lock(Access::Write)?;
    // What is left of an earlier one nobody has followed meanwhile.
    if find(prefix)?.is_some_and(|board| board.state.is_some()) {
        board_rows::set_state(states, prefix, Some(&State::Going))?;
    }
    for _ in 0..PIECES {
        process::check_for_interrupts();
        let Some(board) = find(prefix)? else { return Ok(()) };
        if board.state == Some(State::Ready) {
            return Ok(());
        }
        if !xact::in_scratch_memory(|| building::advance(tables, &board))? {
            break;
        }
    }
    wake_at_commit();
    Ok(())
}

fn find(prefix: &[u8]) -> Result<Option<Board>, CounterError> {
    let boards = board_rows::all()?;
    Ok(boards.iter().find(|board| board.prefix == prefix).cloned())
}

/// Ends a board. Returns whether there was one. Its rows are removed by the passes after that.
pub fn end(prefix: &[u8]) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    transaction::check_may_change("counter_unboard")?;
    let table = BOARD.enter_to_write(Rights::DELETE, "DELETE")?;
    let was_there = xact::in_scratch_memory(|| board_rows::remove(table, prefix))?;
    if was_there {
        wake_at_commit();
    }
    Ok(was_there)
}

/// A board was changed by hand: what was built of it may be out of date. Writers are kept out.
pub fn changed_by_hand(prefix: &[u8]) -> Result<(), CounterError> {
    let tables = access::tables()?;
    let states = STATES.lock(Access::Write)?;
    if find(prefix)?.is_some_and(|board| board.state.is_some()) {
        as_owner(tables, |_| {
            xact::in_scratch_memory(|| board_rows::set_state(states, prefix, Some(&State::Going)))
        })?;
    }
    Ok(())
}

/// There is work for the worker.
pub(super) fn wake_at_commit() {
    super::WAKES.set(is_attached());
    xact::join(xact::Participant::Boards);
}
