//! Promise G3 in buffered mode: with `synchronous_commit` on what was acknowledged survives kill -9 of anything at any
//! moment of the journal's life; with it off no more is lost than a few `wal_writer_delay`.

use counter_ext_cluster_tests::buffered::MIXED;
use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::pause;
use counter_ext_cluster_tests::processes::Halted;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Ledger, Session, Settings, Traffic, under_load, watch};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::Duration;

const ROUNDS_EACH: usize = 10;
const VICTIM_SOON: Duration = Duration::from_secs(10);
const BUFFERED: &str = "SET counter_ext.mode = 'buffered'";

fn settings() -> Settings {
    Settings::restless()
        .with("counter_ext.max_counters", "64")
        .with("fsync", "on")
        .with("checkpoint_timeout", "30s")
}

/// Rounds of load, a death in the middle of it, more load, and a comparison with the ledger.
fn survives(prefix: &str, set_up: &str, mut death: impl FnMut(&mut Cluster, &mut StdRng)) {
    let mut cluster = Cluster::start(settings());
    let address = cluster.address();
    watch::wait_until_buffered(&mut cluster.connect());
    let ledger = Ledger::with_mirror(prefix, 12);
    let traffic = Traffic {
        clients: 16,
        readers: 0,
        survives_crashes: true,
        client_set_up: set_up.to_owned(),
        ..Traffic::default()
    };
    let mut random = chance::generator(0);
    let mut previous = vec![0; ledger.ids().len()];
    for round in 1..=ROUNDS_EACH {
        let when = format!("round {round}");
        under_load(&address, &ledger, &traffic, |stop| {
            pause(stop, Duration::from_millis(random.random_range(100..700)));
            death(&mut cluster, &mut random);
            cluster.wait_until_it_answers();
            pause(stop, Duration::from_millis(random.random_range(100..900)));
        });
        let mut session = cluster.connect();
        let values = ledger.settle_buffered(&mut session, &when);
        assert!(
            previous.iter().zip(&values).all(|(before, now)| before <= now),
            "{when}: a count fell: {previous:?} then {values:?}"
        );
        previous = values;
    }
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

fn any_death(random: &mut StdRng) -> Death {
    let deaths = [Death::Postmaster, Death::Everything, Death::Immediate];
    *deaths.choose(random).expect("a death")
}

#[test]
fn acknowledged_increments_survive_kill_of_the_postmaster() {
    survives("postmaster", BUFFERED, |cluster, random| {
        cluster.die(any_death(random));
        cluster.start_again();
    });
}

#[test]
fn acknowledged_increments_of_both_modes_survive_kill_of_the_postmaster() {
    survives("mixed", MIXED, |cluster, random| {
        cluster.die(any_death(random));
        cluster.start_again();
    });
}

#[test]
fn acknowledged_increments_survive_kill_of_the_compactor_while_it_folds() {
    survives("compactor", BUFFERED, |cluster, _| cluster.kill_one(VICTIM_SOON, watch::compactor));
}

#[test]
fn acknowledged_increments_survive_a_checkpoint_right_before_the_crash() {
    survives("checkpoint", BUFFERED, |cluster, random| {
        cluster.connect().must("CHECKPOINT");
        cluster.die(any_death(random));
        cluster.start_again();
    });
}

#[test]
fn acknowledged_increments_survive_crashes_while_they_are_recovered() {
    survives("recovery", BUFFERED, |cluster, random| {
        // Recovery takes long enough to be met in the middle, twice.
        cluster.connect().must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 8000");
        for _ in 0..2 {
            cluster.die(any_death(random));
            cluster.start_again();
            let mut session = cluster.connect();
            wait::until("recovery is under way", VICTIM_SOON, || {
                session.value("SELECT journal_state = 'recovering' FROM counter_stats")
            });
        }
        cluster.connect().must("ALTER SYSTEM RESET counter_ext.debug_recovery_window_ms");
        cluster.die(any_death(random));
        cluster.start_again();
    });
}

#[test]
fn acknowledged_increments_survive_a_crash_while_nothing_is_folded_and_checkpoints_pass() {
    survives("cut", BUFFERED, |cluster, random| {
        // A backend stopped in its commit keeps its epoch open.
        let mut session = cluster.connect();
        session.must(BUFFERED);
        session.must("SET counter_ext.debug_commit_window_ms = 20000");
        let pid = session.backend_pid();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = session.incr("stopped", 1);
            });
            let mut other = cluster.connect();
            // The worker names it once it waits for it: then it is in its commit.
            let await_its_name = |other: &mut Session| {
                wait::until("counter_stats names the process that is waited for", VICTIM_SOON, || {
                    other.value::<Option<i32>>("SELECT journal_delayed_by FROM counter_stats") == Some(pid)
                });
            };
            await_its_name(&mut other);
            // More passes come by, and fold nothing.
            std::thread::sleep(Duration::from_millis(300));
            let _halted = Halted::new(pid);
            std::thread::sleep(Duration::from_millis(random.random_range(200..600)));
            for _ in 0..2 {
                other.must("CHECKPOINT; SELECT pg_switch_wal()");
            }
            other.must("CHECKPOINT");
            await_its_name(&mut other);
            drop(other);
            cluster.die(Death::Everything);
        });
        cluster.start_again();
    });
}
