//! Generations: a reader who keeps what it has read, beside writers whose changes become visible in several steps.

use counter_ext_memory_model::generation::Generation;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

/// A commit shows its rows at one moment, and what it adds to memory at a later one.
#[derive(Default)]
struct Board {
    generation: Generation,
    rows: AtomicU64,
    memory: AtomicU64,
}

impl Board {
    fn commit(&self) {
        self.generation.begin();
        self.rows.fetch_add(1, Ordering::SeqCst);
        self.memory.fetch_add(1, Ordering::SeqCst);
        self.generation.end();
    }

    fn commit_rows(&self) {
        self.generation.begin();
        self.rows.fetch_add(1, Ordering::SeqCst);
        self.generation.end();
    }

    fn read(&self) -> (u64, u64) {
        (self.rows.load(Ordering::SeqCst), self.memory.load(Ordering::SeqCst))
    }
}

#[test]
fn a_change_under_way_is_told_and_one_that_has_ended_makes_another_number() {
    loom::model(|| {
        let generation = Generation::default();
        assert_eq!(generation.at_rest(), Some(0));
        generation.begin();
        assert!(!generation.is_still(0) && generation.at_rest().is_none());
        generation.begin();
        generation.end();
        assert!(generation.at_rest().is_none());
        generation.end();
        assert!(!generation.is_still(0) && generation.at_rest() == Some(2));
    });
}

#[test]
fn what_is_kept_is_whole() {
    loom::model(|| {
        let board = Arc::new(Board::default());
        let writer = {
            let board = board.clone();
            thread::spawn(move || board.commit())
        };
        if let Some(number) = board.generation.at_rest() {
            let (rows, memory) = board.read();
            if board.generation.is_still(number) {
                assert_eq!(rows, memory);
            }
        }
        writer.join().expect("no panic");
        assert!(board.generation.at_rest().is_some());
    });
}

/// Two writers: one may have ended where the other has begun. All orders of three processes in which each is interrupted twice at most.
#[test]
fn what_is_kept_is_what_would_be_read() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let board = Arc::new(Board::default());
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let board = board.clone();
                thread::spawn(move || board.commit_rows())
            })
            .collect();
        if let Some(number) = board.generation.at_rest() {
            let kept = board.rows.load(Ordering::SeqCst);
            let seen = board.rows.load(Ordering::SeqCst);
            if board.generation.is_still(number) {
                assert_eq!(kept, seen);
            }
        }
        for writer in writers {
            writer.join().expect("no panic");
        }
        assert!(board.generation.at_rest().is_some());
    });
}

#[test]
fn a_change_that_the_reader_has_seen_makes_what_it_kept_old() {
    loom::model(|| {
        let board = Arc::new(Board::default());
        let number = board.generation.at_rest().expect("nothing is under way");
        let writer = {
            let board = board.clone();
            thread::spawn(move || board.commit())
        };
        if board.read() != (0, 0) {
            assert!(!board.generation.is_still(number));
        }
        writer.join().expect("no panic");
        assert!(!board.generation.is_still(number));
    });
}

/// A part of what is shown was kept, and the rest is read anew: both are of one moment where the number is still so after the reading.
#[test]
fn what_is_kept_goes_with_what_is_read_anew() {
    loom::model(|| {
        let board = Arc::new(Board::default());
        let number = board.generation.at_rest().expect("nothing is under way");
        let kept = board.rows.load(Ordering::SeqCst);
        let writer = {
            let board = board.clone();
            thread::spawn(move || board.commit_rows())
        };
        if board.generation.at_rest() == Some(number) {
            let rest = board.rows.load(Ordering::SeqCst);
            if board.generation.is_still(number) {
                assert_eq!(kept, rest);
            }
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn what_is_rolled_back_lets_others_read_again() {
    loom::model(|| {
        let generation = Generation::default();
        generation.begin();
        assert!(generation.at_rest().is_none());
        generation.end();
        assert!(generation.at_rest().is_some());
    });
}
