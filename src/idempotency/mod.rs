//! What can be retried counts once: single events by token, batches by source and offset.
//!
//! Token and offset are rows of the caller's transaction, as the increments are: they commit or roll back together.

pub mod batch;
pub mod errors;
mod offset_rows;
mod settings;
mod token_rows;

use std::time::Duration;

use self::batch::Borders;
use self::errors::IdempotencyError;
use self::offset_rows::{Advanced, OFFSETS};
use self::token_rows::TOKENS;
use crate::counting::{change, transaction};
use crate::errors::CounterError;
use crate::family::Family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::owners;
use crate::pg::lock::{self, Subject};
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::emptying;
use crate::series::late;

/// Tokens one transaction forgets, and how long it takes for that at most.
const PURGE_BATCH: u64 = 10_000;
const PURGE_TIME: Duration = Duration::from_millis(100);

/// What one offset of a batch adds to a counter, if to any.
#[derive(Clone, Copy, Debug)]
pub struct Delta<Id> {
    pub offset: i64,
    pub id: Option<Id>,
    pub delta: i64,
    /// When it happened, in microseconds since 2000-01-01, where that is not now.
    pub at_us: Option<i64>,
}

pub static FAMILY: Family = Family {
    define_settings: settings::define,
    forget_all: |_| emptying::truncate(&[TOKENS, OFFSETS]),
    steps: &[FORGET_TOKENS],
    ..Family::NONE
};

const FORGET_TOKENS: Step = Step {
    name: "forgetting old tokens",
    every: Duration::from_secs(30),
    is_essential: false,
    begin: || Box::new(ForgetTokens { from_us: i64::MIN }),
};

/// Goes on where the last piece stopped, past what that has forgotten.
struct ForgetTokens {
    from_us: i64,
}

impl Work for ForgetTokens {
    fn next(&mut self, tables: Tables, _how: How) -> Result<Progress, CounterError> {
        let reached_us = purge(tables, self.from_us);
        self.from_us = reached_us.unwrap_or(self.from_us);
        Ok(Progress { is_done: reached_us.is_none(), ..Progress::default() })
    }
}

/// Adds a delta to a counter if the token has not been seen for it. Returns whether it did. Errors: 22023 it has been seen with another
/// delta; 55000 where shards move, it may have been seen by another node.
pub fn increment_once(id: &[u8], delta: i64, token: &[u8]) -> Result<bool, CounterError> {
    let entered = change::enter("counter_incr_once")?;
    let table = TOKENS.enter_to_write(Rights::INSERT, "INSERT")?;
    owners::check_all_arrived(id)?;
    let is_new = xact::in_scratch_memory(|| token_rows::insert_once(table, token, id, delta))?;
    if is_new {
        change::increment(entered, id, delta)?;
    }
    Ok(is_new)
}

/// Adds those deltas of a batch whose offsets are past what its source has delivered. Returns whether it reaches past that. `has_times`: some
/// deltas may be of other times than now. Whether such a time can be had is asked of those that count only: a batch that comes again does not
/// fail since it is late. Errors: 55000 where shards move, another node may know of more.
pub fn apply<Id: AsRef<[u8]>>(
    source: &[u8],
    borders: Borders,
    given: (usize, bool),
    deltas: impl Iterator<Item = Delta<Id>>,
) -> Result<bool, CounterError> {
    check_source(source)?;
    apply_checked(source, borders, given, deltas, || owners::check_all_arrived(source))
}

/// As `apply`, of a source that is another node's own: how far it has come is known here, wherever ids are.
pub fn apply_moved<Id: AsRef<[u8]>>(
    source: &[u8],
    borders: Borders,
    count: usize,
    deltas: impl Iterator<Item = Delta<Id>>,
) -> Result<bool, CounterError> {
    apply_checked(source, borders, (count, false), deltas, || Ok(()))
}

