//! Sizes and places in the shared segment of what processes and databases say of themselves.
//!
//! Contract: every field is an atomic, is `Guarded`, or is constant once the segment is made. So a reference to any of these
//! structs may exist at any time, whatever other processes do. Which lock keeps several fields together is said where they are.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::cursor::Cursors;
pub(super) use super::entry::{Entry, MAX_ID_BYTES, StoredId};
use super::filter::Filter;
use super::generation::Generation;
use super::guarded::Guarded;
pub(super) use super::lifecycle::{COLD, FREE, LOADED, LOADING};

/// Layout of the segment. It lives no longer than the server, but both sides of a mapping must agree.
pub const FORMAT_VERSION: u32 = 5;

pub(super) const CACHE_LINE: usize = 64;
/// Loads that can run at once; further ones are answered from rows.
pub(super) const LOAD_CELLS: usize = 64;
/// Generations of what is followed, for all databases: see `generations.rs`.
pub(super) const GENERATIONS: usize = 256;

/// Words of 64 bits for counters that may have slot rows, in each of two sets.
const SLOTTED_WORDS: usize = 128;

/// Start of the segment.
#[repr(C, align(64))]
pub(super) struct Header {
    pub version: u32,
    pub backend_cells: u32,
    pub xids_per_load: u32,
    pub database_cells: u32,
    pub worker_places: u32,
    /// Seed of the key hash, drawn at start, so that nobody outside can aim at one bucket.
    pub seed: u64,
    pub locks: *mut pg_sys::LWLockPadded,
    /// The launcher's process id, 0 when it is not there.
    pub launcher_pid: AtomicU32,
    pub launcher_slot: AtomicU32,
    /// Databases that wait until the worker of another one gives way: see `workers.rs`.
    pub databases_in_queue: AtomicU32,
    /// A database that has no cell wants to be looked into.
    pub look_again: AtomicU32,
    /// Rises whenever a cell is given to a database or taken from one.
    pub cell_changes: AtomicU64,
    /// A database has found no cell, so workers of idle databases are to give up theirs.
    pub cell_is_wanted: AtomicU32,
    /// Where the search for a cell that can be taken begins.
    pub next_cell: AtomicU32,
}

/// A number that changes under a partition's exclusive lock and is read under at least the shared one. It is atomic so
/// that a mistake about the lock would be a wrong number, and not undefined behaviour.
#[repr(transparent)]
pub(super) struct UnderLock(AtomicU32);

impl UnderLock {
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, number: u32) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// Kinds of marks that deltas have: unjournaled and unflushed, each by the parity of the epoch.
pub(super) const MARK_KINDS: usize = 4;
/// Marks of who has any of those, and of 64 that all have.
pub(super) const DIRTY: usize = MARK_KINDS;
pub(super) const ALL_DIRTY: usize = MARK_KINDS + 1;
/// All kinds.
pub(super) const BITMAPS: usize = MARK_KINDS + 2;

/// Deltas of one member of a group commit: one of the longest ids, or dozens of short ones.
pub(super) const GROUP_TEXT_BYTES: usize = 512;

/// What a backend announces while its commit is under way: see `cells.rs`.
#[repr(C, align(64))]
pub(super) struct BackendCell {
    /// Committed increments of this process in `database` that its database's cell does not have yet.
    pub increments: AtomicU64,
    pub buffered_increments: AtomicU64,
    pub xid: AtomicU32,
    /// The database whose epoch it announces, and whose increments it counts.
    pub database: AtomicU32,
    /// The epoch its buffered deltas belong to; 0 when it has none.
    pub epoch: AtomicU64,
    /// A commit shared with others: see `group.rs`. The slot of the next member plus one.
    pub group_next: AtomicU32,
    /// Whether it waits, is done, or is to lead.
    pub group_state: AtomicU32,
    /// Whether its deltas are not to be in one record with others'.
    pub group_alone: AtomicU32,
    /// The block of the journal's table that it has room on.
    pub group_block: AtomicU32,
    pub group_text_bytes: AtomicU32,
    /// The end of the record that has its deltas.
    pub group_lsn: AtomicU64,
    pub group_text: UnsafeCell<[u8; GROUP_TEXT_BYTES]>,
}

