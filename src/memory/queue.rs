//! A queue of those who wait for whoever leads, without a lock. Plain Rust; `tests/memory_model` runs it in every interleaving.
//!
//! Contract: one word says who came last, and whether somebody leads. Everybody who waits says in a word of its own who came
//! before. Who finds that nobody leads, leads, and is in the queue himself; nobody else takes anything out of it. He leaves only
//! where nobody has come meanwhile, or gives what he has taken to one of those in it, who leads from then on. So somebody leads wherever somebody
//! waits. A member's words are the leader's from `enter` until it is told, or the leader's whom he has given it to.

use super::sync::{AtomicU32, Ordering};

/// The end of a list, and a list of none. Members are numbers from 1 on.
const NOBODY: u32 = 0;

/// Somebody leads.
const LED: u32 = 1 << 31;

/// The queue whose word this is; 0 in the beginning.
pub struct Queue<'q> {
    pub word: &'q AtomicU32,
}

impl Queue<'_> {
    /// Enters the queue; `before` is told who came before. Whether the caller leads.
    pub fn enter(&self, member: u32, before: &AtomicU32) -> bool {
        debug_assert!(member != NOBODY && member < LED);
        let mut found = self.word.load(Ordering::Relaxed);
        loop {
            before.store(found & !LED, Ordering::Relaxed);
            match self.word.compare_exchange_weak(found, member | LED, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return found & LED == 0,
                Err(now) => found = now,
            }
        }
    }

    /// Takes all out who have come, the last first. For the leader.
    pub fn take<'m, M: Members>(&self, members: &'m M) -> List<'m, M> {
        List { members, first: self.word.swap(LED, Ordering::SeqCst) & !LED }
    }

    /// Whether the leader, who has nobody left, leads no more: nobody has come.
    pub fn leave(&self) -> bool {
        self.word.compare_exchange(LED, NOBODY, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// Leads those who are given and those in the queue, among them a member with room on this block, and then who comes, `most` groups in all while
    /// `many` have room there too. `commit` is given each group, and tells those in it. Those with room on another block are led
    /// by one of them beside that.
    pub fn lead<'m, M: Members>(
        &self,
        given: List<'m, M>,
        block: u32,
        most: u32,
        many: usize,
        mut commit: impl FnMut(List<'m, M>),
    ) {
        let members = given.members;
        let mut all = given.and(self.take(members));
        for groups in 1.. {
            let (party, mut others) = all.split(|member| members.block(member) == block);
            while let Some(first) = others.first() {
                let block = members.block(first);
                let (apart, rest) = others.split(|member| members.block(member) == block);
                apart.hand_over(LEADS_APART);
                others = rest;
            }
            commit(party);
            if self.leave() {
                return;
            }
            all = self.take(members);
            let here = all.each().filter(|member| members.block(*member) == block).count();
            if groups == most || here < many {
                all.hand_over(LEADS);
                return;
            }
        }
    }
}

/// A member's state: it is done, and its words are its own.
pub const DONE: u32 = 0;
/// It waits to be told.
pub const WAITS: u32 = 1;
/// It leads, those behind it in its list first.
pub const LEADS: u32 = 2;
/// It leads those behind it in its list, once.
pub const LEADS_APART: u32 = 3;

/// What members say, and how they are told.
pub trait Members {
    /// Who came before it.
    fn before(&self, member: u32) -> &AtomicU32;
    /// Where it has room.
    fn block(&self, member: u32) -> u32;
    /// Tells it its state; from then on its words are its own.
    fn tell(&self, member: u32, state: u32);
}

/// Members taken out of a queue. Their words are the caller's while this is there.
pub struct List<'m, M> {
    members: &'m M,
    first: u32,
}

impl<'m, M: Members> List<'m, M> {
    pub fn none(members: &'m M) -> List<'m, M> {
        List { members, first: NOBODY }
    }

    /// Those that a member was given, of whom it is the first.
    pub fn from(members: &'m M, first: u32) -> List<'m, M> {
        List { members, first }
    }

    pub fn first(&self) -> Option<u32> {
        (self.first != NOBODY).then_some(self.first)
    }

    pub fn each(&self) -> impl Iterator<Item = u32> + '_ {
        let after = |member: &u32| {
            let next = self.members.before(*member).load(Ordering::Relaxed);
            (next != NOBODY).then_some(next)
        };
        std::iter::successors(self.first(), after)
    }

    /// These, and behind them others.
    pub fn and(self, others: List<'m, M>) -> List<'m, M> {
        match self.each().last() {
            None => others,
            Some(last) => {
                self.members.before(last).store(others.first, Ordering::Relaxed);
                self
            }
        }
    }

    /// Those that are meant, and the others, each from its last to its first.
    pub fn split(self, is_meant: impl Fn(u32) -> bool) -> (List<'m, M>, List<'m, M>) {
        let members = self.members;
        let (mut meant, mut others) = (NOBODY, NOBODY);
        self.end_each(|member| {
            let list = if is_meant(member) { &mut meant } else { &mut others };
            members.before(member).store(*list, Ordering::Relaxed);
            *list = member;
        });
        (List { members, first: meant }, List { members, first: others })
    }

    /// Has the first of them lead them all. There is one.
    fn hand_over(self, how: u32) {
        debug_assert!(self.first != NOBODY);
        self.members.tell(self.first, how);
    }

    /// Shows each member, whose words may be its own again when `see` returns.
    pub fn end_each(self, mut see: impl FnMut(u32)) {
        let mut next = self.first;
        while next != NOBODY {
            let member = next;
            next = self.members.before(member).load(Ordering::Relaxed);
            see(member);
        }
    }
}
