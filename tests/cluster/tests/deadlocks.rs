//! Promise G1, hunted: long transactions that change the same counters in opposite orders, at every isolation level and in both
//! modes. A row lock held to the end of its transaction would deadlock here within a second.

use counter_ext_cluster_tests::session::{Address, Isolation, describe};
use counter_ext_cluster_tests::{Cluster, Settings, chance, wait, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const CLIENTS: u64 = 32;
const COUNTERS: usize = 100;

/// What committed, by counter.
struct Committed {
    sums: Vec<AtomicI64>,
    transactions: AtomicU64,
}

/// Statements of one transaction on many counters in random order, and what its commit counts.
fn transaction(random: &mut StdRng) -> (Vec<String>, Vec<(usize, i64)>) {
    let level = Isolation::ALL.choose(random).expect("a level").begin();
    let mode = ["slotted", "buffered"].choose(random).expect("a mode");
    let mut statements = vec![level.to_owned(), format!("SET LOCAL counter_ext.mode = '{mode}'")];
    let mut counts = Vec::new();
    let mut order: Vec<usize> = (0..COUNTERS).collect();
    order.shuffle(random);
    for some in order[..random.random_range(10..COUNTERS)].chunks(12) {
        let deltas: Vec<(usize, i64)> = some.iter().map(|&c| (c, random.random_range(-3..9))).collect();
        let ids: Vec<String> = some.iter().map(|c| format!("'hunt:{c}'")).collect();
        let amounts: Vec<String> = deltas.iter().map(|(_, delta)| delta.to_string()).collect();
        let many =
            format!("SELECT counter_incr_many(ARRAY[{}], ARRAY[{}])", ids.join(","), amounts.join(","));
        match random.random_range(0..6) {
            0 => statements.extend(["SAVEPOINT s".to_owned(), many, "ROLLBACK TO s".to_owned()]),
            1 => {
                statements.extend(["SAVEPOINT s".to_owned(), many, "RELEASE s".to_owned()]);
                counts.extend(deltas);
            }
            2 => {
                let (c, delta) = deltas[0];
                statements.push(format!("SELECT counter_incr('hunt:{c}', {delta}), counter_get('hunt:{c}')"));
                counts.push((c, delta));
            }
            3 => {
                // Through a table's triggers.
                let keys: Vec<String> = some.iter().map(|c| format!("({c})")).collect();
                statements.push(format!("INSERT INTO hunted VALUES {}", keys.join(",")));
            }
            _ => {
                statements.push(many);
                counts.extend(deltas);
            }
        }
    }
    (statements, counts)
}

fn hunt(address: &Address, actor: u64, stop: &AtomicBool, committed: &Committed) {
    let mut random = chance::generator(actor);
    let mut session = address.connect();
    while !stop.load(SeqCst) {
        let (statements, counts) = transaction(&mut random);
        let end = if random.random_ratio(1, 10) { "ROLLBACK" } else { "COMMIT" };
        for sql in statements.iter().map(String::as_str).chain([end]) {
            // Each its own round trip, so that transactions are long and run into one another.
            session.run(sql).unwrap_or_else(|error| panic!("client {actor}: {sql}: {}", describe(&error)));
            if random.random_ratio(1, 20) {
                thread::sleep(Duration::from_millis(random.random_range(0..10)));
            }
        }
        if end == "COMMIT" {
            for (counter, delta) in counts {
                committed.sums[counter].fetch_add(delta, SeqCst);
            }
            committed.transactions.fetch_add(1, SeqCst);
        }
    }
}

#[test]
fn long_transactions_in_random_order_never_deadlock() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "100ms"));
    let address = cluster.address();
    let mut session = cluster.connect();
    session.must("CREATE TABLE hunted (k int); SELECT counter_cache('hunted', 'hunted:', 'k')");
    watch::wait_for_compactor(&mut session);
    watch::wait_until_buffered(&mut session);
    let committed = Committed {
        sums: (0..COUNTERS).map(|_| AtomicI64::new(0)).collect(),
        transactions: AtomicU64::new(0),
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for actor in 0..CLIENTS {
            let (address, stop, committed) = (&address, &stop, &committed);
            scope.spawn(move || {
                // One that fails ends the hunt.
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    hunt(address, actor, stop, committed)
                }));
                stop.store(true, SeqCst);
                outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        }
        counter_ext_cluster_tests::load::pause(&stop, wait::load_time(8.0));
        stop.store(true, SeqCst);
    });
    println!("{} transactions", committed.transactions.load(SeqCst));
    assert!(committed.transactions.load(SeqCst) > 200);
    for (counter, sum) in committed.sums.iter().enumerate() {
        assert_eq!(session.get(&format!("hunt:{counter}")).expect("get"), sum.load(SeqCst), "hunt:{counter}");
    }
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_verify('hunted', 'hunted:', 'k')"), 0);
    watch::fold_everything(&mut session);
    for (counter, sum) in committed.sums.iter().enumerate() {
        session.assert_count(&format!("hunt:{counter}"), sum.load(SeqCst));
    }
    let (deadlocks, _): (i64, i64) = session
        .pairs("SELECT deadlocks, conflicts FROM pg_stat_database WHERE datname = current_database()")[0];
    assert_eq!(deadlocks, 0);
    // The log may show no lock wait either: `finish` looks.
    cluster.finish();
}
