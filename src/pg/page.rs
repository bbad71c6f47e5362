//! Heap pages by hand: pins, share locks, row versions.
//!
//! Contract: a `Page` is a pin. While it is held no version on the page moves and no line pointer is reused
//! (pruning and vacuum need a cleanup lock, which needs the last pin), so bytes seen under the share lock stay
//! readable after it. A `LockedPage` is the share lock; visibility is judged under it only. Nothing here waits
//! for another transaction; content locks are held for microseconds.

use std::ops::ControlFlow;

use pgrx::pg_sys;

use super::interval::Interval;
use super::lock::{Lockers, Xid};
use super::process;
use super::snapshot::Snapshot;
use super::table::{MAX_COLUMNS, Table};
use crate::errors::OrRaise;
use crate::fallible;

/// Where a row version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tid {
    pub block: u32,
    pub offset: u16,
}

impl Tid {
    pub(super) fn from_raw(raw: &pg_sys::ItemPointerData) -> Tid {
        Tid {
            block: (u32::from(raw.ip_blkid.bi_hi) << 16) | u32::from(raw.ip_blkid.bi_lo),
            offset: raw.ip_posid,
        }
    }

    pub(super) fn to_raw(self) -> pg_sys::ItemPointerData {
        pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (self.block >> 16) as u16,
                bi_lo: (self.block & 0xffff) as u16,
            },
            ip_posid: self.offset,
        }
    }
}

/// What an updater would find, without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Latest version, committed, and no other transaction holds it. This one may have locked it.
    Free,
    /// Another running transaction updates or deletes it.
    Changing(Xid),
    /// Other running transactions lock it, and nobody changes it.
    Locked(Lockers),
    /// A newer committed version exists.
    Updated,
    Deleted,
    /// This transaction made or changed it in the running command.
    Mine,
    /// Inserted by another transaction that is still running.
    Unborn(Xid),
}

/// A pinned page of a table.
pub struct Page<'t> {
    table: &'t Table,
    buffer: pg_sys::Buffer,
    block: u32,
}

impl<'t> Page<'t> {
    /// Pins the block, which must exist.
    pub fn pin(table: &'t Table, block: u32) -> Page<'t> {
        // SAFETY: the table is open; a block that cannot be read is an ERROR.
        let buffer = unsafe { pg_sys::ReadBuffer(table.raw(), block) };
        Page { table, buffer, block }
    }

    /// One more pin on it.
    pub(super) fn pin_again(&self) -> Page<'t> {
        // SAFETY: the buffer is pinned by `self`.
        unsafe { pg_sys::IncrBufferRefCount(self.buffer) }
        Page { table: self.table, buffer: self.buffer, block: self.block }
    }

    pub(super) fn table(&self) -> &'t Table {
        self.table
    }

    pub fn block(&self) -> u32 {
        self.block
    }

    /// Makes room on a page that holds versions nobody can see any more; cheap when there are none.
    /// Updates by hand must ask for it, since no ordinary scan comes by to do it.
    pub fn prune(&self) {
        // SAFETY: pinned and not locked by us, as heap_page_prune_opt requires.
        unsafe { pg_sys::heap_page_prune_opt(self.table.raw(), self.buffer) }
    }

    pub fn lock_shared(&self) -> LockedPage<'_, 't> {
        // SAFETY: pinned, and we hold no content lock on it.
        unsafe { pg_sys::LockBuffer(self.buffer, pg_sys::BUFFER_LOCK_SHARE as i32) }
        LockedPage { page: self }
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pinned in `pin`, released once.
            unsafe { pg_sys::ReleaseBuffer(self.buffer) }
        }
    }
}

/// Shows every version of the table, in the order of its pages; of rows that move meanwhile perhaps none.
pub fn each_version(table: &Table, mut see: impl FnMut(&mut Version<'_, '_>)) {
    for block in 0..table.blocks() {
        process::check_for_interrupts();
        let page = Page::pin(table, block);
        let locked = page.lock_shared();
        for offset in 1..=locked.lines() {
            locked.version(offset).iter_mut().for_each(&mut see);
        }
    }
}

