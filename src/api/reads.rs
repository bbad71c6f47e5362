//! `counter_get` and the other reads, and the views over them.

use pgrx::prelude::*;

use super::increments::valid_ids;
use crate::counting::read;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::owners::{self, check_id};
use crate::pg::args::{TextArg, TextArray, TextBytes};
use crate::pg::{process, standby};
use crate::rows::list::Id;
use crate::rows::sum::RowSum;
use crate::sharding::batches;

/// A counter's total: all that was committed before the call, and the caller's own uncommitted increments.
/// 0 when there is no such counter. One read of shared memory once the counter is loaded.
///
/// Errors: 22023 empty or over-long id; 22003 the total leaves bigint; 42501 SELECT on counter_ext.total is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_get(id: TextArg<'_>) -> i64 {
    let get = || {
        check_id(id.0)?;
        read::current(read::enter()?, id.0)
    };
    get().or_raise()
}

/// A counter's total from rows, under the caller's snapshot, and the caller's own uncommitted increments.
///
/// Errors: those of `counter_get`.
#[pg_extern(strict, parallel_restricted)]
fn counter_get_exact(id: TextArg<'_>) -> i64 {
    let get = || {
        check_id(id.0)?;
        read::exact(read::enter()?, id.0)
    };
    get().or_raise()
}

/// Totals of many counters in the order asked for; 0 for those that do not exist. One whose total is outside bigint does not keep
/// the others from being read: its value is NULL, and a WARNING (22003) names it.
///
/// Errors: 22023, 42501 as `counter_get`; 22004 NULL array or element, 2202E more than one dimension.
#[pg_extern(parallel_restricted)]
fn counter_get_many<'a>(
    ids: Option<TextArray<'a>>,
) -> TableIterator<'a, (name!(id, TextBytes), name!(value, Option<i64>))> {
    TableIterator::new(get_many(ids).or_raise())
}

fn get_many<'a>(
    ids: Option<TextArray<'a>>,
) -> Result<impl Iterator<Item = (TextBytes, Option<i64>)> + use<'a>, CounterError> {
    let ids = valid_ids(ids)?;
    // All of them at once, of one time; the ids stay in the array.
    let asked = fallible::collect(ids.clone(), "a batch")?;
    let totals = if owners::are_spread()? {
        batches::totals(&asked)?
    } else {
        owners::check_serves()?;
        batches::totals_here(&asked)?
    };
    // BOUND: one id at a time.
    Ok(ids.zip(totals).map(|(id, total)| (TextBytes(id.to_vec()), total)))
}

/// A counter's total and where it stands: `exact` is false on a standby, which may lag behind its primary; `slots`
/// is the number of its slot rows, `updated_at` when it last changed: the time at which the
/// statement that committed the change began; of buffered changes within a tenth of a second. `behind` is how old the standby's data can be:
/// what its primary has committed before that is in the value; NULL on a primary. No row when there is no such counter.
///
/// Errors: those of `counter_get`.
#[pg_extern(strict, parallel_restricted)]
#[allow(clippy::type_complexity)]
fn counter_info(
    id: TextArg<'_>,
) -> TableIterator<
    'static,
    (
        name!(value, i64),
        name!(exact, bool),
        name!(slots, i32),
        name!(updated_at, Option<TimestampWithTimeZone>),
        name!(behind, Option<Interval>),
    ),
> {
    TableIterator::new(info(id.0).or_raise())
}

/// As above, for an integer id. Not a function in SQL: one that returns rows is not inlined where it is VOLATILE, and what is not
/// inlined cannot run during a parallel operation.
#[pg_extern(strict, parallel_restricted, name = "counter_info")]
#[allow(clippy::type_complexity)]
fn counter_info_number(
    id: i64,
) -> TableIterator<
    'static,
    (
        name!(value, i64),
        name!(exact, bool),
        name!(slots, i32),
        name!(updated_at, Option<TimestampWithTimeZone>),
        name!(behind, Option<Interval>),
    ),
> {
    TableIterator::new(info(id.to_string().as_bytes()).or_raise())
}

/// As above, for a uuid.
#[pg_extern(strict, parallel_restricted, name = "counter_info")]
#[allow(clippy::type_complexity)]
fn counter_info_uuid(
    id: pgrx::Uuid,
) -> TableIterator<
    'static,
    (
        name!(value, i64),
        name!(exact, bool),
        name!(slots, i32),
        name!(updated_at, Option<TimestampWithTimeZone>),
        name!(behind, Option<Interval>),
    ),
> {
    TableIterator::new(info(id.to_string().as_bytes()).or_raise())
}

type InfoRow = (i64, bool, i32, Option<TimestampWithTimeZone>, Option<Interval>);

fn info(id: &[u8]) -> Result<Option<InfoRow>, CounterError> {
    check_id(id)?;
    let tables = read::enter()?;
    // Before the rows are read, which hold no less by then.
    let behind = standby::behind_us().map(Interval::from_micros);
    let info = read::info(tables, id)?;
    Ok(info.map(|info| {
        let updated_at = process::timestamp(info.updated_at_us);
        (info.value, info.exact, info.slots as i32, updated_at, behind)
    }))
}

