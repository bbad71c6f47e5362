//! Snapshots for reading our own tables by hand.
//!
//! They are registered with PostgreSQL while they are used, as its own are: what they see is kept from vacuum, and where an
//! error passes by, the resource owner lets go of them. They are never registered with the predicate lock manager: rows read
//! through them leave no SIREAD lock, so no serialization failure can come from a counter.

use crate::pg::session::session_local;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;

use pgrx::pg_sys;

/// Which transactions a snapshot sees.
pub struct Bounds {
    /// Lives as long as whoever holds the bounds.
    data: pg_sys::Snapshot,
}

impl Bounds {
    fn data(&self) -> &pg_sys::SnapshotData {
        // SAFETY: `Taken` and `Snapshot` keep what this points to for as long as they live, and change nothing of it.
        unsafe { &*self.data }
    }

    /// Oldest transaction still running when the snapshot was taken.
    pub fn xmin(&self) -> u32 {
        self.data().xmin.into_inner()
    }

    /// First transaction id not yet given out then.
    pub fn xmax(&self) -> u32 {
        self.data().xmax.into_inner()
    }

    /// Top-level transactions running then.
    pub fn running(&self) -> &[u32] {
        let data = self.data();
        if data.xcnt == 0 {
            return &[];
        }
        // SAFETY: PostgreSQL filled `xcnt` elements of `xip`; TransactionId is a transparent u32.
        unsafe { std::slice::from_raw_parts(data.xip as *const u32, data.xcnt as usize) }
    }
}

session_local! {
    /// Where the next snapshot is taken: GetSnapshotData allocates a buffer's arrays once. Null where there is none to be had.
    static BUFFER: Cell<pg_sys::Snapshot> = const { Cell::new(std::ptr::null_mut()) };
}

/// A snapshot that was taken and cannot be read through yet. Taking one neither raises nor, but for the first time, allocates:
/// it is for where a lightweight lock is held. To be registered before anything else is done with snapshots.
pub struct Taken {
    bounds: Bounds,
}

impl Taken {
    /// Everything committed by now, and this transaction's own changes so far, at any isolation level.
    pub fn now() -> Taken {
        let mut data = BUFFER.replace(std::ptr::null_mut());
        if data.is_null() {
            // SAFETY: an all-zero SnapshotData is how PostgreSQL starts its own static ones (type MVCC is 0).
            data = Box::into_raw(Box::new(unsafe { std::mem::zeroed() }));
        }
        // SAFETY: a buffer of ours, which nobody else has until it is given back; called inside a transaction.
        unsafe { pg_sys::GetSnapshotData(data) };
        Taken { bounds: Bounds { data } }
    }

    /// How many transactions had ended by then that had an id, prepared ones too. Nothing in rows can be seen otherwise while it stays.
    pub fn ended(&self) -> u64 {
        self.bounds.data().snapXactCompletionCount
    }

    /// Makes it one to read through.
    pub fn register(self) -> Snapshot {
        // SAFETY: it was just taken, so what it sees is still kept: PostgreSQL takes back the transaction's xmin only where a
        // snapshot goes.
        unsafe { Snapshot::register(self.data) }
    }
}

impl Deref for Taken {
    type Target = Bounds;

    fn deref(&self) -> &Bounds {
        &self.bounds
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        BUFFER.set(self.bounds.data);
    }
}

/// What a read sees: a copy of its own, registered until it is dropped.
pub struct Snapshot {
    bounds: Bounds,
    owner: pg_sys::ResourceOwner,
    /// It belongs to one transaction of one backend.
    thread: PhantomData<*mut ()>,
}

impl Snapshot {
    /// Everything committed by now, and this transaction's own changes so far, at any isolation level.
    pub fn fresh() -> Snapshot {
        Taken::now().register()
    }

    /// The running query's snapshot, with this transaction's own changes up to now.
    pub fn of_query() -> Snapshot {
        // SAFETY: plain reads of backend state; the active snapshot is copied, with its arrays, before anything can end it.
        // A copy of an active snapshot is not active, and its own command id does not change that of the original.
        unsafe {
            if !pg_sys::ActiveSnapshotSet() {
                return Snapshot::fresh();
            }
            let mut data = std::ptr::read(pg_sys::GetActiveSnapshot());
            data.curcid = pg_sys::GetCurrentCommandId(false);
            data.copied = false;
            data.active_count = 0;
            data.regd_count = 0;
            Snapshot::register(&mut data)
        }
    }

