//! A partition of limits in a simulated segment: floods, databases beside each other, and windows against the log of what was granted.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use counter_ext_memory_model::plain::limits::entry::LimitHead;
use counter_ext_memory_model::plain::limits::held::{Held, Sought, Took};
use counter_ext_memory_model::plain::limits::key::{Fingerprint, LimitKey, LimitSubject, Request};
use counter_ext_memory_model::plain::room::bodies::CLASS_BYTES;
use counter_ext_memory_model::plain::room::places::Head;
use counter_ext_memory_model::plain::window::INSTANTS;
use counter_ext_memory_model::simulated::{Partition, SimulatedPool};
use proptest::prelude::*;

const SEEDS: [u64; 4] = [1, 2, 3, 4];

struct Simulated {
    partition: Partition<LimitHead>,
    pool: SimulatedPool,
    now_us: Cell<i64>,
    evictions: AtomicU64,
}

impl Simulated {
    fn new(places: usize, pages: usize) -> Simulated {
        Simulated {
            partition: Partition::new(places),
            pool: SimulatedPool::new(pages, 0),
            now_us: Cell::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Held<'_, &SimulatedPool>) -> T) -> T {
        let places = self.partition.places();
        let now_us = places.now_us(self.now_us.get());
        work(&Held { places, pool: &&self.pool, now_us, evictions: &self.evictions })
    }

    fn take(&self, request: &Request<'_>) -> Took {
        let fingerprint = Fingerprint::new(&request.key, SEEDS);
        self.with(|held| match held.seek(request, fingerprint) {
            Sought::At(index) => {
                let took = held.take(index, request);
                held.settle(fingerprint);
                took
            }
            Sought::Nowhere if request.asked() > request.max => Took::No,
            Sought::Nowhere => Took::Yes,
            Sought::NoRoom => Took::NoRoom,
        })
    }

    /// Counts and bytes are what the entries add up to.
    fn check(&self) {
        let heads = || self.partition.heads.iter().filter(|head| !head.is_free());
        assert_eq!(self.partition.places().held() as usize, heads().count());
        for database in 0..4 {
            let of_it = heads().filter(|head| head.database() == database).count();
            assert_eq!(self.partition.places().held_by(database) as usize, of_it, "database {database}");
        }
        let classes = heads().filter_map(|head| head.body()).map(|body| self.pool.bodies().class(body));
        let bytes: usize = classes.map(|class| CLASS_BYTES[class]).sum();
        assert_eq!(self.pool.bodies().bytes_in_use(), bytes as u64);
        assert!(heads().all(|head| !head.is_pinned()));
    }
}

fn request(key: &[u8], database: u32, max: u64, cost: u64) -> Request<'_> {
    let key = LimitKey { database, subject: LimitSubject::Key(key), per_us: 1_000_000 };
    Request { key, max, cost }
}

const HOUR_US: i64 = 3_600_000_000;

#[test]
fn a_flood_of_keys_seen_once_locks_nobody_out_and_lets_nobody_off() {
    let limits = Simulated::new(1000, 4);
    let over = request(b"over", 1, 5, 1);
    let taken: Vec<Took> = (0..6).map(|_| limits.take(&over)).collect();
    assert_eq!(taken, [Took::Yes, Took::Yes, Took::Yes, Took::Yes, Took::Yes, Took::No]);
    let half_used = request(b"half", 1, 100, 50);
    assert_eq!(limits.take(&half_used), Took::Yes);
    let flood = |from: u32, maxes: [u64; 3]| {
        for number in from..from + 100_000 {
            limits.now_us.set(i64::from(number) / 1000);
            let max = maxes[number as usize % 3];
            assert_eq!(
                limits.take(&request(&number.to_le_bytes(), 1, max, 1)),
                Took::Yes,
                "newcomer {number}"
            );
        }
    };
    flood(0, [2, 5, 1000]);
    assert_eq!(
        limits.evictions.load(Ordering::Relaxed),
        100_002 - u64::from(limits.partition.places().held())
    );
    assert_eq!(limits.take(&over), Took::No);
    assert_eq!(
        limits.take(&request(b"half", 1, 100, 51)),
        Took::No,
        "who used half goes after who used less"
    );
    // Who used all of a maximum of one at once was not refused, and goes in the end.
    flood(100_000, [1; 3]);
    assert_eq!(limits.take(&over), Took::No);
    limits.check();
}

