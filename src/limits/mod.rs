//! Limits: `counter_allow`, a sliding window a key; `counter_incr_from`, which counts what a policy allows.
//!
//! Windows are in shared memory alone: a call writes nothing and takes no transaction id, so it works on a standby and in a
//! read-only transaction, and what it took stays taken when the transaction rolls back.

mod errors;
mod filter;
mod policy;
mod policy_rows;

pub use filter::{filtered, increment_from};
pub use policy::note_change;

use self::errors::LimitError;
use crate::errors::CounterError;
use crate::memory::limits::{self, LimitKey, MAX_PERIOD_US, Subject, Taken};
use crate::pg::catalog;
use crate::pg::interval::Interval;

/// Whether `cost` more fits into a key's window, and is taken. 0 asks whether 1 would, and takes nothing.
pub fn allow(key: &[u8], max: i32, per: Interval, cost: i32) -> Result<bool, CounterError> {
    let max = not_negative("max", max)?;
    let cost = not_negative("cost", cost)?;
    let per_us = period_us("per", per)?;
    let key = LimitKey { database: u32::from(catalog::my_database()), subject: Subject::Key(key), per_us };
    match limits::take(&key, max, cost) {
        Some(Taken::Yes) => Ok(true),
        Some(Taken::No) => Ok(false),
        Some(Taken::NoRoom) => Err(LimitError::NoRoom.into()),
        None => Err(LimitError::NotPreloaded { function: "counter_allow" }.into()),
    }
}

fn not_negative(argument: &'static str, value: i32) -> Result<u32, CounterError> {
    u32::try_from(value).map_err(|_| CounterError::NegativeArgument { argument, value: i64::from(value) })
}

/// The length of a window.
fn period_us(argument: &'static str, period: Interval) -> Result<i64, CounterError> {
    match period.length_us() {
        ..=0 => Err(CounterError::NotPositive { argument }),
        length => i64::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_PERIOD_US)
            .ok_or(CounterError::TooLong { argument }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_positive_and_not_endless() {
        let period = |months, days, us| period_us("per", Interval { months, days, us });
        assert_eq!(period(0, 0, 1), Ok(1));
        assert_eq!(period(1, -29, 0), Ok(86_400_000_000));
        assert_eq!(period(0, 0, 0), Err(CounterError::NotPositive { argument: "per" }));
        assert_eq!(period(0, 1, -86_400_000_000), Err(CounterError::NotPositive { argument: "per" }));
        assert_eq!(period(0, 0, MAX_PERIOD_US), Ok(MAX_PERIOD_US));
        assert_eq!(period(0, 0, MAX_PERIOD_US + 1), Err(CounterError::TooLong { argument: "per" }));
        assert_eq!(period(i32::MAX, i32::MAX, i64::MAX), Err(CounterError::TooLong { argument: "per" }));
        assert_eq!(period(i32::MIN, 0, 0), Err(CounterError::NotPositive { argument: "per" }));
    }
}
