//! The audit log under load, crashes, dumps and copies: at any moment it is whole and adds up to the total.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::session::{Address, Isolation, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const IDS: [&str; 4] = ["audit:0", "audit:1", "audit:2", "audit:3"];
const SOON: Duration = Duration::from_secs(30);

fn assert_whole(session: &mut Session, id: &str, when: &str) {
    let (ok, problem): (Option<bool>, Option<String>) =
        session.pairs(&format!("SELECT ok, problem FROM counter_audit_verify('{id}')"))[0].clone();
    assert_eq!(ok, Some(true), "{when}: {id}: {problem:?}");
}

/// Transactions of all kinds around changes of audited counters; sessions that the server's end takes are made anew.
fn count(address: &Address, stop: &AtomicBool, committed: &AtomicU64, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    let mut prepared = 0;
    while !stop.load(SeqCst) {
        let Some(connected) = &mut session else {
            session = address.try_connect().ok();
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut sql = String::from(Isolation::ALL.choose(&mut random).expect("a level").begin());
        sql += ["", "; SET LOCAL counter_ext.mode = 'buffered'"].choose(&mut random).expect("a mode");
        for _ in 0..random.random_range(1..=3) {
            let id = IDS.choose(&mut random).expect("an id");
            let delta = random.random_range(-3..=9);
            sql += &match random.random_range(0..20) {
                0 => format!("; SELECT counter_reset('{id}')"),
                1 => format!("; SELECT counter_set('{id}', {delta})"),
                2 => format!("; SELECT counter_drop('{id}')"),
                3 => format!("; SAVEPOINT s; SELECT counter_incr('{id}', {delta}); ROLLBACK TO s"),
                4 => format!("; SELECT counter_incr_many(ARRAY['{id}', 'other'])"),
                _ => format!("; SELECT counter_incr('{id}', {delta})"),
            };
        }
        prepared += 1;
        let name = format!("audit {actor} {prepared}");
        sql += &match random.random_range(0..10) {
            0 => "; ROLLBACK".to_owned(),
            1 => format!("; PREPARE TRANSACTION '{name}'"),
            _ => "; COMMIT".to_owned(),
        };
        let is_prepared = sql.ends_with('\'') && sql.contains("PREPARE");
        let mut result = connected.run(&sql);
        if result.is_ok() && is_prepared {
            result = connected.run(&format!("COMMIT PREPARED '{name}'")).or_else(|error| {
                // The test itself ends those that a crash has left, and may be quicker.
                let code = error.code().map_or("", |code| code.code());
                if ["42704", "55000"].contains(&code) { Ok(()) } else { Err(error) }
            });
        }
        match result {
            Ok(()) => {
                committed.fetch_add(1, SeqCst);
            }
            Err(error) => {
                // Those that lock two counters in opposite order meet in a deadlock, as they may.
                assert_excused(&error, &["40P01"], &sql);
                session = None;
            }
        }
    }
}

/// A verification is exact at any moment, at any isolation level.
fn verify(address: &Address, stop: &AtomicBool, verified: &AtomicU64) {
    let mut random = chance::generator(500);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = &mut session else {
            session = address.try_connect().ok();
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let begin = Isolation::ALL.choose(&mut random).expect("a level").begin();
        let id = IDS.choose(&mut random).expect("an id");
        let sql = format!(
            "{begin}; DO $$ DECLARE v record; BEGIN SELECT * INTO v FROM counter_audit_verify('{id}');
             ASSERT v.ok, v.problem; END $$; COMMIT"
        );
        match connected.run(&sql) {
            Ok(()) => {
                verified.fetch_add(1, SeqCst);
            }
            Err(error) => {
                assert_excused(&error, &[], id);
                session = None;
            }
        }
    }
}

#[test]
fn the_log_adds_up_under_load_and_crashes() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    {
        let mut session = cluster.connect();
        watch::wait_until_buffered(&mut session);
        session.must("SELECT counter_incr('audit:0', 1000)");
    }
    let (stop, committed, verified) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let (address, stop, committed, verified) = (&address, &stop, &committed, &verified);
        let _ending = Ending(stop);
        for actor in 0..5 {
            scope.spawn(move || count(address, stop, committed, actor));
        }
        // Begins in the middle of the load.
        thread::sleep(Duration::from_millis(300));
        cluster.connect().must("SELECT counter_audit('audit:', true)");
        scope.spawn(move || verify(address, stop, verified));
        thread::sleep(load_time(1.5));
        // The worker alone: PostgreSQL takes that for a crash of all.
        cluster.kill_one(SOON, watch::compactor);
        cluster.wait_until_it_answers();
        for death in [Death::Postmaster, Death::Everything, Death::Immediate] {
            thread::sleep(load_time(1.0));
            cluster.die(death);
            cluster.start_again();
            cluster.connect().finish_prepared();
        }
        thread::sleep(load_time(1.0));
        wait::until_enough_was_done(|| committed.load(SeqCst) > 100 && verified.load(SeqCst) > 10);
    });
    let mut session = cluster.connect();
    session.finish_prepared();
    println!("{} transactions, {} verifications", committed.load(SeqCst), verified.load(SeqCst));
    for id in IDS {
        assert_whole(&mut session, id, "with entries not sealed yet, perhaps");
    }
    watch::fold_everything(&mut session);
    wait::until("everything is sealed", SOON, || {
        session.value("SELECT count(*) = 0 FROM counter_ext.audit_pending")
    });
    for id in IDS {
        assert_whole(&mut session, id, "sealed");
        let sums: (i64, i64) = session.pairs(&format!(
            "SELECT sum(delta)::bigint, counter_get('{id}') FROM counter_ext.audit_log WHERE id = '{id}'"
        ))[0];
        assert_eq!(sums.0, sums.1, "{id}");
        session.assert_count(id, sums.1);
    }
    let opened: i64 = session.value("SELECT count(*) FROM counter_ext.audit_log WHERE operation = 'open'");
    assert!((1..=4).contains(&opened), "{opened} openings");
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on", "deadlock"]);
}

