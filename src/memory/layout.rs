//! Sizes and places in the shared segment.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

use pgrx::pg_sys;

/// Layout of the segment. It lives no longer than the server, but both sides of a mapping must agree.
pub const FORMAT_VERSION: u32 = 1;

pub(super) const CACHE_LINE: usize = 64;
pub(super) const MAX_ID_BYTES: usize = crate::errors::MAX_ID_BYTES;
/// Databases that can have statistics and a worker at once.
pub(super) const DATABASES: usize = 64;
/// Loads that can run at once; further ones are answered from rows.
pub(super) const LOAD_CELLS: usize = 64;
pub(super) const NIL: u32 = u32::MAX;

/// Start of the segment.
#[repr(C, align(64))]
pub(super) struct Header {
    pub version: u32,
    pub partitions: u32,
    pub buckets_per_partition: u32,
    pub entries_per_partition: u32,
    pub backend_cells: u32,
    pub xids_per_load: u32,
    /// Seed of the key hash, drawn at start, so that nobody outside can aim at one bucket.
    pub seed: u64,
    pub locks: *mut pg_sys::LWLockPadded,
    pub next_generation: AtomicU64,
    /// The launcher's process id, 0 when it is not there.
    pub launcher_pid: AtomicU32,
    pub launcher_slot: AtomicU32,
}

/// A partition: a hash table of its own under a lock of its own.
#[repr(C, align(64))]
pub(super) struct Partition {
    /// First free entry, chained through `Entry::next`.
    pub free: u32,
    /// Where the eviction clock's hand is.
    pub hand: u32,
    pub used: AtomicU32,
}

/// Entry states; changed under the partition's exclusive lock.
pub(super) const FREE: u32 = 0;
pub(super) const LOADING: u32 = 1;
pub(super) const LOADED: u32 = 2;

/// One counter. The first cache line is what readers and committers touch; the key follows on its own lines.
#[repr(C, align(64))]
pub(super) struct Entry {
    /// LOADED: the committed total. LOADING: what was committed since the loader's snapshot.
    pub value: AtomicI64,
    /// Committed increments since the entry was made.
    pub increments: AtomicU64,
    /// `increments` when the rate was last taken.
    pub increments_seen: AtomicU64,
    /// Increments a second, smoothed; the bits of an f64.
    pub rate: AtomicU64,
    pub generation: u64,
    pub state: AtomicU32,
    /// Clock bit: read or written since the hand last passed.
    pub used: AtomicU32,
    pub next: u32,
    pub load_cell: u32,
    _hot_end: [u8; 8],
    pub hash: u64,
    pub database: u32,
    pub relation: u32,
    pub id_length: u8,
    pub id: [u8; MAX_ID_BYTES],
}

/// What a backend announces while its commit is under way: see `cells.rs`.
#[repr(C, align(64))]
pub(super) struct BackendCell {
    pub xid: AtomicU32,
}

/// A running load: the snapshot that its sum is taken under.
#[repr(C, align(64))]
pub(super) struct LoadCell {
    /// Process id of the loader; 0 when free. Taken by compare-and-swap.
    pub owner: AtomicU32,
    /// Guarded by the partition lock of the entry being loaded, as is the snapshot that follows.
    pub has_snapshot: u32,
    pub xmin: u32,
    pub xmax: u32,
    pub running: u32,
    pub finished: pg_sys::ConditionVariable,
}

/// One database's worker and statistics: see `databases.rs`.
#[repr(C, align(64))]
pub(super) struct DatabaseCell {
    pub database: AtomicU32,
    pub worker_pid: AtomicU32,
    pub worker_slot: AtomicU32,
    pub worker_state: AtomicU32,
    /// Process id of a command that needs the database without connections.
    pub held_by: AtomicU32,
    /// Something in this database wants a worker.
    pub wanted: AtomicU32,
    pub passes_requested: AtomicU64,
    pub passes_completed: AtomicU64,
    pub last_pass_rows: AtomicU64,
    pub increments: AtomicU64,
    pub compactions: AtomicU64,
    pub rows_folded: AtomicU64,
    pub last_compaction_at_us: AtomicI64,
    pub overflowed: AtomicU64,
    pub loads: AtomicU64,
    pub load_timeouts: AtomicU64,
    pub evictions: AtomicU64,
    pub invalidations: AtomicU64,
    pub entries: AtomicI64,
    pub errors: AtomicU64,
    pub last_error_at_us: AtomicI64,
    pub pass_done: pg_sys::ConditionVariable,
    /// Guarded by the database lock.
    pub last_error_length: u32,
    pub last_error: [u8; 252],
}

