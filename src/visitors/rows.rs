//! Rows of visitors: `counter_ext.visit` holds what transactions added, a small sketch a row, inserted and never changed;
//! `counter_ext.visitors` what compaction united them into, a sketch an id and day and one of ever.
//!
//! Source of truth: the visitors of a day are the union of that day's rows in both tables; those of ever, of the row of
//! ever and all rows in `visit`. Everything in shared memory is derived from them. Inserts meet nobody, since each draws a
//! random number; only compaction and an administrator change rows. A crash between any two steps of a fold leaves an
//! aborted transaction, that is, the rows as they were.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use allocator_api2::alloc::Global;

use super::access::{self, VISIT, VISITORS, VisitorTables};
use super::errors::VisitorError;
use crate::errors::{CounterError, OrRaise};
use crate::fallible::{self, OutOfMemory};
use crate::family::IdsAfter;
use crate::hll::{self, Look, Sketch};
use crate::memory::restore_guard::NewRows;
use crate::memory::sketches::parameters;
use crate::pg::id_scan::{IdScan, Range};
use crate::pg::page::{Columns, Stored};
use crate::pg::random;
use crate::pg::snapshot::Snapshot;
use crate::pg::table::Access;
use crate::pg::write::{self, Candidate, Value};
use crate::rows::keyed::Keyed;
use crate::rows::latest::{self, Latest};
use crate::rows::list::{Id, Smallest, add_ids_of};
use crate::rows::node::{self, Whose};
use crate::rows::sum::for_each_visible;

const WHAT: &str = "sketches of visitors";

/// Columns of counter_ext.visitors.
mod visitors_columns {
    pub const ID: usize = 0;
    pub const DAY: usize = 1;
    pub const NODE: usize = 2;
    pub const SKETCH: usize = 3;
    pub const UPDATED_AT: usize = 4;
}

/// Columns of counter_ext.visit.
mod visit_columns {
    pub const ID: usize = 0;
    pub const DAY: usize = 1;
    pub const SKETCH: usize = 3;
}

/// The `day` of rows that hold all days: `-infinity`.
pub const EVER: i32 = i32::MIN;

/// Which days to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Days {
    Ever,
    /// First and last, both included; days since 2000-01-01.
    Range(i32, i32),
}

impl Days {
    pub fn of(day: i32) -> Days {
        if day == EVER { Days::Ever } else { Days::Range(day, day) }
    }

    fn takes_united(self, day: i32) -> bool {
        match self {
            Days::Ever => day == EVER,
            Days::Range(first, last) => day != EVER && (first..=last).contains(&day),
        }
    }

    pub fn takes_visit(self, day: i32) -> bool {
        match self {
            Days::Ever => true,
            Days::Range(first, last) => (first..=last).contains(&day),
        }
    }
}

/// When a visitor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    ThatDay,
    Before,
    Never,
}

/// The visitors' tables, open for reading.
pub struct VisitorReader {
    visitors: Keyed,
    visit: Keyed,
}

impl VisitorReader {
    pub fn open(tables: VisitorTables) -> Result<VisitorReader, CounterError> {
        access::lock_for_reading(tables);
        Ok(VisitorReader {
            visitors: VISITORS.open(tables.visitors, Access::Read)?,
            visit: VISIT.open(tables.visit, Access::Read)?,
        })
    }

    /// Unites an id's rows of some days, as the snapshot sees them. Errors: 22023 a row was put there whose sketch has
    /// other parameters.
    pub fn unite(&self, id: &[u8], days: Days, snapshot: &mut Snapshot) -> Result<Sketch, CounterError> {
        let mut stored: Vec<Stored> = Vec::new();
        for_each_visible(&self.visitors, Range::Id(id), snapshot, |columns| {
            if days.takes_united(columns.int(visitors_columns::DAY)) {
                fallible::push(&mut stored, columns.stored(visitors_columns::SKETCH), WHAT).or_raise();
            }
            ControlFlow::Continue(())
        });
        for_each_visible(&self.visit, Range::Id(id), snapshot, |columns| {
            if days.takes_visit(columns.int(visit_columns::DAY)) {
                fallible::push(&mut stored, columns.stored(visit_columns::SKETCH), WHAT).or_raise();
            }
            ControlFlow::Continue(())
        });
        let mut united = Sketch::new(parameters());
        for sketch in stored {
            unite_defined(&mut united, &sketch.open())?;
        }
        Ok(united)
    }

