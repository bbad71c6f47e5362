//! Counters that expire: `counter_expire`, `counter_unexpire`.

use pgrx::prelude::*;

use crate::errors::{CounterError, OrRaise, given};
use crate::expiry::declaring;
use crate::pg::args::{IntervalArg, TextArg};

/// From the commit on the worker drops counters whose ids begin with `prefix` (1 to 255 bytes) and that nobody has incremented for `idle`,
/// as `counter_drop` does: with their visitors and what was filtered of them; likes stay, which are rows. Where an id begins with several
/// such prefixes, the longest one holds. Called again it changes `idle`. Returns whether that changed anything. What counts is `updated_at`
/// of the counter, on all nodes; each node drops what was counted there. An idle counter is dropped within a
/// 64th of `idle`, but not sooner than in ten seconds, nor later than in an hour; `counter_compact()` looks at once. A month is 30 days, a year 365.25.
///
/// An increment that commits after the drop makes the counter anew, with what it adds. A counter that another transaction is just writing,
/// resetting or dropping is left for later.
///
/// Errors: 22004 NULL argument; 22023 empty or over-long prefix, `idle` not positive or past 1000 years; 25006 read-only
/// transaction or standby; 42501 DELETE on counter_ext.total or counter_ext.visitors, or INSERT and UPDATE on counter_ext.expiry, is missing;
/// 42710 a cache counts rows under a prefix that overlaps this one; 42939 reserved prefix.
#[pg_extern]
fn counter_expire(prefix: Option<TextArg<'_>>, idle: Option<IntervalArg<'_>>) -> bool {
    let declare = || -> Result<bool, CounterError> {
        declaring::expire(given("prefix", prefix)?.0, given("idle", idle)?.0)
    };
    declare().or_raise()
}

/// Counters under the prefix, as `counter_expire` was told it, do not expire any more; nothing is dropped once this has returned, unless
/// its transaction rolls back. Returns whether they did.
///
/// Errors: 22004 NULL argument; 22023 empty or over-long prefix; 25006 read-only transaction or standby; 42501 DELETE on
/// counter_ext.expiry is missing; 42939 reserved prefix.
#[pg_extern]
fn counter_unexpire(prefix: Option<TextArg<'_>>) -> bool {
    given("prefix", prefix).and_then(|prefix| declaring::unexpire(prefix.0)).or_raise()
}

extension_sql_file!("../../sql/expiry.sql", name = "counter_expiry_tables", requires = ["counter_ext_type"]);
