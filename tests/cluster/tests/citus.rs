//! Counters spread over the nodes of a Citus cluster: whatever is counted is counted by the node that has the id, once. The parts that need
//! no Citus are tested on any server; the others say so where they were skipped.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use counter_ext_cluster_tests::citus::{
    ARRIVES, ARRIVING, Citus, ON_THE_WAY, await_value, id_in, pretend, pretend_nodes,
};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, wait};

const NOT_IN_STATE: &str = "55000";
const NOT_SUPPORTED: &str = "0A000";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[test]
fn an_id_of_another_node_is_refused() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let (mut session, mut other) = (cluster.connect(), cluster.connect());
    session.must("CREATE ROLE app; GRANT ALL ON counter_ext.total TO app");
    for call in ["SELECT counter_citus_setup()", "SELECT * FROM counter_citus_status()"] {
        let error = session.run(call).expect_err("no Citus here");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code().code(), NOT_IN_STATE, "{call}: {error:?}");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("CREATE EXTENSION citus")),
            "{call}: {error:?}"
        );
    }
    session.must("SET ROLE app");
    assert_sqlstate("set-up by anybody", session.run("SELECT counter_citus_setup()"), INSUFFICIENT_PRIVILEGE);
    assert_sqlstate(
        "serving, set by anybody",
        session.run("SET counter_ext.serve = off"),
        INSUFFICIENT_PRIVILEGE,
    );
    session.must("RESET ROLE");

    let (lower, upper) = (id_in(&mut session, true), id_in(&mut session, false));
    for id in [&lower, &upper] {
        session.incr(id, 3).expect("nothing is spread");
        other.assert_count(id, 3);
    }
    // Sessions that have counted learn of it, in either isolation level.
    other.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    pretend(&mut session, 1, 2);
    for session in [&mut session, &mut other] {
        assert_eq!(session.get(&lower).expect("an id of this node"), 3);
    }
    // Whoever is in a transaction learns of it where PostgreSQL takes in what others have changed: with any lock.
    other.must("LOCK TABLE counter_ext.slot IN ACCESS SHARE MODE");
    assert_sqlstate("a read of another node's id", other.get(&upper), NOT_IN_STATE);
    other.must("ROLLBACK");
    for call in [
        "counter_incr('%')",
        "counter_add('%')",
        "counter_get_exact('%')",
        "counter_info('%')",
        "counter_set('%', 1)",
        "counter_reset('%')",
        "counter_drop('%')",
        "counter_incr_once('%', 1, 't')",
        "counter_incr('%', 1.0)",
        "'%'::counter::bigint",
        "counter_visit('%', 'anna')",
        "counter_visitors('%')",
        "counter_like('%', 'anna')",
        "counter_likes('%')",
        "counter_allow('%', 1, '1 min')",
        "counter_incr_from('%', 'anna')",
        "counter_set_many(ARRAY['%'], ARRAY[1])",
        "counter_drop_many(ARRAY['%'])",
        "counter_total('%')",
        "counter_rename('x', '%')",
        "counter_incr_at('%', now())",
    ] {
        let call = format!("SELECT {}", call.replace('%', &upper));
        assert_sqlstate(&call, session.run(&call), NOT_IN_STATE);
    }
    session.must(&format!("SELECT counter_incr('{lower}'), counter_visit('{lower}', 'anna')"));
    session.assert_count(&lower, 4);
    // The other node has not said that it has nothing left of this one's ids.
    for call in [
        format!("counter_incr_once('{lower}', 1, 't')"),
        format!("counter_like('{lower}', 'anna')"),
        format!("counter_unlike('{lower}', 'anna')"),
        format!("counter_apply('{lower}', 1, '{{a}}')"),
        format!("counter_apply('{lower}', 1, 1, '{{a}}', NULL)"),
        format!("counter_apply_reset('{lower}')"),
    ] {
        assert_sqlstate(&call, session.run(&format!("SELECT {call}")), NOT_IN_STATE);
    }
    // What is nobody's own business.
    session.must("CREATE TABLE cached (k text)");
    assert_sqlstate("a cache", session.run("SELECT counter_cache('cached', 'cached:', 'k')"), NOT_SUPPORTED);
    assert_sqlstate(
        "a part for another node",
        session.run(&format!("SELECT counter_ext.incr_many_here('{lower}', ARRAY['{upper}'], ARRAY[1])")),
        NOT_IN_STATE,
    );
    assert_eq!(
        session.value::<i64>(&format!(
            "SELECT * FROM counter_ext.get_many_here('{lower}', ARRAY['{lower}', '{lower}']) LIMIT 1"
        )),
        4
    );

    // The shards change places.
    pretend(&mut session, 2, 1);
    for session in [&mut session, &mut other] {
        assert_sqlstate("now it is elsewhere", session.incr(&lower, 1), NOT_IN_STATE);
        session.incr(&upper, 1).expect("now it is here");
    }
    session.must("SET counter_ext.serve = off");
    for call in [
        format!("counter_get('{upper}')"),
        "count(*) FROM counters".to_owned(),
        "* FROM counter_list()".to_owned(),
        "* FROM counter_hottest()".to_owned(),
    ] {
        assert_sqlstate(&call, session.run(&format!("SELECT {call}")), NOT_IN_STATE);
    }
    session.must("RESET counter_ext.serve");
    // Not all hashes have a shard: nobody guesses.
    session.must("BEGIN; DELETE FROM pg_dist_placement WHERE shardid = 101; ALTER TABLE counter_ext.shard_of_id SET (fillfactor = 99); COMMIT");
    for id in [&lower, &upper] {
        assert_sqlstate("broken metadata", other.get(id), NOT_IN_STATE);
    }
    session.must("DROP TABLE counter_ext.shard_of_id");
    for id in [&lower, &upper] {
        other.incr(id, 1).expect("nothing is spread any more");
    }
    drop((session, other));
    cluster.finish_allowing(&["could not be moved"]);
}

