//! Appending tuples to a table by hand, where nothing may fail any more.
//!
//! What PostgreSQL's own insert does is split in two. Everything that can fail comes first: a page with room is found, made empty
//! if need be, and pinned. What is left, putting the tuple onto the pinned page and into the WAL, cannot fail.
//!
//! Contract:
//!
//! - A tuple is an ordinary one of the heap: a bigint and a bytea. Scans, VACUUM, VACUUM FULL, checkpoints, base backups and
//!   standbys treat it like any other, also in a server without this library.
//! - A frozen tuple is seen by everybody as soon as it is there, and needs no transaction id. It goes into the WAL as a generic
//!   record, which says what bytes of the page change: a heap record without a transaction id would confuse logical decoding.
//!   A page that is marked as all visible stays so.
//! - A transaction's own tuple is seen once that transaction has committed, as any row is. It goes into the WAL as a heap
//!   insert, and clears the page's mark and that of the visibility map.
//! - A `Pinned` page belongs to the top transaction's resource owner: `release` gives it back, or the transaction's abort does.
//!   It has no `Drop`, which would give it back twice after an error.
//! - The caller sees to it that a page has room for what it appends: one that has not is a PANIC.
//! - `turn` empties a page under its cleanup lock, so that no process of this server looks at what was there. It goes into the WAL as a
//!   prune does, with the page as it is then: a standby replays it under the page's cleanup lock too, and waits for whoever scans
//!   the page there, or cancels him, as `max_standby_streaming_delay` says. No snapshot is in the way: what the caller has emptied is in other
//!   rows by then, and the WAL has those first. So the table is no place to read twice and expect the same, here as on a standby.
//! - A page holds frozen tuples or transactions' own, never both. Whoever looks at a transaction's tuple leaves hints on it, which the
//!   WAL does not have, and a generic record's page is compared with nothing left out (`wal_consistency_checking`).
//! - Lock order: after all of our lightweight locks; a page's lock is held for the time of one copy and one WAL insert.

use crate::pg::session::session_local;
use std::cell::{Cell, OnceCell};
use std::mem::{MaybeUninit, offset_of, size_of};

use pgrx::pg_sys;

use super::catalog::Watch;
use super::table::Table;
use super::wal::{self, Lsn};
use super::{Oid, unguarded};

/// A tuple's header, padded, as there are no NULLs in it.
const HEADER_BYTES: usize = 24;
/// The bigint, and the length word of the bytea.
const FIXED_BYTES: usize = HEADER_BYTES + 8 + 4;
const ALIGNMENT: usize = 8;
const PAGE_BYTES: usize = pg_sys::BLCKSZ as usize;
const PAGE_HEADER_BYTES: usize = offset_of!(pg_sys::PageHeaderData, pd_linp);
const LINE_BYTES: usize = size_of::<pg_sys::ItemIdData>();
/// Room on an empty page.
pub const PAGE_ROOM_BYTES: usize = PAGE_BYTES - PAGE_HEADER_BYTES;
/// The longest bytea that fits on a page.
pub const MAX_PAYLOAD_BYTES: usize = (PAGE_ROOM_BYTES - LINE_BYTES) / ALIGNMENT * ALIGNMENT - FIXED_BYTES;
const COLUMNS: u16 = 2;
const CTID_AT: usize = offset_of!(pg_sys::HeapTupleHeaderData, t_ctid);

const _: () = {
    assert!(offset_of!(pg_sys::HeapTupleHeaderData, t_infomask2) == 18);
    assert!(offset_of!(pg_sys::HeapTupleHeaderData, t_infomask) == 20);
    assert!(offset_of!(pg_sys::HeapTupleHeaderData, t_hoff) == 22);
    assert!(offset_of!(pg_sys::HeapTupleHeaderData, t_bits) <= HEADER_BYTES);
    assert!(CTID_AT == 12);
    assert!(offset_of!(pg_sys::PageHeaderData, pd_flags) == CHANGED_HEADER_AT);
    assert!(offset_of!(pg_sys::PageHeaderData, pd_lower) == CHANGED_HEADER_AT + 2);
    assert!(offset_of!(pg_sys::PageHeaderData, pd_upper) == CHANGED_HEADER_AT + 4);
    assert!(room_bytes(MAX_PAYLOAD_BYTES) <= PAGE_ROOM_BYTES);
};

