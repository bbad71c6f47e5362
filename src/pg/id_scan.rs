//! Index scans over (id, …) primary keys that see every row version, so that callers judge visibility
//! themselves and no snapshot rule (EvalPlanQual, SIREAD locks) comes into play.

use std::ops::ControlFlow;

use pgrx::pg_sys;

use super::page::{Page, Tid, Version};
use super::process;
use super::table::{Index, Table};

/// Where the scan starts.
#[derive(Clone, Copy, Debug)]
pub enum Range<'a> {
    /// Rows of one id.
    Id(&'a [u8]),
    /// Rows of ids that sort after this one; all rows, for the empty id.
    After(&'a [u8]),
    /// Rows of this id, and of those that sort after it.
    From(&'a [u8]),
    /// Rows whose first two columns are these texts.
    Pair(&'a [u8], &'a [u8]),
    /// Rows of an index over timestamptz from the first instant on and before the second, oldest first; microseconds since
    /// 2000-01-01.
    Between(i64, i64),
}

/// What one column of the index is compared with.
struct Condition<'a> {
    /// Its number, from 1.
    column: i16,
    strategy: u32,
    function: u32,
    value: Operand<'a>,
}

enum Operand<'a> {
    Text(&'a [u8]),
    Timestamp(i64),
}

impl<'a> Range<'a> {
    fn conditions(self) -> (Condition<'a>, Option<Condition<'a>>) {
        let text = |column, strategy, function, text| Condition {
            column,
            strategy,
            function,
            value: Operand::Text(text),
        };
        let equal = |column, value| text(column, pg_sys::BTEqualStrategyNumber, pg_sys::F_TEXTEQ, value);
        let instant = |strategy, function, at| Condition {
            column: 1,
            strategy,
            function,
            value: Operand::Timestamp(at),
        };
        match self {
            Range::Id(id) => (equal(1, id), None),
            Range::After(id) => (text(1, pg_sys::BTGreaterStrategyNumber, pg_sys::F_TEXT_GT, id), None),
            Range::From(id) => (text(1, pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_TEXT_GE, id), None),
            Range::Pair(first, second) => (equal(1, first), Some(equal(2, second))),
            Range::Between(from, before) => (
                instant(pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_GE, from),
                Some(instant(pg_sys::BTLessStrategyNumber, pg_sys::F_TIMESTAMPTZ_LT, before)),
            ),
        }
    }

    fn keys(self) -> i32 {
        if matches!(self, Range::Pair(..) | Range::Between(..)) { 2 } else { 1 }
    }
}

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
            let scan =
                pg_sys::index_beginscan(table.raw(), index.raw(), any, std::ptr::null_mut(), range.keys(), 0);
            #[cfg(not(feature = "pg18"))]
            let scan = pg_sys::index_beginscan(table.raw(), index.raw(), any, range.keys(), 0);
            scan
        };
        let mut this = IdScan { table, scan, page: None };
        this.restart(range);
        this
    }

    /// Starts again at another place, of the same kind.
    pub fn restart(&mut self, range: Range<'_>) {
        let (first, second) = range.conditions();
        // SAFETY: the keys are copied by index_rescan; their text arguments are palloc'd in the current context, which
        // outlives the scan (the caller's call or transaction). As many keys as the scan was begun with.
        unsafe {
            let mut keys = [std::mem::zeroed::<pg_sys::ScanKeyData>(); 2];
            for (number, condition) in [Some(first), second].into_iter().flatten().enumerate() {
                let value = match condition.value {
                    Operand::Text(text) => pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
                        text.as_ptr().cast(),
                        text.len() as i32,
                    )),
                    Operand::Timestamp(at) => pg_sys::Datum::from(at),
                };
                pg_sys::ScanKeyEntryInitialize(
                    &mut keys[number],
                    0,
                    condition.column,
                    condition.strategy as u16,
                    pg_sys::InvalidOid,
                    pg_sys::C_COLLATION_OID,
                    pg_sys::Oid::from(condition.function),
                    value,
                );
            }
            pg_sys::index_rescan(self.scan, keys.as_mut_ptr(), range.keys(), std::ptr::null_mut(), 0);
        }
    }

    /// The next index entry (cancellable between two): shows every version of its HOT chain under the page's share lock, then returns the
    /// still pinned page, or `None` at the end. An entry whose versions are dead to everybody is marked so for
    /// later scans.
    pub fn next_entry(
        &mut self,
        mut see: impl FnMut(&mut Version<'_, 't>) -> ControlFlow<()>,
    ) -> Option<&Page<'t>> {
        // Behind a held snapshot an id can have very many dead entries: such a scan can be cancelled.
        process::check_for_interrupts();
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
