//! Reading the journal back: after crashes and promotion, by a worker, by a session, without the library, from a table that was
//! rewritten or damaged.

use counter_ext_cluster_tests::buffered::{
    BUFFERED, SOON, buffered, buffered_increments, by_hand, crash, in_rows, often,
};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::session::{assert_sqlstate, describe};
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Ledger, Session, Settings, Traffic, under_load, watch};
use std::thread;
use std::time::Duration;

/// Fails closed: a journal that cannot be read is an error, never as if nothing were to be recovered.
#[test]
fn a_journal_that_cannot_be_read_is_an_error_and_loses_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 2).expect("increment");
    session.must("ALTER TABLE counter_ext.journal DISABLE TRIGGER guard_rows");
    let epoch: i64 = session.value("DELETE FROM counter_ext.journal RETURNING epoch");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let corrupted = "XX001";
    let mut session = cluster.connect();
    assert_sqlstate("get", session.get("a"), corrupted);
    assert_sqlstate("set", session.set("a", 7), corrupted);
    assert_sqlstate("reset", session.reset("a"), corrupted);
    assert_sqlstate("drop", session.drop_counter("a"), corrupted);
    assert_sqlstate("compact", session.compact(), corrupted);
    assert_sqlstate("info", session.run("SELECT * FROM counter_info('a')"), corrupted);
    session.must("SET counter_ext.mode = 'slotted'");
    session.incr("a", 4).expect("increments go on, to rows");
    session.must(&format!("INSERT INTO counter_ext.journal (epoch) VALUES ({epoch})"));
    assert_eq!(session.get("a").expect("get"), 7);
    watch::wait_until_recovered(&mut session);
    session.compact().expect("compact");
    session.assert_count("a", 7);
    cluster.finish_allowing(&["table counter_ext.journal has not exactly one row"]);
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

/// A server whose background workers are used up, or that has none at all.
fn without_workers() -> Settings {
    by_hand().with("max_worker_processes", "0")
}

fn count_then_crash(cluster: &mut Cluster) {
    let mut session = buffered(cluster, "postgres");
    session.incr_many(&["a", "b", "c", "d"], &[10, 20, 30, 40]).expect("increment");
    session.compact().expect("compact");
    session.incr_many(&["a", "b", "c", "d"], &[1, 2, 3, 4]).expect("increment");
    session.must("BEGIN; CREATE TABLE rows (n int); SELECT counter_incr('a', 100); COMMIT");
    session.must("BEGIN; CREATE TABLE more (n int); SELECT counter_incr('a', 1000); ROLLBACK");
    drop(session);
    cluster.die(Death::Everything);
}