/// The part of moving that needs no Citus: what is another node's is taken, kept until that node says that it has it, and counted
/// there once, however often it comes.
#[test]
fn what_another_node_has_is_brought_to_it_once() {
    let cluster = Cluster::start(Settings::compacted_by_hand().with("max_prepared_transactions", "10"));
    let mut session = cluster.connect();
    let (lower, upper) = (id_in(&mut session, true), id_in(&mut session, false));
    for id in [&lower, &upper] {
        session.must(&format!(
            "SELECT counter_incr('{id}', 7), counter_visit('{id}', 'anna'), counter_like('{id}', 'anna')"
        ));
        session.must(&format!("SELECT counter_incr_once('{id}', 4, 'token')"));
        session.must(&format!(
            "SET counter_ext.mode = buffered; SELECT counter_incr('{id}', 30); RESET counter_ext.mode"
        ));
    }
    // More than one bigint: nobody can count it in one transaction, and what cannot be counted would be in the way of all others.
    let far: String = session
        .value("SELECT max('id:' || n) FROM generate_series(1, 100) AS n WHERE hashtext('id:' || n) >= 0");
    for _ in 0..2 {
        session.must(&format!("BEGIN; SELECT counter_incr('{far}', 9223372036854775807); COMMIT"));
    }
    // One that has begun to count before, and commits afterwards.
    session.must(&format!("BEGIN; SELECT counter_incr('{upper}', 100); PREPARE TRANSACTION 'late'"));
    pretend(&mut session, 1, 2);
    pretend_nodes(&mut session, &[]);
    let held = format!(
        "SELECT coalesce(sum(a), 0)::bigint FROM counter_ext.moving, unnest(ids, amounts) AS m (i, a) WHERE i <> '{far}'"
    );
    let compact = |session: &mut Session| session.compact().expect("a pass");
    // Nobody is there to take it.
    compact(&mut session);
    wait::until("amounts are taken", ARRIVES, || session.value::<i64>(&held) == 41);
    session.must("COMMIT PREPARED 'late'");
    session.must("INSERT INTO pg_dist_node VALUES (2, 'node 2', 1, true, 'primary')");
    wait::until("amounts are brought", ARRIVES, || {
        compact(&mut session);
        session.value::<bool>("SELECT count(*) = 0 FROM counter_ext.moving")
            && session.value::<i64>("SELECT count(*) FROM told WHERE command LIKE '%take_moved%'") >= 2
            && session.value::<i64>("SELECT count(*) FROM told WHERE command LIKE '%take_rows%'") >= 3
            && session.value::<bool>(&format!(
                "SELECT NOT EXISTS (SELECT FROM counter_ext.token WHERE id = '{upper}') AND NOT EXISTS (SELECT FROM counter_ext.liked WHERE item = '{upper}')"
            ))
    });
    session.assert_count(&lower, 41);
    for table in [
        "total WHERE value <> 0 AND id",
        "slot WHERE id",
        "visitors WHERE id",
        "visit WHERE id",
        "token WHERE id",
        "liked WHERE item",
    ] {
        let left = format!("SELECT count(*) FROM counter_ext.{table} = '{upper}'");
        assert_eq!(session.value::<i64>(&left), 0, "{left}");
    }
    // The other node is told all of it twice, as after a crash here.
    session.must("CREATE DATABASE there");
    let told: Vec<(i32, String)> = session.pairs("SELECT number, command FROM told ORDER BY number");
    let mut there = cluster.connect_to("there");
    there.must("CREATE EXTENSION counter_ext");
    for _ in 0..2 {
        for (_, command) in told.iter().filter(|(_, command)| command.contains("take_")) {
            there.must(command);
        }
    }
    there.assert_count(&upper, 141);
    there.must(&format!("SELECT counter_incr('{far}', -9223372036854775807)"));
    there.compact().expect("a pass");
    there.assert_count(&far, i64::MAX);
    assert_eq!(there.value::<i64>(&format!("SELECT counter_likes('{upper}')")), 1);
    assert_eq!(there.value::<i64>(&format!("SELECT counter_visitors('{upper}')")), 1);
    assert!(!there.value::<bool>(&format!("SELECT counter_incr_once('{upper}', 4, 'token')")));
    drop((session, there));
    cluster.finish_allowing(&["could not be moved", "could not be"]);
}

