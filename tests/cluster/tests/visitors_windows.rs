//! Loads of visitors that race commits, invalidations and prepared transactions, with the windows between their steps
//! stretched: nobody is lost, nobody comes back, never a dip (promises G3, G4 for visitors).

use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Address, Cluster, Session, Settings, assert_sqlstate};
use rand::Rng;
use std::thread;
use std::time::{Duration, Instant};

/// A commit that waits between being visible and being added to memory.
fn slow_committer(address: &Address, milliseconds: u64) -> Session {
    address.connect_with(&format!("SET counter_ext.debug_commit_window_ms = {milliseconds}"))
}

/// A load that waits between its snapshot and its reading rows.
fn slow_loader(address: &Address, milliseconds: u64) -> Session {
    address.connect_with(&format!("SET counter_ext.debug_load_window_ms = {milliseconds}"))
}

/// No worker that moves rows about.
fn quiet_cluster() -> Cluster {
    Cluster::start(Settings::compacted_by_hand().with("counter_ext.max_sketches", "32"))
}

fn is_in_rows(session: &mut Session, id: &str) -> bool {
    session.value(&format!("SELECT EXISTS (SELECT FROM counter_ext.visit WHERE id = '{id}')"))
}

fn wait_until_in_rows(session: &mut Session, id: &str) {
    wait::until("the commit is visible", Duration::from_secs(10), || is_in_rows(session, id));
}

fn visitors(session: &mut Session, id: &str) -> i64 {
    session.visitors(id).expect("counter_visitors")
}

fn visitors_today(session: &mut Session, id: &str) -> i64 {
    let today = "(now() AT TIME ZONE 'UTC')::date";
    session.value(&format!("SELECT counter_visitors('{id}', {today}, {today})"))
}

fn visit(session: &mut Session, id: &str, visitor: i32) -> bool {
    session.visit(id, visitor).expect("counter_visit")
}

/// Forgets all sketches in memory; changes no row. With a window loads are made at the first sight of an id.
fn forget_everything(session: &mut Session) {
    session.must(
        "SET counter_ext.debug_load_window_ms = 1;
         SELECT counter_visitors('filler:' || n) FROM generate_series(1, 100) AS n;
         RESET counter_ext.debug_load_window_ms",
    );
}

/// A visitor whose rows are gone before their own commit has entered memory.
fn gone_is_gone(window: u64, takes_away: impl Fn(&mut Session, &str)) {
    let mut cluster = quiet_cluster();
    let mut late = slow_committer(&cluster.address(), window);
    let mut session = cluster.connect();
    for round in 0..3 {
        let id = format!("gone:{round}");
        assert_eq!(visitors(&mut session, &id), 0);
        thread::scope(|scope| {
            let committing = scope.spawn(|| visit(&mut late, &id, 1));
            wait_until_in_rows(&mut session, &id);
            takes_away(&mut session, &id);
            // Puts the sketches of today and of ever into memory, as they are now.
            assert!(visit(&mut session, &id, 2), "{id}: 2 is new");
            assert!(committing.join().expect("the late commit"), "{id}: 1 was new");
        });
        assert_eq!(visitors(&mut session, &id), 1, "{id}: visitors after 1 was taken away");
        assert!(visit(&mut session, &id, 1), "{id}: 1 is new again");
    }
    drop(session);
    cluster.restart();
    let mut session = cluster.connect();
    for round in 0..3 {
        assert_eq!(visitors(&mut session, &format!("gone:{round}")), 2, "after a restart");
    }
    cluster.finish();
}

#[test]
fn a_dropped_visitor_does_not_come_back_with_a_late_commit() {
    for window in [100, 1_500] {
        gone_is_gone(window, |session, id| assert!(session.drop_counter(id).expect("counter_drop")));
    }
}

#[test]
fn a_deleted_visitor_does_not_come_back_with_a_late_commit() {
    gone_is_gone(100, |session, id| {
        session.must(&format!("DELETE FROM counter_ext.visit WHERE id = '{id}'"))
    });
}

/// Several days are read from rows, ever from memory: who was in the one is in the other.
#[test]
fn a_count_from_rows_is_not_followed_by_a_lower_one_from_memory() {
    let cluster = quiet_cluster();
    let mut late = slow_committer(&cluster.address(), 100);
    let mut session = cluster.connect();
    for round in 0..5 {
        let id = format!("rows first:{round}");
        assert_eq!(visitors(&mut session, &id), 0);
        thread::scope(|scope| {
            let committing = scope.spawn(|| visit(&mut late, &id, 1));
            wait::until("the visit counts", Duration::from_secs(10), || {
                session.visitors_in_rows(&id).expect("counter_visitors") == 1
            });
            assert_eq!(visitors(&mut session, &id), 1, "{id}: from memory, after 1 from rows");
            committing.join().expect("the late commit");
        });
    }
    cluster.finish();
}

