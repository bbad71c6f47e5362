//! Changes of the tables by others than the extension: an admin's UPDATE, TRUNCATE, DELETE, COPY.
//! Memory follows at their commit, not before and not later (promise G4).

use counter_ext_cluster_tests::load::{beside_increments, in_turn};
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

/// A counter with this count, all of it in `counter_ext.total`, and held in memory.
fn known_counter(session: &mut Session, id: &str, count: i64) {
    session.incr(id, count).expect("increment");
    watch::wait_until_folded(session);
    session.assert_count(id, count);
}

fn restless_cluster() -> (Cluster, Session, Session) {
    let cluster = Cluster::start(Settings::restless());
    let (admin, reader) = (cluster.connect(), cluster.connect());
    (cluster, admin, reader)
}

#[test]
fn an_uncommitted_update_shows_at_its_commit_and_not_before() {
    let (cluster, mut admin, mut reader) = restless_cluster();
    for (end, after) in [("COMMIT", 1000), ("ROLLBACK", 10)] {
        known_counter(&mut reader, end, 10);
        admin.must("BEGIN");
        admin.must(&format!("UPDATE counter_ext.total SET value = 1000 WHERE id = '{end}'"));
        reader.assert_count(end, 10);
        let own = admin.get_exact(end).expect("own change");
        assert_eq!(own, 1000, "{end}: the admin's own snapshot");
        // Increments go on beside the row the admin holds.
        reader.must("SET lock_timeout = '1s'");
        reader.incr(end, 5).expect("an increment beside an uncommitted UPDATE");
        reader.assert_count(end, 15);
        admin.must(end);
        reader.assert_count(end, after + 5);
        watch::wait_until_folded(&mut reader);
        reader.assert_count(end, after + 5);
    }
    cluster.finish_allowing(&["Lock on transaction", "Lock on tuple"]);
}

#[test]
fn an_update_rolled_back_to_a_savepoint_changes_nothing() {
    let (cluster, mut admin, mut reader) = restless_cluster();
    known_counter(&mut reader, "kept", 10);
    known_counter(&mut reader, "changed", 10);
    admin.must("BEGIN; UPDATE counter_ext.total SET value = 20 WHERE id = 'changed'; SAVEPOINT s");
    admin.must("UPDATE counter_ext.total SET value = 30; ROLLBACK TO s; COMMIT");
    reader.assert_count("kept", 10);
    reader.assert_count("changed", 20);
    cluster.finish_allowing(&["Lock on transaction", "Lock on tuple"]);
}

/// Each statement, and what counters `a` and `b`, 10 each, are to the very next read of another
/// session.
#[test]
fn the_next_read_sees_every_kind_of_change() {
    let changes: [(&str, i64, i64); 11] = [
        ("UPDATE counter_ext.total SET value = 77 WHERE id = 'a'", 77, 10),
        ("UPDATE counter_ext.total SET value = value + 1", 11, 11),
        ("DELETE FROM counter_ext.total WHERE id = 'a'", 0, 10),
        ("DELETE FROM counter_ext.total", 0, 0),
        ("TRUNCATE counter_ext.total", 0, 0),
        ("TRUNCATE counter_ext.total, counter_ext.slot", 0, 0),
        ("INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('b', 4711, 5)", 10, 15),
        ("INSERT INTO counter_ext.total (id, node, value, updated_at) VALUES ('a', 9, 90, now())", 100, 10),
        // A counter that changes its name takes its count along.
        (
            "DELETE FROM counter_ext.total WHERE id = 'b'; UPDATE counter_ext.total SET id = 'b' WHERE id = 'a'",
            0,
            10,
        ),
        // As an apply worker or a restore does it.
        (
            "SET session_replication_role = replica; UPDATE counter_ext.total SET value = 8; RESET session_replication_role",
            8,
            8,
        ),
        (
            "WITH gone AS (DELETE FROM counter_ext.total WHERE id = 'a' RETURNING value)
          UPDATE counter_ext.total SET value = total.value + gone.value FROM gone WHERE id = 'b'",
            0,
            20,
        ),
    ];
    let (cluster, mut admin, mut reader) = restless_cluster();
    for (change, a, b) in changes {
        println!("change: {change}");
        admin.must("TRUNCATE counter_ext.total, counter_ext.slot");
        known_counter(&mut reader, "a", 10);
        known_counter(&mut reader, "b", 10);
        admin.must(change);
        reader.assert_count("a", a);
        reader.assert_count("b", b);
    }
    cluster.finish_allowing(&["Lock on transaction", "Lock on tuple"]);
}

