//! The bot filter. A view that it does not count goes to the filtered counter of the same id, in the caller's transaction, so
//! counted and filtered ones together are all that committed.

use std::borrow::Cow;

use super::check_period;
use super::errors::LimitError;
use super::policy::{self, Policy, Ruling};
use super::{address, settings};
use crate::counting::reserved::{self, Kind};
use crate::counting::{change, read};
use crate::errors::CounterError;
use crate::memory::limits::{self, LimitKey, LimitSubject, Request, Taken};
use crate::memory::statistics;
use crate::pg::catalog;
use crate::rows::access::Tables;

/// Adds a delta to a counter if the actor may be counted there now, else to the counter of what was filtered. Returns
/// which. Somebody whom nobody knows is on no list and has no rate.
pub fn increment_from(id: &[u8], actor: Option<&[u8]>, delta: i64) -> Result<bool, CounterError> {
    let filtered_id = reserved::id(Kind::Filtered, id)?;
    let entered = change::enter("counter_incr_from")?;
    let counts = match policy::ruling(id, actor)? {
        Ruling::Blocked => false,
        Ruling::Under(policy) => match actor {
            Some(actor) => is_within(policy, id, actor)?,
            None => !policy.counts_nobody(),
        },
    };
    if counts {
        change::increment_by(entered, id, delta, actor)?;
    } else {
        note_filtered(entered, &filtered_id, delta)?;
    }
    Ok(counts)
}

fn note_filtered(entered: (Tables, u32), filtered_id: &[u8], delta: i64) -> Result<(), CounterError> {
    change::increment(entered, filtered_id, delta)?;
    statistics::count_filtered(u32::from(catalog::my_database()));
    Ok(())
}

/// Whether a visitor of an item is nobody who counts: on the block list, or where a policy counts nobody. `name` is asked for only where
/// there is a policy, or somebody is blocked; one without a name is on no list. Rates are of views.
pub fn turns_away<'n>(id: &[u8], name: impl FnOnce() -> Option<Cow<'n, [u8]>>) -> Result<bool, CounterError> {
    if policy::lets_everybody_through()? {
        return Ok(false);
    }
    Ok(match policy::ruling(id, name().as_deref())? {
        Ruling::Blocked => true,
        Ruling::Under(policy) => policy.counts_nobody(),
    })
}

/// Adds the views of somebody who was turned away to the counter of what was filtered, where the id leaves room for one.
pub fn count_filtered(entered: (Tables, u32), id: &[u8], views: i64) -> Result<(), CounterError> {
    match reserved::id(Kind::Filtered, id) {
        Ok(filtered_id) => note_filtered(entered, &filtered_id, views),
        Err(_) => Ok(()),
    }
}

/// What was filtered of an id.
pub fn filtered(id: &[u8]) -> Result<i64, CounterError> {
    let filtered_id = reserved::id(Kind::Filtered, id)?;
    read::current(read::enter()?, &filtered_id)
}

/// Keeps the interval, then the rate; one that is over its rate does not begin an interval. Where memory has no room for another
/// actor the view is not counted: who floods it must not be let through by that, nor break others' transactions.
fn is_within(policy: Policy, id: &[u8], actor: &[u8]) -> Result<bool, CounterError> {
    let not_preloaded = || LimitError::NotPreloaded { function: "counter_incr_from" };
    let database = u32::from(catalog::my_database());
    let min_interval_us =
        policy.min_interval_us.map(|per_us| check_period("min_interval", per_us)).transpose()?;
    let rate = policy.rate.map(|rate| check_period("per", rate.per_us).map(|_| rate)).transpose()?;
    let actor = &*address::of_name(actor, settings::ipv6_prefix());
    let at_item = min_interval_us.map(|per_us| LimitKey {
        database,
        subject: LimitSubject::ActorAtItem { id, actor },
        per_us,
    });
    let begun = match at_item {
        None => None,
        Some(key) => match limits::begin(&key).ok_or_else(not_preloaded)? {
            Ok(begun) => Some((key, begun)),
            Err(_) => return Ok(false),
        },
    };
    let Some(rate) = rate else { return Ok(true) };
    let prefix = &id[..policy.prefix_length];
    let subject = LimitSubject::ActorRate { prefix, actor };
    let of_actor = LimitKey { database, subject, per_us: rate.per_us };
    let request = Request { key: of_actor, max: u64::from(rate.max), cost: 1 };
    let taken = limits::take(&request).ok_or_else(not_preloaded)? == Taken::Yes;
    if let Some((key, begun)) = begun
        && !taken
    {
        limits::give_back(&key, begun);
    }
    Ok(taken)
}
