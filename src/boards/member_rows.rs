//! Members of boards: rows of counter_ext.board_member, and their order by score.
//!
//! A member's score is the sum of its counter's rows in counter_ext.total, of all nodes. A row has it as a place, its bits inverted, so
//! that the index that ascends begins with the highest score; equal scores lie in the order of their members' bytes. Rows are written by
//! who holds the compaction lock, or keeps writers out of counter_ext.total: nobody else holds one.

use std::ops::ControlFlow;

use super::errors::BoardError;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::Oid;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "members of a board";

const BOARD: usize = 0;
const MEMBER: usize = 1;
const PLACE: usize = 2;

/// counter_ext.board_member
pub const MEMBERS: FamilyTable = FamilyTable {
    name: "board_member",
    relation: c"board_member",
    columns: &[TEXT, TEXT, INT8],
    key: "board, member",
    hint: "GRANT it on counter_ext.board_member.",
};

/// Where a score is in the order of a board, and back.
fn inverted(score_or_place: i64) -> i64 {
    !score_or_place
}

/// The members' table, open with both of its orders.
pub struct Members {
    by_member: Keyed,
    by_place: Keyed,
}

impl Members {
    /// The table is locked. Errors: 55000 an index of it is not there as it was made.
    pub fn open(table: Oid, access: Access) -> Result<Members, CounterError> {
        let by_place = MEMBERS
            .open_over(table, c"board_member_place", &[BOARD, PLACE, MEMBER], access)
            .ok_or(BoardError::NoIndex)?;
        Ok(Members { by_member: MEMBERS.open(table, access)?, by_place })
    }

    /// Gives a member a score, or takes it off the board. Returns the score that it had. Errors: 55006 somebody holds its row.
    pub fn set(&self, board: &[u8], member: &[u8], score: Option<i64>) -> Result<Option<i64>, CounterError> {
        let held = || CounterError::from(BoardError::Held { prefix: board.into() });
        let read = |columns: &Columns<'_>| inverted(columns.bigint(PLACE));
        match latest::find(&self.by_member, Range::Pair(board, member), |_| true, read) {
            Latest::Free(row, before) => {
                match score {
                    Some(score) if score == before => {}
                    Some(score) => {
                        row.update(&[(PLACE, Value::Bigint(inverted(score)))]).map_err(|_| held())?;
                    }
                    None => row.delete().map_err(|_| held())?,
                }
                Ok(Some(before))
            }
            Latest::Absent => {
                if let Some(score) = score {
                    let place = Value::Bigint(inverted(score));
                    write::insert(&self.by_member.table, &[Value::Text(board), Value::Text(member), place]);
                }
                Ok(None)
            }
            Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(held()),
        }
    }

    /// A member's score as the snapshot sees it.
    pub fn score(&self, board: &[u8], member: &[u8], snapshot: &mut Snapshot) -> Option<i64> {
        let mut score = None;
        for_each_visible(&self.by_member, Range::Pair(board, member), snapshot, |columns| {
            score = Some(inverted(columns.bigint(PLACE)));
            ControlFlow::Break(())
        });
        score
    }

    /// Shows scores from one on downwards to another, the highest first, and whose they are, until told to stop.
    pub fn scores(
        &self,
        board: &[u8],
        (highest, lowest): (i64, i64),
        snapshot: &mut Snapshot,
        mut see: impl FnMut(i64, &[u8]) -> ControlFlow<()>,
    ) {
        let range = Range::Span(board, inverted(highest), inverted(lowest));
        for_each_visible(&self.by_place, range, snapshot, |columns| {
            see(inverted(columns.bigint(PLACE)), columns.text(MEMBER))
        });
    }

    /// All members, in the board's order. Where it is known about how far down they are read, those are found faster.
    pub fn all<'a>(&'a self, board: &'a [u8], about: Option<i64>) -> Ordered<'a> {
        match about.filter(|about| *about > i64::MIN) {
            Some(about) => {
                let place = inverted(about);
                let rest = Range::Upwards(board, place + 1);
                Ordered { scan: self.scan(Range::Span(board, i64::MIN, place)), rest: Some((self, rest)) }
            }
            None => Ordered { scan: self.scan(Range::Upwards(board, i64::MIN)), rest: None },
        }
    }

