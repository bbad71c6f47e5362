//! Limits: `counter_allow` and `counter_limit`, a sliding window a key; `counter_incr_from`, which counts what a policy allows; the
//! block list, which visits are held to as well.
//!
//! Windows are in shared memory alone: a call writes nothing and takes no transaction id, so it works on a standby and in a
//! read-only transaction, and what it took stays taken when the transaction rolls back.

mod address;
pub mod errors;
mod filter;
mod network;
mod policy;
mod policy_rows;
mod settings;

pub use filter::{count_filtered, filtered, increment_from, turns_away};
pub use policy::note_change;

use std::net::IpAddr;

use self::errors::LimitError;
use crate::errors::CounterError;
use crate::family::Family;
use crate::memory::limits::{self, LimitKey, LimitSubject, MOST_TOGETHER, Outlook, Request, Taken};
use crate::pg::interval::Interval;
use crate::pg::{catalog, process};

pub static FAMILY: Family =
    Family { define_settings: settings::define, all_forgotten: limits::purge_database, ..Family::NONE };

/// What is asked of a key's window, as the caller has it.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    pub key: &'a [u8],
    pub max: i64,
    pub per: Interval,
    pub cost: i64,
}

impl<'a> Demand<'a> {
    fn checked(&self) -> Result<Request<'a>, CounterError> {
        let max = not_negative("max", self.max)?;
        let cost = not_negative("cost", self.cost)?;
        let per_us = check_period("per", period_us("per", self.per)?)?;
        let database = u32::from(catalog::my_database());
        Ok(Request { key: LimitKey { database, subject: LimitSubject::Key(self.key), per_us }, max, cost })
    }
}

/// What a caller is told of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub allowed: bool,
    /// What more would be allowed now.
    pub remaining: i64,
    /// When all of the maximum is there again, if nothing is taken until then; microseconds since 2000-01-01.
    pub reset_at_us: i64,
    /// Until the cost fits, if nothing is taken until then; `None` if it never will.
    pub retry_after_us: Option<i64>,
}

/// Whether `cost` more fits into a key's window, and is taken. 0 asks whether 1 would, and takes nothing.
pub fn allow(demand: &Demand<'_>) -> Result<bool, CounterError> {
    is_allowed("counter_allow", limits::take(&demand.checked()?))
}

/// As `allow`, and tells of the window.
pub fn limit(demand: &Demand<'_>) -> Result<Told, CounterError> {
    let answer = limits::take_and_tell(&demand.checked()?);
    let allowed = is_allowed("counter_limit", answer.map(|(taken, _)| taken))?;
    Ok(told(allowed, answer.map(|(_, outlook)| outlook).unwrap_or(NOTHING), process::now_us()))
}

/// As `allow` for several windows: takes from each, or from none. Tells of each.
pub fn limit_all<'a>(
    function: &'static str,
    demands: impl ExactSizeIterator<Item = Result<Demand<'a>, CounterError>>,
) -> Result<(bool, impl Iterator<Item = Told>), CounterError> {
    let count = demands.len();
    if count > MOST_TOGETHER {
        return Err(LimitError::TooManyTogether { count }.into());
    }
    let nothing =
        Demand { key: &[], max: 0, per: Interval { months: 0, days: 0, us: 1 }, cost: 0 }.checked()?;
    let mut requests = [nothing; MOST_TOGETHER];
    for (request, demand) in requests.iter_mut().zip(demands) {
        *request = demand?.checked()?;
    }
    let mut outlooks = [NOTHING; MOST_TOGETHER];
    let taken = limits::take_all(&requests[..count], &mut outlooks[..count]);
    let allowed = is_allowed(function, taken)?;
    let now_us = process::now_us();
    Ok((allowed, outlooks.into_iter().take(count).map(move |outlook| told(allowed, outlook, now_us))))
}

/// Gives back what was taken from a window, as far as it is still in it. What would be allowed now.
pub fn refund(demand: &Demand<'_>) -> Result<i64, CounterError> {
    let remaining = limits::refund(&demand.checked()?);
    let remaining = remaining.ok_or(LimitError::NotPreloaded { function: "counter_limit_refund" })?;
    Ok(i64::try_from(remaining).unwrap_or(i64::MAX))
}

/// Forgets all that was taken of a key; whether there was anything.
pub fn reset(key: &[u8]) -> Result<bool, CounterError> {
    let forgotten = limits::forget(u32::from(catalog::my_database()), key);
    Ok(forgotten.ok_or(LimitError::NotPreloaded { function: "counter_limit_reset" })?)
}

const NOTHING: Outlook = Outlook { remaining: 0, reset_in_us: 0, fits_in_us: None };

fn told(allowed: bool, outlook: Outlook, now_us: i64) -> Told {
    Told {
        allowed,
        remaining: i64::try_from(outlook.remaining).unwrap_or(i64::MAX),
        reset_at_us: now_us.saturating_add(outlook.reset_in_us),
        retry_after_us: outlook.fits_in_us,
    }
}

fn is_allowed(function: &'static str, taken: Option<Taken>) -> Result<bool, CounterError> {
    match taken {
        Some(Taken::Yes) => Ok(true),
        Some(Taken::No) => Ok(false),
        Some(Taken::NoRoom) => Err(LimitError::NoRoom.into()),
        None => Err(LimitError::NotPreloaded { function }.into()),
    }
}

fn not_negative(argument: &'static str, value: i64) -> Result<u64, CounterError> {
    u64::try_from(value).map_err(|_| CounterError::NegativeArgument { argument, value })
}

/// The key that an address is: in one spelling, and an IPv6 client by its network.
pub fn address_key(address: IpAddr) -> String {
    address::spelled(address, settings::ipv6_prefix())
}

/// An address in its one spelling.
pub fn address_text(address: IpAddr) -> String {
    address::spelled(address, address::WHOLE)
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
