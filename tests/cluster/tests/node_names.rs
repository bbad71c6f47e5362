//! Publications and subscriptions are in no schema, so an ordinary role may have taken the names of a node's before the node is set up: it gets nothing by
//! that, on no server.

use std::time::Duration;

use counter_ext_cluster_tests::nodes::{Nodes, parameters};
use counter_ext_cluster_tests::session::{Session, describe};
use counter_ext_cluster_tests::{assert_sqlstate, wait};

const NOT_IN_STATE: &str = "55000";

/// How long a row that must not arrive is given to do so.
const ENOUGH: Duration = Duration::from_secs(5);

const PUBLISHED: &str = "SELECT string_agg(format('%s.%s', schemaname, tablename), ' ' ORDER BY tablename) FROM pg_publication_tables \
    WHERE pubname = 'counter_node'";
const OURS: &str = "counter_ext.drop_request counter_ext.like_of_node counter_ext.member counter_ext.total counter_ext.visitors";
const IS_SUPERUSER: &str = "SELECT rolsuper FROM pg_roles WHERE rolname = 'app'";
const BAITED: &str = "SELECT count(*) FROM app.bait";
const SUBSCRIPTIONS: &str = "SELECT count(*) FROM pg_subscription WHERE subname ~ '^counter_node_'";

/// A role that may make schemas, and publications with them, and has a table on which a row that arrives makes it a superuser.
fn with_app(nodes: &Nodes) {
    for at in 0..nodes.count() {
        let mut session = nodes.connect(at);
        session.must("CREATE ROLE app LOGIN");
        session.must("GRANT CREATE ON DATABASE postgres TO app");
        session.must("SET ROLE app");
        session.must("CREATE SCHEMA app; CREATE TABLE app.bait (i int)");
        session.must(
            "CREATE FUNCTION app.trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN ALTER ROLE app SUPERUSER; RETURN NEW; END'; \
             CREATE TRIGGER trap BEFORE INSERT ON app.bait FOR EACH ROW EXECUTE FUNCTION app.trap(); \
             ALTER TABLE app.bait ENABLE ALWAYS TRIGGER trap",
        );
    }
}

fn as_app(nodes: &Nodes, at: usize) -> Session {
    let mut session = nodes.connect(at);
    session.must("SET ROLE app");
    session
}

/// A row that is there without its owner's trigger.
fn bait(nodes: &Nodes, at: usize) {
    let mut session = as_app(nodes, at);
    session.must("ALTER TABLE app.bait DISABLE TRIGGER trap; INSERT INTO app.bait VALUES (1); ALTER TABLE app.bait ENABLE ALWAYS TRIGGER trap");
}

/// The call on a node, which is not given long.
fn short_call(nodes: &Nodes, at: usize, others: &[usize]) -> String {
    nodes.set_up_call(at, others).replace("55 s", "1 s")
}

/// Whether what was baited at one node has come to the other, which is given a while for that where it is subscribed to anything.
fn has_arrived(nodes: &Nodes, at: usize) -> bool {
    let mut session = nodes.connect(at);
    session.value::<i64>(SUBSCRIPTIONS) > 0
        && wait::for_some_in(ENOUGH, || {
            (session.value::<bool>(IS_SUPERUSER) || session.value::<i64>(BAITED) > 0).then_some(())
        })
        .is_some()
}

#[test]
fn a_publication_that_was_there_before_the_node_gives_its_owner_nothing() {
    let nodes = Nodes::start(2);
    with_app(&nodes);
    as_app(&nodes, 0).must("CREATE PUBLICATION counter_node");
    let first = nodes.connect(0).run("CALL counter_node_setup(1)");
    as_app(&nodes, 0).must("ALTER PUBLICATION counter_node ADD TABLE app.bait");
    bait(&nodes, 0);
    let calls: Vec<_> = [1, 0, 1].map(|at| nodes.connect(at).run(&short_call(&nodes, at, &[0, 1]))).into();
    let has_arrived = has_arrived(&nodes, 1);
    assert!(!nodes.connect(1).value::<bool>(IS_SUPERUSER), "the role has become a superuser");
    assert!(!has_arrived, "what the role publishes arrives at the other node");
    assert_sqlstate("the publication's owner", first, NOT_IN_STATE);
    for call in calls {
        assert_sqlstate("nor with peers", call, NOT_IN_STATE);
    }
    assert_eq!(nodes.connect(1).value::<i64>(SUBSCRIPTIONS), 0);

    // It says what can be done; nor does a dry run go past it, nor who leaves or inherits.
    let mut one = nodes.connect(0);
    let dry = one.run("CALL counter_node_setup(1, dry_run => true)").expect_err("a stranger's publication");
    let said = describe(&dry);
    for words in ["\"app\"", "DROP PUBLICATION", "ALTER PUBLICATION", "OWNER TO"] {
        assert!(said.contains(words), "{words} is not in: {said}");
    }
    for call in [
        "CALL counter_node_leave()",
        "CALL counter_node_leave(2)",
        "SELECT counter_ext.inherit_from_node(1, 2)",
        "SELECT counter_ext.unpublish_node()",
    ] {
        assert_sqlstate(call, one.run(call), NOT_IN_STATE);
    }
    assert_eq!(
        one.value::<i64>("SELECT count(*) FROM pg_publication WHERE pubname = 'counter_node'"),
        1,
        "somebody's publication is gone"
    );

    // Taken over by somebody who may, it is made what it should be.
    one.must("ALTER PUBLICATION counter_node OWNER TO postgres");
    one.must("CALL counter_node_setup(1)");
    assert_eq!(one.value::<String>(PUBLISHED), OURS);
    let mut app = as_app(&nodes, 0);
    assert!(app.run("ALTER PUBLICATION counter_node ADD TABLE app.bait").is_err());
    nodes.set_up_all();
    one.must("SELECT counter_incr('n', 3)");
    nodes.await_everywhere("SELECT counter_get('n')", 3);
    assert_eq!(nodes.connect(1).value::<i64>(BAITED), 0);
    drop((one, app));
    nodes.finish();
}

