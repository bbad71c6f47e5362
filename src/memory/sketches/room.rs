//! The segment of sketches: its entries, its sets, and the types that prove that a set's lock is held.
//!
//! Contract: see `sketches/mod.rs`. Whoever holds a set's lock allocates nothing, raises nothing and takes no other lock
//! of ours.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::super::guarded::Guarded;
use super::super::layout::StoredId;
use super::super::lwlock::{self, LockGuard, lock_for_start};
use super::contents::{Contents, IS_REGISTERS, LANES, MAX_HASHES, Rank, max_hashes};
use crate::fallible::OutOfMemory;
use crate::hll::{Parameters, Sketch, murmur};
use crate::pg::random;

/// Registers of a visitors' sketch.
const REGISTERS: usize = 1 << 14;
/// Words of 64 bits that an entry's registers, or its hashes, take.
pub(super) const WORDS: usize = REGISTERS / LANES;
pub(super) const WAYS: usize = 32;
const CACHE_LINE: usize = 64;

pub(super) const FREE: u32 = 0;
pub(super) const LOADING: u32 = 1;
pub(super) const LOADED: u32 = 2;

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

#[repr(C, align(64))]
pub(super) struct Header {
    sets: u32,
    seed: u64,
    locks: *mut pg_sys::LWLockPadded,
    next_generation: AtomicU64,
    pub loaded: AtomicU64,
    pub evictions: AtomicU64,
}

/// All but the id is atomic, so that a reference to an entry may exist whatever other processes do with it.
#[repr(C, align(64))]
pub(super) struct SketchEntry {
    hash: AtomicU64,
    generation: AtomicU64,
    /// Who loads it: a number drawn for that load alone, 0 when nobody does.
    pub load: AtomicU64,
    /// When that load began.
    pub load_began_us: AtomicI64,
    /// Changes under the set's exclusive lock.
    pub state: AtomicU32,
    hashes: AtomicU32,
    has_zero: AtomicU32,
    /// Second chance for the clock.
    used: AtomicU32,
    database: AtomicU32,
    relation: AtomicU32,
    day: AtomicU32,
    id: Guarded<StoredId>,
}

const _: () = {
    assert!(std::mem::size_of::<Header>() == CACHE_LINE);
    assert!(std::mem::size_of::<SketchEntry>() == 5 * CACHE_LINE);
    assert!(std::mem::offset_of!(SketchEntry, id) == 60);
    assert!(max_hashes(WORDS) == MAX_HASHES);
};

impl SketchEntry {
    pub fn mark_used(&self) {
        // A store each time would make the line travel between cores.
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }

    /// Whether it was used since this was last asked.
    pub fn take_second_chance(&self) -> bool {
        self.used.swap(0, Ordering::Relaxed) != 0
    }

