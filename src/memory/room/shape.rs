//! How much of everything a tenant's part of shared memory has, and where it lies. Plain Rust.
//!
//! | what | how many |
//! | --- | --- |
//! | header of the room, head of the pool | 1 |
//! | heads of partitions | `partitions` |
//! | heads of entries | `partitions * heads` |
//! | buckets | `partitions * buckets` |
//! | marks, a bit an entry and kind | `partitions * kinds of marks` |
//! | counts of the doorkeeper, in words | `sightings` |
//! | what is known of pages | `pages` |
//! | pages | `pages` |

use super::bodies::{PAGE_BYTES, Page, PoolHead};
use super::places::PartitionHead;

pub const CACHE_LINE: usize = 64;
/// Bytes of the room's own header.
pub const HEADER_BYTES: usize = 2 * CACHE_LINE;

/// Most partitions of a tenant, and so most of its locks.
const MAX_PARTITIONS: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub partitions: usize,
    /// Of a partition; a power of two.
    pub buckets: usize,
    /// Of a partition.
    pub heads: usize,
    pub pages: usize,
    pub head_bytes: usize,
    pub mark_kinds: usize,
    pub sightings: usize,
}

impl Shape {
    /// Room for so many entries, spread over partitions of at least `least_a_partition`, and for bodies of so many bytes.
    pub fn new(entries: usize, least_a_partition: usize, head_bytes: usize, pool_bytes: usize) -> Shape {
        let wanted = (entries / least_a_partition).max(1);
        let partitions = (1 << wanted.ilog2()).min(MAX_PARTITIONS);
        let heads = entries.div_ceil(partitions);
        Shape {
            partitions,
            // Two entries on three buckets to four on three.
            buckets: (heads * 3 / 4).max(1).next_power_of_two(),
            heads,
            pages: pool_bytes.div_ceil(PAGE_BYTES),
            head_bytes,
            mark_kinds: 0,
            sightings: 0,
        }
    }

    /// With so many bits for each entry besides.
    pub fn with_marks(self, mark_kinds: usize) -> Shape {
        Shape { mark_kinds, ..self }
    }

    /// With so many words for the doorkeeper (`doorkeeper.rs`), a power of two.
    pub fn with_sightings(self, sightings: usize) -> Shape {
        Shape { sightings, ..self }
    }

    pub fn entries(&self) -> usize {
        self.partitions * self.heads
    }

    /// Bytes that an entry takes, with its part of the buckets, and without its body.
    pub fn bytes_an_entry(&self) -> usize {
        self.head_bytes + (self.buckets * 4 + self.mark_bytes()).div_ceil(self.heads)
    }

    pub fn pool_head_at(&self) -> usize {
        HEADER_BYTES
    }

    pub fn partitions_at(&self) -> usize {
        self.pool_head_at() + size_of::<PoolHead>()
    }

    pub fn heads_at(&self) -> usize {
        self.partitions_at() + self.partitions * size_of::<PartitionHead>()
    }

    pub fn buckets_at(&self) -> usize {
        (self.heads_at() + self.entries() * self.head_bytes).next_multiple_of(CACHE_LINE)
    }

    pub fn marks_at(&self) -> usize {
        (self.buckets_at() + self.partitions * self.buckets * 4).next_multiple_of(CACHE_LINE)
    }

    /// Words of one kind of marks in one partition.
    pub fn mark_words(&self) -> usize {
        self.heads.div_ceil(64)
    }

    /// Bytes of a partition's marks, all kinds.
    pub fn mark_bytes(&self) -> usize {
        (self.mark_kinds * self.mark_words() * 8).next_multiple_of(CACHE_LINE)
    }

    pub fn sightings_at(&self) -> usize {
        self.marks_at() + self.partitions * self.mark_bytes()
    }

    pub fn pages_at(&self) -> usize {
        (self.sightings_at() + self.sightings * 8).next_multiple_of(CACHE_LINE)
    }

    pub fn words_at(&self) -> usize {
        (self.pages_at() + self.pages * size_of::<Page>()).next_multiple_of(CACHE_LINE)
    }

    /// Bytes of all that, and to spare for its beginning at a cache line.
    pub fn bytes(&self) -> usize {
        self.words_at() + self.pages * PAGE_BYTES + CACHE_LINE
    }

    /// Bytes that have to be zero when the room is made: from, and up to.
    pub fn zeroed(&self) -> [(usize, usize); 2] {
        [(0, self.heads_at()), (self.buckets_at(), self.words_at())]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_aligned_and_do_not_overlap(
            entries in 1usize..3_000_000,
            least in 1usize..5000,
            head_lines in 1usize..5,
            pool in 0usize..100_000_000,
            mark_kinds in 0usize..5,
            sightings in 0usize..5000,
        ) {
            let shape = Shape::new(entries, least, head_lines * 32, pool).with_marks(mark_kinds).with_sightings(sightings);
            let places = [
                shape.pool_head_at(), shape.partitions_at(), shape.heads_at(), shape.buckets_at(), shape.marks_at(),
                shape.sightings_at(), shape.pages_at(), shape.words_at(), shape.bytes(),
            ];
            prop_assert!(places.is_sorted());
            prop_assert!(places[..8].iter().all(|place| place % CACHE_LINE == 0));
            prop_assert!(shape.buckets_at() >= shape.heads_at() + shape.entries() * shape.head_bytes);
            prop_assert!(shape.entries() >= entries && shape.entries() < entries + shape.partitions);
            prop_assert!(shape.partitions.is_power_of_two() && shape.buckets.is_power_of_two());
            prop_assert!(shape.partitions == 1 || shape.heads >= least);
            prop_assert!(shape.heads * 2 <= shape.buckets * 3, "{} in {}", shape.heads, shape.buckets);
            prop_assert!(shape.pages * PAGE_BYTES >= pool);
            prop_assert!(shape.pages_at() >= shape.sightings_at() + shape.sightings * 8);
            prop_assert!(shape.mark_bytes() * 8 >= shape.heads * mark_kinds);
        }
    }
}
