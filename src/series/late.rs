//! Events that are counted some time after they happened: the total has them at once, the series when they happened.

use super::booking::MOST_AHEAD_US;
use super::errors::SeriesError;
use super::tracked_rows;
use crate::counting::change;
use crate::errors::CounterError;
use crate::pg::process;

/// Adds to a counter what happened at a time. Errors: 55000 it has no series; 22008 the time is longer ago than the series is kept, or
/// more than an hour ahead.
pub fn increment_at(id: &[u8], at_us: i64, delta: i64) -> Result<(), CounterError> {
    let entered = change::enter_to_rows("counter_incr_at")?;
    let tracked = tracked_rows::find(id)?;
    let now_us = process::now_us();
    if at_us == i64::MIN || at_us == i64::MAX {
        return Err(SeriesError::TooOld { kept: false }.into());
    }
    if at_us > now_us.saturating_add(MOST_AHEAD_US) {
        return Err(SeriesError::InFuture.into());
    }
    if tracked.keeps.level_of(at_us, now_us).is_none() {
        return Err(SeriesError::TooOld { kept: true }.into());
    }
    change::increment_at(entered, id, delta, at_us)
}
