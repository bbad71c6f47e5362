//! A killed, stopped or busy worker delays compaction only (promise G5).

use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::wait::{self, in_time, load_time};
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, load_for, under_load, watch};
use rustix::process::Signal;
use std::thread;
use std::time::Duration;

fn light_traffic() -> Traffic {
    Traffic { clients: 8, readers: 2, ..Traffic::default() }
}

#[test]
fn a_terminated_compactor_comes_back_and_resumes() {
    let cluster = Cluster::start(Settings::restless());
    let ledger = Ledger::new("terminated", 30);
    let mut session = cluster.connect();
    let mut worker = watch::wait_for_compactor(&mut session);
    for round in 1..=3 {
        under_load(&cluster.address(), &ledger, &light_traffic(), |stop| {
            pause(stop, Duration::from_millis(300));
            signal(worker, Signal::TERM);
            worker = watch::wait_for_other_compactor(&mut session, worker);
        });
        ledger.settle(&mut session, &format!("round {round}"));
        watch::wait_until_folded(&mut session);
    }
    cluster.finish();
}

#[test]
fn a_terminated_launcher_comes_back_and_so_do_its_compactors() {
    let cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    let launcher = watch::launcher(&mut session).expect("a launcher");
    signal(launcher, Signal::TERM);
    watch::wait_for_other_launcher(&mut session, launcher);
    let worker = watch::wait_for_compactor(&mut session);
    signal(worker, Signal::TERM);
    watch::wait_for_other_compactor(&mut session, worker);
    session.incr("n", 1).expect("increment");
    watch::wait_until_folded(&mut session);
    session.assert_count("n", 1);
    let compactors: i64 =
        session.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'counter_ext compactor'");
    assert_eq!(compactors, 1, "compactors of one database");
    cluster.finish();
}

#[test]
fn a_stopped_compactor_delays_compaction_only() {
    let settings = Settings::restless().with("counter_ext.compact_interval", "1s");
    let cluster = Cluster::start(settings);
    let ledger = Ledger::new("stopped", 30);
    let mut session = cluster.connect();
    let worker = watch::wait_for_compactor(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    load_for(&cluster.address(), &ledger, &light_traffic(), load_time(3.0));
    ledger.settle(&mut session, "with a stopped worker");
    // What is below 0 is a slot row, however free its total is.
    session.incr("below", -1).expect("increment");
    assert!(watch::unfolded(&mut session) > 0, "nothing is left to fold: the worker was not stopped");

    // Whether it gives up, or folds itself, is not promised; that it comes back is.
    session.must("SET statement_timeout = '1s'");
    in_time("counter_compact beside a stopped worker", Duration::from_secs(5), || {
        println!("counter_compact: {:?}", session.compact().map_err(|error| error.code().cloned()));
    });
    session.must("RESET statement_timeout");

    signal(worker, Signal::CONT);
    watch::wait_until_folded(&mut session);
    ledger.settle(&mut session, "folded");
    cluster.finish();
}

#[test]
fn a_paused_compactor_holds_no_transaction_open() {
    let cluster = Cluster::start(Settings::restless().with("counter_ext.compact_interval", "2s"));
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    session.incr("n", 1).expect("increment");
    watch::wait_until_folded(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    let open: i64 = session.value(
        "SELECT count(*) FROM pg_stat_activity
         WHERE backend_type LIKE 'counter_ext%' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL)",
    );
    assert_eq!(open, 0, "workers with an open transaction or a held snapshot");
    cluster.finish();
}

#[test]
fn a_changed_interval_takes_effect_at_reload() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    // Below 0 it goes through a slot row.
    session.incr("n", -1).expect("increment");
    assert!(watch::unfolded(&mut session) > 0, "compacted before its time");
    session.must("ALTER SYSTEM SET counter_ext.compact_interval = '50ms'");
    session.must("SELECT pg_reload_conf()");
    watch::wait_until_folded(&mut session);
    session.assert_count("n", -1);
    cluster.finish();
}

#[test]
fn counter_compact_from_many_sessions_at_once_folds_everything_once() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let ledger = Ledger::new("together", 50);
    load_for(&cluster.address(), &ledger, &light_traffic(), load_time(1.0));
    thread::scope(|scope| {
        for _ in 0..6 {
            let mut session = cluster.connect();
            scope.spawn(move || session.compact().expect("counter_compact"));
        }
    });
    let mut session = cluster.connect();
    assert_eq!(watch::unfolded(&mut session), 0, "slot rows left after counter_compact");
    ledger.settle(&mut session, "compacted");
    cluster.finish();
}

