//! The segment that holds what processes and databases say of themselves, beside the room of counters: how it is asked for, made by the
//! postmaster, and found by every other process.
//!
//! Contract: `start` runs in the postmaster (and again after a crash restart) under AddinShmemInitLock; every other
//! process inherits the base address by fork. Readers of the layout need no lock: it is constant from then on.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::counters::{self, Counters};
use super::generation::Generation;
use super::layout::*;
use super::lwlock::{self, LockGuard, lock_for_start};
use crate::pg::{background, lock, process, random};

static BASE: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

const TRANCHE: &std::ffi::CStr = c"counter_ext";
const SEGMENT: &std::ffi::CStr = c"counter_ext";

fn geometry() -> Geometry {
    // Auxiliary processes have slots past the backends' own; prepared transactions show up in snapshots.
    const AUXILIARY_PROCESSES: usize = 64;
    let prepared = lock::max_prepared_transactions();
    Geometry::new(
        process::max_backends() + AUXILIARY_PROCESSES + prepared,
        crate::settings::max_databases(),
        background::max_workers(),
    )
}

/// Asks for memory and locks; called from the request hook.
pub fn request() {
    let geometry = geometry();
    // SAFETY: called from shmem_request_hook, where this is allowed.
    unsafe {
        pg_sys::RequestAddinShmemSpace(geometry.bytes());
        pg_sys::RequestNamedLWLockTranche(TRANCHE.as_ptr(), geometry.locks() as i32);
    }
}

/// Makes the segment, or finds it made.
pub fn start() {
    let geometry = geometry();
    let mut found = false;
    // SAFETY: called from shmem_startup_hook. The segment is as large as `geometry` says, zeroed or not; every
    // field is written before anybody else can see the base address.
    unsafe {
        let _held = lock_for_start();
        let raw = pg_sys::ShmemInitStruct(SEGMENT.as_ptr(), geometry.bytes(), &mut found) as usize;
        let base = raw.next_multiple_of(CACHE_LINE) as *mut Header;
        if !found {
            std::ptr::write_bytes(base as *mut u8, 0, geometry.bytes() - CACHE_LINE);
            (*base).version = FORMAT_VERSION;
            (*base).backend_cells = geometry.backend_cells as u32;
            (*base).xids_per_load = geometry.xids_per_load as u32;
            (*base).database_cells = geometry.database_cells as u32;
            (*base).worker_places = geometry.worker_places as u32;
            (*base).seed = random::bits();
            (*base).locks = pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr());
            let segment = Segment { base };
            for cell in 0..LOAD_CELLS {
                pg_sys::ConditionVariableInit(segment.load_cell(cell).finished.as_ptr());
            }
            for cell in 0..geometry.database_cells {
                pg_sys::ConditionVariableInit(segment.database_cell(cell).worker.pass_done.0.as_ptr());
            }
        }
        assert_eq!((*base).version, FORMAT_VERSION);
        BASE.store(base, Ordering::Release);
    }
}

/// Whether this server has the segment, that is, preloads the library.
pub fn is_attached() -> bool {
    !BASE.load(Ordering::Relaxed).is_null()
}

/// The mapped segment.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    base: *mut Header,
}

/// The segment, where there is one.
pub(super) fn segment() -> Option<Segment> {
    let base = BASE.load(Ordering::Relaxed);
    (!base.is_null()).then_some(Segment { base })
}

impl Segment {
    pub fn header(&self) -> &Header {
        // SAFETY: mapped for the life of the process; fields are constants or atomics.
        unsafe { &*self.base }
    }

    fn geometry(&self) -> Geometry {
        let header = self.header();
        Geometry {
            backend_cells: header.backend_cells as usize,
            xids_per_load: header.xids_per_load as usize,
            database_cells: header.database_cells as usize,
            worker_places: header.worker_places as usize,
        }
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        // SAFETY: offsets come from the geometry that the segment was sized by.
        unsafe { (self.base as *mut u8).add(offset) as *mut T }
    }

    /// Bytes of the segment, without those of the room of counters.
    pub fn bytes(&self) -> usize {
        self.geometry().bytes()
    }

    /// The room of counters.
    pub fn counters(&self) -> Counters {
        counters::counters().expect("made with the segment")
    }

    pub fn partitions(&self) -> usize {
        self.counters().partitions()
    }