/// Whether `is_it` accepts any row of the table that the snapshot sees, in the order of its pages; none is shown after that.
pub fn any_visible(
    table: &Table,
    snapshot: &mut Snapshot,
    mut is_it: impl FnMut(&Columns<'_>) -> bool,
) -> bool {
    (0..table.blocks()).any(|block| {
        process::check_for_interrupts();
        let page = Page::pin(table, block);
        let locked = page.lock_shared();
        (1..=locked.lines()).any(|offset| {
            locked
                .version(offset)
                .is_some_and(|mut version| version.visible(snapshot) && is_it(&version.columns()))
        })
    })
}

/// A page under its share lock.
pub struct LockedPage<'p, 't> {
    page: &'p Page<'t>,
}

impl<'t> LockedPage<'_, 't> {
    /// Follows a redirect that pruning left behind; `None` when no version is at the offset.
    pub fn resolve(&self, offset: u16) -> Option<u16> {
        match self.line(offset)? {
            (pg_sys::LP_NORMAL, _) => Some(offset),
            (pg_sys::LP_REDIRECT, target) => match self.line(target)? {
                (pg_sys::LP_NORMAL, _) => Some(target),
                _ => None,
            },
            _ => None,
        }
    }

    /// Line pointers on the page; offsets go from 1 to this number.
    pub fn lines(&self) -> u16 {
        // SAFETY: the page is pinned and share locked.
        let lower =
            unsafe { (*(pg_sys::BufferGetPage(self.page.buffer) as *mut pg_sys::PageHeaderData)).pd_lower };
        let bytes = usize::from(lower).saturating_sub(std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp));
        (bytes / std::mem::size_of::<pg_sys::ItemIdData>()) as u16
    }

    fn line(&self, offset: u16) -> Option<(u32, u16)> {
        // SAFETY: the page is pinned and share locked; the offset is checked against the line pointer array.
        unsafe {
            let header = pg_sys::BufferGetPage(self.page.buffer) as *mut pg_sys::PageHeaderData;
            let array = (*header).pd_linp.as_ptr();
            let bytes = usize::from((*header).pd_lower)
                .saturating_sub(std::mem::offset_of!(pg_sys::PageHeaderData, pd_linp));
            let lines = bytes / std::mem::size_of::<pg_sys::ItemIdData>();
            if offset == 0 || usize::from(offset) > lines {
                return None;
            }
            let line = &*array.add(usize::from(offset) - 1);
            Some((line.lp_flags(), line.lp_off() as u16))
        }
    }

    /// The version at a normal line pointer.
    pub fn version(&self, offset: u16) -> Option<Version<'_, 't>> {
        let (flags, at) = self.line(offset)?;
        if flags != pg_sys::LP_NORMAL {
            return None;
        }
        // SAFETY: a normal line pointer names a tuple inside the pinned page; ItemIdData is read under the lock.
        unsafe {
            let page = pg_sys::BufferGetPage(self.page.buffer) as *mut u8;
            let header = page as *mut pg_sys::PageHeaderData;
            let line = &*(*header).pd_linp.as_ptr().add(usize::from(offset) - 1);
            let tuple = pg_sys::HeapTupleData {
                t_len: line.lp_len(),
                t_self: Tid { block: self.page.block, offset }.to_raw(),
                t_tableOid: self.page.table.oid(),
                t_data: page.add(usize::from(at)) as pg_sys::HeapTupleHeader,
            };
            Some(Version { tuple, page: self.page })
        }
    }

    /// Shows every version of the HOT chain that starts at an index entry's offset, oldest first.
    /// Returns whether all of them are dead to everybody, so that the index entry may be marked so.
    pub fn chain(&self, root: u16, mut see: impl FnMut(&mut Version<'_, 't>) -> ControlFlow<()>) -> bool {
        let Some(mut offset) = self.resolve(root) else {
            return true;
        };
        let mut all_dead = true;
        let mut previous_xmax = None;
        while let Some(mut version) = self.version(offset) {
            if previous_xmax.is_some_and(|xmax| xmax != version.xmin()) {
                break;
            }
            if see(&mut version).is_break() {
                return false;
            }
            all_dead = all_dead && version.surely_dead();
            match version.next_in_page() {
                Some(next) => {
                    previous_xmax = Some(version.update_xid());
                    offset = next;
                }
                None => break,
            }
        }
        all_dead
    }
}

