//! Reading sketches of visitors: from memory where it has them, else loading them, else from rows. Always with the
//! transaction's own visits, and fresh: everything committed before the call began.

use std::time::Duration;

use super::access::{self, Purpose, VisitorTables};
use super::rows::{Days, EVER, Seen, VisitorReader};
use super::transaction;
use crate::counting::{prepared, transaction as counting};
use crate::errors::CounterError;
use crate::family::IdsAfter;
use crate::hll::Sketch;
use crate::memory::sketches::{self, Covers, SketchKey, parameters};
use crate::memory::{cells, databases, load as memory_load};
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, process, xact};
use crate::rows::access::Tables;
use crate::rows::list::{Id, Smallest};
use crate::settings;

/// Checks that the caller may read visitors.
pub fn enter() -> Result<VisitorTables, CounterError> {
    access::enter(Purpose::Read)
}

/// Whether a visitor has been seen on a day, or ever, for a call that goes on to write where it was not: before rows are read
/// their tables are locked for writing.
///
/// Who was never seen was not seen that day, so the sketch of ever alone answers for a new visitor. Of an id that memory has not, and that
/// is not worth a place there yet, all is answered by one pass over its rows.
pub(super) fn seen(tables: VisitorTables, id: &[u8], day: i32, hash: u64) -> Result<Seen, CounterError> {
    let is_own = |day: i32| {
        let takes = |other: i32| Days::of(day).takes_visit(other);
        transaction::with_own(tables, |own| own.covers(id, takes, hash)).unwrap_or(false)
    };
    if is_own(day) {
        return Ok(Seen::ThatDay);
    }
    let that_day = covers_in_memory(tables, id, day, hash);
    if that_day == Some(true) {
        return Ok(Seen::ThatDay);
    }
    let mut ever = covers_in_memory(tables, id, EVER, hash);
    if ever.is_none() && admits(tables, id, EVER) {
        access::lock_for_writing(tables)?;
        ever = Some(committed(tables, id, EVER)?.covers(hash));
    }
    let committed = match (that_day, ever) {
        (_, Some(false)) => Seen::Never,
        (Some(false), Some(true)) => Seen::Before,
        (None, Some(true)) if admits(tables, id, day) => {
            access::lock_for_writing(tables)?;
            if committed(tables, id, day)?.covers(hash) { Seen::ThatDay } else { Seen::Before }
        }
        _ => {
            access::lock_for_writing(tables)?;
            seen_in_rows(tables, id, day, hash)?
        }
    };
    Ok(if committed == Seen::Never && is_own(EVER) { Seen::Before } else { committed })
}

/// What the rows say now; as `from_rows`.
fn seen_in_rows(tables: VisitorTables, id: &[u8], day: i32, hash: u64) -> Result<Seen, CounterError> {
    let reader = VisitorReader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    let seen = xact::in_scratch_memory(|| reader.seen(id, day, hash, &mut snapshot))?;
    // Of nobody who was not seen memory can say less.
    if seen != Seen::Never {
        settle_memory(id, &snapshot);
    }
    Ok(seen)
}

/// What memory says, where it has the sketch.
fn covers_in_memory(tables: VisitorTables, id: &[u8], day: i32, hash: u64) -> Option<bool> {
    if !memory_serves(id) {
        return None;
    }
    match sketches::covers(key(tables, id, day), hash) {
        Covers::Yes => Some(true),
        Covers::No => Some(false),
        Covers::Unknown => None,
    }
}

/// Whether a visitor has been seen ever, as far as the sketch can tell.
pub fn has_seen(tables: VisitorTables, id: &[u8], hash: u64) -> Result<bool, CounterError> {
    if transaction::with_own(tables, |own| own.covers(id, |_| true, hash)) == Some(true) {
        return Ok(true);
    }
    match covers_in_memory(tables, id, EVER, hash) {
        Some(covers) => Ok(covers),
        None if admits(tables, id, EVER) => Ok(committed(tables, id, EVER)?.covers(hash)),
        None => Ok(seen_in_rows(tables, id, EVER, hash)? != Seen::Never),
    }
}

fn memory_serves(id: &[u8]) -> bool {
    crate::memory::is_attached() && !xact::in_recovery() && !counting::is_touched(id)
}

/// Whether a sketch that memory has not is worth a place there: while there is room, or when it is asked again. A load that is slowed for
/// tests is always made.
fn admits(tables: VisitorTables, id: &[u8], day: i32) -> bool {
    memory_serves(id) && (settings::debug_load_window_ms() > 0 || sketches::admits(key(tables, id, day)))
}

fn key(tables: VisitorTables, id: &[u8], day: i32) -> SketchKey<'_> {
    let database = u32::from(catalog::my_database());
    SketchKey { database, relation: u32::from(tables.visitors), id, day }
}

/// The sketch of one day, or of ever: what is committed. It is brought into memory.
fn committed(tables: VisitorTables, id: &[u8], day: i32) -> Result<Sketch, CounterError> {
    committed_if(tables, id, day, || true)
}

