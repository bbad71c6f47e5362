//! Which counters and sketches are worth a place in memory: those that are asked for again. Plain Rust.
//!
//! Contract: counts of sightings in words that processes share, as TinyLFU keeps them (Einziger, Friedman, Manes: "TinyLFU: A Highly
//! Efficient Cache Admission Policy", 2017): a count-min sketch of four-bit counts with conservative update, whose counts are halved as
//! time goes on. Everything is relaxed and nothing depends on anything else: a count that is lost, or taken twice, lets a counter in later
//! or earlier, and no more. All the counts of one key lie in one line of the processor's cache.
//!
//! The words age one after the other, one every `SIGHTINGS_PER_WORD` sightings. So a key is let in when it is seen a second time within so
//! many sightings a word as they take to go round, wherever it is in that round: on average within half as many.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts a key has. It has been seen as often as the least of them says, at most.
const ROWS: u32 = 4;
const BITS: u32 = 4;
const COUNTS_PER_WORD: u32 = u64::BITS / BITS;
const MOST: u64 = (1 << BITS) - 1;
/// Words in a line of the cache.
const BLOCK: usize = 8;
/// Sightings after which the next word ages. With as many words as memory has places, a round is four times that, and a key that was
/// never seen is taken for one that was in about one of fifty cases.
const SIGHTINGS_PER_WORD: u64 = 4;

/// Words to have for so many places in memory.
pub fn words_for(places: usize) -> usize {
    places.next_power_of_two().max(BLOCK)
}

/// The counts, wherever they are.
#[derive(Clone, Copy)]
pub struct Doorkeeper<'a> {
    words: &'a [AtomicU64],
    sightings: &'a AtomicU64,
}

