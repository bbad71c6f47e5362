//! Likes are rows, always: whatever many clients do, deliver again or leave half done, and whoever is killed meanwhile. Each
//! client retries an operation until it is answered; what the answer to a retry is depends on whether the first try was in
//! time, what there is at the end does not.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::delivery::deliver;
use counter_ext_cluster_tests::session::Address;
use counter_ext_cluster_tests::{Cluster, Session, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

const ITEMS: i64 = 5;
const CLIENTS: u64 = 12;
const STEPS: i64 = 250;

/// What one client has done, as far as nobody else can change it.
#[derive(Default)]
struct Ledger {
    /// Item and actor, of actors that are this client's own.
    likes: BTreeSet<(i64, String)>,
    once: i64,
    applied: i64,
}

fn work(address: &Address, client: u64) -> Ledger {
    let mut random = chance::generator(client);
    let mut session = None;
    let mut ledger = Ledger::default();
    let mut before: Vec<String> = Vec::new();
    for step in 1..=STEPS {
        let item = random.random_range(0..ITEMS);
        let own = format!("client {client} actor {}", random.random_range(0..8));
        let shared = format!("anybody {}", random.random_range(0..4));
        let sql = match random.random_range(0..10) {
            0..4 => {
                ledger.likes.insert((item, own.clone()));
                format!("SELECT counter_like('item:{item}', '{own}')")
            }
            4..6 => {
                ledger.likes.remove(&(item, own.clone()));
                format!("SELECT counter_unlike('item:{item}', '{own}')")
            }
            6 => format!("SELECT counter_like('item:{item}', '{shared}')"),
            7 => format!("SELECT counter_unlike('item:{item}', '{shared}')"),
            8 => {
                ledger.once += step;
                format!("SELECT counter_incr_once('once', {step}, '{client}:{step}')")
            }
            _ => {
                ledger.applied += 1;
                format!("SELECT counter_apply('client {client}', {step}, ARRAY['applied'])")
            }
        };
        deliver(address, &mut session, &mut random, &sql);
        // Delivered again later: what has a token or an offset counts once. A like would be another one.
        if sql.contains("once") || sql.contains("apply") {
            before.push(sql);
        }
        if random.random_ratio(1, 5)
            && let Some(replayed) = before.choose(&mut random).cloned()
        {
            deliver(address, &mut session, &mut random, &replayed);
        }
    }
    ledger
}

#[test]
fn likes_are_rows_and_totals_the_ledger_through_replays_and_crashes() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    let ledgers: Vec<Ledger> = thread::scope(|scope| {
        let address = &address;
        let clients: Vec<_> =
            (1..=CLIENTS).map(|client| scope.spawn(move || work(address, client))).collect();
        for death in [Death::Postmaster, Death::Everything, Death::Immediate, Death::Postmaster] {
            thread::sleep(Duration::from_millis(500));
            if !clients.iter().all(|client| client.is_finished()) {
                cluster.die(death);
                cluster.start_again();
            }
        }
        clients.into_iter().map(|client| client.join().expect("client")).collect()
    });
    let mut session = cluster.connect();
    let check = |session: &mut Session, when: &str| {
        for item in 0..ITEMS {
            let (likes, rows) = session
                .pairs::<i64, i64>(&format!(
                    "SELECT counter_likes('item:{item}'), (SELECT count(*) FROM counter_ext.liked WHERE item = 'item:{item}')"
                ))[0];
            assert_eq!(likes, rows, "item:{item} {when}");
        }
    };
    check(&mut session, "at the end");
    let rows: BTreeSet<(String, String)> = session
        .pairs("SELECT item, actor FROM counter_ext.liked WHERE actor LIKE 'client %'")
        .into_iter()
        .collect();
    let expected: BTreeSet<(String, String)> = ledgers
        .iter()
        .flat_map(|ledger| &ledger.likes)
        .map(|(item, actor)| (format!("item:{item}"), actor.clone()))
        .collect();
    assert_eq!(rows, expected, "what each client's own actors like");
    assert_eq!(session.get("once").expect("get"), ledgers.iter().map(|ledger| ledger.once).sum::<i64>());
    assert_eq!(
        session.get("applied").expect("get"),
        ledgers.iter().map(|ledger| ledger.applied).sum::<i64>()
    );
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    check(&mut session, "folded");
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

/// Thirty-two clients like one item at once, each actor in two of them: each like counts once, and one of the two made it.
#[test]
fn a_viral_item_counts_every_actor_once() {
    const ACTORS: usize = 400;
    let cluster = Cluster::start(Settings::restless());
    let address = cluster.address();
    let made: usize = thread::scope(|scope| {
        let address = &address;
        let clients: Vec<_> = (0..32)
            .map(|client| {
                scope.spawn(move || {
                    let mut session = address.connect();
                    let actor = |n: usize| format!("actor {}", (client % 16) * ACTORS + n);
                    (0..ACTORS)
                        .filter(|n| session.value(&format!("SELECT counter_like('viral', '{}')", actor(*n))))
                        .count()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("client")).sum()
    });
    let mut session = cluster.connect();
    assert_eq!(made, 16 * ACTORS);
    assert_eq!(session.value::<i64>("SELECT counter_likes('viral')"), made as i64);
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.liked"), made as i64);
    cluster.finish();
}

/// A dump has the likes and not their numbers: those are counted as the likes are restored.
#[test]
fn a_restored_dump_counts_its_likes() {
    let original = Cluster::start(Settings::restless());
    let mut session = original.connect();
    session.must(
        "SELECT count(counter_like('item:' || n % 7, 'actor:' || n)) FROM generate_series(1, 1000) n;
         SELECT counter_incr('item:0', 5)",
    );
    let numbers = "SELECT 'item:' || n, counter_likes('item:' || n) FROM generate_series(0, 6) n";
    let expected: BTreeMap<String, i64> = session.pairs(numbers).into_iter().collect();
    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    for jobs in ["1", "4"] {
        let copy = Cluster::start(Settings::restless().without_extension());
        copy.tool("pg_restore", &["--exit-on-error", "-j", jobs, "-d", "postgres", &archive]);
        let mut restored = copy.connect();
        let numbers: BTreeMap<String, i64> = restored.pairs(numbers).into_iter().collect();
        assert_eq!(numbers, expected, "-j {jobs}");
        assert_eq!(numbers.values().sum::<i64>(), 1000);
        assert_eq!(restored.get("item:0").expect("get"), 5);
        watch::wait_until_folded(&mut restored);
        assert_eq!(restored.value::<i64>("SELECT counter_likes('item:0')"), expected["item:0"]);
        copy.finish();
    }
    original.finish();
}
