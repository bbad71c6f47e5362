//! Sums, conditions, keys of several columns and counts through another table: what the rows say, under load, through kill -9, a dump
//! and a restore.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::{Ending, pause};
use counter_ext_cluster_tests::session::{Address, Isolation, describe};
use counter_ext_cluster_tests::{Cluster, Session, Settings, chance, wait, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const WRITERS: u64 = 6;
const BOOKS: i32 = 12;
/// No answer, an answer that the server is going away, or a conflict between two writers of the same rows; a book that somebody has just
/// removed, or added.
const ALLOWED: [&str; 5] = ["57P", "40001", "40P01", "08", "23"];

const TABLES: &str = "CREATE TABLE books (id int PRIMARY KEY, author int, title text);
    CREATE TABLE chapters (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, book int REFERENCES books ON UPDATE CASCADE ON DELETE CASCADE,
        words bigint, live boolean);
    CREATE INDEX ON chapters (book);
    INSERT INTO books SELECT n, n % 4 FROM generate_series(1, 12) n;
    INSERT INTO chapters (kind, book, words, live) SELECT 'k' || n % 2, 1 + n % 12, n, n % 3 = 0 FROM generate_series(1, 300) n;
    SELECT counter_cache('chapters', 'words:', 'book', 'words'), counter_cache('chapters', 'live:', 'book', 'words', 'live'),
        counter_cache('chapters', 'kind:', ARRAY['kind', 'book']), counter_cache('chapters', 'author:', 'book', through => 'books.author'),
        counter_cache('chapters', 'awords:', 'book', 'words', 'live', 'books.author')";

fn random_statement(random: &mut StdRng) -> String {
    let (book, author) = (random.random_range(1..=BOOKS), random.random_range(0..4));
    let other = random.random_range(1..=BOOKS);
    let some = format!(
        "id IN (SELECT id FROM chapters WHERE book = {book} ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED)"
    );
    match random.random_range(0..10) {
        0..=2 => format!(
            "INSERT INTO chapters (kind, book, words, live) SELECT 'k1', {book}, n, n = 1 FROM generate_series(1, 3) n"
        ),
        3 => format!("UPDATE chapters SET words = words + 1, live = NOT live, book = {other} WHERE {some}"),
        4 => format!("DELETE FROM chapters WHERE {some}"),
        5 => format!("UPDATE books SET author = {author} WHERE id = {book}"),
        6 => format!(
            "UPDATE books SET title = 'x', author = nullif({author}, 3) WHERE id IN ({book}, {other})"
        ),
        7 => format!("DELETE FROM books WHERE id = {book}"),
        8 => format!(
            "INSERT INTO books VALUES ({book}, {author}) ON CONFLICT (id) DO UPDATE SET author = excluded.author"
        ),
        _ => format!(
            "WITH m AS (UPDATE books SET author = {author} WHERE id = {book} RETURNING id)
             INSERT INTO chapters (kind, book, words, live) SELECT 'k2', id, 5, true FROM m"
        ),
    }
}

fn random_transaction(random: &mut StdRng) -> String {
    let begin = Isolation::ALL.choose(random).expect("a level").begin();
    let mut sql = format!("{begin};");
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
            Err(error) => {
                if let Some(code) = error.code() {
                    let is_allowed = ALLOWED.iter().any(|allowed| code.code().starts_with(allowed));
                    assert!(is_allowed, "{sql}: {}", describe(&error));
                }
                if connected.run("ROLLBACK").is_err() {
                    session = None;
                }
            }
        }
    }
}

