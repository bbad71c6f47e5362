//! Rows of tokens: inserted once each, at any isolation level, and forgotten when they are old.
//!
//! Two transactions with the same token: the second waits for the first to end, and inserts if that rolled back. A
//! heavyweight lock on the key is held from the look to the insert, so that no two of them look at the same time; it goes
//! right after, since an uncommitted row is seen by the next one's look.

use std::ops::ControlFlow;

use super::access::{FamilyTable, Keyed};
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::lock::{self, Subject};
use crate::pg::page::Status;
use crate::pg::table::{Access, Index, Table};
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{catalog, xact};

const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1184;

/// counter_ext.token
pub const TOKENS: FamilyTable =
    FamilyTable { name: "token", relation: c"token", columns: &[TEXT, TEXT, TIMESTAMPTZ] };

/// What a look at a key's rows says.
enum Look {
    There,
    Absent,
    /// Another transaction is inserting, or deleting, it.
    InDoubt(u32),
}

/// Inserts the token for an id unless it is there. Returns whether it was inserted.
pub fn insert_once(table: Oid, token: &[u8], id: &[u8]) -> Result<bool, CounterError> {
    let tokens = TOKENS.open(table, Access::Write)?;
    let subject = Subject::Key(key_hash(token, id));
    loop {
        lock::lock_exclusive(table, subject);
        let look = look(&tokens, token, id);
        if matches!(look, Look::Absent) {
            write::insert(&tokens.table, &[Value::Text(token), Value::Text(id), Value::Now]);
        }
        lock::unlock_exclusive(table, subject);
        match look {
            Look::There => return Ok(false),
            Look::Absent => {
                xact::see_own_changes();
                return Ok(true);
            }
            Look::InDoubt(xid) => lock::wait_for_transaction(xid),
        }
    }
}

fn look(tokens: &Keyed, token: &[u8], id: &[u8]) -> Look {
    let mut scan = IdScan::begin(&tokens.table, &tokens.key, Range::Pair(token, id));
    let mut look = Look::Absent;
    while scan
        .next_entry(|version| {
            match version.status() {
                Status::Free | Status::Mine => look = Look::There,
                Status::Unborn => look = Look::InDoubt(version.xmin()),
                Status::Held => look = version.changing_xid().map_or(Look::There, Look::InDoubt),
                Status::Updated | Status::Deleted => return ControlFlow::Continue(()),
            }
            ControlFlow::Break(())
        })
        .is_some()
    {
        if !matches!(look, Look::Absent) {
            break;
        }
    }
    look
}

/// Over both, with a byte between them that no text has.
fn key_hash(token: &[u8], id: &[u8]) -> u32 {
    lock::key_hash(token.iter().chain(&[0]).chain(id))
}

/// Forgets up to `limit` tokens from before a time that nobody holds; returns how many. The table is locked.
pub fn purge(table: Oid, before_us: i64, limit: u64) -> u64 {
    let Some(by_time) = catalog::relation(c"counter_ext", c"token_at") else { return 0 };
    let table = Table::open(table);
    let by_time = Index::open(by_time, Access::Write);
    let mut scan = IdScan::begin(&table, &by_time, Range::Before(before_us));
    let mut purged = 0;
    while purged < limit {
        let mut found = None;
        let entry = scan.next_entry(|version| {
            if version.status() == Status::Free {
                found = Some(Candidate::new(version));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let Some(page) = entry else { break };
        if let Some(candidate) = found
            && write::delete(&table, page, &candidate).is_ok()
        {
            purged += 1;
        }
    }
    purged
}
