//! Unique visitors: `counter_visit`, `counter_visitors` and the union over several ids.

use pgrx::AnyElement;
use pgrx::prelude::*;

use super::hll::rounded;
use super::increments::checked_ids;
use crate::counting::change;
use crate::errors::{CounterError, OrRaise, check_id};
use crate::pg::args::{CounterArg, TextArg, TextArray};
use crate::pg::{hashing, process};
use crate::visitors::rows::{Days, EVER};
use crate::visitors::{read, visit};

/// Notes that `visitor` has seen the id today (UTC), in the caller's transaction, and adds `views` to the counter of the same
/// id. Returns true when the visitor had never been there before: exactly so up to 1280 visitors; past that a visitor
/// that the sketch cannot tell from those it has seen counts as seen. Never waits for another transaction's visit, and
/// writes nothing where it changes nothing. A NULL visitor, nobody knows who, counts as a view only, and gives NULL.
///
/// Errors: 22023 empty or over-long id; 42883 visitors of that type cannot be hashed; 25006 read-only transaction or standby;
/// 42501 INSERT or UPDATE on counter_ext.visitors is missing, or, for `views`, on counter_ext.total.
#[pg_extern]
fn counter_visit(
    id: Option<CounterArg<'_>>,
    visitor: Option<AnyElement>,
    views: default!(Option<i64>, 0),
) -> Option<bool> {
    visited(id, visitor.as_ref().map(hashing::hash), views).or_raise()
}

/// As above, for text: an untyped literal is text.
#[pg_extern(name = "counter_visit")]
fn counter_visit_text(
    id: Option<CounterArg<'_>>,
    visitor: Option<TextArg<'_>>,
    views: default!(Option<i64>, 0),
) -> Option<bool> {
    visited(id, visitor.map(|text| Ok(hashing::hash_text(text.0))), views).or_raise()
}

/// As above, for an integer id.
#[pg_extern(name = "counter_visit")]
fn counter_visit_number(
    id: Option<i64>,
    visitor: Option<AnyElement>,
    views: default!(Option<i64>, 0),
) -> Option<bool> {
    let id = id.map(|id| id.to_string());
    let id = id.as_ref().map(|id| CounterArg(id.as_bytes()));
    visited(id, visitor.as_ref().map(hashing::hash), views).or_raise()
}

/// As above, for an integer id and text.
#[pg_extern(name = "counter_visit")]
fn counter_visit_number_text(
    id: Option<i64>,
    visitor: Option<TextArg<'_>>,
    views: default!(Option<i64>, 0),
) -> Option<bool> {
    let id = id.map(|id| id.to_string());
    let id = id.as_ref().map(|id| CounterArg(id.as_bytes()));
    visited(id, visitor.map(|text| Ok(hashing::hash_text(text.0))), views).or_raise()
}

fn visited(
    id: Option<CounterArg<'_>>,
    hash: Option<Result<u64, CounterError>>,
    views: Option<i64>,
) -> Result<Option<bool>, CounterError> {
    let (Some(id), Some(views)) = (id, views) else { return Ok(None) };
    check_id(id.0)?;
    let hash = hash.transpose()?;
    let tables = visit::enter("counter_visit")?;
    if views != 0 {
        change::increment(change::enter("counter_visit")?, id.0, views)?;
    }
    hash.map(|hash| visit::visit(tables, id.0, hash)).transpose()
}

/// Unique visitors of an id: ever, or from one day to another, both included and in UTC; NULL leaves an end open. Includes
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
        let ids = checked_ids(ids)?;
        rounded(&read::union(read::enter()?, ids, days(from, to))?)
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
CREATE FUNCTION counter_visit(id text, visitor anyelement, views bigint DEFAULT 0) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visit(id text, visitor text, views bigint DEFAULT 0) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_text_wrapper' LANGUAGE c VOLATILE;
CREATE FUNCTION counter_visitors(id text, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_visitors_wrapper' LANGUAGE c VOLATILE PARALLEL RESTRICTED;
CREATE FUNCTION counter_visitors(id bigint, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_visitors($1::pg_catalog.text::@extschema@.counter, $2, $3); END;
"#,
    name = "counter_visitors_bigint",
    requires = [counter_visitors]
);

extension_sql_file!("../../sql/visitors.sql", name = "counter_visitors_tables", requires = ["counter_hll"]);
