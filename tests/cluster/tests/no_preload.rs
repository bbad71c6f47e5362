//! Without `shared_preload_libraries` everything but the worker works from rows.

use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, under_load, watch};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

#[test]
fn counts_are_exact_without_preload_while_several_sessions_compact_by_hand() {
    let mut cluster = Cluster::start(Settings::without_preload());
    let address = cluster.address();
    for counters in [1, 30] {
        let ledger = Ledger::with_mirror(&format!("rows:{counters}"), counters);
        let traffic = Traffic { clients: 12, two_phase: true, ..Traffic::default() };
        under_load(&address, &ledger, &traffic, |stop| {
            thread::scope(|scope| {
                for _ in 0..3 {
                    let mut session = address.connect();
                    scope.spawn(move || {
                        while !stop.load(SeqCst) {
                            session.compact().expect("counter_compact");
                            thread::sleep(Duration::from_millis(20));
                        }
                    });
                }
                pause(stop, load_time(4.0));
                stop.store(true, SeqCst);
            });
        });
        let mut session = cluster.connect();
        ledger.settle(&mut session, "after the load");
        session.compact().expect("counter_compact");
        assert_eq!(watch::unfolded(&mut session), 0, "slot rows left after counter_compact");
        ledger.settle(&mut session, "compacted");
        cluster.restart();
        ledger.settle(&mut cluster.connect(), "after a restart");
    }
    cluster.finish();
}

#[test]
fn counter_stats_says_that_there_is_no_worker() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    // Below 0 it goes through a slot row.
    session.incr("n", -1).expect("increment");
    assert!(!session.value::<bool>("SELECT preloaded FROM counter_stats"), "preloaded");
    assert!(session.value::<bool>("SELECT worker_pid IS NULL FROM counter_stats"), "worker_pid");
    assert!(session.value::<i64>("SELECT slot_rows FROM counter_stats") > 0, "slot_rows");
    cluster.finish();
}

/// The same data directory, then without, then again with the library: nothing but speed changes.
#[test]
fn counts_stay_when_preload_is_switched_off_and_on() {
    let mut cluster = Cluster::start(Settings::restless());
    let mut expected = 0;
    for settings in
        [Settings::without_preload(), Settings::restless(), Settings::without_preload(), Settings::restless()]
    {
        let mut session = cluster.connect();
        session.incr("n", 10).expect("increment");
        expected += 10;
        session.assert_count("n", expected);
        cluster.restart_with(&settings);
        cluster.connect().assert_count("n", expected);
    }
    cluster.finish();
}
