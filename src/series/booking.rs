//! What goes into totals is booked in buckets, by the transaction in which it goes there.

use super::bucket_rows::{Bucket, Writer};
use super::{placing, tracked_rows};
use crate::errors::CounterError;
use crate::fallible;
use crate::family::followed::Amount;
use crate::pg::{process, xact};

const WHAT: &str = "amounts of a series";

/// How far ahead of the clock an event may be.
pub(super) const MOST_AHEAD_US: i64 = 3_600_000_000;

/// Books amounts in the shortest buckets that their times are kept in. What is so old that it is kept in none is left out; what is as far
/// ahead as no clock that agrees with ours can be was counted now.
pub fn book(amounts: &[&Amount]) -> Result<(), CounterError> {
    let series = tracked_rows::all()?;
    let now_us = process::now_us();
    let mut writer = Writer::open()?;
    let mut buckets = fallible::with_room(amounts.len(), WHAT)?;
    for amount in amounts {
        let Some(tracked) = tracked_rows::of(&series, &amount.id) else { continue };
        let is_sound = amount.at_us <= now_us.saturating_add(MOST_AHEAD_US);
        let at_us = if is_sound { amount.at_us } else { now_us };
        let Some(level) = tracked.keeps.level_of(at_us, now_us) else { continue };
        let bucket = placing::place(&mut writer, tracked, (&amount.id, level, at_us), amount.delta)?;
        fallible::push(&mut buckets, bucket, WHAT)?;
    }
    buckets.sort_unstable_by(|a, b| (&a.id, a.level, a.at_us).cmp(&(&b.id, b.level, b.at_us)));
    for same in buckets.chunk_by(|a, b| (&a.id, a.level, a.at_us) == (&b.id, b.level, b.at_us)) {
        process::check_for_interrupts();
        let value = same.iter().map(|bucket| bucket.value).sum();
        if let Some(first) = same.first().filter(|_| value != 0) {
            let bucket = Bucket { id: fallible::boxed(&first.id, WHAT)?, value, ..*first };
            xact::in_scratch_memory(|| writer.add(&bucket))?;
        }
    }
    drop(writer);
    xact::see_own_changes();
    Ok(())
}