impl Drop for LockedPage<'_, '_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: locked in `lock_shared`, unlocked once.
            unsafe { pg_sys::LockBuffer(self.page.buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32) }
        }
    }
}

/// One version of a row, on a share-locked page.
pub struct Version<'p, 't> {
    tuple: pg_sys::HeapTupleData,
    page: &'p Page<'t>,
}

impl<'p, 't> Version<'p, 't> {
    pub fn tid(&self) -> Tid {
        Tid::from_raw(&self.tuple.t_self)
    }

    /// What an update by this transaction would find.
    pub fn status(&mut self) -> Status {
        // SAFETY: the tuple lies on the pinned page whose share lock the borrow of LockedPage proves.
        let result = unsafe {
            pg_sys::HeapTupleSatisfiesUpdate(
                &mut self.tuple,
                pg_sys::GetCurrentCommandId(false),
                self.page.buffer,
            )
        };
        match result {
            pg_sys::TM_Result::TM_Ok => Status::Free,
            pg_sys::TM_Result::TM_Updated => Status::Updated,
            pg_sys::TM_Result::TM_Deleted => Status::Deleted,
            pg_sys::TM_Result::TM_SelfModified => Status::Mine,
            pg_sys::TM_Result::TM_Invisible => self.status_of_invisible(),
            _ => self.status_of_held(),
        }
    }

    /// Tells who holds the version. PostgreSQL says no more than that some transaction named in it runs: with several in a
    /// multixact this may be a locker, while the updater among them has committed or rolled back.
    fn status_of_held(&self) -> Status {
        if let Some(changer) = self.changing_xid() {
            let xid = pg_sys::TransactionId::from(changer);
            // SAFETY: looks up transaction state. In this order: a transaction commits first, and stops running then.
            unsafe {
                if pg_sys::TransactionIdIsInProgress(xid) {
                    return Status::Changing(changer);
                }
                if pg_sys::TransactionIdDidCommit(xid) {
                    return if self.is_last() { Status::Deleted } else { Status::Updated };
                }
            }
        }
        let lockers = self.lockers();
        if lockers.others_run() { Status::Locked(lockers) } else { Status::Free }
    }

    /// Whoever the version names as its locker or changer.
    fn lockers(&self) -> Lockers {
        // SAFETY: the header lies on the pinned, share-locked page.
        unsafe {
            let mask = u32::from((*self.tuple.t_data).t_infomask);
            Lockers {
                xmax: (*self.tuple.t_data).t_choice.t_heap.t_xmax.into_inner(),
                is_multi: mask & pg_sys::HEAP_XMAX_IS_MULTI != 0,
                is_lock_only: is_lock_only(mask),
            }
        }
    }

    /// PostgreSQL calls a version invisible that this transaction changed in an earlier command, and one whose insert it found
    /// in progress or aborted.
    fn status_of_invisible(&mut self) -> Status {
        let xmin = pg_sys::TransactionId::from(self.xmin());
        let xmax = self.changing_xid().map(pg_sys::TransactionId::from);
        // SAFETY: looks up transaction state. In this order: a transaction commits first, and stops running then.
        unsafe {
            if xmax.is_some_and(|xmax| pg_sys::TransactionIdIsCurrentTransactionId(xmax)) {
                Status::Deleted
            } else if pg_sys::TransactionIdIsCurrentTransactionId(xmin) {
                // It was made in the running command.
                Status::Mine
            } else if pg_sys::TransactionIdIsInProgress(xmin) {
                Status::Unborn(self.xmin())
            } else if pg_sys::TransactionIdDidCommit(xmin) {
                // The insert was in progress at the first look and has committed since. The second look finds it committed, and
                // the version not changed by this transaction, so it does not come here again.
                self.status()
            } else {
                Status::Deleted
            }
        }
    }

