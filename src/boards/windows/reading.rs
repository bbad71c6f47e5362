//! Reading boards by windows: the top, the rank of a member, those around it; of the window under way, or of a finished one.
//!
//! As of other boards, all of it is exact as of now while few members are hot (`gathering`).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::gathering::{self, Gathered, Moved, Sighted};
use super::length::Length;
use super::score_rows::{SCORES, Scores};
use super::window_rows::{self, Window};
use crate::boards::board_rows::State;
use crate::boards::count_rows::{NODES, Nodes};
use crate::boards::errors::BoardError;
use crate::boards::hot;
use crate::boards::member_rows::{MEMBERS, Members};
use crate::boards::ranked::{self, Ranked, order};
use crate::boards::tree::{self, Store};
use crate::counting::read;
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{self, Tables};
use crate::rows::list::Id;

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
    let mut top: Vec<Ranked> = Vec::new();
    if most == 0 || window.began_us < board.oldest(now_us) {
        return Ok(top);
    }
    let members = Members::open(MEMBERS.lock(Access::Read)?, Access::Read)?;
    let scores = Scores::open(SCORES.lock(Access::Read)?, Access::Read)?;
    xact::in_scratch_memory(|| {
        let gathered = gathering::gather(tables, &window, (&scores, &members), hot::MOST_OF_TOP)?;
        let Gathered { mut snapshot, moved, .. } = gathered;
        let is_moved = index(&moved)?;
        // The last one first.
        let mut waiting = hot(&moved, |_, _| true)?;
        waiting.reverse();
        let mut ordered = members.all(&window.name, None);
        let mut next = None;
        // A scan that is asked again behind its end begins anew.
        let mut is_at_end = false;
        while top.len() < most {
            while next.is_none() && !is_at_end {
                match ordered.next(&mut snapshot) {
                    Some((member, _)) if is_moved.binary_search(&&*member).is_ok() => {}
                    Some(found) => next = Some(found),
                    None => is_at_end = true,
                }
            }
            let is_hot = match (&next, waiting.last()) {
                (Some(next), Some(waiting)) => order(waiting, next) == Ordering::Less,
                (None, waiting) => waiting.is_some(),
                (Some(_), None) => false,
            };
            let Some((member, score)) = (if is_hot { waiting.pop() } else { next.take() }) else { break };
            let rank = match top.last() {
                Some(last) if last.score == score => last.rank,
                _ => top.len() as i64 + 1,
            };
            fallible::push(&mut top, Ranked { rank, member, score }, WHAT)?;
        }
        Ok::<(), CounterError>(())
    })?;
    Ok(top)
}

/// Members that have moved, for looking them up.
fn index(moved: &[Moved]) -> Result<Vec<&[u8]>, CounterError> {
    let mut members = fallible::collect(moved.iter().map(|moved| &*moved.member), WHAT)?;
    members.sort_unstable();
    Ok(members)
}

/// Those of them that are on the board, in its order.
fn hot(moved: &[Moved], takes: impl Fn(&[u8], i64) -> bool) -> Result<Vec<(Id, i64)>, CounterError> {
    let mut hot = Vec::new();
    for moved in moved {
        if let Some(now) = moved.scores.now.filter(|now| takes(&moved.member, *now)) {
            fallible::push(&mut hot, (fallible::boxed(&moved.member, WHAT)?, now), WHAT)?;
        }
    }
    hot.sort_unstable_by(order);
    Ok(hot)
}

/// A window, open for looking for one member's rank.
struct Sight<'a> {
    name: &'a [u8],
    members: &'a Members,
    nodes: Nodes<'a>,
    /// The member, and its score as it is now.
    own: (Id, i64),
    moved: Vec<Moved>,
}

impl Sight<'_> {
    /// The rank of a score in the window as it is now.
    fn rank(&mut self, score: i64) -> Result<i64, CounterError> {
        let above = tree::above(score, |node| self.nodes.read(node))?;
        let mut rank = 1 + above.counted;
        if let Some(upto) = above.upto {
            let span = (upto, score.saturating_add(1));
            self.members.scores(self.name, span, self.nodes.snapshot(), |other| {
                rank += i64::from(other > score);
                ControlFlow::Continue(())
            });
        }
        Ok(rank + self.moved.iter().map(|moved| moved.scores.difference_above(score)).sum::<i64>())
    }

    /// The nearest members before (`Less`) or behind (`Greater`) the own one, hot or not, in the board's order.
    fn near(&mut self, side: Ordering, most: usize) -> Result<Vec<(Id, i64)>, CounterError> {
        let is_moved = index(&self.moved)?;
        let skips = |other: &[u8]| is_moved.binary_search(&other).is_ok() || *other == *self.own.0;
        let own = (&*self.own.0, self.own.1);
        let in_rows = match side {
            Ordering::Less => self.members.before(self.name, own, most, skips, self.nodes.snapshot())?,
            _ => self.members.behind(self.name, own, most, skips, self.nodes.snapshot())?,
        };
        let is_there = |other: &[u8], score: i64| {
            *other != *self.own.0 && self.own.1.cmp(&score).then_with(|| other.cmp(&self.own.0)) == side
        };
        let mut near = hot(&self.moved, is_there)?;
        fallible::reserve(&mut near, in_rows.len(), WHAT)?;
        near.extend(in_rows);
        near.sort_unstable_by(order);
        if side == Ordering::Less && near.len() > most {
            near.drain(..near.len() - most);
        }
        near.truncate(most);
        Ok(near)
    }
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
        let Some(score) = own else { return Ok(None) };
        let nodes = Nodes::open(nodes, &window.name, &members, snapshot, Access::Read)?;
        let own = (fallible::boxed(member, WHAT)?, score);
        look(&mut Sight { name: &window.name, members: &members, nodes, own, moved }).map(Some)
    })
}

/// A member's rank in the window under way: one more than there are members with higher scores. `None` where it is not on the board.
pub fn rank(prefix: &[u8], length: Length, member: &[u8]) -> Result<Option<i64>, CounterError> {
    with_sight(prefix, length, member, |sight| sight.rank(sight.own.1))
}

/// A member in the window under way, and those before and behind it, at most so many of each, in the board's order. Nothing where it is not on
/// the board.
pub fn around(
    prefix: &[u8],
    length: Length,
    member: &[u8],
    most: usize,
) -> Result<Vec<Ranked>, CounterError> {
    let around = with_sight(prefix, length, member, |sight| {
        let mut listed = sight.near(Ordering::Less, most)?;
        fallible::push(&mut listed, (fallible::boxed(member, WHAT)?, sight.own.1), WHAT)?;
        let behind = sight.near(Ordering::Greater, most)?;
        fallible::reserve(&mut listed, behind.len(), WHAT)?;
        listed.extend(behind);
        ranked::with_ranks(listed, |score| sight.rank(score))
    })?;
    Ok(around.unwrap_or_default())
}
