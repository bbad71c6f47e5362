//! Expiry drops exactly what it says: an idle counter as a whole, one that is incremented never again; under load, and when its worker
//! is killed.

use counter_ext_cluster_tests::load::{Ending, pause};
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::{Cluster, Session, Settings, chance, session, wait, watch};
use rand::Rng;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

/// What each counter has before anybody increments it: more than all increments together.
const BASE: i64 = 1_000_000;
const COUNTERS: usize = 400;
const CLIENTS: usize = 8;
const ROUNDS: usize = 3;

fn id(counter: usize) -> String {
    format!("expiring:{counter}")
}

/// What was added to a counter: for certain, and perhaps.
#[derive(Default)]
struct Added {
    acknowledged: AtomicI64,
    unknown: AtomicI64,
}

/// Each counter has its base, and nobody has incremented it for two hours.
fn set_up(admin: &mut Session) {
    admin.must(&format!(
        "SELECT counter_set_many(array_agg(prefix || n), array_agg({BASE}::bigint))
         FROM generate_series(0, {COUNTERS} - 1) AS n, (VALUES ('expiring:'), ('staying:')) AS p (prefix)"
    ));
    watch::fold_everything(admin);
    admin.must("UPDATE counter_ext.total SET updated_at = now() - interval '2 hours'");
}

/// Increments counters in a random order until told to stop; a lost connection comes again.
fn increment(cluster: &session::Address, client: usize, added: &[Added], stop: &AtomicBool) {
    let mut random = chance::generator(client as u64);
    let set_up = match client % 3 {
        0 => "SET counter_ext.mode = buffered",
        1 => "SET counter_ext.mode = buffered; SET synchronous_commit = off",
        _ => "SET counter_ext.mode = slotted",
    };
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let is_new = session.is_none();
        let Some(connected) = cluster.connected(&mut session) else { continue };
        if is_new && connected.run(set_up).is_err() {
            session = None;
            continue;
        }
        // Only some: others are to be found idle to the end.
        let counter = random.random_range(0..COUNTERS / 2);
        let is_certain = client % 3 != 1;
        match connected.incr(&id(counter), 1) {
            Ok(()) if is_certain => added[counter].acknowledged.fetch_add(1, SeqCst),
            Ok(()) => added[counter].unknown.fetch_add(1, SeqCst),
            Err(error)
                if error.is_closed()
                    || error.as_db_error().is_none_or(|error| error.severity() != "ERROR") =>
            {
                session = None;
                added[counter].unknown.fetch_add(1, SeqCst)
            }
            Err(error) => panic!("increment: {}", session::describe(&error)),
        };
        thread::sleep(Duration::from_millis(random.random_range(0..4)));
    }
}

#[test]
fn what_is_incremented_is_never_dropped_and_what_is_idle_goes_whole() {
    let mut cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let mut admin = cluster.connect();
    admin.must("SELECT counter_expire('expiring:', '1 hour')");
    let mut random = chance::generator(0);
    for round in 1..=ROUNDS {
        // Not before everybody is at work: what is idle is looked at only then.
        admin.must("SELECT counter_unexpire('expiring:')");
        set_up(&mut admin);
        let added: Vec<Added> = (0..COUNTERS).map(|_| Added::default()).collect();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _guard = Ending(&stop);
            for client in 0..CLIENTS {
                let (address, added, stop) = (&address, &added, &stop);
                scope.spawn(move || increment(address, client, added, stop));
            }
            pause(&stop, Duration::from_millis(random.random_range(0..40)));
            admin.must("SELECT counter_expire('expiring:', '1 hour')");
            let worker = watch::wait_for_compactor(&mut admin);
            if round > 1 {
                pause(&stop, Duration::from_millis(random.random_range(0..60)));
                signal(worker, Signal::KILL);
                wait::until("the postmaster ends all sessions", Duration::from_secs(10), || {
                    admin.run("SELECT 1").is_err()
                });
                cluster.wait_until_it_answers();
                admin = cluster.connect();
                watch::wait_for_other_compactor(&mut admin, worker);
            }
            for _ in 0..20 {
                let compacted = admin.compact();
                compacted.unwrap_or_else(|error| panic!("compact: {}", session::describe(&error)));
                pause(&stop, Duration::from_millis(20));
            }
        });
        watch::fold_everything(&mut admin);
        wait::until("what is idle is gone", Duration::from_secs(30), || {
            admin.must("SELECT counter_compact()");
            let idle: i64 = admin.value(&format!(
                "SELECT count(*) FROM counter_list('expiring:', '', 1000) WHERE substr(id, 10)::int >= {}",
                COUNTERS / 2
            ));
            idle == 0
        });
        let mut kept = 0;
        for (counter, added) in added.iter().enumerate() {
            let (least, unknown) = (added.acknowledged.load(SeqCst), added.unknown.load(SeqCst));
            let value = admin.get(&id(counter)).expect("get");
            assert_eq!(
                admin.get_exact(&id(counter)).expect("get_exact"),
                value,
                "{} in round {round}",
                id(counter)
            );
            let of_increments = if value >= BASE { value - BASE } else { value };
            assert!(
                (least..=least + unknown).contains(&of_increments),
                "round {round}: {} is {value}: {least} and perhaps {unknown} more were added",
                id(counter)
            );
            kept += usize::from(value >= BASE);
        }
        println!("round {round}: {kept} counters were incremented before they could be dropped");
        let others: i64 =
            admin.value("SELECT count(*) FROM counters WHERE id LIKE 'staying:%' AND value = 1000000");
        assert_eq!(others, COUNTERS as i64, "counters that do not expire");
        admin.must("SELECT counter_drop_prefix('expiring:')");
    }
    let dropped: i64 = admin.value("SELECT count(*) FROM counters WHERE id LIKE 'expiring:%'");
    assert_eq!(dropped, 0);
    cluster.finish_allowing(&["terminated by signal 9"]);
}