/// Nobody is there to read the journal back: reads have it all the same, at once, and who changes a counter recovers it himself.
#[test]
fn without_a_worker_sessions_recover_by_themselves() {
    let mut cluster = Cluster::start(by_hand());
    count_then_crash(&mut cluster);
    cluster.configure(&without_workers());
    cluster.start_again();
    let mut session = cluster.connect();
    wait::in_time("reads", Duration::from_secs(3), || {
        for (id, expected) in [("a", 111), ("b", 22), ("c", 33), ("d", 44)] {
            assert_eq!(session.get(id).expect("get"), expected, "{id}");
            let (value, exact): (i64, bool) =
                session.pairs(&format!("SELECT value, exact FROM counter_info('{id}')"))[0];
            assert_eq!((value, exact), (expected, true), "{id}");
        }
    });
    session.must("BEGIN READ ONLY");
    assert_eq!(session.get("a").expect("get"), 111);
    session.must("COMMIT");
    session.must("BEGIN");
    assert_eq!(session.reset("a").expect("reset"), 111);
    session.must("ROLLBACK");
    assert_eq!(session.get("a").expect("get"), 111, "the recovery was rolled back with the reset");
    session.must("BEGIN; SAVEPOINT s");
    session.set("b", 5).expect("set");
    session.must("ROLLBACK TO s; COMMIT");
    assert_eq!(session.get("b").expect("get"), 22, "rolled back to a savepoint");
    session.must("BEGIN");
    session.set("b", 5).expect("set");
    let refused = session.run("PREPARE TRANSACTION 'p'");
    assert_sqlstate("prepare of a recovery", refused, "0A000");
    for isolation in ["REPEATABLE READ", "SERIALIZABLE"] {
        session.must(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT count(*) FROM counter_ext.journal"));
        assert_eq!(session.reset("a").expect("reset"), 111);
        session.must("ROLLBACK");
    }
    session.set("b", 5).expect("set");
    assert_eq!(session.reset("c").expect("reset"), 33);
    assert!(session.drop_counter("d").expect("drop"));
    for (id, expected) in [("a", 111), ("b", 5), ("c", 0), ("d", 0)] {
        session.assert_count(id, expected);
    }
    // Recovered: buffered mode is open, and whoever compacts folds what it holds.
    session.must(BUFFERED);
    session.incr("d", 7).expect("increment");
    assert_eq!(in_rows(&mut session, "d"), 0);
    session.must("BEGIN");
    session.compact().expect("compact");
    session.must("ROLLBACK");
    assert_eq!(session.get("d").expect("get"), 7);
    session.must("BEGIN; SAVEPOINT s");
    session.compact().expect("compact");
    assert_eq!(session.get("d").expect("get"), 7, "folded, not committed");
    session.must("ROLLBACK TO s");
    assert_eq!(session.get("d").expect("get"), 7, "rolled back to a savepoint");
    session.must("SAVEPOINT t");
    session.compact().expect("compact");
    session.must("RELEASE t; COMMIT");
    session.assert_count("d", 7);
    session.incr("d", 1).expect("increment");
    session.must("SET synchronous_commit = off");
    session.incr("d", 2).expect("increment");
    session.compact().expect("compact");
    session.assert_count("d", 10);
    session.incr("d", 1).expect("increment");
    assert!(session.drop_counter("d").expect("drop"));
    session.assert_count("d", 0);
    drop(session);
    cluster.restart_with(&by_hand());
    let mut session = cluster.connect();
    for (id, expected) in [("a", 111), ("b", 5), ("c", 0), ("d", 0)] {
        session.assert_count(id, expected);
    }
    cluster.finish_allowing(&["too many background workers"]);
}

/// What was in the journal when the server lost the library is read, and can be folded, without it.
#[test]
fn without_preload_the_journal_is_read_and_folded() {
    let mut cluster = Cluster::start(by_hand());
    count_then_crash(&mut cluster);
    cluster.configure(&Settings::without_preload());
    cluster.start_again();
    let mut session = cluster.connect();
    assert_eq!(session.get("a").expect("get"), 111);
    session.set("b", 5).expect("set");
    assert!(session.compact().expect("compact") >= 0);
    for (id, expected) in [("a", 111), ("b", 5), ("c", 33), ("d", 44)] {
        session.assert_count(id, expected);
    }
    drop(session);
    cluster.restart_with(&by_hand());
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    for (id, expected) in [("a", 111), ("b", 5), ("c", 33), ("d", 44)] {
        session.assert_count(id, expected);
    }
    cluster.finish();
}

/// counter_compact() folds what it says, or raises: a backend that stands still in its commit has not brought its increments to memory.
#[test]
fn compaction_raises_where_it_cannot_fold() {
    let cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    let mut stopped = cluster.connect();
    stopped.must(BUFFERED);
    stopped.must("SET counter_ext.debug_commit_window_ms = 15000");
    let pid = stopped.backend_pid();
    let records = "SELECT count(*) FROM counter_ext.journal_tail";
    let before: i64 = session.value(records);
    thread::scope(|scope| {
        let stopped = scope.spawn(move || stopped.incr("a", 1));
        wait::until("its record is written", SOON, || session.value::<i64>(records) > before);
        session.incr("a", 10).expect("increment");
        let error = session.compact().expect_err("a backend stands in its commit");
        let text = describe(&error);
        assert!(text.contains("55006") && text.contains(&pid.to_string()), "{text}");
        assert_eq!(session.get("a").expect("get"), 10);
        session.incr("a", 100).expect("buffered mode goes on");
        stopped.join().expect("a client").expect("its increment");
    });
    assert_eq!(session.get("a").expect("get"), 111);
    session.compact().expect("compact");
    session.assert_count("a", 111);
    cluster.finish_allowing(&["delays the folding of buffered increments"]);
}

/// A restore inserts totals of counters that are being incremented in buffered mode: folds make no rows in its way.
#[test]
fn folds_keep_out_of_the_way_of_a_restore() {
    let cluster = Cluster::start(often());
    let mut session = buffered(&cluster, "postgres");
    let mut restore = cluster.connect();
    let copy = "COPY counter_ext.total (id, node, value) FROM STDIN";
    restore.must("BEGIN");
    restore.copy_in(copy, "first\t0\t1\n");
    let ids: Vec<String> = (0..50).map(|n| format!("r{n}")).collect();
    for id in &ids {
        session.incr(id, 5).expect("increment");
    }
    // Several folds later.
    wait::until("the increments are folded", SOON, || ids.iter().all(|id| in_rows(&mut session, id) == 5));
    let text: String = ids.iter().map(|id| format!("{id}\t0\t1000\n")).collect();
    restore.copy_in(copy, &text);
    restore.must("COMMIT");
    for id in &ids {
        session.incr(id, 1).expect("increment");
        assert_eq!(session.get(id).expect("get"), 1006, "{id}");
    }
    session.compact().expect("compact");
    for id in &ids {
        session.assert_count(id, 1006);
    }
    cluster.finish();
}

/// VACUUM, VACUUM FULL and CLUSTER of the journal's tables and of the whole database while clients count, then a crash.
#[test]
fn rewrites_of_the_journal_under_load_lose_nothing() {
    let mut cluster = Cluster::start(Settings::restless().with("counter_ext.max_counters", "64"));
    let address = cluster.address();
    watch::wait_until_buffered(&mut cluster.connect());
    let ledger = Ledger::with_mirror("rewritten", 12);
    let set_up = "SELECT set_config('counter_ext.mode', 'buffered', false),
                         set_config('synchronous_commit', (ARRAY['on', 'off'])[1 + pg_backend_pid() % 2], false)";
    let traffic = Traffic { clients: 12, client_set_up: set_up.to_owned(), ..Traffic::default() };
    under_load(&address, &ledger, &traffic, |_| {
        let mut session: Session = cluster.connect();
        for _ in 0..8 {
            for sql in [
                "VACUUM FULL counter_ext.journal_tail",
                "VACUUM counter_ext.journal_tail",
                "VACUUM (FREEZE, TRUNCATE) counter_ext.journal_tail",
                "VACUUM FULL counter_ext.journal",
            ] {
                session.must(sql);
                thread::sleep(Duration::from_millis(60));
            }
        }
        session.must("VACUUM FULL");
    });
    ledger.settle_buffered(&mut cluster.connect(), "after the load");
    let set_up = BUFFERED.to_owned();
    let traffic = Traffic { survives_crashes: true, readers: 0, client_set_up: set_up, ..traffic };
    for round in 1..=4 {
        under_load(&address, &ledger, &traffic, |_| {
            let mut session = cluster.connect();
            for _ in 0..round {
                session.must("VACUUM FULL counter_ext.journal_tail");
                thread::sleep(Duration::from_millis(100));
            }
            drop(session);
            cluster.die(Death::Everything);
            cluster.start_again();
        });
        ledger.settle_buffered(&mut cluster.connect(), &format!("crash {round}"));
    }
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

/// A read does not wait for the worker: what the journal holds is counted from there.
#[test]
fn a_read_before_recovery_has_finished_is_exact_at_once() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.incr("a", -2).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 8000");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    wait::in_time("reads", Duration::from_secs(6), || {
        assert_eq!(session.get("a").expect("get"), 5, "the first read after the start");
        let exact: bool = session.value("SELECT exact FROM counter_info('a')");
        assert!(exact);
        session.must("SET counter_ext.mode = 'buffered'");
        session.incr("a", 1).expect("increment");
        assert_eq!(session.get("a").expect("get"), 6);
    });
    let state: String = session.value("SELECT journal_state FROM counter_stats");
    assert_ne!(state, "ready", "the test was too slow");
    session.set("a", 50).expect("set waits a little, then recovers by itself, or finds it recovered");
    assert_eq!(session.get("a").expect("get"), 50, "set, in rows or buffered");
    watch::wait_until_recovered(&mut session);
    assert_eq!(session.get("a").expect("get"), 50, "recovered");
    // Where the worker was first, set was buffered, and rows have it once it is folded.
    session.compact().expect("compact");
    session.assert_count("a", 50);
    // It may still stand in its window, where nobody needs it.
    watch::wait_until_compactor_pauses(&mut session);
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
    assert_eq!(on_standby.get("a").expect("get"), 11, "a standby reads rows and journal");
    assert!(!on_standby.value::<bool>("SELECT exact FROM counter_info('a')"), "it may lag behind");
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

