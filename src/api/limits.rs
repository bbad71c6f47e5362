//! Limits of `counter_allow` and `counter_limit`, alone and together, `counter_incr_from`, and what the bot filter filtered.

use pgrx::prelude::*;
use pgrx::{AnyElement, WhoAllocated};

use super::operations::tables_to_monitor;
use crate::errors::{CounterError, OrRaise, check_key, given};
use crate::limits::errors::LimitError;
use crate::limits::{self, Demand};
use crate::owners::{self, check_id};
use crate::pg::args::{
    AddressArg, BigintArray, CounterArg, IntervalArg, IntervalArray, TextArg, TextArray, TextBytes,
};
use crate::pg::naming::{address_of, name_of};
use crate::pg::process;

/// Whether `cost` requests more of `key` (1 to 255 bytes) are allowed now, where no interval of length `per` may have more than
/// `max`; true takes them. Exact to the request while at most 64 different microseconds of a window have some, that is, with
/// `max` up to 64 always; past that the closest of them count as one, at the later time, so a request may be refused
/// up to `per` / 31 too long, and one too many is still never allowed. `cost` 0 asks whether 1 would be allowed, and takes nothing; more
/// than `max` is never allowed. `max` may change from call to call; another `per` is another limit. A month is 30 days, a year 365.25.
///
/// Keys are those of the database, for all its users; a key of another type is its text, and an `inet` what `counter_address` says. They
/// are in shared memory only: nothing is written, no transaction id is taken, a rollback gives nothing back, a standby counts its own,
/// and a restart of the server begins anew. Algorithm: sliding window log, in bounded space.
///
/// Who may: only roles that were granted EXECUTE, since keys take memory that all databases share; the right to call it with a text
/// key is that for keys of all types. When memory is full, whoever has used least of its limit is forgotten for a newcomer; a key that is
/// over its limit stays. A database that has `counter_ext.max_limits` keys makes room among its own.
///
/// Errors: 22004 NULL argument; 22023 empty or over-long key, negative `max` or `cost`, `per` not positive or past
/// counter_ext.max_limit_period; 42501 not granted; 53400 too many keys over their limits at once for counter_ext.max_limits; 55000 not preloaded.
#[pg_extern(parallel_restricted)]
fn counter_allow(
    key: Option<TextArg<'_>>,
    max: Option<i64>,
    per: Option<IntervalArg<'_>>,
    cost: default!(Option<i64>, 1),
) -> bool {
    demand(key, max, per, cost).and_then(|demand| limits::allow(&demand)).or_raise()
}

/// As `counter_allow`, and returns what a client is to be told, as of now and if nobody else takes anything: `allowed`; `remaining`, what
/// more would be allowed now; `reset_at`, when all of `max` is there again; `retry_after`, how long until `cost` fits: nothing where it
/// was allowed, NULL where it is more than `max`. Exact where `counter_allow` is; else `remaining` is too small, the times too late.
/// After a call with a greater `max`, or a refund, likewise.
///
/// Errors: those of `counter_allow`.
#[pg_extern(parallel_restricted)]
#[allow(clippy::type_complexity)]
fn counter_limit(
    key: Option<TextArg<'_>>,
    max: Option<i64>,
    per: Option<IntervalArg<'_>>,
    cost: default!(Option<i64>, 1),
) -> TableIterator<
    'static,
    (
        name!(allowed, bool),
        name!(remaining, i64),
        name!(reset_at, Option<TimestampWithTimeZone>),
        name!(retry_after, Option<Interval>),
    ),
> {
    let told = demand(key, max, per, cost).and_then(|demand| limits::limit(&demand)).or_raise();
    TableIterator::once((
        told.allowed,
        told.remaining,
        process::any_timestamp(told.reset_at_us),
        told.retry_after_us.map(Interval::from_micros),
    ))
}