/// How many counters a node's own rows have.
fn counters_on(citus: &Citus, at: usize) -> i64 {
    let mut session = citus.connect(at);
    session.must("SET counter_ext.serve = on");
    session.value("SELECT count(*) FROM counters WHERE value <> 0")
}

#[test]
fn counters_are_spread_over_the_nodes_of_a_cluster() {
    let Some(citus) = Citus::start(2) else { return };
    let mut session = citus.connect(0);
    session.must("CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE ON counter_ext.total, counter_ext.source_offset TO app");
    session.must("SELECT counter_incr('before', 5)");
    assert_sqlstate("set-up on a node", citus.connect(1).run("SELECT counter_citus_setup()"), NOT_IN_STATE);
    session.must("SELECT counter_citus_setup()");
    session.must("SELECT counter_citus_setup()");
    await_value(&mut session, ARRIVING, 0);
    let problems: Vec<(i32, String)> = session.pairs(
        "SELECT group_id, concat_ws(' ', problem, nullif(serves, group_id <> 0)) FROM counter_citus_status()",
    );
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems.iter().all(|(_, problem)| problem.is_empty() || problem == "false"), "{problems:?}");
    drop(session);

    // What was counted before goes where it belongs.
    let mut session = citus.connect(0);
    await_value(&mut session, "SELECT counter_get('before')", 5);
    for number in 0..60 {
        session.must(&format!("SELECT counter_incr('n:{number}', {number})"));
    }
    for number in 0..60 {
        assert_eq!(session.value::<i64>(&format!("SELECT counter_get('n:{number}')")), number);
    }
    let spread: Vec<i64> = (0..3).map(|at| counters_on(&citus, at)).collect();
    assert_eq!(spread[0], 0, "counters by node: {spread:?}");
    assert!(spread[1] > 5 && spread[2] > 5, "counters by node: {spread:?}");
    assert_eq!(
        session.value::<i64>("SELECT sum(value)::bigint FROM counters_everywhere WHERE id LIKE 'n:%'"),
        59 * 60 / 2
    );
    session.must("SET ROLE app; SELECT count(*) FROM counters_everywhere; RESET ROLE");

    // Integers are ids too; parameters, prepared statements, transactions and savepoints.
    session.must("PREPARE incr (bigint) AS SELECT counter_incr($1)");
    for _ in 0..12 {
        session.must("EXECUTE incr(4711)");
    }
    assert_eq!(session.value::<i64>("SELECT counter_get(4711)"), 12);
    session.must(
        "BEGIN; SELECT counter_incr('n:1'); SELECT counter_incr('n:2'); SELECT counter_incr('n:3'); SAVEPOINT s;
         SELECT counter_incr('n:1', 1000); SELECT counter_incr('n:4', 1000); ROLLBACK TO s; COMMIT",
    );
    session.must("BEGIN; SELECT counter_incr('n:1', 1000); SELECT counter_incr('n:2', 1000); ROLLBACK");
    let after: Vec<(String, i64)> = session
        .pairs("SELECT id, value FROM counter_get_many(ARRAY['n:4', 'n:1', 'none', 'n:2', 'n:1', 'n:3'])");
    let expected = [("n:4", 4), ("n:1", 2), ("none", 0), ("n:2", 3), ("n:1", 2), ("n:3", 4)];
    assert_eq!(after, expected.map(|(id, value)| (id.to_owned(), value)));

    strays_are_refused(&citus, &mut session);
    batches_are_split(&citus, &mut session);
    families_go_along(&citus, &mut session);
    own_tables_stay_local(&mut session);
    drop(session);
    citus.finish();
}

