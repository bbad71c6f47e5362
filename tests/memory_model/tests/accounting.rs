//! Tenants of shared memory in a simulated one: after a million insertions, growths, evictions and invalidations every place is held or
//! free, every byte of a body belongs to one entry, and what is held is found.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;

use counter_ext_memory_model::plain::entries::{Entries, Whole};
use counter_ext_memory_model::plain::entry::Entry;
use counter_ext_memory_model::plain::lifecycle::{COLD, FREE, LOADING};
use counter_ext_memory_model::plain::limits::entry::LimitHead;
use counter_ext_memory_model::plain::limits::held::{Held, Sought, Took};
use counter_ext_memory_model::plain::limits::key::{Fingerprint, LimitKey, LimitSubject, Request};
use counter_ext_memory_model::plain::room::bodies::{Body, CLASS_BYTES};
use counter_ext_memory_model::plain::sketches::contents::Rank;
use counter_ext_memory_model::plain::sketches::entry::{SketchHead, State, WholeKey};
use counter_ext_memory_model::plain::sketches::held::{self, REGISTERS, Visits};
use counter_ext_memory_model::simulated::{Partition, SimulatedPool};

/// xorshift.
struct Random(Cell<u64>);

impl Random {
    fn below(&self, bound: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        x % bound
    }
}

struct Counters<'a> {
    partition: &'a Partition<Entry>,
    pool: &'a SimulatedPool,
    /// Where each key is.
    model: HashMap<u32, u32>,
    generation: u64,
    evictions: usize,
}

impl<'a> Counters<'a> {
    fn entries(&self) -> Entries<'a, &'a SimulatedPool> {
        Entries { places: self.partition.places(), dirt: self.partition.dirt(), pool: self.pool }
    }

    /// Ids of 1 to 255 bytes, half of them short ones.
    fn id(key: u32) -> Vec<u8> {
        let length = if key.is_multiple_of(2) { 4 + key as usize % 29 } else { 33 + key as usize * 7 % 223 };
        key.to_le_bytes().into_iter().cycle().take(length).collect()
    }

    fn whole(key: u32, id: &[u8]) -> Whole<'_> {
        let hash = u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
        Whole { hash, database: key % 5 + 1, relation: 9, id }
    }

    fn free(&mut self, index: u32) {
        self.model.retain(|_, held| *held != index);
        let entries = self.entries();
        entries.entry(index).lifecycle().end();
        entries.dirt.clear(index);
        entries.unlink(index);
    }

    fn step(&mut self, random: &Random, keys: u64) {
        let key = random.below(keys) as u32;
        let id = Counters::id(key);
        let entries = self.entries();
        let found = entries.find(Counters::whole(key, &id));
        assert_eq!(found, self.model.get(&key).copied());
        match (random.below(10), found) {
            // An invalidation frees what is clean.
            (0, Some(index)) if !entries.dirt.is_set(index) => {
                assert!(entries.entry(index).lifecycle().seize());
                self.free(index);
            }
            (1..=3, Some(index)) => {
                entries.dirt.set(index);
            }
            (4..=7, Some(index)) => entries.dirt.clear(index),
            (_, Some(index)) => {
                entries.entry(index).touch();
                assert_eq!(entries.id(index).bytes(), id);
            }
            (_, None) => self.make(key, &id),
        }
    }

    fn make(&mut self, key: u32, id: &[u8]) {
        let whole = Counters::whole(key, id);
        let linked = self.entries().link(whole).or_else(|| {
            let victim = self.entries().seize_victim(id.len())?;
            assert!(!self.entries().dirt.is_set(victim), "a dirty entry was evicted");
            self.evictions += 1;
            self.free(victim);
            self.entries().link(whole)
        });
        if let Some(index) = linked {
            self.generation += 1;
            let entry = self.entries().entry(index);
            entry.forget_counts();
            entry.lifecycle().begin(if key.is_multiple_of(100) { LOADING } else { COLD }, self.generation);
            self.model.insert(key, index);
        }
    }
}

