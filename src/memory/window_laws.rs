//! What a window promises, on random takings: unit and property tests. BOUND: no server runs them.

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

    /// From now on, the moments at which less may be in the interval than just before: what holds at any moment within its length, and
    /// ever after, begins to hold at one of these.
    fn moments(&self, now_us: i64, length_us: i64) -> impl Iterator<Item = i64> {
        let recent = self.0.iter().rev().take_while(|(at, _)| now_us - at < length_us);
        let mut moments: Vec<i64> = recent.map(|(at, _)| at + length_us).collect();
        moments.push(now_us);
        moments.into_iter().rev()
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
            let fits_at = log.moments(now, per).find(|at| log.used(*at, per) + asked <= max);
            prop_assert_eq!(outlook.fits_in_us, fits_at.map(|at| at - now));
            let empty_at = log.moments(now, per).find(|at| log.used(*at, per) == 0);
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