#[test]
fn keys_that_are_all_over_their_limit_stay_until_their_time() {
    let limits = Simulated::new(170, 4);
    let key = |number: u32| number.to_le_bytes();
    let mut held = 0;
    for number in 0..300 {
        let key = key(number);
        match limits.take(&request(&key, 1, 1, 1)) {
            Took::Yes => held += 1,
            took => assert_eq!(took, Took::NoRoom),
        }
        limits.take(&request(&key, 1, 1, 1));
    }
    assert_eq!(held, 160, "of {} places", limits.partition.heads.len());
    let peek = Request { cost: 0, ..request(b"new", 1, 1, 1) };
    assert_eq!(limits.take(&peek), Took::NoRoom);
    // Newcomers of other databases have the rest, and then take from whoever holds most.
    for number in 1000..1040 {
        let key = key(number);
        assert_eq!(limits.take(&request(&key, 2, 1, 1)), Took::Yes, "of the other database, {number}");
        assert_eq!(limits.take(&request(&key, 2, 1, 1)), Took::No);
    }
    limits.check();
    limits.now_us.set(1_000_000);
    assert_eq!(limits.take(&request(b"new", 1, 1, 1)), Took::Yes);
    limits.check();
}

#[test]
fn a_database_with_few_of_the_places_finds_one_of_its_own() {
    let limits = Simulated::new(2000, 4);
    let mut number = 0u32;
    let mut newcomer = |database| {
        number += 1;
        assert_eq!(limits.take(&request(&number.to_le_bytes(), database, 9, 1)), Took::Yes, "{number}");
    };
    // One holds a tenth, eleven others less each, and nothing is free.
    (0..200).for_each(|_| newcomer(1));
    (0..1800).for_each(|turn| newcomer(2 + turn % 11));
    (0..20_000).for_each(|_| newcomer(1));
    assert!(
        (200..260).contains(&limits.partition.places().held_by(1)),
        "{}",
        limits.partition.places().held_by(1)
    );
    (2..13).for_each(|database| assert!(limits.partition.places().held_by(database) > 100, "{database}"));
    limits.check();
}

#[test]
fn a_key_is_forgotten_with_all_its_periods_and_a_database_with_all_its_keys() {
    let limits = Simulated::new(64, 4);
    for per_us in [10, 20, 30] {
        for (key, database) in [(b"a", 1), (b"b", 1), (b"a", 2)] {
            let key = LimitKey { per_us, ..request(key, database, 1, 1).key };
            assert_eq!(limits.take(&Request { key, max: 9, cost: 3 }), Took::Yes);
        }
    }
    let low = |key, database| Fingerprint::new(&request(key, database, 1, 1).key, SEEDS).low;
    assert_eq!(limits.with(|held| held.in_use(0, 64)), (9, 0));
    assert!(limits.with(|held| held.forget(low(b"a", 1), 1)));
    assert!(!limits.with(|held| held.forget(low(b"a", 1), 1)));
    assert_eq!(limits.with(|held| held.in_use(0, 64)), (6, 0));
    limits.with(|held| held.purge(2, 0, 64));
    assert_eq!(limits.with(|held| held.in_use(0, 64)), (3, 0));
    limits.now_us.set(15);
    assert_eq!(limits.with(|held| held.in_use(0, 64)), (2, 0));
    limits.now_us.set(30);
    assert!(!limits.with(|held| held.forget(low(b"b", 1), 1)), "its time has passed");
    limits.check();
}

