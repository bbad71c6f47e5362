//! Entries of the audit log as transactions append them.
//!
//! They are rows of the caller's transaction, inserted as the function is called: they commit and roll back with it, and with its
//! savepoints. Each draws a random number, so inserts meet nobody. Only sealing deletes them, in the transaction that inserts them
//! into counter_ext.audit_log: a crash leaves them in one of the two.
//!
//! BOUND: what is copied here without asking is a column of one row, shorter than a page, or a name.

use std::ops::ControlFlow;

use super::entry::{LogEntry, LoggedOperation};
use crate::errors::{CounterError, OrRaise, check_key};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{Oid, privilege, process, random, xact};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::latest;
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;
use crate::settings;

const WHAT: &str = "entries to seal";

/// counter_ext.audit_pending
pub const PENDING: FamilyTable = FamilyTable {
    name: "audit_pending",
    relation: c"audit_pending",
    columns: &[TEXT, TIMESTAMPTZ, INT8, INT8, TEXT, TEXT, TEXT, XID8, INT4],
    key: "id, at, entry",
    hint: "GRANT it on counter_ext.audit_pending.",
};

const ID: usize = 0;
const AT: usize = 1;
const DELTA: usize = 3;
const OPERATION: usize = 4;
const ACTOR: usize = 5;
const ROLE: usize = 6;
const XID: usize = 7;
const NODE: usize = 8;

/// Appends an entry of any amount, as several where bigint does not hold it. Who acts is whom the call names, else the setting
/// counter_ext.actor, else the session's user. Errors: 22023 that setting is too long.
pub fn append(
    id: &[u8],
    delta: i128,
    operation: LoggedOperation,
    actor: Option<&[u8]>,
) -> Result<(), CounterError> {
    if let Some(actor) = actor {
        check_key("counter_ext.actor", actor)?;
    }
    let actor = match actor {
        Some(actor) => Some(actor.to_vec()),
        None => super::settings::actor(),
    };
    if let Some(actor) = &actor {
        check_key("counter_ext.actor", actor)?;
    }
    let table = PENDING.lock(Access::Write)?;
    xact::in_scratch_memory(|| {
        let table = Table::open(table);
        let role = privilege::session_user_name();
        let actor = actor.as_ref().unwrap_or(&role);
        let at = process::now_us();
        let xid = xact::full_xid();
        let none = (delta == 0).then_some(0);
        for part in none.into_iter().chain(crate::rows::bigint_parts(delta)) {
            write::insert(
                &table,
                &[
                    Value::Text(id),
                    Value::Bigint(at),
                    Value::Bigint(random::bits() as i64),
                    Value::Bigint(part),
                    Value::Text(operation.name().as_bytes()),
                    Value::Text(actor),
                    Value::Text(&role),
                    Value::Bigint(xid as i64),
                    Value::Int(settings::node()),
                ],
            );
        }
    });
    Ok(())
}

fn entry(columns: &Columns<'_>) -> LogEntry {
    LogEntry {
        id: columns.text(ID).to_vec(),
        delta: columns.bigint(DELTA),
        operation: columns.text(OPERATION).to_vec(),
        actor: columns.text(ACTOR).to_vec(),
        role: columns.text(ROLE).to_vec(),
        at_us: columns.bigint(AT),
        xid: columns.bigint(XID) as u64,
        node: columns.int(NODE),
    }
}

/// Takes the entries of the id and those after it, a bounded number, in order of id and time: those that are committed and held by
/// nobody. The table is locked.
pub fn take(table: Oid, from: &[u8], limit: usize) -> Result<Vec<LogEntry>, CounterError> {
    let pending = PENDING.open(table, Access::Write)?;
    let mut taken = Vec::new();
    let mut scan = IdScan::begin(&pending.table, &pending.key, Range::From(from));
    while taken.len() < limit {
        let Some((candidate, entry)) = latest::next_free(&mut scan, |columns| Some(entry(columns))) else {
            break;
        };
        if candidate.delete().is_ok() {
            fallible::push(&mut taken, entry, WHAT)?;
        }
    }
    Ok(taken)
}

/// How many entries of a counter are not sealed, and their sum. The table is locked.
pub fn sum(table: Oid, id: &[u8], snapshot: &mut Snapshot) -> Result<(u64, i128), CounterError> {
    let pending = PENDING.open(table, Access::Read)?;
    let (mut entries, mut sum) = (0, 0);
    for_each_visible(&pending, Range::Id(id), snapshot, |columns| {
        entries += 1;
        sum += i128::from(columns.bigint(DELTA));
        ControlFlow::Continue(())
    });
    Ok((entries, sum))
}

/// The next ids after an id that have entries. The table is locked.
pub fn ids_after(
    table: Oid,
    after: &[u8],
    limit: usize,
    snapshot: &mut Snapshot,
) -> Result<Vec<Id>, CounterError> {
    let pending = PENDING.open(table, Access::Read)?;
    let mut ids: Vec<Id> = Vec::new();
    for_each_visible(&pending, Range::After(after), snapshot, |columns| {
        let id = columns.text(ID);
        if ids.last().is_none_or(|last| **last != *id) {
            if ids.len() == limit {
                return ControlFlow::Break(());
            }
            fallible::push(&mut ids, fallible::boxed(id, WHAT).or_raise(), WHAT).or_raise();
        }
        ControlFlow::Continue(())
    });
    Ok(ids)
}
