//! What one open transaction holds delays no other (promise G1).

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::{self, Meeting};
use counter_ext_cluster_tests::{Address, Cluster, Ledger, Session, Settings, Traffic, load_for, watch};
use std::thread;
use std::time::Duration;

/// A wait for another transaction would last until one of these.
const NEVER_WAITS: &str = "SET lock_timeout = '1s'; SET statement_timeout = '5s'";
const LOAD: Duration = Duration::from_millis(700);
const ROUNDS: usize = 50;

/// Two sessions make the same two new counters in opposite order and end at the same moment.
fn in_opposite_order(address: &Address, end: impl Fn(&mut Session, &str) + Sync) {
    let ready = Meeting::of(2);
    thread::scope(|scope| {
        for (name, order) in [("left", [0, 1]), ("right", [1, 0])] {
            let (ready, end) = (&ready, &end);
            scope.spawn(move || {
                let mut session = address.connect_with(NEVER_WAITS);
                for round in 0..ROUNDS {
                    session.must("BEGIN");
                    for number in order {
                        let result = session.incr(&format!("new:{round}:{number}"), 1);
                        result.unwrap_or_else(|error| panic!("{}", describe(&error)));
                    }
                    ready.attend();
                    end(&mut session, &format!("{name} {round}"));
                }
            });
        }
    });
    let mut session = address.connect();
    for round in 0..ROUNDS {
        session.assert_count(&format!("new:{round}:0"), 2);
        session.assert_count(&format!("new:{round}:1"), 2);
    }
}

#[test]
fn two_new_counters_in_opposite_order_neither_wait_nor_deadlock() {
    let cluster = Cluster::start(Settings::restless());
    in_opposite_order(&cluster.address(), |session, _| session.must("COMMIT"));
    cluster.finish();
}

#[test]
fn two_new_counters_in_opposite_order_can_both_be_prepared() {
    let cluster = Cluster::start(Settings::restless());
    let both_are_prepared = Meeting::of(2);
    in_opposite_order(&cluster.address(), |session, name| {
        session.must(&format!("PREPARE TRANSACTION '{name}'"));
        both_are_prepared.attend();
        session.must(&format!("COMMIT PREPARED '{name}'"));
    });
    cluster.finish();
}

/// More counters than the map of pending increments takes: they go to slot rows within the transaction.
const SPILL: &str = "SELECT count(counter_incr('spilled:' || n)) FROM generate_series(1, 70000) AS n";

#[test]
fn two_new_counters_in_opposite_order_can_both_be_spilled() {
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let mut sessions = ["left", "right"].map(|_| address.connect_with("SET lock_timeout = '1s'"));
    for session in &mut sessions {
        session.must("BEGIN");
    }
    for shift in 0..2 {
        for (number, session) in sessions.iter_mut().enumerate() {
            session.incr(&format!("new:{}", (number + shift) % 2), 1).expect("increment");
            session.must(SPILL);
        }
    }
    for session in &mut sessions {
        session.must("COMMIT");
    }
    let mut session = cluster.connect();
    for id in ["new:0", "new:1"] {
        session.assert_count(id, 2);
    }
    for id in ["spilled:1", "spilled:70000"] {
        session.assert_count(id, 4);
    }
    cluster.finish();
}

/// Something that an open transaction did before the load starts, and how it ends after it.
struct Holder {
    begin: &'static str,
    end: &'static str,
    /// What its end adds to counter `held:0`.
    adds: i64,
}

const HOLDERS: [Holder; 8] = [
    Holder { begin: "SELECT counter_incr('held:0', 1000)", end: "COMMIT", adds: 1000 },
    Holder { begin: "SAVEPOINT s; SELECT counter_incr('held:0', 1000); RELEASE s", end: "ROLLBACK", adds: 0 },
    Holder {
        begin: "SELECT counter_incr('held:0', 1000); PREPARE TRANSACTION 'holder'",
        end: "COMMIT PREPARED 'holder'",
        adds: 1000,
    },
    // More counters than the map of pending increments takes: the first ones go to slot rows.
    Holder {
        begin: "SELECT counter_incr('held:0', 1000);
                SELECT count(counter_incr('spilled:' || n)) FROM generate_series(1, 70000) AS n;
                SELECT counter_incr('held:0', 1000)",
        end: "COMMIT",
        adds: 2000,
    },
    Holder { begin: "SELECT counter_reset('held:0')", end: "ROLLBACK", adds: 0 },
    Holder { begin: "SELECT counter_set('held:0', 5)", end: "ROLLBACK", adds: 0 },
    Holder {
        begin: "SELECT count(*) FROM (SELECT FROM counter_ext.slot FOR UPDATE) AS locked",
        end: "COMMIT",
        adds: 0,
    },
    Holder {
        begin: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM counter_ext.slot",
        end: "COMMIT",
        adds: 0,
    },
];

