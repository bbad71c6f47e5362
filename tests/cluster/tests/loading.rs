//! Loads into memory that race commits, with the windows between their steps stretched: never
//! double, never lost, never a dip (promise G4; DESIGN section 7).

use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{
    Address, Cluster, Ledger, Session, Settings, Traffic, assert_sqlstate, load_for, watch,
};
use rand::Rng;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A commit that waits between being visible and being added to memory.
fn slow_committer(address: &Address, milliseconds: u64) -> Session {
    address.connect_with(&format!("SET counter_ext.debug_commit_window_ms = {milliseconds}"))
}

/// A load that waits between its snapshot and its sum.
fn slow_loader(address: &Address, milliseconds: u64) -> Session {
    address.connect_with(&format!("SET counter_ext.debug_load_window_ms = {milliseconds}"))
}

/// No worker that loads counters after it folded them: what is cold stays cold until somebody reads it.
fn quiet_cluster() -> Cluster {
    Cluster::start(Settings::compacted_by_hand().with("counter_ext.max_counters", "16"))
}

/// Windows shorter and longer than any patience of who waits for them. Without a window of loads most reads load nothing.
const WINDOWS: [(u64, u64); 7] = [(5, 5), (20, 1), (1, 20), (400, 1), (1, 400), (5, 0), (400, 0)];

#[test]
fn reads_are_exact_while_counters_are_evicted_and_loaded_again_in_stretched_windows() {
    let cluster = Cluster::start(Settings::restless());
    for (commit_window, load_window) in WINDOWS {
        let ledger = Ledger::new(&format!("window:{commit_window}:{load_window}"), 60);
        let traffic = Traffic {
            clients: 16,
            readers: 8,
            client_set_up: format!("SET counter_ext.debug_commit_window_ms = {commit_window}"),
            reader_set_up: format!("SET counter_ext.debug_load_window_ms = {load_window}"),
            ..Traffic::default()
        };
        load_for(&cluster.address(), &ledger, &traffic, load_time(3.0));
        ledger.settle(&mut cluster.connect(), "after the load");
    }
    watch::assert_memory_was_in_use(&mut cluster.connect());
    cluster.finish();
}

/// One commit against one load of the same cold counter, at random offsets between the two.
fn race(window: u64, rounds: usize) {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut random = chance::generator(0);
    let mut committer = slow_committer(&address, window);
    let mut loader = slow_loader(&address, window);
    let mut observer = cluster.connect();
    for round in 0..rounds {
        let id = format!("raced:{round}");
        observer.incr(&id, 100).expect("increment");
        watch::evict_everything(&mut observer);
        let (first, second) = (random.random_range(0..2 * window), random.random_range(0..2 * window));
        let what = format!("{id}, commit after {first} ms, load after {second} ms");
        thread::scope(|scope| {
            let committing = scope.spawn(|| {
                thread::sleep(Duration::from_millis(first));
                committer.incr(&id, 7).expect("increment");
            });
            let loading = scope.spawn(|| {
                thread::sleep(Duration::from_millis(second));
                loader.get(&id).expect("counter_get")
            });
            // Successive reads in the middle of it: 100, at some point 107, and never 100 again.
            let mut last = 100;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(4 * window) {
                let value = observer.get(&id).expect("counter_get");
                assert!([100, 107].contains(&value), "{what}: read {value}");
                assert!(value >= last, "{what}: fell from {last} to {value}");
                last = value;
            }
            let loaded = loading.join().expect("the loader");
            assert!([100, 107].contains(&loaded), "{what}: the loader read {loaded}");
            committing.join().expect("the committer");
        });
        observer.assert_count(&id, 107);
    }
    cluster.finish();
}

#[test]
fn one_commit_and_one_load_at_any_offset_count_once() {
    race(30, 50);
}

#[test]
fn a_commit_and_a_load_longer_than_anyone_waits_count_once() {
    race(400, 6);
}

/// Also the other way round: increments that meet the fold of their own rows and a load between.
#[test]
fn compaction_during_a_load_moves_and_never_changes() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut loader = slow_loader(&address, 100);
    let (mut writer, mut compacting) = (cluster.connect(), cluster.connect());
    for round in 0..10_i64 {
        let id = format!("folded:{round}");
        writer.incr(&id, 10).expect("increment");
        thread::scope(|scope| {
            let loading = scope.spawn(|| loader.get(&id).expect("counter_get"));
            thread::sleep(Duration::from_millis(40));
            compacting.compact().expect("counter_compact");
            writer.incr(&id, 1).expect("increment");
            compacting.compact().expect("counter_compact");
            let loaded = loading.join().expect("the loader");
            assert!((10..=11).contains(&loaded), "{id}: the loader read {loaded}");
        });
        writer.assert_count(&id, 11);
    }
    cluster.finish();
}

