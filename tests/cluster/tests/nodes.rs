//! Several nodes count the same counters: whatever links are cut, whoever crashes, all come to what was counted, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use counter_ext_cluster_tests::chance::generator;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::nodes::{self, ARRIVES, Nodes};
use counter_ext_cluster_tests::session::{Session, describe};
use counter_ext_cluster_tests::{Cluster, assert_sqlstate, traps, wait};
use rand::Rng;

const NOT_IN_STATE: &str = "55000";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Changes in a schedule.
const CHANGES: usize = 40;
/// Likes: more than a server with the settings of these tests has room for locks.
const MANY: i64 = 20_000;
/// A node is killed in each schedule that this divides.
const KILLED_IN: usize = 5;

/// How many schedules: few where nobody asks for more.
fn schedules() -> usize {
    std::env::var("COUNTER_EXT_SCHEDULES").map_or(3, |text| {
        text.parse().unwrap_or_else(|_| panic!("COUNTER_EXT_SCHEDULES is not a number: {text:?}"))
    })
}

/// What a schedule has done, and so what all nodes have to come to.
#[derive(Default)]
struct Done {
    counted: BTreeMap<String, i64>,
    visitors: BTreeMap<String, i64>,
    /// Pairs of which nobody has taken the like back.
    likes: BTreeSet<(String, String)>,
    cut: Vec<(usize, usize)>,
}

fn change(nodes: &Nodes, schedule: usize, chance: &mut impl Rng, done: &mut Done) {
    let at = chance.random_range(0..nodes.count());
    let id = format!("s{schedule}:{}", chance.random_range(0..4));
    let mut session = nodes.connect(at);
    if chance.random_bool(0.5) {
        session.must("SET counter_ext.mode = 'buffered'");
    }
    match chance.random_range(0..100) {
        0..45 => {
            let delta = chance.random_range(-3..20);
            session.incr(&id, delta).expect("counter_incr");
            *done.counted.entry(id).or_default() += delta;
        }
        45..60 => {
            // In a transaction that is rolled back in part.
            let delta = chance.random_range(1..5);
            session.must(&format!(
                "BEGIN; SELECT counter_incr('{id}', {delta}); SAVEPOINT s; SELECT counter_incr('{id}', 1000); ROLLBACK TO s; COMMIT"
            ));
            *done.counted.entry(id).or_default() += delta;
        }
        60..68 => {
            let taken = session.reset(&id).expect("counter_reset");
            *done.counted.entry(id).or_default() -= taken;
        }
        68..78 => {
            let visitor = done.visitors.values().sum::<i64>() as i32;
            session.visit(&id, visitor).expect("counter_visit");
            *done.visitors.entry(id).or_default() += 1;
        }
        78..86 => {
            let actor = format!("actor {}", chance.random_range(0..6));
            session.must(&format!("SELECT counter_like('{id}', '{actor}')"));
            done.likes.insert((id, actor));
        }
        86..94 => {
            let from = (at + chance.random_range(1..nodes.count())) % nodes.count();
            if !done.cut.contains(&(at, from)) {
                nodes.cut(at, from);
                done.cut.push((at, from));
            }
        }
        94..97 => {
            if let Some((at, from)) = done.cut.pop() {
                nodes.heal(at, from);
            }
        }
        _ => nodes.end_senders(at),
    }
}

