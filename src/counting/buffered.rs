//! Buffered mode: what happens to a transaction's deltas at its commit.
//!
//! | the transaction | its deltas are written | when they count |
//! | --- | --- | --- |
//! | has an xid | to the journal at PRE_COMMIT, bound to the xid | with its commit record |
//! | no xid, synchronous | to the journal in the COMMIT callback, flushed, standbys waited for | with that record |
//! | no xid, asynchronous | to memory; drained to the journal, summed, soon after | once drained |
//!
//! In the COMMIT callback nothing can abort any more, so a record written there is the commit. Memory is pinned at
//! PRE_COMMIT, where failing is still allowed. A crash before the record (or the commit record it is bound to) is
//! flushed leaves nothing; one after it leaves the record, which recovery folds.

use std::cell::{Cell, RefCell};

use pgrx::prelude::*;

use super::draining;
use super::pending::Delta;
use crate::errors::{CounterError, OrRaise};
use crate::fallible;
use crate::journal;
use crate::journal::record::{self, Header};
use crate::memory::buffer::{self, Pin};
use crate::memory::epochs::{self, Retention};
use crate::memory::table::Key;
use crate::memory::{group, is_attached, workers};
use crate::pg::wal::{self, Lsn};
use crate::pg::{catalog, process, xact};
use crate::rows::access::Tables;
use crate::settings::{self, Mode};

const WHAT: &str = "a record of buffered increments";
/// More than a record's header takes.
const HEADER_BYTES: usize = 64;
/// More than a delta takes beside its id.
const DELTA_BYTES: usize = 11;
/// Room for a record, with the delta that makes it full.
const RECORD_BYTES: usize = record::ROOM_BYTES;
/// Room for what a group commits together in one record.
const GROUP_BYTES: usize = 64 * 1024;

/// How the deltas reach the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Written, bound to the transaction's xid.
    WithCommitRecord,
    /// To be written in the COMMIT callback.
    AtCommit,
    /// Drained later.
    Later,
}

/// A transaction's buffered deltas between PRE_COMMIT and COMMIT.
struct Batch {
    epoch: u64,
    relation: u32,
    key: u64,
    deltas: Vec<Delta>,
    pins: Vec<Pin>,
    plan: Plan,
    /// Of all deltas in a record, at most.
    bytes: usize,
}

thread_local! {
    static BATCH: RefCell<Option<Batch>> = const { RefCell::new(None) };
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
    if settings::mode() == Mode::Slotted {
        return Ok(());
    }
    if !is_attached() {
        return Err(CounterError::NotPreloaded);
    }
    match epochs::retention().0 {
        Retention::None if !wal::level_allows_slots() => Err(CounterError::WalLevel),
        Retention::NoWalLevel => Err(CounterError::WalLevel),
        Retention::NoFreeSlot => Err(CounterError::NoReplicationSlot),
        Retention::None | Retention::Held => Ok(()),
    }
}

/// PRE_COMMIT: takes the deltas, or gives them all back where they must go to slot rows: in slotted mode, before
/// recovery is done, and when memory cannot take one of them. Never a part: a snapshot of the rows sees a transaction
/// whole or not at all.
pub fn take_in(tables: Tables, deltas: Vec<Delta>) -> Vec<Delta> {
    if settings::mode() == Mode::Slotted || !is_attached() {
        return deltas;
    }
    let database = u32::from(catalog::my_database());
    let relation = u32::from(tables.total);
    let Some(epoch) = epochs::announce(database, relation) else {
        epochs::want_journal(database);
        return deltas;
    };
    let mut batch = Batch {
        epoch,
        relation,
        key: epochs::key(database),
        deltas,
        pins: Vec::new(),
        plan: Plan::Later,
        bytes: 0,
    };
    fallible::reserve_exact(&mut batch.pins, batch.deltas.len(), WHAT).or_raise();
    for delta in &batch.deltas {
        match buffer::pin(Key { database, relation, id: &delta.id }, delta.net) {
            Some(pin) => batch.pins.push(pin),
            None => {
                batch.pins.drain(..).for_each(buffer::unpin);
                epochs::withdraw();
                // A pass makes entries clean, and the next transaction finds room.
                workers::wake_worker(database);
                return batch.deltas;
            }
        }
    }
    BATCH.set(Some(batch));
    Vec::new()
}

/// PRE_COMMIT, after slot rows were written: decides how the deltas reach the journal, and writes them if the
/// transaction has an xid. Transactions that count nothing come here too.
pub fn write_before_commit() {
    BATCH.with_borrow_mut(|batch| match batch {
        Some(batch) => batch.write_before_commit(),
        None => {
            if UNDRAINED_SINCE.get().is_some() && xact::has_xid() {
                drain_own();
            }
        }
    });
}

