//! What has a series: rows of counter_ext.tracked, kept by each process until PostgreSQL says that they changed. When they may change
//! says `family::followed`.
//!
//! BOUND: what is copied here without asking is a prefix or a zone's name of at most 255 bytes.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::errors::SeriesError;
use super::level::{Keep, Keeps, LEVELS};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::family::followed;
use crate::pg::catalog::Watch;
use crate::pg::id_scan::Range;
use crate::pg::page::Columns;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Value};
use crate::pg::{Oid, xact, zone};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

const WHAT: &str = "tracked prefixes";

/// counter_ext.tracked
pub const TRACKED: FamilyTable = FamilyTable {
    name: "tracked",
    relation: c"tracked",
    columns: &[TEXT, TIMESTAMPTZ, INT8, INT8, INT8, TEXT],
    key: "prefix",
    hint: "GRANT it on counter_ext.tracked: to track a prefix takes INSERT, to end it DELETE.",
};

const PREFIX: usize = 0;
const SINCE: usize = 1;
const MINUTE: usize = 2;
const ZONE: usize = 5;

/// The series of the counters under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    pub prefix: Vec<u8>,
    pub since_us: i64,
    pub keeps: Keeps,
    pub zone: Vec<u8>,
    /// The zone in which its hours and days begin here: UTC on a server that lacks `zone`.
    pub reckoned_in: Vec<u8>,
}

impl Tracked {
    fn read(columns: &Columns<'_>) -> Tracked {
        let keep = |level: usize| {
            let column = MINUTE + level;
            (!columns.is_null(column)).then(|| Keep(columns.bigint(column)))
        };
        Tracked {
            prefix: columns.text(PREFIX).to_vec(),
            since_us: columns.bigint(SINCE),
            keeps: Keeps(std::array::from_fn(keep)),
            reckoned_in: zone::known_or_utc(columns.text(ZONE)).to_vec(),
            zone: columns.text(ZONE).to_vec(),
        }
    }

    fn values(&self) -> [Value<'_>; 6] {
        let keep = |level| self.keeps.of(level).map_or(Value::Null, |keep| Value::Bigint(keep.0));
        let [minute, hour, day] = LEVELS.map(keep);
        [Value::Text(&self.prefix), Value::Bigint(self.since_us), minute, hour, day, Value::Text(&self.zone)]
    }
}

/// Series in the order of their prefixes, none of which begins another.
pub type Series = Rc<Vec<Tracked>>;

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static SERIES: RefCell<Series> = RefCell::new(Rc::default());
}

/// All series, as of now.
pub fn all() -> Result<Series, CounterError> {
    // Taking a lock takes in what others have announced.
    let table = TRACKED.lock_in_time(Access::Read)?;
    if KNOWN_VERSION.get() != WATCH.with(|watch| watch.version()) {
        // The version is read before the look-up: a change in between makes the next call look again.
        let version = WATCH.with(|watch| watch.version());
        WATCH.with(|watch| watch.set(&[table]));
        let mut found = read(table)?;
        for tracked in found.iter().filter(|tracked| tracked.zone != tracked.reckoned_in) {
            let (prefix, zone) = (tracked.prefix.clone(), tracked.zone.clone());
            CounterError::from(SeriesError::UnknownZone { prefix, zone }).warn();
        }
        found.sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix));
        SERIES.set(Rc::new(found));
        KNOWN_VERSION.set(version);
    }
    Ok(SERIES.with_borrow(Rc::clone))
}

fn read(table: Oid) -> Result<Vec<Tracked>, CounterError> {
    let mut found = Vec::new();
    xact::in_scratch_memory(|| {
        let keyed = TRACKED.open(table, Access::Read)?;
        let mut snapshot = Snapshot::fresh();
        for range in [Range::Id(b""), Range::After(b"")] {
            for_each_visible(&keyed, range, &mut snapshot, |columns| {
                fallible::push(&mut found, Tracked::read(columns), WHAT).or_raise();
                ControlFlow::Continue(())
            });
        }
        Ok::<_, CounterError>(())
    })?;
    Ok(found)
}

/// The series that has the counter.
pub fn of<'a>(series: &'a [Tracked], id: &[u8]) -> Option<&'a Tracked> {
    let after = series.partition_point(|tracked| tracked.prefix[..] <= *id);
    let last = series[..after].last()?;
    id.starts_with(&last.prefix).then_some(last)
}

/// The series that has the counter. Errors: 55000 none has.
pub fn find(id: &[u8]) -> Result<Tracked, CounterError> {
    let series = all()?;
    // BOUND: an id.
    of(&series, id).cloned().ok_or_else(|| SeriesError::NotTracked { id: id.to_vec() }.into())
}

/// Puts a series in the place of that of the same prefix. The caller keeps writers out.
pub fn write(table: Oid, tracked: &Tracked) -> Result<(), CounterError> {
    take(table, &tracked.prefix)?;
    write::insert(&TRACKED.open(table, Access::Write)?.table, &tracked.values());
    followed::announce(table);
    Ok(())
}

/// Takes a prefix's series away. Returns whether there was one. The caller keeps writers out.
pub fn remove(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let was_there = take(table, prefix)?;
    if was_there {
        followed::announce(table);
    }
    Ok(was_there)
}

fn take(table: Oid, prefix: &[u8]) -> Result<bool, CounterError> {
    let keyed: Keyed = TRACKED.open(table, Access::Write)?;
    let held = || CounterError::from(SeriesError::PrefixHeld { prefix: prefix.to_vec() });
    match latest::find(&keyed, Range::Id(prefix), |_| true, |_| ()) {
        Latest::Free(candidate, ()) => {
            candidate.delete().map_err(|_| held())?;
            xact::see_own_changes();
            Ok(true)
        }
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(held()),
        Latest::Absent => Ok(false),
    }
}
