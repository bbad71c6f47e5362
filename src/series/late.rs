//! Events that are counted some time after they happened: the total has them at once, the series, and boards by windows, when they happened.

use super::booking::MOST_AHEAD_US;
use super::errors::SeriesError;
use super::tracked_rows;
use crate::counting::change;
use crate::errors::CounterError;
use crate::family;
use crate::pg::process;
use crate::rows::access::Tables;

/// Adds to a counter what happened at a time. Errors: 55000 it has no series, and is on no board by windows; 22008 the time is longer ago than the
/// series is kept, or, where it has none, than any window, or more than an hour ahead.
pub fn increment_at(id: &[u8], at_us: i64, delta: i64) -> Result<(), CounterError> {
    increment_entered(change::enter_to_rows("counter_incr_at")?, id, at_us, delta)
}

/// As `increment_at`, where the caller has entered to rows.
pub fn increment_entered(
    entered: (Tables, u32),
    id: &[u8],
    at_us: i64,
    delta: i64,
) -> Result<(), CounterError> {
    let series = tracked_rows::all()?;
    let tracked = tracked_rows::of(&series, id);
    let now_us = process::now_us();
    if at_us == i64::MIN || at_us == i64::MAX {
        return Err(SeriesError::TooOld { kept: false }.into());
    }
    if at_us > now_us.saturating_add(MOST_AHEAD_US) {
        return Err(SeriesError::InFuture.into());
    }
    // Where it has a series, that is to have all of it; boards by windows have what they keep.
    let books = match tracked {
        Some(tracked) => Some(tracked.keeps.level_of(at_us, now_us).is_some()),
        None => family::books_at(id, at_us, now_us)?,
    };
    match books {
        Some(true) => {}
        Some(false) => return Err(SeriesError::TooOld { kept: true }.into()),
        // BOUND: an id.
        None => return Err(SeriesError::NotBooked { id: id.to_vec() }.into()),
    }
    change::increment_at(entered, id, delta, at_us)
}
