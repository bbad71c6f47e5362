//! Policies and the block list, as this backend knows them: read from rows when something about them has changed.
//!
//! A change of rows is announced as one of the relation (by the tables' triggers), and each call listens before it looks. What others
//! committed before the call began holds, and the transaction's own changes from the next command on; at every isolation
//! level, as a policy is no data of the query.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::address;
use super::network::{Network, Networks};
use super::period_us;
use super::policy_rows::{self, PolicyRow, PolicyTables};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::catalog::{self, Watch};
use crate::pg::session::session_local;
use crate::pg::short_name::ShortName;
use crate::pg::{Oid, process};

const WHAT: &str = "policies of limits";

type Map<V> = HashMap<Box<[u8]>, V, foldhash::fast::RandomState>;

/// Actors whose place on the block list a backend remembers.
const MAX_ACTORS: usize = 8192;

/// Longest actor that the block list may have.
const MAX_ACTOR_BYTES: usize = 255;

/// How often one actor may be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub max: u32,
    pub per_us: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of the prefix it is for.
    pub prefix_length: usize,
    pub rate: Option<Rate>,
    /// Between two that count, of one actor at one item.
    pub min_interval_us: Option<i64>,
}

impl Policy {
    pub fn counts_nobody(&self) -> bool {
        self.rate.is_some_and(|rate| rate.max == 0)
    }
}

/// All policies.
#[derive(Default)]
struct Policies {
    by_prefix: Map<Policy>,
    /// Lengths that prefixes have, longest first.
    lengths: Vec<usize>,
}

impl Policies {
    fn new(rows: Vec<PolicyRow>) -> Result<Policies, CounterError> {
        let mut policies = Policies::default();
        for row in rows {
            let policy = policy(&row)?;
            fallible::push(&mut policies.lengths, policy.prefix_length, WHAT)?;
            fallible::reserve(&mut policies.by_prefix, 1, WHAT)?;
            policies.by_prefix.insert(row.prefix, policy);
        }
        policies.lengths.sort_unstable_by(|a, b| b.cmp(a));
        policies.lengths.dedup();
        Ok(policies)
    }

    /// That of the longest prefix the id begins with; one without limits where there is none.
    fn of(&self, id: &[u8]) -> Policy {
        let prefixes = self.lengths.iter().filter_map(|length| id.get(..*length));
        prefixes.into_iter().find_map(|prefix| self.by_prefix.get(prefix)).copied().unwrap_or_default()
    }
}

/// What the table's constraints forbid is an error here, or limits to nothing.
fn policy(row: &PolicyRow) -> Result<Policy, CounterError> {
    let rate = match (row.max_per_actor, row.per) {
        (Some(max), Some(per)) => {
            Some(Rate { max: u32::try_from(max).unwrap_or(0), per_us: period_us("per", per)? })
        }
        _ => None,
    };
    let min_interval = row.min_interval.filter(|interval| interval.length_us() != 0);
    Ok(Policy {
        prefix_length: row.prefix.len(),
        rate,
        min_interval_us: min_interval.map(|interval| period_us("min_interval", interval)).transpose()?,
    })
}

struct CachedPolicies {
    version: u64,
    policies: Policies,
    /// `None`: nobody is blocked.
    blocked: Option<Blocked>,
}

/// Networks, and actors looked up so far, with the time until which they are blocked.
struct Blocked {
    tables: PolicyTables,
    networks: Networks,
    until_us: Map<Option<i64>>,
}

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    static KNOWN: RefCell<Option<CachedPolicies>> = const { RefCell::new(None) };
    /// The version at which there was no policy, and nobody blocked.
    static EMPTY_AT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A row of a table of policies is being changed: tells everybody when that commits.
pub fn note_change(relation: Oid) {
    catalog::announce_change(relation);
}

/// What an actor at an item is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Blocked,
    Under(Policy),
}

/// Whether there is no policy, and nobody is blocked: a look at a version, nearly always.
pub fn lets_everybody_through() -> Result<bool, CounterError> {
    let version = listen();
    if EMPTY_AT.get() == Some(version) {
        return Ok(true);
    }
    let known = known(version)?;
    let is_empty = known.blocked.is_none() && known.policies.lengths.is_empty();
    EMPTY_AT.set(is_empty.then_some(known.version));
    KNOWN.set(Some(known));
    Ok(is_empty)
}

fn listen() -> u64 {
    catalog::hear_changes();
    WATCH.with(|watch| watch.version())
}

