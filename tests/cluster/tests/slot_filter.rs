//! Cold reads leave out the slot rows of counters that have none (memory/slotted): never those of one that has some, whoever has written
//! them, and whatever has happened to the server since.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use std::time::Duration;

/// Memory with next to no room, and no pass but those that are asked for.
fn quiet() -> Cluster {
    Cluster::start(Settings::compacted_by_hand().with("counter_ext.max_counters", "16"))
}

/// Counters of 10 each, all of it in their totals. Memory has nothing of them, and knows that they have no slot rows.
fn cold_counters(session: &mut Session, ids: &[&str]) {
    session.incr_many(ids, &vec![10; ids.len()]).expect("increment");
    session.compact().expect("compact");
    watch::evict_everything(session);
}

/// By each way to read it, cold first.
fn assert_read(session: &mut Session, id: &str, expected: i64) {
    watch::evict_everything(session);
    let many = session.get_many(&["nothing", id]).expect("counter_get_many");
    assert_eq!(many[1].1, expected, "counter_get_many of {id}");
    watch::evict_everything(session);
    session.assert_count(id, expected);
    // Once more: now memory may have it.
    session.assert_count(id, expected);
}

#[test]
fn slot_rows_that_are_written_by_hand_are_read() {
    let cluster = quiet();
    let mut session = cluster.connect();
    let by_hand = [
        ("inserted", "INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('inserted', 1, 5)"),
        (
            "moved",
            "INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('other', 2, 5);
             UPDATE counter_ext.slot SET id = 'moved' WHERE id = 'other'",
        ),
        (
            "savepoint",
            "SAVEPOINT s; INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('savepoint', 3, 5); RELEASE s",
        ),
        (
            "many",
            "INSERT INTO counter_ext.slot (id, slot, delta) SELECT 'many:' || n, n, 1 FROM generate_series(1, 70000) n;
             INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('many', 4, 5)",
        ),
        (
            "unseen",
            "ALTER TABLE counter_ext.slot DISABLE TRIGGER ALL;
             INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('unseen', 5, 5);
             ALTER TABLE counter_ext.slot ENABLE TRIGGER ALL",
        ),
    ];
    for (id, sql) in by_hand {
        cold_counters(&mut session, &[id]);
        // A session of its own: while one that restores a dump is there, nothing is learnt anew.
        let mut admin = cluster.connect();
        admin.must(&format!("BEGIN; {sql}; COMMIT"));
        assert_read(&mut session, id, 15);
        drop(admin);
        session.must("TRUNCATE counter_ext.slot");
        assert_read(&mut session, id, 10);
    }
    cold_counters(&mut session, &["copied"]);
    cluster.connect().copy_in("COPY counter_ext.slot (id, slot, delta) FROM STDIN", "copied\t6\t5\n");
    assert_read(&mut session, "copied", 15);
    session.compact().expect("compact");
    assert_read(&mut session, "copied", 15);
    cluster.finish();
}

#[test]
fn slot_rows_of_increments_are_read_before_and_after_they_are_folded() {
    let cluster = quiet();
    let (mut session, mut holder) = (cluster.connect(), cluster.connect());
    cold_counters(&mut session, &["held", "below", "kept"]);
    // A total that is held sends increments to slot rows; so does what is taken away.
    holder.must("BEGIN; SELECT FROM counter_ext.total WHERE id = 'held' FOR UPDATE");
    session.incr("held", 5).expect("increment");
    session.incr("below", -20).expect("increment");
    for _ in 0..2 {
        assert_read(&mut session, "held", 15);
        assert_read(&mut session, "below", -10);
        assert_read(&mut session, "kept", 10);
        // The one that is held stays where it is.
        session.compact().expect("compact");
    }
    session.incr("held", 5).expect("increment of the same slot row");
    assert_read(&mut session, "held", 20);
    holder.must("ROLLBACK");
    session.compact().expect("compact");
    assert_read(&mut session, "held", 20);
    session.compact().expect("compact");
    for (id, expected) in [("held", 20), ("below", -10), ("kept", 10)] {
        assert_read(&mut session, id, expected);
    }
    cluster.finish();
}

#[test]
fn slot_rows_of_a_prepared_transaction_are_read_once_it_is_committed() {
    let mut cluster = quiet();
    let mut session = cluster.connect();
    cold_counters(&mut session, &["soon", "later"]);
    session.must("BEGIN; SELECT counter_incr('soon', 5); PREPARE TRANSACTION 'soon'");
    session.must("BEGIN; SELECT counter_incr('later', 5); PREPARE TRANSACTION 'later'");
    assert_read(&mut session, "soon", 10);
    session.compact().expect("a pass that meets rows of a prepared transaction");
    assert_read(&mut session, "soon", 10);
    session.must("COMMIT PREPARED 'soon'");
    assert_read(&mut session, "soon", 15);
    for crash in [false, true] {
        if crash {
            cluster.die(Death::Everything);
            cluster.start_again();
        } else {
            cluster.restart();
        }
        session = cluster.connect();
        watch::wait_until_recovered(&mut session);
        assert_read(&mut session, "later", 10);
        session.compact().expect("a pass that finds them anew");
        assert_read(&mut session, "later", 10);
    }
    session.must("COMMIT PREPARED 'later'");
    assert_read(&mut session, "later", 15);
    session.compact().expect("compact");
    assert_read(&mut session, "later", 15);
    cluster.finish();
}

#[test]
fn slot_rows_from_before_a_crash_are_read_before_and_after_the_first_pass() {
    let mut cluster = quiet();
    let mut session = cluster.connect();
    cold_counters(&mut session, &["left", "whole"]);
    session.incr("left", -20).expect("increment");
    cluster.die(Death::Everything);
    cluster.start_again();
    session = cluster.connect();
    for _ in 0..2 {
        assert_read(&mut session, "left", -10);
        assert_read(&mut session, "whole", 10);
        session.compact().expect("compact");
    }
    // The extension's tables made anew are other ones.
    session.incr("left", -20).expect("increment");
    session.must("DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext");
    session.incr("left", -20).expect("increment");
    assert_read(&mut session, "left", -20);
    session.compact().expect("compact");
    assert_read(&mut session, "left", -20);
    cluster.finish();
}

#[test]
fn a_promoted_standby_reads_the_slot_rows_that_it_was_sent() {
    let primary = quiet();
    let mut on_primary = primary.connect();
    cold_counters(&mut on_primary, &["sent", "whole"]);
    let standby = primary.standby();
    on_primary.incr("sent", -20).expect("increment");
    let written: String = on_primary.value("SELECT pg_current_wal_insert_lsn()::text");
    let mut on_standby = standby.connect();
    wait::until("the standby catches up", Duration::from_secs(30), || {
        on_standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn"))
    });
    on_standby.assert_count("sent", -10);
    on_standby.must("SELECT pg_promote()");
    watch::wait_for_compactor(&mut on_standby);
    for _ in 0..2 {
        assert_read(&mut on_standby, "sent", -10);
        assert_read(&mut on_standby, "whole", 10);
        on_standby.compact().expect("compact");
    }
    on_standby.incr("whole", -20).expect("increment");
    assert_read(&mut on_standby, "whole", -10);
    standby.finish();
    primary.finish();
}
