//! Sketches of visitors in shared memory: whether a visitor has been seen is one look, and how many is one pass over
//! 16 KiB. A cache of rows and nothing more: rows hold every committed visit, so an entry may go at any time.
//!
//! Contract:
//!
//! - A segment of its own: a header, sets of `WAYS` entries, 16 KiB of data an entry. A set has one LWLock, taken alone
//!   (after heavyweight locks, never with a lock of `segment.rs`).
//! - Which entry holds which key, its state, and its hashes change under the set's exclusive lock. Registers are atomic
//!   bytes that only rise, raised under at least the shared lock, which keeps the entry its key's.
//! - An entry's generation is drawn anew, never twice, whenever the entry changes hands, is forgotten, or goes from hashes
//!   to registers; it is 0 while that happens. Who reads without the lock looks at it before and after.
//! - **Loading**: an entry is made LOADING first, and rows are read under a snapshot taken after that. A visit whose
//!   commit that snapshot sees is in the rows; every other one finds the entry in its COMMIT callback and adds to it.
//!   Union is idempotent, so what both bring does no harm. Where a commit that the snapshot sees has its callback still to
//!   come (its backend announces it in its cell) nothing is loaded: it could bring back what was taken from rows meanwhile.
//! - A crash between any two steps leaves nothing: the segment is made anew. A backend that ends while it loads gives
//!   the entry back.

mod entries;
mod load;

pub use entries::{add, covers, get};
pub use load::{abandon_load, begin_load, invalidate};

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

use pgrx::pg_sys;

use super::lwlock::{self, LockGuard};
use crate::errors::MAX_ID_BYTES;
use crate::hll::{Parameters, Sketch, murmur};
use crate::pg::{process, random};

/// Registers of a visitors' sketch, one byte each.
const REGISTERS: usize = 1 << 14;
/// The same bytes as a hash table of 64-bit hashes, 0 for none: at most five eighths full.
const HASH_PLACES: usize = REGISTERS / 8;
const MAX_HASHES: u32 = 1280;
const WAYS: usize = 32;
const CACHE_LINE: usize = 64;

/// How long a load may take before another backend begins anew.
const LOAD_PATIENCE_US: i64 = 1_000_000;

const FREE: u32 = 0;
const LOADING: u32 = 1;
const LOADED: u32 = 2;

/// The one kind of sketch that visitors have; what else a row holds is not cached.
pub fn parameters() -> Parameters {
    Parameters::default()
}

/// Which sketch: an id's visitors of one day.
#[derive(Clone, Copy, Debug)]
pub struct SketchKey<'a> {
    pub database: u32,
    /// The table that holds the sketch.
    pub relation: u32,
    pub id: &'a [u8],
    /// Days since 2000-01-01; any other number of the caller's for "ever".
    pub day: i32,
}

/// What an entry says about a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    Yes,
    No,
    /// The sketch is not in memory.
    Unknown,
}

#[repr(C, align(64))]
struct Header {
    sets: u32,
    seed: u64,
    locks: *mut pg_sys::LWLockPadded,
    next_generation: AtomicU64,
    loaded: AtomicU64,
    evictions: AtomicU64,
}

#[repr(C, align(64))]
struct Entry {
    hash: u64,
    generation: AtomicU64,
    /// Who loads it: a number drawn for that load alone, 0 when nobody does.
    load: AtomicU64,
    /// When that load began.
    load_began_us: AtomicI64,
    state: AtomicU32,
    /// Hashes held, not counting `has_zero`; `u32::MAX` once there are registers.
    hashes: AtomicU32,
    /// The hash 0, which the table cannot hold.
    has_zero: AtomicU32,
    /// Second chance for the clock.
    used: AtomicU32,
    database: u32,
    relation: u32,
    day: i32,
    id_length: u8,
    id: [u8; MAX_ID_BYTES],
}

const IS_REGISTERS: u32 = u32::MAX;

const _: () = {
    assert!(std::mem::size_of::<Header>() == CACHE_LINE);
    assert!(std::mem::size_of::<Entry>() == 5 * CACHE_LINE);
    assert!(std::mem::offset_of!(Entry, id) == 61);
    assert!(HASH_PLACES * 5 / 8 == MAX_HASHES as usize);
};

