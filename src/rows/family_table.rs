//! Tables of the families: where they are, locks on them, and the caller's rights, each looked up once and cached until PostgreSQL says
//! that it changed. In the lock order they come after counter_ext.total: see `access.rs`.
//!
//! BOUND: as many tables as families have.

use std::cell::RefCell;

use super::access::{lock_total_first, tables, try_lock_in_time};
use super::keyed::Keyed;
use crate::errors::CounterError;
use crate::pg::privilege::{self, Rights};
use crate::pg::session::session_local;
use crate::pg::table::{Access, Index, Table};
use crate::pg::{Oid, catalog, lock, partition};

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
