//! What another server sends by logical replication is neither folded nor in the way: apply never stops, and nothing counts twice.

use std::time::Duration;

use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Session, Settings};

const LIMIT: Duration = Duration::from_secs(40);

/// A publisher and a subscriber in one server, which both have node 0.
fn subscribe(cluster: &Cluster, publisher: &mut Session, options: &str) -> Session {
    publisher.must("CREATE PUBLICATION counters FOR TABLE counter_ext.total, counter_ext.slot, counter_ext.visitors, counter_ext.visit");
    publisher.must("SELECT pg_create_logical_replication_slot('to_subscriber', 'pgoutput')");
    let mut subscriber = cluster.connect_to("subscriber");
    let (host, port): (String, String) =
        (subscriber.value("SHOW unix_socket_directories"), subscriber.value("SHOW port"));
    subscriber.must(&format!(
        "CREATE SUBSCRIPTION counters CONNECTION 'host={host} port={port} user=postgres dbname=postgres' PUBLICATION counters \
         WITH (create_slot = false, slot_name = 'to_subscriber', {options})"
    ));
    subscriber
}

fn unsubscribe(publisher: &mut Session, subscriber: &mut Session) {
    subscriber.must("ALTER SUBSCRIPTION counters DISABLE");
    subscriber.must("ALTER SUBSCRIPTION counters SET (slot_name = NONE)");
    subscriber.must("DROP SUBSCRIPTION counters");
    wait::until("the slot is free", LIMIT, || {
        publisher.run("SELECT pg_drop_replication_slot('to_subscriber')").is_ok()
    });
}

fn await_value(session: &mut Session, id: &str, value: i64) {
    let mut last = i64::MIN;
    for _ in 0..400 {
        last = session.get(id).expect("counter_get");
        if last == value {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{id} is {last}, not {value}");
}

fn errors(session: &mut Session) -> i64 {
    session.value("SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::bigint FROM pg_stat_subscription_stats")
}

#[test]
fn a_subscriber_with_the_same_node_neither_stops_nor_counts_twice() {
    let cluster = Cluster::start(Settings::restless().with("wal_level", "logical"));
    let mut publisher = cluster.connect();
    publisher.must("CREATE DATABASE subscriber");
    let mut own = cluster.connect_to("subscriber");
    own.must("CREATE EXTENSION counter_ext");
    // Both have counted the same ids, and folded them, before the first row comes over.
    publisher.must("SELECT counter_incr('r:both', 5), counter_incr('r:theirs', 3), counter_visit('r:both', 'anna'); SELECT counter_compact()");
    own.must("SELECT counter_incr('r:both', 70), counter_incr('r:ours', 2), counter_visit('r:both', 'bert'); SELECT counter_compact()");
    own.must("SELECT counter_compact()");
    let mut subscriber = subscribe(&cluster, &mut publisher, "copy_data = true");
    await_value(&mut subscriber, "r:both", 75);
    await_value(&mut subscriber, "r:theirs", 3);

    let rounds = (load_time(3.0).as_secs_f64() * 60.0) as i64;
    for round in 0..rounds {
        publisher.must(&format!(
            "SELECT counter_incr('r:both'), counter_incr('r:new {}'), counter_visit('r:both', {round})",
            round % 7
        ));
        if round % 3 == 0 {
            own.must(&format!("SELECT counter_incr('r:both', 1000), counter_incr('r:new {}', 1000), counter_visit('r:both', {round})", round % 7));
        }
    }
    let ours = (rounds + 2) / 3 * 1000;
    publisher.must("SELECT counter_compact()");
    own.must("SELECT counter_compact()");
    await_value(&mut publisher, "r:both", 5 + rounds);
    await_value(&mut subscriber, "r:both", 75 + rounds + ours);
    await_value(&mut subscriber, "r:ours", 2);
    let new: i64 = subscriber.value("SELECT sum(value)::bigint FROM counters WHERE id ~ '^r:new'");
    assert_eq!(new, rounds + ours, "counters that both have made since");
    wait::until("visitors are the union", LIMIT, || {
        subscriber.value::<i64>("SELECT counter_visitors('r:both')") == rounds + 2
    });
    assert_eq!(errors(&mut own), 0, "apply has failed meanwhile");
    // What is counted here is folded too, beside theirs.
    assert_eq!(own.value::<i64>("SELECT count(*) FROM counter_ext.slot WHERE id LIKE 'r:%'"), 0);

    // Copied once more over what an earlier subscription has left: theirs is replaced, ours is kept.
    unsubscribe(&mut publisher, &mut own);
    publisher.must("DROP PUBLICATION counters");
    let mut again = subscribe(&cluster, &mut publisher, "copy_data = true");
    publisher.must("SELECT counter_incr('r:both', 1); SELECT counter_compact()");
    await_value(&mut again, "r:both", 76 + rounds + ours);
    assert_eq!(errors(&mut own), 0, "the second copy has failed");
    unsubscribe(&mut publisher, &mut own);
    drop((publisher, own, subscriber, again));
    cluster.finish();
}
