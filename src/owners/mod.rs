//! Which node of a cluster an id belongs to, where counters are spread over several by Citus.
//!
//! This is all that the rest knows of it: a call for an id that is not this node's is an error, since what it counts nobody would
//! find, and what it reads would be nothing. Where counters are not spread, a call costs one comparison.

pub mod errors;
mod known;
pub mod ranges;

use self::errors::OwnersError;
use self::ranges::{Owner, Split};
use crate::errors::{self as all_errors, CounterError};
use crate::memory::workers;
use crate::pg::{Oid, catalog};
use crate::settings;

/// Checks an id, and that it is this node's. Errors: 22023 empty or over-long; those of `check`.
#[inline]
pub fn check_id(id: &[u8]) -> Result<(), CounterError> {
    all_errors::check_id(id)?;
    check(id)
}

/// Errors: 55000 the id is another node's, or this one serves none.
#[inline]
pub fn check(id: &[u8]) -> Result<(), CounterError> {
    if settings::serves() && known::is_all_here() { Ok(()) } else { check_anew(id) }
}

#[inline(never)]
fn check_anew(id: &[u8]) -> Result<(), CounterError> {
    check_serves()?;
    match owner(id)? {
        Owner::Here => Ok(()),
        // BOUND: an id.
        Owner::Group(group) => Err(OwnersError::Elsewhere { id: id.to_vec(), group }.into()),
    }
}

/// As `check`, for who must know of all that was done to an id before, on whatever node. Called once the table is locked that knows of it: whoever
/// moves its rows away waits for those that had it locked before, and whoever locks it later is told of the move by that. Errors: those of
/// `check`; 55000 some of it may be on its way here.
#[inline]
pub fn check_all_arrived(id: &[u8]) -> Result<(), CounterError> {
    if settings::serves() && known::is_all_here() { Ok(()) } else { check_arrived_anew(id) }
}

#[inline(never)]
fn check_arrived_anew(id: &[u8]) -> Result<(), CounterError> {
    check_anew(id)?;
    if has_arrived(id)? {
        return Ok(());
    }
    // It is the worker that asks the other nodes.
    workers::call_worker(u32::from(catalog::my_database()));
    // BOUND: an id.
    Err(OwnersError::OnItsWay { id: id.to_vec() }.into())
}

/// Whether nothing of an id of this node can come from another one any more.
pub fn has_arrived(id: &[u8]) -> Result<bool, CounterError> {
    known::look(|map| map.is_none_or(|map| map.has_arrived(id)))
}

/// Whether something of this node's ids may still be on another one.
pub fn are_arriving() -> Result<bool, CounterError> {
    known::look(|map| map.is_some_and(ranges::Map::is_waiting))
}

/// Tells all backends that what they know of this node's shards is out of date, once this transaction has committed.
pub fn announce_arrivals() {
    if let Some(shards) = table_of_shards() {
        catalog::announce_change(shards);
    }
}

/// Errors: 55000 this node serves no counters.
pub fn check_serves() -> Result<(), CounterError> {
    if settings::serves() { Ok(()) } else { Err(OwnersError::ServesNone.into()) }
}

/// Errors: 55000 something is not all here, but spread over nodes.
pub fn check_all_here(what: &'static str) -> Result<(), CounterError> {
    check_serves()?;
    if are_spread()? { Err(OwnersError::Scattered { what }.into()) } else { Ok(()) }
}

/// Whether counters are spread over several nodes.
pub fn are_spread() -> Result<bool, CounterError> {
    Ok(!known::is_all_here() && known::look(|map| map.is_some())?)
}

/// Changes whenever this backend finds that ids are other nodes' than before; stays when something arrives.
pub fn times_moved() -> u64 {
    known::times_moved()
}

/// The table of whose shards each id is in one.
pub fn table_of_shards() -> Option<Oid> {
    known::table_of_shards()
}

/// Splits a batch by whose each id is.
pub fn split<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Result<Split, CounterError> {
    let split = known::look(|map| ranges::split(ids.map(|id| map.map_or(Owner::Here, |map| map.owner(id)))))?;
    Ok(split?)
}

/// Whose an id is.
pub fn owner(id: &[u8]) -> Result<Owner, CounterError> {
    known::look(|map| map.map_or(Owner::Here, |map| map.owner(id)))
}
