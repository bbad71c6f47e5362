//! `counter_allow`, `counter_incr_from`, and what the bot filter filtered.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use super::operations::tables_to_monitor;
use crate::errors::{OrRaise, check_id, check_key, given};
use crate::limits;
use crate::pg::args::{CounterArg, IntervalArg, TextArg};

/// Whether `cost` requests more of `key` (1 to 255 bytes) are allowed now, where no interval of length `per` may have more than
/// `max`; true takes them. Exact to the request while at most 64 different microseconds of a window have some, that is, with
/// `max` up to 64 always; past that the closest of them count as one, at the later time, so a request may be refused
/// up to `per` / 31 too long, and one too many is still never allowed. `cost` 0 asks whether 1 would be allowed, and takes nothing; more
/// than `max` is never allowed. `max` may change from call to call; another `per` is another limit. A month is 30 days, a year 365.25.
///
/// Keys are those of the database, for all its users. They are in shared memory only: nothing is written, no transaction id is
/// taken, a rollback gives nothing back, a standby counts its own, and a restart of the server begins anew. Algorithm: sliding
/// window log, in bounded space.
///
/// Who may: only roles that were granted EXECUTE, since keys take memory that all databases share. A database that has four fifths
/// of the room for a key's set is refused further keys there, and the rest is for other databases.
///
/// Errors: 22004 NULL argument; 22023 empty or over-long key, negative `max` or `cost`, `per` not positive or past
/// counter_ext.max_limit_period; 42501 not granted; 53400 too many keys at once for counter_ext.max_limits; 55000 not preloaded.
#[pg_extern(parallel_restricted)]
fn counter_allow(
    key: Option<TextArg<'_>>,
    max: Option<i32>,
    per: Option<IntervalArg<'_>>,
    cost: default!(Option<i32>, 1),
) -> bool {
    let allow = || {
        let key = given("key", key)?;
        check_key("key", key.0)?;
        limits::allow(key.0, given("max", max)?, given("per", per)?.0, given("cost", cost)?)
    };
    allow().or_raise()
}

/// Adds `delta` to a counter if `actor` (1 to 255 bytes) is not in counter_ext.blocked, and within the rate and the minimum interval of the
/// row of counter_ext.policy with the longest prefix of the id, if there is one. Returns whether it did; if not, `delta` is added to what
/// counter_filtered(id) returns. Both belong to the caller's transaction. The rate counts calls, not deltas; that a
/// view was let through is remembered in shared memory also when its transaction rolls back.
///
/// Errors: those of `counter_incr`; 22004 NULL argument; 22023 empty or over-long actor, id of 255 bytes, a rate or interval
/// applies that is longer than counter_ext.max_limit_period; 55000 one applies, and the library is not preloaded.
#[pg_extern]
fn counter_incr_from(
    id: Option<CounterArg<'_>>,
    actor: Option<TextArg<'_>>,
    delta: default!(Option<i64>, 1),
) -> bool {
    let increment = || {
        let id = given("id", id)?;
        check_id(id.0)?;
        let actor = given("actor", actor)?;
        check_key("actor", actor.0)?;
        limits::increment_from(id.0, actor.0, given("delta", delta)?)
    };
    increment().or_raise()
}

/// What `counter_incr_from` did not count of an id: as `counter_get`, fresh, with the caller's own.
///
/// Errors: those of `counter_get`; 22023 id of 255 bytes.
#[pg_extern(strict, parallel_restricted)]
fn counter_filtered(id: TextArg<'_>) -> i64 {
    check_id(id.0).and_then(|()| limits::filtered(id.0)).or_raise()
}

#[pg_schema]
mod counter_ext {
    use super::*;
    use crate::api::triggers;
    use crate::memory::{limits as windows, statistics};
    use crate::pg::catalog;

    /// Trigger: a policy, or the block list, is being changed.
    #[pg_trigger]
    fn note_policy_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        limits::note_change(triggers::own_table(trigger).or_raise());
        Ok(trigger.new().or(trigger.old()))
    }

    /// The part of `counter_stats` that is about limits.
    ///
    /// Errors: 42501 as `counter_stats`.
    #[pg_extern]
    #[allow(clippy::type_complexity)]
    fn limit_statistics() -> TableIterator<
        'static,
        (
            name!(filtered, Option<i64>),
            name!(limits_in_use, i64),
            name!(max_limits, i64),
            name!(intervals_in_use, i64),
            name!(limits_refused, Option<i64>),
        ),
    > {
        tables_to_monitor().or_raise();
        let statistics = windows::statistics();
        let filtered = statistics::filtered(u32::from(catalog::my_database()));
        let s = statistics.unwrap_or_default();
        TableIterator::once((
            filtered.map(|filtered| filtered as i64),
            s.windows_in_use as i64,
            s.max_windows as i64,
            s.instants_in_use as i64,
            statistics.map(|s| s.refused as i64),
        ))
    }
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr_from(id text, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id bigint, actor text, delta bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr_from($1::pg_catalog.text::@extschema@.counter, $2, $3); END;
CREATE FUNCTION counter_filtered(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_filtered_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_filtered(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;
CREATE FUNCTION counter_filtered(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;
"#,
    name = "counter_limits_bigint",
    requires = [counter_incr_from, counter_filtered, "counter_ext_type"]
);

extension_sql!(
    r#"
-- Keys take memory that all databases share: whoever may fill it is named.
REVOKE EXECUTE ON FUNCTION @extschema@.counter_allow(pg_catalog.text, integer, interval, integer) FROM PUBLIC;
"#,
    name = "counter_limits_rights",
    requires = [counter_allow]
);

extension_sql_file!(
    "../../sql/limits.sql",
    name = "counter_limits_tables",
    requires = ["counter_ext_type", counter_ext::note_policy_change]
);
