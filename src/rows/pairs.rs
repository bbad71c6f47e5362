//! Rows keyed by two texts, inserted and deleted once each at any isolation level: tokens, likes.
//!
//! Two transactions with the same pair: the second waits for the first to end, and goes by how it ended. A heavyweight lock on
//! the pair is held from the look to the insert, so that no two of them look at the same time; it goes right after,
//! since an uncommitted row is seen by the next one's look. Whoever deletes needs no such lock: the row itself is one. A crash
//! between any two steps leaves an aborted transaction.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::keyed::Keyed;
use super::latest::{self, Latest};
use crate::pg::id_scan::Range;
use crate::pg::lock::{self, Subject};
use crate::pg::page::Columns;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, process, xact};

/// Two texts that a table's primary key begins with.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a>(pub &'a [u8], pub &'a [u8]);

impl Pair<'_> {
    /// Over both, with a byte between them that no text has.
    fn hash(self) -> u32 {
        lock::key_hash(self.0.iter().chain(&[0]).chain(self.1))
    }
}

/// Inserts a row that begins with the pair, unless there is one. Returns what `read` finds in the one that is there, `None` where
/// it was inserted. Locks are taken in the name of `locked`, the table or the one it is a partition of.
pub fn insert_once<T>(
    locked: Oid,
    keyed: &Keyed,
    pair: Pair<'_>,
    row: &[Value<'_>],
    read: impl Fn(&Columns<'_>) -> T,
) -> Option<T> {
    let subject = Subject::Key(pair.hash());
    // Also of a row that somebody locks, or that the running command made: the search ends at the version that it shows last.
    let there = Cell::new(None);
    let see = |columns: &Columns<'_>| {
        there.set(Some(read(columns)));
        true
    };
    loop {
        lock::lock_exclusive(locked, subject);
        let look = latest::find(keyed, Range::Pair(pair.0, pair.1), see, |_| ());
        if matches!(look, Latest::Absent) {
            write::insert(&keyed.table, row);
        }
        lock::unlock_exclusive(locked, subject);
        match look {
            // A row that is locked at most is there, however the lockers end.
            Latest::Free(..) | Latest::Locked(_) | Latest::Mine => return there.take(),
            Latest::Absent => {
                xact::see_own_changes();
                return None;
            }
            Latest::InDoubt(xid) => lock::wait_for_transaction(xid),
        }
    }
}

fn look<'t>(keyed: &'t Keyed, pair: Pair<'_>) -> Latest<'t, ()> {
    latest::find(keyed, Range::Pair(pair.0, pair.1), |_| true, |_| ())
}

/// Whether the pair is there: committed by now, or inserted by this transaction.
pub fn is_there(keyed: &Keyed, pair: Pair<'_>) -> bool {
    let mut snapshot = crate::pg::snapshot::Snapshot::fresh();
    let mut is_there = false;
    super::sum::for_each_visible(keyed, Range::Pair(pair.0, pair.1), &mut snapshot, |_| {
        is_there = true;
        ControlFlow::Break(())
    });
    is_there
}

/// Keeps the pair to the end of the transaction, so that nobody else deletes it, if it is there. Returns whether it is.
pub fn hold_once(keyed: &Keyed, pair: Pair<'_>) -> bool {
    loop {
        match look(keyed, pair) {
            Latest::Free(candidate, ()) => {
                if candidate.lock().is_ok() {
                    return true;
                }
                process::check_for_interrupts();
            }
            Latest::InDoubt(xid) => lock::wait_for_transaction(xid),
            Latest::Locked(lockers) => lock::wait_for_lockers(lockers),
            Latest::Mine => return true,
            Latest::Absent => return false,
        }
    }
}

/// Deletes the pair if it is there. Returns whether it was.
pub fn remove_once(keyed: &Keyed, pair: Pair<'_>) -> bool {
    loop {
        match look(keyed, pair) {
            Latest::Free(candidate, ()) => {
                if candidate.delete().is_ok() {
                    xact::see_own_changes();
                    return true;
                }
                // Somebody was faster: what there is now is looked for anew.
                process::check_for_interrupts();
            }
            Latest::InDoubt(xid) => lock::wait_for_transaction(xid),
            Latest::Locked(lockers) => lock::wait_for_lockers(lockers),
            // What the running command itself made cannot go within it.
            Latest::Mine | Latest::Absent => return false,
        }
    }
}
