//! A sliding window remembers what was granted in the last `per_us` microseconds, so that grants never add up to more than a
//! maximum in any interval of that length. Plain Rust; the time is a parameter.
//!
//! A log of grants (the "sliding window log" of rate limiting) in bounded space. While the window holds grants of at most
//! `INSTANTS` different microseconds it is the exact log. Where there are more, the two neighbours that lie closest become one at the
//! **later** of their instants: what is remembered too long can refuse a request that would have fitted, never let one
//! more through.
//!
//! How much too long: when `INSTANTS` entries lie in a window, its `INSTANTS / 2` disjoint pairs of neighbours share `per` and
//! the span of the first entry, so the closest pair spans at most (per + span) / (INSTANTS / 2), from which follows
//! span ≤ per / (INSTANTS / 2 - 1): a grant is forgotten at most per / 31 late.

/// Different instants that a window remembers.
pub const INSTANTS: usize = 64;

/// What was granted at one instant, or at several instants that were united into one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Grant {
    /// When the last of them was granted.
    at_us: i64,
    cost: u64,
}

/// Any bytes are a valid window. Whoever finds one in memory that others used before calls `clear` first.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Window {
    /// The furthest that the clock has been.
    latest_us: i64,
    /// What the grants add up to: at most `i64::MAX`, as every maximum is.
    used: u64,
    len: u64,
    /// In the order of time.
    grants: [Grant; INSTANTS],
    /// How long before a grant's `at_us` the first one was that it is of, in units of `span_unit`.
    spans: [u32; INSTANTS],
}

const _: () = {
    assert!(std::mem::size_of::<Window>() == 1304);
    assert!(std::mem::offset_of!(Window, grants) == 24);
    assert!(std::mem::offset_of!(Window, spans) == 1048);
};

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

impl Window {
    pub fn clear(&mut self) {
        self.latest_us = i64::MIN;
        self.used = 0;
        self.len = 0;
    }

    /// Takes `cost`, which is not 0, if with it no more than `max` has been granted since `per_us` ago. `max` may be
    /// another one each time. A clock that went back stands still until it is where it was.
    pub fn take(&mut self, now_us: i64, per_us: i64, max: u64, cost: u64) -> bool {
        let now_us = self.forget_before(now_us, per_us);
        if !self.fits(max, cost) {
            return false;
        }
        self.note(now_us, per_us, cost);
        true
    }

    /// Whether `take` would do it.
    pub fn has_room(&mut self, now_us: i64, per_us: i64, max: u64, cost: u64) -> bool {
        self.forget_before(now_us, per_us);
        self.fits(max, cost)
    }

    /// Gives back what was taken, the oldest first, and no more than there is. What is left is then remembered at least as long as
    /// if those grants had been forgotten that are given back, whichever they are.
    pub fn give_back(&mut self, now_us: i64, per_us: i64, cost: u64) {
        self.forget_before(now_us, per_us);
        let mut left = cost.min(self.used);
        self.used -= left;
        let mut gone = 0;
        while left > 0 {
            let grant = &mut self.grants[gone];
            if grant.cost > left {
                grant.cost -= left;
                break;
            }
            left -= grant.cost;
            gone += 1;
        }
        self.forget_first(gone);
    }

    /// What there is to tell at an instant that `take`, `has_room` or `give_back` has just been called for.
    pub fn outlook(&self, now_us: i64, per_us: i64, max: u64, asked: u64) -> Outlook {
        let now_us = now_us.max(self.latest_us);
        let until_forgotten = |grant: &Grant| grant.at_us.saturating_add(per_us) - now_us;
        let fits_in_us = if self.fits(max, asked) {
            Some(0)
        } else if asked > max {
            None
        } else {
            let mut used = self.used;
            let last_in_the_way = self.grants[..self.len()].iter().find(|grant| {
                used -= grant.cost;
                used <= max - asked
            });
            last_in_the_way.map(until_forgotten)
        };
        Outlook {
            remaining: max.saturating_sub(self.used),
            reset_in_us: self.grants[..self.len()].last().map_or(0, until_forgotten),
            fits_in_us,
        }
    }

    /// When everything granted so far will have been forgotten.
    pub fn empty_at_us(&self, per_us: i64) -> i64 {
        self.grants[..self.len()].last().map_or(i64::MIN, |last| last.at_us.saturating_add(per_us))
    }

    fn fits(&self, max: u64, cost: u64) -> bool {
        self.used <= max && cost <= max - self.used
    }

    fn len(&self) -> usize {
        (self.len as usize).min(INSTANTS)
    }

