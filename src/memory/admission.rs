//! Whether a counter that memory has not is to be brought in.

use super::counters::counters;
use super::key::{Hashed, Key};
use super::segment::segment;

/// Whether a counter that somebody reads, and that memory has not, is to be loaded: see `room/mapped.rs`.
pub fn admits(key: Key<'_>) -> bool {
    let (Some(segment), Some(counters)) = (segment(), counters()) else { return false };
    counters.admits(Hashed::new(&segment, key).hash)
}