#[test]
fn a_restored_dump_and_a_standby_can_be_verified() {
    let original = Cluster::start(Settings::compacted_by_hand());
    let mut session = original.connect();
    session.must(
        "CREATE TABLE audit_log_past PARTITION OF counter_ext.audit_log (PRIMARY KEY (id, seq))
             FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
         CREATE TABLE audit_log_now PARTITION OF counter_ext.audit_log (PRIMARY KEY (id, seq))
             FOR VALUES FROM ('2020-01-01') TO ('2100-01-01')",
    );
    session.must("SELECT counter_audit('audit:', true)");
    session.must("SELECT counter_incr('audit:' || n % 4, n) FROM generate_series(1, 400) AS n");
    session.compact().expect("counter_compact");
    session.must("SELECT counter_incr('audit:' || n % 4, n) FROM generate_series(1, 40) AS n");
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.audit_pending"), 40);
    let entries: Vec<(i64, Option<bool>)> =
        session.pairs("SELECT entries, ok FROM counter_audit_verify('audit:1')");
    assert_eq!(entries, [(110, Some(true))]);

    let archive = original.file("dump.custom");
    original.tool("pg_dump", &["-Fc", "--file", &archive]);
    let copy = Cluster::start(Settings::restless().without_extension());
    copy.tool("pg_restore", &["--exit-on-error", "-j", "2", "-d", "postgres", &archive]);
    let mut restored = copy.connect();
    let prefixes: Vec<(String, bool)> =
        restored.pairs("SELECT prefix, since IS NOT NULL FROM counter_ext.audited");
    assert_eq!(prefixes, [("audit:".to_owned(), true)]);
    wait::until("what was not sealed is", SOON, || {
        restored.value("SELECT count(*) = 0 FROM counter_ext.audit_pending")
    });
    restored.must("SELECT counter_incr('audit:1', 5)");
    for id in IDS {
        assert_whole(&mut restored, id, "restored");
    }
    assert_eq!(restored.value::<i64>("SELECT entries FROM counter_audit_verify('audit:1')"), 111);
    restored.compact().expect("counter_compact");
    restored.must("UPDATE counter_ext.audit_log SET delta = delta + 1 WHERE id = 'audit:1' AND seq = 50");
    assert_eq!(restored.value::<i64>("SELECT broken_seq FROM counter_audit_verify('audit:1')"), 50);

    let standby = original.standby();
    session.must("SELECT counter_incr('audit:1', 5)");
    let mut reader = standby.connect();
    wait::until("the standby has it", SOON, || {
        reader.value("SELECT entries = 111 AND ok FROM counter_audit_verify('audit:1')")
    });
    drop(reader);
    standby.finish();
    original.finish();
    copy.finish();
}

/// Everything works from rows; counter_compact seals.
#[test]
fn without_preload_the_log_is_sealed_by_hand() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    session.must("SELECT counter_incr('audit:0', 3); SELECT counter_audit('audit:', true)");
    session.must("SELECT counter_incr('audit:' || n % 4) FROM generate_series(1, 12000) AS n");
    assert_whole(&mut session, "audit:0", "not sealed");
    session.must("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT counter_compact(); COMMIT");
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.audit_pending"), 0);
    for id in IDS {
        assert_whole(&mut session, id, "sealed");
    }
    assert_eq!(session.value::<i64>("SELECT entries FROM counter_audit_verify('audit:0')"), 3001);
    cluster.finish();
}
