//! Our tables' oids, the transaction's locks on them, and the caller's rights, each looked up once and cached
//! until PostgreSQL says that it changed.
//!
//! Lock order: counter_ext.total comes first, before any other table of ours, whatever the family and whatever for. Who drops the
//! extension, or locks all of our tables, begins with it too. So a transaction that has none of our locks yet waits
//! there, where it is in nobody's way, and one that has some has passed. A table is locked once in a call, in the way that the
//! call may need at last: a reader that went on to write would meet a command (REINDEX, TRUNCATE) between the two.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::column_types::*;
use crate::errors::CounterError;
use crate::pg::catalog::{self, Watch};
use crate::pg::confined::{self, Confined};
use crate::pg::privilege::{self, Rights};
use crate::pg::session::{SessionLocal, session_local};
use crate::pg::table::{self, Access};
use crate::pg::xact::{self, Participant};
use crate::pg::{Oid, installed, lock, process};

/// Oids of the tables and their primary keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    pub total: Oid,
    pub slot: Oid,
}

/// Index expressions and such run with the rights of the tables' owner, whoever asked for the pass.
pub fn as_owner<T>(tables: Tables, work: impl FnOnce(&Confined<'_>) -> T) -> T {
    confined::as_owner(table::owner(tables.total), work)
}

/// What a call is about to do, and the privileges on counter_ext.total that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Count,
    Read,
    Take,
    Drop,
    /// Of a counter to another id.
    Move,
}

impl Purpose {
    fn rights(self) -> Rights {
        match self {
            Purpose::Count => Rights::INSERT.and(Rights::UPDATE),
            Purpose::Read => Rights::SELECT,
            Purpose::Take => Rights::INSERT.and(Rights::UPDATE).and(Rights::SELECT),
            Purpose::Drop => Rights::DELETE,
            Purpose::Move => Purpose::Take.rights().and(Rights::DELETE),
        }
    }

    fn described(self) -> &'static str {
        match self {
            Purpose::Count => "INSERT and UPDATE",
            Purpose::Read => "SELECT",
            Purpose::Take => "SELECT, INSERT and UPDATE",
            Purpose::Drop => "DELETE",
            Purpose::Move => "SELECT, INSERT, UPDATE and DELETE",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }

    fn changes(self) -> bool {
        self != Purpose::Read
    }
}

const HINT: &str =
    "GRANT it on counter_ext.total: counting needs INSERT and UPDATE, reading SELECT, dropping DELETE.";

#[derive(Clone, Copy)]
struct FoundTables {
    tables: Tables,
    relations_version: u64,
}

/// Purposes that were checked and allowed for a user.
#[derive(Clone, Copy)]
struct Allowed {
    /// Those that it holds for.
    tables: Option<Tables>,
    user: u32,
    purposes: u8,
    relations_version: u64,
    roles_version: u64,
}

impl Allowed {
    /// Whether it holds for a user, now.
    fn is_for(&self, user: Oid) -> bool {
        self.user == u32::from(user)
            && self.relations_version == version()
            && self.roles_version == catalog::roles_version()
    }
}

const NOBODY: Allowed =
    Allowed { tables: None, user: 0, purposes: 0, relations_version: 0, roles_version: 0 };

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN: Cell<Option<FoundTables>> = const { Cell::new(None) };
    static ALLOWED: Cell<Allowed> = const { Cell::new(NOBODY) };
    /// Nest level at which the transaction locked counter_ext.total for writing; 0 when it has not.
    static LOCKED: Cell<u32> = const { Cell::new(0) };
    /// The same, for whatever: other tables of ours may be locked now.
    static TOTAL_LOCKED: Cell<u32> = const { Cell::new(0) };
    /// The same of counter_ext.slot.
    static SLOT_LOCKED: Cell<u32> = const { Cell::new(0) };
}

/// Changes whenever what is known about the tables may be out of date.
pub fn version() -> u64 {
    WATCH.with(|watch| watch.version())
}

/// The tables, or an error where the extension is not installed.
pub fn tables() -> Result<Tables, CounterError> {
    find_tables().ok_or(CounterError::NotInstalled)
}