fn strays_are_refused(citus: &Citus, session: &mut Session) {
    for call in [
        "SELECT counter_incr('n:1'), counter_incr('n:2')",
        "SELECT counter_get('n:1') + 1",
        "DO $$BEGIN PERFORM counter_incr('n:1'); END$$",
        "WITH c AS (SELECT counter_incr('n:1')) SELECT * FROM c",
        "SELECT counter_incr('n:' || n) FROM generate_series(1, 2) AS n",
        "SELECT * FROM counters",
        "SELECT counter_incr('n:1', 2.0)",
    ] {
        assert_sqlstate(call, session.run(call), NOT_IN_STATE);
    }
    let home = citus.node_of("n:1");
    citus.connect(home).must("SELECT counter_incr('n:1', 10), counter_get('n:1')");
    assert_sqlstate(
        "two on the other node",
        citus.connect(3 - home).run("SELECT counter_get('n:1'), 1"),
        NOT_IN_STATE,
    );
    // Alone, it is sent on from there too.
    citus.connect(3 - home).must("SELECT counter_incr('n:1', 10)");
    assert_eq!(session.value::<i64>("SELECT counter_get('n:1')"), 22);
}

fn batches_are_split(citus: &Citus, session: &mut Session) {
    let ids = "(SELECT array_agg('b:' || n % 100 ORDER BY n) FROM generate_series(0, 299) AS n)";
    let total = "SELECT sum(value)::bigint FROM counter_get_many((SELECT array_agg('b:' || n) FROM generate_series(0, 99) AS n))";
    session.must(&format!("SELECT counter_incr_many({ids})"));
    assert_eq!(session.value::<i64>(total), 300);
    session.must(&format!("BEGIN; SELECT counter_incr_many({ids}); SELECT counter_incr_many(ARRAY['b:1', E'odd \"\\\\'' id'], ARRAY[-1, 7]); ROLLBACK"));
    assert_eq!(session.value::<i64>(total), 300);
    session.must("SELECT counter_incr_many(ARRAY['b:1', E'odd \"\\\\'' id'], ARRAY[-1, 7])");
    assert_eq!(session.value::<i64>("SELECT value FROM counter_get_many(ARRAY[E'odd \"\\\\'' id'])"), 7);
    // One of them fails: none counts, on whatever node.
    let failing = format!(
        "SELECT counter_incr_many({ids} || ARRAY['b:7', 'b:7'], array_fill(1::bigint, ARRAY[300]) || ARRAY[9223372036854775807, 9223372036854775807])"
    );
    assert_sqlstate("past bigint", session.run(&failing), "22003");
    assert_eq!(session.value::<i64>(total), 299);

    for expected in [true, false] {
        assert_eq!(session.value::<bool>(&format!("SELECT counter_apply('feed', 10, {ids})")), expected);
    }
    assert_eq!(session.value::<i64>(total), 599);
    assert!(session.value::<bool>(
        "SELECT counter_apply('feed', 9, 12, ARRAY['b:1', 'b:2', 'b:3', 'b:4'], ARRAY[1, 1, 1, 1])"
    ));
    assert_eq!(session.value::<i64>(total), 601);
    // From a node that has some of the ids itself, whole or not at all.
    let mut node = citus.connect(1);
    node.must(&format!("SELECT counter_incr_many({ids})"));
    assert!(node.value::<bool>(&format!("SELECT counter_apply('other feed', 10, {ids})")));
    node.must(&format!("BEGIN; SELECT counter_incr_many({ids}); ROLLBACK"));
    assert_eq!(node.value::<i64>(total), 1201);
    assert_eq!(session.value::<i64>(total), 1201);
    // By others' rights, on all nodes.
    let mut app = citus.connect(0);
    app.must("SET ROLE app");
    app.must("SELECT counter_incr('b:1')");
    app.must(&format!("SELECT counter_incr_many({ids})"));
    assert_eq!(app.value::<i64>(total), 1502);
    assert_sqlstate(
        "a right that is on no node",
        app.run("SELECT counter_drop('b:1')"),
        INSUFFICIENT_PRIVILEGE,
    );
    session.must("REVOKE INSERT ON counter_ext.total FROM app");
    session.must("SELECT counter_citus_setup()");
    assert_sqlstate("a right that was taken", app.run("SELECT counter_incr('b:1')"), INSUFFICIENT_PRIVILEGE);
}

