//! Counters that folding has just taken something from, or left at 0: they may be at 0, and where a cache keeps them no row refers to them then.
//!
//! BOUND: an id of at most 255 bytes, and as many ids as `MOST` says.
//!
//! Only the process that folds knows them. What it forgets, or could not keep, stays a counter at 0 until it changes again.

use std::cell::RefCell;

use super::{change, folding, read, transaction};
use crate::errors::CounterError;
use crate::fallible;
use crate::rows::access::Tables;
use crate::rows::list::Id;

/// BOUND: as many ids are remembered.
const MOST: usize = 65_536;

thread_local! {
    static LESSENED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

/// A counter has become less, or is at 0.
pub(super) fn note(id: &[u8]) {
    LESSENED.with_borrow_mut(|ids| {
        // Where there is no memory for it, it stays a counter at 0.
        if ids.len() < MOST
            && let Ok(id) = fallible::boxed(id, "counters at 0")
        {
            let _ = fallible::push(ids, id, "counters at 0");
        }
    });
}

/// Takes out some that were noted; none when there are none.
pub fn take(limit: usize) -> Vec<Id> {
    LESSENED.with_borrow_mut(|ids| ids.split_off(ids.len().saturating_sub(limit)))
}

/// Removes a counter's rows if they come to 0. Whoever counts meanwhile is not waited for, and loses nothing: the rows that one
/// snapshot sees are taken away, and what they turn out to hold is put back. Returns whether it is gone.
pub fn remove_if_zero(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    if read::current_wide(tables, id)? != 0 || transaction::own(tables, id) != 0 {
        return Ok(false);
    }
    let recovered = folding::ensure_recovered(tables)?;
    let gone = change::empty_rows(&recovered, tables, id)?;
    if gone.amount != 0 {
        // BOUND: an id.
        transaction::add_to_rows_now(tables, vec![(id.to_vec(), gone.amount)])?;
    }
    Ok(gone.existed && gone.amount == 0)
}