    /// Whether the union of an id's rows of a day, and that of all its rows, cover a hash, as the snapshot sees them: in one pass over the
    /// rows, none of which is read as a whole. Errors: as `unite`.
    pub fn seen(
        &self,
        id: &[u8],
        day: i32,
        hash: u64,
        snapshot: &mut Snapshot,
    ) -> Result<Seen, CounterError> {
        let mut stored: Vec<(i32, Stored)> = Vec::new();
        for_each_visible(&self.visitors, Range::Id(id), snapshot, |columns| {
            let of = columns.int(visitors_columns::DAY);
            if of == day || of == EVER {
                let sketch = columns.stored(visitors_columns::SKETCH);
                fallible::push(&mut stored, (of, sketch), WHAT).or_raise();
            }
            ControlFlow::Continue(())
        });
        let united = stored.len();
        for_each_visible(&self.visit, Range::Id(id), snapshot, |columns| {
            let sketch = (columns.int(visit_columns::DAY), columns.stored(visit_columns::SKETCH));
            fallible::push(&mut stored, sketch, WHAT).or_raise();
            ControlFlow::Continue(())
        });
        let (mut that_day, mut ever) = (Look::default(), Look::default());
        for (at, (of, stored)) in stored.iter().enumerate() {
            let Some(look) = Sketch::look(&stored.open(), parameters(), hash)? else { continue };
            if *of == day {
                that_day.unite(look);
            }
            if *of == EVER || at >= united {
                ever.unite(look);
            }
        }
        let mut covers = |look: Look, days| match look.covers(parameters(), hash) {
            Some(covers) => Ok(covers),
            None => Ok::<_, CounterError>(self.unite(id, days, snapshot)?.covers(hash)),
        };
        Ok(if covers(that_day, Days::of(day))? {
            Seen::ThatDay
        } else if covers(ever, Days::Ever)? {
            Seen::Before
        } else {
            Seen::Never
        })
    }

    /// Shows the next ids that have visitors, as the snapshot sees them.
    pub fn add_ids_after(
        &self,
        which: IdsAfter<'_>,
        snapshot: &mut Snapshot,
        smallest: &mut Smallest,
    ) -> Result<(), OutOfMemory> {
        let IdsAfter { prefix, after, limit } = which;
        for (keyed, column) in [(&self.visitors, visitors_columns::ID), (&self.visit, visit_columns::ID)] {
            add_ids_of(keyed, column, (prefix, after), limit, snapshot, smallest)?;
        }
        Ok(())
    }

    /// Rows not united yet, as the snapshot sees them.
    pub fn visit_rows(&self, snapshot: &mut Snapshot) -> u64 {
        let mut rows = 0;
        for_each_visible(&self.visit, Range::After(b""), snapshot, |_| {
            rows += 1;
            ControlFlow::Continue(())
        });
        rows
    }
}

/// The table of visits, open for what a transaction adds.
pub struct VisitInserter {
    visit: Keyed,
}

impl VisitInserter {
    /// The tables are locked. Errors: 55000 also where compaction could not unite what is added, as the other one has lost its key.
    pub fn open(tables: VisitorTables) -> Result<VisitInserter, CounterError> {
        drop(VISITORS.open(tables.visitors, Access::Write)?);
        Ok(VisitInserter { visit: VISIT.open(tables.visit, Access::Write)? })
    }

    /// Adds a transaction's visits. The number is random over 64 bits: two transactions never meet in the unique index.
    pub fn insert(&self, id: &[u8], day: i32, visits: &Sketch) -> Result<(), CounterError> {
        let slot = random::bits() as i64;
        let sketch = visits.encode()?;
        write::insert(
            &self.visit.table,
            &[Value::Text(id), Value::Int(day), Value::Bigint(slot), Value::Bytes(&sketch)],
        );
        Ok(())
    }
}

/// Both tables, open for writing.
pub struct VisitWriter {
    visitors: Keyed,
    inserter: VisitInserter,
    node: i32,
    /// Whether an id or day that has no row in `visitors` yet gets one, or its visits are left as they are.
    pub sketches: NewRows,
}

/// What folding an id's rows came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub rows: u64,
    /// There are more rows than one transaction takes.
    pub more: bool,
}

impl VisitWriter {
    /// The tables are locked.
    pub fn open(tables: VisitorTables, node: i32) -> Result<VisitWriter, CounterError> {
        Ok(VisitWriter {
            visitors: VISITORS.open(tables.visitors, Access::Write)?,
            inserter: VisitInserter::open(tables)?,
            node,
            sketches: NewRows::Made,
        })
    }

