//! Buffered mode, alone and mixed with slotted mode: what clients were told equals what is counted (promises G1, G2,
//! G4), while epochs are cut every 50 ms and memory has room for 16 counters only.

use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, load_for, watch};

const BUFFERED: &str = "SET counter_ext.mode = 'buffered'";

/// Half of the clients in one mode, half in the other; half of each commit asynchronously.
const MIXED: &str =
    "SELECT set_config('counter_ext.mode', (ARRAY['slotted', 'buffered'])[1 + pg_backend_pid() % 2], false),
       set_config('synchronous_commit', (ARRAY['on', 'off'])[1 + pg_backend_pid() / 2 % 2], false)";

fn traffic(set_up: &str) -> Traffic {
    Traffic { client_set_up: set_up.to_owned(), ..Traffic::default() }
}

fn exact_under_load(settings: Settings, ledger: Ledger, traffic: Traffic) {
    let mut cluster = Cluster::start(settings);
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    watch::wait_until_buffered(&mut session);

    load_for(&cluster.address(), &ledger, &traffic, load_time(6.0));

    ledger.settle_buffered(&mut session, "after the load");
    let buffered: i64 = session.value("SELECT buffered_increments FROM counter_stats");
    assert!(buffered > 100, "only {buffered} increments were buffered");
    if ledger.ids().len() > 16 {
        watch::assert_memory_was_in_use(&mut session);
    }
    drop(session);
    cluster.restart();
    ledger.settle_buffered(&mut cluster.connect(), "after a restart");
    cluster.finish();
}

#[test]
fn one_viral_counter_is_exact() {
    exact_under_load(Settings::restless(), Ledger::new("viral", 1), traffic(BUFFERED));
}

#[test]
fn one_viral_counter_is_exact_with_asynchronous_commits() {
    let set_up = format!("{BUFFERED}; SET synchronous_commit = off");
    exact_under_load(Settings::restless(), Ledger::new("viral", 1), traffic(&set_up));
}

#[test]
fn ten_counters_are_exact_and_transactions_count_as_a_whole() {
    exact_under_load(Settings::restless(), Ledger::with_mirror("ten", 10), traffic(BUFFERED));
}

#[test]
fn ten_counters_are_exact_in_mixed_mode_with_two_phase_commit() {
    let traffic = Traffic { two_phase: true, ..traffic(MIXED) };
    exact_under_load(Settings::restless(), Ledger::with_mirror("ten", 10), traffic);
}

#[test]
fn a_thousand_counters_are_exact_though_sixteen_fit_into_memory() {
    exact_under_load(Settings::restless(), Ledger::new("thousand", 1_000), traffic(MIXED));
}

#[test]
fn a_thousand_counters_are_exact_when_all_fit() {
    let settings = Settings::restless().with("counter_ext.max_counters", "4096");
    let mut cluster = Cluster::start(settings);
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    let ledger = Ledger::with_mirror("thousand", 1_000);
    load_for(&cluster.address(), &ledger, &traffic(MIXED), load_time(6.0));
    ledger.settle_buffered(&mut session, "after the load");
    drop(session);
    cluster.restart();
    ledger.settle_buffered(&mut cluster.connect(), "after a restart");
    cluster.finish();
}

#[test]
fn counters_that_rise_and_fall_are_exact_in_mixed_mode() {
    let traffic = Traffic { deltas: -9..=9, ..traffic(MIXED) };
    exact_under_load(Settings::restless(), Ledger::new("both", 20), traffic);
}
