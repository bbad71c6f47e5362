//! Watches: rows of counter_ext.watch. Which there are each backend keeps until PostgreSQL says that they changed.
//!
//! They are changed while writers are kept out of counter_ext.total, and the change is announced as DDL is, so that whoever counts after that
//! follows them. When something was sent is written by who holds the compaction lock, and announced to nobody.
//!
//! BOUND: as many watches as there are rows, of a prefix, a channel and a role each.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use super::errors::LiveError;
use crate::counting::reserved::is_reserved;
use crate::errors::CounterError;
use crate::family::followed;
use crate::pg::catalog::Watch as Invalidations;
use crate::pg::id_scan::Range;
use crate::pg::interval::Interval;
use crate::pg::page::Columns;
use crate::pg::session::session_local;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};
use crate::pg::{Oid, xact};
use crate::rows::column_types::*;
use crate::rows::family_table::FamilyTable;
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::sum::for_each_visible;

const PREFIX: usize = 0;
const CHANNEL: usize = 1;
const AT_MOST_EVERY: usize = 2;
const ROLE: usize = 3;
const SENT_AT: usize = 4;

/// counter_ext.watch
pub const WATCH: FamilyTable = FamilyTable {
    name: "watch",
    relation: c"watch",
    columns: &[TEXT, TEXT, INTERVAL, TEXT, TIMESTAMPTZ],
    key: "prefix, channel",
    hint: "GRANT it on counter_ext.watch: to watch takes INSERT, to watch no more DELETE.",
};

/// A channel that is told of changed totals of the counters whose ids begin with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub prefix: Vec<u8>,
    pub channel: Vec<u8>,
    pub every: Interval,
    pub role: Vec<u8>,
    pub sent_at_us: Option<i64>,
}

impl Watch {
    fn read(columns: &Columns<'_>) -> Watch {
        Watch {
            prefix: columns.text(PREFIX).to_vec(),
            channel: columns.text(CHANNEL).to_vec(),
            every: columns.interval(AT_MOST_EVERY).unwrap_or(Interval { months: 0, days: 0, us: 0 }),
            role: columns.text(ROLE).to_vec(),
            sent_at_us: (!columns.is_null(SENT_AT)).then(|| columns.bigint(SENT_AT)),
        }
    }

    fn range(&self) -> Range<'_> {
        Range::Pair(&self.prefix, &self.channel)
    }

    /// Ids that families keep for themselves are no counters to users.
    pub fn concerns(&self, id: &[u8]) -> bool {
        id.starts_with(&self.prefix) && !is_reserved(id)
    }

    fn held(&self) -> CounterError {
        LiveError::Held { channel: self.channel.clone() }.into()
    }
}

session_local! {
    static INVALIDATIONS: &'static Invalidations = Invalidations::begin();
    static KNOWN_VERSION: Cell<u64> = const { Cell::new(u64::MAX) };
    static WATCHES: RefCell<Rc<[Watch]>> = RefCell::new(Rc::new([]));
}

/// All watches, in the order of their prefixes and channels. When they last sent something may be out of date. The caller has locked
/// counter_ext.total.
pub fn all() -> Result<Rc<[Watch]>, CounterError> {
    let version = INVALIDATIONS.with(|invalidations| invalidations.version());
    if KNOWN_VERSION.get() != version {
        // The version is read before the look-up: a change in between makes the next call look again.
        let mut watches = Vec::new();
        let table = WATCH.find();
        INVALIDATIONS.with(|invalidations| invalidations.set(table.as_slice()));
        if let Some(table) = table {
            WATCH.lock_in_time(Access::Read)?;
            read_all(table, &mut watches)?;
        }
        WATCHES.set(watches.into());
        KNOWN_VERSION.set(version);
    }
    Ok(WATCHES.with_borrow(Rc::clone))
}

/// As they are now. The table is locked.
pub fn now(table: Oid) -> Result<Vec<Watch>, CounterError> {
    let mut watches = Vec::new();
    read_all(table, &mut watches)?;
    Ok(watches)
}

fn read_all(table: Oid, watches: &mut Vec<Watch>) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let keyed = WATCH.open(table, Access::Read)?;
        let mut snapshot = Snapshot::fresh();
        // The empty prefix is watched too.
        for range in [Range::Id(b""), Range::After(b"")] {
            for_each_visible(&keyed, range, &mut snapshot, |columns| {
                watches.push(Watch::read(columns));
                ControlFlow::Continue(())
            });
        }
        Ok(())
    })
}

fn find<'t>(keyed: &'t Keyed, watch: &Watch) -> Result<Option<(Candidate<'t>, Watch)>, CounterError> {
    match latest::find(keyed, watch.range(), |_| true, Watch::read) {
        Latest::Free(row, found) => Ok(Some((row, found))),
        Latest::Absent => Ok(None),
        Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Err(watch.held()),
    }
}

/// Adds a watch, or changes how often it sends, and who watches. Returns whether that changed anything. The caller keeps writers out.
pub fn set(table: Oid, watch: &Watch) -> Result<bool, CounterError> {
    let keyed = WATCH.open(table, Access::Write)?;
    let every = Value::Interval(watch.every);
    match find(&keyed, watch)? {
        Some((_, found)) if found.every == watch.every && found.role == watch.role => return Ok(false),
        Some((row, _)) => {
            let changes = [(AT_MOST_EVERY, every), (ROLE, Value::Text(&watch.role))];
            row.update(&changes).map_err(|_| watch.held())?;
        }
        None => {
            let row = [
                Value::Text(&watch.prefix),
                Value::Text(&watch.channel),
                every,
                Value::Text(&watch.role),
                Value::Null,
            ];
            write::insert(&keyed.table, &row);
        }
    }
    followed::announce(table);
    Ok(true)
}

/// Takes a watch away. Returns whether it was there. The caller keeps writers out.
pub fn remove(table: Oid, watch: &Watch) -> Result<bool, CounterError> {
    let keyed = WATCH.open(table, Access::Write)?;
    let Some((row, _)) = find(&keyed, watch)? else { return Ok(false) };
    row.delete().map_err(|_| watch.held())?;
    followed::announce(table);
    Ok(true)
}

/// Notes when something was sent. Where somebody changes the watch by hand it is left as it is.
pub fn note_sent(table: Oid, watch: &Watch, at_us: i64) -> Result<(), CounterError> {
    let keyed = WATCH.open(table, Access::Write)?;
    if let Ok(Some((row, _))) = find(&keyed, watch) {
        let _ = row.update(&[(SENT_AT, Value::Bigint(at_us))]);
    }
    Ok(())
}
