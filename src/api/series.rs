//! Series: `counter_track`, `counter_series`, `counter_total`, `counter_incr_at`, `counter_rate`, `counter_trending`.

use pgrx::WhoAllocated;
use pgrx::prelude::*;

use crate::errors::{CounterError, OrRaise, given};
use crate::family::followed;
use crate::owners::check_id;
use crate::pg::args::{IntervalArg, TextArg, TextArray, TextBytes};
use crate::pg::process;
use crate::series::bucket_rows::Span;
use crate::series::level::Level;
use crate::series::tracked_rows::TRACKED;
use crate::series::{late, reading, tracking};

/// Begins series of the counters whose ids begin with `prefix`; the empty one means all. Where the prefix is tracked already,
/// it changes for how long buckets are kept. Returns whether that changed anything. From then on whatever changes a counter is booked in the bucket of the minute
/// (or hour, or day, if that is the shortest of `resolutions`) in which it is counted: increments, resets and all else. So the buckets of a
/// counter add up to what its total has gained since. Buckets of `resolutions[i]` are kept for `keep[i]`, an interval or `forever`; then they are
/// summed up in those of the next resolution, whose hours and days are those of `time_zone`, a name and no abbreviation,
/// by default the session's. To begin waits for
/// all transactions that have incremented anything, and keeps others waiting meanwhile.
///
/// Errors: 22023 over-long prefix, unknown resolution or time zone, or a longer resolution that is not kept longer; 22004; 2202E arrays of
/// different length; 22007 no interval; 25006 read-only transaction or standby; 42501 INSERT on counter_ext.tracked is missing; 42710
/// another prefix that is tracked begins so, or this one begins with it; 55000 increments have still to be recovered after a
/// start; 55006 another transaction holds a total of the prefix by hand.
#[pg_extern]
fn counter_track(
    prefix: Option<TextArg<'_>>,
    resolutions: default!(Option<TextArray<'_>>, "'{minute,hour,day}'"),
    keep: default!(Option<TextArray<'_>>, "'{2 days,90 days,forever}'"),
    time_zone: default!(Option<TextArg<'_>>, "NULL"),
) -> bool {
    let track = || {
        let prefix = given("prefix", prefix)?.0;
        let (resolutions, keep) = (elements("resolutions", resolutions)?, elements("keep", keep)?);
        let keeps = tracking::keeps(resolutions.into_iter(), keep.into_iter())?;
        tracking::track(prefix, keeps, time_zone.map(|zone| zone.0))
    };
    track().or_raise()
}

fn elements<'a>(argument: &'static str, array: Option<TextArray<'a>>) -> Result<Vec<&'a [u8]>, CounterError> {
    let array = given(argument, array)?;
    if array.dimensions() > 1 {
        return Err(CounterError::NotOneDimensional { argument });
    }
    let element = |(at, element): (usize, Option<&'a [u8]>)| {
        element.ok_or(CounterError::NullElement { argument, position: at + 1 })
    };
    crate::fallible::try_collect(array.elements().enumerate().map(element), "resolutions")
}

/// Ends the series of a prefix, and forgets its buckets. Returns whether it was tracked. Waits, and keeps waiting, as `counter_track`.
///
/// Errors: 22004; 22023 over-long prefix; 25006; 42501 DELETE on counter_ext.tracked is missing; 55006 another transaction changes the prefix by
/// hand.
#[pg_extern]
fn counter_untrack(prefix: Option<TextArg<'_>>) -> bool {
    given("prefix", prefix).and_then(|prefix| tracking::untrack(prefix.0)).or_raise()
}

/// As `counter_incr`, of what happened at `at`: the total has it at once, the series in the bucket of that time. It writes a row,
/// also in buffered mode.
///
/// Errors: those of `counter_incr`; 55000 the counter has no series; 22008 `at` is longer ago than the series is kept, or than 4000 days (36,000 where
/// it has buckets of days), or more than an hour in the future.
#[pg_extern(strict)]
fn counter_incr_at(id: TextArg<'_>, at: TimestampWithTimeZone, delta: default!(i64, 1)) {
    check_id(id.0).and_then(|()| late::increment_at(id.0, process::timestamp_us(at), delta)).or_raise();
}

fn span(from: Option<TimestampWithTimeZone>, to: Option<TimestampWithTimeZone>) -> Span {
    Span {
        from_us: from.map_or(i64::MIN, process::timestamp_us),
        before_us: to.map_or(i64::MAX, process::timestamp_us),
    }
}

fn total(id: TextArg<'_>, from: Option<TimestampWithTimeZone>, to: Option<TimestampWithTimeZone>) -> i64 {
    check_id(id.0).and_then(|()| reading::total(id.0, span(from, to))).or_raise()
}

/// A positive length of time in microseconds, at most 2^62.
fn window_us(window: &IntervalArg<'_>) -> Result<i64, CounterError> {
    let us = window.0.length_us();
    if us > 0 { Ok(us.min(1 << 62) as i64) } else { Err(CounterError::NotPositive { argument: "window" }) }
}

/// What a counter gains a second: what was counted in the last `window`, and in the rest of the minute in which that began, by how long
/// that is. It includes what is not compacted yet.
///
/// Errors: 22023 as `counter_incr`, or `window` is not positive; 42501 SELECT on counter_ext.total or counter_ext.bucket is missing; 55000
/// the counter has no series.
#[pg_extern(sql = false)]
fn counter_rate(id: TextArg<'_>, window: IntervalArg<'_>) -> f64 {
    check_id(id.0).and_then(|()| reading::rate(id.0, window_us(&window)?)).or_raise()
}

/// The counters under a prefix that gained most in the last `window`, as of the last compaction, at most `n`. It reads the buckets of all
/// counters under the prefix from the day on in which the window began.
///
/// Errors: 22023 negative `n`, or `window` is not positive; 42501 as `counter_rate`.
#[pg_extern(sql = false)]
fn counter_trending(
    prefix: TextArg<'_>,
    window: IntervalArg<'_>,
    n: i32,
) -> TableIterator<'static, (name!(id, TextBytes), name!(gained, AnyNumeric))> {
    let trending = || {
        let limit = usize::try_from(n)
            .map_err(|_| CounterError::NegativeArgument { argument: "n", value: i64::from(n) })?;
        reading::trending(prefix.0, window_us(&window)?, limit)
    };
    TableIterator::new(
        trending().or_raise().into_iter().map(|(id, gained)| (TextBytes(id.into_vec()), gained.into())),
    )
}

#[pg_schema]
mod counter_ext {
    use super::*;
    use crate::api::triggers;

    /// What counter_total is in SQL: its arguments may be NULL.
    #[pg_extern(parallel_restricted)]
    fn series_total(
        id: Option<TextArg<'_>>,
        from: Option<TimestampWithTimeZone>,
        to: Option<TimestampWithTimeZone>,
    ) -> Option<i64> {
        Some(total(id?, from, to))
    }

    /// The step of a series, once there can be a row for each from one time to another, by default now. Errors: 22004; 22008 a time is
    /// infinite; 22023 there is no step of that name; 54000 too many rows.
    #[pg_extern(stable, parallel_safe)]
    fn check_step(
        step: Option<TextArg<'_>>,
        from: Option<TimestampWithTimeZone>,
        to: Option<TimestampWithTimeZone>,
    ) -> TextBytes {
        let check = || {
            let step = given("step", step)?.0;
            let level = reading::step(step)?;
            reading::check_length(level, from.map(process::timestamp_us), to.map(process::timestamp_us))?;
            // BOUND: one of a few names.
            Ok::<_, CounterError>(TextBytes(step.to_vec()))
        };
        check().or_raise()
    }

    /// A counter's buckets, as short as a step takes, with what is in no bucket yet.
    #[pg_extern(parallel_restricted)]
    fn series_rows(
        id: Option<TextArg<'_>>,
        from: Option<TimestampWithTimeZone>,
        to: Option<TimestampWithTimeZone>,
        step: Option<TextArg<'_>>,
    ) -> TableIterator<'static, (name!(at, TimestampWithTimeZone), name!(value, AnyNumeric))> {
        let read = || {
            let (id, from, step) = (given("id", id)?.0, given("from", from)?, given("step", step)?.0);
            check_id(id)?;
            let step: Level = reading::step(step)?;
            reading::buckets(id, span(Some(from), to), step)
        };
        TableIterator::new(
            read()
                .or_raise()
                .into_iter()
                .filter_map(|counted| Some((process::any_timestamp(counted.at_us)?, counted.value.into()))),
        )
    }

    /// Trigger, after a statement, or a row that comes without one: somebody else, a restore for one, changes what is tracked.
    #[pg_trigger]
    fn note_tracked_change<'a>(
        trigger: &'a PgTrigger<'a>,
    ) -> Result<Option<PgHeapTuple<'a, impl WhoAllocated>>, core::convert::Infallible> {
        triggers::own_table(trigger).or_raise();
        if let Some(table) = TRACKED.find() {
            followed::announce(table);
        }
        Ok(trigger.new())
    }
}

