//! Buffered mode: what happens to a transaction's deltas at its commit.
//!
//! | the transaction | its deltas are written | when they count |
//! | --- | --- | --- |
//! | has an xid | to the journal at PRE_COMMIT, as a row of that transaction | with its commit record |
//! | no xid, synchronous | to the journal in the COMMIT callback, flushed, standbys waited for | with that record |
//! | no xid, asynchronous | to memory; drained to the journal, summed, soon after | once drained |
//!
//! In the COMMIT callback nothing can abort any more, so a record written there is the commit. Memory is pinned and room in the
//! journal's table is reserved at PRE_COMMIT, where failing is still allowed. A crash before the record (or the commit record it is bound
//! to) is flushed leaves nothing; one after it leaves the record, which recovery folds.

use std::cell::{Cell, RefCell};

use pgrx::prelude::*;

use super::pending::Delta;
use super::{draining, folding, state};
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::journal::record;
use crate::journal::tail::{self, MAX_RECORD_BYTES, Place, Tail};
use crate::memory::buffer::{self, Pin};
use crate::memory::epochs;
use crate::memory::table::Key;
use crate::memory::{group, is_attached, workers};
use crate::pg::session::session_local;
use crate::pg::wal::{self, Lsn};
use crate::pg::{catalog, process, xact};
use crate::rows::access::{self, Tables};
use crate::settings::{self, Mode};

const WHAT: &str = "a record of buffered increments";

/// How the deltas reach the journal.
#[derive(Debug)]
enum Plan {
    /// Written, bound to the transaction's xid.
    WithCommitRecord,
    /// To be written in the COMMIT callback, to the place that is reserved.
    AtCommit(Place),
    /// Drained later.
    Later,
}

/// A transaction's buffered deltas between PRE_COMMIT and COMMIT.
struct BufferedCommit {
    epoch: u64,
    /// The journal's table, where something is to be written to it.
    tail: Option<Tail>,
    deltas: Vec<Delta>,
    pins: Vec<Pin>,
    plan: Plan,
}

session_local! {
    static BATCH: RefCell<Option<BufferedCommit>> = const { RefCell::new(None) };
    /// The memory of the last transaction's pins, as far as it is small.
    static PINS: RefCell<Vec<Pin>> = const { RefCell::new(Vec::new()) };
    /// The text of the record to be written in the COMMIT callback; its memory is kept.
    static RECORD: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The text of a record that this backend writes for several; its memory is kept.
    static GROUP: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The number of the last drain that had begun when this session last left deltas to be drained.
    static UNDRAINED_SINCE: Cell<Option<u64>> = const { Cell::new(None) };
    static DRAINS_AT_EXIT: Cell<bool> = const { Cell::new(false) };
}

/// Raises where buffered mode is asked for and cannot be had in this server.
pub fn check_mode() -> Result<(), CounterError> {
    if settings::mode() == Mode::Buffered && !is_attached() {
        return Err(CounterError::NotPreloaded);
    }
    Ok(())
}

/// PRE_COMMIT: takes the deltas, or gives them all back where they must go to slot rows: in slotted mode, before
/// recovery is done, when it wrote rows that must agree with them, while the journal's table is being rewritten, and when memory cannot take
/// one of them. Never a part: a snapshot of the rows sees a transaction whole or not at all.
pub fn take_in(tables: Tables, deltas: Vec<Delta>) -> Vec<Delta> {
    if settings::mode() == Mode::Slotted || !is_attached() {
        return deltas;
    }
    let database = u32::from(catalog::my_database());
    let relation = u32::from(tables.total);
    let writes = xact::has_xid() || wal::is_commit_synchronous();
    // Before an epoch is announced: a drain announces its own.
    if writes {
        drain_own();
    } else {
        drain_at_exit();
        drain_if_late();
    }
    let tail = if writes { Tail::try_open(database) } else { None };
    if writes && tail.is_none() {
        epochs::want_journal(database);
        return deltas;
    }
    let Some(epoch) = epochs::announce(database, relation) else {
        epochs::want_journal(database);
        return deltas;
    };
    let mut pins = PINS.take();
    fallible::reserve_exact(&mut pins, deltas.len(), WHAT).or_raise();
    for delta in &deltas {
        match buffer::pin(Key { database, relation, id: &delta.id }, delta.net) {
            Some(pin) => pins.push(pin),
            None => {
                pins.drain(..).for_each(buffer::unpin);
                epochs::withdraw();
                // A pass makes entries clean, and the next transaction finds room.
                workers::wake_worker(database);
                return deltas;
            }
        }
    }
    BATCH.set(Some(BufferedCommit { epoch, tail, deltas, pins, plan: Plan::Later }));
    Vec::new()
}