/// Also with two slot rows a counter, all of them held.
#[test]
fn an_open_transaction_delays_nobody() {
    let cluster = Cluster::start(Settings::restless());
    let ledger = Ledger::new("held", 3);
    let set_up = format!("{NEVER_WAITS}; SET counter_ext.slots = 2");
    let traffic = Traffic { clients: 8, readers: 2, client_set_up: set_up, ..Traffic::default() };
    let mut holder = cluster.connect();
    let mut session = cluster.connect();
    load_for(&cluster.address(), &ledger, &traffic, LOAD);
    for Holder { begin, end, adds } in HOLDERS {
        println!("held: {begin}");
        holder.must("BEGIN");
        holder.must(begin);
        load_for(&cluster.address(), &ledger, &traffic, LOAD);
        ledger.settle(&mut session, begin);

        let attempt = ledger.attempt(&[(0, adds)]);
        holder.must(end);
        attempt.acknowledged();
        ledger.settle(&mut session, end);
    }
    watch::wait_until_folded(&mut session);
    cluster.finish();
}

/// Compaction goes round what is held, and folds the rest.
#[test]
fn an_open_transaction_delays_no_compaction_of_others() {
    let cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.must("SELECT counter_incr('free'), counter_incr('held')");
    watch::wait_until_folded(&mut session);
    session.must("BEGIN; SELECT counter_incr('held'); PREPARE TRANSACTION 'holder'");
    session.must("SELECT counter_incr('held'), counter_incr('free')");
    wait::until("the free counter is folded", Duration::from_secs(15), || {
        session.value("SELECT value = 2 FROM counter_ext.total WHERE id = 'free'")
    });
    wait::in_time("counter_compact beside a held slot row", Duration::from_secs(5), || {
        session.must("SELECT counter_compact()");
    });
    session.assert_count("held", 2);
    session.must("COMMIT PREPARED 'holder'");
    session.assert_count("held", 3);
    watch::wait_until_folded(&mut session);
    cluster.finish();
}

/// What a transaction counts of very many counters goes to their totals while it goes on, and waits for nobody; who counts the same
/// ones meanwhile does not wait for it.
#[test]
fn very_many_counters_go_to_totals_within_the_transaction() {
    let cluster = Cluster::start(Settings::compacted_by_hand().with("max_prepared_transactions", "0"));
    let mut session = cluster.connect();
    let many = |times: i32| {
        format!(
            "SELECT counter_incr_many(ARRAY(SELECT 'many:' || n FROM generate_series(1, 150000) AS n), array_fill({times}::bigint, ARRAY[150000]))"
        )
    };
    session.must(&many(1));
    let rows: (i64, i64) = session.pairs(
        "SELECT (SELECT count(*) FROM counter_ext.slot), (SELECT sum(value)::bigint FROM counter_ext.total)",
    )[0];
    assert_eq!(rows, (0, 150_000), "slot rows, and the sum of totals");

    session.must("BEGIN");
    session.must(&many(10));
    session.must("SAVEPOINT before");
    session.must(&many(100));
    session.must("ROLLBACK TO before");
    session.assert_count("many:7", 11);
    let mut other = cluster.connect();
    other.must("SET lock_timeout = '1ms'");
    for n in 1..=20 {
        other.incr(&format!("many:{n}"), 1000).expect("an increment that waits for nobody");
        other.assert_count(&format!("many:{n}"), 1001);
    }
    session.must("COMMIT");
    other.must("SELECT counter_compact()");
    let wrong: i64 = other.value(
        "SELECT count(*) FROM generate_series(1, 150000) AS n
         WHERE counter_get('many:' || n) <> 11 + CASE WHEN n <= 20 THEN 1000 ELSE 0 END",
    );
    assert_eq!(wrong, 0, "totals");

    // Rolled back, nothing of it counts, though it was in totals.
    session.must("BEGIN");
    session.must(&many(5));
    session.must("ROLLBACK");
    session.assert_count("many:150000", 11);
    let sum: i64 = session.value("SELECT sum(value)::bigint FROM counter_ext.total");
    assert_eq!(sum, 150_000 * 11 + 20_000);
    cluster.finish();
}
