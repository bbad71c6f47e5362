//! Promise G6: what is delivered again, after a crash too, in another order or by two at once, counts once. Nobody here remembers
//! what was acknowledged: everything is delivered until an answer comes, and then again.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::delivery::deliver;
use counter_ext_cluster_tests::session::Address;
use counter_ext_cluster_tests::wait::{self, in_time};
use counter_ext_cluster_tests::{Cluster, Session, Settings, chance, watch};
use rand::Rng;
use rand::seq::SliceRandom;
use std::thread;
use std::time::Duration;

const SOURCES: i64 = 6;
const BATCHES: i64 = 400;
const COUNTERS: i64 = 10;
const EVENTS: i64 = 1500;

/// A batch adds its offset to one counter and 1 to another.
fn deltas(source: i64, offset: i64) -> [(i64, i64); 2] {
    [((source + offset) % COUNTERS, offset), (offset % COUNTERS, 1)]
}

/// Each source's batches in order, as a consumer of one partition delivers them, now and then some again.
fn deliver_batches(address: &Address, source: i64, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session = None;
    let mut offset = 1;
    while offset <= BATCHES {
        let pairs = deltas(source, offset);
        let ids = pairs.map(|(counter, _)| format!("'batch:{counter}'")).join(",");
        let amounts = pairs.map(|(_, delta)| delta.to_string()).join(",");
        let sql = format!("SELECT counter_apply('topic:{source}', {offset}, ARRAY[{ids}], ARRAY[{amounts}])");
        deliver(address, &mut session, &mut random, &sql);
        if random.random_ratio(1, 5) {
            offset -= random.random_range(0..offset.min(5));
        } else {
            offset += 1;
        }
    }
}

/// All events, in an order of its own.
fn deliver_events(address: &Address, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session = None;
    let mut events: Vec<i64> = (1..=EVENTS).collect();
    events.shuffle(&mut random);
    for event in events {
        let sql = format!("SELECT counter_incr_once('event:{}', {event}, 'token:{event}')", event % COUNTERS);
        deliver(address, &mut session, &mut random, &sql);
    }
}

#[test]
fn replays_and_crashes_count_once() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    thread::scope(|scope| {
        let mut actors = Vec::new();
        for source in 0..SOURCES {
            // Two consumers of each partition, as in a rebalance that went wrong.
            for twin in 0..2 {
                let address = &address;
                let actor = (1 + source * 2 + twin) as u64;
                actors.push(scope.spawn(move || deliver_batches(address, source, actor)));
            }
        }
        for actor in 100..103 {
            let address = &address;
            actors.push(scope.spawn(move || deliver_events(address, actor)));
        }
        for death in [Death::Postmaster, Death::Everything, Death::Immediate] {
            thread::sleep(Duration::from_millis(700));
            if !actors.iter().all(|actor| actor.is_finished()) {
                cluster.die(death);
                cluster.start_again();
            }
        }
    });
    let mut session = cluster.connect();
    for counter in 0..COUNTERS {
        let batches: i64 = (0..SOURCES)
            .flat_map(|source| (1..=BATCHES).flat_map(move |offset| deltas(source, offset)))
            .filter(|(of, _)| *of == counter)
            .map(|(_, delta)| delta)
            .sum();
        let events: i64 = (1..=EVENTS).filter(|event| event % COUNTERS == counter).sum();
        assert_eq!(session.get(&format!("batch:{counter}")).expect("get"), batches, "batch:{counter}");
        assert_eq!(session.get(&format!("event:{counter}")).expect("get"), events, "event:{counter}");
    }
    let offsets: Vec<(String, i64)> =
        session.pairs("SELECT source, upto FROM counter_ext.source_offset ORDER BY source");
    assert_eq!(offsets.len() as i64, SOURCES);
    assert!(offsets.iter().all(|(_, upto)| *upto == BATCHES), "{offsets:?}");
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.token"), EVENTS);
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

#[test]
fn the_worker_forgets_old_tokens() {
    let cluster = Cluster::start(Settings::restless().with("counter_ext.token_retention", "1s"));
    let mut session = cluster.connect();
    session.must("SELECT count(counter_incr_once('a', 1, 'old:' || g)) FROM generate_series(1, 25000) g");
    counter_ext_cluster_tests::wait::until("all tokens are forgotten", Duration::from_secs(60), || {
        session.value("SELECT count(*) = 0 FROM counter_ext.token")
    });
    assert!(session.value::<bool>("SELECT counter_incr_once('a', 1, 'old:1')"), "it counts again");
    assert_eq!(session.get("a").expect("get"), 25_001);
    cluster.finish();
}

/// Under a held snapshot what is forgotten stays in the way of the search for more, and there is much of it. Folding goes on all the
/// while, and a pass that somebody asks for does not wait until all tokens are gone.
#[test]
fn forgetting_many_old_tokens_holds_up_no_pass() {
    let mut cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "100ms"));
    let mut session = cluster.connect();
    session.must(
        "INSERT INTO counter_ext.token (token, id, at)
         SELECT g::text, 'n', now() - '30 days'::interval + g * '1 ms'::interval FROM generate_series(1, 400000) AS g",
    );
    drop(session);
    cluster.restart();
    let mut reader = cluster.connect();
    reader.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM counter_ext.token");
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    let tokens = |session: &mut Session| session.value::<i64>("SELECT count(*) FROM counter_ext.token");
    for round in 1..=4 {
        session.incr("n", 1).expect("increment");
        let left = tokens(&mut session);
        in_time("counter_compact beside a purge", Duration::from_secs(4), || {
            session.compact().expect("counter_compact");
        });
        println!("round {round}: {left} tokens were left");
        assert_eq!(watch::unfolded(&mut session), 0, "slot rows left after counter_compact");
        session.assert_count("n", round);
    }
    wait::until("all old tokens are forgotten", Duration::from_secs(60), || tokens(&mut session) == 0);
    reader.must("ROLLBACK");
    cluster.finish();
}