/// Several limits at once: `costs[i]`, or 1, of `keys[i]`, of which no interval of length `pers[i]` may have more than `maxes[i]`. Takes
/// from all of them if each allows it, else from none, whoever else asks meanwhile. At most 32; without any it is allowed. A key may repeat,
/// with other periods, which are limits of their own, or the same, where what is asked adds up.
///
/// Errors: those of `counter_allow`; 22004 NULL array or element, 2202E arrays of different length or dimension; 54000 more than 32 limits.
/// Nothing is taken then.
#[pg_extern(parallel_restricted)]
fn counter_allow_all(
    keys: Option<TextArray<'_>>,
    maxes: Option<BigintArray<'_>>,
    pers: Option<IntervalArray<'_>>,
    costs: default!(Option<BigintArray<'_>>, "NULL"),
) -> bool {
    let allow = || {
        let demands = demands(keys, maxes, pers, costs)?;
        limits::limit_all("counter_allow_all", demands).map(|(allowed, _)| allowed)
    };
    allow().or_raise()
}

/// As `counter_allow_all`, and returns a row a limit, in their order: `allowed` says in each whether all were; `remaining`, `reset_at` and
/// `retry_after` as `counter_limit` says them of this one, so the limits that refused are those whose `retry_after` is not 0.
///
/// Errors: those of `counter_allow_all`.
#[pg_extern(parallel_restricted)]
#[allow(clippy::type_complexity)]
fn counter_limit_all<'a>(
    keys: Option<TextArray<'a>>,
    maxes: Option<BigintArray<'a>>,
    pers: Option<IntervalArray<'a>>,
    costs: default!(Option<BigintArray<'a>>, "NULL"),
) -> TableIterator<
    'a,
    (
        name!(key, TextBytes),
        name!(allowed, bool),
        name!(remaining, i64),
        name!(reset_at, Option<TimestampWithTimeZone>),
        name!(retry_after, Option<Interval>),
    ),
> {
    let limit = || {
        let demands = demands(keys, maxes, pers, costs)?;
        let (_, told) = limits::limit_all("counter_limit_all", demands)?;
        // Taken apart here, in memory that lasts until the last row.
        Ok::<_, CounterError>((given("keys", keys)?.elements().map(Option::unwrap_or_default), told))
    };
    let (keys, told) = limit().or_raise();
    TableIterator::new(keys.zip(told).map(|(key, told)| {
        (
            // BOUND: one key at a time.
            TextBytes(key.to_vec()),
            told.allowed,
            told.remaining,
            process::any_timestamp(told.reset_at_us),
            told.retry_after_us.map(Interval::from_micros),
        )
    }))
}

/// Gives `cost` back that a call with these arguments took, or part of it, as far as it is still in the window; returns what is
/// allowed now. The oldest requests go first: so whichever were meant, no interval has more than `max` of those that are not given
/// back. What was taken longer than `per` ago is no longer in the window; who gives that back takes away from others.
///
/// Errors: those of `counter_allow`, but for 53400.
#[pg_extern(parallel_restricted)]
fn counter_limit_refund(
    key: Option<TextArg<'_>>,
    max: Option<i64>,
    per: Option<IntervalArg<'_>>,
    cost: default!(Option<i64>, 1),
) -> i64 {
    demand(key, max, per, cost).and_then(|demand| limits::refund(&demand)).or_raise()
}

/// Forgets all that was taken of a key, in windows of whatever length; true when there was anything.
///
/// Errors: 22004 NULL argument; 22023 empty or over-long key; 42501 not granted; 55000 not preloaded.
#[pg_extern(parallel_restricted)]
fn counter_limit_reset(key: Option<TextArg<'_>>) -> bool {
    let reset = || {
        let key = given("key", key)?;
        check_key("key", key.0)?;
        owners::check(key.0)?;
        limits::reset(key.0)
    };
    reset().or_raise()
}

/// The text by which limits know an address, for keys that say more than the address: one spelling each, IPv4 in IPv6 as IPv4, and
/// IPv6 by its network of counter_ext.ipv6_prefix bits, since a client takes another address of its network as it likes. A network
/// mask in the `inet` is left out: an address is the same with any. NULL for NULL.
#[pg_extern(stable, strict, parallel_safe)]
fn counter_address(address: AddressArg<'_>) -> TextBytes {
    TextBytes(limits::address_key(address.0).into_bytes())
}

fn demand<'a>(
    key: Option<TextArg<'a>>,
    max: Option<i64>,
    per: Option<IntervalArg<'_>>,
    cost: Option<i64>,
) -> Result<Demand<'a>, CounterError> {
    let key = given("key", key)?;
    check_key("key", key.0)?;
    owners::check(key.0)?;
    Ok(Demand { key: key.0, max: given("max", max)?, per: given("per", per)?.0, cost: given("cost", cost)? })
}

