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
//! wait for the other. Where a foreign key stands, a new middle row takes no lock. Rows it may have all the same, by a session in a
//! replica's role; only one that writes them at the same moment is not seen.
//!
//! Locks, in order: the cache's middle rows, one of them (by number), then what counting takes. A crash leaves nothing.
//!
//! BOUND: what SQL says of one table's columns; what grows with rows is asked for.

use std::cell::RefCell;

use super::opened::{Opened, OpenedMiddle};
use super::overlay::Overlay;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::confined::{self, Confined};
use crate::pg::counted::{Counted, equality_sql, type_sql};
use crate::pg::lock::{self, Hold, Subject};
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::source::Source;
use crate::pg::spi::{Parameter, Spi, text_array, whole_number};
use crate::pg::xact::{self, Hooks};
use crate::pg::{Oid, process};
use crate::rows::access::Tables;

const WHAT: &str = "changes of a cache through another table";

/// Keys that are asked for, and added, in one query.
const BATCH: usize = 1000;

/// Locks of single keys that a transaction takes for a cache where it can have all at once, and where it would have to wait for all
/// while it holds some.
const MANY_KEYS: usize = 64;
const MOST_KEYS: usize = 512;

/// What a transaction has counted of a cache.
struct State {
    prefix: Vec<u8>,
    rows: Overlay,
    middles: Overlay,
    /// Keys that were locked, at most one more than `MOST_KEYS`.
    locked: Vec<u32>,
}

thread_local! {
    static STATES: RefCell<Vec<State>> = const { RefCell::new(Vec::new()) };
}

pub const HOOKS: Hooks = Hooks {
    pre_commit: || (),
    commit: forget,
    abort: forget,
    pre_prepare: || (),
    prepared: forget,
    savepoint_released: |level| each_overlay(|overlay| overlay.released(level)),
    savepoint_rolled_back: |level| each_overlay(|overlay| overlay.rolled_back(level)),
};

fn forget() {
    STATES.with_borrow_mut(|states| *states = Vec::new());
}

fn each_overlay(mut end: impl FnMut(&mut Overlay)) {
    STATES.with_borrow_mut(|states| {
        for state in states {
            end(&mut state.rows);
            end(&mut state.middles);
        }
    });
}

fn with_state<T>(
    prefix: &[u8],
    work: impl FnOnce(&mut State) -> Result<T, CounterError>,
) -> Result<T, CounterError> {
    STATES.with_borrow_mut(|states| {
        let at = match states.iter().position(|state| state.prefix == prefix) {
            Some(at) => at,
            None => {
                let state = State {
                    prefix: fallible::copy(prefix, WHAT)?,
                    rows: Overlay::default(),
                    middles: Overlay::default(),
                    locked: Vec::new(),
                };
                fallible::push(states, state, WHAT)?;
                states.len() - 1
            }
        };
        work(&mut states[at])
    })
}

/// The counters are about to be made what both tables say now, with this transaction's own changes, of which all are counted.
pub fn restart(prefix: &[u8]) -> Result<(), CounterError> {
    xact::see_own_changes();
    let (level, base) = (xact::nest_level(), xact::current_command());
    with_state(prefix, |state| {
        state.rows.restart(level, base)?;
        Ok(state.middles.restart(level, base)?)
    })
}

/// The counted rows are all gone, and so are the counters.
pub fn restart_rows(prefix: &[u8]) -> Result<(), CounterError> {
    with_state(prefix, |state| Ok(state.rows.restart(xact::nest_level(), 0)?))
}

/// The middle table's rows are all gone, and so are the counters.
pub fn restart_middles(prefix: &[u8]) -> Result<(), CounterError> {
    with_state(prefix, |state| Ok(state.middles.restart(xact::nest_level(), 0)?))
}

/// A cache on its way to be counted.
pub struct Cache<'a> {
    pub tables: Tables,
    pub prefix: &'a [u8],
    /// The counted table's, with whose rights both are read.
    pub owner: Oid,
}

/// Takes what a counter, by the rest of its id, is to be changed by.
pub type Count<'a> = dyn FnMut(&[u8], i128) -> Result<(), CounterError> + 'a;

