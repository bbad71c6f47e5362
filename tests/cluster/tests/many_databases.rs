//! More databases than shared memory has cells for, and databases that come and go.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use std::time::Duration;

const CELLS: usize = 2;
const DATABASES: usize = 5;
const FOLDED_SOON: Duration = Duration::from_secs(30);

fn name(number: usize) -> String {
    format!("many_{number}")
}

fn cluster_of_many() -> Cluster {
    let cluster = Cluster::start(
        Settings::restless()
            .with("counter_ext.max_databases", &CELLS.to_string())
            // Four compactors.
            .with("max_worker_processes", "10"),
    );
    let mut admin = cluster.connect();
    for number in 0..DATABASES {
        admin.must(&format!("CREATE DATABASE {}", name(number)));
        cluster.connect_to(&name(number)).must("CREATE EXTENSION counter_ext");
    }
    cluster
}

fn all(cluster: &Cluster) -> Vec<Session> {
    (0..DATABASES).map(|number| cluster.connect_to(&name(number))).collect()
}

/// Sessions everywhere, so that no cell can be taken from any: the databases without one count in rows, in whatever mode.
#[test]
fn databases_without_a_cell_lose_nothing_and_are_compacted_in_turn() {
    let mut cluster = cluster_of_many();
    let mut sessions = all(&cluster);
    for round in 1..=3 {
        for session in &mut sessions {
            session.incr("slotted", 1).expect("increment");
            session.must("BEGIN; SELECT counter_incr('slotted', 100); ROLLBACK");
            session.must("SET counter_ext.mode = 'buffered'");
            session.incr("buffered", 10).expect("increment in buffered mode");
            session.must("RESET counter_ext.mode");
            assert_eq!(session.get("slotted").expect("get"), round);
            assert_eq!(session.get("buffered").expect("get"), 10 * round);
        }
    }
    let states: Vec<String> =
        sessions.iter_mut().map(|session| session.value("SELECT worker_state FROM counter_stats")).collect();
    println!("worker states: {states:?}");
    assert!(states.iter().any(|state| state == "no cell"), "all have a cell: {states:?}");
    for session in &mut sessions {
        wait::until("each database is compacted", FOLDED_SOON, || watch::unfolded(session) == 0);
    }
    drop(sessions);
    cluster.die(Death::Everything);
    cluster.start_again();
    for session in &mut all(&cluster) {
        session.assert_soon_folded("slotted", 3);
        session.assert_soon_folded("buffered", 30);
        session.incr("slotted", 1).expect("increment");
        session.compact().expect("counter_compact by hand");
        assert_eq!(watch::unfolded(session), 0, "slot rows left after counter_compact");
        session.assert_count("slotted", 4);
    }
    cluster.finish();
}

/// Where nobody is connected, the cell goes to the database that counts.
#[test]
fn an_idle_database_gives_its_cell_to_one_that_counts() {
    let cluster = cluster_of_many();
    for number in 0..DATABASES {
        let mut session = cluster.connect_to(&name(number));
        session.incr("n", 1).expect("increment");
        wait::until("the database has a cell", FOLDED_SOON, || {
            session.incr("n", 1).expect("increment");
            session.value("SELECT worker_state <> 'no cell' FROM counter_stats")
        });
        let before: i64 = session.get("n").expect("get");
        session.incr("n", 1).expect("increment");
        session.assert_count("n", before + 1);
    }
    cluster.finish();
}

/// What memory holds of a dropped database is not what the next one of its oid begins with.
#[test]
fn a_database_that_gets_a_dropped_ones_oid_begins_with_nothing() {
    let cluster = Cluster::start(Settings::restless());
    let mut admin = cluster.connect();
    for round in 0..4 {
        admin.must("CREATE DATABASE again OID 54321");
        let mut session = cluster.connect_to("again");
        session.must("CREATE EXTENSION counter_ext");
        session.assert_count("n", 0);
        let allowed: bool = session.value("SELECT counter_allow('key', 1, '1 hour')");
        assert!(allowed, "round {round}: the window of the database before this one");
        session.incr("n", 7).expect("increment");
        session.visit("page", 1).expect("visit");
        session.assert_count("n", 7);
        assert_eq!(session.visitors("page").expect("visitors"), 1);
        let allowed: bool = session.value("SELECT counter_allow('key', 1, '1 hour')");
        assert!(!allowed, "round {round}: its own window");
        drop(session);
        admin.must("DROP DATABASE again");
    }
    cluster.finish();
}
