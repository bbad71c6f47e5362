//! Limits: `counter_allow`, a sliding window a key; `counter_incr_from`, which counts what a policy allows.
//!
//! Windows are in shared memory alone: a call writes nothing and takes no transaction id, so it works on a standby and in a
//! read-only transaction, and what it took stays taken when the transaction rolls back.

mod errors;
mod filter;
mod policy;
mod policy_rows;
mod settings;

pub use filter::{filtered, increment_from};
pub use policy::note_change;

use self::errors::LimitError;
use crate::errors::CounterError;
use crate::family::Family;
use crate::memory::limits::{self, LimitKey, LimitSubject, Taken};
use crate::pg::catalog;
use crate::pg::interval::Interval;

pub static FAMILY: Family =
    Family { define_settings: settings::define, all_forgotten: limits::purge_database, ..Family::NONE };

/// Whether `cost` more fits into a key's window, and is taken. 0 asks whether 1 would, and takes nothing.
pub fn allow(key: &[u8], max: i32, per: Interval, cost: i32) -> Result<bool, CounterError> {
    let max = not_negative("max", max)?;
    let cost = not_negative("cost", cost)?;
    let per_us = check_period("per", period_us("per", per)?)?;
    let key =
        LimitKey { database: u32::from(catalog::my_database()), subject: LimitSubject::Key(key), per_us };
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

/// The length of a window, which is held against the longest one when it is used.
fn period_us(argument: &'static str, period: Interval) -> Result<i64, CounterError> {
    match period.length_us() {
        ..=0 => Err(CounterError::NotPositive { argument }),
        length => Ok(i64::try_from(length).unwrap_or(i64::MAX)),
    }
}

/// A window takes memory that all databases share for as long as its period lasts: refuses those of more than
/// `counter_ext.max_limit_period`.
fn check_period(argument: &'static str, per_us: i64) -> Result<i64, CounterError> {
    let longest_s = settings::max_limit_period_s();
    if per_us > longest_s * 1_000_000 {
        return Err(LimitError::LongPeriod { argument, longest_s }.into());
    }
    Ok(per_us)
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
        assert_eq!(period(0, 0, i64::MAX), Ok(i64::MAX));
        assert_eq!(
            period(i32::MAX, i32::MAX, i64::MAX),
            Ok(i64::MAX),
            "which is longer than any that is allowed"
        );
        assert_eq!(period(i32::MIN, 0, 0), Err(CounterError::NotPositive { argument: "per" }));
    }
}
