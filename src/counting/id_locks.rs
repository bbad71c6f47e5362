//! Ids that this transaction sets, resets, drops or moves: nobody else does, to its end.
//!
//! The first of them are held by a lock each. PostgreSQL's lock table, which all sessions share, has not got room for more;
//! further ones are claimed by rows (`rows/claims`). Either waits for the other, id by id: so transactions that take the same ids
//! in the same order never meet in a deadlock, however many they take.

use std::cell::RefCell;

use crate::errors::CounterError;
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

thread_local! {
    /// BOUND: `MAX_LOCKS`.
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// Takes an id to the end of the transaction, waiting for who has it. The caller has entered for a change.
pub fn take(tables: Tables, id: &[u8]) -> Result<(), CounterError> {
    let (is_held, has_room) =
        HELD.with_borrow(|held| (held.iter().any(|held| *held.id == *id), held.len() < MAX_LOCKS));
    if is_held {
        return Ok(());
    }
    let how = if has_room { How::Lock } else { How::Row };
    if claims::take(tables.total, id, how)? == How::Lock {
        // BOUND: `MAX_LOCKS` of an id.
        HELD.with_borrow_mut(|held| held.push(Held { id: id.into(), level: xact::nest_level() }));
    }
    Ok(())
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
