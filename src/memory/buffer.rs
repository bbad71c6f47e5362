//! Buffered deltas: increments that are in no row yet.
//!
//! Contract:
//!
//! - A committer pins the entry before its commit (making it COLD if need be) and adds under the shared partition
//!   lock, to the amounts of its epoch (`epochs.rs`). An entry with a pin or a mark is not freed, unless its tables
//!   are gone. Who frees one seizes its pins first, from none to `SEIZED` in one step; who pins one that is seized, or
//!   whose generation is not what it remembers, takes the pin back and looks again under the lock.
//! - A mark is set by whoever adds, before it gives back the shared lock; it is cleared under the exclusive one.
//! - `unjournaled` becomes `unflushed` by a drain: under the journal lock the amount is written to the journal, then
//!   moved under the exclusive partition lock. So the sum of both never changes, and a move is never half seen.
//! - An epoch's amounts become zero in the COMMIT callback of the transaction that folded them into rows, under the
//!   journal lock and the exclusive partition lock. From its commit to that callback they are in the rows and here;
//!   who reads rows under a snapshot that saw the fold leaves them out (`unfolded_by`).
//! - A crash at any point loses the segment. What was journaled is in the WAL; what was not was acknowledged under
//!   `synchronous_commit = off` less than a few `wal_writer_delay` ago.

use std::sync::atomic::{AtomicI64, Ordering};

use super::layout::*;
use super::lwlock::Held;
use super::places::{self, Place};
use super::segment::{Segment, segment};
use super::table::{self, Hashed, Key, SMALL_DELTA};
use super::{epochs, visibility};
use crate::pg::snapshot::Snapshot;
use crate::pg::xact;

/// Amounts not yet in rows stay below this, so that no delta that a pin allows can carry them past bigint.
const MAX_UNFOLDED: u64 = 1 << 59;

/// Where a delta waits to be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Mark {
    Unjournaled = 0,
    Unflushed = 2,
}

impl Mark {
    fn kind(self, parity: usize) -> usize {
        self as usize + parity
    }
}

fn parity(epoch: u64) -> usize {
    (epoch & 1) as usize
}

fn set_mark(segment: &Segment, partition: usize, index: u32, mark: Mark, parity: usize) {
    let word = &segment.marks(partition, mark.kind(parity))[index as usize / 64];
    let bit = 1u64 << (index % 64);
    // Written only when it changes: committers share the line.
    if word.load(Ordering::Relaxed) & bit == 0 {
        word.fetch_or(bit, Ordering::SeqCst);
    }
}

fn clear_mark(segment: &Segment, partition: usize, index: u32, mark: Mark, parity: usize) {
    let word = &segment.marks(partition, mark.kind(parity))[index as usize / 64];
    word.fetch_and(!(1u64 << (index % 64)), Ordering::SeqCst);
}

