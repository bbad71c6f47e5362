//! Snapshots for reading our own tables by hand.
//!
//! They are never registered with the predicate lock manager: rows read through them leave no SIREAD lock,
//! so no serialization failure can come from a counter.

use std::mem::MaybeUninit;

use pgrx::pg_sys;

/// What a read sees.
pub struct Snapshot {
    data: Box<pg_sys::SnapshotData>,
}

impl Snapshot {
    /// Everything committed by now, and this transaction's own changes so far, at any isolation level.
    ///
    /// The transaction must already hold an older or equal `xmin` (a query is running), or must not end
    /// before the snapshot is dropped; either keeps the rows it sees from being vacuumed.
    pub fn fresh() -> Snapshot {
        static mut TAKEN: MaybeUninit<pg_sys::SnapshotData> = MaybeUninit::zeroed();
        let taken = &raw mut TAKEN as *mut pg_sys::SnapshotData;
        // SAFETY: a backend has one thread; an all-zero SnapshotData is how PostgreSQL starts its own static
        // ones (type MVCC is 0), and GetSnapshotData allocates its arrays once, on the first call.
        unsafe {
            pg_sys::GetSnapshotData(taken);
            Snapshot { data: Box::new(std::ptr::read(taken)) }
        }
    }

    /// The running query's snapshot, with this transaction's own changes up to now.
    pub fn of_query() -> Snapshot {
        // SAFETY: plain reads of backend state; the arrays the copy points to live as long as the active
        // snapshot does, that is to the end of the query that called us.
        unsafe {
            if !pg_sys::ActiveSnapshotSet() {
                return Snapshot::fresh();
            }
            let mut data = Box::new(std::ptr::read(pg_sys::GetActiveSnapshot()));
            data.curcid = pg_sys::GetCurrentCommandId(false);
            Snapshot { data }
        }
    }

    pub(super) fn raw(&mut self) -> pg_sys::Snapshot {
        &mut *self.data
    }

    /// Oldest transaction still running when the snapshot was taken.
    pub fn xmin(&self) -> u32 {
        self.data.xmin.into_inner()
    }

    /// First transaction id not yet given out then.
    pub fn xmax(&self) -> u32 {
        self.data.xmax.into_inner()
    }

    /// Top-level transactions running then.
    pub fn running(&self) -> &[u32] {
        if self.data.xcnt == 0 {
            return &[];
        }
        // SAFETY: GetSnapshotData filled `xcnt` elements of `xip`; TransactionId is a transparent u32.
        unsafe { std::slice::from_raw_parts(self.data.xip as *const u32, self.data.xcnt as usize) }
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
}

impl ActiveSnapshot {
    /// Everything committed by now, at any isolation level.
    pub fn push_latest() -> ActiveSnapshot {
        // SAFETY: called inside a transaction, outside parallel mode.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) }
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