fn apply_checked<Id: AsRef<[u8]>>(
    source: &[u8],
    borders: Borders,
    (count, has_times): (usize, bool),
    deltas: impl Iterator<Item = Delta<Id>>,
    check: impl FnOnce() -> Result<(), CounterError>,
) -> Result<bool, CounterError> {
    const FUNCTION: &str = "counter_apply";
    let entered = if has_times { change::enter_to_rows(FUNCTION)? } else { change::enter(FUNCTION)? };
    let table = OFFSETS.enter_to_write(Rights::INSERT.and(Rights::UPDATE), "INSERT and UPDATE")?;
    check()?;
    lock::lock_exclusive(table, Subject::Key(lock::id_hash(source)));
    let advanced = xact::in_scratch_memory(|| offset_rows::advance(table, source, borders, count))?;
    let Advanced::From(before) = advanced else { return Ok(false) };
    for Delta { offset, id, delta, at_us } in deltas {
        let Some(id) = id.filter(|_| batch::is_new(offset, before)) else { continue };
        match at_us {
            Some(at_us) => late::increment_entered(entered, id.as_ref(), at_us, delta)?,
            None => change::increment(entered, id.as_ref(), delta)?,
        }
    }
    Ok(true)
}

/// Moves a source on to the end of a batch with so many deltas, which others count. Returns how far it had delivered before; `None` where
/// that was as far. Errors: 55000 where shards move, another node may know of more.
pub fn advance(source: &[u8], borders: Borders, count: usize) -> Result<Option<Option<i64>>, CounterError> {
    check_source(source)?;
    change::enter("counter_apply")?;
    let table = OFFSETS.enter_to_write(Rights::INSERT.and(Rights::UPDATE), "INSERT and UPDATE")?;
    owners::check_all_arrived(source)?;
    lock::lock_exclusive(table, Subject::Key(lock::id_hash(source)));
    match xact::in_scratch_memory(|| offset_rows::advance(table, source, borders, count))? {
        Advanced::From(before) => Ok(Some(before)),
        Advanced::Not => Ok(None),
    }
}

/// Names that begin so are those under which nodes of a cluster deliver to each other.
const OWN_SOURCES: &[u8] = b"counter_ext.";

/// Errors: 22023 the name of a source is the extension's own.
fn check_source(source: &[u8]) -> Result<(), CounterError> {
    if source.starts_with(OWN_SOURCES) {
        // BOUND: a name of a source.
        return Err(IdempotencyError::OwnSource { source: source.to_vec() }.into());
    }
    Ok(())
}

/// Lets a source begin anew: its next batch counts, whatever its offsets are. Returns how far it had delivered, if it had
/// delivered anything. A batch that another transaction has just applied is waited for.
pub fn reset(source: &[u8]) -> Result<Option<i64>, CounterError> {
    check_source(source)?;
    transaction::check_may_change("counter_apply_reset")?;
    let table = OFFSETS.enter_to_write(Rights::SELECT.and(Rights::DELETE), "SELECT and DELETE")?;
    owners::check_all_arrived(source)?;
    lock::lock_exclusive(table, Subject::Key(lock::id_hash(source)));
    xact::in_scratch_memory(|| offset_rows::reset(table, source))
}

/// Forgets tokens that are older than the retention, from a time on, a bounded number of them. Returns up to when; `None` where there
/// are no more, or none that could be forgotten now. Does nothing while DDL holds the table.
fn purge(tables: Tables, from_us: i64) -> Option<i64> {
    let table = TOKENS.find().filter(|table| lock::try_lock_table(*table, Access::Write))?;
    if TOKENS.find() != Some(table) {
        return None;
    }
    let before_us = process::now_us() - settings::token_retention_s() * 1_000_000;
    let purged = as_owner(tables, |_| {
        xact::in_scratch_memory(|| token_rows::purge(table, from_us, before_us, PURGE_BATCH, PURGE_TIME))
    });
    purged.reached_us.filter(|_| purged.tokens > 0)
}
