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
    cost: u32,
    /// How long before `at_us` the first one was, in units of `span_unit`.
    span: u32,
}

/// Any bytes are a valid window. Whoever finds one in memory that others used before calls `clear` first.
#[repr(C)]
#[derive(Clone, Debug)]
pub struct Window {
    /// The furthest that the clock has been.
    latest_us: i64,
    /// What the grants add up to: at most `i32::MAX`, as every maximum is.
    used: u32,
    len: u32,
    /// In the order of time.
    grants: [Grant; INSTANTS],
}

const _: () = {
    assert!(std::mem::size_of::<Window>() == 1040);
    assert!(std::mem::offset_of!(Window, grants) == 16);
};

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
    pub fn take(&mut self, now_us: i64, per_us: i64, max: u32, cost: u32) -> bool {
        let now_us = self.forget_before(now_us, per_us);
        if self.used > max || cost > max - self.used {
            return false;
        }
        self.note(now_us, per_us, cost);
        true
    }

    /// Whether `take` would do it.
    pub fn has_room(&mut self, now_us: i64, per_us: i64, max: u32, cost: u32) -> bool {
        self.forget_before(now_us, per_us);
        self.used <= max && cost <= max - self.used
    }

    /// When everything granted so far will have been forgotten.
    pub fn empty_at_us(&self, per_us: i64) -> i64 {
        self.grants[..self.len()].last().map_or(i64::MIN, |last| last.at_us.saturating_add(per_us))
    }

    fn len(&self) -> usize {
        (self.len as usize).min(INSTANTS)
    }

    /// Forgets what is `per_us` old, and returns the time it is.
    fn forget_before(&mut self, now_us: i64, per_us: i64) -> i64 {
        let len = self.len();
        let now_us = now_us.max(self.latest_us);
        self.latest_us = now_us;
        let old = self.grants[..len].iter().take_while(|grant| now_us - grant.at_us >= per_us).count();
        if old > 0 {
            self.used -= self.grants[..old].iter().map(|grant| grant.cost).sum::<u32>();
            self.grants.copy_within(old..len, 0);
            self.len = (len - old) as u32;
        }
        now_us
    }

    fn note(&mut self, now_us: i64, per_us: i64, cost: u32) {
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
        self.grants[self.len()] = Grant { at_us: now_us, cost, span: 0 };
        self.len += 1;
    }

    /// Makes room where it is full.
    fn unite_closest(&mut self, unit: i64) {
        let united_span =
            |pair: &[Grant]| (pair[1].at_us - pair[0].at_us) + i64::from(pair[0].span).saturating_mul(unit);
        let closest = self.grants.windows(2).enumerate().min_by_key(|(_, pair)| united_span(pair));
        let Some((first, pair)) = closest else { return };
        let span = (united_span(pair) as u64).div_ceil(unit as u64);
        let cost = pair[0].cost + pair[1].cost;
        self.grants[first + 1].cost = cost;
        self.grants[first + 1].span = u32::try_from(span).unwrap_or(u32::MAX);
        self.grants.copy_within(first + 1.., first);
        self.len -= 1;
    }
}

impl Default for Window {
    fn default() -> Window {
        Window { latest_us: i64::MIN, used: 0, len: 0, grants: [Grant::default(); INSTANTS] }
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
    struct Log(VecDeque<(i64, u32)>);

    impl Log {
        /// Granted in the interval of this length that ends now, now included.
        fn used(&self, now_us: i64, length_us: i64) -> u64 {
            let recent = self.0.iter().rev().take_while(|(at, _)| now_us - at < length_us);
            recent.map(|(_, cost)| u64::from(*cost)).sum()
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
    fn checked_take(window: &mut Window, log: &mut Log, now: i64, per: i64, max: u32, cost: u32) -> bool {
        let had_room = window.has_room(now, per, max, cost);
        let taken = window.take(now, per, max, cost);
        assert_eq!(had_room, taken, "has_room foretells take");
        let late = per / (INSTANTS as i64 / 2 - 1) + 4 * span_unit(per);
        if taken {
            log.0.push_back((now, cost));
            assert!(log.used(now, per) <= u64::from(max), "more than {max} at {now}");
        } else {
            assert!(
                log.used(now, per + late) + u64::from(cost) > u64::from(max),
                "refused too long at {now}"
            );
        }
        assert_eq!(
            u64::from(window.used),
            window.grants[..window.len()].iter().map(|g| u64::from(g.cost)).sum::<u64>()
        );
        taken
    }

    proptest! {
        #[test]
        fn never_more_than_the_maximum_and_never_refused_too_long(
            per in prop_oneof![1..50i64, 1000..100_000i64, Just(3600 * SECOND * 24 * 400)],
            max in 0..400u32,
            steps in prop::collection::vec((0..1000i64, 1..4u32, 0..20u32), 1..600),
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
            max in 1..=INSTANTS as u32,
            steps in prop::collection::vec((0..300i64, 1..4u32), 1..800),
        ) {
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
            for (step, cost) in steps {
                now += step;
                let fits = log.used(now, per) + u64::from(cost) <= u64::from(max);
                prop_assert!(log.instants(now, per) <= INSTANTS);
                prop_assert_eq!(checked_take(&mut window, &mut log, now, per, max, cost), fits);
            }
        }

        /// What the clock says may jump back; no time that passed can be shorter than what it says at its furthest.
        #[test]
        fn a_clock_that_goes_back_lets_no_more_through(
            max in 1..200u32,
            steps in prop::collection::vec((-300..300i64, 1..3u32), 1..600),
        ) {
            const PER: i64 = 1000;
            let (mut window, mut log, mut now, mut furthest) = (Window::default(), Log::default(), 0, i64::MIN);
            for (step, cost) in steps {
                now += step;
                furthest = now.max(furthest);
                if window.take(now, PER, max, cost) {
                    log.0.push_back((furthest, cost));
                    prop_assert!(log.used(furthest, PER) <= u64::from(max));
                }
            }
        }

        #[test]
        fn the_maximum_may_change(
            steps in prop::collection::vec((0..100i64, 0..300u32, 1..50u32), 1..400),
        ) {
            let (mut window, mut log, mut now) = (Window::default(), Log::default(), 0);
            for (step, max, cost) in steps {
                now += step;
                checked_take(&mut window, &mut log, now, 1000, max, cost);
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
                if exact.used(now, per) < u64::from(max) {
                    exact.0.push_back((now, 1));
                    exactly_granted += 1;
                }
            }
            assert!(granted * 100 >= exactly_granted * 95, "{granted}, not {exactly_granted}");
            if max <= INSTANTS as u32 {
                assert_eq!(granted, exactly_granted);
            }
        }
    }

    #[test]
    fn an_instant_takes_any_number() {
        let mut window = Window::default();
        assert!(window.take(7, SECOND, i32::MAX as u32, i32::MAX as u32 - 1));
        assert!(window.take(7, SECOND, i32::MAX as u32, 1));
        assert!(!window.take(7, SECOND, i32::MAX as u32, 1));
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
