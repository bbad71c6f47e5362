//! Clients that bring visitors in and monitors that count them, each compared with the ledger (`visits`).

use crate::chance;
use crate::load::{StopOnPanic, pause};
use crate::session::{Address, Isolation, Session, describe, is_end};
use crate::visits::{Guests, Visit};
use crate::wait;
use postgres::Error;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const QUIET: &str = "SET log_min_messages = log";
const BACK_AFTER_CRASH: Duration = Duration::from_secs(60);
/// Ids from the first on that half of all visits go to.
const HOT_IDS: usize = 3;
/// Actors from this number on are monitors; each crowd of a test has numbers, that is random choices, of its own.
const FIRST_MONITOR: u64 = 500;
const ACTORS: u64 = 1_000;
static CROWDS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone)]
pub struct Crowd {
    pub clients: usize,
    pub monitors: usize,
    /// Some transactions go through PREPARE TRANSACTION.
    pub two_phase: bool,
    /// Clients whose connection breaks come again.
    pub survives: bool,
    /// SQL that each client, or monitor, runs first.
    pub client_set_up: String,
    pub monitor_set_up: String,
}

impl Default for Crowd {
    fn default() -> Crowd {
        Crowd {
            clients: 12,
            monitors: 3,
            two_phase: false,
            survives: false,
            client_set_up: String::new(),
            monitor_set_up: String::new(),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    committed: AtomicU64,
    /// Of those, transactions that brought in somebody new.
    new: AtomicU64,
    rolled_back: AtomicU64,
    lost: AtomicU64,
    reads: AtomicU64,
}

/// Runs `body` while the crowd is there; a panic in any of them is the test's.
pub fn while_visited<R>(
    address: &Address,
    guests: &Guests,
    crowd: &Crowd,
    body: impl FnOnce(&AtomicBool) -> R,
) -> R {
    let stop = AtomicBool::new(false);
    let tally = Tally::default();
    let first = CROWDS.fetch_add(1, SeqCst) * ACTORS;
    let client = |number| Client::new(address, guests, crowd, &tally, (number, first));
    let clients: Vec<Client<'_>> = (0..crowd.clients).map(client).collect();
    let monitor = |number| Monitor::new(address, guests, crowd, &tally, first + number as u64);
    let monitors: Vec<Monitor<'_>> = (0..crowd.monitors).map(monitor).collect();
    let result = thread::scope(|scope| {
        let stop = &stop;
        for client in clients {
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                client.work(stop);
            });
        }
        for monitor in monitors {
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                monitor.work(stop);
            });
        }
        let _guard = StopOnPanic(stop);
        let result = body(stop);
        stop.store(true, SeqCst);
        result
    });
    println!("{tally:?}");
    assert!(tally.new.load(SeqCst) > 0, "nobody new came");
    result
}

/// Only the crowd, for some time.
pub fn visited_for(address: &Address, guests: &Guests, crowd: &Crowd, time: Duration) {
    while_visited(address, guests, crowd, |stop| pause(stop, time));
}

/// The server went away, or took this connection away, as `Crowd::survives` allows.
struct ConnectionLost;

type Outcome<T> = Result<T, ConnectionLost>;

/// What a transaction has done so far: visits that a commit would count, and those that were told to be new.
#[derive(Clone, Default)]
struct Kept {
    visits: Vec<Visit>,
    welcomed: Vec<Visit>,
}

struct Client<'a> {
    session: Session,
    address: &'a Address,
    guests: &'a Guests,
    crowd: &'a Crowd,
    tally: &'a Tally,
    random: StdRng,
    number: usize,
    prepared: u64,
}

