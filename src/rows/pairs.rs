//! Rows keyed by two texts, inserted and deleted once each at any isolation level: tokens, likes.
//!
//! Two transactions with the same pair: the second waits for the first to end, and goes by how it ended. A heavyweight lock on
//! the pair is held from the look to the insert, so that no two of them look at the same time; it goes right after,
//! since an uncommitted row is seen by the next one's look. Whoever deletes needs no such lock: the row itself is one. A crash
//! between any two steps leaves an aborted transaction.

use std::ops::ControlFlow;

use super::access::Keyed;
use crate::pg::Oid;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::lock::{self, Subject};
use crate::pg::page::Status;
use crate::pg::write::{self, Candidate, Value};
use crate::pg::xact;

/// Two texts that a table's primary key begins with.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a>(pub &'a [u8], pub &'a [u8]);

impl Pair<'_> {
    /// Over both, with a byte between them that no text has.
    fn hash(self) -> u32 {
        lock::key_hash(self.0.iter().chain(&[0]).chain(self.1))
    }
}

/// What a look at a pair's rows says.
enum Look {
    There,
    Absent,
    /// Another transaction is inserting, or deleting, it.
    InDoubt(u32),
}

/// Inserts the pair, and `more` columns after it, unless it is there. Returns whether it was inserted. Locks are taken in the
/// name of `locked`, the table or the one it is a partition of.
pub fn insert_once(locked: Oid, keyed: &Keyed, pair: Pair<'_>, more: Value<'_>) -> bool {
    let subject = Subject::Key(pair.hash());
    loop {
        lock::lock_exclusive(locked, subject);
        let look = look(keyed, pair);
        if matches!(look, Look::Absent) {
            write::insert(&keyed.table, &[Value::Text(pair.0), Value::Text(pair.1), more]);
        }
        lock::unlock_exclusive(locked, subject);
        match look {
            Look::There => return false,
            Look::Absent => {
                xact::see_own_changes();
                return true;
            }
            Look::InDoubt(xid) => lock::wait_for_transaction(xid),
        }
    }
}

fn look(keyed: &Keyed, pair: Pair<'_>) -> Look {
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Pair(pair.0, pair.1));
    let mut look = Look::Absent;
    while scan
        .next_entry(|version| {
            match version.status() {
                Status::Free | Status::Mine => look = Look::There,
                Status::Unborn => look = Look::InDoubt(version.xmin()),
                Status::Held => look = version.changing_xid().map_or(Look::There, Look::InDoubt),
                Status::Updated | Status::Deleted => return ControlFlow::Continue(()),
            }
            ControlFlow::Break(())
        })
        .is_some()
    {
        if !matches!(look, Look::Absent) {
            break;
        }
    }
    look
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

/// Deletes the pair if it is there. Returns whether it was.
pub fn remove_once(keyed: &Keyed, pair: Pair<'_>) -> bool {
    loop {
        let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Pair(pair.0, pair.1));
        let mut found = None;
        let mut in_doubt = None;
        loop {
            let entry = scan.next_entry(|version| {
                match version.status() {
                    Status::Free => found = Some(Candidate::new(version)),
                    Status::Unborn => in_doubt = Some(version.xmin()),
                    Status::Held => match version.changing_xid() {
                        Some(xid) => in_doubt = Some(xid),
                        // Locked at most, perhaps by this transaction itself.
                        None => found = Some(Candidate::new(version)),
                    },
                    // What the running command itself made cannot go within it.
                    Status::Updated | Status::Deleted | Status::Mine => return ControlFlow::Continue(()),
                }
                ControlFlow::Break(())
            });
            let Some(page) = entry else { break };
            if let Some(candidate) = &found {
                if write::delete_waiting(&keyed.table, page, candidate).is_ok() {
                    drop(scan);
                    xact::see_own_changes();
                    return true;
                }
                // Somebody was faster: what there is now is looked for anew.
                break;
            }
            if in_doubt.is_some() {
                break;
            }
        }
        drop(scan);
        match (in_doubt, found) {
            (Some(xid), _) => lock::wait_for_transaction(xid),
            (None, Some(_)) => crate::pg::process::check_for_interrupts(),
            (None, None) => return false,
        }
    }
}
