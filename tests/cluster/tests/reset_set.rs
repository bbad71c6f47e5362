//! Resets and sets: each takes what is there when it holds the counter, and nobody takes it twice.

use counter_ext_cluster_tests::blocking::while_blocked;
use counter_ext_cluster_tests::load::{beside_increments, in_turn, pause};
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Isolation, Session, Settings};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

const IDS: [&str; 3] = ["reset:0", "reset:1", "reset:2"];

fn ok<T>(result: Result<T, postgres::Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", describe(&error)))
}

#[test]
fn concurrent_resets_take_every_increment_exactly_once() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let taken: [AtomicI64; 3] = Default::default();
    let added = beside_increments(&address, &IDS, 8, |stop| {
        thread::scope(|scope| {
            for taker in 0..2 {
                let (address, taken) = (&address, &taken);
                scope.spawn(move || {
                    let mut session = address.connect();
                    in_turn(stop, taker, |turn| {
                        let counter = turn % IDS.len();
                        session.must(Isolation::ALL[turn / 3 % 3].begin());
                        let amount = ok(session.reset(IDS[counter]));
                        assert!(amount >= 0, "{} was taken twice: {amount}", IDS[counter]);
                        if turn % 5 == 0 {
                            session.must("ROLLBACK");
                        } else {
                            session.must("COMMIT");
                            taken[counter].fetch_add(amount, SeqCst);
                        }
                    });
                });
            }
            pause(stop, load_time(4.0));
            stop.store(true, SeqCst);
        });
    });

    let mut session = cluster.connect();
    for (counter, id) in IDS.into_iter().enumerate() {
        let taken = taken[counter].load(SeqCst);
        assert!(taken > 0, "no reset of {id} took anything");
        session.assert_count(id, added[counter] - taken);
    }
    // Resets wait for each other, which the log may show.
    cluster.finish_allowing(&["Lock on transaction"]);
}

#[test]
fn drops_under_load_leave_memory_and_rows_in_agreement() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let added = beside_increments(&address, &IDS, 8, |stop| {
        let mut session = address.connect();
        let start = Instant::now();
        in_turn(stop, 0, |turn| {
            ok(session.drop_counter(IDS[turn % IDS.len()]));
            ok(session.get(IDS[(turn + 1) % IDS.len()]));
            if start.elapsed() > load_time(3.0) {
                stop.store(true, SeqCst);
            }
        });
    });
    let mut session = cluster.connect();
    for (id, added) in IDS.into_iter().zip(added) {
        let left = ok(session.get_exact(id));
        assert!((0..added).contains(&left), "{id}: {left} left of {added}, though it was dropped");
        session.assert_count(id, left);
        assert!(ok(session.drop_counter(id)), "{id} was there");
        assert!(!ok(session.drop_counter(id)), "{id} was dropped before");
        session.assert_count(id, 0);
    }
    cluster.finish_allowing(&["Lock on transaction"]);
}

/// The second session already has its snapshot when the first one commits.
fn begin_with_snapshot(session: &mut Session, isolation: Isolation) {
    session.must(isolation.begin());
    session.must("SELECT count(*) FROM pg_class");
}

#[test]
fn a_reset_that_waited_takes_what_the_first_one_left() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let (mut first, mut second, mut third) = (cluster.connect(), cluster.connect(), cluster.connect());
    for isolation in Isolation::ALL {
        for (end, left) in [("COMMIT", 0), ("ROLLBACK", 10)] {
            let id = format!("{isolation:?} {end}");
            ok(first.incr(&id, 10));
            first.must("BEGIN");
            assert_eq!(ok(first.reset(&id)), 10);
            assert_eq!(ok(third.get(&id)), 10, "{id}: an uncommitted reset");

            begin_with_snapshot(&mut second, isolation);
            let amount = while_blocked(
                &address,
                &mut second,
                |session| ok(session.reset(&id)),
                || {
                    ok(third.incr(&id, 1));
                    first.must(end);
                },
            );
            second.must("COMMIT");
            assert_eq!(amount, left + 1, "{id}: taken by the reset that waited");
            first.assert_count(&id, 0);
        }
    }
    cluster.finish_allowing(&["Lock on transaction"]);
}

#[test]
fn of_two_sets_the_later_one_holds() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let (mut first, mut second, mut third) = (cluster.connect(), cluster.connect(), cluster.connect());
    for isolation in Isolation::ALL {
        for end in ["COMMIT", "ROLLBACK"] {
            let id = format!("{isolation:?} {end}");
            ok(first.incr(&id, 7));
            first.must("BEGIN");
            ok(first.set(&id, 100));
            assert_eq!(ok(first.get(&id)), 100, "{id}: own uncommitted set");

            begin_with_snapshot(&mut second, isolation);
            while_blocked(
                &address,
                &mut second,
                |session| ok(session.set(&id, 200)),
                || {
                    ok(third.incr(&id, 5));
                    first.must(end);
                },
            );
            // After the set has read: comes on top.
            ok(third.incr(&id, 3));
            second.must("COMMIT");
            third.assert_count(&id, 203);
        }
    }
    cluster.finish_allowing(&["Lock on transaction"]);
}

#[test]
fn nobody_changes_a_set_counter_before_its_transaction_ends() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for setter in 0..3_i64 {
            let (address, stop) = (&address, &stop);
            scope.spawn(move || {
                let mut session = address.connect();
                in_turn(stop, 0, |turn| {
                    let counter = turn % IDS.len();
                    let value = setter * 1_000_000 + i64::try_from(turn).expect("few turns");
                    session.must(Isolation::ALL[turn / 3 % 3].begin());
                    ok(session.set(IDS[counter], value));
                    assert_eq!(ok(session.get(IDS[counter])), value, "own set of {}", IDS[counter]);
                    session.must(if turn % 7 == 0 { "ROLLBACK" } else { "COMMIT" });
                });
            });
        }
        pause(&stop, load_time(3.0));
        stop.store(true, SeqCst);
    });
    let mut session = cluster.connect();
    for id in IDS {
        ok(session.set(id, 42));
        session.assert_count(id, 42);
    }
    cluster.finish_allowing(&["Lock on transaction"]);
}
