//! The hash table of totals: look-up, adding, invalidation, eviction.
//!
//! Contract: see `memory/mod.rs`. An entry is found, added to and read under its partition's shared lock; made,
//! evicted, invalidated or given its sum under the exclusive one. Dropping a clean entry at any time loses nothing,
//! since rows hold everything. One that holds buffered deltas, or is pinned by a transaction that is about to add
//! some, stays, and only forgets its total (`COLD`): see `buffer.rs`.

use std::hash::BuildHasher;
use std::sync::atomic::Ordering;

use super::buffer;
use super::databases;
use super::layout::*;
use super::places::{self, Place};
use super::segment::{Segment, segment};
use super::sketches;
use super::visibility;

/// A counter's key in memory: never shared between databases, nor between a dropped and a new extension.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub database: u32,
    pub relation: u32,
    pub id: &'a [u8],
}

/// A key with its hash.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    pub key: Key<'a>,
    pub hash: u64,
    pub partition: usize,
}

impl<'a> Hashed<'a> {
    pub fn new(segment: &Segment, key: Key<'a>) -> Hashed<'a> {
        let state = foldhash::quality::FixedState::with_seed(segment.header().seed);
        let hash = state.hash_one((key.database, key.relation, key.id));
        // The low bits choose the bucket, the high bits the partition.
        let partition = (hash >> 48) as usize & (segment.partitions() - 1);
        Hashed { key, hash, partition }
    }
}

/// What memory knows of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Value(i64),
    /// Another backend is loading it.
    Loading {
        generation: u64,
        cell: u32,
    },
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
    let _held = segment.lock_partition_shared(hashed.partition);
    let Some(index) = find(&segment, &hashed) else {
        return Found::Absent;
    };
    // SAFETY: found under the partition lock, which keeps the entry this key's.
    let entry = unsafe { &*segment.entry(hashed.partition, index) };
    match entry.state.load(Ordering::Relaxed) {
        LOADING => {
            let generation = entry.generation.load(Ordering::Relaxed);
            return Found::Loading { generation, cell: entry.load_cell };
        }
        COLD => return Found::Absent,
        _ => {}
    }
    touch(entry);
    let generation = entry.generation.load(Ordering::Relaxed);
    places::remember(&hashed, Place { index, generation });
    Found::Value(entry.value.load(Ordering::SeqCst))
}

/// The total of an entry that is where it was last found, and loaded all the while.
fn read_where_remembered(segment: &Segment, hashed: &Hashed<'_>) -> Option<i64> {
    let place = places::recall(hashed)?;
    let entry = segment.entry(hashed.partition, place.index);
    // SAFETY: in bounds; only atomics are touched, which others may change at any time.
    unsafe {
        let is_same = || {
            (*entry).generation.load(Ordering::SeqCst) == place.generation
                && (*entry).state.load(Ordering::SeqCst) == LOADED
        };
        if !is_same() {
            return None;
        }
        let value = (*entry).value.load(Ordering::SeqCst);
        if (*entry).used.load(Ordering::Relaxed) == 0 {
            (*entry).used.store(1, Ordering::Relaxed);
        }
        is_same().then_some(value)
    }
}

pub(super) fn touch(entry: &Entry) {
    // Written only when it changes: readers of a hot counter keep its line shared.
    if entry.used.load(Ordering::Relaxed) == 0 {
        entry.used.store(1, Ordering::Relaxed);
    }
}