/// A visit that found its visitor in rows is acknowledged at once; the next read must count it.
#[test]
fn a_visit_answered_from_rows_is_counted_from_memory() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut late = slow_committer(&address, 180);
    let (mut loader, mut loader_of_today) = (slow_loader(&address, 120), slow_loader(&address, 120));
    let (mut second, mut session) = (cluster.connect(), cluster.connect());
    for round in 0..5 {
        let id = format!("twice:{round}");
        thread::scope(|scope| {
            // Both loads' snapshots are older than the commit.
            let loading = scope.spawn(|| visitors(&mut loader, &id));
            let loading_today = scope.spawn(|| visitors_today(&mut loader_of_today, &id));
            thread::sleep(Duration::from_millis(50));
            let committing = scope.spawn(|| visit(&mut late, &id, 1));
            wait_until_in_rows(&mut session, &id);
            // While they are being loaded, rows answer.
            visit(&mut second, &id, 1);
            assert_eq!(visitors(&mut second, &id), 1, "{id}: the visitor's own visit is not counted");
            for loaded in [loading, loading_today] {
                let loaded = loaded.join().expect("the loader");
                assert!((0..=1).contains(&loaded), "{id}: the loader counted {loaded}");
            }
            assert_eq!(visitors(&mut session, &id), 1, "{id}: an acknowledged visit is not counted");
            committing.join().expect("the late commit");
        });
        assert_eq!(visitors(&mut session, &id), 1, "{id}");
    }
    cluster.finish();
}

/// One commit, one load and one compaction or deletion of another's row, at random offsets.
#[test]
fn a_commit_a_load_and_a_change_of_rows_at_any_offset() {
    const WINDOW: u64 = 40;
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut random = chance::generator(0);
    let (mut late, mut loader) = (slow_committer(&address, WINDOW), slow_loader(&address, WINDOW));
    let (mut changing, mut session) = (cluster.connect(), cluster.connect());
    for round in 0..40 {
        let id = format!("raced:{round}");
        session.visit_all(&id, &[1, 2, 3]).expect("counter_visit");
        forget_everything(&mut session);
        let mut after = || Duration::from_millis(random.random_range(0..2 * WINDOW));
        let (first, second, third) = (after(), after(), after());
        let what = format!("{id}, commit after {first:?}, load after {second:?}, change after {third:?}");
        let compacts = round % 2 == 0;
        thread::scope(|scope| {
            let committing = scope.spawn(|| {
                thread::sleep(first);
                visit(&mut late, &id, 4)
            });
            let loading = scope.spawn(|| {
                thread::sleep(second);
                visitors(&mut loader, &id)
            });
            let change = scope.spawn(|| {
                thread::sleep(third);
                match compacts {
                    true => drop(changing.compact().expect("counter_compact")),
                    // One visitor less of the three.
                    false => changing.must(&format!(
                        "UPDATE counter_ext.visit SET sketch = (SELECT counter_hll_agg(v::text) FROM unnest(ARRAY[1, 2]) AS v)
                         WHERE id = '{id}' AND counter_hll_count(sketch) = 3"
                    )),
                }
            });
            let (start, mut last) = (Instant::now(), 0);
            while start.elapsed() < Duration::from_millis(4 * WINDOW) {
                let value = visitors(&mut session, &id);
                let least = if compacts { 3 } else { 2 };
                assert!((least..=4).contains(&value), "{what}: read {value}");
                assert!(!compacts || value >= last, "{what}: fell from {last} to {value}");
                last = value;
            }
            assert!(committing.join().expect("the committer"), "{what}: 4 was new");
            let loaded = loading.join().expect("the loader");
            assert!((2..=4).contains(&loaded), "{what}: the loader counted {loaded}");
            change.join().expect("the change");
        });
        let expected = if compacts { 4 } else { 3 };
        assert_eq!(visitors(&mut session, &id), expected, "{what}");
        assert_eq!(session.visitors_in_rows(&id).expect("counter_visitors"), expected, "{what}, from rows");
        assert_eq!(visit(&mut session, &id, 3), !compacts, "{what}: 3 is new");
    }
    cluster.finish();
}

