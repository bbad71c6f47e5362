//! Marks: a bit an entry, of four kinds, for the deltas that it holds and rows do not.
//!
//! An entry with any mark is dirty (`room/dirt.rs`).
//!
//! Contract: a mark is set by whoever adds such a delta, before it gives back the partition's lock, which it holds at
//! least shared; it is cleared under the exclusive one. So under the exclusive lock no mark appears.

use std::sync::atomic::Ordering;

use super::layout::MARK_KINDS;
use super::partition::{ExclusivePartition, SharedPartition};

/// Where a delta waits to be folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Mark {
    Unjournaled = 0,
    Unflushed = 2,
}

impl Mark {
    /// The number of the kind, of the epochs of one parity.
    pub fn kind(self, parity: usize) -> usize {
        self as usize + parity
    }
}

/// Marks an entry. Whether by that half of the partition's room became dirty.
pub(super) fn set(partition: &SharedPartition, index: u32, mark: Mark, parity: usize) -> bool {
    let word = &partition.marks(mark.kind(parity))[index as usize / 64];
    // Written only when it changes: committers share the line.
    if word.load(Ordering::Relaxed) & bit(index) != 0 {
        return false;
    }
    // Dirty first: where nothing is dirty nothing is marked.
    let dirty = partition.dirt().set(index);
    word.fetch_or(bit(index), Ordering::SeqCst);
    dirty == Some(partition.capacity().div_ceil(2))
}

pub(super) fn clear(partition: &ExclusivePartition, index: u32, mark: Mark, parity: usize) {
    partition.marks(mark.kind(parity))[index as usize / 64].fetch_and(!bit(index), Ordering::SeqCst);
    if any_kind(partition, index) == 0 {
        partition.dirt().clear(index);
    }
}

/// The entry is being freed.
pub(super) fn clear_all(partition: &ExclusivePartition, index: u32) {
    for kind in 0..MARK_KINDS {
        let word = &partition.marks(kind)[index as usize / 64];
        if word.load(Ordering::Relaxed) & bit(index) != 0 {
            word.fetch_and(!bit(index), Ordering::SeqCst);
        }
    }
    partition.dirt().clear(index);
}

pub(super) fn is_marked(partition: &SharedPartition, index: u32) -> bool {
    partition.dirt().is_set(index)
}

/// Whether it has a mark of epochs of one parity.
pub(super) fn is_marked_of(partition: &SharedPartition, index: u32, parity: usize) -> bool {
    [Mark::Unjournaled, Mark::Unflushed].into_iter().any(|mark| {
        partition.marks(mark.kind(parity))[index as usize / 64].load(Ordering::SeqCst) & bit(index) != 0
    })
}

/// Not 0 if the entry has a mark of any kind.
fn any_kind(partition: &SharedPartition, index: u32) -> u64 {
    let word = index as usize / 64;
    let bits =
        (0..MARK_KINDS).fold(0, |bits, kind| bits | partition.marks(kind)[word].load(Ordering::SeqCst));
    bits & bit(index)
}

fn bit(index: u32) -> u64 {
    1 << (index % 64)
}
