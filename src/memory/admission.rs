//! Whether a counter that memory has not is to be brought in.

use super::counters::counters;
use super::key::{Hashed, Key};
use super::segment::segment;

/// Counters that are brought in when they are asked for once. Past them also room that there is goes to those that are asked for again: to
/// load one that nobody asks for again costs more than to answer from its rows.
const AT_ONCE: usize = 4096;

/// Whether a counter that somebody reads, and that memory has not, is to be loaded: see `room/mapped.rs`.
pub fn admits(key: Key<'_>) -> bool {
    let (Some(segment), Some(counters)) = (segment(), counters()) else { return false };
    counters.admits(Hashed::new(&segment, key).hash, AT_ONCE)
}
