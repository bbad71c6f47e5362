//! What the clients know about unique visitors: for every visitor of every id whether somebody tried to bring them in, and
//! whether that was acknowledged.
//!
//! Visitors never leave, so at any time the acknowledged ones are counted, and nobody but those attempted. A commit without
//! an answer leaves its visitors attempted: in doubt.

use crate::session::{Isolation, Session, describe};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

const UNKNOWN: u8 = 0;
const ATTEMPTED: u8 = 1;
const ACKNOWLEDGED: u8 = 2;

#[derive(Default)]
struct Book {
    state: AtomicU8,
    /// Acknowledged transactions that were told that the visitor is new.
    welcomes: AtomicU8,
    /// Some attempt got no answer: it may have been the first.
    in_doubt: AtomicU8,
}

pub struct Guests {
    ids: Vec<String>,
    visitors: usize,
    owners: usize,
    books: Vec<Vec<Book>>,
}

/// A visit: number of the id, number of the visitor.
pub type Visit = (usize, usize);

/// Visits of one transaction whose commit is on its way. Dropped without an answer they are in doubt.
pub struct Attempt<'a> {
    guests: &'a Guests,
    visits: Vec<Visit>,
    welcomed: Vec<Visit>,
    is_answered: bool,
}

impl Guests {
    /// `visitors` an id, few enough for exact counts. Each of `owners` clients has some of them to itself.
    pub fn new(prefix: &str, ids: usize, visitors: usize, owners: usize) -> Guests {
        assert!(visitors <= 1280, "past that counts are estimates");
        let ids: Vec<String> = (0..ids).map(|number| format!("{prefix}:{number}")).collect();
        let books = ids.iter().map(|_| (0..visitors).map(|_| Book::default()).collect()).collect();
        Guests { ids, visitors, owners, books }
    }

    pub fn id(&self, id: usize) -> &str {
        &self.ids[id]
    }

    pub fn ids(&self) -> usize {
        self.ids.len()
    }

    pub fn visitors(&self) -> usize {
        self.visitors
    }

    /// The client that alone brings the visitor in; `None` for those that all do.
    pub fn owner(&self, visitor: usize) -> Option<usize> {
        (visitor % (self.owners + 1)).checked_sub(1)
    }

