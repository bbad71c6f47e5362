//! A partition whose lock is held. What the lock guards is reached through these types only, so that the compiler sees to
//! it that the lock is held: shared for reading, exclusive for writing.
//!
//! Contract: `SharedPartition` and `ExclusivePartition` hold the partition's lightweight lock while they live. Nobody holds
//! two, nor sleeps, allocates, raises or reads rows while holding one, except that a snapshot may be taken (`Taken`:
//! GetSnapshotData takes ProcArrayLock); it is registered when the lock is given back.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use super::counters::Counters;
use super::entries::Entries;
use super::entry::{Entry, StoredId};
use super::key::Hashed;
use super::layout::{ALL_DIRTY, DIRTY};
use super::lwlock::LockGuard;
use super::room::dirt::Dirt;
use super::segment::Segment;

/// A partition under its lock, at least shared: which entry holds which key does not change.
pub(super) struct SharedPartition {
    segment: Segment,
    number: usize,
    entries: Entries<'static, Counters>,
    _lock: LockGuard,
}

/// A partition under its exclusive lock.
pub(super) struct ExclusivePartition(SharedPartition);

impl Segment {
    pub fn lock_partition_shared(&self, number: usize) -> SharedPartition {
        let lock = self.counters().lock_partition_shared(number);
        SharedPartition { segment: *self, number, entries: self.entries_of(number), _lock: lock }
    }

    pub fn lock_partition(&self, number: usize) -> ExclusivePartition {
        let lock = self.counters().lock_partition(number);
        ExclusivePartition(SharedPartition {
            segment: *self,
            number,
            entries: self.entries_of(number),
            _lock: lock,
        })
    }

    pub fn entries_of(&self, number: usize) -> Entries<'static, Counters> {
        let counters = self.counters();
        let places = counters.places(number);
        let marks = |kind| counters.marks(number, kind);
        let dirt = Dirt { dirty: marks(DIRTY), full: marks(ALL_DIRTY), count: places.dirty() };
        Entries { places, dirt, pool: counters }
    }
}

impl SharedPartition {
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub fn entry(&self, index: u32) -> &'static Entry {
        self.entries.entry(index)
    }

    /// A copy of the id of the counter that an entry holds.
    pub fn id(&self, index: u32) -> StoredId {
        self.entries.id(index)
    }

    pub fn marks(&self, kind: usize) -> &'static [AtomicU64] {
        self.segment.marks(self.number, kind)
    }

    /// Which entries are dirty.
    pub fn dirt(&self) -> Dirt<'static> {
        self.entries.dirt
    }

    pub fn capacity(&self) -> u32 {
        self.entries.places.capacity()
    }

    /// The entry that holds a key.
    pub fn find(&self, hashed: &Hashed<'_>) -> Option<u32> {
        debug_assert_eq!(hashed.partition, self.number);
        self.entries.find(hashed.whole())
    }

    /// The entry of a hash's bucket that has a generation.
    pub fn find_generation(&self, hash: u64, generation: u64) -> Option<u32> {
        self.entries.places.chain(hash).find(|index| self.entry(*index).generation() == generation)
    }
}

impl ExclusivePartition {
    /// Takes a free entry for a key, and puts it into its bucket's chain; `None` when none is free, or no body for a long id.
    pub fn link(&mut self, hashed: &Hashed<'_>) -> Option<u32> {
        self.entries.link(hashed.whole())
    }

    /// Takes an entry out of its chain; it is free.
    pub fn unlink(&mut self, index: u32) {
        self.entries.unlink(index);
    }

    /// An entry that may go for a key, seized.
    pub fn seize_victim(&mut self, hashed: &Hashed<'_>) -> Option<u32> {
        self.entries.seize_victim(hashed.key.id.len())
    }
}

impl Deref for ExclusivePartition {
    type Target = SharedPartition;

    fn deref(&self) -> &SharedPartition {
        &self.0
    }
}

impl Borrow<SharedPartition> for ExclusivePartition {
    fn borrow(&self) -> &SharedPartition {
        &self.0
    }
}
