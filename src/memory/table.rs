//! The hash table of totals: look-up, adding, invalidation, eviction.
//!
//! Contract: see `memory/mod.rs`. An entry is found, added to and read under its partition's shared lock. It is made,
//! evicted, invalidated and given its total under the exclusive one. An entry without buffered deltas may be dropped at any
//! time, since rows hold all that it says. An entry that holds buffered deltas, or that a transaction has pinned to add some,
//! stays: invalidation only makes it forget its total (`COLD`). See `buffer.rs` and `lifecycle.rs`.

use std::sync::atomic::Ordering;

use super::counters;
use super::databases;
use super::key::Hashed;

const WHAT: &str = "rates of counters";
pub use super::key::Key;
use super::layout::*;
use super::marks;
use super::partition::{ExclusivePartition, SharedPartition};
use super::places::{self, Place};
use super::room::places::Head;
use super::segment::{Segment, segment};
use super::visibility;
use crate::errors::OrRaise;
use crate::fallible;

/// What memory knows of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Value(i64),
    /// Another backend is loading it.
    Loading {
        generation: u64,
        cell: Option<u8>,
    },
    /// Memory holds buffered deltas of it, perhaps, and not its total.
    Cold,
    Absent,
}

/// Reads a counter's total.
pub fn read(key: Key<'_>) -> Found {
    let Some(segment) = segment() else {
        return Found::Absent;
    };
    let hashed = Hashed::new(&segment, key);
    if let Some(value) = read_where_remembered(&segment, &hashed) {
        return Found::Value(value);
    }
    let (value, place) = {
        let partition = segment.lock_partition_shared(hashed.partition);
        let Some(index) = partition.find(&hashed) else {
            return Found::Absent;
        };
        let entry = partition.entry(index);
        let generation = entry.generation();
        match entry.state() {
            LOADING => return Found::Loading { generation, cell: entry.load_cell() },
            COLD => return Found::Cold,
            _ => {}
        }
        entry.touch();
        (entry.value.load(Ordering::SeqCst), Place { index, generation })
    };
    places::remember(&hashed, place);
    Found::Value(value)
}

/// Whether memory has anything of a counter this moment.
pub fn holds(key: Key<'_>) -> bool {
    let Some(segment) = segment() else {
        return false;
    };
    let hashed = Hashed::new(&segment, key);
    let partition = segment.lock_partition_shared(hashed.partition);
    partition.find(&hashed).is_some()
}

/// The total of an entry that is where it was last found, and loaded all the while.
fn read_where_remembered(segment: &Segment, hashed: &Hashed<'_>) -> Option<i64> {
    let place = places::recall(hashed)?;
    let entry = segment.entry(hashed.partition, place.index);
    let value = entry.lifecycle().read(place.generation)?;
    entry.touch();
    Some(value)
}

/// Adds a committed delta that is in slot rows of top-level transaction `xid`. Called in the COMMIT callback: it
/// cannot fail, and allocates nothing.
pub fn add(key: Key<'_>, xid: u32, delta: i64, increments: u64) {
    let Some(segment) = segment() else { return };
    let hashed = Hashed::new(&segment, key);
    let fits = {
        let partition = segment.lock_partition_shared(hashed.partition);
        let Some(index) = partition.find(&hashed) else {
            return;
        };
        let entry = partition.entry(index);
        entry.touch();
        entry.note_increments(increments);
        match entry.state() {
            LOADING if load_sees(&partition, entry.load_cell(), xid) => true,
            COLD => true,
            _ => raise_value(entry, delta),
        }
    };
    if !fits {
        // Memory holds bigints only. Rows can add up further, and tell the reader.
        invalidate(key);
    }
}

/// Deltas up to this size cannot, from however many backends at once, carry a sum below 2⁶² past bigint.
pub(super) const SMALL_DELTA: u64 = 1 << 40;

/// Adds to a total; false when it does not fit bigint.
pub(super) fn raise_value(entry: &Entry, delta: i64) -> bool {
    // A plain add in the common case: two increments that meet do not make each other try again.
    const FAR_FROM_EITHER_END: u64 = 1 << 62;
    if delta.unsigned_abs() <= SMALL_DELTA
        && entry.value.load(Ordering::Relaxed).unsigned_abs() < FAR_FROM_EITHER_END
    {
        entry.value.fetch_add(delta, Ordering::SeqCst);
        return true;
    }
    entry.value.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| value.checked_add(delta)).is_ok()
}

