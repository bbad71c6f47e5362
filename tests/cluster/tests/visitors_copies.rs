//! Promises G7 and G8 for visitors: standbys, promotion, dumps and template copies keep them, servers without preload read
//! and count them from rows, and databases do not see each other's.

use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::visit_load::{Crowd, visited_for, while_visited};
use counter_ext_cluster_tests::visits::Guests;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, watch};
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

const REPLAY_LIMIT: Duration = Duration::from_secs(30);
const READ_ONLY: &str = "25006";

fn restless() -> Settings {
    Settings::restless().with("counter_ext.max_sketches", "32")
}

/// Waits until the standby has replayed everything the primary has written.
fn catch_up(primary: &mut Session, standby: &mut Session) {
    let written: String = primary.value("SELECT pg_current_wal_insert_lsn()::text");
    wait::until("the standby catches up", REPLAY_LIMIT, || {
        standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
}

#[test]
fn a_standby_counts_right_refuses_visits_and_keeps_visitors_when_promoted() {
    let primary = Cluster::start(restless());
    let address = primary.address();
    let crowd = Crowd { clients: 8, monitors: 1, ..Crowd::default() };
    let guests = Guests::new("replicated", 20, 400, crowd.clients);
    visited_for(&address, &guests, &crowd, load_time(0.5));
    let mut standby = primary.standby();
    let mut on_standby = standby.connect();

    // The standby lags: it may count fewer than were acknowledged, but nobody who was not attempted, and never a dip.
    while_visited(&address, &guests, &crowd, |stop| {
        let start = std::time::Instant::now();
        let mut last = vec![0; guests.ids()];
        while start.elapsed() < load_time(3.0) && !stop.load(SeqCst) {
            for (id, last) in last.iter_mut().enumerate() {
                let count = on_standby.visitors(guests.id(id)).expect("counter_visitors on the standby");
                assert!(*last <= count, "{} fell from {last} to {count}", guests.id(id));
                assert!(count <= guests.at_most(id, &[]), "{} has {count} on the standby", guests.id(id));
                *last = count;
            }
        }
    });

    let mut on_primary = primary.connect();
    let counts = guests.settle(&mut on_primary, "primary");
    catch_up(&mut on_primary, &mut on_standby);
    for (id, expected) in counts.iter().enumerate() {
        assert_eq!(
            on_standby.visitors(guests.id(id)).expect("counter_visitors"),
            *expected,
            "on the standby"
        );
        assert_eq!(on_standby.visitors_in_rows(guests.id(id)).expect("counter_visitors"), *expected);
    }
    assert_sqlstate("counter_visit", on_standby.visit(guests.id(0), 1), READ_ONLY);
    assert_sqlstate("counter_drop", on_standby.drop_counter(guests.id(0)), READ_ONLY);
    on_primary.must("BEGIN; SELECT counter_visit('moved', 1); PREPARE TRANSACTION 'moved'");
    catch_up(&mut on_primary, &mut on_standby);

    on_standby.must("SELECT pg_promote()");
    assert_eq!(guests.settle(&mut on_standby, "promoted"), counts, "before and after promotion");
    assert_eq!(on_standby.visitors("moved").expect("counter_visitors"), 0, "prepared");
    on_standby.must("COMMIT PREPARED 'moved'");
    assert_eq!(on_standby.visitors("moved").expect("counter_visitors"), 1, "committed");
    watch::wait_for_compactor(&mut on_standby);
    visited_for(&standby.address(), &guests, &crowd, load_time(1.0));
    let counts = guests.settle(&mut on_standby, "promoted, after more visits");
    standby.restart();
    assert_eq!(guests.settle(&mut standby.connect(), "promoted and restarted"), counts);
    on_primary.must("ROLLBACK PREPARED 'moved'");
    standby.finish();
    primary.finish();
}

/// United rows, visits on top of them, visits alone, sketches past exactness, and odd ids.
fn original() -> Cluster {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    session.must(
        "SELECT count(counter_visit('page:' || n % 50, n)) FROM generate_series(1, 5000) AS n;
         SELECT count(counter_visit('crowd', n)) FROM generate_series(1, 20000) AS n",
    );
    session.compact().expect("counter_compact");
    session.must(
        "SELECT count(counter_visit('page:' || n % 60, 'late ' || n)) FROM generate_series(1, 600) AS n;
         SELECT counter_visit('ünïcode \"quoted\" \\ id', 'x'), counter_visit('crowd', 'late', views => 1);
         INSERT INTO counter_ext.visit SELECT 'page:1', '2026-01-01', n, counter_hll_agg(n::text) FROM generate_series(1, 9) AS n GROUP BY n",
    );
    assert!(
        session.value::<bool>("SELECT count(*) > 50 FROM counter_ext.visitors"),
        "there must be united rows"
    );
    assert!(session.value::<i64>("SELECT visit_rows FROM counter_stats") > 0, "there must be visits to dump");
    cluster
}

const IDS: &str = "SELECT id, counter_visitors(id) || ' ' || counter_visitors(id, '2000-01-01') || ' ' ||
    counter_visitors(id, '2026-01-01', '2026-01-01') || ' ' || counter_get(id)
    FROM (SELECT id FROM counter_ext.visit UNION SELECT id FROM counter_ext.visitors) AS ids ORDER BY 1";

fn assert_same(original: Cluster, copied: &mut Session) {
    let expected: Vec<(String, String)> = original.connect().pairs(IDS);
    assert_eq!(expected.len(), 62, "ids of the original");
    assert_eq!(copied.pairs::<String, String>(IDS), expected, "as restored");
    copied.compact().expect("counter_compact");
    assert_eq!(copied.value::<i64>("SELECT visit_rows FROM counter_stats"), 0);
    assert_eq!(copied.pairs::<String, String>(IDS), expected, "united");
    let again: i64 = copied.value(
        "SELECT count(*) FILTER (WHERE counter_visit('page:' || n % 50, n)) FROM generate_series(1, 5000) AS n",
    );
    assert_eq!(again, 0, "visitors that are new again");
    original.finish();
}

#[test]
fn a_plain_dump_keeps_every_visitor() {
    let (original, copy) = (original(), Cluster::start(restless().without_extension()));
    let script = original.file("dump.sql");
    original.tool("pg_dump", &["--file", &script]);
    copy.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--file", &script]);
    assert_same(original, &mut copy.connect());
    copy.finish();
}

/// A pass of the worker between the tables of a restore, as a large one lasts long enough to meet.
#[test]
fn a_restore_that_the_worker_unites_half_way_keeps_every_visitor() {
    let (original, copy) = (original(), Cluster::start(restless().without_extension()));
    let script = original.file("dump.sql");
    original.tool("pg_dump", &["--file", &script]);
    let text = std::fs::read_to_string(&script).expect("the dump");
    let with_passes =
        text.replace("COPY counter_ext.", "SELECT pg_catalog.pg_sleep(0.6);\nCOPY counter_ext.");
    assert_ne!(text, with_passes);
    std::fs::write(&script, with_passes).expect("write the dump");
    copy.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--file", &script]);
    assert_same(original, &mut copy.connect());
    copy.finish();
}

#[test]
fn a_custom_format_dump_keeps_every_visitor() {
    let (original, copy) = (original(), Cluster::start(restless().without_extension()));
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    copy.tool("pg_restore", &["--exit-on-error", "--single-transaction", "-d", "postgres", &archive]);
    assert_same(original, &mut copy.connect());
    copy.finish();
}

#[test]
fn databases_do_not_see_each_others_visitors_also_after_a_template_copy() {
    let cluster = Cluster::start(restless());
    let mut first = cluster.connect();
    first.must("SELECT counter_visit('page', n) FROM generate_series(1, 5) AS n");
    first.must("CREATE DATABASE empty");
    let mut second = cluster.connect_to("empty");
    second.must("CREATE EXTENSION counter_ext");
    assert_eq!(second.visitors("page").expect("counter_visitors"), 0);
    assert!(second.visit("page", 1).expect("counter_visit"), "new in this database");
    assert!(!first.visit("page", 1).expect("counter_visit"), "known in that one");
    second.drop_counter("page").expect("counter_drop");
    assert_eq!(first.visitors("page").expect("counter_visitors"), 5);

    // Copied, with what is in rows and whatever oids the tables have, it goes its own way.
    second.must("SELECT counter_visit('page', n) FROM generate_series(7, 9) AS n");
    drop(second);
    first.must("CREATE DATABASE copied TEMPLATE empty");
    let (mut second, mut third) = (cluster.connect_to("empty"), cluster.connect_to("copied"));
    for session in [&mut second, &mut third] {
        assert_eq!(session.visitors("page").expect("counter_visitors"), 3);
    }
    assert!(third.visit("page", 1).expect("counter_visit"));
    assert!(second.drop_counter("page").expect("counter_drop"));
    assert_eq!(third.visitors("page").expect("counter_visitors"), 4);
    assert_eq!(second.visitors("page").expect("counter_visitors"), 0);
    assert_eq!(first.visitors("page").expect("counter_visitors"), 5);
    // Truncated there, kept here.
    third.must("TRUNCATE counter_ext.visit, counter_ext.visitors");
    assert_eq!(third.visitors("page").expect("counter_visitors"), 0);
    assert_eq!(first.visitors("page").expect("counter_visitors"), 5);
    cluster.finish();
}

#[test]
fn visitors_are_exact_without_preload_while_several_sessions_compact_by_hand() {
    let mut cluster = Cluster::start(Settings::without_preload());
    let address = cluster.address();
    let crowd = Crowd { two_phase: true, ..Crowd::default() };
    let guests = Guests::new("rows", 20, 400, crowd.clients);
    while_visited(&address, &guests, &crowd, |stop| {
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut session = address.connect();
                scope.spawn(move || {
                    while !stop.load(SeqCst) {
                        session.compact().expect("counter_compact");
                        thread::sleep(Duration::from_millis(20));
                    }
                });
            }
            pause(stop, load_time(4.0));
            stop.store(true, SeqCst);
        });
    });
    let mut session = cluster.connect();
    let counts = guests.settle(&mut session, "after the load");
    session.compact().expect("counter_compact");
    assert_eq!(session.value::<i64>("SELECT visit_rows FROM counter_stats"), 0, "rows left");
    assert_eq!(guests.settle(&mut session, "united"), counts);
    drop(session);
    // The same rows with the library, and without it again.
    for settings in [restless(), Settings::without_preload()] {
        cluster.restart_with(&settings);
        assert_eq!(guests.settle(&mut cluster.connect(), "restarted"), counts);
    }
    cluster.finish();
}
