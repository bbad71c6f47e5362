//! Group commit: transactions that commit at the same moment share one record and one flush.
//!
//! Contract: a member writes its deltas into its own backend's cell, then pushes the cell onto its database's queue.
//! Who finds the queue empty leads: it takes the flush lock, behind the leader before it, then takes the whole queue,
//! whose members all came meanwhile, writes their deltas, flushes, and only then marks each as done and wakes it. A
//! member sleeps on its process's semaphore, as in PostgreSQL's own group operations (ProcArrayGroupClearXid), and
//! touches nothing of its cell until it is marked. Everybody is in a COMMIT callback with interrupts held off, so
//! nobody leaves the queue early; an error of the leader is a PANIC, and a crash makes everything anew. The record of a
//! group that a crash meets before its flush has ended was acknowledged to none of its members.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use super::databases;
use super::layout::*;
use super::segment::{Segment, segment};
use crate::errors::OrRaise;
use crate::fallible;
use crate::pg::process;

/// Queue ends and empty queues.
const NOBODY: u32 = 0;

thread_local! {
    /// Slots of a group's members; its memory is kept.
    static MEMBERS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for as many members as there can be: while a group is written nothing may fail. Raises 53200.
pub fn prepare() {
    let Some(segment) = segment() else { return };
    MEMBERS.with_borrow_mut(|members| {
        members.clear();
        fallible::reserve_exact(members, segment.backend_cells(), "a group that commits").or_raise();
    });
}

/// Has the deltas written and flushed in a record of their epoch, with those of others who commit now; returns a
/// position that is flushed and not before the record's end. `None` where they do not fit. `write` is given an epoch
/// and the deltas of all its members; both it and `flush` run where nothing may fail.
pub fn commit(
    database: u32,
    epoch: u64,
    deltas: &[u8],
    mut write: impl FnMut(u64, &mut dyn Iterator<Item = &'static [u8]>) -> u64,
    flush: impl Fn(u64),
) -> Option<u64> {
    let segment = segment()?;
    let slot = process::my_slot().filter(|slot| *slot < segment.backend_cells())?;
    let cell = segment.backend_cell(slot);
    if deltas.len() > GROUP_TEXT_BYTES {
        return None;
    }
    // SAFETY: our own cell, which nobody reads before it is in the queue.
    unsafe { std::ptr::copy_nonoverlapping(deltas.as_ptr(), cell.group_text.get().cast(), deltas.len()) };
    cell.group_text_bytes.store(deltas.len() as u32, Ordering::Relaxed);
    cell.group_epoch.store(epoch, Ordering::Relaxed);
    cell.group_waits.store(1, Ordering::Relaxed);
    let queue = databases::with(database, |cell| &cell.group_queue)?;
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
        return Some(cell.group_lsn.load(Ordering::Relaxed));
    }
    Some(lead(&segment, database, slot, &mut write, flush))
}

fn lead(
    segment: &Segment,
    database: u32,
    me: usize,
    write: &mut impl FnMut(u64, &mut dyn Iterator<Item = &'static [u8]>) -> u64,
    flush: impl Fn(u64),
) -> u64 {
    MEMBERS.with_borrow_mut(|members| {
        members.clear();
        let index = databases::index_of(database).unwrap_or(0);
        let mut lsn = 0;
        {
            let _held = segment.lock_flush(index);
            let mut next = databases::with(database, |cell| cell.group_queue.swap(NOBODY, Ordering::SeqCst))
                .unwrap_or(NOBODY);
            while next != NOBODY {
                let slot = next as usize - 1;
                // BOUND: `prepare` has made room for all backends.
                members.push(slot);
                next = segment.backend_cell(slot).group_next.load(Ordering::Relaxed);
            }
            // Two epochs at most: one that is being ended, and its successor.
            let epoch_of = |slot: &usize| segment.backend_cell(*slot).group_epoch.load(Ordering::Relaxed);
            let lowest = members.iter().map(epoch_of).min().unwrap_or(0);
            for epoch in [lowest, lowest + 1] {
                let mut texts = members
                    .iter()
                    .filter(|slot| epoch_of(slot) == epoch)
                    .map(|slot| text_of(segment, *slot))
                    .peekable();
                if texts.peek().is_some() {
                    lsn = write(epoch, &mut texts);
                }
            }
            flush(lsn);
        }
        for slot in members.iter().copied().filter(|slot| *slot != me) {
            let cell = segment.backend_cell(slot);
            cell.group_lsn.store(lsn, Ordering::Relaxed);
            cell.group_waits.store(0, Ordering::Release);
            process::wake_sleeper(slot);
        }
        lsn
    })
}

/// A queued member's deltas.
fn text_of(segment: &Segment, slot: usize) -> &'static [u8] {
    let cell = segment.backend_cell(slot);
    let bytes = cell.group_text_bytes.load(Ordering::Relaxed) as usize;
    assert!(bytes <= GROUP_TEXT_BYTES);
    // SAFETY: written before the cell was queued; its owner sleeps until it is marked, which the leader does after
    // the text was read. The segment is mapped for the life of the process.
    unsafe { std::slice::from_raw_parts(cell.group_text.get().cast::<u8>(), bytes) }
}
