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
    /// Rows whose first column is this text, and whose second sorts after that one.
    PairAfter(&'a [u8], &'a [u8]),
    /// Rows whose first three columns are these texts.
    Triple(&'a [u8], &'a [u8], &'a [u8]),
    /// Rows whose first column is this id, and the second this instant; microseconds since 2000-01-01.
    IdAt(&'a [u8], i64),
    /// Rows whose first column is this text, and the second this instant or one before it, from the last one on downwards: in the opposite
    /// order of the index.
    UptoInstant(&'a [u8], i64),
    /// Rows of an index over timestamptz from the first instant on and before the second, oldest first; microseconds since
    /// 2000-01-01.
    Between(i64, i64),
    /// Rows whose first column is this text, and whose second, a bigint, is this number or a greater one.
    Upwards(&'a [u8], i64),
    /// The same, up to another number.
    Span(&'a [u8], i64, i64),
    /// The same as `Upwards` with lower numbers, from the greatest on downwards: in the opposite order of the index.
    Downwards(&'a [u8], i64),
    /// Rows whose first three columns are this text, this bigint, and a text that sorts after this one.
    Behind(&'a [u8], i64, &'a [u8]),
    /// The same with texts that sort before it, from the last one on: in the opposite order of the index.
    Before(&'a [u8], i64, &'a [u8]),
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
    /// Also a timestamptz.
    Bigint(i64),
}

impl<'a> Range<'a> {
    /// One condition for each of the leading columns that matter.
    fn conditions(self) -> [Option<Condition<'a>>; 3] {
        use Operand::{Bigint, Text};
        use pg_sys::{
            BTEqualStrategyNumber as EQUAL, BTGreaterEqualStrategyNumber as FROM,
            BTGreaterStrategyNumber as ABOVE, BTLessEqualStrategyNumber as UPTO,
            BTLessStrategyNumber as BELOW,
        };
        let on = |column, strategy, function, value| Some(Condition { column, strategy, function, value });
        let text = |column, value| on(column, EQUAL, pg_sys::F_TEXTEQ, Text(value));
        let number = |value| on(2, EQUAL, pg_sys::F_INT8EQ, Bigint(value));
        match self {
            Range::Id(id) => [text(1, id), None, None],
            Range::After(id) => [on(1, ABOVE, pg_sys::F_TEXT_GT, Text(id)), None, None],
            Range::From(id) => [on(1, FROM, pg_sys::F_TEXT_GE, Text(id)), None, None],
            Range::Pair(first, second) => [text(1, first), text(2, second), None],
            Range::PairAfter(first, second) => {
                [text(1, first), on(2, ABOVE, pg_sys::F_TEXT_GT, Text(second)), None]
            }
            Range::Triple(first, second, third) => [text(1, first), text(2, second), text(3, third)],
            Range::IdAt(id, at) => [text(1, id), on(2, EQUAL, pg_sys::F_TIMESTAMPTZ_EQ, Bigint(at)), None],
            Range::UptoInstant(id, at) => [
                text(1, id),
                on(2, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE, Bigint(at)),
                None,
            ],
            Range::Between(from, before) => [
                on(1, FROM, pg_sys::F_TIMESTAMPTZ_GE, Bigint(from)),
                on(1, BELOW, pg_sys::F_TIMESTAMPTZ_LT, Bigint(before)),
                None,
            ],
            Range::Upwards(first, from) => {
                [text(1, first), on(2, FROM, pg_sys::F_INT8GE, Bigint(from)), None]
            }
            // An index reads a page's entries up to the first that a condition rules out: a bound from above spares it the rest.
            Range::Span(first, from, upto) => [
                text(1, first),
                on(2, FROM, pg_sys::F_INT8GE, Bigint(from)),
                on(2, UPTO, pg_sys::F_INT8LE, Bigint(upto)),
            ],
            Range::Downwards(first, below) => {
                [text(1, first), on(2, BELOW, pg_sys::F_INT8LT, Bigint(below)), None]
            }
            Range::Behind(first, second, third) => {
                [text(1, first), number(second), on(3, ABOVE, pg_sys::F_TEXT_GT, Text(third))]
            }
            Range::Before(first, second, third) => {
                [text(1, first), number(second), on(3, BELOW, pg_sys::F_TEXT_LT, Text(third))]
            }
        }
    }

    fn keys(self) -> i32 {
        self.conditions().iter().flatten().count() as i32
    }

    fn direction(self) -> pg_sys::ScanDirection::Type {
        match self {
            Range::Downwards(..) | Range::Before(..) | Range::UptoInstant(..) => {
                pg_sys::ScanDirection::BackwardScanDirection
            }
            _ => pg_sys::ScanDirection::ForwardScanDirection,
        }
    }
}

/// A running scan in id order.
pub struct IdScan<'t> {
    table: &'t Table,
    scan: pg_sys::IndexScanDesc,
    page: Option<Page<'t>>,
    direction: pg_sys::ScanDirection::Type,
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
        let mut this = IdScan { table, scan, page: None, direction: range.direction() };
        this.restart(range);
        this
    }

    /// Starts again at another place, of the same kind.
    pub fn restart(&mut self, range: Range<'_>) {
        let conditions = range.conditions();
        // SAFETY: the keys are copied by index_rescan; their text arguments are palloc'd in the current context, which
        // outlives the scan (the caller's call or transaction). As many keys as the scan was begun with.
        unsafe {
            let mut keys = [std::mem::zeroed::<pg_sys::ScanKeyData>(); 3];
            for (number, condition) in conditions.into_iter().flatten().enumerate() {
                let value = match condition.value {
                    Operand::Text(text) => pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(
                        text.as_ptr().cast(),
                        text.len() as i32,
                    )),
                    Operand::Bigint(number) => pg_sys::Datum::from(number),
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
            let next = pg_sys::index_getnext_tid(self.scan, self.direction);
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
