//! Counters that are dropped, or get another id, and their scores in the windows that are under way. Finished windows stay as they are.
//!
//! The counter's rows are gone already, as far as this transaction could have them; what could not be deleted is folded away later, and booked
//! then. So what a snapshot sees left in totals is booked in the place of what is taken: it is what later folds take away.
//!
//! BOUND: the name of a window and a member.

use super::length::LEAD;
use super::score_rows::{SCORES, Scores};
use super::window_rows::{self, Window};
use crate::boards::changed_rows::{self, CHANGED};
use crate::boards::count_rows::{NODES, Nodes};
use crate::boards::member_rows::{MEMBERS, Members};
use crate::errors::CounterError;
use crate::family::Move;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{self, Tables};
use crate::rows::emptying;
use crate::rows::sum::Reader;

/// Locks what a drop writes, for who waits for nobody. Returns whether it could.
pub fn try_lock() -> bool {
    SCORES.try_lock(Access::Write) && CHANGED.try_lock(Access::Write)
}

/// Takes a counter off the windows under way. Returns whether it was on any.
pub fn forget(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    let mut was_there = false;
    for window in concerned(id)? {
        was_there |= take(tables, &window, id)?.is_some();
    }
    Ok(was_there)
}

fn concerned(id: &[u8]) -> Result<Vec<Window>, CounterError> {
    let windows = window_rows::all()?;
    let concerned = windows.iter().filter(|window| window.is_declared && window.member(id).is_some());
    // BOUND: boards that an id is on, four for each of its beginnings.
    Ok(concerned.cloned().collect())
}

/// Takes a counter off the window under way; its score there.
fn take(tables: Tables, window: &Window, id: &[u8]) -> Result<Option<i128>, CounterError> {
    let Some(member) = window.member(id) else { return Ok(None) };
    let name = window.name(window.began(process::now_us()));
    let scores = Scores::open(SCORES.lock_in_time(Access::Write)?, Access::Write)?;
    let reader = Reader::open(tables)?;
    let (taken, left) = xact::in_scratch_memory(|| {
        let mut snapshot = Snapshot::fresh();
        let taken = scores.take(&name, member, &mut snapshot);
        let left = reader.own_totals(id, &mut snapshot);
        xact::see_own_changes();
        if left != 0 {
            scores.add(&name, member, left);
        }
        (taken, left)
    });
    if taken.is_some() || left != 0 {
        changed_rows::note_member(&name, member)?;
    }
    xact::see_own_changes();
    Ok(taken)
}

/// A counter's scores in the windows under way become another one's. All that the counter came to is added to the other one's total, and
/// booked there when that is folded: so as much as was in its total is taken off, but for the score.
pub fn move_scores(tables: Tables, moved: Move<'_>, from_totals: i128) -> Result<bool, CounterError> {
    let mut taken = Vec::new();
    for window in concerned(moved.from)? {
        if let Some(score) = take(tables, &window, moved.from)? {
            taken.push((window.length, score));
        }
    }
    let others = concerned(moved.to)?;
    if others.is_empty() {
        return Ok(!taken.is_empty());
    }
    // What could not be deleted was in totals too.
    let reader = Reader::open(tables)?;
    let left = xact::in_scratch_memory(|| reader.own_totals(moved.from, &mut Snapshot::fresh()));
    drop(reader);
    let came_to = from_totals + left;
    for window in others {
        let Some(member) = window.member(moved.to) else { continue };
        let of_same = taken.iter().find(|(length, _)| *length == window.length);
        let score = of_same.map_or(0, |(_, score)| *score);
        if score == came_to && of_same.is_none() {
            continue;
        }
        let name = window.name(window.began(process::now_us()));
        let scores = Scores::open(SCORES.lock_in_time(Access::Write)?, Access::Write)?;
        xact::in_scratch_memory(|| scores.add(&name, member, score - came_to));
        xact::see_own_changes();
        changed_rows::note_member(&name, member)?;
    }
    Ok(!taken.is_empty())
}

/// All counters are nothing: so are all windows. Nobody else counts, or compacts.
pub fn empty(tables: Tables) -> Result<(), CounterError> {
    access::as_owner(tables, |_| {
        let scores = Scores::open(SCORES.lock(Access::Write)?, Access::Write)?;
        let members = Members::open(MEMBERS.lock(Access::Write)?, Access::Write)?;
        let nodes = NODES.lock(Access::Write)?;
        let mut snapshot = Snapshot::fresh();
        let mut next = scores.first_window(&[LEAD], &[LEAD], &mut snapshot);
        while let Some(window) = next {
            let nodes = Nodes::open(nodes, &window, &members, Snapshot::fresh(), Access::Write)?;
            members.remove_some(&window, usize::MAX);
            nodes.remove_some(usize::MAX);
            next = scores.window_behind(&[LEAD], &window, &mut snapshot);
        }
        xact::see_own_changes();
        Ok::<(), CounterError>(())
    })?;
    emptying::empty(tables, &[SCORES])
}
