//! Members as boards show them, and members whose scores in rows are not what they are. Plain Rust.

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
