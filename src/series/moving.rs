//! Counters that are dropped, or get another id, and their buckets.
//!
//! The counter's rows are gone already, as far as this transaction could have them; what could not be deleted is folded away later, and booked
//! then. Compaction may not be kept out, and fold meanwhile. So one snapshot says what there is in buckets, all of which is taken, and what is left in
//! totals, which is booked in their place: it is what later folds take away, and no more.

use std::ops::ControlFlow;

use super::bucket_rows::{self, Bucket, Writer};
use super::tracked_rows::{self, Tracked};
use super::{booking, placing};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::family::followed::Amount;
use crate::family::{IdsAfter, Move};
use crate::pg::{process, xact};
use crate::rows::access::Tables;
use crate::rows::list::{Id, Smallest};
use crate::rows::sum::Reader;

const WHAT: &str = "buckets of a series";

/// Forgets a counter's buckets. Returns whether there were any.
pub fn forget(tables: Tables, id: &[u8]) -> Result<bool, CounterError> {
    take(tables, id, |_, _| Ok(()))
}

/// Takes a counter's buckets, if it is tracked.
fn take(
    tables: Tables,
    id: &[u8],
    see: impl FnMut(Bucket, i32) -> Result<(), CounterError>,
) -> Result<bool, CounterError> {
    if tracked_rows::of(&tracked_rows::all()?, id).is_none() {
        return Ok(false);
    }
    let reader = Reader::open(tables)?;
    let (had_any, left) = xact::in_scratch_memory(|| {
        let (had_any, mut snapshot) = bucket_rows::take(id, see)?;
        Ok::<_, CounterError>((had_any, reader.own_totals(id, &mut snapshot)))
    })?;
    drop(reader);
    book(id, left)?;
    Ok(had_any)
}

/// Books an amount in the series alone, now.
fn book(id: &[u8], delta: i128) -> Result<(), CounterError> {
    if delta == 0 {
        return Ok(());
    }
    let amount = Amount { id: fallible::boxed(id, WHAT)?, delta, at_us: process::now_us() };
    booking::book(&[&amount])
}

/// The next ids after one that have buckets.
pub fn ids_after(which: IdsAfter<'_>) -> Result<Vec<Id>, CounterError> {
    let mut smallest = Smallest::new(which.limit);
    let mut left = which.limit;
    xact::in_scratch_memory(|| {
        bucket_rows::ids_after(which.prefix, which.after, |id| {
            if id > which.after {
                smallest.add(id).or_raise();
                left -= 1;
            }
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    })?;
    Ok(smallest.into_sorted())
}

/// Gives a counter's buckets to another one. What the counter has come to is added to the other one as one amount, which is booked as any: so as
/// much as moves is taken off there, and what is left was counted before tracking began. Returns whether there were any.
pub fn move_buckets(tables: Tables, moved: Move<'_>, _: i128) -> Result<bool, CounterError> {
    let mut taken: Vec<(Bucket, i32)> = Vec::new();
    let had_any =
        take(tables, moved.from, |bucket, node| Ok(fallible::push(&mut taken, (bucket, node), WHAT)?))?;
    if let Some(tracked) = tracked_rows::of(&tracked_rows::all()?, moved.to) {
        let sum: i128 = taken.iter().map(|(bucket, _)| bucket.value).sum();
        xact::in_scratch_memory(|| put(&taken, moved.to, tracked))?;
        book(moved.to, -sum)?;
    }
    Ok(had_any)
}

/// Puts buckets that were taken from one counter to another.
fn put(buckets: &[(Bucket, i32)], to: &[u8], tracked: &Tracked) -> Result<(), CounterError> {
    let mut writer = Writer::open()?;
    for (bucket, node) in buckets {
        let place = (to, bucket.level, bucket.at_us);
        let moved = placing::place(&mut writer, tracked, place, bucket.value)?;
        writer.add_of_node(&moved, *node)?;
        xact::see_own_changes();
    }
    Ok(())
}
