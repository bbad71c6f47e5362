//! Sketches of many hashes without the hashes.
//!
//! An estimate depends on nothing but how many registers hold each value, and those numbers change by chances that are
//! known exactly. A hundred million hashes then cost as much as the hundred thousand of them that change something.

use crate::hll::estimate::{self, Histogram};

/// Splitmix64: a bijection of a counter, so that one stream never repeats a number.
#[derive(Clone, Debug)]
pub struct Randomness(u64);

impl Randomness {
    /// Streams of neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Randomness {
        Randomness(Randomness(seed).bits())
    }

    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, at most 1.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Its bias of bound / 2^64 is far below anything that is measured here.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }
}

/// How many registers hold each value while distinct hashes are added: exactly as often so as in a real sketch, but for
/// hashes whose 64 - log2m upper bits are all zero, one in 2^50.
#[derive(Clone, Debug)]
pub struct GrowingHistogram {
    log2m: u8,
    regwidth: u8,
    /// Largest value of a register.
    full: u32,
    counts: Histogram,
    /// Sum of `counts[k]` 2^(full - k) below `full`. A hash changes something with a chance of this / 2^(log2m + full).
    unsettled: u64,
    /// The number of the hash that changes something next.
    next_change: u64,
    randomness: Randomness,
}

impl GrowingHistogram {
    /// # Panics
    /// With registers of more than 5 bits: their chances do not fit 64 bits.
    pub fn new(log2m: u8, regwidth: u8, randomness: Randomness) -> GrowingHistogram {
        assert!(regwidth <= 5);
        let full = (1u32 << regwidth) - 1;
        let mut counts = [0; 256];
        counts[0] = 1 << log2m;
        let unsettled = 1 << (u32::from(log2m) + full);
        let mut histogram =
            GrowingHistogram { log2m, regwidth, full, counts, unsettled, next_change: 0, randomness };
        histogram.draw_next_change();
        histogram
    }

    /// Adds distinct hashes until there have been so many.
    pub fn grow_to(&mut self, hashes: u64) {
        while self.next_change <= hashes {
            self.change();
            self.draw_next_change();
        }
    }

    pub fn counts(&self) -> &Histogram {
        &self.counts
    }

    pub fn estimate(&self) -> f64 {
        estimate::estimate(&self.counts, self.log2m, self.regwidth)
    }

    fn draw_next_change(&mut self) {
        let chance = self.unsettled as f64 / (1u64 << (u32::from(self.log2m) + self.full)) as f64;
        // Hashes that change nothing before one that does: geometric. Infinite when all registers are full.
        let skipped = (self.randomness.unit().ln() / (-chance).ln_1p()).floor();
        self.next_change = self.next_change.saturating_add(skipped as u64).saturating_add(1);
    }

    /// A register of value k is hit by a larger one with a chance of 2^-k, and goes to k + j with 2^-j.
    fn change(&mut self) {
        let mut rest = self.randomness.below(self.unsettled);
        let mut value = 0;
        loop {
            let weight = u64::from(self.counts[value as usize]) << (self.full - value);
            if rest < weight {
                break;
            }
            rest -= weight;
            value += 1;
        }
        let raised = (value + self.randomness.bits().trailing_zeros() + 1).min(self.full);
        self.counts[value as usize] -= 1;
        self.counts[raised as usize] += 1;
        self.unsettled -= 1 << (self.full - value);
        if raised < self.full {
            self.unsettled += 1 << (self.full - raised);
        }
    }
}

const DRAWN_VALUES: usize = 32;
const DRAWN_BITS: u32 = DRAWN_VALUES.trailing_zeros();

/// Registers of 5 bits after a Poisson-distributed number of hashes: each is independent of the others, so any number
/// of sketches costs one draw a register, whatever number of hashes they stand for.
#[derive(Clone, Debug)]
pub struct IndependentRegisters {
    log2m: u8,
    /// Walker's alias method: a column is its own value below the threshold, else the other.
    columns: [(u64, usize); DRAWN_VALUES],
}

impl IndependentRegisters {
    pub fn new(log2m: u8, hashes_a_register: f64) -> IndependentRegisters {
        let last = DRAWN_VALUES - 1;
        let at_most = |value: usize| {
            if value == last { 1.0 } else { (-hashes_a_register * 0.5f64.powi(value as i32)).exp() }
        };
        let chances: [f64; DRAWN_VALUES] =
            std::array::from_fn(|value| at_most(value) - if value == 0 { 0.0 } else { at_most(value - 1) });
        IndependentRegisters { log2m, columns: alias_columns(chances) }
    }

    pub fn draw(&self, randomness: &mut Randomness) -> Histogram {
        let mut counts = [0; 256];
        for _ in 0..1u32 << self.log2m {
            let bits = randomness.bits();
            let own = bits as usize % DRAWN_VALUES;
            let (threshold, other) = self.columns[own];
            counts[if bits >> DRAWN_BITS < threshold { own } else { other }] += 1;
        }
        counts
    }
}

fn alias_columns(chances: [f64; DRAWN_VALUES]) -> [(u64, usize); DRAWN_VALUES] {
    let whole = (1u64 << (64 - DRAWN_BITS)) as f64;
    let mut heights = chances.map(|chance| chance * DRAWN_VALUES as f64);
    let mut columns: [(u64, usize); DRAWN_VALUES] = std::array::from_fn(|value| (u64::MAX, value));
    let (mut low, mut high): (Vec<usize>, Vec<usize>) =
        (0..DRAWN_VALUES).partition(|value| heights[*value] < 1.0);
    while let (Some(short), Some(tall)) = (low.pop(), high.pop()) {
        columns[short] = ((heights[short] * whole) as u64, tall);
        heights[tall] -= 1.0 - heights[short];
        if heights[tall] < 1.0 { low.push(tall) } else { high.push(tall) }
    }
    columns
}

/// Relative errors of estimates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors {
    samples: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Errors {
    pub fn add(&mut self, estimate: f64, truth: f64) {
        let error = estimate / truth - 1.0;
        self.samples += 1;
        self.sum += error;
        self.sum_of_squares += error * error;
    }

    pub fn bias(&self) -> f64 {
        self.sum / self.samples as f64
    }

    pub fn rmse(&self) -> f64 {
        (self.sum_of_squares / self.samples as f64).sqrt()
    }
}

/// Whole numbers from the first to the last, so many to a factor of ten.
pub fn log_spaced(first: u64, last: u64, a_decade: u32) -> Vec<u64> {
    let steps = ((last as f64 / first as f64).log10() * f64::from(a_decade)).round() as u32;
    let mut numbers: Vec<u64> = (0..=steps)
        .map(|step| (first as f64 * 10f64.powf(f64::from(step) / f64::from(a_decade))).round() as u64)
        .collect();
    numbers.dedup();
    numbers
}
