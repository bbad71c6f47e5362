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
use super::entry::{self, Entry};
use super::key::Hashed;
use super::layout::{ALL_DIRTY, DIRTY, StoredId};
use super::lwlock::LockGuard;
use super::room::dirt::Dirt;
use super::room::places::{Head, Places};
use super::room::pool::Pool;
use super::segment::Segment;

/// A partition under its lock, at least shared: which entry holds which key does not change.
pub(super) struct SharedPartition {
    segment: Segment,
    counters: Counters,
    number: usize,
    places: Places<'static, Entry>,
    _lock: LockGuard,
}

/// A partition under its exclusive lock.
pub(super) struct ExclusivePartition(SharedPartition);

impl Segment {
    pub fn lock_partition_shared(&self, number: usize) -> SharedPartition {
        let counters = self.counters();
        let lock = counters.lock_partition_shared(number);
        SharedPartition { segment: *self, counters, number, places: counters.places(number), _lock: lock }
    }

    pub fn lock_partition(&self, number: usize) -> ExclusivePartition {
        let counters = self.counters();
        let lock = counters.lock_partition(number);
        let places = counters.places(number);
        ExclusivePartition(SharedPartition { segment: *self, counters, number, places, _lock: lock })
    }
}

impl SharedPartition {
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn number(&self) -> usize {
        self.number
    }

    /// Entries that anybody ever had: the others hold nothing.
    pub fn touched(&self) -> u32 {
        self.places.touched()
    }

    pub fn free(&self) -> u32 {
        self.places.free()
    }

    pub fn entry(&self, index: u32) -> &'static Entry {
        self.places.head(index)
    }

    /// A copy of the id of the counter that an entry holds.
    pub fn id(&self, index: u32) -> StoredId {
        let mut id = StoredId::EMPTY;
        entry::read_id(self.id_words(index), id.room_for(self.entry(index).id_bytes()));
        id
    }

    fn id_words(&self, index: u32) -> &[AtomicU64] {
        let entry = self.entry(index);
        match entry.body() {
            Some(body) => self.counters.words(body),
            None => entry.inline_id(),
        }
    }

    pub fn marks(&self, kind: usize) -> &'static [AtomicU64] {
        self.counters.marks(self.number, kind)
    }

    /// Which entries are dirty.
    pub fn dirt(&self) -> Dirt<'static> {
        Dirt { dirty: self.marks(DIRTY), full: self.marks(ALL_DIRTY), count: self.places.dirty() }
    }

    pub fn capacity(&self) -> u32 {
        self.places.capacity()
    }

    /// The entry that holds a key.
    pub fn find(&self, hashed: &Hashed<'_>) -> Option<u32> {
        debug_assert_eq!(hashed.partition, self.number);
        let key = &hashed.key;
        self.places.chain(hashed.hash).find(|index| {
            let entry = self.entry(*index);
            entry.hash() == hashed.hash
                && entry.database() == key.database
                && entry.relation() == key.relation
                && entry.id_bytes() == key.id.len()
                && entry::holds_id(self.id_words(*index), key.id)
        })
    }

    /// The entry of a hash's bucket that has a generation.
    pub fn find_generation(&self, hash: u64, generation: u64) -> Option<u32> {
        self.places.chain(hash).find(|index| self.entry(*index).generation() == generation)
    }
}

impl ExclusivePartition {
    /// Takes a free entry for a key, and puts it into its bucket's chain; `None` when none is free, or no body for a long id.
    pub fn link(&mut self, hashed: &Hashed<'_>) -> Option<u32> {
        let id = hashed.key.id;
        let class = entry::body_class(id.len());
        let pool = self.counters;
        let body = match class {
            Some(class) => Some(pool.allocate(class)?),
            None => None,
        };
        let Some(index) = self.places.take() else {
            body.into_iter().for_each(|body| pool.give_back(body));
            return None;
        };
        let entry = self.entry(index);
        entry.set_key(hashed.hash, hashed.key.database, hashed.key.relation);
        entry.set_id_place(id.len(), body);
        entry::write_id(self.id_words(index), id);
        self.places.link(index);
        Some(index)
    }

    /// Takes an entry out of its chain; it is free.
    pub fn unlink(&mut self, index: u32) {
        self.places.unlink(index);
        if let Some(body) = self.entry(index).body() {
            self.counters.give_back(body);
        }
        self.places.put_back(index);
    }

    pub fn hand(&self) -> u32 {
        self.places.hand()
    }

    pub fn set_hand(&mut self, hand: u32) {
        self.places.set_hand(hand);
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
