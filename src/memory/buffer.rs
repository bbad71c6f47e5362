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
//! - A crash at any point loses the segment. What was journaled is in the journal's table; what was not was acknowledged under
//!   `synchronous_commit = off` less than a few `wal_writer_delay` ago.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicI64, Ordering};

use super::key::{Hashed, Key};
use super::layout::*;
use super::marks::{self, Mark};
use super::partition::SharedPartition;
use super::places::{self, Place};
use super::room::places::Head;
use super::segment::{Segment, segment};
use super::table::{self, SMALL_DELTA};
use super::{epochs, visibility, workers};
use crate::errors::OrRaise;
use crate::fallible::{self, OutOfMemory};
use crate::pg::snapshot::{Bounds, Snapshot, Taken};
use crate::pg::{process, xact};

const WHAT: &str = "buffered increments";

/// Amounts not yet in rows stay below this, so that no delta that a pin allows can carry them past bigint.
const MAX_UNFOLDED: u64 = 1 << 59;

fn parity(epoch: u64) -> usize {
    (epoch & 1) as usize
}

fn amounts(entry: &Entry, parity: usize) -> i64 {
    entry.unflushed[parity].load(Ordering::SeqCst) + entry.unjournaled[parity].load(Ordering::SeqCst)
}

/// Buffered deltas that a sum of rows under the snapshot does not include. The caller holds the partition lock, at
/// least shared, since before the snapshot was taken.
pub(super) fn unfolded_by(partition: &SharedPartition, index: u32, snapshot: &Bounds) -> i64 {
    let entry = partition.entry(index);
    let folded = epochs::fold_under_way(entry.database()).filter(|fold| {
        // What this transaction has folded itself its snapshots see.
        xact::is_own(fold.xid)
            || (visibility::is_seen(fold.xid, snapshot.xmin(), snapshot.xmax(), snapshot.running())
                && xact::did_commit(fold.xid))
    });
    (0..2)
        .filter(|parity| folded.is_none_or(|fold| !fold.takes(*parity)))
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
    let partition = segment.lock_partition(hashed.partition);
    let taken = Taken::now();
    let unfolded = partition.find(&hashed).map_or(0, |index| unfolded_by(&partition, index, &taken));
    drop(partition);
    (taken.register(), unfolded)
}

/// Whether memory holds deltas of the counter that are in no row yet: what this transaction has folded itself it finds in rows.
pub fn has_unfolded(key: Key<'_>) -> bool {
    let Some(segment) = segment() else {
        return false;
    };
    let hashed = Hashed::new(&segment, key);
    let partition = segment.lock_partition_shared(hashed.partition);
    let Some(index) = partition.find(&hashed) else { return false };
    let folded = epochs::fold_under_way(key.database).filter(|fold| xact::is_own(fold.xid));
    let is_open = |parity: &usize| folded.is_none_or(|fold| !fold.takes(*parity));
    (0..2).filter(is_open).any(|parity| marks::is_marked_of(&partition, index, parity))
}

/// When the counter's buffered deltas last changed, as far as memory knows; 0 where it does not.
pub fn changed_at_us(key: Key<'_>) -> i64 {
    let Some(segment) = segment() else {
        return 0;
    };
    let hashed = Hashed::new(&segment, key);
    let partition = segment.lock_partition_shared(hashed.partition);
    partition.find(&hashed).map_or(0, |index| partition.entry(index).changed_at_us())
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
    let (pin, place) = pin_under_lock(&segment, &hashed)?;
    places::remember(&hashed, place);
    Some(pin)
}

fn pin_under_lock(segment: &Segment, hashed: &Hashed<'_>) -> Option<(Pin, Place)> {
    {
        let partition = segment.lock_partition_shared(hashed.partition);
        if let Some(index) = partition.find(hashed) {
            return pin_found(&partition, index);
        }
    }
    let mut partition = segment.lock_partition(hashed.partition);
    let index = match partition.find(hashed) {
        Some(index) => index,
        None => table::make(&mut partition, hashed, None)?,
    };
    pin_found(&partition, index)
}

/// Pins an entry without a lock, if it still is where and what it was.
fn pin_where_remembered(segment: &Segment, partition: usize, place: Place) -> Option<Pin> {
    let entry = segment.entry(partition, place.index);
    if !entry.lifecycle().try_pin(place.generation) {
        return None;
    }
    if is_too_large(&entry.unflushed, &entry.unjournaled) {
        entry.lifecycle().unpin();
        return None;
    }
    Some(Pin { partition: partition as u32, index: place.index })
}

fn is_too_large(unflushed: &[AtomicI64; 2], unjournaled: &[AtomicI64; 2]) -> bool {
    unflushed
        .iter()
        .chain(unjournaled)
        .any(|amount| amount.load(Ordering::Relaxed).unsigned_abs() > MAX_UNFOLDED)
}

fn pin_found(partition: &SharedPartition, index: u32) -> Option<(Pin, Place)> {
    let entry = partition.entry(index);
    if is_too_large(&entry.unflushed, &entry.unjournaled) {
        return None;
    }
    entry.lifecycle().pin();
    let pin = Pin { partition: partition.number() as u32, index };
    Some((pin, Place { index, generation: entry.generation() }))
}

