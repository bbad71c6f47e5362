//! Many counters in one transaction, past the room for locks: nobody takes an amount twice, none is lost, nobody meets a deadlock that
//! the same calls one by one would not; and everything forgotten stays so after a crash.

use counter_ext_cluster_tests::buffered::{self, buffered as buffered_session};
use counter_ext_cluster_tests::load::{beside_increments, in_turn, pause};
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Isolation, Settings};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// More than a transaction takes by locks.
const COUNTERS: usize = 150;

fn ids(prefix: &str) -> Vec<String> {
    (0..COUNTERS).map(|number| format!("{prefix}:{number:03}")).collect()
}

fn ok<T>(result: Result<T, postgres::Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", describe(&error)))
}

/// Takers reset all counters, a few, or one, in their order; increments wait for none of them.
fn every_increment_is_taken_once(mode: &str) {
    // Increments too.
    let cluster = Cluster::start(Settings::restless().with("counter_ext.mode", mode));
    let address = cluster.address();
    let ids = ids("bulk");
    let names: Vec<&str> = ids.iter().map(String::as_str).collect();
    let taken = AtomicI64::new(0);
    let added = beside_increments(&address, &names, 4, |stop: &AtomicBool| {
        thread::scope(|scope| {
            for taker in 0..3 {
                let (address, taken) = (&address, &taken);
                scope.spawn(move || {
                    let mut session = address.connect();
                    in_turn(stop, taker, |turn| {
                        session.must(Isolation::ALL[turn % 3].begin());
                        let one = format!("SELECT counter_reset('bulk:{:03}')", turn % COUNTERS);
                        let all = "SELECT sum(counter_reset(id))::bigint FROM (SELECT 'bulk:' || lpad(n::text, 3, '0') AS id FROM generate_series(0, 149) AS n ORDER BY 1) AS each";
                        let amount: i64 = session.value(if turn % 4 == 0 { &one } else { all });
                        if turn % 5 == 0 {
                            session.must("ROLLBACK");
                        } else {
                            session.must("COMMIT");
                            taken.fetch_add(amount, SeqCst);
                        }
                    });
                });
            }
            pause(stop, load_time(4.0));
            stop.store(true, SeqCst);
        });
    });
    let mut session = cluster.connect();
    let left: i64 =
        session.value("SELECT coalesce(sum(value), 0)::bigint FROM counter_list('bulk:', max_rows => 1000)");
    let taken = taken.load(SeqCst);
    assert!(taken > 0, "nothing was taken");
    assert_eq!(taken + left, added.iter().sum::<i64>(), "{taken} taken, {left} left");
    cluster.finish_allowing(&["Lock on transaction"]);
}

#[test]
fn bulk_resets_take_every_increment_once() {
    every_increment_is_taken_once("slotted");
}

#[test]
fn bulk_resets_take_every_buffered_increment_once() {
    every_increment_is_taken_once("buffered");
}

#[test]
fn merges_and_renames_under_load_lose_nothing() {
    moves_lose_nothing("slotted");
}

#[test]
fn merges_and_renames_under_buffered_load_lose_nothing() {
    moves_lose_nothing("buffered");
}

