//! Which board of a prefix is meant: the one for ever, or one by windows.

use super::board_rows;
use super::errors::BoardError;
use super::ranked::Ranked;
use super::reading;
use super::snapshots;
use super::windows::length::Length;
use super::windows::{self, declaring};
use crate::counting::read;
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::pg::interval::Interval;
use crate::rows::access;

/// A board of a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    ForEver,
    By(Length),
}

/// The board that is named, or the only one that there is; the one for ever where there is one. Errors: 22023; 42501 the caller may not read
/// counters; 42P08 there are several others. Copies are of those for ever, and have rights of their own.
fn choose(prefix: &[u8], by: Option<&[u8]>, is_of_copies: bool) -> Result<Chosen, CounterError> {
    if let Some(by) = by {
        return declaring::length(by).map(Chosen::By);
    }
    check_prefix(prefix)?;
    // Before anything is looked at: what boards there are is not for everybody.
    match read::enter() {
        Ok(tables) => access::lock_total_first(tables.total),
        Err(_) if is_of_copies => return Ok(Chosen::ForEver),
        Err(refused) => return Err(refused),
    }
    if board_rows::all()?.iter().any(|board| board.is_declared && board.prefix == prefix) {
        return Ok(Chosen::ForEver);
    }
    match windows::reading::lengths(prefix)?[..] {
        // Whoever reads it says that there is none.
        [] => Ok(Chosen::ForEver),
        [length] => Ok(Chosen::By(length)),
        _ => Err(BoardError::WhichWindows { prefix: fallible::copy(prefix, "a prefix")? }.into()),
    }
}

/// Declares a board. Returns whether there was none, or it is kept for another time now.
pub fn declare(prefix: &[u8], by: Option<&[u8]>, keep: Option<Interval>) -> Result<bool, CounterError> {
    match (by, keep) {
        (Some(by), keep) => declaring::declare(prefix, declaring::length(by)?, keep),
        (None, None) => super::declaring::declare(prefix),
        // How long windows are kept, of a board that has none.
        (None, Some(_)) => Err(CounterError::NullArgument { argument: "by" }),
    }
}

/// Ends a board. Returns whether there was one.
pub fn end(prefix: &[u8], by: Option<&[u8]>) -> Result<bool, CounterError> {
    match by {
        Some(by) => declaring::end(prefix, declaring::length(by)?),
        None => super::declaring::end(prefix),
    }
}

/// The first members of a board: now, or of the window that another time is in, or of the last copy that was taken by then.
pub fn top(
    prefix: &[u8],
    most: usize,
    at_us: Option<i64>,
    by: Option<&[u8]>,
) -> Result<Vec<Ranked>, CounterError> {
    match (choose(prefix, by, at_us.is_some())?, at_us) {
        (Chosen::By(length), at_us) => windows::reading::top(prefix, length, most, at_us),
        (Chosen::ForEver, None) => reading::top(prefix, most),
        (Chosen::ForEver, Some(at_us)) => snapshots::top(prefix, most, at_us),
    }
}

/// A member's rank.
pub fn rank(prefix: &[u8], member: &[u8], by: Option<&[u8]>) -> Result<Option<i64>, CounterError> {
    match choose(prefix, by, false)? {
        Chosen::By(length) => {
            reading::check_member(prefix, member)?;
            windows::reading::rank(prefix, length, member)
        }
        Chosen::ForEver => reading::rank(prefix, member),
    }
}

/// A member, and those before and behind it.
pub fn around(
    prefix: &[u8],
    member: &[u8],
    most: usize,
    by: Option<&[u8]>,
) -> Result<Vec<Ranked>, CounterError> {
    match choose(prefix, by, false)? {
        Chosen::By(length) => {
            reading::check_member(prefix, member)?;
            windows::reading::around(prefix, length, member, most)
        }
        Chosen::ForEver => reading::around(prefix, member, most),
    }
}