    pub fn database(&self) -> u32 {
        self.database.load(Ordering::Relaxed)
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
}

static BASE: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

const TRANCHE: &std::ffi::CStr = c"counter_ext_sketches";
const SEGMENT: &std::ffi::CStr = c"counter_ext sketches";

fn sets_wanted() -> usize {
    crate::settings::max_sketches().div_ceil(WAYS)
}

pub(super) fn bytes(sets: usize) -> usize {
    let entries = sets * WAYS;
    CACHE_LINE
        + std::mem::size_of::<Header>()
        + entries * (std::mem::size_of::<SketchEntry>() + REGISTERS)
        + sets * CACHE_LINE
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
        let _lock = lock_for_start();
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

/// The mapped segment.
#[derive(Clone, Copy)]
pub(super) struct Room(*mut Header);

/// The segment, where there is one.
pub(super) fn room() -> Option<Room> {
    let base = BASE.load(Ordering::Relaxed);
    (!base.is_null()).then_some(Room(base))
}

impl Room {
    pub fn header(&self) -> &Header {
        // SAFETY: mapped for the life of the process; fields are constants or atomics.
        unsafe { &*self.0 }
    }

    pub fn sets(&self) -> usize {
        self.header().sets as usize
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        debug_assert!(offset < bytes(self.sets()));
        // SAFETY: offsets follow the order in which `bytes` adds up what the segment was sized by.
        unsafe { (self.0 as *mut u8).add(offset) as *mut T }
    }

    pub fn entry(&self, number: usize) -> &SketchEntry {
        assert!(number < self.sets() * WAYS);
        // SAFETY: in bounds; zeroed at start, and only atomics and what is guarded inside.
        unsafe { &*self.at(std::mem::size_of::<Header>() + number * std::mem::size_of::<SketchEntry>()) }
    }

    fn words_at(&self, number: usize) -> usize {
        let entries = self.sets() * WAYS;
        std::mem::size_of::<Header>() + entries * std::mem::size_of::<SketchEntry>() + number * REGISTERS
    }

    /// What an entry holds, as its generation and its set's lock let it be used.
    pub fn contents(&self, number: usize) -> Contents<'_, impl Fn(u64) -> Rank> {
        let entry = self.entry(number);
        // SAFETY: in bounds, as the entry is, and aligned to a cache line; atomics.
        let words = unsafe { std::slice::from_raw_parts(self.at(self.words_at(number)), WORDS) };
        let rank = |hash| {
            let (register, rank) = parameters().place(hash);
            Rank { register, rank }
        };
        Contents {
            generation: &entry.generation,
            hashes: &entry.hashes,
            has_zero: &entry.has_zero,
            words,
            rank,
        }
    }

    /// The clock's hand of a set.
    pub fn hand(&self, set: usize) -> &AtomicU32 {
        assert!(set < self.sets());
        // SAFETY: in bounds, behind the words; an atomic.
        unsafe { &*self.at(self.words_at(self.sets() * WAYS) + set * CACHE_LINE) }
    }

    fn lock(&self, set: usize) -> *mut pg_sys::LWLock {
        assert!(set < self.sets());
        // SAFETY: the tranche has one lock a set.
        unsafe { &raw mut (*self.header().locks.add(set)).lock }
    }

    pub fn lock_shared(&self, set: usize) -> SharedSet {
        // SAFETY: a lock of the segment; no caller holds one already.
        SharedSet { room: *self, set, _lock: unsafe { lwlock::shared(self.lock(set)) } }
    }

    pub fn lock_exclusive(&self, set: usize) -> ExclusiveSet {
        // SAFETY: as above.
        let lock = unsafe { lwlock::exclusive(self.lock(set)) };
        ExclusiveSet(SharedSet { room: *self, set, _lock: lock })
    }

    pub fn draw_generation(&self) -> u64 {
        self.header().next_generation.fetch_add(1, Ordering::Relaxed)
    }
}

/// A set under its lock, at least shared: which entry holds which key does not change.
pub(super) struct SharedSet {
    room: Room,
    set: usize,
    _lock: LockGuard,
}

/// A set under its exclusive lock.
pub(super) struct ExclusiveSet(SharedSet);

impl SharedSet {
    pub fn room(&self) -> &Room {
        &self.room
    }

    pub fn set(&self) -> usize {
        self.set
    }

    /// The numbers of its entries.
    pub fn numbers(&self) -> Range<usize> {
        self.set * WAYS..(self.set + 1) * WAYS
    }

    pub fn entry(&self, number: usize) -> &SketchEntry {
        assert!(self.numbers().contains(&number), "an entry of another set");
        self.room.entry(number)
    }

    pub fn contents(&self, number: usize) -> Contents<'_, impl Fn(u64) -> Rank> {
        self.room.contents(number)
    }

    pub fn id(&self, number: usize) -> &[u8] {
        // SAFETY: ids are written by `set_key` only, which asks for the exclusive lock of the same set.
        unsafe { self.entry(number).id.get() }.bytes()
    }

