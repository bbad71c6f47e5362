//! Group commit: transactions that commit at the same moment share one record and one flush.
//!
//! Contract: a member has room for its own record on a page of the journal's table, and a pin on that page. It writes its deltas into
//! its own backend's cell, then pushes the cell onto its database's queue. Who finds the queue empty leads: it takes the
//! flush lock, behind the leader before it, then takes the whole queue, whose members all came meanwhile. Those with room on
//! the leader's page are its party: together they have room for one record of all their deltas. The leader writes it, flushes, and only then marks each as
//! done and wakes it. Those on another page it wakes at once, to write for themselves.
//!
//! Who waits for synchronous standbys afterwards gets a record of its own before that one, under the same flush: PostgreSQL's queue of those
//! who wait is meant to have no two for one position. Two do no harm, but a server with assertions looks.
//!
//! A member sleeps on its process's semaphore, as in PostgreSQL's own group operations (ProcArrayGroupClearXid), and
//! touches nothing of its cell until it is marked: until then the cell is the leader's. Everybody is in a COMMIT callback with interrupts
//! held off, so nobody leaves the queue early; an error of the leader is a PANIC, and a crash makes everything anew. The record of a
//! group that a crash meets before its flush has ended was acknowledged to none of its members. Nothing is allocated here.

use std::sync::atomic::Ordering;

use super::databases;
use super::layout::*;
use super::segment::{Segment, segment};
use crate::pg::process;

/// Queue ends and empty queues.
const NOBODY: u32 = 0;

/// A member waits for the leader.
const WAITS: u32 = 1;
/// The same, and its deltas are not to be in one record with others'.
const WAITS_ALONE: u32 = 2;

/// What is written for a group: the deltas of each of its members.
pub type Texts<'p> = dyn Iterator<Item = &'p [u8]> + 'p;

/// Has the deltas written and flushed in a record of their epoch, with those of others who have room on the same block and commit now;
/// returns a position that is flushed and not before the record's end; `alone`, the end of a record that has no other's deltas. `None` where
/// the caller must write them itself. `write` is given the deltas of all members of a record; both it and `flush` run where nothing may fail.
pub fn commit(
    database: u32,
    block: u32,
    alone: bool,
    deltas: &[u8],
    mut write: impl FnMut(&mut Texts<'_>) -> u64,
    flush: impl FnOnce(u64),
) -> Option<u64> {
    let segment = segment()?;
    let slot = process::my_slot().filter(|slot| *slot < segment.backend_cells())?;
    let cell = segment.backend_cell(slot);
    if deltas.len() > GROUP_TEXT_BYTES {
        return None;
    }
    let index = databases::index_of(database)?;
    let queue = databases::with(database, |cell| &cell.group_queue)?;
    // SAFETY: our own cell, which nobody reads before it is in the queue.
    unsafe { std::ptr::copy_nonoverlapping(deltas.as_ptr(), cell.group_text.get().cast(), deltas.len()) };
    cell.group_text_bytes.store(deltas.len() as u32, Ordering::Relaxed);
    cell.group_block.store(block, Ordering::Relaxed);
    cell.group_waits.store(if alone { WAITS_ALONE } else { WAITS }, Ordering::Relaxed);
    let mut before = queue.load(Ordering::Relaxed);
    loop {
        cell.group_next.store(before, Ordering::Relaxed);
        match queue.compare_exchange_weak(before, slot as u32 + 1, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => break,
            Err(now) => before = now,
        }
    }
    if before != NOBODY {
        process::sleep_until(|| cell.group_waits.load(Ordering::Acquire) == 0);
        let lsn = cell.group_lsn.load(Ordering::Relaxed);
        return (lsn != 0).then_some(lsn);
    }
    let _held = segment.lock_flush(index);
    let all = Party { segment: &segment, first: queue.swap(NOBODY, Ordering::SeqCst) };
    let (party, others) = all.split(|cell| cell.group_block.load(Ordering::Relaxed) == block);
    others.note_end(0);
    others.wake(slot);
    let (apart, together) = party.split(|cell| cell.group_waits.load(Ordering::Relaxed) == WAITS_ALONE);
    let mut last = 0;
    for member in apart.slots() {
        last = write(&mut std::iter::once(apart.text(member)));
        segment.backend_cell(member).group_lsn.store(last, Ordering::Relaxed);
    }
    if !together.is_empty() {
        last = write(&mut together.texts());
        together.note_end(last);
    }
    flush(last);
    drop(_held);
    let lsn = cell.group_lsn.load(Ordering::Relaxed);
    apart.wake(slot);
    together.wake(slot);
    Some(lsn)
}

/// Members that sleep, and the leader. While this is there their cells are its own.
struct Party<'s> {
    segment: &'s Segment,
    first: u32,
}

impl<'s> Party<'s> {
    fn slots(&self) -> impl Iterator<Item = usize> + '_ {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let slot = (next != NOBODY).then(|| next as usize - 1)?;
            next = self.segment.backend_cell(slot).group_next.load(Ordering::Relaxed);
            Some(slot)
        })
    }

    fn is_empty(&self) -> bool {
        self.first == NOBODY
    }

    /// The members' deltas, for as long as they sleep.
    fn texts(&self) -> impl Iterator<Item = &[u8]> + '_ {
        self.slots().map(|slot| self.text(slot))
    }

    /// The deltas of one of its members.
    fn text(&self, member: usize) -> &[u8] {
        let cell = self.segment.backend_cell(member);
        let bytes = cell.group_text_bytes.load(Ordering::Relaxed) as usize;
        assert!(bytes <= GROUP_TEXT_BYTES);
        // SAFETY: written before the cell was queued; its owner sleeps until `wake`, which takes `self` and with it
        // everything borrowed from it.
        unsafe { std::slice::from_raw_parts(cell.group_text.get().cast::<u8>(), bytes) }
    }

    /// Notes for each member the end of the record that has its deltas; 0 where none has.
    fn note_end(&self, lsn: u64) {
        self.slots().for_each(|slot| self.segment.backend_cell(slot).group_lsn.store(lsn, Ordering::Relaxed));
    }

    /// Those that are meant, and the others.
    fn split(self, is_meant: impl Fn(&BackendCell) -> bool) -> (Party<'s>, Party<'s>) {
        let segment = self.segment;
        let (mut meant, mut others) = (NOBODY, NOBODY);
        let mut next = self.first;
        while next != NOBODY {
            let cell = segment.backend_cell(next as usize - 1);
            let list = if is_meant(cell) { &mut meant } else { &mut others };
            let after = cell.group_next.swap(*list, Ordering::Relaxed);
            *list = next;
            next = after;
        }
        (Party { segment, first: meant }, Party { segment, first: others })
    }

    /// Gives each member its cell back, where the end of the record that has its deltas is noted. Nobody wakes himself.
    fn wake(self, me: usize) {
        let mut next = self.first;
        while next != NOBODY {
            let slot = next as usize - 1;
            let cell = self.segment.backend_cell(slot);
            // Before the cell is its owner's again.
            next = cell.group_next.load(Ordering::Relaxed);
            if slot != me {
                cell.group_waits.store(0, Ordering::Release);
                process::wake_sleeper(slot);
            }
        }
    }
}
