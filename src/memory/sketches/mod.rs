//! Sketches of visitors in shared memory. Whether a visitor has been seen takes one look there, and how many there were takes
//! one pass over 16 KiB at most. The sketches are a cache: rows hold every committed visit, so an entry may be dropped at any time.
//!
//! Contract:
//!
//! - A room of its own (`room/`). An entry takes two cache lines while its visitors are a few, and from then on a body besides, that grows
//!   by sizes to 16 kB (`entry.rs`, `held.rs`).
//! - Which entry holds which key, its state, where its words are, and its hashes change under the partition's exclusive lock; inside it
//!   only the pool's lock is taken. It is taken after heavyweight locks. Registers only rise, and are raised under at least the shared
//!   lock, which keeps the entry its key's (`contents.rs`).
//! - An entry's generation is drawn anew, never twice, whenever the entry changes hands, is forgotten, grows, or goes from hashes
//!   to registers; it is 0 while that happens. A reader without the lock compares it before and after it reads.
//! - **Loading**: an entry is made LOADING first, and rows are read under a snapshot that is taken after that. A visit whose
//!   commit the snapshot sees is in the rows. Every other visit finds the entry in its COMMIT callback and adds to it. A visit
//!   may come both ways, as a union takes it twice without harm. Where the snapshot sees a commit whose callback is still to
//!   come (the backend announces it in its cell), nothing is loaded: that callback could bring back visits whose rows somebody
//!   has deleted meanwhile.
//! - Where there is no memory for what is to be added, in a load or in a COMMIT callback, the entry is forgotten, and rows answer.
//! - A crash between any two steps leaves nothing, since the segment is made anew. A backend that ends while it loads frees
//!   the entry.
//! - Entries of one database give way to those of another: the clock asks only which were used lately.

mod contents;
mod entries;
mod entry;
mod held;
mod load;
mod places;
mod room;

pub use entries::{Covers, add, admits, covers, get};
pub use load::{abandon_load, begin_load, invalidate, purge_database};
pub use room::{SketchKey, parameters, request, start, statistics};

use super::sync;