impl<'a> Client<'a> {
    fn new(
        address: &'a Address,
        guests: &'a Guests,
        crowd: &'a Crowd,
        tally: &'a Tally,
        (number, first_actor): (usize, u64),
    ) -> Client<'a> {
        let session = address.connect_with(&set_up(crowd));
        let random = chance::generator(first_actor + number as u64);
        Client { session, address, guests, crowd, tally, random, number, prepared: 0 }
    }

    fn work(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            if self.something().is_err() {
                self.tally.lost.fetch_add(1, SeqCst);
                let (address, set_up) = (self.address, set_up(self.crowd));
                let session = wait::for_some("the server is back", BACK_AFTER_CRASH, || {
                    if stop.load(SeqCst) {
                        return Some(None);
                    }
                    let mut session = address.try_connect().ok()?;
                    session.run(&set_up).ok()?;
                    Some(Some(session))
                });
                let Some(session) = session else { return };
                self.session = session;
            }
        }
    }

    /// One of the client's own visitors, or of those that all bring in; mostly to one of a few ids.
    fn any_visit(&mut self) -> Visit {
        let hot = HOT_IDS.min(self.guests.ids());
        let ids = if self.random.random_bool(0.5) { hot } else { self.guests.ids() };
        let id = self.random.random_range(0..ids);
        loop {
            let visitor = self.random.random_range(0..self.guests.visitors());
            if self.guests.owner(visitor).is_none_or(|owner| owner == self.number) {
                return (id, visitor);
            }
        }
    }

    fn something(&mut self) -> Outcome<()> {
        match self.random.random_range(0..10) {
            0..=3 => {
                let mut kept = Kept::default();
                let visit = self.any_visit();
                // The answer comes with the acknowledgement of the commit.
                let mut attempt = self.guests.attempt(&[visit], &[]);
                self.visit(visit, &mut kept)?;
                attempt.welcome(&kept.welcomed);
                self.acknowledged(attempt, &kept);
                Ok(())
            }
            _ => self.transaction(),
        }
    }

    fn visit(&mut self, visit: Visit, kept: &mut Kept) -> Outcome<()> {
        let was_acknowledged = self.guests.is_acknowledged(visit);
        let result = self.session.visit(self.guests.id(visit.0), visit.1 as i32);
        let new = self.survive(result)?;
        self.guests.check_answer(visit, new, was_acknowledged, &kept.visits);
        kept.visits.push(visit);
        if new {
            kept.welcomed.push(visit);
        }
        Ok(())
    }

    /// Several of one id in one statement.
    fn visit_some(&mut self, kept: &mut Kept) -> Outcome<()> {
        let (id, _) = self.any_visit();
        let mut visitors: Vec<i32> = (0..10).map(|_| self.any_visit().1 as i32).collect();
        visitors.sort_unstable();
        visitors.dedup();
        let known: Vec<bool> =
            visitors.iter().map(|v| self.guests.is_acknowledged((id, *v as usize))).collect();
        let result = self.session.visit_all(self.guests.id(id), &visitors);
        let new = self.survive(result)?;
        for (&visitor, was_acknowledged) in visitors.iter().zip(known) {
            let visit = (id, visitor as usize);
            let is_new = new.contains(&visitor);
            self.guests.check_answer(visit, is_new, was_acknowledged, &kept.visits);
            kept.visits.push(visit);
            if is_new {
                kept.welcomed.push(visit);
            }
        }
        Ok(())
    }

    fn transaction(&mut self) -> Outcome<()> {
        let isolation = *Isolation::ALL.choose(&mut self.random).expect("a level");
        self.run(isolation.begin())?;
        let mut kept = Kept::default();
        for _ in 0..self.random.random_range(1..=4) {
            match self.random.random_range(0..6) {
                0 | 1 => self.savepoint(&mut kept)?,
                2 => self.visit_some(&mut kept)?,
                3 => self.read_with_own(&kept)?,
                _ => {
                    let visit = self.any_visit();
                    self.visit(visit, &mut kept)?;
                }
            }
        }
        match self.random.random_range(0..10) {
            0 | 1 => self.roll_back(),
            2 => {
                self.fail_on_purpose()?;
                self.roll_back()
            }
            3..=5 if self.crowd.two_phase => self.two_phase(&kept),
            _ => self.commit("COMMIT", &kept),
        }
    }

    /// A savepoint that is rolled back half the time, sometimes with another inside.
    fn savepoint(&mut self, kept: &mut Kept) -> Outcome<()> {
        self.run("SAVEPOINT s")?;
        let outside = kept.clone();
        let visit = self.any_visit();
        self.visit(visit, kept)?;
        if self.random.random_bool(0.3) {
            self.savepoint(kept)?;
        }
        if self.random.random_bool(0.5) {
            if self.random.random_bool(0.2) {
                self.fail_on_purpose()?;
            }
            self.run("ROLLBACK TO SAVEPOINT s")?;
            *kept = outside;
        }
        self.run("RELEASE SAVEPOINT s")
    }

    fn read_with_own(&mut self, kept: &Kept) -> Outcome<()> {
        let (id, _) = self.any_visit();
        let low = self.guests.at_least(id, &kept.visits);
        let result = match self.random.random_range(0..2) {
            0 => self.session.visitors(self.guests.id(id)),
            _ => self.session.visitors_in_rows(self.guests.id(id)),
        };
        let value = self.survive(result)?;
        let high = self.guests.at_most(id, &kept.visits);
        let name = self.guests.id(id);
        assert!((low..=high).contains(&value), "{name} in a transaction: {value}, not {low}..={high}");
        Ok(())
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

    fn two_phase(&mut self, kept: &Kept) -> Outcome<()> {
        self.prepared += 1;
        let name = format!("visits of {} number {}", self.number, self.prepared);
        self.run(&format!("PREPARE TRANSACTION '{name}'"))?;
        if self.random.random_bool(0.3) {
            self.tally.rolled_back.fetch_add(1, SeqCst);
            return self.run(&format!("ROLLBACK PREPARED '{name}'"));
        }
        self.commit(&format!("COMMIT PREPARED '{name}'"), kept)
    }

    fn commit(&mut self, sql: &str, kept: &Kept) -> Outcome<()> {
        let attempt = self.guests.attempt(&kept.visits, &kept.welcomed);
        let result = self.session.run(sql);
        self.survive(result)?;
        self.acknowledged(attempt, kept);
        Ok(())
    }

    fn acknowledged(&self, attempt: crate::visits::Attempt<'_>, kept: &Kept) {
        attempt.acknowledged();
        self.tally.committed.fetch_add(1, SeqCst);
        self.tally.new.fetch_add(u64::from(!kept.welcomed.is_empty()), SeqCst);
    }

    fn run(&mut self, sql: &str) -> Outcome<()> {
        let result = self.session.run(sql);
        self.survive(result)
    }

    /// No statement may fail, but for a lost connection where the test takes them away.
    fn survive<T>(&self, result: Result<T, Error>) -> Outcome<T> {
        result.map_err(|error| {
            if self.crowd.survives && is_end(&error) {
                ConnectionLost
            } else {
                panic!("client {}: {}", self.number, describe(&error))
            }
        })
    }
}

