//! Keys of counters in shared memory.

use std::hash::BuildHasher;

use super::entries::Whole;
use super::segment::Segment;

/// A counter's key in memory: never shared between databases, nor between a dropped and a new extension.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub database: u32,
    /// The oid of the table of totals.
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

    pub fn whole(&self) -> Whole<'a> {
        let Key { database, relation, id } = self.key;
        Whole { hash: self.hash, database, relation, id }
    }
}
