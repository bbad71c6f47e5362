//! The transaction's visits, and what happens to them at savepoints, commit, abort and prepare.
//!
//! PRE_COMMIT writes them to rows; PostgreSQL commits; COMMIT adds the same to shared memory. A crash in between loses
//! shared memory as a whole, and rows hold all. These hooks run before those of `counting`, which decide by whether the
//! transaction has an id.

use std::cell::{Cell, RefCell};

use super::access::{self, VisitorTables};
use super::pending::{Key, Pending};
use super::rows::{EVER, VisitInserter};
use crate::counting::transaction as counting;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::hll::Sketch;
use crate::memory::databases;
use crate::memory::sketches::{self, SketchKey, parameters};
use crate::memory::statistics;
use crate::memory::workers;
use crate::pg::session::session_local;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::xact::{self, Participant};
use crate::pg::{catalog, lock, process};
use crate::settings;

/// Sketches a transaction holds pending, of up to 16 KiB each, before it writes them out.
const MAX_PENDING: usize = 16_384;
/// At a savepoint, pending sketches of its own that make a spill worth while.
const MIN_SPILL: usize = 1024;

/// Visits on their way from rows to memory.
struct SettledVisits {
    relation: u32,
    visits: Vec<(Key, Sketch)>,
}

session_local! {
    static PENDING: RefCell<Pending> = RefCell::new(Pending::default());
    static SETTLED: RefCell<Option<SettledVisits>> = const { RefCell::new(None) };
    /// The table that pending visits are meant for: the extension may be dropped and made anew meanwhile.
    static PENDING_FOR: Cell<u32> = const { Cell::new(0) };
    static IS_DIRTY: Cell<bool> = const { Cell::new(false) };
    /// Rows this transaction wrote at once.
    static HAS_SPILLED: Cell<bool> = const { Cell::new(false) };
}

/// The callbacks to register.
pub static HOOKS: xact::Hooks = xact::Hooks {
    participant: Participant::Visitors,
    is_idle: || !IS_DIRTY.get() && access::holds_no_locks(),
    pre_commit,
    commit,
    abort: reset_all,
    pre_prepare,
    prepared: reset,
    savepoint_released,
    savepoint_rolled_back,
};

/// Whether visits may still be added.
pub(super) fn check_open() -> Result<(), CounterError> {
    if xact::is_ending() { Err(CounterError::AfterSettling) } else { Ok(()) }
}

/// Looks at the transaction's own visits, if it has any.
pub(super) fn with_own<T>(tables: VisitorTables, look: impl FnOnce(&Pending) -> T) -> Option<T> {
    let has_own = IS_DIRTY.get() && PENDING_FOR.get() == u32::from(tables.visitors);
    has_own.then(|| PENDING.with_borrow(look))
}

/// Adds a visit to the transaction.
pub(super) fn add(tables: VisitorTables, id: &[u8], day: i32, hash: u64) -> Result<(), CounterError> {
    add_by(tables, |pending, level| Ok(pending.add(parameters(), id, day, hash, level)?))
}

/// Adds all visits of a sketch to the transaction.
pub(super) fn add_all(
    tables: VisitorTables,
    id: &[u8],
    day: i32,
    visits: &Sketch,
) -> Result<(), CounterError> {
    add_by(tables, |pending, level| Ok(pending.add_all(id, day, visits, level)?))
}

fn add_by(
    tables: VisitorTables,
    add: impl FnOnce(&mut Pending, u32) -> Result<(), CounterError>,
) -> Result<(), CounterError> {
    access::lock_for_writing(tables)?;
    let relation = u32::from(tables.visitors);
    if PENDING_FOR.get() != relation {
        if !PENDING.with_borrow(Pending::is_empty) {
            return Err(CounterError::CountedBeforeDrop);
        }
        PENDING_FOR.set(relation);
    }
    IS_DIRTY.set(true);
    xact::join(Participant::Visitors);
    let level = xact::nest_level();
    PENDING.with_borrow_mut(|pending| add(pending, level))?;
    let is_worth_it = |pending: &Pending| {
        pending.len() > MAX_PENDING && (level <= 1 || pending.len_of_level(level) >= MIN_SPILL)
    };
    if PENDING.with_borrow(is_worth_it) { spill(tables, level) } else { Ok(()) }
}

/// Writes this level's pending visits to rows, inside the transaction.
fn spill(tables: VisitorTables, level: u32) -> Result<(), CounterError> {
    HAS_SPILLED.set(true);
    let visits = PENDING.with_borrow_mut(|pending| pending.take_level(level))?;
    for ((id, _), _) in &visits {
        counting::note_touched(tables.counters, id);
    }
    write(tables, visits.iter().map(|((id, day), sketch)| (&**id, *day, sketch)))?;
    xact::see_own_changes();
    Ok(())
}

