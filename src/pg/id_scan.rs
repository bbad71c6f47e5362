//! Index scans over (id, …) primary keys that see every row version, so that callers judge visibility
//! themselves and no snapshot rule (EvalPlanQual, SIREAD locks) comes into play.

use std::ops::ControlFlow;

use pgrx::pg_sys;

use super::page::{Page, Tid, Version};
use super::table::{Index, Table};

/// Where the scan starts.
#[derive(Clone, Copy, Debug)]
pub enum Range<'a> {
    /// Rows of one id.
    Id(&'a [u8]),
    /// Rows of ids that sort after this one; all rows, for the empty id.
    After(&'a [u8]),
}

const BT_EQUAL: u16 = 3;
const BT_GREATER: u16 = 5;
const F_TEXTEQ: u32 = 67;
const F_TEXT_GT: u32 = 742;
/// The "C" collation: the ids' columns are declared with it.
const C_COLLATION: u32 = 950;

/// A running scan in id order.
pub struct IdScan<'t> {
    table: &'t Table,
    scan: pg_sys::IndexScanDesc,
    page: Option<Page<'t>>,
}

impl<'t> IdScan<'t> {
    pub fn begin(table: &'t Table, index: &'t Index, range: Range<'_>) -> IdScan<'t> {
        // SAFETY: both relations are open for 't; SnapshotAny is a static of PostgreSQL.
        let scan = unsafe {
            let any = &raw mut pg_sys::SnapshotAnyData;
            #[cfg(feature = "pg18")]
            let scan = pg_sys::index_beginscan(table.raw(), index.raw(), any, std::ptr::null_mut(), 1, 0);
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.raw(), index.raw(), any, 1, 0);
            scan
        };
        let mut this = IdScan { table, scan, page: None };
        this.restart(range);
        this
    }

    /// Starts again at another place.
    pub fn restart(&mut self, range: Range<'_>) {
        let (id, strategy, function) = match range {
            Range::Id(id) => (id, BT_EQUAL, F_TEXTEQ),
            Range::After(id) => (id, BT_GREATER, F_TEXT_GT),
        };
        // SAFETY: the key is copied by index_rescan; its text argument is palloc'd in the current context,
        // which outlives the scan (the caller's call or transaction).
        unsafe {
            let text = pg_sys::cstring_to_text_with_len(id.as_ptr().cast(), id.len() as i32);
            let mut key = std::mem::zeroed::<pg_sys::ScanKeyData>();
            pg_sys::ScanKeyEntryInitialize(
                &mut key,
                0,
                1,
                strategy,
                pg_sys::InvalidOid,
                pg_sys::Oid::from(C_COLLATION),
                pg_sys::Oid::from(function),
                pg_sys::Datum::from(text),
            );
            pg_sys::index_rescan(self.scan, &mut key, 1, std::ptr::null_mut(), 0);
        }
    }

    /// The next index entry: shows every version of its HOT chain under the page's share lock, then returns the
    /// still pinned page, or `None` at the end. An entry whose versions are dead to everybody is marked so for
    /// later scans.
    pub fn next_entry(
        &mut self,
        mut see: impl FnMut(&mut Version<'_>) -> ControlFlow<()>,
    ) -> Option<&Page<'t>> {
        // SAFETY: the scan is open; a returned item pointer is valid until the next call.
        let tid = unsafe {
            let next = pg_sys::index_getnext_tid(self.scan, pg_sys::ScanDirection::ForwardScanDirection);
            if next.is_null() {
                self.page = None;
                return None;
            }
            Tid::from_raw(&*next)
        };
        if self.page.as_ref().is_none_or(|page| page.block() != tid.block) {
            self.page = None;
            let page = Page::pin(self.table, tid.block);
            page.prune();
            self.page = Some(page);
        }
        let page = self.page.as_ref()?;
        let all_dead = page.lock_shared().chain(tid.offset, &mut see);
        // SAFETY: the scan is open; dead entries may not be marked during recovery, where a standby's own
        // horizon does not bind the primary.
        unsafe {
            (*self.scan).kill_prior_tuple = all_dead && !(*self.scan).xactStartedInRecovery;
        }
        Some(page)
    }
}

impl Drop for IdScan<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.page = None;
            // SAFETY: begun in `begin`, ended once.
            unsafe { pg_sys::index_endscan(self.scan) }
        }
    }
}
