//! Rows of tokens: inserted once each, at any isolation level, and forgotten when they are old.

use std::time::{Duration, Instant};

use super::errors::IdempotencyError;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::table::{Access, Index, Table};
use crate::pg::write::Value;
use crate::pg::{Oid, catalog};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::latest;
use crate::rows::pairs::{self, Pair};

/// counter_ext.token
pub const TOKENS: FamilyTable = FamilyTable {
    name: "token",
    relation: c"token",
    columns: &[TEXT, TEXT, TIMESTAMPTZ, INT8],
    key: "token, id",
    hint: "GRANT it on counter_ext.token.",
};

const AT: usize = 2;
const DELTA: usize = 3;

/// Inserts the token for an id unless it is there. Returns whether it was inserted. Errors: 22023 it is there with another delta. A row that
/// somebody has made by hand without a delta stands for any.
pub fn insert_once(table: Oid, token: &[u8], id: &[u8], delta: i64) -> Result<bool, CounterError> {
    let tokens = TOKENS.open(table, Access::Write)?;
    let row = [Value::Text(token), Value::Text(id), Value::Now, Value::Bigint(delta)];
    let is_same = |columns: &Columns<'_>| columns.is_null(DELTA) || columns.bigint(DELTA) == delta;
    match pairs::insert_once(table, &tokens, Pair(token, id), &row, is_same) {
        None => Ok(true),
        Some(true) => Ok(false),
        Some(false) => {
            let (token, id) = (fallible::copy(token, "a token")?, fallible::copy(id, "an id")?);
            Err(IdempotencyError::OtherDelta { token, id, delta }.into())
        }
    }
}

/// What one piece of a purge came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purged {
    pub tokens: u64,
    /// Where it stopped; `None` at the end.
    pub reached_us: Option<i64>,
}

/// Forgets tokens from one time on and before another that nobody holds. It stops after so many tokens or so much time, whatever
/// comes first: under a held snapshot there may be any number of dead rows to go past. The table is locked.
pub fn purge(table: Oid, from_us: i64, before_us: i64, limit: u64, time: Duration) -> Purged {
    let started = Instant::now();
    let mut purged = Purged { tokens: 0, reached_us: None };
    let Some(by_time) = catalog::relation(c"counter_ext", c"token_at") else { return purged };
    let table = Table::open(table);
    let by_time = Index::open(by_time, Access::Write);
    if !by_time.is_key_over(&table, std::iter::once(AT)) {
        return purged;
    }
    let mut scan = IdScan::begin(&table, &by_time, Range::Between(from_us, before_us));
    let mut reached_us = from_us;
    while purged.tokens < limit && started.elapsed() < time {
        let entry = latest::next_if_free(&mut scan, |columns, _| {
            reached_us = reached_us.max(columns.bigint(AT));
            Some(())
        });
        let Some(found) = entry else { return purged };
        if found.is_some_and(|(candidate, ())| candidate.delete().is_ok()) {
            purged.tokens += 1;
        }
    }
    purged.reached_us = Some(reached_us);
    purged
}
