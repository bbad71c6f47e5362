//! The sealed audit log, which is partitioned by time, and the last links of its chains.
//!
//! Written by sealing only, in one transaction with what it takes from counter_ext.audit_pending, while the compaction lock keeps
//! other sealing out: a chain is never forked, and a crash leaves it as it was. Partitions may be added by an
//! administrator, each with a primary key (id, seq): their columns are found by name.
//!
//! BOUND: what is copied here without asking is a column of one row, shorter than a page.

use std::ops::ControlFlow;

use super::anchor::Anchor;
use super::entry::{Head, LogEntry, Sealed};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::confined::Confined;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{Oid, catalog, lock, process};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "entries of the audit log";

/// counter_ext.audit_log
pub const LOG: FamilyTable = FamilyTable {
    name: "audit_log",
    relation: c"audit_log",
    columns: &[TEXT, INT8, INT8, TEXT, TEXT, TEXT, TIMESTAMPTZ, XID8, INT4, BYTEA],
    key: "id, seq",
    hint: "GRANT it on counter_ext.audit_log.",
};

/// counter_ext.audit_head
pub const HEAD: FamilyTable = FamilyTable {
    name: "audit_head",
    relation: c"audit_head",
    columns: &[TEXT, INT8, BYTEA, TIMESTAMPTZ],
    key: "id",
    hint: "GRANT it on counter_ext.audit_head.",
};

/// counter_ext.audit_anchor
pub const ANCHOR: FamilyTable = FamilyTable {
    name: "audit_anchor",
    relation: c"audit_anchor",
    columns: &[TEXT, INT8, INT8, BYTEA, TIMESTAMPTZ],
    key: "name",
    hint: "GRANT it on counter_ext.audit_anchor.",
};

mod anchor_columns {
    pub const HEADS: usize = 1;
    pub const ENTRIES: usize = 2;
    pub const SUM: usize = 3;
    pub const UPDATED_AT: usize = 4;
}

/// The key of the one row there is.
const ANCHOR_ID: &[u8] = b"heads";

mod head_columns {
    pub const ID: usize = 0;
    pub const SEQ: usize = 1;
    pub const HASH: usize = 2;
    pub const UPDATED_AT: usize = 3;
}

/// Names of the log's columns, in the order in which `Leaf` knows them.
const NAMES: [&std::ffi::CStr; 10] =
    [c"id", c"seq", c"delta", c"operation", c"actor", c"role", c"at", c"xid", c"node", c"hash"];

/// One partition, open.
struct Leaf {
    keyed: Keyed,
    columns: [usize; 10],
}

impl Leaf {
    fn open(table: Oid) -> Result<Leaf, CounterError> {
        let mut columns = [0; 10];
        for (column, name) in columns.iter_mut().zip(NAMES) {
            *column = catalog::column(table, name).ok_or(CounterError::NotInstalled)?;
        }
        let [id, seq, ..] = columns;
        // It is scanned by id, in the order of seq.
        let keyed = Keyed::over(Table::open(table), &[id, seq], LOG.name, LOG.key, Access::Read)?;
        Ok(Leaf { keyed, columns })
    }

    fn sealed(&self, columns: &Columns<'_>) -> Sealed {
        let [id, seq, delta, operation, actor, role, at, xid, node, hash] = self.columns;
        Sealed {
            seq: columns.bigint(seq),
            hash: columns.text(hash).to_vec(),
            entry: LogEntry {
                id: columns.text(id).to_vec(),
                delta: columns.bigint(delta),
                operation: columns.text(operation).to_vec(),
                actor: columns.text(actor).to_vec(),
                role: columns.text(role).to_vec(),
                at_us: columns.bigint(at),
                xid: columns.bigint(xid) as u64,
                node: columns.int(node),
            },
        }
    }
}

/// Locks the log and its partitions for sealing, unless somebody holds a conflicting lock.
pub fn try_lock(log: Oid) -> bool {
    lock::try_lock_table(log, Access::Write)
        && catalog::partitions(log).into_iter().all(|leaf| lock::try_lock_table(leaf, Access::Write))
}

/// Reads the log, whose parent is locked.
pub struct LogReader {
    leaves: Vec<Leaf>,
    heads: Keyed,
    anchor: Keyed,
}

