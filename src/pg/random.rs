//! Random numbers of this process.

use crate::pg::session::session_local;
use std::cell::RefCell;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::process;

session_local! {
    static GENERATOR: RefCell<Option<(i32, SmallRng)>> = const { RefCell::new(None) };
}

/// 64 random bits. Seeded by the operating system in each process: a generator inherited by fork would draw what its
/// siblings draw.
pub fn bits() -> u64 {
    GENERATOR.with_borrow_mut(|generator| {
        let pid = process::my_pid();
        match generator {
            Some((owner, generator)) if *owner == pid => generator.random(),
            _ => generator.insert((pid, SmallRng::from_os_rng())).1.random(),
        }
    })
}
