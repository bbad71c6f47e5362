//! Buffered increments and the ends of transactions, sessions and servers: what counts, when it is durable, and what
//! it leaves behind.

use counter_ext_cluster_tests::buffered::{
    ASYNCHRONOUS, BUFFERED, SOON, buffered, buffered_increments, by_hand, crash, in_rows, often,
};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::processes::{Halted, signal};
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

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
    let delay = Duration::from_secs(1);
    for round in 0..3 {
        let mut cluster = Cluster::start(often().with("wal_writer_delay", "1s"));
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
            thread::sleep(5 * delay);
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
        assert!(safe > 0, "round {round}: nothing was acknowledged early enough");
        assert!(safe <= value && value <= acknowledged.len() as i64 + 4);
        session.assert_count("a", value);
        cluster.finish();
    }
}

#[test]
fn a_stopped_backend_delays_folding_and_nothing_else() {
    let cluster = Cluster::start(often());
    let mut session = buffered(&cluster, "postgres");
    let mut stopped = cluster.connect();
    stopped.must(BUFFERED);
    stopped.must("SET counter_ext.debug_commit_window_ms = 8000");
    let pid = stopped.backend_pid();
    let is_named = |session: &mut Session| {
        session.value::<Option<i32>>("SELECT journal_delayed_by FROM counter_stats") == Some(pid)
    };
    thread::scope(|scope| {
        let stopped = scope.spawn(move || stopped.incr("a", 1));
        // The worker names it once it waits for it: then it is in its commit.
        wait::until("counter_stats names the process that is waited for", SOON, || {
            session.incr("a", 1).expect("increment");
            is_named(&mut session)
        });
        let halted = Halted::new(pid);
        assert!(is_named(&mut session), "it has left its commit before it was stopped");
        let before = session.get("a").expect("get");
        wait::in_time("a thousand increments and reads", SOON, || {
            for n in 1..=1000 {
                session.incr("a", 1).expect("increment");
                assert_eq!(session.get("a").expect("get"), before + n);
            }
        });
        let rows = in_rows(&mut session, "a");
        assert!(rows < before + 1000, "{rows} are folded already");
        assert!(is_named(&mut session), "nobody waits for it any more");
        drop(halted);
        stopped.join().expect("the stopped client").expect("its increment");
        session.assert_soon_folded("a", before + 1001);
    });
    drop(session);
    cluster.finish_expecting(&["delays the folding of buffered increments"]);
}

#[test]
fn a_commit_waits_for_its_synchronous_standby_and_nothing_else_does() {
    let primary = Cluster::start(often());
    let mut session = buffered(&primary, "postgres");
    let mut standby = primary.standby();
    watch::make_standby_synchronous(&mut session, SOON);
    for level in ["remote_write", "on", "remote_apply"] {
        session.must(&format!("SET synchronous_commit = {level}"));
        wait::in_time(level, SOON, || session.incr("a", 1).expect("increment"));
    }
    standby.stop();
    let mut waiting = primary.connect();
    waiting.must(BUFFERED);
    let pid = waiting.backend_pid();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || waiting.incr("a", 10));
        session.must("SET synchronous_commit = local");
        wait::until("the commit waits for the standby", SOON, || {
            session.value(&format!(
                "SELECT wait_event IS NOT DISTINCT FROM 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}"
            ))
        });
        for _ in 0..100 {
            session.incr("a", 1).expect("increment");
        }
        assert_eq!(session.get("a").expect("get"), 103, "not acknowledged, not counted yet");
        session.must("ALTER SYSTEM RESET synchronous_standby_names");
        session.must("SELECT pg_reload_conf()");
        waiting.join().expect("the waiting client").expect("its increment");
        session.assert_soon_folded("a", 113);
    });
    primary.finish();
}

/// PostgreSQL's queue of those who wait for standbys takes no two for one position, which those of one record would have.
#[test]
fn each_commit_that_waits_for_a_standby_has_a_record_of_its_own() {
    const CLIENTS: i64 = 8;
    const EACH: i64 = 50;
    // VACUUM of the journal's table would send a commit to slot rows.
    let primary = Cluster::start(by_hand().with("autovacuum", "off"));
    let mut session = buffered(&primary, "postgres");
    let standby = primary.standby();
    watch::make_standby_synchronous(&mut session, SOON);
    let records = "SELECT count(*) FROM counter_ext.journal_tail";
    let before: i64 = session.value(records);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut client = primary.connect();
            client.must(BUFFERED);
            scope.spawn(move || (0..EACH).for_each(|_| client.incr("a", 1).expect("increment")));
        }
    });
    assert_eq!(session.value::<i64>(records) - before, CLIENTS * EACH);
    session.compact().expect("compact");
    session.assert_count("a", CLIENTS * EACH);
    standby.finish();
    primary.finish();
}

