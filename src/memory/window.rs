//! A sliding window remembers what was granted in the last `per_us` microseconds, so that grants never add up to more than a
//! maximum in any interval of that length. Plain Rust; the time is a parameter, and never goes back.
//!
//! A log of grants (the "sliding window log" of rate limiting) in bounded space. While the window holds grants of at most
//! `INSTANTS` different microseconds it is the exact log. Where there are more, the two neighbours that lie closest become one at the
//! **later** of their instants: what is remembered too long can refuse a request that would have fitted, never let one
//! more through.
//!
//! How much too long: when `INSTANTS` entries lie in a window, its `INSTANTS / 2` disjoint pairs of neighbours share `per` and
//! the span of the first entry, so the closest pair spans at most (per + span) / (INSTANTS / 2), from which follows
//! span ≤ per / (INSTANTS / 2 - 1): a grant is forgotten at most per / 31 late.
//!
//! The closest pair is looked for among all only where it may be another one than the last. Uniting neighbours, and forgetting the oldest, brings no
//! pair closer together than the closest was, so a pair that has come since and is no wider is the closest. Where calls come fast that
//! one is found at once, nearly always.
//!
//! A window lies in words that its owner provides, as many as it needs: two, and three an instant. Who has no more for it keeps a
//! window that unites sooner.
//!
//! Contract: the words are used under a lock that its owner holds exclusively.

use std::sync::atomic::{AtomicU64, Ordering};

/// Different instants that a window remembers.
pub const INSTANTS: usize = 64;

/// Words before those of the instants: what the grants add up to; and how many they are (16 bits), at which place of the ring the first is
/// (16 bits), and how wide at least all pairs of neighbours are but the last, in units of `span_unit` (32 bits).
const HEADER_WORDS: usize = 2;
const FIRST_SHIFT: u32 = 16;
const WIDTH_SHIFT: u32 = 32;
/// When the last of those was granted that are united here; what they cost; how long before that the first one was, in units of
/// `span_unit`.
const WORDS_AN_INSTANT: usize = 3;

/// Words that a window of so many instants takes.
pub const fn words_for(instants: usize) -> usize {
    HEADER_WORDS + WORDS_AN_INSTANT * instants
}

/// What a caller can be told of a window, as of an instant, if nobody else takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// What more fits now.
    pub remaining: u64,
    /// Until nothing is taken any more.
    pub reset_in_us: i64,
    /// Until what was asked for fits; `None` if it is more than the maximum.
    pub fits_in_us: Option<i64>,
}

impl Outlook {
    /// That of a window that nothing was taken from.
    pub fn of_nothing(max: u64, asked: u64) -> Outlook {
        Outlook { remaining: max, reset_in_us: 0, fits_in_us: (asked <= max).then_some(0) }
    }
}

/// Spans are short of `per_us`, so in this unit they fit 32 bits.
fn span_unit(per_us: i64) -> i64 {
    (per_us >> 32) + 1
}

/// What was granted at one instant, or at several instants that were united into one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// When the last of them was granted.
    pub at_us: i64,
    pub cost: u64,
    span: u64,
}

/// From the first instant that is in one of two neighbours to the last that is in the other.
fn width(earlier: Grant, later: Grant, unit: i64) -> i64 {
    (later.at_us - earlier.at_us) + (earlier.span as i64).saturating_mul(unit)
}

/// A window in words whose owner has cleared them before its first use. Grants lie in a ring, in the order of time.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    words: &'a [AtomicU64],
    /// Instants that it has words for.
    capacity: usize,
}

