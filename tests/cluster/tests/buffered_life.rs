//! The journal's life: what becomes of it when databases are copied, dropped, restored, promoted, when WAL is gone,
//! when transactions fail at the last moment, and what it does not leave behind.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{assert_sqlstate, describe};
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(15);
const BUFFERED: &str = "SET counter_ext.mode = 'buffered'";
const ASYNCHRONOUS: &str = "SET counter_ext.mode = 'buffered'; SET synchronous_commit = off";

fn settings() -> Settings {
    Settings::preloaded().with("counter_ext.compact_interval", "100ms")
}

/// Folds only when asked to.
fn by_hand() -> Settings {
    Settings::compacted_by_hand()
}

/// A session in buffered mode that works.
fn buffered(cluster: &Cluster, database: &str) -> Session {
    let mut session = cluster.connect_to(database);
    watch::wait_until_buffered(&mut session);
    session.must(BUFFERED);
    session
}

fn slots(session: &mut Session) -> i64 {
    session.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'counter_ext'")
}

fn buffered_increments(session: &mut Session) -> i64 {
    session.value("SELECT buffered_increments FROM counter_stats")
}

fn in_rows(session: &mut Session, id: &str) -> i64 {
    session.get_exact(id).expect("counter_get_exact")
}

/// Crashes the server, starts it again, and waits until everything is recovered.
fn crash(cluster: &mut Cluster) -> Session {
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session
}

#[test]
fn a_transaction_counts_as_a_whole_whatever_mode_is_set_when_it_commits() {
    let cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    let before = buffered_increments(&mut session);
    session.must("BEGIN; SELECT counter_incr('a', 1); SET LOCAL counter_ext.mode = 'slotted'; COMMIT");
    assert_eq!(in_rows(&mut session, "a"), 1, "in slot rows: SET LOCAL holds at the commit");
    session.must("BEGIN; SELECT counter_incr('a', 2); COMMIT");
    assert_eq!(in_rows(&mut session, "a"), 1, "not in rows yet");
    assert_eq!(session.get("a").expect("get"), 3);
    assert_eq!(buffered_increments(&mut session) - before, 1);
    session.must("BEGIN; SELECT counter_incr('a', 4); PREPARE TRANSACTION 'p'");
    assert_eq!(session.get("a").expect("get"), 3);
    session.must("COMMIT PREPARED 'p'");
    assert_eq!(session.get("a").expect("get"), 7);
    assert_eq!(in_rows(&mut session, "a"), 5, "prepared transactions go through slot rows");
    session.compact().expect("compact");
    session.assert_count("a", 7);
    cluster.finish();
}

#[test]
fn reset_set_and_drop_see_what_is_buffered() {
    let cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 5).expect("increment");
    assert_eq!(session.reset("a").expect("reset"), 5);
    assert_eq!(session.get("a").expect("get"), 0);
    session.incr("a", 2).expect("increment");
    session.set("a", 40).expect("set");
    session.incr("a", 2).expect("increment");
    assert_eq!(session.get("a").expect("get"), 42);
    session.compact().expect("compact");
    session.assert_count("a", 42);
    session.incr("a", 1).expect("increment");
    assert!(session.drop_counter("a").expect("drop"));
    session.assert_count("a", 0);
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counters WHERE id = 'a'"), 0);
    session.must("BEGIN; SELECT counter_incr('a', 3); SELECT counter_drop('a'); ROLLBACK");
    session.compact().expect("compact");
    session.assert_count("a", 0);
    // What is still in memory only when the worker cannot fold is taken back by as much.
    session.incr("a", 9).expect("increment");
    let worker = watch::compactor(&mut session).expect("a compactor");
    watch::wait_until_compactor_pauses(&mut session);
    session.must("SET statement_timeout = 0");
    session.must("BEGIN; LOCK TABLE counter_ext.journal IN SHARE MODE");
    assert!(session.drop_counter("a").expect("drop"));
    session.must("COMMIT");
    assert_eq!(session.get("a").expect("get"), 0);
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.assert_count("a", 1);
    assert_eq!(watch::compactor(&mut session), Some(worker), "the same worker as before");
    cluster.finish();
}

