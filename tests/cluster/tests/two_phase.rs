//! PREPARE TRANSACTION: prepared increments count at COMMIT PREPARED, in whatever session and after
//! whatever restart.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Ledger, Session, Settings, Traffic, load_for, watch};

fn prepare(session: &mut Session, name: &str, increments: &str) {
    session.must(&format!("BEGIN; {increments}; PREPARE TRANSACTION '{name}'"));
}

#[test]
fn prepared_increments_count_when_committed_and_never_when_rolled_back() {
    let cluster = Cluster::start(Settings::restless());
    let (mut preparer, mut other) = (cluster.connect(), cluster.connect());
    // One counter in memory, one not there at all before.
    other.incr("known", 10).expect("increment");
    other.assert_count("known", 10);
    let increments = "SELECT counter_incr('known', 5); SAVEPOINT s; SELECT counter_incr('known', 1000);
                      ROLLBACK TO s; SELECT counter_incr('new', 7)";
    prepare(&mut preparer, "commit", increments);
    prepare(&mut preparer, "roll back", increments);
    for session in [&mut preparer, &mut other] {
        session.assert_count("known", 10);
        session.assert_count("new", 0);
    }
    other.must("COMMIT PREPARED 'commit'");
    for session in [&mut other, &mut preparer] {
        session.assert_count("known", 15);
        session.assert_count("new", 7);
    }
    other.must("ROLLBACK PREPARED 'roll back'");
    for session in [&mut other, &mut preparer] {
        session.assert_count("known", 15);
        session.assert_count("new", 7);
    }
    watch::wait_until_folded(&mut other);
    other.assert_count("known", 15);
    cluster.finish();
}

fn counts_after(restart: impl FnOnce(&mut Cluster)) {
    let mut cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.incr("known", 10).expect("increment");
    prepare(&mut session, "commit", "SELECT counter_incr('known', 5), counter_incr('new', 7)");
    prepare(&mut session, "roll back", "SELECT counter_incr('known', 50), counter_incr('new', 70)");
    restart(&mut cluster);

    let mut session = cluster.connect();
    session.assert_count("known", 10);
    session.assert_count("new", 0);
    session.incr("new", 1).expect("increment beside prepared ones");
    session.must("COMMIT PREPARED 'commit'");
    session.assert_count("known", 15);
    session.assert_count("new", 8);
    session.must("ROLLBACK PREPARED 'roll back'");
    session.assert_count("known", 15);
    session.assert_count("new", 8);
    watch::wait_until_folded(&mut session);
    session.assert_count("known", 15);
    cluster.finish();
}

#[test]
fn prepared_increments_survive_a_restart() {
    counts_after(Cluster::restart);
}

#[test]
fn prepared_increments_survive_a_crash() {
    counts_after(|cluster| {
        cluster.die(Death::Everything);
        cluster.start_again();
    });
}

#[test]
fn reads_that_race_prepared_transactions_are_exact() {
    let cluster = Cluster::start(Settings::restless());
    for counters in [2, 50] {
        let ledger = Ledger::with_mirror(&format!("prepared:{counters}"), counters);
        let traffic = Traffic { two_phase: true, ..Traffic::default() };
        load_for(&cluster.address(), &ledger, &traffic, load_time(4.0));
        ledger.settle(&mut cluster.connect(), "after the load");
    }
    watch::wait_until_folded(&mut cluster.connect());
    cluster.finish();
}
