//! A partition whose lock is held. What the lock guards is reached through these types only, so that the compiler sees to
//! it that the lock is held: shared for reading, exclusive for writing.
//!
//! Contract: `SharedPartition` and `ExclusivePartition` hold the partition's lightweight lock while they live. Nobody holds
//! two, nor sleeps, allocates, raises or reads rows while holding one, except that a snapshot may be taken (`Taken`:
//! GetSnapshotData takes ProcArrayLock); it is registered when the lock is given back.

use std::borrow::Borrow;
use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use super::key::Hashed;
use super::layout::*;
use super::lwlock::LockGuard;
use super::segment::Segment;

/// A partition under its lock, at least shared: which entry holds which key does not change.
pub(super) struct SharedPartition {
    segment: Segment,
    number: usize,
    _lock: LockGuard,
}

/// A partition under its exclusive lock.
pub(super) struct ExclusivePartition(SharedPartition);

impl Segment {
    pub fn lock_partition_shared(&self, number: usize) -> SharedPartition {
        SharedPartition { segment: *self, number, _lock: self.partition_lock_shared(number) }
    }

    pub fn lock_partition(&self, number: usize) -> ExclusivePartition {
        let lock = self.partition_lock(number);
        ExclusivePartition(SharedPartition { segment: *self, number, _lock: lock })
    }
}

impl SharedPartition {
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    pub fn number(&self) -> usize {
        self.number
    }

    pub fn entries(&self) -> u32 {
        self.segment.entries_per_partition() as u32
    }

    pub fn entry(&self, index: u32) -> &Entry {
        self.segment.entry(self.number, index)
    }

    /// The id of the counter that an entry holds.
    pub fn id(&self, index: u32) -> &StoredId {
        // SAFETY: ids are written by `link` only, which asks for the exclusive lock of the same partition.
        unsafe { self.entry(index).id.get() }
    }

    pub fn marks(&self, kind: usize) -> &[AtomicU64] {
        self.segment.marks(self.number, kind)
    }

    /// The entry that holds a key.
    pub fn find(&self, hashed: &Hashed<'_>) -> Option<u32> {
        debug_assert_eq!(hashed.partition, self.number);
        let key = &hashed.key;
        self.chain(hashed.hash).find(|index| {
            let entry = self.entry(*index);
            entry.hash() == hashed.hash
                && entry.database() == key.database
                && entry.relation() == key.relation
                && self.id(*index).bytes() == key.id
        })
    }

    /// The entries of a hash's bucket.
    pub fn chain(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let link = |link: &UnderLock| Some(link.get()).filter(|index| *index != NIL);
        let first = link(self.segment.bucket(self.number, hash));
        std::iter::successors(first, move |index| link(&self.entry(*index).next))
    }

    /// The entry of a hash's bucket that has a generation.
    pub fn find_generation(&self, hash: u64, generation: u64) -> Option<u32> {
        self.chain(hash).find(|index| self.entry(*index).generation() == generation)
    }
}

impl ExclusivePartition {
    /// Takes an entry off the free list for a key, and puts it into its bucket's chain; `None` when none is free.
    pub fn link(&mut self, hashed: &Hashed<'_>) -> Option<u32> {
        let head = self.segment.partition(self.number);
        let index = head.free.get();
        if index == NIL {
            return None;
        }
        let entry = self.entry(index);
        head.free.set(entry.next.get());
        head.used.set(head.used.get() + 1);
        entry.set_key(hashed.hash, hashed.key.database, hashed.key.relation);
        // SAFETY: the exclusive lock is held, and `self` borrowed for writing: there is no other reference to the id.
        unsafe { entry.id.get_mut() }.set(hashed.key.id);
        let bucket = self.segment.bucket(self.number, hashed.hash);
        entry.next.set(bucket.get());
        bucket.set(index);
        Some(index)
    }

    /// Takes an entry out of its chain and back onto the free list.
    pub fn unlink(&mut self, index: u32) {
        let entry = self.entry(index);
        let mut link = self.segment.bucket(self.number, entry.hash());
        while link.get() != index {
            assert!(link.get() != NIL, "an entry is missing from its chain");
            link = &self.segment.entry(self.number, link.get()).next;
        }
        link.set(entry.next.get());
        let head = self.segment.partition(self.number);
        entry.next.set(head.free.get());
        head.free.set(index);
        head.used.set(head.used.get() - 1);
    }

    pub fn hand(&self) -> u32 {
        self.segment.partition(self.number).hand.get()
    }

    pub fn set_hand(&mut self, hand: u32) {
        self.segment.partition(self.number).hand.set(hand);
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
