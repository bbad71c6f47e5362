//! Waiting with a deadline, so that a test that hangs fails with a sentence instead.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Polls until `ready` returns something; panics with `what` when the time is up.
pub fn for_some<T>(what: &str, limit: Duration, ready: impl FnMut() -> Option<T>) -> T {
    for_some_in(limit, ready).unwrap_or_else(|| panic!("waited {limit:?} in vain: {what}"))
}

/// Polls until `ready` returns something; `None` when the time is up, for who has more to say than what was waited for.
pub fn for_some_in<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let found = ready();
        if found.is_some() || start.elapsed() >= limit {
            return found;
        }
        thread::sleep(POLL);
    }
}

/// Polls until `ready` is true; panics with `what` when the time is up.
pub fn until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    for_some(what, limit, || ready().then_some(()));
}

/// Lets a load go on until it has done what the test asks of it: how much it does in a fixed time depends on the machine.
pub fn until_enough_was_done(is_enough: impl FnMut() -> bool) {
    until("enough was done", Duration::from_secs(60), is_enough);
}

/// Runs `action` and panics when it took longer than `limit`: for what must not be delayed.
pub fn in_time<T>(what: &str, limit: Duration, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = action();
    let took = start.elapsed();
    assert!(took < limit, "{what} took {took:?}, more than {limit:?}");
    result
}

/// A barrier that does not outwait a party that failed.
pub struct Meeting {
    parties: usize,
    arrivals: AtomicUsize,
}

impl Meeting {
    const LIMIT: Duration = Duration::from_secs(20);

    pub fn of(parties: usize) -> Meeting {
        Meeting { parties, arrivals: AtomicUsize::new(0) }
    }

    /// Returns when all parties have come as often as this one, all at nearly the same moment.
    pub fn attend(&self) {
        let arrivals = self.arrivals.fetch_add(1, SeqCst) + 1;
        let complete = arrivals.next_multiple_of(self.parties);
        let start = Instant::now();
        while self.arrivals.load(SeqCst) < complete {
            assert!(start.elapsed() < Meeting::LIMIT, "another session did not get as far");
            thread::yield_now();
        }
    }
}

/// How long a phase of random load lasts: `COUNTER_EXT_TEST_SECONDS`, else `default_seconds`.
pub fn load_time(default_seconds: f64) -> Duration {
    let seconds = match std::env::var("COUNTER_EXT_TEST_SECONDS") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("COUNTER_EXT_TEST_SECONDS is not a number: {text:?}"))
        }
        Err(_) => default_seconds,
    };
    Duration::from_secs_f64(seconds)
}
