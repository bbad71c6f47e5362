//! A cache whose table has changed past its triggers is right again by itself: the worker recounts it, whoever is killed meanwhile.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::{Cluster, Session, Settings, wait};
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