impl LogReader {
    /// The log, the heads and the anchor are locked.
    pub fn open(log: Oid, heads: Oid, anchor: Oid) -> Result<LogReader, CounterError> {
        let leaves = catalog::partitions(log).into_iter().filter_map(|leaf| {
            lock::lock_table(leaf, Access::Read);
            // Dropped while the lock was waited for.
            lock::relation_exists(leaf).then(|| Leaf::open(leaf))
        });
        let leaves = fallible::try_collect(leaves, WHAT)?;
        Ok(LogReader {
            leaves,
            heads: HEAD.open(heads, Access::Read)?,
            anchor: ANCHOR.open(anchor, Access::Read)?,
        })
    }

    /// Shows each entry of a counter that the snapshot sees, in the order of `seq`, wherever it is.
    pub fn for_each(&self, id: &[u8], snapshot: &mut Snapshot, mut see: impl FnMut(&Sealed)) {
        let scans = self
            .leaves
            .iter()
            .map(|leaf| (IdScan::begin(&leaf.keyed.table, &leaf.keyed.key, Range::Id(id)), leaf));
        let mut scans = fallible::collect(scans, WHAT).or_raise();
        let next = scans.iter_mut().map(|(scan, leaf)| next_visible(scan, leaf, snapshot));
        let mut next = fallible::collect(next, WHAT).or_raise();
        loop {
            process::check_for_interrupts();
            let first =
                next.iter().enumerate().filter_map(|(at, sealed)| Some((sealed.as_ref()?.seq, at))).min();
            let Some((_, at)) = first else { return };
            if let Some(sealed) = &next[at] {
                see(sealed);
            }
            let (scan, leaf) = &mut scans[at];
            next[at] = next_visible(scan, leaf, snapshot);
        }
    }

    /// The last link of a counter's chain, as the snapshot sees it.
    pub fn head(&self, id: &[u8], snapshot: &mut Snapshot) -> Option<Head> {
        let mut head = None;
        for_each_visible(&self.heads, Range::Id(id), snapshot, |columns| {
            head = Some(head_of(columns));
            ControlFlow::Break(())
        });
        head
    }

    /// What the anchor knows, and what the heads that are there add up to, as the snapshot sees both.
    pub fn anchors(&self, snapshot: &mut Snapshot) -> (Anchor, Anchor) {
        let (mut known, mut found) = (Anchor::default(), Anchor::default());
        for_each_visible(&self.anchor, Range::Id(ANCHOR_ID), snapshot, |columns| {
            known = anchor_of(columns);
            ControlFlow::Break(())
        });
        for_each_visible(&self.heads, Range::From(b""), snapshot, |columns| {
            found.add(columns.text(head_columns::ID), &head_of(columns));
            ControlFlow::Continue(())
        });
        (known, found)
    }

