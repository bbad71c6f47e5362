//! Reading sketches of visitors: from memory where it has them, else loading them, else from rows. Always with the
//! transaction's own visits, and fresh: everything committed before the call began.

use super::transaction;
use crate::counting::transaction as counting;
use crate::errors::CounterError;
use crate::hll::Sketch;
use crate::memory::databases;
use crate::memory::sketches::{self, Covers, SketchKey, parameters};
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, process, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::visitors::{Days, EVER, Reader};
use crate::settings;

/// When a visitor was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    ThatDay,
    Before,
    Never,
}

/// Checks that the caller may read visitors.
pub fn enter() -> Result<Tables, CounterError> {
    access::enter(Purpose::ReadVisitors, xact::nest_level(), false)
}

/// Whether a visitor has been seen on a day, or ever.
pub(super) fn seen(tables: Tables, id: &[u8], day: i32, hash: u64) -> Result<Seen, CounterError> {
    for (day, seen) in [(day, Seen::ThatDay), (EVER, Seen::Before)] {
        let takes = |other: i32| Days::of(day).takes_visit(other);
        let is_own = transaction::with_own(tables, |own| own.covers(id, takes, hash)).unwrap_or(false);
        if is_own || covers(tables, id, day, hash)? {
            return Ok(seen);
        }
    }
    Ok(Seen::Never)
}

fn covers(tables: Tables, id: &[u8], day: i32, hash: u64) -> Result<bool, CounterError> {
    if memory_serves(id) {
        match sketches::covers(key(tables, id, day), hash) {
            Covers::Yes => return Ok(true),
            Covers::No => return Ok(false),
            Covers::Unknown => {}
        }
    }
    Ok(committed(tables, id, day)?.covers(hash))
}

fn memory_serves(id: &[u8]) -> bool {
    crate::memory::is_attached() && !xact::in_recovery() && !counting::is_touched(id)
}

fn key(tables: Tables, id: &[u8], day: i32) -> SketchKey<'_> {
    let database = u32::from(catalog::my_database());
    SketchKey { database, relation: u32::from(tables.visitors), id, day }
}

/// The sketch of one day, or of ever: what is committed.
fn committed(tables: Tables, id: &[u8], day: i32) -> Result<Sketch, CounterError> {
    if !memory_serves(id) {
        return from_rows(tables, id, Days::of(day));
    }
    let key = key(tables, id, day);
    if let Some(sketch) = sketches::get(key) {
        return Ok(sketch);
    }
    databases::register(key.database);
    let reader = Reader::open(tables)?;
    let load = sketches::begin_load(key);
    // A prepared transaction's visits are in rows that no snapshot sees yet, and its commit will tell nobody.
    let is_prepared = counting::is_prepared(tables, id);
    let mut snapshot = Snapshot::fresh();
    let window_ms = settings::debug_load_window_ms();
    if window_ms > 0 {
        process::sleep_whole_ms(window_ms, process::check_for_interrupts);
    }
    let sketch = xact::in_scratch_memory(|| reader.unite(id, Days::of(day), &mut snapshot))?;
    match load {
        Some(load) if !is_prepared => load.finish(&sketch),
        _ => sketches::abandon_load(),
    }
    Ok(sketch)
}

fn from_rows(tables: Tables, id: &[u8], days: Days) -> Result<Sketch, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::fresh();
    xact::in_scratch_memory(|| reader.unite(id, days, &mut snapshot))
}

/// The sketch of an id's visitors on some days, with the transaction's own.
pub fn sketch(tables: Tables, id: &[u8], days: Days) -> Result<Sketch, CounterError> {
    let mut united = match days {
        Days::Ever => committed(tables, id, EVER)?,
        Days::Range(day, last) if day == last => committed(tables, id, day)?,
        Days::Range(..) => from_rows(tables, id, days)?,
    };
    let own = transaction::with_own(tables, |own| -> Result<(), CounterError> {
        own.of(id, |day| days.takes_visit(day)).try_for_each(|sketch| Ok(united.unite(sketch)?))
    });
    own.unwrap_or(Ok(()))?;
    Ok(united)
}

/// The union over several ids.
pub fn union(tables: Tables, ids: &[&[u8]], days: Days) -> Result<Sketch, CounterError> {
    let mut united = Sketch::new(parameters());
    for id in ids {
        process::check_for_interrupts();
        united.unite(&sketch(tables, id, days)?)?;
    }
    Ok(united)
}

/// Rows that compaction has not united yet, as the caller's query sees them.
pub fn visit_rows(tables: Tables) -> Result<u64, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::of_query();
    Ok(xact::in_scratch_memory(|| reader.visit_rows(&mut snapshot)))
}