    /// An entry of a counter, whoever has it.
    pub fn entry(&self, partition: usize, index: u32) -> &'static Entry {
        self.counters().head(partition, index)
    }

    /// Entries of a partition that anybody ever had: the others hold nothing.
    pub fn touched(&self, partition: usize) -> u32 {
        self.counters().places(partition).touched()
    }

    /// A partition's marks of one kind, a bit an entry.
    pub fn marks(&self, partition: usize, kind: usize) -> &'static [AtomicU64] {
        self.counters().marks(partition, kind)
    }

    /// Whether a partition has an entry that is dirty, as it is this moment.
    pub fn has_dirty(&self, partition: usize) -> bool {
        self.counters().places(partition).dirty().load(Ordering::SeqCst) != 0
    }

    /// A number that no generation had before.
    pub fn draw_generation(&self) -> u64 {
        self.counters().next_generation().fetch_add(1, Ordering::Relaxed)
    }

    pub fn backend_cells(&self) -> usize {
        self.header().backend_cells as usize
    }

    pub fn backend_cell(&self, index: usize) -> &BackendCell {
        assert!(index < self.backend_cells());
        let g = self.geometry();
        // SAFETY: in bounds; only atomics inside, and a text whose turns `group.rs` settles.
        unsafe { &*self.at(g.backend_cells_at() + index * std::mem::size_of::<BackendCell>()) }
    }

    pub fn load_cell(&self, index: usize) -> &LoadCell {
        assert!(index < LOAD_CELLS);
        let g = self.geometry();
        // SAFETY: in bounds; made with the segment, and only atomics and what is guarded inside.
        unsafe { &*self.at(g.load_cells_at() + index * g.load_cell_bytes()) }
    }

    /// Room for the transaction ids behind a load cell.
    pub fn load_cell_xids(&self, index: usize) -> &[AtomicU32] {
        assert!(index < LOAD_CELLS);
        let g = self.geometry();
        let at = g.load_cells_at() + index * g.load_cell_bytes() + std::mem::size_of::<LoadCell>();
        // SAFETY: the ids lie right behind the cell, inside load_cell_bytes; atomics.
        unsafe { std::slice::from_raw_parts(self.at(at), g.xids_per_load) }
    }

    pub fn generation(&self, index: usize) -> &'static Generation {
        assert!(index < GENERATIONS);
        let g = self.geometry();
        // SAFETY: in bounds, mapped for the life of the process, zeroed at start; atomics only.
        unsafe { &*self.at(g.generations_at() + index * std::mem::size_of::<Generation>()) }
    }

    pub fn database_cells(&self) -> usize {
        self.header().database_cells as usize
    }

    pub fn database_cell(&self, index: usize) -> &'static DatabaseCell {
        assert!(index < self.database_cells());
        let g = self.geometry();
        // SAFETY: in bounds, and mapped for the life of the process; atomics, and what `layout.rs` says is guarded, in an
        // UnsafeCell.
        unsafe { &*self.at(g.databases_at() + index * std::mem::size_of::<DatabaseCell>()) }
    }

    pub fn worker_places(&self) -> &'static [WorkerPlace] {
        let g = self.geometry();
        // SAFETY: in bounds, mapped for the life of the process, zeroed at start; atomics only.
        unsafe { std::slice::from_raw_parts(self.at(g.worker_places_at()), g.worker_places) }
    }

    /// Which database each process keeps workers out of: see `workers.rs`.
    pub fn holds(&self) -> &'static [AtomicU64] {
        let g = self.geometry();
        // SAFETY: in bounds, mapped for the life of the process, zeroed at start; atomics only.
        unsafe { std::slice::from_raw_parts(self.at(g.holds_at()), g.backend_cells) }
    }

    /// Backends that have ever announced a commit, a bit each: see `cells.rs`.
    pub fn announcers(&self) -> &'static [AtomicU64] {
        let g = self.geometry();
        // SAFETY: in bounds, mapped for the life of the process, zeroed at start; atomics only.
        unsafe { std::slice::from_raw_parts(self.at(g.announcers_at()), g.announcer_words()) }
    }

    fn lock(&self, index: usize) -> *mut pg_sys::LWLock {
        assert!(index < self.geometry().locks());
        // SAFETY: the tranche has one lock for databases, and one a database, for its journal.
        unsafe { &raw mut (*self.header().locks.add(index)).lock }
    }

    pub fn lock_databases(&self) -> LockGuard {
        // SAFETY: a lock of the segment, taken alone.
        unsafe { lwlock::exclusive(self.lock(0)) }
    }

    /// The journal's lock of the database in a cell: see `epochs.rs`.
    pub fn lock_journal(&self, database_cell: usize) -> LockGuard {
        assert!(database_cell < self.database_cells());
        // SAFETY: a lock of the segment; taken before any partition lock.
        unsafe { lwlock::exclusive(self.lock(1 + database_cell)) }
    }

    /// As `lock_journal`, but gives up where it would wait.
    pub fn try_lock_journal(&self, database_cell: usize) -> Option<LockGuard> {
        assert!(database_cell < self.database_cells());
        // SAFETY: as above.
        unsafe { lwlock::try_exclusive(self.lock(1 + database_cell)) }
    }
}