#[test]
fn a_peer_that_was_never_set_up_is_not_taken_from() {
    let nodes = Nodes::start(2);
    with_app(&nodes);
    as_app(&nodes, 1).must("CREATE PUBLICATION counter_node FOR TABLE app.bait");
    bait(&nodes, 1);
    let call = nodes.connect(0).run(&short_call(&nodes, 0, &[0, 1]));
    let has_arrived = has_arrived(&nodes, 0);
    assert!(!nodes.connect(0).value::<bool>(IS_SUPERUSER), "the role has become a superuser");
    assert!(!has_arrived, "what the role publishes arrives at the node");
    assert_sqlstate("a peer that was never set up", call, NOT_IN_STATE);
    let mut one = nodes.connect(0);
    assert_eq!(one.value::<i64>(SUBSCRIPTIONS), 0);

    // Nor where its owner is somebody who may, and it has never been set up either: neither with other tables nor with the same.
    let mut two = nodes.connect(1);
    two.must("DROP PUBLICATION counter_node");
    for tables in [
        "TABLE app.bait",
        "TABLE counter_ext.total",
        "TABLE counter_ext.total, counter_ext.visitors, counter_ext.member, counter_ext.like_of_node, counter_ext.drop_request",
    ] {
        two.must(&format!("CREATE PUBLICATION counter_node FOR {tables}"));
        assert_sqlstate(tables, one.run(&short_call(&nodes, 0, &[0, 1])), NOT_IN_STATE);
        assert_eq!(one.value::<i64>(SUBSCRIPTIONS), 0, "{tables}");
        two.must("DROP PUBLICATION counter_node");
    }
    assert_eq!(one.value::<i64>(BAITED), 0);
    drop((one, two));
    nodes.set_up_all();
    nodes.finish();
}

#[test]
fn a_node_publishes_its_tables_and_nothing_else() {
    let nodes = Nodes::start(1);
    with_app(&nodes);
    let mut one = nodes.connect(0);
    one.must("CALL counter_node_setup(1)");
    let filters = "SELECT string_agg(rowfilter, ' ' ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'counter_node'";
    let filtered: String = one.value(filters);
    for change in [
        "ALTER PUBLICATION counter_node ADD TABLE app.bait",
        "ALTER PUBLICATION counter_node ADD TABLES IN SCHEMA app",
        "ALTER PUBLICATION counter_node SET TABLES IN SCHEMA counter_ext",
        "ALTER PUBLICATION counter_node DROP TABLE counter_ext.visitors",
        "ALTER PUBLICATION counter_node SET TABLE counter_ext.total",
        "ALTER PUBLICATION counter_node SET (publish = 'insert, truncate')",
        "ALTER PUBLICATION counter_node DROP TABLE counter_ext.member; \
            ALTER PUBLICATION counter_node ADD TABLE counter_ext.member (node) WHERE (node = ANY (ARRAY[1]))",
        "DROP PUBLICATION counter_node; CREATE PUBLICATION counter_node FOR ALL TABLES",
        "DROP PUBLICATION counter_node; CREATE PUBLICATION counter_node",
    ] {
        one.must(change);
        one.must("CALL counter_node_setup(1)");
        assert_eq!(one.value::<String>(PUBLISHED), OURS, "{change}");
        assert_eq!(one.value::<String>(filters), filtered, "{change}");
        assert!(
            one.value::<bool>(
                "SELECT pubinsert AND pubupdate AND pubdelete AND NOT pubtruncate AND NOT puballtables \
                    AND NOT EXISTS (SELECT FROM pg_publication_namespace) \
                    AND NOT EXISTS (SELECT FROM pg_publication_rel WHERE prattrs IS NOT NULL) FROM pg_publication"
            ),
            "{change}"
        );
    }
    drop(one);
    nodes.finish();
}