impl Batch {
    fn write_before_commit(&mut self) {
        let synchronous = wal::is_commit_synchronous();
        if !xact::has_xid() && !synchronous {
            self.plan = Plan::Later;
            drain_at_exit();
            drain_if_late();
            return;
        }
        drain_own();
        self.bytes = self.deltas.iter().map(|delta| delta.id.len() + DELTA_BYTES).sum();
        if self.bytes > record::TARGET_BYTES && !xact::has_xid() {
            // More than one record: an xid binds them together.
            xact::assign_xid();
        }
        if xact::has_xid() {
            self.plan = Plan::WithCommitRecord;
            let mut written = 0;
            while written < self.deltas.len() {
                written += self.encode(written, true);
                let bytes = RECORD.with_borrow(|text| {
                    journal::write(text);
                    text.len() as u64
                });
                epochs::count_journaled(u32::from(catalog::my_database()), bytes);
            }
        } else {
            self.plan = Plan::AtCommit;
            let encoded = self.encode(0, false);
            // In the COMMIT callback nothing may be allocated.
            GROUP
                .with_borrow_mut(|text| {
                    text.clear();
                    fallible::reserve(text, GROUP_BYTES, WHAT)
                })
                .or_raise();
            group::prepare();
            assert_eq!(encoded, self.deltas.len(), "one record holds what was found small enough");
        }
    }

    /// Encodes deltas from a position on into one record; how many.
    fn encode(&self, from: usize, needs_commit: bool) -> usize {
        RECORD.with_borrow_mut(|text| {
            // Room for the last delta too, of any size. Raised at PRE_COMMIT, where it may be.
            text.clear();
            fallible::reserve(text, RECORD_BYTES.min(HEADER_BYTES + self.bytes), WHAT).or_raise();
            record::begin(
                text,
                Header { relation: self.relation, key: self.key, epoch: self.epoch, needs_commit },
            );
            let mut count = 0;
            for delta in &self.deltas[from..] {
                // The first always fits; the bound leaves room for one more delta of any size.
                if text.len() > record::TARGET_BYTES {
                    break;
                }
                record::push(text, &delta.id, delta.net);
                count += 1;
            }
            text.shrink_to(4 * record::TARGET_BYTES);
            count
        })
    }
}

/// COMMIT: writes what is still to be written, and adds the deltas to memory. Returns the increments behind them.
/// Cannot fail.
pub fn commit() -> u64 {
    let Some(batch) = BATCH.take() else { return 0 };
    let database = u32::from(catalog::my_database());
    if batch.plan == Plan::AtCommit {
        let lsn = write_at_commit(database, &batch);
        wal::wait_for_standbys(lsn);
        wal::forget_own_writes();
    }
    settings::stretch_commit_window();
    let mut increments = 0;
    for (delta, pin) in batch.deltas.iter().zip(&batch.pins) {
        buffer::add(*pin, batch.epoch, delta.net, delta.increments, batch.plan != Plan::Later);
        increments += delta.increments;
    }
    if batch.plan == Plan::Later {
        UNDRAINED_SINCE.set(Some(epochs::drains_begun(database)));
        if is_late(database) {
            workers::wake_worker(database);
        }
    }
    epochs::withdraw();
    increments
}

/// Writes the transaction's record, alone or with others that commit now, and flushes it.
fn write_at_commit(database: u32, batch: &Batch) -> Lsn {
    RECORD.with_borrow(|own| {
        let deltas = record::read_header(own).map_or(&[][..], |(_, deltas)| deltas);
        let write_group = |epoch, members: &mut dyn Iterator<Item = &'static [u8]>| {
            GROUP.with_borrow_mut(|text| {
                let header = Header { relation: batch.relation, key: batch.key, epoch, needs_commit: false };
                record::begin(text, header);
                let write = |text: &[u8]| {
                    epochs::count_journaled(database, text.len() as u64);
                    journal::write(text)
                };
                for deltas in members {
                    // Nothing is allocated here: what there is no room for begins another record.
                    if text.capacity() - text.len() < deltas.len() {
                        write(text);
                        record::begin(text, header);
                    }
                    // BOUND: the room that was looked at above.
                    text.extend_from_slice(deltas);
                }
                write(text)
            })
        };
        let together = wal::in_critical_section(|| {
            group::commit(database, batch.epoch, deltas, write_group, wal::flush)
        });
        together.unwrap_or_else(|| {
            epochs::count_journaled(database, own.len() as u64);
            wal::in_critical_section(|| {
                let lsn = journal::write(own);
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
    }
    epochs::withdraw();
}

/// A synchronous commit, or one with an xid, must not be more durable than what this session committed before it.
pub fn drain_own() {
    let Some(since) = UNDRAINED_SINCE.get() else {
        return;
    };
    let database = u32::from(catalog::my_database());
    if !epochs::is_drained_since(database, since) {
        draining::drain(database, true);
    }
    UNDRAINED_SINCE.set(None);
}

/// The worker drains every `wal_writer_delay`; when it has not for twice as long, a committing backend does.
fn drain_if_late() {
    let database = u32::from(catalog::my_database());
    if is_late(database) && buffer::has_unjournaled(database, epochs::relation(database)) {
        draining::drain(database, false);
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
    drain_own();
}