fn set_up(crowd: &Crowd) -> String {
    format!("{QUIET}; {}", crowd.client_set_up)
}

/// Counts visitors all the time: never fewer than are certain, nor more than are possible, and never a dip.
struct Monitor<'a> {
    session: Session,
    guests: &'a Guests,
    tally: &'a Tally,
    random: StdRng,
    last: Vec<i64>,
}

impl<'a> Monitor<'a> {
    fn new(
        address: &Address,
        guests: &'a Guests,
        crowd: &Crowd,
        tally: &'a Tally,
        actor: u64,
    ) -> Monitor<'a> {
        let session = address.connect_with(&crowd.monitor_set_up);
        let random = chance::generator(FIRST_MONITOR + actor);
        Monitor { session, guests, tally, random, last: vec![0; guests.ids()] }
    }

    fn work(mut self, stop: &AtomicBool) {
        while !stop.load(SeqCst) {
            let isolation = Isolation::ALL.choose(&mut self.random).copied();
            let in_transaction = isolation.filter(|_| self.random.random_bool(0.2));
            if let Some(isolation) = in_transaction {
                self.session.must(isolation.begin());
            }
            for _ in 0..5 {
                self.read();
            }
            if in_transaction.is_some() {
                self.session.must("COMMIT");
            }
        }
    }

    fn read(&mut self) {
        let ids =
            if self.random.random_bool(0.5) { HOT_IDS.min(self.guests.ids()) } else { self.guests.ids() };
        let id = self.random.random_range(0..ids);
        let name = self.guests.id(id);
        let low = self.guests.at_least(id, &[]);
        let (how, result) = match self.random.random_range(0..3) {
            0 => ("from rows", self.session.visitors_in_rows(name)),
            _ => ("ever", self.session.visitors(name)),
        };
        let value = result.unwrap_or_else(|error| panic!("monitor, {how}: {}", describe(&error)));
        let high = self.guests.at_most(id, &[]);
        assert!((low..=high).contains(&value), "{name} {how}: {value}, not {low}..={high}");
        assert!(self.last[id] <= value, "{name} {how} fell from {} to {value}", self.last[id]);
        self.last[id] = value;
        self.tally.reads.fetch_add(1, SeqCst);
    }
}
