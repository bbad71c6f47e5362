//! A board by windows begins and ends.
//!
//! To begin keeps writers out of counter_ext.total until it is committed, and has all that is counted folded: what is counted after that,
//! and nothing else, is booked. To end one keeps them out too; its rows are removed by the passes after that.

use super::length::Length;
use super::window_rows::{self, WINDOWS, Window};
use crate::boards::board_rows::{self, STATES, State};
use crate::boards::declaring::wake_at_commit;
use crate::boards::errors::BoardError;
use crate::counting::{following, transaction};
use crate::errors::{CounterError, check_prefix};
use crate::fallible;
use crate::pg::interval::Interval;
use crate::pg::privilege::Rights;
use crate::pg::table::Access;
use crate::pg::{process, time_zone, xact};
use crate::rows::access::{self, as_owner};

const WHAT: &str = "a board's prefix";

/// How long windows are kept where nothing is said of it: 90 days.
const KEEP_US: i64 = 90 * 86_400_000_000;

/// The length of windows that a caller names. Errors: 22023.
pub fn length(named: &[u8]) -> Result<Length, CounterError> {
    // BOUND: an argument, in a message.
    Length::named(named).ok_or_else(|| BoardError::NoLength { named: named.to_vec() }.into())
}

/// How long finished windows are kept. Errors: 22023.
fn keep_us(keep: Option<Interval>) -> Result<i64, CounterError> {
    let Some(keep) = keep else { return Ok(KEEP_US) };
    let us = keep.length_us();
    if us < 0 { Err(BoardError::BadKeep.into()) } else { Ok(us.min(1 << 61) as i64) }
}

/// Declares a board by windows, or for how long they are kept. Returns whether that changed anything.
pub fn declare(prefix: &[u8], length: Length, keep: Option<Interval>) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    let keep_us = keep_us(keep)?;
    transaction::check_may_change("counter_board")?;
    // Before the lock, which keeps everybody out, and after it.
    let table = WINDOWS.find().ok_or(CounterError::NotInstalled)?;
    WINDOWS.check_rights(table, Rights::INSERT, "INSERT")?;
    let tables = following::gather(prefix)?;
    let table = WINDOWS.enter_to_write(Rights::INSERT, "INSERT")?;
    let zone = time_zone::found_by();
    let before = window_rows::find(prefix, length)?;
    let window = match before {
        Some(before) if before.is_declared => {
            if !before.zone.eq_ignore_ascii_case(&zone) {
                return Err(BoardError::OtherZone {
                    prefix: fallible::copy(prefix, WHAT)?,
                    length: length.name(),
                    zone: before.zone,
                }
                .into());
            }
            if before.keep_us == keep_us {
                return Ok(false);
            }
            Window { keep_us, ..before }
        }
        // What is left of an earlier one is still being removed.
        Some(_) => return Err(BoardError::BeingRemoved { prefix: fallible::copy(prefix, WHAT)? }.into()),
        None => Window {
            prefix: fallible::copy(prefix, WHAT)?,
            length,
            since_us: process::now_us(),
            keep_us,
            reckoned_in: fallible::copy(&zone, WHAT)?,
            zone,
            is_declared: true,
            state: None,
        },
    };
    xact::in_scratch_memory(|| window_rows::write(table, &window))?;
    if window.state.is_none() {
        // Nothing is booked yet.
        let states = STATES.lock(Access::Write)?;
        as_owner(tables, |_| {
            xact::in_scratch_memory(|| board_rows::set_state(states, &window.head(), Some(&State::Ready)))
        })?;
    }
    Ok(true)
}

/// Ends a board by windows, and forgets it. Returns whether there was one.
pub fn end(prefix: &[u8], length: Length) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    transaction::check_may_change("counter_unboard")?;
    let table = WINDOWS.find().ok_or(CounterError::NotInstalled)?;
    WINDOWS.check_rights(table, Rights::DELETE, "DELETE")?;
    let tables = following::keep_writers_out()?;
    let table = WINDOWS.enter_to_write(Rights::DELETE, "DELETE")?;
    if !xact::in_scratch_memory(|| window_rows::remove(table, prefix, length))? {
        return Ok(false);
    }
    let states = STATES.lock(Access::Write)?;
    as_owner(tables, |_| {
        let head = super::length::head(prefix, length);
        xact::in_scratch_memory(|| board_rows::set_state(states, &head, Some(&State::Going)))
    })?;
    wake_at_commit();
    Ok(true)
}

/// A board is changed by hand, by a restore for one: what is there of it is built anew, from its scores, or removed. Writers are kept out.
pub fn changed_by_hand(prefix: &[u8], length: &[u8]) -> Result<(), CounterError> {
    let Some(length) = Length::named(length) else { return Ok(()) };
    let tables = access::tables()?;
    let states = STATES.lock(Access::Write)?;
    let is_declared = window_rows::find(prefix, length)?.is_some_and(|window| window.is_declared);
    let state = (!is_declared).then_some(State::Going);
    let head = super::length::head(prefix, length);
    as_owner(tables, |_| xact::in_scratch_memory(|| board_rows::set_state(states, &head, state.as_ref())))
}