static BASE: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

const TRANCHE: &std::ffi::CStr = c"counter_ext_sketches";
const SEGMENT: &std::ffi::CStr = c"counter_ext sketches";

fn sets_wanted() -> usize {
    crate::settings::max_sketches().div_ceil(WAYS)
}

fn bytes(sets: usize) -> usize {
    let entries = sets * WAYS;
    CACHE_LINE
        + std::mem::size_of::<Header>()
        + entries * (std::mem::size_of::<Entry>() + REGISTERS)
        + sets * std::mem::size_of::<AtomicU32>().next_multiple_of(CACHE_LINE)
}

/// Asks for memory and locks; called from the request hook.
pub fn request() {
    let sets = sets_wanted();
    // SAFETY: called from shmem_request_hook, where this is allowed.
    unsafe {
        pg_sys::RequestAddinShmemSpace(bytes(sets));
        pg_sys::RequestNamedLWLockTranche(TRANCHE.as_ptr(), sets as i32);
    }
}

/// Makes the segment, or finds it made.
pub fn start() {
    let sets = sets_wanted();
    let mut found = false;
    // SAFETY: called from shmem_startup_hook; the segment is as large as asked for, and every field is written before
    // anybody else can see the base address.
    unsafe {
        let _held = super::segment::lock_for_start();
        let raw = pg_sys::ShmemInitStruct(SEGMENT.as_ptr(), bytes(sets), &mut found) as usize;
        let base = raw.next_multiple_of(CACHE_LINE) as *mut Header;
        if !found {
            std::ptr::write_bytes(base as *mut u8, 0, bytes(sets) - CACHE_LINE);
            (*base).sets = sets as u32;
            (*base).seed = random::bits();
            (*base).locks = pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr());
            (*base).next_generation.store(1, Ordering::Relaxed);
        }
        BASE.store(base, Ordering::Release);
    }
}

#[derive(Clone, Copy)]
struct Sketches(*mut Header);

fn sketches() -> Option<Sketches> {
    let base = BASE.load(Ordering::Relaxed);
    (!base.is_null()).then_some(Sketches(base))
}

impl Sketches {
    fn header(&self) -> &Header {
        // SAFETY: mapped for the life of the process; fields are constants or atomics.
        unsafe { &*self.0 }
    }

    fn sets(&self) -> usize {
        self.header().sets as usize
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        debug_assert!(offset < bytes(self.sets()));
        // SAFETY: offsets follow the order in which `bytes` adds up what the segment was sized by.
        unsafe { (self.0 as *mut u8).add(offset) as *mut T }
    }

    fn entry(&self, number: usize) -> *mut Entry {
        assert!(number < self.sets() * WAYS);
        self.at(std::mem::size_of::<Header>() + number * std::mem::size_of::<Entry>())
    }

    fn data(&self, number: usize) -> usize {
        assert!(number < self.sets() * WAYS);
        let entries = self.sets() * WAYS;
        std::mem::size_of::<Header>() + entries * std::mem::size_of::<Entry>() + number * REGISTERS
    }

    /// An entry's bytes as registers.
    fn registers(&self, number: usize) -> &[AtomicU8] {
        // SAFETY: in bounds; atomics. Which of the two readings holds is what `hashes` says.
        unsafe { std::slice::from_raw_parts(self.at(self.data(number)), REGISTERS) }
    }

    /// An entry's bytes as a table of hashes.
    fn hashes(&self, number: usize) -> &[AtomicU64] {
        // SAFETY: in bounds and aligned to a cache line; atomics.
        unsafe { std::slice::from_raw_parts(self.at(self.data(number)), HASH_PLACES) }
    }

    /// The clock's hand of a set.
    fn hand(&self, set: usize) -> &AtomicU32 {
        let entries = self.sets() * WAYS;
        let at = self.data(entries - 1) + REGISTERS + set * CACHE_LINE;
        // SAFETY: in bounds; an atomic.
        unsafe { &*self.at(at) }
    }