    /// The number of the key's entry.
    pub fn find(&self, hashed: &Hashed<'_>) -> Option<usize> {
        debug_assert_eq!(hashed.set, self.set);
        let key = &hashed.key;
        self.numbers().find(|number| {
            let entry = self.entry(*number);
            entry.hash.load(Ordering::Relaxed) == hashed.hash
                && entry.state.load(Ordering::Relaxed) != FREE
                && entry.day.load(Ordering::Relaxed) == key.day as u32
                && entry.database() == key.database
                && entry.relation.load(Ordering::Relaxed) == key.relation
                && self.id(*number) == key.id
        })
    }
}

impl ExclusiveSet {
    /// Gives a free entry to a key.
    pub fn set_key(&mut self, number: usize, hashed: &Hashed<'_>) {
        let entry = self.entry(number);
        let SketchKey { database, relation, id, day } = hashed.key;
        entry.hash.store(hashed.hash, Ordering::Relaxed);
        entry.database.store(database, Ordering::Relaxed);
        entry.relation.store(relation, Ordering::Relaxed);
        entry.day.store(day as u32, Ordering::Relaxed);
        // SAFETY: the exclusive lock is held, and `self` borrowed for writing: there is no other reference to the id.
        unsafe { entry.id.get_mut() }.set(id);
    }

    /// Adds to an entry, whatever it holds.
    pub fn take_in(&self, number: usize, visits: &Sketch) {
        let contents = self.contents(number);
        let draw = || self.room.draw_generation();
        match (visits.explicit(), visits.registers()) {
            (Some(hashes), _) => hashes.iter().for_each(|hash| contents.add(*hash as u64, draw)),
            (_, Some(registers)) => {
                contents.turn_into_registers(draw);
                contents.raise_all(registers);
            }
            _ => {}
        }
    }
}

impl Deref for ExclusiveSet {
    type Target = SharedSet;

    fn deref(&self) -> &SharedSet {
        &self.0
    }
}

/// A key with its hash.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    pub key: SketchKey<'a>,
    pub hash: u64,
    pub set: usize,
}

impl<'a> Hashed<'a> {
    pub fn new(room: &Room, key: SketchKey<'a>) -> Hashed<'a> {
        let place = u64::from(key.database) << 32 | u64::from(key.relation);
        let day = u64::from(key.day as u32);
        let salt = murmur::hash_u64(place ^ murmur::hash_u64(room.header().seed ^ day));
        let hash = murmur::hash_u64(murmur::hash(key.id) ^ salt);
        Hashed { key, hash, set: (hash >> 32) as usize % room.sets() }
    }
}

/// A copy of a sketch's words that was taken under the lock, as a sketch.
pub(super) fn sketch_of(words: &[u64], hashes: u32, has_zero: bool) -> Result<Sketch, OutOfMemory> {
    if hashes == IS_REGISTERS {
        return Sketch::from_registers(parameters(), words.iter().flat_map(|word| word.to_le_bytes()));
    }
    let hashes = words.iter().map(|word| *word as i64).filter(|hash| *hash != 0);
    Sketch::from_hashes(parameters(), hashes.chain(has_zero.then_some(0)))
}

/// Sketches in memory, how many there is room for, and how many had to go for others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    pub loaded: u64,
    pub capacity: u64,
    pub evictions: u64,
    pub bytes: u64,
    /// What those take that are held, without what is free.
    pub bytes_in_use: u64,
}

pub fn statistics() -> Statistics {
    room().map_or_else(Statistics::default, |room| Statistics {
        loaded: room.header().loaded.load(Ordering::Relaxed),
        capacity: (room.sets() * WAYS) as u64,
        evictions: room.header().evictions.load(Ordering::Relaxed),
        bytes: bytes(room.sets()) as u64,
        bytes_in_use: room.header().loaded.load(Ordering::Relaxed)
            * (std::mem::size_of::<SketchEntry>() + REGISTERS) as u64,
    })
}