/// Where the part of the page's header begins that a new tuple changes: flags, and where free space begins and ends.
const CHANGED_HEADER_AT: usize = 10;
const CHANGED_HEADER_BYTES: usize = 6;

/// heapam_xlog.h: XLOG_HEAP2_PRUNE, from PostgreSQL 17 on XLOG_HEAP2_PRUNE_ON_ACCESS.
const HEAP2_PRUNE: u8 = 0x10;
/// heapam_xlog.h: an xl_heap_prune that names no tuple and no horizon; the page comes with it. Replayed under the cleanup lock.
#[cfg(feature = "pg15")]
const PRUNE: [u8; 8] = [0; 8];
#[cfg(feature = "pg16")]
const PRUNE: [u8; 9] = [0; 9];
/// The reason, "on access"; and the flag XLHP_CLEANUP_LOCK.
#[cfg(not(any(feature = "pg15", feature = "pg16")))]
const PRUNE: [u8; 2] = [0, 1 << 2];

/// What a tuple with a payload of this length takes up on its page, with its line pointer.
pub const fn room_bytes(payload_bytes: usize) -> usize {
    (FIXED_BYTES + payload_bytes).next_multiple_of(ALIGNMENT) + LINE_BYTES
}

/// Whose a tuple is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Nobody's: everybody sees it.
    Frozen,
    Transaction,
}

/// Room for the longest tuple there is. It is left as it is where no tuple comes to lie: to clear all of it would be most of what
/// an append costs.
#[repr(C, align(8))]
struct Room(MaybeUninit<[u8; PAGE_BYTES]>);

impl Room {
    fn new() -> Room {
        Room(MaybeUninit::uninit())
    }
}

/// A tuple as it lies on a page.
struct Image<'r> {
    bytes: &'r mut [u8],
}

impl Image<'_> {
    fn new<'r>(room: &'r mut Room, key: i64, payload: &[u8], owner: Owner) -> Image<'r> {
        assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a tuple fits on its page");
        let start = room.0.as_mut_ptr().cast::<u8>();
        // SAFETY: header and payload fit into the room, as was just checked, and each of their bytes is written before the slice is made.
        let bytes = unsafe {
            start.write_bytes(0, FIXED_BYTES);
            start.add(FIXED_BYTES).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
            std::slice::from_raw_parts_mut(start, FIXED_BYTES + payload.len())
        };
        // What replay will write there: the id that the WAL record carries.
        // SAFETY: a plain read of transaction state.
        let xmin = unsafe { unguarded::GetCurrentTransactionIdIfAny() }.into_inner();
        let visibility = match owner {
            Owner::Frozen => pg_sys::HEAP_XMIN_FROZEN,
            Owner::Transaction => 0,
        };
        let mask = visibility | pg_sys::HEAP_XMAX_INVALID | pg_sys::HEAP_HASVARWIDTH;
        bytes[..4].copy_from_slice(&xmin.to_ne_bytes());
        bytes[18..20].copy_from_slice(&COLUMNS.to_ne_bytes());
        bytes[20..22].copy_from_slice(&(mask as u16).to_ne_bytes());
        bytes[22] = HEADER_BYTES as u8;
        bytes[HEADER_BYTES..HEADER_BYTES + 8].copy_from_slice(&key.to_ne_bytes());
        // SAFETY: the length word lies inside the image, at an offset that is a multiple of four.
        unsafe {
            let varlena = bytes.as_mut_ptr().add(HEADER_BYTES + 8);
            pgrx::set_varsize_4b(varlena.cast(), (4 + payload.len()) as i32);
        }
        Image { bytes }
    }

    fn tuple(&self) -> &[u8] {
        self.bytes
    }
}

