//! Dated copies of boards: rows of counter_ext.board_snapshot.

use super::hot;
use super::member_rows::{MEMBERS, Members};
use super::reading::{self, Walk};
use crate::counting::transaction;
use crate::errors::CounterError;
use crate::pg::privilege::Rights;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{process, xact};
use crate::rows::access::{FamilyTable, as_owner};
use crate::rows::column_types::*;

/// counter_ext.board_snapshot
pub const SNAPSHOTS: FamilyTable = FamilyTable {
    name: "board_snapshot",
    relation: c"board_snapshot",
    columns: &[TEXT, TIMESTAMPTZ, INT8, INT8, TEXT, INT8],
    key: "board, taken_at, position",
    hint: "GRANT it on counter_ext.board_snapshot: to take a copy needs INSERT, to read one SELECT, to forget old ones DELETE.",
};

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
        for (position, ranked) in (1..).zip(Walk::begin(&members, prefix, hot, None)?) {
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
