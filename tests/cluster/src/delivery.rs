//! SQL that is delivered until the server answers: what clients that retry do.

use crate::session::{Address, Isolation, Session};
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
                // Nothing but the server's end is an excuse.
                let code = error.code().map(|code| code.code().to_owned());
                let is_end = code.as_deref().is_none_or(|code| code.starts_with("57P"));
                assert!(is_end, "{whole}: {error} {code:?}");
                *session = None;
            }
        }
    }
}
