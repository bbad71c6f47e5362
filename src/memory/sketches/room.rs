//! The room of sketches: its size, and the types that prove that a partition's lock is held.
//!
//! Contract: see `sketches/mod.rs`. Whoever holds a partition's lock allocates nothing, raises nothing, and takes no other lock of ours
//! but the pool's.

use std::ops::Deref;
use std::sync::atomic::Ordering;

use super::super::doorkeeper::words_for;
use super::super::lwlock::LockGuard;
use super::super::room::bodies::PAGE_BYTES;
use super::super::room::mapped::{Mapped, Room};
use super::super::room::places::Head;
use super::super::room::shape::Shape;
use super::contents::{Contents, Rank, Table, WordsOf};
use super::entry::{SketchHead, WholeKey};
use super::held::{Held, Visits, words_of};
use crate::fallible::OutOfMemory;
use crate::hll::{Parameters, Sketch, murmur};

static ROOM: Room<SketchHead> = Room::new(c"counter_ext sketches", c"counter_ext_sketches");

/// Enough to choose a victim from.
const LEAST_A_PARTITION: usize = 32;
/// Of bodies, for each sketch: most have a few visitors.
const POOL_BYTES_A_SKETCH: usize = 256;
/// Pages for those: one of each size at least.
const LEAST_PAGES: usize = 8;
/// Pages for sketches that take a whole one: as many as there are sketches, or so many.
const MOST_WHOLE: usize = 512;
/// Sketches for each place that the doorkeeper remembers: it remembers for a shorter time than that of counters, since a sketch is read
/// from rows once for a visit, and a load throws another one out.
const SKETCHES_A_SIGHTING: usize = 4;

fn whole_pages(sketches: usize) -> usize {
    sketches.min(MOST_WHOLE)
}

fn shape() -> Shape {
    let sketches = crate::settings::max_sketches();
    let small_pages = (sketches * POOL_BYTES_A_SKETCH).div_ceil(PAGE_BYTES).max(LEAST_PAGES);
    let pool_bytes = (small_pages + whole_pages(sketches)) * PAGE_BYTES;
    Shape::new(sketches, LEAST_A_PARTITION, size_of::<SketchHead>(), pool_bytes)
        .with_sightings(words_for(sketches / SKETCHES_A_SIGHTING))
}

/// Asks for memory and locks; called from the request hook.
pub fn request() {
    ROOM.request(shape());
}

/// Makes the room, or finds it made.
pub fn start() {
    ROOM.start(shape(), whole_pages(crate::settings::max_sketches()));
}

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

/// The mapped room.
#[derive(Clone, Copy)]
pub(super) struct Sketches(Mapped<SketchHead>);

/// The room, where there is one.
pub(super) fn room() -> Option<Sketches> {
    ROOM.mapped().map(Sketches)
}

fn rank(hash: u64) -> Rank {
    let (register, rank) = parameters().place(hash);
    Rank { register, rank }
}

impl Sketches {
    pub fn partitions(&self) -> usize {
        self.0.partitions()
    }

    fn held(&self, partition: usize) -> Held<'static, Mapped<SketchHead>> {
        Held {
            places: self.0.places(partition),
            pool: self.0,
            next_generation: self.0.next_generation(),
            evictions: self.0.evictions(),
            rank,
        }
    }

    pub fn lock_shared(&self, partition: usize) -> SharedPartition {
        SharedPartition { held: self.held(partition), _lock: self.0.lock_partition_shared(partition) }
    }

    pub fn lock_exclusive(&self, partition: usize) -> ExclusivePartition {
        ExclusivePartition(SharedPartition {
            held: self.held(partition),
            _lock: self.0.lock_partition(partition),
        })
    }

    /// An entry without its partition's lock, for who remembers it.
    pub fn head(&self, partition: usize, index: u32) -> &'static SketchHead {
        self.0.head(partition, index)
    }

    /// What that holds, as long as its generation is the one remembered.
    pub fn contents<'s>(&'s self, head: &'s SketchHead) -> Contents<'s, impl WordsOf<'s>, fn(u64) -> Rank> {
        let words = move |table| words_of(head, &self.0, table);
        Contents { generation: &head.generation, table: &head.table, words, rank }
    }

    /// Whether no entry of a partition is anybody's, as it is this moment. Needs no lock.
    pub fn is_empty(&self, partition: usize) -> bool {
        self.0.places(partition).held() == 0
    }

    pub fn admits(&self, hash: u64) -> bool {
        self.0.admits(hash, usize::MAX)
    }
}