/// Adds a committed delta that is in slot rows of top-level transaction `xid`. Called in the COMMIT callback: it
/// cannot fail, and allocates nothing.
pub fn add(key: Key<'_>, xid: u32, delta: i64, increments: u64) {
    let Some(segment) = segment() else { return };
    let hashed = Hashed::new(&segment, key);
    let fits = {
        let _held = segment.lock_partition_shared(hashed.partition);
        let Some(index) = find(&segment, &hashed) else {
            return;
        };
        // SAFETY: found under the partition lock, which keeps the entry this key's.
        let entry = unsafe { &*segment.entry(hashed.partition, index) };
        touch(entry);
        entry.increments.fetch_add(increments, Ordering::Relaxed);
        match entry.state.load(Ordering::Relaxed) {
            LOADING if load_sees(&segment, entry.load_cell as usize, xid) => true,
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

/// Whether the load's sum includes (or will include) what this transaction committed.
fn load_sees(segment: &Segment, cell: usize, xid: u32) -> bool {
    let (xids, _) = segment.load_cell_xids(cell);
    // SAFETY: the snapshot is written under the entry's exclusive partition lock; the caller holds the shared one.
    unsafe {
        let cell = &*segment.load_cell(cell);
        // No snapshot yet: it will be taken later than this commit became visible.
        cell.has_snapshot == 0
            || visibility::is_seen(
                xid,
                cell.xmin,
                cell.xmax,
                std::slice::from_raw_parts(xids, cell.running as usize),
            )
    }
}

/// Forgets a counter; the next read loads it from rows.
pub fn invalidate(key: Key<'_>) {
    let Some(segment) = segment() else { return };
    let hashed = Hashed::new(&segment, key);
    let _held = segment.lock_partition(hashed.partition);
    if let Some(index) = find(&segment, &hashed) {
        forget(&segment, hashed.partition, index);
        databases::count(key.database, |cell| &cell.invalidations, 1);
    }
}

/// Forgets every total of a database; buffered deltas stay.
pub fn invalidate_database(database: u32) {
    sketches::invalidate(database, |_| true);
    for_each_of(database, forget);
}

/// Frees everything that memory holds for a database whose tables are gone, buffered deltas too.
pub fn purge_database(database: u32) {
    sketches::invalidate(database, |_| true);
    for_each_of(database, purge);
}

fn for_each_of(database: u32, act: fn(&Segment, usize, u32)) {
    let Some(segment) = segment() else { return };
    for partition in 0..segment.partitions() {
        let _held = segment.lock_partition(partition);
        for index in 0..segment.entries_per_partition() as u32 {
            // SAFETY: exclusive under the partition lock.
            let entry = unsafe { &*segment.entry(partition, index) };
            if entry.state.load(Ordering::Relaxed) != FREE && entry.database == database {
                act(&segment, partition, index);
                databases::count(database, |cell| &cell.invalidations, 1);
            }
        }
    }
}

/// Forgets an entry's total; frees the entry unless it holds buffered deltas or is pinned. The caller holds the
/// exclusive partition lock.
pub(super) fn forget(segment: &Segment, partition: usize, index: u32) {
    if buffer::seize(segment, partition, index) {
        remove(segment, partition, index);
        return;
    }
    // SAFETY: exclusive under the partition lock.
    let entry = unsafe { &mut *segment.entry(partition, index) };
    // A load under way sees by the generation that it is not wanted any more.
    draw_generation(segment, entry);
    entry.load_cell = NIL;
    entry.state.store(COLD, Ordering::SeqCst);
}

/// Finds a key's entry. The caller holds the partition lock.
pub(super) fn find(segment: &Segment, hashed: &Hashed<'_>) -> Option<u32> {
    let Hashed { key, hash, partition } = *hashed;
    // SAFETY: chains change under the exclusive partition lock only; the caller holds it at least shared.
    unsafe {
        let mut index = *segment.bucket(partition, hash);
        while index != NIL {
            let entry = &*segment.entry(partition, index);
            if entry.hash == hash
                && entry.database == key.database
                && entry.relation == key.relation
                && &entry.id[..usize::from(entry.id_length)] == key.id
            {
                return Some(index);
            }
            index = entry.next;
        }
    }
    None
}

/// Makes an entry for a key that has none: LOADING in a load cell, or COLD. `None` when the partition has nothing to
/// evict. The caller holds the exclusive partition lock.
pub(super) fn make(segment: &Segment, hashed: &Hashed<'_>, load_cell: Option<u32>) -> Option<u32> {
    let partition = hashed.partition;
    // SAFETY: exclusive under the partition lock.
    unsafe {
        let head = segment.partition(partition);
        if (*head).free == NIL {
            evict_one(segment, partition)?;
        }
        let index = (*head).free;
        let entry = segment.entry(partition, index);
        (*head).free = (*entry).next;
        (*head).used.fetch_add(1, Ordering::Relaxed);

        let id = hashed.key.id;
        (*entry).hash = hashed.hash;
        (*entry).database = hashed.key.database;
        (*entry).relation = hashed.key.relation;
        (*entry).id_length = id.len() as u8;
        let stored = &mut (*entry).id;
        stored[..id.len()].copy_from_slice(id);
        (*entry).value.store(0, Ordering::Relaxed);
        (*entry).increments.store(0, Ordering::Relaxed);
        (*entry).increments_seen.store(0, Ordering::Relaxed);
        (*entry).rate.store(0, Ordering::Relaxed);
        (*entry).used.store(1, Ordering::Relaxed);
        (*entry).load_cell = load_cell.unwrap_or(NIL);
        for amounts in [&(*entry).unflushed, &(*entry).unjournaled] {
            amounts.iter().for_each(|amount| amount.store(0, Ordering::Relaxed));
        }
        let state = if load_cell.is_some() { LOADING } else { COLD };
        (*entry).state.store(state, Ordering::Relaxed);
        let bucket = segment.bucket(partition, hashed.hash);
        (*entry).next = *bucket;
        *bucket = index;
        draw_generation(segment, &*entry);
        (*entry).pins.fetch_sub(SEIZED, Ordering::SeqCst);
        databases::adjust_entries(hashed.key.database, 1);
        Some(index)
    }
}

/// A number that no entry had before: whoever remembers the entry by its old one looks again.
pub(super) fn draw_generation(segment: &Segment, entry: &Entry) {
    let generation = segment.header().next_generation.fetch_add(1, Ordering::Relaxed);
    entry.generation.store(generation, Ordering::SeqCst);
}

/// Frees an entry that its tables' end has made meaningless, whatever it holds.
fn purge(segment: &Segment, partition: usize, index: u32) {
    // SAFETY: exclusive under the partition lock; nobody counts with tables that are gone.
    unsafe { (*segment.entry(partition, index)).pins.fetch_add(SEIZED, Ordering::SeqCst) };
    remove(segment, partition, index);
}

/// Takes a seized entry out of its chain. The caller holds the exclusive partition lock.
fn remove(segment: &Segment, partition: usize, index: u32) {
    // SAFETY: exclusive under the partition lock; the entry is in its bucket's chain.
    unsafe {
        let entry = segment.entry(partition, index);
        let mut link = segment.bucket(partition, (*entry).hash);
        while *link != index {
            assert!(*link != NIL, "an entry is missing from its chain");
            link = &raw mut (*segment.entry(partition, *link)).next;
        }
        *link = (*entry).next;
        (*entry).generation.store(0, Ordering::SeqCst);
        (*entry).state.store(FREE, Ordering::SeqCst);
        buffer::clear_marks(segment, partition, index);
        let head = segment.partition(partition);
        (*entry).next = (*head).free;
        (*head).free = index;
        (*head).used.fetch_sub(1, Ordering::Relaxed);
        databases::adjust_entries((*entry).database, -1);
    }
}

/// Second-chance clock over the partition. Entries being loaded stay.
fn evict_one(segment: &Segment, partition: usize) -> Option<()> {
    let entries = segment.entries_per_partition() as u32;
    // SAFETY: exclusive under the partition lock.
    unsafe {
        let head = segment.partition(partition);
        for _ in 0..2 * entries {
            let index = (*head).hand;
            (*head).hand = (index + 1) % entries;
            let entry = &*segment.entry(partition, index);
            let state = entry.state.load(Ordering::Relaxed);
            if (state == LOADED || state == COLD)
                && entry.used.swap(0, Ordering::Relaxed) == 0
                && buffer::seize(segment, partition, index)
            {
                let database = entry.database;
                remove(segment, partition, index);
                databases::count(database, |cell| &cell.evictions, 1);
                return Some(());
            }
        }
    }
    None
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
    for_each_loaded(database, |entry| {
        let increments = entry.increments.load(Ordering::Relaxed);
        let before = entry.increments_seen.swap(increments, Ordering::Relaxed);
        let now = increments.saturating_sub(before) as f64 / elapsed_s.max(1e-3);
        let rate = f64::from_bits(entry.rate.load(Ordering::Relaxed));
        let smoothed = rate + SMOOTHING * (now - rate);
        entry.rate.store(smoothed.to_bits(), Ordering::Relaxed);
    });
}

/// A database's counters of one extension's tables with their rates.
pub fn rates(database: u32, relation: u32) -> Vec<Hot> {
    let mut rates = Vec::new();
    for_each_loaded(database, |entry| {
        let increments_per_s = f64::from_bits(entry.rate.load(Ordering::Relaxed));
        if entry.relation == relation && increments_per_s > 0.0 {
            let id = entry.id[..usize::from(entry.id_length)].to_vec();
            rates.push(Hot { id, increments_per_s });
        }
    });
    rates
}

fn for_each_loaded(database: u32, mut see: impl FnMut(&Entry)) {
    let Some(segment) = segment() else { return };
    for partition in 0..segment.partitions() {
        let _held = segment.lock_partition_shared(partition);
        for index in 0..segment.entries_per_partition() as u32 {
            // SAFETY: the shared partition lock keeps the entry its key's.
            let entry = unsafe { &*segment.entry(partition, index) };
            if entry.state.load(Ordering::Relaxed) == LOADED && entry.database == database {
                see(entry);
            }
        }
    }
}

/// Bytes of the segment and the counters it has room for; zeros without preload.
pub fn capacity() -> (usize, usize) {
    segment().map_or((0, 0), |segment| (segment.bytes(), segment.capacity()))
}