/// A subscriber looks at what it is about to take, whatever the peer has said of itself, and at what it takes already.
#[test]
fn a_subscriber_takes_nothing_but_counters() {
    let nodes = Nodes::start(2);
    with_app(&nodes);
    nodes.set_up_all();
    let (mut one, mut two) = (nodes.connect(0), nodes.connect(1));
    one.must("SELECT counter_incr('n', 3)");
    nodes.await_everywhere("SELECT counter_get('n')", 3);
    bait(&nodes, 0);

    // It is set up by somebody who may, and changed after that: the call on the other node refuses to take from it until it is right.
    two.must("CALL counter_node_leave(1)");
    one.must("ALTER PUBLICATION counter_node ADD TABLE app.bait");
    assert_sqlstate("it publishes more", two.run(&short_call(&nodes, 1, &[0, 1])), NOT_IN_STATE);
    assert_eq!(two.value::<i64>(SUBSCRIPTIONS), 0);
    // And where that is not what the peer says.
    let database: String = two.value("SELECT oid::text FROM pg_database WHERE datname = current_database()");
    let slot = format!("counter_node_2_of_{database}");
    let peer = parameters(&nodes.clusters[0]);
    two.must(&format!("SELECT counter_ext.make_node_slot('{peer}', '{slot}')"));
    let subscribe = format!("SELECT counter_ext.subscribe_to_node(1, '{peer}', '{slot}')");
    let error = two.run(&subscribe).expect_err("it takes what is no counter");
    assert!(describe(&error).contains("app.bait"), "{}", describe(&error));
    assert_sqlstate("it takes more", two.run(&subscribe), NOT_IN_STATE);
    one.must("ALTER PUBLICATION counter_node SET TABLE counter_ext.total");
    assert_sqlstate("it takes less", two.run(&subscribe), NOT_IN_STATE);
    assert_eq!(two.value::<i64>(SUBSCRIPTIONS), 0);
    nodes.set_up_all();
    nodes.await_everywhere("SELECT counter_get('n')", 3);

    // What an existing one has been given by hand is gone after the next call, which copies anew.
    one.must("ALTER PUBLICATION counter_node ADD TABLE app.bait");
    two.must("ALTER SUBSCRIPTION counter_node_1 REFRESH PUBLICATION WITH (copy_data = false)");
    one.must("CALL counter_node_setup(1)");
    two.must(&short_call(&nodes, 1, &[0, 1]).replace("1 s", "55 s"));
    let taken = "SELECT string_agg(srrelid::regclass::text, ' ' ORDER BY srrelid::regclass::text) FROM pg_subscription_rel";
    assert_eq!(two.value::<String>(taken), OURS);
    one.must("SELECT counter_incr('n', 4)");
    nodes.await_everywhere("SELECT counter_get('n')", 7);
    assert_eq!(two.value::<i64>(BAITED), 0);
    assert!(!two.value::<bool>(IS_SUPERUSER));
    drop((one, two));
    nodes.finish();
}

/// Who makes a subscription under a node's name, as pg_create_subscription lets it on PostgreSQL 16 and later, has no node take itself for subscribed, and
/// none connect where it says.
#[test]
fn a_strangers_subscription_is_not_a_nodes() {
    let nodes = Nodes::start(2);
    with_app(&nodes);
    let (mut one, mut two) = (nodes.connect(0), nodes.connect(1));
    two.must("CALL counter_node_setup(2)");
    // On any version, what somebody owns who was a superuser.
    one.must("ALTER ROLE app SUPERUSER");
    let host = parameters(&nodes.clusters[1]);
    two.must("SELECT pg_create_physical_replication_slot('somebodys')");
    as_app(&nodes, 0).must(&format!(
        "CREATE SUBSCRIPTION counter_node_2 CONNECTION '{host} password=mine' PUBLICATION mine \
            WITH (connect = false, enabled = false, create_slot = false, slot_name = 'somebodys')"
    ));
    one.must("ALTER ROLE app NOSUPERUSER");
    for call in [
        "CALL counter_node_setup(1)".to_owned(),
        short_call(&nodes, 0, &[0, 1]),
        "CALL counter_node_leave(2)".to_owned(),
        "CALL counter_node_leave()".to_owned(),
        "SELECT counter_ext.node_unsubscribe(2)".to_owned(),
    ] {
        let error = one.run(&call).expect_err(&call);
        assert!(describe(&error).contains("DROP SUBSCRIPTION"), "{call}: {}", describe(&error));
        assert_sqlstate(&call, one.run(&call), NOT_IN_STATE);
    }
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'somebodys'";
    assert_eq!(two.value::<i64>(slots), 1, "a slot of somebody's is dropped");
    one.must("ALTER SUBSCRIPTION counter_node_2 SET (slot_name = NONE)");
    one.must("DROP SUBSCRIPTION counter_node_2");
    two.must("SELECT pg_drop_replication_slot('somebodys')");
    drop((one, two));
    nodes.set_up_all();
    nodes.finish();
}
