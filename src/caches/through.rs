//! Counts of rows by what a row of another table names: of chapters by their book's author.
//!
//! A counter is the sum, over the middle table's rows that name it, of what the counted rows of that key count for. A change on either
//! side is multiplied by the other side as it was counted so far: first one statement's chapters by the books of before, then its
//! books by the chapters with those. Whichever trigger fires first, the sum is right; with both sides as they are in the tables, a
//! statement that changes both (a cascade, or a WITH query) would count their product twice, or never.
//!
//! "As it was counted so far" is what a snapshot shows without this transaction's own changes, and what this transaction has
//! counted since (`overlay`). Two transactions must not each miss the other's change: whoever changes counted rows shares their
//! middle row's key, whoever changes a middle row holds it exclusively, to the end of the transaction. The lock comes before the
//! snapshot. Past 64 keys a transaction holds them all, where nobody else holds any: two that hold some, as row triggers come to, would each
//! wait for the other. Where a foreign key stands, a new middle row takes no lock of its own: no row refers to it yet. Rows come all the same
//! where nobody looks at foreign keys, in a replica's role or with triggers off. So whoever writes one without a middle row waits for
//! all who add middle rows, who wait for none of each other, and looks again.
//!
//! Locks, in order: the cache's middle rows, one of them (by number), its new middle rows, then what counting takes. A crash leaves nothing.
//!
//! BOUND: what SQL says of one table's columns; what grows with rows is asked for.

use super::opened::{Opened, OpenedMiddle};
use super::so_far::{self, SoFar};
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::confined::{self, Confined};
use crate::pg::counted::{Counted, Equality};
use crate::pg::lock::{self, Hold, Subject};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::Source;
use crate::pg::spi::{Parameter, Spi, text_array, whole_number};
use crate::pg::table_query::{Condition, TableQuery};
use crate::pg::xact;
use crate::pg::{Oid, process};
use crate::rows::access::Tables;

const WHAT: &str = "changes of a cache through another table";

/// Keys that are asked for, and added, in one query.
pub const BATCH: usize = 1000;

/// Locks of single keys that a transaction takes for a cache where it can have all at once, and where it would have to wait for all
/// while it holds some.
const MANY_KEYS: usize = 64;
const MOST_KEYS: usize = 512;

/// A cache on its way to be counted.
pub struct Cache<'a> {
    pub tables: Tables,
    pub prefix: &'a [u8],
    /// The counted table's, with whose rights is counted. He may read both tables.
    pub owner: Oid,
}

/// A query of one of the two tables, for some keys. It runs with the rights of that table's owner, as a foreign key's does: what he has put
/// into an index runs as it is planned.
pub struct Query {
    reader: Oid,
    query: TableQuery,
    /// The type of the keys in `$1`.
    key_type: Oid,
}

/// A net change of what the rows of a key count for.
pub type Change = (Box<[u8]>, i128);

/// Takes what a counter, by the rest of its id, is to be changed by.
pub type Count<'a> = dyn FnMut(&[u8], i128) -> Result<(), CounterError> + 'a;

/// Net changes of what counted rows count for, by their key.
pub fn rows_changed(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    changes: &[Change],
    count: &mut Count<'_>,
) -> Result<(), CounterError> {
    middle.check_is_read_by(cache.owner)?;
    cache.lock(changes.iter().map(|(key, _)| &**key), Hold::SomeShared)?;
    let missing = count_rows(cache, opened, middle, changes, count)?;
    if !missing.is_empty() {
        count_arriving(cache, opened, middle, &missing, count)?;
    }
    let level = xact::nest_level();
    so_far::with(cache.prefix, |so_far| {
        for (key, delta) in changes {
            so_far.rows.add(level, key, b"", *delta)?;
        }
        Ok(())
    })
}

/// Counts changes of rows by the middle rows as they were counted so far. Returns those that have none.
pub fn count_rows<'c>(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    changes: &'c [Change],
    count: &mut Count<'_>,
) -> Result<Vec<&'c Change>, CounterError> {
    let base = so_far::with(cache.prefix, |so_far| Ok(so_far.middles.base()))?;
    let changes: Vec<&Change> = fallible::collect(changes, WHAT)?;
    let mut missing = count_shown(opened, middle, (&changes, base), count)?;
    so_far::with(cache.prefix, |so_far| {
        for (key, delta) in changes {
            for (to, net) in so_far.middles_of(key) {
                count(to, net * delta)?;
            }
        }
        missing.retain(|(key, _)| so_far.middles_of(key).next().is_none());
        Ok(())
    })?;
    Ok(missing)
}