    /// As `VisitInserter::insert`.
    pub fn insert(&self, id: &[u8], day: i32, visits: &Sketch) -> Result<(), CounterError> {
        self.inserter.insert(id, day, visits)
    }

    fn visit(&self) -> &Keyed {
        &self.inserter.visit
    }

    /// The next id after `after` that has rows nobody holds.
    pub fn next_id(&self, after: &[u8]) -> Option<Id> {
        let mut scan = IdScan::begin(&self.visit().table, &self.visit().key, Range::After(after));
        let read = |columns: &Columns<'_>| Some(columns.stored(visit_columns::ID));
        while let Some((_, id)) = latest::next_free(&mut scan, read) {
            // Never back: a pass has to end.
            let id = id.open();
            if *id > *after {
                return Some(id.into());
            }
        }
        None
    }

    /// Moves up to `limit` of an id's rows that nobody holds into the sketches of their days and of ever. What is not a sketch
    /// of ours stays where it is, and so do visits of days whose row somebody holds. A second time in one transaction the
    /// first time's changes must have been made visible to it.
    pub fn fold(&self, id: &[u8], limit: u64) -> Result<Folded, CounterError> {
        let mut folded = Folded::default();
        // By day, whether its row can be added to. Looked at before anything is deleted.
        let mut open: BTreeMap<i32, bool> = BTreeMap::new();
        let look = |day| match self.target(id, day) {
            Target::Open { .. } => true,
            Target::Closed => false,
            Target::Absent => self.sketches.are_made(),
        };
        let mut is_open = |day| *open.entry(day).or_insert_with(|| look(day));
        if !is_open(EVER) {
            return Ok(folded);
        }
        let mut days: BTreeMap<i32, Sketch> = BTreeMap::new();
        let mut scan = IdScan::begin(&self.visit().table, &self.visit().key, Range::Id(id));
        loop {
            if folded.rows >= limit {
                folded.more = true;
                break;
            }
            let read = |columns: &Columns<'_>| {
                Some((columns.int(visit_columns::DAY), columns.stored(visit_columns::SKETCH)))
            };
            let Some((candidate, (day, stored))) = latest::next_free(&mut scan, read) else { break };
            // Opened before the row goes, and its out-of-line value with it.
            let Some(sketch) = ours(&stored).filter(|_| is_open(day)) else { continue };
            if candidate.delete().is_ok() {
                folded.rows += 1;
                days.entry(day).or_insert_with(|| Sketch::new(parameters())).unite(&sketch)?;
            }
        }
        drop(scan);
        if folded.rows > 0 {
            let mut ever = Sketch::new(parameters());
            for sketch in days.values() {
                ever.unite(sketch)?;
            }
            days.insert(EVER, ever);
            for (day, sketch) in &days {
                self.add_to(id, *day, sketch)?;
            }
        }
        Ok(folded)
    }

    /// Looks for this node's row of a day.
    fn target(&self, id: &[u8], day: i32) -> Target<'_> {
        let found = latest::find(
            &self.visitors,
            Range::Id(id),
            |columns| {
                columns.int(visitors_columns::DAY) == day && columns.int(visitors_columns::NODE) == self.node
            },
            |columns| columns.stored(visitors_columns::SKETCH),
        );
        match found {
            Latest::Free(candidate, stored) => match ours(&stored) {
                Some(before) => Target::Open { candidate, before },
                None => Target::Closed,
            },
            Latest::InDoubt(_) | Latest::Locked(_) | Latest::Mine => Target::Closed,
            Latest::Absent => Target::Absent,
        }
    }

    /// Adds to the row of a day, making it if there is none. Where somebody came to hold that row this moment, what was to be
    /// added goes back into a row of its own, for the next fold.
    fn add_to(&self, id: &[u8], day: i32, added: &Sketch) -> Result<(), CounterError> {
        match self.target(id, day) {
            Target::Closed => self.insert(id, day, added)?,
            Target::Open { candidate, before } => {
                let mut united = before.copy_in(Global)?;
                united.unite(added)?;
                let sketch = united.encode()?;
                let changes = [
                    (visitors_columns::SKETCH, Value::Bytes(&sketch)),
                    (visitors_columns::UPDATED_AT, Value::Now),
                ];
                if united != before && candidate.update(&changes).is_err() {
                    self.insert(id, day, added)?;
                }
            }
            Target::Absent => {
                let sketch = added.encode()?;
                let values = [
                    Value::Text(id),
                    Value::Int(day),
                    Value::Int(self.node),
                    Value::Bytes(&sketch),
                    Value::Now,
                ];
                write::insert(&self.visitors.table, &values);
            }
        }
        Ok(())
    }

    /// Deletes the id's rows that the snapshot sees, committed ones and this transaction's own, but those that other nodes go on changing.
    /// Returns how many. Errors: 55006 somebody holds one of them.
    pub fn remove(&self, id: &[u8], snapshot: &mut Snapshot) -> Result<u64, CounterError> {
        let is_united_here = |columns: &Columns<'_>| {
            node::whose(columns.int(visitors_columns::NODE), self.node) != Whose::Theirs
        };
        Ok(remove_from(&self.visitors, id, snapshot, is_united_here)?
            + remove_from(self.visit(), id, snapshot, |_| true)?)
    }
}

