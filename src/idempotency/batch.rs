//! Where a batch of offsets stands to what its source has delivered before. Plain Rust.

/// The offsets that a batch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Borders {
    /// Where it is known, each delta has an offset of its own, and batches may overlap.
    pub first: Option<i64>,
    pub upto: i64,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It reaches no further than its source has delivered.
    Behind,
    /// Its offsets past what has been delivered count. This many were skipped on the way to it: below 0 where deltas came without
    /// offsets of their own, and more of them than offsets.
    Ahead { skipped: i64 },
}

impl Borders {
    /// `before` is how far the source has delivered, if it has delivered anything; `deltas` is how many the batch brings.
    pub fn place(self, before: Option<i64>, deltas: usize) -> Place {
        let Some(before) = before else { return Place::Ahead { skipped: 0 } };
        if self.upto <= before {
            return Place::Behind;
        }
        let wide = i128::from;
        let skipped = match self.first {
            Some(first) => (wide(first) - wide(before) - 1).max(0),
            None => wide(self.upto) - wide(before) - deltas as i128,
        };
        let bounded = skipped.clamp(wide(i64::MIN), wide(i64::MAX));
        Place::Ahead { skipped: bounded as i64 }
    }

    /// How many offsets it covers.
    pub fn width(self, first: i64) -> i128 {
        i128::from(self.upto) - i128::from(first) + 1
    }
}

/// Whether the delta at an offset counts, where this is how far the source has delivered.
pub fn is_new(offset: i64, before: Option<i64>) -> bool {
    before.is_none_or(|before| offset > before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(first: i64, upto: i64) -> Borders {
        Borders { first: Some(first), upto }
    }

    #[test]
    fn the_first_batch_of_a_source_skips_nothing() {
        assert_eq!(from(500, 600).place(None, 101), Place::Ahead { skipped: 0 });
        assert_eq!(Borders { first: None, upto: i64::MAX }.place(None, 1), Place::Ahead { skipped: 0 });
    }

    #[test]
    fn an_overlap_skips_nothing_and_a_gap_is_as_wide_as_it_is() {
        assert_eq!(from(51, 150).place(Some(100), 100), Place::Ahead { skipped: 0 });
        assert_eq!(from(101, 150).place(Some(100), 50), Place::Ahead { skipped: 0 });
        assert_eq!(from(111, 150).place(Some(100), 40), Place::Ahead { skipped: 10 });
        assert_eq!(from(51, 100).place(Some(100), 50), Place::Behind);
    }

    #[test]
    fn without_a_first_offset_more_deltas_than_offsets_show() {
        let batch = Borders { first: None, upto: 150 };
        assert_eq!(batch.place(Some(100), 50), Place::Ahead { skipped: 0 });
        assert_eq!(batch.place(Some(100), 100), Place::Ahead { skipped: -50 });
        assert_eq!(batch.place(Some(100), 0), Place::Ahead { skipped: 50 });
    }

    #[test]
    fn the_ends_of_bigint_are_offsets_too() {
        assert_eq!(from(i64::MAX, i64::MAX).place(Some(i64::MIN), 1), Place::Ahead { skipped: i64::MAX });
        assert_eq!(from(i64::MIN, i64::MAX).place(Some(i64::MIN), 1), Place::Ahead { skipped: 0 });
        assert_eq!(from(i64::MIN, i64::MAX).width(i64::MIN), 1 << 64);
        assert_eq!(from(i64::MAX, i64::MAX).place(Some(i64::MAX), 1), Place::Behind);
    }

    proptest! {
        /// Whatever is delivered, cut and delivered again in whatever way: an offset counts once at most, and all are accounted for.
        #[test]
        fn each_offset_counts_once_or_was_skipped(
            batches in prop::collection::vec((-20_i64..100, 0_i64..15), 1..40),
        ) {
            let mut before = None;
            let mut counted = std::collections::BTreeMap::<i64, usize>::new();
            let mut all_skipped = 0;
            for (first, more) in batches {
                let batch = from(first, first + more);
                if let Place::Ahead { skipped } = batch.place(before, more as usize + 1) {
                    for offset in (first..=batch.upto).filter(|offset| is_new(*offset, before)) {
                        *counted.entry(offset).or_default() += 1;
                    }
                    all_skipped += skipped;
                    before = Some(batch.upto);
                }
            }
            prop_assert!(counted.values().all(|times| *times == 1));
            let (lowest, highest) = (*counted.keys().next().unwrap(), *counted.keys().last().unwrap());
            prop_assert_eq!(Some(highest), before);
            prop_assert_eq!(counted.len() as i64 + all_skipped, highest - lowest + 1);
        }
    }
}