#[test]
fn nodes_converge_through_random_schedules() {
    let mut chance = generator(0);
    let mut nodes = Nodes::start(3);
    nodes.set_up_all();
    for schedule in 0..schedules() {
        let mut done = Done::default();
        for number in 0..CHANGES {
            change(&nodes, schedule, &mut chance, &mut done);
            if number == CHANGES / 2 && schedule % KILLED_IN == 0 {
                let victim = chance.random_range(0..nodes.count());
                let death = if chance.random_bool(0.5) { Death::Everything } else { Death::Postmaster };
                nodes.clusters[victim].die(death);
                nodes.clusters[victim].start_again();
            }
        }
        done.cut.drain(..).for_each(|(at, from)| nodes.heal(at, from));
        for (id, expected) in &done.counted {
            nodes.await_everywhere(&format!("SELECT counter_get('{id}')"), *expected);
        }
        for (id, expected) in &done.visitors {
            nodes.await_everywhere(&format!("SELECT counter_visitors('{id}')"), *expected);
        }
        let items: Vec<_> = done.likes.iter().map(|(item, _)| item.clone()).collect();
        for item in &items {
            let pairs = items.iter().filter(|other| *other == item).count() as i64;
            nodes.await_everywhere(&format!("SELECT counter_likes('{item}')"), pairs);
            nodes.await_everywhere(
                &format!("SELECT count(*) FROM counter_ext.liked WHERE item = '{item}'"),
                pairs,
            );
        }
    }
    for at in 0..nodes.count() {
        let mut session = nodes.connect(at);
        session.must("SELECT counter_compact()");
        let differ: i64 = session.value("SELECT count(*) FROM counters WHERE counter_get_exact(id) <> value");
        assert_eq!(differ, 0, "node {}: memory and rows differ", at + 1);
        // Nobody writes what is another node's.
        assert_eq!(
            session.value::<i64>("SELECT count(*) FROM counter_ext.total WHERE node NOT IN (1, 2, 3)"),
            0
        );
        assert_eq!(
            session.value::<i64>("SELECT count(*) FROM counter_verify(repair => false)"),
            0,
            "likes and their counts"
        );
    }
    nodes.finish();
}

/// Amounts are taken on several nodes at once, with links cut: by each node its own, by a harvester those of all.
#[test]
fn nobody_takes_the_same_amount_twice() {
    let nodes = Nodes::start(3);
    nodes.set_up_all();
    let mut sessions: Vec<_> = (0..3).map(|at| nodes.connect(at)).collect();
    let count = |id: &str| {
        for at in 0..3 {
            nodes.connect(at).incr(id, 10 * (at as i64 + 1)).expect("counter_incr");
        }
        nodes.await_everywhere(&format!("SELECT counter_get('{id}')"), 60);
    };

    // Each takes what it has counted, whatever it knows of the others.
    count("own");
    (0..3).for_each(|at| nodes.cut(at, (at + 1) % 3));
    let taken: Vec<i64> =
        sessions.iter_mut().map(|session| session.reset("own").expect("counter_reset")).collect();
    assert_eq!(taken, [10, 20, 30]);
    assert_eq!(sessions[0].reset("own").expect("counter_reset"), 0, "taken once");
    (0..3).for_each(|at| nodes.heal(at, (at + 1) % 3));
    nodes.await_everywhere("SELECT counter_get('own')", 0);

    // To set is to set one's own.
    count("set");
    (0..3).for_each(|at| nodes.cut(at, (at + 1) % 3));
    sessions[0].set("set", 100).expect("counter_set");
    sessions[1].set("set", 7).expect("counter_set");
    sessions[2].must("SELECT counter_set_many('{set}', '{1}')");
    (0..3).for_each(|at| nodes.heal(at, (at + 1) % 3));
    nodes.await_everywhere("SELECT counter_get('set')", 108);

    // To take those of all, one has to be named: by every node.
    count("all");
    let everywhere = "SELECT counter_reset('all', everywhere => true)";
    assert_sqlstate("nobody is named", sessions[0].run(everywhere), NOT_IN_STATE);
    assert_sqlstate("nobody", sessions[0].run("SELECT counter_node_harvester(NULL)"), "22004");
    assert_sqlstate("no node", sessions[0].run("SELECT counter_node_harvester(9)"), NOT_IN_STATE);
    sessions[0].must("SELECT counter_node_harvester(1)");
    assert_sqlstate("only one has named it", sessions[0].run(everywhere), NOT_IN_STATE);
    for session in &mut sessions[1..] {
        session.must("SELECT counter_node_harvester(1)");
        assert_sqlstate("another harvests", session.run("SELECT counter_reset('all')"), NOT_IN_STATE);
        assert_sqlstate("another harvests", session.run("SELECT counter_set('all', 5)"), NOT_IN_STATE);
        assert_sqlstate("another harvests", session.run(everywhere), NOT_IN_STATE);
    }
    nodes.await_on(&[0], "SELECT count(*) FROM counter_ext.member WHERE harvester = 1", 3);
    assert_sqlstate(
        "own amounts of the harvester",
        sessions[0].run("SELECT counter_reset('all')"),
        NOT_IN_STATE,
    );
    nodes.await_on(&[0], "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'", 0);
    // While tables are copied they are not all of one moment: one may lack what another has.
    sessions[0].must("BEGIN; UPDATE pg_subscription_rel SET srsubstate = 's' WHERE srrelid = 'counter_ext.member'::regclass");
    assert_sqlstate("a node is being copied", sessions[0].run(everywhere), NOT_IN_STATE);
    sessions[0].must("ROLLBACK");
    assert_eq!(sessions[0].value::<i64>(everywhere), 60);
    assert_eq!(sessions[0].value::<i64>(everywhere), 0);
    nodes.await_everywhere("SELECT counter_get('all')", 0);
    sessions[1].incr("all", 5).expect("counter_incr");
    nodes.await_on(&[0], "SELECT counter_get('all')", 5);
    sessions[0].must("SELECT counter_set('all', 50, everywhere => true)");
    nodes.await_everywhere("SELECT counter_get('all')", 50);
    // Another one takes over: what the first took is reckoned with.
    sessions.iter_mut().for_each(|session| session.must("SELECT counter_node_harvester(2)"));
    assert_sqlstate("it was the harvester", sessions[0].run(everywhere), NOT_IN_STATE);
    nodes.await_on(&[1], "SELECT count(*) FROM counter_ext.member WHERE harvester = 2", 3);
    nodes.await_on(&[1], "SELECT counter_get('all')", 50);
    assert_eq!(sessions[1].value::<i64>(everywhere), 50);
    nodes.await_everywhere("SELECT counter_get('all')", 0);
    drop(sessions);
    nodes.finish();
}