fn limit_step(held: &Held<'_, &SimulatedPool>, random: &Random, keys: u64) {
    let key = (random.below(keys) as u32).to_le_bytes();
    let key =
        LimitKey { database: key[0] as u32 % 5 + 1, subject: LimitSubject::Key(&key), per_us: 1_000_000 };
    let request = Request { key, max: 1 + random.below(60), cost: random.below(3) };
    let fingerprint = Fingerprint::new(&key, [1, 2, 3, 4]);
    match random.below(50) {
        0 => {
            held.forget(fingerprint.low, key.database);
        }
        1 => {
            if let Some(index) = held.find(fingerprint) {
                held.give_back(index, &request);
                held.settle(fingerprint);
            }
        }
        _ => {
            if let Sought::At(index) = held.seek(&request, fingerprint) {
                assert_ne!(held.take(index, &request), Took::NoRoom, "costs are small");
                held.settle(fingerprint);
            }
        }
    }
}

/// Of 14 bits which register, of the rest which rank.
fn rank(hash: u64) -> Rank {
    Rank { register: hash as usize % REGISTERS, rank: (hash >> 14).trailing_zeros().min(30) as u8 + 1 }
}

struct Sketches<'a> {
    held: held::Held<'a, &'a SimulatedPool>,
    /// Who has visited each key since its entry was made.
    model: HashMap<u32, BTreeSet<i64>>,
    registers: Vec<u8>,
    forgotten: usize,
}

impl Sketches<'_> {
    fn whole(key: u32, id: &[u8]) -> WholeKey<'_> {
        let hash = u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 7;
        WholeKey { hash, database: key % 5 + 1, relation: 9, day: key as i32 % 3, id }
    }

    fn step(&mut self, random: &Random, keys: u64) {
        let key = random.below(keys) as u32;
        let id = Counters::id(key);
        let held = self.held;
        let whole = Sketches::whole(key, &id);
        let Some(index) = held.find(whole) else {
            self.model.remove(&key);
            if let Some((index, load)) = held.begin(whole, 0) {
                assert_eq!((held.head(index).load(), held.head(index).state()), (load, State::Loading));
                self.model.insert(key, BTreeSet::new());
                if !key.is_multiple_of(50) {
                    held.head(index).finish_load();
                }
            }
            return;
        };
        assert_eq!(held.id(index).bytes(), id);
        let mut is_held = true;
        match random.below(2000) {
            0..100 => {
                held.forget(index);
                is_held = false;
            }
            100..110 => is_held = held.take_in(index, Visits::Registers(&self.registers)),
            _ => {
                // Some have few visitors, some many.
                let count = if key.is_multiple_of(20) { random.below(300) } else { random.below(4) };
                let visits: Vec<i64> = (0..count).map(|_| random.below(1 << 62) as i64).collect();
                if !held.raise(index, Visits::Hashes(&visits)) {
                    is_held = held.take_in(index, Visits::Hashes(&visits));
                }
                if let Some(seen) = self.model.get_mut(&key) {
                    seen.extend(visits);
                }
            }
        }
        if is_held {
            let contents = held.contents(index);
            let seen = &self.model[&key];
            assert!(seen.iter().all(|hash| contents.holds(*hash as u64)), "a visitor is lost");
        } else {
            self.forgotten += 1;
            self.model.remove(&key);
            assert_eq!(held.find(whole), None);
        }
    }
}