#[test]
fn a_commit_that_fails_at_the_last_moment_does_not_count() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    // The queue of notifications cannot be written: the commit fails after the increments were prepared for theirs.
    let data: String = session.value("SELECT current_setting('data_directory')");
    let queue = format!("{data}/pg_notify");
    let permit = |mode| {
        std::fs::set_permissions(&queue, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
    };
    for file in std::fs::read_dir(&queue).expect("pg_notify") {
        std::fs::remove_file(file.expect("a file").path()).expect("remove");
    }
    permit(0o500);
    let notify = "SELECT pg_notify('news', repeat('x', 7900) || n) FROM generate_series(1, 30) AS n";
    for (touch, how) in [("SELECT 1", "without an xid"), ("CREATE TABLE with_an_xid (n int)", "with one")] {
        for synchronous in ["on", "off"] {
            session.must(&format!("SET synchronous_commit = {synchronous}"));
            session.must(&format!("BEGIN; {touch}; SELECT counter_incr('a', 100); {notify}"));
            let error = session.run("COMMIT").expect_err("a queue that cannot be written");
            assert!(!describe(&error).contains("08"), "{}", describe(&error));
            assert_eq!(session.get("a").expect("get"), 1, "{how}, synchronous_commit {synchronous}");
        }
    }
    permit(0o700);
    // One of two serializable transactions fails at its commit, or before.
    session.must("SET synchronous_commit = on; CREATE TABLE doctors (name text, on_call boolean)");
    session.must("INSERT INTO doctors VALUES ('a', true), ('b', true)");
    let mut other = cluster.connect();
    other.must(BUFFERED);
    for (one, name) in [(&mut session, "a"), (&mut other, "b")] {
        one.must("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM doctors WHERE on_call");
        one.must(&format!(
            "UPDATE doctors SET on_call = false WHERE name = '{name}'; SELECT counter_incr('skew')"
        ));
    }
    let mut committed = 0;
    for one in [&mut session, &mut other] {
        match one.run("COMMIT") {
            Ok(()) => committed += 1,
            Err(error) => assert!(describe(&error).contains("40001"), "{}", describe(&error)),
        }
    }
    assert_eq!(committed, 1);
    assert_eq!(session.get("skew").expect("get"), 1);
    drop((session, other));
    let mut session = crash(&mut cluster);
    session.assert_count("a", 1);
    session.assert_count("skew", 1);
    cluster.finish_allowing(&["could not serialize access"]);
}

#[test]
fn what_assigns_an_xid_late_neither_loses_nor_doubles() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.must("LISTEN news");
    let mut expected = 0;
    for synchronous in ["on", "off"] {
        session.must(&format!("SET synchronous_commit = {synchronous}"));
        for sql in [
            "BEGIN; SELECT counter_incr('a'); NOTIFY news; COMMIT",
            "BEGIN; NOTIFY news, 'x'; SELECT counter_incr('a'); COMMIT",
            "BEGIN; CREATE TEMP TABLE t (n int) ON COMMIT DROP; SELECT counter_incr('a'); COMMIT",
            "BEGIN; CREATE TEMP TABLE d (n int) ON COMMIT DELETE ROWS; SELECT counter_incr('a'); COMMIT",
            "BEGIN; SELECT count(*) FROM d; SELECT counter_incr('a'); COMMIT",
            "DROP TABLE d",
            "BEGIN; SELECT pg_notify('news', 'y'), counter_incr('a'); SAVEPOINT s; SELECT counter_incr('a'); ROLLBACK TO s; COMMIT",
        ] {
            session.must(sql);
            expected += i64::from(sql.contains("counter_incr"));
            assert_eq!(session.get("a").expect("get"), expected, "{sql}");
        }
    }
    // The last ones were asynchronous: a commit with an xid takes them along.
    session.must("SET synchronous_commit = on; CREATE TABLE witness (n int)");
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", expected);
    cluster.finish();
}