/// A drop reaches all nodes, and leaves no rows behind.
#[test]
fn a_drop_reaches_all_nodes() {
    let nodes = Nodes::start(2);
    let (mut one, mut two) = (nodes.connect(0), nodes.connect(1));
    // More likes than there is room for locks go along with a first copy.
    two.must(&format!("SELECT count(counter_like('many', n::text)) FROM generate_series(1, {MANY}) AS n"));
    nodes.set_up_all();
    nodes.await_on(&[0], "SELECT counter_likes('many')", MANY);
    nodes.await_on(&[0], "SELECT count(*) FROM counter_ext.liked WHERE item = 'many'", MANY);
    one.must("DELETE FROM counter_ext.liked; DELETE FROM counter_ext.like_of_node");
    two.must("DELETE FROM counter_ext.liked; DELETE FROM counter_ext.like_of_node");
    for session in [&mut one, &mut two] {
        session.must("SELECT counter_incr('d:a', 3), counter_incr('d:b', 4), counter_visit('d:a', 'anna'); SELECT counter_compact()");
    }
    nodes.await_everywhere("SELECT counter_get('d:a')", 6);
    nodes.await_everywhere("SELECT count(*) FROM counter_ext.visitors WHERE id = 'd:a'", 4);
    // Rolled back it reaches nobody.
    one.must("BEGIN; SELECT counter_drop('d:a'); ROLLBACK");
    one.must("SELECT counter_drop('d:a')");
    nodes.cut(1, 0);
    one.must("SELECT counter_drop_prefix('d:')");
    nodes.await_on(&[1], "SELECT counter_get('d:b')", 8);
    // Who is asked is asked until it has heard.
    (0..3).for_each(|_| one.must("SELECT counter_compact()"));
    assert!(one.value::<i64>("SELECT count(*) FROM counter_ext.drop_request") > 0, "a request is forgotten");
    nodes.heal(1, 0);
    wait::until("what all nodes have heard is forgotten", ARRIVES, || {
        one.must("SELECT counter_compact()");
        one.value::<i64>("SELECT count(*) FROM counter_ext.drop_request") == 0
    });
    let rows = "SELECT (SELECT count(*) FROM counter_ext.total WHERE id LIKE 'd:%') + (SELECT count(*) FROM counter_ext.slot WHERE id LIKE 'd:%')
        + (SELECT count(*) FROM counter_ext.visitors) + (SELECT count(*) FROM counter_ext.visit)
        + (SELECT count(*) FROM counter_ext.drop_request) + (SELECT count(*) FROM counter_ext.drop_wanted)";
    nodes.await_everywhere(rows, 0);
    nodes.await_everywhere("SELECT counter_get('d:a') + counter_get('d:b') + counter_visitors('d:a')", 0);
    // What is counted after it is a counter of its own.
    two.must("SELECT counter_incr('d:a', 2)");
    nodes.await_everywhere("SELECT counter_get('d:a')", 2);
    // What would take other nodes' rows along is refused.
    for (what, statement) in [
        ("counter_forget_all", "SELECT counter_forget_all()"),
        ("TRUNCATE", "TRUNCATE counter_ext.total"),
        ("counter_rename", "SELECT counter_rename('d:a', 'd:c')"),
        ("counter_merge", "SELECT counter_merge('d:a', 'd:c')"),
        ("another node's row", "DELETE FROM counter_ext.total WHERE node = 2"),
        ("another node's row", "UPDATE counter_ext.total SET value = 0 WHERE node = 2"),
    ] {
        assert_sqlstate(what, one.run(statement), NOT_IN_STATE);
    }
    nodes.await_everywhere("SELECT counter_get('d:a')", 2);
    drop((one, two));
    nodes.finish();
}

