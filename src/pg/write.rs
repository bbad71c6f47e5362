//! Inserts, updates and deletes of single rows that never wait for another transaction, whatever the isolation
//! level: what somebody else holds, or has changed, comes back as `Taken`.

use pgrx::pg_sys;

use super::interval::Interval;
use super::page::{Page, Tid, Version};
use super::snapshot::ActiveSnapshot;
use super::table::{MAX_COLUMNS, Table};
use super::xact;

/// A column's new value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Text(&'a [u8]),
    /// The payload of any other type of variable length.
    Bytes(&'a [u8]),
    Bigint(i64),
    /// Also a date: days since 2000-01-01.
    Int(i32),
    Interval(Interval),
    Null,
    /// The transaction's start time, as `now()`.
    Now,
}

impl Value<'_> {
    fn is_null(self) -> bool {
        matches!(self, Value::Null)
    }

    fn datum(self) -> pg_sys::Datum {
        match self {
            // SAFETY: copies the bytes into the current memory context.
            Value::Text(bytes) | Value::Bytes(bytes) => pg_sys::Datum::from(unsafe {
                pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32)
            }),
            Value::Bigint(value) => pg_sys::Datum::from(value),
            Value::Int(value) => pg_sys::Datum::from(value),
            // SAFETY: PostgreSQL's own representation, allocated in the current memory context.
            Value::Interval(interval) => unsafe {
                let raw = pg_sys::palloc(size_of::<pg_sys::Interval>()).cast::<pg_sys::Interval>();
                *raw = pg_sys::Interval { time: interval.us, day: interval.days, month: interval.months };
                pg_sys::Datum::from(raw)
            },
            Value::Null => pg_sys::Datum::null(),
            // SAFETY: a plain read of transaction state.
            Value::Now => pg_sys::Datum::from(unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }),
        }
    }
}

