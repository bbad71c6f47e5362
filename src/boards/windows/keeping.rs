//! Windows are built after a restore, forgotten when they have been kept for long enough, and removed with their board: the family's step of a
//! compaction pass, in bounded pieces. All state is in rows.
//!
//! BOUND: as many boards as there are, of a prefix each, and an id.

use std::time::Duration;

use super::length;
use super::score_rows::{SCORES, Scores};
use super::scoring;
use super::window_rows::{self, WINDOWS, Window};
use crate::boards::board_rows::{self, STATES, State};
use crate::boards::count_rows::{NODES, Nodes};
use crate::boards::member_rows::{MEMBERS, Members};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::{lock, process, xact};
use crate::rows::access::{Tables, as_owner};

/// Members that one transaction adds.
const BATCH: usize = 5000;
/// Rows that one transaction removes.
const REMOVED_BATCH: usize = 5000;

pub const KEEP: Step = Step {
    name: "keeping boards by windows",
    every: Duration::from_secs(1),
    is_essential: false,
    begin: || Box::new(Keep),
};

struct Keep;

impl Work for Keep {
    fn next(&mut self, tables: Tables, how: How) -> Result<Progress, CounterError> {
        let done = Progress { is_done: true, ..Progress::default() };
        let windows = window_rows::all()?;
        if windows.is_empty() || (!how.waits && !try_lock()) {
            return Ok(done);
        }
        as_owner(tables, |_| {
            for window in windows.iter() {
                if do_some(window, how)? {
                    return Ok(Progress { rows: 1, ..Progress::default() });
                }
            }
            Ok(done)
        })
    }
}

/// Whether all tables can be written without waiting for anybody.
fn try_lock() -> bool {
    [WINDOWS, STATES, MEMBERS, NODES, SCORES]
        .iter()
        .all(|table| table.find().is_some_and(|table| lock::try_lock_table(table, Access::Write)))
}

/// Does a piece of what there is to do of a board. Returns whether there was anything.
fn do_some(window: &Window, how: How) -> Result<bool, CounterError> {
    let scores = Scores::open(SCORES.lock(Access::Write)?, Access::Write)?;
    let states = STATES.lock(Access::Write)?;
    let head = window.head();
    let set = |state: Option<&State>| xact::in_scratch_memory(|| board_rows::set_state(states, &head, state));
    match (&window.state, window.is_declared) {
        // A restore may be about to bring scores.
        (None | Some(State::Building(_)), true) if !how.new_rows.are_made() => Ok(false),
        (None, true) => set(Some(&State::Building(Vec::new()))).map(|()| true),
        (Some(State::Building(upto)), true) => {
            let next = build_some(&scores, &head, upto)?;
            set(Some(&next.map_or(State::Ready, State::Building))).map(|()| true)
        }
        (Some(_), true) => {
            let oldest = window.name(window.oldest(process::now_us()));
            remove_some(&scores, &head, Some(&oldest))
        }
        (_, false) => {
            let removed = remove_some(&scores, &head, None)?;
            let is_gone = !removed && scores.first_window(&head, &head, &mut Snapshot::fresh()).is_none();
            if is_gone {
                set(None)?;
            }
            // What somebody holds stays, and so does the board: a later pass has it.
            Ok(removed || is_gone)
        }
    }
}

/// Brings the next members up to date, from one window to the next. Returns how far that is; `None` at the end.
fn build_some(scores: &Scores, head: &[u8], upto: &[u8]) -> Result<Option<Vec<u8>>, CounterError> {
    let mut snapshot = Snapshot::fresh();
    // The name of a window, and the last member of it that is built.
    let (window, after) = match length::read(upto) {
        Some(named) => (Some(fallible::boxed(named.name, "a window")?), named.rest),
        None => (scores.first_window(head, head, &mut snapshot), &[][..]),
    };
    let Some(window) = window else { return Ok(None) };
    let members = scores.members_after(&window, after, BATCH, &mut snapshot)?;
    let all = fallible::collect(members.iter().map(|member| &**member), "members of a board")?;
    scoring::refresh(scores, &window, &all)?;
    Ok(match members.last() {
        Some(last) if members.len() == BATCH => Some([&window[..], last].concat()),
        _ => scores.window_behind(head, &window, &mut snapshot).map(Vec::from),
    })
}

/// Removes some of what there is of the windows before one, or all: what is made of their scores first. Returns whether it removed anything:
/// what others hold it leaves.
fn remove_some(scores: &Scores, head: &[u8], before: Option<&[u8]>) -> Result<bool, CounterError> {
    let members = Members::open(MEMBERS.lock(Access::Write)?, Access::Write)?;
    let nodes = NODES.lock(Access::Write)?;
    let mut snapshot = Snapshot::fresh();
    let mut removed = 0;
    let mut next = scores.first_window(head, head, &mut snapshot);
    while let Some(window) = next.filter(|window| before.is_none_or(|before| **window < *before)) {
        process::check_for_interrupts();
        let nodes = Nodes::open(nodes, &window, &members, Snapshot::fresh(), Access::Write)?;
        // The scores last, and not before all else is gone: they say that there is such a window.
        let of_scores = |most| {
            xact::see_own_changes();
            let is_last = !members.has_any(&window) && !nodes.has_any();
            if is_last { scores.remove_some(&window, most) } else { 0 }
        };
        for remove in
            [&|most| members.remove_some(&window, most), &|most| nodes.remove_some(most), &of_scores]
                as [&dyn Fn(usize) -> usize; 3]
        {
            removed += remove(REMOVED_BATCH - removed);
            if removed == REMOVED_BATCH {
                xact::see_own_changes();
                return Ok(true);
            }
        }
        next = scores.window_behind(head, &window, &mut snapshot);
    }
    xact::see_own_changes();
    Ok(removed > 0)
}