/// The tables, if the extension is installed here.
pub fn find_tables() -> Option<Tables> {
    if let Some(known) = KNOWN.get()
        && known.relations_version == version()
    {
        return Some(known.tables);
    }
    // The version is read before the look-up: a change in between, of whatever tables are found, makes the next call look again.
    WATCH.with(|watch| watch.set(&[]));
    let relations_version = version();
    KNOWN.set(None);
    let tables = Tables {
        total: catalog::relation(c"counter_ext", c"total")?,
        slot: catalog::relation(c"counter_ext", c"slot")?,
    };
    let each = [tables.total, tables.slot];
    let ours = each.into_iter().all(|table| catalog::is_member(table, c"counter_ext"))
        && catalog::has_column_types(tables.total, &[TEXT, INT4, INT8, TIMESTAMPTZ])
        && catalog::has_column_types(tables.slot, &[TEXT, INT8, INT8, TIMESTAMPTZ]);
    if !ours || !installed::is_same() {
        return None;
    }
    WATCH.with(|watch| watch.set(&each));
    KNOWN.set(Some(FoundTables { tables, relations_version }));
    Some(tables)
}

/// Checks the caller's rights. A change also locks the tables against DDL until the transaction ends, once a
/// transaction; a read locks them only where it goes on to rows, a visit only where it changes something. With `to_slots` false the slot table is left until
/// something is written to it.
pub fn enter(purpose: Purpose, nest_level: u32, to_slots: bool) -> Result<Tables, CounterError> {
    enter_for(privilege::current_user(), purpose, nest_level, to_slots)
}

/// As `enter`, where it is the rights of `user` that count.
pub fn enter_for(
    user: Oid,
    purpose: Purpose,
    nest_level: u32,
    to_slots: bool,
) -> Result<Tables, CounterError> {
    // All but the first call of a transaction end here.
    let allowed = ALLOWED.get();
    if allowed.is_for(user)
        && allowed.purposes & purpose.bit() != 0
        && (!purpose.changes() || is_locked_for_writing(to_slots))
        && let Some(tables) = allowed.tables
    {
        return Ok(tables);
    }
    enter_anew(user, purpose, nest_level, to_slots)
}

#[cold]
fn enter_anew(user: Oid, purpose: Purpose, nest_level: u32, to_slots: bool) -> Result<Tables, CounterError> {
    let tables = if purpose.changes() { lock_for_writing(nest_level, to_slots)? } else { tables()? };
    check_rights(tables, user, purpose)?;
    Ok(tables)
}

fn is_locked_for_writing(to_slots: bool) -> bool {
    LOCKED.get() != 0 && (!to_slots || SLOT_LOCKED.get() != 0)
}

fn lock_for_writing(nest_level: u32, to_slots: bool) -> Result<Tables, CounterError> {
    if is_locked_for_writing(to_slots) {
        return tables();
    }
    loop {
        let before = tables()?;
        if LOCKED.get() == 0 {
            lock::lock_table(before.total, Access::Write);
        }
        if to_slots {
            lock::lock_table(before.slot, Access::Write);
        }
        // Taking a lock also takes in what others changed: the tables may have been dropped, and made anew.
        let after = tables()?;
        if before == after {
            debug_assert!(
                lock::relation_exists(after.total),
                "what drops a table is told before its lock is free"
            );
            note_lock(&LOCKED, nest_level);
            note_lock(&TOTAL_LOCKED, nest_level);
            if to_slots {
                note_lock(&SLOT_LOCKED, nest_level);
            }
            return Ok(after);
        }
    }
}

/// Notes a lock that was taken at this level. One that an outer level has already stays that level's.
fn note_lock(locked: &'static SessionLocal<Cell<u32>>, nest_level: u32) {
    xact::join(Participant::Counting);
    if locked.get() == 0 {
        locked.set(nest_level);
    }
}

