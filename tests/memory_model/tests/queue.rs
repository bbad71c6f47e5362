//! The queue of a group commit: everybody is served once, whoever leads, leads on, hands over, or has others led apart.

use counter_ext_memory_model::queue::{DONE, LEADS, LEADS_APART, List, Members, Queue, WAITS};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

struct Member {
    before: AtomicU32,
    state: AtomicU32,
    /// It sleeps until somebody has set its state.
    told: Notify,
    block: AtomicU32,
    /// Its deltas, and how often they were written. Neither is an atomic: loom looks whether two touch it at once.
    text: UnsafeCell<u32>,
    served: UnsafeCell<u32>,
}

impl Member {
    fn new() -> Member {
        Member {
            before: AtomicU32::new(0),
            state: AtomicU32::new(0),
            told: Notify::new(),
            block: AtomicU32::new(0),
            text: UnsafeCell::new(0),
            served: UnsafeCell::new(0),
        }
    }
}

struct Group {
    word: AtomicU32,
    members: Vec<Member>,
    /// Only who leads touches it, and no atomic: loom looks whether two lead at once, or one does not see what the one before did.
    leading: UnsafeCell<u32>,
    /// A leader leads so many groups.
    groups: u32,
}

impl Members for Group {
    fn before(&self, member: u32) -> &AtomicU32 {
        &self.member(member).before
    }

    fn block(&self, member: u32) -> u32 {
        self.note_leading();
        self.member(member).block.load(Ordering::Relaxed)
    }

    fn tell(&self, member: u32, state: u32) {
        let member = self.member(member);
        member.state.store(state, Ordering::Release);
        member.told.notify();
    }
}

impl Group {
    fn of(members: usize, groups: u32) -> Arc<Group> {
        Arc::new(Group {
            word: AtomicU32::new(0),
            members: (0..members).map(|_| Member::new()).collect(),
            leading: UnsafeCell::new(0),
            groups,
        })
    }

    fn member(&self, number: u32) -> &Member {
        &self.members[number as usize - 1]
    }

    /// One leads at a time.
    fn note_leading(&self) {
        // SAFETY: who leads is the only one here.
        self.leading.with_mut(|times| unsafe { *times += 1 });
    }

    /// As `commit` of `src/memory/group.rs`, for one who has room on this block.
    fn commit(&self, me: u32, block: u32) {
        let own = self.member(me);
        let queue = Queue { word: &self.word };
        // SAFETY: its own until it enters the queue.
        own.text.with_mut(|text| unsafe { *text += 1 });
        own.block.store(block, Ordering::Relaxed);
        own.state.store(WAITS, Ordering::Relaxed);
        if queue.enter(me, &own.before) {
            self.lead(me, block, List::none(self), &queue);
            return;
        }
        loop {
            match own.state.load(Ordering::Acquire) {
                WAITS => own.told.wait(),
                LEADS => return self.lead(me, block, List::from(self, me), &queue),
                LEADS_APART => return self.serve(me, List::from(self, me)),
                _ => return,
            }
        }
    }

    fn lead(&self, me: u32, block: u32, given: List<'_, Group>, queue: &Queue<'_>) {
        queue.lead(given, block, self.groups, 1, |party| {
            self.note_leading();
            self.serve(me, party);
        });
    }

    fn serve(&self, me: u32, party: List<'_, Group>) {
        for number in party.each() {
            let member = self.member(number);
            // SAFETY: the member's words are its leader's.
            member.text.with(|text| member.served.with_mut(|served| unsafe { *served = *text }));
        }
        party.end_each(|number| {
            if number != me {
                self.tell(number, DONE);
            }
        });
    }

    /// How often each has been served, once all are done.
    fn served(&self) -> Vec<u32> {
        assert_eq!(self.word.load(Ordering::Relaxed), 0, "nobody leads, nobody waits");
        // SAFETY: every other thread was waited for.
        self.members.iter().map(|member| member.served.with(|served| unsafe { *served })).collect()
    }
}

/// Members come at once, each with room on its block; as many times as it has blocks.
fn all_are_served(groups: u32, blocks: &'static [&'static [u32]]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let group = Group::of(blocks.len(), groups);
        let others: Vec<_> = (1..blocks.len())
            .map(|other| {
                let group = group.clone();
                thread::spawn(move || {
                    blocks[other].iter().for_each(|block| group.commit(other as u32 + 1, *block))
                })
            })
            .collect();
        blocks[0].iter().for_each(|block| group.commit(1, *block));
        for other in others {
            other.join().expect("no panic");
        }
        let expected: Vec<u32> = blocks.iter().map(|blocks| blocks.len() as u32).collect();
        assert_eq!(group.served(), expected);
    });
}

#[test]
fn everybody_is_served_where_each_leader_hands_over() {
    all_are_served(1, &[&[7], &[7], &[7]]);
}

#[test]
fn everybody_is_served_where_a_leader_leads_on() {
    all_are_served(2, &[&[7], &[7], &[7]]);
}

#[test]
fn who_has_room_elsewhere_is_led_apart() {
    all_are_served(2, &[&[7], &[8], &[8]]);
}

#[test]
fn each_may_have_room_on_another_page() {
    all_are_served(1, &[&[7], &[8], &[9]]);
}

/// The same member comes twice: its words are its own again once it is told.
#[test]
fn who_is_told_may_come_again() {
    all_are_served(1, &[&[7], &[7, 7]]);
    all_are_served(2, &[&[7], &[7, 8]]);
}
