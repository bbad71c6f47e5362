//! Reading the journal back: after crashes and promotion, from WAL that is gone, unreadable, forged or very old.

use counter_ext_cluster_tests::buffered::{
    BUFFERED, SOON, buffered, buffered_increments, by_hand, crash, often,
};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::session::assert_sqlstate;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, watch};

#[test]
fn wal_that_is_gone_is_reported_and_service_goes_on() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 2).expect("increment");
    let oldest: String =
        session.value("SELECT pg_walfile_name(lsn) FROM counter_ext.journal WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())");
    session.must("CREATE TABLE filler (n int)");
    for _ in 0..2 {
        session.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    session.incr("a", 4).expect("increment");
    let data: String = session.value("SELECT current_setting('data_directory')");
    drop(session);
    cluster.die(Death::Everything);
    std::fs::remove_file(format!("{data}/pg_wal/{oldest}")).expect("remove the oldest segment");
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 5);
    session.must(BUFFERED);
    watch::wait_until_buffered(&mut session);
    session.incr("a", 8).expect("increment");
    session.compact().expect("compact");
    session.assert_count("a", 13);
    drop(session);
    cluster.finish_expecting(&[
        "counter_ext: WAL from 0/",
        "is not there any more; increments of buffered mode in it are lost",
    ]);
}

/// A segment file that is there and cannot be read: the worker tries again, then goes on behind it.
#[test]
fn wal_that_cannot_be_read_is_passed_over() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    session.compact().expect("compact");
    session.incr("a", 2).expect("increment");
    let oldest: String = session.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
    session.must("CREATE TABLE filler (n int)");
    for _ in 0..2 {
        session.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    session.incr("a", 4).expect("increment");
    let data: String = session.value("SELECT current_setting('data_directory')");
    drop(session);
    cluster.die(Death::Everything);
    std::fs::write(format!("{data}/pg_wal/{oldest}"), []).expect("empty the oldest segment");
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 5);
    drop(session);
    cluster.finish_expecting(&[
        "could not read WAL at",
        "is not there any more; increments of buffered mode in it are lost",
    ]);
}

#[test]
fn recovery_asks_no_commit_log() {
    let mut cluster = Cluster::start(by_hand().with("autovacuum", "off"));
    let mut session = buffered(&cluster, "postgres");
    session.must("CREATE TABLE burned (n int)");
    let mut expected = 0;
    for n in 0..3000 {
        let end = if n % 3 == 0 { "ROLLBACK" } else { "COMMIT" };
        session.must(&format!("BEGIN; INSERT INTO burned VALUES ({n}); SELECT counter_incr('a'); {end}"));
        expected += i64::from(n % 3 != 0);
    }
    assert_eq!(session.get("a").expect("get"), expected);
    // More than a million transaction ids later nobody needs the commit log's first file any more.
    session.must("SET statement_timeout = 0");
    session.must(
        "CREATE PROCEDURE burn(times int) LANGUAGE plpgsql AS
         $$ BEGIN FOR i IN 1..times LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    session.must("SET synchronous_commit = off");
    session.must("CALL burn(1100000)");
    session.must("UPDATE pg_database SET datallowconn = true");
    for database in ["template0", "template1", "postgres"] {
        cluster.tool("vacuumdb", &["--freeze", "--dbname", database]);
    }
    let first_is_gone: bool =
        session.value("SELECT NOT EXISTS (SELECT FROM pg_ls_dir('pg_xact') AS name WHERE name = '0000')");
    assert!(first_is_gone, "the commit log still has its first file");
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", expected);
    cluster.finish();
}

#[test]
fn a_read_before_recovery_has_finished_waits_for_it() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.incr("a", -2).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 1500");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    assert_eq!(session.get("a").expect("get"), 5, "the first read after the start");
    let exact: bool = session.value("SELECT exact FROM counter_info('a')");
    assert!(exact);
    session.assert_count("a", 5);
    cluster.finish();
}