#[test]
fn a_synchronous_commit_takes_along_what_its_session_committed_asynchronously_before() {
    let mut cluster = Cluster::start(by_hand().with("wal_writer_delay", "10s"));
    for (round, anchor) in
        ["CREATE TABLE anchor (n int)", "SELECT counter_incr('anchor')"].into_iter().enumerate()
    {
        let mut session = buffered(&cluster, "postgres");
        // So that neither the worker nor lateness drains.
        let worker = watch::wait_for_compactor(&mut session);
        watch::wait_until_compactor_pauses(&mut session);
        signal(worker, Signal::STOP);
        session.must("SET synchronous_commit = off");
        for _ in 0..10 {
            session.incr("a", 1).expect("increment");
        }
        session.must("SET synchronous_commit = on");
        session.must(anchor);
        let expected = 10 * (round as i64 + 1);
        drop(session);
        let mut session = crash(&mut cluster);
        session.assert_count("a", expected);
    }
    cluster.finish();
}

#[test]
fn a_session_that_ends_and_a_fast_shutdown_lose_nothing_that_was_asynchronous() {
    let mut cluster = Cluster::start(by_hand().with("wal_writer_delay", "10s"));
    let mut session = buffered(&cluster, "postgres");
    let worker = watch::wait_for_compactor(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    session.must(ASYNCHRONOUS);
    session.incr("a", 5).expect("increment");
    drop(session);
    let mut session = cluster.connect();
    wait::until("the session has ended", SOON, || {
        session.value("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'")
    });
    session.must("SELECT pg_current_wal_flush_lsn()");
    signal(worker, Signal::CONT);
    // Clients keep adding while the server is told to stop.
    let address = cluster.address();
    let acknowledged = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let mut session = address.connect_with(ASYNCHRONOUS);
                scope.spawn(move || {
                    let mut acknowledged = 0;
                    while session.incr("a", 1).is_ok() {
                        acknowledged += 1;
                    }
                    acknowledged
                })
            })
            .collect();
        thread::sleep(Duration::from_secs(2));
        drop(session);
        cluster.stop();
        clients.into_iter().map(|client| client.join().expect("a client")).sum::<i64>()
    });
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    let value = session.get("a").expect("get");
    println!("{acknowledged} acknowledged, {value} counted");
    // Each client may have had one increment on its way.
    assert!(
        (5 + acknowledged..=5 + acknowledged + 8).contains(&value),
        "{acknowledged} acknowledged, {value} counted"
    );
    session.assert_count("a", value);
    cluster.finish();
}

#[test]
fn an_asynchronous_crash_loses_no_more_than_three_wal_writer_delays() {
    let delay = Duration::from_millis(200);
    for round in 0..3 {
        let mut cluster = Cluster::start(settings().with("wal_writer_delay", "200ms"));
        watch::wait_until_buffered(&mut cluster.connect());
        let address = cluster.address();
        let (acknowledged, killed) = thread::scope(|scope| {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    let mut session = address.connect_with(ASYNCHRONOUS);
                    scope.spawn(move || {
                        let mut at = Vec::new();
                        while session.incr("a", 1).is_ok() {
                            at.push(Instant::now());
                        }
                        at
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(1500));
            let killed = Instant::now();
            cluster.die(Death::Everything);
            let all: Vec<Instant> =
                clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
            (all, killed)
        });
        cluster.start_again();
        let mut session = cluster.connect();
        watch::wait_until_recovered(&mut session);
        let value = session.get("a").expect("get");
        let safe = acknowledged.iter().filter(|at| **at + 3 * delay < killed).count() as i64;
        println!("round {round}: {} acknowledged, {value} counted, {safe} had to be", acknowledged.len());
        assert!(safe <= value && value <= acknowledged.len() as i64 + 4);
        session.assert_count("a", value);
        cluster.finish();
    }
}

#[test]
fn wal_that_is_gone_is_reported_and_service_goes_on() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 2).expect("increment");
    let oldest: String =
        session.value("SELECT pg_walfile_name(lsn) FROM counter_ext.journal WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())");
    session.must("CREATE TABLE filler (n int)");
    for _ in 0..2 {
        session.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    session.incr("a", 4).expect("increment");
    let data: String = session.value("SELECT current_setting('data_directory')");
    drop(session);
    cluster.die(Death::Everything);
    std::fs::remove_file(format!("{data}/pg_wal/{oldest}")).expect("remove the oldest segment");
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 5);
    session.must(BUFFERED);
    watch::wait_until_buffered(&mut session);
    session.incr("a", 8).expect("increment");
    session.compact().expect("compact");
    session.assert_count("a", 13);
    drop(session);
    cluster.finish_expecting(&[
        "counter_ext: WAL from 0/",
        "is not there any more; increments of buffered mode in it are lost",
    ]);
}