/// The same, brought into memory if it is admitted there.
fn committed_if(
    tables: VisitorTables,
    id: &[u8],
    day: i32,
    is_admitted: impl FnOnce() -> bool,
) -> Result<Sketch, CounterError> {
    if !memory_serves(id) {
        return from_rows(tables, id, Days::of(day));
    }
    let key = key(tables, id, day);
    if let Some(sketch) = sketches::get(key)? {
        return Ok(sketch);
    }
    databases::register(key.database);
    let tries = if is_admitted() { LOAD_TRIES } else { 0 };
    for _ in 0..tries {
        match load(tables, key)? {
            Load::Done(sketch) => return Ok(sketch),
            Load::TooEarly => {}
            Load::Refused => break,
        }
    }
    from_rows(tables, id, Days::of(day))
}

/// How often a load is begun anew since somebody was just committing.
const LOAD_TRIES: usize = 5;
/// How long such a commit is waited for.
const COMMIT_PATIENCE: Duration = Duration::from_millis(200);

enum Load {
    Done(Sketch),
    /// Somebody was committing, and is done.
    TooEarly,
    /// That cannot be done exactly now.
    Refused,
}

/// Loads a sketch into memory.
///
/// A commit that the snapshot sees and whose COMMIT callback is still to come when the load begins would add its visits to the
/// entry, also those that somebody has taken away from rows by then: with such a one about nothing is loaded. A later commit
/// is not seen, and whoever takes its rows away invalidates the entry after it.
fn load(tables: VisitorTables, key: SketchKey<'_>) -> Result<Load, CounterError> {
    let reader = VisitorReader::open(tables)?;
    let before = cells::announced(key.database);
    let Some(load) = sketches::begin_load(key) else { return Ok(Load::Refused) };
    // A prepared transaction's visits are in rows that no snapshot sees yet, and its commit will tell nobody.
    if prepared::is_prepared(tables.counters, key.id) {
        sketches::abandon_load();
        return Ok(Load::Refused);
    }
    let mut snapshot = Snapshot::fresh();
    if cells::sees_any(&snapshot, &before) {
        sketches::abandon_load();
        let are_over = cells::await_commits_seen_by(key.database, &snapshot, COMMIT_PATIENCE);
        return Ok(if are_over { Load::TooEarly } else { Load::Refused });
    }
    let window_ms = settings::debug_load_window_ms();
    if window_ms > 0 {
        process::sleep_whole_ms(window_ms, process::check_for_interrupts);
    }
    let sketch = xact::in_scratch_memory(|| reader.unite(key.id, Days::of(key.day), &mut snapshot))?;
    load.finish(&sketch);
    Ok(Load::Done(sketch))
}

/// What the rows say now. Memory says no less afterwards: commits that were seen are waited for until they are in it, and where that
/// takes too long memory forgets the id.
fn from_rows(tables: VisitorTables, id: &[u8], days: Days) -> Result<Sketch, CounterError> {
    let reader = VisitorReader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    let sketch = xact::in_scratch_memory(|| reader.unite(id, days, &mut snapshot))?;
    settle_memory(id, &snapshot);
    Ok(sketch)
}

fn settle_memory(id: &[u8], snapshot: &Snapshot) {
    let database = u32::from(catalog::my_database());
    if !memory_load::settle_after_rows(database, snapshot) {
        sketches::invalidate(database, |other| other == id);
    }
}

/// The sketch of an id's visitors on some days, with the transaction's own.
pub fn sketch(tables: VisitorTables, id: &[u8], days: Days) -> Result<Sketch, CounterError> {
    let of_day = |day| committed_if(tables, id, day, || admits(tables, id, day));
    let mut united = match days {
        Days::Ever => of_day(EVER)?,
        Days::Range(day, last) if day == last => of_day(day)?,
        Days::Range(..) => from_rows(tables, id, days)?,
    };
    let own = transaction::with_own(tables, |own| -> Result<(), CounterError> {
        own.of(id, |day| days.takes_visit(day)).try_for_each(|sketch| Ok(united.unite(sketch)?))
    });
    own.unwrap_or(Ok(()))?;
    Ok(united)
}

/// The union over several ids.
pub fn union<'a>(
    tables: VisitorTables,
    ids: impl Iterator<Item = &'a [u8]>,
    days: Days,
) -> Result<Sketch, CounterError> {
    let mut united = Sketch::new(parameters());
    for id in ids {
        process::check_for_interrupts();
        united.unite(&sketch(tables, id, days)?)?;
    }
    Ok(united)
}

/// Rows that compaction has not united yet, as the caller's query sees them.
pub fn visit_rows() -> Result<u64, CounterError> {
    let tables = access::find().ok_or(CounterError::NotInstalled)?;
    let reader = VisitorReader::open(tables)?;
    let mut snapshot = Snapshot::of_query();
    Ok(xact::in_scratch_memory(|| reader.visit_rows(&mut snapshot)))
}

/// The next ids that have visitors, committed by now or this transaction's own.
pub fn ids_after(_counters: Tables, which: IdsAfter<'_>) -> Result<Vec<Id>, CounterError> {
    let tables = access::find().ok_or(CounterError::NotInstalled)?;
    let mut smallest = Smallest::new(which.limit);
    let is_next = |id: &[u8]| *id > *which.after && id.starts_with(which.prefix);
    let own = transaction::with_own(tables, |own| {
        own.ids().filter(|id| is_next(id)).try_for_each(|id| smallest.add(id))
    });
    own.unwrap_or(Ok(()))?;
    let reader = VisitorReader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    xact::in_scratch_memory(|| reader.add_ids_after(which, &mut snapshot, &mut smallest))?;
    Ok(smallest.into_sorted())
}