    /// The next ids after an id that have a chain.
    pub fn ids_after(&self, after: &[u8], limit: usize, snapshot: &mut Snapshot) -> Vec<Id> {
        let mut ids = Vec::new();
        for_each_visible(&self.heads, Range::After(after), snapshot, |columns| {
            let id = fallible::boxed(columns.text(head_columns::ID), WHAT).or_raise();
            fallible::push(&mut ids, id, WHAT).or_raise();
            if ids.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        ids
    }
}

fn next_visible(scan: &mut IdScan<'_>, leaf: &Leaf, snapshot: &mut Snapshot) -> Option<Sealed> {
    latest::next_visible(scan, snapshot, |columns| leaf.sealed(columns)).map(|(_, sealed)| sealed)
}

fn head_of(columns: &Columns<'_>) -> Head {
    Head { seq: columns.bigint(head_columns::SEQ), hash: columns.text(head_columns::HASH).to_vec() }
}

fn anchor_of(columns: &Columns<'_>) -> Anchor {
    let mut anchor = Anchor {
        heads: columns.bigint(anchor_columns::HEADS),
        entries: columns.bigint(anchor_columns::ENTRIES),
        ..Anchor::default()
    };
    // Whoever tampered with it need not have kept to its length.
    for (byte, stored) in anchor.sum.iter_mut().zip(columns.text(anchor_columns::SUM)) {
        *byte = *stored;
    }
    anchor
}

/// The heads and their anchor, open for sealing.
pub struct Heads {
    heads: Keyed,
    anchor: Keyed,
}

impl Heads {
    /// Both tables are locked.
    pub fn open(heads: Oid, anchor: Oid) -> Result<Heads, CounterError> {
        Ok(Heads { heads: HEAD.open(heads, Access::Write)?, anchor: ANCHOR.open(anchor, Access::Write)? })
    }

    /// The last link of a counter's chain in its latest version; `None` where there is none. Errors: somebody holds the row.
    pub fn latest(&self, id: &[u8]) -> Result<Option<Head>, CounterError> {
        visit_latest(&self.heads, HEAD.name, id, head_of, None)
    }

    /// Moves the last link on.
    pub fn write(&self, id: &[u8], head: &Head) -> Result<(), CounterError> {
        let changes = [
            (head_columns::SEQ, Value::Bigint(head.seq)),
            (head_columns::HASH, Value::Bytes(&head.hash)),
            (head_columns::UPDATED_AT, Value::Now),
        ];
        if visit_latest(&self.heads, HEAD.name, id, head_of, Some(&changes))?.is_none() {
            let values = [Value::Text(id), Value::Bigint(head.seq), Value::Bytes(&head.hash), Value::Now];
            write::insert(&self.heads.table, &values);
        }
        Ok(())
    }

    /// What the anchor knows, in its latest version.
    pub fn anchor(&self) -> Result<Anchor, CounterError> {
        Ok(visit_latest(&self.anchor, ANCHOR.name, ANCHOR_ID, anchor_of, None)?.unwrap_or_default())
    }

    pub fn write_anchor(&self, anchor: &Anchor) -> Result<(), CounterError> {
        let changes = [
            (anchor_columns::HEADS, Value::Bigint(anchor.heads)),
            (anchor_columns::ENTRIES, Value::Bigint(anchor.entries)),
            (anchor_columns::SUM, Value::Bytes(&anchor.sum)),
            (anchor_columns::UPDATED_AT, Value::Now),
        ];
        if visit_latest(&self.anchor, ANCHOR.name, ANCHOR_ID, anchor_of, Some(&changes))?.is_none() {
            let values = [
                Value::Text(ANCHOR_ID),
                Value::Bigint(anchor.heads),
                Value::Bigint(anchor.entries),
                Value::Bytes(&anchor.sum),
                Value::Now,
            ];
            write::insert(&self.anchor.table, &values);
        }
        Ok(())
    }
}

/// The latest version of a row, before it is changed. Errors: somebody holds it.
fn visit_latest<T>(
    keyed: &Keyed,
    table: &str,
    id: &[u8],
    read: fn(&Columns<'_>) -> T,
    changes: Option<&[(usize, Value<'_>)]>,
) -> Result<Option<T>, CounterError> {
    let held = || {
        CounterError::Internal(format!(
            "row of \"{}\" in counter_ext.{table} is held by another transaction",
            crate::errors::text(id)
        ))
    };
    match latest::find(keyed, Range::Id(id), |_| true, read) {
        Latest::Free(candidate, before) => {
            if let Some(changes) = changes {
                candidate.update(changes).map_err(|_| held())?;
            }
            Ok(Some(before))
        }
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(held()),
        Latest::Absent => Ok(None),
    }
}

/// Inserts entries into the partitions they belong to. Runs as the tables' owner, with the partitions locked.
pub fn insert(confined: &Confined<'_>, sealed: &[Sealed]) -> Result<(), CounterError> {
    const INSERT: &str = "INSERT INTO counter_ext.audit_log \
        (id, seq, delta, operation, actor, role, at, xid, node, hash) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8::pg_catalog.text::pg_catalog.xid8, $9, $10)";
    let spi = Spi::connect(confined)?;
    // The xid comes as text: that is how it is written.
    let types = [TEXT, INT8, INT8, TEXT, TEXT, TEXT, TIMESTAMPTZ, TEXT, INT4, BYTEA];
    let statement = spi.prepare(INSERT.as_bytes(), &types)?;
    for Sealed { seq, entry, hash } in sealed {
        process::check_for_interrupts();
        let xid = entry.xid.to_string();
        spi.run_prepared(
            &statement,
            &[
                Parameter::Text(&entry.id),
                Parameter::Bigint(*seq),
                Parameter::Bigint(entry.delta),
                Parameter::Text(&entry.operation),
                Parameter::Text(&entry.actor),
                Parameter::Text(&entry.role),
                Parameter::Bigint(entry.at_us),
                Parameter::Text(xid.as_bytes()),
                Parameter::Int(entry.node),
                Parameter::Bytes(hash),
            ],
        )?;
    }
    Ok(())
}
