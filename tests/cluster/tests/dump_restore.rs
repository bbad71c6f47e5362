//! pg_dump keeps every count (promise G8), folded or not.

use counter_ext_cluster_tests::{Cluster, Session, Settings, wait, watch};
use std::collections::BTreeMap;
use std::time::Duration;

const COUNTS: &str = "SELECT id, value FROM counters";

/// Folded rows, slot rows on top of them, slot rows alone, a negative count, a table that refers to
/// counters.
fn original() -> Cluster {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    session.must("SELECT counter_incr('page:' || n, n) FROM generate_series(1, 200) AS n");
    session.compact().expect("counter_compact");
    session.must("SELECT counter_incr('page:' || n, 1000) FROM generate_series(100, 300) AS n");
    session.must("SELECT counter_incr('debt', -5), counter_incr('ünïcode \"quoted\" \\ id', 3)");
    session.must(
        "CREATE TABLE videos (title text PRIMARY KEY, views counter);
         INSERT INTO videos SELECT 'video ' || n, 'page:' || n FROM generate_series(1, 300) AS n;
         CREATE INDEX ON videos (views)",
    );
    assert!(watch::unfolded(&mut session) > 0, "there must be slot rows to dump");
    cluster
}

/// Restores into a server whose worker compacts all the time.
fn compare_with_copy(original: Cluster, restore: impl FnOnce(&Cluster)) {
    let copy = Cluster::start(Settings::restless().without_extension());
    restore(&copy);
    let (mut before, mut after) = (original.connect(), copy.connect());
    let expected: BTreeMap<String, i64> = before.pairs(COUNTS).into_iter().collect();
    assert_eq!(expected.len(), 302, "counters in the original");
    let compare = |after: &mut counter_ext_cluster_tests::Session, when: &str| {
        assert_eq!(after.pairs(COUNTS).into_iter().collect::<BTreeMap<_, _>>(), expected, "{when}");
        for (id, &value) in &expected {
            after.assert_count(id, value);
        }
    };
    compare(&mut after, "as restored");
    watch::wait_until_folded(&mut after);
    compare(&mut after, "folded");

    let live = "SELECT title, views::bigint FROM videos ORDER BY title";
    let in_table: Vec<(String, i64)> = after.pairs(live);
    assert_eq!(in_table, before.pairs::<String, i64>(live), "live totals through the column");
    assert_eq!(in_table.len(), 300);

    after.incr("page:1", 1).expect("increment after the restore");
    after.assert_count("page:1", expected["page:1"] + 1);
    original.finish();
    copy.finish();
}

#[test]
fn a_plain_dump_keeps_every_count() {
    let original = original();
    let script = original.file("dump.sql");
    original.tool("pg_dump", &["--file", &script]);
    compare_with_copy(original, |copy| {
        copy.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--file", &script]);
    });
}

#[test]
fn a_custom_format_dump_keeps_every_count() {
    let original = original();
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    compare_with_copy(original, |copy| {
        copy.tool("pg_restore", &["--exit-on-error", "-j", "2", "-d", "postgres", &archive]);
    });
}

/// A dump has slots before totals, and minutes may lie between them. What the worker made of the slots meanwhile would be in
/// the totals' way.
#[test]
fn a_slow_restore_finds_nothing_in_its_way() {
    let cluster = Cluster::start(Settings::restless());
    watch::wait_for_compactor(&mut cluster.connect());
    {
        let mut restore = cluster.connect();
        restore
            .copy_in("COPY counter_ext.slot (id, slot, delta) FROM STDIN", "page:1\t1\t10\npage:1\t2\t5\n");
        restore.must(
            "INSERT INTO counter_ext.visit SELECT 'page:1', '2026-01-01', 1, counter_hll_agg(n) FROM generate_series(1, 7) n",
        );
        restore.must("SELECT pg_sleep(2)");
        restore.copy_in("COPY counter_ext.total FROM STDIN", "page:1\t0\t100\t2026-01-01 00:00:00+00\n");
        restore.must(
            "INSERT INTO counter_ext.visitors SELECT 'page:1', day, 0, counter_hll_agg(n)
             FROM unnest('{2026-01-01,-infinity}'::date[]) day, generate_series(5, 9) n GROUP BY day",
        );
    }
    let mut session = cluster.connect();
    watch::wait_until_folded(&mut session);
    assert_eq!(session.get("page:1").expect("get"), 115);
    assert_eq!(session.value::<i64>("SELECT counter_visitors('page:1')"), 9);
    counter_ext_cluster_tests::wait::until(
        "the visits are united",
        std::time::Duration::from_secs(10),
        || session.value("SELECT count(*) = 0 FROM counter_ext.visit"),
    );
    assert_eq!(session.value::<i64>("SELECT counter_visitors('page:1', '2026-01-01', '2026-01-01')"), 9);
    cluster.finish();
}

