//! What is said of something that fails again and again: the first failure, then one in ten seconds with how many were left out,
//! and that it is over.

use crate::store::{Error, Result};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const QUIET: Duration = Duration::from_secs(10);

pub struct Outage {
    /// What its failures mean to those who use the gateway.
    meaning: &'static str,
    end: &'static str,
    said: Mutex<Said>,
}

struct Said {
    /// When a failure was said last.
    last: Option<Instant>,
    left_out: u64,
    /// A failure was said, and its end was not.
    is_open: bool,
}

impl Outage {
    pub const fn new(meaning: &'static str, end: &'static str) -> Outage {
        Outage { meaning, end, said: Mutex::new(Said { last: None, left_out: 0, is_open: false }) }
    }

    /// A store that refuses has answered.
    pub fn note<T>(&self, result: &Result<T>) {
        match result {
            Err(Error::Away(message)) => self.failed(message),
            Ok(_) | Err(Error::Refused(_)) => self.over(),
        }
    }

    pub fn failed(&self, error: &dyn Display) {
        if let Some(left_out) = self.with(|said| said.failed(Instant::now())) {
            eprintln!("gateway: {}: {error}{}", self.meaning, omitted(left_out));
        }
    }

    pub fn over(&self) {
        if let Some(left_out) = self.with(Said::over) {
            eprintln!("gateway: {}{}", self.end, omitted(left_out));
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Said) -> T) -> T {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Said {
    /// Whether to say this failure; then how many were left out before it.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            self.left_out += 1;
            return None;
        }
        (self.last, self.is_open) = (Some(now), true);
        Some(std::mem::take(&mut self.left_out))
    }

    /// Whether to say that it is over; then how many failures were left out before that. What fails and works by turns is said
    /// no more often than what only fails.
    fn over(&mut self) -> Option<u64> {
        std::mem::take(&mut self.is_open).then(|| std::mem::take(&mut self.left_out))
    }
}

fn omitted(failures: u64) -> String {
    if failures == 0 { String::new() } else { format!(" ({failures} more failures were left out)") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Outage::new("", "").said.into_inner().expect("nobody has panicked")
    }

    #[test]
    fn the_first_failure_is_said_then_one_in_ten_seconds_then_the_end() {
        let (start, mut said) = (Instant::now(), said());
        let lines: Vec<_> = (0..25).map(|second| said.failed(start + Duration::from_secs(second))).collect();
        let spoken: Vec<_> =
            lines.iter().enumerate().filter_map(|(second, line)| Some((second, (*line)?))).collect();
        assert_eq!(spoken, [(0, 0), (10, 9), (20, 9)]);
        assert_eq!(said.over(), Some(4), "seconds 21 to 24");
        assert_eq!(said.over(), None, "once");
        assert_eq!(said.failed(start + Duration::from_secs(60)), Some(0), "a new one");
    }

    #[test]
    fn what_fails_and_works_by_turns_says_two_lines_in_ten_seconds() {
        let (start, mut said) = (Instant::now(), said());
        let mut lines = 0;
        for millisecond in 0..20_000 {
            let failed = said.failed(start + Duration::from_millis(millisecond));
            lines += usize::from(failed.is_some()) + usize::from(said.over().is_some());
        }
        assert_eq!(lines, 4);
    }

    #[test]
    fn nothing_is_over_that_never_was() {
        assert_eq!(said().over(), None);
    }
}
