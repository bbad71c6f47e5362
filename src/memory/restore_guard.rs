//! Restores of dumps, which the worker keeps out of the way of.
//!
//! A dump has slots before totals and visits after visitors; what compaction would make of the rows that came first would be
//! in the way of those to come.
//!
//! Contract: atomics alone. A session notes itself before it inserts its first row, so whoever sees such a row sees the note
//! too. A place is taken with compare-and-swap and given up by whoever finds its session gone or idle. A crash makes the cells
//! anew, and ends the sessions as well.

use std::sync::atomic::Ordering;

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

/// This process inserts rows into our tables by hand. Cannot fail.
pub fn note(database: u32) {
    if !databases::register(database) {
        return;
    }
    databases::with(database, |cell| {
        let me = process::my_pid() as u32;
        let mine = (0..RESTORERS).find(|place| cell.restored_by[*place].load(Ordering::SeqCst) == me);
        let take = |place: &usize| {
            let pid = &cell.restored_by[*place];
            pid.compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        // Where all are taken the last one is shared: it stands for whoever came last.
        let place = mine.or_else(|| (0..RESTORERS).find(take)).unwrap_or(RESTORERS - 1);
        cell.restored_at_us[place].store(process::now_us(), Ordering::SeqCst);
        cell.restored_by[place].store(me, Ordering::SeqCst);
    });
}

/// Whether such a session is still at it.
pub fn is_under_way(database: u32) -> bool {
    databases::with(database, |cell| {
        let places = cell.restored_by.iter().zip(&cell.restored_at_us);
        // All are looked at, for those that are in a transaction to be remembered.
        places.fold(false, |goes_on, (by, at_us)| {
            let pid = by.load(Ordering::SeqCst);
            if pid == 0 {
                return goes_on;
            }
            if process::is_in_transaction(pid as i32) {
                at_us.store(process::now_us(), Ordering::SeqCst);
                return true;
            }
            let idle_us = process::now_us() - at_us.load(Ordering::SeqCst);
            if process::is_backend(pid as i32) && idle_us < IDLE_US {
                return true;
            }
            // Never again for what it does later.
            let _ = by.compare_exchange(pid, 0, Ordering::SeqCst, Ordering::Relaxed);
            goes_on
        })
    })
    .unwrap_or(false)
}
