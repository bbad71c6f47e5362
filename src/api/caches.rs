//! Counter caches: `counter_rows`, `counter_cache`, `counter_backfill`, `counter_verify`.

use std::ffi::CString;

use pgrx::prelude::*;

use crate::caches::{self, Definition, Difference};
use crate::errors::{CounterError, OrRaise, given};
use crate::fallible;
use crate::likes::drift as likes;
use crate::pg::Oid;
use crate::pg::args::{RelationArg, TextArg, TextArray, TextBytes};
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
/// With `amount`, a column of type smallint, integer or bigint, the counter is its sum; NULL counts for 0. With `only`, a column of
/// type boolean, rows count that have true there; an expression is a generated column's. With `through`, `table.column` of a
/// middle table, `column` is a key of that table, and the counter is named by what the middle row has in that column; it follows when
/// the middle row changes. The key refers to what a foreign key of it says, or to the middle table's primary key.
///
/// Errors: 22004 NULL argument; 22023 no id can begin with the prefix, a row's key makes too long an id, or `through` is no such name;
/// 42703 no such column; 42P01 no such middle table; 42830 the key does not refer to it; 42804 nor is of its type; 0A000 the
/// column's type has no text of its own, or is not one of those above; 42501 no TRIGGER or SELECT privilege on the table, or the
/// caller or the table's owner may not count; 55000 another table, or column, is counted under this prefix; 55006 the table is in
/// use by the caller's own query; 25006 read-only transaction.
#[pg_extern]
fn counter_cache(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
    amount: default!(Option<TextArg<'_>>, "NULL"),
    only: default!(Option<TextArg<'_>>, "NULL"),
    through: default!(Option<TextArg<'_>>, "NULL"),
    take_over: default!(Option<bool>, false),
) -> i64 {
    let install = || {
        let table = given("table", table)?.0;
        let keys = [given("column", column)?.0];
        cache(
            table,
            given("prefix", prefix)?.0,
            &keys,
            Options { amount, only, through },
            given("take_over", take_over)?,
        )
    };
    install().or_raise()
}

/// As above, with a key of several columns: the id goes on with the columns' texts, a colon between each two. Where more than one of
/// them could have a colon in its own text, a colon is written `\:` there and a backslash `\\`. A row with NULL in one of them is
/// not counted.
///
/// Errors: as above; 0A000 `through`.
#[pg_extern(name = "counter_cache")]
fn counter_cache_by_columns(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    columns: Option<TextArray<'_>>,
    amount: default!(Option<TextArg<'_>>, "NULL"),
    only: default!(Option<TextArg<'_>>, "NULL"),
    through: default!(Option<TextArg<'_>>, "NULL"),
    take_over: default!(Option<bool>, false),
) -> i64 {
    let install = || {
        let table = given("table", table)?.0;
        let keys = given_columns(columns)?;
        cache(
            table,
            given("prefix", prefix)?.0,
            &keys,
            Options { amount, only, through },
            given("take_over", take_over)?,
        )
    };
    install().or_raise()
}

/// As above, with `take_over` as the fourth argument.
///
/// Errors: as above.
#[pg_extern(name = "counter_cache")]
fn counter_cache_taking_over(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
    takes_over: Option<bool>,
) -> i64 {
    let install = || {
        let table = given("table", table)?.0;
        let keys = [given("column", column)?.0];
        let options = Options { amount: None, only: None, through: None };
        cache(table, given("prefix", prefix)?.0, &keys, options, given("takes_over", takes_over)?)
    };
    install().or_raise()
}

/// Makes the triggers of a cache, and leaves its counters as they are: `sql/upgrade_from_0.1.0.sql` declares it, calls it and drops it.
///
/// Errors: those of `counter_cache`, but for those of rows and counters.
#[pg_extern(sql = false, name = "remake_cache")]
fn remake_cache(table: RelationArg<'_>, prefix: TextArg<'_>, column: TextArg<'_>) {
    let remake = || caches::remake(table.0, &Definition::new(prefix.0, &[column.0])?);
    remake().or_raise()
}

/// Adds to each counter of a table's rows what it differs from them by, while writers go on. Counters of keys that no row has
/// are brought to 0 too, unless the prefix is empty: then they could be anybody's. What is counted is what the triggers say. Looks
/// at what has committed when it begins, at any isolation level, and at the caller's own changes. Returns how many counters were
/// changed.
///
/// Errors: those of `counter_cache`; 55000 no triggers keep the counters.
#[pg_extern]
fn counter_backfill(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
) -> i64 {
    let keys = given("column", column).map(|column| [column.0]);
    keys.and_then(|keys| backfill(table, prefix, &keys)).or_raise()
}

/// As above, by a key of several columns.
///
/// Errors: as above.
#[pg_extern(name = "counter_backfill")]
fn counter_backfill_by_columns(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    columns: Option<TextArray<'_>>,
) -> i64 {
    given_columns(columns).and_then(|keys| backfill(table, prefix, &keys)).or_raise()
}

/// The counters that differ from the table's rows, with both numbers; no row when all is right. With `repair` they are mended as
/// `counter_backfill` does it, and shown as they were. Without, nothing is locked, and it works on a standby. `counted` is NULL
/// where the counter's total is outside bigint, and `rows` where theirs is. With `key`, the rest of an id after the prefix, only that
/// counter is looked at: its rows through an index of the key, if there is one.
///
/// Errors: those of `counter_backfill`, of which 55000 only with `repair`; 42501 SELECT on counter_ext.total is missing.
#[pg_extern]
#[allow(clippy::type_complexity)]
fn counter_verify(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    column: Option<TextArg<'_>>,
    repair: default!(Option<bool>, false),
    key: default!(Option<TextArg<'_>>, "NULL"),
) -> TableIterator<'static, (name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, Option<i64>))> {
    let keys = given("column", column).map(|column| [column.0]);
    shown(keys.and_then(|keys| verify(table, prefix, &keys, repair, key)).or_raise())
}

/// As above, by a key of several columns.
///
/// Errors: as above.
#[pg_extern(name = "counter_verify")]
#[allow(clippy::type_complexity)]
fn counter_verify_by_columns(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    columns: Option<TextArray<'_>>,
    repair: default!(Option<bool>, false),
    key: default!(Option<TextArg<'_>>, "NULL"),
) -> TableIterator<'static, (name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, Option<i64>))> {
    shown(given_columns(columns).and_then(|keys| verify(table, prefix, &keys, repair, key)).or_raise())
}

#[allow(clippy::type_complexity)]
fn shown(
    differences: Vec<Difference>,
) -> TableIterator<'static, (name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, Option<i64>))> {
    let bigint = |value| i64::try_from(value).ok();
    TableIterator::new(differences.into_iter().map(move |difference| {
        (TextBytes(difference.id), bigint(difference.counted), bigint(difference.rows))
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
    (name!(source, TextBytes), name!(id, TextBytes), name!(counted, Option<i64>), name!(rows, Option<i64>)),
> {
    TableIterator::new(verify_all(repair).or_raise())
}

const WHAT: &str = "counters that differ from their rows";

type SourcedDifference = (TextBytes, TextBytes, Option<i64>, Option<i64>);

fn verify_all(repair: Option<bool>) -> Result<Vec<SourcedDifference>, CounterError> {
    let repair = given("repair", repair)?;
    let mut all = Vec::new();
    let mut add = |source: &[u8], id: Vec<u8>, counted: i128, rows: i128| {
        let source = TextBytes(fallible::copy(source, WHAT)?);
        fallible::push(
            &mut all,
            (source, TextBytes(id), i64::try_from(counted).ok(), i64::try_from(rows).ok()),
            WHAT,
        )
    };
    for (table, definition) in caches::all()? {
        match caches::verify(table, &definition, repair, None) {
            Ok(differences) => {
                // Not before: naming the table takes a lock on it, which is for those who may read it.
                let source = caches::source_name(table)?;
                for difference in differences {
                    add(&source, difference.id, difference.counted, difference.rows)?;
                }
            }
            Err(error) => error.warn(),
        }
    }
    let (source, differences) = likes::verify(repair)?;
    for difference in differences {
        add(&source, difference.item, difference.counted, difference.likes.into())?;
    }
    Ok(all)
}

/// How rows are counted, beside their key.
struct Options<'a> {
    amount: Option<TextArg<'a>>,
    only: Option<TextArg<'a>>,
    through: Option<TextArg<'a>>,
}

fn cache(
    table: Oid,
    prefix: &[u8],
    keys: &[&[u8]],
    options: Options<'_>,
    takes_over: bool,
) -> Result<i64, CounterError> {
    let mut definition = Definition::new(prefix, keys)?;
    definition.amount = options.amount.map(|amount| column_name(amount.0)).transpose()?;
    definition.only = options.only.map(|only| column_name(only.0)).transpose()?;
    if let Some(through) = options.through {
        definition.through = Some(caches::through(table, &definition.keys, through.0)?);
    }
    caches::install(table, &definition, takes_over)
}

fn backfill(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    keys: &[&[u8]],
) -> Result<i64, CounterError> {
    let table = given("table", table)?.0;
    let definition = caches::of_table(table, given("prefix", prefix)?.0, keys)?;
    caches::backfill(table, &definition, "counter_backfill", true)
}

fn verify(
    table: Option<RelationArg<'_>>,
    prefix: Option<TextArg<'_>>,
    keys: &[&[u8]],
    repair: Option<bool>,
    key: Option<TextArg<'_>>,
) -> Result<Vec<Difference>, CounterError> {
    let table = given("table", table)?.0;
    let definition = caches::of_table(table, given("prefix", prefix)?.0, keys)?;
    caches::verify(table, &definition, given("repair", repair)?, key.map(|key| key.0))
}

/// Errors: 22004 NULL; 22023 no column.
fn given_columns(columns: Option<TextArray<'_>>) -> Result<Vec<&[u8]>, CounterError> {
    let columns = given("columns", columns)?;
    let null = |index| CounterError::NullElement { argument: "columns", position: index + 1 };
    let given = columns.elements().enumerate().map(|(index, column)| column.ok_or_else(|| null(index)));
    fallible::try_collect(given, "columns of a key")
}

fn column_name(name: &[u8]) -> Result<CString, CounterError> {
    // BOUND: an argument, which is at hand already.
    CString::new(name).map_err(|_| CounterError::Internal("a text with a NUL".to_owned()))
}

extension_sql!(
    r#"
CREATE FUNCTION counter_rows() RETURNS trigger AS 'MODULE_PATHNAME', 'counter_rows_wrapper' LANGUAGE c;
"#,
    name = "counter_caches",
    requires = [
        counter_cache,
        counter_cache_by_columns,
        counter_cache_taking_over,
        counter_backfill,
        counter_backfill_by_columns,
        counter_verify,
        counter_verify_by_columns,
        counter_verify_all
    ]
);
