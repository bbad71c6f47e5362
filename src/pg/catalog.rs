//! Names to oids, and being told when what was learned from the catalogs is out of date.
//!
//! BOUND: some bytes for each database, each partition or each watch: as many as the catalogs hold.

use crate::pg::session::session_local;
use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::Oid;

session_local! {
    static WATCHES: RefCell<Vec<&'static Watch>> = const { RefCell::new(Vec::new()) };
    static ANY_RELATION: Cell<u64> = const { Cell::new(0) };
    static ROLES: Cell<u64> = const { Cell::new(0) };
    static SUBSCRIBED: Cell<u64> = const { Cell::new(0) };
}

/// Tells somebody who remembers something about some relations when that is out of date.
pub struct Watch {
    version: Cell<u64>,
    relations: Cell<[u32; 4]>,
}

impl Watch {
    /// One more watch of this process, for as long as it lives. It watches all relations until it is told which.
    pub fn begin() -> &'static Watch {
        let watch: &Watch =
            Box::leak(Box::new(Watch { version: Cell::new(0), relations: Cell::new([0; 4]) }));
        WATCHES.with_borrow_mut(|watches| watches.push(watch));
        watch
    }

    /// Changes whenever something about the watched relations changed; of some also when their rows did, where
    /// `announce_change` tells of it.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Names the relations to watch, at most four. While none is named every change counts.
    pub fn set(&self, relations: &[Oid]) {
        let mut watched = [0; 4];
        for (place, relation) in watched.iter_mut().zip(relations) {
            *place = u32::from(*relation);
        }
        self.relations.set(watched);
    }

    fn note(&self, relation: u32) {
        let relations = self.relations.get();
        if relation == 0 || relations == [0; 4] || relations.contains(&relation) {
            self.version.set(self.version.get() + 1);
        }
    }
}

/// Changes whenever something about any relation changed.
pub fn any_relation_version() -> u64 {
    ANY_RELATION.get()
}

/// Changes whenever something about roles or memberships changed.
pub fn roles_version() -> u64 {
    ROLES.get()
}

/// Changes whenever something about the tables that are subscribed to changed.
pub fn subscribed_version() -> u64 {
    SUBSCRIBED.get()
}

/// Tells all processes, when this transaction commits, and this one after the running command, that what they know about a
/// relation is out of date.
pub fn announce_change(relation: Oid) {
    // SAFETY: queues a message of this transaction; a relation that is not there is an ERROR.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
}

/// Takes in what others have announced, as taking a lock on a relation does.
pub fn hear_changes() {
    // SAFETY: called inside a transaction, where a lock could be taken as well.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Registers the callbacks, once a process.
pub fn register() {
    // SAFETY: the callbacks have PostgreSQL's signatures, do nothing but set backend variables, and live as long
    // as the process.
    unsafe {
        let none = pg_sys::Datum::null();
        pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), none);
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::AUTHOID as i32,
            Some(on_role),
            none,
        );
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM as i32,
            Some(on_role),
            none,
        );
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::SUBSCRIPTIONRELMAP as i32,
            Some(on_subscribed),
            none,
        );
    }
}

#[pg_guard]
extern "C-unwind" fn on_relation(_arg: pg_sys::Datum, relation: Oid) {
    ANY_RELATION.set(ANY_RELATION.get() + 1);
    let relation = u32::from(relation);
    WATCHES.with_borrow(|watches| watches.iter().for_each(|watch| watch.note(relation)));
}

#[pg_guard]
extern "C-unwind" fn on_role(_arg: pg_sys::Datum, _cache: std::ffi::c_int, _hash: u32) {
    ROLES.set(ROLES.get() + 1);
}

#[pg_guard]
extern "C-unwind" fn on_subscribed(_arg: pg_sys::Datum, _cache: std::ffi::c_int, _hash: u32) {
    SUBSCRIBED.set(SUBSCRIBED.get() + 1);
}

