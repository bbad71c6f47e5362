//! Which ids may have rows: a writer, a renewal and a reader, in every order. A row that a snapshot sees is never ruled out.

use std::collections::HashSet;

use counter_ext_memory_model::filter::{Filter, Noted};
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Mutex};
use loom::thread;

const TABLE: u32 = 7;
const ID: u64 = 70;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    None,
    Written,
    /// Its deletion is committed.
    Deleted,
}

struct Database {
    state: AtomicU64,
    current: AtomicU32,
    is_under_way: AtomicU32,
    sets: [Vec<AtomicU64>; 2],
    /// The row's page, under its lock.
    page: Mutex<Row>,
    /// What a snapshot sees, under the lock of the process array.
    seen: Mutex<Row>,
}

impl Database {
    fn new(words: usize) -> Database {
        let set = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Database {
            state: AtomicU64::new(0),
            current: AtomicU32::new(0),
            is_under_way: AtomicU32::new(0),
            sets: [set(), set()],
            page: Mutex::new(Row::None),
            seen: Mutex::new(Row::None),
        }
    }

    fn filter(&self) -> Filter<'_> {
        Filter {
            state: &self.state,
            current: &self.current,
            is_under_way: &self.is_under_way,
            sets: [&self.sets[0], &self.sets[1]],
        }
    }

    fn renew(&self) -> bool {
        let renewal = self.filter().begin(TABLE);
        self.walk();
        self.filter().end(renewal, TABLE)
    }

    fn walk(&self) {
        if *self.page.lock().expect("page") == Row::Written {
            self.filter().add(ID);
        }
    }

    fn write_and_commit(&self) {
        *self.page.lock().expect("page") = Row::Written;
        self.filter().add(ID);
        *self.seen.lock().expect("seen") = Row::Written;
    }

    fn write_by_hand_and_commit(&self) {
        *self.page.lock().expect("page") = Row::Written;
        self.filter().forget();
        *self.seen.lock().expect("seen") = Row::Written;
    }

    /// A commit is seen before its rows are taken for gone: nobody finds them deleted while the transaction runs.
    fn delete_and_commit(&self) {
        *self.seen.lock().expect("seen") = Row::Deleted;
        *self.page.lock().expect("page") = Row::Deleted;
    }

    fn note(&self) -> Option<Noted> {
        self.filter().note(TABLE)
    }

    fn read(&self) {
        let noted = self.note();
        let sees_row = *self.seen.lock().expect("seen") == Row::Written;
        let is_ruled_out = noted.is_some_and(|noted| self.filter().rules_out(noted, ID));
        assert!(!(sees_row && is_ruled_out), "a row that the snapshot sees is ruled out");
    }
}

/// Runs these beside a reader.
fn race(prepare: fn(&Database), others: &'static [fn(&Database)]) {
    let mut model = loom::model::Builder::new();
    model.max_branches = 100_000;
    // More preemptions take more time than they show.
    model.preemption_bound = Some(3);
    model.check(move || {
        let database = Arc::new(Database::new(1));
        prepare(&database);
        let threads: Vec<_> = others
            .iter()
            .map(|run| {
                let database = database.clone();
                thread::spawn(move || run(&database))
            })
            .collect();
        database.read();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        database.read();
    });
}

fn renewed(database: &Database) {
    assert!(database.renew());
}

fn renewed_with_a_row(database: &Database) {
    database.write_and_commit();
    assert!(database.renew());
}

fn renew(database: &Database) {
    database.renew();
}

#[test]
fn a_row_is_written_while_the_bits_are_made_anew() {
    race(renewed, &[Database::write_and_commit, renew]);
}

#[test]
fn a_row_is_deleted_and_the_bits_are_made_anew() {
    race(
        renewed_with_a_row,
        &[|database| {
            database.delete_and_commit();
            database.renew();
        }],
    );
}

#[test]
fn a_row_is_written_by_hand_while_the_bits_are_made_anew() {
    race(renewed, &[Database::write_by_hand_and_commit, renew]);
}

#[test]
fn a_renewal_that_was_not_finished_goes_on() {
    fn left(database: &Database) {
        database.write_and_commit();
        assert!(database.renew());
        let _left = database.filter().begin(TABLE);
    }
    race(left, &[renew]);
}

#[test]
fn nothing_is_ruled_out_before_the_first_renewal_and_after_all_was_forgotten() {
    loom::model(|| {
        let database = Database::new(1);
        assert!(database.note().is_none());
        assert!(!database.filter().is_empty(TABLE));
        assert!(database.renew());
        let noted = database.note().expect("known");
        assert!(database.filter().is_empty(TABLE) && database.filter().rules_out(noted, ID));
        assert!(database.filter().note(TABLE + 1).is_none(), "of another table nothing is known");
        database.filter().forget();
        assert!(database.note().is_none() && !database.filter().rules_out(noted, ID));
        // Of a renewal that began before that nothing is believed.
        let renewal = database.filter().begin(TABLE);
        database.filter().forget();
        assert!(!database.filter().end(renewal, TABLE));
        assert!(database.note().is_none());
        assert!(database.renew() && database.note().is_some());
    });
}

/// Beside a set of ids, one thread.
#[test]
fn an_id_with_a_row_is_never_ruled_out_and_most_others_are() {
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000_000;
    model.check(|| {
        let database = Database::new(64);
        let mut rows: HashSet<u64> = HashSet::new();
        let hash = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        for step in 0..120u64 {
            match step % 7 {
                0 | 1 | 3 => {
                    rows.insert(step);
                    database.filter().add(hash(step));
                }
                2 => drop(rows.remove(&(step / 2))),
                _ => {}
            }
            if step % 40 == 0 {
                let renewal = database.filter().begin(TABLE);
                rows.iter().for_each(|id| database.filter().add(hash(*id)));
                assert!(database.filter().end(renewal, TABLE));
            }
        }
        // More looks than the model counts steps of are left out.
        let noted = database.note().expect("known");
        assert!(rows.iter().all(|id| !database.filter().rules_out(noted, hash(*id))));
        let others = (1_000..1_200u64).filter(|id| !database.filter().rules_out(noted, hash(*id))).count();
        assert!(others < 20, "{others} of two hundred are taken for ids with rows");
    });
}
