//! SQL that is delivered until the server answers: what clients that retry do.

use crate::session::{Address, Isolation, Session, assert_excused};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs SQL until the server answers it, at any isolation level, in either mode; sometimes in a transaction that first rolls
/// the same back.
pub fn deliver(address: &Address, session: &mut Option<Session>, random: &mut StdRng, sql: &str) {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "no answer to {sql}");
        let Some(connected) = address.connected(session) else { continue };
        let begin = Isolation::ALL.choose(random).expect("a level").begin();
        let mode = ["slotted", "buffered"].choose(random).expect("a mode");
        let again = if random.random_ratio(1, 4) {
            format!("SAVEPOINT s; {sql}; ROLLBACK TO s;")
        } else {
            String::new()
        };
        let whole = format!("{begin}; SET LOCAL counter_ext.mode = '{mode}'; {again} {sql}; COMMIT");
        match connected.run(&whole) {
            Ok(()) => return,
            Err(error) => {
                assert_excused(&error, &[], &whole);
                *session = None;
            }
        }
    }
}
