//! Counters of a table's rows are what the rows say, whatever is written while they are filled, and whoever is killed.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::{Ending, pause};
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{Address, Isolation, assert_excused, describe};
use counter_ext_cluster_tests::{Cluster, Session, Settings, chance, wait, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const WRITERS: u64 = 8;
const POSTS: i32 = 20;
/// No answer, an answer that the server is going away, or a conflict between two writers of the same rows.
const ALLOWED: [&str; 4] = ["57P", "40001", "40P01", "08"];

const TABLE: &str =
    "CREATE TABLE comments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, post_id int, body text);
    INSERT INTO comments (post_id) SELECT n % 20 FROM generate_series(1, 3000) n";

fn random_statement(random: &mut StdRng) -> String {
    let (post, other) = (random.random_range(0..POSTS), random.random_range(0..POSTS));
    let offset = random.random_range(0..50);
    let some = format!(
        "id IN (SELECT id FROM comments WHERE post_id = {post} ORDER BY id OFFSET {offset} LIMIT 3 FOR UPDATE SKIP LOCKED)"
    );
    match random.random_range(0..7) {
        0..=2 => format!("INSERT INTO comments (post_id) SELECT {post} FROM generate_series(1, 4)"),
        3 => "INSERT INTO comments (post_id) VALUES (NULL), (1)".to_owned(),
        4 => format!("DELETE FROM comments WHERE {some}"),
        5 => format!("UPDATE comments SET post_id = {other} WHERE {some}"),
        _ => format!("UPDATE comments SET body = 'x' WHERE {some}"),
    }
}

fn random_transaction(random: &mut StdRng) -> String {
    let begin = Isolation::ALL.choose(random).expect("a level").begin();
    let mode = ["slotted", "buffered"].choose(random).expect("a mode");
    let mut sql = format!("{begin}; SET LOCAL counter_ext.mode = '{mode}'; SELECT counter_incr('by hand');");
    for _ in 0..random.random_range(1..4) {
        let statement = random_statement(random);
        match random.random_range(0..4) {
            0 => sql += &format!("SAVEPOINT s; {statement}; ROLLBACK TO s;"),
            1 => sql += &format!("SAVEPOINT s; {statement}; RELEASE s;"),
            _ => sql += &format!("{statement};"),
        }
    }
    sql + if random.random_ratio(1, 8) { "ROLLBACK" } else { "COMMIT" }
}

/// Writes until told to stop; connects again when the server was gone. Counts what committed.
fn write(address: &Address, actor: u64, stop: &AtomicBool, written: &AtomicU64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let sql = random_transaction(&mut random);
        match connected.run(&sql) {
            Ok(()) => {
                written.fetch_add(1, SeqCst);
            }
            Err(error) => match error.code() {
                // The server may be killed meanwhile.
                Some(code) if code.code().starts_with("40") => {
                    if connected.run("ROLLBACK").is_err() {
                        session = None;
                    }
                }
                Some(code) => {
                    assert!(
                        ALLOWED.iter().any(|a| code.code().starts_with(a)),
                        "{sql}: {}",
                        describe(&error)
                    );
                    session = None;
                }
                None => session = None,
            },
        }
    }
}

/// Backfills and repairs over and over, now and then making drift first. Mends nothing that is not drift, or the end shows it.
fn mend(address: &Address, actor: u64, stop: &AtomicBool) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let begin = Isolation::ALL[..2].choose(&mut random).expect("a level").begin();
        let drift = format!("SELECT counter_incr('post:{}', 5);", random.random_range(0..POSTS));
        let mend = [
            "counter_backfill('comments', 'post:', 'post_id')",
            "count(*) FROM counter_verify('comments', 'post:', 'post_id', true)",
        ]
        .choose(&mut random)
        .expect("a way");
        let drift = if random.random_ratio(1, 3) { drift } else { String::new() };
        if let Err(error) = connected.run(&format!("{begin}; {drift} SELECT {mend}; COMMIT")) {
            assert_excused(&error, &[], mend);
            session = None;
        }
    }
}

fn differences(session: &mut Session) -> Vec<(String, i64)> {
    session.pairs("SELECT id, counted - rows FROM counter_verify('comments', 'post:', 'post_id')")
}

fn assert_right(session: &mut Session, when: &str) {
    assert_eq!(differences(session), [], "{when}");
    let in_rows: Vec<(String, i64)> = session.pairs(
        "SELECT 'post:' || post_id, count(*) FROM comments WHERE post_id IS NOT NULL GROUP BY 1 ORDER BY 1",
    );
    assert!(!in_rows.is_empty(), "{when}: no rows to count");
    for (id, rows) in in_rows {
        session.assert_count(&id, rows);
    }
}