impl<'a> Window<'a> {
    /// `words` are those of at least two instants.
    pub fn new(words: &'a [AtomicU64]) -> Window<'a> {
        debug_assert!(words.len() >= words_for(2));
        let capacity = ((words.len() - HEADER_WORDS) / WORDS_AN_INSTANT).min(INSTANTS);
        Window { words, capacity }
    }

    pub fn clear(&self) {
        self.set(0, 0);
        self.set(1, 0);
    }

    /// A cleared window that has had one grant.
    pub fn begin_with(&self, at_us: i64, cost: u64) {
        self.clear();
        self.append(Grant { at_us, cost, span: 0 });
    }

    /// Clears another window and puts the same into it. That has room for at least as many instants.
    pub fn copy_to(&self, other: &Window<'_>) {
        other.clear();
        (0..self.instants()).for_each(|number| other.append(self.grant(number)));
    }

    /// Whether, with `cost` more, no more than `max` has been granted since `per_us` ago. `max` may be another one each time.
    pub fn has_room(&self, now_us: i64, per_us: i64, max: u64, cost: u64) -> bool {
        self.forget_before(now_us, per_us);
        self.fits(max, cost)
    }

    /// Whether a grant at this instant makes it unite others first, so that it had better have more words.
    pub fn is_full_at(&self, now_us: i64) -> bool {
        let len = self.instants();
        len == self.capacity() && self.grant(len - 1).at_us != now_us
    }

    /// Gives back what was taken, the oldest first, and no more than there is. What is left is then remembered at least as long as
    /// if those grants had been forgotten that are given back, whichever they are.
    pub fn give_back(&self, now_us: i64, per_us: i64, cost: u64) {
        self.forget_before(now_us, per_us);
        let mut left = cost.min(self.used());
        self.set(0, self.used() - left);
        let mut gone = 0;
        while left > 0 {
            let grant = self.grant(gone);
            if grant.cost > left {
                self.set_grant(gone, Grant { cost: grant.cost - left, ..grant });
                break;
            }
            left -= grant.cost;
            gone += 1;
        }
        self.forget_first(gone);
    }

    /// What there is to tell at an instant that `has_room` or `give_back` has just been called for.
    pub fn outlook(&self, now_us: i64, per_us: i64, max: u64, asked: u64) -> Outlook {
        let until_forgotten = |grant: Grant| grant.at_us.saturating_add(per_us) - now_us;
        let fits_in_us = if self.fits(max, asked) {
            Some(0)
        } else if asked > max {
            None
        } else {
            let mut used = self.used();
            let last_in_the_way = (0..self.instants()).map(|number| self.grant(number)).find(|grant| {
                used -= grant.cost;
                used <= max - asked
            });
            last_in_the_way.map(until_forgotten)
        };
        Outlook {
            remaining: max.saturating_sub(self.used()),
            reset_in_us: self.last().map_or(0, until_forgotten),
            fits_in_us,
        }
    }

    /// When everything granted so far will have been forgotten.
    pub fn empty_at_us(&self, per_us: i64) -> i64 {
        self.last().map_or(i64::MIN, |last| last.at_us.saturating_add(per_us))
    }

    /// What the grants add up to: at most `i64::MAX`, as every maximum is.
    pub fn used(&self) -> u64 {
        self.get(0)
    }

    /// Instants that it remembers now.
    pub fn instants(&self) -> usize {
        usize::from(self.get(1) as u16).min(self.capacity())
    }

    pub fn last(&self) -> Option<Grant> {
        self.instants().checked_sub(1).map(|last| self.grant(last))
    }

    /// Instants that it has words for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn fits(&self, max: u64, cost: u64) -> bool {
        let used = self.used();
        used <= max && cost <= max - used
    }

    /// Forgets what is `per_us` old.
    pub fn forget_before(&self, now_us: i64, per_us: i64) {
        let (mut gone, mut cost) = (0, 0);
        while gone < self.instants() {
            let grant = self.grant(gone);
            if now_us - grant.at_us < per_us {
                break;
            }
            cost += grant.cost;
            gone += 1;
        }
        if gone > 0 {
            self.set(0, self.used() - cost);
            self.forget_first(gone);
        }
    }

    /// Notes a grant that fits.
    pub fn note(&self, now_us: i64, per_us: i64, cost: u64) {
        if let Some(last) = self.last()
            && last.at_us == now_us
        {
            self.set(0, self.used() + cost);
            self.set_grant(self.instants() - 1, Grant { cost: last.cost + cost, ..last });
            return;
        }
        let grant = Grant { at_us: now_us, cost, span: 0 };
        if self.instants() == self.capacity() {
            self.unite_closest(per_us);
            let width = self.least_width();
            self.append(grant);
            self.set_least_width(width);
        } else {
            self.append(grant);
        }
    }

