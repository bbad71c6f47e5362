//! What this backend knows of whose ids are whose, until the cluster's metadata change.
//!
//! `counter_ext.shard_of_id` is a table without rows that `counter_citus_setup()` makes and Citus distributes: an id is on the node that
//! has the table's shard for it. Citus tells all backends, as of a changed table, when a shard moves; so does this node's worker when everything
//! of a shard has arrived.
//!
//! BOUND: as many shards as the cluster has.

use std::cell::{Cell, RefCell};
use std::str::FromStr;

use super::errors::OwnersError;
use super::ranges::{Map, Shard};
use crate::errors::CounterError;
use crate::pg::Oid;
use crate::pg::catalog::{self, Watch};
use crate::pg::session::session_local;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::Spi;
use crate::pg::xact;
use crate::rows::access;

const SHARDS: &str = "SELECT s.least_hash, s.most_hash, s.node_group, s.own_group, s.placed, s.has_arrived FROM counter_ext.placed_shards() AS s";

/// No version is as high.
const NEVER: u64 = u64::MAX;

session_local! {
    static WATCH: &'static Watch = Watch::begin();
    /// The version at which ids were found not to be spread.
    static ALL_HERE_AT: Cell<u64> = const { Cell::new(NEVER) };
    /// The version at which they were found to be, and how.
    static SPREAD: RefCell<Option<(u64, Map)>> = const { RefCell::new(None) };
    /// How often they were found to be spread in another way than before.
    static TIMES_MOVED: Cell<u64> = const { Cell::new(0) };
}

/// Changes whenever shards are found elsewhere than before; stays when something arrives.
pub fn times_moved() -> u64 {
    TIMES_MOVED.get()
}

/// Whether it is known that ids are not spread: all are here.
#[inline]
pub fn is_all_here() -> bool {
    ALL_HERE_AT.get() == WATCH.with(|watch| watch.version())
}

/// Looks at how ids are spread, if they are. Errors: 55000 the metadata make no sense.
pub fn look<T>(see: impl FnOnce(Option<&Map>) -> T) -> Result<T, CounterError> {
    let version = WATCH.with(|watch| watch.version());
    if !is_all_here() && SPREAD.with_borrow(|spread| !matches!(spread, Some((at, _)) if *at == version)) {
        find_out()?;
    }
    Ok(SPREAD.with_borrow(|spread| see(spread.as_ref().map(|(_, map)| map))))
}

#[cold]
fn find_out() -> Result<(), CounterError> {
    ALL_HERE_AT.set(NEVER);
    // Read before the look: where a change comes in between, the next call looks again.
    let version = WATCH.with(|watch| watch.version());
    let relations = metadata();
    let map = if relations.is_some() { read()? } else { None };
    // While nothing is spread, whatever changes may be what spreads it.
    let watched = relations.filter(|_| map.is_some());
    WATCH.with(|watch| watch.set(watched.as_ref().map_or(&[][..], |relations| &relations[..])));
    let before = SPREAD.take();
    match map {
        None => ALL_HERE_AT.set(version),
        Some(map) => {
            if !before.is_some_and(|(_, before)| map.has_places_of(&before)) {
                TIMES_MOVED.set(TIMES_MOVED.get() + 1);
            }
            SPREAD.set(Some((version, map)));
        }
    }
    Ok(())
}

/// The relations of which a change may change whose an id is; `None` where ids cannot be spread.
fn metadata() -> Option<[Oid; 2]> {
    let shards = table_of_shards()?;
    let local = catalog::relation(c"pg_catalog", c"pg_dist_local_group")?;
    Some([shards, local])
}

pub fn table_of_shards() -> Option<Oid> {
    catalog::relation(c"counter_ext", c"shard_of_id")
}

fn read() -> Result<Option<Map>, CounterError> {
    // Whatever the caller's isolation level: as the cluster has it now.
    let latest = (!xact::is_parallel()).then(ActiveSnapshot::push_latest);
    let rows =
        access::as_owner(access::tables()?, |confined| Spi::connect(confined)?.rows(SHARDS.as_bytes()))?;
    drop(latest);
    let mut shards = Vec::new();
    let mut own_group = None;
    for row in &rows {
        let (Some(least), Some(most), Some(group), Some(own), Some(placed)) =
            (number(row, 0), number(row, 1), number(row, 2), number(row, 3), number(row, 4))
        else {
            return Err(OwnersError::NoOwner.into());
        };
        let has_arrived = row.get(5).is_some_and(|answer| answer.as_deref() == Some(b"t"));
        shards.push(Shard { least, most, group, placed, has_arrived });
        own_group = Some(own);
    }
    let Some(own_group) = own_group else { return Ok(None) };
    Map::new(shards, own_group).map(Some).ok_or_else(|| OwnersError::NoOwner.into())
}

fn number<T: FromStr>(row: &[Option<Vec<u8>>], column: usize) -> Option<T> {
    str::from_utf8(row.get(column)?.as_ref()?).ok()?.parse().ok()
}