/// The counters with the most increments a second over the last seconds, most first. Without shared memory the rate
/// is NULL and the order is by slot rows. A total outside bigint is `overflowed`, and its value NULL.
///
/// Errors: 22023 negative `n`; 42501 as `counter_get`.
#[pg_extern(strict)]
#[allow(clippy::type_complexity)]
fn counter_hottest(
    n: default!(i32, 10),
) -> TableIterator<
    'static,
    (
        name!(id, TextBytes),
        name!(value, Option<i64>),
        name!(increments_per_s, Option<f64>),
        name!(overflowed, bool),
    ),
> {
    let hottest = || {
        let limit = usize::try_from(n)
            .map_err(|_| CounterError::NegativeArgument { argument: "n", value: i64::from(n) })?;
        read::hottest(read::enter()?, limit)
    };
    TableIterator::new(hottest().or_raise().into_iter().map(|hot| {
        let value = i64::try_from(hot.value).ok();
        (TextBytes(hot.id), value, hot.increments_per_s, value.is_none())
    }))
}

#[pg_schema]
mod counter_ext {
    use super::*;

    /// All counters; behind the view `counters`. Reads in batches, under the query's snapshot. A total outside bigint is
    /// `overflowed`, and its value NULL: the others can be read.
    #[pg_extern(parallel_restricted)]
    #[allow(clippy::type_complexity)]
    fn list_counters() -> TableIterator<
        'static,
        (
            name!(id, TextBytes),
            name!(value, Option<i64>),
            name!(slots, i32),
            name!(updated_at, Option<TimestampWithTimeZone>),
            name!(overflowed, bool),
        ),
    > {
        read::enter().or_raise();
        TableIterator::new(Listing::default().map(|(id, sum)| {
            let value = i64::try_from(sum.value).ok();
            let updated_at = process::timestamp(sum.updated_at_us);
            (TextBytes(id.into_vec()), value, sum.slots as i32, updated_at, value.is_none())
        }))
    }
}

#[derive(Default)]
struct Listing {
    batch: std::vec::IntoIter<(Id, RowSum)>,
    last: Id,
    ended: bool,
}

impl Iterator for Listing {
    type Item = (Id, RowSum);

    fn next(&mut self) -> Option<Self::Item> {
        if self.batch.len() == 0 && !self.ended {
            let tables = read::enter().or_raise();
            self.batch = read::list_after(tables, &self.last).or_raise().into_iter();
            self.ended = self.batch.len() == 0;
        }
        let (id, sum) = self.batch.next()?;
        self.last = id.clone();
        Some((id, sum))
    }
}

extension_sql!(
    r#"
CREATE FUNCTION counter_get(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_get_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_get(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get($1::pg_catalog.text); END;
CREATE FUNCTION counter_get(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get($1::pg_catalog.text); END;
CREATE FUNCTION counter_get_exact(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_get_exact_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_get_exact(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get_exact($1::pg_catalog.text); END;
CREATE FUNCTION counter_get_exact(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get_exact($1::pg_catalog.text); END;
CREATE FUNCTION counter_info(id counter) RETURNS TABLE (value bigint, exact boolean, slots integer, updated_at timestamptz, behind interval)
    AS 'MODULE_PATHNAME', 'counter_info_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE CAST (counter AS bigint) WITH FUNCTION @extschema@.counter_get(counter);
-- Without these PostgreSQL would read the id as a number.
CREATE FUNCTION counter_ext.total_as_smallint(id counter) RETURNS smallint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.int2; END;
CREATE CAST (counter AS smallint) WITH FUNCTION counter_ext.total_as_smallint(counter);
CREATE FUNCTION counter_ext.total_as_integer(id counter) RETURNS integer
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.int4; END;
CREATE CAST (counter AS integer) WITH FUNCTION counter_ext.total_as_integer(counter);
CREATE FUNCTION counter_ext.total_as_real(id counter) RETURNS real
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.float4; END;
CREATE CAST (counter AS real) WITH FUNCTION counter_ext.total_as_real(counter);
CREATE FUNCTION counter_ext.total_as_double(id counter) RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.float8; END;
CREATE CAST (counter AS double precision) WITH FUNCTION counter_ext.total_as_double(counter);
CREATE FUNCTION counter_ext.total_as_numeric(id counter) RETURNS numeric
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.numeric; END;
CREATE CAST (counter AS numeric) WITH FUNCTION counter_ext.total_as_numeric(counter);

CREATE VIEW @extschema@.counters AS SELECT id, value, slots, updated_at, overflowed FROM counter_ext.list_counters();
COMMENT ON VIEW @extschema@.counters IS 'every counter: id, total, slot rows, when it last changed, whether its total is outside bigint';
-- The function behind it checks the calling user's rights on counter_ext.total.
GRANT SELECT ON @extschema@.counters TO PUBLIC;
GRANT USAGE ON SCHEMA counter_ext TO PUBLIC;
"#,
    name = "counter_reads_sql",
    requires = [counter_get, counter_get_exact, counter_info, counter_ext::list_counters, "counter_ext_type"]
);