#[cfg(feature = "pg15")]
type File = pg_sys::RelFileNode;
#[cfg(not(feature = "pg15"))]
type File = pg_sys::RelFileLocator;

/// A table of a bigint and a bytea, for appending. The transaction holds a lock on it that keeps out whoever rewrites it.
pub struct Heap {
    oid: Oid,
    file: File,
    is_logged: bool,
    /// Opened where more is needed than the file: to open and close it is much of what a record of a few bytes costs.
    table: OnceCell<Table>,
}

/// The file of a table that what is appended to is logged; until PostgreSQL says that something about the table has changed.
#[derive(Clone, Copy)]
struct KnownFile {
    oid: Oid,
    file: File,
    version: u64,
}

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN: Cell<Option<KnownFile>> = const { Cell::new(None) };
}

impl Heap {
    pub fn open(oid: Oid) -> Heap {
        // Read before the look: a change in between makes the next one look again.
        let version = WATCH.with(|watch| watch.version());
        if let Some(known) = KNOWN.get()
            && known.oid == oid
            && known.version == version
        {
            let heap = Heap { oid, file: known.file, is_logged: true, table: OnceCell::new() };
            debug_assert!(is_logged(heap.table()) && number(file(heap.table())) == heap.file());
            return heap;
        }
        let table = Table::open(oid);
        let heap =
            Heap { oid, file: file(&table), is_logged: is_logged(&table), table: OnceCell::from(table) };
        WATCH.with(|watch| watch.set(&[oid]));
        // That it is not logged may be so only until this transaction ends, of which nobody tells.
        KNOWN.set(heap.is_logged.then_some(KnownFile { oid, file: heap.file, version }));
        heap
    }

    pub fn table(&self) -> &Table {
        self.table.get_or_init(|| Table::open(self.oid))
    }

    /// The number of the file that the table's rows are in; another one once it has been rewritten.
    pub fn file(&self) -> u32 {
        number(self.file)
    }

    /// Whether what is appended is written to the WAL: not so in an unlogged table, nor under `wal_level = minimal` in one that
    /// this transaction has made or rewritten.
    pub fn is_logged(&self) -> bool {
        self.is_logged
    }

    /// Pins a page. `None` when the table ends before it, or it was never made ready for tuples.
    pub fn pin(&self, block: u32) -> Option<Pinned> {
        let found = RECENT.get();
        let is_recent = found.file == self.file() && found.block == block;
        // SAFETY: a buffer that this server has; one that holds another page by now is refused.
        let buffer =
            match is_recent && for_top_transaction(|| unsafe { self.read_recent(block, found.buffer) }) {
                true => found.buffer,
                false => self.read(block)?,
            };
        RECENT.set(Recent { file: self.file(), block, buffer });
        let pinned = Pinned { buffer, block };
        // SAFETY: pinned; the number is 0 on a page of zeros and never becomes 0 again, so a look without the lock will do.
        if unsafe { (&raw const (*pinned.header()).pd_upper).read_volatile() } == 0 {
            pinned.release();
            return None;
        }
        Some(pinned)
    }

    /// Pins a page that the table has.
    fn read(&self, block: u32) -> Option<pg_sys::Buffer> {
        let table = self.table();
        // SAFETY: the table is open, and has the block.
        (block < table.blocks())
            .then(|| for_top_transaction(|| unsafe { pg_sys::ReadBuffer(table.raw(), block) }))
    }

    /// # Safety
    /// The buffer must be one that this server has, whatever it holds.
    unsafe fn read_recent(&self, block: u32, buffer: pg_sys::Buffer) -> bool {
        const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
        // SAFETY: by the caller's promise.
        unsafe { pg_sys::ReadRecentBuffer(self.file, MAIN, block, buffer) }
    }