extension_sql_file!("../../sql/series.sql", name = "counter_series_tables", requires = ["counter_ext_type"]);

extension_sql!(
    r#"
-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_tracked_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.tracked
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_tracked_change();
ALTER TABLE counter_ext.tracked ENABLE ALWAYS TRIGGER note_tracked_change;
-- An apply worker fires none of statements.
CREATE TRIGGER note_tracked_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.tracked
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_tracked_change();
ALTER TABLE counter_ext.tracked ENABLE REPLICA TRIGGER note_tracked_change_row;
-- While a restore fills them, nothing is rolled up.
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.tracked
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
ALTER TABLE counter_ext.tracked ENABLE ALWAYS TRIGGER note_foreign_insert;
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.rolled
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
ALTER TABLE counter_ext.rolled ENABLE ALWAYS TRIGGER note_foreign_insert;

CREATE FUNCTION counter_incr_at(id counter, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_at_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_incr_at(id bigint, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr_at($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_incr_at(id uuid, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr_at($1::pg_catalog.text, $2, $3); END;

-- What a counter was changed by, bucket by bucket, in the session's time zone: the buckets that begin from the one on that "from" is in,
-- and before "to", by default now. An empty bucket is 0; the newest has what is not compacted yet.
CREATE FUNCTION counter_series(id text, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    -- A step from an instant need not begin a bucket, where clocks are put forward at midnight or by half an hour: buckets are looked for
    -- from there on, up to an hour further than needed.
    -- The step is checked for the rows below too, or one that is NULL would fold all of this to nothing.
    SELECT b.bucket, pg_catalog.sum(b.value)::pg_catalog.int8
    FROM (SELECT pg_catalog.date_trunc($4, s.at), 0::pg_catalog.numeric
            FROM pg_catalog.generate_series(
                pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), $2),
                COALESCE($3, pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.+) '1 hour'::pg_catalog.interval,
                ('1 ' OPERATOR(pg_catalog.||) counter_ext.check_step($4, $2, $3))::pg_catalog.interval) AS s (at)
        UNION ALL
        SELECT pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), r.at), r.value
            FROM counter_ext.series_rows($1, pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), $2), $3, $4) AS r) AS b (bucket, value)
    WHERE $1 IS NOT NULL AND $2 IS NOT NULL AND b.bucket OPERATOR(pg_catalog.<) COALESCE($3, pg_catalog.clock_timestamp())
    GROUP BY b.bucket ORDER BY b.bucket;