/// Who changed a counter itself reads rows; there a commit shows before it is in memory, where the same
/// session reads next.
#[test]
fn a_read_from_rows_is_not_followed_by_a_lower_one_from_memory() {
    let cluster = Cluster::start(Settings::restless());
    let mut committer = slow_committer(&cluster.address(), 100);
    let mut reader = cluster.connect();
    for round in 0..5 {
        let id = format!("rows first:{round}");
        reader.incr(&id, 100).expect("increment");
        reader.assert_count(&id, 100);
        thread::scope(|scope| {
            reader.must("BEGIN; SAVEPOINT s");
            reader.drop_counter(&id).expect("counter_drop");
            reader.must("ROLLBACK TO s");
            scope.spawn(|| committer.incr(&id, 7).expect("increment"));
            wait::until("the commit is visible", Duration::from_secs(30), || {
                reader.get(&id).expect("counter_get") == 107
            });
            reader.must("ROLLBACK");
            assert_eq!(reader.get(&id).expect("counter_get"), 107, "{id}: read from memory after 107");
        });
        reader.assert_count(&id, 107);
    }
    cluster.finish();
}

/// The commit takes longer than a reader of rows waits for it to reach memory.
#[test]
fn what_rows_have_shown_memory_does_not_undercut_however_long_the_commit_takes() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut reader = cluster.connect();
    reader.must(
        "SELECT counter_board('shown:'), counter_board('shown:', by => 'month'), counter_track('shown:')",
    );
    wait::until("the boards are built", Duration::from_secs(30), || {
        reader.compact().expect("counter_compact");
        reader
            .run("SELECT FROM counter_board_top('shown:', 1) AS a, counter_board_top('shown:', 1, by => 'month') AS b")
            .is_ok()
    });
    for (number, shown_by) in [
        "SELECT value FROM counter_info('ID')",
        "SELECT counter_get_exact('ID')",
        "SELECT value::bigint FROM counters WHERE id = 'ID'",
        "SELECT sum(score)::bigint FROM counter_board_top('shown:', 9) WHERE 'shown:' || member = 'ID'",
        "SELECT sum(score)::bigint FROM counter_board_top('shown:', 9, by => 'month') WHERE 'shown:' || member = 'ID'",
        "SELECT sum(score)::bigint FROM counter_board_around('shown:', substr('ID', 7), 0, 'month')",
        "SELECT counter_total('ID')",
    ]
    .iter()
    .enumerate()
    {
        let id = format!("shown:{number}");
        reader.incr(&id, 100).expect("increment");
        assert_eq!(reader.get(&id).expect("in memory"), 100);
        thread::scope(|scope| {
            let committer = scope.spawn(|| slow_committer(&address, 1500).incr(&id, 1));
            let shown = wait::for_some("the commit is visible in rows", Duration::from_secs(30), || {
                let value: Option<i64> = reader.value(&shown_by.replace("ID", &id));
                value.filter(|value| *value == 101)
            });
            let got = reader.get(&id).expect("get");
            assert!(got >= shown, "{shown_by} showed {shown}, then counter_get {got}");
            committer.join().expect("committer").expect("increment");
        });
        assert_eq!(reader.get(&id).expect("get"), 101);
        reader.assert_count(&id, 101);
    }
    cluster.finish();
}

#[test]
fn a_load_that_is_cancelled_or_killed_leaves_nothing_behind() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut session = cluster.connect();
    let mut cancelled = slow_loader(&address, 2_000);
    cancelled.must("SET statement_timeout = '200ms'");
    // A reader who comes as late as the commit reads rows, and loads nothing: on a busy machine some do.
    let is_read = |value: i64| assert!(value == 10 || value == 11, "read {value}");
    let (mut cut_short, mut killed_at_it) = (0, 0);
    for round in 0..20 {
        let id = format!("cancelled:{round}");
        session.incr(&id, 10).expect("increment");
        thread::scope(|scope| {
            let load = scope.spawn(|| cancelled.get(&id));
            thread::sleep(Duration::from_millis(100));
            session.incr(&id, 1).expect("increment");
            match load.join().expect("the reader") {
                Ok(value) => is_read(value),
                cut => {
                    assert_sqlstate("a load cut short", cut, "57014");
                    cut_short += 1;
                }
            }
        });
        session.assert_count(&id, 11);

        let id = format!("killed:{round}");
        session.incr(&id, 10).expect("increment");
        let mut killed = slow_loader(&address, 2_000);
        let pid = killed.backend_pid();
        thread::scope(|scope| {
            let load = scope.spawn(|| killed.get(&id));
            thread::sleep(Duration::from_millis(100));
            session.incr(&id, 1).expect("increment");
            session.must(&format!("SELECT pg_terminate_backend({pid})"));
            match load.join().expect("the reader") {
                Ok(value) => is_read(value),
                Err(_) => killed_at_it += 1,
            }
        });
        session.assert_count(&id, 11);
        if cut_short >= 3 && killed_at_it >= 3 {
            break;
        }
    }
    assert!(cut_short >= 3 && killed_at_it >= 3, "{cut_short} loads were cut short, {killed_at_it} killed");
    cluster.finish();
}

