//! The write-ahead log: writing logical messages, flushing, reading back.
//!
//! A message is PostgreSQL's own record type for applications: recovery skips it, so that a server without this
//! library can replay it, and logical decoding hands it on.
//!
//! BOUND: the names of the WAL segments that are there.

use std::ffi::CStr;

use pgrx::pg_sys;

/// A position in the log.
pub type Lsn = u64;

/// As PostgreSQL prints positions.
pub fn display(lsn: Lsn) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn as u32)
}

/// What messages of ours begin with, so that others know whose they are.
const PREFIX: &CStr = c"counter_ext";

/// replication/message.h; the same in every supported version.
#[repr(C)]
struct MessageHeader {
    database: u32,
    transactional: bool,
    prefix_size: usize,
    message_size: usize,
}

const _: () = {
    assert!(std::mem::size_of::<MessageHeader>() == 24);
    assert!(std::mem::offset_of!(MessageHeader, prefix_size) == 8);
};

/// Of RM_LOGICALMSG_ID; the only kind there is.
const MESSAGE: u8 = 0;
const INFO_BITS_OF_RMGR: u8 = 0xF0;
/// xact.h: XLOG_XACT_OPMASK and the operations that end a top-level transaction well.
const XACT_OPERATION: u8 = 0x70;
const XACT_COMMIT: u8 = 0x00;
const XACT_COMMIT_PREPARED: u8 = 0x30;

/// Writes a message. Its end; nothing is flushed.
pub fn write_message(message: &[u8]) -> Lsn {
    let header = MessageHeader {
        // SAFETY: a plain read of a backend variable.
        database: unsafe { pg_sys::MyDatabaseId }.into(),
        transactional: false,
        prefix_size: PREFIX.count_bytes() + 1,
        message_size: message.len(),
    };
    // SAFETY: the registered data outlives XLogInsert, which copies it; the header is plain bytes with its padding
    // written below, since the struct is built field by field over zeroed memory.
    unsafe {
        let mut bytes = [0u8; std::mem::size_of::<MessageHeader>()];
        bytes[..4].copy_from_slice(&header.database.to_ne_bytes());
        bytes[4] = u8::from(header.transactional);
        bytes[8..16].copy_from_slice(&header.prefix_size.to_ne_bytes());
        bytes[16..24].copy_from_slice(&header.message_size.to_ne_bytes());
        pg_sys::XLogBeginInsert();
        pg_sys::XLogRegisterData(bytes.as_mut_ptr().cast(), bytes.len() as _);
        pg_sys::XLogRegisterData(PREFIX.as_ptr().cast_mut().cast(), header.prefix_size as _);
        pg_sys::XLogRegisterData(message.as_ptr().cast_mut().cast(), message.len() as _);
        pg_sys::XLogSetRecordFlags(pg_sys::XLOG_INCLUDE_ORIGIN as u8);
        pg_sys::XLogInsert(pg_sys::RmgrIds::RM_LOGICALMSG_ID as pg_sys::RmgrId, MESSAGE)
    }
}

/// Runs `work` where an error takes the whole server down for recovery: nothing less would do.
pub fn in_critical_section<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: what START_CRIT_SECTION and END_CRIT_SECTION do.
    unsafe { pg_sys::CritSectionCount += 1 };
    let value = work();
    // SAFETY: as above.
    unsafe { pg_sys::CritSectionCount -= 1 };
    value
}

/// Makes the log up to `lsn` durable on this machine.
pub fn flush(lsn: Lsn) {
    // SAFETY: a position that XLogInsert returned.
    unsafe { pg_sys::XLogFlush(lsn) }
}

/// Tells the WAL writer that the log up to `lsn` is to become durable soon.
pub fn flush_soon(lsn: Lsn) {
    // SAFETY: a position that XLogInsert returned.
    unsafe { pg_sys::XLogSetAsyncXactLSN(lsn) }
}