/// PostgreSQL has a worker of its own, and our launcher is one, so a single database gets a compactor. The others are
/// served all the same, and nothing dies.
#[test]
fn databases_without_a_worker_are_served_by_hand() {
    let cluster = Cluster::start(Settings::restless().with("max_worker_processes", "3"));
    let mut admin = cluster.connect();
    watch::wait_for_compactor(&mut admin);
    let launcher = watch::launcher(&mut admin);
    for name in ["second", "third"] {
        admin.must(&format!("CREATE DATABASE {name}"));
        let mut session = cluster.connect_to(name);
        session.must("CREATE EXTENSION counter_ext");
        session.incr("n", 5).expect("increment");
        session.compact().expect("counter_compact");
        session.assert_count("n", 5);
    }
    thread::sleep(Duration::from_secs(1));
    assert_eq!(watch::launcher(&mut admin), launcher, "the launcher lives on");
    cluster.finish();
}

/// Parallel query is left its half of max_worker_processes, so two compactors are all there can be here; they take turns.
#[test]
fn more_databases_than_workers_are_compacted_in_turn() {
    const DATABASES: usize = 7;
    let cluster = Cluster::start(Settings::restless().with("max_worker_processes", "6"));
    let mut admin = cluster.connect();
    let names: Vec<String> = (0..DATABASES).map(|n| format!("turn_{n}")).collect();
    for name in &names {
        admin.must(&format!("CREATE DATABASE {name}"));
        let mut session = cluster.connect_to(name);
        session.must("CREATE EXTENSION counter_ext");
        session.must("SELECT counter_incr('n' || g) FROM generate_series(1, 100) AS g");
    }
    for name in &names {
        let mut session = cluster.connect_to(name);
        wait::until("each database has its turn", Duration::from_secs(40), || {
            watch::unfolded(&mut session) == 0
        });
        session.assert_count("n7", 1);
    }
    let most: i64 =
        admin.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'counter_ext compactor'");
    assert!(most <= 2, "{most} compactors leave parallel query less than half");
    let states: Vec<String> = names
        .iter()
        .map(|name| cluster.connect_to(name).value("SELECT worker_state FROM counter_stats"))
        .collect();
    println!("worker states: {states:?}");
    let log = cluster.file("server.log");
    let told: i64 = admin
        .value(&format!("SELECT count(*) FROM regexp_matches(pg_read_file('{log}'), 'take turns', 'g')"));
    assert_eq!(told, 1, "the log says it once");
    cluster.finish();
}

/// Databases that are only to be looked into, once, are no reason to say that there are too few workers.
#[test]
fn as_many_databases_as_workers_are_not_said_to_take_turns() {
    const COMPACTORS: &str =
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'counter_ext compactor'";
    // Three compactors: one has its place in the database that is there, and two more come.
    let mut cluster = Cluster::start(Settings::restless().with("max_worker_processes", "8"));
    let mut admin = cluster.connect();
    for name in ["with_1", "with_2", "without_1", "without_2"] {
        admin.must(&format!("CREATE DATABASE {name}"));
        if name.starts_with("with_") {
            cluster.connect_to(name).must("CREATE EXTENSION counter_ext");
        }
    }
    drop(admin);
    cluster.restart();
    let mut admin = cluster.connect();
    wait::until("a compactor a database", Duration::from_secs(60), || admin.value::<i64>(COMPACTORS) == 3);
    // As long as the launcher takes for a look of its own.
    thread::sleep(Duration::from_secs(12));
    let log = cluster.file("server.log");
    let told: i64 = admin
        .value(&format!("SELECT count(*) FROM regexp_matches(pg_read_file('{log}'), 'take turns', 'g')"));
    assert_eq!(told, 0, "three databases are said to take turns at three workers");
    cluster.finish();
}

/// A session that asks for a pass sees that the worker stands still, and makes the pass itself.
#[test]
fn counter_compact_does_not_wait_for_a_worker_that_stands_still() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    let worker = watch::wait_for_compactor(&mut session);
    session.incr("n", 1).expect("increment");
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    in_time("counter_compact beside a stopped worker", Duration::from_secs(15), || {
        session.compact().expect("counter_compact");
    });
    assert_eq!(watch::unfolded(&mut session), 0, "slot rows left after counter_compact");
    signal(worker, Signal::CONT);
    session.assert_count("n", 1);
    cluster.finish();
}

/// What needs the worker in buffered mode says at once that there is none where none can be had.
#[test]
fn nobody_waits_for_a_worker_that_cannot_come() {
    let mut cluster = Cluster::start(Settings::compacted_by_hand());
    watch::wait_until_buffered(&mut cluster.connect());
    // The server's own launcher for logical replication, and ours.
    let starved = Settings::compacted_by_hand().with("max_worker_processes", "2");
    cluster.restart_with(&starved);
    let mut session = cluster.connect_with_mode("buffered");
    session.must("SET statement_timeout = '20s'");
    session.incr("n", 5).expect("increment");
    in_time("counter_compact without a worker", Duration::from_secs(10), || {
        println!("counter_compact: {:?}", session.compact().map_err(|error| error.code().cloned()));
    });
    in_time("counter_drop without a worker", Duration::from_secs(10), || {
        println!("counter_drop: {:?}", session.drop_counter("n").map_err(|error| error.code().cloned()));
    });
    cluster.finish();
}
