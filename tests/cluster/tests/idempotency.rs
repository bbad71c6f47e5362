//! Promise G6: what is delivered again, after a crash too, in another order or by two at once, counts once. Nobody here remembers
//! what was acknowledged: everything is delivered until an answer comes, and then again.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::delivery::deliver;
use counter_ext_cluster_tests::session::Address;
use counter_ext_cluster_tests::wait::{self, in_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::HashSet;
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

const CUT_SOURCES: i64 = 4;
const MESSAGES: i64 = 4000;

/// What the message at an offset counts. A topic has no message at some offsets: compaction took it, or it marks a transaction.
fn message(source: i64, offset: i64) -> Option<Vec<(i64, i64)>> {
    match (source + offset) % 7 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(vec![(offset % COUNTERS, 1), ((offset + source) % COUNTERS, offset)]),
        _ => Some(vec![((source + offset) % COUNTERS, -offset)]),
    }
}

/// A poll's messages as a batch. Where each of them counts at most one thing, now and then without offsets.
fn cut_batch(source: i64, polled: &[i64], random: &mut rand::rngs::StdRng) -> String {
    let (first, upto) = (polled[0], polled[polled.len() - 1]);
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    let of = |offset: i64| message(source, offset).unwrap_or_default();
    let (ids, deltas, offsets);
    if polled.iter().all(|offset| of(*offset).len() < 2) && random.random_ratio(1, 2) {
        let each = || (first..=upto).map(|offset| of(offset).first().copied());
        let or_null = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
        ids = list(&mut each().map(|one| or_null(one.map(|(counter, _)| format!("'cut:{counter}'")))));
        deltas = list(&mut each().map(|one| or_null(one.map(|(_, delta)| delta.to_string()))));
        offsets = "NULL".to_owned();
    } else {
        let each = || polled.iter().flat_map(|offset| of(*offset).into_iter().map(|one| (*offset, one)));
        ids = list(&mut each().map(|(_, (counter, _))| format!("'cut:{counter}'")));
        deltas = list(&mut each().map(|(_, (_, delta))| delta.to_string()));
        offsets = format!("ARRAY[{}]::bigint[]", list(&mut each().map(|(offset, _)| offset.to_string())));
    }
    format!(
        "SELECT counter_apply('cut:{source}', {first}, {upto}, ARRAY[{ids}]::text[], ARRAY[{deltas}]::bigint[], {offsets})"
    )
}

/// A partition in polls of any length. A consumer dies now and then: the next one goes on from an offset that the broker knows, which lies
/// somewhere before, and gets the same messages in other batches.
fn deliver_cut_batches(address: &Address, source: i64, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session = None;
    let mut next = 0;
    while next < MESSAGES {
        let length = random.random_range(1..60);
        let polled: Vec<i64> =
            (next..MESSAGES).filter(|offset| message(source, *offset).is_some()).take(length).collect();
        let Some(last) = polled.last() else { break };
        let sql = cut_batch(source, &polled, &mut random);
        deliver(address, &mut session, &mut random, &sql);
        next = last + 1;
        if random.random_ratio(1, 3) {
            next -= random.random_range(0..=next.min(80));
        }
    }
}

