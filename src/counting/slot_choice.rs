//! Which slot row to try next: plain arithmetic.
//!
//! A writer starts at a random row and goes on to its neighbours while they are held. After a few tries it adds a
//! row instead of looking on, up to the limit; at the limit it looks at every row, and then adds one all the same:
//! a row too many, which compaction removes, costs less than a wait.

/// Rows looked at before another is added, while the counter may still grow.
const TRIES_BEFORE_GROWING: usize = 4;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Try(usize),
    Insert,
}

/// One writer's way through a counter's slot rows.
#[derive(Clone, Copy, Debug)]
pub struct SlotChoice {
    start: usize,
    tried: usize,
}

impl SlotChoice {
    /// `random` decides where to start.
    pub fn new(random: u64) -> SlotChoice {
        SlotChoice { start: random as usize, tried: 0 }
    }

    /// The next step, with `known` rows of at most `limit`.
    pub fn next(&mut self, known: usize, limit: usize) -> Step {
        let tries = if known < limit { known.min(TRIES_BEFORE_GROWING) } else { known };
        if self.tried >= tries {
            return Step::Insert;
        }
        let step = Step::Try(self.start.wrapping_add(self.tried) % known);
        self.tried += 1;
        step
    }

    /// The row just tried is gone, and the last known row took its place.
    pub fn forget_tried(&mut self) {
        self.tried = self.tried.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_rows_means_insert() {
        assert_eq!(SlotChoice::new(7).next(0, 64), Step::Insert);
    }

    proptest! {
        #[test]
        fn tries_each_row_at_most_once_and_then_inserts(
            random: u64, known in 1usize..200, limit in 1usize..200,
        ) {
            let mut choice = SlotChoice::new(random);
            let mut seen = std::collections::BTreeSet::new();
            while let Step::Try(row) = choice.next(known, limit) {
                prop_assert!(row < known);
                prop_assert!(seen.insert(row));
            }
            let expected = if known < limit { known.min(TRIES_BEFORE_GROWING) } else { known };
            prop_assert_eq!(seen.len(), expected);
        }

        #[test]
        fn ends_though_rows_vanish(random: u64, mut known in 0usize..200) {
            let mut choice = SlotChoice::new(random);
            let mut steps = 0;
            while let Step::Try(_) = choice.next(known, 64) {
                known -= 1;
                choice.forget_tried();
                steps += 1;
                prop_assert!(steps <= 200);
            }
        }
    }
}
