//! The queue of a group commit: everybody is served once, by one leader at a time, whoever leads on or hands over.

use counter_ext_memory_model::queue::{NOBODY, Queue};
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

const WAITS: u32 = 1;
const LEADS: u32 = 2;
const DONE: u32 = 3;

struct Member {
    before: AtomicU32,
    state: AtomicU32,
    /// It sleeps until somebody has set its state.
    told: Notify,
    /// What it is given to lead.
    given: AtomicU32,
    served: AtomicU32,
}

impl Member {
    fn new() -> Member {
        Member {
            before: AtomicU32::new(0),
            state: AtomicU32::new(0),
            told: Notify::new(),
            given: AtomicU32::new(0),
            served: AtomicU32::new(0),
        }
    }

    fn tell(&self, state: u32) {
        self.state.store(state, Ordering::Release);
        self.told.notify();
    }
}

struct Group {
    word: AtomicU32,
    members: Vec<Member>,
    leading: AtomicU32,
}

impl Group {
    fn of(members: usize) -> Arc<Group> {
        Arc::new(Group {
            word: AtomicU32::new(0),
            members: (0..members).map(|_| Member::new()).collect(),
            leading: AtomicU32::new(0),
        })
    }

    fn member(&self, number: u32) -> &Member {
        &self.members[number as usize - 1]
    }

    /// Comes, and is served, or serves others too: at most `groups` of them, then it hands over.
    fn commit(&self, me: u32, groups: u32) {
        let own = self.member(me);
        let queue = Queue { word: &self.word };
        own.state.store(WAITS, Ordering::Relaxed);
        let given = if queue.enter(me, &own.before) {
            NOBODY
        } else {
            loop {
                match own.state.load(Ordering::Acquire) {
                    DONE => return,
                    LEADS => break own.given.load(Ordering::Relaxed),
                    _ => own.told.wait(),
                }
            }
        };
        assert_eq!(self.leading.fetch_add(1, Ordering::Relaxed), 0, "one leads at a time");
        let mut led = 0;
        let mut first = given;
        loop {
            self.serve(me, first);
            self.serve(me, queue.take());
            led += 1;
            self.leading.fetch_sub(1, Ordering::Relaxed);
            if queue.leave() {
                return;
            }
            first = queue.take();
            assert_ne!(first, NOBODY);
            if led == groups {
                let next = self.member(first);
                next.given.store(first, Ordering::Relaxed);
                next.tell(LEADS);
                return;
            }
            assert_eq!(self.leading.fetch_add(1, Ordering::Relaxed), 0);
        }
    }

    fn serve(&self, me: u32, list: u32) {
        let mut next = list;
        while next != NOBODY {
            let (number, member) = (next, self.member(next));
            next = member.before.load(Ordering::Relaxed);
            member.served.fetch_add(1, Ordering::Relaxed);
            if number != me {
                member.tell(DONE);
            }
        }
    }
}

fn all_are_served(members: usize, groups: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let group = Group::of(members);
        let others: Vec<_> = (2..=members as u32)
            .map(|me| {
                let group = group.clone();
                thread::spawn(move || group.commit(me, groups))
            })
            .collect();
        group.commit(1, groups);
        for other in others {
            other.join().expect("no panic");
        }
        assert!(group.members.iter().all(|member| member.served.load(Ordering::Relaxed) == 1));
        assert_eq!(group.word.load(Ordering::Relaxed), 0, "nobody leads, nobody waits");
    });
}

#[test]
fn everybody_is_served_where_each_leader_hands_over() {
    all_are_served(3, 1);
}

#[test]
fn everybody_is_served_where_a_leader_leads_on() {
    all_are_served(3, 2);
}

/// The same member comes twice: its words are its own again once it is told.
#[test]
fn who_is_told_may_come_again() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let group = Group::of(2);
        let other = {
            let group = group.clone();
            thread::spawn(move || {
                group.commit(2, 1);
                group.commit(2, 1);
            })
        };
        group.commit(1, 1);
        other.join().expect("no panic");
        let served: Vec<u32> =
            group.members.iter().map(|member| member.served.load(Ordering::Relaxed)).collect();
        assert_eq!(served, [1, 2]);
    });
}
