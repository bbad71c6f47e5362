//! Adding to a counter's slot rows without waiting.
//!
//! A backend remembers where it last saw a counter's slot rows (see `place`). So a search through the index, slow where old
//! versions have piled up behind a held snapshot, is needed only at the first increment and when rows have gone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Instant;

use super::access::{self, Tables};
use super::keyed;
use super::place::{self, Found};
use super::slot_columns;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::memory::{restore_guard, slotted};
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::{self, Columns, Status, Tid};
use crate::pg::session::session_local;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{catalog, process, random};

const WHAT: &str = "places of slot rows";

/// Counters a backend remembers slot rows of; past it, it starts over.
const MAX_REMEMBERED: usize = 1024;
/// Index entries a search looks at: enough for the widest counter, bounded where dead ones have piled up.
const MAX_ENTRIES_SEARCHED: usize = 2048;
/// Pages of the slot table that a pass walks over. After a burst there are more until the table is vacuumed.
const MAX_BLOCKS_WALKED: u32 = 4096;

/// A slot row, and where its latest version was last seen.
#[derive(Clone, Copy, Debug)]
pub struct SlotRow {
    slot: i64,
    tid: Tid,
}

/// A counter's slot rows as far as this backend knows.
#[derive(Clone, Debug)]
pub struct Known {
    pub rows: Vec<SlotRow>,
    /// When the index was last searched for more.
    pub searched_at: Option<Instant>,
}

session_local! {
    static REMEMBERED: RefCell<Remembered> = RefCell::new(Remembered::default());
}

#[derive(Default)]
struct Remembered {
    relations_version: u64,
    slot_table: u32,
    counters: HashMap<Box<[u8]>, Known, foldhash::fast::RandomState>,
}

/// What an attempt to add to a remembered row came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Added,
    /// Another transaction holds the row, its delta would leave bigint, or it is of another minute: try another.
    Held,
    /// The row is gone: forget it.
    Gone,
}

/// Whether a row may hold amounts of several minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minutes {
    Together,
    /// Somebody who follows the counter is told the time of each amount, and the worker may be late.
    Apart,
}

fn minute(at_us: i64) -> i64 {
    at_us.div_euclid(60_000_000)
}

/// The slot table, open for writing.
pub struct Writer {
    table: Table,
    blocks: u32,
}

impl Writer {
    pub fn open(tables: Tables) -> Result<Writer, CounterError> {
        access::lock_slot_for_writing(tables);
        let table = Table::open(tables.slot);
        // Read under the lock that also keeps vacuum from truncating the table.
        let blocks = table.blocks();
        Ok(Writer { table, blocks })
    }

