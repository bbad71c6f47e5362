//! Series under load, crashes, pauses of compaction, dumps and copies: a counter's buckets add up to what its total has gained since it is
//! tracked.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{Address, Isolation, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const IDS: u32 = 12;
const SOON: Duration = Duration::from_secs(60);

/// Transactions of all kinds around changes of tracked counters: those of `old:` are there before they are tracked, those of `new:` are
/// dropped and moved too. Sessions that the server's end takes are made anew.
fn count(address: &Address, stop: &AtomicBool, committed: &AtomicU64, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    let mut prepared = 0;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let mut sql = String::from(Isolation::ALL.choose(&mut random).expect("a level").begin());
        sql += ["", "; SET LOCAL counter_ext.mode = 'buffered'"].choose(&mut random).expect("a mode");
        for _ in 0..random.random_range(1..=3) {
            let (id, other) = (random.random_range(0..IDS), random.random_range(0..IDS));
            let prefix = ["old:", "new:"].choose(&mut random).expect("a prefix");
            let delta = random.random_range(-3..=9);
            let age = random.random_range(0..200_000);
            sql += &match random.random_range(0..30) {
                0 => format!("; SELECT counter_reset('{prefix}{id}')"),
                1 => format!("; SELECT counter_set('{prefix}{id}', {delta})"),
                2 => format!("; SELECT counter_drop('new:{id}')"),
                3 if id != other => format!("; SELECT counter_merge('new:{id}', 'new:{other}')"),
                4 => format!("; SAVEPOINT s; SELECT counter_incr('{prefix}{id}', {delta}); ROLLBACK TO s"),
                5..=8 => {
                    format!("; SELECT counter_incr_at('new:{id}', now() - interval '{age} minutes', {delta})")
                }
                _ => format!("; SELECT counter_incr('{prefix}{id}', {delta})"),
            };
        }
        prepared += 1;
        let name = format!("series {actor} {prepared}");
        let is_prepared = random.random_range(0..12) == 0;
        sql += &match random.random_range(0..10) {
            _ if is_prepared => format!("; PREPARE TRANSACTION '{name}'"),
            0 => "; ROLLBACK".to_owned(),
            _ => "; COMMIT".to_owned(),
        };
        let mut result = connected.run(&sql);
        if result.is_ok() && is_prepared {
            result = connected.run(&format!("COMMIT PREPARED '{name}'"));
        }
        match result {
            Ok(()) => {
                committed.fetch_add(1, SeqCst);
            }
            Err(error) => {
                // Those that lock two counters in opposite order meet in a deadlock, as they may. The test itself commits what is
                // prepared and left by a crash, and may be quicker.
                assert_excused(&error, &["40P01", "42704", "55000"], &sql);
                session = None;
            }
        }
    }
}

/// Each tracked counter's series, with what it began with, is its total; from buckets and what is not folded, and from buckets alone.
fn assert_add_up(session: &mut Session, when: &str) {
    const DIFFERING: &str = "SELECT string_agg(format('%s: %s in the series, %s gained', id, series, gained), ', ')
        FROM (SELECT id, counter_total(id) AS series, counter_get(id) - coalesce(began, 0) AS gained
              FROM (SELECT id FROM counter_ext.bucket UNION SELECT id FROM counters UNION SELECT id FROM public.began) AS ids
                  LEFT JOIN public.began USING (id) WHERE id ~ '^(old|new):') AS s
        WHERE series <> gained";
    assert_eq!(session.value::<Option<String>>(DIFFERING), None, "{when}");
    if session.value::<Option<String>>("SELECT journal_state FROM counter_stats").is_some() {
        watch::fold_everything(session);
    } else {
        session.compact().expect("counter_compact");
    }
    assert_eq!(session.value::<Option<String>>(DIFFERING), None, "{when}, folded");
    let steps: i64 = session.value(
        "SELECT count(*) FROM (SELECT DISTINCT id FROM counter_ext.bucket) AS b
         WHERE counter_total(id) <> (SELECT sum(value) FROM counter_series(id, now() - interval '400 days', step => 'day'))",
    );
    assert_eq!(steps, 0, "{when}: days");
}

