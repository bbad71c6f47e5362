//! Maintenance of the tables moves rows to other places; counts go on being exact.

use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, under_load, watch};
use std::sync::atomic::Ordering::SeqCst;

const STATEMENTS: [&str; 9] = [
    "VACUUM counter_ext.slot",
    "VACUUM FULL counter_ext.slot",
    "VACUUM FULL counter_ext.total",
    // Not without CONCURRENTLY: that can deadlock with any transaction that reads, then writes a
    // table.
    "REINDEX TABLE CONCURRENTLY counter_ext.slot",
    "REINDEX TABLE CONCURRENTLY counter_ext.total",
    "VACUUM (FREEZE, TRUNCATE) counter_ext.total, counter_ext.slot",
    "ANALYZE",
    "CHECKPOINT",
    // The order of locks in which TRUNCATE of both takes them.
    "BEGIN; LOCK TABLE counter_ext.total, counter_ext.slot; COMMIT",
];

#[test]
fn vacuum_full_and_reindex_under_load_lose_nothing() {
    let cluster = Cluster::start(Settings::restless().with("autovacuum_naptime", "1s"));
    let ledger = Ledger::with_mirror("moved", 30);
    let traffic = Traffic { clients: 12, ..Traffic::default() };
    let mut admin = cluster.connect();
    under_load(&cluster.address(), &ledger, &traffic, |stop| {
        for statement in STATEMENTS.iter().cycle().take(3 * STATEMENTS.len()) {
            if stop.load(SeqCst) {
                return;
            }
            admin.must(statement);
        }
    });
    ledger.settle(&mut admin, "after the load");
    watch::wait_until_folded(&mut admin);
    ledger.settle(&mut admin, "folded");
    cluster.finish();
}
