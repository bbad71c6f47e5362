//! What the clients know about the counts: for every counter what they tried to add and what was
//! acknowledged.
//!
//! A commit without an answer stays attempted and never acknowledged: in doubt. So for a counter
//! that is only added to, acknowledged ≤ counted ≤ attempted at any time, and what no crash left in
//! doubt is equal at the end.

use crate::session::{Session, describe};
use crate::watch;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Sums of one counter; what is taken away (negative deltas) has its own, as its bounds point the
/// other way.
#[derive(Default)]
struct Book {
    added_attempted: AtomicI64,
    added_acknowledged: AtomicI64,
    taken_attempted: AtomicI64,
    taken_acknowledged: AtomicI64,
}

pub struct Ledger {
    ids: Vec<String>,
    books: Vec<Book>,
    has_mirror: bool,
}

/// What was certain before a read began: first half of a bound.
#[derive(Clone, Copy)]
pub struct Before {
    added: i64,
    taken: i64,
}

/// Net deltas by counter of one transaction whose commit is on its way. Dropped without an answer
/// it is in doubt.
pub struct Attempt<'a> {
    ledger: &'a Ledger,
    net: BTreeMap<usize, i64>,
}

impl Ledger {
    pub fn new(prefix: &str, counters: usize) -> Ledger {
        let ids: Vec<String> = (0..counters).map(|number| format!("{prefix}:{number}")).collect();
        let books = ids.iter().map(|_| Book::default()).collect();
        Ledger { ids, books, has_mirror: false }
    }

    /// One more counter to which every transaction adds the sum of its other deltas: it shows
    /// whether a transaction counted as a whole.
    pub fn with_mirror(prefix: &str, counters: usize) -> Ledger {
        let mut ledger = Ledger::new(prefix, counters);
        ledger.ids.push(format!("{prefix}:sum"));
        ledger.books.push(Book::default());
        ledger.has_mirror = true;
        ledger
    }

    pub fn id(&self, counter: usize) -> &str {
        &self.ids[counter]
    }

    pub fn ids(&self) -> Vec<&str> {
        self.ids.iter().map(String::as_str).collect()
    }

    /// How many counters random traffic chooses from: all but the mirror.
    pub fn ordinary(&self) -> usize {
        self.mirror().unwrap_or(self.ids.len())
    }

    pub fn mirror(&self) -> Option<usize> {
        self.has_mirror.then(|| self.ids.len() - 1)
    }

    /// To be called before the commit is sent.
    pub fn attempt(&self, deltas: &[(usize, i64)]) -> Attempt<'_> {
        let mut net = BTreeMap::new();
        for &(counter, delta) in deltas {
            *net.entry(counter).or_insert(0) += delta;
        }
        for (&counter, &delta) in &net {
            self.books[counter].attempted(delta).fetch_add(delta.abs(), SeqCst);
        }
        Attempt { ledger: self, net }
    }

    /// To be called before a read begins.
    pub fn before(&self, counter: usize) -> Before {
        let book = &self.books[counter];
        Before { added: book.added_acknowledged.load(SeqCst), taken: book.taken_acknowledged.load(SeqCst) }
    }

    /// To be called after the read ended: panics when the value misses what was acknowledged before
    /// it began, or has more than was attempted before it ended. `own` is what the reading
    /// transaction itself added.
    pub fn check(&self, counter: usize, before: Before, own: i64, value: i64, how: &str) {
        let book = &self.books[counter];
        let low = before.added - book.taken_attempted.load(SeqCst) + own;
        let high = book.added_attempted.load(SeqCst) - before.taken + own;
        assert!(
            (low..=high).contains(&value),
            "{how} of {} is {value}, must be within {low}..={high} (own pending: {own})",
            self.ids[counter]
        );
    }

    /// As the upper half of `check`, for reads that may lag behind.
    pub fn check_attempted(&self, counter: usize, value: i64) {
        let (_, high) = self.bounds(counter);
        assert!(value <= high, "{} is {value}, attempted: {high}", self.ids[counter]);
    }

    fn bounds(&self, counter: usize) -> (i64, i64) {
        let book = &self.books[counter];
        let low = book.added_acknowledged.load(SeqCst) - book.taken_attempted.load(SeqCst);
        let high = book.added_attempted.load(SeqCst) - book.taken_acknowledged.load(SeqCst);
        (low, high)
    }

    /// As `settle`, where increments may be in no row yet: the live reads come first, and folding must not change them.
    pub fn settle_buffered(&self, session: &mut Session, when: &str) -> Vec<i64> {
        let live =
            session.get_many(&self.ids()).unwrap_or_else(|error| panic!("{when}: {}", describe(&error)));
        for (counter, (id, value)) in live.iter().enumerate() {
            let (low, high) = self.bounds(counter);
            assert!(
                (low..=high).contains(value),
                "{when}: {id} is {value} before folding; ledger: {low}..={high}"
            );
        }
        watch::fold_everything(session);
        let values = self.settle(session, when);
        let live: Vec<i64> = live.into_iter().map(|(_, value)| value).collect();
        assert_eq!(live, values, "{when}: values before and after folding");
        values
    }

    /// No client is at work: every way to read must be within bounds and agree with the others.
    /// What was in doubt is known after that and goes into the books. Returns the values.
    pub fn settle(&self, session: &mut Session, when: &str) -> Vec<i64> {
        let must = |what: &str, result: Result<_, postgres::Error>| -> i64 {
            result.unwrap_or_else(|error| panic!("{when}: {what}: {}", describe(&error)))
        };
        let many =
            session.get_many(&self.ids()).unwrap_or_else(|error| panic!("{when}: {}", describe(&error)));
        let many_ids: Vec<&str> = many.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(many_ids, self.ids(), "{when}: ids and their order in counter_get_many");
        let mut values = Vec::with_capacity(self.ids.len());
        for (counter, id) in self.ids.iter().enumerate() {
            let live = must(id, session.get(id));
            let exact = must(id, session.get_exact(id));
            let (low, high) = self.bounds(counter);
            assert!(
                (low..=high).contains(&exact) && live == exact && many[counter].1 == exact,
                "{when}: {id} has get {live}, get_many {}, get_exact {exact}; ledger: {low}..={high}",
                many[counter].1
            );
            self.books[counter].restart_from(exact);
            values.push(exact);
        }
        if let Some(mirror) = self.mirror() {
            let sum: i64 = values[..mirror].iter().sum();
            assert_eq!(values[mirror], sum, "{when}: some transaction counted in part only");
        }
        values
    }
}

impl Book {
    fn attempted(&self, delta: i64) -> &AtomicI64 {
        if delta < 0 { &self.taken_attempted } else { &self.added_attempted }
    }

    fn acknowledged(&self, delta: i64) -> &AtomicI64 {
        if delta < 0 { &self.taken_acknowledged } else { &self.added_acknowledged }
    }

    fn restart_from(&self, value: i64) {
        self.added_attempted.store(value, SeqCst);
        self.added_acknowledged.store(value, SeqCst);
        self.taken_attempted.store(0, SeqCst);
        self.taken_acknowledged.store(0, SeqCst);
    }
}

impl Attempt<'_> {
    /// The server said that it is committed.
    pub fn acknowledged(self) {
        for (&counter, &delta) in &self.net {
            self.ledger.books[counter].acknowledged(delta).fetch_add(delta.abs(), SeqCst);
        }
    }
}