    /// Makes a page empty, and the table longer if it ends before it. `None` while somebody looks at the page.
    pub fn turn(&self, block: u32) -> Option<Pinned> {
        self.extend_to(block);
        let table = self.table();
        // SAFETY: the block is there. The cleanup lock gives this process the page alone; between the begin and the end of the
        // critical section are plain writes to it and one WAL record.
        let pinned = unsafe {
            let buffer = for_top_transaction(|| pg_sys::ReadBuffer(table.raw(), block));
            let pinned = Pinned { buffer, block };
            if !pg_sys::ConditionalLockBufferForCleanup(buffer) {
                pinned.release();
                return None;
            }
            wal::in_critical_section(|| {
                let header = pinned.header();
                // The visibility map may say so too; an empty page is all visible.
                let kept = u32::from((*header).pd_flags) & pg_sys::PD_ALL_VISIBLE;
                let is_new = (*header).pd_upper == 0;
                pg_sys::PageInit(header.cast(), PAGE_BYTES, 0);
                if !is_new {
                    (*header).pd_flags |= kept as u16;
                }
                unguarded::MarkBufferDirty(buffer);
                unguarded::XLogBeginInsert();
                let whole = pg_sys::REGBUF_FORCE_IMAGE | pg_sys::REGBUF_STANDARD;
                unguarded::XLogRegisterBuffer(0, buffer, whole as u8);
                let record = PRUNE;
                unguarded::XLogRegisterData(record.as_ptr().cast_mut().cast(), record.len() as _);
                let lsn = unguarded::XLogInsert(pg_sys::RmgrIds::RM_HEAP2_ID as pg_sys::RmgrId, HEAP2_PRUNE);
                pinned.set_lsn(lsn);
            });
            unguarded::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            pinned
        };
        RECENT.set(Recent { file: self.file(), block, buffer: pinned.buffer });
        Some(pinned)
    }

    fn extend_to(&self, block: u32) {
        const EXCLUSIVE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
        /// block.h: P_NEW.
        const NEW: u32 = u32::MAX;
        let table = self.table();
        if block < table.blocks() {
            return;
        }
        // SAFETY: the table is open; its extension is locked, as ReadBuffer wants for a new block.
        unsafe {
            pg_sys::LockRelationForExtension(table.raw(), EXCLUSIVE);
            while table.blocks() <= block {
                unguarded::ReleaseBuffer(pg_sys::ReadBuffer(table.raw(), NEW));
            }
            pg_sys::UnlockRelationForExtension(table.raw(), EXCLUSIVE);
        }
    }
}

fn number(file: File) -> u32 {
    #[cfg(feature = "pg15")]
    let number = file.relNode;
    #[cfg(not(feature = "pg15"))]
    let number = file.relNumber;
    number.into()
}

fn file(table: &Table) -> File {
    // SAFETY: the relation is open while the table lives.
    unsafe {
        #[cfg(feature = "pg15")]
        return (*table.raw()).rd_node;
        #[cfg(not(feature = "pg15"))]
        return (*table.raw()).rd_locator;
    }
}

fn is_logged(table: &Table) -> bool {
    const PERMANENT: std::ffi::c_char = b'p' as std::ffi::c_char;
    // SAFETY: the relation is open while the table lives, and rd_rel is its pg_class row.
    unsafe {
        let rel = table.raw();
        #[cfg(feature = "pg15")]
        let rewritten = (*rel).rd_firstRelfilenodeSubid;
        #[cfg(not(feature = "pg15"))]
        let rewritten = (*rel).rd_firstRelfilelocatorSubid;
        (*(*rel).rd_rel).relpersistence == PERMANENT && (*rel).rd_createSubid == 0 && rewritten == 0
    }
}

/// Where a page was found last: to be found there again without a look into the buffer table or at the file's length.
#[derive(Clone, Copy)]
struct Recent {
    file: u32,
    block: u32,
    buffer: pg_sys::Buffer,
}

session_local! {
    static RECENT: Cell<Recent> = const { Cell::new(Recent { file: 0, block: 0, buffer: 0 }) };
}

