//! Tenants of shared memory in a simulated one: after a million insertions, growths, evictions and invalidations every place is held or
//! free, every byte of a body belongs to one entry, and what is held is found.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64};

use counter_ext_memory_model::plain::entries::{Entries, Whole};
use counter_ext_memory_model::plain::entry::Entry;
use counter_ext_memory_model::plain::lifecycle::{COLD, FREE, LOADING};
use counter_ext_memory_model::plain::limits::entry::LimitHead;
use counter_ext_memory_model::plain::limits::held::{Held, Sought, Took};
use counter_ext_memory_model::plain::limits::key::{Fingerprint, LimitKey, LimitSubject, Request};
use counter_ext_memory_model::plain::room::bodies::{
    Bodies, Body, CLASS_BYTES, Page, PoolHead, WORDS_A_PAGE,
};
use counter_ext_memory_model::plain::room::dirt::Dirt;
use counter_ext_memory_model::plain::room::places::{Head, PartitionHead, Places};
use counter_ext_memory_model::plain::room::pool::Pool;

/// A pool that both tenants have bodies from.
struct SimulatedPool {
    head: PoolHead,
    pages: Vec<Page>,
    words: Vec<AtomicU64>,
}

impl SimulatedPool {
    fn new(pages: usize) -> SimulatedPool {
        SimulatedPool {
            head: PoolHead::default(),
            pages: (0..pages).map(|_| Page::default()).collect(),
            words: (0..pages * WORDS_A_PAGE).map(|_| AtomicU64::default()).collect(),
        }
    }

    fn bodies(&self) -> Bodies<'_> {
        Bodies::new(&self.head, &self.pages, &self.words)
    }
}

impl Pool for &SimulatedPool {
    fn allocate(&self, class: usize) -> Option<Body> {
        self.bodies().allocate(class)
    }

    fn give_back(&self, body: Body) {
        self.bodies().give_back(body);
    }

    fn words(&self, body: Body) -> &[AtomicU64] {
        self.bodies().words(body)
    }

    fn class(&self, body: Body) -> usize {
        self.bodies().class(body)
    }
}

/// A partition's places. Heads may hold any bytes before they are first used.
struct Partition<H> {
    head: PartitionHead,
    buckets: Vec<AtomicU32>,
    heads: Vec<H>,
    dirty: Vec<AtomicU64>,
    full: Vec<AtomicU64>,
}

impl<H: Head> Partition<H> {
    fn new(heads: Vec<H>) -> Partition<H> {
        let zeros = |count| (0..count).map(|_| AtomicU64::default()).collect();
        Partition {
            head: PartitionHead::default(),
            buckets: (0..heads.len().next_power_of_two()).map(|_| AtomicU32::default()).collect(),
            dirty: zeros(heads.len().div_ceil(64)),
            full: zeros(heads.len().div_ceil(4096)),
            heads,
        }
    }

    fn places(&self) -> Places<'_, H> {
        Places::new(&self.head, &self.buckets, &self.heads)
    }

    fn dirt(&self) -> Dirt<'_> {
        Dirt { dirty: &self.dirty, full: &self.full, count: self.places().dirty() }
    }
}

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

fn check(counters: &Counters<'_>, limits: &Partition<LimitHead>, pool: &SimulatedPool) {
    let entries = counters.entries();
    let touched = 0..entries.places.touched();
    let held: Vec<u32> = touched.filter(|index| entries.entry(*index).state() != FREE).collect();
    assert_eq!((held.len(), entries.places.held() as usize), (counters.model.len(), counters.model.len()));
    let dirty = held.iter().filter(|index| entries.dirt.is_set(**index)).count();
    assert_eq!(dirty as u32, entries.dirt.count(), "only what is held is dirty");
    let limit_heads = || limits.heads.iter().filter(|head| !head.is_free());
    assert_eq!(limits.places().held() as usize, limit_heads().count());
    let bodies: Vec<Body> = (held.iter().filter_map(|index| entries.entry(*index).body()))
        .chain(limit_heads().filter_map(LimitHead::body))
        .collect();
    let bytes: usize = bodies.iter().map(|body| CLASS_BYTES[pool.bodies().class(*body)]).sum();
    assert_eq!(pool.bodies().bytes_in_use(), bytes as u64);
    let distinct: std::collections::BTreeSet<Body> = bodies.iter().copied().collect();
    assert_eq!(distinct.len(), bodies.len(), "no body is two entries'");
}

#[test]
fn everything_adds_up_after_a_million_steps_of_all_tenants() {
    // Room enough for most, for few, and hardly any bodies.
    for (places, pages) in [(2000, 40), (300, 12), (500, 2)] {
        let random = Random(Cell::new(88_172_645_463_325_252));
        let pool = SimulatedPool::new(pages);
        let counter_partition = Partition::new((0..places).map(|_| Entry::default()).collect());
        let limit_partition = Partition::new((0..places).map(|_| LimitHead::default()).collect());
        let evicted_limits = AtomicU64::default();
        let mut counters = Counters {
            partition: &counter_partition,
            pool: &pool,
            model: HashMap::new(),
            generation: 1,
            evictions: 0,
        };
        for step in 0..340_000i64 {
            counters.step(&random, 1000);
            let held = Held {
                places: limit_partition.places(),
                pool: &&pool,
                now_us: step * 20,
                evictions: &evicted_limits,
            };
            limit_step(&held, &random, 700);
            if step % 5000 == 0 {
                check(&counters, &limit_partition, &pool);
            }
        }
        check(&counters, &limit_partition, &pool);
        assert!(places >= 1000 || counters.evictions > 1000, "{} evictions", counters.evictions);
    }
}
