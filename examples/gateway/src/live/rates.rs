//! How fast totals grow: a total's last changes, as they were heard. Plain Rust.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A rate is over this long.
const WINDOW: Duration = Duration::from_secs(10);
/// A total that has not changed for so long is forgotten.
const IDLE: Duration = Duration::from_secs(120);
/// Totals that are held; past it new ones are not noted until others are idle.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Rates {
    totals: HashMap<String, VecDeque<(Instant, i64)>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    pub id: String,
    pub value: i64,
    pub a_second: f64,
}

impl Rates {
    pub fn note(&mut self, id: &str, value: i64, now: Instant) {
        if !self.totals.contains_key(id) {
            if self.totals.len() >= MOST {
                return;
            }
            self.totals.insert(id.to_owned(), VecDeque::new());
        }
        if let Some(samples) = self.totals.get_mut(id) {
            samples.push_back((now, value));
            // One sample from before the window is kept: it says where the total stood when the window began.
            while samples.len() > 2 && now.duration_since(samples[1].0) >= WINDOW {
                samples.pop_front();
            }
        }
    }

    /// The total as it was heard last, and what it has gained a second.
    pub fn of(&self, id: &str, now: Instant) -> (i64, f64) {
        let Some(samples) = self.totals.get(id) else { return (0, 0.0) };
        let (Some(&first), Some(&last)) = (samples.front(), samples.back()) else { return (0, 0.0) };
        let begun =
            samples.iter().rev().find(|(at, _)| now.duration_since(*at) >= WINDOW).copied().unwrap_or(first);
        let gained = last.1.saturating_sub(begun.1).max(0);
        // A total that is heard for the first time has gained nothing yet that we know of.
        let seconds = now.duration_since(begun.0).min(WINDOW).as_secs_f64();
        (last.1, if gained == 0 { 0.0 } else { gained as f64 / seconds.max(1.0) })
    }

    /// Those that grow fastest; among equals the larger ones.
    pub fn fastest(&self, most: usize, now: Instant) -> Vec<Rate> {
        let rate = |id: &String| {
            let (value, a_second) = self.of(id, now);
            Rate { id: id.clone(), value, a_second }
        };
        let mut all: Vec<Rate> = self.totals.keys().map(rate).collect();
        all.sort_unstable_by(|a, b| {
            b.a_second.total_cmp(&a.a_second).then(b.value.cmp(&a.value)).then_with(|| a.id.cmp(&b.id))
        });
        all.truncate(most);
        all
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.totals.keys().map(String::as_str)
    }

    pub fn forget_idle(&mut self, now: Instant) {
        self.totals.retain(|_, samples| samples.back().is_some_and(|(at, _)| now.duration_since(*at) < IDLE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_rate_is_what_was_gained_in_the_window() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert_eq!(rates.of("a", start), (0, 0.0));
        for second in 0..=30 {
            rates.note("a", second as i64 * 5, after(start, second));
        }
        assert_eq!(rates.of("a", after(start, 30)), (150, 5.0));
        assert_eq!(rates.of("a", after(start, 35)), (150, 2.5), "it goes down while nothing comes");
        assert_eq!(rates.of("a", after(start, 41)), (150, 0.0));
    }

    #[test]
    fn the_first_total_is_no_gain_and_a_drop_is_none() {
        let start = Instant::now();
        let mut rates = Rates::default();
        rates.note("a", 1_000_000, start);
        assert_eq!(rates.of("a", start), (1_000_000, 0.0));
        rates.note("a", 0, after(start, 1));
        assert_eq!(rates.of("a", after(start, 1)), (0, 0.0));
    }

    #[test]
    fn the_fastest_come_first_and_the_idle_go() {
        let start = Instant::now();
        let mut rates = Rates::default();
        for (id, step) in [("slow", 1), ("fast", 9), ("large", 0), ("gone", 0)] {
            for second in 0..3 {
                rates.note(id, if id == "large" { 500 } else { step * second }, after(start, second as u64));
            }
        }
        let ids = |rates: &Rates, most| {
            rates.fastest(most, after(start, 2)).into_iter().map(|rate| rate.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&rates, 3), ["fast", "slow", "large"]);
        rates.note("slow", 3, after(start, 121));
        rates.forget_idle(after(start, 122));
        assert_eq!(ids(&rates, 9), ["slow"]);
    }
}
