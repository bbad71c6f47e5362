//! pg_dump keeps every count (promise G8), folded or not.

use counter_ext_cluster_tests::{Cluster, Settings, watch};
use std::collections::BTreeMap;

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
        restore.copy_in("COPY counter_ext.slot FROM STDIN", "page:1\t1\t10\npage:1\t2\t5\n");
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
        faster.copy_in("COPY counter_ext.slot FROM STDIN", "page:1\t1\t10\n");
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