#[test]
fn a_backfill_under_load_and_through_crashes_is_exact() {
    let mut cluster = Cluster::start(
        Settings::restless().with("fsync", "on").with("log_lock_waits", "off").with("wal_level", "replica"),
    );
    let address = cluster.address();
    let mut session = cluster.connect();
    session.must(TABLE);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        for actor in 1..=WRITERS {
            let (address, stop, written) = (&address, &stop, &written);
            scope.spawn(move || write(address, actor, stop, written));
        }
        pause(&stop, Duration::from_millis(300));
        // Triggers are made, and counters filled, while writers are at it.
        session.must("SELECT counter_cache('comments', 'post:', 'post_id')");
        for actor in 50..52 {
            let (address, stop) = (&address, &stop);
            scope.spawn(move || mend(address, actor, stop));
        }
        pause(&stop, Duration::from_millis(1500));
        assert_eq!(
            session.value::<i64>("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'comments'::regclass"),
            5
        );
        let victim: i32 = session.value(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
             ORDER BY random() LIMIT 1",
        );
        signal(victim, Signal::KILL);
        wait::until("the server restarts its processes", Duration::from_secs(10), || {
            session.run("SELECT 1").is_err()
        });
        cluster.wait_until_it_answers();
        pause(&stop, Duration::from_millis(1000));
        for death in [Death::Postmaster, Death::Everything] {
            cluster.die(death);
            cluster.start_again();
            pause(&stop, Duration::from_millis(1000));
        }
        wait::until_enough_was_done(|| written.load(SeqCst) > 100);
    });
    println!("{} transactions", written.load(SeqCst));
    let mut session = cluster.connect();
    // Drift that a killed repair had not mended yet is none: it rolled back with it.
    assert_right(&mut session, "after the load");
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    assert_right(&mut session, "folded");
    cluster.finish_allowing(&["was terminated by signal 9", "deadlock detected", "could not serialize"]);
}

#[test]
fn a_dump_keeps_the_counts_and_the_triggers() {
    let original = Cluster::start(Settings::restless());
    let mut session = original.connect();
    session.must(TABLE);
    session.must("SELECT counter_cache('comments', 'post:', 'post_id')");
    session.must("INSERT INTO comments (post_id) SELECT n % 7 FROM generate_series(1, 500) n");
    session.must(
        "CREATE TABLE parts (k text, day int) PARTITION BY LIST (day);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
         CREATE INDEX ON parts_1 (k); ALTER TABLE parts_1 ENABLE ROW LEVEL SECURITY, CLUSTER ON parts_1_k_idx;
         SELECT counter_cache('parts', 'part:', 'k');
         INSERT INTO parts VALUES ('a', 1), ('b', 1), ('a', 1)",
    );
    let script = original.file("dump.sql");
    original.tool("pg_dump", &["--file", &script]);
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    let restores: [(&str, Vec<&str>); 2] = [
        ("psql", vec!["-X", "-q", "-v", "ON_ERROR_STOP=1", "--file", &script]),
        ("pg_restore", vec!["--exit-on-error", "-j", "2", "-d", "postgres", &archive]),
    ];
    for (tool, arguments) in restores {
        let copy = Cluster::start(Settings::restless().without_extension());
        copy.tool(tool, &arguments);
        let mut restored = copy.connect();
        assert_right(&mut restored, tool);
        restored.must("INSERT INTO comments (post_id) VALUES (3), (3), (NULL)");
        restored.must("INSERT INTO parts_1 VALUES ('a', 1)");
        restored.assert_count("part:a", 3);
        restored.must("TRUNCATE parts_1");
        restored.assert_count("part:a", 0);
        assert_right(&mut restored, "written after the restore");
        watch::wait_until_folded(&mut restored);
        assert_right(&mut restored, "folded");
        copy.finish();
    }
    original.finish();
}

#[test]
fn without_preload_and_on_a_standby() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    session.must(TABLE);
    session.must("SELECT counter_cache('comments', 'post:', 'post_id')");
    // Counted in rows whatever the mode, which cannot be had here.
    session.must("SET counter_ext.mode = 'buffered'");
    session.must("INSERT INTO comments (post_id) VALUES (3), (4); DELETE FROM comments WHERE post_id = 5; RESET counter_ext.mode");
    assert_right(&mut session, "without preload");
    cluster.finish();

    let primary = Cluster::start(Settings::preloaded());
    let mut session = primary.connect();
    session.must(TABLE);
    session.must("SELECT counter_cache('comments', 'post:', 'post_id')");
    let standby = primary.standby();
    session.must("INSERT INTO comments (post_id) VALUES (3), (4); SELECT counter_incr('post:5', 2)");
    let mut reader = standby.connect();
    wait::until("the standby shows the drift", Duration::from_secs(20), || {
        differences(&mut reader) == [("post:5".to_owned(), 2)]
    });
    let repair = reader.run("SELECT * FROM counter_verify('comments', 'post:', 'post_id', true)");
    counter_ext_cluster_tests::assert_sqlstate("repair on a standby", repair, "25006");
    session.must("SELECT counter_backfill('comments', 'post:', 'post_id')");
    wait::until("the standby shows it mended", Duration::from_secs(20), || {
        differences(&mut reader).is_empty()
    });
    standby.finish();
    primary.finish();
}
