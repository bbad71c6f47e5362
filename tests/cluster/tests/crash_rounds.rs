//! `make crash ROUNDS=500`: acknowledged ≤ counted ≤ attempted over kill -9 of backends, workers and the postmaster, in slotted mode, in
//! buffered mode, and with both at once. Prints what docs/durability.md reports.
//!
//! COUNTER_EXT_CRASH_ROUNDS is how many (6 otherwise), COUNTER_EXT_TEST_SEED repeats the random choices.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use counter_ext_cluster_tests::buffered::MIXED;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, chance, under_load, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const SOON: Duration = Duration::from_secs(30);
/// No server lives longer.
const ROUNDS_OF_A_SERVER: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Slotted,
    Buffered,
    Mixed,
}

impl Mode {
    const ALL: [Mode; 3] = [Mode::Slotted, Mode::Buffered, Mode::Mixed];

    fn set_up(self) -> &'static str {
        match self {
            Mode::Slotted => "SET counter_ext.mode = 'slotted'",
            Mode::Buffered => "SET counter_ext.mode = 'buffered'",
            Mode::Mixed => MIXED,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Backend,
    Compactor,
    Launcher,
    Postmaster,
    Everything,
    Immediate,
}

impl Victim {
    const ALL: [Victim; 6] = [
        Victim::Backend,
        Victim::Compactor,
        Victim::Launcher,
        Victim::Postmaster,
        Victim::Everything,
        Victim::Immediate,
    ];

    fn dies(self, cluster: &mut Cluster, random: &mut StdRng) {
        let mut start_anew = |death| {
            cluster.die(death);
            cluster.start_again();
        };
        match self {
            Victim::Postmaster => start_anew(Death::Postmaster),
            Victim::Everything => start_anew(Death::Everything),
            Victim::Immediate => start_anew(Death::Immediate),
            Victim::Compactor => cluster.kill_one(SOON, watch::compactor),
            Victim::Launcher => cluster.kill_one(SOON, watch::launcher),
            Victim::Backend => {
                let lot = random.random_range(0..1000);
                cluster.kill_one(SOON, |session| watch::some_client(session, lot));
            }
        }
        cluster.wait_until_it_answers();
    }
}

/// What came of the rounds of one kind.
#[derive(Default)]
struct Outcome {
    rounds: usize,
    counted: i64,
    slowest: Duration,
}

#[test]
fn acknowledged_increments_survive_any_death_in_any_mode() {
    let rounds = std::env::var("COUNTER_EXT_CRASH_ROUNDS")
        .ok()
        .map_or(6, |text| text.parse().expect("a number of rounds"));
    let mut random = chance::generator(0);
    let mut outcomes: BTreeMap<(Mode, Victim), Outcome> = BTreeMap::new();
    let mut done = 0;
    while done < rounds {
        let settings = Settings::restless().with("fsync", "on").with("checkpoint_timeout", "30s");
        let mut cluster = Cluster::start(settings);
        watch::wait_until_buffered(&mut cluster.connect());
        let (address, ledger) = (cluster.address(), Ledger::with_mirror("crash", 12));
        let mut before = 0;
        for _ in 0..ROUNDS_OF_A_SERVER.min(rounds - done) {
            let (mode, victim) = (Mode::ALL[done % 3], *Victim::ALL.choose(&mut random).expect("a victim"));
            done += 1;
            let traffic = Traffic {
                clients: 16,
                readers: 0,
                survives_crashes: true,
                client_set_up: mode.set_up().to_owned(),
                ..Traffic::default()
            };
            let mut away = Duration::ZERO;
            under_load(&address, &ledger, &traffic, |stop| {
                pause(stop, Duration::from_millis(random.random_range(200..800)));
                let died = Instant::now();
                victim.dies(&mut cluster, &mut random);
                away = died.elapsed();
                pause(stop, Duration::from_millis(random.random_range(100..400)));
            });
            let values = ledger
                .settle_buffered(&mut cluster.connect(), &format!("round {done}, {mode:?}, {victim:?}"));
            let counted = values[values.len() - 1];
            let outcome = outcomes.entry((mode, victim)).or_default();
            outcome.rounds += 1;
            outcome.counted += counted - before;
            outcome.slowest = outcome.slowest.max(away);
            before = counted;
            println!("round {done} of {rounds}: {mode:?}, {victim:?}, back after {away:.1?}");
        }
        cluster.finish_allowing(&["was terminated by signal 9"]);
    }
    println!(
        "| mode | killed | rounds | counted | lost | twice | slowest way back |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    for ((mode, victim), Outcome { rounds, counted, slowest }) in outcomes {
        println!("| {mode:?} | {victim:?} | {rounds} | {counted} | 0 | 0 | {slowest:.1?} |");
    }
}