/// An invalidation while a load is under way: rows from before it must not stay.
#[test]
fn what_is_deleted_while_it_is_loaded_stays_deleted() {
    let cluster = quiet_cluster();
    let mut loader = slow_loader(&cluster.address(), 200);
    let mut session = cluster.connect();
    for (round, change) in [
        "DELETE FROM counter_ext.visit WHERE id = 'ID'",
        "SELECT counter_drop('ID')",
        "TRUNCATE counter_ext.visit, counter_ext.visitors",
        "BEGIN; SELECT counter_drop('ID'); PREPARE TRANSACTION 'drop'| COMMIT PREPARED 'drop'",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("deleted:{round}");
        session.visit_all(&id, &[1, 2]).expect("counter_visit");
        forget_everything(&mut session);
        thread::scope(|scope| {
            let loading = scope.spawn(|| visitors(&mut loader, &id));
            thread::sleep(Duration::from_millis(80));
            // A TRUNCATE waits until the loader has read.
            change.split("| ").for_each(|statement| session.must(&statement.replace("ID", &id)));
            assert_eq!(visitors(&mut session, &id), 0, "{change}: the next read");
            let loaded = loading.join().expect("the loader");
            assert!([0, 2].contains(&loaded), "{change}: the loader counted {loaded}");
        });
        assert_eq!(visitors(&mut session, &id), 0, "{change}: after the load");
        assert!(visit(&mut session, &id, 1), "{change}: 1 is new again");
    }
    cluster.finish();
}

/// Prepared while somebody loads, committed while somebody loads.
#[test]
fn prepared_visits_that_race_loads_count_from_their_commit_on() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut loader = slow_loader(&address, 100);
    let (mut preparer, mut session) = (cluster.connect(), cluster.connect());
    for round in 0..6 {
        let id = format!("prepared:{round}");
        visit(&mut session, &id, 1);
        forget_everything(&mut session);
        for statement in [
            "BEGIN; SELECT counter_visit('ID', 2); PREPARE TRANSACTION 'p'".to_owned(),
            (if round % 2 == 0 { "COMMIT PREPARED 'p'" } else { "ROLLBACK PREPARED 'p'" }).to_owned(),
        ] {
            thread::scope(|scope| {
                scope.spawn(|| assert!((1..=2).contains(&visitors(&mut loader, &id)), "{id}"));
                thread::sleep(Duration::from_millis(20 * round));
                preparer.must(&statement.replace("ID", &id));
                let expected = if statement == "COMMIT PREPARED 'p'" { 2 } else { 1 };
                assert_eq!(visitors(&mut session, &id), expected, "{id} after {statement}");
            });
        }
        let expected = if round % 2 == 0 { 2 } else { 1 };
        assert_eq!(visitors(&mut session, &id), expected, "{id} at the end");
        assert_eq!(visit(&mut session, &id, 2), expected == 1, "{id}: 2 is new");
    }
    cluster.finish();
}

#[test]
fn a_load_that_fails_leaves_nothing_behind() {
    let cluster = quiet_cluster();
    let address = cluster.address();
    let mut session = cluster.connect();
    let mut loader = slow_loader(&address, 2_000);
    loader.must("SET statement_timeout = '200ms'");
    for round in 0..4 {
        let id = format!("failed:{round}");
        session.visit_all(&id, &[1, 2]).expect("counter_visit");
        forget_everything(&mut session);
        match round {
            0 => assert_sqlstate("a cancelled read", loader.visitors(&id), "57014"),
            1 => assert_sqlstate("a cancelled visit", loader.visit(&id, 3), "57014"),
            // Caught, the transaction goes on, and reads again.
            2 => loader.must(&format!(
                "SET statement_timeout = '60s';
                 DO $$ BEGIN
                     BEGIN
                         PERFORM set_config('statement_timeout', '200ms', true), counter_visitors('{id}'), 1 / 0;
                     EXCEPTION WHEN division_by_zero THEN NULL; END;
                     ASSERT counter_visitors('{id}') = 2, 'counted again';
                     ASSERT counter_visit('{id}', 3), 'is new';
                     RAISE EXCEPTION 'no' USING ERRCODE = 'XX123';
                 EXCEPTION WHEN SQLSTATE 'XX123' THEN NULL; END $$"
            )),
            _ => {
                let mut killed = slow_loader(&address, 2_000);
                let pid = killed.backend_pid();
                thread::scope(|scope| {
                    scope.spawn(|| killed.visitors(&id).expect_err("a terminated backend"));
                    thread::sleep(Duration::from_millis(100));
                    session.must(&format!("SELECT pg_terminate_backend({pid})"));
                });
            }
        }
        assert_eq!(visitors(&mut session, &id), 2, "{id}");
        assert!(visit(&mut session, &id, 3), "{id}: 3 is new");
        assert_eq!(visitors(&mut session, &id), 3, "{id}");
    }
    cluster.finish();
}
