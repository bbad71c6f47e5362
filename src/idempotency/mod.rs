//! What can be retried counts once: single events by token, batches by source and offset.
//!
//! Token and offset are rows of the caller's transaction, as the increments are: they commit or roll back together.

mod errors;
mod offset_rows;
mod settings;
mod token_rows;

use std::time::Duration;

use self::offset_rows::OFFSETS;
use self::token_rows::TOKENS;
use crate::counting::change;
use crate::counting::compaction::as_owner;
use crate::errors::CounterError;
use crate::family::Family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::lock::{self, Subject};
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::Tables;

/// Tokens one transaction forgets.
const PURGE_BATCH: u64 = 10_000;

pub static FAMILY: Family =
    Family { define_settings: settings::define, steps: &[FORGET_TOKENS], ..Family::NONE };

const FORGET_TOKENS: Step = Step {
    name: "forgetting old tokens",
    every: Duration::from_secs(30),
    is_essential: false,
    begin: || Box::new(ForgetTokens),
};

struct ForgetTokens;

impl Work for ForgetTokens {
    fn next(&mut self, tables: Tables, _how: How) -> Result<Progress, CounterError> {
        Ok(Progress { is_done: !purge(tables), ..Progress::default() })
    }
}

/// Adds a delta to a counter if the token has not been seen for it. Returns whether it did.
pub fn increment_once(id: &[u8], delta: i64, token: &[u8]) -> Result<bool, CounterError> {
    let entered = change::enter("counter_incr_once")?;
    let table = TOKENS.enter_to_write(Rights::INSERT, "INSERT")?;
    let is_new = xact::in_scratch_memory(|| token_rows::insert_once(table, token, id))?;
    if is_new {
        change::increment(entered, id, delta)?;
    }
    Ok(is_new)
}

/// Adds a batch of deltas if its offset is past what its source has delivered. Returns whether it did.
pub fn apply(
    source: &[u8],
    upto: i64,
    count: usize,
    deltas: impl Iterator<Item = (impl AsRef<[u8]>, i64)>,
) -> Result<bool, CounterError> {
    let entered = change::enter("counter_apply")?;
    let table = OFFSETS.enter_to_write(Rights::INSERT.and(Rights::UPDATE), "INSERT and UPDATE")?;
    lock::lock_exclusive(table, Subject::Key(lock::id_hash(source)));
    if !xact::in_scratch_memory(|| offset_rows::advance(table, source, upto, count))? {
        return Ok(false);
    }
    for (id, delta) in deltas {
        change::increment(entered, id.as_ref(), delta)?;
    }
    Ok(true)
}

/// Forgets tokens that are older than the retention, a bounded number of them. Returns whether there may be more. Does nothing
/// while DDL holds the table.
fn purge(tables: Tables) -> bool {
    let Some(table) = TOKENS.find().filter(|table| lock::try_lock_table(*table, Access::Write)) else {
        return false;
    };
    if TOKENS.find() != Some(table) {
        return false;
    }
    let before_us = process::now_us() - settings::token_retention_s() * 1_000_000;
    let purged =
        as_owner(tables, |_| xact::in_scratch_memory(|| token_rows::purge(table, before_us, PURGE_BATCH)));
    purged >= PURGE_BATCH
}
