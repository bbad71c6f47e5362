//! Retries where counters are spread over the nodes of a Citus cluster, and shards move: each counts once. The parts that need no Citus are tested
//! on any server; the others say so where they were skipped.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use counter_ext_cluster_tests::citus::{
    ARRIVES, ARRIVING, Citus, ON_THE_WAY, await_value, id_in, pretend, pretend_nodes,
};
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, wait};

const NOT_IN_STATE: &str = "55000";

/// Whether a token was seen cannot be told before every other node has said that it has nothing left: until then it is refused, also after a crash,
/// and again when the shard has been away.
#[test]
fn a_token_waits_for_what_is_on_its_way() {
    let mut cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    let lower = id_in(&mut session, true);
    pretend(&mut session, 1, 2);
    pretend_nodes(&mut session, &[1, 2]);
    let mut number = 0;
    let mut once = |session: &mut Session| {
        number += 1;
        session.run(&format!("SELECT counter_incr_once('{lower}', 1, 'token {number}')"))
    };
    let arrives = |session: &mut Session, once: &mut dyn FnMut(&mut Session) -> Result<(), _>| {
        wait::until("everything arrives", ARRIVES, || {
            session.compact().expect("a pass");
            match once(session) {
                Ok(()) => true,
                refused => {
                    assert_sqlstate("a token", refused, NOT_IN_STATE);
                    false
                }
            }
        });
    };
    let stays_refused = |session: &mut Session, once: &mut dyn FnMut(&mut Session) -> Result<(), _>| {
        for _ in 0..15 {
            session.compact().expect("a pass");
            thread::sleep(Duration::from_millis(200));
            assert_sqlstate("a token that may be elsewhere", once(session), NOT_IN_STATE);
        }
    };
    stays_refused(&mut session, &mut once);
    session.must(&format!("SELECT counter_incr('{lower}')"));
    session.must("UPDATE answer SET vacated = '[101, 7]'");
    arrives(&mut session, &mut once);
    // What comes afterwards is older than what may have been done here since.
    let late = format!(
        "SELECT counter_ext.take_rows('likes', '[{{\"item\": \"{lower}\", \"actor\": \"a\", \"at\": \"2026-01-01\"}}]')"
    );
    assert_eq!(session.value::<i64>(&late), 1);
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.liked"), 0);
    // It is not asked again.
    session.must("UPDATE answer SET vacated = '[]'");
    drop(session);
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    once(&mut session).expect("what has arrived stays so");
    // The shard goes away and comes back.
    pretend(&mut session, 2, 1);
    pretend(&mut session, 1, 2);
    stays_refused(&mut session, &mut once);
    // A node that cannot be asked may have anything.
    session.must(
        "UPDATE pg_dist_node SET isactive = false WHERE groupid = 2; UPDATE answer SET vacated = '[101]'",
    );
    stays_refused(&mut session, &mut once);
    session.must("UPDATE pg_dist_node SET isactive = true");
    arrives(&mut session, &mut once);
    drop(session);
    cluster.finish_allowing(&["could not be moved", "is not known yet"]);
}

/// A node says that it has nothing left of a shard only once those have ended who may have used a token by where the shard was before.
#[test]
fn a_node_has_left_a_shard_once_its_writers_have_ended() {
    let mut cluster = Cluster::start(Settings::compacted_by_hand().with("max_prepared_transactions", "10"));
    let (mut session, mut writer) = (cluster.connect(), cluster.connect());
    let upper = id_in(&mut session, false);
    session.must(&format!(
        "SELECT counter_incr_once('{upper}', 1, 'early'); SELECT counter_apply('{upper}', 10, '{{a, b}}')"
    ));
    writer.must(&format!("BEGIN; SELECT counter_incr_once('{upper}', 1, 'open')"));
    session.must(&format!(
        "BEGIN; SELECT counter_incr_once('{upper}', 1, 'prepared'); PREPARE TRANSACTION 'late'"
    ));
    pretend(&mut session, 1, 2);
    pretend_nodes(&mut session, &[1, 2]);
    // As long as whoever moves shards holds his locks, others may not have been told, whatever is visible.
    let mut mover = cluster.connect();
    mover.must("BEGIN; LOCK TABLE pg_catalog.pg_dist_placement IN ROW EXCLUSIVE MODE");
    for _ in 0..3 {
        session.compact().expect("a pass");
        assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.shard_vacated"), 0);
    }
    mover.must("ROLLBACK");
    drop(mover);
    let left = "SELECT counter_ext.shards_vacated(2)::text";
    let left_rows = "SELECT count(*) FROM counter_ext.token";
    let not_yet = |session: &mut Session| {
        for _ in 0..10 {
            session.compact().expect("a pass");
            thread::sleep(Duration::from_millis(200));
            assert_eq!(session.value::<String>(left), "[]");
        }
    };
    not_yet(&mut session);
    // Who may go by the old map finds what was done, and does nothing of it again.
    let again = writer.run(&format!(
        "DO $$ BEGIN IF counter_incr_once('{upper}', 1, 'early') THEN RAISE 'twice' USING ERRCODE = 'XX000'; END IF; END $$"
    ));
    if again.is_err() {
        assert_sqlstate("a token that was seen", again, NOT_IN_STATE);
    }
    drop(writer.run("COMMIT"));
    not_yet(&mut session);
    // A prepared transaction outlives the server.
    drop((session, writer));
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    not_yet(&mut session);
    assert!(session.value::<i64>(left_rows) > 0);
    session.must("COMMIT PREPARED 'late'");
    wait::until("the shard is left", ARRIVES, || {
        session.compact().expect("a pass");
        session.value::<String>(left) == "[102]"
    });
    assert_eq!(session.value::<i64>(left_rows), 0);
    // Rows for somebody else are not taken in.
    assert_sqlstate(
        "rows of another node's ids",
        session.run(&format!(
            "SELECT counter_ext.take_rows('tokens', '[{{\"token\": \"x\", \"id\": \"{upper}\", \"at\": \"2026-01-01\", \"delta\": 1}}]')"
        )),
        NOT_IN_STATE,
    );
    drop(session);
    cluster.finish_allowing(&["could not be moved", "is not known yet"]);
}

