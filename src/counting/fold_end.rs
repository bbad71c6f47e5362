//! What a transaction that folds buffered deltas tells memory when it ends.
//!
//! The rows and what memory is told must agree, also where a savepoint's rollback takes the rows back. So the level is kept that the fold
//! belongs to; and PRE_COMMIT looks whether the row that says what is folded says what this transaction has written there.

use std::cell::Cell;

use super::state;
use crate::journal::position;
use crate::memory::epochs::{self, Cut, Opening};
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, process, xact};
use crate::settings;

session_local! {
    /// The nest level that what is noted goes with.
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

/// This transaction folds these epochs into rows.
pub fn note_fold(cut: Cut) {
    LEVEL.set(xact::nest_level());
    state::change(|state| state.folds = Some(cut));
}

/// Buffered mode opens when this transaction commits.
pub fn note_opening(opening: Opening) {
    LEVEL.set(xact::nest_level());
    state::change(|state| state.opens = Some(opening));
}

/// Whether memory is to be told anything.
pub fn is_told() -> bool {
    state::look(|state| state.folds.is_some() || state.opens.is_some()).unwrap_or(false)
}

/// PRE_COMMIT: forgets what memory was to be told where the rows have been taken back.
pub fn confirm() {
    if !is_told() {
        return;
    }
    let Some((folds, opens)) = state::look(|state| (state.folds, state.opens)) else { return };
    let Some(expected) = folds.map(|cut| cut.last).or(opens.map(|opening| opening.epoch)) else { return };
    xact::see_own_changes();
    let is_so = position::find()
        .is_some_and(|journal| position::read(journal, &mut Snapshot::fresh()) == Ok(expected));
    if !is_so {
        forget();
    }
}

fn forget() {
    abort();
    state::change(|state| {
        state.folds = None;
        state.opens = None;
    });
}

/// A savepoint was released: what went with it goes with its parent.
pub fn savepoint_released(level: u32) {
    if LEVEL.get() == level {
        LEVEL.set(level - 1);
    }
}

/// A savepoint was rolled back, and what was folded in it. Cannot fail.
pub fn savepoint_rolled_back(level: u32) {
    if is_told() && LEVEL.get() >= level {
        forget();
    }
}

/// COMMIT. Cannot fail.
pub fn commit(database: u32, folds: Option<Cut>, opens: Option<Opening>) {
    if let Some(cut) = folds {
        process::sleep_whole_ms(settings::debug_fold_window_ms(), || ());
        epochs::fold_committed(database, cut);
    }
    if let Some(opening) = opens {
        epochs::open(database, opening);
    }
}

/// ABORT, or the rows were taken back. Cannot fail.
pub fn abort() {
    if state::look(|state| state.folds.is_some()).unwrap_or(false) {
        epochs::fold_aborted(u32::from(catalog::my_database()));
    }
}
