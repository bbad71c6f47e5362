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
use crate::errors::CounterError;
use crate::family::Family;
use crate::family::pass::{How, Progress, Step, Work};
use crate::pg::lock::{self, Subject};
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::{process, xact};
use crate::rows::access::{Tables, as_owner};
use crate::rows::emptying;

/// Tokens one transaction forgets, and how long it takes for that at most.
const PURGE_BATCH: u64 = 10_000;
const PURGE_TIME: Duration = Duration::from_millis(100);

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
