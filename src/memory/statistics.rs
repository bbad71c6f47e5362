//! What is measured in each database.
//!
//! Contract: atomics in the database's cell, and in the cells of its backends what they have not handed over yet. The error text
//! is guarded by the database lock. A database without a cell is not measured; one that gets a cell begins at nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cells;
use super::databases::{self, count};
use super::layout::{ErrorBytes, RESETTABLE_COUNTS};
use crate::pg::process;

/// What `counter_stats` shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    pub increments: u64,
    pub compactions: u64,
    pub rows_folded: u64,
    pub last_compaction_at_us: i64,
    pub overflowed: u64,
    pub errors: u64,
    pub last_error: String,
    pub last_error_at_us: i64,
    pub entries: i64,
    pub loads: u64,
    pub load_timeouts: u64,
    pub evictions: u64,
    pub invalidations: u64,
}

/// The database's statistics, where it has any.
pub fn of(database: u32) -> Option<Statistics> {
    // Copied under the lock, and made text of without it: nothing is allocated while others wait.
    let mut error = ErrorBytes { length: 0, bytes: [0; 252] };
    with_error(database, |current| error = *current);
    let last_error = String::from_utf8_lossy(&error.bytes[..error.length as usize]).into_owned();
    databases::with(database, |cell| {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &cell.counts;
        Statistics {
            increments: number(&counts.increments) + cells::counted(database).0,
            compactions: number(&counts.compactions),
            rows_folded: number(&counts.rows_folded),
            last_compaction_at_us: counts.last_compaction_at_us.load(Ordering::Relaxed),
            overflowed: number(&counts.overflowed),
            errors: number(&counts.errors),
            last_error,
            last_error_at_us: counts.last_error_at_us.load(Ordering::Relaxed),
            entries: counts.entries.load(Ordering::Relaxed),
            loads: number(&counts.loads),
            load_timeouts: number(&counts.load_timeouts),
            evictions: number(&counts.evictions),
            invalidations: number(&counts.invalidations),
        }
    })
}

/// Shows the database's error text, which nobody else looks at meanwhile.
fn with_error(database: u32, look: impl FnOnce(&mut ErrorBytes)) {
    databases::change(database, |cell| {
        // SAFETY: the error text is guarded by the database lock, which `change` holds.
        look(unsafe { cell.counts.last_error.0.get_mut() });
    });
}

/// Committed increments so far, to see whether there is anything to compact.
pub fn increments(database: u32) -> u64 {
    databases::with(database, |cell| cell.counts.increments.load(Ordering::Relaxed)).unwrap_or(0)
        + cells::counted(database).0
}

/// Counts sketches that committed visits have changed.
pub fn count_visits(database: u32, sketches: u64) {
    count(database, |counts| &counts.visits, sketches);
}

/// Visits so far, to see whether there is anything to compact.
pub fn visits(database: u32) -> u64 {
    databases::with(database, |cell| cell.counts.visits.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Counts a view that a bot filter did not count.
pub fn count_filtered(database: u32) {
    if databases::register(database) {
        count(database, |counts| &counts.filtered, 1);
    }
}

/// Views filtered so far; `None` where nothing is measured.
pub fn filtered(database: u32) -> Option<u64> {
    databases::with(database, |cell| cell.counts.filtered.load(Ordering::Relaxed))
}

/// What a pass came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    pub rows: u64,
    pub overflowed: u64,
}

/// Counts a pass, whoever ran it.
pub fn note_pass(database: u32, pass: Pass) {
    databases::with(database, |cell| {
        cell.counts.compactions.fetch_add(1, Ordering::Relaxed);
        cell.counts.rows_folded.fetch_add(pass.rows, Ordering::Relaxed);
        cell.counts.overflowed.store(pass.overflowed, Ordering::Relaxed);
        cell.counts.last_compaction_at_us.store(process::now_us(), Ordering::Relaxed);
    });
}

/// When the last pass ended, in microseconds since 2000-01-01; 0 for never, `None` where nothing is measured.
pub fn last_compaction_at_us(database: u32) -> Option<i64> {
    databases::with(database, |cell| cell.counts.last_compaction_at_us.load(Ordering::Relaxed))
}

/// Notes a worker's error. Returns whether it differs from the last one, that is, deserves a log line.
pub fn note_error(database: u32, message: &str) -> bool {
    count(database, |counts| &counts.errors, 1);
    databases::with(database, |cell| {
        cell.counts.last_error_at_us.store(process::now_us(), Ordering::Relaxed);
    });
    let mut differs = true;
    with_error(database, |error| {
        let mut end = message.len().min(error.bytes.len());
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let bytes = &message.as_bytes()[..end];
        differs = &error.bytes[..error.length as usize] != bytes;
        error.bytes[..end].copy_from_slice(bytes);
        error.length = end as u32;
    });
    differs
}

/// What `counter_stats_reset` has begin anew. The last three are of the whole server: each database counts them from a reset of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Count {
    Increments,
    Compactions,
    RowsFolded,
    Errors,
    Loads,
    LoadTimeouts,
    Evictions,
    Invalidations,
    BufferedIncrements,
    JournalBytes,
    RecoveredRecords,
    Visits,
    Filtered,
    SketchEvictions,
    LimitsRefused,
    LimitEvictions,
}

const _: () = assert!(Count::LimitEvictions as usize + 1 == RESETTABLE_COUNTS);

/// Of a count so far, what came after the last reset.
pub fn since_reset(database: u32, count: Count, so_far: u64) -> u64 {
    let before =
        databases::with(database, |cell| cell.baseline.counts[count as usize].load(Ordering::Relaxed));
    so_far.saturating_sub(before.unwrap_or(0))
}

/// Has the statistics of a database begin anew at these counts, and forgets its last error. Returns whether the database has statistics.
pub fn reset(database: u32, so_far: &[(Count, u64)], role: u32) -> bool {
    let mut is_done = false;
    databases::change(database, |cell| {
        for (count, number) in so_far {
            cell.baseline.counts[*count as usize].store(*number, Ordering::Relaxed);
        }
        cell.baseline.role.store(role, Ordering::Relaxed);
        cell.baseline.at_us.store(process::now_us(), Ordering::Relaxed);
        cell.counts.last_error_at_us.store(0, Ordering::Relaxed);
        // SAFETY: the error text is guarded by the database lock, which `change` holds.
        unsafe { cell.counts.last_error.0.get_mut() }.length = 0;
        is_done = true;
    });
    is_done
}

/// When the statistics were last reset, in microseconds since 2000-01-01, 0 for never, and the role that did it; `None` where nothing
/// is measured.
pub fn last_reset(database: u32) -> Option<(i64, u32)> {
    databases::with(database, |cell| {
        (cell.baseline.at_us.load(Ordering::Relaxed), cell.baseline.role.load(Ordering::Relaxed))
    })
}
