//! Clients and readers at work together while a test does something else.

use crate::client::Client;
use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::session::Address;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
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

/// Raises the stop flag when its thread panics, so that the others do not work on for nothing.
struct StopOnPanic<'a>(&'a AtomicBool);

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
