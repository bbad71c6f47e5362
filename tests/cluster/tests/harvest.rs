//! Harvest: `counter_reset` in the transaction that writes the invoice hands each increment over exactly once, whoever rolls back, is
//! killed, or crashes meanwhile.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::session::{Address, Isolation, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const IDS: [&str; 3] = ["api:anna", "api:ben", "api:carla"];
const MODES: [&str; 2] = ["slotted", "buffered"];

/// What clients know of one counter's increments.
#[derive(Default)]
struct Tally {
    attempted: AtomicI64,
    acknowledged: AtomicI64,
}

fn lost<T>(what: &str, result: Result<T, postgres::Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_excused(&error, &[], what);
            None
        }
    }
}

/// A session until the load ends; made anew when it is lost.
fn work(
    address: &Address,
    set_up: &str,
    stop: &AtomicBool,
    mut turn: impl FnMut(&mut Session) -> Option<()>,
) {
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        match &mut session {
            Some(connected) => {
                if turn(connected).is_none() {
                    session = None;
                }
            }
            None => {
                session = address.try_connect().ok().and_then(|session| set_up_with(session, set_up));
                if session.is_none() {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}

fn set_up_with(mut session: Session, sql: &str) -> Option<Session> {
    session.run(sql).ok().map(|()| session)
}

fn increment(address: &Address, stop: &AtomicBool, tallies: &[Tally; 3], actor: u64) {
    let mut random = chance::generator(actor);
    work(address, "SET synchronous_commit = on", stop, |session| {
        let counter = random.random_range(0..IDS.len());
        let delta = random.random_range(1..=5);
        let mode = MODES.choose(&mut random).expect("a mode");
        lost("SET", session.run(&format!("SET counter_ext.mode = '{mode}'")))?;
        tallies[counter].attempted.fetch_add(delta, SeqCst);
        lost("counter_incr", session.incr(IDS[counter], delta))?;
        tallies[counter].acknowledged.fetch_add(delta, SeqCst);
        Some(())
    });
}

fn harvest(address: &Address, stop: &AtomicBool, harvests: &AtomicU64, actor: u64) {
    let mut random = chance::generator(actor);
    work(address, "SET application_name = 'harvest'", stop, |session| {
        let id = IDS.choose(&mut random).expect("an id");
        let mode = MODES.choose(&mut random).expect("a mode");
        let invoice = format!("INSERT INTO invoice SELECT '{id}', counter_reset('{id}')");
        let again = if random.random_bool(0.3) {
            format!("SAVEPOINT s; {invoice}; ROLLBACK TO s;")
        } else {
            String::new()
        };
        let begin = Isolation::ALL.choose(&mut random).expect("a level").begin();
        lost(
            "harvest",
            session.run(&format!("{begin}; SET LOCAL counter_ext.mode = '{mode}'; {again} {invoice}")),
        )?;
        match random.random_range(0..10) {
            0..3 => lost("ROLLBACK", session.run("ROLLBACK"))?,
            3 => lost("its end", session.run("SELECT pg_terminate_backend(pg_backend_pid())"))?,
            _ => {
                lost("COMMIT", session.run("COMMIT"))?;
                harvests.fetch_add(1, SeqCst);
            }
        }
        Some(())
    });
}

/// Ends harvests at any moment.
fn kill(address: &Address, stop: &AtomicBool) {
    let mut random = chance::generator(900);
    work(address, "SET application_name = 'killer'", stop, |session| {
        thread::sleep(Duration::from_millis(random.random_range(20..120)));
        lost(
            "kill",
            session.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'harvest' AND state <> 'idle' ORDER BY random() LIMIT 1",
            ),
        )
    });
}

fn harvest_under_load(deaths: &[Death], audited: bool) {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    {
        let mut session = cluster.connect();
        session.must("CREATE TABLE invoice (id text NOT NULL, amount bigint NOT NULL)");
        watch::wait_until_buffered(&mut session);
        if audited {
            session.must("SELECT counter_audit('api:', true)");
        }
    }
    let tallies: [Tally; 3] = Default::default();
    let (stop, harvests) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (address, stop, tallies, harvests) = (&address, &stop, &tallies, &harvests);
        let _ending = Ending(stop);
        for actor in 0..6 {
            scope.spawn(move || increment(address, stop, tallies, actor));
        }
        for actor in 100..104 {
            scope.spawn(move || harvest(address, stop, harvests, actor));
        }
        scope.spawn(move || kill(address, stop));
        thread::sleep(load_time(2.0));
        for death in deaths {
            cluster.die(*death);
            cluster.start_again();
            thread::sleep(load_time(1.5));
        }
        wait::until_enough_was_done(|| harvests.load(SeqCst) > 10);
    });
    let mut session = cluster.connect();
    watch::fold_everything(&mut session);
    println!("{} harvests", harvests.load(SeqCst));
    for (id, tally) in IDS.into_iter().zip(&tallies) {
        let invoiced: i64 =
            session.value(&format!("SELECT coalesce(sum(amount), 0)::bigint FROM invoice WHERE id = '{id}'"));
        let left = session.get(id).expect("get");
        session.assert_count(id, left);
        let (acknowledged, attempted) = (tally.acknowledged.load(SeqCst), tally.attempted.load(SeqCst));
        assert!(invoiced > 0 && left >= 0, "{id}: {invoiced} invoiced, {left} left");
        assert!(
            (acknowledged..=attempted).contains(&(invoiced + left)),
            "{id}: {invoiced} invoiced and {left} left of {acknowledged} to {attempted}"
        );
        if deaths.is_empty() {
            assert_eq!(acknowledged, attempted, "{id}");
        }
        if audited {
            let (ok, problem): (bool, Option<String>) =
                session.pairs(&format!("SELECT ok, problem FROM counter_audit_verify('{id}')"))[0].clone();
            assert!(ok, "{id}: {problem:?}");
        }
    }
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on transaction"]);
}

#[test]
fn every_increment_is_invoiced_once() {
    harvest_under_load(&[], false);
}

#[test]
fn crashes_invoice_nothing_twice_and_lose_nothing() {
    harvest_under_load(&[Death::Postmaster, Death::Everything, Death::Immediate], true);
}
