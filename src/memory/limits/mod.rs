//! Rate limits in shared memory: sliding windows of `window.rs`, and instants until which something may not come again.
//!
//! Contract:
//!
//! - A segment of its own: a header, sets of `WAYS` windows, sets of `WAYS` instants. A set is guarded as a whole by one LWLock,
//!   always exclusive (sets of instants share some), taken after heavyweight locks, with no other lock of ours, and
//!   no wait, no allocation and nothing that can raise inside. It is taken alone but by `take_all`, which takes those of up to
//!   `MOST_TOGETHER` sets of windows, all of them before it looks at any, in the order of their numbers; so two of them
//!   cannot wait for each other, and nobody sees what one of them has done by half.
//! - Keys are not stored. A place in a set belongs to a key if it has the key's database and fingerprint: 128 bits of SipHash
//!   under seeds that are drawn at start and never leave the segment. So nobody can look for two keys that meet, and by
//!   chance none do. The low half is of the key without its period, and decides in which set its windows are, whatever their periods:
//!   there `forget` finds all of them.
//! - A place is in use until the instant that it shows. From then on it limits nobody, and anybody may take it; before, nobody
//!   may. A newcomer that finds no place is refused, and counted.
//! - A database may take a place in a set only while it holds fewer there than `PLACES_A_FREE_ONE` for each one that is free. So
//!   a database that is alone gets four fifths of each set (which is what `counter_ext.max_limits` promises), and one that floods
//!   its own limits leaves the rest to the others, of whom each again leaves a part.
//! - The time is read under the lock, from a clock that nobody sets, so each place sees it only go on.
//! - Nothing belongs to a transaction: what is taken stays taken when that rolls back.
//! - A crash between any two steps leaves nothing: the segment is made anew with the server, and all limits begin again.

mod instants;
mod key;
mod room;
mod set;
mod together;
mod windows;

pub use instants::{begin, give_back};
pub use key::{LimitKey, LimitSubject, Request, Taken};
pub use room::{purge_database, request, size_bytes, start, statistics};
pub use together::{MOST_TOGETHER, take_all};
pub use windows::{forget, refund, take, take_and_tell};

use super::guarded::Guarded;
use super::lwlock::{self, LockGuard};
use super::segment::lock_for_start;
pub use super::window::Outlook;
use super::window::Window;
