//! Prefixes of the ids that are audited: rows of counter_ext.audited, kept by each backend until PostgreSQL says that they
//! changed.
//!
//! counter_audit changes them while it keeps writers out of counter_ext.total, and tells other backends, as DDL does, when it
//! commits. A writer takes in such messages as it takes its own lock on that table. So what it finds here holds to the end of
//! its transaction, and an increment either is part of what counter_audit saw, or is logged.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use super::errors::AuditError;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::family::followed;
use crate::family::prefixes::Prefixes;
use crate::pg::catalog::Watch;
use crate::pg::id_scan::Range;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

const WHAT: &str = "audited prefixes";

const PREFIX: usize = 0;

/// counter_ext.audited
pub const AUDITED: FamilyTable = FamilyTable {
    name: "audited",
    relation: c"audited",
    columns: &[TEXT, TIMESTAMPTZ],
    key: "prefix",
    hint: "GRANT it on counter_ext.audited: to begin auditing takes INSERT, to end it DELETE.",
};

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static ANY: Cell<bool> = const { Cell::new(false) };
    static PREFIXES: RefCell<Prefixes> = RefCell::new(Prefixes::default());
}

/// Whether the counter is audited. The caller has locked counter_ext.total.
pub fn is_audited(id: &[u8]) -> Result<bool, CounterError> {
    if KNOWN_VERSION.get() != WATCH.with(|watch| watch.version()) {
        load()?;
    }
    Ok(ANY.get() && PREFIXES.with_borrow(|prefixes| prefixes.cover(id)))
}

/// All prefixes, as of now.
pub fn prefixes() -> Result<Prefixes, CounterError> {
    load()?;
    Ok(PREFIXES.with_borrow(Clone::clone))
}

fn load() -> Result<(), CounterError> {
    // The version is read before the look-up: a change in between makes the next call look again.
    let version = WATCH.with(|watch| watch.version());
    let mut found = Vec::new();
    if let Some(table) = AUDITED.find() {
        WATCH.with(|watch| watch.set(&[table]));
        if AUDITED.lock(Access::Read)? != table {
            return Err(CounterError::NotInstalled);
        }
        xact::in_scratch_memory(|| {
            let audited = AUDITED.open(table, Access::Read)?;
            let mut snapshot = Snapshot::fresh();
            for range in [Range::Id(b""), Range::After(b"")] {
                for_each_visible(&audited, range, &mut snapshot, |columns| {
                    let prefix = fallible::copy(columns.text(PREFIX), WHAT).or_raise();
                    fallible::push(&mut found, prefix, WHAT).or_raise();
                    ControlFlow::Continue(())
                });
            }
            Ok::<(), CounterError>(())
        })?;
    } else {
        WATCH.with(|watch| watch.set(&[]));
    }
    let prefixes = Prefixes::new(found);
    ANY.set(!prefixes.is_empty());
    PREFIXES.set(prefixes);
    KNOWN_VERSION.set(version);
    Ok(())
}

/// Adds a prefix. Returns whether it was not there. The caller holds counter_ext.total against others that do this.
pub fn add(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let audited = AUDITED.open(table, Access::Write)?;
    let is_new = !find(&audited, prefix, false)?;
    if is_new {
        write::insert(&audited.table, &[Value::Text(prefix), Value::Now]);
        followed::announce(table);
    }
    Ok(is_new)
}

/// Takes a prefix away. Returns whether it was there. The caller holds counter_ext.total as for `add`.
pub fn remove(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let audited = AUDITED.open(table, Access::Write)?;
    let was_there = find(&audited, prefix, true)?;
    if was_there {
        followed::announce(table);
    }
    Ok(was_there)
}

/// Finds the prefix's row, and deletes it if asked to. Returns whether there was one.
fn find(audited: &Keyed, prefix: &[u8], delete: bool) -> Result<bool, CounterError> {
    let held = || CounterError::from(AuditError::PrefixHeld { prefix: prefix.to_vec() });
    match latest::find(audited, Range::Id(prefix), |_| true, |_| ()) {
        Latest::Free(candidate, ()) => {
            if delete {
                candidate.delete().map_err(|_| held())?;
            }
            Ok(true)
        }
        Latest::InDoubt(_) | Latest::Locked(_) => Err(held()),
        // Made by this very command: it is there, and stays.
        Latest::Mine => Ok(!delete),
        Latest::Absent => Ok(false),
    }
}