/// Net changes of what counted rows count for, by their key.
pub fn rows_changed(
    cache: &Cache<'_>,
    opened: &Opened,
    middle: &OpenedMiddle,
    changes: &[(Box<[u8]>, i128)],
    count: &mut Count<'_>,
) -> Result<(), CounterError> {
    middle.check_is_read_by(cache.owner)?;
    cache.lock(changes.iter().map(|(key, _)| &**key), Hold::SomeShared)?;
    let query = middle_query(middle, opened);
    let base = with_state(cache.prefix, |state| Ok(state.middles.base()))?;
    for batch in changes.chunks(BATCH) {
        let found = cache.ask(base, &query, batch.iter().map(|(key, _)| &**key))?;
        let mut sorted: Vec<&(Box<[u8]>, i128)> = fallible::collect(batch, WHAT)?;
        sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (key, to) in found {
            if let Ok(at) = sorted.binary_search_by(|(other, _)| (**other).cmp(&key)) {
                count(&to, sorted[at].1)?;
            }
        }
    }
    let level = xact::nest_level();
    with_state(cache.prefix, |state| {
        for (key, delta) in changes {
            for (to, net) in state.middles.of(key) {
                count(to, net * delta)?;
            }
            state.rows.add(level, key, b"", *delta)?;
        }
        Ok(())
    })
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
    let is_new = |moved: &Moved, state: &State| {
        are_inserted
            && state.rows.of(&moved.by).next().is_none()
            && state.middles.of(&moved.by).next().is_none()
    };
    let has_new = with_state(cache.prefix, |state| Ok(changes.iter().any(|moved| is_new(moved, state))))?;
    // In a replica's role foreign keys are not looked at.
    let stands = has_new && !process::is_replica() && has_foreign_key(opened, middle)?;
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut taken: Vec<&[u8]> = Vec::new();
    with_state(cache.prefix, |state| {
        for moved in changes {
            fallible::push(&mut keys, moved.by.as_slice(), WHAT)?;
            if !(stands && is_new(moved, state)) {
                fallible::push(&mut taken, moved.by.as_slice(), WHAT)?;
            }
        }
        Ok(())
    })?;
    keys.sort_unstable();
    keys.dedup();
    cache.lock(taken.into_iter(), Hold::SomeExclusive)?;
    let query = rows_query(opened, middle);
    let base = with_state(cache.prefix, |state| Ok(state.rows.base()))?;
    let mut sums: Vec<(Vec<u8>, i128)> = Vec::new();
    for batch in keys.chunks(BATCH) {
        for (key, amount) in cache.ask(base, &query, batch.iter().copied())? {
            fallible::push(&mut sums, (key, whole_number(&amount)?), WHAT)?;
        }
    }
    sums.sort_unstable();
    let level = xact::nest_level();
    with_state(cache.prefix, |state| {
        for Moved { by, to, net } in changes {
            let shown = sums.binary_search_by(|(key, _)| key.cmp(by)).map_or(0, |at| sums[at].1);
            let own: i128 = state.rows.of(by).map(|(_, amount)| amount).sum();
            if shown + own != 0 {
                count(to, net * (shown + own))?;
            }
            state.middles.add(level, by, to, *net)?;
        }
        Ok(())
    })
}

/// The two columns of a row.
type Texts = (Vec<u8>, Vec<u8>);

impl Cache<'_> {
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
        let (held, keys) = with_state(self.prefix, |state| {
            let held = state.locked.len();
            for number in &numbers {
                if state.locked.len() <= MOST_KEYS && !state.locked.contains(number) {
                    fallible::push(&mut state.locked, *number, WHAT)?;
                }
            }
            Ok((held, state.locked.len()))
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

    /// The pairs of texts that a query has for keys, without this transaction's own changes since a command.
    fn ask<'k>(
        &self,
        base: u32,
        query: &[u8],
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Result<Vec<Texts>, CounterError> {
        let keys = text_array(keys)?;
        confined::as_owner_of_all_rows(self.owner, |confined: &Confined<'_>| {
            let active = ActiveSnapshot::push_latest_before(base);
            let spi = Spi::connect(confined)?;
            let rows = spi.rows_with(query, &[Parameter::Text(&keys)])?;
            drop(spi);
            drop(active);
            let pair = |row: Vec<Option<Vec<u8>>>| {
                let mut columns = row.into_iter().flatten();
                Some((columns.next()?, columns.next()?))
            };
            Ok(fallible::collect(rows.into_iter().filter_map(pair), WHAT)?)
        })
    }
}

/// The rows of the middle table of some keys, which are those of counted rows: their key, and what they name.
fn middle_query(middle: &OpenedMiddle, opened: &Opened) -> Vec<u8> {
    let source = &middle.source;
    [
        b"SELECT ".as_slice(),
        &middle.by.key_sql(source, "m"),
        b", ",
        &middle.to.key_sql(source, "m"),
        b" FROM ",
        &source.what_triggers_see(),
        b" AS m WHERE ",
        &middle.to.condition_sql(source, "m"),
        b" AND ",
        &is_one_of((source, &middle.by, "m"), opened.source.base_type(opened.counted.key())),
    ]
    .concat()
}

/// What the counted rows of some keys count for, which are those of middle rows.
fn rows_query(opened: &Opened, middle: &OpenedMiddle) -> Vec<u8> {
    let Opened { source, counted, .. } = opened;
    let is_meant = is_one_of((source, counted, "c"), middle.source.base_type(middle.by.key()));
    counted.count_query_where(source, &[b" AND ".as_slice(), &is_meant].concat())
}

/// The condition that a column has one of the texts in `$1`, which are of a type that it can be compared with.
fn is_one_of((source, counted, alias): (&Source, &Counted, &str), key_type: Oid) -> Vec<u8> {
    let column = counted.key();
    [
        &source.column_sql(alias, column.number()),
        b" ".as_slice(),
        &equality_sql(source, column),
        b" ANY ($1::pg_catalog.text[]::",
        &type_sql(key_type),
        b"[])",
    ]
    .concat()
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
