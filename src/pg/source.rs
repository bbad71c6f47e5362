//! A user's table: its name, its columns, its triggers. Whoever has one holds a lock on it.
//!
//! BOUND: names and arguments of one table's triggers, and a query of them, as long as the catalogs hold.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::Oid;
use super::confined;
use super::errors::SourceError;
use super::key_text::KeyText;
use super::spi;
use crate::errors::CounterError;

/// What a statement does to a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Insert,
    Delete,
    Update,
    Truncate,
}

/// A column of a table, and how its values become text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub(super) number: i16,
    pub text: KeyText,
    type_oid: Oid,
    collation: Oid,
}

impl Column {
    pub fn number(self) -> i16 {
        self.number
    }
}

/// What a trigger on a table is, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub name: Vec<u8>,
    pub function: Oid,
    pub arguments: Vec<Vec<u8>>,
    pub for_each_row: bool,
    is_before: bool,
    /// Fires at once, for each of its statements, in sessions that are not replicas.
    always_fires: bool,
    has_old_table: bool,
    has_new_table: bool,
    events: u32,
    /// `pg_trigger.tgenabled`: O in sessions that are not replicas, R in those that are, A always, D never.
    enabled: u8,
}

impl Declared {
    /// Whether it fires in sessions that are replicas, or in those that are not.
    pub fn fires(&self, in_replicas: bool) -> bool {
        self.enabled == b'A' || self.enabled == if in_replicas { b'R' } else { b'O' }
    }

    /// Whether it is one of a pair that counts in replicas only, for the event: see `caches::replicas`.
    pub fn is_for_replicas(&self, event: Event, all: &[Declared]) -> bool {
        self.for_each_row
            && (self.enabled == b'R'
                || all.iter().any(|other| {
                    !other.for_each_row
                        && other.function == self.function
                        && other.arguments == self.arguments
                        && other.is_for(event)
                }))
    }

    /// Whether it is told of the event as `counter_rows` needs it.
    pub fn covers(&self, event: Event) -> bool {
        let (before, old, new) = match event {
            Event::Insert => (false, false, true),
            Event::Delete => (false, true, false),
            Event::Update => (false, true, true),
            Event::Truncate => (true, false, false),
        };
        let has_rows = self.for_each_row || (self.has_old_table || !old) && (self.has_new_table || !new);
        self.is_for(event) && self.always_fires && self.is_before == before && has_rows
    }

    /// Whether it is a trigger for the event, of whatever use.
    pub fn is_for(&self, event: Event) -> bool {
        let bit = match event {
            Event::Insert => pg_sys::TRIGGER_TYPE_INSERT,
            Event::Delete => pg_sys::TRIGGER_TYPE_DELETE,
            Event::Update => pg_sys::TRIGGER_TYPE_UPDATE,
            Event::Truncate => pg_sys::TRIGGER_TYPE_TRUNCATE,
        };
        self.events & bit != 0
    }
}

/// `pg_attribute.attgenerated` of a column whose values are in no row, from PostgreSQL 18 on.
const VIRTUAL: u8 = b'v';

/// A table that is open.
pub struct Source {
    rel: pg_sys::Relation,
    is_ours_to_close: bool,
}

impl Source {
    /// Opens a table with a lock that keeps its definition, to the end of the transaction. Errors: 42809 no table; 42P01 nothing
    /// of this oid.
    pub fn open(oid: Oid) -> Result<Source, CounterError> {
        // SAFETY: the relation is opened with a lock, if it is there.
        let rel = unsafe { pg_sys::try_relation_open(oid, pg_sys::AccessShareLock as pg_sys::LOCKMODE) };
        if rel.is_null() {
            return Err(SourceError::NoTable { oid: oid.into() }.into());
        }
        let source = Source { rel, is_ours_to_close: true };
        match source.kind() {
            pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => Ok(source),
            _ => Err(SourceError::NotATable { table: source.name() }.into()),
        }
    }

