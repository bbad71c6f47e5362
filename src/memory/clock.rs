//! Which entry has to go: the second-chance clock, in bounded steps. Plain Rust.
//!
//! A hand goes round the entries of a partition. An entry that was used since the hand last passed gets a second chance,
//! one that is in use otherwise stays, and the first other one is the victim. Entries that are marked (they hold deltas
//! that rows do not have) are passed 64 at a time. The caller holds a lock that committers wait for, so one sweep takes
//! `MAX_STEPS` steps at most. The next one goes on where it ended: every entry has its turn, however many are marked.

/// Steps of one sweep. A step looks at one entry, or passes the marked ones of one word; it costs one miss of the
/// processor's cache, about 0.1 µs.
pub const MAX_STEPS: u32 = 64;

/// How a sweep ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// `None`: there was none within the steps.
    pub victim: Option<u32>,
    /// Where the next sweep begins.
    pub hand: u32,
    pub steps: u32,
}

/// Looks for a victim among `entries` entries, from `hand` on. `marked(word)` has a bit for each of the 64 entries from
/// `word * 64` on; `take(index)` is asked for each that is not marked, takes back its second chance, and says whether
/// it may go.
pub fn sweep(
    hand: u32,
    entries: u32,
    marked: impl Fn(u32) -> u64,
    mut take: impl FnMut(u32) -> bool,
) -> Swept {
    let mut at = if hand < entries { hand } else { 0 };
    for steps in 1..=MAX_STEPS {
        let bits = marked(at / 64) >> (at % 64);
        let passed = bits.trailing_ones().min(64 - at % 64).min(entries - at);
        let index = at;
        at = (at + passed.max(1)) % entries;
        if passed == 0 && take(index) {
            return Swept { victim: Some(index), hand: at, steps };
        }
    }
    Swept { victim: None, hand: at, steps: MAX_STEPS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Entries {
        marked: Vec<bool>,
        pinned: Vec<bool>,
        used: Vec<bool>,
    }

    impl Entries {
        fn sweep(&mut self, hand: u32) -> Swept {
            let (marked, pinned, used) = (&self.marked, &self.pinned, &mut self.used);
            let count = marked.len() as u32;
            let words: Vec<u64> =
                (0..count.div_ceil(64)).map(|word| Entries::word_of(marked, word)).collect();
            sweep(
                hand,
                count,
                |word| words[word as usize],
                |index| {
                    assert!(!marked[index as usize], "a marked entry was looked at");
                    !std::mem::take(&mut used[index as usize]) && !pinned[index as usize]
                },
            )
        }

        fn word_of(marked: &[bool], word: u32) -> u64 {
            let bits = marked.iter().skip(word as usize * 64).take(64).enumerate();
            bits.map(|(bit, marked)| u64::from(*marked) << bit).sum()
        }
    }

    proptest! {
        #[test]
        fn bounded_fair_and_never_a_marked_or_pinned_one(
            entries in prop::collection::vec((prop::bool::weighted(0.7), any::<bool>(), any::<bool>()), 1..900),
            hand in 0u32..1000,
        ) {
            let mut all = Entries {
                marked: entries.iter().map(|entry| entry.0).collect(),
                pinned: entries.iter().map(|entry| entry.1).collect(),
                used: entries.iter().map(|entry| entry.2).collect(),
            };
            let may_go = |index: usize| !entries[index].0 && !entries[index].1;
            let any_may_go = (0..entries.len()).any(may_go);
            // Each sweep moves the hand by a step an entry at least, so twice round takes so many sweeps at most.
            let sweeps = (2 * entries.len() as u32).div_ceil(MAX_STEPS) + 1;
            let (mut hand, mut found) = (hand, None);
            for _ in 0..sweeps {
                let swept = all.sweep(hand);
                prop_assert!(swept.steps <= MAX_STEPS);
                prop_assert!(swept.hand < entries.len() as u32);
                hand = swept.hand;
                if swept.victim.is_some() {
                    found = swept.victim;
                    break;
                }
            }
            prop_assert_eq!(found.is_some(), any_may_go);
            if let Some(victim) = found {
                prop_assert!(may_go(victim as usize));
            }
        }
    }

    #[test]
    fn a_table_of_marked_entries_costs_a_step_a_word() {
        let mut all =
            Entries { marked: vec![true; 131_072], pinned: vec![false; 131_072], used: vec![false; 131_072] };
        let full = all.sweep(0);
        assert_eq!(full, Swept { victim: None, hand: 64 * MAX_STEPS, steps: MAX_STEPS });
        // The hand goes on from where it was, and reaches the one that may go, wherever that is.
        all.marked[100_000] = false;
        let (mut hand, mut sweeps) = (full.hand, 1);
        let victim = loop {
            let swept = all.sweep(hand);
            sweeps += 1;
            hand = swept.hand;
            if let Some(victim) = swept.victim {
                break victim;
            }
        };
        assert_eq!((victim, sweeps), (100_000, 100_000 / 64 / MAX_STEPS + 1));
    }

    #[test]
    fn who_was_used_goes_in_the_second_round() {
        let mut all = Entries { marked: vec![false; 3], pinned: vec![false; 3], used: vec![true; 3] };
        assert_eq!(all.sweep(1), Swept { victim: Some(1), hand: 2, steps: 4 });
    }
}