    /// To be called before a commit is sent.
    pub fn attempt(&self, visits: &[Visit], welcomed: &[Visit]) -> Attempt<'_> {
        for &(id, visitor) in visits {
            let _ = self.books[id][visitor].state.compare_exchange(UNKNOWN, ATTEMPTED, SeqCst, SeqCst);
        }
        Attempt { guests: self, visits: visits.to_vec(), welcomed: welcomed.to_vec(), is_answered: false }
    }

    pub fn is_acknowledged(&self, (id, visitor): Visit) -> bool {
        self.books[id][visitor].state.load(SeqCst) == ACKNOWLEDGED
    }

    pub fn is_attempted(&self, (id, visitor): Visit) -> bool {
        self.books[id][visitor].state.load(SeqCst) >= ATTEMPTED
    }

    /// Visitors that are certain: to be called before a read begins, with the transaction's own visits.
    pub fn at_least(&self, id: usize, own: &[Visit]) -> i64 {
        self.count(id, own, |visit| self.is_acknowledged(visit))
    }

    /// Visitors that are possible: to be called after a read has ended.
    pub fn at_most(&self, id: usize, own: &[Visit]) -> i64 {
        self.count(id, own, |visit| self.is_attempted(visit))
    }

    fn count(&self, id: usize, own: &[Visit], is_counted: impl Fn(Visit) -> bool) -> i64 {
        (0..self.visitors)
            .filter(|&visitor| is_counted((id, visitor)) || own.contains(&(id, visitor)))
            .count() as i64
    }

    /// A visit said `new`: right, given what was acknowledged before it and attempted until now?
    pub fn check_answer(&self, visit: Visit, new: bool, was_acknowledged: bool, own: &[Visit]) {
        let (id, visitor) = visit;
        let known = was_acknowledged || own.contains(&visit);
        assert!(!(new && known), "visitor {visitor} of {} is new, though known before", self.ids[id]);
        let possible = self.is_attempted(visit) || own.contains(&visit);
        assert!(new || possible, "visitor {visitor} of {} is not new, though nobody tried", self.ids[id]);
    }

    /// No client is at work: every way to read agrees with the others and with the books. Who is there is looked at by
    /// visits that are rolled back. What was in doubt is known after that. Returns the counts.
    pub fn settle(&self, session: &mut Session, when: &str) -> Vec<i64> {
        let all: Vec<i32> = (0..self.visitors as i32).collect();
        let counts = (0..self.ids.len()).map(|id| self.settle_one(session, when, id, &all)).collect();
        self.check_welcomes(when);
        counts
    }

    fn settle_one(&self, session: &mut Session, when: &str, id: usize, all: &[i32]) -> i64 {
        let name = self.id(id);
        let must = |what: &str, result: Result<i64, postgres::Error>| -> i64 {
            result.unwrap_or_else(|error| panic!("{when}: {what} of {name}: {}", describe(&error)))
        };
        let rows = must("days from rows", session.visitors_in_rows(name));
        let ever = must("counter_visitors", session.visitors(name));
        session.must(Isolation::RepeatableRead.begin());
        let absent = session.visit_all(name, all).unwrap_or_else(|error| panic!("{}", describe(&error)));
        let with_all = must("counter_visitors with own visits", session.visitors(name));
        session.must("ROLLBACK");
        let again = must("counter_visitors after a rollback", session.visitors(name));
        let (low, high) = (self.at_least(id, &[]), self.at_most(id, &[]));
        let present = all.len() as i64 - absent.len() as i64;
        assert!(
            (low..=high).contains(&ever)
                && [rows, again, present].iter().all(|count| *count == ever)
                && with_all == all.len() as i64,
            "{when}: {name} has {ever} ever, {rows} in rows, {present} by visiting, {again} after that's rollback, \
             {with_all} with all of {}; ledger: {low}..={high}",
            all.len()
        );
        self.close_books(id, &absent, when);
        ever
    }

    /// What was in doubt is known now.
    fn close_books(&self, id: usize, absent: &[i32], when: &str) {
        let mut is_absent = vec![false; self.visitors];
        absent.iter().for_each(|&visitor| is_absent[visitor as usize] = true);
        for (visitor, book) in self.books[id].iter().enumerate() {
            let state = book.state.load(SeqCst);
            let name = &self.ids[id];
            assert!(
                !(is_absent[visitor] && state == ACKNOWLEDGED),
                "{when}: visitor {visitor} of {name} is lost"
            );
            assert!(is_absent[visitor] || state != UNKNOWN, "{when}: visitor {visitor} of {name} never came");
            book.state.store(if is_absent[visitor] { UNKNOWN } else { ACKNOWLEDGED }, SeqCst);
        }
    }

    /// Who is brought in by one client alone was new exactly once.
    fn check_welcomes(&self, when: &str) {
        for (id, books) in self.books.iter().enumerate() {
            for (visitor, book) in books.iter().enumerate().filter(|(v, _)| self.owner(*v).is_some()) {
                let welcomes = book.welcomes.load(SeqCst);
                let is_known = self.is_acknowledged((id, visitor));
                let expected = if book.in_doubt.load(SeqCst) == 0 {
                    welcomes == u8::from(is_known)
                } else {
                    welcomes <= 1
                };
                assert!(expected, "{when}: visitor {visitor} of {} was new {welcomes} times", self.ids[id]);
            }
        }
    }
}

impl Attempt<'_> {
    /// For a statement that is its own transaction: who is new is known with the answer.
    pub fn welcome(&mut self, welcomed: &[Visit]) {
        self.welcomed.extend_from_slice(welcomed);
    }

    /// The server said that it is committed.
    pub fn acknowledged(mut self) {
        for &(id, visitor) in &self.welcomed {
            self.guests.books[id][visitor].welcomes.fetch_add(1, SeqCst);
        }
        for &(id, visitor) in &self.visits {
            self.guests.books[id][visitor].state.store(ACKNOWLEDGED, SeqCst);
        }
        self.is_answered = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            for &(id, visitor) in &self.visits {
                self.guests.books[id][visitor].in_doubt.store(1, SeqCst);
            }
        }
    }
}
