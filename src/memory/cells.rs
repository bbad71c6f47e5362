//! What each backend announces while it commits.
//!
//! Contract: from before its slot rows are written until after its deltas are in memory, a committing backend shows
//! its top-level transaction id in its own cell. In between, PostgreSQL makes the commit visible. A loader whose
//! snapshot saw that commit must not call its entry LOADED before the backend has left: the backend, still to come
//! with the same deltas, would add them a second time. Those of other databases are no concern of it. Only the owner writes a cell; a backend that ends by error
//! clears it in its abort, which a terminated one goes through too; after a crash the cells are made anew. A bit for each cell says whether
//! a commit was ever announced in it. It is set before the first one is, and stays: who looks for commits looks at those cells only.
//!
//! BOUND: eight bytes for each backend that is just committing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::databases;
use super::segment::{Segment, segment};
use super::visibility;
use crate::pg::process;
use crate::pg::session::session_local;
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
    belongs_to(slot, database);
    cell.increments.fetch_add(increments, Ordering::Relaxed);
    if buffered > 0 {
        cell.buffered_increments.fetch_add(buffered, Ordering::Relaxed);
    }
}

/// Makes a process's cell its database's: what the process before it left is for that one's own.
fn belongs_to(slot: usize, database: u32) {
    let Some(segment) = segment() else { return };
    let cell = segment.backend_cell(slot);
    if cell.database.load(Ordering::Relaxed) != database {
        hand_over(slot);
        cell.database.store(database, Ordering::SeqCst);
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
        databases::count(database, |counts| &counts.increments, increments);
        databases::count(database, |counts| &counts.buffered_increments, buffered);
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
pub fn announce(database: u32, xid: u32) {
    if let (Some(segment), Some(slot)) = (segment(), process::my_slot())
        && slot < segment.backend_cells()
    {
        belongs_to(slot, database);
        note_announcer(&segment, slot);
        segment.backend_cell(slot).xid.store(xid, Ordering::SeqCst);
    }
}

/// Notes that commits are announced in a cell, before the first one is: who looks for commits passes over the others.
fn note_announcer(segment: &Segment, slot: usize) {
    let (word, bit) = (&segment.announcers()[slot / 64], 1 << (slot % 64));
    if word.load(Ordering::SeqCst) & bit == 0 {
        word.fetch_or(bit, Ordering::SeqCst);
    }
}

/// Cells in which commits were ever announced.
fn announcers(segment: &Segment) -> impl Iterator<Item = usize> + '_ {
    segment.announcers().iter().enumerate().flat_map(|(word, bits)| {
        let mut left = bits.load(Ordering::SeqCst);
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(word * 64 + bit)
        })
    })
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

/// A commit that a backend announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    slot: usize,
    xid: u32,
}

impl Announced {
    fn is_seen_by(self, snapshot: &Snapshot) -> bool {
        visibility::is_seen(self.xid, snapshot.xmin(), snapshot.xmax(), snapshot.running())
    }

    fn is_still(self, segment: &Segment) -> bool {
        segment.backend_cell(self.slot).xid.load(Ordering::SeqCst) == self.xid
    }
}

/// Commits that other backends of the database announce now.
pub fn announced(database: u32) -> Vec<Announced> {
    segment().map_or_else(Vec::new, |segment| announced_in(&segment, database).collect())
}

fn announced_in(segment: &Segment, database: u32) -> impl Iterator<Item = Announced> + '_ {
    let me = process::my_slot();
    announcers(segment).filter(move |slot| Some(*slot) != me).filter_map(move |slot| {
        let cell = segment.backend_cell(slot);
        let xid = cell.xid.load(Ordering::SeqCst);
        // It announces no other database's commit before it has withdrawn this one.
        let is_ours = xid != 0 && cell.database.load(Ordering::SeqCst) == database;
        is_ours.then_some(Announced { slot, xid })
    })
}

/// Whether the snapshot saw one of these commits.
pub fn sees_any(snapshot: &Snapshot, announced: &[Announced]) -> bool {
    announced.iter().any(|commit| commit.is_seen_by(snapshot))
}

session_local! {
    /// Commits that took longer than anyone waits: waited for once, and not by every read that follows.
    static GIVEN_UP: RefCell<VecDeque<Announced>> = const { RefCell::new(VecDeque::new()) };
}

/// Backends that stand still in their commit at the same time, at most a few.
const MAX_GIVEN_UP: usize = 16;

/// Waits until every backend whose commit the snapshot saw has its deltas in memory. False when one took longer
/// than `patience` (stopped by a debugger, say), now or before.
pub fn await_commits_seen_by(database: u32, snapshot: &Snapshot, patience: Duration) -> bool {
    let Some(segment) = segment() else {
        return true;
    };
    // All of them as they are now: no more need to be waited for. Mostly there is none.
    let seen: Vec<_> =
        announced_in(&segment, database).filter(|commit| commit.is_seen_by(snapshot)).collect();
    if seen.is_empty() {
        return true;
    }
    let started = Instant::now();
    let mut all_are_over = true;
    for commit in seen {
        if GIVEN_UP.with_borrow(|given_up| given_up.contains(&commit)) {
            all_are_over &= !commit.is_still(&segment);
            continue;
        }
        let mut pause_us = 20;
        while commit.is_still(&segment) {
            if started.elapsed() > patience {
                GIVEN_UP.with_borrow_mut(|given_up| {
                    given_up.truncate(MAX_GIVEN_UP - 1);
                    given_up.push_front(commit);
                });
                return false;
            }
            process::check_for_interrupts();
            process::sleep_us(pause_us);
            pause_us = (pause_us * 2).min(2000);
        }
    }
    all_are_over
}
