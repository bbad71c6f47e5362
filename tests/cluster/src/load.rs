//! Clients and readers at work together while a test does something else.

use crate::client::Client;
use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::session::{Address, describe};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What the load is made of.
#[derive(Clone)]
pub struct Traffic {
    pub clients: usize,
    pub readers: usize,
    pub deltas: RangeInclusive<i64>,
    /// Some transactions go through PREPARE TRANSACTION.
    pub two_phase: bool,
    /// Clients whose connection breaks come again; their readers would not, so have none.
    pub survives_crashes: bool,
    /// SQL that each client, or reader, runs first.
    pub client_set_up: String,
    pub reader_set_up: String,
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            clients: 32,
            readers: 4,
            deltas: 1..=9,
            two_phase: false,
            survives_crashes: false,
            client_set_up: String::new(),
            reader_set_up: String::new(),
        }
    }
}

/// What happened, so that a test can see that something did.
#[derive(Default)]
pub struct Tally {
    pub committed: AtomicU64,
    pub rolled_back: AtomicU64,
    pub lost: AtomicU64,
    pub reads: AtomicU64,
}

/// Ends the load when the test does, well or not: else a failure would wait for clients that never end.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Raises the stop flag when its thread panics, so that the others do not work on for nothing.
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, SeqCst);
        }
    }
}

/// Runs `body` while the load is on; a panic in any of them is the test's.
pub fn under_load<R>(
    address: &Address,
    ledger: &Ledger,
    traffic: &Traffic,
    body: impl FnOnce(&AtomicBool) -> R,
) -> R {
    let stop = AtomicBool::new(false);
    let tally = Tally::default();
    // All are connected before any is at work, so that no crash meets one that is just connecting.
    let client = |number| Client::new(address, ledger, traffic, &tally, number);
    let clients: Vec<Client<'_>> = (0..traffic.clients).map(client).collect();
    let reader = |number| Reader::new(address, ledger, traffic, &tally, number);
    let readers: Vec<Reader<'_>> = (0..traffic.readers).map(reader).collect();
    let result = thread::scope(|scope| {
        let stop = &stop;
        for client in clients {
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                client.work(stop);
            });
        }
        for reader in readers {
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                reader.work(stop);
            });
        }
        let _guard = StopOnPanic(stop);
        let result = body(stop);
        stop.store(true, SeqCst);
        result
    });
    println!(
        "load: {} committed, {} rolled back, {} connections lost, {} reads",
        tally.committed.load(SeqCst),
        tally.rolled_back.load(SeqCst),
        tally.lost.load(SeqCst),
        tally.reads.load(SeqCst)
    );
    assert!(tally.committed.load(SeqCst) > 0, "the load did nothing");
    result
}

/// Runs `body` while clients add 1 to one counter after the other, for tests that change the counters
/// in other ways too. An increment must not wait for any of them. Returns what was added to each.
pub fn beside_increments(
    address: &Address,
    ids: &[&str],
    clients: usize,
    body: impl FnOnce(&AtomicBool),
) -> Vec<i64> {
    let stop = AtomicBool::new(false);
    let added: Vec<AtomicI64> = ids.iter().map(|_| AtomicI64::new(0)).collect();
    thread::scope(|scope| {
        let (stop, added) = (&stop, &added);
        for client in 0..clients {
            let mut session = address.connect_with("SET lock_timeout = '2s'");
            scope.spawn(move || {
                let _guard = StopOnPanic(stop);
                in_turn(stop, client, |turn| {
                    let counter = turn % ids.len();
                    let result = session.incr(ids[counter], 1);
                    result.unwrap_or_else(|error| panic!("increment: {}", describe(&error)));
                    added[counter].fetch_add(1, SeqCst);
                });
            });
        }
        let _guard = StopOnPanic(stop);
        body(stop);
        stop.store(true, SeqCst);
    });
    added.into_iter().map(AtomicI64::into_inner).collect()
}

/// Turn after turn, until told to stop.
pub fn in_turn(stop: &AtomicBool, first: usize, mut work: impl FnMut(usize)) {
    for turn in first.. {
        if stop.load(SeqCst) {
            return;
        }
        work(turn);
    }
}

/// Only the load, for some time.
pub fn load_for(address: &Address, ledger: &Ledger, traffic: &Traffic, time: Duration) {
    under_load(address, ledger, traffic, |stop| pause(stop, time));
}

/// Sleeps, but not on after some thread of the load failed.
pub fn pause(stop: &AtomicBool, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time && !stop.load(SeqCst) {
        thread::sleep(Duration::from_millis(20));
    }
}