/// `pg_restore -j` fills our tables in several sessions: while one of them is at it, the worker makes nothing.
#[test]
fn a_restore_in_two_sessions_finds_nothing_in_its_way() {
    let cluster = Cluster::start(Settings::restless());
    watch::wait_for_compactor(&mut cluster.connect());
    let mut slower = cluster.connect();
    slower.must("BEGIN; INSERT INTO counter_ext.total VALUES ('other', 0, 1)");
    {
        let mut faster = cluster.connect();
        faster.copy_in("COPY counter_ext.slot (id, slot, delta) FROM STDIN", "page:1\t1\t10\n");
    }
    // Longer than an idle session would hold the worker back.
    slower.must("SELECT pg_sleep(6)");
    slower.must("INSERT INTO counter_ext.total VALUES ('page:1', 0, 100); COMMIT");
    drop(slower);
    let mut session = cluster.connect();
    watch::wait_until_folded(&mut session);
    assert_eq!(session.get("page:1").expect("get"), 110);
    cluster.finish();
}

/// Tables whose rows are counted, one of them partitioned; no row yet.
const COUNTED_TABLES: &str = "CREATE TABLE posts (id int PRIMARY KEY, author int);
    SELECT counter_cache('posts', 'author:', 'author');
    CREATE TABLE votes (day int, song text) PARTITION BY LIST (day);
    CREATE TABLE votes_1 PARTITION OF votes FOR VALUES IN (1);
    CREATE TABLE votes_2 PARTITION OF votes FOR VALUES IN (2);
    SELECT counter_cache('votes', 'song:', 'song')";

/// What counters say: of rows, of nothing else, of likes.
const ALL_COUNTS: &str = "SELECT id, value FROM counters WHERE value <> 0
    UNION ALL SELECT 'likes of ' || item, counter_likes(item) FROM (SELECT DISTINCT item FROM counter_ext.liked) AS items";

/// Some counts are folded, some are slot rows on top of them, and some slot rows alone. Also what they say.
fn original_with_counted_rows() -> (Cluster, BTreeMap<String, i64>) {
    let original = Cluster::start(Settings::compacted_by_hand().with("max_prepared_transactions", "2"));
    let mut before = original.connect();
    before.must(COUNTED_TABLES);
    before.must("INSERT INTO posts SELECT n, n % 7 FROM generate_series(1, 100) AS n");
    before.must("INSERT INTO votes SELECT 1 + n % 2, 'song ' || n % 5 FROM generate_series(1, 50) AS n");
    before.must("SELECT counter_like('item ' || n % 3, 'actor ' || n) FROM generate_series(1, 20) AS n");
    before.must("SELECT counter_incr('else', 5), counter_incr('author:of none', 3)");
    before.compact().expect("counter_compact");
    // A prepared transaction writes to slot rows only.
    before.must(
        "BEGIN; INSERT INTO posts SELECT n, n % 9 FROM generate_series(101, 120) AS n;
         SELECT counter_like('item 1', 'late'), counter_incr('else', 1); PREPARE TRANSACTION 'late'",
    );
    before.must("COMMIT PREPARED 'late'");
    assert!(watch::unfolded(&mut before) > 0, "there must be slot rows to dump");
    let expected: BTreeMap<String, i64> = before.pairs(ALL_COUNTS).into_iter().collect();
    assert_eq!(expected.len(), 9 + 5 + 3 + 2, "{expected:?}");
    drop(before);
    (original, expected)
}

/// How a dump is made, how it is restored, and whether the counts have to be mended afterwards.
struct Way {
    dump: &'static [&'static str],
    restore: &'static [&'static str],
    is_data_only: bool,
    is_mended: bool,
}