/// Counts changes of rows by the middle rows that a snapshot shows, without this transaction's own since a command. Returns those that
/// have none there.
fn count_shown<'c>(
    opened: &Opened,
    middle: &OpenedMiddle,
    (changes, base): (&[&'c Change], u32),
    count: &mut Count<'_>,
) -> Result<Vec<&'c Change>, CounterError> {
    let query = middle_query(middle, opened);
    let mut missing = Vec::new();
    for batch in changes.chunks(BATCH) {
        let found = query.ask(base, batch.iter().map(|(key, _)| &**key))?;
        let mut sorted: Vec<(&'c Change, bool)> =
            fallible::collect(batch.iter().map(|change| (*change, false)), WHAT)?;
        sorted.sort_unstable_by(|((one, _), _), ((other, _), _)| one.cmp(other));
        for (key, to) in found {
            if let Ok(at) = sorted.binary_search_by(|((other, _), _)| (**other).cmp(&key)) {
                sorted[at].1 = true;
                if let Some(to) = to {
                    count(&to, sorted[at].0.1)?;
                }
            }
        }
        for (change, _) in sorted.into_iter().filter(|(_, is_found)| !is_found) {
            fallible::push(&mut missing, change, WHAT)?;
        }
    }
    Ok(missing)
}

/// Counts changes of rows without a middle row by those that others have added meanwhile. Where a foreign key stands these have taken no
/// lock on their key.
fn count_arriving(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    missing: &[&Change],
    count: &mut Count<'_>,
) -> Result<(), CounterError> {
    if !has_foreign_key(opened, middle)? {
        return Ok(());
    }
    // The same command may add them, and its trigger for them comes after this one.
    let with_own = xact::current_command().saturating_add(1);
    let missing = count_shown(opened, middle, (missing, with_own), &mut |_, _| Ok(()))?;
    if missing.is_empty() {
        return Ok(());
    }
    lock::hold(cache.tables.total, cache.new_middles(), Hold::Shared);
    let base = so_far::with(cache.prefix, |so_far| Ok(so_far.middles.base()))?;
    count_shown(opened, middle, (&missing, base), count)?;
    Ok(())
}

/// A net change of how many rows of the middle table have a key and name a counter.
pub struct Moved {
    pub by: Vec<u8>,
    pub to: Vec<u8>,
    pub net: i128,
}

/// Net changes of the middle table's rows, and whether all of them are rows that were not there before.
pub fn middles_changed(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    (changes, are_inserted): (&[Moved], bool),
    count: &mut Count<'_>,
) -> Result<(), CounterError> {
    let is_new = |moved: &Moved, so_far: &SoFar| {
        are_inserted
            && so_far.rows_of(&moved.by).next().is_none()
            && so_far.middles_of(&moved.by).next().is_none()
    };
    let has_new = so_far::with(cache.prefix, |so_far| Ok(changes.iter().any(|moved| is_new(moved, so_far))))?;
    // In a replica's role foreign keys are not looked at.
    let stands = has_new && !process::is_replica() && has_foreign_key(opened, middle)?;
    let mut taken: Vec<&[u8]> = Vec::new();
    so_far::with(cache.prefix, |so_far| {
        for moved in changes {
            if !(stands && is_new(moved, so_far)) {
                fallible::push(&mut taken, moved.by.as_slice(), WHAT)?;
            }
        }
        Ok(())
    })?;
    cache.lock(taken.into_iter(), Hold::SomeExclusive)?;
    if stands {
        lock::hold(cache.tables.total, cache.new_middles(), Hold::SomeExclusive);
    }
    count_middles(cache, opened, middle, changes, count)?;
    let level = xact::nest_level();
    so_far::with(cache.prefix, |so_far| {
        for Moved { by, to, net } in changes {
            so_far.middles.add(level, by, to, *net)?;
        }
        Ok(())
    })
}

/// Counts changes of middle rows by the rows as they were counted so far.
pub fn count_middles(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    changes: &[Moved],
    count: &mut Count<'_>,
) -> Result<(), CounterError> {
    let mut keys: Vec<&[u8]> = fallible::collect(changes.iter().map(|moved| moved.by.as_slice()), WHAT)?;
    keys.sort_unstable();
    keys.dedup();
    let query = rows_query(opened, middle);
    let base = so_far::with(cache.prefix, |so_far| Ok(so_far.rows.base()))?;
    let mut sums: Vec<(Vec<u8>, i128)> = Vec::new();
    for batch in keys.chunks(BATCH) {
        for (key, amount) in query.ask(base, batch.iter().copied())? {
            let Some(amount) = amount else { continue };
            fallible::push(&mut sums, (key, whole_number(&amount)?), WHAT)?;
        }
    }
    sums.sort_unstable();
    so_far::with(cache.prefix, |so_far| {
        for Moved { by, to, net } in changes {
            let shown = sums.binary_search_by(|(key, _)| key.cmp(by)).map_or(0, |at| sums[at].1);
            let own: i128 = so_far.rows_of(by).sum();
            if shown + own != 0 {
                count(to, net * (shown + own))?;
            }
        }
        Ok(())
    })
}

/// The two columns of a row, of which the second may be NULL.
pub type Texts = (Vec<u8>, Option<Vec<u8>>);

impl Cache<'_> {
    fn new_middles(&self) -> Subject {
        Subject::NewMiddles(lock::id_hash(self.prefix))
    }

    fn lock<'k>(&self, keys: impl Iterator<Item = &'k [u8]>, some: Hold) -> Result<(), CounterError> {
        let hash = |key: &[u8]| lock::key_hash(self.prefix.iter().chain([&0]).chain(key));
        let mut numbers: Vec<u32> = Vec::new();
        for key in keys {
            fallible::push(&mut numbers, hash(key), WHAT)?;
        }
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Ok(());
        }
        let (held, keys) = so_far::with(self.prefix, |so_far| {
            let held = so_far.locked.len();
            for number in &numbers {
                if so_far.locked.len() <= MOST_KEYS && !so_far.locked.contains(number) {
                    fallible::push(&mut so_far.locked, *number, WHAT)?;
                }
            }
            Ok((held, so_far.locked.len()))
        })?;
        let all = Subject::Middles(lock::id_hash(self.prefix));
        let each = if some == Hold::SomeShared { Hold::Shared } else { Hold::Exclusive };
        if keys > MOST_KEYS || keys > MANY_KEYS && held == 0 {
            lock::hold(self.tables.total, all, each);
            return Ok(());
        }
        if keys > MANY_KEYS && lock::try_hold(self.tables.total, all, each) {
            return Ok(());
        }
        lock::hold(self.tables.total, all, some);
        for number in numbers {
            lock::hold(self.tables.total, Subject::Middle(number), each);
        }
        Ok(())
    }
}

