//! Our tables' oids, the transaction's locks on them, and the caller's rights, each looked up once and cached
//! until PostgreSQL says that it changed.
//!
//! Lock order: counter_ext.total comes first, before any other table of ours, whatever the family and whatever for. Who drops the
//! extension, or locks all of our tables, begins with it too. So a transaction that has none of our locks yet waits
//! there, where it is in nobody's way, and one that has some has passed. A table is locked once in a call, in the way that the
//! call may need at last: a reader that went on to write would meet a command (REINDEX, TRUNCATE) between the two.
//!
//! BOUND: as many tables as families have.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::column_types::*;
use crate::errors::CounterError;
use crate::pg::catalog::{self, Watch};
use crate::pg::confined::{self, Confined};
use crate::pg::privilege::{self, Rights};
use crate::pg::session::{SessionLocal, session_local};
use crate::pg::table::{self, Access, Index, Table};
use crate::pg::xact::{self, Participant};
use crate::pg::{Oid, installed, lock, partition, process};

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

/// A table of a family of its own. Where it is, and what the caller may do to it, is looked up once, until anything about any
/// relation or role changes.
#[derive(Clone, Copy, Debug)]
pub struct FamilyTable {
    pub name: &'static str,
    pub relation: &'static std::ffi::CStr,
    /// Types of its leading columns, which code reads by hand.
    pub columns: &'static [u32],
    /// The columns of its primary key, which are its first unless it is opened over others, as SQL lists them.
    pub key: &'static str,
    /// What to GRANT to a caller whose rights are not enough.
    pub hint: &'static str,
}

/// What was found out about a family's table.
#[derive(Clone, Copy)]
struct KnownFamily {
    name: &'static str,
    table: Oid,
    relations_version: u64,
    user: u32,
    roles_version: u64,
    /// What that user was found to be allowed to.
    rights: Rights,
}

session_local! {
    static FAMILIES: RefCell<Vec<KnownFamily>> = const { RefCell::new(Vec::new()) };
    /// Partitions that were found to have the columns of the table that they belong to, until anything about any relation changes.
    static FIT_LEAVES: RefCell<(u64, Vec<Oid>)> = const { RefCell::new((0, Vec::new())) };
}

impl FamilyTable {
    /// Checks the caller's rights and locks the table for writing, to the end of the transaction. Errors: 42501, 55000.
    pub fn enter_to_write(&self, rights: Rights, needed: &'static str) -> Result<Oid, CounterError> {
        self.enter(Access::Write, rights, needed)
    }

    /// Checks the caller's rights and locks the table for reading. Errors: 42501, 55000.
    pub fn enter_to_read(&self) -> Result<Oid, CounterError> {
        self.enter(Access::Read, Rights::SELECT, "SELECT")
    }

    fn enter(&self, access: Access, rights: Rights, needed: &'static str) -> Result<Oid, CounterError> {
        let table = self.lock(access)?;
        self.check_rights(table, rights, needed)?;
        Ok(table)
    }

    /// Checks the caller's rights, without a lock. Errors: 42501.
    pub fn check_rights(&self, table: Oid, rights: Rights, needed: &'static str) -> Result<(), CounterError> {
        let user = privilege::current_user();
        let roles_version = catalog::roles_version();
        let known = self.known().filter(|known| {
            known.user == u32::from(user) && known.roles_version == roles_version && known.table == table
        });
        if known.is_some_and(|known| known.rights.contains(rights)) {
            return Ok(());
        }
        if !privilege::has_all(table, user, rights) {
            return Err(CounterError::NoPrivilege { needed, table: self.name, hint: self.hint });
        }
        if privilege::row_security_applies(table, user) {
            return Err(CounterError::RowSecurity { table: self.name });
        }
        let rights = known.map_or(rights, |known| known.rights.and(rights));
        if let Some(before) = self.known() {
            self.remember(KnownFamily { user: u32::from(user), roles_version, rights, ..before });
        }
        Ok(())
    }

