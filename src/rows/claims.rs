//! Ids that transactions have for themselves to their end, each by a row: as many as anybody likes, where locks are few.
//!
//! PostgreSQL's lock table is shared by all sessions and holds some thousands of locks. So a transaction claims an id, past its
//! first ones, by a row of counter_ext.claim, which it inserts and deletes at once. Nobody ever sees such a row, and vacuum takes it away;
//! but as long as its transaction runs, whoever looks for a claim finds it and waits for that transaction, as a unique index has
//! inserts wait. It is like a lock in all: a savepoint's rollback gives it back, a prepared transaction keeps it, over a restart
//! too, and the deadlock detector sees who waits.
//!
//! Contract: whoever looks for claims of an id, and makes one, holds the id's lock (`Subject::Change`) from the look on: whoever keeps that
//! lock to the end of his transaction needs no row. Waiting for another's claim he holds it not. A crash leaves rows of aborted
//! transactions.

use std::ops::ControlFlow;

use super::column_types::*;
use super::family_table::FamilyTable;
use super::keyed::Keyed;
use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::lock::{self, Subject, Xid};
use crate::pg::page::Status;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{Oid, random, xact};

/// counter_ext.claim
pub const CLAIMS: FamilyTable = FamilyTable {
    name: "claim",
    relation: c"claim",
    columns: &[TEXT, INT8],
    key: "id, claim",
    hint: "It is written by the extension only.",
};

/// How an id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By its lock, which this transaction keeps.
    Lock,
    /// By a row; the lock is given back.
    Row,
}

enum Found {
    Nothing,
    Ours,
    Of(Xid),
}

/// Waits until no other transaction has the id, then takes it to the end of this one. Returns how it has it: a claim made before
/// by a row does for either. `locked` is the table whose locks stand for ids.
pub fn take(locked: Oid, id: &[u8], how: How) -> Result<How, CounterError> {
    let table = CLAIMS.lock(Access::Write)?;
    let subject = Subject::Change(lock::id_hash(id));
    loop {
        lock::lock_exclusive(locked, subject);
        match look(table, locked, id, how)? {
            Looked::Taken(how) => return Ok(how),
            Looked::HeldBy(xid) => lock::wait_for_transaction(xid),
        }
    }
}

/// As `take`, but gives up at once where it would wait.
pub fn try_take(locked: Oid, id: &[u8], how: How) -> Result<Option<How>, CounterError> {
    let Some(table) = CLAIMS.find().filter(|table| lock::try_lock_table(*table, Access::Write)) else {
        return Ok(None);
    };
    let subject = Subject::Change(lock::id_hash(id));
    if CLAIMS.find() != Some(table) || !lock::try_lock_exclusive(locked, subject) {
        return Ok(None);
    }
    match look(table, locked, id, how)? {
        Looked::Taken(how) => Ok(Some(how)),
        Looked::HeldBy(_) => Ok(None),
    }
}

enum Looked {
    Taken(How),
    HeldBy(Xid),
}

/// Looks for claims of an id whose lock is held, and makes one. Gives the lock back where it is not what the id is taken by.
fn look(table: Oid, locked: Oid, id: &[u8], how: How) -> Result<Looked, CounterError> {
    let found = xact::in_scratch_memory(|| -> Result<Found, CounterError> {
        let claims = CLAIMS.open(table, Access::Write)?;
        let found = find(&claims, id);
        if matches!(found, Found::Nothing) && how == How::Row {
            insert(&claims, id);
        }
        Ok(found)
    })?;
    if matches!(found, Found::Nothing) && how == How::Lock {
        return Ok(Looked::Taken(How::Lock));
    }
    lock::unlock_exclusive(locked, Subject::Change(lock::id_hash(id)));
    Ok(match found {
        Found::Nothing | Found::Ours => Looked::Taken(How::Row),
        Found::Of(xid) => Looked::HeldBy(xid),
    })
}

fn find(claims: &Keyed, id: &[u8]) -> Found {
    let mut found = Found::Nothing;
    let mut scan = IdScan::begin(&claims.table, &claims.key, Range::Id(id));
    while matches!(found, Found::Nothing) {
        let entry = scan.next_entry(|version| {
            found = match version.status() {
                Status::Unborn(xid) => Found::Of(xid),
                _ if lock::is_ours(version.xmin()) => Found::Ours,
                // Of a transaction that has ended.
                _ => return ControlFlow::Continue(()),
            };
            ControlFlow::Break(())
        });
        if entry.is_none() {
            break;
        }
    }
    found
}

fn insert(claims: &Keyed, id: &[u8]) {
    let number = random::bits() as i64;
    write::insert(&claims.table, &[Value::Text(id), Value::Bigint(number)]);
    // What the running command has made cannot be deleted by it.
    xact::see_own_changes();
    let mut row = None;
    let mut scan = IdScan::begin(&claims.table, &claims.key, Range::Id(id));
    while row.is_none() {
        let entry = scan.next_entry(|version| {
            if version.status() == Status::Free && lock::is_ours(version.xmin()) {
                row = Some(Candidate::new(version));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if entry.is_none() {
            break;
        }
    }
    // Left there, it is a row that everybody sees and passes over.
    let _ = row.map(Candidate::delete);
}