#[test]
fn recovery_asks_no_commit_log() {
    let mut cluster = Cluster::start(by_hand().with("autovacuum", "off"));
    let mut session = buffered(&cluster, "postgres");
    session.must("CREATE TABLE burned (n int)");
    let mut expected = 0;
    for n in 0..3000 {
        let end = if n % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        session.must(&format!("BEGIN; INSERT INTO burned VALUES ({n}); SELECT counter_incr('a'); {end}"));
        expected += i64::from(n % 3 != 0);
    }
    assert_eq!(session.get("a").expect("get"), expected);
    // More than a million transaction ids later nobody needs the commit log's first file any more.
    session.must("SET statement_timeout = 0");
    session.must(
        "CREATE PROCEDURE burn(times int) LANGUAGE plpgsql AS
         $$ BEGIN FOR i IN 1..times LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    session.must("SET synchronous_commit = off");
    session.must("CALL burn(1100000)");
    session.must("UPDATE pg_database SET datallowconn = true");
    for database in ["template0", "template1", "postgres"] {
        cluster.tool("vacuumdb", &["--freeze", "--dbname", database]);
    }
    let first_is_gone: bool =
        session.value("SELECT NOT EXISTS (SELECT FROM pg_ls_dir('pg_xact') AS name WHERE name = '0000')");
    assert!(first_is_gone, "the commit log still has its first file");
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", expected);
    cluster.finish();
}

#[test]
fn a_read_before_recovery_has_finished_waits_for_it() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.incr("a", -2).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 1500");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    assert_eq!(session.get("a").expect("get"), 5, "the first read after the start");
    let exact: bool = session.value("SELECT exact FROM counter_info('a')");
    assert!(exact);
    session.assert_count("a", 5);
    cluster.finish();
}