END;
CREATE FUNCTION counter_series(id counter, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_series(id bigint, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;
CREATE FUNCTION counter_series(id uuid, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;

CREATE FUNCTION counter_total(id text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1, $2, $3); END;
CREATE FUNCTION counter_total(id counter, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_total(id bigint, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_total(id uuid, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;

CREATE FUNCTION counter_rate(id text, "window" interval DEFAULT '5 minutes') RETURNS double precision
    AS 'MODULE_PATHNAME', 'counter_rate_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_rate(id counter, "window" interval DEFAULT '5 minutes') RETURNS double precision
    AS 'MODULE_PATHNAME', 'counter_rate_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_rate(id bigint, "window" interval DEFAULT '5 minutes') RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_rate($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_rate(id uuid, "window" interval DEFAULT '5 minutes') RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_rate($1::pg_catalog.text, $2); END;
CREATE FUNCTION counter_trending(prefix text, "window" interval DEFAULT '1 hour', n integer DEFAULT 10)
    RETURNS TABLE (id text, gained numeric)
    AS 'MODULE_PATHNAME', 'counter_trending_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
"#,
    name = "counter_series_sql",
    requires = [
        "counter_series_tables",
        "foreign_change_triggers",
        counter_incr_at,
        counter_rate,
        counter_trending,
        counter_ext::series_total,
        counter_ext::series_rows,
        counter_ext::check_step,
        counter_ext::note_tracked_change
    ]
);