/// What there was of an id, by day.
#[derive(Default)]
pub struct TakenVisits {
    /// With what there was of ever.
    pub united: BTreeMap<i32, Sketch>,
    pub visits: BTreeMap<i32, Sketch>,
}

impl VisitWriter {
    /// Deletes the id's rows that the snapshot sees, of all nodes, and returns what they held. Errors: 55006 somebody holds one of
    /// them; 22023 a row was put there whose sketch has other parameters.
    pub fn take_all(&self, id: &[u8], snapshot: &mut Snapshot) -> Result<TakenVisits, CounterError> {
        let mut taken = TakenVisits::default();
        let united = (visitors_columns::DAY, visitors_columns::SKETCH);
        let visits = (visit_columns::DAY, visit_columns::SKETCH);
        take_from(&self.visitors, id, united, snapshot, &mut taken.united)?;
        take_from(self.visit(), id, visits, snapshot, &mut taken.visits)?;
        Ok(taken)
    }

    /// Adds to the row of a day, which is that of ever or has been added to that too. Errors: 55006 somebody holds it.
    pub fn unite_into(&self, id: &[u8], day: i32, added: &Sketch) -> Result<(), CounterError> {
        if matches!(self.target(id, day), Target::Closed) {
            return Err(VisitorError::Held { id: id.to_vec() }.into());
        }
        self.add_to(id, day, added)
    }
}

fn take_from(
    keyed: &Keyed,
    id: &[u8],
    (day, sketch): (usize, usize),
    snapshot: &mut Snapshot,
    taken: &mut BTreeMap<i32, Sketch>,
) -> Result<(), CounterError> {
    let read = |columns: &Columns<'_>| (columns.int(day), columns.stored(sketch));
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    while let Some((candidate, (day, stored))) = latest::next_visible(&mut scan, snapshot, read) {
        // Opened before the row goes, and its out-of-line value with it.
        let sketch = stored.open();
        candidate.delete().map_err(|_| VisitorError::Held { id: id.to_vec() })?;
        unite_defined(taken.entry(day).or_insert_with(|| Sketch::new(parameters())), &sketch)?;
    }
    Ok(())
}

/// The row that a day's visits go to.
enum Target<'t> {
    Open {
        candidate: Candidate<'t>,
        before: Sketch,
    },
    /// Somebody holds it, or its sketch is not of ours.
    Closed,
    Absent,
}

/// A stored sketch, if it is one and has our parameters.
fn ours(stored: &Stored) -> Option<Sketch> {
    let is_ours = |sketch: &Sketch| sketch.parameters() == parameters() && !sketch.is_undefined();
    Sketch::decode(&stored.open()).ok().filter(is_ours)
}

/// Adds what a stored sketch has seen. One that is undefined was put there by hand, and says nothing.
fn unite_defined(united: &mut Sketch, stored: &[u8]) -> Result<(), CounterError> {
    if !matches!(Sketch::stored_as(stored), Ok(hll::Stored::Undefined)) {
        united.unite_encoded(stored)?;
    }
    Ok(())
}

fn remove_from(
    keyed: &Keyed,
    id: &[u8],
    snapshot: &mut Snapshot,
    goes: impl Fn(&Columns<'_>) -> bool,
) -> Result<u64, CounterError> {
    let mut removed = 0;
    let mut scan = IdScan::begin(&keyed.table, &keyed.key, Range::Id(id));
    while let Some((candidate, goes)) = latest::next_visible(&mut scan, snapshot, &goes) {
        if !goes {
            continue;
        }
        if candidate.delete().is_err() {
            return Err(VisitorError::Held { id: id.to_vec() }.into());
        }
        removed += 1;
    }
    Ok(removed)
}
