//! Batches of many ids where ids are spread over nodes: what is here is done here, the rest by the nodes that have it, each asked
//! once for every piece, in the transaction of the caller. Citus sends such a call on, and commits on all nodes or on none.

use std::ffi::CString;

use super::errors::ShardingError;
use crate::counting::{change, read, transaction};
use crate::errors::CounterError;
use crate::fallible;
use crate::hll::Sketch;
use crate::idempotency::batch::{self, Borders};
use crate::idempotency::{self, Delta};
use crate::owners;
use crate::owners::ranges::{Owner, Split};

use crate::pg::args::read_bytea;
use crate::pg::spi::{self, Spi};
use crate::pg::{confined, table};
use crate::visitors;
use crate::visitors::rows::Days;

const WHAT: &str = "a batch for other nodes";
/// Ids that one statement brings to a node.
const PIECE: usize = 10_000;

/// As counter_incr_many. Errors: those of it, from whichever node.
pub fn increment(ids: &[&[u8]], deltas: &[i64]) -> Result<(), CounterError> {
    transaction::check_may_change("counter_incr_many")?;
    let split = owners::split(ids.iter().copied())?;
    increment_split(ids, deltas, &split)?;
    agree(split.here.first().map(|at| ids[*at]), !split.elsewhere.is_empty())
}

fn increment_split(ids: &[&[u8]], deltas: &[i64], split: &Split) -> Result<(), CounterError> {
    for_each_piece(split, |positions| {
        let (key, sent) = sent(ids, positions)?;
        let deltas = numbers(positions.iter().map(|at| deltas[*at]))?;
        ask("incr_many_here", &[key, sent, deltas]).map(drop)
    })?;
    if split.here.is_empty() {
        return Ok(());
    }
    owners::check_serves()?;
    let entered = change::enter("counter_incr_many")?;
    split.here.iter().try_for_each(|at| change::increment(entered, ids[*at], deltas[*at]))
}

/// As counter_get_many: totals in the order of their ids, `None` for those outside bigint, of which a WARNING tells.
pub fn totals(ids: &[&[u8]]) -> Result<Vec<Option<i64>>, CounterError> {
    let split = owners::split(ids.iter().copied())?;
    let mut totals = fallible::with_room(ids.len(), WHAT)?;
    totals.resize(ids.len(), None);
    for_each_piece(&split, |positions| {
        let (key, sent) = sent(ids, positions)?;
        let rows = ask("get_many_here", &[key, sent])?;
        if rows.len() != positions.len() {
            return Err(CounterError::Internal(
                "a node gave another number of totals than it was asked for".to_owned(),
            ));
        }
        for (at, row) in positions.iter().zip(&rows) {
            totals[*at] = number(row.first())?;
        }
        Ok(())
    })?;
    if !split.here.is_empty() {
        owners::check_serves()?;
        let own = fallible::collect(split.here.iter().map(|at| ids[*at]), WHAT)?;
        for (at, total) in split.here.iter().zip(totals_here(&own)?) {
            totals[*at] = total;
        }
    }
    Ok(totals)
}

/// The same of ids that are all here.
pub fn totals_here(ids: &[&[u8]]) -> Result<Vec<Option<i64>>, CounterError> {
    let totals = read::current_of_each(read::enter()?, ids.iter().copied())?;
    let shown = ids.iter().zip(totals).map(|(id, total)| {
        let value = i64::try_from(total).ok();
        if value.is_none() {
            // BOUND: one id.
            CounterError::TotalOutOfRange { id: id.to_vec() }.warn();
        }
        value
    });
    Ok(fallible::collect(shown, WHAT)?)
}

/// The visitors of several ids together, whatever nodes they are on.
pub fn unite(ids: &[&[u8]], days: Days) -> Result<Sketch, CounterError> {
    let split = owners::split(ids.iter().copied())?;
    let (first, last) = match days {
        Days::Ever => (None, None),
        Days::Range(first, last) => (Some(first), Some(last)),
    };
    let mut united = unite_here(split.here.iter().map(|at| ids[*at]), days)?;
    for_each_piece(&split, |positions| {
        let (key, sent) = sent(ids, positions)?;
        let rows = ask(
            "visitors_here",
            &[key, sent, number_or_null(first.map(i64::from)), number_or_null(last.map(i64::from))],
        )?;
        for text in rows.iter().flatten().flatten() {
            united.unite(&Sketch::decode(&read_bytea(&c_string(text)?))?)?;
        }
        Ok(())
    })?;
    Ok(united)
}

/// The same of ids that are all here.
pub fn unite_here<'a>(ids: impl Iterator<Item = &'a [u8]>, days: Days) -> Result<Sketch, CounterError> {
    visitors::read::union(visitors::read::enter()?, ids, days)
}

