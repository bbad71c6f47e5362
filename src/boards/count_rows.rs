//! Nodes of the tree of counts: rows of counter_ext.board_count. Written as members are.
//!
//! BOUND: a row has at most 128 counts.

use std::ops::ControlFlow;

use super::errors::BoardError;
use super::member_rows::Members;
use super::ranges::{Counts, Node, Range as Scores};
use super::tree::{Counted, Store};
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::id_scan::Range;
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

const COUNTS: usize = 2;

/// counter_ext.board_count
pub const NODES: FamilyTable = FamilyTable {
    name: "board_count",
    relation: c"board_count",
    columns: &[TEXT, TEXT, BYTEA],
    key: "board, scores",
    hint: "GRANT it on counter_ext.board_count.",
};

/// A board's counts in rows.
pub struct Nodes<'a> {
    board: &'a [u8],
    members: &'a Members,
    nodes: Keyed,
    snapshot: Snapshot,
    counted: Counted<'a>,
}

impl<'a> Nodes<'a> {
    /// The table is locked.
    pub fn open(
        table: Oid,
        board: &'a [u8],
        members: &'a Members,
        snapshot: Snapshot,
        access: Access,
    ) -> Result<Nodes<'a>, CounterError> {
        Ok(Nodes { board, members, nodes: NODES.open(table, access)?, snapshot, counted: Counted::All })
    }

    /// The counts of a board of which these members are counted.
    pub fn of(self, counted: Counted<'a>) -> Nodes<'a> {
        Nodes { counted, ..self }
    }

    pub fn snapshot(&mut self) -> &mut Snapshot {
        &mut self.snapshot
    }

    fn held(&self) -> CounterError {
        BoardError::Held { prefix: self.board.to_vec() }.into()
    }

    /// Deletes some of the board's rows; how many.
    pub fn remove_some(&self, most: usize) -> usize {
        super::member_rows::remove_some(&self.nodes, self.board, most)
    }

    /// Whether the board has any.
    pub fn has_any(&self) -> bool {
        super::member_rows::has_any(&self.nodes, self.board)
    }
}

impl Store for Nodes<'_> {
    type Error = CounterError;

    fn read(&mut self, node: Node) -> Result<Option<Counts>, CounterError> {
        let mut found = None;
        let name = node.to_string();
        let range = Range::Pair(self.board, name.as_bytes());
        for_each_visible(&self.nodes, range, &mut self.snapshot, |columns| {
            found = Some(Counts::read(node, columns.text(COUNTS)));
            ControlFlow::Break(())
        });
        match found {
            Some(None) => Err(CounterError::Internal(format!("counts of scores \"{name}\" cannot be read"))),
            Some(counts) => Ok(counts),
            None => Ok(None),
        }
    }

    fn write(&mut self, node: Node, counts: &Counts, is_new: bool) -> Result<(), CounterError> {
        let (name, bytes) = (node.to_string(), counts.bytes());
        if is_new {
            let row = [Value::Text(self.board), Value::Text(name.as_bytes()), Value::Bytes(&bytes)];
            write::insert(&self.nodes.table, &row);
            return Ok(());
        }
        match self.find(&name) {
            Latest::Free(row, ()) => {
                row.update(&[(COUNTS, Value::Bytes(&bytes))]).map_err(|_| self.held())?;
                Ok(())
            }
            _ => Err(self.held()),
        }
    }

    fn remove(&mut self, node: Node) -> Result<(), CounterError> {
        match self.find(&node.to_string()) {
            Latest::Free(row, ()) => row.delete().map_err(|_| self.held()),
            _ => Err(self.held()),
        }
    }

    fn each_score(&mut self, range: Scores, see: &mut dyn FnMut(i64)) -> Result<(), CounterError> {
        let counted = self.counted;
        let scores = (range.highest(), range.lowest);
        self.members.scores(self.board, scores, &mut self.snapshot, |score, member| {
            // All behind one that is not counted are not counted either.
            if !counted.has(score, member) {
                return ControlFlow::Break(());
            }
            see(score);
            ControlFlow::Continue(())
        });
        Ok(())
    }
}

impl Nodes<'_> {
    fn find(&self, name: &str) -> Latest<'_, ()> {
        let range = Range::Pair(self.board, name.as_bytes());
        latest::find(&self.nodes, range, |_: &Columns<'_>| true, |_| ())
    }
}