/// Inserts a row; `values` are the leading columns, any further ones become NULL.
pub fn insert(table: &Table, values: &[Value<'_>]) -> Tid {
    let mut datums = [pg_sys::Datum::null(); MAX_COLUMNS];
    let mut nulls = [true; MAX_COLUMNS];
    for (column, value) in values.iter().enumerate() {
        datums[column] = value.datum();
        nulls[column] = value.is_null();
    }
    // SAFETY: Table::open checked that the descriptor has at most MAX_COLUMNS columns.
    unsafe {
        let _active = snapshot_to_write(false);
        let tuple = pg_sys::heap_form_tuple(table.descriptor(), datums.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::heap_insert(table.raw(), tuple, pg_sys::GetCurrentCommandId(true), 0, std::ptr::null_mut());
        insert_index_entries(table, tuple, Entries::All);
        Tid::from_raw(&(*tuple).t_self)
    }
}

/// Inserts a row as INSERT … ON CONFLICT DO NOTHING does, without waiting: where another row has the key, or another transaction
/// inserts, changes or deletes one that has it, or `may` says no once the row is where others find it, nothing is left of it.
pub fn insert_unless_taken(
    table: &Table,
    values: &[Value<'_>],
    may: impl FnOnce() -> bool,
) -> Result<Tid, Taken> {
    let mut datums = [pg_sys::Datum::null(); MAX_COLUMNS];
    let mut nulls = [true; MAX_COLUMNS];
    for (column, value) in values.iter().enumerate() {
        datums[column] = value.datum();
        nulls[column] = false;
    }
    // SAFETY: as in `insert`. The steps are those of the executor's: whoever inserts the same key and waits for us waits for the lock
    // on the token only, and finds the row confirmed or gone when it is released. An error in between aborts the transaction, and
    // the row with it.
    unsafe {
        let _active = snapshot_to_write(false);
        let tuple = pg_sys::heap_form_tuple(table.descriptor(), datums.as_mut_ptr(), nulls.as_mut_ptr());
        let xid = pg_sys::GetCurrentTransactionId();
        let token = pg_sys::SpeculativeInsertionLockAcquire(xid);
        // As HeapTupleHeaderSetSpeculativeToken.
        let link = &mut (*(*tuple).t_data).t_ctid;
        link.ip_blkid = pg_sys::BlockIdData { bi_hi: (token >> 16) as u16, bi_lo: token as u16 };
        link.ip_posid = pg_sys::SpecTokenOffsetNumber as u16;
        let command = pg_sys::GetCurrentCommandId(true);
        let options = pg_sys::HEAP_INSERT_SPECULATIVE as i32;
        pg_sys::heap_insert(table.raw(), tuple, command, options, std::ptr::null_mut());
        let is_alone = insert_index_entries(table, tuple, Entries::UnlessTaken);
        let stays = is_alone && may();
        if stays {
            pg_sys::heap_finish_speculative(table.raw(), &mut (*tuple).t_self);
        } else {
            pg_sys::heap_abort_speculative(table.raw(), &mut (*tuple).t_self);
        }
        pg_sys::SpeculativeInsertionLockRelease(xid);
        if stays { Ok(Tid::from_raw(&(*tuple).t_self)) } else { Err(Taken) }
    }
}

/// Another transaction holds the row, or was faster to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken;

/// A version to be changed or deleted, with a pin of its own on the page where it lies: its bytes stay where they are.
pub struct Candidate<'t> {
    page: Page<'t>,
    header: pg_sys::HeapTupleData,
    /// This transaction locked the row before, and nobody else holds it.
    is_locked_by_us: bool,
}

impl<'t> Candidate<'t> {
    pub fn new(version: &mut Version<'_, 't>) -> Candidate<'t> {
        let is_locked_by_us = version.is_locked_by_us();
        let page = version.page().pin_again();
        let tuple = version.raw();
        Candidate {
            page,
            header: pg_sys::HeapTupleData {
                t_len: tuple.t_len,
                t_self: tuple.t_self,
                t_tableOid: tuple.t_tableOid,
                t_data: tuple.t_data,
            },
            is_locked_by_us,
        }
    }

    pub fn tid(&self) -> Tid {
        Tid::from_raw(&self.header.t_self)
    }

    fn is_external(&self) -> bool {
        // SAFETY: the candidate's bytes are on the page that it pins.
        let bits = unsafe { (*self.header.t_data).t_infomask };
        u32::from(bits) & pg_sys::HEAP_HASEXTERNAL != 0
    }

    /// Replaces some columns, if it still is the latest version and nobody else holds it; returns where the new version is.
    pub fn update(mut self, changes: &[(usize, Value<'_>)]) -> Result<Tid, Taken> {
        let table = self.page.table();
        let mut datums = [pg_sys::Datum::null(); MAX_COLUMNS];
        let mut nulls = [false; MAX_COLUMNS];
        let mut replace = [false; MAX_COLUMNS];
        for (column, value) in changes {
            datums[*column] = value.datum();
            nulls[*column] = value.is_null();
            replace[*column] = true;
        }
        // SAFETY: the candidate's bytes are on the page that it pins; heap_update takes its own lock and says whether this is
        // still the latest version.
        unsafe {
            // Columns that somebody has added may lie out of line, and be read anew.
            let _active = snapshot_to_write(self.is_external());
            let tuple = pg_sys::heap_modify_tuple(
                &mut self.header,
                table.descriptor(),
                datums.as_mut_ptr(),
                nulls.as_mut_ptr(),
                replace.as_mut_ptr(),
            );
            let is_locked = self.is_locked_by_us || assertions_enabled();
            if is_locked {
                self.lock_without_waiting(pg_sys::LockTupleMode::LockTupleNoKeyExclusive)?;
            }
            let mut tid = self.header.t_self;
            let mut failure = std::mem::zeroed::<pg_sys::TM_FailureData>();
            let mut mode: pg_sys::LockTupleMode::Type = 0;
            #[cfg(not(feature = "pg15"))]
            let mut indexes: pg_sys::TU_UpdateIndexes::Type = 0;
            let result = pg_sys::heap_update(
                table.raw(),
                &mut tid,
                tuple,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                // With the row locked by ourselves there is nothing to wait for.
                is_locked,
                &mut failure,
                &mut mode,
                #[cfg(not(feature = "pg15"))]
                &mut indexes,
            );
            done(result)?;
            let heap_only = u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE != 0;
            // From 16 on a summarizing index (BRIN) learns of a heap-only version too.
            #[cfg(not(feature = "pg15"))]
            let summarizes = indexes == pg_sys::TU_UpdateIndexes::TU_Summarizing;
            #[cfg(feature = "pg15")]
            let summarizes = false;
            if !heap_only || summarizes {
                let entries = if heap_only { Entries::Summarizing } else { Entries::All };
                insert_index_entries(table, tuple, entries);
            }
            Ok(Tid::from_raw(&(*tuple).t_self))
        }
    }

    /// Deletes it, if it still is the latest version and nobody else holds it.
    pub fn delete(self) -> Result<(), Taken> {
        // SAFETY: the candidate's page exists, since it is pinned; heap_delete takes its own lock and says whether this is still
        // the latest version.
        let result = unsafe {
            let _active = snapshot_to_write(self.is_external());
            if self.is_locked_by_us {
                self.lock_without_waiting(pg_sys::LockTupleMode::LockTupleExclusive)?;
            }
            let mut tid = self.header.t_self;
            let mut failure = std::mem::zeroed::<pg_sys::TM_FailureData>();
            pg_sys::heap_delete(
                self.page.table().raw(),
                &mut tid,
                pg_sys::GetCurrentCommandId(true),
                std::ptr::null_mut(),
                // As in `update`.
                self.is_locked_by_us,
                &mut failure,
                false,
            )
        };
        done(result)
    }

    /// Locks it against whoever would change or delete it, to the end of the transaction, if it still is the latest version and nobody else
    /// holds it.
    pub fn lock(&self) -> Result<(), Taken> {
        self.lock_without_waiting(pg_sys::LockTupleMode::LockTupleNoKeyExclusive)
    }

    /// Locks the row. PostgreSQL takes a row that this transaction has locked already for held, where it is not to wait: so it
    /// is locked as strongly as it takes, and then there is nobody to wait for.
    fn lock_without_waiting(&self, mode: pg_sys::LockTupleMode::Type) -> Result<(), Taken> {
        // SAFETY: as in `delete`; heap_lock_tuple pins the page once more, which is released here.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData {
                t_self: self.header.t_self,
                ..std::mem::zeroed::<pg_sys::HeapTupleData>()
            };
            let mut buffer = 0;
            let mut failure = std::mem::zeroed::<pg_sys::TM_FailureData>();
            let result = pg_sys::heap_lock_tuple(
                self.page.table().raw(),
                &mut tuple,
                pg_sys::GetCurrentCommandId(true),
                mode,
                pg_sys::LockWaitPolicy::LockWaitSkip,
                false,
                &mut buffer,
                &mut failure,
            );
            pg_sys::ReleaseBuffer(buffer);
            done(result)
        }
    }
}

fn done(result: pg_sys::TM_Result::Type) -> Result<(), Taken> {
    if result == pg_sys::TM_Result::TM_Ok { Ok(()) } else { Err(Taken) }
}

/// Whether the server was built with assertions. One of them, in heap_update, says that no caller passes
/// `wait = false` and meets a held row; the code behind it handles that all the same, and table_tuple_update documents
/// it. So only there is the row locked first, which costs a WAL record.
fn assertions_enabled() -> bool {
    static ENABLED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ENABLED.get_or_init(|| {
        // SAFETY: reads a preset setting; a missing one reads as null.
        unsafe {
            let value = pg_sys::GetConfigOption(c"debug_assertions".as_ptr(), true, false);
            !value.is_null() && std::ffi::CStr::from_ptr(value) == c"on"
        }
    })
}

/// A snapshot for the time of one write, where there is none, as at a commit. PostgreSQL reads and removes what lies out of line through
/// one (get_toast_snapshot). With assertions it wants one in each table that could have such values (AssertHasSnapshotForToast), also
/// for rows that have none.
fn snapshot_to_write(is_external: bool) -> Option<ActiveSnapshot> {
    if is_external || assertions_enabled() { ActiveSnapshot::ensure() } else { None }
}

/// Which index entries a new version gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entries {
    All,
    /// Those that a heap-only version has too, from PostgreSQL 16 on: of BRIN indexes.
    Summarizing,
    /// All; where a unique index has the key, nobody is waited for.
    UnlessTaken,
}