fn demands<'a>(
    keys: Option<TextArray<'a>>,
    maxes: Option<BigintArray<'a>>,
    pers: Option<IntervalArray<'a>>,
    costs: Option<BigintArray<'a>>,
) -> Result<impl ExactSizeIterator<Item = Result<Demand<'a>, CounterError>> + use<'a>, CounterError> {
    let (keys, maxes, pers) = (given("keys", keys)?, given("maxes", maxes)?, given("pers", pers)?);
    let cost_dimensions = costs.map_or(0, BigintArray::dimensions);
    for (argument, dimensions) in [
        ("keys", keys.dimensions()),
        ("maxes", maxes.dimensions()),
        ("pers", pers.dimensions()),
        ("costs", cost_dimensions),
    ] {
        if dimensions > 1 {
            return Err(CounterError::NotOneDimensional { argument });
        }
    }
    let (keys, maxes, pers) = (keys.elements(), maxes.elements(), pers.elements());
    let mut costs = costs.map(BigintArray::elements);
    let count = keys.len();
    for (argument, elements) in [
        ("maxes", maxes.len()),
        ("pers", pers.len()),
        ("costs", costs.as_ref().map_or(count, ExactSizeIterator::len)),
    ] {
        if elements != count {
            return Err(LimitError::LengthsDiffer { keys: count, argument, elements }.into());
        }
    }
    let demands = keys.zip(maxes).zip(pers).enumerate();
    Ok(demands.map(move |(index, ((key, max), per))| {
        let null = |argument| CounterError::NullElement { argument, position: index + 1 };
        let key = key.ok_or_else(|| null("keys"))?;
        check_key("key", key)?;
        owners::check(key)?;
        let cost = match &mut costs {
            Some(costs) => costs.next().flatten().ok_or_else(|| null("costs"))?,
            None => 1,
        };
        Ok(Demand {
            key,
            max: max.ok_or_else(|| null("maxes"))?,
            per: per.ok_or_else(|| null("pers"))?,
            cost,
        })
    }))
}

/// Adds `delta` to a counter if `actor` (1 to 255 bytes) is not in counter_ext.blocked, and within the rate and the minimum interval of the
/// row of counter_ext.policy with the longest prefix of the id, if there is one. To a rate or interval an actor that is an IP address is what
/// `counter_address` says of it. Returns whether it did; if not, `delta` is added to what
/// counter_filtered(id) returns. Both belong to the caller's transaction. The rate counts calls, not deltas; that a
/// view was let through is remembered in shared memory also when its transaction rolls back. A NULL actor, nobody knows who, is on no
/// list and has no rate: it counts, unless the policy counts nobody.
///
/// counter_ext.blocked has actors, in capitals or not, and networks: an actor that is an address is in the networks that it is in.
///
/// Errors: those of `counter_incr`; 22004 NULL id or delta; 22023 empty or over-long actor, id of 255 bytes, a rate or interval
/// applies that is longer than counter_ext.max_limit_period; 55000 one applies, and the library is not preloaded.
#[pg_extern]
fn counter_incr_from(
    id: Option<CounterArg<'_>>,
    actor: Option<TextArg<'_>>,
    delta: default!(Option<i64>, 1),
) -> bool {
    let increment = || increment_from(given("id", id)?.0, actor.map(|actor| actor.0), given("delta", delta)?);
    increment().or_raise()
}