/// As counter_apply. How far a source has delivered is known by the node that has an id of the source's name. Errors: those of it; 0A000
/// a delta of another time than now.
pub fn apply<'a>(
    source: &[u8],
    borders: Borders,
    (count, has_times): (usize, bool),
    deltas: impl Iterator<Item = Delta<&'a [u8]>>,
) -> Result<bool, CounterError> {
    transaction::check_may_change("counter_apply")?;
    if has_times {
        return Err(ShardingError::LateBatch.into());
    }
    let Some(before) = advance(source, borders, count)? else { return Ok(false) };
    let (mut ids, mut amounts) = (Vec::new(), Vec::new());
    for Delta { offset, id, delta, .. } in deltas {
        if let Some(id) = id.filter(|_| batch::is_new(offset, before)) {
            fallible::push(&mut ids, id, WHAT)?;
            fallible::push(&mut amounts, delta, WHAT)?;
        }
    }
    let split = owners::split(ids.iter().copied())?;
    increment_split(&ids, &amounts, &split)?;
    let is_source_here = owners::owner(source)? == Owner::Here;
    let own = split.here.first().map(|at| ids[*at]).or(is_source_here.then_some(source));
    agree(own, !is_source_here || !split.elsewhere.is_empty())?;
    Ok(true)
}

/// Moves a source on; returns how far it had delivered before. `None`: as far as this.
fn advance(source: &[u8], borders: Borders, count: usize) -> Result<Option<Option<i64>>, CounterError> {
    if owners::owner(source)? == Owner::Here {
        owners::check_serves()?;
        return idempotency::advance(source, borders, count);
    }
    let arguments = [
        quoted(source)?,
        number_or_null(borders.first),
        number_or_null(Some(borders.upto)),
        number_or_null(Some(count as i64)),
    ];
    let rows = ask("advance_source_here", &arguments)?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(number(row.get(1))?))
}

/// Where this node and others have changed something, all of them commit or none. Citus does so by itself where several other nodes have;
/// of what is changed here, which is in none of its tables, it learns by a command that changes nothing in one of them.
fn agree(own: Option<&[u8]>, is_elsewhere: bool) -> Result<(), CounterError> {
    let (Some(own), true) = (own, is_elsewhere) else { return Ok(()) };
    let Some(shards) = owners::table_of_shards() else { return Ok(()) };
    // BOUND: a text of ours.
    let mut sql = b"DELETE FROM counter_ext.shard_of_id s WHERE s.id OPERATOR(pg_catalog.=) ".to_vec();
    fallible::append(&mut sql, &quoted(own)?, WHAT)?;
    confined::as_owner(table::owner(shards), |confined| Spi::connect(confined)?.run(&sql))
}

fn for_each_piece(
    split: &Split,
    mut work: impl FnMut(&[usize]) -> Result<(), CounterError>,
) -> Result<(), CounterError> {
    for (_, positions) in &split.elsewhere {
        positions.chunks(PIECE).try_for_each(&mut work)?;
    }
    Ok(())
}

/// The ids at some positions as an array, and before that the first of them: by it Citus finds the node.
fn sent(ids: &[&[u8]], positions: &[usize]) -> Result<(Vec<u8>, Vec<u8>), CounterError> {
    let first = positions.first().map_or(&b""[..], |at| ids[*at]);
    let array = spi::text_array(positions.iter().map(|at| ids[*at]))?;
    Ok((quoted(first)?, quoted(&array)?))
}

fn numbers(numbers: impl Iterator<Item = i64>) -> Result<Vec<u8>, CounterError> {
    // BOUND: two characters.
    let mut array = b"'{".to_vec();
    for (position, number) in numbers.enumerate() {
        if position > 0 {
            fallible::append(&mut array, b",", WHAT)?;
        }
        // BOUND: a number.
        fallible::append(&mut array, number.to_string().as_bytes(), WHAT)?;
    }
    fallible::append(&mut array, b"}'", WHAT)?;
    Ok(array)
}

fn number_or_null(number: Option<i64>) -> Vec<u8> {
    // BOUND: a number. One below 0 is no constant without quotes.
    number.map_or_else(|| b"NULL".to_vec(), |number| format!("'{number}'").into_bytes())
}

fn quoted(text: &[u8]) -> Result<Vec<u8>, CounterError> {
    Ok(spi::literal(&c_string(text)?))
}

fn c_string(text: &[u8]) -> Result<CString, CounterError> {
    CString::new(fallible::copy(text, WHAT)?)
        .map_err(|_| CounterError::Internal("a text with a NUL".to_owned()))
}

fn number(text: Option<&Option<Vec<u8>>>) -> Result<Option<i64>, CounterError> {
    let Some(Some(text)) = text else { return Ok(None) };
    let number = spi::whole_number(text)?;
    i64::try_from(number)
        .map(Some)
        .map_err(|_| CounterError::Internal("a node gave a number that is no bigint".to_owned()))
}

/// Calls one of our functions by an id, with constants: all that Citus sends on within a transaction.
fn ask(function: &str, arguments: &[Vec<u8>]) -> Result<Vec<Vec<Option<Vec<u8>>>>, CounterError> {
    // BOUND: a text of ours.
    let mut sql = b"SELECT * FROM counter_ext.".to_vec();
    fallible::append(&mut sql, function.as_bytes(), WHAT)?;
    for (position, argument) in arguments.iter().enumerate() {
        fallible::append(&mut sql, if position == 0 { b"(" } else { b", " }, WHAT)?;
        fallible::append(&mut sql, argument, WHAT)?;
    }
    fallible::append(&mut sql, b")", WHAT)?;
    confined::as_caller(|confined| Spi::connect(confined)?.rows(&sql))
}