    /// Whether the snapshot sees this version.
    pub fn visible(&mut self, snapshot: &mut Snapshot) -> bool {
        // SAFETY: as in `status`; the snapshot is an MVCC snapshot with live arrays.
        unsafe { pg_sys::HeapTupleSatisfiesVisibility(&mut self.tuple, snapshot.raw(), self.page.buffer) }
    }

    fn surely_dead(&mut self) -> bool {
        // SAFETY: as in `status`; the visibility state is a backend-local static of PostgreSQL.
        unsafe {
            let horizon = pg_sys::GlobalVisTestFor(self.page.table.raw());
            pg_sys::HeapTupleIsSurelyDead(&mut self.tuple, horizon)
        }
    }

    /// The version that replaced this one, perhaps on another page; `None` at the end of the chain, and where the row moved to
    /// another partition.
    pub fn next(&self) -> Option<Tid> {
        let next = self.link();
        let moved = next.offset == pg_sys::MovedPartitionsOffsetNumber as u16;
        (next != self.tid() && !moved).then_some(next)
    }

    /// Whether no version replaced this one.
    fn is_last(&self) -> bool {
        self.link() == self.tid()
    }

    fn link(&self) -> Tid {
        // SAFETY: the header lies on the pinned, share-locked page.
        Tid::from_raw(unsafe { &(*self.tuple.t_data).t_ctid })
    }

    fn next_in_page(&self) -> Option<u16> {
        // SAFETY: the header lies on the pinned, share-locked page.
        let (mask2, mask) = unsafe { ((*self.tuple.t_data).t_infomask2, (*self.tuple.t_data).t_infomask) };
        let hot_updated = u32::from(mask2) & pg_sys::HEAP_HOT_UPDATED != 0
            && u32::from(mask) & pg_sys::HEAP_XMAX_INVALID == 0;
        if hot_updated { self.next().map(|tid| tid.offset) } else { None }
    }

    /// The inserting transaction.
    pub fn xmin(&self) -> Xid {
        // By hand what HeapTupleHeaderGetXmin does: from PostgreSQL 18 on pgrx has two functions of that name.
        // SAFETY: the header lies on the pinned, share-locked page.
        unsafe {
            let header = &*self.tuple.t_data;
            let is_frozen =
                u32::from(header.t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
            let xmin = header.t_choice.t_heap.t_xmin;
            if is_frozen { pg_sys::FrozenTransactionId.into_inner() } else { xmin.into_inner() }
        }
    }

    /// The updating transaction, also behind a multixact.
    pub fn update_xid(&self) -> Xid {
        // SAFETY: the header lies on the pinned, share-locked page; a multixact is resolved only where its
        // bits say that it holds an updater.
        unsafe {
            let header = self.tuple.t_data;
            let mask = u32::from((*header).t_infomask);
            if mask & pg_sys::HEAP_XMAX_INVALID == 0
                && mask & pg_sys::HEAP_XMAX_IS_MULTI != 0
                && !is_lock_only(mask)
            {
                pg_sys::HeapTupleGetUpdateXid(header).into_inner()
            } else {
                (*header).t_choice.t_heap.t_xmax.into_inner()
            }
        }
    }

    /// The transaction that replaced the version, unless it had ended before this one last took a snapshot.
    pub fn just_replaced_by(&self) -> Option<Xid> {
        let xid = self.update_xid();
        // SAFETY: arithmetic on transaction ids; a plain read of backend state.
        let had_ended =
            unsafe { pg_sys::TransactionIdPrecedes(pg_sys::TransactionId::from(xid), pg_sys::RecentXmin) };
        (!had_ended).then_some(xid)
    }

    /// The transaction that is deleting or replacing the version, or did; `None` where it is locked at most.
    pub fn changing_xid(&self) -> Option<Xid> {
        // SAFETY: the header lies on the pinned, share-locked page.
        let mask = u32::from(unsafe { (*self.tuple.t_data).t_infomask });
        let unchanged = mask & pg_sys::HEAP_XMAX_INVALID != 0 || is_lock_only(mask);
        (!unchanged).then(|| self.update_xid())
    }

    /// The version's columns. Bytes borrowed from it stay readable while the page is pinned.
    pub fn columns(&mut self) -> Columns<'p> {
        let mut columns = Columns {
            values: [pg_sys::Datum::null(); MAX_COLUMNS],
            nulls: [true; MAX_COLUMNS],
            page: std::marker::PhantomData,
        };
        // SAFETY: Table::open checked that the descriptor has at most MAX_COLUMNS columns.
        unsafe {
            pg_sys::heap_deform_tuple(
                &mut self.tuple,
                self.page.table.descriptor(),
                columns.values.as_mut_ptr(),
                columns.nulls.as_mut_ptr(),
            );
        }
        columns
    }