    /// # Safety
    /// `data` must be a valid MVCC snapshot that is not marked as a copy: PostgreSQL makes one of it. What it sees must be kept
    /// by something else until this returns.
    unsafe fn register(data: pg_sys::Snapshot) -> Snapshot {
        // SAFETY: by the caller's promise; called inside a transaction, which has a resource owner.
        unsafe {
            let owner = pg_sys::CurrentResourceOwner;
            let data = pg_sys::RegisterSnapshotOnOwner(data, owner);
            Snapshot { bounds: Bounds { data }, owner, thread: PhantomData }
        }
    }

    pub(super) fn raw(&mut self) -> pg_sys::Snapshot {
        self.bounds.data
    }

    /// How often PostgreSQL has it registered.
    #[cfg(any(test, feature = "pg_test"))]
    pub fn registrations(&self) -> u32 {
        self.bounds.data().regd_count
    }

    #[cfg(any(test, feature = "pg_test"))]
    pub fn shares_memory_with(&self, other: &Snapshot) -> bool {
        let (ours, theirs) = (self.bounds.data(), other.bounds.data());
        std::ptr::eq(ours, theirs)
            || (!ours.xip.is_null() && ours.xip == theirs.xip)
            || (!ours.subxip.is_null() && ours.subxip == theirs.subxip)
    }
}

impl Deref for Snapshot {
    type Target = Bounds;

    fn deref(&self) -> &Bounds {
        &self.bounds
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: registered in `register` with this owner, which outlives the call that made it; after an error the owner
            // lets go of it instead.
            unsafe { pg_sys::UnregisterSnapshotFromOwner(self.bounds.data, self.owner) }
        }
    }
}

/// An active snapshot for code that runs where no query does (PRE_COMMIT, a worker).
pub struct ActiveSnapshot(());

impl ActiveSnapshot {
    pub fn push() -> ActiveSnapshot {
        // SAFETY: called inside a transaction.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) }
        ActiveSnapshot(())
    }

    /// One, where there is none.
    pub fn ensure() -> Option<ActiveSnapshot> {
        // SAFETY: a plain read of backend state.
        (!unsafe { pg_sys::ActiveSnapshotSet() }).then(ActiveSnapshot::push)
    }

    /// One, where it is long ago that this backend took any: for who looks at rows without. PostgreSQL takes ids before that time for
    /// ended, and looks later ones up in pg_subtrans, which does not go back further than the oldest transaction that runs
    /// (procarray.c, TransactionIdIsInProgress).
    pub fn ensure_recent() -> Option<ActiveSnapshot> {
        /// Half of what pg_subtrans is cut off by, a segment of 32 pages with 2048 ids each.
        const LONG_AGO_XIDS: u32 = 32_768;
        // SAFETY: plain reads of backend state.
        let (own, oldest) = unsafe { (pg_sys::GetCurrentTransactionIdIfAny(), pg_sys::RecentXmin) };
        let (own, oldest) = (own.into_inner(), oldest.into_inner());
        let is_recent = own != 0 && own.wrapping_sub(oldest) < LONG_AGO_XIDS;
        if is_recent { None } else { ActiveSnapshot::ensure() }
    }
}

impl ActiveSnapshot {
    /// Everything committed by now, at any isolation level.
    pub fn push_latest() -> ActiveSnapshot {
        // SAFETY: called inside a transaction, outside parallel mode.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) }
        ActiveSnapshot(())
    }

    /// Everything committed by now, at any isolation level, and of this transaction's own changes only those before a command.
    pub fn push_latest_before(command: u32) -> ActiveSnapshot {
        // SAFETY: as in `push_latest`. What is active is a copy that nobody else has, of which only the command is changed.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            (*pg_sys::GetActiveSnapshot()).curcid = command;
        }
        ActiveSnapshot(())
    }
}

impl Drop for ActiveSnapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: pushed in `push`; dropped in stack order.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}