/// Gives a pin back unused.
pub fn unpin(pin: Pin) {
    if let Some(segment) = segment() {
        segment.entry(pin.partition as usize, pin.index).lifecycle().unpin();
    }
}

/// Adds a committed delta of an epoch and gives the pin back. Called in the COMMIT callback: it cannot fail, and
/// allocates nothing.
pub fn add(pin: Pin, epoch: u64, delta: i64, increments: u64, journaled: bool) {
    let Some(segment) = segment() else { return };
    let partition = pin.partition as usize;
    let parity = parity(epoch);
    let (fits, is_half_dirty, database) = {
        let partition = segment.lock_partition_shared(partition);
        let entry = partition.entry(pin.index);
        entry.touch();
        entry.note_increments(increments);
        entry.note_change(process::statement_started_us());
        let (amount, mark) = if journaled {
            (&entry.unflushed[parity], Mark::Unflushed)
        } else {
            (&entry.unjournaled[parity], Mark::Unjournaled)
        };
        amount.fetch_add(delta, Ordering::SeqCst);
        let is_half_dirty = marks::set(&partition, pin.index, mark, parity);
        let fits = entry.state() == COLD || table::raise_value(entry, delta);
        entry.lifecycle().unpin();
        (fits, is_half_dirty, entry.database())
    };
    if is_half_dirty {
        // What is dirty cannot make room for others: it is folded sooner than the interval says.
        workers::want_pass(database);
    }
    if !fits {
        let mut partition = segment.lock_partition(partition);
        // Marked, so still its key's.
        if matches!(partition.entry(pin.index).state(), LOADING | LOADED) {
            table::forget(&mut partition, pin.index);
        }
    }
}

/// A counter's buffered amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    pub id: Box<[u8]>,
    pub amount: i64,
    /// When a delta was last added, within a tenth of a second.
    pub changed_at_us: i64,
    partition: u32,
    index: u32,
    hash: u64,
}

/// Visits the database's entries that are marked in one of the ways, each under its partition's lock as `lock` takes it.
fn for_each_marked<P: Borrow<SharedPartition>>(
    segment: &Segment,
    lock: fn(&Segment, usize) -> P,
    database: u32,
    relation: u32,
    kinds: &[usize],
    mut see: impl FnMut(&P, u32),
) {
    for number in 0..segment.partitions() {
        if !segment.has_dirty(number) {
            continue;
        }
        for word in 0..segment.touched(number).div_ceil(64) as usize {
            let bits = || {
                kinds
                    .iter()
                    .fold(0, |bits, kind| bits | segment.marks(number, *kind)[word].load(Ordering::SeqCst))
            };
            if bits() == 0 {
                continue;
            }
            let partition = lock(segment, number);
            let mut left = bits();
            while left != 0 {
                let index = word as u32 * 64 + left.trailing_zeros();
                left &= left - 1;
                let entry = partition.borrow().entry(index);
                if entry.database() == database && entry.relation() == relation {
                    see(&partition, index);
                }
            }
        }
    }
}

fn amount_of(partition: &SharedPartition, index: u32, amount: i64) -> Amount {
    Amount {
        id: fallible::boxed(partition.id(index).bytes(), WHAT).or_raise(),
        amount,
        changed_at_us: partition.entry(index).changed_at_us(),
        partition: partition.number() as u32,
        index,
        hash: partition.entry(index).hash(),
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
    for_each_marked(&segment, Segment::lock_partition_shared, database, relation, kinds, |_, _| any = true);
    any
}

/// Where a walk over entries stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    partition: usize,
    index: u32,
}

/// The next amounts of an epoch that are not in the journal, from a position on, as many as take up no more than `room` by
/// `bytes_of` the length of their ids, and where the next ones begin. `None` at the end. Raises 53200.
pub fn unjournaled_from(
    database: u32,
    relation: u32,
    epoch: u64,
    from: Position,
    room: usize,
    bytes_of: impl Fn(usize) -> usize,
) -> Option<(Vec<Amount>, Position)> {
    let segment = segment()?;
    let parity = parity(epoch);
    let kind = Mark::Unjournaled.kind(parity);
    let mut found = Vec::new();
    let mut left_bytes = room;
    for number in from.partition..segment.partitions() {
        let first = if number == from.partition { from.index } else { 0 };
        for word in first as usize / 64..segment.touched(number).div_ceil(64) as usize {
            let bits = || segment.marks(number, kind)[word].load(Ordering::SeqCst);
            if bits() == 0 {
                continue;
            }
            let partition = segment.lock_partition_shared(number);
            let mut left = bits();
            while left != 0 {
                let index = word as u32 * 64 + left.trailing_zeros();
                left &= left - 1;
                let entry = partition.entry(index);
                if index < first || entry.database() != database || entry.relation() != relation {
                    continue;
                }
                let bytes = bytes_of(entry.id_bytes());
                if bytes > left_bytes {
                    return Some((found, Position { partition: number, index }));
                }
                left_bytes -= bytes;
                let amount = entry.unjournaled[parity].load(Ordering::SeqCst);
                fallible::push(&mut found, amount_of(&partition, index, amount), WHAT).or_raise();
            }
        }
    }
    let end = Position { partition: segment.partitions(), index: 0 };
    (!found.is_empty()).then_some((found, end))
}

