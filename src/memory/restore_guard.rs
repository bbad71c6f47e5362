//! Restores of dumps, which the worker keeps out of the way of.
//!
//! A dump has slots before totals and visits after visitors; what compaction would make of the rows that came first would be
//! in the way of those to come.
//!
//! Contract: atomics alone. A session notes itself before it inserts its first row, so whoever sees such a row sees the note
//! too. A place is one word, a process id and how often it was noted. It is taken and renewed with compare-and-swap, and given up by
//! whoever finds its session gone or idle: only if nobody has renewed it since he looked. A crash makes the cells anew, and ends the
//! sessions as well.

use std::sync::atomic::{AtomicU64, Ordering};

use super::databases;
use super::layout::RESTORERS;
use crate::pg::process;

/// A session that seemed to restore a dump does so no more when it has been idle for this long.
const IDLE_US: i64 = 5_000_000;

/// Whether compaction makes rows that are not there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewRows {
    Made,
    /// While this database is being restored they are not, and what would have gone there stays where it is.
    UnlessRestored(u32),
}

impl NewRows {
    /// Asked after the rows that they would be made of have been seen.
    pub fn are_made(self) -> bool {
        match self {
            NewRows::Made => true,
            NewRows::UnlessRestored(database) => !is_under_way(database),
        }
    }
}

/// What a place says: whose it is, and how often it was taken or renewed. 0: nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note(u64);

impl Note {
    fn of(place: &AtomicU64) -> Option<Note> {
        let word = place.load(Ordering::SeqCst);
        (word as u32 != 0).then_some(Note(word))
    }

    fn pid(self) -> u32 {
        self.0 as u32
    }

    /// Takes a place that is nobody's, or renews this process's own.
    fn take(place: &AtomicU64, me: u32) -> bool {
        let renewed = |word: u64| (word >> 32).wrapping_add(1) << 32 | u64::from(me);
        let may = |word: u64| word as u32 == 0 || word as u32 == me;
        place
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |word| may(word).then(|| renewed(word)))
            .is_ok()
    }

    /// Empties the place, unless it has been taken or renewed since it said this.
    fn give_up(self, place: &AtomicU64) -> bool {
        let nobodys = self.0 >> 32 << 32;
        place.compare_exchange(self.0, nobodys, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// This process inserts rows into our tables by hand. Cannot fail.
pub fn note(database: u32) {
    if !databases::register(database) {
        return;
    }
    databases::with(database, |cell| {
        let me = process::my_pid() as u32;
        let owner = |place: &usize| Note::of(&cell.restored_by[*place]).map(Note::pid);
        let take = |place: &usize| {
            // First, so that nobody finds the place taken and idle.
            cell.restored_at_us[*place].store(process::now_us(), Ordering::SeqCst);
            Note::take(&cell.restored_by[*place], me)
        };
        let take_owned_by =
            |wanted: Option<u32>| (0..RESTORERS).find(|place| owner(place) == wanted && take(place));
        if take_owned_by(Some(me)).or_else(|| take_owned_by(None)).is_none() {
            // Where all are taken the last one is shared: it stands for whoever came last.
            cell.restored_by[RESTORERS - 1].store(u64::from(me), Ordering::SeqCst);
        }
    });
}

/// Whether such a session is still at it.
pub fn is_under_way(database: u32) -> bool {
    databases::with(database, |cell| {
        let places = cell.restored_by.iter().zip(&cell.restored_at_us);
        // All are looked at, for those that are in a transaction to be remembered.
        places.fold(false, |goes_on, (by, at_us)| {
            // Read before the session is looked at.
            let Some(note) = Note::of(by) else { return goes_on };
            let pid = note.pid();
            if process::is_in_transaction(pid as i32) {
                at_us.store(process::now_us(), Ordering::SeqCst);
                return true;
            }
            let idle_us = process::now_us() - at_us.load(Ordering::SeqCst);
            if process::is_backend(pid as i32) && idle_us < IDLE_US {
                return true;
            }
            // Never again for what it does later.
            goes_on || !note.give_up(by)
        })
    })
    .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_renewed_meanwhile_is_not_given_up() {
        let place = AtomicU64::new(0);
        assert!(Note::take(&place, 7));
        // The worker looks, and finds the session idle for too long; it begins to restore the next table at this moment.
        let seen = Note::of(&place).expect("taken");
        assert!(Note::take(&place, 7));
        assert!(!seen.give_up(&place), "the session restores again");
        assert_eq!(Note::of(&place).map(Note::pid), Some(7));
    }

    #[test]
    fn a_place_goes_to_one_session_after_the_other() {
        let place = AtomicU64::new(0);
        assert!(Note::take(&place, 7));
        assert!(!Note::take(&place, 8));
        let old = Note::of(&place).expect("taken");
        assert!(old.give_up(&place));
        assert_eq!(Note::of(&place), None);
        assert!(Note::take(&place, 7));
        assert!(!old.give_up(&place), "taken again, by the same one");
    }
}
