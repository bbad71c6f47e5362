//! Maintenance of the tables moves rows to other places; counts go on being exact.

use counter_ext_cluster_tests::{Cluster, Ledger, Session, Settings, Traffic, under_load, wait, watch};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

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

/// The worker finds each of the extension's tables locked in turn, while there is work of every kind: it waits for nobody, fails at
/// nothing, and goes on when the lock is gone.
#[test]
fn a_table_locked_by_ddl_is_no_failure_of_the_worker() {
    let cluster = Cluster::start(Settings::restless().with("statement_timeout", "20s"));
    let (mut admin, mut other) = (cluster.connect(), cluster.connect());
    admin.must("SELECT counter_audit('audited:', true)");
    let tables: Vec<(String, String)> = admin.pairs(
        "SELECT c.oid::regclass::text, c.relkind::text FROM pg_class c
         WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1",
    );
    assert!(tables.len() > 10, "{tables:?}");
    let work = "SELECT counter_incr('plain'), counter_incr('audited:a'), counter_visit('page', 'somebody'),
                       counter_like('item', 'actor' || random())";
    let mut counted = 0;
    for (table, _) in &tables {
        let mut session = cluster.connect();
        admin.must(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"));
        // Where the locked table is one that it needs, it waits until the lock is gone.
        let writer = thread::spawn(move || session.must(work));
        // What the worker has found out about the table holds no longer, as after DDL.
        other.must(&format!("UPDATE pg_class SET relpages = relpages WHERE oid = '{table}'::regclass"));
        thread::sleep(Duration::from_millis(150));
        admin.must("COMMIT");
        writer.join().expect("the writer");
        counted += 1;
    }
    watch::wait_until_folded(&mut admin);
    for id in ["plain", "audited:a"] {
        assert_eq!(admin.get(id).expect("get"), counted, "{id}");
    }
    cluster.finish();
}

/// What a burst leaves in the table of slot rows is given back soon, though nobody runs vacuum.
#[test]
fn a_burst_leaves_a_small_slot_table() {
    const SMALL_BYTES: i64 = 512 * 1024;
    let cluster = Cluster::start(
        Settings::preloaded().with("autovacuum", "off").with("counter_ext.compact_interval", "100ms"),
    );
    let mut session = cluster.connect();
    let size =
        |session: &mut Session| -> i64 { session.value("SELECT pg_relation_size('counter_ext.slot')") };
    for burst in 0..3 {
        // What is prepared goes to slot rows.
        session.must(&format!(
            "BEGIN;
             SELECT counter_incr_many(ARRAY(SELECT 'burst:' || n FROM generate_series(1, 40000) AS n));
             PREPARE TRANSACTION 'burst:{burst}'"
        ));
        session.must(&format!("COMMIT PREPARED 'burst:{burst}'"));
        let largest = size(&mut session);
        assert!(largest > 2 * SMALL_BYTES, "a burst of {largest} bytes");
        wait::until("a small slot table", Duration::from_secs(60), || size(&mut session) < SMALL_BYTES);
    }
    let wrong: i64 = session
        .value("SELECT count(*) FROM generate_series(1, 40000) AS n WHERE counter_get('burst:' || n) <> 3");
    assert_eq!(wrong, 0, "totals after the bursts");
    cluster.finish();
}
