//! Rows of counter_ext.bucket: one a counter, bucket and node, or several where somebody held the first. Nothing here waits, but for what
//! making a partition does.
//!
//! What is under way in a partition that is being rolled up says counter_ext.rolled: ids up to the one noted there have been added to longer
//! buckets, in the same transaction, and their rows in the partition mean nothing any more.
//!
//! BOUND: the name of a partition, and as many partitions as a level has.

use std::ops::ControlFlow;

use super::level::{LEVELS, Level, Partition};
use super::partitions::{self, AT, BUCKET, ID, Leaf, leaves, of_level};
use super::tracked_rows::TRACKED;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::Columns;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::{Access, Table};
use crate::pg::write::{self, Value};
use crate::pg::{Oid, catalog, lock, random, xact};
use crate::rows::bigint_parts;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;
use crate::settings;

const WHAT: &str = "buckets of a series";
/// counter_ext.rolled
pub const ROLLED: FamilyTable = FamilyTable {
    name: "rolled",
    relation: c"rolled",
    columns: &[TEXT, TEXT],
    key: "partition",
    hint: "It is written by the extension only.",
};

const NODE: usize = 2;
const VALUE: usize = 4;
const UPTO: usize = 1;

/// What a bucket holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: Id,
    pub level: Level,
    pub at_us: i64,
    pub value: i128,
}

pub(super) struct BucketRow {
    pub at_us: i64,
    pub node: i32,
    pub value: i64,
}

impl BucketRow {
    pub fn read(columns: &Columns<'_>) -> BucketRow {
        BucketRow { at_us: columns.bigint(AT), node: columns.int(NODE), value: columns.bigint(VALUE) }
    }
}

/// Adds to buckets.
pub struct Writer {
    node: i32,
    leaves: Vec<Leaf>,
    /// Of levels that were asked about: which partitions there are.
    existing: [Option<Vec<Partition>>; 3],
    /// Of partitions that were asked about: up to which id they are rolled up.
    rolled: Vec<(Partition, Option<Id>)>,
}

impl Writer {
    /// The caller has locked counter_ext.total for writing.
    pub fn open() -> Result<Writer, CounterError> {
        Ok(Writer {
            node: settings::node(),
            leaves: Vec::new(),
            existing: [const { None }; 3],
            rolled: Vec::new(),
        })
    }

    /// Whether such a bucket of an id is rolled up into longer ones already: what is added to it nobody would see. The caller keeps out who
    /// rolls up, or is it.
    pub fn is_rolled(&mut self, level: Level, at_us: i64, id: &[u8]) -> Result<bool, CounterError> {
        let existing = self.existing(level)?.iter().copied().find(|of| of.covers(at_us));
        let of = existing.unwrap_or_else(|| level.partition(at_us));
        if !self.rolled.iter().any(|(known, _)| *known == of) {
            let rolled = ROLLED.open(ROLLED.lock_in_time(Access::Read)?, Access::Read)?;
            let upto = rolled_upto(&rolled, &of.name(), &mut Snapshot::fresh());
            fallible::push(&mut self.rolled, (of, upto), WHAT)?;
        }
        let upto = self.rolled.iter().find(|(known, _)| *known == of).and_then(|(_, upto)| upto.as_deref());
        Ok(upto.is_some_and(|upto| id <= upto))
    }

    /// Adds to this node's bucket.
    pub fn add(&mut self, bucket: &Bucket) -> Result<(), CounterError> {
        let node = self.node;
        self.add_of_node(bucket, node)
    }

    /// Adds to a node's bucket.
    pub fn add_of_node(&mut self, bucket: &Bucket, node: i32) -> Result<(), CounterError> {
        let leaf = self.leaf(bucket.level, bucket.at_us)?;
        let mut left = bucket.value;
        if let Some(keyed) = &leaf.keyed {
            let find = latest::find(
                keyed,
                Range::IdAt(&bucket.id, bucket.at_us),
                |columns| columns.int(NODE) == node,
                |columns| columns.bigint(VALUE),
            );
            if let Latest::Free(candidate, before) = find
                && let Ok(value) = i64::try_from(i128::from(before) + left)
                && candidate.update(&[(VALUE, Value::Bigint(value))]).is_ok()
            {
                left = 0;
            }
        }
        let Some(table) = leaf.table() else { return Err(CounterError::NotInstalled) };
        for part in bigint_parts(left) {
            insert(table, bucket, node, part);
        }
        Ok(())
    }

    /// A level's partitions: those that there were when it was first asked about, and those that were made here.
    fn existing(&mut self, level: Level) -> Result<&mut Vec<Partition>, CounterError> {
        let known = &mut self.existing[level as usize];
        if known.is_none() {
            let parent = of_level(level).lock_in_time(Access::Read)?;
            *known = Some(leaves(level, parent).into_iter().filter_map(|(_, of)| of).collect());
        }
        Ok(known.get_or_insert_default())
    }