/// As above, for ids and actors of other types; an `inet` is its address, whatever it says of a network. Errors: 42804 a type that
/// names nothing.
#[pg_extern(sql = false)]
fn counter_incr_from_of(id: Option<AnyElement>, actor: Option<AnyElement>, delta: Option<i64>) -> bool {
    let increment = || {
        let (id, delta) = (given("id", id)?, given("delta", delta)?);
        let actor = actor.as_ref().map(|actor| match address_of(actor) {
            Some(address) => Ok(limits::address_text(address).into_bytes()),
            None => name_of("actor", actor),
        });
        increment_from(&name_of("id", &id)?, actor.transpose()?.as_deref(), delta)
    };
    increment().or_raise()
}

fn increment_from(id: &[u8], actor: Option<&[u8]>, delta: i64) -> Result<bool, CounterError> {
    check_id(id)?;
    if let Some(actor) = actor {
        check_key("actor", actor)?;
    }
    limits::increment_from(id, actor, delta)
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
    use crate::memory::limits as windows;
    use crate::memory::statistics::{self, Count};
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
            name!(limit_evictions, Option<i64>),
            name!(limit_bytes, i64),
        ),
    > {
        tables_to_monitor().or_raise();
        let measured = windows::statistics();
        let database = u32::from(catalog::my_database());
        let since = |count: Count, so_far: u64| statistics::since_reset(database, count, so_far) as i64;
        let filtered = statistics::filtered(database);
        let s = measured.unwrap_or_default();
        TableIterator::once((
            filtered.map(|filtered| since(Count::Filtered, filtered)),
            s.windows_in_use as i64,
            s.max_windows as i64,
            s.intervals_in_use as i64,
            measured.map(|s| since(Count::LimitsRefused, s.refused)),
            measured.map(|s| since(Count::LimitEvictions, s.evictions)),
            s.bytes as i64,
        ))
    }
}

extension_sql!(
    r#"
CREATE FUNCTION counter_incr_from(id text, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id bigint, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id uuid, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id text, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id counter, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id bigint, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_incr_from(id uuid, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_filtered(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_filtered_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_filtered(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;
CREATE FUNCTION counter_filtered(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;
"#,
    name = "counter_incr_from_ids",
    requires = [counter_incr_from, counter_incr_from_of, counter_filtered, "counter_ext_type"]
);

extension_sql!(
    r#"
-- Keys take memory that all databases share: whoever may fill it is named. Functions for keys of other types than text need no right of
-- their own: they run with the caller's, who needs that to the one for text.
REVOKE EXECUTE ON FUNCTION
    @extschema@.counter_allow(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_limit(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_allow_all(pg_catalog.text[], bigint[], interval[], bigint[]),
    @extschema@.counter_limit_all(pg_catalog.text[], bigint[], interval[], bigint[]),
    @extschema@.counter_limit_refund(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_limit_reset(pg_catalog.text)
    FROM PUBLIC;
CREATE FUNCTION counter_allow(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_allow(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_allow(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_allow(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow(@extschema@.counter_address($1), $2, $3, $4); END;
CREATE FUNCTION counter_limit(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit(@extschema@.counter_address($1), $2, $3, $4); END;
CREATE FUNCTION counter_limit_refund(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit_refund(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit_refund(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_limit_refund(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund(@extschema@.counter_address($1), $2, $3, $4); END;
CREATE FUNCTION counter_limit_reset(key bigint) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;
CREATE FUNCTION counter_limit_reset(key uuid) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;
CREATE FUNCTION counter_limit_reset(key counter) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;
CREATE FUNCTION counter_limit_reset(key inet) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset(@extschema@.counter_address($1)); END;
"#,
    name = "counter_limits_keys",
    requires = [
        counter_allow,
        counter_limit,
        counter_allow_all,
        counter_limit_all,
        counter_limit_refund,
        counter_limit_reset,
        counter_address,
        "counter_ext_type"
    ]
);

extension_sql_file!(
    "../../sql/limits.sql",
    name = "counter_limits_tables",
    requires = ["counter_ext_type", counter_ext::note_policy_change]
);