/// Locks both tables for writing, if the transaction has not: who folds may have called nothing that locks them. Errors: 55000 these are
/// not the tables any more.
pub fn lock_to_fold(tables: Tables) -> Result<(), CounterError> {
    let locked = lock_for_writing(xact::nest_level(), true)?;
    if locked == tables { Ok(()) } else { Err(CounterError::NotInstalled) }
}

/// Locks the slot table for writing, if the transaction has not: it has entered for another purpose.
pub fn lock_slot_for_writing(tables: Tables) {
    if SLOT_LOCKED.get() == 0 {
        lock::lock_table(tables.slot, Access::Write);
        note_lock(&SLOT_LOCKED, xact::nest_level());
    }
}

/// Locks counter_ext.total in the weakest way, if the transaction has no lock on it: another table of ours comes next.
pub fn lock_total_first(total: Oid) {
    if TOTAL_LOCKED.get() == 0 {
        lock::lock_table(total, Access::Read);
        note_lock(&TOTAL_LOCKED, xact::nest_level());
    }
}

/// Locks a table of ours, if that can be done soon. Whoever drops the extension may hold it already and wait for counter_ext.total, which the
/// caller has.
pub fn try_lock_in_time(table: Oid, access: Access) -> bool {
    const PATIENCE: Duration = Duration::from_secs(2);
    const INTERVAL_US: i64 = 5000;
    let until = Instant::now() + PATIENCE;
    while !lock::try_lock_table(table, access) {
        if Instant::now() >= until {
            return false;
        }
        process::check_for_interrupts();
        process::sleep_us(INTERVAL_US);
    }
    true
}

/// Locks the tables for reading rows.
pub fn lock_for_reading(tables: Tables) {
    lock_total_for_reading(tables);
    lock_slot_for_reading(tables);
}

/// Locks counter_ext.total for reading rows. Where slot rows are read too, that table comes next.
pub fn lock_total_for_reading(tables: Tables) {
    lock::lock_table(tables.total, Access::Read);
}

/// Locks the slot table for reading rows, after counter_ext.total.
pub fn lock_slot_for_reading(tables: Tables) {
    lock::lock_table(tables.slot, Access::Read);
}

fn check_rights(tables: Tables, user: Oid, purpose: Purpose) -> Result<(), CounterError> {
    let mut allowed = ALLOWED.get();
    let is_current = allowed.is_for(user) && allowed.tables == Some(tables);
    if is_current && allowed.purposes & purpose.bit() != 0 {
        return Ok(());
    }
    if !is_current {
        allowed = Allowed {
            tables: Some(tables),
            user: u32::from(user),
            purposes: 0,
            relations_version: version(),
            roles_version: catalog::roles_version(),
        };
    }
    let concerned = [(tables.total, "total"), (tables.slot, "slot")];
    let (decides, table) = concerned[0];
    if !privilege::has_all(decides, user, purpose.rights()) {
        return Err(CounterError::NoPrivilege { needed: purpose.described(), table, hint: HINT });
    }
    for (table, name) in concerned {
        if privilege::row_security_applies(table, user) {
            return Err(CounterError::RowSecurity { table: name });
        }
    }
    allowed.purposes |= purpose.bit();
    ALLOWED.set(allowed);
    Ok(())
}

pub fn holds_no_locks() -> bool {
    [&LOCKED, &TOTAL_LOCKED, &SLOT_LOCKED].iter().all(|locked| locked.get() == 0)
}

/// The transaction is over: its locks are gone.
pub fn forget_locks() {
    LOCKED.set(0);
    TOTAL_LOCKED.set(0);
    SLOT_LOCKED.set(0);
}

/// A savepoint was rolled back: locks taken inside it are gone.
pub fn forget_locks_above(level: u32) {
    for locked in [&LOCKED, &TOTAL_LOCKED, &SLOT_LOCKED] {
        if locked.get() >= level {
            locked.set(0);
        }
    }
}

/// A savepoint was released: its locks are the parent's.
pub fn hand_locks_down(level: u32) {
    for locked in [&LOCKED, &TOTAL_LOCKED, &SLOT_LOCKED] {
        if locked.get() == level {
            locked.set(level - 1);
        }
    }
}
