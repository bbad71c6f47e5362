//! Sketches grow by sizes: what they hold stays, they take no more than they need, and where there is no memory they go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use counter_ext_memory_model::plain::room::bodies::{CLASS_BYTES, WHOLE_PAGE};
use counter_ext_memory_model::plain::sketches::contents::{MAX_HASHES, Rank, max_hashes};
use counter_ext_memory_model::plain::sketches::entry::{OWN_WORDS, SketchHead, WholeKey};
use counter_ext_memory_model::plain::sketches::held::{Held, REGISTERS, Visits, class_for};
use counter_ext_memory_model::simulated::{Partition, SimulatedPool};
use proptest::prelude::*;

fn rank(hash: u64) -> Rank {
    Rank { register: hash as usize % REGISTERS, rank: (hash >> 14).trailing_zeros().min(30) as u8 + 1 }
}

struct Simulated {
    partition: Partition<SketchHead>,
    pool: SimulatedPool,
    next_generation: AtomicU64,
    evictions: AtomicU64,
}

impl Simulated {
    fn new(places: usize, pages: usize, reserved: usize) -> Simulated {
        Simulated {
            partition: Partition::new(places),
            pool: SimulatedPool::new(pages, reserved),
            next_generation: AtomicU64::new(1),
            evictions: AtomicU64::new(0),
        }
    }

    fn held(&self) -> Held<'_, &SimulatedPool> {
        Held {
            places: self.partition.places(),
            pool: &self.pool,
            next_generation: &self.next_generation,
            evictions: &self.evictions,
            rank,
        }
    }

    /// A loaded entry, empty; `None` where there is no room.
    fn make(&self, number: u32) -> Option<u32> {
        let id = number.to_le_bytes();
        let (index, _) = self.held().begin(key(number, &id), 0)?;
        self.held().head(index).finish_load();
        Some(index)
    }

    fn find(&self, number: u32) -> Option<u32> {
        self.held().find(key(number, &number.to_le_bytes()))
    }

    /// Bytes of an entry's body.
    fn bytes(&self, index: u32) -> usize {
        self.held().head(index).table().body().map_or(0, |(_, class)| CLASS_BYTES[class])
    }
}

fn key(number: u32, id: &[u8]) -> WholeKey<'_> {
    WholeKey {
        hash: u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        database: 1,
        relation: 2,
        day: 3,
        id,
    }
}

#[test]
fn a_size_holds_what_it_was_chosen_for() {
    for hashes in 1..=MAX_HASHES {
        let class = class_for(hashes);
        assert!(max_hashes(CLASS_BYTES[class] / 8) >= hashes);
        assert!(
            class == 0 || max_hashes(CLASS_BYTES[class - 1] / 8) < hashes,
            "{hashes} would fit a smaller one"
        );
    }
    assert_eq!(class_for(MAX_HASHES + 1), WHOLE_PAGE);
}

/// 128 bytes up to four visitors, 192 up to eight, half a kilobyte for forty.
#[test]
fn a_sketch_takes_what_its_visitors_need() {
    let sketches = Simulated::new(4, 8, 1);
    let index = sketches.make(1).unwrap();
    let sizes: Vec<(usize, usize)> = (1..=2000usize)
        .map(|visitors| {
            assert!(
                sketches.held().take_in(index, Visits::Hashes(&[(visitors as i64) << 41 | visitors as i64]))
            );
            (visitors, sketches.bytes(index))
        })
        .collect();
    let largest =
        |bytes: usize| sizes.iter().filter(|(_, size)| *size == bytes).map(|(visitors, _)| *visitors).max();
    assert_eq!(largest(0), Some(OWN_WORDS));
    let expected =
        [(64, 8), (128, 16), (256, 20), (512, 40), (1024, 80), (1600, 125), (4096, 320), (8192, 640)];
    for (bytes, visitors) in expected {
        assert_eq!(largest(bytes), Some(visitors), "in {bytes} bytes");
    }
    assert_eq!(largest(CLASS_BYTES[WHOLE_PAGE]), Some(2000));
    assert!(sketches.held().contents(index).are_registers());
    sketches.held().forget(index);
    assert_eq!(sketches.pool.bodies().bytes_in_use(), 0);
}