#[test]
fn batches_cut_anywhere_count_each_offset_once() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    thread::scope(|scope| {
        let mut actors = Vec::new();
        for source in 0..CUT_SOURCES {
            for twin in 0..2 {
                let address = &address;
                let actor = (201 + source * 2 + twin) as u64;
                actors.push(scope.spawn(move || deliver_cut_batches(address, source, actor)));
            }
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
        let expected: i64 = (0..CUT_SOURCES)
            .flat_map(|source| (0..MESSAGES).filter_map(move |offset| message(source, offset)))
            .flatten()
            .filter(|(of, _)| *of == counter)
            .map(|(_, delta)| delta)
            .sum();
        assert_eq!(session.get(&format!("cut:{counter}")).expect("get"), expected, "cut:{counter}");
    }
    let last_message =
        |source| (0..MESSAGES).rev().find(|offset| message(source, *offset).is_some()).expect("one");
    let offsets: Vec<(String, i64)> =
        session.pairs("SELECT source, upto FROM counter_ext.source_offset ORDER BY source");
    let expected: Vec<(String, i64)> =
        (0..CUT_SOURCES).map(|source| (format!("cut:{source}"), last_message(source))).collect();
    assert_eq!(offsets, expected);
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    cluster.finish_allowing(&["was terminated by signal 9"]);
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
         SELECT g::text, 'n', now() - '30 days'::interval + g * '1 ms'::interval FROM generate_series(1, 1000000) AS g",
    );
    drop(session);
    cluster.restart();
    let mut reader = cluster.connect();
    reader.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM counter_ext.token");
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    let address = cluster.address();
    // How many passes had been made, at each look while there were old tokens still.
    let passes = thread::scope(|scope| {
        let observer = scope.spawn(|| {
            let mut observer = address.connect();
            let mut seen = HashSet::new();
            wait::until("all old tokens are forgotten", Duration::from_secs(120), || {
                let sql = "SELECT compactions, (EXISTS (SELECT FROM counter_ext.token))::int::bigint FROM counter_stats";
                let looks = observer.pairs::<i64, i64>(sql);
                let (passes, are_left) = looks[0];
                if are_left == 1 {
                    seen.insert(passes);
                }
                are_left == 0
            });
            seen.len()
        });
        let mut round = 0;
        while round < 4 || !observer.is_finished() {
            round += 1;
            session.incr("n", 1).expect("increment");
            in_time("counter_compact beside a purge", Duration::from_secs(15), || {
                session.compact().expect("counter_compact");
            });
            assert_eq!(watch::unfolded(&mut session), 0, "slot rows left after counter_compact");
            session.assert_count("n", round);
        }
        observer.join().expect("no panic")
    });
    println!("{passes} passes were seen beside a purge");
    assert!(passes > 1, "a pass waited until all tokens were gone");
    reader.must("ROLLBACK");
    cluster.finish();
}

/// After a restore a replay is still one, and an event under a used token still another event.
#[test]
fn a_dump_keeps_what_has_counted() {
    let original = Cluster::start(Settings::compacted_by_hand());
    let mut session = original.connect();
    session.must("SELECT counter_incr_once('a', 5, 'token')");
    session.must("SELECT counter_apply('old', 1, 9, array_fill('a'::text, ARRAY[9]), NULL), counter_apply_reset('old')");
    session.must("SELECT counter_apply('new', 1, 9, array_fill('a'::text, ARRAY[9]), NULL)");
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    let copy = Cluster::start(Settings::restless().without_extension());
    copy.tool("pg_restore", &["--exit-on-error", "-d", "postgres", &archive]);
    let mut after = copy.connect();
    for table in ["token", "source_offset"] {
        let rows = format!("SELECT t::text, '' FROM counter_ext.{table} AS t ORDER BY t");
        assert_eq!(after.pairs::<String, String>(&rows), session.pairs::<String, String>(&rows), "{table}");
    }
    assert!(!after.value::<bool>("SELECT counter_incr_once('a', 5, 'token')"), "a replay");
    assert!(after.run("SELECT counter_incr_once('a', 6, 'token')").is_err(), "another event");
    assert!(after.value::<bool>("SELECT counter_apply('new', 5, 12, array_fill('a'::text, ARRAY[8]), NULL)"));
    assert!(after.value::<bool>("SELECT counter_apply('old', 1, 2, array_fill('a'::text, ARRAY[2]), NULL)"));
    after.assert_count("a", 5 + 9 + 9 + 3 + 2);
    drop((session, after));
    original.finish();
    copy.finish_allowing(&["has counted for counter"]);
}
