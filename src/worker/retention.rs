//! The launcher keeps one replication slot a cluster, at the oldest WAL that any database needs for recovery. It goes
//! with the last database that needs it. While a database's need is not known yet, after a start, it stays where it is.

use crate::memory::databases;
use crate::memory::epochs::{self, Retention};
use crate::pg::{replication_slot, wal, xact};

/// What the databases need, all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Some database has not said yet.
    Unknown,
    Nothing,
    /// Somebody wants to begin: WAL of before it must not be needed, but the slot must be there.
    Slot,
    From(wal::Lsn),
}

/// A database as far as the launcher knows it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub database: u32,
    /// A worker has looked into it.
    pub answered: bool,
}

fn need(all: &[Known]) -> Need {
    let mut lowest = None;
    let mut wanted = false;
    let mut unknown = false;
    for known in all {
        match epochs::needed_lsn(known.database) {
            Some(0) => wanted |= epochs::is_wanted(known.database),
            Some(lsn) => lowest = Some(lowest.map_or(lsn, |before: wal::Lsn| before.min(lsn))),
            // On a standby those without a journal stay unknown: it is not theirs to say that there is none.
            None if xact::in_recovery() => unknown |= !known.answered,
            // One that finds no cell has no worker, and buffers nothing.
            None => {
                unknown |= databases::is_registered(known.database)
                    || (!known.answered && databases::has_free_cell());
            }
        }
    }
    match (unknown, lowest, wanted) {
        // Who only begins will need WAL from later on.
        (false, Some(lsn), _) => Need::From(lsn),
        (false, None, false) => Need::Nothing,
        (true, _, false) => Need::Unknown,
        (_, _, true) => Need::Slot,
    }
}

/// Makes, moves or removes the slot. A message when that failed for a reason worth a line in the log.
pub fn tend(all: &[Known]) -> Result<(), String> {
    let need = need(all);
    match (need, replication_slot::exists()) {
        (Need::Nothing, false) => epochs::publish_retention(Retention::None, 0),
        // What a standby's databases need may only not be known yet.
        (Need::Nothing, true) if xact::in_recovery() => follow(0)?,
        (Need::Nothing, true) => {
            xact::run_in_worker(replication_slot::remove)?;
            epochs::publish_retention(Retention::None, 0);
        }
        (Need::Unknown, false) => {}
        (Need::Unknown | Need::Slot, true) => follow(0)?,
        (Need::From(lsn), true) => follow(lsn)?,
        (Need::Slot | Need::From(_), false) => create()?,
    }
    Ok(())
}

fn create() -> Result<(), String> {
    if !wal::level_allows_slots() {
        epochs::publish_retention(Retention::NoWalLevel, 0);
        return Ok(());
    }
    if let Err(message) = xact::run_in_worker(replication_slot::create) {
        epochs::publish_retention(Retention::NoFreeSlot, 0);
        return Err(message);
    }
    follow(0)
}

fn follow(lsn: wal::Lsn) -> Result<(), String> {
    match xact::run_in_worker(|| replication_slot::advance(lsn))? {
        replication_slot::State::Keeps(lsn) => epochs::publish_retention(Retention::Held, lsn),
        replication_slot::State::Invalidated => {
            pgrx::warning!(
                "counter_ext: PostgreSQL has invalidated the replication slot that keeps WAL for recovery of buffered \
                 increments; it is made anew, and a crash before the next compaction may lose increments"
            );
            xact::run_in_worker(replication_slot::remove)?;
            return create();
        }
        replication_slot::State::Foreign => {
            epochs::publish_retention(Retention::NoFreeSlot, 0);
            return Err("a logical replication slot has the name that counter_ext needs for its own".into());
        }
    }
    Ok(())
}