#[test]
fn a_number_that_another_has_is_refused() {
    let nodes = Nodes::start(2);
    let twin = Cluster::start(nodes::settings(1).with("counter_ext.node", "2"));
    let (first, second) = (nodes::parameters(&nodes.clusters[0]), nodes::parameters(&nodes.clusters[1]));
    let mut session = nodes.connect(0);
    // What is asked for makes no sense, or comes from somebody who may not.
    for (what, call, sqlstate) in [
        ("not its number", "CALL counter_node_setup(3)".to_owned(), NOT_IN_STATE),
        ("no number", "CALL counter_node_setup(0)".to_owned(), "22023"),
        ("NULL", "CALL counter_node_setup(NULL)".to_owned(), "22004"),
        ("a NULL among peers", "CALL counter_node_setup(1, '{NULL}')".to_owned(), "22004"),
        ("itself", format!("CALL counter_node_setup(1, ARRAY['{first}'])"), NOT_IN_STATE),
        (
            "nobody there",
            "CALL counter_node_setup(1, ARRAY['host=/nowhere'], patience => '0')".to_owned(),
            NOT_IN_STATE,
        ),
        (
            "a peer that is no node",
            format!("CALL counter_node_setup(1, ARRAY['{second}'], patience => '0')"),
            NOT_IN_STATE,
        ),
        ("in a transaction", "BEGIN; CALL counter_node_setup(1)".to_owned(), "2D000"),
    ] {
        assert_sqlstate(what, session.run(&call), sqlstate);
        let _ = session.run("ROLLBACK");
    }
    // What may be a password is in no message.
    for parameters in [
        "host=/nowhere password=hunter2 words",
        "host=/nowhere password=hunter2",
        "postgresql://me:hunter2@[::1/app",
    ] {
        let call = format!("CALL counter_node_setup(1, ARRAY['{parameters}'], patience => '0')");
        let error = session.run(&call).expect_err("nobody is there");
        assert!(!describe(&error).contains("hunter2"), "{}", describe(&error));
    }
    session.must("CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA counter_ext TO app; SET ROLE app");
    // Rights to write rows are rights to count, not to have others drop, take or like.
    for (table, row) in [
        ("member", "(5, '0')"),
        ("drop_request", "(1, 'a', 1)"),
        ("drop_wanted", "('a', 1)"),
        ("moving", "(1, 2, '{a}', '{5}')"),
        ("like_of_node", "('a', 'anna', 2, true, 1)"),
    ] {
        let insert = format!("INSERT INTO counter_ext.{table} VALUES {row}");
        assert_sqlstate(&insert, session.run(&insert), INSUFFICIENT_PRIVILEGE);
    }
    for call in
        ["CALL counter_node_setup(1)", "CALL counter_node_leave()", "SELECT counter_node_harvester(1)"]
    {
        assert_sqlstate(call, session.run(call), INSUFFICIENT_PRIVILEGE);
    }
    session.must("RESET ROLE");
    let things =
        "SELECT (SELECT count(*) FROM pg_subscription) + (SELECT count(*) FROM pg_replication_slots)";
    assert_eq!(session.value::<i64>(things), 0, "something was made by what was refused");

    nodes.set_up_all();
    session.must(&nodes.set_up_call(0, &[0, 1]).replace("patience => '55 s'", "dry_run => true"));
    assert_eq!(session.value::<i64>(things), 2, "a dry run has made something");
    // A third server with the number of the second.
    let mut of_twin = twin.connect();
    let peers = format!("ARRAY['{}', '{second}']", nodes::parameters(&nodes.clusters[0]));
    assert_sqlstate(
        "a peer of the same number",
        of_twin.run(&format!("CALL counter_node_setup(2, {peers})")),
        NOT_IN_STATE,
    );
    // And one that goes past counter_node_setup: nothing of ours is overwritten, and apply says why it stops.
    of_twin.must("SELECT counter_incr('same', 1000); SELECT counter_compact()");
    of_twin.must("CREATE PUBLICATION by_hand FOR TABLE counter_ext.total");
    of_twin.must("SELECT pg_create_logical_replication_slot('by_hand', 'pgoutput')");
    let mut on_second = nodes.connect(1);
    on_second.must("SELECT counter_incr('same', 7); SELECT counter_compact()");
    on_second.must(&format!(
        "CREATE SUBSCRIPTION by_hand CONNECTION '{}' PUBLICATION by_hand WITH (create_slot = false, slot_name = 'by_hand', copy_data = false)",
        nodes::parameters(&twin)
    ));
    of_twin.must("SELECT counter_incr('same', 1); SELECT counter_compact()");
    wait::until("apply stops", ARRIVES, || nodes.apply_errors(1) > 0);
    on_second.assert_count("same", 7);
    assert_eq!(
        on_second.value::<i64>("SELECT value FROM counter_ext.total WHERE id = 'same' AND node = 2"),
        7
    );
    // As soon as the other one has another number, what it counts from then on goes on; so a server without one has to take one.
    on_second.must("ALTER SUBSCRIPTION by_hand DISABLE; ALTER SUBSCRIPTION by_hand SET (slot_name = NONE); DROP SUBSCRIPTION by_hand");
    drop((session, of_twin, on_second));
    let mut log = nodes.clusters;
    log.pop().expect("the second").finish_expecting(&["and this one is node 2 too"]);
    log.pop().expect("the first").finish();
    twin.finish();
}

