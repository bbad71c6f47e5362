//! Loading a total while others commit: whatever the order of their steps, each delta is in the sum of rows or is added to
//! memory, never both and never neither. PostgreSQL's part (rows, snapshots, which commits are visible) is played by a
//! mutex; the rule itself is the extension's.

use counter_ext_memory_model::lifecycle::{COLD, LOADED, LOADING};
use counter_ext_memory_model::visibility::is_in_sum;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

const BEFORE: i64 = 100;
const DELTAS: [i64; 2] = [1, 10];

/// What the partition's lock guards: the entry, and the snapshot of its load.
struct Entry {
    state: u32,
    value: i64,
    /// Which of the transactions the load's snapshot saw.
    snapshot: Option<[bool; 2]>,
}

struct Server {
    entry: Mutex<Entry>,
    /// Which transactions have committed, as snapshots are told.
    committed: Mutex<[bool; 2]>,
    /// Each backend's cell: 1 while its commit is announced.
    announced: [AtomicU32; 2],
}

impl Server {
    fn new() -> Arc<Server> {
        Arc::new(Server {
            entry: Mutex::new(Entry { state: COLD, value: 0, snapshot: None }),
            committed: Mutex::new([false; 2]),
            announced: [AtomicU32::new(0), AtomicU32::new(0)],
        })
    }

    /// `counting/transaction.rs`, `table::add`.
    fn commit(&self, me: usize) {
        self.announced[me].store(1, Ordering::SeqCst);
        self.committed.lock().expect("not poisoned")[me] = true;
        {
            let mut entry = self.entry.lock().expect("not poisoned");
            let snapshot = entry.snapshot;
            let sees = || snapshot.is_some_and(|saw| saw[me]);
            let is_nothing_to_add_to = entry.state == COLD;
            let is_in_it = entry.state == LOADING && is_in_sum(snapshot.is_some(), sees);
            if !is_nothing_to_add_to && !is_in_it {
                entry.value += DELTAS[me];
            }
        }
        self.announced[me].store(0, Ordering::SeqCst);
    }

    /// `memory/load.rs`.
    fn load(&self) {
        self.entry.lock().expect("not poisoned").state = LOADING;
        let saw = {
            let mut entry = self.entry.lock().expect("not poisoned");
            let saw = *self.committed.lock().expect("not poisoned");
            entry.value = 0;
            entry.snapshot = Some(saw);
            saw
        };
        let deltas = saw.iter().zip(DELTAS).map(|(saw, delta)| if *saw { delta } else { 0 });
        let sum = BEFORE + deltas.sum::<i64>();
        for (announced, saw) in self.announced.iter().zip(saw) {
            while saw && announced.load(Ordering::SeqCst) != 0 {
                thread::yield_now();
            }
        }
        let mut entry = self.entry.lock().expect("not poisoned");
        entry.value += sum;
        entry.state = LOADED;
    }
}

#[test]
fn each_delta_is_counted_once_by_a_load_among_commits() {
    for committers in [1, 2] {
        let mut model = loom::model::Builder::new();
        // Three threads: so many switches where a thread could have gone on, which is where all known mistakes show.
        model.preemption_bound = (committers == 2).then_some(3);
        model.check(move || {
            let server = Server::new();
            let threads: Vec<_> = (0..committers)
                .map(|me| {
                    let server = server.clone();
                    thread::spawn(move || server.commit(me))
                })
                .collect();
            server.load();
            for thread in threads {
                thread.join().expect("no panic");
            }
            let entry = server.entry.lock().expect("not poisoned");
            assert_eq!(entry.state, LOADED);
            assert_eq!(entry.value, BEFORE + DELTAS[..committers].iter().sum::<i64>());
        });
    }
}
