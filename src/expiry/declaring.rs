//! Counters are declared to expire, and not to expire any more.

use super::declared_rows::{EXPIRY, overlap, subject};
use super::errors::{ExpiryError, MOST_YEARS};
use crate::caches;
use crate::counting::{listing, transaction};
use crate::errors::{CounterError, MAX_ID_BYTES};
use crate::family;
use crate::pg::interval::Interval;
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::{lock, xact};
use crate::rows::access::{self, Purpose, as_owner};

const IS_SAME: &[u8] = b"SELECT true FROM counter_ext.expiry e WHERE e.prefix OPERATOR(pg_catalog.=) $1
    AND e.idle::pg_catalog.text OPERATOR(pg_catalog.=) $2::pg_catalog.interval::pg_catalog.text";
const DECLARE: &[u8] = b"INSERT INTO counter_ext.expiry (prefix, idle) VALUES ($1, $2::pg_catalog.interval)
    ON CONFLICT (prefix) DO UPDATE SET (idle, since) = ROW (excluded.idle, pg_catalog.now())";
const IS_DECLARED: &[u8] = b"SELECT true FROM counter_ext.expiry e WHERE e.prefix OPERATOR(pg_catalog.=) $1";
const END: &[u8] = b"DELETE FROM counter_ext.expiry e WHERE e.prefix OPERATOR(pg_catalog.=) $1";

/// From the commit on the worker drops counters under the prefix that nobody has incremented for so long. Returns whether that is anything
/// new. Errors: 22023 the prefix is empty or too long, the interval not positive or too long; 25006; 42501; 42710 a cache keeps
/// such counters; 42939 such ids are reserved.
pub fn expire(prefix: &[u8], idle: Interval) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    check_idle(idle)?;
    let tables = transaction::enter_to_change("counter_expire", Purpose::Drop, xact::nest_level())?;
    // Visitors go with their counters, also those who come later.
    family::check_may_drop()?;
    EXPIRY.enter_to_write(Rights::INSERT.and(Rights::UPDATE), "INSERT and UPDATE")?;
    // In this order: whoever makes a cache has the first when he asks for the second.
    caches::lock_prefixes(tables);
    lock::lock_exclusive(tables.total, subject());
    let latest = ActiveSnapshot::push_latest();
    let cached = caches::all()?.into_iter().find(|(_, cache)| overlap(cache.prefix(), prefix));
    drop(latest);
    if let Some((table, cache)) = cached {
        // BOUND: two prefixes.
        let other = cache.prefix().to_vec();
        let table = caches::source_name(table)?;
        return Err(ExpiryError::Cached { prefix: prefix.to_vec(), other, table }.into());
    }
    // Signs on all fields, so that no IntervalStyle reads one for all.
    let idle = format!("{:+} months {:+} days {:+} microseconds", idle.months, idle.days, idle.us);
    let parameters = [Parameter::Text(prefix), Parameter::Text(idle.as_bytes())];
    let is_same = has_row(IS_SAME, &parameters)?;
    if !is_same {
        run(DECLARE, &parameters)?;
    }
    Ok(!is_same)
}

/// Counters under the prefix do not expire any more, from now on. Returns whether they did. Errors: 22023, 25006, 42501, 42939.
pub fn unexpire(prefix: &[u8]) -> Result<bool, CounterError> {
    check_prefix(prefix)?;
    transaction::check_may_change("counter_unexpire")?;
    let tables = access::tables()?;
    EXPIRY.enter_to_write(Rights::DELETE, "DELETE")?;
    lock::lock_exclusive(tables.total, subject());
    let parameters = [Parameter::Text(prefix)];
    let is_declared = has_row(IS_DECLARED, &parameters)?;
    if is_declared {
        run(END, &parameters)?;
    }
    Ok(is_declared)
}

fn check_prefix(prefix: &[u8]) -> Result<(), CounterError> {
    match prefix.len() {
        0 => Err(ExpiryError::EmptyPrefix.into()),
        1..=MAX_ID_BYTES => listing::check_prefix(prefix),
        bytes => Err(CounterError::LongPrefix { bytes }),
    }
}

fn check_idle(idle: Interval) -> Result<(), CounterError> {
    const YEAR_MONTHS: i64 = 12;
    let most = Interval { months: (MOST_YEARS * YEAR_MONTHS) as i32, days: 0, us: 0 };
    match idle.length_us() {
        ..=0 => Err(CounterError::NotPositive { argument: "idle" }),
        length if length > most.length_us() => Err(ExpiryError::TooLong.into()),
        _ => Ok(()),
    }
}

/// Whether the query finds anything, as of now.
fn has_row(query: &[u8], parameters: &[Parameter<'_>]) -> Result<bool, CounterError> {
    with_spi(|spi| Ok(!spi.rows_with(query, parameters)?.is_empty()))
}

fn run(statement: &[u8], parameters: &[Parameter<'_>]) -> Result<(), CounterError> {
    with_spi(|spi| spi.run_with(statement, parameters))?;
    xact::see_own_changes();
    Ok(())
}

/// As the tables' owner, under a snapshot of now.
fn with_spi<T>(work: impl FnOnce(&Spi<'_>) -> Result<T, CounterError>) -> Result<T, CounterError> {
    as_owner(access::tables()?, |confined| {
        let latest = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let done = work(&spi)?;
        drop(spi);
        drop(latest);
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_longer_than_nothing_and_not_endless() {
        let check = |months, days, us| check_idle(Interval { months, days, us });
        assert_eq!(check(0, 0, 1), Ok(()));
        assert_eq!(check(1, -29, 0), Ok(()));
        assert_eq!(check(12_000, 0, 0), Ok(()));
        assert_eq!(check(12_000, 0, 1), Err(ExpiryError::TooLong.into()));
        assert_eq!(check(i32::MAX, i32::MAX, i64::MAX), Err(ExpiryError::TooLong.into()));
        assert_eq!(check(0, 0, 0), Err(CounterError::NotPositive { argument: "idle" }));
        assert_eq!(check(-1, 30, 0), Err(CounterError::NotPositive { argument: "idle" }));
    }
}
