//! What clients were told equals what is counted (promises G1, G2, G4), while compaction runs every
//! 50 ms and memory has room for 16 counters only.

use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, load_for, watch};

/// Commits, rollbacks and savepoints in every isolation level; none may fail, as none may lose a
/// serialization conflict or a deadlock.
fn exact_under_load(ledger: Ledger, traffic: Traffic) {
    let mut cluster = Cluster::start(Settings::restless());
    watch::wait_for_compactor(&mut cluster.connect());

    load_for(&cluster.address(), &ledger, &traffic, load_time(6.0));

    let mut session = cluster.connect();
    ledger.settle(&mut session, "after the load");
    if ledger.ids().len() > 16 {
        watch::assert_memory_was_in_use(&mut session);
    }
    watch::wait_until_folded(&mut session);
    let values = ledger.settle(&mut session, "after compaction");
    let stored: i64 = session.value("SELECT sum(value)::bigint FROM counter_ext.total");
    assert_eq!(stored, values.iter().sum::<i64>(), "sum of counter_ext.total");

    cluster.restart();
    ledger.settle(&mut cluster.connect(), "after a restart, with empty memory");
    cluster.finish();
}

#[test]
fn one_viral_counter_is_exact() {
    exact_under_load(Ledger::new("viral", 1), Traffic::default());
}

#[test]
fn ten_counters_are_exact_and_transactions_count_as_a_whole() {
    exact_under_load(Ledger::with_mirror("ten", 10), Traffic::default());
}

#[test]
fn a_thousand_counters_are_exact_though_sixteen_fit_into_memory() {
    exact_under_load(Ledger::new("thousand", 1_000), Traffic::default());
}

#[test]
fn counters_that_rise_and_fall_are_exact() {
    exact_under_load(Ledger::new("both", 20), Traffic { deltas: -9..=9, ..Traffic::default() });
}

#[test]
fn one_slot_row_is_enough_to_be_exact() {
    let traffic = Traffic { client_set_up: "SET counter_ext.slots = 1".to_owned(), ..Traffic::default() };
    exact_under_load(Ledger::new("narrow", 3), traffic);
}
