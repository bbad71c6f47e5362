//! A counter gets another id: it is renamed, or becomes part of another one.
//!
//! What is committed when this reads it moves, with visitors and likes, in one transaction: others see all of it or nothing.
//! Increments of the old id that commit later, or that are made later, wait for nobody and make the old id anew. Both ids are
//! taken in their order, so two that move the same ones wait for each other.
//!
//! BOUND: what is copied here without asking is an id of at most 255 bytes.

use super::change::{between_passes, remove_rows, tell};
use super::change_errors::ChangeError;
use super::dropping::fold_buffered;
use super::reserved::{self, Kind};
use super::{folding, id_locks, read, transaction};
use crate::errors::CounterError;
use crate::family::{self, Move, Operation};
use crate::pg::xact;
use crate::rows::access::Purpose;
use crate::rows::node;

const COUNT_UNDER_NEW_ID: &str =
    "Count under the new id from now on, and drop the old one with counter_drop once nobody needs it.";

/// Renames a counter, to an id that nothing has. Returns whether there was anything to rename.
pub fn rename(from: &[u8], to: &[u8]) -> Result<bool, CounterError> {
    move_counter("counter_rename", Move { from, to, merges: false })
}

/// Makes a counter part of another one, which need not exist. Returns whether there was anything to merge.
pub fn merge(from: &[u8], into: &[u8]) -> Result<bool, CounterError> {
    if from == into {
        return Err(ChangeError::IntoItself { id: from.to_vec() }.into());
    }
    move_counter("counter_merge", Move { from, to: into, merges: true })
}

fn move_counter(function: &'static str, moved: Move<'_>) -> Result<bool, CounterError> {
    let Move { from, to, merges } = moved;
    node::check_alone(function, COUNT_UNDER_NEW_ID)?;
    let level = xact::nest_level();
    let tables = transaction::enter_to_change(function, Purpose::Move, level)?;
    for id in [from.min(to), from.max(to)] {
        id_locks::take(tables, id)?;
    }
    let recovered = folding::ensure_recovered(tables)?;
    if !merges && read::standing(tables, to)?.is_some() {
        return Err(ChangeError::IsTaken { id: to.to_vec() }.into());
    }
    // What was filtered goes along.
    let filtered = reserved::id(Kind::Filtered, from).ok();
    let had_buffered = fold_buffered(&recovered, tables, from)?;
    if let Some(filtered) = &filtered {
        fold_buffered(&recovered, tables, filtered)?;
    }
    // Families may wait for others here: compaction is not kept out.
    let mut had_any = family::counter_moved(tables, moved)?;
    between_passes(tables, || {
        let mut from_totals = 0;
        for old in [Some(from), filtered.as_deref()].into_iter().flatten() {
            let is_counter = old == from;
            let had_own = transaction::has_own(tables, old);
            let own = transaction::own(tables, old);
            transaction::forget_own(old, level)?;
            let gone = remove_rows(&recovered, tables, old)?;
            let existed = had_own || gone.existed || gone.unfolded != 0 || (is_counter && had_buffered);
            if !existed {
                continue;
            }
            had_any = true;
            let amount = gone.amount + i128::from(own);
            if is_counter {
                from_totals = gone.from_totals;
                transaction::add_wide(tables, to, amount, level)?;
                tell(from, -amount, Operation::Drop, None)?;
                tell(to, amount, Operation::Set, None)?;
            } else {
                transaction::add_wide(tables, &reserved::id(Kind::Filtered, to)?, amount, level)?;
            }
        }
        had_any |= family::totals_moved(tables, moved, from_totals)?;
        if merges && had_any {
            // Refused here rather than found by the next reader.
            read::current(tables, to)?;
        }
        Ok(had_any)
    })
}
