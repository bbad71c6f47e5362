//! Ids that this transaction sets, resets, drops or moves: nobody else does, to its end.
//!
//! The first of them are held by a lock each. PostgreSQL's lock table, which all sessions share, has not got room for more;
//! further ones are claimed by rows (`rows/claims`). Either waits for the other, id by id: so transactions that take the same ids
//! in the same order never meet in a deadlock, however many they take.

use std::cell::RefCell;

use crate::errors::CounterError;
use crate::pg::session::session_local;
use crate::pg::xact;
use crate::rows::access::Tables;
use crate::rows::claims::{self, How};

/// Ids a transaction holds by locks.
const MAX_LOCKS: usize = 64;

struct Held {
    /// Not its hash: another id that hashes so may be claimed by a row of somebody else.
    id: Box<[u8]>,
    /// Savepoint level whose rollback gives it back.
    level: u32,
}

session_local! {
    /// BOUND: `MAX_LOCKS`.
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Takes an id to the end of the transaction, waiting for who has it. The caller has entered for a change.
pub fn take(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    let Some(how) = how_to_take(id) else { return Ok(()) };
    note(id, claims::take(tables.total, id, how)?);
    Ok(())
}

/// As `take`, but returns false at once where it would wait.
pub fn try_take(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    let Some(how) = how_to_take(id) else { return Ok(true) };
    let taken = claims::try_take(tables.total, id, how)?;
    if let Some(how) = taken {
        note(id, how);
    }
    Ok(taken.is_some())
}

/// `None` where this transaction has it.
fn how_to_take(id: &[u8]) -> Option<How> {
    let (is_held, has_room) =
        HELD.with_borrow(|held| (held.iter().any(|held| *held.id == *id), held.len() < MAX_LOCKS));
    (!is_held).then_some(if has_room { How::Lock } else { How::Row })
}

fn note(id: &[u8], taken_by: How) {
    if taken_by == How::Lock {
        // BOUND: `MAX_LOCKS` of an id.
        xact::join(xact::Participant::Counting);
        HELD.with_borrow_mut(|held| held.push(Held { id: id.into(), level: xact::nest_level() }));
    }
}

pub fn holds_none() -> bool {
    HELD.with_borrow(Vec::is_empty)
}

/// The transaction is over: its locks are gone.
pub fn forget() {
    HELD.with_borrow_mut(Vec::clear);
}

/// A savepoint was rolled back: locks taken inside it are gone.
pub fn forget_above(level: u32) {
    HELD.with_borrow_mut(|held| held.retain(|held| held.level < level));
}

/// A savepoint was released: its locks are the parent's.
pub fn hand_down(level: u32) {
    HELD.with_borrow_mut(|held| {
        held.iter_mut().filter(|held| held.level == level).for_each(|held| held.level = level - 1);
    });
}