fn families_go_along(citus: &Citus, session: &mut Session) {
    for number in 0..20 {
        session.must(&format!("SELECT counter_visit('v:{}', 'visitor {number}')", number % 7));
        session.must(&format!("SELECT counter_like('l:{}', 'actor {number}')", number % 3));
        session.must(&format!("SELECT counter_incr_once('t:{}', 2, 'token {}')", number % 3, number % 10));
    }
    assert_eq!(
        session.value::<i64>(
            "SELECT counter_visitors_union((SELECT array_agg('v:' || n) FROM generate_series(0, 6) AS n))"
        ),
        20
    );
    assert_eq!(
        session.value::<i64>("SELECT counter_visitors_union(ARRAY['v:0'], '2000-01-01', 'tomorrow')"),
        3
    );
    assert_eq!(session.value::<i64>("SELECT counter_likes('l:1')"), 7);
    assert!(session.value::<bool>("SELECT counter_liked('l:1', 'actor 4')"));
    for call in [
        "* FROM counter_likers('l:1')",
        "* FROM counter_liked_items('actor 1')",
        "* FROM counter_board_top('l:')",
    ] {
        assert_sqlstate(call, session.run(&format!("SELECT {call}")), NOT_IN_STATE);
    }
    let mut home = citus.connect(citus.node_of("l:1"));
    assert_eq!(home.value::<i64>("SELECT count(*) FROM counter_likers('l:1')"), 7);
    session.must("CREATE TABLE videos (id text, k text)");
    assert_sqlstate("a cache", session.run("SELECT counter_cache('videos', 'videos:', 'k')"), NOT_SUPPORTED);
}

