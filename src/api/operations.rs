//! Running it: compaction by hand, version, statistics.

use pgrx::prelude::*;

use crate::counting::{folding, transaction};
use crate::errors::{CounterError, OrRaise};
use crate::family::pass;
use crate::journal::position;
use crate::memory::epochs;
use crate::memory::statistics::Count;
use crate::memory::{databases, limits, sketches, statistics, table, workers};
use crate::pg::Oid;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::Snapshot;
use crate::pg::{catalog, privilege, process, xact};
use crate::rows::access::{self, Purpose, Tables};
use crate::rows::list;
use crate::rows::sum::Reader;
use crate::visitors::read;

/// Runs one compaction pass now and returns how many rows it folded: of slots, and of visits. Where the database has a worker, the worker
/// runs it and this waits; else it runs in the caller's transaction. Who may count and not read gets 0: which rows are folded depends on totals.
///
/// Errors: 25006 read-only transaction or standby; 42501 INSERT or UPDATE on counter_ext.total is missing; 55006 buffered increments
/// cannot be folded since a backend stands still in its commit.
#[pg_extern]
fn counter_compact() -> i64 {
    compact().or_raise() as i64
}

fn compact() -> Result<u64, CounterError> {
    let tables = transaction::enter_to_change("counter_compact", Purpose::Count, xact::nest_level())?;
    let rows = make_pass(tables)?;
    let may_read = privilege::has_all(tables.total, privilege::current_user(), Rights::SELECT);
    Ok(if may_read { rows } else { 0 })
}

fn make_pass(tables: Tables) -> Result<u64, CounterError> {
    let database = u32::from(catalog::my_database());
    // A pass of the worker takes what is in memory. It leaves what a backend that stands in its commit has still to bring there.
    let goal = folding::goal(tables);
    let has_worker = workers::has_worker(database);
    if has_worker
        && let Some(rows) = workers::request_pass(database)
        && folding::is_folded(tables, goal)
    {
        return Ok(rows);
    }
    let counters = folding::fold_here(tables)?;
    let which = if has_worker { pass::Steps::Essential } else { pass::Steps::All };
    let pass::Outcome { rows, overflowed } = pass::run_here(tables, which)?;
    let rows = counters + rows;
    statistics::note_pass(database, statistics::Pass { rows, overflowed });
    Ok(rows)
}

/// The version of the library that is loaded.
#[pg_extern(immutable, parallel_safe)]
fn counter_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Has the counts of `counter_stats` in this database begin anew, and forgets its last error. What says how things stand, as the backlog does,
/// stays, and so does every counter. Those of the whole server (evictions of sketches and limits, limits refused) begin anew for this
/// database alone. It happens at once, whatever becomes of the transaction; `stats_reset_at` and `stats_reset_by` tell of it.
///
/// PUBLIC may not execute it, as with `pg_stat_reset`.
///
/// Errors: 55000 nothing is measured: the library is not preloaded, on a standby, or more databases count than `counter_ext.max_databases`.
#[pg_extern]
fn counter_stats_reset() {
    reset_statistics().or_raise();
}

fn reset_statistics() -> Result<(), CounterError> {
    let database = u32::from(catalog::my_database());
    let is_reset = is_measured(database)
        && statistics::reset(database, &counts_so_far(database), u32::from(privilege::current_user()));
    if is_reset { Ok(()) } else { Err(CounterError::NotMeasured { remedy: how_to_measure() }) }
}

/// Whether the database has statistics, now that somebody asks for them.
fn is_measured(database: u32) -> bool {
    crate::memory::is_attached() && !xact::in_recovery() && databases::register(database)
}

fn how_to_measure() -> &'static str {
    if !crate::memory::is_attached() {
        "Add counter_ext to shared_preload_libraries and restart the server."
    } else if xact::in_recovery() {
        "Call it on the primary: a standby measures nothing."
    } else {
        "Raise counter_ext.max_databases and restart the server."
    }
}