#[test]
fn many_small_ones_do_not_keep_a_large_one_out() {
    let sketches = Simulated::new(5000, 10, 2);
    for number in 0..4000 {
        let index = sketches.make(number).expect("there are places");
        let hashes = [1, 2, 3, 4, 5, 6].map(|hash| hash << 40 | i64::from(number));
        sketches.held().take_in(index, Visits::Hashes(&hashes));
    }
    let large = sketches.make(9999).expect("a place");
    let registers = vec![3; REGISTERS];
    assert!(sketches.held().take_in(large, Visits::Registers(&registers)));
    let second = sketches.make(9998).expect("a place");
    assert!(sketches.held().take_in(second, Visits::Registers(&registers)));
    // The third takes the place of one that was not used lately, in two rounds of the clock.
    let third = (0..200).any(|_| {
        let index = sketches.find(9997).or_else(|| sketches.make(9997)).expect("a place");
        sketches.held().take_in(index, Visits::Registers(&registers))
    });
    assert!(third && (sketches.find(9999).is_none() || sketches.find(9998).is_none()));
}

proptest! {
    /// Beside sets: whoever was added is held, nobody else is while a sketch is exact, and what has no memory is gone whole.
    #[test]
    fn sketches_hold_what_was_added_or_go(
        (places, pages, reserved) in prop_oneof![Just((40usize, 30usize, 12usize)), Just((6, 4, 1)), Just((20, 1, 0)), Just((20, 0, 0))],
        steps in prop::collection::vec((0u32..12, 0u8..20, prop_oneof![6 => 0usize..3, 2 => 3usize..50, 1 => 300usize..900], any::<u64>()), 1..150),
    ) {
        let sketches = Simulated::new(places, pages, reserved);
        let mut model: Vec<Option<BTreeSet<u64>>> = vec![None; 12];
        for (number, kind, count, seed) in steps {
            let seen = &mut model[number as usize];
            let found = sketches.find(number);
            // Others' growth may have taken it away.
            if found.is_none() {
                *seen = None;
            }
            let Some(index) = found.or_else(|| sketches.make(number)) else { continue };
            let seen = seen.get_or_insert_default();
            let hashes: Vec<i64> = (0..count as u64).map(|at| (seed.wrapping_mul(at.wrapping_mul(2) + 3) >> (kind % 8)) as i64).collect();
            if kind == 0 {
                sketches.held().forget(index);
            } else if sketches.held().raise(index, Visits::Hashes(&hashes)) || sketches.held().take_in(index, Visits::Hashes(&hashes)) {
                seen.extend(hashes.iter().map(|hash| *hash as u64));
                let held = sketches.held();
                let contents = held.contents(index);
                prop_assert!(seen.iter().all(|hash| contents.holds(*hash)));
                if !contents.are_registers() {
                    prop_assert_eq!(contents.table().hashes() + usize::from(contents.table().has_zero()), seen.len());
                    prop_assert!(!contents.holds(seed ^ 0x5555) || seen.contains(&(seed ^ 0x5555)));
                    // A body of a size or two more only where there was none.
                    prop_assert!(pages < 30 || sketches.bytes(index) <= CLASS_BYTES[class_for(seen.len())] * 4);
                }
            }
            if sketches.find(number).is_none() {
                model[number as usize] = None;
            }
        }
        let held = sketches.held();
        for index in (0..held.places.touched()).filter(|index| !held.head(*index).is_free()) {
            held.forget(index);
        }
        prop_assert_eq!(sketches.pool.bodies().bytes_in_use(), 0);
        prop_assert!(sketches.evictions.load(Ordering::Relaxed) == 0 || places < 40 || pages < 30);
    }
}