/// Many want a cold counter at once: one loads, the others wait for it or read rows, and all are
/// right.
#[test]
fn a_cold_viral_counter_is_loaded_by_one_for_all() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut session = cluster.connect();
    session.incr("viral", 123).expect("increment");
    watch::evict_everything(&mut session);
    thread::scope(|scope| {
        for _ in 0..16 {
            let mut reader = slow_loader(&address, 200);
            scope.spawn(move || assert_eq!(reader.get("viral").expect("counter_get"), 123));
        }
    });
    session.assert_count("viral", 123);
    cluster.finish();
}

/// Loads and evictions so far.
fn loads(session: &mut Session) -> (i64, i64) {
    session.pairs("SELECT loads, evictions FROM counter_stats")[0]
}

/// What is asked for once is read from rows, and throws nothing out; what is asked for again comes in.
#[test]
fn a_counter_comes_into_memory_when_it_is_asked_for_again() {
    for mode in ["slotted", "buffered"] {
        let cluster = Cluster::start(Settings::compacted_by_hand().with("counter_ext.max_counters", "1024"));
        let mut session = cluster.address().connect_with(&format!("SET counter_ext.mode = {mode}"));
        session.must("SELECT counter_incr('cold:' || n, n) FROM generate_series(1, 6000) AS n");
        // Buffered deltas keep their entries.
        session.compact().expect("counter_compact");
        session.must("SELECT counter_get('filler:' || n) FROM generate_series(1, 2000) AS n");
        let (loaded, evicted) = loads(&mut session);

        let wrong: i64 = session
            .value("SELECT count(*) FROM generate_series(1, 3000) AS n WHERE counter_get('cold:' || n) <> n");
        assert_eq!(wrong, 0, "{mode}: totals of cold counters");
        let wrong: i64 = session.value(
            "SELECT count(*) FROM counter_get_many(ARRAY(SELECT 'cold:' || n FROM generate_series(3001, 6000) AS n)) AS many
             WHERE 'cold:' || value <> id",
        );
        assert_eq!(wrong, 0, "{mode}: totals of many cold counters");
        let (loads_of_scan, evictions_of_scan) = loads(&mut session);
        assert!(
            loads_of_scan - loaded < 900 && evictions_of_scan - evicted < 900,
            "{mode}: 6000 counters that were asked for once made {} loads and {} evictions",
            loads_of_scan - loaded,
            evictions_of_scan - evicted
        );

        for n in 1..=20 {
            for _ in 0..4 {
                assert_eq!(session.get(&format!("cold:{n}")).expect("counter_get"), n, "{mode}");
            }
        }
        let (loads_again, _) = loads(&mut session);
        assert!(loads_again - loads_of_scan >= 18, "{mode}: {} loads", loads_again - loads_of_scan);
        cluster.finish();
    }
}

/// One array may hold an id several times, of which the first is not let in and the next one is.
#[test]
fn an_id_that_comes_again_in_an_array_does_not_fall() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut session = cluster.connect();
    watch::evict_everything(&mut session);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        scope.spawn(|| {
            let mut writer = address.connect();
            while !stop.load(Ordering::Relaxed) {
                writer.must("SELECT counter_incr('twin:' || n) FROM generate_series(1, 40) AS n");
            }
        });
        let fallen: i64 = (0..300)
            .map(|_| {
                session.value::<i64>(
                    "SELECT count(*) FROM (
                         SELECT value < lag(value) OVER (PARTITION BY id ORDER BY at) AS falls FROM counter_get_many(
                             ARRAY(SELECT 'twin:' || n % 40 + 1 FROM generate_series(1, 120) AS n)
                         ) WITH ORDINALITY AS many (id, value, at)
                     ) AS each WHERE falls",
                )
            })
            .sum();
        assert_eq!(fallen, 0, "totals that fall within one array");
    });
    cluster.finish();
}
