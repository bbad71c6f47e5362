//! The journal and whole databases: copied, dropped, closed, and very many of them.

use counter_ext_cluster_tests::buffered::{BUFFERED, SOON, buffered, by_hand, crash, in_rows, often};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::session::{assert_sqlstate, describe};
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Settings, watch};
use std::thread;
use std::time::Duration;

/// What is not folded is in a table: no replication slot is needed for it, and no more WAL than PostgreSQL itself needs.
#[test]
fn buffered_mode_needs_no_replication_slot_and_no_wal_level() {
    let minimal = by_hand()
        .with("wal_level", "minimal")
        .with("max_wal_senders", "0")
        .with("max_replication_slots", "0");
    let mut cluster = Cluster::start(minimal);
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 10).expect("increment");
    session.must("BEGIN; CREATE TABLE with_an_xid (n int); SELECT counter_incr('a', 100); COMMIT");
    for n in 0..3 {
        session.must(&format!("SELECT pg_switch_wal(); INSERT INTO with_an_xid VALUES ({n}); CHECKPOINT"));
    }
    assert_eq!(in_rows(&mut session, "a"), 1);
    // What this transaction has rewritten is not in the WAL yet: its increments go to rows.
    session.must("BEGIN; TRUNCATE with_an_xid; CLUSTER counter_ext.journal USING journal_pkey; SELECT counter_incr('a', 1000); COMMIT");
    let slots: i64 = session.value("SELECT count(*) FROM pg_replication_slots");
    assert_eq!(slots, 0);
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 1111);
    cluster.finish();

    let bare = Cluster::start(Settings::without_preload());
    bare.connect().must("LOAD 'counter_ext'");
    let mut session = bare.connect_with_mode("buffered");
    let text = describe(&session.incr("a", 1).expect_err("no preload"));
    assert!(text.contains("55000") && text.contains("shared_preload_libraries"), "{text}");
    bare.finish();
}

/// More databases than have a place in shared memory, or a worker.
#[test]
fn seventy_databases_keep_their_increments_over_a_crash() {
    const DATABASES: usize = 70;
    let mut cluster = Cluster::start(by_hand().with("max_worker_processes", "12"));
    let mut admin = cluster.connect();
    admin.must("CREATE DATABASE original");
    cluster.connect_to("original").must("CREATE EXTENSION counter_ext");
    for n in 0..DATABASES {
        admin.must(&format!("CREATE DATABASE d{n} TEMPLATE original"));
    }
    for round in 1..=2 {
        let mut buffered = 0;
        // Only then is there one that has to buffer.
        watch::wait_until_buffered(&mut cluster.connect_to("d0"));
        for n in 0..DATABASES {
            let mut session = cluster.connect_to(&format!("d{n}"));
            session.must(BUFFERED);
            for _ in 0..3 {
                session.incr("a", n as i64 + 1).expect("increment");
            }
            buffered += i64::from(in_rows(&mut session, "a") != 3 * round * (n as i64 + 1));
        }
        println!("{buffered} databases have buffered");
        assert!(buffered > 0);
        if round == 1 {
            cluster.die(Death::Everything);
        } else {
            cluster.stop();
        }
        cluster.start_again();
        for n in (0..DATABASES).rev() {
            let mut session = cluster.connect_to(&format!("d{n}"));
            let value = session.get("a").expect("get");
            assert_eq!(value, 3 * round * (n as i64 + 1), "database d{n}, round {round}");
        }
    }
    cluster.finish();
}

#[test]
fn drop_and_create_extension_beside_pending_increments() {
    let mut cluster = Cluster::start(often());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.must("BEGIN; SELECT counter_incr('a', 10)");
    let address = cluster.address();
    thread::scope(|scope| {
        let dropping = scope.spawn(|| {
            let mut admin = address.connect();
            admin.must("DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext");
        });
        thread::sleep(Duration::from_millis(500));
        assert!(!dropping.is_finished(), "DROP EXTENSION waits for the transaction that has counted");
        session.must("COMMIT");
        dropping.join().expect("DROP and CREATE EXTENSION");
    });
    session.assert_count("a", 0);
    watch::wait_until_buffered(&mut session);
    session.incr("a", 100).expect("increment");
    assert_eq!(session.get("a").expect("get"), 100);
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 100);
    cluster.finish();
}

