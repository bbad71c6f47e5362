//! One reader of the load: compares every read with the ledger, and with what it read before.

use crate::chance;
use crate::ledger::Ledger;
use crate::load::{Tally, Traffic};
use crate::session::{Address, Isolation, Session, describe};
use postgres::Error;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

pub struct Reader<'a> {
    session: Session,
    ledger: &'a Ledger,
    tally: &'a Tally,
    random: StdRng,
    /// Last value read by counter: never a dip, where nobody takes away.
    last: Option<Vec<i64>>,
}

/// Actors from this number on are readers, so that their random choices differ from the clients'.
const FIRST_READER: u64 = 1_000_000;

impl<'a> Reader<'a> {
    pub fn new(
        address: &Address,
        ledger: &'a Ledger,
        traffic: &Traffic,
        tally: &'a Tally,
        number: usize,
    ) -> Reader<'a> {
        let only_adds = *traffic.deltas.start() >= 0;
        Reader {
            session: address.connect_with(&traffic.reader_set_up),
            ledger,
            tally,
            random: chance::generator(FIRST_READER + number as u64),
            last: only_adds.then(|| vec![0; ledger.ids().len()]),
        }
    }

    pub fn work(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            match self.random.random_range(0..10) {
                0..=5 => self.one(),
                6 | 7 => self.many(),
                8 => self.some_in_one_transaction(),
                _ => self.snapshot_of_all(),
            }
        }
    }

    fn any_counter(&mut self) -> usize {
        self.random.random_range(0..self.ledger.ids().len())
    }

    fn one(&mut self) {
        let counter = self.any_counter();
        let before = self.ledger.before(counter);
        let value = expect("counter_get", self.session.get(self.ledger.id(counter)));
        self.ledger.check(counter, before, 0, value, "counter_get");
        self.no_dip(counter, value);
    }

    fn many(&mut self) {
        let counters: Vec<usize> =
            (0..self.random.random_range(1..=20)).map(|_| self.any_counter()).collect();
        let ids: Vec<&str> = counters.iter().map(|&counter| self.ledger.id(counter)).collect();
        let before: Vec<_> = counters.iter().map(|&counter| self.ledger.before(counter)).collect();
        let found = expect("counter_get_many", self.session.get_many(&ids));
        let found_ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(found_ids, ids, "ids of counter_get_many");
        for ((&counter, &before), (_, value)) in counters.iter().zip(&before).zip(found) {
            self.ledger.check(counter, before, 0, value, "counter_get_many");
            self.no_dip(counter, value);
        }
    }

    /// Also under a snapshot that gets old the reads are fresh.
    fn some_in_one_transaction(&mut self) {
        let isolation = Isolation::ALL.choose(&mut self.random).expect("a level");
        expect("BEGIN", self.session.run(isolation.begin()));
        for _ in 0..5 {
            self.one();
        }
        expect("COMMIT", self.session.run("COMMIT"));
    }

    /// `counter_get_exact` sees one snapshot: there the mirror equals the sum of the others at any
    /// time.
    fn snapshot_of_all(&mut self) {
        let Some(mirror) = self.ledger.mirror() else {
            return self.one();
        };
        expect("BEGIN", self.session.run(Isolation::RepeatableRead.begin()));
        let mut exact =
            |counter| expect("counter_get_exact", self.session.get_exact(self.ledger.id(counter)));
        let sum: i64 = (0..mirror).map(&mut exact).sum();
        assert_eq!(exact(mirror), sum, "counter_get_exact under one snapshot: mirror against sum");
        expect("COMMIT", self.session.run("COMMIT"));
        self.tally.reads.fetch_add(1, SeqCst);
    }

    fn no_dip(&mut self, counter: usize, value: i64) {
        self.tally.reads.fetch_add(1, SeqCst);
        if let Some(last) = &mut self.last {
            let previous = std::mem::replace(&mut last[counter], value);
            assert!(previous <= value, "{} fell from {previous} to {value}", self.ledger.id(counter));
        }
    }
}

fn expect<T>(what: &str, result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("reader: {what}: {}", describe(&error)))
}