    pub(super) fn page(&self) -> &'p Page<'t> {
        self.page
    }

    /// Whether this transaction locks the row, and nobody changes it.
    pub(super) fn is_locked_by_us(&self) -> bool {
        // SAFETY: the header lies on the pinned, share-locked page.
        let mask = u32::from(unsafe { (*self.tuple.t_data).t_infomask });
        mask & pg_sys::HEAP_XMAX_INVALID == 0 && self.lockers().include_us()
    }

    pub(super) fn raw(&mut self) -> &mut pg_sys::HeapTupleData {
        &mut self.tuple
    }
}

/// As PostgreSQL's HEAP_XMAX_IS_LOCKED_ONLY.
fn is_lock_only(mask: u32) -> bool {
    mask & pg_sys::HEAP_XMAX_LOCK_ONLY != 0
        || mask & (pg_sys::HEAP_XMAX_IS_MULTI | pg_sys::HEAP_LOCK_MASK) == pg_sys::HEAP_XMAX_EXCL_LOCK
}

/// Decoded columns of one version. Column numbers start at 0.
pub struct Columns<'p> {
    values: [pg_sys::Datum; MAX_COLUMNS],
    nulls: [bool; MAX_COLUMNS],
    page: std::marker::PhantomData<&'p ()>,
}

impl<'p> Columns<'p> {
    /// A short text column's bytes. Our ids are at most 255 bytes, which PostgreSQL neither compresses nor
    /// moves out of line at the columns' storage settings; anything else is not ours and reads as empty.
    pub fn text(&self, column: usize) -> &'p [u8] {
        if self.nulls[column] {
            return &[];
        }
        // SAFETY: a text column's datum points to a varlena on the pinned page.
        unsafe { super::args::inline_varlena(self.values[column].cast_mut_ptr()).unwrap_or(&[]) }
    }

    /// A value of variable length as it is stored, to be opened when no page is locked any more. Raises 53200, as palloc would.
    pub fn stored(&self, column: usize) -> Stored {
        if self.nulls[column] {
            return Stored(Vec::new());
        }
        // SAFETY: the column's type has variable length, so its datum points to a varlena on the pinned page; a pointer
        // to an out-of-line value is copied as a pointer.
        unsafe {
            let start: *const u8 = self.values[column].cast_mut_ptr();
            let stored = std::slice::from_raw_parts(start, pgrx::varsize_any(start.cast()));
            Stored(fallible::copy(stored, "a stored value").or_raise())
        }
    }

    pub fn bigint(&self, column: usize) -> i64 {
        if self.nulls[column] { 0 } else { self.values[column].value() as i64 }
    }

    pub fn int(&self, column: usize) -> i32 {
        if self.nulls[column] { 0 } else { self.values[column].value() as i32 }
    }

    pub fn is_null(&self, column: usize) -> bool {
        self.nulls[column]
    }

    pub fn interval(&self, column: usize) -> Option<Interval> {
        // SAFETY: callers name a column whose type was checked; its datum points to the pinned page.
        (!self.nulls[column]).then(|| unsafe { Interval::read(self.values[column].cast_mut_ptr()) })
    }
}

/// A stored value of variable length, perhaps compressed or out of line.
pub struct Stored(Vec<u8>);

impl Stored {
    /// Its payload. The row it is from must still be kept from vacuum by the transaction's snapshot. Raises 53200.
    pub fn open(&self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        // SAFETY: a copy of a whole varlena; it is read as bytes, or copied by detoasting.
        let bytes = unsafe { super::args::varlena_bytes(self.0.as_ptr().cast_mut().cast()) };
        fallible::copy(bytes, "a stored value").or_raise()
    }
}
