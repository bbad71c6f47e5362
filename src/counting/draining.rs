//! Draining: what asynchronous commits added to memory goes to the journal, summed by id.
//!
//! A drain goes through memory record by record. It finds what fits into one, reserves room for it, and then takes the journal lock for
//! as long as it takes to read the amounts again, write them and move them (`memory/buffer.rs`, `memory/epochs.rs`). Between the
//! write of a record and the move of its amounts nothing can fail, so no amount is written twice.

use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::journal::errors::JournalError;
use crate::journal::record;
use crate::journal::tail::{MAX_RECORD_BYTES, Tail};
use crate::memory::buffer::{self, Amount, Position};
use crate::memory::epochs;
use crate::pg::process;
use crate::pg::wal::{self, Lsn};

const WHAT: &str = "a record of buffered increments";

/// Writes everything that waits to be journaled, and returns the end of what was written, `None` when that was
/// nothing. Inside a transaction that has announced no epoch. With `wait` false it leaves the work to whoever is at it already, or
/// holds the table. Errors: 55000 it waits, and what it would write would not be durable.
pub fn drain(database: u32, wait: bool) -> Result<Option<Lsn>, CounterError> {
    if epochs::relation(database) == 0 {
        return Ok(None);
    }
    let tail = match wait {
        true => Some(Tail::open(database)?.ok_or(JournalError::NotLogged)?),
        false => Tail::try_open(database),
    };
    let Some(tail) = tail else { return Ok(None) };
    let Some(number) = epochs::lock_journal(database, wait).map(|lock| lock.drain_begins()) else {
        return Ok(None);
    };
    let Some(epoch) = epochs::announce_drain(database) else { return Ok(None) };
    let written = write_all(&tail, database, epoch);
    epochs::withdraw();
    epochs::drain_ended(database, number, process::now_us());
    if let Some(lsn) = written {
        wal::flush_soon(lsn);
    }
    Ok(written)
}

/// Whether a drain would be durable: not so while the journal's table is unlogged, nor in the transaction that rewrites it.
pub fn is_durable(database: u32) -> Result<bool, CounterError> {
    Ok(Tail::open(database)?.is_some())
}

/// Writes what open epochs hold, on pages of the announced one. What is added to a later one meanwhile came after the drain began.
fn write_all(tail: &Tail, database: u32, announced: u64) -> Option<Lsn> {
    let open = epochs::open_epochs(database)?;
    let mut written = None;
    for epoch in open.first..=open.last.min(announced) {
        let mut from = Position::default();
        while let Some((amounts, next)) = buffer::unjournaled_from(
            database,
            open.relation,
            epoch,
            from,
            MAX_RECORD_BYTES - record::HEADER_BYTES,
            record::most_delta_bytes,
        ) {
            let target = Target { tail, announced, database, relation: open.relation, epoch };
            if let Some(lsn) = write(&target, &amounts) {
                written = Some(lsn);
            }
            from = next;
        }
    }
    written
}

/// Where amounts go, and whose they are.
struct Target<'t> {
    tail: &'t Tail,
    announced: u64,
    database: u32,
    relation: u32,
    epoch: u64,
}

/// Writes one record of these entries' amounts as they are now.
fn write(target: &Target<'_>, found: &[Amount]) -> Option<Lsn> {
    let Target { tail, announced, database, relation, epoch } = *target;
    let most: usize = found.iter().map(|amount| record::most_delta_bytes(amount.id.len())).sum();
    let mut text = fallible::with_room(record::HEADER_BYTES + most, WHAT).or_raise();
    let mut now = fallible::with_room(found.len(), WHAT).or_raise();
    let place = tail.take_room(announced, record::HEADER_BYTES + most);
    let lock = epochs::lock_journal(database, true)?;
    record::begin(&mut text);
    // An epoch that has been folded meanwhile was folded from memory.
    if lock.is_open(relation, epoch) {
        for amount in found.iter().filter_map(|amount| buffer::unjournaled_now(epoch, amount)) {
            if amount.amount != 0 {
                record::push(&mut text, &amount.id, amount.amount);
            }
            // BOUND: as many as were found.
            now.push(amount);
        }
    }
    let is_empty = record::deltas(&text).is_empty();
    let lsn = (!is_empty).then(|| place.write_of(epoch, &text));
    buffer::note_journaled(epoch, &now);
    drop(lock);
    if is_empty {
        place.give_back();
    } else {
        place.release();
        epochs::count_journaled(database, text.len() as u64);
    }
    lsn
}
