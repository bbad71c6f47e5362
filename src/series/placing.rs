//! Which bucket an amount goes to.

use super::bucket_rows::{Bucket, Writer};
use super::level::{Level, minute};
use super::tracked_rows::Tracked;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::zone;

/// When the bucket of an instant begins.
pub fn begin_of(level: Level, at_us: i64, tracked: &Tracked) -> i64 {
    match level {
        Level::Minute => minute(at_us),
        level => zone::begin_of(level.name(), at_us, &tracked.reckoned_in),
    }
}

/// The bucket of an instant that is this long or, where such buckets are rolled up already, longer. That is so where they were kept shorter
/// before, or the clock was put back. Behind days that nobody has kept it is the first one that is left.
pub fn place(
    writer: &mut Writer,
    tracked: &Tracked,
    (id, level, at_us): (&[u8], Level, i64),
    value: i128,
) -> Result<Bucket, CounterError> {
    let mut at_us = at_us;
    loop {
        for level in std::iter::once(level).chain(level.longer()) {
            let began_at_us = begin_of(level, at_us, tracked);
            if !writer.is_rolled(level, began_at_us, id)? {
                return Ok(Bucket { id: fallible::boxed(id, "an id")?, level, at_us: began_at_us, value });
            }
        }
        at_us = Level::Day.partition(begin_of(Level::Day, at_us, tracked)).to_us;
    }
}