#[test]
fn an_interval_begins_again_when_it_is_over_or_given_back() {
    let limits = Simulated::new(8, 0);
    let at_item = LimitKey {
        database: 1,
        subject: LimitSubject::ActorAtItem { id: b"i", actor: b"a" },
        per_us: HOUR_US,
    };
    let fingerprint = Fingerprint::new(&at_item, SEEDS);
    assert_eq!(limits.with(|held| held.begin_interval(fingerprint, HOUR_US)), Ok(HOUR_US));
    assert_eq!(limits.with(|held| held.begin_interval(fingerprint, HOUR_US)), Err(Took::No));
    assert_eq!(limits.with(|held| held.in_use(0, 8)), (0, 1));
    limits.with(|held| held.give_back_interval(fingerprint, 7));
    assert_eq!(limits.with(|held| held.begin_interval(fingerprint, HOUR_US)), Err(Took::No));
    limits.with(|held| held.give_back_interval(fingerprint, HOUR_US));
    limits.now_us.set(5);
    assert_eq!(limits.with(|held| held.begin_interval(fingerprint, HOUR_US)), Ok(HOUR_US + 5));
    limits.now_us.set(HOUR_US + 5);
    assert_eq!(limits.with(|held| held.begin_interval(fingerprint, HOUR_US)), Ok(2 * HOUR_US + 5));
    limits.check();
}

/// What was granted, by key, in what time is kept.
type Log = BTreeMap<(u32, u8), VecDeque<(i64, u64)>>;

proptest! {
    /// While there are places and bodies enough, every window is the exact log of its grants, however it grows and shrinks. Where
    /// there are not, a window that stays still never lets too much through.
    #[test]
    fn windows_are_exact_where_there_is_room_and_strict_where_there_is_not(
        places in prop_oneof![Just(6usize), Just(400)],
        pages in prop_oneof![Just(0usize), Just(1), Just(60)],
        steps in prop::collection::vec((0u32..4, 1u32..3, 0u8..12, 0i64..300_000, 0u64..70, prop_oneof![9 => 1u64..4, 1 => Just(1 << 33)]), 1..900),
    ) {
        const PER_US: i64 = 1_000_000;
        let limits = Simulated::new(places, pages);
        let mut log = Log::new();
        let is_exact = places == 400 && pages == 60;
        for (kind, database, key, pause, max, cost) in steps {
            limits.now_us.set(limits.now_us.get() + pause * i64::from(kind == 0));
            let now_us = limits.now_us.get();
            let key_bytes = [key];
            let max = if cost > 1000 { max << 33 } else { max };
            let request = request(&key_bytes, database, max, cost);
            let fingerprint = Fingerprint::new(&request.key, SEEDS);
            // Whoever was evicted begins anew.
            if limits.with(|held| held.find(fingerprint)).is_none() {
                if is_exact && let Some(old) = log.get(&(database, key)) {
                    prop_assert!(old.iter().all(|(at, _)| now_us - at >= PER_US), "evicted without need");
                }
                log.remove(&(database, key));
            }
            let grants = log.entry((database, key)).or_default();
            grants.retain(|(at, _)| now_us - at < PER_US);
            let used: u64 = grants.iter().map(|(_, cost)| cost).sum();
            let mut instants: Vec<i64> = grants.iter().map(|(at, _)| *at).collect();
            instants.dedup();
            let took = limits.take(&request);
            if took == Took::Yes {
                prop_assert!(used + cost <= max, "{used} + {cost} > {max}");
                grants.push_back((now_us, cost));
            }
            if is_exact && instants.len() < INSTANTS {
                prop_assert_eq!(took == Took::Yes, used + cost <= max);
            }
            prop_assert!(took != Took::NoRoom || !is_exact);
            limits.check();
        }
    }
}
