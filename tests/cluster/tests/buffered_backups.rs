//! Promise G8 in buffered mode, and beside it slotted: a base backup, and a recovery from an archive to its end or to a point in time, have every increment that
//! was acknowledged before, though most of them are in no total yet.

use counter_ext_cluster_tests::buffered::BUFFERED;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::{Address, Cluster, Session, Settings, watch};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 3;
const CLIENTS: usize = 8;
const SLOTTED_CLIENTS: usize = 3;
const COUNTERS: usize = 50;

fn id(counter: usize) -> String {
    format!("backup:{counter}")
}

/// Increments that were acknowledged, and those that were begun.
#[derive(Default)]
struct Tally {
    acknowledged: Vec<AtomicI64>,
    begun: Vec<AtomicI64>,
}

impl Tally {
    fn new() -> Tally {
        let zeros = || (0..COUNTERS).map(|_| AtomicI64::new(0)).collect();
        Tally { acknowledged: zeros(), begun: zeros() }
    }

    fn acknowledged(&self) -> Vec<i64> {
        self.acknowledged.iter().map(|count| count.load(SeqCst)).collect()
    }

    /// The counters of a copy have what was acknowledged before it was made, and no more than what was begun. Increments that came
    /// with rows of the same transactions are as many as those rows.
    fn check(&self, session: &mut Session, at_least: &[i64], when: &str) {
        let mut counted = 0;
        for (counter, least) in at_least.iter().enumerate() {
            let value = session.get(&id(counter)).expect("counter_get");
            let begun = self.begun[counter].load(SeqCst);
            assert!(
                (*least..=begun).contains(&value),
                "{when}: {} is {value}: {least} were acknowledged before, {begun} were begun",
                id(counter)
            );
            counted += value;
        }
        println!("{when}: {counted} counted, {} acknowledged before", at_least.iter().sum::<i64>());
        let rows: i64 = session.value("SELECT count(*) FROM witness");
        assert_eq!(session.get("with-rows").expect("counter_get"), rows, "{when}: rows and counts");
        watch::wait_until_recovered(session);
        for (counter, least) in at_least.iter().enumerate() {
            let value = session.get(&id(counter)).expect("counter_get");
            assert!((*least..=self.begun[counter].load(SeqCst)).contains(&value), "{when}: recovered");
        }
        assert_eq!(
            session.get("with-rows").expect("counter_get"),
            rows,
            "{when}: recovered, rows and counts"
        );
    }
}

fn load(address: &Address, tally: &Tally, stop: &AtomicBool, client: usize) {
    let mode = if client < SLOTTED_CLIENTS { "SET counter_ext.mode = 'slotted'" } else { BUFFERED };
    let mut session = address.connect_with(mode);
    let mut n = client;
    while !stop.load(SeqCst) {
        n += 7;
        let counter = n % COUNTERS;
        if n.is_multiple_of(5) {
            session.must("BEGIN; INSERT INTO witness VALUES (1); SELECT counter_incr('with-rows'); COMMIT");
        }
        tally.begun[counter].fetch_add(1, SeqCst);
        session.incr(&id(counter), 1).expect("increment");
        tally.acknowledged[counter].fetch_add(1, SeqCst);
    }
}

/// Runs `work` while clients count.
fn under_load<T>(primary: &Cluster, tally: &Tally, work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    let address = primary.address();
    thread::scope(|scope| {
        let _stop = Ending(&stop);
        for client in 0..CLIENTS {
            let (address, tally, stop) = (&address, tally, &stop);
            scope.spawn(move || load(address, tally, stop, client));
        }
        thread::sleep(Duration::from_millis(500));
        work()
    })
}

fn primary(settings: Settings) -> Cluster {
    let primary = Cluster::start(settings);
    let mut session = primary.connect();
    session.must("CREATE TABLE witness (n int)");
    watch::wait_until_buffered(&mut session);
    primary
}

