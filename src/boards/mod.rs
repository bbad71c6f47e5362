//! Boards: counters under a prefix, ranked.
//!
//! A member's score is its counter's total. Rows have it in order, and counts of members by ranges of scores, written by compaction as it
//! folds. So a rank takes a look at a few rows however many members there are, and the top of a board is the beginning of an index, with
//! what is hot, in slot rows or memory, put in where it belongs. A backend remembers what it has read while nothing changes (`known`).

pub mod board_rows;
mod building;
mod changed_rows;
pub mod chosen;
mod count_rows;
pub mod declaring;
mod errors;
mod hot;
mod known;
mod member_rows;
mod ranges;
pub mod ranked;
mod ranking;
pub mod reading;
mod sight;
pub mod snapshots;
mod tree;
mod walk;
pub mod windows;

use std::cell::Cell;

use crate::errors::CounterError;
use crate::fallible;
use crate::family::Family;
use crate::family::followed::{Amount, Follower};
use crate::memory::{generations, workers};
use crate::pg::session::session_local;
use crate::pg::table::Access;
use crate::pg::{catalog, xact};
use crate::rows::access::Tables;
use crate::rows::emptying;

use self::board_rows::BOARD;
use self::changed_rows::CHANGED;
use self::count_rows::NODES;
use self::member_rows::MEMBERS;
use self::snapshots::SNAPSHOTS;

pub static FAMILY: Family = Family {
    transaction: Some(&HOOKS),
    follower: Some(Follower { table: BOARD, looks_at_totals: true, folded }),
    totals_changed: Some(changed_rows::note),
    try_lock_to_drop: |_| changed_rows::CHANGED.try_lock(Access::Write),
    // What is a board stays one.
    forget_all: |_| {
        generations::note_all();
        emptying::truncate(&[MEMBERS, NODES, CHANGED, SNAPSHOTS])
    },
    later_steps: &[building::RANK],
    ..Family::NONE
};

session_local! {
    /// The running transaction leaves work to the worker.
    static WAKES: Cell<bool> = const { Cell::new(false) };
}

static HOOKS: xact::Hooks = xact::Hooks {
    participant: xact::Participant::Boards,
    is_idle: || !WAKES.get(),
    pre_commit: || (),
    commit: || {
        if WAKES.take() {
            workers::want_pass(u32::from(catalog::my_database()));
        }
    },
    abort: || WAKES.set(false),
    pre_prepare: || (),
    prepared: || WAKES.set(false),
    // A pass too many does no harm.
    savepoint_released: |_| (),
    savepoint_rolled_back: |_| (),
};

/// Compaction has just folded these counters, in the running transaction.
fn folded(tables: Tables, amounts: &[&Amount], _: bool) -> Result<(), CounterError> {
    ranking::refresh(
        tables,
        &fallible::collect(amounts.iter().map(|amount| &*amount.id), "members of boards")?,
    )
}