fn check(
    counters: &Counters<'_>,
    limits: &Partition<LimitHead>,
    sketches: &Partition<SketchHead>,
    pool: &SimulatedPool,
) {
    let entries = counters.entries();
    let touched = 0..entries.places.touched();
    let held: Vec<u32> = touched.filter(|index| entries.entry(*index).state() != FREE).collect();
    assert_eq!((held.len(), entries.places.held() as usize), (counters.model.len(), counters.model.len()));
    let dirty = held.iter().filter(|index| entries.dirt.is_set(**index)).count();
    assert_eq!(dirty as u32, entries.dirt.count(), "only what is held is dirty");
    let limit_heads = || limits.heads.iter().filter(|head| !head.is_free());
    assert_eq!(limits.places().held() as usize, limit_heads().count());
    let sketch_heads = || sketches.heads.iter().filter(|head| !head.is_free());
    assert_eq!(sketches.places().held() as usize, sketch_heads().count());
    let words = |head: &SketchHead| head.table().body().and_then(|(bits, _)| Body::from_bits(bits));
    let bodies: Vec<Body> = (held.iter().filter_map(|index| entries.entry(*index).body()))
        .chain(limit_heads().filter_map(LimitHead::body))
        .chain(sketch_heads().filter_map(SketchHead::id_body))
        .chain(sketch_heads().filter_map(words))
        .collect();
    let bytes: usize = bodies.iter().map(|body| CLASS_BYTES[pool.bodies().class(*body)]).sum();
    assert_eq!(pool.bodies().bytes_in_use(), bytes as u64);
    let distinct: BTreeSet<Body> = bodies.iter().copied().collect();
    assert_eq!(distinct.len(), bodies.len(), "no body is two entries'");
    for (bits, class) in sketch_heads().filter_map(|head| head.table().body()) {
        assert_eq!(
            pool.bodies().class(Body::from_bits(bits).unwrap()),
            class,
            "an entry knows its body's size"
        );
    }
}

#[test]
fn everything_adds_up_after_a_million_steps_of_all_tenants() {
    // Room enough for most, for few, and hardly any bodies.
    for (places, pages, reserved) in [(2000, 160, 40), (300, 24, 8), (500, 3, 1)] {
        let random = Random(Cell::new(88_172_645_463_325_252));
        let pool = SimulatedPool::new(pages, reserved);
        let counter_partition = Partition::new(places);
        let limit_partition = Partition::new(places);
        let sketch_partition = Partition::new(places);
        let (evicted_limits, evicted_sketches) = (AtomicU64::default(), AtomicU64::default());
        let next_generation = AtomicU64::new(1);
        let mut counters = Counters {
            partition: &counter_partition,
            pool: &pool,
            model: HashMap::new(),
            generation: 1,
            evictions: 0,
        };
        let mut sketches = Sketches {
            held: held::Held {
                places: sketch_partition.places(),
                pool: &pool,
                next_generation: &next_generation,
                evictions: &evicted_sketches,
                rank,
            },
            model: HashMap::new(),
            registers: (0..REGISTERS).map(|register| (register % 7) as u8).collect(),
            forgotten: 0,
        };
        // Three tenants' steps each time, a million in all.
        for step in 0..115_000i64 {
            counters.step(&random, 1000);
            let held = Held {
                places: limit_partition.places(),
                pool: &&pool,
                now_us: step * 20,
                evictions: &evicted_limits,
            };
            limit_step(&held, &random, 700);
            sketches.step(&random, 1000);
            if step % 5000 == 0 {
                check(&counters, &limit_partition, &sketch_partition, &pool);
            }
        }
        check(&counters, &limit_partition, &sketch_partition, &pool);
        assert!(places >= 1000 || counters.evictions > 1000, "{} evictions", counters.evictions);
        let evicted = sketches.held.evictions.load(std::sync::atomic::Ordering::Relaxed);
        assert!(places >= 1000 || evicted > 1000, "{evicted} evictions of sketches");
        assert!(sketches.forgotten > 100);
        let held = sketches.held;
        for index in (0..held.places.touched()).filter(|index| !held.head(*index).is_free()) {
            held.forget(index);
        }
        assert_eq!(held.places.held(), 0);
        check(&counters, &limit_partition, &sketch_partition, &pool);
    }
}