/// Whether the load's sum includes (or will include) what this transaction committed. The snapshot is written under the
/// entry's exclusive partition lock.
fn load_sees(partition: &SharedPartition, cell: Option<u8>, xid: u32) -> bool {
    let segment = partition.segment();
    let cell = usize::from(cell.expect("a load has a cell"));
    let snapshot = segment.load_cell(cell);
    visibility::is_in_sum(snapshot.has_snapshot.get() != 0, || {
        visibility::is_seen_unless(xid, snapshot.xmin.get(), snapshot.xmax.get(), || {
            let running = &segment.load_cell_xids(cell)[..snapshot.running.get() as usize];
            running.iter().any(|running| running.load(Ordering::Relaxed) == xid)
        })
    })
}

/// Forgets a counter; the next read loads it from rows.
pub fn invalidate(key: Key<'_>) {
    let Some(segment) = segment() else { return };
    let hashed = Hashed::new(&segment, key);
    let mut partition = segment.lock_partition(hashed.partition);
    if let Some(index) = partition.find(&hashed) {
        forget(&mut partition, index);
        databases::count(key.database, |cell| &cell.invalidations, 1);
    }
}

/// Forgets every total of a database; buffered deltas stay.
pub(super) fn invalidate_database(database: u32) {
    for_each_of(database, forget);
}

/// Frees every entry of a database whose tables are gone, with the buffered deltas that it holds.
pub(super) fn purge_database(database: u32) {
    for_each_of(database, purge);
}

/// Entries that a walk over the table looks at while it holds a partition's lock once.
const ENTRIES_AT_ONCE: usize = 64;

/// Does something with each of a database's entries. The lock is given back every `ENTRIES_AT_ONCE` entries, so an entry that
/// is made behind the walk is missed; it was made after the walk began, and its loader saw what the walk was called for.
fn for_each_of(database: u32, act: fn(&mut ExclusivePartition, u32)) {
    let Some(segment) = segment() else { return };
    for number in 0..segment.partitions() {
        let entries = segment.touched(number);
        for first in (0..entries).step_by(ENTRIES_AT_ONCE) {
            let mut partition = segment.lock_partition(number);
            for index in first..entries.min(first + ENTRIES_AT_ONCE as u32) {
                let entry = partition.entry(index);
                if entry.state() != FREE && entry.database() == database {
                    act(&mut partition, index);
                    databases::count(database, |cell| &cell.invalidations, 1);
                }
            }
        }
    }
}

/// Forgets an entry's total; frees the entry unless it holds buffered deltas or is pinned.
pub(super) fn forget(partition: &mut ExclusivePartition, index: u32) {
    if seize(partition, index) {
        remove(partition, index);
        return;
    }
    let entry = partition.entry(index);
    entry.set_load_cell(None);
    entry.lifecycle().cool(partition.segment().draw_generation());
}

/// Makes the entry one that nobody can pin, if freeing it loses nothing: it has no pin and no mark. Marks are set by
/// those who have a pin, under the shared lock, so none can appear meanwhile.
fn seize(partition: &ExclusivePartition, index: u32) -> bool {
    !marks::is_marked(partition, index) && partition.entry(index).lifecycle().seize()
}

/// Makes an entry for a key that has none: LOADING in a load cell, or COLD. `None` when the clock found nothing that may
/// go.
pub(super) fn make(
    partition: &mut ExclusivePartition,
    hashed: &Hashed<'_>,
    load_cell: Option<u8>,
) -> Option<u32> {
    let index = match partition.link(hashed) {
        Some(index) => index,
        None => {
            evict_one(partition, hashed)?;
            partition.link(hashed)?
        }
    };
    let entry = partition.entry(index);
    entry.forget_counts();
    entry.touch();
    entry.set_load_cell(load_cell);
    let state = if load_cell.is_some() { LOADING } else { COLD };
    entry.lifecycle().begin(state, partition.segment().draw_generation());
    databases::adjust_entries(hashed.key.database, 1);
    Some(index)
}

