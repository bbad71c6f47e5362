//! Unique visitors: `counter_visit`, `counter_visited`, `counter_visitors_add`, `counter_visitors` and the union over several ids.

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::hll::rounded;
use super::increments::valid_ids;
use crate::counting::change;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::hll::Sketch;
use crate::limits;
use crate::owners::{self, check_id};
use crate::pg::args::{CounterArg, SketchArg, TextArg, TextArray};
use crate::pg::naming::id_name_of;
use crate::pg::process;
use crate::sharding::batches;
use crate::visitors::rows::{Days, EVER};
use crate::visitors::visitor::Visitor;
use crate::visitors::{read, visit};

/// Notes that `visitor` has seen the id on the day `at` (NULL: today, in the zone of counter_ext.time_zone), in the caller's transaction, and adds `views` to the counter of the
/// same id. Returns true when the visitor had never been there before: exactly so up to 1280 visitors; past that a visitor
/// that the sketch cannot tell from those it has seen counts as seen. Never waits for another transaction's visit, and
/// writes nothing where it changes nothing. A NULL visitor, nobody knows who, counts as a view only, and gives NULL.
///
/// An integer of any width and its text are one visitor, and so are all spellings of a uuid. One on the block list visits nothing: false,
/// and `views` are added to what counter_filtered(id) returns.
///
/// Errors: 22023 empty or over-long id; 22008 `at` is more than 366 days ago, later than tomorrow, or infinite; 42883 visitors of that type
/// cannot be hashed; 25006 read-only transaction or standby; 42501 INSERT or UPDATE on counter_ext.visitors is missing, or, for `views`,
/// on counter_ext.total.
#[pg_extern]
fn counter_visit(
    id: Option<CounterArg<'_>>,
    visitor: Option<AnyElement>,
    views: default!(Option<i64>, 0),
    at: default!(Option<Date>, "NULL"),
) -> Option<bool> {
    visit_of(id?.0, visitor.as_ref().map(Visitor::of), views?, at).or_raise()
}

/// As above, for text: an untyped literal is text.
#[pg_extern(name = "counter_visit")]
fn counter_visit_text(
    id: Option<CounterArg<'_>>,
    visitor: Option<TextArg<'_>>,
    views: default!(Option<i64>, 0),
    at: default!(Option<Date>, "NULL"),
) -> Option<bool> {
    visit_of(id?.0, visitor.as_ref().map(|text| Ok(Visitor::of_text(text.0))), views?, at).or_raise()
}

/// As above, for an id that is an integer or a uuid.
#[pg_extern(sql = false)]
fn counter_visit_of(
    id: Option<AnyElement>,
    visitor: Option<AnyElement>,
    views: Option<i64>,
    at: Option<Date>,
) -> Option<bool> {
    let (id, views) = (id?, views?);
    let visit = || {
        let name = id_name_of("id", &id)?;
        visit_of(name.bytes(), visitor.as_ref().map(Visitor::of), views, at)
    };
    visit().or_raise()
}

fn visit_of(
    id: &[u8],
    visitor: Option<Result<Visitor<'_>, CounterError>>,
    views: i64,
    at: Option<Date>,
) -> Result<Option<bool>, CounterError> {
    check_id(id)?;
    let visitor = visitor.transpose()?;
    let tables = visit::enter("counter_visit")?;
    let day = visit::day_of_visit(at.map(process::day_number))?;
    if limits::turns_away(id, || visitor.as_ref().and_then(Visitor::name))? {
        if views != 0 {
            limits::count_filtered(change::enter("counter_visit")?, id, views)?;
        }
        return Ok(visitor.map(|_| false));
    }
    if views != 0 {
        change::increment(change::enter("counter_visit")?, id, views)?;
    }
    visitor.map(|visitor| visit::visit(tables, id, day, visitor.hash)).transpose()
}

/// Whether `visitor` has ever been seen at the id: exactly so up to 1280 visitors; past that also one whom the sketch cannot tell from those
/// it has seen. Fresh, with the caller's own visits.
///
/// Errors: 22023 empty or over-long id; 42883 visitors of that type cannot be hashed; 42501 SELECT on counter_ext.visitors is missing.
#[pg_extern(strict, parallel_restricted)]
fn counter_visited(id: TextArg<'_>, visitor: TextArg<'_>) -> bool {
    has_visited(id.0, &Visitor::of_text(visitor.0)).or_raise()
}