/// The relation's oid, or `None` when there is no such schema or relation.
pub fn relation(schema: &CStr, name: &CStr) -> Option<Oid> {
    // SAFETY: syscache look-ups inside a transaction.
    let oid = unsafe {
        let namespace = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        if namespace == pg_sys::InvalidOid {
            return None;
        }
        pg_sys::get_relname_relid(name.as_ptr(), namespace)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Whether this database has a subscription of that name.
pub fn has_subscription(name: &CStr) -> bool {
    let cache = pg_sys::SysCacheIdentifier::SUBSCRIPTIONNAME as i32;
    let (database, name) = (pg_sys::Datum::from(my_database()), pg_sys::Datum::from(name.as_ptr()));
    let none = pg_sys::Datum::from(0usize);
    // SAFETY: a syscache look-up inside a transaction, by the cache's two keys.
    unsafe { pg_sys::SearchSysCacheExists(cache, database, name, none, none) }
}

/// The relation's oid, as the caller's search_path finds it.
pub fn relation_on_path(name: &CStr) -> Option<Oid> {
    // SAFETY: syscache look-ups inside a transaction.
    let oid = unsafe { pg_sys::RelnameGetRelid(name.as_ptr()) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The partitioned table that the relation is a part of, by however many levels; itself where it is none.
pub fn partition_root(relation: Oid) -> Oid {
    // SAFETY: the function takes an oid, and answers NULL where that is in no tree of partitions.
    let root =
        unsafe { pgrx::direct_function_call::<Oid>(pg_sys::pg_partition_root, &[relation.into_datum()]) };
    root.unwrap_or(relation)
}

/// Whether the relation belongs to the extension. A table of the same name that somebody else made does not.
pub fn is_member(relation: Oid, extension: &CStr) -> bool {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let owner = pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, relation);
        owner != pg_sys::InvalidOid && owner == pg_sys::get_extension_oid(extension.as_ptr(), true)
    }
}

/// Whether a function belongs to the extension.
pub fn is_function_of(function: Oid, extension: &CStr) -> bool {
    // SAFETY: catalog look-ups inside a transaction.
    unsafe {
        let owner = pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, function);
        owner != pg_sys::InvalidOid && owner == pg_sys::get_extension_oid(extension.as_ptr(), true)
    }
}

/// A trigger that the running command has made.
#[derive(Clone, Copy, Debug)]
pub struct NewTrigger {
    pub relation: Oid,
    pub function: Oid,
}

/// What a trigger is that was made this moment, so that no snapshot sees it yet.
pub fn new_trigger(trigger: Oid) -> Option<NewTrigger> {
    const OID_COLUMN: pg_sys::AttrNumber = 1;
    // SAFETY: a scan of pg_trigger by its index on the oid, as PostgreSQL's own object access hooks make it (sepgsql); its rows are
    // FormData_pg_trigger. All that is opened is closed here, or by the abort where an error comes in between.
    unsafe {
        let mut key: pg_sys::ScanKeyData = std::mem::zeroed();
        let equals = pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber;
        let function = pg_sys::RegProcedure::from(pg_sys::F_OIDEQ);
        pg_sys::ScanKeyInit(&mut key, OID_COLUMN, equals, function, pg_sys::Datum::from(trigger));
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let catalog = pg_sys::table_open(pg_sys::TriggerRelationId, lock);
        let index = Oid::from(pg_sys::TriggerOidIndexId);
        let snapshot = &raw mut pg_sys::SnapshotSelfData;
        let scan = pg_sys::systable_beginscan(catalog, index, true, snapshot, 1, &mut key);
        let tuple = pg_sys::systable_getnext(scan);
        let found = (!tuple.is_null()).then(|| {
            let data = (*tuple).t_data;
            let form = (data as *mut u8).add(usize::from((*data).t_hoff)) as pg_sys::Form_pg_trigger;
            NewTrigger { relation: (*form).tgrelid, function: (*form).tgfoid }
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
        found
    }
}

/// Whether the relation's leading columns are of these types, as code that decodes rows by hand must know. 0 stands for any type
/// of variable length.
pub fn has_column_types(relation: Oid, types: &[u32]) -> bool {
    types.iter().zip(1..).all(|(wanted, number)| {
        // SAFETY: syscache look-ups inside a transaction.
        unsafe {
            let found = pg_sys::get_atttype(relation, number);
            if *wanted == 0 { pg_sys::get_typlen(found) == -1 } else { u32::from(found) == *wanted }
        }
    })
}

/// Whether the relation's leading columns have the names of another's.
pub fn has_column_names_of(relation: Oid, other: Oid, columns: usize) -> bool {
    (1..=columns as i16).all(|number| {
        // SAFETY: syscache look-ups inside a transaction; a name is null, or palloc'd.
        unsafe {
            let [ours, theirs] = [relation, other].map(|oid| pg_sys::get_attname(oid, number, true));
            !ours.is_null() && !theirs.is_null() && CStr::from_ptr(ours) == CStr::from_ptr(theirs)
        }
    })
}

/// A column's number from 0, by its name.
pub fn column(relation: Oid, name: &CStr) -> Option<usize> {
    // SAFETY: a syscache look-up inside a transaction; the name is read only.
    let number = unsafe { pg_sys::get_attnum(relation, name.as_ptr()) };
    usize::try_from(number).ok()?.checked_sub(1)
}

unsafe extern "C-unwind" {
    // pg_inherits.h; not among pgrx's bindings.
    fn find_all_inheritors(
        parent: Oid,
        lock_mode: pg_sys::LOCKMODE,
        counts: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

/// The partitions of a table that hold rows, at any depth. They are not locked.
pub fn partitions(parent: Oid) -> Vec<Oid> {
    let mut found = tree(parent, pg_sys::NoLock as pg_sys::LOCKMODE);
    found.retain(|oid| !is_partitioned(*oid));
    found
}

/// Whether the relation is a partitioned table.
pub fn is_partitioned(relation: Oid) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE }
}

/// A table and its partitions, at any depth, which are locked as the table is already.
pub(super) fn tree(parent: Oid, lock_mode: pg_sys::LOCKMODE) -> Vec<Oid> {
    // SAFETY: a catalog scan inside a transaction, guarded as it may raise; the list is of oids, palloc'd in the current
    // context and freed here.
    unsafe {
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(parent, lock_mode, std::ptr::null_mut())
        });
        let count = if list.is_null() { 0 } else { (*list).length as usize };
        let found = (0..count).map(|index| (*(*list).elements.add(index)).oid_value).collect();
        pg_sys::list_free(list);
        found
    }
}

/// Whether the relation is the named one; for use where it is about to be dropped.
pub fn is_relation(oid: Oid, schema: &CStr, name: &CStr) -> bool {
    // SAFETY: syscache look-ups inside a transaction; the name is a palloc'd copy or null.
    unsafe {
        let found = pg_sys::get_rel_name(oid);
        if found.is_null() || CStr::from_ptr(found) != name {
            return false;
        }
        let found = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        !found.is_null() && CStr::from_ptr(found) == schema
    }
}

/// The relation's name; empty where there is none.
pub fn relation_name(relation: Oid) -> String {
    // SAFETY: a syscache look-up inside a transaction; the name is a palloc'd copy or null.
    unsafe {
        let name = pg_sys::get_rel_name(relation);
        if name.is_null() { String::new() } else { CStr::from_ptr(name).to_string_lossy().into_owned() }
    }
}

/// Whether the database has the extension.
pub fn has_extension(extension: &CStr) -> bool {
    // SAFETY: a plain read of backend variables, and a catalog look-up inside a transaction.
    unsafe {
        pg_sys::IsTransactionState()
            && pg_sys::get_extension_oid(extension.as_ptr(), true) != pg_sys::InvalidOid
    }
}

/// The version of an extension that the database has; `None` where it has none of that name.
pub fn extension_version(extension: &CStr) -> Option<String> {
    // SAFETY: a catalog scan inside a transaction, by a name that lives as long as the scan. The row is one of pg_extension, whose version is
    // a text that is not NULL; it is copied before the scan ends.
    unsafe {
        if !pg_sys::IsTransactionState() {
            return None;
        }
        let mut wanted = std::mem::zeroed::<pg_sys::NameData>();
        pg_sys::namestrcpy(&mut wanted, extension.as_ptr());
        let mut key = std::mem::zeroed::<pg_sys::ScanKeyData>();
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_extension_extname as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            Oid::from(pg_sys::F_NAMEEQ),
            pg_sys::Datum::from(&raw mut wanted),
        );
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let catalog = pg_sys::table_open(pg_sys::ExtensionRelationId, lock);
        let index = Oid::from(pg_sys::ExtensionNameIndexId);
        let scan = pg_sys::systable_beginscan(catalog, index, true, std::ptr::null_mut(), 1, &mut key);
        let row = pg_sys::systable_getnext(scan);
        let version = (!row.is_null()).then(|| {
            let mut is_null = false;
            let number = pg_sys::Anum_pg_extension_extversion as i32;
            let text = pg_sys::heap_getattr(row, number, (*catalog).rd_att, &mut is_null);
            CStr::from_ptr(pg_sys::text_to_cstring(text.cast_mut_ptr())).to_string_lossy().into_owned()
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
        version
    }
}

/// Whether there is a schema of this name.
pub fn has_schema(schema: &CStr) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) != pg_sys::InvalidOid }
}