impl Query {
    /// The same of keys as a column of these rows has them.
    pub fn by_keys_of(self, source: &Source, counted: &Counted) -> Query {
        Query { key_type: Equality::of(source, counted.key()).operand(), ..self }
    }

    /// The pairs of texts that it has for keys, without this transaction's own changes since a command.
    pub fn ask<'k>(
        &self,
        base: u32,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Texts>, CounterError> {
        let keys = text_array(keys)?;
        confined::as_owner_of_all_rows(self.reader, |confined: &Confined<'_>| {
            let active = ActiveSnapshot::push_latest_before(base);
            let spi = Spi::connect(confined)?;
            let keys = Parameter::Array { element: self.key_type, text: &keys };
            let rows = spi.rows_of(&self.query, &[keys])?;
            drop(spi);
            drop(active);
            let pair = |row: Vec<Option<Vec<u8>>>| {
                let mut columns = row.into_iter();
                Some((columns.next()??, columns.next()?))
            };
            Ok(fallible::collect(rows.into_iter().filter_map(pair), WHAT)?)
        })
    }
}

/// The rows of the middle table of some keys, which are those of counted rows: their key, and what they name, if anything.
pub fn middle_query(middle: &OpenedMiddle, opened: &Opened) -> Query {
    let source = &middle.source;
    let key_type = Equality::of(&opened.source, opened.counted.key()).operand();
    let is_meant = is_one_of(source, &middle.by, "m");
    let sql = [
        b"SELECT ".as_slice(),
        &middle.by.key_sql(source, "m"),
        b", CASE WHEN ",
        &middle.to.condition_sql(source, "m"),
        b" THEN ",
        &middle.to.key_sql(source, "m"),
        b" END FROM ",
        &source.what_triggers_see(),
        b" AS m WHERE ",
        &is_meant.sql,
    ]
    .concat();
    let query = TableQuery::of(sql, &[source.oid()]).with(Some(&is_meant));
    Query { reader: source.owner(), query, key_type }
}

/// What the counted rows of some keys count for, which are those of middle rows.
pub fn rows_query(opened: &Opened, middle: &OpenedMiddle) -> Query {
    let Opened { source, counted, .. } = opened;
    let is_meant = is_one_of(source, counted, "c");
    Query {
        reader: source.owner(),
        query: counted.count_query_where(source, Some(&is_meant)),
        key_type: Equality::of(&middle.source, middle.by.key()).operand(),
    }
}

/// The condition that a column has one of the values in `$1`, which are of a type that it can be compared with.
fn is_one_of(source: &Source, counted: &Counted, alias: &str) -> Condition {
    let column = counted.key();
    let equality = Equality::of(source, column);
    let side = equality.side(&source.column_sql(alias, column.number()));
    equality.holds(&side, b"ANY ($1)")
}

/// Whether a foreign key keeps every counted row's key in the middle table, at the end of each statement.
fn has_foreign_key(opened: &Opened, middle: &OpenedMiddle) -> Result<bool, CounterError> {
    let query = format!(
        "SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.contype OPERATOR(pg_catalog.=) 'f'::\"char\"
            AND k.conrelid OPERATOR(pg_catalog.=) {}::pg_catalog.oid AND k.confrelid OPERATOR(pg_catalog.=) {}::pg_catalog.oid
            AND k.conkey OPERATOR(pg_catalog.=) ARRAY[{}]::pg_catalog.int2[] AND k.confkey OPERATOR(pg_catalog.=) ARRAY[{}]::pg_catalog.int2[]
            AND k.convalidated AND NOT k.condeferrable",
        u32::from(opened.source.oid()),
        u32::from(middle.source.oid()),
        opened.counted.key().number(),
        middle.by.key().number(),
    );
    confined::as_caller(|confined| {
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let rows = spi.rows(query.as_bytes())?;
        drop(spi);
        drop(active);
        Ok(!rows.is_empty())
    })
}
