//! Sketches of visitors in shared memory: whether a visitor has been seen is one look, and how many is one pass over
//! 16 KiB. A cache of rows and nothing more: rows hold every committed visit, so an entry may go at any time.
//!
//! Contract:
//!
//! - A segment of its own: a header, sets of `WAYS` entries, 16 KiB of data an entry. A set has one LWLock, taken alone
//!   (after heavyweight locks, never with a lock of `segment.rs`).
//! - Which entry holds which key, its state, and its hashes change under the set's exclusive lock. Registers only rise,
//!   and are raised under at least the shared lock, which keeps the entry its key's (`contents.rs`).
//! - An entry's generation is drawn anew, never twice, whenever the entry changes hands, is forgotten, or goes from hashes
//!   to registers; it is 0 while that happens. Who reads without the lock looks at it before and after.
//! - **Loading**: an entry is made LOADING first, and rows are read under a snapshot taken after that. A visit whose
//!   commit that snapshot sees is in the rows; every other one finds the entry in its COMMIT callback and adds to it.
//!   Union is idempotent, so what both bring does no harm. Where a commit that the snapshot sees has its callback still to
//!   come (its backend announces it in its cell) nothing is loaded: it could bring back what was taken from rows meanwhile.
//! - A crash between any two steps leaves nothing: the segment is made anew. A backend that ends while it loads gives
//!   the entry back.

mod contents;
mod entries;
mod load;
mod places;
mod room;

pub use entries::{Covers, add, covers, get};
pub use load::{abandon_load, begin_load, invalidate, purge_database};
pub use room::{SketchKey, parameters, request, start, statistics};

use super::sync;
