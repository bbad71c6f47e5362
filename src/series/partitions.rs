//! Partitions of a level's buckets: which there are, and making them. Nothing here waits, but for the definition of a level's table where a
//! partition is made.
//!
//! BOUND: the name of a partition, and as many partitions as a level has: some hundreds, whatever times events are of (`level`).

use super::level::{Level, Partition};
use crate::errors::CounterError;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::Spi;
use crate::pg::table::{Access, Table};
use crate::pg::{Oid, catalog, confined, partition, privilege, process, table, xact};
use crate::rows::access;
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;

const HINT: &str = "GRANT it on counter_ext.bucket: reading a series needs SELECT.";
const COLUMNS: &[u32] = &[TEXT, TIMESTAMPTZ, INT4, INT8, INT8, INT4];
const KEY: &str = "id, at, node, part";

/// counter_ext.bucket
pub const BUCKET: FamilyTable =
    FamilyTable { name: "bucket", relation: c"bucket", columns: COLUMNS, key: KEY, hint: HINT };
const MINUTES: FamilyTable =
    FamilyTable { name: "bucket_minute", relation: c"bucket_minute", columns: COLUMNS, key: KEY, hint: HINT };
const HOURS: FamilyTable =
    FamilyTable { name: "bucket_hour", relation: c"bucket_hour", columns: COLUMNS, key: KEY, hint: HINT };
const DAYS: FamilyTable =
    FamilyTable { name: "bucket_day", relation: c"bucket_day", columns: COLUMNS, key: KEY, hint: HINT };

/// What the name of a partition's index over times and ids ends with.
const BY_TIME: &str = "_at";

pub const ID: usize = 0;
pub const AT: usize = 1;

/// The table of a level's buckets.
pub fn of_level(level: Level) -> FamilyTable {
    match level {
        Level::Minute => MINUTES,
        Level::Hour => HOURS,
        Level::Day => DAYS,
    }
}

/// A partition, open.
pub struct Leaf {
    pub of: Partition,
    pub keyed: Option<Keyed>,
    /// Where it has no key, as while a dump is restored.
    table: Option<Table>,
}

impl Leaf {
    pub fn table(&self) -> Option<&Table> {
        self.keyed.as_ref().map(|keyed| &keyed.table).or(self.table.as_ref())
    }
}

/// Opens the partition of a bucket for writing, making it if it is not there.
pub fn open(level: Level, at_us: i64) -> Result<Leaf, CounterError> {
    let parent = of_level(level).lock_in_time(Access::Write)?;
    let (oid, of) = match find(level, at_us, parent) {
        Some(found) => found,
        None => make(level, at_us, parent)?,
    };
    if !access::try_lock_in_time(oid, Access::Write) {
        return Err(CounterError::TableLocked { table: of_level(of.level).name });
    }
    if !catalog::has_column_types(oid, COLUMNS) || !catalog::has_column_names_of(oid, parent, COLUMNS.len()) {
        return Err(CounterError::NoPartition { table: of_level(of.level).name });
    }
    Ok(match BUCKET.open(oid, Access::Write) {
        Ok(keyed) => Leaf { of, keyed: Some(keyed), table: None },
        Err(_) => Leaf { of, keyed: None, table: Some(Table::open(oid)) },
    })
}

fn find(level: Level, at_us: i64, parent: Oid) -> Option<(Oid, Partition)> {
    leaves(level, parent).into_iter().find_map(|(oid, of)| Some((oid, of.filter(|of| of.covers(at_us))?)))
}

/// Makes a partition, as the tables' owner.
fn make(kind: Level, at_us: i64, parent: Oid) -> Result<(Oid, Partition), CounterError> {
    // Against DDL only: readers and writers go on.
    if !access::try_lock_in_time(parent, Access::AgainstDefiners) {
        return Err(CounterError::TableLocked { table: of_level(kind).name });
    }
    catalog::hear_changes();
    if let Some(found) = find(kind, at_us, parent) {
        return Ok(found);
    }
    let existing: Vec<Partition> = leaves(kind, parent).into_iter().filter_map(|(_, of)| of).collect();
    let of = kind.new_partition(at_us, process::now_us(), &existing);
    let (name, level) = (of.name(), of_level(kind).name);
    let create = format!(
        "CREATE TABLE counter_ext.{name} (LIKE counter_ext.{level} INCLUDING DEFAULTS INCLUDING STORAGE, \
            PRIMARY KEY ({KEY})) WITH (fillfactor = 70)"
    );
    // By it what was counted lately is found without reading all of the partition.
    let by_time = format!("CREATE INDEX {name}{BY_TIME} ON counter_ext.{name} (at, id)");
    let instant = |us: i64| {
        format!(
            "('2000-01-01 00:00:00+00'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) \
             ({} OPERATOR(pg_catalog.*) '1 day'::pg_catalog.interval))",
            us.div_euclid(86_400_000_000)
        )
    };
    let attach = format!(
        "ALTER TABLE counter_ext.{level} ATTACH PARTITION counter_ext.{name} FOR VALUES FROM {} TO {}",
        instant(of.from_us),
        instant(of.to_us)
    );
    let active = ActiveSnapshot::push_latest();
    let owner = table::owner(parent);
    confined::as_owner(owner, |confined| {
        let spi = Spi::connect(confined)?;
        // It is the owner's table, not to be put where the caller would have his own.
        spi.run(b"SET LOCAL default_tablespace TO ''")?;
        spi.run(b"SET LOCAL default_table_access_method TO heap")?;
        tell_nobody(&spi, owner)?;
        spi.run(create.as_bytes())?;
        spi.run(by_time.as_bytes())?;
        spi.run(attach.as_bytes())
    })?;
    drop(active);
    xact::see_own_changes();
    find(kind, at_us, parent).ok_or(CounterError::NoPartition { table: level })
}

/// Has the commands that follow, as the tables' owner, tell no event trigger: they are nobody's, and what somebody has there would keep the
/// worker waiting, or counting itself. Where the owner may not say so, it is left.
pub fn tell_nobody(spi: &Spi<'_>, owner: Oid) -> Result<(), CounterError> {
    if privilege::is_superuser(owner) {
        spi.run(b"SET LOCAL session_replication_role TO replica")
    } else {
        Ok(())
    }
}

/// A partition with its index over times, if it has it as it was made.
pub fn by_time(of: Partition, leaf: Oid) -> Option<Keyed> {
    let name = std::ffi::CString::new(of.name() + BY_TIME).ok()?;
    BUCKET.open_over_times(leaf, &name, &[AT, ID], Access::Read)
}

/// A level's partitions, and what they are for, as far as they are named as ours are.
pub fn leaves(level: Level, parent: Oid) -> Vec<(Oid, Option<Partition>)> {
    let named = |oid: Oid| {
        let name = catalog::relation_name(oid);
        let partition = Partition::named(level, name.strip_prefix(of_level(level).name)?.strip_prefix('_')?)?;
        (partition.name() == name).then_some(partition)
    };
    partition::all_of(&Table::open(parent)).into_iter().map(|oid| (oid, named(oid))).collect()
}
