//! Rows of source offsets: how far each source's batches have been taken in.
//!
//! A heavyweight lock on the source, held to the end of the transaction, puts its batches in order, at any isolation level: the
//! row is read and changed by hand, in its latest version, so no snapshot can be too old for it.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use std::ops::ControlFlow;

use super::errors::IdempotencyError;
use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Status;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{Oid, xact};
use crate::rows::access::FamilyTable;
use crate::rows::column_types::*;

/// counter_ext.source_offset
pub const OFFSETS: FamilyTable = FamilyTable {
    name: "source_offset",
    relation: c"source_offset",
    columns: &[TEXT, INT8, INT8, INT8, TIMESTAMPTZ],
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
    let mut scan = IdScan::begin(&offsets.table, &offsets.key, Range::Id(source));
    loop {
        let mut found = None;
        let mut is_held = false;
        let entry = scan.next_entry(|version| {
            let status = version.status();
            // One that is locked at most may be locked by this transaction itself: the update tells.
            let is_free =
                status == Status::Free || (status == Status::Held && version.changing_xid().is_none());
            if is_free {
                let columns = version.columns();
                let numbers = [UPTO, SKIPPED, BATCHES].map(|column| columns.bigint(column));
                found = Some((Candidate::new(version), numbers));
            } else if matches!(status, Status::Held | Status::Unborn) {
                is_held = true;
            }
            ControlFlow::Continue(())
        });
        let Some(page) = entry else { break };
        if is_held {
            return Err(IdempotencyError::SourceHeld { source: source.to_vec() }.into());
        }
        let Some((mut candidate, [before, skipped, batches])) = found else { continue };
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
        if write::update(&offsets.table, page, &mut candidate, &changes).is_err() {
            return Err(IdempotencyError::SourceHeld { source: source.to_vec() }.into());
        }
        drop(scan);
        xact::see_own_changes();
        return Ok(true);
    }
    drop(scan);
    write::insert(
        &offsets.table,
        &[Value::Text(source), Value::Bigint(upto), Value::Bigint(0), Value::Bigint(1), Value::Now],
    );
    xact::see_own_changes();
    Ok(true)
}