/// Whether the script of CREATE EXTENSION, or of an update, is running for this extension.
pub fn is_creating_extension(extension: &CStr) -> bool {
    // SAFETY: plain reads of backend variables; a catalog look-up inside a transaction.
    unsafe {
        pg_sys::creating_extension
            && pg_sys::CurrentExtensionObject == pg_sys::get_extension_oid(extension.as_ptr(), true)
    }
}

/// The database this process is connected to.
pub fn my_database() -> Oid {
    // SAFETY: a plain read of a backend variable.
    unsafe { pg_sys::MyDatabaseId }
}

/// A database's oid by name.
pub fn database(name: &CStr) -> Option<Oid> {
    // SAFETY: a catalog look-up inside a transaction.
    let oid = unsafe { pg_sys::get_database_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Whether there is a database of this oid.
pub fn is_database(oid: Oid) -> bool {
    // SAFETY: a syscache look-up inside a transaction; the name is a palloc'd copy or null.
    unsafe { !pg_sys::get_database_name(oid).is_null() }
}

/// A database of the server.
#[derive(Clone, Copy, Debug)]
pub struct Database {
    pub oid: Oid,
    pub connectable: bool,
}

/// All databases. Needs a transaction, but no database.
pub fn databases() -> Vec<Database> {
    let mut found = Vec::new();
    // SAFETY: the autovacuum launcher's way to list databases: a catalog scan of the shared pg_database, whose
    // rows are FormData_pg_database.
    unsafe {
        let rel = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
        let scan = pg_sys::table_beginscan_catalog(rel, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let data = (*tuple).t_data;
            let form = (data as *mut u8).add(usize::from((*data).t_hoff)) as pg_sys::Form_pg_database;
            let is_invalid = (*form).datconnlimit == pg_sys::DATCONNLIMIT_INVALID_DB;
            found.push(Database { oid: (*form).oid, connectable: (*form).datallowconn && !is_invalid });
        }
        let am = (*(*scan).rs_rd).rd_tableam;
        if let Some(end) = (*am).scan_end {
            end(scan);
        }
        pg_sys::table_close(rel, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    }
    found
}
