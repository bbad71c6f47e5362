//! Heavyweight locks: on our tables, and on ids. All last to the end of the transaction unless said otherwise.

use pgrx::pg_sys;

use super::Oid;
use super::catalog;
use super::process;
use super::table::Access;

/// Locks a table; waits for DDL on it, never for another increment or read.
pub fn lock_table(oid: Oid, access: Access) {
    // SAFETY: takes a lock by oid; whether the table still exists is checked by the caller afterwards.
    unsafe { pg_sys::LockRelationOid(oid, access.lock_mode()) }
}

/// Locks a table unless somebody holds a conflicting lock.
pub fn try_lock_table(oid: Oid, access: Access) -> bool {
    // SAFETY: as in `lock_table`.
    unsafe { pg_sys::ConditionalLockRelationOid(oid, access.lock_mode()) }
}

/// Keeps others from adding indexes, statistics, checks and partitions to a table, if it is there, and to its partitions, to the end of the
/// transaction. By its oid: a name could be another one's as soon as its schema is renamed, which waits for no lock.
pub fn lock_against_ddl(oid: Oid) {
    const MODE: pg_sys::LOCKMODE = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as in `lock_table`.
    unsafe { pg_sys::LockRelationOid(oid, MODE) }
    if catalog::is_partitioned(oid) {
        catalog::tree(oid, MODE);
    }
}

/// Locks a table against everybody unless somebody uses it, and gives the lock back at once. Whether it could.
pub(super) fn try_lock_briefly(oid: Oid) -> bool {
    const MODE: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as in `lock_table`; what is given back was just taken.
    unsafe {
        let got = pg_sys::ConditionalLockRelationOid(oid, MODE);
        if got {
            pg_sys::UnlockRelationOid(oid, MODE);
        }
        got
    }
}

/// Whether a command has locked a database so that nobody can connect to it, as ALTER DATABASE … RENAME does until its transaction
/// has ended, also as a prepared one.
pub fn is_database_locked(database: Oid) -> bool {
    const DATABASE_RELATION: u32 = 1262;
    const DEFAULT_LOCK_METHOD: u8 = 1;
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: DATABASE_RELATION,
        locktag_field3: u32::from(database),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: DEFAULT_LOCK_METHOD,
    };
    // What a process takes as it connects.
    let mode = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: the tag is that of LockSharedObject for a row of pg_database; tried inside a transaction, and given back at once.
    unsafe {
        let got = pg_sys::LockAcquire(&tag, mode, false, true);
        if got == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, mode, false);
    }
    false
}

/// Whether a relation of this oid exists, after its lock was taken.
pub fn relation_exists(oid: Oid) -> bool {
    // SAFETY: a syscache look-up inside a transaction.
    unsafe { pg_sys::get_rel_relkind(oid) != 0 }
}

/// What an object lock on our table stands for; the number is the lock tag's sub-id (pg_locks.objsubid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Reset, set or drop of the ids that hash to the number.
    Change(u32),
    /// A prepared transaction holds slot rows of the ids that hash to the number; 0 stands for all ids.
    Prepared(u32),
    /// A compaction pass.
    Compaction,
    /// What keys that hash to the number are being looked for, and inserted.
    Key(u32),
    /// Rows of a middle table, of the cache that hashes to the number.
    Middles(u32),
    /// One of them, which hashes to the number with its cache.
    Middle(u32),
    /// New rows of a middle table that foreign keys refer to, of the cache that hashes to the number.
    NewMiddles(u32),
}

/// How a subject is held that has subjects in it, as tables have rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Some are shared, each by a lock of its own. Goes with all but `Exclusive`.
    SomeShared,
    /// Some are held exclusively, each by a lock of its own. Goes with the two that hold some.
    SomeExclusive,
    /// All are shared.
    Shared,
    Exclusive,
}

impl Hold {
    fn mode(self) -> pg_sys::LOCKMODE {
        let mode = match self {
            Hold::SomeShared => pg_sys::RowShareLock,
            Hold::SomeExclusive => pg_sys::RowExclusiveLock,
            Hold::Shared => pg_sys::ShareLock,
            Hold::Exclusive => pg_sys::ExclusiveLock,
        };
        mode as pg_sys::LOCKMODE
    }
}

/// Holds the subject, to the end of the transaction, also of a prepared one.
pub fn hold(table: Oid, subject: Subject, hold: Hold) {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`.
    unsafe { pg_sys::LockDatabaseObject(table, object, sub, hold.mode()) }
}

/// As `hold`, but gives up at once where it would wait.
pub fn try_hold(table: Oid, subject: Subject, hold: Hold) -> bool {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`.
    unsafe { pg_sys::ConditionalLockDatabaseObject(table, object, sub, hold.mode()) }
}

/// A lock tag's number for an id, never 0.
pub fn id_hash(id: &[u8]) -> u32 {
    key_hash(id).max(1)
}

/// A lock tag's number for a key (FNV-1a): the same in every process and after a restart.
pub fn key_hash<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Subject {
    fn tag(self) -> (Oid, u16) {
        match self {
            Subject::Change(hash) => (Oid::from(hash), 1),
            Subject::Prepared(hash) => (Oid::from(hash), 2),
            Subject::Compaction => (Oid::from(0), 3),
            Subject::Key(hash) => (Oid::from(hash), 4),
            Subject::Middles(hash) => (Oid::from(hash), 5),
            Subject::Middle(hash) => (Oid::from(hash), 6),
            Subject::NewMiddles(hash) => (Oid::from(hash), 7),
        }
    }
}

