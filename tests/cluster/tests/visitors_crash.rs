//! Promises G3 and G5 for visitors: with `synchronous_commit` on, a visit that was acknowledged survives kill -9 of anything,
//! also in the middle of compaction; what was not committed never counts, and workers come back by themselves.

use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::visit_load::{Crowd, while_visited};
use counter_ext_cluster_tests::visits::Guests;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::Duration;

const ROUNDS_EACH: usize = 6;
const SOON: Duration = Duration::from_secs(15);
/// Uniting is work, and as slow as the machine.
const UNITED_SOON: Duration = Duration::from_secs(60);
const BACKLOG_IDS: i64 = 300;

fn settings() -> Settings {
    Settings::restless()
        .with("counter_ext.max_sketches", "64")
        .with("fsync", "on")
        .with("checkpoint_timeout", "30s")
}

/// Rounds of visits, a death in the middle of them, more visits, and a comparison with the ledger.
fn survives(prefix: &str, mut death: impl FnMut(&mut Cluster, &mut StdRng)) {
    let mut cluster = Cluster::start(settings());
    let address = cluster.address();
    let crowd = Crowd { monitors: 0, survives: true, ..Crowd::default() };
    let guests = Guests::new(prefix, 30, 800, crowd.clients);
    let mut random = chance::generator(0);
    let mut previous = vec![0; guests.ids()];
    for round in 1..=ROUNDS_EACH {
        let when = format!("round {round}");
        while_visited(&address, &guests, &crowd, |stop| {
            pause(stop, Duration::from_millis(random.random_range(200..600)));
            death(&mut cluster, &mut random);
            cluster.wait_until_it_answers();
            pause(stop, Duration::from_millis(random.random_range(100..300)));
        });
        let mut session = cluster.connect();
        let counts = guests.settle(&mut session, &when);
        assert!(
            previous.iter().zip(&counts).all(|(before, now)| before <= now),
            "{when}: a count fell: {previous:?} then {counts:?}"
        );
        watch::wait_for_compactor(&mut session);
        wait::until("every visit is united", UNITED_SOON, || {
            session.value::<i64>("SELECT visit_rows FROM counter_stats") == 0
        });
        assert_eq!(guests.settle(&mut session, &format!("{when}, united")), counts, "{when}: united");
        previous = counts;
    }
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

/// So many rows to unite that the worker is met at it.
fn pile_up(session: &mut Session) {
    session.must(&format!(
        "INSERT INTO counter_ext.visit
         SELECT 'backlog:' || n % {BACKLOG_IDS}, '2026-01-01', n, counter_hll_agg(n) FROM generate_series(1, 20000) AS n GROUP BY n
         ON CONFLICT DO NOTHING"
    ));
}

/// Each id of the backlog has all its visitors, once it was piled up.
fn assert_backlog_is_whole(session: &mut Session) {
    let wrong: i64 = session.value(&format!(
        "SELECT count(*) FROM generate_series(0, {BACKLOG_IDS} - 1) AS n
         WHERE counter_visitors('backlog:' || n) <> (SELECT count(*) FROM generate_series(1, 20000) AS m WHERE m % {BACKLOG_IDS} = n)
            OR counter_visitors('backlog:' || n, '2026-01-01', '2026-01-01') <> counter_visitors('backlog:' || n)"
    ));
    assert_eq!(wrong, 0, "ids of the backlog that lost visitors");
}

#[test]
fn acknowledged_visits_survive_kill_of_a_random_backend() {
    survives("backend", |cluster, random| {
        let lot = random.random_range(0..1_000);
        cluster.kill_one(SOON, |session| watch::some_client(session, lot));
    });
}

#[test]
fn acknowledged_visits_survive_kill_of_the_compactor_while_it_unites() {
    survives("compactor", |cluster, _| {
        let mut session = cluster.connect();
        watch::wait_for_compactor(&mut session);
        pile_up(&mut session);
        cluster.kill_one(SOON, |session| {
            session.value(
                "SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'counter_ext compactor'
                 AND datname = 'postgres' AND query = 'uniting visits' LIMIT 1)",
            )
        });
    });
}

#[test]
fn acknowledged_visits_survive_kill_of_the_postmaster() {
    let deaths = [Death::Postmaster, Death::Everything, Death::Immediate];
    survives("postmaster", |cluster, random| {
        let death = *deaths.choose(random).expect("a death");
        println!("{death:?}");
        cluster.die(death);
        cluster.start_again();
    });
}

/// Crash after crash while one backlog is united.
#[test]
fn a_backlog_is_united_across_crashes() {
    let mut cluster = Cluster::start(settings().with("synchronous_commit", "on"));
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    for round in 0..4 {
        pile_up(&mut session);
        std::thread::sleep(Duration::from_millis(30 * round));
        cluster.die(Death::Everything);
        cluster.start_again();
        session = cluster.connect();
        assert_backlog_is_whole(&mut session);
    }
    wait::until("every visit is united", UNITED_SOON, || {
        session.value::<i64>("SELECT visit_rows FROM counter_stats") == 0
    });
    assert_backlog_is_whole(&mut session);
    cluster.finish();
}

/// A prepared transaction outlives the crash, and so does its promise that nobody counts it before.
#[test]
fn prepared_visits_survive_a_crash() {
    let mut cluster = Cluster::start(settings());
    let mut session = cluster.connect();
    session.visit("known", 1).expect("counter_visit");
    session.must(
        "BEGIN; SELECT counter_visit('known', 2), counter_visit('new', 1); PREPARE TRANSACTION 'commit'",
    );
    session.must(
        "BEGIN; SELECT counter_visit('known', 3), counter_visit('new', 3); PREPARE TRANSACTION 'roll back'",
    );
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    let counts = |session: &mut Session, expected: (i64, i64)| {
        let found = |session: &mut Session, id| session.visitors(id).expect("counter_visitors");
        assert_eq!((found(session, "known"), found(session, "new")), expected);
    };
    counts(&mut session, (1, 0));
    assert!(session.visit("new", 9).expect("counter_visit"), "beside prepared ones");
    session.must("COMMIT PREPARED 'commit'");
    counts(&mut session, (2, 2));
    session.must("ROLLBACK PREPARED 'roll back'");
    counts(&mut session, (2, 2));
    assert!(!session.visit("new", 1).expect("counter_visit"), "committed");
    assert!(session.visit("new", 3).expect("counter_visit"), "rolled back");
    cluster.finish();
}