fn moves_lose_nothing(mode: &str) {
    const IDS: [&str; 4] = ["move:0", "move:1", "move:2", "move:3"];
    let cluster = Cluster::start(Settings::restless().with("counter_ext.mode", mode));
    let address = cluster.address();
    let added = beside_increments(&address, &IDS, 6, |stop| {
        thread::scope(|scope| {
            for mover in 0..2 {
                let address = &address;
                scope.spawn(move || {
                    let mut session = address.connect();
                    in_turn(stop, mover, |turn| {
                        session.must(Isolation::ALL[turn % 3].begin());
                        let (from, other) = (IDS[turn % 4], IDS[(turn + 1 + turn / 4 % 3) % 4]);
                        let call = match turn % 3 {
                            0 => format!("counter_merge('{from}', '{other}')"),
                            1 => format!("counter_merge('{from}', 'move:all')"),
                            _ => format!("counter_rename('{from}', 'move:old:{mover}:{turn}')"),
                        };
                        let _: bool = session.value(&format!("SELECT {call}"));
                        session.must(if turn % 5 == 0 { "ROLLBACK" } else { "COMMIT" });
                    });
                });
            }
            pause(stop, load_time(4.0));
            stop.store(true, SeqCst);
        });
    });
    let mut session = cluster.connect();
    let total = "SELECT sum(value)::bigint FROM counter_list('move:', max_rows => 1000000)";
    let added = added.iter().sum::<i64>();
    assert_eq!(session.value::<i64>(total), added, "by memory and rows");
    ok(session.compact());
    assert_eq!(session.value::<i64>("SELECT sum(value)::bigint FROM counters"), added, "in rows");
    cluster.finish_allowing(&["Lock on transaction"]);
}

#[test]
fn a_hundred_thousand_at_once_leave_the_lock_table_to_others() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut first = cluster.connect();
    let mut second = cluster.connect();
    for (session, prefix) in [(&mut first, "one"), (&mut second, "two")] {
        session.must("BEGIN");
        session.must(&format!(
            "SELECT count(counter_set('{prefix}:' || n, n)) FROM generate_series(1, 100000) AS n"
        ));
    }
    let mut watcher = cluster.connect();
    let locks: i64 = watcher.value("SELECT count(*) FROM pg_locks WHERE NOT fastpath");
    assert!(locks < 1000, "{locks} locks are held");
    first.must("COMMIT");
    second.must("COMMIT");
    let sums = "SELECT sum(value)::bigint FROM counter_list('one:', max_rows => 1000000)";
    assert_eq!(watcher.value::<i64>(sums), 100_000 * 100_001 / 2);
    assert_eq!(watcher.value::<i64>("SELECT counter_drop_prefix('one:')"), 100_000);

    // A page costs what the first one does, wherever it begins.
    let mut page = |after: &str| {
        let query = format!("SELECT count(*) FROM counter_list('two:', '{after}', 100)");
        let mut fastest = Duration::MAX;
        for _ in 0..15 {
            let start = Instant::now();
            assert_eq!(watcher.value::<i64>(&query), 100);
            fastest = fastest.min(start.elapsed());
        }
        fastest
    };
    let (early, late) = (page("two:10"), page("two:99000"));
    assert!(
        late < early * 4 + Duration::from_millis(5),
        "{late:?} for a late page, {early:?} for an early one"
    );
    cluster.finish();
}

#[test]
fn what_is_forgotten_stays_so_after_a_crash() {
    let mut cluster = Cluster::start(Settings::preloaded());
    let mut idle = cluster.connect();
    idle.must("SELECT counter_incr('forget:idle')");
    let mut session = buffered_session(&cluster, "postgres");
    for turn in 0..3 {
        session.must("SELECT counter_incr('forget:buffered', 5), counter_like('forget:item', 'ann')");
        session.must("SELECT counter_visit('forget:item', 'ann')");
        session.must("SELECT counter_forget_all()");
        session.must(&format!("SELECT counter_incr('forget:buffered', {turn})"));
        assert_eq!(ok(session.get("forget:buffered")), turn);
        assert_eq!(ok(idle.get("forget:buffered")), turn, "an idle session sees it");
        assert_eq!(ok(idle.get("forget:idle")), 0);
        drop(session);
        session = buffered::crash(&mut cluster);
        idle = cluster.connect();
        session.assert_count("forget:buffered", turn);
        assert_eq!(
            session.value::<i64>("SELECT counter_likes('forget:item') + counter_visitors('forget:item')"),
            0
        );
        let listed: i64 = session.value("SELECT count(*) FROM counter_list()");
        assert_eq!(listed, 1, "in turn {turn}");
        session = buffered_session(&cluster, "postgres");
    }
    cluster.finish_allowing(&["terminating connection", "crash", "was not properly shut down"]);
}