/// PRE_COMMIT, after slot rows were written: writes the deltas to the journal if the transaction has an xid, else reserves room for
/// them. Transactions that count nothing come here too.
pub fn write_before_commit() {
    // Taken out: writing may wait, and a process that is ended there (FATAL unwinds nothing) aborts, which needs the batch for its
    // pins and its room.
    let work = BATCH.with_borrow_mut(|batch| {
        let batch = batch.as_mut()?;
        let tail = batch.tail.take();
        Some(tail.map(|tail| (tail, batch.epoch, std::mem::take(&mut batch.deltas))))
    });
    let Some(to_write) = work else {
        if UNDRAINED_SINCE.get().is_some() && xact::has_xid() {
            drain_own();
        }
        return;
    };
    let Some((tail, epoch, deltas)) = to_write else { return };
    let plan = write_or_take_room(&tail, epoch, &deltas);
    drop(tail);
    BATCH.with_borrow_mut(|batch| {
        if let Some(batch) = batch {
            batch.plan = plan;
            batch.deltas = deltas;
        }
    });
}

/// Writes the deltas, bound to the transaction's xid if it has one; else takes the room that they will need.
fn write_or_take_room(tail: &Tail, epoch: u64, deltas: &[Delta]) -> Plan {
    let size: usize = deltas.iter().map(|delta| record::delta_bytes(&delta.id, delta.net)).sum();
    if record::HEADER_BYTES + size > MAX_RECORD_BYTES && !xact::has_xid() {
        // More than one record: an xid binds them together.
        xact::assign_xid();
    }
    if xact::has_xid() {
        let mut rest = deltas;
        while !rest.is_empty() {
            let (count, bytes) = RECORD.with_borrow_mut(|text| {
                let count = encode(rest, text);
                tail.write_own(epoch, text);
                (count, text.len() as u64)
            });
            epochs::count_journaled(u32::from(catalog::my_database()), bytes);
            rest = &rest[count..];
        }
        Plan::WithCommitRecord
    } else {
        let bytes = RECORD.with_borrow_mut(|text| {
            encode(deltas, text);
            text.len()
        });
        // What may be needed where nothing can be had any more.
        GROUP
            .with_borrow_mut(|text| {
                text.clear();
                fallible::reserve(text, MAX_RECORD_BYTES, WHAT)
            })
            .or_raise();
        Plan::AtCommit(tail.take_room(epoch, bytes))
    }
}

/// Encodes as many deltas as fit into one record; how many. Raises 53200.
fn encode(deltas: &[Delta], text: &mut Vec<u8>) -> usize {
    text.clear();
    fallible::reserve(text, MAX_RECORD_BYTES, WHAT).or_raise();
    record::begin(text);
    let fits = |delta: &&Delta| {
        let fits = text.len() + record::delta_bytes(&delta.id, delta.net) <= MAX_RECORD_BYTES;
        if fits {
            record::push(text, &delta.id, delta.net);
        }
        fits
    };
    deltas.iter().take_while(fits).count()
}

/// COMMIT: writes what is still to be written, and adds the deltas to memory. Returns the increments behind them.
/// Cannot fail.
pub fn commit() -> u64 {
    let Some(batch) = BATCH.take() else { return 0 };
    let database = u32::from(catalog::my_database());
    let is_journaled = !matches!(batch.plan, Plan::Later);
    if let Plan::AtCommit(place) = batch.plan {
        let lsn = write_at_commit(database, &place);
        // Waiting for standbys may take long; the page is not needed for it.
        place.release();
        wal::wait_for_standbys(lsn);
        wal::forget_own_writes();
    }
    settings::stretch_commit_window();
    let mut increments = 0;
    for (delta, pin) in batch.deltas.iter().zip(&batch.pins) {
        buffer::add(*pin, batch.epoch, delta.net, delta.increments, is_journaled);
        increments += delta.increments;
    }
    if !is_journaled {
        note_undrained(Some(epochs::drains_begun(database)));
        if is_late(database) {
            workers::wake_worker(database);
        }
    }
    epochs::withdraw();
    keep_memory(batch.pins);
    state::keep_memory(batch.deltas);
    increments
}

