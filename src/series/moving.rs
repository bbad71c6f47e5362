//! Counters that are dropped, or get another id, and their buckets.

use std::ops::ControlFlow;

use super::bucket_rows::{self, Bucket};
use super::tracked_rows;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::family::{IdsAfter, Move, followed};
use crate::pg::{process, xact};
use crate::rows::access;
use crate::rows::list::{Id, Smallest};

const WHAT: &str = "buckets of a series";

/// Forgets a counter's buckets. Returns whether there were any.
pub fn forget(id: &[u8]) -> Result<bool, CounterError> {
    if tracked_rows::of(&tracked_rows::all()?, id).is_none() {
        return Ok(false);
    }
    xact::in_scratch_memory(|| bucket_rows::take(id, |_, _| Ok(())))
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
pub fn move_buckets(moved: Move<'_>) -> Result<bool, CounterError> {
    let series = tracked_rows::all()?;
    if tracked_rows::of(&series, moved.from).is_none() {
        return Ok(false);
    }
    let mut taken: Vec<(Bucket, i32)> = Vec::new();
    let had_any = xact::in_scratch_memory(|| {
        bucket_rows::take(moved.from, |bucket, node| Ok(fallible::push(&mut taken, (bucket, node), WHAT)?))
    })?;
    if tracked_rows::of(&series, moved.to).is_some() {
        let sum: i128 = taken.iter().map(|(bucket, _)| bucket.value).sum();
        xact::in_scratch_memory(|| bucket_rows::put(&taken, moved.to))?;
        followed::book(access::tables()?, moved.to, -sum, process::now_us())?;
    }
    Ok(had_any)
}
