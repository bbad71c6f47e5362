//! Boards by windows: members ranked by what their counters gained in this hour, day, week or month.
//!
//! What goes into a counter's total is booked in the window of when it was counted, in the transaction in which it goes there, as in a series
//! (`family::followed`); that writes the member's score in the window, and its place among others. A window has members, order and
//! counts of its own under a name that says when it began. So nothing happens when one ends: the next amount goes to the next one, a
//! reader asks for that of the clock, and the finished one stays as it is, a dated copy, until it has been kept for as long as it is to be. What is late
//! still goes where it belongs.

pub mod declaring;
mod gathering;
mod keeping;
pub mod length;
mod moving;
pub mod reading;
pub mod score_rows;
pub mod scoring;
pub mod window_rows;

use crate::family::Family;
use crate::family::followed::Follower;
use crate::rows::emptying;

use self::score_rows::SCORES;
use self::window_rows::WINDOWS;

pub static FAMILY: Family = Family {
    counter_dropped: moving::forget,
    try_lock_to_drop: |_| moving::try_lock(),
    totals_moved: moving::move_scores,
    // What is a board stays one. Members and counts are emptied with those of other boards.
    forget_all: |_| emptying::truncate(&[SCORES]),
    totals_emptied: moving::empty,
    books_at: reading::keeps,
    follower: Some(Follower { table: WINDOWS, looks_at_totals: false, folded: scoring::book }),
    later_steps: &[keeping::KEEP],
    ..Family::NONE
};
