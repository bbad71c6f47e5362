//! Tracking begins and ends.

use super::bucket_rows::ROLLED;
use super::errors::SeriesError;
use super::level::{Keep, Keeps, Level};
use super::partitions::BUCKET;
use super::tracked_rows::{self, TRACKED, Tracked};
use crate::counting::{following, transaction};
use crate::errors::{CounterError, MAX_ID_BYTES, check_prefix};
use crate::pg::privilege::Rights;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Parameter, Spi};
use crate::pg::table::Access;
use crate::pg::{confined, process, table, xact, zone};

/// The shortest time that buckets are kept: what is counted reaches them some time later.
const SHORTEST_KEEP_US: i64 = 3_600_000_000;

const FORGET: &str = "DELETE FROM counter_ext.bucket b WHERE b.id OPERATOR(pg_catalog.>=) $1 COLLATE pg_catalog.\"C\" \
    AND pg_catalog.starts_with(b.id, $1)";

/// Resolutions, and how long buckets of each are kept, as they are given.
pub fn keeps<'a>(
    resolutions: impl ExactSizeIterator<Item = &'a [u8]>,
    keep: impl ExactSizeIterator<Item = &'a [u8]>,
) -> Result<Keeps, CounterError> {
    if resolutions.len() != keep.len() {
        return Err(SeriesError::LengthsDiffer { resolutions: resolutions.len(), keep: keep.len() }.into());
    }
    let mut keeps = Keeps::default();
    for (named, keep) in resolutions.zip(keep) {
        // BOUND: an element of an argument, in a message.
        let level = Level::named(named).ok_or_else(|| SeriesError::NoResolution { named: named.to_vec() })?;
        if keeps.0[level as usize].replace(parse(keep)?).is_some() {
            return Err(SeriesError::TwiceResolution { level }.into());
        }
    }
    if keeps.rise() { Ok(keeps) } else { Err(SeriesError::NotRising.into()) }
}

fn parse(given: &[u8]) -> Result<Keep, CounterError> {
    if given == b"forever" {
        return Ok(Keep::FOREVER);
    }
    let length_us = zone::interval(given).and_then(|interval| i64::try_from(interval.length_us()).ok());
    let kept = length_us.filter(|us| (SHORTEST_KEEP_US..i64::MAX).contains(us)).map(Keep);
    // BOUND: an element of an argument, in a message.
    kept.ok_or_else(|| SeriesError::BadKeep { given: given.to_vec() }.into())
}

/// Begins a series of the counters under a prefix, or changes for how long it is kept. Returns whether that changed anything.
pub fn track(prefix: &[u8], keeps: Keeps, zone: Option<&[u8]>) -> Result<bool, CounterError> {
    transaction::check_may_change("counter_track")?;
    check_prefix(prefix)?;
    // BOUND: a zone's name, looked at below.
    let zone = zone.map_or_else(zone::of_session, <[u8]>::to_vec);
    if zone.len() > MAX_ID_BYTES {
        return Err(SeriesError::LongZone.into());
    }
    if !zone::is_known(&zone) {
        return Err(SeriesError::NoZone { named: zone }.into());
    }
    // Before the lock, which keeps everybody out, and after it.
    TRACKED.check_rights(TRACKED.find().ok_or(CounterError::NotInstalled)?, Rights::INSERT, "INSERT")?;
    following::gather(prefix)?;
    let table = TRACKED.enter_to_write(Rights::INSERT, "INSERT")?;
    let series = tracked_rows::all()?;
    let before = series.iter().find(|tracked| tracked.prefix == prefix);
    if before.is_none()
        && let Some(other) = series
            .iter()
            .find(|tracked| tracked.prefix.starts_with(prefix) || prefix.starts_with(&tracked.prefix))
    {
        // BOUND: prefixes.
        let (prefix, other) = (prefix.to_vec(), other.prefix.clone());
        return Err(SeriesError::Overlaps { prefix, other }.into());
    }
    // BOUND: a prefix.
    let tracked = Tracked {
        prefix: prefix.to_vec(),
        since_us: before.map_or_else(process::now_us, |before| before.since_us),
        keeps,
        reckoned_in: zone.clone(),
        zone,
    };
    if before.is_some_and(|before| before.keeps == tracked.keeps && before.zone == tracked.zone) {
        return Ok(false);
    }
    xact::in_scratch_memory(|| tracked_rows::write(table, &tracked))?;
    Ok(true)
}

/// Ends the series of the counters under a prefix, and forgets it. Returns whether there was one.
pub fn untrack(prefix: &[u8]) -> Result<bool, CounterError> {
    transaction::check_may_change("counter_untrack")?;
    check_prefix(prefix)?;
    TRACKED.check_rights(TRACKED.find().ok_or(CounterError::NotInstalled)?, Rights::DELETE, "DELETE")?;
    let tables = following::keep_writers_out()?;
    let table = TRACKED.enter_to_write(Rights::DELETE, "DELETE")?;
    if !xact::in_scratch_memory(|| tracked_rows::remove(table, prefix))? {
        return Ok(false);
    }
    // No partition is rolled up meanwhile.
    ROLLED.lock(Access::Write)?;
    BUCKET.lock(Access::Write)?;
    let active = ActiveSnapshot::push_latest();
    confined::as_owner(table::owner(tables.total), |confined| {
        Spi::connect(confined)?.run_with(FORGET.as_bytes(), &[Parameter::Text(prefix)])
    })?;
    drop(active);
    xact::see_own_changes();
    Ok(true)
}
