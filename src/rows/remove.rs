//! Taking a counter's rows away.
//!
//! Nothing waits here either: a row that another transaction holds (a writer in its slot, the compactor) is not
//! deleted but neutralised, by a slot row that holds minus its committed part. What the holder adds stays.

use std::ops::ControlFlow;

use super::access::{Keyed, Tables};
use super::{slot_columns, total_columns};
use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::{Columns, Status};
use crate::pg::random;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};

/// Deletes this node's committed rows of the counter, and neutralises those that cannot be deleted.
/// Returns whether there was any committed row.
pub fn remove(tables: Tables, node: i32, id: &[u8]) -> Result<bool, CounterError> {
    let total = Keyed::total(tables, Access::Write)?;
    let slot = Keyed::slot(tables, Access::Write)?;
    let mut left = 0i128;
    let mut existed = false;

    let from_total = |columns: &Columns<'_>| {
        let own = columns.int(total_columns::NODE) == node;
        (own, columns.bigint(total_columns::VALUE))
    };
    let from_slot = |columns: &Columns<'_>| (true, columns.bigint(slot_columns::DELTA));
    remove_from(&total, id, from_total, &mut left, &mut existed);
    remove_from(&slot, id, from_slot, &mut left, &mut existed);

    while left != 0 {
        let part = left.clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX)) as i64;
        write::insert(
            &slot.table,
            &[Value::Text(id), Value::Bigint(random::bits() as i64), Value::Bigint(-part)],
        );
        left -= i128::from(part);
    }
    Ok(existed)
}

/// `value_of` says whether a row may be deleted here, and what it holds.
fn remove_from(
    keyed: &Keyed,
    id: &[u8],
    value_of: impl Fn(&Columns<'_>) -> (bool, i64),
    left: &mut i128,
    existed: &mut bool,
) {
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    loop {
        let mut found = None;
        let entry = scan.next_entry(|version| {
            let status = version.status();
            if matches!(status, Status::Free | Status::Held) {
                let (deletable, value) = value_of(&version.columns());
                let candidate = (deletable && status == Status::Free).then(|| Candidate::new(version));
                found = Some((candidate, value));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let Some(page) = entry else { return };
        let Some((candidate, value)) = found else {
            continue;
        };
        *existed = true;
        let deleted = candidate.is_some_and(|c| write::delete(&keyed.table, page, &c).is_ok());
        if !deleted {
            *left += i128::from(value);
        }
    }
}
