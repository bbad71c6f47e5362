//! What keeps the table of slot rows small: after a burst the worker vacuums it, whether autovacuum comes or not.
//!
//! Reads of cold counters leave out a slot table without pages, and meet dead index entries in one that has many.

use std::time::{Duration, Instant};

use super::transactions::{Obstacle, in_transaction};
use crate::pg::Oid;
use crate::pg::table::Table;
use crate::pg::{process, vacuum};

/// How often it is looked whether there is something to do; later each time, up to the longest, while a vacuum does not help.
const INTERVAL: Duration = Duration::from_secs(15);
const LONGEST_INTERVAL: Duration = Duration::from_secs(600);
/// Moments at which nobody may use the table, before its empty pages are given back.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS_US: i64 = 4000;
/// A table of fewer pages is left alone: a few hot counters have that many.
const MIN_BLOCKS: u32 = 64;
/// Rows that are inserted into a page, about: most of it is kept for their next versions. Where fewer were folded than fill a quarter of the
/// table, most of it is in use.
const ROWS_PER_BLOCK: u64 = 10;

/// When the table is vacuumed, by what the worker has folded.
pub(super) struct SlotVacuum {
    /// Rows folded since a vacuum helped.
    folded: u64,
    last: Instant,
    interval: Duration,
}

impl SlotVacuum {
    /// Nobody knows what was folded before.
    pub fn new() -> SlotVacuum {
        SlotVacuum { folded: u64::MAX, last: Instant::now(), interval: INTERVAL }
    }

    pub fn note(&mut self, folded: u64) {
        self.folded = self.folded.saturating_add(folded);
    }

    /// Vacuums the table if it is time to and worth it.
    pub fn run_if_due(&mut self) -> Result<(), Obstacle> {
        if self.folded == 0 || self.last.elapsed() < self.interval {
            return Ok(());
        }
        self.last = Instant::now();
        let (table, before) = slot_blocks()?;
        if !is_worth_it(before, self.folded) {
            if before < MIN_BLOCKS {
                self.folded = 0;
            }
            return Ok(());
        }
        vacuum::in_worker(table, is_unused(table)?).map_err(Obstacle::Failed)?;
        let (_, after) = slot_blocks()?;
        self.last = Instant::now();
        if after <= before / 2 {
            self.folded = 0;
            self.interval = INTERVAL;
        } else {
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        }
        Ok(())
    }
}

/// Whether nobody used the table at some moments, one soon after the other. While empty pages are given back the table is locked against
/// everybody, so this is left for a time when hardly anybody comes.
fn is_unused(table: Oid) -> Result<bool, Obstacle> {
    for look in 0..LOOKS {
        if look > 0 {
            process::sleep_us(BETWEEN_LOOKS_US);
        }
        if !in_transaction(|_| Ok(vacuum::is_unused(table)))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_worth_it(blocks: u32, folded: u64) -> bool {
    blocks >= MIN_BLOCKS && folded >= u64::from(blocks) * ROWS_PER_BLOCK / 4
}

fn slot_blocks() -> Result<(Oid, u32), Obstacle> {
    in_transaction(|tables| Ok((tables.slot, Table::open(tables.slot).blocks())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_and_one_in_use_are_left_alone() {
        assert!(!is_worth_it(MIN_BLOCKS - 1, u64::MAX));
        assert!(is_worth_it(MIN_BLOCKS, u64::MAX));
        assert!(!is_worth_it(1000, 2_499));
        assert!(is_worth_it(1000, 2_500));
    }
}