const _: () = {
    assert!(std::mem::align_of::<Entry>() == CACHE_LINE);
    assert!(std::mem::offset_of!(Entry, hash) == CACHE_LINE);
    assert!(std::mem::offset_of!(Entry, id_length) == 80);
    assert!(std::mem::size_of::<Entry>() == 384);
    assert!(std::mem::size_of::<Partition>() == CACHE_LINE);
    assert!(std::mem::size_of::<BackendCell>() == CACHE_LINE);
    assert!(std::mem::size_of::<Header>().is_multiple_of(CACHE_LINE));
    assert!(std::mem::size_of::<LoadCell>().is_multiple_of(CACHE_LINE));
    assert!(std::mem::size_of::<DatabaseCell>().is_multiple_of(CACHE_LINE));
};

/// How many of everything, from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub partitions: usize,
    pub buckets_per_partition: usize,
    pub entries_per_partition: usize,
    pub backend_cells: usize,
    pub xids_per_load: usize,
}

impl Geometry {
    pub fn new(max_counters: usize, max_processes: usize) -> Geometry {
        // Few enough that each partition has entries to choose a victim from, enough that loads do not meet.
        let partitions = (max_counters / 16).next_power_of_two().clamp(1, 128);
        let entries_per_partition = max_counters.div_ceil(partitions);
        Geometry {
            partitions,
            buckets_per_partition: entries_per_partition.next_power_of_two(),
            entries_per_partition,
            backend_cells: max_processes,
            xids_per_load: max_processes,
        }
    }

    pub fn partitions_at(&self) -> usize {
        std::mem::size_of::<Header>()
    }

    pub fn databases_at(&self) -> usize {
        self.partitions_at() + self.partitions * std::mem::size_of::<Partition>()
    }

    pub fn backend_cells_at(&self) -> usize {
        self.databases_at() + DATABASES * std::mem::size_of::<DatabaseCell>()
    }

    pub fn load_cells_at(&self) -> usize {
        self.backend_cells_at() + self.backend_cells * std::mem::size_of::<BackendCell>()
    }

    /// Bytes of a load cell with the transaction ids behind it.
    pub fn load_cell_bytes(&self) -> usize {
        (std::mem::size_of::<LoadCell>() + self.xids_per_load * 4).next_multiple_of(CACHE_LINE)
    }

    pub fn entries_at(&self) -> usize {
        self.load_cells_at() + LOAD_CELLS * self.load_cell_bytes()
    }

    pub fn buckets_at(&self) -> usize {
        self.entries_at() + self.partitions * self.entries_per_partition * std::mem::size_of::<Entry>()
    }

    /// Bytes of the whole segment.
    pub fn bytes(&self) -> usize {
        (self.buckets_at() + self.partitions * self.buckets_per_partition * 4).next_multiple_of(CACHE_LINE)
            + CACHE_LINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_aligned_and_do_not_overlap(
            max_counters in 16usize..1_000_000,
            processes in 1usize..2000,
        ) {
            let g = Geometry::new(max_counters, processes);
            let places = [
                g.partitions_at(), g.databases_at(), g.backend_cells_at(), g.load_cells_at(),
                g.entries_at(), g.buckets_at(), g.bytes(),
            ];
            for pair in places.windows(2) {
                prop_assert!(pair[0] < pair[1]);
            }
            for place in &places[..5] {
                prop_assert_eq!(place % CACHE_LINE, 0);
            }
            prop_assert!(g.partitions * g.entries_per_partition >= max_counters);
            prop_assert!(g.partitions.is_power_of_two());
        }
    }
}