fn counts_so_far(database: u32) -> [(Count, u64); 16] {
    let s = statistics::of(database).unwrap_or_default();
    let journal = epochs::statistics(database);
    let limits = limits::statistics().unwrap_or_default();
    [
        (Count::Increments, s.increments),
        (Count::Compactions, s.compactions),
        (Count::RowsFolded, s.rows_folded),
        (Count::Errors, s.errors),
        (Count::Loads, s.loads),
        (Count::LoadTimeouts, s.load_timeouts),
        (Count::Evictions, s.evictions),
        (Count::Invalidations, s.invalidations),
        (Count::BufferedIncrements, journal.map_or(0, |journal| journal.buffered_increments)),
        (Count::JournalBytes, journal.map_or(0, |journal| journal.journal_bytes)),
        (Count::RecoveredRecords, journal.map_or(0, |journal| journal.recovered_records)),
        (Count::Visits, statistics::visits(database)),
        (Count::Filtered, statistics::filtered(database).unwrap_or(0)),
        (Count::SketchEvictions, sketches::statistics().evictions),
        (Count::LimitsRefused, limits.refused),
        (Count::LimitEvictions, limits.evictions),
    ]
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// The part of `counter_stats` that says since when it counts: when it was last reset, and the role that did it.
    ///
    /// Errors: 42501 as `counter_stats`.
    #[pg_extern]
    fn statistics_reset()
    -> TableIterator<'static, (name!(at, Option<TimestampWithTimeZone>), name!(role, Option<Oid>))> {
        tables_to_monitor().or_raise();
        let (at_us, role) = statistics::last_reset(u32::from(catalog::my_database())).unwrap_or_default();
        TableIterator::once((process::timestamp(at_us), (at_us != 0).then(|| role.into())))
    }

    /// What the extension's script calls at its end: a worker may start here when this commits.
    #[pg_extern]
    fn note_extension_created() {
        // Anybody else would only wake workers.
        if catalog::is_creating_extension(c"counter_ext") {
            transaction::note_extension_created();
        }
    }

    /// Behind the view `counter_stats`, whose comment says what each column means.
    ///
    /// Errors: 42501 neither SELECT on counter_ext.total nor membership in pg_read_all_stats.
    #[pg_extern]
    #[allow(clippy::type_complexity)]
    fn statistics() -> TableIterator<
        'static,
        (
            name!(preloaded, bool),
            name!(worker_pid, Option<i32>),
            name!(worker_state, &'static str),
            name!(increments, Option<i64>),
            name!(compactions, Option<i64>),
            name!(rows_folded, Option<i64>),
            name!(last_compaction_at, Option<TimestampWithTimeZone>),
            name!(slot_rows, i64),
            name!(errors, Option<i64>),
            name!(last_error, Option<String>),
            name!(last_error_at, Option<TimestampWithTimeZone>),
            name!(overflowed, Option<i64>),
            name!(counters_in_memory, i64),
            name!(max_counters, i64),
            name!(memory_bytes, i64),
            name!(loads, Option<i64>),
            name!(load_timeouts, Option<i64>),
            name!(evictions, Option<i64>),
            name!(invalidations, Option<i64>),
            name!(journal_state, Option<&'static str>),
            name!(buffered_increments, Option<i64>),
            name!(journal_bytes, Option<i64>),
            name!(journal_tail_bytes, i64),
            name!(journal_delayed_by, Option<i32>),
            name!(journal_recovered_records, Option<i64>),
            name!(visits_written, Option<i64>),
            name!(visit_rows, i64),
            name!(sketches_in_memory, i64),
            name!(max_sketches, i64),
            name!(sketch_evictions, Option<i64>),
            name!(counter_bytes, i64),
            name!(sketch_bytes, i64),
        ),
    > {
        let tables = tables_to_monitor().or_raise();
        let slot_rows = count_slot_rows(tables).or_raise() as i64;
        let tail_bytes = position::tail_bytes().or_raise();
        let visit_rows = read::visit_rows().or_raise() as i64;
        let sketches = sketches::statistics();
        let preloaded = crate::memory::is_attached();
        let database = u32::from(catalog::my_database());
        is_measured(database);
        let known = statistics::of(database);
        let journal = epochs::statistics(database).filter(|_| known.is_some());
        let counters = table::sizes();
        let without_cell = if preloaded && !xact::in_recovery() { "no cell" } else { "none" };
        let s = known.clone().unwrap_or_default();
        let since = |count: Count, so_far: u64| statistics::since_reset(database, count, so_far) as i64;
        // Without shared memory nothing is measured, which is not the same as zero.
        let measured = |count: Count, so_far: u64| known.is_some().then(|| since(count, so_far));
        TableIterator::once((
            preloaded,
            Some(workers::pid(database) as i32).filter(|pid| *pid != 0),
            workers::state(database).map_or(without_cell, |state| state.name()),
            measured(Count::Increments, s.increments),
            measured(Count::Compactions, s.compactions),
            measured(Count::RowsFolded, s.rows_folded),
            process::timestamp(s.last_compaction_at_us),
            slot_rows,
            measured(Count::Errors, s.errors),
            (!s.last_error.is_empty()).then_some(s.last_error),
            process::timestamp(s.last_error_at_us),
            known.is_some().then_some(s.overflowed as i64),
            s.entries.max(0),
            counters.max_counters as i64,
            (counters.bytes + sketches.bytes + limits::size_bytes()) as i64,
            measured(Count::Loads, s.loads),
            measured(Count::LoadTimeouts, s.load_timeouts),
            measured(Count::Evictions, s.evictions),
            measured(Count::Invalidations, s.invalidations),
            journal.map(|journal| journal.state.name()),
            journal.map(|journal| since(Count::BufferedIncrements, journal.buffered_increments)),
            journal.map(|journal| since(Count::JournalBytes, journal.journal_bytes)),
            tail_bytes as i64,
            journal
                .filter(|journal| journal.cut_delayed_by != 0)
                .map(|journal| journal.cut_delayed_by as i32),
            journal.map(|journal| since(Count::RecoveredRecords, journal.recovered_records)),
            measured(Count::Visits, statistics::visits(database)),
            visit_rows,
            sketches.loaded as i64,
            sketches.capacity as i64,
            measured(Count::SketchEvictions, sketches.evictions),
            counters.bytes_in_use as i64,
            sketches.bytes_in_use as i64,
        ))
    }
}

pub(super) fn tables_to_monitor() -> Result<Tables, CounterError> {
    if privilege::may_monitor(privilege::current_user()) {
        access::tables()
    } else {
        access::enter(Purpose::Read, xact::nest_level(), false)
    }
}

fn count_slot_rows(tables: Tables) -> Result<u64, CounterError> {
    let reader = Reader::open(tables)?;
    let mut snapshot = Snapshot::of_query();
    xact::in_scratch_memory(|| list::slot_rows(&reader, &mut snapshot))
}

extension_sql_file!("../../sql/finish.sql", name = "counter_ext_finish", finalize);