#[test]
fn a_stopped_backend_delays_folding_and_nothing_else() {
    let cluster = Cluster::start(settings());
    let mut session = buffered(&cluster, "postgres");
    let mut stopped = cluster.connect();
    stopped.must(BUFFERED);
    stopped.must("SET counter_ext.debug_commit_window_ms = 3000");
    let pid = stopped.backend_pid();
    thread::scope(|scope| {
        let stopped = scope.spawn(move || stopped.incr("a", 1));
        thread::sleep(Duration::from_millis(300));
        signal(pid, Signal::STOP);
        wait::until("counter_stats names the stopped process", SOON, || {
            session.incr("a", 1).expect("increment");
            session.value::<Option<i32>>("SELECT journal_delayed_by FROM counter_stats") == Some(pid)
        });
        let before = session.get("a").expect("get");
        wait::in_time("a thousand increments and reads", SOON, || {
            for n in 1..=1000 {
                session.incr("a", 1).expect("increment");
                assert_eq!(session.get("a").expect("get"), before + n);
            }
        });
        let rows = in_rows(&mut session, "a");
        assert!(rows < before + 1000, "{rows} are folded already");
        signal(pid, Signal::CONT);
        stopped.join().expect("the stopped client").expect("its increment");
        session.assert_soon_folded("a", before + 1001);
    });
    drop(session);
    cluster.finish_expecting(&["delays the folding of buffered increments"]);
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_cut_is_taken_over_from() {
    let cluster = Cluster::start(settings());
    let mut session = buffered(&cluster, "postgres");
    // More rounds would only meet the launcher's patience: it waits longer each time.
    for round in 1..=3 {
        for _ in 0..50 {
            session.incr("a", 1).expect("increment");
        }
        let worker = watch::wait_for_compactor(&mut session);
        session.must(&format!("SELECT pg_terminate_backend({worker})"));
        watch::wait_for_other_compactor(&mut session, worker);
        session.assert_soon_folded("a", 50 * round);
    }
    cluster.finish_allowing(&["terminating background worker"]);
}

#[test]
fn the_replication_slot_lives_as_long_as_a_database_needs_it() {
    let cluster = Cluster::start(settings());
    let mut admin = cluster.connect();
    admin.incr("a", 1).expect("increment");
    assert_eq!(slots(&mut admin), 0, "slotted mode needs none");
    for database in ["one", "two"] {
        admin.must(&format!("CREATE DATABASE {database}"));
        cluster.connect_to(database).must("CREATE EXTENSION counter_ext");
        buffered(&cluster, database).incr("a", 1).expect("increment");
    }
    assert_eq!(slots(&mut admin), 1);
    let named: String = cluster.connect_to("one").value("SELECT replication_slot FROM counter_stats");
    assert_eq!(named, "counter_ext");
    admin.must("DROP DATABASE one");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(slots(&mut admin), 1, "the other database needs it");
    let mut two = buffered(&cluster, "two");
    two.incr("a", 1).expect("increment");
    two.compact().expect("compact");
    two.assert_count("a", 2);
    two.must("DROP EXTENSION counter_ext");
    wait::until("the slot goes with the last database", SOON, || slots(&mut admin) == 0);
    two.must("CREATE EXTENSION counter_ext");
    drop(two);
    let mut two = buffered(&cluster, "two");
    two.incr("a", 3).expect("increment");
    two.compact().expect("compact");
    two.assert_count("a", 3);
    assert_eq!(slots(&mut admin), 1);
    drop(two);
    admin.must("DROP DATABASE two");
    wait::until("the slot goes with the last database", SOON, || slots(&mut admin) == 0);
    cluster.finish();
}

#[test]
fn without_a_replication_slot_buffered_mode_says_which_setting_to_raise() {
    let not_in_state = "55000";
    let none = Cluster::start(settings().with("max_replication_slots", "0").with("max_wal_senders", "0"));
    let mut session = none.connect_with_mode("buffered");
    wait::until("the launcher has tried", SOON, || session.incr("a", 1).is_err());
    assert_sqlstate("no slots", session.incr("a", 1), not_in_state);
    let text = describe(&session.incr("a", 1).expect_err("no slots"));
    assert!(text.contains("max_replication_slots"), "{text}");
    session.must("SET counter_ext.mode = 'slotted'");
    session.incr("a", 1).expect("slotted mode works");
    none.finish();

    let minimal = Cluster::start(settings().with("wal_level", "minimal").with("max_wal_senders", "0"));
    let mut session = minimal.connect_with_mode("buffered");
    let text = describe(&session.incr("a", 1).expect_err("wal_level minimal"));
    assert!(text.contains("55000") && text.contains("wal_level"), "{text}");
    minimal.finish();

    let bare = Cluster::start(Settings::without_preload());
    bare.connect().must("LOAD 'counter_ext'");
    let mut session = bare.connect_with_mode("buffered");
    let text = describe(&session.incr("a", 1).expect_err("no preload"));
    assert!(text.contains("55000") && text.contains("shared_preload_libraries"), "{text}");
    bare.finish();
}

#[test]
fn drop_and_create_extension_beside_pending_increments() {
    let mut cluster = Cluster::start(settings());
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
fn a_promoted_standby_recovers_what_was_buffered() {
    let primary = Cluster::start(by_hand());
    let mut on_primary = buffered(&primary, "postgres");
    let mut standby = primary.standby();
    on_primary.incr("a", 1).expect("increment");
    on_primary.compact().expect("compact");
    on_primary.incr("a", 10).expect("increment");
    on_primary.must("CREATE TABLE last (n int)");
    let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
    let mut on_standby = standby.connect();
    wait::until("the standby catches up", SOON, || {
        on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
    assert_eq!(on_standby.get("a").expect("get"), 1, "a standby reads rows");
    on_standby.must("SELECT pg_promote()");
    assert_eq!(on_standby.get("a").expect("get"), 11, "promoted: the journal is read back first");
    watch::wait_until_recovered(&mut on_standby);
    on_standby.assert_count("a", 11);
    watch::wait_until_buffered(&mut on_standby);
    on_standby.must(BUFFERED);
    on_standby.incr("a", 100).expect("increment");
    drop(on_standby);
    let mut on_standby = crash(&mut standby);
    on_standby.assert_count("a", 111);
    on_primary.compact().expect("compact");
    on_primary.assert_count("a", 11);
    standby.finish();
    primary.finish();
}

#[test]
fn a_million_increments_leave_nothing_behind() {
    let cluster = Cluster::start(settings());
    let mut session = buffered(&cluster, "postgres");
    // Somebody looks at something for an hour.
    let mut reader = cluster.connect();
    reader.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM counter_ext.total");
    session.must("SET synchronous_commit = off; SET statement_timeout = 0");
    let size =
        "SELECT pg_total_relation_size('counter_ext.total') + pg_total_relation_size('counter_ext.slot')
        + pg_total_relation_size('counter_ext.journal')";
    let age = "SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()";
    let before: (i64, i64) = (session.value(size), session.value(age));
    let counted = session.get("a").expect("get");
    let start = Instant::now();
    // A transaction an increment, without a million round trips.
    session.must("CREATE PROCEDURE hammer(times int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..times LOOP PERFORM counter_incr('a'); COMMIT; END LOOP; END $$");
    session.must("CALL hammer(1000000)");
    println!("1,000,000 transactions took {:?}", start.elapsed());
    session.compact().expect("compact");
    session.assert_count("a", counted + 1_000_000);
    let after: (i64, i64) = (session.value(size), session.value(age));
    let dead: i64 = session.value("SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'counter_ext'");
    println!("size {} -> {}, age {} -> {}, dead tuples {dead}", before.0, after.0, before.1, after.1);
    let passes = start.elapsed().as_millis() as i64 / 100;
    assert!(after.0 - before.0 <= 512 * 1024, "tables grew from {} to {} bytes", before.0, after.0);
    // A few transactions a pass, and the procedure.
    assert!(after.1 - before.1 <= 4 * passes + 20, "{} transaction ids were spent", after.1 - before.1);
    assert!(dead <= 4 * passes + 20, "{dead} dead tuples");
    reader.must("COMMIT");
    cluster.finish();
}

/// `pg_logical_emit_message` is for everybody; whoever knows the format must still not be able to count with it.
#[test]
fn a_forged_record_does_not_count() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 2).expect("increment");
    session.must("CREATE ROLE stranger");
    let total: u32 = session.value("SELECT 'counter_ext.total'::regclass::oid");
    session.must("SET ROLE stranger");
    for epoch in [vec![0xE8, 0x07], vec![0xFF; 9].into_iter().chain([0x01]).collect::<Vec<u8>>()] {
        let mut record = vec![2u8];
        record.extend(total.to_le_bytes());
        record.extend([0; 8]);
        record.extend(epoch);
        record.extend([1, b'a', 0x80, 0x89, 0x7A]);
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        session.must(&format!("SELECT pg_logical_emit_message(false, 'counter_ext', '\\x{hex}'::bytea)"));
    }
    assert_sqlstate("the key", session.run("SELECT key FROM counter_ext.journal"), "42501");
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 2);
    buffered(&cluster, "postgres").incr("a", 1).expect("increment");
    cluster.restart();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 3);
    cluster.finish_allowing(&["could not be read, the last because"]);
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
fn tables_made_anew_during_recovery_start_from_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 1500");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    wait::until("recovery is under way", SOON, || {
        session.value("SELECT journal_state = 'recovering' FROM counter_stats")
    });
    session.must("BEGIN; DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext; COMMIT");
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 0);
    let before = buffered_increments(&mut session);
    watch::wait_until_buffered(&mut session);
    session.incr("a", 5).expect("increment");
    assert!(buffered_increments(&mut session) > before);
    session.compact().expect("compact");
    session.assert_count("a", 5);
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

/// A segment file that is there and cannot be read: the worker tries again, then goes on behind it.
#[test]
fn wal_that_cannot_be_read_is_passed_over() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 2).expect("increment");
    let oldest: String = session.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
    session.must("CREATE TABLE filler (n int)");
    for _ in 0..2 {
        session.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    session.incr("a", 4).expect("increment");
    let data: String = session.value("SELECT current_setting('data_directory')");
    drop(session);
    cluster.die(Death::Everything);
    std::fs::write(format!("{data}/pg_wal/{oldest}"), []).expect("empty the oldest segment");
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 5);
    drop(session);
    cluster.finish_expecting(&[
        "could not read WAL at",
        "is not there any more; increments of buffered mode in it are lost",
    ]);
}
