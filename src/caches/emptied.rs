//! TRUNCATE of a table whose rows are counted, or through whose rows others are.
//!
//! Of a whole table its counters are brought to nothing. Rows of a partition are taken off as if they were deleted, each partition by its
//! own trigger; where the same command empties the whole, that has been done. Nobody else can change what is about to be emptied, nor has
//! anybody read it who has not committed: it is locked. So no lock on middle rows is needed (`through`).
//!
//! TRUNCATE goes past snapshots: what one shows of a partition is gone from all of them once the command has ended. Until then it is kept
//! apart (`so_far::SoFar::add_going`).
//!
//! BOUND: what is copied here without asking is an id, a prefix, or what is at hand already.

use std::cell::RefCell;

use super::arguments::{Definition, Middle};
use super::changes::Changes;
use super::drift;
use super::opened::{Opened, OpenedMiddle};
use super::pairs::Pairs;
use super::registry;
use super::so_far::{self, Side};
use super::through::{self, BATCH, Cache, Change, Moved, Query, Texts};
use crate::counting::change;
use crate::errors::CounterError;
use crate::fallible;
use crate::pg::Oid;
use crate::pg::confined::{self, Confined};
use crate::pg::counted::Counted;
use crate::pg::session::session_local;
use crate::pg::snapshot::ActiveSnapshot;
use crate::pg::spi::{Spi, whole_number};
use crate::pg::table_query::TableQuery;
use crate::pg::trigger::Fired;
use crate::pg::truncation::Truncation;
use crate::pg::xact;
use crate::rows::access::Tables;

const WHAT: &str = "rows of a partition";

/// One side of a cache whose rows are all gone at the end of a TRUNCATE.
struct Emptied {
    truncation: Truncation,
    prefix: Vec<u8>,
    side: Side,
}

session_local! {
    static EMPTIED: RefCell<Vec<Emptied>> = const { RefCell::new(Vec::new()) };
}

fn is_emptied(truncation: Truncation, prefix: &[u8], side: Side) -> bool {
    EMPTIED.with_borrow_mut(|emptied| {
        emptied.retain(|one| one.truncation.is_running());
        emptied.iter().any(|one| one.truncation == truncation && one.prefix == prefix && one.side == side)
    })
}

/// Before TRUNCATE of the counted table, or of a partition of it.
pub fn rows_emptied(
    fired: &Fired<'_>,
    truncation: Truncation,
    opened: &Opened,
    definition: &Definition,
) -> Result<(), CounterError> {
    let (owner, prefix) = (opened.source.owner(), definition.prefix());
    if !opened.source.is_partition() {
        return whole_emptied(fired, (truncation, Side::Rows), owner, opened, definition);
    }
    if is_emptied(truncation, prefix, Side::Rows) {
        return Ok(());
    }
    let query = opened.counted.count_query(&opened.source);
    let mut changes = Changes::new(owner, prefix);
    let Some(middle) = &opened.middle else {
        each_pair(owner, &query, &mut |key, amount| changes.add_key(&key, -amount))?;
        return changes.count();
    };
    let (tables, _) = change::enter_to_count_in_rows(owner, "counter_rows")?;
    let cache = Cache { tables, prefix, owner };
    middle.check_is_read_by(owner)?;
    let amounts = |rows: Vec<Texts>| {
        rows.into_iter()
            .map(|(key, amount)| Ok((key, Vec::new(), whole_number(amount.as_deref().unwrap_or(b"0"))?)))
            .collect::<Result<Vec<_>, CounterError>>()
    };
    let query_of_keys = through::rows_query(opened, middle).by_keys_of(&opened.source, &opened.counted);
    let own = take_over((truncation, Side::Rows), &cache, &query_of_keys, amounts)?;
    let counts = !is_emptied(truncation, prefix, Side::Middles);
    let mut batch: Vec<Change> = fallible::with_room(BATCH, WHAT)?;
    let mut hand_on = |batch: &mut Vec<Change>| {
        if counts {
            through::count_rows(&cache, opened, middle, batch, &mut |to, delta| changes.add_key(to, delta))?;
        }
        so_far::with(prefix, |so_far| {
            for (key, gone) in batch.drain(..).filter(|(key, _)| own.binary_search(&key.to_vec()).is_err()) {
                so_far.add_going((truncation, Side::Rows), &key, b"", -gone)?;
            }
            Ok(())
        })
    };
    each_pair(owner, &query, &mut |key, amount| {
        fallible::push(&mut batch, (key.into_boxed_slice(), -amount), WHAT)?;
        if batch.len() < BATCH { Ok(()) } else { hand_on(&mut batch) }
    })?;
    hand_on(&mut batch)?;
    changes.count()
}