    /// Locks the table, whoever asks. Errors: 55000.
    pub fn lock(&self, access: Access) -> Result<Oid, CounterError> {
        let table = self.find().ok_or(CounterError::NotInstalled)?;
        lock_total_first(tables()?.total);
        lock::lock_table(table, access);
        if self.find() == Some(table) { Ok(table) } else { Err(CounterError::NotInstalled) }
    }

    /// As `lock`, for those who hold a lock on counter_ext.total already: whoever holds this table and waits for that one is not waited for
    /// long. Errors: 55P03 the table is locked by somebody, and stays so; 55000.
    pub fn lock_in_time(&self, access: Access) -> Result<Oid, CounterError> {
        let table = self.find().ok_or(CounterError::NotInstalled)?;
        lock_total_first(tables()?.total);
        if !try_lock_in_time(table, access) {
            return Err(CounterError::TableLocked { table: self.name });
        }
        if self.find() == Some(table) { Ok(table) } else { Err(CounterError::NotInstalled) }
    }

    /// Locks the table unless somebody holds a conflicting lock, for who waits for nobody; false also where it is not there.
    pub fn try_lock(&self, access: Access) -> bool {
        let found = self.find();
        found.is_some_and(|table| lock::try_lock_table(table, access)) && self.find() == found
    }

    /// The table, if it is there and ours.
    pub fn find(&self) -> Option<Oid> {
        if let Some(known) = self.known() {
            return Some(known.table);
        }
        // The version is read before the look-up: a change in between makes the next call look again.
        let relations_version = catalog::any_relation_version();
        let table = catalog::relation(c"counter_ext", self.relation)?;
        let ours =
            catalog::is_member(table, c"counter_ext") && catalog::has_column_types(table, self.columns);
        if ours {
            self.remember(KnownFamily {
                name: self.name,
                table,
                relations_version,
                user: 0,
                roles_version: 0,
                rights: Rights::NONE,
            });
        }
        ours.then_some(table)
    }

    fn known(&self) -> Option<KnownFamily> {
        let version = catalog::any_relation_version();
        FAMILIES.with_borrow(|families| {
            let known = families.iter().find(|known| known.name == self.name).copied();
            known.filter(|known| known.relations_version == version)
        })
    }

    fn remember(&self, known: KnownFamily) {
        FAMILIES.with_borrow_mut(|families| {
            match families.iter_mut().find(|other| other.name == self.name) {
                Some(place) => *place = known,
                None => families.push(known),
            }
        });
    }

    /// Opens the partition that rows with this partition key belong to, with its primary key, which is over these columns, numbered from 0. The
    /// table is locked. Errors: 55000 there is none, or one that is not ours to write by hand.
    pub fn open_partition(
        &self,
        table: Oid,
        partition_key: &[u8],
        key_columns: &[usize],
        access: Access,
    ) -> Result<Keyed, CounterError> {
        let no_partition = CounterError::NoPartition { table: self.name };
        let Some(leaf) = partition::leaf_of(&Table::open(table), partition_key) else {
            return Err(no_partition);
        };
        lock::lock_table(leaf, access);
        if !self.knows_columns_of(leaf, table) {
            return Err(no_partition);
        }
        Keyed::over(Table::open(leaf), key_columns, self.name, self.key, access)
    }

    /// Whether a partition, locked, has the table's leading columns: it may have them in another order.
    fn knows_columns_of(&self, leaf: Oid, table: Oid) -> bool {
        let version = catalog::any_relation_version();
        FIT_LEAVES.with_borrow_mut(|(known_version, leaves)| {
            if *known_version != version {
                leaves.clear();
                *known_version = version;
            }
            if leaves.contains(&leaf) {
                return true;
            }
            let is_fit = catalog::has_column_types(leaf, self.columns)
                && catalog::has_column_names_of(leaf, table, self.columns.len());
            // What the look took in may have changed something.
            if is_fit && catalog::any_relation_version() == version {
                leaves.push(leaf);
            }
            is_fit
        })
    }

