//! Rate limits in shared memory: sliding windows of `window.rs`, and instants until which something may not come again.
//!
//! Contract:
//!
//! - A room of its own (`room/`). An entry takes half a cache line while all that it remembers was taken at one instant, and a body
//!   that grows to 64 instants from then on (`entry.rs`). Where there is no memory for a larger body, a window unites instants sooner,
//!   which can refuse a request that would have fitted, and never lets one more through.
//! - A partition is used under its lock, always exclusive, taken after heavyweight locks, with no wait, no allocation and nothing that
//!   can raise inside; inside it only the pool's lock is taken. It is taken alone but by `take_all`, which takes those of up to
//!   `MOST_TOGETHER` partitions, all of them before it looks at any, in the order of their numbers; so two of them
//!   cannot wait for each other, and nobody sees what one of them has done by half.
//! - Keys are not stored. An entry belongs to a key if it has the key's database and fingerprint: 96 bits of SipHash
//!   under seeds that are drawn at start and never leave shared memory. So nobody can look for two keys that meet, and by
//!   chance none do. The low part is of the key without its period, and decides in which bucket its windows are, whatever their periods:
//!   there `forget` finds all of them.
//! - An entry is in use until the instant that it shows. From then on it limits nobody, and anybody may take its place. Who goes before
//!   that, and what a database may have, is in `held.rs`. A newcomer that finds no place is refused, and counted.
//! - The time is read under the lock, from a clock that nobody sets, and a partition lets it only go on.
//! - Nothing belongs to a transaction: what is taken stays taken when that rolls back.
//! - A crash between any two steps leaves nothing: the segment is made anew with the server, and all limits begin again.

mod entry;
mod held;
mod instants;
mod key;
mod room;
mod together;
mod windows;

pub use instants::{begin, give_back};
pub use key::{LimitKey, LimitSubject, Request, Taken};
pub use room::{purge_database, request, size_bytes, start, statistics};
pub use together::{MOST_TOGETHER, take_all};
pub use windows::{forget, refund, take, take_and_tell};

pub use super::window::Outlook;