/// Forgets the transaction's own visits of an id. Returns whether there were any.
pub(super) fn forget_own(id: &[u8]) -> Result<bool, CounterError> {
    if !IS_DIRTY.get() {
        return Ok(false);
    }
    Ok(PENDING.with_borrow_mut(|pending| pending.forget(id, xact::nest_level()))?)
}

/// Forgets all of the transaction's own visits.
pub(super) fn forget_all_own(tables: VisitorTables) -> Result<(), CounterError> {
    let ids = with_own(tables, |own| {
        fallible::try_collect(own.ids().map(|id| fallible::boxed(id, "ids of visits")), "ids of visits")
    });
    let ids: Vec<Box<[u8]>> = ids.unwrap_or(Ok(Vec::new()))?;
    ids.iter().try_for_each(|id| forget_own(id).map(drop))
}

/// Writes visits to rows.
fn write<'a>(
    tables: VisitorTables,
    visits: impl IntoIterator<Item = (&'a [u8], i32, &'a Sketch)>,
) -> Result<(), CounterError> {
    xact::in_scratch_memory(|| {
        let active = ActiveSnapshot::push();
        let writer = VisitInserter::open(tables)?;
        for (id, day, sketch) in visits {
            // A full sketch takes 10 KiB, and there may be thousands.
            xact::in_scratch_memory(|| writer.insert(id, day, sketch))?;
            process::check_for_interrupts();
        }
        drop(active);
        Ok(())
    })
}

/// Takes the pending visits, with the tables they are for. Those of tables that this transaction dropped went with them.
fn take_pending() -> Option<(VisitorTables, SettledVisits)> {
    if PENDING.with_borrow(Pending::is_empty) {
        return None;
    }
    let relation = PENDING_FOR.get();
    let visits = PENDING.with_borrow_mut(Pending::take).or_raise();
    match access::find() {
        Some(tables) if u32::from(tables.visitors) == relation => {
            Some((tables, SettledVisits { relation, visits }))
        }
        _ if lock::relation_exists(relation.into()) => CounterError::CountedBeforeDrop.raise(),
        _ => None,
    }
}

fn settle() -> Option<(VisitorTables, SettledVisits)> {
    let (tables, settled) = take_pending()?;
    let visits = settled.visits.iter().map(|((id, day), sketch)| (&**id, *day, sketch));
    if let Err(error) = write(tables, visits) {
        error.raise();
    }
    Some((tables, settled))
}

fn pre_commit() {
    if IS_DIRTY.get() {
        if HAS_SPILLED.get() || !PENDING.with_borrow(Pending::is_empty) {
            // From before the commit can be seen until memory has its visits too: see `read.rs`.
            counting::announce();
        }
        let settled = settle().map(|(_, settled)| settled);
        SETTLED.with_borrow_mut(|place| *place = settled);
    }
}

fn commit() {
    if !IS_DIRTY.get() {
        reset();
        return;
    }
    let database = u32::from(catalog::my_database());
    let settled = SETTLED.take();
    let visits = settled.as_ref().map_or(0, |settled| settled.visits.len() as u64);
    if let Some(SettledVisits { relation, visits }) = settled {
        settings::stretch_commit_window();
        for ((id, day), sketch) in &visits {
            for day in [*day, EVER] {
                sketches::add(SketchKey { database, relation, id, day }, sketch);
            }
        }
    }
    if (visits > 0 || HAS_SPILLED.get()) && databases::register(database) {
        statistics::count_visits(database, visits.max(1));
        workers::want_worker(database);
    }
    reset();
}

/// COMMIT PREPARED runs no callback: the ids are noted as touched, which `counting` marks, and invalidates, right after.
fn pre_prepare() {
    if IS_DIRTY.get()
        && let Some((tables, settled)) = settle()
    {
        for ((id, _), _) in &settled.visits {
            counting::note_touched(tables.counters, id);
        }
    }
}

fn savepoint_released(level: u32) {
    access::hand_locks_down(level);
    if IS_DIRTY.get() {
        PENDING.with_borrow_mut(|pending| pending.release(level));
    }
}

fn savepoint_rolled_back(level: u32) {
    access::forget_locks_above(level);
    sketches::abandon_load();
    if IS_DIRTY.get() {
        PENDING.with_borrow_mut(|pending| pending.roll_back(level));
    }
}

fn reset_all() {
    sketches::abandon_load();
    reset();
}

fn reset() {
    access::forget_locks();
    if IS_DIRTY.replace(false) {
        PENDING.with_borrow_mut(Pending::clear);
        SETTLED.take();
        PENDING_FOR.set(0);
        HAS_SPILLED.set(false);
    }
}
