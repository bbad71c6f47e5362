//! Promises G3 and G8 between two servers with synchronous replication: what was acknowledged survives a promotion in the middle of the
//! load, in both modes, and the old primary comes back by pg_rewind. And what a standby says of how far it is behind.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{
    Cluster, Ledger, Session, Settings, Traffic, assert_sqlstate, under_load, watch,
};
use std::thread;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    Settings::restless()
        .with("wal_log_hints", "on")
        .with("wal_keep_size", "256MB")
        .with("wal_retrieve_retry_interval", "200ms")
}

/// Waits until the standby has replayed everything the primary has written.
fn catch_up(primary: &mut Session, standby: &mut Session) {
    let written: String = primary.value("SELECT pg_current_wal_insert_lsn()::text");
    wait::until("the standby catches up", SOON, || {
        standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
}

/// Commits that the promoted standby does not take any more wait, and are never acknowledged; then the old primary dies.
fn promote_under_load(primary: &mut Cluster, standby: &Cluster, mode: &str, ledger: &Ledger) {
    let traffic = Traffic {
        clients: 8,
        readers: 0,
        survives_crashes: true,
        client_set_up: format!("SET counter_ext.mode = '{mode}'"),
        ..Traffic::default()
    };
    under_load(&primary.address(), ledger, &traffic, |_| {
        thread::sleep(load_time(1.5));
        let mut session = standby.connect();
        let started = Instant::now();
        session.must("SELECT pg_promote()");
        println!("{mode}: promoted within {:?}", started.elapsed());
        assert!(!session.value::<bool>("SELECT pg_is_in_recovery()"), "promoted");
        thread::sleep(Duration::from_millis(200));
        primary.die(Death::Everything);
    });
}

#[test]
fn promotion_under_load_loses_nothing_acknowledged_and_the_old_primary_comes_back_by_pg_rewind() {
    let mut primary = Cluster::start(settings());
    watch::wait_until_buffered(&mut primary.connect());
    let mut standby = primary.standby();
    let ledger = Ledger::new("failover", 20);
    for mode in ["slotted", "buffered"] {
        watch::make_standby_synchronous(&mut primary.connect(), SOON);
        promote_under_load(&mut primary, &standby, mode, &ledger);
        let mut promoted = standby.connect();
        ledger.settle_buffered(&mut promoted, &format!("{mode}, promoted"));
        // Before PostgreSQL 16 pg_rewind learns of the promotion by a checkpoint.
        promoted.must("CHECKPOINT; SELECT counter_incr('after the promotion', 1)");
        primary.rewind(&standby);
        let mut rewound = primary.connect();
        assert!(rewound.value::<bool>("SELECT pg_is_in_recovery()"), "a standby of the new primary");
        catch_up(&mut promoted, &mut rewound);
        ledger.settle(&mut rewound, &format!("{mode}, rewound"));
        std::mem::swap(&mut primary, &mut standby);
    }
    assert_eq!(primary.connect().get("after the promotion").expect("counter_get"), 2);
    standby.finish();
    primary.finish();
}

const BEHIND: &str = "SELECT behind FROM counter_info('known')";

fn is_behind(session: &mut Session, condition: &str) -> bool {
    session.value(&format!("SELECT coalesce(behind {condition}, false) FROM counter_info('known')"))
}

#[test]
fn counter_info_says_how_far_a_standby_is_behind() {
    let mut primary = Cluster::start(settings());
    let mut on_primary = primary.connect();
    on_primary.must("SELECT counter_incr('known', 1); CREATE ROLE reader LOGIN; GRANT SELECT ON counter_ext.total TO reader");
    let is_null = format!("SELECT ({BEHIND}) IS NULL");
    assert!(on_primary.value::<bool>(&is_null), "a primary");
    let standby = primary.standby();
    let mut on_standby = standby.connect();
    on_primary.must("SELECT counter_incr('known', 1)");
    catch_up(&mut on_primary, &mut on_standby);
    // Whoever may read the counter is told.
    on_standby.must("SET ROLE reader");
    wait::until("the standby has all that it was told of", SOON, || is_behind(&mut on_standby, "= '0'"));
    assert_eq!(on_standby.get("known").expect("counter_get"), 2);

    let mut superuser = standby.connect();
    superuser.must("SELECT pg_wal_replay_pause()");
    wait::until("replay is paused", SOON, || {
        superuser.value("SELECT pg_get_wal_replay_pause_state() = 'paused'")
    });
    on_primary.must("SELECT counter_incr('known', 1)");
    wait::until("what is not replayed grows older", SOON, || {
        is_behind(&mut on_standby, "BETWEEN '0.3 s' AND '1 h'")
    });
    assert_eq!(on_standby.get("known").expect("counter_get"), 2);
    superuser.must("SELECT pg_wal_replay_resume()");
    wait::until("it is replayed", SOON, || is_behind(&mut on_standby, "= '0'"));
    assert_eq!(on_standby.get("known").expect("counter_get"), 3);

    // Nobody says any more what there is to replay.
    drop(on_primary);
    primary.stop();
    wait::until("a standby without a primary grows older", SOON, || {
        is_behind(&mut on_standby, "BETWEEN '0.3 s' AND '1 h'")
    });
    primary.start_again();
    primary.connect().must("SELECT counter_incr('known', 1)");
    wait::until("it is connected again, and caught up", SOON, || is_behind(&mut on_standby, "= '0'"));
    assert_eq!(on_standby.get("known").expect("counter_get"), 4);
    assert_sqlstate("counter_incr", superuser.incr("known", 1), "25006");
    superuser.must("SELECT pg_promote()");
    assert!(on_standby.value::<bool>(&is_null), "promoted");
    drop((on_standby, superuser));
    standby.finish();
    primary.finish();
}
