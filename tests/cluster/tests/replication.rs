//! What another server sends by logical replication is neither folded nor in the way: apply never stops, and nothing counts twice.

use std::time::Duration;

use counter_ext_cluster_tests::nodes::{self, apply_errors};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Session};

const LIMIT: Duration = Duration::from_secs(40);

/// A publisher and a subscriber.
fn servers() -> (Cluster, Cluster) {
    (Cluster::start(nodes::settings(1)), Cluster::start(nodes::settings(2)))
}

/// One way, and without a filter.
fn subscribe(from: &Cluster, to: &Cluster, options: &str) -> Session {
    let mut publisher = from.connect();
    publisher.must("CREATE PUBLICATION counters FOR TABLE counter_ext.total, counter_ext.slot, counter_ext.visitors, counter_ext.visit");
    publisher.must("SELECT pg_create_logical_replication_slot('to_subscriber', 'pgoutput')");
    let mut subscriber = to.connect();
    subscriber.must(&format!(
        "CREATE SUBSCRIPTION counters CONNECTION '{}' PUBLICATION counters \
         WITH (create_slot = false, slot_name = 'to_subscriber', {options})",
        nodes::parameters(from)
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

#[test]
fn a_subscriber_that_counts_too_neither_stops_nor_counts_twice() {
    let (first, second) = servers();
    let (mut publisher, mut own) = (first.connect(), second.connect());
    // Both have counted the same ids, and folded them, before the first row comes over.
    publisher.must("SELECT counter_incr('r:both', 5), counter_incr('r:theirs', 3), counter_visit('r:both', 'anna'); SELECT counter_compact()");
    own.must("SELECT counter_incr('r:both', 70), counter_incr('r:ours', 2), counter_visit('r:both', 'bert'); SELECT counter_compact()");
    own.must("SELECT counter_compact()");
    let mut subscriber = subscribe(&first, &second, "copy_data = true");
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
    // A fold of theirs comes later than what went to a total at once.
    wait::until("counters that both have made since are the sum", LIMIT, || {
        subscriber.value::<i64>("SELECT sum(value)::bigint FROM counters WHERE id ~ '^r:new'")
            == rounds + ours
    });
    wait::until("visitors are the union", LIMIT, || {
        subscriber.value::<i64>("SELECT counter_visitors('r:both')") == rounds + 2
    });
    assert_eq!(apply_errors(&mut own), 0, "apply has failed meanwhile");
    // What is counted here is folded too, beside theirs.
    assert_eq!(own.value::<i64>("SELECT count(*) FROM counter_ext.slot WHERE id LIKE 'r:%'"), 0);

    // Copied once more over what an earlier subscription has left: theirs is replaced, ours is kept.
    unsubscribe(&mut publisher, &mut own);
    publisher.must("DROP PUBLICATION counters");
    let mut again = subscribe(&first, &second, "copy_data = true");
    publisher.must("SELECT counter_incr('r:both', 1); SELECT counter_compact()");
    await_value(&mut again, "r:both", 76 + rounds + ours);
    assert_eq!(apply_errors(&mut own), 0, "the second copy has failed");
    unsubscribe(&mut publisher, &mut own);
    drop((publisher, own, subscriber, again));
    first.finish();
    second.finish();
}

/// Tables of both kinds of triggers whose rows are counted on the publisher and on the subscriber, and totals that come along.
#[test]
fn rows_that_come_by_replication_are_counted_once() {
    const CACHED: &str = "CREATE TABLE reviews (id int PRIMARY KEY, shop int);
        CREATE TABLE visits (id int, shop int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (0) TO (1000);
        CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (1000) TO (2000);
        SELECT counter_cache('reviews', 'review:', 'shop'), counter_cache('visits', 'visit:', 'shop')";
    let (first, second) = servers();
    let (mut publisher, mut own) = (first.connect(), second.connect());
    publisher.must(CACHED);
    own.must(CACHED);
    publisher.must(
        "INSERT INTO reviews SELECT n, n % 3 FROM generate_series(1, 30) n;
         INSERT INTO visits SELECT n * 50, n % 2 FROM generate_series(1, 30) n;
         SELECT counter_incr('review of nothing', 5); SELECT counter_compact()",
    );
    publisher.must("CREATE PUBLICATION everything FOR TABLE reviews, visits, counter_ext.total");
    publisher.must("SELECT pg_create_logical_replication_slot('to_subscriber', 'pgoutput')");
    own.must(&format!(
        "CREATE SUBSCRIPTION counters CONNECTION '{}' PUBLICATION everything \
         WITH (create_slot = false, slot_name = 'to_subscriber', copy_data = true)",
        nodes::parameters(&first)
    ));
    let is_right = |session: &mut Session| {
        session.value::<i64>("SELECT count(*) FROM counter_verify('reviews', 'review:', 'shop')") == 0
            && session.value::<i64>("SELECT count(*) FROM counter_verify('visits', 'visit:', 'shop')") == 0
    };
    await_value(&mut own, "review:1", 10);
    await_value(&mut own, "visit:1", 15);
    // What no row is counted into comes as it does without them.
    await_value(&mut own, "review of nothing", 5);
    assert!(is_right(&mut own), "what was copied counts once");

    publisher.must(
        "INSERT INTO reviews SELECT n, n % 3 FROM generate_series(31, 60) n; UPDATE reviews SET shop = 1 WHERE id <= 12;
         DELETE FROM reviews WHERE id > 50; DELETE FROM visits WHERE id < 200; UPDATE visits SET shop = 7 WHERE id >= 1000;
         SELECT counter_compact()",
    );
    let mut count = |id: &str| publisher.get(id).expect("counter_get");
    let (one, two, seven) = (count("review:1"), count("review:2"), count("visit:7"));
    await_value(&mut own, "review:1", one);
    await_value(&mut own, "review:2", two);
    await_value(&mut own, "visit:7", seven);
    publisher.must("SELECT counter_compact(); INSERT INTO reviews VALUES (100, 9)");
    await_value(&mut own, "review:9", 1);
    assert!(is_right(&mut own), "what was applied counts once");
    // Rows of the subscriber's own count beside them.
    own.must(
        "INSERT INTO reviews VALUES (500, 1); INSERT INTO visits VALUES (500, 7) ON CONFLICT DO NOTHING",
    );
    await_value(&mut own, "review:1", one + 1);
    publisher.must("TRUNCATE reviews; TRUNCATE visits_2");
    await_value(&mut own, "review:1", 0);
    await_value(&mut own, "visit:7", 0);
    assert!(is_right(&mut own), "what was truncated counts no more");
    assert_eq!(apply_errors(&mut own), 0, "apply has failed meanwhile");
    unsubscribe(&mut publisher, &mut own);
    drop((publisher, own));
    first.finish();
    second.finish();
}

/// Subscriptions of an ordinary role, which apply with its rights. Before PostgreSQL 16 they are a superuser's first.
fn subscribe_as_role(admin: &mut Session, source: &str, table: &str, role: &str) {
    let options = if admin.value::<i32>("SELECT current_setting('server_version_num')::integer") >= 160_000 {
        ", run_as_owner = true, password_required = false"
    } else {
        ""
    };
    admin.must(&format!(
        "CREATE SUBSCRIPTION to_{table} CONNECTION '{source}' PUBLICATION of_{table} \
         WITH (create_slot = false, enabled = false, copy_data = false, slot_name = 'of_{table}'{options})"
    ));
    admin.must(&format!("ALTER ROLE {role} SUPERUSER"));
    admin.must(&format!("ALTER SUBSCRIPTION to_{table} OWNER TO {role}"));
    admin.must(&format!("ALTER ROLE {role} NOSUPERUSER"));
    admin.must(&format!("ALTER SUBSCRIPTION to_{table} ENABLE"));
}

/// Rows of ours that say what is done, which a role has sent to itself. Apply workers fire no triggers of statements.
#[test]
fn who_may_not_write_rows_by_hand_does_not_have_them_replicated_either() {
    const TABLES: [(&str, &str, &str); 5] = [
        (
            "watch",
            "prefix text, channel text, at_most_every interval, role text, PRIMARY KEY (prefix, channel)",
            "'sent:', 'sent', '0 s', 'postgres'",
        ),
        ("expiry", "prefix text PRIMARY KEY, idle interval", "'sent:', '1 microsecond'"),
        ("drop_wanted", "id text, entry bigint, PRIMARY KEY (id, entry)", "'sent:a', 1"),
        ("member", "node integer PRIMARY KEY, version text", "7, '0.2.0'"),
        (
            "audit_anchor",
            "name text PRIMARY KEY, chains bigint, entries bigint, hash bytea",
            "'sent', 1, 1, '\\x00'",
        ),
    ];
    let cluster = Cluster::start(nodes::settings(1));
    let mut admin = cluster.connect();
    admin.must("CREATE DATABASE theirs");
    admin.must("CREATE ROLE sender LOGIN");
    let mut theirs = cluster.connect_to("theirs");
    theirs.must("DROP EXTENSION IF EXISTS counter_ext; CREATE SCHEMA IF NOT EXISTS counter_ext");
    let source = nodes::parameters(&cluster).replace("dbname=postgres", "dbname=theirs");
    for (table, columns, values) in TABLES {
        theirs.must(&format!("CREATE TABLE counter_ext.{table} ({columns})"));
        theirs.must(&format!("CREATE PUBLICATION of_{table} FOR TABLE counter_ext.{table}"));
        theirs.must(&format!("SELECT pg_create_logical_replication_slot('of_{table}', 'pgoutput')"));
        theirs.must(&format!("INSERT INTO counter_ext.{table} VALUES ({values})"));
        admin.must(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON counter_ext.{table} TO sender"));
    }
    // Counted by a session that knows of no watch.
    let mut counts = cluster.connect();
    counts.must("SELECT counter_incr('sent:a', 5)");
    let mut have_come = Vec::new();
    for (table, ..) in TABLES {
        subscribe_as_role(&mut admin, &source, table, "sender");
        let refused = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_subscription_stats WHERE subname = 'to_{table}' AND apply_error_count > 0)"
        );
        let came = format!("SELECT count(*) FROM counter_ext.{table}");
        wait::until(&format!("the row of {table} is refused, or comes"), LIMIT, || {
            admin.value::<bool>(&refused) || admin.value::<i64>(&came) > 0
        });
        if admin.value::<i64>(&came) > 0 {
            have_come.push(table);
        }
        admin.must(&format!("ALTER SUBSCRIPTION to_{table} DISABLE"));
    }
    assert!(have_come.is_empty(), "rows have come of {have_come:?}");
    assert_eq!(admin.get("sent:a").expect("counter_get"), 5);

    // Who may write them by hand has them replicated too, and all sessions hear of it.
    let mut hears = cluster.connect();
    hears.must("LISTEN sent");
    admin.must("GRANT TRUNCATE ON counter_ext.watch TO sender");
    admin.must("ALTER SUBSCRIPTION to_watch ENABLE");
    wait::until("the row of watch comes", LIMIT, || {
        admin.value::<i64>("SELECT count(*) FROM counter_ext.watch") == 1
    });
    counts.must("SELECT counter_incr('sent:a', 1)");
    let mut heard = Vec::new();
    wait::until("the watch is heard", LIMIT, || {
        heard.extend(hears.notifications(Duration::from_millis(200)).expect("notifications"));
        !heard.is_empty()
    });
    assert_eq!(heard, [("sent".to_owned(), r#"[{"id":"sent:a","value":6}]"#.to_owned())]);
    theirs.must("DELETE FROM counter_ext.watch");
    wait::until("the watch is ended", LIMIT, || {
        admin.value::<i64>("SELECT count(*) FROM counter_ext.watch") == 0
    });

    for (table, ..) in TABLES {
        admin.must(&format!("ALTER SUBSCRIPTION to_{table} DISABLE"));
        admin.must(&format!("ALTER SUBSCRIPTION to_{table} SET (slot_name = NONE)"));
        admin.must(&format!("DROP SUBSCRIPTION to_{table}"));
        wait::until("the slot is free", LIMIT, || {
            theirs.run(&format!("SELECT pg_drop_replication_slot('of_{table}')")).is_ok()
        });
    }
    drop((admin, theirs, counts, hears));
    cluster.finish_expecting(&TABLES.map(|(table, ..)| -> &str {
        match table {
            "watch" => "permission denied to write table counter_ext.watch by hand",
            "expiry" => "permission denied to write table counter_ext.expiry by hand",
            "drop_wanted" => "permission denied to write table counter_ext.drop_wanted by hand",
            "member" => "permission denied to write table counter_ext.member by hand",
            _ => "permission denied to write table counter_ext.audit_anchor by hand",
        }
    }));
}