#[test]
fn nodes_join_leave_and_come_back() {
    let nodes = Nodes::start(4);
    // What was counted before: by a server without a number, and on both sides.
    let mut one = nodes.connect(0);
    one.must("ALTER SYSTEM SET counter_ext.node = 0");
    one.must("SELECT pg_reload_conf()");
    wait::until("the number is gone", ARRIVES, || {
        nodes.connect(0).value::<String>("SHOW counter_ext.node") == "0"
    });
    drop(one);
    let mut one = nodes.connect(0);
    one.must("SELECT counter_incr('j', 5), counter_visit('j', 'anna'), counter_like('j', 'anna'); SELECT counter_compact()");
    one.must("ALTER SYSTEM RESET counter_ext.node");
    one.must("SELECT pg_reload_conf()");
    let mut two = nodes.connect(1);
    two.must("SELECT counter_incr('j', 70), counter_visit('j', 'bert'), counter_like('j', 'anna'), counter_like('j', 'bert'); SELECT counter_compact()");
    // As in a server that was made as a copy of the first: its counters of likes have that one's number.
    two.must("UPDATE counter_ext.total SET node = 1 WHERE ascii(id) = 1");
    wait::until("the number is back", ARRIVES, || {
        nodes.connect(0).value::<String>("SHOW counter_ext.node") == "1"
    });
    nodes.set_up(&[0, 1]);
    let check = |which: &[usize], counted: i64| {
        nodes.await_on(which, "SELECT counter_get('j')", counted);
        nodes.await_on(which, "SELECT counter_get_exact('j')", counted);
        nodes.await_on(which, "SELECT counter_visitors('j')", 2);
        nodes.await_on(which, "SELECT counter_likes('j')", 2);
    };
    // Ready means that it is there, not that it comes.
    assert_eq!(nodes.connect(0).get("j").expect("counter_get"), 75);
    check(&[0, 1], 75);
    nodes.await_on(&[0, 1], "SELECT count(*) FROM counter_ext.total WHERE node = 0", 0);

    // A third one joins, with counts of its own, while the others go on.
    nodes.connect(2).must("SELECT counter_incr('j', 900)");
    nodes.set_up(&[0, 1, 2]);
    check(&[0, 1, 2], 975);
    two.must("SELECT counter_unlike('j', 'bert')");
    nodes.await_on(&[0, 1, 2], "SELECT counter_likes('j')", 1);
    two.must("SELECT counter_like('j', 'bert')");
    nodes.await_on(&[0, 1, 2], "SELECT counter_likes('j')", 2);

    // It leaves: what it has counted stays, and so do its last counts.
    nodes.connect(2).must(
        "SELECT counter_incr('j', 25), counter_like('j:left', 'carl'), counter_visit('j:left', 'carl')",
    );
    nodes.connect(2).must("CALL counter_node_leave(patience => '55 s')");
    for at in 0..2 {
        nodes.connect(at).must("CALL counter_node_leave(3)");
    }
    nodes.connect(2).must("CALL counter_node_leave(patience => '55 s')");
    check(&[0, 1], 1000);
    let slots = "SELECT count(*) FROM pg_replication_slots";
    assert_eq!(nodes.connect(2).value::<i64>(slots), 0, "slots are left where a node has left");
    nodes.await_on(&[0, 1], slots, 1);
    two.must("SELECT counter_incr('j', 1)");
    nodes.await_on(&[0, 1], "SELECT counter_get('j')", 1001);
    // What it has counted is the others' now: it takes none of that away.
    assert_sqlstate("it has left", nodes.connect(2).run("SELECT counter_reset('j')"), NOT_IN_STATE);
    // One that joins later has it too, from the lowest of those that are there.
    nodes.set_up(&[0, 1, 3]);
    check(&[0, 1, 3], 1001);
    nodes.await_on(&[0, 1, 3], "SELECT counter_likes('j:left') + counter_visitors('j:left')", 2);
    // The one that left has counted by itself meanwhile, and comes back.
    nodes.connect(2).must("SELECT counter_incr('j', 4)");
    nodes.set_up(&[0, 1, 2, 3]);
    check(&[0, 1, 2, 3], 1005);
    nodes.connect(2).must("SELECT counter_incr('gone', 1)");
    nodes.await_everywhere("SELECT counter_get('gone')", 1);

    // One was away for so long that the others have not kept what it missed: it copies anew.
    nodes.cut(2, 0);
    one.must("SELECT counter_incr('j', 5), counter_incr('j:new', 1), counter_drop('gone')");
    let slot: String =
        one.value("SELECT slot_name::text FROM pg_replication_slots WHERE slot_name ~ '^counter_node_3_'");
    wait::until("the slot is free", ARRIVES, || {
        one.run(&format!("SELECT pg_drop_replication_slot('{slot}')")).is_ok()
    });
    one.must("SELECT counter_incr('j', 5)");
    // Also where the call that makes the slot anew fails after that.
    nodes.heal(2, 0);
    let twice = nodes.set_up_call(2, &[0, 0]);
    assert_sqlstate("a peer twice", nodes.connect(2).run(&twice), NOT_IN_STATE);
    nodes.set_up(&[0, 1, 2, 3]);
    check(&[0, 1, 2, 3], 1015);
    nodes.await_everywhere("SELECT counter_get('j:new')", 1);
    // What was dropped meanwhile is dropped there as well.
    nodes.await_everywhere("SELECT counter_get('gone')", 0);

    // A drop takes what one that is gone for good has counted along, also before this node has stopped to take from it.
    nodes.connect(2).must("CALL counter_node_leave(patience => '55 s')");
    one.must("CALL counter_node_leave(3)");
    two.must("SELECT counter_drop('j')");
    nodes.await_on(&[0, 1, 3], "SELECT count(*) FROM counter_ext.total WHERE id = 'j'", 0);
    nodes.await_on(&[0, 1, 3], "SELECT counter_get('j')", 0);
    drop((one, two));
    nodes.finish();
}

