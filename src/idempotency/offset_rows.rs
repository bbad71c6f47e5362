//! Rows of source offsets: how far each source's batches have been taken in.
//!
//! A heavyweight lock on the source, held to the end of the transaction, puts its batches in order, at any isolation level: the
//! row is read and changed by hand, in its latest version, so no snapshot can be too old for it.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use super::batch::{Borders, Place};
use super::errors::IdempotencyError;
use crate::errors::CounterError;
use crate::pg::id_scan::Range;
use crate::pg::page::Columns;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{Oid, privilege, xact};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};

/// counter_ext.source_offset
pub const OFFSETS: FamilyTable = FamilyTable {
    name: "source_offset",
    relation: c"source_offset",
    columns: &[TEXT, INT8, INT8, INT8, TIMESTAMPTZ, INT8, INT8, INT8, INT8, TIMESTAMPTZ, TEXT],
    key: "source",
    hint: "GRANT it on counter_ext.source_offset: applying needs INSERT and UPDATE, counter_apply_reset SELECT and DELETE.",
};

const UPTO: usize = 1;
const SKIPPED: usize = 2;
const BATCHES: usize = 3;
const UPDATED_AT: usize = 4;
const PASSED_OVER: usize = 5;
const PASSED_UPTO: usize = 6;
const RESETS: usize = 7;
const RESET_FROM: usize = 8;
const RESET_AT: usize = 9;
const RESET_BY: usize = 10;

/// What a row says of its source.
#[derive(Clone, Copy)]
struct Delivered {
    /// `None` after a reset.
    upto: Option<i64>,
    skipped: i64,
    batches: i64,
    passed_over: i64,
    resets: i64,
}

impl Delivered {
    fn read(columns: &Columns<'_>) -> Delivered {
        Delivered {
            upto: (!columns.is_null(UPTO)).then(|| columns.bigint(UPTO)),
            skipped: columns.bigint(SKIPPED),
            batches: columns.bigint(BATCHES),
            passed_over: columns.bigint(PASSED_OVER),
            resets: columns.bigint(RESETS),
        }
    }
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advanced {
    /// Its source has delivered as far before; that it came again is noted.
    Not,
    /// Its source had delivered this far, if anything.
    From(Option<i64>),
}

/// Moves a source on to the end of a batch with so many deltas. The caller holds the source's lock.
pub fn advance(table: Oid, source: &[u8], borders: Borders, deltas: usize) -> Result<Advanced, CounterError> {
    let offsets = OFFSETS.open(table, Access::Write)?;
    let Some((row, before)) = find(&offsets, source)? else {
        let zero = Value::Bigint(0);
        let upto = Value::Bigint(borders.upto);
        let values = [Value::Text(source), upto, zero, Value::Bigint(1), Value::Now, zero, Value::Null, zero];
        write::insert(&offsets.table, &values);
        xact::see_own_changes();
        return Ok(Advanced::From(None));
    };
    match borders.place(before.upto, deltas) {
        Place::Behind => {
            let changes = [
                (PASSED_OVER, Value::Bigint(before.passed_over.saturating_add(1))),
                (PASSED_UPTO, Value::Bigint(borders.upto)),
            ];
            change(row, source, &changes)?;
            Ok(Advanced::Not)
        }
        Place::Ahead { skipped } => {
            let changes = [
                (UPTO, Value::Bigint(borders.upto)),
                (SKIPPED, Value::Bigint(before.skipped.saturating_add(skipped))),
                (BATCHES, Value::Bigint(before.batches.saturating_add(1))),
                (UPDATED_AT, Value::Now),
                (PASSED_OVER, Value::Bigint(0)),
                (PASSED_UPTO, Value::Null),
            ];
            change(row, source, &changes)?;
            Ok(Advanced::From(before.upto))
        }
    }
}

/// Forgets how far a source has delivered, and keeps who did so; returns how far that was. The caller holds the source's lock.
pub fn reset(table: Oid, source: &[u8]) -> Result<Option<i64>, CounterError> {
    let offsets = OFFSETS.open(table, Access::Write)?;
    let Some((row, before)) = find(&offsets, source)? else { return Ok(None) };
    let Some(upto) = before.upto else { return Ok(None) };
    let by = privilege::session_user_name();
    let zero = Value::Bigint(0);
    let changes = [
        (UPTO, Value::Null),
        (SKIPPED, zero),
        (BATCHES, zero),
        (PASSED_OVER, zero),
        (PASSED_UPTO, Value::Null),
        (RESETS, Value::Bigint(before.resets.saturating_add(1))),
        (RESET_FROM, Value::Bigint(upto)),
        (RESET_AT, Value::Now),
        (RESET_BY, Value::Text(&by)),
    ];
    change(row, source, &changes)?;
    Ok(Some(upto))
}

fn find<'t>(offsets: &'t Keyed, source: &[u8]) -> Result<Option<(Candidate<'t>, Delivered)>, CounterError> {
    match latest::find(offsets, Range::Id(source), |_| true, Delivered::read) {
        Latest::Free(row, delivered) => Ok(Some((row, delivered))),
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(held(source)),
        Latest::Absent => Ok(None),
    }
}

fn change(row: Candidate<'_>, source: &[u8], changes: &[(usize, Value<'_>)]) -> Result<(), CounterError> {
    row.update(changes).map_err(|_| held(source))?;
    xact::see_own_changes();
    Ok(())
}

fn held(source: &[u8]) -> CounterError {
    IdempotencyError::SourceHeld { source: source.to_vec() }.into()
}
