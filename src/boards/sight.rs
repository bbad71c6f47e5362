//! A board, or a window of one, as one member sees it: its rank, and those around it.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use super::count_rows::Nodes;
use super::hot::Scores;
use super::known::{self, Stamp};
use super::member_rows::Members;
use super::ranked::{self, Moved, Ranked, order};
use super::tree::{self, Store};
use crate::errors::CounterError;
use crate::fallible;
use crate::rows::list::Id;

const WHAT: &str = "members of a board";

/// A board, open for looking for one member's rank.
pub struct Sight<'a> {
    /// The board's prefix, or the window's name.
    pub name: &'a [u8],
    pub members: &'a Members,
    pub nodes: Nodes<'a>,
    pub member: &'a [u8],
    /// The member's score as it is now.
    pub own: i64,
    pub moved: Vec<Moved>,
    /// Those that are hot, and the member itself.
    pub scores: Scores,
    /// Where what is looked at may be remembered.
    pub stamp: Option<Stamp>,
}

impl Sight<'_> {
    /// The member's rank: one more than there are members with higher scores.
    pub fn own_rank(&mut self) -> Result<i64, CounterError> {
        self.rank(self.own)
    }

    /// The rank of a score on the board as it is now.
    fn rank(&mut self, score: i64) -> Result<i64, CounterError> {
        let above =
            tree::above(score, |node| known::counts(self.name, self.stamp, node, || self.nodes.read(node)))?;
        let mut rank = 1 + above.counted;
        // The whole part that the score is in, where it is remembered.
        let least = if self.stamp.is_some() { above.lowest } else { score.saturating_add(1) };
        let most_of_part = if self.stamp.is_some() { known::MOST_OF_PART } else { 0 };
        let mut scores = fallible::with_room(most_of_part, WHAT)?;
        let mut is_whole = true;
        if let Some(upto) = above.upto {
            self.members.scores(self.name, (upto, least), self.nodes.snapshot(), |other, _| {
                is_whole = scores.len() < most_of_part;
                if other <= score && !is_whole {
                    return ControlFlow::Break(());
                }
                rank += i64::from(other > score);
                if is_whole {
                    // BOUND: room was made above.
                    scores.push(other);
                }
                ControlFlow::Continue(())
            });
        }
        if let Some(stamp) = self.stamp
            && is_whole
        {
            known::remember_moved(self.name, stamp, &self.moved);
            let range = (above.lowest, above.highest);
            known::remember_part(self.name, stamp, range, above.counted, scores);
        }
        Ok(rank + self.moved.iter().map(|moved| moved.difference_above(score)).sum::<i64>())
    }

    /// The member, and those before and behind it, at most so many of each, in the board's order.
    pub fn around(&mut self, most: usize) -> Result<Vec<Ranked>, CounterError> {
        let mut listed = self.near(Ordering::Less, most)?;
        listed.reverse();
        fallible::push(&mut listed, (fallible::boxed(self.member, WHAT)?, self.own), WHAT)?;
        let behind = self.near(Ordering::Greater, most)?;
        fallible::reserve(&mut listed, behind.len(), WHAT)?;
        listed.extend(behind);
        ranked::with_ranks(listed, |score| self.rank(score))
    }

    /// The nearest members before (`Less`) or behind (`Greater`) the own one, hot or not, the nearest first.
    fn near(&mut self, side: Ordering, most: usize) -> Result<Vec<(Id, i64)>, CounterError> {
        let own = (self.member, self.own);
        let (members, scores) = (self.members, &self.scores);
        let skips = |other: &[u8]| scores.contains_key(other);
        let in_rows = match side {
            Ordering::Less => members.before(self.name, own, most, skips, self.nodes.snapshot())?,
            _ => members.behind(self.name, own, most, skips, self.nodes.snapshot())?,
        };
        let mut near = self.hot_near(side)?;
        fallible::reserve(&mut near, in_rows.len(), WHAT)?;
        near.extend(in_rows);
        near.sort_unstable_by(|a, b| if side == Ordering::Less { order(b, a) } else { order(a, b) });
        near.truncate(most);
        Ok(near)
    }

    /// Those that are hot on a side of the member.
    fn hot_near(&self, side: Ordering) -> Result<Vec<(Id, i64)>, CounterError> {
        let side_of = |other: &[u8], score: i64| self.own.cmp(&score).then_with(|| other.cmp(self.member));
        let mut near = Vec::new();
        for (other, score) in &self.scores {
            if let Some(score) = score
                && side_of(other, *score) == side
            {
                fallible::push(&mut near, (fallible::boxed(other, WHAT)?, *score), WHAT)?;
            }
        }
        Ok(near)
    }
}