    /// Opens it, locked before, with another index of it, of texts. `None` where that is not there as it was made.
    pub fn open_by_text(&self, table: Oid, index: &std::ffi::CStr, access: Access) -> Option<Keyed> {
        let index = catalog::relation(c"counter_ext", index)?;
        let table = Table::open(table);
        Some(Keyed { key: Index::of_texts(&table, index, access)?, table })
    }

    /// Opens it, locked before, with an index of it over these columns, numbered from 0. `None` where that is not there as it was made.
    pub fn open_over(
        &self,
        table: Oid,
        index: &std::ffi::CStr,
        columns: &[usize],
        access: Access,
    ) -> Option<Keyed> {
        let keyed = self.open_by_text(table, index, access)?;
        keyed.key.is_key_over(&keyed.table, columns.iter().copied()).then_some(keyed)
    }

    /// As `open_over`, where the first column is a timestamptz.
    pub fn open_over_times(
        &self,
        table: Oid,
        index: &std::ffi::CStr,
        columns: &[usize],
        access: Access,
    ) -> Option<Keyed> {
        let index = catalog::relation(c"counter_ext", index)?;
        let table = Table::open(table);
        let key = Index::named(&table, index, access)?;
        key.is_key_over(&table, columns.iter().copied()).then_some(Keyed { key, table })
    }

    /// Opens it, locked before, with its primary key.
    pub fn open(&self, table: Oid, access: Access) -> Result<Keyed, CounterError> {
        Keyed::of(Table::open(table), self.name, self.key, access)
    }
}

/// An open table with its primary key. The transaction holds the tables' locks.
pub struct Keyed {
    pub table: Table,
    pub key: Index,
}

impl Keyed {
    /// Any table with its primary key over its first columns, which SQL lists so. Errors: 55000 it has another one, or none.
    pub fn of(
        table: Table,
        name: &'static str,
        key: &'static str,
        access: Access,
    ) -> Result<Keyed, CounterError> {
        Ok(Keyed { key: first_columns_key(&table, name, key, access)?, table })
    }

    /// As `of`, where the key's columns are these, numbered from 0.
    pub fn over(
        table: Table,
        columns: &[usize],
        name: &'static str,
        key: &'static str,
        access: Access,
    ) -> Result<Keyed, CounterError> {
        Ok(Keyed { key: primary_key(&table, columns.iter().copied(), name, key, access)?, table })
    }

    pub fn total(tables: Tables, access: Access) -> Result<Keyed, CounterError> {
        Keyed::of(Table::open(tables.total), "total", "id, node", access)
    }

    pub fn slot(tables: Tables, access: Access) -> Result<Keyed, CounterError> {
        if access == Access::Write {
            lock_slot_for_writing(tables);
        }
        let table = Table::open(tables.slot);
        Ok(Keyed { key: slot_key(&table, access)?, table })
    }
}

/// The slot table's primary key.
pub fn slot_key(table: &Table, access: Access) -> Result<Index, CounterError> {
    first_columns_key(table, "slot", "id, slot", access)
}

fn first_columns_key(
    table: &Table,
    name: &'static str,
    key: &'static str,
    access: Access,
) -> Result<Index, CounterError> {
    primary_key(table, 0..key.split(',').count(), name, key, access)
}

/// Opens the primary key. Scans and inserts by hand rely on its shape, so it is looked at each time: whoever owns the table may
/// have put another one there.
fn primary_key(
    table: &Table,
    columns: impl ExactSizeIterator<Item = usize>,
    name: &'static str,
    key: &'static str,
    access: Access,
) -> Result<Index, CounterError> {
    let oid = table.primary_key();
    if u32::from(oid) == 0 {
        return Err(CounterError::NoPrimaryKey { table: name, key });
    }
    let index = Index::open(oid, access);
    if index.is_key_over(table, columns) {
        Ok(index)
    } else {
        Err(CounterError::OtherPrimaryKey { table: name, key })
    }
}
