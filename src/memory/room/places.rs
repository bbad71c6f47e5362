//! The places of one partition: which of them holds which key. Plain Rust over atomics, whoever maps them; everything here is
//! called under the partition's lock, which the types of `mapped.rs` prove.
//!
//! A place is a head (`Head`): whose it is, and what its tenant keeps of everybody. Heads of a bucket are chained, as are
//! free ones. A head that nobody had yet is on no list: they are given out in order, so that memory is touched when it is used.
//!
//! Contract: `take`, `link`, `unlink` and `put_back` ask for the exclusive lock, everything else for at least the shared one. A
//! link says the place's index plus one, and 0 where there is none, so zeroed memory is an empty partition. A process that
//! dies between two steps dies in PostgreSQL's eyes by crash, and the segment is made anew.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// Databases whose places are counted apart; more of them share a count.
const SHARES: usize = 12;

/// What the room needs of a tenant's head.
pub trait Head {
    /// Decides in which partition and bucket it is.
    fn hash(&self) -> u64;
    fn database(&self) -> u32;
    /// The next of its bucket, or of the free ones.
    fn next(&self) -> u32;
    fn set_next(&self, next: u32);

    /// Nobody had it yet; its bytes may be any. From here on it is a free one.
    fn start(&self) {}
}

/// What is known of a partition as a whole.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct PartitionHead {
    free: AtomicU32,
    /// Places that were ever given out.
    touched: AtomicU32,
    /// Places that hold a key.
    held: AtomicU32,
    /// Where the next search for a victim begins.
    hand: AtomicU32,
    /// The furthest that the tenant's clock has been.
    latest_us: AtomicI64,
    /// Of `held`, those of a database each, and those of all other databases.
    shares: [Share; SHARES],
    others: AtomicU32,
    /// Places that are dirty, where the tenant has such.
    dirty: AtomicU32,
}

/// What a database holds. It has a share from its first place on, until it has none; one that comes when there is none to be had,
/// or while others are counted together, is counted with them.
#[repr(C)]
#[derive(Debug, Default)]
struct Share {
    database: AtomicU32,
    held: AtomicU32,
}

const _: () = assert!(size_of::<PartitionHead>() == 128);

/// One partition. `H` is the tenant's head.
pub struct Places<'a, H> {
    head: &'a PartitionHead,
    /// A power of two.
    buckets: &'a [AtomicU32],
    heads: &'a [H],
}

impl<H> Clone for Places<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Places<'_, H> {}

impl<'a, H: Head> Places<'a, H> {
    pub fn new(head: &'a PartitionHead, buckets: &'a [AtomicU32], heads: &'a [H]) -> Places<'a, H> {
        debug_assert!(buckets.len().is_power_of_two());
        Places { head, buckets, heads }
    }

    pub fn capacity(&self) -> u32 {
        self.heads.len() as u32
    }

    /// Places that were ever given out: those from this one on are nobody's.
    pub fn touched(&self) -> u32 {
        self.head.touched.load(Ordering::Acquire).min(self.capacity())
    }

    pub fn held(&self) -> u32 {
        self.head.held.load(Ordering::Relaxed)
    }

    /// Places that nobody holds.
    pub fn free(&self) -> u32 {
        self.capacity() - self.held().min(self.capacity())
    }

    /// Places of a database, or of all those that are counted together with it.
    pub fn held_by(&self, database: u32) -> u32 {
        self.share(database).load(Ordering::Relaxed)
    }

    pub fn head(&self, index: u32) -> &'a H {
        &self.heads[index as usize]
    }