    fn leaf(&mut self, level: Level, at_us: i64) -> Result<&Leaf, CounterError> {
        if let Some(found) =
            self.leaves.iter().position(|leaf| leaf.of.level == level && leaf.of.covers(at_us))
        {
            return Ok(&self.leaves[found]);
        }
        let leaf = partitions::open(level, at_us)?;
        let existing = self.existing(level)?;
        if !existing.contains(&leaf.of) {
            existing.push(leaf.of);
        }
        self.leaves.push(leaf);
        Ok(&self.leaves[self.leaves.len() - 1])
    }
}

fn insert(table: &Table, bucket: &Bucket, node: i32, value: i64) {
    write::insert(
        table,
        &[
            Value::Text(&bucket.id),
            Value::Bigint(bucket.at_us),
            Value::Int(node),
            Value::Bigint(random::bits() as i64),
            Value::Bigint(value),
            Value::Int(bucket.level.minutes()),
        ],
    );
}

/// Buckets, open for reading. Partitions of levels that are locked are not dropped to the end of the transaction.
pub struct Reader {
    parents: [Oid; 3],
    rolled: Keyed,
}

impl Reader {
    /// Before the snapshot is taken that it reads by.
    pub fn open() -> Result<Reader, CounterError> {
        let mut parents = [Oid::from(0); 3];
        for level in LEVELS {
            parents[level as usize] = of_level(level).lock(Access::Read)?;
        }
        let rolled = ROLLED.lock(Access::Read)?;
        Ok(Reader { parents, rolled: ROLLED.open(rolled, Access::Read)? })
    }

    /// Shows a counter's buckets that begin from one instant on and before another, as the snapshot sees them.
    pub fn for_each(
        &self,
        id: &[u8],
        span: Span,
        snapshot: &mut Snapshot,
        mut see: impl FnMut(Level, i64, i64),
    ) -> Result<(), CounterError> {
        self.for_each_leaf(span, |level, leaf| {
            let keyed = BUCKET.open(leaf, Access::Read)?;
            if self.is_rolled(leaf, id, snapshot) {
                return Ok(());
            }
            for_each_visible(&keyed, Range::Id(id), snapshot, |columns| {
                let row = BucketRow::read(columns);
                if span.takes(row.at_us) {
                    see(level, row.at_us, row.value);
                }
                ControlFlow::Continue(())
            });
            Ok(())
        })
    }