#[test]
fn copies_do_not_replay_the_originals_journal() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.must("CREATE DATABASE original");
    cluster.connect_to("original").must("CREATE EXTENSION counter_ext");
    let mut original = buffered(&cluster, "original");
    original.incr("a", 1).expect("increment");
    original.compact().expect("compact");
    original.incr("a", 10).expect("increment");
    assert_eq!(in_rows(&mut original, "a"), 1, "the rest is in the journal only");
    let script = cluster.file("dump.sql");
    cluster.tool("pg_dump", &["--file", &script, "original"]);
    drop(original);
    wait::until("nobody is connected to the original", SOON, || {
        session.value("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'original' AND backend_type = 'client backend'")
    });
    // The worker folds before it makes room, so the template copy has everything.
    session.must("CREATE DATABASE template_copy TEMPLATE original");
    session.must("CREATE DATABASE restored");
    cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "--file", &script]);
    for (database, expected) in [("original", 11), ("template_copy", 11), ("restored", 1)] {
        cluster.connect_to(database).assert_count("a", expected);
        let mut copy = buffered(&cluster, database);
        copy.incr("a", 100).expect("increment");
        assert_eq!(copy.get("a").expect("get"), expected + 100, "{database}");
    }
    drop(session);
    crash(&mut cluster);
    for (database, expected) in [("original", 111), ("template_copy", 111), ("restored", 101)] {
        let mut copy = cluster.connect_to(database);
        watch::wait_until_recovered(&mut copy);
        copy.assert_count("a", expected);
    }
    cluster.finish();
}

#[test]
fn a_drop_extension_that_is_rolled_back_to_a_savepoint_drops_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 10).expect("increment");
    session.must("BEGIN; SAVEPOINT s; DROP EXTENSION counter_ext; ROLLBACK TO s; COMMIT");
    assert_eq!(session.get("a").expect("get"), 11);
    session.must("DO $$ BEGIN BEGIN DROP EXTENSION counter_ext; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; END $$");
    session.incr("a", 100).expect("increment");
    assert_eq!(session.get("a").expect("get"), 111);
    session.must("BEGIN; DROP EXTENSION counter_ext; ROLLBACK");
    assert_eq!(session.get("a").expect("get"), 111);
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 111);
    session.must("BEGIN; DROP EXTENSION counter_ext");
    assert_sqlstate("PREPARE of a DROP EXTENSION", session.run("PREPARE TRANSACTION 'dropped'"), "0A000");
    session.assert_count("a", 111);
    cluster.finish();
}

#[test]
fn a_database_that_takes_no_connections_keeps_its_increments_over_a_crash() {
    let mut cluster = Cluster::start(by_hand());
    let mut admin = cluster.connect();
    admin.must("CREATE DATABASE closed");
    cluster.connect_to("closed").must("CREATE EXTENSION counter_ext");
    let mut session = buffered(&cluster, "closed");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 300).expect("increment");
    drop(session);
    admin.must("ALTER DATABASE closed ALLOW_CONNECTIONS false");
    admin.must("CREATE TABLE filler (n int)");
    drop(admin);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut admin = buffered(&cluster, "postgres");
    for _ in 0..3 {
        admin.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
        admin.incr("b", 1).expect("increment");
        admin.compact().expect("compact");
        thread::sleep(Duration::from_secs(1));
    }
    admin.must("ALTER DATABASE closed ALLOW_CONNECTIONS true");
    let mut session = cluster.connect_to("closed");
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 301);
    cluster.finish();
}

#[test]
fn a_template_copy_right_after_a_crash_has_everything() {
    let mut cluster = Cluster::start(by_hand());
    cluster.connect().must("CREATE DATABASE original");
    cluster.connect_to("original").must("CREATE EXTENSION counter_ext");
    let mut original = buffered(&cluster, "original");
    original.incr("a", 45).expect("increment");
    drop(original);
    cluster.die(Death::Everything);
    cluster.start_again();
    cluster.connect().must("CREATE DATABASE copy TEMPLATE original");
    for database in ["copy", "original"] {
        let mut session = cluster.connect_to(database);
        watch::wait_until_recovered(&mut session);
        session.assert_count("a", 45);
    }
    cluster.finish();
}