    /// # Safety
    /// The relation must stay open, and locked, while the result is used.
    pub(super) unsafe fn of_open(rel: pg_sys::Relation) -> Source {
        Source { rel, is_ours_to_close: false }
    }

    fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: an open relation has its pg_class row.
        unsafe { &*(*self.rel).rd_rel }
    }

    fn kind(&self) -> u8 {
        self.form().relkind as u8
    }

    pub fn oid(&self) -> Oid {
        // SAFETY: open while `self` lives.
        unsafe { (*self.rel).rd_id }
    }

    pub fn owner(&self) -> Oid {
        self.form().relowner
    }

    pub fn is_partitioned(&self) -> bool {
        self.kind() == pg_sys::RELKIND_PARTITIONED_TABLE
    }

    pub fn is_partition(&self) -> bool {
        self.form().relispartition
    }

    /// The name without its schema, for messages.
    pub fn name(&self) -> Vec<u8> {
        // SAFETY: a NUL-terminated name in the pg_class row.
        unsafe { CStr::from_ptr(self.form().relname.data.as_ptr()) }.to_bytes().to_vec()
    }

    /// The name as SQL writes it, with its schema.
    pub fn qualified_name(&self) -> Vec<u8> {
        // Triggers keep it as an argument, which is compared: no setting of the caller's decides how it is quoted.
        // SAFETY: syscache look-ups; the results are palloc'd strings.
        confined::as_caller(|_| unsafe {
            let schema = pg_sys::get_namespace_name(self.form().relnamespace);
            let name = pg_sys::quote_qualified_identifier(schema, self.form().relname.data.as_ptr());
            CStr::from_ptr(name).to_bytes().to_vec()
        })
    }

    /// What a query's FROM reads where it is to see the rows that triggers of the table are told of: a partitioned table's with
    /// those of its partitions, any other's without those of tables that inherit from it.
    pub fn what_triggers_see(&self) -> Vec<u8> {
        let name = self.qualified_name();
        if self.is_partitioned() { name } else { [b"ONLY ".as_slice(), &name].concat() }
    }

    /// A column that counters are to be named by. Errors: those of `column`; 0A000 equal values of it may have different texts.
    pub fn key_column(&self, name: &CStr) -> Result<Column, CounterError> {
        let column = self.column(name)?;
        column.text.check_equality(column.type_oid, column.collation)?;
        Ok(column)
    }

    /// A column by its name, as one of a key. Errors: 42703 there is none; 0A000 its values have no text, or are in no row.
    pub fn column(&self, name: &CStr) -> Result<Column, CounterError> {
        let (number, oid, collation) = self.stored_column(name)?;
        Ok(Column { number, text: KeyText::of_type(oid)?, type_oid: oid, collation })
    }

    /// A column's number, and its type without the domains over it. Errors: 42703 there is none; 0A000 its values are in no row.
    pub(super) fn column_type(&self, name: &CStr) -> Result<(i16, Oid), CounterError> {
        let (number, oid, _) = self.stored_column(name)?;
        // SAFETY: a syscache look-up.
        Ok((number, unsafe { pg_sys::getBaseType(oid) }))
    }

    fn stored_column(&self, name: &CStr) -> Result<(i16, Oid, Oid), CounterError> {
        // SAFETY: looks through the open relation's description.
        let number = unsafe { pg_sys::attnameAttNum(self.rel, name.as_ptr(), false) };
        if number <= 0 {
            return Err(SourceError::NoColumn { column: name.to_bytes().to_vec(), table: self.name() }.into());
        }
        let number = number as i16;
        let (mut oid, mut collation, mut modifier) = (pg_sys::InvalidOid, pg_sys::InvalidOid, 0);
        // SAFETY: syscache look-ups of a column of the open relation, which write what the pointers are to.
        let generated = unsafe {
            pg_sys::get_atttypetypmodcoll(self.oid(), number, &mut oid, &mut modifier, &mut collation);
            pg_sys::get_attgenerated(self.oid(), number)
        };
        if generated as u8 == VIRTUAL {
            // Triggers do not see its values.
            return Err(SourceError::VirtualKey { column: name.to_bytes().to_vec() }.into());
        }
        Ok((number, oid, collation))
    }

    /// The type of a column, without the domains over it.
    pub fn base_type(&self, column: Column) -> Oid {
        // SAFETY: a syscache look-up.
        unsafe { pg_sys::getBaseType(column.type_oid) }
    }

    /// A column as SQL names it, of a table under an alias.
    pub fn column_sql(&self, alias: &str, number: i16) -> Vec<u8> {
        // SAFETY: a column of the open relation; its name is a palloc'd string.
        let name = unsafe { CStr::from_ptr(pg_sys::get_attname(self.oid(), number, false)) };
        [alias.as_bytes(), b".", &spi::identifier(name)].concat()
    }

    /// Its triggers.
    pub fn triggers(&self) -> Vec<Declared> {
        // SAFETY: the open relation's trigger description, if it has one: `numtriggers` triggers with `tgnargs` arguments each.
        unsafe {
            let description = (*self.rel).trigdesc;
            if description.is_null() {
                return Vec::new();
            }
            let declared = |at: i32| {
                let trigger = &*(*description).triggers.add(at as usize);
                let kind = trigger.tgtype as u32;
                let argument = |at: i16| CStr::from_ptr(*trigger.tgargs.add(at as usize)).to_bytes().to_vec();
                Declared {
                    name: CStr::from_ptr(trigger.tgname).to_bytes().to_vec(),
                    function: trigger.tgfoid,
                    arguments: (0..trigger.tgnargs).map(argument).collect(),
                    for_each_row: kind & pg_sys::TRIGGER_TYPE_ROW != 0,
                    is_before: kind & pg_sys::TRIGGER_TYPE_BEFORE != 0,
                    always_fires: matches!(trigger.tgenabled as u8, b'O' | b'A')
                        && !trigger.tgdeferrable
                        && trigger.tgnattr == 0
                        && trigger.tgqual.is_null(),
                    has_old_table: !trigger.tgoldtable.is_null(),
                    has_new_table: !trigger.tgnewtable.is_null(),
                    events: kind & pg_sys::TRIGGER_TYPE_EVENT_MASK,
                    enabled: trigger.tgenabled as u8,
                }
            };
            (0..(*description).numtriggers).map(declared).collect()
        }
    }

    /// Raises 55006 where a query of this session is just changing the table, or has triggers still to fire: its rows and what
    /// was counted of them differ then.
    pub fn check_not_in_use(&self, function: &CStr) {
        // SAFETY: an open relation, held by one reference of ours.
        unsafe { pg_sys::CheckTableNotInUse(self.rel, function.as_ptr()) }
    }

    /// Raises 42501 where the user may not create triggers on it.
    pub fn check_may_create_triggers(&self, user: Oid) {
        // SAFETY: syscache look-ups; the name is NUL-terminated.
        unsafe {
            let result = pg_sys::pg_class_aclcheck(self.oid(), user, pg_sys::ACL_TRIGGER as pg_sys::AclMode);
            if result != pg_sys::AclResult::ACLCHECK_OK {
                pg_sys::aclcheck_error(
                    result,
                    pg_sys::ObjectType::OBJECT_TABLE,
                    self.form().relname.data.as_ptr(),
                );
            }
        }
    }

    /// Takes the lock that CREATE TRIGGER takes: writers wait, and those before it have ended.
    pub fn lock_against_writers(&self) {
        // SAFETY: takes a lock on a relation that is open.
        unsafe {
            pg_sys::LockRelationOid(self.oid(), pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.is_ours_to_close && !std::thread::panicking() {
            // SAFETY: opened in `open`, closed once; the lock is kept to the transaction's end.
            unsafe { pg_sys::relation_close(self.rel, pg_sys::NoLock as pg_sys::LOCKMODE) }
        }
    }
}