/// Waits for synchronous standbys as a commit does, but under `remote_apply` only until they have flushed: they would
/// tell of a commit record's replay at once, and of ours with their next report only. Called in a COMMIT callback, where
/// interrupts are held off.
pub fn wait_for_standbys(lsn: Lsn) {
    // SAFETY: SyncRepWaitForLSN wants interrupts held off; the count is put back.
    unsafe {
        pg_sys::InterruptHoldoffCount += 1;
        pg_sys::SyncRepWaitForLSN(lsn, false);
        pg_sys::InterruptHoldoffCount -= 1;
    }
}

/// What this backend wrote is flushed, or its flush is on its way: its next transaction need not see to it.
pub fn forget_own_writes() {
    // SAFETY: a plain write of a backend variable; what RecordTransactionCommit does at its end.
    unsafe { pg_sys::XactLastRecEnd = 0 }
}

/// Whether commits of this transaction wait for their log to be durable.
pub fn is_commit_synchronous() -> bool {
    // SAFETY: a plain read of a setting.
    unsafe { pg_sys::synchronous_commit > pg_sys::SyncCommitLevel::SYNCHRONOUS_COMMIT_OFF as std::ffi::c_int }
}

/// Where the next record will be written.
pub fn insert_position() -> Lsn {
    // SAFETY: reads shared state; not called during recovery.
    unsafe { pg_sys::GetXLogInsertRecPtr() }
}

/// This cluster's identifier, made by initdb and kept by physical copies.
pub fn system_identifier() -> u64 {
    // SAFETY: reads the control file's copy in shared memory.
    unsafe { pg_sys::GetSystemIdentifier() }
}

/// Whether the log holds enough for replication slots.
pub fn level_allows_slots() -> bool {
    // SAFETY: a plain read of a setting fixed at start.
    unsafe { pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_REPLICA as std::ffi::c_int }
}

unsafe extern "C-unwind" {
    // walwriter.h; not among pgrx's bindings.
    #[link_name = "WalWriterDelay"]
    static WAL_WRITER_DELAY_MS: std::ffi::c_int;
}

/// How long an asynchronous commit may wait for the WAL writer's next round.
pub fn writer_delay_ms() -> u64 {
    // SAFETY: a plain read of a setting.
    unsafe { WAL_WRITER_DELAY_MS.max(1) as u64 }
}

/// Bytes of a segment file.
pub fn segment_bytes() -> u64 {
    // SAFETY: fixed at start.
    unsafe { pg_sys::wal_segment_size as u64 }
}

/// What the reader finds, in the order of the log.
#[derive(Debug)]
pub enum Found<'a> {
    /// A message of ours, written by a transaction (0: by none).
    Message { database: u32, xid: u32, message: &'a [u8] },
    /// A top-level transaction committed.
    Commit { xid: u32 },
}

unsafe extern "C-unwind" {
    // xlogutils.h. pgrx's bindings wrap them, and PostgreSQL wants their plain addresses; they raise into PostgreSQL's
    // own frames only.
    fn read_local_xlog_page(
        state: *mut pg_sys::XLogReaderState,
        page: pg_sys::XLogRecPtr,
        wanted: std::ffi::c_int,
        record: pg_sys::XLogRecPtr,
        buffer: *mut std::ffi::c_char,
    ) -> std::ffi::c_int;
    fn wal_segment_open(
        state: *mut pg_sys::XLogReaderState,
        segment: pg_sys::XLogSegNo,
        timeline: *mut pg_sys::TimeLineID,
    );
    fn wal_segment_close(state: *mut pg_sys::XLogReaderState);
}

/// Reads the log.
pub struct Reader {
    state: *mut pg_sys::XLogReaderState,
}

impl Reader {
    /// A reader of this server's own log. `None` without memory.
    pub fn open() -> Option<Reader> {
        let mut routine = pg_sys::XLogReaderRoutine {
            page_read: Some(read_local_xlog_page),
            segment_open: Some(wal_segment_open),
            segment_close: Some(wal_segment_close),
        };
        // SAFETY: the routine is copied.
        let state = unsafe {
            pg_sys::XLogReaderAllocate(
                pg_sys::wal_segment_size,
                std::ptr::null(),
                &mut routine,
                std::ptr::null_mut(),
            )
        };
        (!state.is_null()).then(|| Reader { state })
    }