#[test]
fn a_promoted_standby_recovers_what_was_buffered() {
    let primary = Cluster::start(by_hand());
    let mut on_primary = buffered(&primary, "postgres");
    let mut standby = primary.standby();
    on_primary.incr("a", 1).expect("increment");
    on_primary.compact().expect("compact");
    on_primary.incr("a", 10).expect("increment");
    on_primary.must("CREATE TABLE last (n int)");
    let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
    let mut on_standby = standby.connect();
    wait::until("the standby catches up", SOON, || {
        on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
    assert_eq!(on_standby.get("a").expect("get"), 1, "a standby reads rows");
    on_standby.must("SELECT pg_promote()");
    assert_eq!(on_standby.get("a").expect("get"), 11, "promoted: the journal is read back first");
    watch::wait_until_recovered(&mut on_standby);
    on_standby.assert_count("a", 11);
    watch::wait_until_buffered(&mut on_standby);
    on_standby.must(BUFFERED);
    on_standby.incr("a", 100).expect("increment");
    drop(on_standby);
    let mut on_standby = crash(&mut standby);
    on_standby.assert_count("a", 111);
    on_primary.compact().expect("compact");
    on_primary.assert_count("a", 11);
    standby.finish();
    primary.finish();
}

/// Folding is held up on the primary while the standby's restartpoints pass: the standby keeps what it would need.
#[test]
fn a_standby_keeps_the_wal_that_its_promotion_needs() {
    let mut primary = Cluster::start(often());
    let mut on_primary = buffered(&primary, "postgres");
    on_primary.incr("a", 10).expect("increment");
    on_primary.assert_soon_folded("a", 10);
    let mut standby = primary.standby();
    let mut on_standby = standby.connect();
    wait::until("the standby has its slot", SOON, || {
        on_standby.value("SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = 'counter_ext'")
    });
    let mut holder = primary.connect();
    holder.must("BEGIN; LOCK TABLE counter_ext.journal IN SHARE MODE");
    on_primary.incr("a", 1000).expect("increment");
    on_primary.must("CREATE TABLE filler (n int)");
    for _ in 0..3 {
        on_primary.must("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1); CHECKPOINT");
    }
    let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
    wait::until("the standby catches up", SOON, || {
        on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
    on_standby.must("CHECKPOINT");
    drop((on_primary, holder));
    primary.die(Death::Everything);
    on_standby.must("SELECT pg_promote()");
    assert_eq!(on_standby.get("a").expect("get"), 1010);
    watch::wait_until_recovered(&mut on_standby);
    on_standby.must("CHECKPOINT");
    on_standby.assert_count("a", 1010);
    drop(on_standby);
    standby.restart();
    standby.connect().assert_count("a", 1010);
    standby.finish();
}

/// `pg_logical_emit_message` is for everybody; whoever knows the format must still not be able to count with it.
#[test]
fn a_forged_record_does_not_count() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 2).expect("increment");
    session.must("CREATE ROLE stranger");
    let total: u32 = session.value("SELECT 'counter_ext.total'::regclass::oid");
    session.must("SET ROLE stranger");
    for epoch in [vec![0xE8, 0x07], vec![0xFF; 9].into_iter().chain([0x01]).collect::<Vec<u8>>()] {
        let mut record = vec![2u8];
        record.extend(total.to_le_bytes());
        record.extend([0; 8]);
        record.extend(epoch);
        record.extend([1, b'a', 0x80, 0x89, 0x7A]);
        let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
        session.must(&format!("SELECT pg_logical_emit_message(false, 'counter_ext', '\\x{hex}'::bytea)"));
    }
    assert_sqlstate("the key", session.run("SELECT key FROM counter_ext.journal"), "42501");
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", 2);
    buffered(&cluster, "postgres").incr("a", 1).expect("increment");
    cluster.restart();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 3);
    cluster.finish_allowing(&["could not be read, the last because"]);
}

#[test]
fn tables_made_anew_during_recovery_start_from_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 7).expect("increment");
    session.must("ALTER SYSTEM SET counter_ext.debug_recovery_window_ms = 1500");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    wait::until("recovery is under way", SOON, || {
        session.value("SELECT journal_state = 'recovering' FROM counter_stats")
    });
    session.must("BEGIN; DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext; COMMIT");
    watch::wait_until_recovered(&mut session);
    session.assert_count("a", 0);
    let before = buffered_increments(&mut session);
    watch::wait_until_buffered(&mut session);
    session.incr("a", 5).expect("increment");
    assert!(buffered_increments(&mut session) > before);
    session.compact().expect("compact");
    session.assert_count("a", 5);
    cluster.finish();
}