    /// The next members before the place of this member and score, the nearest first, at most so many.
    pub fn before(
        &self,
        board: &[u8],
        (member, score): (&[u8], i64),
        most: usize,
        skips: impl Fn(&[u8]) -> bool,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<(Id, i64)>, CounterError> {
        let place = inverted(score);
        let ranges = [Some(Range::Before(board, place, member)), Some(Range::Downwards(board, place))];
        self.near(ranges, most, skips, snapshot)
    }

    /// The next members behind the place of this member and score.
    pub fn behind(
        &self,
        board: &[u8],
        (member, score): (&[u8], i64),
        most: usize,
        skips: impl Fn(&[u8]) -> bool,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<(Id, i64)>, CounterError> {
        let place = inverted(score);
        let lower = place.checked_add(1).map(|next| Range::Upwards(board, next));
        self.near([Some(Range::Behind(board, place, member)), lower], most, skips, snapshot)
    }

    /// The first members of these ranges, but for those that are skipped.
    fn near(
        &self,
        ranges: [Option<Range<'_>>; 2],
        most: usize,
        skips: impl Fn(&[u8]) -> bool,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<(Id, i64)>, CounterError> {
        let mut found = Vec::new();
        for range in ranges.into_iter().flatten() {
            let mut ordered = Ordered { scan: self.scan(range), rest: None };
            while found.len() < most
                && let Some((member, score)) = ordered.next(snapshot)
            {
                if !skips(&member) {
                    fallible::push(&mut found, (member, score), WHAT)?;
                }
            }
        }
        Ok(found)
    }

    fn scan(&self, range: Range<'_>) -> IdScan<'_> {
        IdScan::begin(&self.by_place.table, &self.by_place.key, range)
    }

    /// Deletes some of a board's rows; how many.
    pub fn remove_some(&self, board: &[u8], most: usize) -> usize {
        remove_some(&self.by_member, board, most)
    }

    /// Whether a board has any rows.
    pub fn has_any(&self, board: &[u8]) -> bool {
        has_any(&self.by_member, board)
    }
}

/// Members in the order of the board, or its opposite.
pub struct Ordered<'t> {
    scan: IdScan<'t>,
    /// What comes after that.
    rest: Option<(&'t Members, Range<'t>)>,
}

impl Ordered<'_> {
    /// The next one that the snapshot sees. Raises 53200.
    pub fn next(&mut self, snapshot: &mut Snapshot) -> Option<(Id, i64)> {
        let read = |columns: &Columns<'_>| {
            let member = fallible::boxed(columns.text(MEMBER), WHAT).or_raise();
            (member, inverted(columns.bigint(PLACE)))
        };
        loop {
            let next = latest::next_visible(&mut self.scan, snapshot, read);
            match (next, self.rest.take()) {
                (None, Some((members, range))) => self.scan = members.scan(range),
                (next, rest) => {
                    self.rest = rest;
                    return next.map(|(_, member)| member);
                }
            }
        }
    }
}

/// Deletes some of the rows that begin with this text; how many.
pub fn remove_some(keyed: &Keyed, first: &[u8], most: usize) -> usize {
    let mut removed = 0;
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(first));
    while removed < most
        && let Some((row, ())) = latest::next_free(&mut scan, |_| Some(()))
    {
        removed += usize::from(row.delete().is_ok());
    }
    removed
}

/// Whether there are rows whose key begins with this, held by others or not.
pub fn has_any(keyed: &Keyed, first: &[u8]) -> bool {
    let mut has_any = false;
    for_each_visible(keyed, Range::Id(first), &mut Snapshot::fresh(), |_| {
        has_any = true;
        ControlFlow::Break(())
    });
    has_any
}
