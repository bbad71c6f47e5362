//! The visitors' tables: found, locked, and the caller's rights on them.
//!
//! Their locks come after that on counter_ext.total, as everybody's do (`rows/access.rs`).

use std::cell::Cell;

use crate::errors::CounterError;
use crate::pg::privilege::{self, Rights};
use crate::pg::session::session_local;
use crate::pg::table::Access;
use crate::pg::{Oid, catalog, lock, xact};
use crate::rows::access::{self, Tables};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;

const HINT: &str =
    "GRANT it on counter_ext.visitors: visiting needs INSERT and UPDATE, reading SELECT, dropping DELETE.";

pub const VISITORS: FamilyTable = FamilyTable {
    name: "visitors",
    relation: c"visitors",
    columns: &[TEXT, DATE, INT4, ANY_VARLENA, TIMESTAMPTZ],
    key: "id, day, node",
    hint: HINT,
};

pub const VISIT: FamilyTable = FamilyTable {
    name: "visit",
    relation: c"visit",
    columns: &[TEXT, DATE, INT8, ANY_VARLENA],
    key: "id, day, slot",
    hint: HINT,
};

/// Oids of the tables. Reading and dropping of counters goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitorTables {
    pub counters: Tables,
    pub visitors: Oid,
    pub visit: Oid,
}

/// What a call is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Visit,
    Read,
    Drop,
}

impl Purpose {
    fn rights(self) -> (Rights, &'static str) {
        match self {
            Purpose::Visit => (Rights::INSERT.and(Rights::UPDATE), "INSERT and UPDATE"),
            Purpose::Read => (Rights::SELECT, "SELECT"),
            Purpose::Drop => (Rights::DELETE, "DELETE"),
        }
    }
}

/// What `enter` found last, and for which purposes a user was allowed. It holds until anything about any relation or role changes.
#[derive(Clone, Copy)]
struct Entered {
    tables: VisitorTables,
    user: u32,
    purposes: u8,
    relations_version: u64,
    roles_version: u64,
}

session_local! {
    static ENTERED: Cell<Option<Entered>> = const { Cell::new(None) };
    /// Nest level at which the transaction locked the tables for writing; 0 when it has not.
    static LOCKED: Cell<u32> = const { Cell::new(0) };
}

/// The tables, if the extension is installed here.
pub fn find() -> Option<VisitorTables> {
    Some(VisitorTables { counters: access::find_tables()?, visitors: VISITORS.find()?, visit: VISIT.find()? })
}

/// Finds the tables and checks the caller's rights on them. Nothing is locked: memory may answer. Errors: 42501, 55000.
pub fn enter(purpose: Purpose) -> Result<VisitorTables, CounterError> {
    // The versions are read before the look-up: a change in between makes the next call look again.
    let (relations_version, roles_version) = (catalog::any_relation_version(), catalog::roles_version());
    let user = u32::from(privilege::current_user());
    let entered = ENTERED.get().filter(|entered| {
        entered.user == user
            && entered.relations_version == relations_version
            && entered.roles_version == roles_version
    });
    let bit = 1 << purpose as u8;
    if let Some(entered) = entered
        && entered.purposes & bit != 0
    {
        return Ok(entered.tables);
    }
    let tables = find().ok_or(CounterError::NotInstalled)?;
    let (rights, needed) = purpose.rights();
    VISITORS.check_rights(tables.visitors, rights, needed)?;
    // Row security is not wanted there either.
    VISIT.check_rights(tables.visit, Rights::NONE, needed)?;
    let purposes = entered.map_or(0, |entered| entered.purposes) | bit;
    ENTERED.set(Some(Entered { tables, user, purposes, relations_version, roles_version }));
    Ok(tables)
}

/// Locks the tables for writing, once a transaction. Errors: 55000 they are not those that `tables` names any more.
pub fn lock_for_writing(tables: VisitorTables) -> Result<(), CounterError> {
    if LOCKED.get() != 0 {
        return Ok(());
    }
    // What the visits of this transaction lead to is written there too.
    lock::lock_table(tables.counters.total, Access::Write);
    lock::lock_table(tables.visitors, Access::Write);
    lock::lock_table(tables.visit, Access::Write);
    // Taking a lock also takes in what others changed: the tables may have been dropped, and made anew.
    if find() != Some(tables) || !lock::relation_exists(tables.visitors) {
        return Err(CounterError::NotInstalled);
    }
    LOCKED.set(xact::nest_level());
    xact::join(xact::Participant::Visitors);
    Ok(())
}

/// Locks the tables for reading rows.
pub fn lock_for_reading(tables: VisitorTables) {
    access::lock_total_first(tables.counters.total);
    lock::lock_table(tables.visitors, Access::Read);
    lock::lock_table(tables.visit, Access::Read);
}

/// Locks the tables for writing, unless somebody holds a conflicting lock: the worker waits for nobody.
pub fn try_lock_for_writing(tables: VisitorTables) -> bool {
    [tables.visitors, tables.visit].into_iter().all(|table| lock::try_lock_table(table, Access::Write))
}

pub fn holds_no_locks() -> bool {
    LOCKED.get() == 0
}

/// The transaction is over: its locks are gone.
pub fn forget_locks() {
    LOCKED.set(0);
}

/// A savepoint was rolled back: locks taken inside it are gone.
pub fn forget_locks_above(level: u32) {
    if LOCKED.get() >= level {
        LOCKED.set(0);
    }
}

/// A savepoint was released: its locks are the parent's.
pub fn hand_locks_down(level: u32) {
    if LOCKED.get() == level {
        LOCKED.set(level - 1);
    }
}