/// Keeps the memory of a transaction's pins for the next one. Cannot fail.
fn keep_memory(mut pins: Vec<Pin>) {
    /// A large transaction's memory is not kept.
    const FEW: usize = 1024;
    pins.clear();
    if pins.capacity() <= FEW {
        PINS.set(pins);
    }
}

/// Writes the transaction's record, alone or with others that commit now, and flushes it.
fn write_at_commit(database: u32, place: &Place) -> Lsn {
    RECORD.with_borrow(|own| {
        let write = |record: &[u8]| {
            epochs::count_journaled(database, record.len() as u64);
            place.write(record)
        };
        let write_group = |members: &mut group::Texts<'_>| {
            GROUP.with_borrow_mut(|text| {
                record::begin(text);
                let mut room_bytes = 0;
                // BOUND: all members have room for their own records on this page, and this text for a page.
                members.for_each(|deltas| {
                    text.extend_from_slice(deltas);
                    room_bytes += tail::room_bytes(record::HEADER_BYTES + deltas.len());
                });
                let lsn = write(text);
                place.give_others_room_back(room_bytes - tail::room_bytes(text.len()));
                lsn
            })
        };
        wal::in_critical_section(|| {
            let alone = wal::has_standbys_to_wait_for();
            let together =
                group::commit(database, place.block(), alone, record::deltas(own), write_group, wal::flush);
            together.unwrap_or_else(|| {
                let lsn = write(own);
                wal::flush(lsn);
                lsn
            })
        })
    })
}

/// ABORT: the deltas never were.
pub fn abort() {
    if let Some(batch) = BATCH.take() {
        for pin in batch.pins {
            buffer::unpin(pin);
        }
        if let Plan::AtCommit(place) = batch.plan {
            place.abandon();
        }
        // An aborting transaction closes its tables itself.
        std::mem::forget(batch.tail);
    }
    epochs::withdraw();
}

/// Since which drain something of this session waits for one. Each of its commits has to look at that.
fn note_undrained(since: Option<u64>) {
    UNDRAINED_SINCE.set(since);
    xact::stay(xact::Participant::Counting, since.is_some());
}

pub fn has_drained_own() -> bool {
    UNDRAINED_SINCE.get().is_none()
}

/// A synchronous commit, or one with an xid, must not be more durable than what this session committed before it. Inside a
/// transaction. Where the journal's table takes nothing, in the transaction that rewrites it for one, this transaction folds what memory
/// holds: then it is as durable as this commit.
pub fn drain_own() {
    let Some(since) = UNDRAINED_SINCE.get() else {
        return;
    };
    let database = u32::from(catalog::my_database());
    if epochs::is_drained_since(database, since) {
        note_undrained(None);
        return;
    }
    if draining::is_durable(database).or_raise() {
        draining::drain(database, true).or_raise();
        note_undrained(None);
    } else if let Some(tables) = access::find_tables() {
        // Looked at again at the next commit: this one may fail yet.
        folding::fold_here(tables).or_raise();
    }
}

/// The worker drains every `wal_writer_delay`; when it has not for twice as long, a committing backend does.
fn drain_if_late() {
    let database = u32::from(catalog::my_database());
    if is_late(database) && buffer::has_unjournaled(database, epochs::relation(database)) {
        draining::drain(database, false).or_raise();
    }
}

fn is_late(database: u32) -> bool {
    let due_us = epochs::last_drain_at_us(database) + 2000 * wal::writer_delay_ms() as i64;
    xact::statement_start_us() > due_us
}

fn drain_at_exit() {
    if !DRAINS_AT_EXIT.replace(true) {
        process::before_exit(on_exit);
    }
}

#[pg_guard]
extern "C-unwind" fn on_exit(_code: std::ffi::c_int, _argument: process::ExitArgument) {
    /// Attempts, a hundredth of a second apart, while somebody rewrites the journal's table: this process takes no interrupts
    /// any more, so it must not wait for a lock. What is left then is the worker's.
    const ATTEMPTS: u32 = 100;
    let database = u32::from(catalog::my_database());
    let since = UNDRAINED_SINCE.take();
    let is_left = || since.is_some_and(|since| !epochs::is_drained_since(database, since));
    for _ in 0..ATTEMPTS {
        if !is_left() {
            return;
        }
        if let Err(message) = xact::run_at_exit(|| draining::drain(database, false).or_raise()) {
            pgrx::log!("counter_ext: increments were not drained at this session's end: {message}");
        }
        if is_left() {
            process::sleep_us(10_000);
        }
    }
}