/// The entry is being freed. The caller holds the exclusive partition lock.
pub(super) fn clear_marks(segment: &Segment, partition: usize, index: u32) {
    for kind in 0..MARK_KINDS {
        let word = &segment.marks(partition, kind)[index as usize / 64];
        let bit = 1u64 << (index % 64);
        if word.load(Ordering::Relaxed) & bit != 0 {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }
}

fn is_marked(segment: &Segment, partition: usize, index: u32) -> bool {
    let bit = 1u64 << (index % 64);
    (0..MARK_KINDS)
        .any(|kind| segment.marks(partition, kind)[index as usize / 64].load(Ordering::SeqCst) & bit != 0)
}

/// Makes the entry one that nobody can pin, if freeing it loses nothing: it has no pin and no mark. The caller holds
/// the exclusive partition lock.
pub(super) fn seize(segment: &Segment, partition: usize, index: u32) -> bool {
    // SAFETY: exclusive under the partition lock.
    let entry = unsafe { &*segment.entry(partition, index) };
    // Marks are set by those who have a pin, under the shared lock: none can appear now.
    !is_marked(segment, partition, index)
        && entry.pins.compare_exchange(0, SEIZED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

fn amounts(entry: &Entry, parity: usize) -> i64 {
    entry.unflushed[parity].load(Ordering::SeqCst) + entry.unjournaled[parity].load(Ordering::SeqCst)
}

/// Buffered deltas that a sum of rows under the snapshot does not include. The caller holds the partition lock, at
/// least shared, since before the snapshot was taken.
pub(super) fn unfolded_by(segment: &Segment, partition: usize, index: u32, snapshot: &Snapshot) -> i64 {
    // SAFETY: the partition lock keeps the entry its key's.
    let entry = unsafe { &*segment.entry(partition, index) };
    let folded = epochs::fold_under_way(entry.database).filter(|fold| {
        visibility::is_seen(fold.xid, snapshot.xmin(), snapshot.xmax(), snapshot.running())
            && xact::did_commit(fold.xid)
    });
    (0..2)
        .filter(|parity| folded.is_none_or(|fold| fold.parity != *parity))
        .map(|parity| amounts(entry, parity))
        .sum()
}

/// A fresh snapshot, and the counter's buffered deltas that rows under it do not include.
pub fn snapshot_with_unfolded(key: Key<'_>) -> (Snapshot, i64) {
    let Some(segment) = segment() else {
        return (Snapshot::fresh(), 0);
    };
    let hashed = Hashed::new(&segment, key);
    // Exclusive: a committer adds to two places, and both or neither are to be seen.
    let _held = segment.lock_partition(hashed.partition);
    let snapshot = Snapshot::fresh();
    let unfolded = table::find(&segment, &hashed)
        .map_or(0, |index| unfolded_by(&segment, hashed.partition, index, &snapshot));
    (snapshot, unfolded)
}

/// Whether memory holds deltas of the counter that are in no row yet.
pub fn has_unfolded(key: Key<'_>) -> bool {
    let Some(segment) = segment() else {
        return false;
    };
    let hashed = Hashed::new(&segment, key);
    let _held = segment.lock_partition_shared(hashed.partition);
    table::find(&segment, &hashed).is_some_and(|index| is_marked(&segment, hashed.partition, index))
}

/// An entry that stays until it is given back.
#[derive(Clone, Copy, Debug)]
pub struct Pin {
    partition: u32,
    index: u32,
}

/// Pins a counter's entry for a delta to come, making it if there is none. `None` where the delta must take the way
/// through rows: there is no room, or the amount is too large to be added blindly.
pub fn pin(key: Key<'_>, delta: i64) -> Option<Pin> {
    if delta.unsigned_abs() > SMALL_DELTA {
        return None;
    }
    let segment = segment()?;
    let hashed = Hashed::new(&segment, key);
    if let Some(place) = places::recall(&hashed)
        && let Some(pin) = pin_where_remembered(&segment, hashed.partition, place)
    {
        return Some(pin);
    }
    {
        let _held = segment.lock_partition_shared(hashed.partition);
        if let Some(index) = table::find(&segment, &hashed) {
            return pin_found(&segment, &hashed, index);
        }
    }
    let _held = segment.lock_partition(hashed.partition);
    let index = match table::find(&segment, &hashed) {
        Some(index) => index,
        None => table::make(&segment, &hashed, None)?,
    };
    pin_found(&segment, &hashed, index)
}

/// Pins an entry without a lock, if it still is where and what it was.
fn pin_where_remembered(segment: &Segment, partition: usize, place: Place) -> Option<Pin> {
    let entry = segment.entry(partition, place.index);
    // SAFETY: in bounds; only atomics are touched, which others may change at any time.
    unsafe {
        let before = (*entry).pins.fetch_add(1, Ordering::SeqCst);
        if before >= SEIZED || (*entry).generation.load(Ordering::SeqCst) != place.generation {
            (*entry).pins.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        if is_too_large(&(*entry).unflushed, &(*entry).unjournaled) {
            (*entry).pins.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
    }
    Some(Pin { partition: partition as u32, index: place.index })
}

fn is_too_large(unflushed: &[AtomicI64; 2], unjournaled: &[AtomicI64; 2]) -> bool {
    unflushed
        .iter()
        .chain(unjournaled)
        .any(|amount| amount.load(Ordering::Relaxed).unsigned_abs() > MAX_UNFOLDED)
}

/// The caller holds the partition lock.
fn pin_found(segment: &Segment, hashed: &Hashed<'_>, index: u32) -> Option<Pin> {
    // SAFETY: found under the partition lock, which keeps the entry its key's.
    let entry = unsafe { &*segment.entry(hashed.partition, index) };
    if is_too_large(&entry.unflushed, &entry.unjournaled) {
        return None;
    }
    entry.pins.fetch_add(1, Ordering::SeqCst);
    places::remember(hashed, Place { index, generation: entry.generation.load(Ordering::SeqCst) });
    Some(Pin { partition: hashed.partition as u32, index })
}

/// Gives a pin back unused.
pub fn unpin(pin: Pin) {
    if let Some(segment) = segment() {
        // SAFETY: a pinned entry stays its key's.
        let entry = unsafe { &*segment.entry(pin.partition as usize, pin.index) };
        let before = entry.pins.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0);
    }
}

/// Adds a committed delta of an epoch and gives the pin back. Called in the COMMIT callback: it cannot fail, and
/// allocates nothing.
pub fn add(pin: Pin, epoch: u64, delta: i64, increments: u64, journaled: bool) {
    let Some(segment) = segment() else { return };
    let partition = pin.partition as usize;
    let parity = parity(epoch);
    let fits = {
        let _held = segment.lock_partition_shared(partition);
        // SAFETY: a pinned entry stays its key's.
        let entry = unsafe { &*segment.entry(partition, pin.index) };
        table::touch(entry);
        entry.increments.fetch_add(increments, Ordering::Relaxed);
        let (amount, mark) = if journaled {
            (&entry.unflushed[parity], Mark::Unflushed)
        } else {
            (&entry.unjournaled[parity], Mark::Unjournaled)
        };
        amount.fetch_add(delta, Ordering::SeqCst);
        set_mark(&segment, partition, pin.index, mark, parity);
        let fits = entry.state.load(Ordering::Relaxed) == COLD || table::raise_value(entry, delta);
        entry.pins.fetch_sub(1, Ordering::SeqCst);
        fits
    };
    if !fits {
        let _held = segment.lock_partition(partition);
        // SAFETY: exclusive under the partition lock; marked, so still its key's.
        let entry = unsafe { &*segment.entry(partition, pin.index) };
        if matches!(entry.state.load(Ordering::Relaxed), LOADING | LOADED) {
            table::forget(&segment, partition, pin.index);
        }
    }
}

/// A counter's buffered amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    pub id: Box<[u8]>,
    pub amount: i64,
    partition: u32,
    index: u32,
    hash: u64,
}

/// Visits the database's entries that are marked in one of the ways, each under its partition's lock as `lock` takes it.
fn for_each_marked(
    segment: &Segment,
    lock: fn(&Segment, usize) -> Held,
    database: u32,
    relation: u32,
    kinds: &[usize],
    mut see: impl FnMut(usize, u32, &Entry),
) {
    for partition in 0..segment.partitions() {
        for word in 0..segment.entries_per_partition().div_ceil(64) {
            let bits = || {
                kinds
                    .iter()
                    .fold(0, |bits, kind| bits | segment.marks(partition, *kind)[word].load(Ordering::SeqCst))
            };
            if bits() == 0 {
                continue;
            }
            let _held = lock(segment, partition);
            let mut left = bits();
            while left != 0 {
                let index = word as u32 * 64 + left.trailing_zeros();
                left &= left - 1;
                // SAFETY: the partition lock keeps the entry its key's.
                let entry = unsafe { &*segment.entry(partition, index) };
                if entry.database == database && entry.relation == relation {
                    see(partition, index, entry);
                }
            }
        }
    }
}

fn amount_of(partition: usize, index: u32, entry: &Entry, amount: i64) -> Amount {
    Amount {
        id: entry.id[..usize::from(entry.id_length)].into(),
        amount,
        partition: partition as u32,
        index,
        hash: entry.hash,
    }
}

/// Whether anything of the database's waits to be journaled.
pub fn has_unjournaled(database: u32, relation: u32) -> bool {
    has_marked(database, relation, &[Mark::Unjournaled.kind(0), Mark::Unjournaled.kind(1)])
}

/// Whether an epoch has any deltas.
pub fn has_deltas(database: u32, relation: u32, epoch: u64) -> bool {
    has_marked(
        database,
        relation,
        &[Mark::Unjournaled.kind(parity(epoch)), Mark::Unflushed.kind(parity(epoch))],
    )
}

/// Whether a database has any deltas that are in no row yet.
pub fn holds_any(database: u32) -> bool {
    has_marked(database, epochs::relation(database), &[0, 1, 2, 3])
}

fn has_marked(database: u32, relation: u32, kinds: &[usize]) -> bool {
    let Some(segment) = segment() else {
        return false;
    };
    let mut any = false;
    for_each_marked(&segment, Segment::lock_partition_shared, database, relation, kinds, |_, _, _| {
        any = true
    });
    any
}

/// The amounts of an epoch that are not in the journal. The caller holds the journal lock.
pub fn unjournaled(database: u32, relation: u32, epoch: u64) -> Vec<Amount> {
    let mut found = Vec::new();
    let Some(segment) = segment() else {
        return found;
    };
    let parity = parity(epoch);
    for_each_marked(
        &segment,
        Segment::lock_partition_shared,
        database,
        relation,
        &[Mark::Unjournaled.kind(parity)],
        |partition, index, entry| {
            let amount = entry.unjournaled[parity].load(Ordering::SeqCst);
            found.push(amount_of(partition, index, entry, amount));
        },
    );
    found
}

/// These amounts are in the journal now. The caller holds the journal lock since it read them. Cannot fail.
pub fn note_journaled(epoch: u64, amounts: &[Amount]) {
    let Some(segment) = segment() else { return };
    let parity = parity(epoch);
    for amount in amounts {
        let partition = amount.partition as usize;
        let _held = segment.lock_partition(partition);
        // SAFETY: exclusive under the partition lock.
        let entry = unsafe { &*segment.entry(partition, amount.index) };
        // Freed with its tables, and perhaps given to another counter.
        if entry.state.load(Ordering::Relaxed) == FREE || entry.hash != amount.hash {
            continue;
        }
        let before = entry.unjournaled[parity].fetch_sub(amount.amount, Ordering::SeqCst);
        entry.unflushed[parity].fetch_add(amount.amount, Ordering::SeqCst);
        set_mark(&segment, partition, amount.index, Mark::Unflushed, parity);
        if before == amount.amount {
            clear_mark(&segment, partition, amount.index, Mark::Unjournaled, parity);
        }
    }
}

/// All amounts of an epoch that nobody adds to any more.
pub fn of_epoch(database: u32, relation: u32, epoch: u64) -> Vec<Amount> {
    let mut found = Vec::new();
    let Some(segment) = segment() else {
        return found;
    };
    let parity = parity(epoch);
    let kinds = [Mark::Unjournaled.kind(parity), Mark::Unflushed.kind(parity)];
    for_each_marked(
        &segment,
        Segment::lock_partition_shared,
        database,
        relation,
        &kinds,
        |partition, index, entry| {
            found.push(amount_of(partition, index, entry, amounts(entry, parity)));
        },
    );
    found
}

/// The epoch's amounts are in committed rows. The caller holds the journal lock. Cannot fail.
pub(super) fn note_folded(database: u32, relation: u32, epoch: u64) {
    let Some(segment) = segment() else { return };
    let parity = parity(epoch);
    let marks = [Mark::Unjournaled, Mark::Unflushed];
    let kinds = marks.map(|mark| mark.kind(parity));
    for_each_marked(
        &segment,
        Segment::lock_partition,
        database,
        relation,
        &kinds,
        |partition, index, entry| {
            entry.unflushed[parity].store(0, Ordering::SeqCst);
            entry.unjournaled[parity].store(0, Ordering::SeqCst);
            for mark in marks {
                clear_mark(&segment, partition, index, mark, parity);
            }
        },
    );
}