/// Whoever answers another node may need what the worker holds: it holds nothing that others wait for while it asks.
#[test]
fn the_worker_holds_no_counters_while_it_waits_for_an_answer() {
    const DELAY: Duration = Duration::from_secs(40);
    let cluster = Cluster::start(Settings::restless());
    let (mut session, mut other) = (cluster.connect(), cluster.connect());
    let incr = format!("SELECT counter_incr('{}')", id_in(&mut session, true));
    session.must(&incr);
    pretend(&mut session, 1, 2);
    pretend_nodes(&mut session, &[1, 2]);
    session.must(&format!("UPDATE answer SET delay_s = {}; SELECT counter_ext.want_pass()", DELAY.as_secs()));
    wait::until("the worker waits for an answer", ARRIVES, || {
        session.value::<bool>(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'counter_ext%' AND wait_event = 'PgSleep')",
        )
    });
    other.must(
        "BEGIN; LOCK TABLE counter_ext.total, counter_ext.slot IN ACCESS EXCLUSIVE MODE NOWAIT; COMMIT",
    );
    other.must(&incr);
    other.compact().expect("a pass that the worker is late with");
    // A server that is stopped does not wait for the answer either.
    drop((session, other));
    let stopped = Instant::now();
    cluster.finish_allowing(&[
        "could not be moved",
        "is not known yet",
        "exited with exit code 1",
        "terminating",
    ]);
    assert!(stopped.elapsed() < DELAY / 2, "stopping took {:?}", stopped.elapsed());
}

/// Calls with a token, and batches of a source, are sent again and again while their shards move and a node is killed: each counts once.
#[test]
fn retries_follow_their_shards() {
    const IDS: usize = 12;
    const CLIENTS: usize = 3;
    let Some(mut citus) = Citus::start(2) else { return };
    let mut session = citus.connect(0);
    session.must("SELECT counter_citus_setup()");
    await_value(&mut session, ARRIVING, 0);
    drop(session);
    let counted: Vec<AtomicI64> = (0..IDS).map(|_| AtomicI64::new(0)).collect();
    let batches: Vec<AtomicI64> = (0..CLIENTS).map(|_| AtomicI64::new(0)).collect();
    for round in 0..3 {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _ending = Ending(&is_over);
            for client in 0..CLIENTS {
                let (citus, counted, batches, is_over) = (&citus, &counted, &batches, &is_over);
                scope.spawn(move || {
                    let mut session = citus.connect(0);
                    let until_done = |session: &mut Session, call: &str| {
                        wait::until("a call comes through", ARRIVES, || {
                            let is_done = session.run(call).is_ok();
                            if !is_done {
                                thread::sleep(Duration::from_millis(50));
                            }
                            is_done
                        });
                    };
                    let mut number = client;
                    let mut token = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        number = (number + 5) % IDS;
                        token += 1;
                        let once = format!("SELECT counter_incr_once('r:{number}', 1, 't {round} {client} {token}')");
                        until_done(&mut session, &once);
                        counted[number].fetch_add(1, Ordering::Relaxed);
                        // As one who has not got the answer.
                        thread::sleep(Duration::from_millis(20));
                        until_done(&mut session, &once);
                        let batch = batches[client].fetch_add(1, Ordering::Relaxed) + 1;
                        let apply = format!("SELECT counter_apply('source {client}', {batch}, {batch}, ARRAY['applied {client}'], NULL)");
                        until_done(&mut session, &apply);
                        until_done(&mut session, &apply);
                    }
                });
            }
            for number in 0..4 {
                let id = if number == 3 {
                    format!("source {round}")
                } else {
                    format!("r:{}", (round * 3 + number) % IDS)
                };
                let to = 3 - citus.node_of(&id);
                citus.move_shard_of(&id, to).expect("a shard moves");
            }
        });
        if round == 1 {
            citus.nodes[1].die(Death::Everything);
            citus.nodes[1].start_again();
        }
    }
    let mut session = citus.connect(0);
    await_value(&mut session, ON_THE_WAY, 0);
    for (number, counted) in counted.iter().enumerate() {
        await_value(
            &mut session,
            &format!("SELECT counter_get('r:{number}')"),
            counted.load(Ordering::Relaxed),
        );
    }
    for (client, batches) in batches.iter().enumerate() {
        await_value(
            &mut session,
            &format!("SELECT counter_get('applied {client}')"),
            batches.load(Ordering::Relaxed),
        );
    }
    drop(session);
    citus.finish();
}