/// Folds only when asked to, so that what was counted is in the journal only; or now and then.
fn both() -> [(Settings, &'static str); 2] {
    [
        (Settings::compacted_by_hand(), "folded by hand"),
        (Settings::preloaded().with("counter_ext.compact_interval", "300ms"), "folded often"),
    ]
}

#[test]
fn a_base_backup_has_what_was_acknowledged_before_it() {
    for (settings, how) in both() {
        let primary = primary(settings);
        let tally = Tally::new();
        for round in 1..=ROUNDS {
            let (mut copy, before) = under_load(&primary, &tally, || {
                let before = tally.acknowledged();
                (primary.base_backup(), before)
            });
            copy.start_again();
            tally.check(&mut copy.connect(), &before, &format!("{how}, round {round}"));
            copy.finish();
        }
        primary.finish();
    }
}

#[test]
fn a_base_backup_has_everything_though_epochs_are_folded_while_it_is_taken() {
    let primary = primary(Settings::compacted_by_hand());
    let tally = Tally::new();
    for round in 1..=ROUNDS {
        let (mut copy, before) = under_load(&primary, &tally, || {
            let before = tally.acknowledged();
            let stop = AtomicBool::new(false);
            let copy = thread::scope(|scope| {
                scope.spawn(|| {
                    let mut session = primary.connect();
                    while !stop.load(SeqCst) {
                        session.compact().expect("counter_compact");
                    }
                });
                let copy = primary.base_backup();
                stop.store(true, SeqCst);
                copy
            });
            (copy, before)
        });
        copy.start_again();
        tally.check(&mut copy.connect(), &before, &format!("round {round}"));
        copy.finish();
    }
    primary.finish();
}

/// A primary that archives its WAL.
fn archiving(settings: Settings) -> (Cluster, String) {
    let mut primary = Cluster::start(settings.clone());
    let archive = primary.archive();
    let command = format!("'cp %p {archive}/%f'");
    primary.restart_with(&settings.with("archive_mode", "on").with("archive_command", &command));
    let mut session = primary.connect();
    session.must("CREATE TABLE witness (n int)");
    watch::wait_until_buffered(&mut session);
    (primary, archive)
}

fn archive_all(primary: &Cluster) {
    let mut session = primary.connect();
    let last: String = session.value("SELECT pg_walfile_name(pg_switch_wal())");
    counter_ext_cluster_tests::wait::until("WAL is archived", Duration::from_secs(30), || {
        session.value(&format!("SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver"))
    });
}

#[test]
fn recovery_to_the_end_of_the_archive_has_everything() {
    for hot_standby in [true, false] {
        let (primary, archive) = archiving(Settings::compacted_by_hand());
        let tally = Tally::new();
        let mut copies = Vec::new();
        for _ in 0..2 {
            copies.push(under_load(&primary, &tally, || primary.base_backup()));
            primary.connect().compact().expect("counter_compact");
        }
        under_load(&primary, &tally, || thread::sleep(Duration::from_millis(500)));
        let acknowledged = tally.acknowledged();
        archive_all(&primary);
        for mut copy in copies {
            copy.recover_from(&archive, None, hot_standby);
            copy.start_again();
            let mut session = copy.connect();
            counter_ext_cluster_tests::wait::until("recovery has ended", Duration::from_secs(30), || {
                session.value("SELECT NOT pg_is_in_recovery()")
            });
            tally.check(&mut session, &acknowledged, &format!("hot_standby {hot_standby}"));
            drop(session);
            copy.finish();
        }
        primary.finish();
    }
}

#[test]
fn recovery_to_a_point_in_time_has_what_was_acknowledged_before_it() {
    for hot_standby in [true, false] {
        let (primary, archive) = archiving(Settings::compacted_by_hand());
        let tally = Tally::new();
        let mut copy = primary.base_backup();
        under_load(&primary, &tally, || thread::sleep(Duration::from_millis(300)));
        primary.connect().compact().expect("counter_compact");
        // Segments of WAL between the last fold and the target.
        let before = under_load(&primary, &tally, || {
            let mut session = primary.connect();
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(200));
                session.must("SELECT pg_switch_wal(); CHECKPOINT");
            }
            let before = tally.acknowledged();
            session.must("SELECT pg_create_restore_point('here')");
            thread::sleep(Duration::from_millis(300));
            before
        });
        primary.connect().compact().expect("counter_compact");
        archive_all(&primary);
        copy.recover_from(&archive, Some("here"), hot_standby);
        copy.start_again();
        let mut session = copy.connect();
        counter_ext_cluster_tests::wait::until("recovery has ended", Duration::from_secs(30), || {
            session.value("SELECT NOT pg_is_in_recovery()")
        });
        tally.check(&mut session, &before, &format!("hot_standby {hot_standby}"));
        drop(session);
        copy.finish();
        primary.finish();
    }
}

/// PostgreSQL compares each page that it has replayed with an image of what the primary wrote there.
#[test]
fn what_is_replayed_is_what_was_written() {
    // A generic record's check knows nothing of hint bits, so there transactions with an xid are left out.
    for (checked, mode) in [("all", BUFFERED), ("'heap,heap2'", WITH_ROWS)] {
        let primary = primary(
            Settings::preloaded()
                .with("counter_ext.compact_interval", "100ms")
                .with("wal_consistency_checking", checked)
                .with("wal_keep_size", "1GB"),
        );
        let standby = primary.standby();
        let stop = AtomicBool::new(false);
        let address = primary.address();
        thread::scope(|scope| {
            let _stop = Ending(&stop);
            for client in 0..2 {
                let (address, stop) = (&address, &stop);
                scope.spawn(move || {
                    let mut session = address.connect_with(BUFFERED);
                    let mut n = client;
                    while !stop.load(SeqCst) {
                        n += 7;
                        session.incr(&id(n % COUNTERS), 1).expect("increment");
                        if mode == WITH_ROWS {
                            let end = if n % 2 == 0 { "COMMIT" } else { "ROLLBACK" };
                            session.must(&format!("{WITH_ROWS}; {end}"));
                        }
                    }
                });
            }
            let mut session = primary.connect();
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(250));
                session.must("VACUUM (FREEZE) counter_ext.journal_tail");
                session.must("CHECKPOINT");
            }
        });
        let mut on_primary = primary.connect();
        let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
        let mut on_standby = standby.connect();
        counter_ext_cluster_tests::wait::until("the standby catches up", Duration::from_secs(60), || {
            on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
        });
        for counter in 0..COUNTERS {
            let on_both =
                [&mut on_primary, &mut on_standby].map(|session| session.get(&id(counter)).expect("get"));
            assert_eq!(on_both[0], on_both[1], "{}", id(counter));
        }
        drop((on_primary, on_standby));
        standby.finish();
        primary.finish();
    }
}

const WITH_ROWS: &str = "BEGIN; INSERT INTO witness VALUES (1); SELECT counter_incr('with-rows')";