/// Folding is held up on the primary, which then dies: the standby has what is not folded in its own copy of the journal's table.
#[test]
fn a_standby_has_what_its_promotion_needs() {
    let mut primary = Cluster::start(often().with("wal_keep_size", "256MB"));
    let mut on_primary = buffered(&primary, "postgres");
    on_primary.incr("a", 10).expect("increment");
    on_primary.assert_soon_folded("a", 10);
    let mut standby = primary.standby();
    let mut on_standby = standby.connect();
    let mut holder = primary.connect();
    holder.must("BEGIN; LOCK TABLE counter_ext.journal IN SHARE MODE");
    on_primary.incr("a", 1000).expect("increment");
    on_primary.must("CREATE TABLE filler (n int)");
    for _ in 0..3 {
        on_primary.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
    wait::until("the standby catches up", SOON, || {
        on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
    assert_eq!(on_standby.get("a").expect("get"), 1010, "a standby reads rows and journal");
    on_standby.must("CHECKPOINT");
    drop((on_primary, holder));
    primary.die(Death::Everything);
    on_standby.must("SELECT pg_promote()");
    assert_eq!(on_standby.get("a").expect("get"), 1010);
    watch::wait_until_recovered(&mut on_standby);
    on_standby.must("CHECKPOINT");
    on_standby.assert_count("a", 1010);
    drop(on_standby);
    standby.restart();
    standby.connect().assert_count("a", 1010);
    standby.finish();
}

/// Nobody counts by writing what looks like a record: not with logical messages, which are for everybody, nor in the table itself.
#[test]
fn a_forged_record_does_not_count() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 2).expect("increment");
    let forged = "INSERT INTO counter_ext.journal_tail VALUES (1, '\\x01016108')";
    for sql in [forged, "TRUNCATE counter_ext.journal_tail", "DELETE FROM counter_ext.journal_tail"] {
        assert_sqlstate(sql, session.run(sql), "0A000");
    }
    assert_sqlstate("update", session.run("UPDATE counter_ext.journal SET epoch = 1000"), "0A000");
    // What replication of all tables brings from another server's journal means nothing here.
    session.must("SET session_replication_role = replica");
    for sql in [forged, "UPDATE counter_ext.journal SET epoch = 1000"] {
        session.must(sql);
    }
    let truncate = "TRUNCATE counter_ext.journal_tail";
    assert_sqlstate(truncate, session.run(truncate), "0A000");
    session.must("RESET session_replication_role");
    assert_eq!(session.value::<i64>("SELECT epoch FROM counter_ext.journal"), 0);
    session.must("CREATE ROLE stranger");
    session.must("SET ROLE stranger");
    session.must("SELECT pg_logical_emit_message(false, 'counter_ext', '\\x01016108'::bytea)");
    for sql in [forged, "SELECT * FROM counter_ext.journal_tail", "SELECT * FROM counter_ext.journal"] {
        assert_sqlstate(sql, session.run(sql), "42501");
    }
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 2);
    buffered(&cluster, "postgres").incr("a", 1).expect("increment");
    cluster.restart();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 3);
    cluster.finish();
}

#[test]
fn tables_made_anew_during_recovery_start_from_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 8000");
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
    watch::wait_until_compactor_pauses(&mut session);
    cluster.finish();
}
