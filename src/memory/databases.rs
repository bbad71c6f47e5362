//! Cells of databases: what shared memory knows of each database that counts.
//!
//! Contract:
//!
//! - There are `counter_ext.max_databases` cells. One is given to a database, and taken from it, under the database lock. All else
//!   in a cell is atomics, and an error text that the same lock guards.
//! - A cell is taken from a database that was dropped or has no extension, and, where another database needs one and none is free,
//!   from one that has nothing going on: no session, no worker, no buffered deltas. Its statistics go with the cell, and nothing else. A
//!   worker that is the only one there gives its database's cell up itself when it hears that one is wanted.
//! - Whoever takes a cell first makes it nobody's and then looks for sessions of its database. A session is in the process array
//!   before it looks for a cell. So no session ever uses a cell that meanwhile belongs to another database.
//! - A database without a cell loses nothing: increments go to rows, reads come from rows or from memory as ever, and the launcher
//!   sends it a worker in turn.
//! - A backend remembers where its own database's cell is, or that there is none, and looks whether that still holds. That there is none may be
//!   out of date for a moment: who writes slot rows, of which the cell must know, looks again.
//!
//! BOUND: four bytes for each cell of a database.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::layout::*;
use super::room::places::Head;
use super::segment::{Segment, segment};
use crate::pg::process;
use crate::pg::session::session_local;

/// How long a process that got no cell for its database waits before it looks for one that could be taken from another.
const NEXT_TRY: Duration = Duration::from_secs(1);

