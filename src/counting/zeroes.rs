//! Counters that folding has just taken something from, or left at 0: they may be at 0, and where a cache keeps them no row refers to them then.
//!
//! BOUND: an id of at most 255 bytes, and as many ids as `MOST` says.
//!
//! Only the process that folds knows them. What it could not keep, it says so; what a crash makes it forget, nobody knows: `caches/sweeping` looks
//! for them.

use std::cell::{Cell, RefCell};

use super::{change, folding, read, transaction};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::session::session_local;
use crate::rows::access::Tables;
use crate::rows::list::Id;

/// BOUND: as many ids are remembered.
const MOST: usize = 65_536;
const WHAT: &str = "counters at 0";

session_local! {
    static LESSENED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
    /// Some could not be kept.
    static FORGOTTEN: Cell<bool> = const { Cell::new(false) };
}

/// A counter has become less, or is at 0.
pub(super) fn note(id: &[u8]) {
    LESSENED.with_borrow_mut(|ids| {
        let is_kept = ids.len() < MOST
            && fallible::boxed(id, WHAT).and_then(|id| fallible::push(ids, id, WHAT)).is_ok();
        if !is_kept {
            FORGOTTEN.set(true);
        }
    });
}

/// Whether some could not be kept since this was asked last.
pub fn has_forgotten() -> bool {
    FORGOTTEN.replace(false)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_told() {
        (0..=MOST as u32).for_each(|id| note(&id.to_be_bytes()));
        assert!(has_forgotten());
        assert!(!has_forgotten());
        assert_eq!(take(MOST + 1).len(), MOST);
    }
}