    /// Looks the counter's live slot rows up in the index, up to `limit` of them.
    pub fn search(&self, id: &[u8], limit: usize) -> Result<Vec<SlotRow>, CounterError> {
        let mut rows: Vec<SlotRow> = Vec::new();
        // The index is opened only where it is needed: most increments find their row without it.
        let key = keyed::slot_key(&self.table, Access::Write)?;
        let mut scan = IdScan::begin(&self.table, &key, Range::Id(id));
        for _ in 0..MAX_ENTRIES_SEARCHED {
            let entry = scan.next_entry(|version| {
                let columns = version.columns();
                // What happened at another time than it was counted is kept apart.
                if columns.is_null(slot_columns::BOOKED_AT)
                    && matches!(version.status(), Status::Free | Status::Changing(_) | Status::Locked(_))
                {
                    let slot = columns.bigint(slot_columns::SLOT);
                    fallible::push(&mut rows, SlotRow { slot, tid: version.tid() }, WHAT).or_raise();
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            if entry.is_none() || rows.len() >= limit {
                break;
            }
        }
        Ok(rows)
    }

    /// Adds to a known row if it can be had now; notes where the row was found.
    pub fn try_add(&self, id: &[u8], row: &mut SlotRow, delta: i64, minutes: Minutes) -> Outcome {
        if row.tid.block >= self.blocks && row.tid.block >= self.table.blocks() {
            return Outcome::Gone;
        }
        // A slot number is never used twice, so whatever carries ours is a version of our row.
        let is_ours = |columns: &Columns<'_>| {
            columns.bigint(slot_columns::SLOT) == row.slot && columns.text(slot_columns::ID) == id
        };
        let read =
            |columns: &Columns<'_>| (columns.bigint(slot_columns::DELTA), columns.bigint(slot_columns::AT));
        match place::follow(&self.table, row.tid, is_ours, read) {
            Found::Free(candidate, (current, at_us)) => {
                row.tid = candidate.tid();
                let now_us = process::statement_started_us();
                if minutes == Minutes::Apart && current != 0 && minute(at_us) != minute(now_us) {
                    return Outcome::Held;
                }
                let Some(sum) = current.checked_add(delta) else {
                    return Outcome::Held;
                };
                let change =
                    [(slot_columns::DELTA, Value::Bigint(sum)), (slot_columns::AT, Value::Bigint(now_us))];
                match candidate.update(&change) {
                    Ok(tid) => {
                        note_written(id);
                        row.tid = tid;
                        Outcome::Added
                    }
                    // Somebody was faster between our look and our update.
                    Err(_) => Outcome::Held,
                }
            }
            Found::Held(tid) => {
                row.tid = tid;
                Outcome::Held
            }
            Found::Nothing => Outcome::Gone,
        }
    }

    /// Inserts a slot row of an amount that counts from now on, and happened at another time.
    pub fn insert_booked(&self, id: &[u8], delta: i64, booked_at_us: i64) {
        let (slot, at_us) = (random::bits() as i64, process::statement_started_us());
        let values = [
            Value::Text(id),
            Value::Bigint(slot),
            Value::Bigint(delta),
            Value::Bigint(at_us),
            Value::Bigint(booked_at_us),
        ];
        write::insert(&self.table, &values);
        note_written(id);
    }

    /// Inserts a fresh slot row. The number is random over 64 bits, so that two transactions never meet in the
    /// unique index.
    pub fn insert(&self, id: &[u8], slot: i64, delta: i64) -> SlotRow {
        let tid = insert(&self.table, id, slot, delta, process::statement_started_us());
        SlotRow { slot, tid }
    }
}

/// Whether slot rows of a counter are remembered.
pub fn are_known(tables: Tables, id: &[u8]) -> bool {
    REMEMBERED.with_borrow(|remembered| {
        remembered.relations_version == access::version()
            && remembered.slot_table == u32::from(tables.slot)
            && remembered.counters.get(id).is_some_and(|known| !known.rows.is_empty())
    })
}

/// Takes what is remembered of a counter out of the backend's memory.
pub fn recall(tables: Tables, id: &[u8]) -> Known {
    REMEMBERED.with_borrow_mut(|remembered| {
        let version = access::version();
        let table = u32::from(tables.slot);
        if remembered.relations_version != version || remembered.slot_table != table {
            // The table was rewritten, truncated or replaced: places in it mean nothing any more.
            remembered.counters.clear();
            remembered.relations_version = version;
            remembered.slot_table = table;
        }
        match remembered.counters.get_mut(id) {
            Some(known) => std::mem::replace(known, Known { rows: Vec::new(), searched_at: None }),
            None => Known { rows: Vec::new(), searched_at: None },
        }
    })
}

/// Puts it back.
pub fn remember(id: &[u8], known: Known) {
    REMEMBERED.with_borrow_mut(|remembered| {
        if let Some(place) = remembered.counters.get_mut(id) {
            *place = known;
            return;
        }
        if remembered.counters.len() >= MAX_REMEMBERED {
            remembered.counters.clear();
        }
        // Without memory it is looked for again.
        if fallible::reserve(&mut remembered.counters, 1, WHAT).is_ok()
            && let Ok(id) = fallible::boxed(id, WHAT)
        {
            remembered.counters.insert(id, known);
        }
    });
}

/// Inserts a slot row.
pub(super) fn insert(table: &Table, id: &[u8], slot: i64, delta: i64, at_us: i64) -> Tid {
    let values = [Value::Text(id), Value::Bigint(slot), Value::Bigint(delta), Value::Bigint(at_us)];
    let tid = write::insert(table, &values);
    note_written(id);
    tid
}

/// A version of a slot row of the counter is on its page.
pub(super) fn note_written(id: &[u8]) {
    slotted::add(u32::from(catalog::my_database()), id);
}

/// Walks over the slot table, for `memory/slotted` to learn which counters have slot rows. Takes little where there is nothing to learn. The
/// transaction has written nothing, and nobody else does this meanwhile.
pub fn renew_slotted(tables: Tables) {
    let database = u32::from(catalog::my_database());
    let table = Table::open(tables.slot);
    // A restore may write with triggers switched off.
    if table.blocks() > MAX_BLOCKS_WALKED || restore_guard::is_under_way(database) {
        return;
    }
    let Some(walk) = slotted::renew(database, u32::from(tables.total)) else { return };
    page::each_version(&table, |version| {
        // A version that was replaced counts: its successor may be where the walk has been.
        if version.status() != Status::Deleted {
            walk.see(version.columns().text(slot_columns::ID));
        }
    });
    walk.end();
}