/// Lets pins belong to the top transaction, whoever would own them.
fn for_top_transaction<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: a backend variable, put back; after an ERROR the transaction's abort sets it.
    unsafe {
        let before = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentResourceOwner = pg_sys::TopTransactionResourceOwner;
        let value = work();
        pg_sys::CurrentResourceOwner = before;
        value
    }
}

/// A page that stays in memory until it is released.
#[derive(Debug, PartialEq, Eq)]
pub struct Pinned {
    buffer: pg_sys::Buffer,
    block: u32,
}

impl Pinned {
    pub fn block(&self) -> u32 {
        self.block
    }

    /// Gives the page back. Cannot fail.
    pub fn release(self) {
        // SAFETY: pinned for the top transaction, which has not ended; given back once, as `self` ends here.
        for_top_transaction(|| unsafe { unguarded::ReleaseBuffer(self.buffer) })
    }

    fn header(&self) -> *mut pg_sys::PageHeaderData {
        // SAFETY: pinned.
        unsafe { pg_sys::BufferGetPage(self.buffer).cast() }
    }

    /// Appends a tuple that everybody sees; the end of its WAL record. Cannot fail.
    pub fn append_frozen(&self, key: i64, payload: &[u8]) -> Lsn {
        let mut room = Room::new();
        let mut image = Image::new(&mut room, key, payload, Owner::Frozen);
        // SAFETY: the page is pinned, and locked here; its new line pointer and tuple are where PageAddItem put them, and the
        // registered data outlives XLogInsert.
        unsafe {
            unguarded::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
            let lsn = wal::in_critical_section(|| {
                let offset = self.place(&mut image);
                unguarded::MarkBufferDirty(self.buffer);
                let page = self.header().cast::<u8>();
                let line_at = PAGE_HEADER_BYTES + (usize::from(offset) - 1) * LINE_BYTES;
                let line = &*page.add(line_at).cast::<pg_sys::ItemIdData>();
                let tuple_at = line.lp_off() as usize;
                // generic_xlog.c: each fragment is an offset, a length, and the bytes from there on.
                const BEFORE_TUPLE: usize = 4 + CHANGED_HEADER_BYTES + 4 + LINE_BYTES + 4;
                let mut fragments = [0u8; BEFORE_TUPLE];
                let mut at = 0;
                let mut put = |bytes: &[u8]| {
                    fragments[at..at + bytes.len()].copy_from_slice(bytes);
                    at += bytes.len();
                };
                for (from, length) in [(CHANGED_HEADER_AT, CHANGED_HEADER_BYTES), (line_at, LINE_BYTES)] {
                    put(&(from as u16).to_ne_bytes());
                    put(&(length as u16).to_ne_bytes());
                    put(std::slice::from_raw_parts(page.add(from), length));
                }
                put(&(tuple_at as u16).to_ne_bytes());
                put(&(image.bytes.len() as u16).to_ne_bytes());
                unguarded::XLogBeginInsert();
                unguarded::XLogRegisterBuffer(0, self.buffer, pg_sys::REGBUF_STANDARD as u8);
                register(&fragments);
                register(image.tuple());
                let lsn = unguarded::XLogInsert(pg_sys::RmgrIds::RM_GENERIC_ID as pg_sys::RmgrId, 0);
                self.set_lsn(lsn);
                lsn
            });
            unguarded::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            lsn
        }
    }