/// Before TRUNCATE of the middle table, or of a partition of it.
pub fn middles_emptied(
    fired: &Fired<'_>,
    truncation: Truncation,
    (opened, middle): (&Opened, &OpenedMiddle),
    definition: &Definition,
    said: &Middle,
) -> Result<(), CounterError> {
    let (owner, prefix, table) = (opened.source.owner(), definition.prefix(), fired.table());
    if !table.is_partition() {
        return whole_emptied(fired, (truncation, Side::Middles), owner, opened, definition);
    }
    if is_emptied(truncation, prefix, Side::Middles) {
        return Ok(());
    }
    let pairs = Pairs { by: Counted::by(&table, &said.by)?, to: Counted::by(&table, &said.to)? };
    let query = pairs.query(&table);
    let part = OpenedMiddle { source: table, by: pairs.by, to: pairs.to };
    let (tables, _) = change::enter_to_count_in_rows(owner, "counter_rows")?;
    let cache = Cache { tables, prefix, owner };
    middle.check_is_read_by(owner)?;
    let query_of_keys = through::middle_query(&part, opened).by_keys_of(&part.source, &part.by);
    let own = take_over((truncation, Side::Middles), &cache, &query_of_keys, |rows| {
        Ok(rows.into_iter().filter_map(|(by, to)| Some((by, to?, 1))).collect())
    })?;
    let counts = !is_emptied(truncation, prefix, Side::Rows);
    let mut changes = Changes::new(owner, prefix);
    let mut batch: Vec<Moved> = fallible::with_room(BATCH, WHAT)?;
    let mut hand_on = |batch: &mut Vec<Moved>| {
        if counts {
            through::count_middles(&cache, opened, middle, batch, &mut |to, delta| {
                changes.add_key(to, delta)
            })?;
        }
        so_far::with(prefix, |so_far| {
            for gone in batch.drain(..).filter(|gone| own.binary_search(&gone.by).is_err()) {
                so_far.add_going((truncation, Side::Middles), &gone.by, &gone.to, 1)?;
            }
            Ok(())
        })
    };
    each_pair(part.source.owner(), &query, &mut |mut by, length| {
        let to = by.split_off(usize::try_from(length).unwrap_or(0).min(by.len()));
        fallible::push(&mut batch, Moved { by, to, net: -1 }, WHAT)?;
        if batch.len() < BATCH { Ok(()) } else { hand_on(&mut batch) }
    })?;
    hand_on(&mut batch)?;
    changes.count()
}

/// Nobody else can change the table any more, and it will have no rows. So its counters are brought to nothing, whatever they are now:
/// they may have been emptied already, by the same statement or before.
fn whole_emptied(
    fired: &Fired<'_>,
    (truncation, side): (Truncation, Side),
    owner: Oid,
    opened: &Opened,
    definition: &Definition,
) -> Result<(), CounterError> {
    if !fired.counts_rows_too() {
        // What is left of a partition's triggers, where it was detached past event triggers.
        return Ok(());
    }
    let prefix = definition.prefix();
    let entered = change::enter_to_count_in_rows(owner, "counter_rows")?;
    if prefix.is_empty() {
        registry::check_may_read_all(entered.0, opened)?;
    }
    confined::as_owner_of_all_rows(owner, |confined| {
        // Everything committed by now, at any isolation level.
        let active = ActiveSnapshot::push_latest();
        if prefix.is_empty() {
            empty_keys_of_rows(confined, entered, opened)?;
        } else {
            drift::empty(entered, opened, definition)?;
        }
        drop(active);
        Ok::<_, CounterError>(())
    })?;
    if !is_emptied(truncation, prefix, side) {
        let one = Emptied { truncation, prefix: fallible::copy(prefix, WHAT)?, side };
        EMPTIED.with_borrow_mut(|emptied| fallible::push(emptied, one, WHAT))?;
    }
    if opened.middle.is_some() { so_far::restart_emptied(prefix, side) } else { Ok(()) }
}

/// Without a prefix a counter that no row belongs to could be anybody's.
fn empty_keys_of_rows(
    confined: &Confined<'_>,
    entered: (Tables, u32),
    opened: &Opened,
) -> Result<(), CounterError> {
    let spi = Spi::connect(confined)?;
    let mut keys = spi.pairs(&opened.count_query(0))?;
    loop {
        let batch: Vec<_> = std::iter::from_fn(|| keys.next_pair()).map(|(key, _)| key).take(BATCH).collect();
        if batch.is_empty() {
            return Ok(());
        }
        change::empty(entered, batch.iter())?;
    }
}

/// Shows all that a query of a text and a number has, of what is committed by now, and this transaction's own.
fn each_pair(
    owner: Oid,
    query: &TableQuery,
    see: &mut dyn FnMut(Vec<u8>, i128) -> Result<(), CounterError>,
) -> Result<(), CounterError> {
    confined::as_owner_of_all_rows(owner, |confined| {
        let active = ActiveSnapshot::push_latest();
        let spi = Spi::connect(confined)?;
        let mut pairs = spi.pairs(query)?;
        while let Some((text, number)) = pairs.next_pair() {
            see(text, number)?;
        }
        drop(pairs);
        drop(spi);
        drop(active);
        Ok(())
    })
}

/// A key, what it names, and how much of it.
type Amount = (Vec<u8>, Vec<u8>, i128);

/// Of the keys that this transaction has changed, what its changes of the partition come to is taken off what it has counted so far: they go
/// as well. Returns these keys, sorted.
fn take_over(
    (truncation, side): (Truncation, Side),
    cache: &Cache<'_>,
    query_of_keys: &Query,
    amounts: impl Fn(Vec<Texts>) -> Result<Vec<Amount>, CounterError>,
) -> Result<Vec<Vec<u8>>, CounterError> {
    let (base, mut keys) = so_far::with(cache.prefix, |so_far| {
        let overlay = so_far.side(side);
        let keys = overlay.keys().map(|key| fallible::copy(key, WHAT));
        Ok((overlay.base(), fallible::try_collect::<_, CounterError>(keys.map(|key| Ok(key?)), WHAT)?))
    })?;
    keys.sort_unstable();
    keys.dedup();
    let level = xact::nest_level();
    for batch in keys.chunks(BATCH) {
        let ask = |before| amounts(query_of_keys.ask(before, batch.iter().map(Vec::as_slice))?);
        let (shown, now) = (ask(base)?, ask(xact::current_command())?);
        so_far::with(cache.prefix, |so_far| {
            for (key, other, amount) in &shown {
                so_far.side(side).add(level, key, other, *amount)?;
                so_far.add_going((truncation, side), key, other, *amount)?;
            }
            for (key, other, amount) in &now {
                so_far.side(side).add(level, key, other, -*amount)?;
            }
            Ok(())
        })?;
    }
    Ok(keys)
}
