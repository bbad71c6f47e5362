//! Random choices that can be repeated.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::OnceLock;

fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("COUNTER_EXT_TEST_SEED") {
        Ok(text) => {
            text.parse().unwrap_or_else(|_| panic!("COUNTER_EXT_TEST_SEED is not a number: {text:?}"))
        }
        Err(_) => rand::rng().random(),
    })
}

/// The generator of one actor of a test; prints the run's seed where a failing test shows it.
pub fn generator(actor: u64) -> StdRng {
    let seed = seed();
    if actor == 0 {
        println!("random choices: COUNTER_EXT_TEST_SEED={seed}");
    }
    StdRng::seed_from_u64(seed.wrapping_add(actor))
}