fn assert_right(session: &mut Session, when: &str) {
    for (prefix, keys) in [
        ("words:", "'book'"),
        ("live:", "'book'"),
        ("kind:", "ARRAY['kind', 'book']"),
        ("author:", "'book'"),
        ("awords:", "'book'"),
    ] {
        let differences: Vec<(String, i64)> = session
            .pairs(&format!("SELECT id, counted - rows FROM counter_verify('chapters', '{prefix}', {keys})"));
        assert_eq!(differences, [], "{when}");
    }
    let by_rows: Vec<(String, i64)> = session.pairs(
        "SELECT 'words:' || book, sum(words)::bigint FROM chapters GROUP BY 1
         UNION ALL SELECT 'live:' || book, sum(words)::bigint FROM chapters WHERE live GROUP BY 1
         UNION ALL SELECT 'kind:' || kind || ':' || book, count(*) FROM chapters GROUP BY 1
         UNION ALL SELECT 'author:' || author, count(*) FROM chapters JOIN books ON books.id = book WHERE author IS NOT NULL GROUP BY 1
         UNION ALL SELECT 'awords:' || author, sum(words)::bigint FROM chapters JOIN books ON books.id = book WHERE live AND author IS NOT NULL GROUP BY 1",
    );
    for (id, rows) in by_rows {
        session.assert_count(&id, rows);
    }
}

#[test]
fn every_kind_of_cache_is_exact_under_load_and_through_crashes() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on").with("log_lock_waits", "off"));
    let address = cluster.address();
    let mut session = cluster.connect();
    session.must(TABLES);
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        for actor in 1..=WRITERS {
            let (address, stop, written) = (&address, &stop, &written);
            scope.spawn(move || write(address, actor, stop, written));
        }
        pause(&stop, Duration::from_millis(1500));
        for death in [Death::Postmaster, Death::Everything] {
            cluster.die(death);
            cluster.start_again();
            pause(&stop, Duration::from_millis(1000));
        }
        wait::until_enough_was_done(|| written.load(SeqCst) > 100);
    });
    println!("{} transactions", written.load(SeqCst));
    let mut session = cluster.connect();
    assert_right(&mut session, "after the load");
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    assert_right(&mut session, "folded");
    cluster.finish_allowing(&[
        "was terminated by signal 9",
        "deadlock detected",
        "could not serialize",
        "violates",
        // Of two who change the same chapters or books.
        "waits for ",
    ]);
}

#[test]
fn a_dump_keeps_every_kind_of_cache() {
    let original = Cluster::start(Settings::restless());
    let mut session = original.connect();
    session.must(TABLES);
    // Names as they are after the caches were made.
    session.must(
        "CREATE SCHEMA \"Odd Place\"; ALTER TABLE books SET SCHEMA \"Odd Place\";
         ALTER TABLE \"Odd Place\".books RENAME TO \"Books\"; ALTER TABLE \"Odd Place\".\"Books\" RENAME author TO \"by whom\";
         ALTER TABLE chapters RENAME words TO \"how many\"",
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
        let caches: i64 = restored.value("SELECT count(*) FROM counter_caches");
        assert_eq!(caches, 5, "{tool}");
        // A parallel restore may make a trigger while another session looks at what there is of them: the worker looks again.
        wait::until("no cache is stale", Duration::from_secs(20), || {
            restored.value::<i64>("SELECT count(*) FROM counter_caches WHERE state = 'stale'") == 0
        });
        // Names follow there too.
        restored.must(
            "ALTER TABLE \"Odd Place\".\"Books\" RENAME \"by whom\" TO author; ALTER TABLE \"Odd Place\".\"Books\" RENAME TO books;
             ALTER TABLE \"Odd Place\".books SET SCHEMA public; ALTER TABLE chapters RENAME \"how many\" TO words",
        );
        assert_right(&mut restored, tool);
        restored.must(
            "UPDATE books SET author = 2 WHERE id = 3; DELETE FROM books WHERE id = 4; UPDATE chapters SET words = words + 1, live = NOT live;
             INSERT INTO chapters (kind, book, words, live) VALUES ('k', 3, 7, true)",
        );
        assert_right(&mut restored, "written after the restore");
        watch::wait_until_folded(&mut restored);
        assert_right(&mut restored, "folded");
        copy.finish();
    }
    original.finish();
}