/// As above, for ids and visitors of other types.
#[pg_extern(sql = false)]
fn counter_visited_of(id: AnyElement, visitor: AnyElement) -> bool {
    let visited = || has_visited(id_name_of("id", &id)?.bytes(), &Visitor::of(&visitor)?);
    visited().or_raise()
}

fn has_visited(id: &[u8], visitor: &Visitor<'_>) -> Result<bool, CounterError> {
    check_id(id)?;
    read::has_seen(read::enter()?, id, visitor.hash)
}

/// Notes that all whom a sketch has seen were there on the day `at`, as that many calls of `counter_visit` would:
/// for days that another system counted. A sketch of larger `log2m` or `regwidth` than 14 and 5 is folded. Returns whether somebody among
/// them had never been there before. A visitor's hash is that of the text: `counter_hll_agg(user_id::text)`.
///
/// Errors: those of `counter_visit`, where `at` may be any day of the past; 22023 the sketch has fewer or narrower registers, or is undefined.
#[pg_extern(strict)]
fn counter_visitors_add(id: TextArg<'_>, sketch: SketchArg<'_>, at: Date) -> bool {
    let add = || {
        check_id(id.0)?;
        let tables = visit::enter("counter_visitors_add")?;
        visit::visit_all(tables, id.0, process::day_number(at), &Sketch::decode(sketch.0)?)
    };
    add().or_raise()
}

/// Unique visitors of an id: ever, or from one day to another, both included; NULL leaves an end open. Includes
/// everything committed before the call began, and the caller's own visits. Exact up to 1280 visitors, then an estimate
/// with a standard error of 0.81 %. 0 when nobody was there.
///
/// Errors: 22023 empty or over-long id; 42501 SELECT on counter_ext.visitors is missing.
#[pg_extern(parallel_restricted)]
fn counter_visitors(
    id: Option<CounterArg<'_>>,
    from: default!(Option<Date>, "NULL"),
    to: default!(Option<Date>, "NULL"),
) -> Option<i64> {
    let id = id?;
    let count = || {
        check_id(id.0)?;
        rounded(&read::sketch(read::enter()?, id.0, days(from, to))?)
    };
    Some(count().or_raise())
}

/// Unique visitors of several ids together: one who was at two of them counts once.
///
/// Errors: those of `counter_visitors`; 22004 NULL array or element, 2202E more than one dimension.
#[pg_extern(parallel_restricted)]
fn counter_visitors_union(
    ids: Option<TextArray<'_>>,
    from: default!(Option<Date>, "NULL"),
    to: default!(Option<Date>, "NULL"),
) -> i64 {
    let count = || {
        let ids = fallible::collect(valid_ids(ids)?, "a batch")?;
        if owners::are_spread()? {
            return rounded(&batches::unite(&ids, days(from, to))?);
        }
        owners::check_serves()?;
        rounded(&batches::unite_here(ids.iter().copied(), days(from, to))?)
    };
    count().or_raise()
}

/// Open ends take in every day there is.
fn days(from: Option<Date>, to: Option<Date>) -> Days {
    if from.is_none() && to.is_none() {
        return Days::Ever;
    }
    let first = from.map_or(EVER + 1, |day| process::day_number(day).max(EVER + 1));
    Days::Range(first, to.map_or(i32::MAX, process::day_number))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_visit(id text, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id text, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_text_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id bigint, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id bigint, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id uuid, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id uuid, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visited(id text, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id counter, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id counter, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id bigint, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id bigint, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id uuid, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visited(id uuid, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_visitors(id text, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_visitors_wrapper' LANGUAGE c VOLATILE PARALLEL RESTRICTED;
CREATE FUNCTION counter_visitors(id bigint, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_visitors($1::pg_catalog.text::@extschema@.counter, $2, $3); END;
CREATE FUNCTION counter_visitors(id uuid, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_visitors($1::pg_catalog.text::@extschema@.counter, $2, $3); END;
CREATE FUNCTION counter_visitors_add(id counter, sketch counter_hll, at date) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visitors_add_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_visitors_add(id bigint, sketch counter_hll, at date) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_visitors_add($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_visitors_add(id uuid, sketch counter_hll, at date) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_visitors_add($1::pg_catalog.text, $2, $3); END;
"#,
    name = "counter_visitors_bigint",
    requires = [counter_visitors, counter_visit, counter_visited, counter_visitors_add, "counter_hll"]
);

extension_sql_file!("../../sql/visitors.sql", name = "counter_visitors_tables", requires = ["counter_hll"]);
