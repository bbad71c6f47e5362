//! Reading series: buckets, and what is counted and in no bucket yet, under one snapshot.

use std::collections::HashMap;

use super::booking::MOST_AHEAD_US;
use super::bucket_rows::{Reader, Span};
use super::errors::SeriesError;
use super::level::{LEVELS, Level};
use super::partitions::BUCKET;
use super::placing::begin_of;
use super::tracked_rows::{self, Tracked};
use crate::counting::read;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::snapshot::Snapshot;
use crate::pg::{process, xact};
use crate::rows::access::Tables;
use crate::rows::list::Id;

const WHAT: &str = "buckets of a series";

/// Steps that sums may be asked for by, and the buckets that they are made of.
const STEPS: [(&str, Level); 6] = [
    ("minute", Level::Minute),
    ("hour", Level::Hour),
    ("day", Level::Day),
    ("week", Level::Day),
    ("month", Level::Day),
    ("year", Level::Day),
];

/// What was counted from an instant on, until the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub at_us: i64,
    pub value: i128,
}

/// Checks that the caller may read series, and counters.
fn enter() -> Result<Tables, CounterError> {
    let tables = read::enter()?;
    BUCKET.enter_to_read()?;
    Ok(tables)
}

/// The buckets that a step is made of. Errors: 22023.
pub fn step(named: &[u8]) -> Result<Level, CounterError> {
    let found = STEPS.into_iter().find(|(name, _)| name.as_bytes() == named).map(|(_, level)| level);
    // BOUND: an argument, in a message.
    found.ok_or_else(|| SeriesError::NoStep { named: named.to_vec() }.into())
}

/// More rows than ten years of minutes have are a mistake that would fill the disk.
const MOST_STEPS: i64 = 10_000_000;

/// Whether a row a step, from an instant on and before another (or now), is not too many. Errors: 22008 an instant is infinite; 54000.
pub fn check_length(step: Level, from_us: Option<i64>, before_us: Option<i64>) -> Result<(), CounterError> {
    for (argument, us) in [("from", from_us), ("to", before_us)] {
        if matches!(us, Some(i64::MIN | i64::MAX)) {
            return Err(SeriesError::Infinite { argument }.into());
        }
    }
    let Some(from_us) = from_us else { return Ok(()) };
    let length_us = before_us.unwrap_or_else(process::now_us).saturating_sub(from_us);
    if length_us / (i64::from(step.minutes()) * 60_000_000) > MOST_STEPS {
        return Err(SeriesError::TooManySteps { most: MOST_STEPS }.into());
    }
    Ok(())
}

/// A counter's buckets from an instant on and before another, in their order, with what is in no bucket yet: as short as a step
/// takes. Errors: 55000 the counter has no series; 22008 buckets are kept that short from later on only.
pub fn buckets(id: &[u8], span: Span, step: Level) -> Result<Vec<Counted>, CounterError> {
    let tables = enter()?;
    let tracked = tracked_rows::find(id)?;
    let now_us = process::now_us();
    let from_us = span.from_us.max(tracked.since_us);
    let are_kept = LEVELS
        .into_iter()
        .filter(|level| *level <= step)
        .any(|level| tracked.keeps.of(level).is_some_and(|keep| keep.covers(from_us, now_us)));
    if !are_kept {
        return Err(SeriesError::TooShortStep { step }.into());
    }
    read_span(tables, &tracked, id, span)
}

/// What a counter came to from an instant on and before another; all of it where there is none. Errors: 22003; 55000.
pub fn total(id: &[u8], span: Span) -> Result<i64, CounterError> {
    let tables = enter()?;
    let tracked = tracked_rows::find(id)?;
    let sum = sum(&read_span(tables, &tracked, id, span)?);
    // BOUND: an id.
    i64::try_from(sum).map_err(|_| SeriesError::OutOfRange { id: id.to_vec() }.into())
}

fn sum(counted: &[Counted]) -> i128 {
    counted.iter().map(|counted| counted.value).sum()
}

/// What a counter gains a second, over the minutes that began in the last `window_us` and the one in which that began.
pub fn rate(id: &[u8], window_us: i64) -> Result<f64, CounterError> {
    let tables = enter()?;
    let tracked = tracked_rows::find(id)?;
    let now_us = process::now_us();
    let span = last(now_us, window_us);
    let gained = sum(&read_span(tables, &tracked, id, span)?);
    Ok(gained as f64 * 1e6 / (now_us - span.from_us).max(1) as f64)
}

/// The last `window_us`, from the beginning of a minute on.
fn last(now_us: i64, window_us: i64) -> Span {
    Span { from_us: super::level::minute(now_us.saturating_sub(window_us)), before_us: i64::MAX }
}

fn read_span(tables: Tables, tracked: &Tracked, id: &[u8], span: Span) -> Result<Vec<Counted>, CounterError> {
    let now_us = process::now_us();
    // Before the snapshot: then no partition of it is dropped.
    let reader = Reader::open()?;
    let mut sums: HashMap<i64, i128, foldhash::fast::RandomState> = HashMap::default();
    let mut add = |at_us: i64, value: i64| -> Result<(), CounterError> {
        fallible::reserve(&mut sums, 1, WHAT)?;
        *sums.entry(at_us).or_default() += i128::from(value);
        Ok(())
    };
    let mut unfolded = read::unfolded(tables, id)?;
    xact::in_scratch_memory(|| {
        let mut added = Ok(());
        reader.for_each(id, span, &mut unfolded.snapshot, |_, at_us, value| {
            if added.is_ok() {
                added = add(at_us, value);
            }
        })?;
        added
    })?;
    for part in &unfolded.parts {
        // As it will be booked.
        let at_us = if part.at_us <= now_us.saturating_add(MOST_AHEAD_US) { part.at_us } else { now_us };
        let Some(level) = tracked.keeps.level_of(at_us, now_us) else { continue };
        let at_us = begin_of(level, at_us, tracked);
        if span.takes(at_us) {
            add(at_us, part.delta)?;
        }
    }
    let counted = sums.into_iter().map(|(at_us, value)| Counted { at_us, value });
    let mut counted = fallible::collect(counted, WHAT)?;
    counted.sort_unstable_by_key(|counted| counted.at_us);
    Ok(counted)
}

/// The counters under a prefix that gained most in the last `window_us`, as of the last compaction, at most so many; those that gained as
/// much are in the order of their ids.
pub fn trending(prefix: &[u8], window_us: i64, limit: usize) -> Result<Vec<(Id, i128)>, CounterError> {
    enter()?;
    let reader = Reader::open()?;
    let mut snapshot = Snapshot::fresh();
    let mut sums: HashMap<Id, i128, foldhash::fast::RandomState> = HashMap::default();
    let span = last(process::now_us(), window_us);
    xact::in_scratch_memory(|| {
        reader.for_each_under(prefix, span, &mut snapshot, |id, value| {
            if let Some(sum) = sums.get_mut(id) {
                *sum += i128::from(value);
            } else {
                fallible::reserve(&mut sums, 1, WHAT)?;
                sums.insert(fallible::boxed(id, WHAT)?, i128::from(value));
            }
            Ok(())
        })
    })?;
    let gained = sums.into_iter().filter(|(_, value)| *value > 0);
    let mut gained = fallible::collect(gained, WHAT)?;
    gained.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    gained.truncate(limit);
    Ok(gained)
}
