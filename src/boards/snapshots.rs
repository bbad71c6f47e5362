//! Dated copies of boards: rows of counter_ext.board_snapshot.

use std::ops::ControlFlow;

use super::hot;
use super::member_rows::{MEMBERS, Members};
use super::ranked::Ranked;
use super::reading;
use super::walk::Walk;
use crate::counting::transaction;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::id_scan::Range;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{process, xact};
use crate::rows::access::as_owner;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "members of a board";

const TAKEN_AT: usize = 1;
const RANK: usize = 3;
const MEMBER: usize = 4;
const SCORE: usize = 5;

/// counter_ext.board_snapshot
pub const SNAPSHOTS: FamilyTable = FamilyTable {
    name: "board_snapshot",
    relation: c"board_snapshot",
    columns: &[TEXT, TIMESTAMPTZ, INT8, INT8, TEXT, INT8],
    key: "board, taken_at, position",
    hint: "GRANT it on counter_ext.board_snapshot: to take a copy needs INSERT, to read one SELECT, to forget old ones DELETE.",
};

/// The first members of the last copy of a board that was taken by then, as the caller's query sees it.
pub fn top(prefix: &[u8], most: usize, at_us: i64) -> Result<Vec<Ranked>, CounterError> {
    let table = SNAPSHOTS.enter_to_read()?;
    let keyed = SNAPSHOTS.open(table, Access::Read)?;
    let mut top: Vec<Ranked> = Vec::new();
    xact::in_scratch_memory(|| {
        let mut snapshot = Snapshot::of_query();
        let mut taken_at_us = None;
        for_each_visible(&keyed, Range::UptoInstant(prefix, at_us), &mut snapshot, |columns| {
            taken_at_us = Some(columns.bigint(TAKEN_AT));
            ControlFlow::Break(())
        });
        let Some(taken_at_us) = taken_at_us.filter(|_| most > 0) else { return Ok(()) };
        let mut refused = Ok(());
        for_each_visible(&keyed, Range::IdAt(prefix, taken_at_us), &mut snapshot, |columns| {
            refused = fallible::boxed(columns.text(MEMBER), WHAT).and_then(|member| {
                let (rank, score) = (columns.bigint(RANK), columns.bigint(SCORE));
                fallible::push(&mut top, Ranked { rank, member, score }, WHAT)
            });
            if refused.is_ok() && top.len() < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        Ok::<(), CounterError>(refused?)
    })?;
    Ok(top)
}

/// Copies a board as it is now, with what is hot. Returns when that was.
pub fn take(prefix: &[u8]) -> Result<i64, CounterError> {
    transaction::check_may_change("counter_board_snapshot")?;
    let tables = reading::enter(prefix)?;
    let members = Members::open(MEMBERS.lock(Access::Read)?, Access::Read)?;
    let hot = hot::gather(tables, prefix, usize::MAX)?;
    let table = SNAPSHOTS.enter_to_write(Rights::INSERT, "INSERT")?;
    let taken_at_us = process::now_us();
    as_owner(tables, |_| {
        let copies = Table::open(table);
        for (position, ranked) in
            (1..).zip(Walk::begin(members.all(prefix, None), hot.snapshot, &hot.scores)?)
        {
            process::check_for_interrupts();
            xact::in_scratch_memory(|| {
                write::insert(
                    &copies,
                    &[
                        Value::Text(prefix),
                        Value::Bigint(taken_at_us),
                        Value::Bigint(position),
                        Value::Bigint(ranked.rank),
                        Value::Text(&ranked.member),
                        Value::Bigint(ranked.score),
                    ],
                );
            });
        }
        Ok::<(), CounterError>(())
    })?;
    xact::see_own_changes();
    Ok(taken_at_us)
}
