//! Counter caches: `counter_rows`, `counter_cache`, `counter_backfill`, `counter_verify`.

use pgrx::prelude::*;

use crate::caches::{self, Definition};
use crate::errors::{CounterError, OrRaise, given};
use crate::fallible;
use crate::likes::drift as likes;
use crate::pg::Oid;
use crate::pg::args::{RelationArg, TextArg, TextBytes};
use crate::pg::trigger::{NoTuple, TriggerCall};

/// Trigger function: counts the rows of a table by a column, into the counters whose ids are a prefix and the column's text.
#[pg_extern(sql = false, name = "counter_rows")]
fn counter_rows(call: TriggerCall<'_>) -> NoTuple {
    caches::fired(call).or_raise();
    NoTuple
}

/// Has counters count a table's rows from now on: `counter_get(prefix || key)` is the number of rows whose `column` is `key`.
/// Makes the triggers that are missing and fills the counters, in one transaction, which writers of the table wait for.
/// Returns how many counters were changed. Of a partitioned table all partitions' rows are counted, of any other its own only.
/// The triggers count with the rights of the table's owner. All counters under the prefix are the cache's own: where one has
/// counted something else before, it is left, and 55000 raised, unless `take_over`.
///
/// Errors: 22004 NULL argument; 22023 no id can begin with the prefix, or a row's key makes too long an id; 42703 no such column;
/// 0A000 the column's type has no text of its own; 42501 no TRIGGER or SELECT privilege on the table, or the caller or the
/// table's owner may not count; 55000 another table, or column, is counted under this prefix; 55006 the table is in use by
/// the caller's own query; 25006 read-only transaction.
#[pg_extern]
fn counter_cache(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
    take_over: default!(Option<bool>, false),
) -> i64 {
    let install = || {
        let (table, definition) = checked(table, prefix, column)?;
        caches::install(table, &definition, given("take_over", take_over)?)
    };
    install().or_raise()
}

/// Adds to each counter of a table's rows what it differs from them by, while writers go on. Counters of keys that no row has
/// are brought to 0 too, unless the prefix is empty: then they could be anybody's. Looks at what has committed when it begins,
/// at any isolation level, and at the caller's own changes. Returns how many counters were changed.
///
/// Errors: those of `counter_cache`; 55000 no triggers keep the counters.
#[pg_extern]
fn counter_backfill(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
) -> i64 {
    checked(table, prefix, column)
        .and_then(|(table, definition)| caches::backfill(table, &definition, "counter_backfill", true))
        .or_raise()
}

/// The counters that differ from the table's rows, with both numbers; no row when all is right. With `repair` they are mended as
/// `counter_backfill` does it, and shown as they were. Without, nothing is locked, and it works on a standby. `counted` is NULL
/// where the counter's total is outside bigint.
///
/// Errors: those of `counter_backfill`, of which 55000 only with `repair`; 42501 SELECT on counter_ext.total is missing.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn counter_verify(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
    repair: default!(Option<bool>, false),
) -> TableIterator<'static, (name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, i64))> {
    let verify = || {
        let (table, definition) = checked(table, prefix, column)?;
        caches::verify(table, &definition, given("repair", repair)?)
    };
    TableIterator::new(verify().or_raise().into_iter().map(|difference| {
        (TextBytes(difference.id), i64::try_from(difference.counted).ok(), difference.rows)
    }))
}

/// As above, for all caches of the database and for likes, each by the name of its table; a like's id is its item. What cannot be
/// verified is passed over, and a WARNING says why. After a restore that fired no triggers this call, with `repair`, makes
/// all counts right.
///
/// Errors: 22004 NULL argument; 42501 SELECT on a table or on counter_ext.total or counter_ext.liked is missing, or, to repair, INSERT
/// and UPDATE on counter_ext.total, or INSERT on counter_ext.liked; 25006 read-only transaction, to repair.
#[pg_extern(name = "counter_verify")]
#[allow(clippy::type_complexity)]
fn counter_verify_all(
    repair: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (name!(source, TextBytes), name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, i64)),
> {
    TableIterator::new(verify_all(repair).or_raise())
}

const WHAT: &str = "counters that differ from their rows";

type SourcedDifference = (TextBytes, TextBytes, Option<i64>, i64);

fn verify_all(repair: Option<bool>) -> Result<Vec<SourcedDifference>, CounterError> {
    let repair = given("repair", repair)?;
    let mut all = Vec::new();
    let mut add = |source: &[u8], id: Vec<u8>, counted: i128, rows: i64| {
        let source = TextBytes(fallible::copy(source, WHAT)?);
        fallible::push(&mut all, (source, TextBytes(id), i64::try_from(counted).ok(), rows), WHAT)
    };
    for (table, definition) in caches::all()? {
        let source = caches::source_name(table)?;
        match caches::verify(table, &definition, repair) {
            Ok(differences) => {
                for difference in differences {
                    add(&source, difference.id, difference.counted, difference.rows)?;
                }
            }
            Err(error) => error.warn(),
        }
    }
    let (source, differences) = likes::verify(repair)?;
    for difference in differences {
        add(&source, difference.item, difference.counted, difference.likes)?;
    }
    Ok(all)
}

fn checked(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
) -> Result<(Oid, Definition), CounterError> {
    let table = given("table", table)?;
    let definition = Definition::new(given("prefix", prefix)?.0, given("column", column)?.0)?;
    Ok((table.0, definition))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_rows() RETURNS trigger AS 'MODULE_PATHNAME', 'counter_rows_wrapper' LANGUAGE c;
COMMENT ON FUNCTION counter_rows() IS 'trigger function (prefix, column): counts the rows of a table by a column';
COMMENT ON FUNCTION counter_cache(regclass, text, text, boolean) IS 'has counters count the rows of a table by a column from now on';
COMMENT ON FUNCTION counter_backfill(regclass, text, text) IS 'brings counters of a table''s rows to what the rows say, while writers go on';
COMMENT ON FUNCTION counter_verify(regclass, text, text, boolean) IS 'counters that differ from the rows they count; repair => true mends them';
COMMENT ON FUNCTION counter_verify(boolean) IS 'all caches and likes whose counters differ from the rows they count; repair => true mends them';
"#,
    name = "counter_caches",
    requires = [counter_cache, counter_backfill, counter_verify, counter_verify_all]
);