#[test]
fn the_worker_drops_by_itself_and_keeps_what_goes_on() {
    let cluster = Cluster::start(Settings::restless());
    let mut admin = cluster.connect();
    admin.must("SELECT counter_expire('short:', '3 seconds')");
    admin.must("SELECT counter_incr('short:idle:' || n) FROM generate_series(1, 500) AS n");
    let mut added = 0;
    wait::until("idle counters are dropped", Duration::from_secs(60), || {
        admin.incr("short:busy", 1).expect("increment");
        added += 1;
        thread::sleep(Duration::from_millis(100));
        admin.value::<i64>("SELECT count(*) FROM counter_list('short:idle:')") == 0
    });
    admin.assert_count("short:busy", added);
    let dropped: i64 = admin.value("SELECT dropped FROM counter_expiries WHERE prefix = 'short:'");
    assert_eq!(dropped, 500);
    cluster.finish();
}

/// Those that a cache, or likes, leave at 0 are removed after each pass; what a killed worker has forgotten is found by the next one.
#[test]
fn counters_at_zero_that_a_killed_worker_has_forgotten_go_all_the_same() {
    let mut cluster = Cluster::start(Settings::compacted_by_hand());
    let mut admin = cluster.connect();
    admin.must("CREATE TABLE comment (post int); SELECT counter_cache('comment', 'comments:', 'post')");
    admin.must("INSERT INTO comment SELECT n FROM generate_series(1, 3000) AS n");
    admin.must("SELECT counter_like('item' || n, 'anna') FROM generate_series(1, 1000) AS n; SELECT counter_incr('plain', 0)");
    admin.must("SELECT counter_compact()");
    admin.must("DELETE FROM comment WHERE post > 1; SELECT counter_unlike('item' || n, 'anna') FROM generate_series(2, 1000) AS n");
    // Folds, and notes what is at 0.
    admin.must("SELECT counter_compact()");
    const ZEROES: &str = "SELECT count(*) FROM counter_ext.total WHERE value = 0 AND id <> 'plain'";
    assert_eq!(admin.value::<i64>(ZEROES), 2999 + 999);
    let worker = watch::wait_for_compactor(&mut admin);
    signal(worker, Signal::KILL);
    wait::until("the postmaster ends all sessions", Duration::from_secs(10), || {
        admin.run("SELECT 1").is_err()
    });
    cluster.wait_until_it_answers();
    admin = cluster.connect();
    watch::wait_for_other_compactor(&mut admin, worker);
    wait::until("counters at 0 are gone", Duration::from_secs(60), || {
        thread::sleep(Duration::from_millis(300));
        admin.must("SELECT counter_compact()");
        admin.value::<i64>(ZEROES) == 0
    });
    admin.assert_count("comments:1", 1);
    let kept: i64 = admin.value("SELECT count(*) FROM counters");
    assert_eq!(kept, 2, "a cache's counter, and one that nobody has dropped");
    assert_eq!(admin.value::<i64>("SELECT counter_likes('item1')"), 1);
    let differences: i64 = admin.value("SELECT count(*) FROM counter_verify('comment', 'comments:', 'post')");
    assert_eq!(differences, 0);
    cluster.finish_allowing(&["terminated by signal 9"]);
}