    /// Appends a tuple that counts once this transaction has committed. The transaction has an id. May raise.
    pub fn append_own(&self, heap: &Heap, key: i64, payload: &[u8]) -> Lsn {
        /// rmgrlist.h and heapam_xlog.h; the same in every supported version.
        const HEAP_INSERT: u8 = 0x00;
        const ALL_VISIBLE_CLEARED: u8 = 1;
        let mut room = Room::new();
        let mut image = Image::new(&mut room, key, payload, Owner::Transaction);
        // SAFETY: the page is pinned, and locked here; as heap_insert does, the map's page is pinned before the critical section,
        // without the lock, and registered data outlives XLogInsert.
        unsafe {
            let mut map: pg_sys::Buffer = 0;
            loop {
                unguarded::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_EXCLUSIVE as i32);
                if !self.is_all_visible() || map != 0 {
                    break;
                }
                unguarded::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
                pg_sys::visibilitymap_pin(heap.table().raw(), self.block, &mut map);
            }
            let lsn = wal::in_critical_section(|| {
                let offset = self.place(&mut image);
                let mut record = [0u8; 3];
                record[..2].copy_from_slice(&offset.to_ne_bytes());
                if self.is_all_visible() {
                    (*self.header()).pd_flags &= !(pg_sys::PD_ALL_VISIBLE as u16);
                    let bits = pg_sys::VISIBILITYMAP_VALID_BITS as u8;
                    pg_sys::visibilitymap_clear(heap.table().raw(), self.block, map, bits);
                    record[2] = ALL_VISIBLE_CLEARED;
                }
                unguarded::MarkBufferDirty(self.buffer);
                let tuple = image.tuple();
                // xl_heap_header: both masks and the header's length.
                let header = &tuple[18..23];
                unguarded::XLogBeginInsert();
                unguarded::XLogRegisterData(record.as_mut_ptr().cast(), record.len() as _);
                unguarded::XLogRegisterBuffer(0, self.buffer, pg_sys::REGBUF_STANDARD as u8);
                register(header);
                register(&tuple[offset_of!(pg_sys::HeapTupleHeaderData, t_bits)..]);
                let lsn = unguarded::XLogInsert(pg_sys::RmgrIds::RM_HEAP_ID as pg_sys::RmgrId, HEAP_INSERT);
                self.set_lsn(lsn);
                lsn
            });
            unguarded::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            if map != 0 {
                unguarded::ReleaseBuffer(map);
            }
            lsn
        }
    }

    /// # Safety
    /// The page must be locked.
    unsafe fn is_all_visible(&self) -> bool {
        // SAFETY: by the caller's promise.
        u32::from(unsafe { (*self.header()).pd_flags }) & pg_sys::PD_ALL_VISIBLE != 0
    }

    /// Copies a tuple onto the page; its line's number.
    ///
    /// # Safety
    /// The page must be locked exclusively.
    unsafe fn place(&self, image: &mut Image<'_>) -> u16 {
        // SAFETY: by the caller's promise; the item is copied. What PageAddItem returns is a line with a tuple.
        unsafe {
            let page = self.header();
            let offset = unguarded::PageAddItemExtended(
                page.cast(),
                image.bytes.as_mut_ptr().cast(),
                image.bytes.len(),
                0,
                pg_sys::PAI_IS_HEAP as i32,
            );
            // In a critical section: the server restarts, and nothing was acknowledged.
            assert!(offset != 0, "a page has no room for what was reserved on it");
            let own_place = super::page::Tid { block: self.block, offset }.to_raw();
            let line = &*(*page).pd_linp.as_ptr().add(usize::from(offset) - 1);
            let tuple = page.cast::<u8>().add(line.lp_off() as usize);
            tuple.add(CTID_AT).cast::<pg_sys::ItemPointerData>().write(own_place);
            image.bytes.as_mut_ptr().add(CTID_AT).cast::<pg_sys::ItemPointerData>().write(own_place);
            offset
        }
    }

    /// # Safety
    /// The page must be locked exclusively.
    unsafe fn set_lsn(&self, lsn: Lsn) {
        // SAFETY: by the caller's promise; what PageSetLSN does.
        unsafe {
            (*self.header()).pd_lsn =
                pg_sys::PageXLogRecPtr { xlogid: (lsn >> 32) as u32, xrecoff: lsn as u32 };
        }
    }
}

/// Adds to the data of block 0 of the WAL record being built.
///
/// # Safety
/// The bytes must stay until the record is inserted, and the block must be registered.
unsafe fn register(bytes: &[u8]) {
    // SAFETY: by the caller's promise; the data is only read.
    unsafe { unguarded::XLogRegisterBufData(0, bytes.as_ptr().cast_mut().cast(), bytes.len() as _) }
}