fn own_tables_stay_local(session: &mut Session) {
    session.must("SET citus.enable_unsafe_triggers = on");
    for table in ["total", "slot", "liked", "token", "visitors"] {
        for call in [
            "create_distributed_table('%', 'id')",
            "create_reference_table('%')",
            "citus_add_local_table_to_metadata('%')",
        ] {
            let call = format!("SELECT {}", call.replace('%', &format!("counter_ext.{table}")));
            let call = if table == "liked" { call.replace("'id'", "'item'") } else { call };
            assert!(session.run(&call).is_err(), "{call} was let through");
        }
    }
    let call = "SELECT create_distributed_table('counter_ext.total', 'id')";
    let error = session.run(call).expect_err("refused");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!((error.code().code(), error.hint().is_some()), (NOT_SUPPORTED, true), "{error:?}");
    session.must("RESET citus.enable_unsafe_triggers");
    assert_eq!(session.value::<i64>("SELECT counter_get('n:59')"), 59);
}

/// Shards move to and fro under increments, and a node is killed meanwhile: everything that was acknowledged is counted, once.
#[test]
fn counters_follow_their_shards() {
    const IDS: usize = 24;
    let Some(mut citus) = Citus::start(2) else { return };
    citus.connect(0).must("SELECT counter_citus_setup()");
    let mut session = citus.connect(0);
    await_value(&mut session, ARRIVING, 0);
    for number in 0..IDS {
        session.must(&format!("SELECT counter_visit('m:{number}', 'anna')"));
        session.must(&format!("SELECT counter_like('m:{number}', 'anna')"));
        session.must(&format!("SELECT counter_incr_once('m:{number}', 100, 'first')"));
    }
    for round in 0..4 {
        let counted: Vec<AtomicI64> = (0..IDS).map(|_| AtomicI64::new(0)).collect();
        let before: Vec<i64> =
            (0..IDS).map(|number| session.value(&format!("SELECT counter_get('m:{number}')"))).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ending = Ending(&is_over);
            for client in 0..3 {
                let (citus, counted, is_over) = (&citus, &counted, &is_over);
                scope.spawn(move || {
                    let mut session = citus.connect(0);
                    let mut number = client;
                    while !is_over.load(Ordering::Relaxed) {
                        number = (number + 7) % IDS;
                        // While a shard changes places a call may be refused: it has counted nothing then.
                        if session.run(&format!("SELECT counter_incr('m:{number}')")).is_ok() {
                            counted[number].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            for number in 0..4 {
                let id = format!("m:{}", (round * 4 + number) % IDS);
                let to = 3 - citus.node_of(&id);
                citus.move_shard_of(&id, to).expect("a shard moves");
            }
        });
        if round % 2 == 1 {
            let node = 1 + round / 2;
            citus.nodes[node].die(Death::Everything);
            citus.nodes[node].start_again();
            session = citus.connect(0);
        }
        for number in 0..IDS {
            let expected = before[number] + counted[number].load(Ordering::Relaxed);
            await_value(&mut session, &format!("SELECT counter_get('m:{number}')"), expected);
        }
    }
    await_value(&mut session, ON_THE_WAY, 0);
    for number in 0..IDS {
        await_value(&mut session, &format!("SELECT counter_visitors('m:{number}')"), 1);
        await_value(&mut session, &format!("SELECT counter_likes('m:{number}')"), 1);
        assert!(!session.value::<bool>(&format!("SELECT counter_incr_once('m:{number}', 100, 'first')")));
    }
    drop(session);
    citus.finish();
}
