//! A cache whose table has changed past its triggers is right again by itself: the worker recounts it, whoever is killed meanwhile.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::{Cluster, Session, Settings, wait};
use rustix::process::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn is_right(session: &mut Session) -> bool {
    session.value::<String>("SELECT state FROM counter_caches") == "right"
        && session.value::<i64>("SELECT count(*) FROM counter_verify('events', 'ev:', 'device')") == 0
}

#[test]
fn the_worker_recounts_what_is_too_large_for_the_command() {
    let mut cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.must(
        "CREATE TABLE events (day int, device int) PARTITION BY RANGE (day);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (1) TO (2);
         CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (2) TO (3);
         SELECT counter_cache('events', 'ev:', 'device');
         INSERT INTO events SELECT 1 + g % 2, g % 7 FROM generate_series(1, 1200000) g",
    );
    session.must("DROP TABLE events_1");
    wait::until("the partition's rows are taken off", SOON, || is_right(&mut session));
    // Switched off, it stays stale; a crash does not forget that.
    session.must("ALTER TABLE events DISABLE TRIGGER USER; INSERT INTO events VALUES (2, 3)");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    assert_eq!(session.value::<String>("SELECT state FROM counter_caches"), "stale");
    session.must("ALTER TABLE events ENABLE TRIGGER USER");
    wait::until("the row is counted", SOON, || is_right(&mut session));
}

/// The worker, seen in the middle of a recount.
fn recounting_worker(session: &mut Session) -> i32 {
    wait::for_some("the worker recounts", SOON, || {
        let seen = |session: &mut Session| {
            session.value::<Option<i32>>(
                "SELECT (SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE query = 'recounting caches' AND locktype = 'relation'
                     AND relation = 'hits'::regclass AND mode = 'AccessShareLock' AND backend_type = 'counter_ext compactor')",
            )
        };
        let pid = seen(session)?;
        std::thread::sleep(Duration::from_millis(30));
        (seen(session) == Some(pid)).then_some(pid)
    })
}

#[test]
fn who_is_killed_in_the_middle_of_a_recount_leaves_it_to_the_next() {
    let mut cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.must(
        "CREATE TABLE hits (page int, note text);
         INSERT INTO hits SELECT g % 50000, repeat('x', 20) FROM generate_series(1, 1200000) g;
         SELECT counter_cache('hits', 'hit:', 'page')",
    );
    let is_right = |session: &mut Session| {
        session.value::<String>("SELECT state FROM counter_caches") == "right"
            && session.value::<i64>("SELECT count(*) FROM counter_verify('hits', 'hit:', 'page')") == 0
    };
    // Every counter differs.
    let change = "ALTER TABLE hits DISABLE TRIGGER USER; UPDATE hits SET page = page + 1 WHERE page % 10 = 3;
        INSERT INTO hits SELECT g FROM generate_series(1, 60000) g; ALTER TABLE hits ENABLE TRIGGER USER";
    for death in [None, Some(Death::Everything)] {
        session.must(change);
        let worker = recounting_worker(&mut session);
        // Those who write meanwhile wait for nobody, and are counted.
        session.must("INSERT INTO hits VALUES (7), (60001); DELETE FROM hits WHERE page = 8");
        match death {
            None => {
                signal(worker, Signal::KILL);
                wait::until("the server restarts its processes", SOON, || session.run("SELECT 1").is_err());
                cluster.wait_until_it_answers();
            }
            Some(death) => {
                drop(session);
                cluster.die(death);
                cluster.start_again();
            }
        }
        session = cluster.connect();
        session.must("INSERT INTO hits VALUES (7), (60002)");
        wait::until("all is counted once", SOON, || is_right(&mut session));
        let rows = session.value::<i64>("SELECT count(*) FROM hits WHERE page = 7");
        session.assert_count("hit:7", rows);
    }
    drop(session);
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

/// Without a worker a pass is in its caller's transaction, and what it has removed is not committed yet when others write.
#[test]
fn a_counter_that_is_just_being_removed_counts_who_writes_meanwhile() {
    let cluster = Cluster::start(Settings::without_preload());
    let (mut writer, mut compactor) = (cluster.connect(), cluster.connect());
    writer.must("CREATE TABLE rooms (room int); SELECT counter_cache('rooms', 'room:', 'room')");
    for (end, insert) in [
        ("COMMIT", "INSERT INTO rooms VALUES (1)"),
        ("ROLLBACK", "INSERT INTO rooms VALUES (1)"),
        (
            "COMMIT",
            "BEGIN; INSERT INTO rooms VALUES (1); SAVEPOINT s; INSERT INTO rooms VALUES (1); ROLLBACK TO s; COMMIT",
        ),
    ] {
        writer.must("INSERT INTO rooms VALUES (1)");
        compactor.must("SELECT counter_compact()");
        writer.must("DELETE FROM rooms");
        compactor.must("BEGIN; SELECT counter_compact(); SELECT counter_compact()");
        let left = "SELECT count(*) FROM counter_ext.total WHERE id = 'room:1'";
        assert_eq!(compactor.value::<i64>(left), 0, "the counter at 0 is removed");
        writer.must("SET lock_timeout = '2s'");
        writer.must(insert);
        compactor.must(end);
        writer.assert_count("room:1", 1);
        assert_eq!(
            writer.value::<i64>("SELECT count(*) FROM counter_verify('rooms', 'room:', 'room')"),
            0,
            "{insert}; {end}"
        );
        writer.must("DELETE FROM rooms");
        compactor.must("SELECT counter_compact()");
        compactor.must("SELECT counter_compact()");
        assert_eq!(compactor.value::<i64>(left), 0, "removed again");
    }
    cluster.finish();
}