/// What of the other families goes from node to node, and what stays.
#[test]
fn families_go_along_or_stay() {
    let nodes = Nodes::start(2);
    nodes.set_up_all();
    let (mut one, mut two) = (nodes.connect(0), nodes.connect(1));
    // The caller's search_path decides nothing of what makes a node, nor of what runs where a row arrives.
    traps::set(&mut one, "evil");
    one.must("ALTER DATABASE postgres SET search_path = evil, pg_catalog, public; SET search_path = evil, pg_catalog, public");
    let call = nodes.set_up_call(0, &[0, 1]);
    one.must(&call.replace("::text[]", "::pg_catalog.text[]").replace("CALL ", "CALL public."));
    one.must(
        &call
            .replace("::text[]", "::pg_catalog.text[]")
            .replace("CALL ", "CALL public.")
            .replace("patience => '55 s'", "dry_run => true"),
    );
    one.must("SELECT public.counter_node_harvester(1)");
    one.must("SET search_path = public");
    nodes.end_senders(1);
    // Nor does a lock that anybody may take.
    let mut holder = nodes.connect(0);
    holder.must("SELECT pg_catalog.pg_advisory_lock(pg_catalog.hashtextextended('trapped', pg_catalog.hashtextextended('anna', 0)))");
    two.must("SELECT counter_like('trapped', 'anna'), counter_incr('trapped', 1), counter_visit('trapped', 'anna'), counter_drop('dropped')");
    nodes.await_on(&[1], "SELECT public.counter_likes('trapped')", 1);
    wait::until("a like arrives", ARRIVES, || {
        one.value::<i64>("SELECT public.counter_likes('trapped')") == 1
    });
    drop(holder);
    one.must("ALTER DATABASE postgres RESET search_path");
    // A word comes after all that have arrived, whatever the snapshot that its transaction has.
    one.must("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM counter_ext.liked");
    for call in ["counter_like", "counter_unlike", "counter_like"] {
        two.must(&format!("SELECT {call}('late', 'anna')"));
    }
    nodes.await_on(
        &[0],
        "SELECT count(*) FROM counter_ext.like_of_node WHERE item = 'late' AND version = 3",
        1,
    );
    one.must("SELECT counter_unlike('late', 'anna'); COMMIT");
    nodes.await_everywhere(
        "SELECT count(*) FROM counter_ext.like_of_node WHERE item = 'late' AND version = 4",
        1,
    );
    nodes.await_everywhere("SELECT counter_likes('late')", 0);
    nodes.await_everywhere("SELECT count(*) FROM counter_ext.liked WHERE item = 'late'", 0);
    assert_eq!(traps::ran(&mut one, "evil"), 0, "a trap ran");
    for session in [&mut one, &mut two] {
        session.must("SELECT counter_board('b:'), counter_track('t:'), counter_audit('a:', true)");
    }
    // Tokens and offsets are each node's own: what is retried goes to the same node.
    assert!(one.value::<bool>("SELECT counter_incr_once('once', 1, 'token')"));
    assert!(!one.value::<bool>("SELECT counter_incr_once('once', 1, 'token')"));
    assert!(one.value::<bool>("SELECT counter_apply('source', 5, '{once}', '{10}')"));
    assert!(!one.value::<bool>("SELECT counter_apply('source', 5, '{once}', '{10}')"));
    nodes.await_everywhere("SELECT counter_get('once')", 11);
    assert!(two.value::<bool>("SELECT counter_incr_once('once', 1, 'token')"));
    nodes.await_everywhere("SELECT counter_get('once')", 12);
    // Boards rank what all nodes have counted.
    one.must("SELECT counter_incr('b:anna', 5), counter_incr('b:bert', 6)");
    two.must("SELECT counter_incr('b:anna', 5)");
    nodes.await_everywhere("SELECT counter_board_rank('b:', 'anna')", 1);
    // Who watches is told of what arrives.
    one.must("LISTEN totals; SELECT counter_watch('l:', 'totals', '1 s')");
    two.must("SELECT counter_incr('l:x', 3)");
    let mut heard = Vec::new();
    wait::until("a total that has arrived is sent", ARRIVES, || {
        heard.extend(one.notifications(Duration::from_millis(200)).expect("notifications"));
        heard.iter().any(|(_, payload)| payload.contains("l:x"))
    });
    // Limits are each node's own.
    for session in [&mut one, &mut two] {
        assert!(session.value::<bool>("SELECT counter_allow('limited', 1, '1 hour')"));
        assert!(!session.value::<bool>("SELECT counter_allow('limited', 1, '1 hour')"));
    }
    // Series and logs are of what was counted here.
    one.must("SELECT counter_incr('t:x', 3), counter_incr('a:x', 3)");
    two.must("SELECT counter_incr('t:x', 4), counter_incr('a:x', 4)");
    nodes.await_everywhere("SELECT counter_get('t:x') + counter_get('a:x')", 14);
    for (session, expected) in [(&mut one, 3i64), (&mut two, 4)] {
        session.must("SELECT counter_compact()");
        let query = "SELECT counter_total('t:x', now() - interval '1 day', now() + interval '1 day')";
        assert_eq!(session.value::<i64>(query), expected, "the series of one node");
        assert_eq!(session.value::<Option<bool>>("SELECT ok FROM counter_audit_verify('a:x')"), Some(true));
    }
    drop((one, two));
    nodes.finish();
}