const EXCLUSIVE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
/// Compatible with itself, not with `PROBE`.
const MARK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
const PROBE: pg_sys::LOCKMODE = pg_sys::ShareLock as pg_sys::LOCKMODE;

/// Waits until nobody else holds the subject exclusively, then holds it.
pub fn lock_exclusive(table: Oid, subject: Subject) {
    let (object, sub) = subject.tag();
    // SAFETY: object locks need no object behind them; the table's oid keeps tags of ours apart from others.
    unsafe { pg_sys::LockDatabaseObject(table, object, sub, EXCLUSIVE) }
}

/// As `lock_exclusive`, but gives up at once where it would wait.
pub fn try_lock_exclusive(table: Oid, subject: Subject) -> bool {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`.
    unsafe { pg_sys::ConditionalLockDatabaseObject(table, object, sub, EXCLUSIVE) }
}

/// Gives a lock back before the transaction ends.
pub fn unlock_exclusive(table: Oid, subject: Subject) {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`; releases what this transaction took.
    unsafe { pg_sys::UnlockDatabaseObject(table, object, sub, EXCLUSIVE) }
}

/// A transaction's id, of 32 bits.
pub type Xid = u32;

/// Transactions that a row version names as its lockers: one, or those of a multixact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockers {
    pub(super) xmax: u32,
    pub(super) is_multi: bool,
    pub(super) is_lock_only: bool,
}

impl Lockers {
    /// Whether any of them but this transaction runs.
    pub(super) fn others_run(self) -> bool {
        self.any(is_running_other)
    }

    pub(super) fn include_us(self) -> bool {
        self.any(is_ours)
    }

    /// Whether the test holds for one of them; the others are not tested then.
    fn any(self, mut test: impl FnMut(Xid) -> bool) -> bool {
        if !self.is_multi {
            return test(self.xmax);
        }
        let mut members: *mut pg_sys::MultiXactMember = std::ptr::null_mut();
        // SAFETY: a multixact out of a row version that vacuum cannot have frozen, since somebody named in it runs or ran a
        // moment ago. The members are palloc'd, as many as the result says, and freed here or with the transaction.
        unsafe {
            let multi = pg_sys::MultiXactId::from(self.xmax);
            let count = pg_sys::GetMultiXactIdMembers(multi, &mut members, false, self.is_lock_only);
            let Ok(count @ 1..) = usize::try_from(count) else { return false };
            let xids = std::slice::from_raw_parts(members, count);
            let holds = xids.iter().any(|member| test(member.xid.into_inner()));
            pg_sys::pfree(members.cast());
            holds
        }
    }
}

/// Whether a transaction is this one, or a savepoint of it that is not rolled back.
pub fn is_ours(xid: Xid) -> bool {
    // SAFETY: looks up this transaction's state.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(xid)) }
}

fn is_running_other(xid: Xid) -> bool {
    // SAFETY: looks up transaction state.
    !is_ours(xid) && unsafe { pg_sys::TransactionIdIsInProgress(pg_sys::TransactionId::from(xid)) }
}

/// Waits until all of them but this transaction have ended. The caller holds no page, and looks again then.
pub fn wait_for_lockers(lockers: Lockers) {
    process::check_for_interrupts();
    lockers.any(|xid| {
        if is_running_other(xid) {
            wait_for_transaction(xid);
        }
        false
    });
}

/// Waits until a transaction, or the one that a subtransaction belongs to, has ended; also a prepared one. The caller
/// holds no page, and looks again then: it can be cancelled here, also where there is nothing to wait for.
pub fn wait_for_transaction(xid: Xid) {
    process::check_for_interrupts();
    // SAFETY: waits on the lock that each transaction holds on itself; a deadlock is an ERROR as usual.
    unsafe {
        pg_sys::XactLockTableWait(
            pg_sys::TransactionId::from(xid),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::XLTW_Oper::XLTW_None,
        );
    }
}

/// Marks the subject; marks of several transactions go together. Survives PREPARE TRANSACTION and a restart.
pub fn mark(table: Oid, subject: Subject) {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`.
    unsafe { pg_sys::LockDatabaseObject(table, object, sub, MARK) }
}

/// Whether any transaction marks the subject now.
pub fn is_marked(table: Oid, subject: Subject) -> bool {
    let (object, sub) = subject.tag();
    // SAFETY: as in `lock_exclusive`; the probe is released at once.
    unsafe {
        if pg_sys::ConditionalLockDatabaseObject(table, object, sub, PROBE) {
            pg_sys::UnlockDatabaseObject(table, object, sub, PROBE);
            false
        } else {
            true
        }
    }
}

unsafe extern "C-unwind" {
    // twophase.h; not among pgrx's bindings.
    static max_prepared_xacts: std::ffi::c_int;
}

/// Prepared transactions that this server allows at once.
pub fn max_prepared_transactions() -> usize {
    // SAFETY: a postmaster-start setting, constant for the life of the process.
    unsafe { max_prepared_xacts.max(0) as usize }
}
