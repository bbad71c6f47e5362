//! What clients were told equals who is counted (promises G1, G2, G4 for visitors), while compaction runs all the time and
//! memory has room for 32 sketches only.

use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::visit_load::{Crowd, visited_for, while_visited};
use counter_ext_cluster_tests::visits::Guests;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Address, Cluster, Session, Settings, watch};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(15);

fn restless() -> Settings {
    Settings::restless().with("counter_ext.max_sketches", "32")
}

fn wait_until_united(session: &mut Session) {
    wait::until("every visit is united", SOON, || {
        session.value::<i64>("SELECT visit_rows FROM counter_stats") == 0
    });
}

/// Who is there stays the same, whatever is done to rows and memory.
fn settle_everywhere(mut cluster: Cluster, guests: &Guests) {
    let mut session = cluster.connect();
    let counts = guests.settle(&mut session, "after the load");
    wait_until_united(&mut session);
    assert_eq!(guests.settle(&mut session, "united"), counts, "before and after compaction");
    let evictions: i64 = session.value("SELECT sketch_evictions FROM counter_stats");
    assert!(guests.ids() < 32 || evictions > 0, "nothing was evicted");
    let errors: Option<String> = session.value("SELECT last_error FROM counter_stats");
    assert_eq!(errors, None, "errors of the worker");
    drop(session);
    cluster.restart();
    assert_eq!(guests.settle(&mut cluster.connect(), "restarted"), counts, "before and after a restart");
    cluster.finish();
}

fn repeat(stop: &AtomicBool, pause: Duration, mut work: impl FnMut(usize)) {
    for turn in 0.. {
        if stop.load(SeqCst) {
            return;
        }
        work(turn);
        thread::sleep(pause);
    }
}

/// Visits, drops and deletions of ids that nobody else looks at: each makes memory forget, or makes room in it.
fn disturb(address: &Address, stop: &AtomicBool, guests: &Guests) {
    let mut session = address.connect();
    repeat(stop, Duration::from_millis(3), |turn| {
        let other = format!("other:{}", turn % 50);
        let visits = "SELECT count(counter_visit($$OTHER$$, v)) FROM generate_series(1, 20) v"
            .replace("OTHER", &other);
        session.must(&visits);
        match turn % 5 {
            0 => {
                let dropped =
                    session.drop_counter(&other).unwrap_or_else(|error| panic!("{}", describe(&error)));
                assert!(dropped, "{other} had visitors");
                assert_eq!(session.visitors(&other).expect("counter_visitors"), 0, "{other}, dropped");
            }
            1 => session.must(&format!(
                "BEGIN; SELECT counter_drop('{other}'); SELECT counter_visit('{other}', 1); ROLLBACK"
            )),
            // Changes nothing, and has memory forget the id.
            2 => session.must(&format!(
                "UPDATE counter_ext.visitors SET updated_at = now() WHERE id = '{}'",
                guests.id(turn % guests.ids())
            )),
            3 => session
                .must(&format!("DELETE FROM counter_ext.visitors WHERE id = 'other:{}'", (turn + 25) % 50)),
            _ => session.must("SELECT counter_compact()"),
        }
    });
}

/// Takes backends away in the middle of whatever they do.
fn terminate(address: &Address, stop: &AtomicBool) {
    let mut session = address.connect();
    repeat(stop, Duration::from_millis(15), |turn| {
        session.must(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND query LIKE '%counter_visit(%'
             ORDER BY hashtext(({turn} + pid)::text) LIMIT 1"
        ));
    });
}

#[test]
fn one_viral_id_is_exact() {
    let cluster = Cluster::start(restless());
    watch::wait_for_compactor(&mut cluster.connect());
    let crowd = Crowd { clients: 24, ..Crowd::default() };
    let guests = Guests::new("viral", 1, 1280, crowd.clients);
    visited_for(&cluster.address(), &guests, &crowd, load_time(4.0));
    settle_everywhere(cluster, &guests);
}

#[test]
fn two_hundred_ids_are_exact_though_sixteen_fit_into_memory_beside_drops_and_deletions_of_others() {
    let cluster = Cluster::start(restless());
    watch::wait_for_compactor(&mut cluster.connect());
    let crowd = Crowd::default();
    let guests = Guests::new("page", 200, 300, crowd.clients);
    let address = cluster.address();
    while_visited(&address, &guests, &crowd, |stop| {
        thread::scope(|scope| {
            scope.spawn(|| disturb(&address, stop, &guests));
            pause(stop, load_time(6.0));
            stop.store(true, SeqCst);
        });
    });
    settle_everywhere(cluster, &guests);
}

#[test]
fn visits_of_terminated_sessions_count_when_they_were_acknowledged() {
    let cluster = Cluster::start(restless());
    watch::wait_for_compactor(&mut cluster.connect());
    let crowd = Crowd { monitors: 0, survives: true, two_phase: false, ..Crowd::default() };
    let guests = Guests::new("cut", 40, 400, crowd.clients);
    let address = cluster.address();
    while_visited(&address, &guests, &crowd, |stop| {
        thread::scope(|scope| {
            scope.spawn(|| terminate(&address, stop));
            pause(stop, load_time(4.0));
            stop.store(true, SeqCst);
        });
    });
    settle_everywhere(cluster, &guests);
}

#[test]
fn prepared_visits_count_when_they_are_committed() {
    let cluster = Cluster::start(restless());
    let crowd = Crowd { two_phase: true, ..Crowd::default() };
    let guests = Guests::new("prepared", 30, 600, crowd.clients);
    visited_for(&cluster.address(), &guests, &crowd, load_time(4.0));
    settle_everywhere(cluster, &guests);
}

/// Loads that race commits, invalidations, prepared transactions and evictions, with the windows between their steps
/// stretched: (commit, load) in milliseconds.
#[test]
fn counts_are_exact_in_stretched_windows() {
    const WINDOWS: [(u64, u64); 4] = [(5, 5), (20, 1), (1, 20), (150, 2)];
    let cluster = Cluster::start(restless());
    let address = cluster.address();
    for (commit, load) in WINDOWS {
        let crowd = Crowd {
            two_phase: true,
            client_set_up: format!(
                "SET counter_ext.debug_commit_window_ms = {commit}; SET counter_ext.debug_load_window_ms = {}",
                load / 2
            ),
            monitor_set_up: format!("SET counter_ext.debug_load_window_ms = {load}"),
            ..Crowd::default()
        };
        let guests = Guests::new(&format!("window:{commit}:{load}"), 30, 600, crowd.clients);
        while_visited(&address, &guests, &crowd, |stop| {
            thread::scope(|scope| {
                scope.spawn(|| disturb(&address, stop, &guests));
                pause(stop, load_time(2.5));
                stop.store(true, SeqCst);
            });
        });
        guests.settle(&mut cluster.connect(), "after the load");
    }
    cluster.finish();
}
