//! Which entries of a partition are dirty: they hold what rows do not have, and are not evicted. Kept apart from the clean ones, so
//! that who looks for one that may go never looks at a dirty one. Plain Rust; `tests/memory_model` runs it in every interleaving.
//!
//! A bit an entry, and a bit for each 64 of those that are all dirty, so that the next clean entry is found by looking at a word for
//! each 4096 dirty ones between.
//!
//! Contract: an entry becomes dirty under the partition's lock, at least shared, and clean under the exclusive one. So under the
//! exclusive lock the bits of both kinds and the count agree. Without it the count is no less than the bits that anybody has seen.

use super::sync::{AtomicU32, AtomicU64, Ordering};

const ALL: u64 = u64::MAX;

#[derive(Clone, Copy)]
pub struct Dirt<'a> {
    /// A bit an entry.
    pub dirty: &'a [AtomicU64],
    /// A bit for each word of `dirty` that has all its bits.
    pub full: &'a [AtomicU64],
    pub count: &'a AtomicU32,
}

impl Dirt<'_> {
    /// The entry is dirty from here on; how many are, if it was clean.
    pub fn set(&self, index: u32) -> Option<u32> {
        let word = index as usize / 64;
        if self.is_set(index) {
            return None;
        }
        // Counted first: who sees the bit finds it counted, and who finds nothing counted has seen no bit.
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let before = self.dirty[word].fetch_or(bit(index), Ordering::SeqCst);
        if before & bit(index) != 0 {
            self.count.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        if before | bit(index) == ALL {
            self.full[word / 64].fetch_or(bit(word as u32), Ordering::SeqCst);
        }
        Some(count)
    }

    /// The entry is clean. Under the exclusive lock.
    pub fn clear(&self, index: u32) {
        let word = index as usize / 64;
        let before = self.dirty[word].load(Ordering::SeqCst);
        if before & bit(index) == 0 {
            return;
        }
        self.dirty[word].store(before & !bit(index), Ordering::SeqCst);
        let full = &self.full[word / 64];
        full.store(full.load(Ordering::SeqCst) & !bit(word as u32), Ordering::SeqCst);
        self.count.store(self.count.load(Ordering::SeqCst) - 1, Ordering::SeqCst);
    }

    pub fn is_set(&self, index: u32) -> bool {
        self.dirty[index as usize / 64].load(Ordering::SeqCst) & bit(index) != 0
    }

    pub fn count(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    /// The first clean entry from an index on, round the end if need be, of so many entries. Under the exclusive lock.
    pub fn next_clean(&self, from: u32, entries: u32) -> Option<u32> {
        if self.count() >= entries {
            return None;
        }
        self.first_clean(from, entries).or_else(|| self.first_clean(0, from))
    }

    fn first_clean(&self, from: u32, end: u32) -> Option<u32> {
        let mut word = from / 64;
        let mut clean = !self.dirty.get(word as usize)?.load(Ordering::SeqCst) & ALL << (from % 64);
        if clean == 0 {
            word = self.first_not_full(word + 1)?;
            clean = !self.dirty.get(word as usize)?.load(Ordering::SeqCst);
        }
        let index = word * 64 + clean.trailing_zeros();
        (index < end).then_some(index)
    }

    /// The first word from one on that is not full.
    fn first_not_full(&self, from: u32) -> Option<u32> {
        let mut kept = ALL << (from % 64);
        for group in from / 64..self.dirty.len().div_ceil(64) as u32 {
            let not_full = !self.full[group as usize].load(Ordering::SeqCst) & kept;
            if not_full != 0 {
                return Some(group * 64 + not_full.trailing_zeros());
            }
            kept = ALL;
        }
        None
    }
}

fn bit(index: u32) -> u64 {
    1 << (index % 64)
}