    /// Makes one of the two neighbours that lie closest.
    pub fn unite_closest(&self, per_us: i64) {
        let unit = span_unit(per_us);
        let len = self.instants();
        if len < 2 {
            return;
        }
        let last = len - 2;
        let width = width(self.grant(last), self.grant(last + 1), unit);
        if width <= (self.least_width() as i64).saturating_mul(unit) {
            self.unite(last, width, unit);
            return;
        }
        let (first, width) = self.closest(unit);
        self.unite(first, width, unit);
        self.set_least_width((width / unit) as u64);
    }

    /// Which pair of neighbours lies closest, by the number of its first, and how wide it is.
    fn closest(&self, unit: i64) -> (usize, i64) {
        let mut closest = (0, i64::MAX);
        let mut earlier = self.grant(0);
        let mut place = self.first();
        for first in 0..self.instants() - 1 {
            place = if place + 1 < self.capacity { place + 1 } else { 0 };
            let later = self.grant_at(HEADER_WORDS + WORDS_AN_INSTANT * place);
            let width = width(earlier, later, unit);
            if width < closest.1 {
                closest = (first, width);
            }
            earlier = later;
        }
        closest
    }

    /// Makes one of two neighbours that are so wide together.
    fn unite(&self, first: usize, width: i64, unit: i64) {
        let len = self.instants();
        let (earlier, later) = (self.grant(first), self.grant(first + 1));
        let span = (width as u64).div_ceil(unit as u64).min(u64::from(u32::MAX));
        let united = Grant { at_us: later.at_us, cost: earlier.cost + later.cost, span };
        // The fewer of those before and of those behind close the gap. Where calls come fast the newest lie closest.
        if first < len - 2 - first {
            self.set_grant(first + 1, united);
            for number in (0..first).rev() {
                self.set_grant(number + 1, self.grant(number));
            }
            self.forget_first(1);
        } else {
            self.set_grant(first, united);
            for number in first + 2..len {
                self.set_grant(number - 1, self.grant(number));
            }
            self.set(1, self.get(1) - 1);
        }
    }

    fn append(&self, grant: Grant) {
        let len = self.instants();
        self.set(0, self.used() + grant.cost);
        self.set(1, self.get(1) + 1);
        // Of the pair that was the last nothing is known.
        self.set_least_width(0);
        self.set_grant(len, grant);
    }

    /// What they cost is no longer in `used`.
    fn forget_first(&self, count: usize) {
        let first = self.wrapped(self.first() + count);
        let left = (self.instants() - count) as u64;
        self.set(1, self.least_width() << WIDTH_SHIFT | (first as u64) << FIRST_SHIFT | left);
    }

    /// Of all pairs of neighbours but the last, in units of `span_unit`, rounded down; 0 says nothing.
    fn least_width(&self) -> u64 {
        self.get(1) >> WIDTH_SHIFT
    }

    fn set_least_width(&self, width: u64) {
        let others = self.get(1) & u64::from(u32::MAX);
        self.set(1, width.min(u64::from(u32::MAX)) << WIDTH_SHIFT | others);
    }

    /// Where the ring begins.
    fn first(&self) -> usize {
        self.wrapped(usize::from((self.get(1) >> FIRST_SHIFT) as u16))
    }

    fn wrapped(&self, place: usize) -> usize {
        let capacity = self.capacity();
        if place < capacity { place } else { (place - capacity).min(capacity - 1) }
    }

    fn word_of(&self, number: usize) -> usize {
        HEADER_WORDS + WORDS_AN_INSTANT * self.wrapped(self.first() + number)
    }

    fn grant(&self, number: usize) -> Grant {
        self.grant_at(self.word_of(number))
    }

    fn grant_at(&self, at: usize) -> Grant {
        Grant { at_us: self.get(at) as i64, cost: self.get(at + 1), span: self.get(at + 2) }
    }

    fn set_grant(&self, number: usize, grant: Grant) {
        let at = self.word_of(number);
        self.set(at, grant.at_us as u64);
        self.set(at + 1, grant.cost);
        self.set(at + 2, grant.span);
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Ordering::Relaxed)
    }

    fn set(&self, word: usize, to: u64) {
        self.words[word].store(to, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "window_laws.rs"]
mod tests;