    /// Forgets what is `per_us` old, and returns the time it is.
    fn forget_before(&mut self, now_us: i64, per_us: i64) -> i64 {
        let now_us = now_us.max(self.latest_us);
        self.latest_us = now_us;
        let grants = &self.grants[..self.len()];
        let old = grants.iter().take_while(|grant| now_us - grant.at_us >= per_us).count();
        if old > 0 {
            self.used -= grants[..old].iter().map(|grant| grant.cost).sum::<u64>();
            self.forget_first(old);
        }
        now_us
    }

    /// What they cost is no longer in `used`.
    fn forget_first(&mut self, count: usize) {
        let len = self.len();
        self.grants.copy_within(count..len, 0);
        self.spans.copy_within(count..len, 0);
        self.len = (len - count) as u64;
    }

    fn note(&mut self, now_us: i64, per_us: i64, cost: u64) {
        self.used += cost;
        let len = self.len();
        if let Some(last) = self.grants[..len].last_mut()
            && last.at_us == now_us
        {
            last.cost += cost;
            return;
        }
        if len == INSTANTS {
            self.unite_closest(span_unit(per_us));
        }
        let new = self.len();
        self.grants[new] = Grant { at_us: now_us, cost };
        self.spans[new] = 0;
        self.len += 1;
    }

    /// Makes room where it is full.
    fn unite_closest(&mut self, unit: i64) {
        let spans = self.spans.iter().map(|span| i64::from(*span).saturating_mul(unit));
        let united_spans =
            self.grants.windows(2).zip(spans).map(|(pair, span)| (pair[1].at_us - pair[0].at_us) + span);
        let Some((first, span)) = united_spans.enumerate().min_by_key(|(_, span)| *span) else { return };
        let len = self.len();
        self.grants[first + 1].cost += self.grants[first].cost;
        self.spans[first + 1] = u32::try_from((span as u64).div_ceil(unit as u64)).unwrap_or(u32::MAX);
        self.grants.copy_within(first + 1..len, first);
        self.spans.copy_within(first + 1..len, first);
        self.len -= 1;
    }
}

impl Default for Window {
    fn default() -> Window {
        Window {
            latest_us: i64::MIN,
            used: 0,
            len: 0,
            grants: [Grant::default(); INSTANTS],
            spans: [0; INSTANTS],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

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
    fn checked_take(window: &mut Window, log: &mut Log, now: i64, per: i64, max: u64, cost: u64) -> bool {
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
        assert_eq!(window.used, window.grants[..window.len()].iter().map(|g| g.cost).sum::<u64>());
        taken
    }

    proptest! {
        #[test]
        fn never_more_than_the_maximum_and_never_refused_too_long(
            per in prop_oneof![1..50i64, 1000..100_000i64, Just(3600 * SECOND * 24 * 400)],
            max in 0..400u64,
            steps in prop::collection::vec((0..1000i64, 1..4u64, 0..20u32), 1..600),
        ) {
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 5);
            for (step, cost, pause) in steps {
                now += step * per / 40_000 + if pause == 0 { per / 2 } else { i64::from(pause % 2) };
                checked_take(&mut window, &mut log, now, per, max, cost);
            }
        }

        #[test]
        fn exact_while_its_instants_are_few(
            per in 10..10_000i64,
            max in 1..=INSTANTS as u64,
            steps in prop::collection::vec((0..300i64, 1..4u64), 1..800),
        ) {
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
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
            let (mut window, mut log, mut now, mut furthest) = (Window::default(), Log::default(), 0, i64::MIN);
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
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
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
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
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
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
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
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
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
            let (mut window, mut log) = (Window::default(), Log::default());
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
        let mut window = Window::default();
        assert!(window.take(7, SECOND, i64::MAX as u64, i64::MAX as u64 - 1));
        assert!(window.take(7, SECOND, i64::MAX as u64, 1));
        assert!(!window.take(7, SECOND, i64::MAX as u64, 1));
        assert_eq!(window.empty_at_us(SECOND), SECOND + 7);
        assert!(!window.take(SECOND + 6, SECOND, 1, 1));
        assert!(window.take(SECOND + 7, SECOND, 1, 1));
    }

    #[test]
    fn the_longest_period_fits() {
        let mut window = Window::default();
        let per = i64::MAX / 4;
        for step in 0..200 {
            assert!(window.take(step * (per / 400), per, 1000, 1));
        }
        assert_eq!(window.used, 200);
        assert!(window.has_room(i64::MAX / 2, per, 0, 0));
        assert_eq!(window.used, 0);
    }

    #[test]
    fn nothing_passes_a_maximum_of_nothing() {
        let mut window = Window::default();
        assert!(!window.take(1, SECOND, 0, 1));
        assert!(!window.take(1, SECOND, 5, 6));
        assert_eq!(window.empty_at_us(SECOND), i64::MIN);
    }
}