session_local! {
    static MINE: Cell<Option<Found>> = const { Cell::new(None) };
    /// The database that had no cell, and how often cells had changed hands by then.
    static MISSED: Cell<Option<(u32, u64)>> = const { Cell::new(None) };
    static REFUSED_AT: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Where a database's cell is.
#[derive(Clone, Copy)]
struct Found {
    database: u32,
    index: usize,
    cell: &'static DatabaseCell,
}

/// The cell that is known, while it is that database's; every commit asks several times. Else it is looked for.
#[inline(always)]
fn find(database: u32) -> Option<Found> {
    if let Some(mine) = MINE.get()
        && mine.database == database
        && mine.cell.database.load(Ordering::SeqCst) == database
    {
        return Some(mine);
    }
    find_anew(database)
}

#[cold]
fn find_anew(database: u32) -> Option<Found> {
    let segment = segment()?;
    let changes = segment.header().cell_changes.load(Ordering::SeqCst);
    if MISSED.get() == Some((database, changes)) {
        return None;
    }
    let Some(index) = look_for(&segment, database) else {
        MISSED.set(Some((database, changes)));
        return None;
    };
    let found = Found { database, index, cell: segment.database_cell(index) };
    if u32::from(crate::pg::catalog::my_database()) == database {
        MINE.set(Some(found));
    }
    Some(found)
}

fn look_for(segment: &Segment, database: u32) -> Option<usize> {
    (0..segment.database_cells())
        .find(|index| segment.database_cell(*index).database.load(Ordering::SeqCst) == database)
}

/// Where the database's cell is.
pub(super) fn index_of(database: u32) -> Option<usize> {
    find(database).map(|found| found.index)
}

pub(super) fn with<T>(database: u32, look: impl FnOnce(&'static DatabaseCell) -> T) -> Option<T> {
    find(database).map(|found| look(found.cell))
}

/// As `with`, for who must not miss a cell that the database has been given, or given back, a moment ago.
pub(super) fn with_cell_of_now<T>(database: u32, look: impl FnOnce(&'static DatabaseCell) -> T) -> Option<T> {
    let segment = segment()?;
    let index = index_of(database).or_else(|| look_for(&segment, database))?;
    MISSED.set(None);
    Some(look(segment.database_cell(index)))
}

/// Gives the database a cell, if it has none: a free one, or one of a database that has nothing going on. False where there is
/// none to be had. Cannot fail.
pub fn register(database: u32) -> bool {
    if find(database).is_some() {
        return true;
    }
    let Some(segment) = segment() else {
        return false;
    };
    if REFUSED_AT.get().is_some_and(|at| at.elapsed() < NEXT_TRY) && !has_free_cell() {
        return false;
    }
    let _held = segment.lock_databases();
    if look_for(&segment, database).is_some() {
        MISSED.set(None);
        return true;
    }
    let Some(index) = free_cell(&segment).or_else(|| take_from_an_idle_database(&segment)) else {
        REFUSED_AT.set(Some(Instant::now()));
        segment.header().cell_is_wanted.store(1, Ordering::SeqCst);
        wake_workers(&segment);
        return false;
    };
    give(&segment, index, database);
    true
}

/// As `register`, for those who ask only in case that the database will count: takes a cell from no other.
pub fn register_if_free(database: u32) -> bool {
    if find(database).is_some() {
        return true;
    }
    let Some(segment) = segment() else {
        return false;
    };
    let _held = segment.lock_databases();
    if look_for(&segment, database).is_some() {
        MISSED.set(None);
        return true;
    }
    let free = free_cell(&segment);
    if let Some(index) = free {
        give(&segment, index, database);
    }
    free.is_some()
}

fn free_cell(segment: &Segment) -> Option<usize> {
    look_for(segment, 0)
}

/// The caller holds the database lock, and the cell is nobody's.
fn give(segment: &Segment, index: usize, database: u32) {
    let cell = segment.database_cell(index);
    cell.reset();
    cell.database.store(database, Ordering::SeqCst);
    segment.header().cell_changes.fetch_add(1, Ordering::SeqCst);
}

/// The caller holds the database lock.
fn take(segment: &Segment, cell: &DatabaseCell) {
    cell.database.store(0, Ordering::SeqCst);
    segment.header().cell_changes.fetch_add(1, Ordering::SeqCst);
}

/// Makes the cell of a database that has nothing going on nobody's; first of those that are not even waiting for a worker. The
/// caller holds the database lock.
fn take_from_an_idle_database(segment: &Segment) -> Option<usize> {
    let count = segment.database_cells();
    // Not always the same database's.
    let first = segment.header().next_cell.fetch_add(1, Ordering::Relaxed) as usize;
    [0, 1].into_iter().find_map(|most_wanted| {
        (0..count).map(|step| (first + step) % count).find(|index| {
            let cell = segment.database_cell(*index);
            cell.worker.wanted.load(Ordering::SeqCst) <= most_wanted && take_if_idle(segment, cell)
        })
    })
}

/// Whether memory holds deltas of the database that are in no row yet. Nobody is connected to it, so no new ones come.
fn holds_deltas(segment: &Segment, database: u32) -> bool {
    (0..segment.partitions()).any(|partition| {
        (0..segment.touched(partition) as usize).step_by(64).any(|first| {
            let marks = |kind| segment.marks(partition, kind)[first / 64].load(Ordering::SeqCst);
            let marked = (0..MARK_KINDS).fold(0, |bits, kind| bits | marks(kind));
            (0..64)
                .filter(|bit| marked & 1 << bit != 0)
                .any(|bit| segment.entry(partition, (first + bit) as u32).database() == database)
        })
    })
}

fn take_if_idle(segment: &Segment, cell: &'static DatabaseCell) -> bool {
    let database = cell.database.load(Ordering::SeqCst);
    let has_worker = cell.worker.pid.load(Ordering::SeqCst) != 0
        || segment.worker_places().iter().any(|place| place.database.load(Ordering::SeqCst) == database);
    !has_worker && take_if_connected(segment, cell, 0)
}

/// Takes the cell of a database that no more processes than these are connected to, and that has no buffered deltas. The caller holds the
/// database lock.
fn take_if_connected(segment: &Segment, cell: &'static DatabaseCell, processes: usize) -> bool {
    let database = cell.database.load(Ordering::SeqCst);
    if process::connected_to(database) > processes || holds_deltas(segment, database) {
        return false;
    }
    cell.database.store(0, Ordering::SeqCst);
    // Somebody may have connected, and found the cell, just before.
    if process::connected_to(database) > processes || holds_deltas(segment, database) {
        put_back(segment, cell, database);
        return false;
    }
    take(segment, cell);
    true
}

/// Gives a cell back to the database that it was taken from a moment ago. Who looked for it meanwhile, and wrote slot rows, has told
/// nobody of them.
fn put_back(segment: &Segment, cell: &'static DatabaseCell, database: u32) {
    cell.slotted().forget();
    cell.database.store(database, Ordering::SeqCst);
    segment.header().cell_changes.fetch_add(1, Ordering::SeqCst);
}

fn wake_workers(segment: &Segment) {
    for place in segment.worker_places() {
        if place.pid.load(Ordering::SeqCst) != 0 {
            process::wake(place.slot.load(Ordering::SeqCst) as usize);
        }
    }
}

/// Called by the database's worker: gives up its cell where another database wants one, and nobody else is connected. The worker goes
/// on without it.
pub fn give_up_if_wanted(database: u32) {
    let Some(segment) = segment() else { return };
    if segment.header().cell_is_wanted.load(Ordering::SeqCst) == 0 {
        return;
    }
    let _held = segment.lock_databases();
    if free_cell(&segment).is_none()
        && let Some(index) = look_for(&segment, database)
    {
        take_if_connected(&segment, segment.database_cell(index), 1);
    }
    if free_cell(&segment).is_some() {
        segment.header().cell_is_wanted.store(0, Ordering::SeqCst);
    }
}

/// Whether the database has a cell.
pub fn is_registered(database: u32) -> bool {
    index_of(database).is_some()
}

/// Whether one more database could have a cell without taking it from another.
pub fn has_free_cell() -> bool {
    segment().is_some_and(|segment| free_cell(&segment).is_some())
}

/// Takes the cell of a database that is gone.
pub fn unregister(database: u32) {
    unregister_if(database, |_| true);
}

/// Takes the database's cell where the condition holds, which is asked under the database lock.
pub(super) fn unregister_if(database: u32, may: impl FnOnce(&DatabaseCell) -> bool) {
    let Some(segment) = segment() else { return };
    let _held = segment.lock_databases();
    if let Some(index) = look_for(&segment, database) {
        let cell = segment.database_cell(index);
        if may(cell) {
            take(&segment, cell);
        }
    }
}

/// Changes something about the database's cell that must not fall between the two steps of taking it.
pub(super) fn change(database: u32, change: impl FnOnce(&DatabaseCell)) {
    let Some(segment) = segment() else { return };
    let _held = segment.lock_databases();
    if let Some(index) = look_for(&segment, database) {
        change(segment.database_cell(index));
    }
}

/// Databases that have a cell.
pub fn registered() -> Vec<u32> {
    let Some(segment) = segment() else {
        return Vec::new();
    };
    (0..segment.database_cells())
        .map(|index| segment.database_cell(index).database.load(Ordering::SeqCst))
        .filter(|database| *database != 0)
        .collect()
}

/// Adds to one of the database's counts; nothing where it has no cell.
pub(super) fn count(database: u32, field: impl FnOnce(&Counts) -> &AtomicU64, by: u64) {
    with(database, |cell| field(&cell.counts).fetch_add(by, Ordering::Relaxed));
}

pub(super) fn adjust_entries(database: u32, by: i64) {
    with(database, |cell| cell.counts.entries.fetch_add(by, Ordering::Relaxed));
}