    /// The places of a hash's bucket.
    pub fn chain(&self, hash: u64) -> impl Iterator<Item = u32> + use<'a, H> {
        let Places { heads, .. } = *self;
        let first = self.bucket(hash).load(Ordering::Relaxed).checked_sub(1);
        std::iter::successors(first, move |index| heads[*index as usize].next().checked_sub(1))
    }

    /// A free place that is on no list any more; its head is to be written, and linked or put back.
    pub fn take(&self) -> Option<u32> {
        if let Some(index) = self.head.free.load(Ordering::Relaxed).checked_sub(1) {
            self.head.free.store(self.head(index).next(), Ordering::Relaxed);
            return Some(index);
        }
        let touched = self.touched();
        (touched < self.capacity()).then(|| {
            self.head(touched).start();
            self.head.touched.store(touched + 1, Ordering::Release);
            touched
        })
    }

    /// The place's head has its key: from here on it is found.
    pub fn link(&self, index: u32) {
        let head = self.head(index);
        let bucket = self.bucket(head.hash());
        head.set_next(bucket.load(Ordering::Relaxed));
        bucket.store(index + 1, Ordering::Relaxed);
        add(&self.head.held, 1);
        add(self.share_to_grow(head.database()), 1);
    }

    /// Takes a place out of its chain. Its head is still its key's.
    pub fn unlink(&self, index: u32) {
        let head = self.head(index);
        let bucket = self.bucket(head.hash());
        if bucket.load(Ordering::Relaxed) == index + 1 {
            bucket.store(head.next(), Ordering::Relaxed);
        } else {
            let before = self.chain(head.hash()).find(|before| self.head(*before).next() == index + 1);
            self.head(before.expect("a place is missing from its chain")).set_next(head.next());
        }
        add(&self.head.held, u32::MAX);
        add(self.share(head.database()), u32::MAX);
    }

    /// The place is nobody's.
    pub fn put_back(&self, index: u32) {
        self.head(index).set_next(self.head.free.load(Ordering::Relaxed));
        self.head.free.store(index + 1, Ordering::Relaxed);
    }

    pub fn dirty(&self) -> &'a AtomicU32 {
        &self.head.dirty
    }

    pub fn hand(&self) -> u32 {
        self.head.hand.load(Ordering::Relaxed)
    }

    pub fn set_hand(&self, hand: u32) {
        self.head.hand.store(hand, Ordering::Relaxed);
    }

    /// The time by a clock, but never before what it said here at its furthest.
    pub fn now_us(&self, clock_us: i64) -> i64 {
        let now_us = clock_us.max(self.head.latest_us.load(Ordering::Relaxed));
        self.head.latest_us.store(now_us, Ordering::Relaxed);
        now_us
    }

    fn bucket(&self, hash: u64) -> &'a AtomicU32 {
        &self.buckets[hash as usize & (self.buckets.len() - 1)]
    }

    fn share(&self, database: u32) -> &'a AtomicU32 {
        let of_it = |share: &&Share| {
            share.database.load(Ordering::Relaxed) == database && share.held.load(Ordering::Relaxed) > 0
        };
        self.head.shares.iter().find(of_it).map_or(&self.head.others, |share| &share.held)
    }

    /// That of a database which is about to have one more place.
    fn share_to_grow(&self, database: u32) -> &'a AtomicU32 {
        let share = self.share(database);
        if !std::ptr::eq(share, &self.head.others) || share.load(Ordering::Relaxed) > 0 {
            return share;
        }
        let is_free = |share: &&Share| share.held.load(Ordering::Relaxed) == 0;
        let Some(free) = self.head.shares.iter().find(is_free) else { return share };
        free.database.store(database, Ordering::Relaxed);
        &free.held
    }
}

/// Under the exclusive lock, so nobody else writes.
fn add(number: &AtomicU32, more: u32) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Plain {
        key: AtomicU32,
        next: AtomicU32,
        databases: AtomicU32,
    }

    impl Head for Plain {
        fn hash(&self) -> u64 {
            u64::from(self.key.load(Ordering::Relaxed) * 7)
        }

        fn database(&self) -> u32 {
            self.key.load(Ordering::Relaxed) % self.databases.load(Ordering::Relaxed)
        }

        fn next(&self) -> u32 {
            self.next.load(Ordering::Relaxed)
        }

        fn set_next(&self, next: u32) {
            self.next.store(next, Ordering::Relaxed);
        }
    }

    proptest! {
        /// Beside a map of what is held: each key is found where it is, and every place is held or free.
        #[test]
        fn what_is_held_is_found_and_nothing_is_lost(
            capacity in 1usize..40,
            buckets in 0u32..6,
            steps in prop::collection::vec((any::<bool>(), 0u32..60), 1..400),
            databases in 1u32..20,
        ) {
            let head = PartitionHead::default();
            let buckets: Vec<AtomicU32> = (0..1 << buckets).map(|_| AtomicU32::default()).collect();
            let head_of = |_| Plain { databases: AtomicU32::new(databases), ..Plain::default() };
            let heads: Vec<Plain> = (0..capacity).map(head_of).collect();
            let places = Places::new(&head, &buckets, &heads);
            let find = |key: u32| {
                places.chain(u64::from(key * 7)).find(|index| heads[*index as usize].key.load(Ordering::Relaxed) == key)
            };
            let mut model: HashMap<u32, u32> = HashMap::new();
            for (adds, key) in steps {
                prop_assert_eq!(find(key), model.get(&key).copied());
                if adds && !model.contains_key(&key) {
                    let taken = places.take();
                    prop_assert_eq!(taken.is_some(), model.len() < capacity);
                    if let Some(index) = taken {
                        heads[index as usize].key.store(key, Ordering::Relaxed);
                        places.link(index);
                        model.insert(key, index);
                    }
                } else if let Some(index) = model.remove(&key) {
                    places.unlink(index);
                    places.put_back(index);
                }
                prop_assert_eq!(places.held() as usize, model.len());
                prop_assert_eq!(places.free() as usize, capacity - model.len());
                for database in 0..databases {
                    let of_it = model.keys().filter(|key| *key % databases == database).count();
                    let counted = places.held_by(database) as usize;
                    prop_assert!(counted == of_it || databases as usize > SHARES && counted > of_it);
                }
            }
        }
    }
}