/// Frees an entry whose tables are gone, whatever it holds: nobody counts with them any more.
fn purge(partition: &mut ExclusivePartition, index: u32) {
    partition.entry(index).lifecycle().seize_in_spite_of_pins();
    remove(partition, index);
}

/// Frees a seized entry.
fn remove(partition: &mut ExclusivePartition, index: u32) {
    partition.entry(index).lifecycle().end();
    marks::clear_all(partition, index);
    partition.unlink(index);
    databases::adjust_entries(partition.entry(index).database(), -1);
}

/// Frees an entry that nobody has used lately for a key, if there is one that may go.
fn evict_one(partition: &mut ExclusivePartition, hashed: &Hashed<'_>) -> Option<()> {
    let victim = partition.seize_victim(hashed)?;
    let database = partition.entry(victim).database();
    remove(partition, victim);
    databases::count(database, |cell| &cell.evictions, 1);
    Some(())
}

/// A counter that has been incremented lately.
#[derive(Clone, Debug, PartialEq)]
pub struct Hot {
    pub id: Vec<u8>,
    pub increments_per_s: f64,
}

/// Takes the rates of a database's counters anew; `elapsed_s` has passed since the last time.
pub fn take_rates(database: u32, elapsed_s: f64) {
    /// Weight of the newest interval.
    const SMOOTHING: f64 = 0.5;
    let see = |_: &mut (), partition: &SharedPartition, index: u32| {
        let entry = partition.entry(index);
        entry.take_rate(elapsed_s, SMOOTHING);
    };
    walk_loaded(database, &mut (), see, |()| {});
}

/// A database's counters of one extension's tables with their rates. Raises 53200.
pub fn rates(database: u32, relation: u32) -> Vec<Hot> {
    let mut rates = Vec::new();
    // Nothing is allocated under the lock: ids are copied into room that is there.
    let mut copied: Vec<(StoredId, f64)> = fallible::with_room(ENTRIES_AT_ONCE, WHAT).or_raise();
    walk_loaded(
        database,
        &mut copied,
        |copied, partition, index| {
            let entry = partition.entry(index);
            let increments_per_s = entry.increments_per_s();
            if entry.relation() == relation && increments_per_s > 0.0 {
                // BOUND: room for as many as are looked at under one lock.
                copied.push((partition.id(index), increments_per_s));
            }
        },
        |copied| {
            for (id, increments_per_s) in copied.drain(..) {
                let id = fallible::copy(id.bytes(), WHAT).or_raise();
                fallible::push(&mut rates, Hot { id, increments_per_s }, WHAT).or_raise();
            }
        },
    );
    rates
}

/// Looks at each of a database's totals, `ENTRIES_AT_ONCE` under one lock; between two locks calls `between`.
fn walk_loaded<T>(
    database: u32,
    state: &mut T,
    mut see: impl FnMut(&mut T, &SharedPartition, u32),
    mut between: impl FnMut(&mut T),
) {
    let Some(segment) = segment() else { return };
    for number in 0..segment.partitions() {
        let entries = segment.touched(number);
        for first in (0..entries).step_by(ENTRIES_AT_ONCE) {
            {
                let partition = segment.lock_partition_shared(number);
                for index in first..entries.min(first + ENTRIES_AT_ONCE as u32) {
                    let entry = partition.entry(index);
                    if entry.state() == LOADED && entry.database() == database {
                        see(state, &partition, index);
                    }
                }
            }
            between(state);
        }
    }
}

/// Shared memory for counters, and for what processes and databases say of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    pub bytes: u64,
    /// What those take that are held, without what is free.
    pub bytes_in_use: u64,
    /// Counters that there is room for.
    pub max_counters: u64,
}

/// Zeros without preload.
pub fn sizes() -> Sizes {
    let Some(segment) = segment() else { return Sizes::default() };
    let (bytes, bytes_in_use, max_counters) = counters::sizes();
    Sizes { bytes: (segment.bytes() + bytes) as u64, bytes_in_use, max_counters: max_counters as u64 }
}
