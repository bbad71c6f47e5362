//! Rows of tokens: inserted once each, at any isolation level, and forgotten when they are old.

use crate::errors::CounterError;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::table::{Access, Index, Table};
use crate::pg::write::Value;
use crate::pg::{Oid, catalog};
use crate::rows::access::FamilyTable;
use crate::rows::column_types::*;
use crate::rows::latest;
use crate::rows::pairs::{self, Pair};

/// counter_ext.token
pub const TOKENS: FamilyTable = FamilyTable {
    name: "token",
    relation: c"token",
    columns: &[TEXT, TEXT, TIMESTAMPTZ],
    hint: "GRANT it on counter_ext.token.",
};

/// Inserts the token for an id unless it is there. Returns whether it was inserted.
pub fn insert_once(table: Oid, token: &[u8], id: &[u8]) -> Result<bool, CounterError> {
    let tokens = TOKENS.open(table, Access::Write)?;
    Ok(pairs::insert_once(table, &tokens, Pair(token, id), Value::Now))
}

/// Forgets up to `limit` tokens from before a time that nobody holds; returns how many. The table is locked.
pub fn purge(table: Oid, before_us: i64, limit: u64) -> u64 {
    let Some(by_time) = catalog::relation(c"counter_ext", c"token_at") else { return 0 };
    let table = Table::open(table);
    let by_time = Index::open(by_time, Access::Write);
    let mut scan = IdScan::begin(&table, &by_time, Range::Before(before_us));
    let mut purged = 0;
    while purged < limit {
        let Some((candidate, ())) = latest::next_free(&mut scan, |_| Some(())) else { break };
        if candidate.delete().is_ok() {
            purged += 1;
        }
    }
    purged
}