/// What of an entry is not in the journal now; `None` when it is another's. The caller holds the journal lock. Raises 53200.
pub fn unjournaled_now(epoch: u64, found: &Amount) -> Option<Amount> {
    let segment = segment()?;
    let partition = segment.lock_partition_shared(found.partition as usize);
    let entry = partition.entry(found.index);
    if entry.state() == FREE || entry.hash() != found.hash {
        return None;
    }
    let amount = entry.unjournaled[parity(epoch)].load(Ordering::SeqCst);
    Some(amount_of(&partition, found.index, amount))
}

/// These amounts are in the journal now. The caller holds the journal lock since it read them. Cannot fail.
pub fn note_journaled(epoch: u64, amounts: &[Amount]) {
    let Some(segment) = segment() else { return };
    let parity = parity(epoch);
    for amount in amounts {
        let partition = segment.lock_partition(amount.partition as usize);
        let entry = partition.entry(amount.index);
        // Freed with its tables, and perhaps given to another counter.
        if entry.state() == FREE || entry.hash() != amount.hash {
            continue;
        }
        let before = entry.unjournaled[parity].fetch_sub(amount.amount, Ordering::SeqCst);
        entry.unflushed[parity].fetch_add(amount.amount, Ordering::SeqCst);
        marks::set(&partition, amount.index, Mark::Unflushed, parity);
        if before == amount.amount {
            marks::clear(&partition, amount.index, Mark::Unjournaled, parity);
        }
    }
}

/// All amounts of an epoch that nobody adds to any more. Raises 53200.
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
        |partition, index| {
            let amount = amount_of(partition, index, amounts(partition.entry(index), parity));
            fallible::push(&mut found, amount, WHAT).or_raise();
        },
    );
    found
}

/// What of each counter is in no row yet, whatever its epoch. The caller keeps others' folds out, by a lock on the tables; what
/// its own transaction has folded is in rows.
pub fn unfolded(database: u32, relation: u32) -> Vec<Amount> {
    let mut found = Vec::new();
    let Some(segment) = segment() else {
        return found;
    };
    let folded = epochs::fold_under_way(database).filter(|fold| xact::is_own(fold.xid));
    // Exclusive: a drain moves an amount from one place to another, and it is to be seen once.
    for_each_marked(
        &segment,
        Segment::lock_partition,
        database,
        relation,
        &[0, 1, 2, 3],
        |partition, index| {
            let entry = partition.entry(index);
            let is_open = |parity: &usize| folded.is_none_or(|fold| !fold.takes(*parity));
            let amount: i64 = (0..2).filter(is_open).map(|parity| amounts(entry, parity)).sum();
            if amount != 0 {
                fallible::push(&mut found, amount_of(partition, index, amount), WHAT).or_raise();
            }
        },
    );
    found
}

/// Shows the ids of counters with deltas that are in no row yet, some of which may just have been folded. `see` runs under a
/// partition's lock: it raises nothing.
pub fn each_unfolded_id(
    database: u32,
    relation: u32,
    mut see: impl FnMut(&[u8]) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    while_accepted(database, relation, |partition, index| see(partition.id(index).bytes()))
}

/// Shows each counter's buffered deltas that rows under the snapshot do not include. A fold that commits and is noted meanwhile may make
/// it miss some: the caller compares `epochs::folds_ended` from before the snapshot with that after the walk.
pub fn each_unfolded(
    database: u32,
    relation: u32,
    snapshot: &Bounds,
    mut see: impl FnMut(&[u8], i64) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    while_accepted(database, relation, |partition, index| {
        see(partition.id(index).bytes(), unfolded_by(partition, index, snapshot))
    })
}

/// Shows counters with deltas until one is refused.
fn while_accepted(
    database: u32,
    relation: u32,
    mut see: impl FnMut(&SharedPartition, u32) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    let Some(segment) = segment() else { return Ok(()) };
    let mut seen = Ok(());
    for_each_marked(
        &segment,
        Segment::lock_partition_shared,
        database,
        relation,
        &[0, 1, 2, 3],
        |partition, index| {
            if seen.is_ok() {
                seen = see(partition, index);
            }
        },
    );
    seen
}

/// The epoch's amounts are in committed rows. The caller holds the journal lock. Cannot fail.
pub(super) fn note_folded(database: u32, relation: u32, epoch: u64) {
    let Some(segment) = segment() else { return };
    let parity = parity(epoch);
    let both = [Mark::Unjournaled, Mark::Unflushed];
    let kinds = both.map(|mark| mark.kind(parity));
    for_each_marked(&segment, Segment::lock_partition, database, relation, &kinds, |partition, index| {
        let entry = partition.entry(index);
        entry.unflushed[parity].store(0, Ordering::SeqCst);
        entry.unjournaled[parity].store(0, Ordering::SeqCst);
        for mark in both {
            marks::clear(partition, index, mark, parity);
        }
    });
}
