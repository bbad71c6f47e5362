//! Members as boards show them, and members whose scores in rows are not what they are.

use std::cmp::Ordering;

use crate::errors::CounterError;
use crate::fallible;
use crate::rows::list::Id;

/// A member in the order of its board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    pub rank: i64,
    pub member: Id,
    pub score: i64,
}

/// A member whose score in rows is not what it is now; `None` where it is not on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    pub in_rows: Option<i64>,
    pub now: Option<i64>,
}

impl Moved {
    /// How many more members are above a score than rows say.
    pub fn difference_above(self, score: i64) -> i64 {
        let is_above = |other: Option<i64>| i64::from(other.is_some_and(|other| other > score));
        is_above(self.now) - is_above(self.in_rows)
    }
}

/// The board's order: the highest score first, equal ones in the order of their members' bytes.
pub fn order((a, x): &(Id, i64), (b, y): &(Id, i64)) -> Ordering {
    y.cmp(x).then_with(|| a.cmp(b))
}

/// Members in the board's order with their ranks. `rank` says that of a score; it is asked once a score.
pub fn with_ranks(
    listed: Vec<(Id, i64)>,
    mut rank: impl FnMut(i64) -> Result<i64, CounterError>,
) -> Result<Vec<Ranked>, CounterError> {
    let mut ranked: Vec<Ranked> = fallible::with_room(listed.len(), "members of a board")?;
    for (member, score) in listed {
        let rank = match ranked.last() {
            Some(before) if before.score == score => before.rank,
            _ => rank(score)?,
        };
        // BOUND: room was made above.
        ranked.push(Ranked { rank, member, score });
    }
    Ok(ranked)
}
