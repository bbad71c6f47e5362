//! What the entry of a limit holds. Plain Rust.
//!
//! Half a cache line: whose it is, until when it limits anybody, and what was taken if that was at one instant. The window of more
//! instants is a body, as large as it needs to be. Keys are not stored: an entry belongs to a key if it has the key's database
//! and fingerprint.
//!
//! Contract: used under the partition's exclusive lock.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::super::room::bodies::Body;
use super::super::room::places::Head;
use super::key::Fingerprint;

/// That of a key that was refused: it is over its limit.
pub const OVER: u8 = u8::MAX;

#[repr(C)]
#[derive(Debug, Default)]
pub struct LimitHead {
    low: AtomicU64,
    high: AtomicU32,
    /// 0 while the place is free.
    database: AtomicU32,
    /// From then on nothing is taken any more.
    until_us: AtomicI64,
    /// The body of the window, or what was taken at its one instant.
    held: AtomicU32,
    /// The next of its chain, three flags, and how much of the limit is used, as `use_level` says.
    word: AtomicU32,
}

const _: () = assert!(size_of::<LimitHead>() == 32);

const NEXT_BITS: u32 = 21;
const NEXT: u32 = (1 << NEXT_BITS) - 1;
const HAS_BODY: u32 = 1 << NEXT_BITS;
const IS_INTERVAL: u32 = 2 << NEXT_BITS;
const IS_PINNED: u32 = 4 << NEXT_BITS;
const LEVEL_SHIFT: u32 = NEXT_BITS + 3;

/// Places that a partition may have.
pub const MOST_PLACES: usize = NEXT as usize - 1;

impl Head for LimitHead {
    fn hash(&self) -> u64 {
        self.low.load(Ordering::Relaxed)
    }

    fn database(&self) -> u32 {
        self.database.load(Ordering::Relaxed)
    }

    fn next(&self) -> u32 {
        self.word.load(Ordering::Relaxed) & NEXT
    }

    fn set_next(&self, next: u32) {
        self.replace(NEXT, next);
    }
}

impl LimitHead {
    /// The place is a key's, which has taken nothing, and is pinned.
    pub fn begin(&self, of: Fingerprint) {
        self.low.store(of.low, Ordering::Relaxed);
        self.high.store(of.high, Ordering::Relaxed);
        self.database.store(of.database, Ordering::Relaxed);
        self.until_us.store(i64::MIN, Ordering::Relaxed);
        self.held.store(0, Ordering::Relaxed);
        self.word.store(IS_PINNED, Ordering::Relaxed);
    }

    /// The place is nobody's.
    pub fn end(&self) {
        self.begin(Fingerprint::default());
    }

    pub fn is_free(&self) -> bool {
        self.database() == 0
    }

    pub fn is_of(&self, wanted: Fingerprint) -> bool {
        self.is_of_subject(wanted.low, wanted.database) && self.high.load(Ordering::Relaxed) == wanted.high
    }

    /// Whether it is of a subject, in windows of whatever length.
    pub fn is_of_subject(&self, low: u64, database: u32) -> bool {
        self.hash() == low && self.database() == database
    }

    pub fn until_us(&self) -> i64 {
        self.until_us.load(Ordering::Relaxed)
    }

    pub fn set_until_us(&self, until_us: i64) {
        self.until_us.store(until_us, Ordering::Relaxed);
    }

    pub fn body(&self) -> Option<Body> {
        if self.has(HAS_BODY) { Body::from_bits(self.held.load(Ordering::Relaxed)) } else { None }
    }

    pub fn set_body(&self, body: Body) {
        self.held.store(body.bits(), Ordering::Relaxed);
        self.replace(HAS_BODY, HAS_BODY);
    }

    /// What was taken at the one instant of a window that has no body.
    pub fn cost(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// The window has no body.
    pub fn set_cost(&self, cost: u32) {
        self.held.store(cost, Ordering::Relaxed);
        self.replace(HAS_BODY, 0);
    }

    /// It limits a minimum interval, and has no body.
    pub fn note_interval(&self) {
        self.replace(IS_INTERVAL, IS_INTERVAL);
    }

    pub fn is_interval(&self) -> bool {
        self.has(IS_INTERVAL)
    }

    /// Nobody gives the place away before it is unpinned.
    pub fn pin(&self) {
        self.replace(IS_PINNED, IS_PINNED);
    }

    pub fn unpin(&self) {
        self.replace(IS_PINNED, 0);
    }

    pub fn is_pinned(&self) -> bool {
        self.has(IS_PINNED)
    }

    pub fn level(&self) -> u8 {
        (self.word.load(Ordering::Relaxed) >> LEVEL_SHIFT) as u8
    }

    pub fn set_level(&self, level: u8) {
        self.replace(u32::MAX << LEVEL_SHIFT, u32::from(level) << LEVEL_SHIFT);
    }

    fn has(&self, flag: u32) -> bool {
        self.word.load(Ordering::Relaxed) & flag != 0
    }

    fn replace(&self, mask: u32, by: u32) {
        let word = self.word.load(Ordering::Relaxed);
        self.word.store(word & !mask | by, Ordering::Relaxed);
    }
}

/// How much of a limit is used, for who has to choose whom to forget: by eighths of the maximum, then by the magnitude of what is used.
/// Below `OVER`.
pub fn use_level(used: u64, max: u64) -> u8 {
    const EIGHTHS: u64 = 7;
    const MAGNITUDES: u32 = 31;
    let eighths = match used.checked_mul(EIGHTHS) {
        _ if used >= max => EIGHTHS,
        Some(product) => product / max,
        None => (u128::from(used) * u128::from(EIGHTHS) / u128::from(max)) as u64,
    };
    let magnitude = used.max(1).ilog2().min(MAGNITUDES - 1);
    eighths as u8 * (MAGNITUDES + 1) as u8 + magnitude as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_parts_of_a_word_are_apart() {
        let head = LimitHead::default();
        head.begin(Fingerprint { low: 1, high: 2, database: 3 });
        head.set_next(NEXT);
        head.set_level(200);
        head.note_interval();
        head.set_cost(7);
        assert_eq!((head.next(), head.level(), head.cost(), head.body()), (NEXT, 200, 7, None));
        head.set_body(Body::from_bits(9).unwrap());
        head.unpin();
        head.set_next(5);
        assert_eq!((head.next(), head.level(), head.body()), (5, 200, Body::from_bits(9)));
        assert!(head.is_interval() && !head.is_pinned() && !head.is_free());
    }

    proptest! {
        #[test]
        fn who_has_used_more_is_higher_and_nobody_is_over_who_was_not_refused(
            max in 1..=i64::MAX as u64, used: u64, more: u64,
        ) {
            let (less, more) = (used.min(more), used.max(more));
            prop_assert!(use_level(less, max) <= use_level(more, max));
            prop_assert!(use_level(more, max) < OVER);
            prop_assert!(use_level(1, max) <= use_level(max, max));
        }
    }
}