/// A partition under its lock, at least shared: which entry holds which key does not change.
pub(super) struct SharedPartition {
    held: Held<'static, Mapped<SketchHead>>,
    _lock: LockGuard,
}

/// A partition under its exclusive lock.
pub(super) struct ExclusivePartition(SharedPartition);

impl SharedPartition {
    pub fn head(&self, index: u32) -> &'static SketchHead {
        self.held.head(index)
    }

    pub fn contents<'s>(&'s self, index: u32) -> Contents<'s, impl WordsOf<'s>, fn(u64) -> Rank> {
        self.held.contents(index)
    }

    pub fn find(&self, hashed: &Hashed<'_>) -> Option<u32> {
        self.held.find(hashed.whole())
    }

    /// See `Held::raise`.
    pub fn raise(&self, index: u32, visits: Visits<'_>) -> bool {
        self.held.raise(index, visits)
    }
}

impl ExclusivePartition {
    /// See `Held::begin`.
    pub fn begin(&mut self, hashed: &Hashed<'_>, now_us: i64) -> Option<(u32, u64)> {
        self.0.held.begin(hashed.whole(), now_us)
    }

    /// See `Held::take_in`.
    pub fn take_in(&mut self, index: u32, visits: Visits<'_>) -> bool {
        self.0.held.take_in(index, visits)
    }

    pub fn forget(&mut self, index: u32) {
        self.0.held.forget(index);
    }

    /// Forgets a database's sketches of some ids.
    pub fn forget_of(&mut self, database: u32, is_meant: impl Fn(&[u8]) -> bool) {
        let held = &self.0.held;
        for index in 0..held.places.touched() {
            let head = held.head(index);
            if !head.is_free() && head.database() == database && is_meant(held.id(index).bytes()) {
                held.forget(index);
            }
        }
    }
}

impl Deref for ExclusivePartition {
    type Target = SharedPartition;

    fn deref(&self) -> &SharedPartition {
        &self.0
    }
}

/// A key with its hash.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    pub key: SketchKey<'a>,
    pub hash: u64,
    pub partition: usize,
}

impl<'a> Hashed<'a> {
    pub fn new(room: &Sketches, key: SketchKey<'a>) -> Hashed<'a> {
        let place = u64::from(key.database) << 32 | u64::from(key.relation);
        let day = u64::from(key.day as u32);
        let [seed, ..] = room.0.seeds();
        let salt = murmur::hash_u64(place ^ murmur::hash_u64(seed ^ day));
        let hash = murmur::hash_u64(murmur::hash(key.id) ^ salt);
        Hashed { key, hash, partition: room.0.partition_of(hash) }
    }

    fn whole(&self) -> WholeKey<'a> {
        let SketchKey { database, relation, id, day } = self.key;
        WholeKey { hash: self.hash, database, relation, day, id }
    }
}

/// What a sketch has seen; `None` where nobody knows.
pub(super) fn visits_of(sketch: &Sketch) -> Option<Visits<'_>> {
    let hashes = sketch.explicit().map(Visits::Hashes);
    hashes.or_else(|| sketch.registers().map(Visits::Registers))
}

/// A copy of a sketch's words that was taken under the lock, as a sketch.
pub(super) fn sketch_of(table: Table, words: &[u64]) -> Result<Sketch, OutOfMemory> {
    if table.are_registers() {
        return Sketch::from_registers(parameters(), words.iter().flat_map(|word| word.to_le_bytes()));
    }
    let hashes = words.iter().map(|word| *word as i64).filter(|hash| *hash != 0);
    Sketch::from_hashes(parameters(), hashes.chain(table.has_zero().then_some(0)))
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
    let Some(Sketches(mapped)) = room() else { return Statistics::default() };
    let shape = mapped.shape();
    let held = |partition| u64::from(mapped.places(partition).held());
    let loaded = (0..mapped.partitions()).map(held).sum();
    Statistics {
        loaded,
        capacity: shape.entries() as u64,
        evictions: mapped.evictions().load(Ordering::Relaxed),
        bytes: shape.bytes() as u64,
        bytes_in_use: loaded * shape.bytes_an_entry() as u64 + mapped.body_bytes(),
    }
}
