//! Group commit: transactions that commit at the same moment share one record and one flush.
//!
//! Contract: a member has room for its own record on a page of the journal's table, and a pin on that page. It writes its deltas into
//! its own backend's cell, then enters its database's queue (`queue.rs`). Who finds that nobody leads, leads. It takes the
//! whole queue. Those with room on its page are its party: together they have room for one record of all their deltas. The leader writes it, flushes, and
//! only then marks each as done and wakes it. Those with room on another page it has led by one of them before that, who does the same for these
//! alone, beside it: so whoever is taken out of the queue waits for no flush but that of its own party.
//!
//! Those who came while it flushed are the next group. Where many of them have room on its page too, it leads them as well, a few times: another one
//! would have to be woken first, and get a processor beside all those who were just woken, before the next flush can begin. Else it
//! hands over to one of them. Who is stopped by force (SIGSTOP) while it leads, or is to, stops all who commit after it in this mode, as one would who
//! is stopped with one of PostgreSQL's WAL locks.
//!
//! Who waits for synchronous standbys afterwards gets a record of its own before that one, under the same flush: PostgreSQL's queue of those
//! who wait is meant to have no two for one position. Two do no harm, but a server with assertions looks.
//!
//! A member sleeps on its process's semaphore, as in PostgreSQL's own group operations (ProcArrayGroupClearXid), and
//! touches nothing of its cell until it is told: until then the cell is the leader's. Everybody is in a COMMIT callback with interrupts
//! held off, so nobody leaves the queue early; an error of a leader is a PANIC, and a crash makes everything anew. The record of a
//! group that a crash meets before its flush has ended was acknowledged to none of its members. Nothing is allocated here.

use std::sync::atomic::{AtomicU32, Ordering};

use super::databases;
use super::layout::*;
use super::queue::{DONE, LEADS, LEADS_APART, List, Members, Queue, WAITS};
use super::segment::{Segment, segment};
use crate::pg::process;

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
    let mut group = Group { segment: &segment, me: slot as u32 + 1, write, flush };
    if queue.enter(group.me, &cell.group_next) {
        queue.lead(List::none(&segment), block, MOST_GROUPS, MANY, |party| group.commit(party));
    } else {
        process::sleep_until(|| cell.group_state.load(Ordering::Acquire) != WAITS);
        let given = List::from(&segment, group.me);
        match cell.group_state.load(Ordering::Relaxed) {
            LEADS => queue.lead(given, block, MOST_GROUPS, MANY, |party| group.commit(party)),
            LEADS_APART => group.commit(given),
            _ => {}
        }
    }
    Some(cell.group_lsn.load(Ordering::Relaxed))
}

impl Members for Segment {
    fn before(&self, member: u32) -> &AtomicU32 {
        &member_cell(self, member).group_next
    }

    fn block(&self, member: u32) -> u32 {
        member_cell(self, member).group_block.load(Ordering::Relaxed)
    }

    fn tell(&self, member: u32, state: u32) {
        member_cell(self, member).group_state.store(state, Ordering::Release);
        process::wake_sleeper(member as usize - 1);
    }
}

fn member_cell(segment: &Segment, member: u32) -> &BackendCell {
    segment.backend_cell(member as usize - 1)
}

/// Members that sleep, and who leads them.
type Party<'s> = List<'s, Segment>;

/// What a leader has and does.
struct Group<'s, W, F> {
    segment: &'s Segment,
    me: u32,
    write: W,
    flush: F,
}

impl<'s, W: FnMut(&mut Texts<'_>) -> u64, F: FnMut(u64)> Group<'s, W, F> {
    /// Writes what the members of a party have, flushes it and tells them. All have room on the leader's page.
    fn commit(&mut self, party: Party<'s>) {
        debug_assert!(party.first().is_some());
        let (segment, me) = (self.segment, self.me);
        let (apart, together) =
            party.split(|member| self.cell(member).group_alone.load(Ordering::Relaxed) != 0);
        let mut last = 0;
        for member in apart.each() {
            last = (self.write)(&mut std::iter::once(text(segment, member)));
            self.cell(member).group_lsn.store(last, Ordering::Relaxed);
        }
        if together.first().is_some() {
            last = (self.write)(&mut together.each().map(|member| text(segment, member)));
            together.each().for_each(|member| self.cell(member).group_lsn.store(last, Ordering::Relaxed));
        }
        (self.flush)(last);
        for told in [apart, together] {
            told.end_each(|member| {
                if member != me {
                    segment.tell(member, DONE);
                }
            });
        }
    }

    fn cell(&self, member: u32) -> &'s BackendCell {
        member_cell(self.segment, member)
    }
}

/// The deltas of a member of a party.
fn text(segment: &Segment, member: u32) -> &[u8] {
    let cell = member_cell(segment, member);
    let bytes = cell.group_text_bytes.load(Ordering::Relaxed) as usize;
    assert!(bytes <= GROUP_TEXT_BYTES);
    // SAFETY: written before the cell was queued; its owner does not write to it before it is told, and is told by `commit` alone, which reads
    // no text after that.
    unsafe { std::slice::from_raw_parts(cell.group_text.get().cast::<u8>(), bytes) }
}