/// Enters a new version into the table's indexes, also those an administrator added. Returns whether no unique index may have had its key:
/// always true for those that wait. A deferred constraint counts too, since nobody checks it later.
///
/// # Safety
/// `tuple` must have been stored in `table` by this transaction, with `t_self` set.
unsafe fn insert_index_entries(table: &Table, tuple: pg_sys::HeapTuple, entries: Entries) -> bool {
    // SAFETY: by the caller's promise.
    if entries != Entries::Summarizing
        && let Some(is_alone) = unsafe { insert_plain_entries(table, tuple, entries) }
    {
        return is_alone;
    }
    let unless_taken = entries == Entries::UnlessTaken;
    // Expressions may read tables.
    let active = ActiveSnapshot::ensure();
    // What PostgreSQL makes for the indexes it does not free itself, and a commit may insert very many rows.
    // SAFETY: the executor's own steps for one row of an open relation; everything made here is freed with the scratch memory, or by the
    // transaction's abort.
    let is_alone = xact::in_scratch_memory(|| unsafe {
        let estate = pg_sys::CreateExecutorState();
        let info =
            pg_sys::palloc0(std::mem::size_of::<pg_sys::ResultRelInfo>()) as *mut pg_sys::ResultRelInfo;
        (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        pg_sys::InitResultRelInfo(info, table.raw(), 0, std::ptr::null_mut(), 0);
        pg_sys::ExecOpenIndices(info, unless_taken);
        let slot = pg_sys::MakeSingleTupleTableSlot(table.descriptor(), &raw const pg_sys::TTSOpsHeapTuple);
        pg_sys::ExecStoreHeapTuple(tuple, slot, false);
        (*slot).tts_tid = (*tuple).t_self;
        (*slot).tts_tableOid = table.oid();
        let mut is_taken = false;
        let to_recheck = pg_sys::ExecInsertIndexTuples(
            info,
            slot,
            estate,
            false,
            unless_taken,
            if unless_taken { &mut is_taken } else { std::ptr::null_mut() },
            std::ptr::null_mut(),
            #[cfg(not(feature = "pg15"))]
            (entries == Entries::Summarizing),
        );
        is_taken |= unless_taken && !to_recheck.is_null();
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        pg_sys::ExecCloseIndices(info);
        pg_sys::FreeExecutorState(estate);
        pg_sys::pfree(info.cast());
        !is_taken
    });
    drop(active);
    is_alone
}

/// As `insert_index_entries`, where all of the table's indexes are over plain columns: what the executor prepares to do the same takes longer
/// than it does. `None` where one is not.
///
/// # Safety
/// As `insert_index_entries`.
unsafe fn insert_plain_entries(table: &Table, tuple: pg_sys::HeapTuple, entries: Entries) -> Option<bool> {
    let indexes = table.plain_indexes()?;
    let unless_taken = entries == Entries::UnlessTaken;
    let mut columns = [pg_sys::Datum::null(); MAX_COLUMNS];
    let mut are_null = [true; MAX_COLUMNS];
    let mut values = [pg_sys::Datum::null(); MAX_COLUMNS];
    let mut nulls = [true; MAX_COLUMNS];
    let mut is_alone = true;
    // SAFETY: Table::open checked that the descriptor has at most MAX_COLUMNS columns, which the indexes' are among. The calls are those of
    // ExecInsertIndexTuples; a btree makes no use of what it is told of the index beyond the relation.
    unsafe {
        pg_sys::heap_deform_tuple(tuple, table.descriptor(), columns.as_mut_ptr(), are_null.as_mut_ptr());
        let mut info = std::mem::zeroed::<pg_sys::IndexInfo>();
        info.type_ = pg_sys::NodeTag::T_IndexInfo;
        for index in indexes.iter().flatten() {
            for (at, column) in index.columns().enumerate() {
                values[at] = columns[column];
                nulls[at] = are_null[column];
            }
            let check = match () {
                () if !index.is_unique() => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_NO,
                () if unless_taken => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_PARTIAL,
                () => pg_sys::IndexUniqueCheck::UNIQUE_CHECK_YES,
            };
            let has_key_alone = pg_sys::index_insert(
                index.raw(),
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                &mut (*tuple).t_self,
                table.raw(),
                check,
                false,
                &mut info,
            );
            is_alone &= has_key_alone || !(unless_taken && index.is_unique());
        }
    }
    Some(is_alone)
}