#[test]
fn copied_rows_count_for_the_next_read() {
    let (cluster, mut admin, mut reader) = restless_cluster();
    known_counter(&mut reader, "b", 10);
    reader.assert_count("a", 0);
    admin
        .copy_in("COPY counter_ext.total (id, node, value, updated_at) FROM STDIN", "a\t0\t33\t2026-01-01\n");
    admin.copy_in("COPY counter_ext.slot (id, slot, delta) FROM STDIN", "a\t1\t1\na\t2\t2\nb\t3\t5\n");
    reader.assert_count("a", 36);
    reader.assert_count("b", 15);
    cluster.finish();
}

/// The loader has its snapshot, then the change commits, then the loader goes on: what it loads is
/// old.
#[test]
fn a_change_during_a_load_is_seen_by_the_next_read() {
    let (cluster, mut admin, mut reader) = restless_cluster();
    for round in 0..5 {
        let id = format!("raced:{round}");
        reader.incr(&id, 10).expect("increment");
        watch::wait_until_folded(&mut reader);
        // Also what the worker loaded after it.
        watch::evict_everything(&mut reader);
        let mut loader = cluster.address().connect_with("SET counter_ext.debug_load_window_ms = 400");
        thread::scope(|scope| {
            let loading = scope.spawn(|| loader.get(&id).expect("counter_get"));
            thread::sleep(Duration::from_millis(100 * round));
            admin.must(&format!("UPDATE counter_ext.total SET value = 500 WHERE id = '{id}'"));
            reader.assert_count(&id, 500);
            let loaded = loading.join().expect("the loader");
            assert!([10, 500].contains(&loaded), "{id}: the loader read {loaded}");
        });
        reader.assert_count(&id, 500);
    }
    cluster.finish_allowing(&["Lock on transaction", "Lock on tuple"]);
}

/// Nobody can say what the counts must be, only that all ways to read them agree in the end.
#[test]
fn changes_under_load_leave_memory_and_rows_in_agreement() {
    const CHANGES: [&str; 7] = [
        "UPDATE counter_ext.total SET value = value + 1 WHERE id = 'n:3'",
        "UPDATE counter_ext.total SET value = value + 1",
        "DELETE FROM counter_ext.total WHERE id = 'n:5'",
        "INSERT INTO counter_ext.slot VALUES ('n:7', (random() * 9e18)::bigint, 5)",
        "DELETE FROM counter_ext.slot WHERE id = 'n:9'",
        "TRUNCATE counter_ext.total, counter_ext.slot",
        "TRUNCATE counter_ext.slot",
    ];
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let ids: Vec<String> = (0..24).map(|number| format!("n:{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    beside_increments(&address, &ids, 6, |stop| {
        let (mut admin, mut reader) = (cluster.connect(), cluster.connect());
        let start = Instant::now();
        in_turn(stop, 0, |turn| {
            admin.must("BEGIN");
            admin.must(CHANGES[turn % CHANGES.len()]);
            admin.must(if turn % 3 == 0 { "ROLLBACK" } else { "COMMIT" });
            let values = reader.get_many(&ids).expect("counter_get_many");
            assert_eq!(values.len(), ids.len());
            if start.elapsed() > load_time(4.0) {
                stop.store(true, SeqCst);
            }
        });
    });
    let mut session = cluster.connect();
    for id in &ids {
        let rows = session.get_exact(id).expect("counter_get_exact");
        session.assert_count(id, rows);
    }
    cluster.finish_allowing(&["Lock on transaction", "Lock on tuple"]);
}