    /// Shows the buckets of all counters under a prefix: id and value. Of a partition that a span has whole it reads those of the prefix; of
    /// one that it has in part, those of the span's times, by the index over them.
    pub fn for_each_under(
        &self,
        prefix: &[u8],
        span: Span,
        snapshot: &mut Snapshot,
        mut see: impl FnMut(&[u8], i64) -> Result<(), CounterError>,
    ) -> Result<(), CounterError> {
        self.for_each_partition(span, |_, leaf, of| {
            let upto = self.rolled_upto(leaf, snapshot);
            let by_time =
                of.filter(|of| !span.has(*of)).and_then(|of| Some((of, partitions::by_time(of, leaf)?)));
            let (keyed, range) = match by_time {
                Some((of, keyed)) => {
                    (keyed, Range::Between(span.from_us.max(of.from_us), span.before_us.min(of.to_us)))
                }
                None => (BUCKET.open(leaf, Access::Read)?, Range::From(prefix)),
            };
            let is_by_time = matches!(range, Range::Between(..));
            let mut failed = Ok(());
            for_each_visible(&keyed, range, snapshot, |columns| {
                let (id, row) = (columns.text(ID), BucketRow::read(columns));
                if !id.starts_with(prefix) {
                    return if is_by_time { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                }
                if span.takes(row.at_us) && upto.as_ref().is_none_or(|upto| **upto < *id) {
                    failed = see(id, row.value);
                }
                if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            failed
        })
    }

    fn for_each_leaf(
        &self,
        span: Span,
        mut see: impl FnMut(Level, Oid) -> Result<(), CounterError>,
    ) -> Result<(), CounterError> {
        self.for_each_partition(span, |level, leaf, _| see(level, leaf))
    }

    fn for_each_partition(
        &self,
        span: Span,
        mut see: impl FnMut(Level, Oid, Option<Partition>) -> Result<(), CounterError>,
    ) -> Result<(), CounterError> {
        // A partition made since the levels were locked is among them.
        catalog::hear_changes();
        for level in LEVELS {
            for (leaf, of) in leaves(level, self.parents[level as usize]) {
                if of.is_none_or(|of| span.meets(of)) {
                    lock::lock_table(leaf, Access::Read);
                    see(level, leaf, of)?;
                }
            }
        }
        Ok(())
    }

    fn rolled_upto(&self, leaf: Oid, snapshot: &mut Snapshot) -> Option<Id> {
        rolled_upto(&self.rolled, &catalog::relation_name(leaf), snapshot)
    }

    fn is_rolled(&self, leaf: Oid, id: &[u8], snapshot: &mut Snapshot) -> bool {
        self.rolled_upto(leaf, snapshot).is_some_and(|upto| *id <= *upto)
    }
}

/// Instants from one on and before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from_us: i64,
    pub before_us: i64,
}

impl Span {
    pub fn takes(self, at_us: i64) -> bool {
        self.from_us <= at_us && at_us < self.before_us
    }

    fn has(self, of: Partition) -> bool {
        self.from_us <= of.from_us && of.to_us <= self.before_us
    }

    fn meets(self, of: Partition) -> bool {
        of.from_us < self.before_us && self.from_us < of.to_us
    }
}

pub(super) fn rolled_upto(rolled: &Keyed, partition: &str, snapshot: &mut Snapshot) -> Option<Id> {
    let mut upto = None;
    for_each_visible(rolled, Range::Id(partition.as_bytes()), snapshot, |columns| {
        upto = Some(fallible::boxed(columns.text(UPTO), WHAT).or_raise());
        ControlFlow::Break(())
    });
    upto
}

/// Takes all buckets of a counter away: a row that somebody holds is made up for by another. Waits for a piece that is being rolled up,
/// and keeps further ones out to the end of the transaction. Shows each bucket with its node; returns whether there were any, and the snapshot that
/// said so.
pub fn take(
    id: &[u8],
    mut see: impl FnMut(Bucket, i32) -> Result<(), CounterError>,
) -> Result<(bool, Snapshot), CounterError> {
    let rolled_table = ROLLED.lock(Access::Write)?;
    let rolled = ROLLED.open(rolled_table, Access::Read)?;
    let mut snapshot = Snapshot::fresh();
    let mut had_any = false;
    for level in LEVELS {
        let parent = of_level(level).lock(Access::Write)?;
        catalog::hear_changes();
        for (leaf, _) in leaves(level, parent) {
            lock::lock_table(leaf, Access::Write);
            let is_rolled = rolled_upto(&rolled, &catalog::relation_name(leaf), &mut snapshot)
                .is_some_and(|upto| *id <= *upto);
            let keyed = BUCKET.open(leaf, Access::Write)?;
            let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
            while let Some((candidate, row)) = latest::next_visible(&mut scan, &mut snapshot, BucketRow::read)
            {
                let mut bucket = Bucket {
                    id: fallible::boxed(id, WHAT)?,
                    level,
                    at_us: row.at_us,
                    value: i128::from(row.value),
                };
                if candidate.delete().is_err() && !is_rolled {
                    bigint_parts(-bucket.value)
                        .for_each(|part| insert(&keyed.table, &bucket, row.node, part));
                }
                if !is_rolled {
                    had_any = true;
                    bucket.value = i128::from(row.value);
                    see(bucket, row.node)?;
                }
            }
        }
    }
    xact::see_own_changes();
    Ok((had_any, snapshot))
}

/// Locks what `take` locks, for who waits for nobody. Returns whether it could.
pub fn try_lock_to_take() -> bool {
    TRACKED.try_lock(Access::Read)
        && ROLLED.try_lock(Access::Write)
        && LEVELS.into_iter().all(|level| {
            let family_table = of_level(level);
            family_table.try_lock(Access::Write)
                && family_table.find().is_some_and(|parent| {
                    leaves(level, parent).iter().all(|(leaf, _)| lock::try_lock_table(*leaf, Access::Write))
                })
        })
}

/// The next ids after one that begin with a prefix and have buckets, in no order and perhaps several times.
pub fn ids_after(
    prefix: &[u8],
    after: &[u8],
    mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), CounterError> {
    let mut snapshot = Snapshot::fresh();
    for level in LEVELS {
        let parent = of_level(level).lock(Access::Read)?;
        for (leaf, _) in leaves(level, parent) {
            lock::lock_table(leaf, Access::Read);
            let keyed = BUCKET.open(leaf, Access::Read)?;
            let mut after: Id = fallible::boxed(after.max(prefix), WHAT)?;
            let mut range_is_open = after.len() == prefix.len();
            loop {
                let mut next: Option<Id> = None;
                // Straight to the next id: this one may have a thousand rows.
                let range = if range_is_open { Range::From(&after) } else { Range::After(&after) };
                for_each_visible(&keyed, range, &mut snapshot, |columns| {
                    next = Some(fallible::boxed(columns.text(ID), WHAT).or_raise());
                    ControlFlow::Break(())
                });
                range_is_open = false;
                let Some(id) = next.filter(|id| id.starts_with(prefix)) else { break };
                if see(&id).is_break() {
                    break;
                }
                after = id;
            }
        }
    }
    Ok(())
}
