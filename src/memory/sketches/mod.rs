//! Sketches of visitors in shared memory. Whether a visitor has been seen takes one look there, and how many there were takes
//! one pass over 16 KiB. The sketches are a cache: rows hold every committed visit, so an entry may be dropped at any time.
//!
//! Contract:
//!
//! - The segment holds a header, sets of `WAYS` entries, and 16 KiB of data for each entry. Each set has one LWLock. It is
//!   taken after heavyweight locks, and never together with another lightweight lock of ours.
//! - Which entry holds which key, its state, and its hashes change under the set's exclusive lock. Registers only rise,
//!   and are raised under at least the shared lock, which keeps the entry its key's (`contents.rs`).
//! - An entry's generation is drawn anew, never twice, whenever the entry changes hands, is forgotten, or goes from hashes
//!   to registers; it is 0 while that happens. A reader without the lock compares it before and after it reads.
//! - **Loading**: an entry is made LOADING first, and rows are read under a snapshot that is taken after that. A visit whose
//!   commit the snapshot sees is in the rows. Every other visit finds the entry in its COMMIT callback and adds to it. A visit
//!   may come both ways, as a union takes it twice without harm. Where the snapshot sees a commit whose callback is still to
//!   come (the backend announces it in its cell), nothing is loaded: that callback could bring back visits whose rows somebody
//!   has deleted meanwhile.
//! - A crash between any two steps leaves nothing, since the segment is made anew. A backend that ends while it loads frees
//!   the entry.
//! - Entries of one database give way to those of another: the clock asks only which were used lately.

mod contents;
mod entries;
mod load;
mod places;
mod room;

pub use entries::{Covers, add, covers, get};
pub use load::{abandon_load, begin_load, invalidate, purge_database};
pub use room::{SketchKey, parameters, request, start, statistics};

use super::sync;
