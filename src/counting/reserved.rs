//! Counters that families keep for themselves, under ids that users cannot name: a byte that says whose, and what it is
//! about. They sort before all others, and no listing shows them.
//!
//! BOUND: what is copied here without asking is an id, a token, a prefix or an actor of at most 255 bytes.

use crate::errors::{CounterError, FIRST_FREE_BYTE, MAX_ID_BYTES};

/// What a reserved counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Likes of an item. Not dumped: its rows are, and are counted as they are restored.
    Likes = 1,
    /// Views that a bot filter did not count.
    Filtered = 2,
}

/// The id of the counter of this kind that belongs to an item. Errors: 22023 the item has 255 bytes, one too many.
pub fn id(kind: Kind, item: &[u8]) -> Result<Vec<u8>, CounterError> {
    if item.len() >= MAX_ID_BYTES {
        return Err(CounterError::LongItem);
    }
    Ok([&[kind as u8], item].concat())
}

/// Whether an id is one of these.
pub fn is_reserved(id: &[u8]) -> bool {
    id.first().is_some_and(|byte| *byte < FIRST_FREE_BYTE)
}

/// Greater than every reserved id, and not greater than any other.
pub const LAST: [u8; MAX_ID_BYTES] = {
    let mut last = [u8::MAX; MAX_ID_BYTES];
    last[0] = FIRST_FREE_BYTE - 1;
    last
};

const _: () = assert!((Kind::Filtered as u8) < FIRST_FREE_BYTE);