impl<'a> Doorkeeper<'a> {
    /// Of as many words as `words_for` says, zeroed once.
    pub fn new(words: &'a [AtomicU64], sightings: &'a AtomicU64) -> Doorkeeper<'a> {
        debug_assert!(words.len().is_power_of_two() && words.len() >= BLOCK);
        Doorkeeper { words, sightings }
    }

    /// Notes that a key was asked for that memory has not. Returns whether it was asked for before, as far as is remembered.
    pub fn see(&self, hash: u64) -> bool {
        self.age();
        let places = self.places(hash);
        let counts = places.map(|(word, shift)| word.load(Ordering::Relaxed) >> shift & MOST);
        let least = counts.into_iter().min().unwrap_or(0);
        if least < MOST {
            for (word, shift) in places {
                let raised = |word: u64| (word >> shift & MOST == least).then(|| word + (1 << shift));
                // One that is above the least already stays.
                let _ = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised);
            }
        }
        least > 0
    }

    /// Where a key's counts are: their words, and how far to the left in them.
    fn places(&self, hash: u64) -> [(&'a AtomicU64, u32); ROWS as usize] {
        let blocks = self.words.len() / BLOCK;
        // The hash is the table's too, which takes its lowest and highest bits; this mixes all of it (MurmurHash3's finalizer).
        let mut mixed = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^= mixed >> 33;
        let first = (mixed as u32 as usize & (blocks - 1)) * BLOCK;
        std::array::from_fn(|row| {
            // Two words for each row, so that no two counts of a key are the same one.
            let part = (mixed >> (32 + 8 * row)) as usize;
            let word = first + 2 * row + (part & 1);
            (&self.words[word], (part as u32 >> 1) % COUNTS_PER_WORD * BITS)
        })
    }

    /// Halves the counts of the next word, when its turn has come.
    fn age(&self) {
        const LOWER_BITS: u64 = 0x7777_7777_7777_7777;
        let sighting = self.sightings.fetch_add(1, Ordering::Relaxed);
        if sighting.is_multiple_of(SIGHTINGS_PER_WORD) {
            let next = (sighting / SIGHTINGS_PER_WORD) as usize & (self.words.len() - 1);
            let word = &self.words[next];
            word.store(word.load(Ordering::Relaxed) >> 1 & LOWER_BITS, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::room::clock;
    use super::*;

    struct Counts {
        words: Vec<AtomicU64>,
        sightings: AtomicU64,
    }

    impl Counts {
        fn of(places: usize) -> Counts {
            let words = (0..words_for(places)).map(|_| AtomicU64::new(0)).collect();
            Counts { words, sightings: AtomicU64::new(0) }
        }

        fn see(&self, key: u64) -> bool {
            Doorkeeper::new(&self.words, &self.sightings).see(hash(key))
        }
    }

    /// SplitMix64.
    fn hash(key: u64) -> u64 {
        let mut mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Numbers from 0 on, the same ones each time.
    struct Random(u64);

    impl Random {
        fn unit(&mut self) -> f64 {
            self.0 += 1;
            hash(self.0) as f64 / u64::MAX as f64
        }

        fn below(&mut self, bound: u64) -> u64 {
            (self.unit() * bound as f64) as u64
        }
    }

    /// Memory with a clock, and a doorkeeper or none.
    struct Cache {
        keys: Vec<u64>,
        used: Vec<bool>,
        at: HashMap<u64, usize>,
        hand: u32,
        doorkeeper: Option<Counts>,
        hits: u32,
        admitted: u32,
    }

    const PLACES: usize = 1024;

    impl Cache {
        fn new(has_doorkeeper: bool) -> Cache {
            Cache {
                keys: Vec::new(),
                used: Vec::new(),
                at: HashMap::new(),
                hand: 0,
                doorkeeper: has_doorkeeper.then(|| Counts::of(PLACES)),
                hits: 0,
                admitted: 0,
            }
        }

        fn ask(&mut self, key: u64) {
            if let Some(index) = self.at.get(&key) {
                self.used[*index] = true;
                self.hits += 1;
                return;
            }
            if self.keys.len() < PLACES {
                self.at.insert(key, self.keys.len());
                self.keys.push(key);
                self.used.push(true);
            } else if self.doorkeeper.as_ref().is_none_or(|door| door.see(key)) {
                let victim = loop {
                    let used = &mut self.used;
                    let swept = clock::sweep(self.hand, PLACES as u32, Some, |index| {
                        !std::mem::take(&mut used[index as usize])
                    });
                    self.hand = swept.hand;
                    if let Some(victim) = swept.victim {
                        break victim as usize;
                    }
                };
                self.at.remove(&self.keys[victim]);
                self.at.insert(key, victim);
                self.keys[victim] = key;
                self.used[victim] = true;
                self.admitted += 1;
            }
        }
    }

    /// By exponent: the least gain of hits, and how many are brought in at most.
    const ZIPF: [(f64, f64, f64); 5] =
        [(0.8, 0.06, 0.12), (0.9, 0.06, 0.11), (1.0, 0.05, 0.10), (1.1, 0.04, 0.08), (1.2, 0.03, 0.06)];

    /// Hit ratios of a trace, and counters brought in for each that was asked for: of a clock alone, and with a doorkeeper.
    fn run(trace: impl Iterator<Item = u64> + Clone) -> [(f64, f64); 2] {
        [false, true].map(|has_doorkeeper| {
            let mut cache = Cache::new(has_doorkeeper);
            let mut asked = 0;
            for key in trace.clone() {
                cache.ask(key);
                asked += 1;
            }
            (f64::from(cache.hits) / f64::from(asked), f64::from(cache.admitted) / f64::from(asked))
        })
    }

    /// `keys` keys by Zipf's law.
    fn zipf(exponent: f64, keys: usize, asked: usize, seed: u64) -> Vec<u64> {
        let mut sums = Vec::with_capacity(keys);
        let mut sum = 0.0;
        for rank in 1..=keys {
            sum += (rank as f64).powf(-exponent);
            sums.push(sum);
        }
        let mut random = Random(seed << 32);
        let mut draw = || {
            let at = random.unit() * sum;
            sums.partition_point(|below| *below < at) as u64
        };
        (0..asked).map(|_| draw()).collect()
    }

    fn assert_better(
        name: &str,
        trace: impl Iterator<Item = u64> + Clone,
        least_gain: f64,
        most_admitted: f64,
    ) {
        let [(alone, _), (kept, admitted)] = run(trace);
        assert!(kept >= alone + least_gain, "{name}: hit ratio {kept} with a doorkeeper, {alone} without");
        assert!(admitted <= most_admitted, "{name}: {admitted} brought in for each that was asked for");
    }

    #[test]
    fn more_hits_and_fewer_loads_than_a_clock_alone_by_zipfs_law() {
        for (exponent, least_gain, most_admitted) in ZIPF {
            let trace = zipf(exponent, 100 * PLACES, 300_000, 1);
            assert_better(&format!("Zipf {exponent}"), trace.iter().copied(), least_gain, most_admitted);
        }
    }

    #[test]
    fn a_scan_does_not_throw_out_what_is_hot() {
        let hot = zipf(1.0, 100 * PLACES, 200_000, 1);
        let scanned = hot.iter().enumerate().flat_map(|(at, key)| [*key, 1_000_000 + at as u64]);
        assert_better("a scan beside Zipf 1.0", scanned, 0.04, 0.08);
    }

    #[test]
    fn what_becomes_hot_comes_in() {
        let hot = zipf(1.0, 100 * PLACES, 300_000, 1);
        let shifting = hot.iter().enumerate().map(|(at, key)| key + (at / 50_000) as u64 * 10_000_000);
        assert_better("shifting Zipf 1.0", shifting, 0.04, 0.10);
    }

    #[test]
    fn what_is_asked_for_once_stays_out() {
        let mut random = Random(3);
        let uniform: Vec<u64> = (0..200_000).map(|_| random.below(100 * PLACES as u64)).collect();
        let [(alone, all), (kept, few)] = run(uniform.iter().copied());
        assert!((kept - alone).abs() < 0.005 && all > 0.9 && few < 0.1, "{kept} {alone} {all} {few}");
    }

    proptest! {
        /// However the sightings of others lie between, within a quarter of a round.
        #[test]
        fn a_key_seen_several_times_soon_after_each_other_is_known(
            places in 1usize..5000, key: u64, others in prop::collection::vec(any::<u64>(), 0..200),
        ) {
            let counts = Counts::of(places);
            counts.see(key);
            counts.see(key);
            counts.see(key);
            // Halved once at most.
            let few = words_for(places) / 4 * SIGHTINGS_PER_WORD as usize;
            others.iter().take(few).for_each(|other| {
                counts.see(*other);
            });
            prop_assert!(counts.see(key));
        }

        #[test]
        fn no_count_runs_over_into_its_neighbour(key: u64, times in 1usize..100) {
            let counts = Counts::of(64);
            for _ in 0..times {
                counts.see(key);
            }
            let raised = counts.words.iter().map(|word| word.load(Ordering::Relaxed));
            let nonzero: u32 = raised.map(|word| (0..16).filter(|at| word >> (at * 4) & 15 != 0).count() as u32).sum();
            prop_assert!(nonzero <= ROWS);
        }

        #[test]
        fn a_key_that_is_not_asked_for_any_more_is_forgotten(places in 1usize..3000, key: u64, times in 1usize..40) {
            let counts = Counts::of(places);
            for _ in 0..times {
                counts.see(key);
            }
            // Four halvings leave nothing.
            let rounds = 5 * words_for(places) as u64 * SIGHTINGS_PER_WORD;
            for _ in 0..rounds {
                Doorkeeper::new(&counts.words, &counts.sightings).age();
            }
            prop_assert!(!counts.see(key));
        }
    }
}
