//! Partitions whose buckets nobody keeps: their rows, how far they are rolled up, and how they go.
//!
//! BOUND: the name of a partition.

use std::ops::ControlFlow;

use super::bucket_rows::{BucketRow, ROLLED, rolled_upto};
use super::level::{Level, Partition};
use super::partitions::{BUCKET, ID, leaves, of_level, tell_nobody};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::id_scan::Range;
use crate::pg::snapshot::Snapshot;
use crate::pg::spi::Spi;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, confined, lock, table, xact};
use crate::rows::latest::{self, Latest};
use crate::rows::list::Id;
use crate::rows::sum::for_each_visible;

const WHAT: &str = "buckets of a series";

/// A partition whose buckets nobody keeps.
pub struct Due {
    pub of: Partition,
    leaf: Oid,
    parent: Oid,
}

/// A row of such a partition.
#[derive(Clone, Debug)]
pub struct OldRow {
    pub id: Id,
    pub at_us: i64,
    pub node: i32,
    pub value: i64,
}

/// A level's first partition that is due.
pub fn due(level: Level, is_due: impl Fn(Partition) -> bool) -> Result<Option<Due>, CounterError> {
    let parent = of_level(level).lock_in_time(Access::Read)?;
    let due =
        leaves(level, parent).into_iter().find_map(|(leaf, of)| Some((leaf, of.filter(|of| is_due(*of))?)));
    Ok(due.map(|(leaf, of)| Due { of, leaf, parent }))
}

/// Keeps out who takes buckets away, to the end of the transaction. Returns whether that can be had now.
pub fn keep_takers_out(waits: bool) -> Result<bool, CounterError> {
    let rolled = ROLLED.find().ok_or(CounterError::NotInstalled)?;
    Ok(locks(rolled, Access::AgainstWriters, waits))
}

fn locks(table: Oid, access: Access, waits: bool) -> bool {
    if waits {
        lock::lock_table(table, access);
    }
    waits || lock::try_lock_table(table, access)
}

impl Due {
    /// The next rows, about so many, to the end of an id; `None` behind the last. Errors: 55P03.
    pub fn next_rows(&self, most: usize, waits: bool) -> Result<Option<Vec<OldRow>>, CounterError> {
        if !locks(self.leaf, Access::Read, waits) {
            return Err(CounterError::TableLocked { table: of_level(self.of.level).name });
        }
        let mut snapshot = Snapshot::fresh();
        let upto = self.rolled(&mut snapshot, Access::Read)?;
        let keyed = BUCKET.open(self.leaf, Access::Read)?;
        let mut rows: Vec<OldRow> = Vec::new();
        let mut failed = Ok(());
        for_each_visible(
            &keyed,
            Range::After(upto.as_deref().unwrap_or_default()),
            &mut snapshot,
            |columns| {
                let (id, row) = (columns.text(ID), BucketRow::read(columns));
                if rows.len() >= most && rows.last().is_some_and(|last| *last.id != *id) {
                    return ControlFlow::Break(());
                }
                let added = fallible::boxed(id, WHAT).and_then(|id| {
                    fallible::push(
                        &mut rows,
                        OldRow { id, at_us: row.at_us, node: row.node, value: row.value },
                        WHAT,
                    )
                });
                failed = added;
                if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        failed?;
        Ok((!rows.is_empty()).then_some(rows))
    }

    fn rolled(&self, snapshot: &mut Snapshot, access: Access) -> Result<Option<Id>, CounterError> {
        let rolled = ROLLED.open(ROLLED.find().ok_or(CounterError::NotInstalled)?, access)?;
        Ok(rolled_upto(&rolled, &self.of.name(), snapshot))
    }

    /// Notes that all ids up to one are rolled up. The caller keeps out who takes buckets away.
    pub fn note_rolled(&self, upto: &[u8]) -> Result<(), CounterError> {
        self.forget_rolled()?;
        let rolled = ROLLED.open(ROLLED.find().ok_or(CounterError::NotInstalled)?, Access::Write)?;
        write::insert(&rolled.table, &[Value::Text(self.of.name().as_bytes()), Value::Text(upto)]);
        xact::see_own_changes();
        Ok(())
    }

    fn forget_rolled(&self) -> Result<(), CounterError> {
        let rolled = ROLLED.open(ROLLED.find().ok_or(CounterError::NotInstalled)?, Access::Write)?;
        let name = self.of.name();
        if let Latest::Free(candidate, ()) =
            latest::find(&rolled, Range::Id(name.as_bytes()), |_| true, |_| ())
        {
            candidate.delete().map_err(|_| CounterError::TableLocked { table: ROLLED.name })?;
        }
        xact::see_own_changes();
        Ok(())
    }

    /// Drops the partition, which is rolled up. Returns whether that could be had now.
    pub fn drop_partition(&self, waits: bool) -> Result<bool, CounterError> {
        if !locks(self.parent, Access::Alone, waits) || !locks(self.leaf, Access::Alone, waits) {
            return Ok(false);
        }
        self.forget_rolled()?;
        let drop = format!("DROP TABLE counter_ext.{}", self.of.name());
        let owner = table::owner(self.parent);
        confined::as_owner(owner, |confined| {
            let spi = Spi::connect(confined)?;
            tell_nobody(&spi, owner)?;
            spi.run(drop.as_bytes())
        })?;
        xact::see_own_changes();
        Ok(true)
    }
}
