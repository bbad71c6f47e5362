//! A visit, and the end of all of an id's.

use super::access::{self, Purpose, VisitorTables};
use super::read::{self, Seen};
use super::rows::{Days, VisitWriter};
use super::transaction;
use crate::counting::transaction as counting;
use crate::errors::CounterError;
use crate::pg::snapshot::Snapshot;
use crate::pg::xact;
use crate::rows::access::Tables;
use crate::settings;

const DAY_US: i64 = 86_400_000_000;

/// Checks that the caller may visit.
pub fn enter(function: &'static str) -> Result<VisitorTables, CounterError> {
    counting::check_may_change(function)?;
    transaction::check_open()?;
    access::enter(Purpose::Visit)
}

/// Notes a visit of a checked id by a visitor that hashes to `hash`, today in UTC. Returns whether the visitor had never
/// been seen there. One that the sketch cannot tell from those it has seen counts as seen.
pub fn visit(tables: VisitorTables, id: &[u8], hash: u64) -> Result<bool, CounterError> {
    let today = xact::start_us().div_euclid(DAY_US) as i32;
    match read::seen(tables, id, today, hash)? {
        Seen::ThatDay => return Ok(false),
        Seen::Before => transaction::add(tables, id, today, hash)?,
        Seen::Never => {
            transaction::add(tables, id, today, hash)?;
            return Ok(true);
        }
    }
    Ok(false)
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
