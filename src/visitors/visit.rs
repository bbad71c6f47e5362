//! A visit, and the end of all of an id's.

use allocator_api2::alloc::Global;

use super::access::{self, Purpose, VISIT, VISITORS, VisitorTables};
use super::errors::{MAX_LATE_DAYS, VisitorError};
use super::read;
use super::rows::{Days, Seen, VisitWriter};
use super::transaction;
use crate::counting::change;
use crate::counting::change_errors::ChangeError;
use crate::counting::transaction as counting;
use crate::errors::CounterError;
use crate::fallible;
use crate::family::Move;
use crate::hll::{Refused, Sketch};
use crate::memory::sketches::parameters;
use crate::pg::snapshot::Snapshot;
use crate::pg::{time_zone, xact};
use crate::rows::access::Tables;
use crate::rows::emptying;
use crate::settings;

/// Checks that the caller may visit.
pub fn enter(function: &'static str) -> Result<VisitorTables, CounterError> {
    counting::check_may_change(function)?;
    transaction::check_open()?;
    access::enter(Purpose::Visit)
}

/// Today in the zone that is set, as days since 2000-01-01: that of the transaction's start.
fn today() -> i32 {
    time_zone::day_of(xact::start_us())
}

/// The day of a visit; `None` is today. Errors: 22008 it is infinite, too long ago, or later than tomorrow.
pub fn day_of_visit(at: Option<i32>) -> Result<i32, CounterError> {
    match at {
        None => Ok(today()),
        Some(day) => checked_day(day, MAX_LATE_DAYS),
    }
}

/// A day within bounds. Tomorrow is, for clients whose day begins earlier.
fn checked_day(day: i32, max_late_days: i64) -> Result<i32, CounterError> {
    if matches!(day, i32::MIN | i32::MAX) {
        return Err(VisitorError::NoDay.into());
    }
    let days = i64::from(day) - i64::from(today());
    if (-max_late_days..=1).contains(&days) {
        Ok(day)
    } else {
        Err(VisitorError::Day { days, latest: days > 0, zone: time_zone::name() }.into())
    }
}

/// Notes a visit of a checked id on a day by a visitor that hashes to `hash`. Returns whether the visitor had never
/// been seen there. One that the sketch cannot tell from those it has seen counts as seen.
pub fn visit(tables: VisitorTables, id: &[u8], day: i32, hash: u64) -> Result<bool, CounterError> {
    match read::seen(tables, id, day, hash)? {
        Seen::ThatDay => return Ok(false),
        Seen::Before => transaction::add(tables, id, day, hash)?,
        Seen::Never => {
            transaction::add(tables, id, day, hash)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Notes the visits of all that a sketch has seen, on a day. Returns whether somebody among them had never been seen
/// there. Errors: 22008 the day is infinite, or later than tomorrow; 22023 the sketch cannot be folded to our parameters.
pub fn visit_all(
    tables: VisitorTables,
    id: &[u8],
    day: i32,
    visitors: &Sketch,
) -> Result<bool, CounterError> {
    let day = checked_day(day, i64::MAX)?;
    if visitors.is_undefined() {
        return Err(VisitorError::Undefined.into());
    }
    let visitors = match visitors.fold(parameters()) {
        Err(Refused::TooCoarse(coarse)) => return Err(VisitorError::TooCoarse(coarse).into()),
        folded => folded?,
    };
    if visitors.is_empty() {
        return Ok(false);
    }
    access::lock_for_writing(tables)?;
    let ever = read::sketch(tables, id, Days::Ever)?;
    let mut with = ever.copy_in(Global)?;
    with.unite(&visitors)?;
    transaction::add_all(tables, id, day, &visitors)?;
    Ok(with != ever)
}

/// Forgets all visitors of an id. The caller keeps compaction out. Returns whether there were any.
pub fn drop_all(_counters: Tables, id: &[u8]) -> Result<bool, CounterError> {
    let had_own = transaction::forget_own(id)?;
    let tables = access::find().ok_or(CounterError::NotInstalled)?;
    if let Err(error) = access::enter(Purpose::Drop) {
        // Who may drop counters only can do so where there are no visitors.
        return if read::sketch(tables, id, Days::Ever)?.is_empty() { Ok(had_own) } else { Err(error) };
    }
    access::lock_for_writing(tables)?;
    let removed = xact::in_scratch_memory(|| {
        VisitWriter::open(tables, settings::node())?.remove(id, &mut Snapshot::fresh())
    })?;
    if removed > 0 {
        counting::note_touched(tables.counters, id);
        xact::see_own_changes();
    }
    Ok(had_own || removed > 0)
}

/// Moves all visitors of an id to another one. Returns whether there were any. Errors: 42501 what
/// visiting, reading and dropping take together is missing; 42710 the other id has visitors, where nothing is to be merged.
pub fn move_all(counters: Tables, moved: Move<'_>) -> Result<bool, CounterError> {
    let Move { from, to, merges } = moved;
    let tables = access::find().ok_or(CounterError::NotInstalled)?;
    if !merges && !read::sketch(tables, to, Days::Ever)?.is_empty() {
        // BOUND: an id.
        return Err(ChangeError::IsTaken { id: to.to_vec() }.into());
    }
    if read::sketch(tables, from, Days::Ever)?.is_empty() {
        return Ok(false);
    }
    for purpose in [Purpose::Visit, Purpose::Read, Purpose::Drop] {
        access::enter(purpose)?;
    }
    access::lock_for_writing(tables)?;
    let own = transaction::with_own(tables, |own| -> Result<Vec<_>, CounterError> {
        let copies = own.by_day(from).map(|(day, sketch)| Ok((day, sketch.copy_in(Global)?)));
        fallible::try_collect(copies, "visits to move")
    });
    let own = own.unwrap_or(Ok(Vec::new()))?;
    transaction::forget_own(from)?;
    // What a pass holds could not be deleted.
    let moved = || -> Result<(), CounterError> {
        let writer = VisitWriter::open(tables, settings::node())?;
        let taken = writer.take_all(from, &mut Snapshot::fresh())?;
        for (day, sketch) in &taken.united {
            writer.unite_into(to, *day, sketch)?;
        }
        let visits = taken.visits.iter().map(|(day, sketch)| (*day, sketch));
        for (day, sketch) in visits.chain(own.iter().map(|(day, sketch)| (*day, sketch))) {
            writer.insert(to, day, sketch)?;
        }
        Ok(())
    };
    change::between_passes(counters, || xact::in_scratch_memory(moved))?;
    for id in [from, to] {
        counting::note_touched(tables.counters, id);
    }
    xact::see_own_changes();
    Ok(true)
}

/// Forgets all visitors of all ids.
pub fn forget_all(_counters: Tables) -> Result<(), CounterError> {
    let tables = access::find().ok_or(CounterError::NotInstalled)?;
    transaction::forget_all_own(tables)?;
    emptying::truncate(&[VISITORS, VISIT])
}
