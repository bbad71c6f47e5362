//! One client of the load: random transactions around increments, each entered in the ledger.

use crate::chance;
use crate::ledger::{Attempt, Ledger};
use crate::load::{Tally, Traffic};
use crate::session::{Address, Isolation, Session, describe, is_end};
use crate::wait;
use postgres::Error;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Errors made on purpose would fill the log; LOG stays, where waits show.
const QUIET: &str = "SET log_min_messages = log";
const DEEPEST_SAVEPOINT: usize = 3;
const BACK_AFTER_CRASH: Duration = Duration::from_secs(60);

pub struct Client<'a> {
    session: Session,
    set_up: String,
    address: &'a Address,
    ledger: &'a Ledger,
    traffic: &'a Traffic,
    tally: &'a Tally,
    random: StdRng,
    /// Names the client's prepared transactions.
    name: String,
    prepared: u64,
}

/// The server went away, as `Traffic::survives_crashes` allows.
struct ConnectionLost;

type Outcome<T> = Result<T, ConnectionLost>;

impl<'a> Client<'a> {
    pub fn new(
        address: &'a Address,
        ledger: &'a Ledger,
        traffic: &'a Traffic,
        tally: &'a Tally,
        number: usize,
    ) -> Client<'a> {
        let set_up = format!("{QUIET}; {}", traffic.client_set_up);
        Client {
            session: address.connect_with(&set_up),
            set_up,
            address,
            ledger,
            traffic,
            tally,
            random: chance::generator(number as u64),
            name: format!("client {number}"),
            prepared: 0,
        }
    }

    pub fn work(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            if self.something().is_err() {
                self.tally.lost.fetch_add(1, SeqCst);
                if !self.reconnect(stop) {
                    return;
                }
            }
        }
    }

    /// False: the load ended first.
    fn reconnect(&mut self, stop: &AtomicBool) -> bool {
        let (address, set_up) = (self.address, &self.set_up);
        let session = wait::for_some("the server is back", BACK_AFTER_CRASH, || {
            if stop.load(SeqCst) {
                return Some(None);
            }
            let mut session = address.try_connect().ok()?;
            session.run(set_up).ok()?;
            Some(Some(session))
        });
        session.map(|session| self.session = session).is_some()
    }

    fn something(&mut self) -> Outcome<()> {
        match self.random.random_range(0..10) {
            0..=2 if self.ledger.mirror().is_none() => self.single(),
            0..=3 => self.batch(),
            _ => self.transaction(),
        }
    }

    fn random_delta(&mut self) -> (usize, i64) {
        let counter = self.random.random_range(0..self.ledger.ordinary());
        (counter, self.random.random_range(self.traffic.deltas.clone()))
    }

    /// One increment, its own transaction.
    fn single(&mut self) -> Outcome<()> {
        let (counter, delta) = self.random_delta();
        let attempt = self.ledger.attempt(&[(counter, delta)]);
        let result = self.session.incr(self.ledger.id(counter), delta);
        self.conclude(attempt, result)
    }

    /// One `counter_incr_many`, its own transaction.
    fn batch(&mut self) -> Outcome<()> {
        let mut deltas: Vec<_> = (0..self.random.random_range(1..=5)).map(|_| self.random_delta()).collect();
        deltas.extend(self.for_mirror(&deltas));
        let ids: Vec<&str> = deltas.iter().map(|&(counter, _)| self.ledger.id(counter)).collect();
        let amounts: Vec<i64> = deltas.iter().map(|&(_, delta)| delta).collect();
        let attempt = self.ledger.attempt(&deltas);
        let result = self.session.incr_many(&ids, &amounts);
        self.conclude(attempt, result)
    }

    /// A transaction block with savepoints, ended in one of the ways there are.
    fn transaction(&mut self) -> Outcome<()> {
        let isolation = *Isolation::ALL.choose(&mut self.random).expect("a level");
        self.run(isolation.begin())?;
        let mut kept = Vec::new();
        self.layer(0, &mut kept)?;
        if self.random.random_bool(0.3) {
            self.read_with_own(&kept)?;
        }
        if let Some((mirror, sum)) = self.for_mirror(&kept) {
            let result = self.session.incr(self.ledger.id(mirror), sum);
            self.survive(result)?;
            kept.push((mirror, sum));
        }
        match self.random.random_range(0..10) {
            0 | 1 => self.roll_back(),
            2 => {
                self.fail_on_purpose()?;
                self.roll_back()
            }
            3..=6 if self.traffic.two_phase => self.two_phase(&kept),
            _ => {
                let attempt = self.ledger.attempt(&kept);
                let result = self.session.run("COMMIT");
                self.conclude(attempt, result)
            }
        }
    }

    /// Increments and savepoints; `kept` is what a commit would count.
    fn layer(&mut self, depth: usize, kept: &mut Vec<(usize, i64)>) -> Outcome<()> {
        for _ in 0..self.random.random_range(1..=3) {
            if depth < DEEPEST_SAVEPOINT && self.random.random_bool(0.3) {
                self.savepoint(depth, kept)?;
            } else {
                let (counter, delta) = self.random_delta();
                let result = self.session.incr(self.ledger.id(counter), delta);
                self.survive(result)?;
                kept.push((counter, delta));
            }
        }
        Ok(())
    }

    fn savepoint(&mut self, depth: usize, kept: &mut Vec<(usize, i64)>) -> Outcome<()> {
        self.run("SAVEPOINT layer")?;
        let outside = kept.len();
        self.layer(depth + 1, kept)?;
        if self.random.random_bool(0.5) {
            if self.random.random_bool(0.2) {
                self.fail_on_purpose()?;
            }
            self.run("ROLLBACK TO SAVEPOINT layer")?;
            kept.truncate(outside);
        }
        self.run("RELEASE SAVEPOINT layer")
    }

    /// A read inside a transaction is as fresh as any other, at every isolation level, and has the
    /// own increments.
    fn read_with_own(&mut self, kept: &[(usize, i64)]) -> Outcome<()> {
        let (counter, _) = self.random_delta();
        let own = kept.iter().filter(|&&(other, _)| other == counter).map(|&(_, delta)| delta).sum();
        let before = self.ledger.before(counter);
        let result = self.session.get(self.ledger.id(counter));
        let value = self.survive(result)?;
        self.ledger.check(counter, before, own, value, "counter_get in a transaction");
        Ok(())
    }

    fn for_mirror(&self, deltas: &[(usize, i64)]) -> Option<(usize, i64)> {
        self.ledger.mirror().map(|mirror| (mirror, deltas.iter().map(|&(_, delta)| delta).sum()))
    }

    fn roll_back(&mut self) -> Outcome<()> {
        self.tally.rolled_back.fetch_add(1, SeqCst);
        self.run("ROLLBACK")
    }

    fn fail_on_purpose(&mut self) -> Outcome<()> {
        match self.session.run("SELECT 1/0") {
            Err(error) if error.code().is_some_and(|code| code.code() == "22012") => Ok(()),
            result => self.survive(result),
        }
    }

    fn two_phase(&mut self, kept: &[(usize, i64)]) -> Outcome<()> {
        self.prepared += 1;
        let name = format!("{} transaction {}", self.name, self.prepared);
        self.run(&format!("PREPARE TRANSACTION '{name}'"))?;
        if self.random.random_bool(0.3) {
            self.tally.rolled_back.fetch_add(1, SeqCst);
            return self.run(&format!("ROLLBACK PREPARED '{name}'"));
        }
        let attempt = self.ledger.attempt(kept);
        let result = self.session.run(&format!("COMMIT PREPARED '{name}'"));
        self.conclude(attempt, result)
    }

    fn run(&mut self, sql: &str) -> Outcome<()> {
        let result = self.session.run(sql);
        self.survive(result)
    }

    /// The end of a commit; without an answer the attempt stays in doubt.
    fn conclude(&self, attempt: Attempt<'_>, result: Result<(), Error>) -> Outcome<()> {
        self.survive(result)?;
        attempt.acknowledged();
        self.tally.committed.fetch_add(1, SeqCst);
        Ok(())
    }

    /// No statement of the load may fail, but for a crash where the test makes crashes.
    fn survive<T>(&self, result: Result<T, Error>) -> Outcome<T> {
        result.map_err(|error| {
            if self.traffic.survives_crashes && is_end(&error) {
                ConnectionLost
            } else {
                panic!("{}: {}", self.name, describe(&error))
            }
        })
    }
}
