//! Reading boards by windows: the top, the rank of a member, those around it; of the window under way, or of a finished one.
//!
//! As of other boards, all of it is exact as of now while few members are hot (`gathering`).

use super::gathering::{self, Gathered, Moved, Sighted};
use super::length::Length;
use super::score_rows::{SCORES, Scores};
use super::window_rows::{self, Window};
use crate::boards::board_rows::State;
use crate::boards::count_rows::{NODES, Nodes};
use crate::boards::errors::BoardError;
use crate::boards::hot;
use crate::boards::member_rows::{MEMBERS, Members};
use crate::boards::ranked::{self, Ranked};
use crate::boards::sight::Sight;
use crate::boards::walk::Walk;
use crate::counting::read;
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{self, Tables};

const WHAT: &str = "members of a board";

/// Whether what happened to a counter at a time is booked in a window; `None` where no board by windows has it.
pub fn keeps(id: &[u8], at_us: i64, now_us: i64) -> Result<Option<bool>, CounterError> {
    let windows = window_rows::all()?;
    let mut concerned = windows.iter().filter(|window| window.is_declared && window.member(id).is_some());
    let keeps = |window: &Window| window.began(at_us) >= window.oldest(now_us);
    Ok(concerned.clone().next().map(|_| concerned.any(keeps)))
}

/// The lengths of a prefix's windows.
pub fn lengths(prefix: &[u8]) -> Result<Vec<Length>, CounterError> {
    let windows = window_rows::all()?;
    let own = windows.iter().filter(|window| window.is_declared && window.prefix == prefix);
    // BOUND: four.
    Ok(own.map(|window| window.length).collect())
}

/// Enters for reading a board by windows. Errors: 42501, 42704, 55000.
fn enter(prefix: &[u8], length: Length) -> Result<(Tables, Window), CounterError> {
    check_prefix(prefix)?;
    let tables = read::enter()?;
    access::lock_total_first(tables.total);
    let window = window_rows::find(prefix, length)?.filter(|window| window.is_declared);
    // BOUND: a prefix that the caller has.
    let prefix = || fallible::copy(prefix, WHAT);
    match window {
        None => Err(BoardError::NoWindows { prefix: prefix()?, length: length.name() }.into()),
        Some(window) if window.state == Some(State::Ready) => Ok((tables, window)),
        Some(_) => Err(BoardError::BeingBuilt { prefix: prefix()? }.into()),
    }
}

/// The first members of the window that is under way, or of that of another time, if that is kept.
pub fn top(
    prefix: &[u8],
    length: Length,
    most: usize,
    at_us: Option<i64>,
) -> Result<Vec<Ranked>, CounterError> {
    let (tables, board) = enter(prefix, length)?;
    let now_us = process::now_us();
    let window = Sighted::at(&board, at_us.unwrap_or(now_us).max(board.oldest(now_us) - 1));
    if most == 0 || window.began_us < board.oldest(now_us) {
        return Ok(Vec::new());
    }
    let members = Members::open(MEMBERS.lock(Access::Read)?, Access::Read)?;
    let scores = Scores::open(SCORES.lock(Access::Read)?, Access::Read)?;
    xact::in_scratch_memory(|| {
        let Gathered { snapshot, moved, .. } =
            gathering::gather(tables, &window, (&scores, &members), hot::MOST_OF_TOP)?;
        let (moved, _) = apart(moved)?;
        Walk::begin(members.all(&window.name, None), snapshot, &moved)?.first(most)
    })
}

/// Scores of members that have moved, and what they have moved by.
fn apart(moved: Vec<Moved>) -> Result<(hot::Scores, Vec<ranked::Moved>), CounterError> {
    let mut scores = hot::Scores::default();
    fallible::reserve(&mut scores, moved.len(), WHAT)?;
    let mut moves = fallible::with_room(moved.len(), WHAT)?;
    for Moved { member, scores: of_member } in moved {
        // BOUND: room was made above.
        scores.insert(member, of_member.now);
        moves.push(of_member);
    }
    Ok((scores, moves))
}

fn with_sight<T>(
    prefix: &[u8],
    length: Length,
    member: &[u8],
    look: impl FnOnce(&mut Sight<'_>) -> Result<T, CounterError>,
) -> Result<Option<T>, CounterError> {
    let (tables, board) = enter(prefix, length)?;
    let window = Sighted::at(&board, process::now_us());
    let (members, nodes) = (MEMBERS.lock(Access::Read)?, NODES.lock(Access::Read)?);
    let members = Members::open(members, Access::Read)?;
    let scores = Scores::open(SCORES.lock(Access::Read)?, Access::Read)?;
    xact::in_scratch_memory(|| {
        let Gathered { mut snapshot, mut moved, is_whole, is_too_hot } =
            gathering::gather(tables, &window, (&scores, &members), hot::MOST_OF_RANK)?;
        let own = if is_whole {
            match moved.iter().find(|moved| *moved.member == *member) {
                Some(moved) => moved.scores.now,
                None => members.score(&window.name, member, &mut snapshot),
            }
        } else {
            // All of it or nothing, where it is too much: else ranks would go by who was found first. The member is looked at by itself.
            moved.retain(|moved| !is_too_hot && *moved.member != *member);
            let in_rows = members.score(&window.name, member, &mut snapshot);
            let now = gathering::own_score(tables, &window, &scores, member)?;
            let scores = ranked::Moved { in_rows, now };
            let own = Moved { member: fallible::boxed(member, WHAT)?, scores };
            fallible::push(&mut moved, own, WHAT)?;
            now
        };
        let Some(own) = own else { return Ok(None) };
        let (mut scores, moved) = apart(moved)?;
        fallible::reserve(&mut scores, 1, WHAT)?;
        scores.insert(fallible::boxed(member, WHAT)?, Some(own));
        let name = &window.name;
        let nodes = Nodes::open(nodes, name, &members, snapshot, Access::Read)?;
        look(&mut Sight { name, members: &members, nodes, member, own, moved, scores, stamp: None }).map(Some)
    })
}

/// A member's rank in the window under way: one more than there are members with higher scores. `None` where it is not on the board.
pub fn rank(prefix: &[u8], length: Length, member: &[u8]) -> Result<Option<i64>, CounterError> {
    with_sight(prefix, length, member, |sight| sight.own_rank())
}

/// A member in the window under way, and those before and behind it, at most so many of each, in the board's order. Nothing where it is not on
/// the board.
pub fn around(
    prefix: &[u8],
    length: Length,
    member: &[u8],
    most: usize,
) -> Result<Vec<Ranked>, CounterError> {
    Ok(with_sight(prefix, length, member, |sight| sight.around(most))?.unwrap_or_default())
}