/// All ways lead to the same counts: the rows of a cache and of likes are counted once, whether their totals come along or not, in
/// whatever order, and whether or not triggers fire.
#[test]
fn rows_that_are_counted_are_counted_once_by_every_way_of_restoring_them() {
    const REPLICA: &str = "SET session_replication_role = replica";
    let way = |dump, restore, is_data_only, is_mended| Way { dump, restore, is_data_only, is_mended };
    let ways = [
        way(&[], &["psql"], false, false),
        way(&["-Fc"], &["pg_restore", "-j", "4"], false, false),
        way(&["-a"], &["psql"], true, false),
        way(&["-a", "--inserts"], &["psql"], true, false),
        way(&["-a", "-Fc"], &["pg_restore", "-j", "4"], true, false),
        way(&["-a"], &["psql", "-c", REPLICA], true, false),
        way(&["-a", "--disable-triggers"], &["psql"], true, true),
        way(&["-a", "-Fc"], &["pg_restore", "-j", "4", "--disable-triggers"], true, true),
    ];
    let (original, expected) = original_with_counted_rows();
    let copy = Cluster::start(Settings::restless().without_extension());
    for (number, way) in ways.iter().enumerate() {
        println!("pg_dump {:?}, then {:?}", way.dump, way.restore);
        let (name, file) = (format!("way_{number}"), original.file(&format!("dump.{number}")));
        original.tool("pg_dump", &[way.dump, &["--file", &file]].concat());
        copy.connect().must(&format!("CREATE DATABASE {name}"));
        if way.is_data_only {
            let mut target = copy.connect_to(&name);
            target.must("CREATE EXTENSION counter_ext");
            target.must(COUNTED_TABLES);
            // Memory knows them: as nothing.
            for id in expected.keys() {
                assert_eq!(target.get(id).expect("counter_get"), 0);
            }
        }
        let (program, options) = way.restore.split_first().expect("a program");
        let options: Vec<&str> = match *program {
            "psql" => [&["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &name], options, &["-f", &file]].concat(),
            _ => [&["--exit-on-error", "-d", &name], options, &[&file]].concat(),
        };
        copy.tool(program, &options);

        let mut after = copy.connect_to(&name);
        if way.is_mended {
            after.must("SELECT counter_verify(repair => true)");
        }
        let compare = |after: &mut counter_ext_cluster_tests::Session, when: &str| {
            assert_eq!(after.pairs(ALL_COUNTS).into_iter().collect::<BTreeMap<_, _>>(), expected, "{when}");
            let ids = expected.iter().filter(|(id, _)| !id.starts_with("likes of "));
            ids.for_each(|(id, &value)| after.assert_count(id, value));
            assert_eq!(after.value::<i64>("SELECT count(*) FROM counter_verify()"), 0, "{when}: differences");
        };
        compare(&mut after, "as restored");
        watch::wait_until_folded(&mut after);
        compare(&mut after, "folded");
        after.must("INSERT INTO posts VALUES (1000, 1); SELECT counter_like('item 1', 'new')");
        assert_eq!(after.get("author:1").expect("counter_get"), expected["author:1"] + 1);
        assert_eq!(after.value::<i64>("SELECT counter_likes('item 1')"), expected["likes of item 1"] + 1);
        // Each partition has one trigger for TRUNCATE, as before.
        let guards: Vec<(String, i64)> = after.pairs(
            "SELECT tgrelid::regclass::text, count(*) FROM pg_trigger WHERE tgfoid = 'counter_rows'::regproc
             AND tgtype & 32 <> 0 GROUP BY 1 ORDER BY 1",
        );
        assert_eq!(
            guards,
            ["posts", "votes", "votes_1", "votes_2"].map(|table| (table.to_owned(), 1)).to_vec()
        );
        after.must("TRUNCATE votes_1");
        assert_eq!(after.value::<i64>("SELECT count(*) FROM counter_verify()"), 0, "without a partition");
    }
    original.finish();
    copy.finish();
}

/// `pg_restore -j` begins the last tables while other sessions make the triggers of those that are filled already. So does a list
/// that has these tables last, only always.
fn restore_with_late_tables(settings: Settings, settle: impl Fn(&mut Session)) {
    let (original, expected) = original_with_counted_rows();
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    let contents = original.tool("pg_restore", &["-l", &archive]).stdout;
    let contents = String::from_utf8(contents).expect("a list");
    let copy = Cluster::start(settings.without_extension());
    let late_tables: [&[&str]; 7] = [
        &["counter_ext slot"],
        &["counter_ext total"],
        &["counter_ext cache"],
        &["counter_ext slot", "counter_ext total"],
        &["counter_ext total", "counter_ext slot", "counter_ext cache"],
        &["public votes_2"],
        &["public votes_2", "counter_ext total", "public votes_1", "counter_ext slot", "counter_ext cache"],
    ];
    for (number, late) in late_tables.iter().enumerate() {
        println!("late: {late:?}");
        let is_late =
            |line: &str| late.iter().position(|table| line.contains(&format!("TABLE DATA {table} ")));
        let mut lines: Vec<&str> = contents.lines().collect();
        lines.sort_by_key(|line| is_late(line).map(|at| at + 1));
        assert_eq!(lines.iter().filter(|line| is_late(line).is_some()).count(), late.len(), "{contents}");
        let list = original.file(&format!("list.{number}"));
        std::fs::write(&list, lines.join("\n")).expect("a list is written");
        let name = format!("late_{number}");
        copy.connect().must(&format!("CREATE DATABASE {name}"));
        copy.tool("pg_restore", &["--exit-on-error", "-d", &name, "-L", &list, &archive]);

        let mut after = copy.connect_to(&name);
        settle(&mut after);
        let counts: BTreeMap<String, i64> = after.pairs(ALL_COUNTS).into_iter().collect();
        assert_eq!(counts, expected, "late: {late:?}");
        assert_eq!(after.value::<i64>("SELECT count(*) FROM counter_verify()"), 0, "late: {late:?}");
        assert_eq!(after.value::<i64>("SELECT count(*) FROM counter_caches WHERE state = 'stale'"), 0);
        // Without preload it cannot be known that triggers of an empty table are a restore's.
        assert!(late.contains(&"public votes_1") || caches_are_right(&mut after), "late: {late:?}");
    }
    original.finish();
    copy.finish();
}

fn caches_are_right(session: &mut Session) -> bool {
    session.value("SELECT NOT EXISTS (SELECT FROM counter_caches WHERE state <> 'right')")
}

#[test]
fn tables_that_are_restored_after_triggers_are_counted_once() {
    restore_with_late_tables(Settings::restless(), |after| {
        wait::until("the caches are recounted", Duration::from_secs(20), || caches_are_right(after));
    });
}

#[test]
fn tables_that_are_restored_after_triggers_are_counted_once_without_preload() {
    restore_with_late_tables(Settings::without_preload(), |after| {
        after.compact().expect("counter_compact");
    });
}

/// What is recounted while some rows are restored and others are not would be counted once more as these come.
#[test]
fn a_stale_cache_is_recounted_when_the_restore_is_over() {
    let cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.must(
        "CREATE TABLE posts (id int PRIMARY KEY, author int); SELECT counter_cache('posts', 'author:', 'author');
         INSERT INTO posts VALUES (1, 7)",
    );
    watch::wait_for_compactor(&mut session);
    let mut restoring = cluster.connect();
    restoring.must("BEGIN; INSERT INTO counter_ext.total VALUES ('other', 0, 1)");
    session.must("UPDATE counter_ext.cache SET state = 'stale'");
    session.must("SELECT pg_sleep(1)");
    assert!(!caches_are_right(&mut session), "the worker does not recount it");
    session.must("ALTER TABLE posts DISABLE TRIGGER USER; INSERT INTO posts VALUES (2, 7)");
    session.must("ALTER TABLE posts ENABLE TRIGGER USER");
    assert!(!caches_are_right(&mut session), "no command recounts it");
    assert_eq!(session.get("author:7").expect("counter_get"), 1);
    restoring.must("COMMIT");
    drop(restoring);
    wait::until("the cache is right", Duration::from_secs(15), || caches_are_right(&mut session));
    session.assert_count("author:7", 2);
    cluster.finish();
}
