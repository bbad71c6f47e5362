//! A streaming standby reads right, refuses to count, and keeps every count when promoted (promise
//! G8).

use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{
    Cluster, Ledger, Session, Settings, Traffic, assert_sqlstate, load_for, under_load, watch,
};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const REPLAY_LIMIT: Duration = Duration::from_secs(30);
const READ_ONLY: &str = "25006";

/// Waits until the standby has replayed everything the primary has written.
fn catch_up(primary: &mut Session, standby: &mut Session) {
    let written: String = primary.value("SELECT pg_current_wal_insert_lsn()::text");
    wait::until("the standby catches up", REPLAY_LIMIT, || {
        standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
}

#[test]
fn a_standby_reads_right_refuses_to_count_and_keeps_counts_when_promoted() {
    let primary = Cluster::start(Settings::restless());
    let address = primary.address();
    let ledger = Ledger::new("replicated", 30);
    load_for(&address, &ledger, &Traffic { clients: 4, ..Traffic::default() }, load_time(1.0));
    let mut standby = primary.standby();
    let mut on_standby = standby.connect();

    // The standby lags: it may read less than was acknowledged, but never more than was attempted,
    // nor a dip.
    let traffic = Traffic { clients: 8, readers: 1, ..Traffic::default() };
    under_load(&address, &ledger, &traffic, |stop| {
        let start = std::time::Instant::now();
        let mut last = vec![0; ledger.ids().len()];
        while start.elapsed() < load_time(3.0) && !stop.load(SeqCst) {
            for (counter, last) in last.iter_mut().enumerate() {
                let value = on_standby.get(ledger.id(counter)).expect("counter_get on the standby");
                assert!(*last <= value, "{} fell from {last} to {value}", ledger.id(counter));
                ledger.check_attempted(counter, value);
                *last = value;
            }
        }
    });

    let mut on_primary = primary.connect();
    ledger.settle(&mut on_primary, "primary");
    catch_up(&mut on_primary, &mut on_standby);
    ledger.settle(&mut on_standby, "standby, caught up");
    on_primary.incr(ledger.id(0), -1).expect("increment");
    on_primary.incr(ledger.id(0), 1).expect("increment");
    catch_up(&mut on_primary, &mut on_standby);
    ledger.settle(&mut on_standby, "standby, after it has read before");

    let id = ledger.id(0);
    assert_sqlstate("counter_incr", on_standby.incr(id, 1), READ_ONLY);
    assert_sqlstate("counter_incr_many", on_standby.incr_many(&[id], &[1]), READ_ONLY);
    assert_sqlstate("counter_reset", on_standby.reset(id), READ_ONLY);
    assert_sqlstate("counter_set", on_standby.set(id, 1), READ_ONLY);
    assert_sqlstate("counter_drop", on_standby.drop_counter(id), READ_ONLY);
    assert_sqlstate("counter_compact", on_standby.compact(), READ_ONLY);
    assert_eq!(watch::compactor(&mut on_standby), None, "a compactor on a standby");

    on_standby.must("SELECT pg_promote()");
    ledger.settle(&mut on_standby, "promoted");
    watch::wait_for_compactor(&mut on_standby);
    load_for(&standby.address(), &ledger, &Traffic { clients: 8, ..Traffic::default() }, load_time(1.0));
    ledger.settle(&mut on_standby, "promoted, after more load");
    watch::wait_until_folded(&mut on_standby);
    standby.restart();
    ledger.settle(&mut standby.connect(), "promoted and restarted");
    standby.finish();
    primary.finish();
}

/// Prepared on the primary, committed after the promotion.
#[test]
fn prepared_increments_survive_promotion() {
    let primary = Cluster::start(Settings::restless());
    let mut on_primary = primary.connect();
    on_primary.incr("known", 10).expect("increment");
    let standby = primary.standby();
    on_primary.must("BEGIN; SELECT counter_incr('known', 5); PREPARE TRANSACTION 'moved'");
    let mut on_standby = standby.connect();
    catch_up(&mut on_primary, &mut on_standby);
    on_standby.assert_count("known", 10);
    on_standby.must("SELECT pg_promote()");
    on_standby.assert_count("known", 10);
    on_standby.must("COMMIT PREPARED 'moved'");
    on_standby.assert_count("known", 15);
    on_primary.must("ROLLBACK PREPARED 'moved'");
    on_primary.assert_count("known", 10);
    standby.finish();
    primary.finish();
}
