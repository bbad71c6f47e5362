//! Reading boards: the top, the rank of a member, those around it.
//!
//! All of it is exact as of now while few members are hot: those are put in where they belong (`hot`); the top while up to a thousand
//! are, a rank up to a hundred. Where it is more, the top shows others as compaction has last seen them, and a rank has the member's own score as
//! it is now and those of the others as of then; but for members that a top has shown to this session as they were then: those are put in
//! as they are now, so that a rank agrees with the top, and the next top with both.

use super::board_rows;
use super::count_rows::{NODES, Nodes};
use super::errors::BoardError;
use super::hot::{self, Hot, Scores};
use super::known::{self, Rank, Stamp};
use super::member_rows::{MEMBERS, Members};
use super::ranked::{Moved, Ranked};
use super::ranking;
use super::sight::Sight;
use super::walk::Walk;
use super::windows;
use crate::counting::{change, read};
use crate::errors::{CounterError, FIRST_FREE_BYTE, MAX_ID_BYTES, check_prefix};
use crate::fallible;
use crate::owners;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access::{self, Tables};

const WHAT: &str = "members of a board";

/// Enters for reading a board. Errors: 42501, 42704, 55000.
pub(super) fn enter(prefix: &[u8]) -> Result<Tables, CounterError> {
    check_prefix(prefix)?;
    let tables = read::enter()?;
    access::lock_total_first(tables.total);
    board_rows::ready(prefix)?;
    Ok(tables)
}

/// The id of a member's counter. Errors: 22023 it is none.
fn id_of(prefix: &[u8], member: &[u8]) -> Result<Vec<u8>, CounterError> {
    check_prefix(prefix)?;
    let bytes = prefix.len() + member.len();
    match (member, prefix) {
        ([], _) => Err(BoardError::EmptyMember.into()),
        ([..FIRST_FREE_BYTE, ..], []) => Err(CounterError::ReservedId),
        _ if bytes > MAX_ID_BYTES => Err(BoardError::LongMember { bytes }.into()),
        // BOUND: an id.
        _ => Ok([prefix, member].concat()),
    }
}

/// Checks that board and member make an id. Errors: 22023.
pub fn check_member(prefix: &[u8], member: &[u8]) -> Result<(), CounterError> {
    id_of(prefix, member).map(drop)
}

/// Adds to a member's score.
pub fn increment(prefix: &[u8], member: &[u8], delta: i64) -> Result<(), CounterError> {
    let id = id_of(prefix, member)?;
    owners::check(&id)?;
    let entered = change::enter("counter_board_incr")?;
    let boards = board_rows::all()?;
    let is_declared = boards.iter().any(|board| board.prefix == prefix && board.is_declared);
    if !is_declared && windows::reading::lengths(prefix)?.is_empty() {
        // BOUND: a prefix.
        return Err(BoardError::NoBoard { prefix: prefix.to_vec() }.into());
    }
    change::increment(entered, &id, delta)
}

/// The first members of a board, with what is hot.
pub fn top(prefix: &[u8], most: usize) -> Result<Vec<Ranked>, CounterError> {
    check_prefix(prefix)?;
    read::enter()?;
    if let Some(top) = known::top(prefix, most) {
        return top;
    }
    let tables = enter(prefix)?;
    let members = Members::open(MEMBERS.lock(Access::Read)?, Access::Read)?;
    let stamp = Stamp::take(prefix);
    let mut hot = hot::gather_unless_too_hot(tables, prefix, hot::MOST_OF_TOP)?;
    let stamp = stamp.filter(|_| hot.is_whole);
    if hot.is_too_hot {
        put_in_shown(tables, prefix, &members, &mut hot)?;
    }
    if most == 0 {
        return Ok(Vec::new());
    }
    let ordered = members.all(prefix, known::about(prefix, most));
    let top = Walk::begin(ordered, hot.snapshot, &hot.scores)?.first(most)?;
    known::note_read(prefix, most, &top, |member| hot.scores.contains_key(member))?;
    if let Some(stamp) = stamp {
        known::remember_top(prefix, stamp, &top, most);
    }
    Ok(top)
}

/// A member whatever else is hot: the score that its rows on the board have, and the one that its counter has now.
fn now(
    tables: Tables,
    prefix: &[u8],
    members: &Members,
    member: &[u8],
    snapshot: &mut Snapshot,
) -> Result<Moved, CounterError> {
    let id = id_of(prefix, member)?;
    let in_rows = members.score(prefix, member, snapshot);
    let total = read::current_wide(tables, &id)?;
    let may_be_gone = total == 0 || in_rows.is_none();
    let is_gone = may_be_gone && read::standing(tables, &id)?.is_none();
    Ok(Moved { in_rows, now: (!is_gone).then(|| ranking::score(total)) })
}

