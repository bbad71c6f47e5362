//! Counters spread over the nodes of a Citus cluster: each id is on one node, and Citus sends a call on to it.
//!
//! Whose an id is, `owners` knows; the set-up is in sql/sharding.sql.

pub mod batches;
pub mod errors;
mod moving;

use self::errors::ShardingError;
use crate::errors::CounterError;
use crate::family::Family;
use crate::owners;
use crate::pg::catalog::{self, NewTrigger};

pub static FAMILY: Family =
    Family { cache_made: |_, _| check_no_cache(), steps: &[moving::MOVE], ..Family::NONE };

/// Errors: 0A000 a cache's counters would not be where its rows are.
fn check_no_cache() -> Result<(), CounterError> {
    if owners::are_spread()? { Err(ShardingError::Cache.into()) } else { Ok(()) }
}

/// Citus makes a trigger of its own on each table that it takes over. Errors: 0A000 the table is one of ours, whose rows code reads by hand.
pub fn check_trigger(trigger: NewTrigger) -> Result<(), CounterError> {
    if catalog::is_member(trigger.relation, c"counter_ext")
        && catalog::is_function_of(trigger.function, c"citus")
    {
        let table = catalog::relation_name(trigger.relation);
        return Err(ShardingError::OwnTable { table }.into());
    }
    Ok(())
}
