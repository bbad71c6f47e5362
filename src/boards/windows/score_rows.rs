//! Scores of members in windows: rows of counter_ext.board_score, one a window, member and node, or several where somebody held the first.
//!
//! They are the truth of boards by windows, as totals are of other boards, and are dumped; members in order and counts of them are made of
//! these rows. Written in the transaction of what changes a total: a fold, or one that drops a counter or moves it. Nothing here waits.

use std::ops::ControlFlow;

use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, random};
use crate::rows::bigint_parts;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;
use crate::settings;

const WHAT: &str = "scores of a board";

/// counter_ext.board_score
pub const SCORES: FamilyTable = FamilyTable {
    name: "board_score",
    relation: c"board_score",
    columns: &[TEXT, TEXT, INT4, INT8, INT8],
    key: "board, member, node, part",
    hint: "GRANT it on counter_ext.board_score.",
};

const BOARD: usize = 0;
const MEMBER: usize = 1;
const NODE: usize = 2;
const VALUE: usize = 4;

/// The table, open.
pub struct Scores {
    keyed: Keyed,
    node: i32,
}

impl Scores {
    /// The table is locked, and counter_ext.total.
    pub fn open(table: Oid, access: Access) -> Result<Scores, CounterError> {
        Ok(Scores { keyed: SCORES.open(table, access)?, node: settings::node() })
    }

    /// Adds to a member's score in a window.
    pub fn add(&self, window: &[u8], member: &[u8], delta: i128) {
        let row = latest::find(
            &self.keyed,
            Range::Pair(window, member),
            |columns| columns.int(NODE) == self.node,
            |columns| columns.bigint(VALUE),
        );
        if let Latest::Free(row, before) = row
            && let Ok(value) = i64::try_from(i128::from(before) + delta)
            && row.update(&[(VALUE, Value::Bigint(value))]).is_ok()
        {
            return;
        }
        self.insert(window, member, delta);
    }

    fn insert(&self, window: &[u8], member: &[u8], delta: i128) {
        for value in bigint_parts(delta) {
            let row = [
                Value::Text(window),
                Value::Text(member),
                Value::Int(self.node),
                Value::Bigint(random::bits() as i64),
                Value::Bigint(value),
            ];
            write::insert(&self.keyed.table, &row);
        }
    }

    /// A member's score in a window, of any size; `None` where it has none.
    pub fn score(&self, window: &[u8], member: &[u8], snapshot: &mut Snapshot) -> Option<i128> {
        let mut score = None;
        for_each_visible(&self.keyed, Range::Pair(window, member), snapshot, |columns| {
            *score.get_or_insert(0) += i128::from(columns.bigint(VALUE));
            ControlFlow::Continue(())
        });
        score
    }

    /// Takes a member's score in a window away, and returns it: a row that somebody holds is made up for by another.
    pub fn take(&self, window: &[u8], member: &[u8], snapshot: &mut Snapshot) -> Option<i128> {
        let mut score = None;
        let mut held = 0;
        let mut scan = IdScan::begin(&self.keyed.table, &self.keyed.key, Range::Pair(window, member));
        let read = |columns: &Columns<'_>| i128::from(columns.bigint(VALUE));
        while let Some((row, value)) = latest::next_visible(&mut scan, snapshot, read) {
            *score.get_or_insert(0) += value;
            if row.delete().is_err() {
                held += value;
            }
        }
        if held != 0 {
            self.insert(window, member, -held);
        }
        score
    }

    /// The first window from one on whose name begins with this, if it has scores.
    pub fn first_window(&self, head: &[u8], from: &[u8], snapshot: &mut Snapshot) -> Option<Id> {
        self.next_window(head, Range::From(from), snapshot)
    }

    /// The same behind a window.
    pub fn window_behind(&self, head: &[u8], window: &[u8], snapshot: &mut Snapshot) -> Option<Id> {
        self.next_window(head, Range::After(window), snapshot)
    }

    fn next_window(&self, head: &[u8], range: Range<'_>, snapshot: &mut Snapshot) -> Option<Id> {
        let mut found = None;
        for_each_visible(&self.keyed, range, snapshot, |columns| {
            found = Some(fallible::boxed(columns.text(BOARD), WHAT).or_raise());
            ControlFlow::Break(())
        });
        found.filter(|window: &Id| window.starts_with(head))
    }

    /// The next members of a window behind one, at most so many, each once.
    pub fn members_after(
        &self,
        window: &[u8],
        after: &[u8],
        most: usize,
        snapshot: &mut Snapshot,
    ) -> Result<Vec<Id>, CounterError> {
        let mut members: Vec<Id> = Vec::new();
        let mut refused = Ok(());
        for_each_visible(&self.keyed, Range::PairAfter(window, after), snapshot, |columns| {
            let member = columns.text(MEMBER);
            if members.last().is_none_or(|last| **last != *member) {
                if members.len() == most {
                    return ControlFlow::Break(());
                }
                refused = fallible::boxed(member, WHAT)
                    .and_then(|member| fallible::push(&mut members, member, WHAT));
            }
            if refused.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        refused?;
        Ok(members)
    }

    /// Deletes some of a window's rows; how many.
    pub fn remove_some(&self, window: &[u8], most: usize) -> usize {
        crate::boards::member_rows::remove_some(&self.keyed, window, most)
    }
}