/// Where more is hot than can be put in, those are that the session was shown before: what it is shown now does not fall behind.
fn put_in_shown(tables: Tables, prefix: &[u8], members: &Members, hot: &mut Hot) -> Result<(), CounterError> {
    for member in known::shown_hot(prefix)? {
        if !hot.scores.contains_key(&member) {
            let score = xact::in_scratch_memory(|| now(tables, prefix, members, &member, &mut hot.snapshot))?;
            fallible::reserve(&mut hot.scores, 1, WHAT)?;
            hot.scores.insert(member, score.now);
        }
    }
    Ok(())
}

fn with_sight<T>(
    prefix: &[u8],
    member: &[u8],
    look: impl FnOnce(&mut Sight<'_>) -> Result<T, CounterError>,
) -> Result<Option<T>, CounterError> {
    check_member(prefix, member)?;
    let tables = enter(prefix)?;
    let (members, nodes) = (MEMBERS.lock(Access::Read)?, NODES.lock(Access::Read)?);
    let members = Members::open(members, Access::Read)?;
    let stamp = Stamp::take(prefix);
    xact::in_scratch_memory(|| {
        let Hot { mut snapshot, mut scores, is_whole, is_too_hot } =
            hot::gather_unless_too_hot(tables, prefix, hot::MOST_OF_RANK)?;
        // What is remembered goes with what is read only while nothing has changed up to the snapshot.
        let stamp = stamp.filter(|stamp| is_whole && stamp.holds(prefix));
        let mut shown = Vec::new();
        if is_too_hot {
            // All of it or nothing: else ranks would go by who was found first. But for what the session was shown.
            scores = Scores::default();
            shown = known::shown_hot(prefix)?;
            shown.retain(|other| **other != *member);
        }
        if !is_whole {
            // It is looked at by itself.
            scores.remove(member);
        }
        let mut moved = fallible::with_room(scores.len() + shown.len() + 1, WHAT)?;
        for (other, now) in &scores {
            // BOUND: room was made above.
            moved.push(Moved { in_rows: members.score(prefix, other, &mut snapshot), now: *now });
        }
        fallible::reserve(&mut scores, shown.len(), WHAT)?;
        for other in shown {
            let other_now = now(tables, prefix, &members, &other, &mut snapshot)?;
            // BOUND: room was made above.
            moved.push(other_now);
            scores.insert(other, other_now.now);
        }
        let own = if is_whole {
            match scores.get(member) {
                Some(score) => *score,
                None => members.score(prefix, member, &mut snapshot),
            }
        } else {
            let own = now(tables, prefix, &members, member, &mut snapshot)?;
            // BOUND: room was made above.
            moved.push(own);
            own.now
        };
        let Some(own) = own else { return Ok(None) };
        fallible::reserve(&mut scores, 1, WHAT)?;
        scores.insert(fallible::boxed(member, WHAT)?, Some(own));
        let nodes = Nodes::open(nodes, prefix, &members, snapshot, Access::Read)?;
        look(&mut Sight { name: prefix, members: &members, nodes, member, own, moved, scores, stamp })
            .map(Some)
    })
}

/// The rank of a member with a score on a board that is otherwise as it was at a stamp.
fn rank_as_of(
    prefix: &[u8],
    (member, own): (&[u8], i64),
    stamp: Stamp,
    moved: Vec<Moved>,
) -> Result<i64, CounterError> {
    let (members, nodes) = (MEMBERS.lock(Access::Read)?, NODES.lock(Access::Read)?);
    let members = Members::open(members, Access::Read)?;
    let (scores, stamp) = (Scores::default(), Some(stamp));
    xact::in_scratch_memory(|| {
        let nodes = Nodes::open(nodes, prefix, &members, Snapshot::fresh(), Access::Read)?;
        Sight { name: prefix, members: &members, nodes, member, own, moved, scores, stamp }.own_rank()
    })
}

/// A member's rank: one more than there are members with higher scores. `None` where it is not on the board.
pub fn rank(prefix: &[u8], member: &[u8]) -> Result<Option<i64>, CounterError> {
    let id = id_of(prefix, member)?;
    let tables = read::enter()?;
    match known::rank(tables, prefix, &id)? {
        Rank::Known(rank) => return Ok(Some(rank)),
        Rank::Apart { score, stamp, moved } => {
            access::lock_total_first(tables.total);
            let rank = rank_as_of(prefix, (member, score), stamp, moved)?;
            if stamp.holds(prefix) {
                return Ok(Some(rank));
            }
        }
        Rank::Unknown => {}
    }
    with_sight(prefix, member, |sight| sight.own_rank())
}

/// A member, and those before and behind it, at most so many of each, in the board's order. Nothing where it is not on the board.
pub fn around(prefix: &[u8], member: &[u8], most: usize) -> Result<Vec<Ranked>, CounterError> {
    Ok(with_sight(prefix, member, |sight| sight.around(most))?.unwrap_or_default())
}