    /// Visits the records from the first one that begins at `from` or later up to those that begin before `to`, which
    /// must be flushed and have a record before it: each with its position, and with what of ours it holds. May raise
    /// as well as return why it could not go on.
    pub fn read(
        &mut self,
        from: Lsn,
        to: Lsn,
        is_over: impl Fn() -> bool,
        mut see: impl FnMut(Lsn, Option<Found<'_>>),
    ) -> Result<(), String> {
        if from >= to {
            return Ok(());
        }
        // SAFETY: the reader is ours; records stay valid until the next one is read.
        unsafe {
            let mut at = pg_sys::XLogFindNextRecord(self.state, from);
            if at == 0 {
                return Err("no record found".to_owned());
            }
            while at < to {
                if is_over() {
                    return Err("interrupted".to_owned());
                }
                let mut message = std::ptr::null_mut();
                let record = pg_sys::XLogReadRecord(self.state, &mut message);
                if record.is_null() {
                    return Err(if message.is_null() {
                        "the log ends early".to_owned()
                    } else {
                        CStr::from_ptr(message).to_string_lossy().into_owned()
                    });
                }
                let begins = (*self.state).ReadRecPtr;
                if begins >= to {
                    return Ok(());
                }
                see(begins, self.found());
                at = (*self.state).EndRecPtr;
            }
            Ok(())
        }
    }

    /// # Safety
    /// A record must have been read.
    unsafe fn found(&self) -> Option<Found<'_>> {
        // SAFETY: by the caller's promise `record` and its main data are there.
        unsafe {
            let record = &*(*self.state).record;
            let xid = record.header.xl_xid.into_inner();
            match u32::from(record.header.xl_rmid) {
                pg_sys::RmgrIds::RM_XACT_ID => {
                    let operation = record.header.xl_info & INFO_BITS_OF_RMGR & XACT_OPERATION;
                    if operation == XACT_COMMIT || operation == XACT_COMMIT_PREPARED {
                        return Some(Found::Commit { xid });
                    }
                }
                // Some records have no data of their own, and a null pointer to it.
                pg_sys::RmgrIds::RM_LOGICALMSG_ID if !record.main_data.is_null() => {
                    let main = std::slice::from_raw_parts(
                        record.main_data.cast::<u8>(),
                        record.main_data_len as usize,
                    );
                    if let Some((database, message)) = our_message(main) {
                        return Some(Found::Message { database, xid, message });
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: allocated in `open`, freed once.
            unsafe { pg_sys::XLogReaderFree(self.state) }
        }
    }
}

/// A record's database and text, if it has our prefix.
fn our_message(main: &[u8]) -> Option<(u32, &[u8])> {
    let prefix = PREFIX.to_bytes_with_nul();
    let header = std::mem::size_of::<MessageHeader>();
    let database = u32::from_ne_bytes(main.get(..4)?.try_into().ok()?);
    let prefix_size = usize::from_ne_bytes(main.get(8..16)?.try_into().ok()?);
    let message_size = usize::from_ne_bytes(main.get(16..24)?.try_into().ok()?);
    if prefix_size != prefix.len() || main.get(header..header + prefix_size)? != prefix {
        return None;
    }
    Some((database, main.get(header + prefix_size..header + prefix_size + message_size)?))
}

/// The oldest position from which on all segment files up to the one of `to` are there, not looking further back than
/// `from`.
pub fn oldest_available(from: Lsn, to: Lsn) -> Lsn {
    let bytes = segment_bytes();
    let per_id = 0x1_0000_0000 / bytes;
    let Ok(files) = std::fs::read_dir("pg_wal") else {
        return from;
    };
    let names: std::collections::HashSet<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.len() == 24)
        // Whatever timeline it is of: history decides which of them is read.
        .map(|name| name[8..].to_owned())
        .collect();
    let mut oldest = to / bytes;
    while oldest > from / bytes {
        let before = oldest - 1;
        if !names.contains(&format!("{:08X}{:08X}", before / per_id, before % per_id)) {
            break;
        }
        oldest = before;
    }
    from.max(oldest * bytes)
}
