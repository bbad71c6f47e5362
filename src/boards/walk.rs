//! Members in their board's order as of one moment, each with its rank: those in rows, with those that are hot where they belong.

use std::cmp::Ordering;

use super::hot::Scores;
use super::member_rows::Ordered;
use super::ranked::{Ranked, order};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::snapshot::Snapshot;
use crate::rows::list::Id;

const WHAT: &str = "members of a board";

/// The members, the first one first.
pub struct Walk<'t> {
    ordered: Ordered<'t>,
    snapshot: Snapshot,
    scores: &'t Scores,
    /// Those that are hot, the last one first.
    waiting: Vec<(Id, i64)>,
    /// The next one of those that are not. A scan is not asked again behind its end: it would begin anew.
    next: Option<(Id, i64)>,
    position: i64,
    rank: i64,
    last_score: Option<i64>,
}

impl<'t> Walk<'t> {
    /// Over members in rows as the snapshot sees them, but for those that have `scores` as of then.
    pub fn begin(
        ordered: Ordered<'t>,
        snapshot: Snapshot,
        scores: &'t Scores,
    ) -> Result<Walk<'t>, CounterError> {
        let mut waiting = fallible::with_room(scores.len(), WHAT)?;
        for (member, score) in scores {
            if let Some(score) = score {
                // BOUND: room was made above.
                waiting.push((fallible::boxed(member, WHAT)?, *score));
            }
        }
        waiting.sort_unstable_by(|a, b| order(b, a));
        let (next, last_score) = (None, None);
        let mut walk = Walk { ordered, snapshot, scores, waiting, next, position: 0, rank: 0, last_score };
        walk.go_on();
        Ok(walk)
    }

    /// The first members, at most so many.
    pub fn first(self, most: usize) -> Result<Vec<Ranked>, CounterError> {
        let mut first = Vec::new();
        for ranked in self.take(most) {
            fallible::push(&mut first, ranked, WHAT)?;
        }
        Ok(first)
    }

    fn go_on(&mut self) {
        self.next = loop {
            match self.ordered.next(&mut self.snapshot) {
                Some((member, _)) if self.scores.contains_key(&member) => {}
                next => break next,
            }
        };
    }

    fn take_next(&mut self) -> Option<(Id, i64)> {
        let is_hot = match (&self.next, self.waiting.last()) {
            (Some(next), Some(hot)) => order(hot, next) == Ordering::Less,
            (None, waiting) => waiting.is_some(),
            (Some(_), None) => false,
        };
        if is_hot {
            return self.waiting.pop();
        }
        let next = self.next.take();
        if next.is_some() {
            self.go_on();
        }
        next
    }
}

impl Iterator for Walk<'_> {
    type Item = Ranked;

    fn next(&mut self) -> Option<Ranked> {
        let (member, score) = self.take_next()?;
        self.position += 1;
        if self.last_score != Some(score) {
            self.rank = self.position;
            self.last_score = Some(score);
        }
        Some(Ranked { rank: self.rank, member, score })
    }
}
