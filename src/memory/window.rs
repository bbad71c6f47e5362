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
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    /// A window that is given more words whenever it would unite otherwise, as its owner does, and a clock that never goes back.
    #[derive(Debug)]
    struct Growing {
        words: Vec<AtomicU64>,
        latest_us: i64,
    }

    impl Default for Growing {
        fn default() -> Growing {
            Growing { words: words_of(2), latest_us: i64::MIN }
        }
    }

    impl Clone for Growing {
        fn clone(&self) -> Growing {
            let words = self.words.iter().map(|word| AtomicU64::new(word.load(Ordering::Relaxed)));
            Growing { words: words.collect(), latest_us: self.latest_us }
        }
    }

    fn words_of(instants: usize) -> Vec<AtomicU64> {
        (0..words_for(instants)).map(|_| AtomicU64::new(0)).collect()
    }

    impl Growing {
        fn window(&self) -> Window<'_> {
            Window::new(&self.words)
        }

        fn now(&mut self, now: i64) -> i64 {
            self.latest_us = self.latest_us.max(now);
            self.latest_us
        }

        fn take(&mut self, now: i64, per: i64, max: u64, cost: u64) -> bool {
            let now = self.now(now);
            if self.has_room(now, per, max, cost)
                && self.window().is_full_at(now)
                && self.window().capacity() < INSTANTS
            {
                let larger = words_of((self.window().capacity() * 2 + 1).min(INSTANTS));
                self.window().copy_to(&Window::new(&larger));
                self.words = larger;
            }
            let taken = self.has_room(now, per, max, cost);
            if taken {
                self.window().note(now, per, cost);
            }
            taken
        }

        fn has_room(&mut self, now: i64, per: i64, max: u64, cost: u64) -> bool {
            let now = self.now(now);
            self.window().has_room(now, per, max, cost)
        }

        fn give_back(&mut self, now: i64, per: i64, cost: u64) {
            let now = self.now(now);
            self.window().give_back(now, per, cost);
        }

        fn outlook(&self, now: i64, per: i64, max: u64, asked: u64) -> Outlook {
            self.window().outlook(now.max(self.latest_us), per, max, asked)
        }

        fn used(&self) -> u64 {
            self.window().used()
        }
    }

    /// Every grant, for ever.
    #[derive(Default)]
    struct Log(VecDeque<(i64, u64)>);

    impl Log {
        /// Granted in the interval of this length that ends now, now included.
        fn used(&self, now_us: i64, length_us: i64) -> u64 {
            let recent = self.0.iter().rev().take_while(|(at, _)| now_us - at < length_us);
            recent.map(|(_, cost)| *cost).sum()
        }

        /// The oldest of what is in the interval that ends now.
        fn give_back(&mut self, now_us: i64, length_us: i64, cost: u64) {
            let mut left = cost;
            for (_, cost) in self.0.iter_mut().filter(|(at, _)| now_us - at < length_us) {
                let given = left.min(*cost);
                *cost -= given;
                left -= given;
            }
        }

        fn instants(&self, now_us: i64, length_us: i64) -> usize {
            let mut recent: Vec<i64> =
                self.0.iter().map(|(at, _)| *at).filter(|at| now_us - at < length_us).collect();
            recent.dedup();
            recent.len()
        }
    }

    /// Takes, and checks what must hold whatever happens. Each interval of the length that ends at a grant is looked at; any
    /// other has no more in it than one of these.
    fn checked_take(window: &mut Growing, log: &mut Log, now: i64, per: i64, max: u64, cost: u64) -> bool {
        let had_room = window.has_room(now, per, max, cost);
        let taken = window.take(now, per, max, cost);
        assert_eq!(had_room, taken, "has_room foretells take");
        let late = per / (INSTANTS as i64 / 2 - 1) + 4 * span_unit(per);
        if taken {
            log.0.push_back((now, cost));
            assert!(log.used(now, per) <= max, "more than {max} at {now}");
        } else {
            assert!(log.used(now, per + late) + cost > max, "refused too long at {now}");
        }
        let kept = window.window();
        assert_eq!(kept.used(), (0..kept.instants()).map(|number| kept.grant(number).cost).sum::<u64>());
        taken
    }

    proptest! {
        #[test]
        fn never_more_than_the_maximum_and_never_refused_too_long(
            per in prop_oneof![1..50i64, 1000..100_000i64, Just(3600 * SECOND * 24 * 400)],
            max in 0..400u64,
            steps in prop::collection::vec((0..1000i64, 1..4u64, 0..20u32), 1..600),
        ) {
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 5);
            for (step, cost, pause) in steps {
                now += step * per / 40_000 + if pause == 0 { per / 2 } else { i64::from(pause % 2) };
                checked_take(&mut window, &mut log, now, per, max, cost);
            }
        }

        /// Also where it is not looked for among all.
        #[test]
        fn those_are_united_that_lie_closest(
            per in prop_oneof![1000..100_000i64, Just(3600 * SECOND * 24 * 400)],
            instants in 2..12usize,
            steps in prop::collection::vec((0..1000i64, 0..20u32, 0..9u32), 1..600),
        ) {
            let words = words_of(instants);
            let (window, unit, mut now) = (Window::new(&words), span_unit(per), 5);
            let grants = || -> Vec<Grant> { (0..window.instants()).map(|number| window.grant(number)).collect() };
            for (step, pause, kind) in steps {
                now += 1 + step * per / 1_000_000 + if pause == 0 { per / 2 } else { 0 };
                window.forget_before(now, per);
                if kind == 0 {
                    window.give_back(now, per, 1);
                }
                let before = grants();
                window.note(now, per, 1);
                let mut after = grants();
                if before.len() == instants {
                    prop_assert_eq!(after.pop(), Some(Grant { at_us: now, cost: 1, span: 0 }));
                    let at = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
                    let widths = before.windows(2).map(|pair| width(pair[0], pair[1], unit));
                    prop_assert_eq!(widths.clone().nth(at), widths.min(), "{:?} {:?}", before, after);
                    prop_assert_eq!(&after[at + 1..], &before[at + 2..]);
                }
            }
        }

        #[test]
        fn exact_while_its_instants_are_few(
            per in 10..10_000i64,
            max in 1..=INSTANTS as u64,
            steps in prop::collection::vec((0..300i64, 1..4u64), 1..800),
        ) {
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 0);
            for (step, cost) in steps {
                now += step;
                let fits = log.used(now, per) + cost <= max;
                prop_assert!(log.instants(now, per) <= INSTANTS);
                prop_assert_eq!(checked_take(&mut window, &mut log, now, per, max, cost), fits);
            }
        }

        /// What the clock says may jump back; no time that passed can be shorter than what it says at its furthest.
        #[test]
        fn a_clock_that_goes_back_lets_no_more_through(
            max in 1..200u64,
            steps in prop::collection::vec((-300..300i64, 1..3u64), 1..600),
        ) {
            const PER: i64 = 1000;
            let (mut window, mut log, mut now, mut furthest) = (Growing::default(), Log::default(), 0, i64::MIN);
            for (step, cost) in steps {
                now += step;
                furthest = now.max(furthest);
                if window.take(now, PER, max, cost) {
                    log.0.push_back((furthest, cost));
                    prop_assert!(log.used(furthest, PER) <= max);
                }
            }
        }

        #[test]
        fn the_maximum_may_change(
            steps in prop::collection::vec((0..100i64, 0..300u64, 1..50u64), 1..400),
        ) {
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 0);
            for (step, max, cost) in steps {
                now += step;
                checked_take(&mut window, &mut log, now, 1000, max, cost);
            }
        }

        /// Beside the log of everything that was granted: what is told is exact, and holds.
        #[test]
        fn what_is_told_is_exact_while_its_instants_are_few(
            per in 10..10_000i64,
            max in 0..=INSTANTS as u64,
            steps in prop::collection::vec((0..400i64, 0..70u64, 0..4u32), 1..600),
        ) {
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 0);
            for (step, cost, kind) in steps {
                now += step;
                let asked = cost.max(1);
                if kind == 0 {
                    window.give_back(now, per, cost);
                    log.give_back(now, per, cost);
                } else {
                    let had_room = window.has_room(now, per, max, asked);
                    if cost > 0 && window.take(now, per, max, cost) {
                        prop_assert!(had_room);
                        log.0.push_back((now, cost));
                    }
                }
                let outlook = window.outlook(now, per, max, asked);
                prop_assert_eq!(outlook.remaining, max - log.used(now, per));
                let fits_at = (now..=now + per).find(|at| log.used(*at, per) + asked <= max);
                prop_assert_eq!(outlook.fits_in_us, fits_at.map(|at| at - now));
                let empty_at = (now..=now + per).find(|at| log.used(*at, per) == 0);
                prop_assert_eq!(Some(outlook.reset_in_us), empty_at.map(|at| at - now));
            }
        }

        /// However many instants there are, and whatever the maximum was before: what is told to fit does fit.
        #[test]
        fn no_more_is_told_than_holds(
            per in prop_oneof![1..50i64, 1000..100_000i64, Just(3600 * SECOND * 24 * 400)],
            steps in prop::collection::vec((0..1000i64, 0..300u64, 1..60u64, 0..5u32), 1..400),
        ) {
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 0);
            for (step, max, cost, kind) in steps {
                now += step * per / 40_000;
                if kind == 0 {
                    window.give_back(now, per, cost);
                    log.give_back(now, per, cost);
                } else if window.take(now, per, max, cost) {
                    log.0.push_back((now, cost));
                }
                let outlook = window.outlook(now, per, max, cost);
                prop_assert!(outlook.remaining <= max.saturating_sub(log.used(now, per)));
                prop_assert!((0..=per).contains(&outlook.reset_in_us));
                prop_assert_eq!(log.used(now + outlook.reset_in_us, per), 0);
                prop_assert_eq!(outlook.fits_in_us.is_none(), cost > max);
                if outlook.remaining > 0 {
                    prop_assert!(window.clone().take(now, per, max, outlook.remaining));
                }
                prop_assert!(!window.clone().take(now, per, max, outlook.remaining + 1));
                if let Some(wait) = outlook.fits_in_us {
                    prop_assert!(log.used(now + wait, per) + cost <= max);
                    prop_assert!(window.clone().take(now + wait, per, max, cost));
                    prop_assert!(wait == 0 || !window.clone().take(now + wait - 1, per, max, cost));
                }
            }
        }

        /// Whichever of the grants a caller means: what is left is forgotten no sooner than if those had never been.
        #[test]
        fn giving_back_lets_no_more_through(
            max in 1..200u64,
            steps in prop::collection::vec((0..60i64, 1..20u64, any::<prop::sample::Index>(), 0..3u32), 1..400),
        ) {
            const PER: i64 = 1000;
            let (mut window, mut log, mut now) = (Growing::default(), Log::default(), 0);
            for (step, cost, which, kind) in steps {
                now += step;
                if kind == 0 && !log.0.is_empty() {
                    let (at, cost) = log.0[which.index(log.0.len())];
                    if now - at < PER {
                        window.give_back(now, PER, cost);
                        log.0.remove(which.index(log.0.len()));
                    }
                } else if window.take(now, PER, max, cost) {
                    log.0.push_back((now, cost));
                }
                prop_assert!(log.used(now, PER) <= max);
            }
        }
    }

    /// Ten minutes of a limiter under a fake clock, request by request; several loads, from a trickle to far too much.
    #[test]
    fn ten_minutes_never_let_more_through() {
        let mut random = 88_172_645_463_325_252u64;
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        for (max, per, mean_gap) in [
            (10, SECOND, 150_000),
            (100, SECOND, 6_000),
            (600, 60 * SECOND, 50_000),
            (1000, 60 * SECOND, 30_000),
            (5, 60 * SECOND, 900_000),
            (300, 300 * SECOND, 200_000),
            (1, SECOND, 30_000),
        ] {
            let (mut window, mut log) = (Growing::default(), Log::default());
            let (mut now, mut granted) = (0i64, 0u64);
            // What a limiter grants that remembers everything.
            let (mut exact, mut exactly_granted) = (Log::default(), 0u64);
            while now < 600 * SECOND {
                // Bursts and lulls by turns of seven seconds.
                let gap = if now / (7 * SECOND) % 3 == 0 { mean_gap / 10 } else { mean_gap };
                now += next(2 * gap + 1) as i64;
                granted += u64::from(checked_take(&mut window, &mut log, now, per, max, 1));
                if exact.used(now, per) < max {
                    exact.0.push_back((now, 1));
                    exactly_granted += 1;
                }
            }
            assert!(granted * 100 >= exactly_granted * 95, "{granted}, not {exactly_granted}");
            if max <= INSTANTS as u64 {
                assert_eq!(granted, exactly_granted);
            }
        }
    }

    #[test]
    fn an_instant_takes_any_number() {
        let mut window = Growing::default();
        assert!(window.take(7, SECOND, i64::MAX as u64, i64::MAX as u64 - 1));
        assert!(window.take(7, SECOND, i64::MAX as u64, 1));
        assert!(!window.take(7, SECOND, i64::MAX as u64, 1));
        assert_eq!(window.window().empty_at_us(SECOND), SECOND + 7);
        assert!(!window.take(SECOND + 6, SECOND, 1, 1));
        assert!(window.take(SECOND + 7, SECOND, 1, 1));
    }

    #[test]
    fn the_longest_period_fits() {
        let mut window = Growing::default();
        let per = i64::MAX / 4;
        for step in 0..200 {
            assert!(window.take(step * (per / 400), per, 1000, 1));
        }
        assert_eq!(window.used(), 200);
        assert!(window.has_room(i64::MAX / 2, per, 0, 0));
        assert_eq!(window.used(), 0);
    }

    #[test]
    fn nothing_passes_a_maximum_of_nothing() {
        let mut window = Growing::default();
        assert!(!window.take(1, SECOND, 0, 1));
        assert!(!window.take(1, SECOND, 5, 6));
        assert_eq!(window.window().empty_at_us(SECOND), i64::MIN);
    }
}
