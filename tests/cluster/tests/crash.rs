//! Promises G3 and G5: with `synchronous_commit` on, what was acknowledged survives kill -9 of
//! anything, what was not committed never counts, and workers come back by themselves.

use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::{Cluster, Ledger, Settings, Traffic, under_load, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::Duration;

const ROUNDS_EACH: usize = 7;
const VICTIM_SOON: Duration = Duration::from_secs(10);

/// Rounds of load, a death in the middle of it, more load, and a comparison with the ledger.
fn survives(prefix: &str, mut death: impl FnMut(&mut Cluster, &mut StdRng)) {
    let settings = Settings::restless().with("fsync", "on").with("checkpoint_timeout", "30s");
    let mut cluster = Cluster::start(settings);
    let address = cluster.address();
    let ledger = Ledger::with_mirror(prefix, 12);
    let traffic = Traffic { clients: 16, readers: 0, survives_crashes: true, ..Traffic::default() };
    let mut random = chance::generator(0);
    let mut previous = vec![0; ledger.ids().len()];

    for round in 1..=ROUNDS_EACH {
        let when = format!("round {round}");
        under_load(&address, &ledger, &traffic, |stop| {
            pause(stop, Duration::from_millis(random.random_range(200..800)));
            death(&mut cluster, &mut random);
            cluster.wait_until_it_answers();
            pause(stop, Duration::from_millis(random.random_range(100..400)));
        });
        let mut session = cluster.connect();
        let values = ledger.settle(&mut session, &when);
        assert!(
            previous.iter().zip(&values).all(|(before, now)| before <= now),
            "{when}: a count fell: {previous:?} then {values:?}"
        );
        previous = values;
        watch::wait_for_compactor(&mut session);
        watch::wait_until_folded(&mut session);
        ledger.settle(&mut session, &format!("{when}, folded"));
    }
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

#[test]
fn acknowledged_increments_survive_kill_of_a_random_backend() {
    survives("backend", |cluster, random| {
        let lot = random.random_range(0..1_000);
        cluster.kill_one(VICTIM_SOON, |session| watch::some_client(session, lot));
    });
}

#[test]
fn acknowledged_increments_survive_kill_of_the_compactor() {
    survives("compactor", |cluster, _| cluster.kill_one(VICTIM_SOON, watch::compactor));
}

#[test]
fn acknowledged_increments_survive_kill_of_the_postmaster() {
    let deaths = [Death::Postmaster, Death::Everything, Death::Immediate];
    survives("postmaster", |cluster, random| {
        let death = *deaths.choose(random).expect("a death");
        println!("{death:?}");
        cluster.die(death);
        cluster.start_again();
    });
}
