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

/// One call of each kind, by itself in its transaction, under a name.
const CALLS: [(&str, &str); 16] = [
    ("counter_incr", "SELECT counter_incr('lock:' || $N)"),
    ("counter_get", "SELECT counter_get('lock:' || $N)"),
    ("counter_reset", "SELECT counter_reset('lock:' || $N)"),
    ("counter_set", "SELECT counter_set('lock:' || $N, 5)"),
    ("counter_drop", "SELECT counter_drop('lock:' || $N)"),
    ("counter_visit", "SELECT counter_visit('lock:' || $N, $M)"),
    ("counter_visitors", "SELECT counter_visitors('lock:' || $N)"),
    ("counter_like", "SELECT counter_like('lock:' || $N, $M::text)"),
    ("counter_unlike", "SELECT counter_unlike('lock:' || $N, $M::text)"),
    ("counter_likes", "SELECT counter_likes('lock:' || $N)"),
    ("counter_incr_once", "SELECT counter_incr_once('lock:' || $N, 1, $M::text)"),
    ("counter_apply", "SELECT counter_apply('source' || $N, $M, ARRAY['lock:' || $N], ARRAY[1])"),
    (
        "counter_apply of offsets",
        "SELECT counter_apply('source' || $N, $M, $M + 1, ARRAY['lock:' || $N, NULL], NULL)",
    ),
    ("counter_apply_reset", "SELECT counter_apply_reset('source' || $N)"),
    ("counter_incr_from", "SELECT counter_incr_from('lock:' || $N, $M::text)"),
    ("counters", "SELECT count(*) FROM counters"),
];

/// Commands on our tables as an administrator gives them. DROP EXTENSION locks the tables in the order they were made.
const COMMANDS: [&str; 8] = [
    "DO $$ DECLARE made regclass; BEGIN FOR made IN SELECT objid::regclass FROM pg_depend d JOIN pg_class c ON c.oid = objid \
     WHERE d.classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND relkind IN ('r', 'p') ORDER BY objid \
     LOOP EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', made); PERFORM pg_sleep(0.002); END LOOP; END $$",
    "TRUNCATE counter_ext.visitors",
    "TRUNCATE counter_ext.visit",
    "TRUNCATE counter_ext.total, counter_ext.slot, counter_ext.visitors, counter_ext.visit",
    "REINDEX TABLE counter_ext.visitors",
    "REINDEX TABLE counter_ext.visit",
    "REINDEX TABLE counter_ext.total",
    "REINDEX TABLE counter_ext.slot",
];

#[test]
fn no_single_call_is_the_victim_of_a_command_on_our_tables() {
    let settings = Settings::preloaded()
        .with("counter_ext.compact_interval", "50ms")
        .with("deadlock_timeout", "10ms")
        // Little room, so that sketches and totals are often read from rows.
        .with("counter_ext.max_counters", "64")
        .with("counter_ext.max_sketches", "32");
    let cluster = Cluster::start(settings);
    let address = cluster.address();
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    session.must("SELECT counter_audit('lock:1', true)");
    let stop = AtomicBool::new(false);
    let victims = std::sync::Mutex::new(std::collections::BTreeMap::<&str, u64>::new());
    thread::scope(|scope| {
        for caller in 0..8 {
            let (address, stop, victims) = (&address, &stop, &victims);
            scope.spawn(move || {
                let mut random = chance::generator(caller);
                let mut session = address.connect();
                while !stop.load(SeqCst) {
                    let (name, sql) = CALLS.choose(&mut random).expect("a call");
                    let sql = sql
                        .replace("$N", &random.random_range(0..300).to_string())
                        .replace("$M", &random.random_range(1..100_000).to_string());
                    if let Err(error) = session.run(&sql) {
                        assert_eq!(
                            error.code().map(|code| code.code()),
                            Some("40P01"),
                            "{sql}: {}",
                            describe(&error)
                        );
                        *victims.lock().expect("victims").entry(name).or_default() += 1;
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut random = chance::generator(99);
            let mut session = address.connect();
            while !stop.load(SeqCst) {
                // That the command itself is a victim is no better: somebody had locks in another order.
                let command = COMMANDS.choose(&mut random).expect("a command");
                if let Err(error) = session.run(command) {
                    assert_eq!(
                        error.code().map(|code| code.code()),
                        Some("40P01"),
                        "{command}: {}",
                        describe(&error)
                    );
                    *victims.lock().expect("victims").entry(command).or_default() += 1;
                }
                thread::sleep(Duration::from_millis(random.random_range(0..5)));
            }
        });
        counter_ext_cluster_tests::load::pause(&stop, wait::load_time(12.0));
        stop.store(true, SeqCst);
    });
    let victims = victims.into_inner().expect("victims");
    assert!(victims.is_empty(), "deadlocks: {victims:?}");
}
