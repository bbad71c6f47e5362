//! Expiry: counters under a prefix that nobody has incremented for a while are dropped by the worker, with what else there is of their
//! ids, as `counter_drop` drops them.
//!
//! Prefixes are rows of counter_ext.expiry; the longest one that an id begins with says how long. The worker looks at totals, prefix
//! after prefix, in the order of their ids (`walk`); nothing of that is kept but what it has dropped, so a crash makes it begin anew.

pub mod declared_rows;
pub mod declaring;
pub mod errors;
mod schedule;
mod walk;

use crate::family::Family;

/// What is to expire stays so when all counters are forgotten.
pub static FAMILY: Family =
    Family { cache_made: declared_rows::check_cache, steps: &[walk::DROP_IDLE], ..Family::NONE };