/// A running load, and the snapshot that its sum is taken under. The transaction ids that the snapshot found running
/// follow behind it.
#[repr(C, align(64))]
pub(super) struct LoadCell {
    /// Process id of the loader; 0 when free. Taken by compare-and-swap.
    pub owner: AtomicU32,
    /// Guarded by the partition lock of the entry being loaded, as is the snapshot that follows.
    pub has_snapshot: UnderLock,
    pub xmin: UnderLock,
    pub xmax: UnderLock,
    pub running: UnderLock,
    /// PostgreSQL's, with a lock of its own inside.
    pub finished: Guarded<pg_sys::ConditionVariable>,
}

/// Sessions of one restore that are kept in mind, as `pg_restore -j` has several.
pub(super) const RESTORERS: usize = 8;

/// What begins anew when it is given to another owner. Others may be reading it at the same time, so each field is an atomic
/// of its own, or guarded as it says.
pub(super) trait Reset {
    fn reset(&self);
}

impl Reset for AtomicU32 {
    fn reset(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

impl Reset for Cursors {
    fn reset(&self) {
        self.begin(0);
    }
}

impl Reset for AtomicU64 {
    fn reset(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

impl Reset for AtomicI64 {
    fn reset(&self) {
        self.store(0, Ordering::Relaxed);
    }
}

impl<T: Reset, const N: usize> Reset for [T; N] {
    fn reset(&self) {
        self.iter().for_each(Reset::reset);
    }
}

/// Declares a struct, and that resetting it resets each of its fields: none can be forgotten.
macro_rules! resettable {
    ($(#[$attribute:meta])* pub(super) struct $name:ident {
        $($(#[$field_attribute:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$attribute])*
        pub(super) struct $name {
            $($(#[$field_attribute])* pub $field: $type,)*
        }

        impl Reset for $name {
            fn reset(&self) {
                $(self.$field.reset();)*
            }
        }
    };
}

/// A condition variable that keeps its sleepers when its owner changes; they look for themselves what they waited for.
#[repr(C)]
pub(super) struct Condition(pub Guarded<pg_sys::ConditionVariable>);

impl Reset for Condition {
    fn reset(&self) {}
}

/// A worker's last error. Guarded by the database lock.
#[repr(C)]
pub(super) struct ErrorText(pub Guarded<ErrorBytes>);

#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ErrorBytes {
    pub length: u32,
    pub bytes: [u8; 252],
}

impl Reset for ErrorText {
    fn reset(&self) {
        // SAFETY: a cell is reset under the database lock, which guards the text.
        unsafe { self.0.get_mut().length = 0 };
    }
}

resettable! {
    /// A database's worker, as its sessions see it: see `workers.rs`.
    #[repr(C)]
    pub(super) struct Handshake {
        /// 0 while there is no worker.
        pub pid: AtomicU32,
        /// Its slot in the process array.
        pub slot: AtomicU32,
        pub state: AtomicU32,
        /// Something in this database wants a worker.
        pub wanted: AtomicU32,
        pub passes_requested: AtomicU64,
        pub passes_completed: AtomicU64,
        pub last_pass_rows: AtomicU64,
        /// Rises whenever the worker has got something done: a worker that stands still is not waited for.
        pub heartbeat: AtomicU64,
        pub pass_done: Condition,
    }
}

resettable! {
    /// What is measured in a database: see `statistics.rs`.
    #[repr(C)]
    pub(super) struct Counts {
        pub increments: AtomicU64,
        /// Sketches that committed visits have changed.
        pub visits: AtomicU64,
        /// Views that a bot filter did not count.
        pub filtered: AtomicU64,
        pub compactions: AtomicU64,
        pub rows_folded: AtomicU64,
        pub last_compaction_at_us: AtomicI64,
        pub overflowed: AtomicU64,
        pub loads: AtomicU64,
        pub load_timeouts: AtomicU64,
        pub evictions: AtomicU64,
        pub invalidations: AtomicU64,
        pub entries: AtomicI64,
        pub buffered_increments: AtomicU64,
        pub errors: AtomicU64,
        pub last_error_at_us: AtomicI64,
        pub last_error: ErrorText,
    }
}

/// Counts that `counter_stats_reset` has begin anew: see `statistics.rs`.
pub(super) const RESETTABLE_COUNTS: usize = 16;

resettable! {
    /// What the counts of a database were when its statistics were last reset, when that was, and the role that did it. Nothing is set
    /// back where it is counted: the worker sees by these counts whether there is anything to do.
    #[repr(C)]
    pub(super) struct Baseline {
        pub at_us: AtomicI64,
        pub role: AtomicU32,
        pub counts: [AtomicU64; RESETTABLE_COUNTS],
    }
}

resettable! {
    /// One database: see `databases.rs`.
    #[repr(C, align(64))]
    pub(super) struct DatabaseCell {
        /// Whose cell it is; 0 while it is nobody's.
        pub database: AtomicU32,
        pub worker: Handshake,
        pub counts: Counts,
        pub baseline: Baseline,
        /// Backends that fill our tables by hand, and when each did so last: see `restore_guard.rs`.
        pub restored_by: [AtomicU64; RESTORERS],
        pub restored_at_us: [AtomicI64; RESTORERS],
        /// Buffered mode in this database: see `epochs.rs`.
        pub journal_state: AtomicU32,
        /// The total table that buffered deltas may be for; 0 while they may not be taken.
        pub journal_relation: AtomicU32,
        /// Process id of a session that folds all epochs itself; nobody buffers meanwhile. 0 when there is none.
        pub journal_suspended_by: AtomicU32,
        /// Process id of the backend that an epoch's end waits for.
        pub cut_delayed_by: AtomicU32,
        /// The epoch that deltas are being added to.
        pub epoch: AtomicU64,
        /// All epochs up to this one are in rows.
        pub folded_epoch: AtomicU64,
        /// The transaction that is folding epochs into rows, and in the lowest two bits their parities.
        pub fold: AtomicU64,
        /// Folds whose amounts are gone from memory, or about to go.
        pub folds_ended: AtomicU64,
        /// Where records go: see `cursor.rs`.
        pub cursors: Cursors,
        /// The queue of those who commit together: see `queue.rs`.
        pub group_queue: AtomicU32,
        pub drains_begun: AtomicU64,
        pub drains_done: AtomicU64,
        pub last_drain_at_us: AtomicI64,
        pub journal_bytes: AtomicU64,
        pub recovered_records: AtomicU64,
        /// Which counters may have slot rows: see `slotted.rs`.
        pub slotted_state: AtomicU64,
        pub slotted_current: AtomicU32,
        pub slotted_renewal: AtomicU32,
        pub slotted_ids: [[AtomicU64; SLOTTED_WORDS]; 2],
    }
}

impl DatabaseCell {
    /// Which of its database's counters may have slot rows.
    pub fn slotted(&self) -> Filter<'_> {
        Filter {
            state: &self.slotted_state,
            current: &self.slotted_current,
            is_under_way: &self.slotted_renewal,
            sets: [&self.slotted_ids[0], &self.slotted_ids[1]],
        }
    }
}

/// A background worker that the launcher has sent, or is about to send, into a database: see `workers.rs`.
#[repr(C, align(64))]
pub(super) struct WorkerPlace {
    /// The database it is for; 0 while the place is free.
    pub database: AtomicU32,
    pub pid: AtomicU32,
    /// Its slot in the process array.
    pub slot: AtomicU32,
    /// What it said of the database: a `WorkerState`.
    pub verdict: AtomicU32,
    /// How far the worker is, and a number that rises whenever the place is given away or taken back.
    pub word: AtomicU64,
}

const _: () = {
    assert!(std::mem::size_of::<StoredId>() == 256);
    assert!(MAX_ID_BYTES == crate::errors::MAX_ID_BYTES);
    assert!(std::mem::size_of::<BackendCell>() == 9 * CACHE_LINE);
    assert!(std::mem::size_of::<Header>().is_multiple_of(CACHE_LINE));
    assert!(std::mem::size_of::<LoadCell>().is_multiple_of(CACHE_LINE));
    assert!(std::mem::size_of::<DatabaseCell>().is_multiple_of(CACHE_LINE));
    assert!(std::mem::size_of::<ErrorBytes>() == 256);
    assert!(std::mem::size_of::<WorkerPlace>() == CACHE_LINE);
    assert!(std::mem::size_of::<Generation>() == CACHE_LINE);
    assert!(GENERATIONS.is_multiple_of(64));
};

/// How many of everything, from the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub backend_cells: usize,
    pub xids_per_load: usize,
    pub database_cells: usize,
    pub worker_places: usize,
}

impl Geometry {
    pub fn new(max_processes: usize, database_cells: usize, worker_places: usize) -> Geometry {
        Geometry { backend_cells: max_processes, xids_per_load: max_processes, database_cells, worker_places }
    }

    pub fn generations_at(&self) -> usize {
        std::mem::size_of::<Header>()
    }

    pub fn databases_at(&self) -> usize {
        self.generations_at() + GENERATIONS * std::mem::size_of::<Generation>()
    }

    pub fn worker_places_at(&self) -> usize {
        self.databases_at() + self.database_cells * std::mem::size_of::<DatabaseCell>()
    }

    /// Databases that processes keep workers out of, a word a process.
    pub fn holds_at(&self) -> usize {
        self.worker_places_at() + self.worker_places * std::mem::size_of::<WorkerPlace>()
    }

    /// Backends that have ever announced a commit, a bit each.
    pub fn announcers_at(&self) -> usize {
        self.holds_at() + self.backend_cells * 8
    }

    pub fn backend_cells_at(&self) -> usize {
        (self.announcers_at() + self.announcer_words() * 8).next_multiple_of(CACHE_LINE)
    }

    pub fn announcer_words(&self) -> usize {
        self.backend_cells.div_ceil(64)
    }

    /// Locks of the segment: one for databases, and one a database, for its journal.
    pub fn locks(&self) -> usize {
        1 + self.database_cells
    }

    pub fn load_cells_at(&self) -> usize {
        self.backend_cells_at() + self.backend_cells * std::mem::size_of::<BackendCell>()
    }

    /// Bytes of a load cell with the transaction ids behind it.
    pub fn load_cell_bytes(&self) -> usize {
        (std::mem::size_of::<LoadCell>() + self.xids_per_load * 4).next_multiple_of(CACHE_LINE)
    }

    /// Bytes of the whole segment.
    pub fn bytes(&self) -> usize {
        self.load_cells_at() + LOAD_CELLS * self.load_cell_bytes() + CACHE_LINE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_aligned_and_do_not_overlap(
            processes in 1usize..2000,
            databases in 1usize..300,
            workers in 1usize..100,
        ) {
            let g = Geometry::new(processes, databases, workers);
            let places = [
                g.generations_at(), g.databases_at(), g.worker_places_at(), g.holds_at(), g.backend_cells_at(),
                g.load_cells_at(), g.bytes(),
            ];
            for pair in places.windows(2) {
                prop_assert!(pair[0] < pair[1]);
            }
            for place in &places[..6] {
                prop_assert_eq!(place % CACHE_LINE, 0);
            }
        }
    }
}
