//! A watch begins and ends.
//!
//! Either keeps writers, and the worker, out of counter_ext.total until it is committed: nobody is half way, and whoever counts after that
//! follows the watch.

use super::changed_rows::{self, CHANGED};
use super::errors::LiveError;
use super::watch_rows::{self, WATCH, Watch};
use crate::counting::{following, read, transaction};
use crate::errors::{CounterError, check_prefix};
use crate::pg::interval::Interval;
use crate::pg::privilege::{self, Rights};
use crate::pg::table::Access;
use crate::pg::xact;
use crate::rows::access;

/// PostgreSQL's names of channels are shorter than 64 bytes.
const MAX_CHANNEL_BYTES: usize = 63;
const LONGEST_INTERVAL_US: i128 = 86_400_000_000;

/// Watches the counters whose ids begin with a prefix, or watches them at another rate. Returns whether that changed anything.
pub fn watch(prefix: &[u8], channel: &[u8], every: Interval) -> Result<bool, CounterError> {
    check(prefix, channel)?;
    if !(0..=LONGEST_INTERVAL_US).contains(&every.length_us()) {
        return Err(LiveError::BadInterval.into());
    }
    transaction::check_may_change("counter_watch")?;
    // What is sent everybody can listen to: who has it sent must be allowed to read it.
    read::enter()?;
    let table = WATCH.find().ok_or(CounterError::NotInstalled)?;
    // Before the lock, which keeps everybody out, and after it.
    WATCH.check_rights(table, Rights::INSERT, "INSERT")?;
    following::keep_writers_out()?;
    let table = WATCH.enter_to_write(Rights::INSERT, "INSERT")?;
    // BOUND: a prefix, and a channel.
    let (prefix, channel) = (prefix.to_vec(), channel.to_vec());
    let role = privilege::name_of_role(privilege::current_user());
    let watch = Watch { prefix, channel, every, role, sent_at_us: None };
    xact::in_scratch_memory(|| watch_rows::set(table, &watch))
}

/// Watches no more. Returns whether there was such a watch.
pub fn unwatch(prefix: &[u8], channel: &[u8]) -> Result<bool, CounterError> {
    check(prefix, channel)?;
    transaction::check_may_change("counter_unwatch")?;
    let table = WATCH.find().ok_or(CounterError::NotInstalled)?;
    WATCH.check_rights(table, Rights::DELETE, "DELETE")?;
    let tables = following::keep_writers_out()?;
    let table = WATCH.enter_to_write(Rights::DELETE, "DELETE")?;
    let every = Interval { months: 0, days: 0, us: 0 };
    // BOUND: a prefix, and a channel.
    let (prefix, channel) = (prefix.to_vec(), channel.to_vec());
    let watch = Watch { prefix, channel, every, role: Vec::new(), sent_at_us: None };
    if !xact::in_scratch_memory(|| watch_rows::remove(table, &watch))? {
        return Ok(false);
    }
    let changed = CHANGED.lock(Access::Write)?;
    access::as_owner(tables, |_| {
        while !xact::in_scratch_memory(|| changed_rows::take(changed, &watch, BATCH))?.is_empty() {
            xact::see_own_changes();
        }
        Ok::<(), CounterError>(())
    })?;
    Ok(true)
}

/// Ids forgotten at once.
const BATCH: usize = 1000;

fn check(prefix: &[u8], channel: &[u8]) -> Result<(), CounterError> {
    match channel.len() {
        1..=MAX_CHANNEL_BYTES => check_prefix(prefix),
        bytes => Err(LiveError::BadChannel { bytes }.into()),
    }
}