/// Between a fold's commit and the moment memory learns of it its deltas are in rows and in memory: counters that are
/// evicted and read again in between must count them once.
/// So many commits at once that what they write needs many pages: nobody is passed over by those who come later.
#[test]
fn everybody_gets_on_where_commits_need_many_pages() {
    const CLIENTS: usize = 100;
    const COUNTERS: usize = 11;
    // A flush takes time, so that nearly all of them wait for one.
    let cluster = Cluster::start(Settings::preloaded().with("max_connections", "150").with("fsync", "on"));
    let mut session = buffered(&cluster, "postgres");
    let (address, end) = (cluster.address(), Instant::now() + load_time(8.0));
    let clients: Vec<(u64, Duration)> = thread::scope(|scope| {
        let spawn = |client| {
            let address = &address;
            scope.spawn(move || {
                let mut session = address.connect();
                session.must(BUFFERED);
                let ids = format!("'many:' || repeat('x', 24) || '{client:03}:' || n");
                let sql = format!("SELECT counter_incr({ids}) FROM generate_series(1, {COUNTERS}) AS n");
                let (mut commits, mut longest) = (0, Duration::ZERO);
                while Instant::now() < end {
                    let began = Instant::now();
                    session.must(&sql);
                    longest = longest.max(began.elapsed());
                    commits += 1;
                }
                (commits, longest)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(spawn).collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    });
    let commits: u64 = clients.iter().map(|(commits, _)| commits).sum();
    let longest = clients.iter().map(|(_, longest)| *longest).max().expect("clients");
    println!("{commits} commits, the longest took {longest:?}");
    assert!(longest < load_time(8.0) / 2, "somebody waited for {longest:?} beside {commits} commits");
    session.compact().expect("compact");
    let counted: i64 = session.value("SELECT sum(value)::bigint FROM counters WHERE id LIKE 'many:%'");
    assert_eq!(counted, commits as i64 * COUNTERS as i64);
    cluster.finish();
}

#[test]
fn reads_while_a_fold_becomes_visible_count_once() {
    let settings =
        often().with("counter_ext.max_counters", "16").with("counter_ext.debug_fold_window_ms", "150ms");
    let cluster = Cluster::start(settings);
    let mut session = buffered(&cluster, "postgres");
    for round in 1..=150 {
        session.incr("a", 1).expect("increment");
        // A change of rows makes memory forget the total, not what is buffered.
        session.must("UPDATE counter_ext.total SET updated_at = now() WHERE id = 'a'");
        assert_eq!(session.get("a").expect("get"), round, "counter_get");
        assert_eq!(session.value::<i64>("SELECT value FROM counter_info('a')"), round, "counter_info");
        thread::sleep(Duration::from_millis(10));
    }
    session.assert_soon_folded("a", 150);
    cluster.finish();
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_cut_is_taken_over_from() {
    let cluster = Cluster::start(often());
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
fn a_million_increments_leave_nothing_behind() {
    let cluster = Cluster::start(often());
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

/// The worker cannot have the tables, so the session folds what is buffered in its own transaction, and then empties the tables.
#[test]
fn truncate_after_the_transactions_own_fold_leaves_nothing() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    session.must("SET counter_ext.mode = 'buffered'");
    for commit in ["COMMIT", "ROLLBACK"] {
        session.incr("emptied", 5).expect("increment");
        let before = session.get("emptied").expect("get");
        session.must("BEGIN; LOCK TABLE counter_ext.total IN ACCESS EXCLUSIVE MODE");
        session.must("SELECT counter_compact(); TRUNCATE counter_ext.total");
        session.must(commit);
        let expected = if commit == "COMMIT" { 0 } else { before };
        assert_eq!(session.get("emptied").expect("get"), expected, "after {commit}");
        watch::fold_everything(&mut session);
        session.assert_count("emptied", expected);
    }
    cluster.finish();
}