#[test]
fn a_series_adds_up_to_the_total_after_load_and_crashes() {
    let mut cluster =
        Cluster::start(Settings::restless().with("fsync", "on").with("max_prepared_transactions", "20"));
    let address = cluster.address();
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    session.must("CREATE TABLE began (id text PRIMARY KEY, began bigint); SELECT counter_track('new:')");
    drop(session);
    let (stop, committed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (address, stop, committed) = (&address, &stop, &committed);
        let _ending = Ending(stop);
        for actor in 0..4 {
            scope.spawn(move || count(address, stop, committed, actor));
        }
        thread::sleep(load_time(1.0));
        // In the middle of it. Nobody counts until that commits.
        cluster.connect().must(
            "BEGIN; SELECT counter_track('old:', '{hour,day}', '{1 day,forever}');
             INSERT INTO began SELECT 'old:' || n, counter_get('old:' || n) FROM generate_series(0, 11) AS n; COMMIT",
        );
        thread::sleep(load_time(1.0));
        // Compaction pauses.
        let worker = watch::wait_for_compactor(&mut cluster.connect());
        signal(worker, Signal::STOP);
        thread::sleep(load_time(1.0));
        signal(worker, Signal::CONT);
        thread::sleep(load_time(0.5));
        cluster.kill_one(SOON, watch::compactor);
        cluster.wait_until_it_answers();
        for death in [Death::Everything, Death::Immediate, Death::Everything] {
            thread::sleep(load_time(1.0));
            cluster.die(death);
            cluster.start_again();
            cluster.connect().finish_prepared();
        }
        thread::sleep(load_time(1.0));
        wait::until_enough_was_done(|| committed.load(SeqCst) > 100);
    });
    println!("{} transactions", committed.load(SeqCst));
    let mut session = cluster.connect();
    session.finish_prepared();
    assert_eq!(session.value::<i64>("SELECT count(*) FROM pg_prepared_xacts"), 0);
    assert_add_up(&mut session, "once quiet");
    assert!(session.value::<i64>("SELECT count(DISTINCT minutes) FROM counter_ext.bucket") == 3);
    // Another keep: what is older is rolled up, and adds up still.
    session.must("SELECT counter_track('new:', keep => '{1 hour,2 days,forever}')");
    wait::until("old partitions are rolled up", SOON, || {
        session.compact().expect("counter_compact");
        session.value(
            "SELECT NOT EXISTS (SELECT FROM counter_ext.bucket WHERE minutes = 1 AND at < now() - interval '2 days'
                                OR minutes = 60 AND at < now() - interval '33 days')",
        )
    });
    assert_add_up(&mut session, "rolled up");
    drop(session);
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on", "deadlock"]);
}

#[test]
fn series_are_restored_and_stand_by() {
    let original = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "50ms"));
    let mut session = original.connect();
    session.must(
        "CREATE TABLE began (id text PRIMARY KEY, began bigint);
         SELECT counter_track('new:'), counter_incr('old:1', 5); INSERT INTO began VALUES ('old:1', 5)",
    );
    session.must("SELECT counter_track('old:')");
    session.must(
        "SELECT counter_incr('new:' || n % 10, n), counter_incr_at('new:' || n % 10, now() - n * interval '1 day', n),
             counter_incr('old:1', n) FROM generate_series(1, 300) AS n",
    );
    assert_add_up(&mut session, "here");
    let standby = original.standby();
    let mut reader = standby.connect();
    wait::until("the standby has the series", SOON, || {
        reader.value::<i64>("SELECT counter_total('old:1')") == 45_150
    });
    assert_eq!(
        reader.value::<i64>("SELECT sum(value)::bigint FROM counter_series('old:1', now() - interval '1 hour', step => 'minute')"),
        45_150
    );
    // Slot rows and what is buffered show there before they are compacted here, with the worker stopped.
    watch::wait_until_buffered(&mut session);
    let worker = watch::wait_for_compactor(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    session.must("RESET counter_ext.mode");
    session.must("SELECT counter_incr('old:1', 1)");
    // It is the mode at COMMIT that decides.
    session.must("BEGIN; SET LOCAL counter_ext.mode = buffered; SELECT counter_incr('old:1', 2); COMMIT");
    assert_eq!(session.value::<i64>("SELECT counter_get_exact('old:1')"), 45_156, "buffered");
    wait::until("the standby has what is not compacted", SOON, || {
        reader.value::<i64>("SELECT counter_total('old:1')") == 45_153
    });
    signal(worker, Signal::CONT);
    drop(reader);
    standby.finish();
    watch::fold_everything(&mut session);
    for format in ["custom", "plain"] {
        let dump = original.file(format);
        original.tool("pg_dump", &["-F", &format[..1], "--file", &dump]);
        let copy = Cluster::start(Settings::restless().without_extension());
        match format {
            "custom" => copy.tool("pg_restore", &["--exit-on-error", "-j", "2", "-d", "postgres", &dump]),
            _ => copy.tool("psql", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-1", "-f", &dump]),
        };
        let mut restored = copy.connect();
        restored.must("SELECT counter_incr('new:3', 7), counter_incr('old:1')");
        assert_add_up(&mut restored, format);
        assert_eq!(restored.value::<i64>("SELECT counter_total('old:1')"), 45_154, "{format}");
        drop(restored);
        copy.finish();
    }
    // As a migration does it, in one transaction.
    session.must(
        "DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext; SELECT counter_track('new:'); SELECT counter_incr('new:1', 3)",
    );
    assert_eq!(session.value::<i64>("SELECT counter_total('new:1')"), 3);
    drop(session);
    original.finish();
}

/// Everything works from rows; counter_compact does the rest.
#[test]
fn without_preload_series_are_compacted_by_hand() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    session.must(
        "CREATE TABLE began (id text PRIMARY KEY, began bigint); SELECT counter_track('new:', keep => '{100 days,200 days,forever}');
         SELECT counter_incr('new:1', 5), counter_incr_at('new:1', now() - interval '50 days', 7), counter_incr_at('new:1', now() - interval '150 days', 9)",
    );
    assert_eq!(session.value::<i64>("SELECT counter_total('new:1')"), 21);
    assert_add_up(&mut session, "by hand");
    session.must("SELECT counter_track('new:', keep => '{1 day,2 days,forever}'); SELECT counter_compact()");
    assert_eq!(
        session.value::<i64>(
            "SELECT count(*) FROM counter_ext.bucket WHERE minutes < 1440 AND at < now() - interval '33 days'"
        ),
        0
    );
    assert_add_up(&mut session, "rolled up by hand");
    drop(session);
    cluster.finish();
}
