//! Rows of source offsets: how far each source's batches have been taken in.
//!
//! A heavyweight lock on the source, held to the end of the transaction, puts its batches in order, at any isolation level: the
//! row is read and changed by hand, in its latest version, so no snapshot can be too old for it.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use super::errors::IdempotencyError;
use crate::errors::CounterError;
use crate::pg::id_scan::Range;
use crate::pg::page::Columns;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact};
use crate::rows::access::FamilyTable;
use crate::rows::column_types::*;
use crate::rows::latest::{self, Latest};

/// counter_ext.source_offset
pub const OFFSETS: FamilyTable = FamilyTable {
    name: "source_offset",
    relation: c"source_offset",
    columns: &[TEXT, INT8, INT8, INT8, TIMESTAMPTZ],
    key: "source",
    hint: "GRANT it on counter_ext.source_offset.",
};

const UPTO: usize = 1;
const SKIPPED: usize = 2;
const BATCHES: usize = 3;
const UPDATED_AT: usize = 4;

/// Moves a source on to an offset, with as many deltas as came with it. Returns false, and changes nothing, when it is
/// there already. The caller holds the source's lock.
pub fn advance(table: Oid, source: &[u8], upto: i64, deltas: usize) -> Result<bool, CounterError> {
    let offsets = OFFSETS.open(table, Access::Write)?;
    let held = || CounterError::from(IdempotencyError::SourceHeld { source: source.to_vec() });
    let read = |columns: &Columns<'_>| [UPTO, SKIPPED, BATCHES].map(|column| columns.bigint(column));
    let found = match latest::find(&offsets, Range::Id(source), |_| true, read) {
        Latest::Free(candidate, numbers) => Some((candidate, numbers)),
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => return Err(held()),
        Latest::Absent => None,
    };
    if let Some((candidate, [before, skipped, batches])) = found {
        if upto <= before {
            return Ok(false);
        }
        let passed = i128::from(upto) - i128::from(before) - deltas as i128;
        let skipped = skipped.saturating_add(passed.clamp(0, i128::from(i64::MAX)) as i64);
        let changes = [
            (UPTO, Value::Bigint(upto)),
            (SKIPPED, Value::Bigint(skipped)),
            (BATCHES, Value::Bigint(batches.saturating_add(1))),
            (UPDATED_AT, Value::Now),
        ];
        candidate.update(&changes).map_err(|_| held())?;
    } else {
        write::insert(
            &offsets.table,
            &[Value::Text(source), Value::Bigint(upto), Value::Bigint(0), Value::Bigint(1), Value::Now],
        );
    }
    xact::see_own_changes();
    Ok(true)
}
