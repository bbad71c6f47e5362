//! What each backend announces while it commits.
//!
//! Contract: from before its slot rows are written until after its deltas are in memory, a committing backend shows
//! its top-level transaction id in its own cell. In between, PostgreSQL makes the commit visible. A loader whose
//! snapshot saw that commit must not call its entry LOADED before the backend has left: the backend, still to come
//! with the same deltas, would add them a second time. Only the owner writes a cell; a backend that ends by error
//! clears it in its abort, which a terminated one goes through too; after a crash the cells are made anew.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::databases;
use super::segment::segment;
use super::visibility;
use crate::pg::process;
use crate::pg::snapshot::Snapshot;

/// Counts committed increments in this process's own cell: a shared counter's line would go from core to core with
/// every commit. Cannot fail.
pub fn count_increments(database: u32, increments: u64, buffered: u64) {
    let (Some(segment), Some(slot)) = (segment(), process::my_slot()) else {
        return;
    };
    if slot >= segment.backend_cells() {
        return;
    }
    let cell = segment.backend_cell(slot);
    if cell.database.load(Ordering::Relaxed) != database {
        // What the process before us left is for its own database.
        hand_over(slot);
        cell.database.store(database, Ordering::SeqCst);
    }
    cell.increments.fetch_add(increments, Ordering::Relaxed);
    if buffered > 0 {
        cell.buffered_increments.fetch_add(buffered, Ordering::Relaxed);
    }
}

/// Gives what a process's cell counted to its database's cell.
pub(super) fn hand_over(slot: usize) {
    let Some(segment) = segment() else { return };
    let cell = segment.backend_cell(slot);
    let database = cell.database.load(Ordering::Relaxed);
    let increments = cell.increments.swap(0, Ordering::Relaxed);
    let buffered = cell.buffered_increments.swap(0, Ordering::Relaxed);
    if increments > 0 {
        databases::count(database, |cell| &cell.increments, increments);
        databases::count(database, |cell| &cell.buffered_increments, buffered);
    }
}

/// Committed increments of a database, all and buffered ones, that are in processes' cells.
pub(super) fn counted(database: u32) -> (u64, u64) {
    let Some(segment) = segment() else {
        return (0, 0);
    };
    let mut sums = (0, 0);
    for index in 0..segment.backend_cells() {
        let cell = segment.backend_cell(index);
        if cell.database.load(Ordering::Relaxed) == database {
            sums.0 += cell.increments.load(Ordering::Relaxed);
            sums.1 += cell.buffered_increments.load(Ordering::Relaxed);
        }
    }
    sums
}

/// Announces that this transaction's commit is under way.
pub fn announce(xid: u32) {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && slot < segment.backend_cells()
    {
        segment.backend_cell(slot).xid.store(xid, Ordering::SeqCst);
    }
}

/// The deltas are in memory, or the transaction is aborted.
pub fn withdraw() {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && slot < segment.backend_cells()
    {
        let cell = segment.backend_cell(slot);
        if cell.xid.load(Ordering::Relaxed) != 0 {
            cell.xid.store(0, Ordering::SeqCst);
        }
    }
}

/// Waits until every backend whose commit the snapshot saw has its deltas in memory. False when one took longer
/// than `patience` (stopped by a debugger, say).
pub fn await_commits_seen_by(snapshot: &Snapshot, patience: Duration) -> bool {
    let Some(segment) = segment() else {
        return true;
    };
    let me = process::my_slot();
    let started = Instant::now();
    for index in 0..segment.backend_cells() {
        if Some(index) == me {
            continue;
        }
        let cell = segment.backend_cell(index);
        let xid = cell.xid.load(Ordering::SeqCst);
        let seen = xid != 0 && visibility::is_seen(xid, snapshot.xmin(), snapshot.xmax(), snapshot.running());
        if !seen {
            continue;
        }
        let mut pause_us = 20;
        while cell.xid.load(Ordering::SeqCst) == xid {
            if started.elapsed() > patience {
                return false;
            }
            process::check_for_interrupts();
            process::sleep_us(pause_us);
            pause_us = (pause_us * 2).min(2000);
        }
    }
    true
}