    fn lock(&self, set: usize) -> *mut pg_sys::LWLock {
        assert!(set < self.sets());
        // SAFETY: the tranche has one lock a set.
        unsafe { &raw mut (*self.header().locks.add(set)).lock }
    }

    fn lock_shared(&self, set: usize) -> LockGuard {
        // SAFETY: a lock of the segment; no caller holds one already.
        unsafe { lwlock::shared(self.lock(set)) }
    }

    fn lock_exclusive(&self, set: usize) -> LockGuard {
        // SAFETY: as above.
        unsafe { lwlock::exclusive(self.lock(set)) }
    }

    fn draw_generation(&self) -> u64 {
        self.header().next_generation.fetch_add(1, Ordering::Relaxed)
    }
}

/// A key with its hash.
#[derive(Clone, Copy)]
struct Hashed<'a> {
    key: SketchKey<'a>,
    hash: u64,
    set: usize,
}

impl<'a> Hashed<'a> {
    fn new(all: &Sketches, key: SketchKey<'a>) -> Hashed<'a> {
        let place = u64::from(key.database) << 32 | u64::from(key.relation);
        let day = u64::from(key.day as u32);
        let salt = murmur::hash_u64(place ^ murmur::hash_u64(all.header().seed ^ day));
        let hash = murmur::hash_u64(murmur::hash(key.id) ^ salt);
        Hashed { key, hash, set: (hash >> 32) as usize % all.sets() }
    }

    fn is(&self, entry: &Entry) -> bool {
        entry.hash == self.hash
            && entry.state.load(Ordering::Relaxed) != FREE
            && entry.day == self.key.day
            && entry.database == self.key.database
            && entry.relation == self.key.relation
            && &entry.id[..usize::from(entry.id_length)] == self.key.id
    }

    /// The number of the key's entry. The caller holds the set's lock.
    fn find(&self, all: &Sketches) -> Option<usize> {
        (self.set * WAYS..(self.set + 1) * WAYS).find(|number| {
            // SAFETY: keys change under the exclusive lock only; the caller holds it at least shared.
            self.is(unsafe { &*all.entry(*number) })
        })
    }
}

/// Entries a backend remembers; two that fall on one place take turns.
const PLACES: usize = 64;

/// Where this backend found a sketch last.
#[derive(Clone)]
struct Place {
    hash: u64,
    id: Box<[u8]>,
    day: i32,
    database: u32,
    relation: u32,
    number: usize,
    generation: u64,
}

thread_local! {
    static PLACES_SEEN: RefCell<Vec<Option<Place>>> = const { RefCell::new(Vec::new()) };
    /// The entry that this backend is loading, and the number of the load.
    static LOADS: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
}

fn recall(hashed: &Hashed<'_>) -> Option<(usize, u64)> {
    PLACES_SEEN.with_borrow(|seen| {
        let place = seen.get(hashed.hash as usize % PLACES)?.as_ref()?;
        let key = &hashed.key;
        (place.hash == hashed.hash
            && place.day == key.day
            && place.database == key.database
            && place.relation == key.relation
            && *place.id == *key.id)
            .then_some((place.number, place.generation))
    })
}

fn remember(hashed: &Hashed<'_>, number: usize, generation: u64) {
    PLACES_SEEN.with_borrow_mut(|seen| {
        if seen.is_empty() {
            seen.resize(PLACES, None);
        }
        let SketchKey { database, relation, id, day } = hashed.key;
        let place = Place { hash: hashed.hash, id: id.into(), day, database, relation, number, generation };
        seen[hashed.hash as usize % PLACES] = Some(place);
    });
}

/// Sketches in memory, how many there is room for, and how many had to go for others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    pub loaded: u64,
    pub capacity: u64,
    pub evictions: u64,
    pub bytes: u64,
}

pub fn statistics() -> Statistics {
    sketches().map_or_else(Statistics::default, |all| Statistics {
        loaded: all.header().loaded.load(Ordering::Relaxed),
        capacity: (all.sets() * WAYS) as u64,
        evictions: all.header().evictions.load(Ordering::Relaxed),
        bytes: bytes(all.sets()) as u64,
    })
}
