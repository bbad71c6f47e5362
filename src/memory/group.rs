//! Group commit: transactions that commit at the same moment share one record and one flush.
//!
//! Contract: a member has room for its own record on a page of the journal's table, and a pin on that page. It writes its deltas into
//! its own backend's cell, then enters its database's queue (`queue.rs`). Who finds that nobody leads, leads. It takes the
//! whole queue; those with room on its page are its party: together they have room for one record of all their deltas. The leader writes it, flushes, and
//! only then marks each as done and wakes it.
//!
//! Those who came while it flushed are the next group. Where they are many, and have room on its page too, it leads them as well, a few times: another one
//! would have to be woken first, and get a processor beside all those who were just woken, before the next flush can begin. Else it
//! hands over to one of them, who is woken at once. So does it where some have room on another page: one of those leads next.
//!
//! Who waits for synchronous standbys afterwards gets a record of its own before that one, under the same flush: PostgreSQL's queue of those
//! who wait is meant to have no two for one position. Two do no harm, but a server with assertions looks.
//!
//! A member sleeps on its process's semaphore, as in PostgreSQL's own group operations (ProcArrayGroupClearXid), and
//! touches nothing of its cell until it is told: until then the cell is the leader's. Everybody is in a COMMIT callback with interrupts
//! held off, so nobody leaves the queue early; an error of the leader is a PANIC, and a crash makes everything anew. The record of a
//! group that a crash meets before its flush has ended was acknowledged to none of its members. Nothing is allocated here.

use std::sync::atomic::Ordering;

use super::databases;
use super::layout::*;
use super::queue::{NOBODY, Queue};
use super::segment::{Segment, segment};
use crate::pg::process;

/// A member is done: its deltas are flushed.
const DONE: u32 = 0;
/// A member waits for the leader.
const WAITS: u32 = 1;
/// A member leads those it is given.
const LEADS: u32 = 2;

/// A leader leads so many groups at most: its own client waits meanwhile.
const MOST_GROUPS: u32 = 4;
/// So many are many: fewer leave processors idle, so one of them is soon awake.
const MANY: usize = 4;

/// What is written for a group: the deltas of each of its members.
pub type Texts<'p> = dyn Iterator<Item = &'p [u8]> + 'p;

/// Has the deltas written and flushed in a record of their epoch, with those of others who have room on the same block and commit now;
/// returns a position that is flushed and not before the record's end; `alone`, the end of a record that has no other's deltas. `None` where
/// the caller must write them itself. `write` is given the deltas of all members of a record; both it and `flush` run where nothing may
/// fail, and are called for later groups too.
pub fn commit(
    database: u32,
    block: u32,
    alone: bool,
    deltas: &[u8],
    write: impl FnMut(&mut Texts<'_>) -> u64,
    flush: impl FnMut(u64),
) -> Option<u64> {
    let segment = segment()?;
    let slot = process::my_slot().filter(|slot| *slot < segment.backend_cells())?;
    let cell = segment.backend_cell(slot);
    if deltas.len() > GROUP_TEXT_BYTES {
        return None;
    }
    let queue = databases::with(database, |cell| Queue { word: &cell.group_queue })?;
    // SAFETY: our own cell, which nobody reads before it is in the queue.
    unsafe { std::ptr::copy_nonoverlapping(deltas.as_ptr(), cell.group_text.get().cast(), deltas.len()) };
    cell.group_text_bytes.store(deltas.len() as u32, Ordering::Relaxed);
    cell.group_block.store(block, Ordering::Relaxed);
    cell.group_alone.store(u32::from(alone), Ordering::Relaxed);
    cell.group_state.store(WAITS, Ordering::Relaxed);
    let mut given = NOBODY;
    if !queue.enter(slot as u32 + 1, &cell.group_next) {
        process::sleep_until(|| cell.group_state.load(Ordering::Acquire) != WAITS);
        if cell.group_state.load(Ordering::Relaxed) == DONE {
            return Some(cell.group_lsn.load(Ordering::Relaxed));
        }
        given = cell.group_given.load(Ordering::Relaxed);
    }
    lead(Party { segment: &segment, first: given }, &queue, slot, block, write, flush);
    Some(cell.group_lsn.load(Ordering::Relaxed))
}

/// Leads those who are given and those in the queue, the caller among them, who has room on this block.
fn lead(
    given: Party<'_>,
    queue: &Queue<'_>,
    me: usize,
    block: u32,
    mut write: impl FnMut(&mut Texts<'_>) -> u64,
    mut flush: impl FnMut(u64),
) {
    let segment = given.segment;
    let newcomers = || Party { segment, first: queue.take() };
    let mut all = given.and(newcomers());
    for group in 1.. {
        let (party, others) = all.split(|cell| cell.group_block.load(Ordering::Relaxed) == block);
        debug_assert!(!party.is_empty());
        let (apart, together) = party.split(|cell| cell.group_alone.load(Ordering::Relaxed) != 0);
        let mut last = 0;
        for member in apart.slots() {
            last = write(&mut std::iter::once(apart.text(member)));
            segment.backend_cell(member).group_lsn.store(last, Ordering::Relaxed);
        }
        if !together.is_empty() {
            last = write(&mut together.texts());
            together.slots().for_each(|member| {
                segment.backend_cell(member).group_lsn.store(last, Ordering::Relaxed);
            });
        }
        flush(last);
        apart.tell(me);
        together.tell(me);
        if others.is_empty() && queue.leave() {
            return;
        }
        let leads_on = others.is_empty() && group < MOST_GROUPS;
        // Others, if there are any, come first, so that one of them leads next.
        all = others.and(newcomers());
        if !leads_on || all.count_on(block) < MANY {
            all.hand_over();
            return;
        }
    }
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

    /// Those with room on this block.
    fn count_on(&self, block: u32) -> usize {
        let has_room =
            |slot: &usize| self.segment.backend_cell(*slot).group_block.load(Ordering::Relaxed) == block;
        self.slots().filter(has_room).count()
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

    /// These, and behind them others.
    fn and(self, others: Party<'s>) -> Party<'s> {
        match self.slots().last() {
            None => others,
            Some(last) => {
                self.segment.backend_cell(last).group_next.store(others.first, Ordering::Relaxed);
                self
            }
        }
    }

    /// Gives each member its cell back, where the end of the record that has its deltas is noted. Nobody wakes himself.
    fn tell(self, me: usize) {
        let mut next = self.first;
        while next != NOBODY {
            let slot = next as usize - 1;
            let cell = self.segment.backend_cell(slot);
            // Before the cell is its owner's again.
            next = cell.group_next.load(Ordering::Relaxed);
            if slot != me {
                cell.group_state.store(DONE, Ordering::Release);
                process::wake_sleeper(slot);
            }
        }
    }

    /// Has the first of them lead them all.
    fn hand_over(self) {
        let slot = self.first as usize - 1;
        let cell = self.segment.backend_cell(slot);
        cell.group_given.store(self.first, Ordering::Relaxed);
        cell.group_state.store(LEADS, Ordering::Release);
        process::wake_sleeper(slot);
    }
}
