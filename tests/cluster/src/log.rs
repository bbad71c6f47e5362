//! The server's log: its end for failed tests, and what must not stand in it.

use std::fs;
use std::path::PathBuf;

/// What no test expects unless it says so. The waits are for another transaction's row or commit:
/// the ones that an increment never has; waits for other locks are legitimate.
const FORBIDDEN: &[&str] = &[
    "PANIC:",
    "TRAP:",
    "panicked at",
    "was terminated by signal",
    "deadlock detected",
    "could not serialize access",
    "Lock on transaction",
    "Lock on tuple",
];

/// As they stand in log lines, where `%b` says what a process is, and in titles of processes.
pub(crate) const WORKERS: [&str; 2] = ["counter_ext launcher", "counter_ext compactor"];

const TAIL_LINES: usize = 60;

pub struct ServerLog {
    path: PathBuf,
}

impl ServerLog {
    pub fn new(path: PathBuf) -> ServerLog {
        ServerLog { path }
    }

    /// Where the server's stderr goes, over all its starts.
    pub fn append(&self) -> fs::File {
        fs::File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    fn text(&self) -> String {
        // A process killed while it writes may leave half a character.
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    pub fn tail(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Panics unless some line has each of the words.
    pub fn assert_contains(&self, words: &[&str]) {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "the server's log does not say {word:?}");
        }
    }

    /// Panics when some line has the words.
    pub fn assert_lacks(&self, words: &str) {
        let text = self.text();
        let found: Vec<&str> = text.lines().filter(|line| line.contains(words)).collect();
        assert!(found.is_empty(), "the server's log says:\n{}", first(&found));
    }

    /// Panics on a forbidden line, or an ERROR or WARNING of one of the extension's workers,
    /// without one of the `allowed` words.
    pub fn assert_clean(&self, allowed: &[&str]) {
        let text = self.text();
        let is_bad = |line: &&str| {
            FORBIDDEN.iter().any(|word| line.contains(word))
                || (["ERROR:", "WARNING:"].iter().any(|level| line.contains(level))
                    && WORKERS.iter().any(|worker| line.contains(worker)))
        };
        let bad: Vec<&str> = text
            .lines()
            .filter(is_bad)
            .filter(|line| !allowed.iter().any(|word| line.contains(word)))
            .collect();
        assert!(bad.is_empty(), "the server's log has {} lines like these:\n{}", bad.len(), first(&bad));
    }
}

fn first(lines: &[&str]) -> String {
    lines[..lines.len().min(10)].join("\n")
}