/// What is booked of a node is what it has counted: neither a drop, nor a node that is copied anew, books what others have counted.
#[test]
fn what_others_have_counted_is_not_booked() {
    let nodes = Nodes::start(2);
    nodes.set_up_all();
    nodes.set_up_all();
    let (mut one, mut two) = (nodes.connect(0), nodes.connect(1));
    one.must("SELECT counter_track('t:'), counter_board('t:', by => 'month')");
    one.must("SELECT counter_incr('t:x', 3)");
    two.must("SELECT counter_incr('t:x', 40)");
    nodes.await_everywhere("SELECT counter_get('t:x')", 43);
    one.must("SELECT counter_compact()");
    let booked = |session: &mut Session| -> (i64, i64) {
        session
            .pairs(
                "SELECT counter_total('t:x', now() - interval '1 day', now() + interval '1 day'),
                     coalesce((SELECT score FROM counter_board_top('t:', by => 'month')), 0)",
            )
            .remove(0)
    };
    assert_eq!(booked(&mut one), (3, 3), "counted");
    one.must("BEGIN; SELECT counter_drop('t:x')");
    assert_eq!(booked(&mut one), (0, 0), "dropped");
    one.must("ROLLBACK");
    two.must("CALL counter_node_leave(patience => '55 s')");
    one.must("CALL counter_node_leave(2)");
    two.must("CALL counter_node_leave(patience => '55 s')");
    nodes.set_up(&[0, 1]);
    nodes.await_everywhere("SELECT counter_get('t:x')", 43);
    one.must("SELECT counter_compact()");
    assert_eq!(booked(&mut one), (3, 3), "copied anew");
    drop((one, two));
    nodes.finish();
}