/// What is known at a version, taken out while rows are read: an error leaves nothing known.
fn known(version: u64) -> Result<CachedPolicies, CounterError> {
    match KNOWN.take() {
        Some(known) if known.version == version => Ok(known),
        _ => read(),
    }
}

/// Looks at the block list, if the actor has a name, then for the item's policy.
pub fn ruling(id: &[u8], actor: Option<&[u8]>) -> Result<Ruling, CounterError> {
    let mut known = known(listen())?;
    let is_blocked = match (&mut known.blocked, actor) {
        (Some(blocked), Some(actor)) => blocked.includes(actor)?,
        _ => false,
    };
    let ruling = if is_blocked { Ruling::Blocked } else { Ruling::Under(known.policies.of(id)) };
    KNOWN.set(Some(known));
    Ok(ruling)
}

fn read() -> Result<CachedPolicies, CounterError> {
    let tables = policy_rows::enter()?;
    WATCH.with(|watch| watch.set(&[tables.policy, tables.blocked]));
    // Before the rows: a change in between makes the next call read again.
    let version = WATCH.with(|watch| watch.version());
    let policies = Policies::new(policy_rows::policies(tables)?)?;
    let blocked = if policy_rows::blocks_anybody(tables)? {
        let mut networks = Networks::default();
        policy_rows::networks(tables, |network, until_us| networks.add(network, until_us))?;
        Some(Blocked { tables, networks, until_us: Map::default() })
    } else {
        None
    };
    Ok(CachedPolicies { version, policies, blocked })
}

impl Blocked {
    fn includes(&mut self, actor: &[u8]) -> Result<bool, CounterError> {
        if actor.len() > MAX_ACTOR_BYTES {
            return Ok(false);
        }
        let until = match self.until_us.get(actor) {
            Some(until) => *until,
            None => self.look_up(actor)?,
        };
        Ok(until.is_some_and(|until| until > process::now_us()))
    }

    fn look_up(&mut self, actor: &[u8]) -> Result<Option<i64>, CounterError> {
        // It was another transaction, perhaps, that found and locked them.
        policy_rows::lock(self.tables)?;
        let mut until = policy_rows::blocked_until(self.tables, actor)?;
        if let Some(name) = ShortName::of_uuid_text(actor) {
            until = until.max(policy_rows::blocked_until(self.tables, name.bytes())?);
        }
        if let Some(address) = address::parse(actor) {
            let spelled = address::spelled(address, address::WHOLE);
            if spelled.as_bytes() != actor {
                until = until.max(policy_rows::blocked_until(self.tables, spelled.as_bytes())?);
            }
            until = until.max(self.networks.until_us(Network::of_address(address)));
        }
        if self.until_us.len() >= MAX_ACTORS {
            self.until_us.clear();
        }
        fallible::reserve(&mut self.until_us, 1, WHAT)?;
        self.until_us.insert(fallible::boxed(actor, WHAT)?, until);
        Ok(until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pg::interval::Interval;

    fn row(prefix: &[u8], max: i32) -> PolicyRow {
        let minute = Interval { months: 0, days: 0, us: 60_000_000 };
        PolicyRow { prefix: prefix.into(), max_per_actor: Some(max), per: Some(minute), min_interval: None }
    }

    proptest! {
        #[test]
        fn the_longest_prefix_wins(
            prefixes in prop::collection::btree_set(prop::collection::vec(97..99u8, 0..5), 0..12),
            id in prop::collection::vec(97..99u8, 1..7),
        ) {
            let rows = prefixes.iter().enumerate().map(|(number, prefix)| row(prefix, number as i32));
            let found = Policies::new(rows.collect()).expect("valid").of(&id).rate.map(|rate| rate.max);
            let longest = prefixes.iter().enumerate().filter(|(_, prefix)| id.starts_with(prefix));
            let longest = longest.max_by_key(|(_, prefix)| prefix.len()).map(|(number, _)| number as u32);
            prop_assert_eq!(found, longest);
        }
    }

    #[test]
    fn half_a_rate_is_none() {
        let half = PolicyRow { per: None, ..row(b"", 3) };
        assert_eq!(policy(&half), Ok(Policy::default()));
        let none = Interval { months: 0, days: 0, us: 0 };
        let nothing = PolicyRow { min_interval: Some(none), ..half };
        assert_eq!(policy(&nothing), Ok(Policy::default()));
    }
}
