//! Which entry has to go: the second-chance clock, in bounded steps. Plain Rust.
//!
//! A hand goes round the clean entries of a partition. An entry that was used since the hand last passed gets a second chance,
//! one that is in use otherwise stays, and the first other one is the victim. Dirty entries (they hold what rows do not have) are not
//! looked at: `dirt.rs` has the next clean one. The caller holds a lock that committers wait for, so one sweep takes
//! `MAX_STEPS` steps at most. The next one goes on where it ended: every clean entry has its turn.

/// Steps of one sweep. A step looks at one entry; it costs one miss of the processor's cache, about 0.1 µs.
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

/// Looks for a victim among `entries` entries, from `hand` on. `next_clean(index)` is the first clean one from there on, round the
/// end if need be; `take(index)` is asked for each, takes back its second chance, and says whether it may go.
pub fn sweep(
    hand: u32,
    entries: u32,
    next_clean: impl Fn(u32) -> Option<u32>,
    mut take: impl FnMut(u32) -> bool,
) -> Swept {
    let mut at = if hand < entries { hand } else { 0 };
    for steps in 1..=MAX_STEPS {
        let Some(index) = next_clean(at) else {
            return Swept { victim: None, hand: at, steps };
        };
        at = (index + 1) % entries;
        if take(index) {
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
        dirty: Vec<bool>,
        pinned: Vec<bool>,
        used: Vec<bool>,
    }

    impl Entries {
        fn sweep(&mut self, hand: u32) -> Swept {
            let (dirty, pinned, used) = (&self.dirty, &self.pinned, &mut self.used);
            let count = dirty.len();
            sweep(
                hand,
                count as u32,
                |from| {
                    let mut round = (0..count).map(|step| (from as usize + step) % count);
                    round.find(|index| !dirty[*index]).map(|index| index as u32)
                },
                |index| {
                    assert!(!dirty[index as usize], "a dirty entry was looked at");
                    !std::mem::take(&mut used[index as usize]) && !pinned[index as usize]
                },
            )
        }
    }

    proptest! {
        #[test]
        fn bounded_fair_and_never_a_dirty_or_pinned_one(
            entries in prop::collection::vec((prop::bool::weighted(0.7), any::<bool>(), any::<bool>()), 1..900),
            hand in 0u32..1000,
        ) {
            let mut all = Entries {
                dirty: entries.iter().map(|entry| entry.0).collect(),
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
    fn dirty_entries_cost_no_steps() {
        let mut all =
            Entries { dirty: vec![true; 131_072], pinned: vec![false; 131_072], used: vec![false; 131_072] };
        assert_eq!(all.sweep(0), Swept { victim: None, hand: 0, steps: 1 });
        all.dirty[100_000] = false;
        assert_eq!(all.sweep(0), Swept { victim: Some(100_000), hand: 100_001, steps: 1 });
    }

    #[test]
    fn who_was_used_goes_in_the_second_round() {
        let mut all = Entries { dirty: vec![false; 3], pinned: vec![false; 3], used: vec![true; 3] };
        assert_eq!(all.sweep(1), Swept { victim: Some(1), hand: 2, steps: 4 });
    }
}
