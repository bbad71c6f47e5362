//! Boards under load, crashes, dumps, copies, and without a worker: once quiet they say what `rank() OVER` says.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{Address, Isolation, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const MEMBERS: u32 = 300;
const SOON: Duration = Duration::from_secs(60);

/// Random transactions around changes of members' counters; sessions that the server's end takes are made anew.
fn count(address: &Address, stop: &AtomicBool, committed: &AtomicU64, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let mut sql = String::from(Isolation::ALL.choose(&mut random).expect("a level").begin());
        sql += ["", "; SET LOCAL counter_ext.mode = 'buffered'"].choose(&mut random).expect("a mode");
        for _ in 0..random.random_range(1..=4) {
            let member = random.random_range(0..MEMBERS);
            let other = random.random_range(0..MEMBERS);
            let delta: i64 = match random.random_range(0..4) {
                0 => random.random_range(-1_000_000_000_000..1_000_000_000_000),
                _ => random.random_range(-20..60),
            };
            sql += &match random.random_range(0..40) {
                0 => format!("; SELECT counter_reset('game:{member}')"),
                1 => format!("; SELECT counter_set('game:{member}', {delta})"),
                2 => format!("; SELECT counter_drop('game:{member}')"),
                3 => format!("; SAVEPOINT s; SELECT counter_incr('game:{member}', {delta}); ROLLBACK TO s"),
                4 if member != other => format!("; SELECT counter_merge('game:{member}', 'game:{other}')"),
                5..=9 => format!("; SELECT counter_board_incr('game:', {member}, {delta})"),
                _ => format!("; SELECT counter_incr('game:{member}', {delta})"),
            };
        }
        sql += ["; COMMIT", "; COMMIT", "; COMMIT", "; ROLLBACK"].choose(&mut random).expect("an end");
        match connected.run(&sql) {
            Ok(()) => {
                committed.fetch_add(1, SeqCst);
            }
            Err(error) => {
                // Those that lock two counters in opposite order meet in a deadlock, as they may. There may be no board yet.
                assert_excused(&error, &["40P01", "42704", "22003"], &sql);
                session = None;
            }
        }
    }
}

/// What is shown at any moment is in order, and ranked as it is shown.
fn look(address: &Address, stop: &AtomicBool, looks: &AtomicU64) {
    let mut random = chance::generator(700);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let begin = Isolation::ALL.choose(&mut random).expect("a level").begin();
        let member = random.random_range(0..MEMBERS);
        let sql = format!(
            "{begin};
             DO $$ BEGIN
                 ASSERT (SELECT bool_and(rank = should) IS NOT false FROM (
                     SELECT t.rank, rank() OVER (ORDER BY score DESC) AS should FROM counter_board_top('game:', 40) t) AS r), 'top';
                 ASSERT (SELECT count(*) = count(DISTINCT member) FROM counter_board_top('game:', 1000)), 'a member twice';
                 ASSERT (SELECT bool_and(score <= before) IS NOT false FROM (
                     SELECT score, lag(score) OVER (ORDER BY n) AS before
                     FROM counter_board_around('game:', {member}, 3) WITH ORDINALITY AS a (rank, member, score, n)) AS r), 'around';
                 PERFORM counter_board_rank('game:', {member});
             END $$; COMMIT"
        );
        match connected.run(&sql) {
            Ok(()) => {
                looks.fetch_add(1, SeqCst);
            }
            Err(error) => {
                // Still to be recovered, or built.
                assert_excused(&error, &["55000"], &sql);
                session = None;
            }
        }
    }
}

fn settle(session: &mut Session) {
    watch::fold_everything(session);
    wait::until("boards are up to date", SOON, || {
        session.compact().expect("counter_compact");
        session.value(
            "SELECT (SELECT count(*) = 0 FROM counter_ext.board_changed)
                 AND NOT EXISTS (SELECT FROM counter_ext.board b FULL JOIN counter_ext.board_state s USING (prefix)
                                 WHERE s.state IS DISTINCT FROM 1 OR b.since IS NULL)",
        )
    });
}

/// Once nothing changes any more, the board says of all members what SQL says of their counters.
fn assert_ranked(session: &mut Session, board: &str, when: &str) {
    let differing: i64 = session.value(&format!(
        "WITH counted AS (SELECT rank() OVER (ORDER BY value DESC) AS rank, substr(id, {from}) AS member, value
             FROM counters WHERE id LIKE '{board}_%'),
         shown AS (SELECT rank, member, score FROM counter_board_top('{board}', 1000000))
         SELECT (SELECT count(*) FROM (SELECT * FROM counted EXCEPT SELECT * FROM shown) AS missing)
             + (SELECT count(*) FROM (SELECT * FROM shown EXCEPT SELECT * FROM counted) AS added)
             + (SELECT count(*) FROM counted WHERE rank IS DISTINCT FROM counter_board_rank('{board}', member))
             + (SELECT count(*) FROM counter_ext.board_member m FULL JOIN counted c USING (member)
                WHERE coalesce(m.board, '{board}') = '{board}' AND c.value IS DISTINCT FROM ~m.place)",
        from = board.len() + 1,
    ));
    assert_eq!(differing, 0, "{when}");
}

#[test]
fn ranks_are_right_after_load_and_crashes() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    watch::wait_until_buffered(&mut cluster.connect());
    let (stop, committed, looks) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let (address, stop, committed, looks) = (&address, &stop, &committed, &looks);
        let _ending = Ending(stop);
        for actor in 0..4 {
            scope.spawn(move || count(address, stop, committed, actor));
        }
        // Declared in the middle of the load.
        thread::sleep(Duration::from_millis(500));
        cluster.connect().must("SELECT counter_board('game:')");
        scope.spawn(move || look(address, stop, looks));
        thread::sleep(load_time(2.0));
        cluster.kill_one(SOON, watch::compactor);
        cluster.wait_until_it_answers();
        for death in [Death::Everything, Death::Immediate] {
            thread::sleep(load_time(1.0));
            cluster.die(death);
            cluster.start_again();
        }
        thread::sleep(load_time(1.0));
        wait::until_enough_was_done(|| committed.load(SeqCst) > 100 && looks.load(SeqCst) > 10);
    });
    println!("{} transactions, {} looks", committed.load(SeqCst), looks.load(SeqCst));
    let mut session = cluster.connect();
    settle(&mut session);
    assert!(session.value::<i64>("SELECT count(*) FROM counter_board_top('game:', 1000)") > 100);
    assert_ranked(&mut session, "game:", "once quiet");
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on", "deadlock"]);
}

/// A board of a size that is built in many pieces, while its members change.
#[test]
fn a_large_board_is_built_while_counting_goes_on() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "20ms"));
    let mut session = cluster.connect();
    session.must(
        "SELECT counter_set_many(array_agg('many:' || n), array_agg((n * 7919 % 20011)::bigint)) FROM generate_series(1, 30000) AS n;
         SELECT counter_board('many:')",
    );
    let mut counter = cluster.connect();
    let mut rounds = 0;
    wait::until("the board is built", SOON, || {
        rounds += 1;
        counter.must(&format!(
            "SELECT counter_incr('many:' || n * {rounds} % 30000, n) FROM generate_series(1, 300) AS n;
             SELECT counter_drop('many:' || {rounds} * 7)"
        ));
        session.compact().expect("counter_compact");
        session.value("SELECT state = 1 FROM counter_ext.board_state")
    });
    println!("built in {rounds} rounds");
    settle(&mut session);
    let differing: i64 = session.value(
        "SELECT count(*) FROM counter_ext.total t FULL JOIN counter_ext.board_member m ON t.id = 'many:' || m.member
         WHERE coalesce(t.id, 'many:') LIKE 'many:%' AND t.value IS DISTINCT FROM ~m.place",
    );
    assert_eq!(differing, 0);
    let wrong: i64 = session.value(
        "SELECT count(*) FROM (SELECT rank() OVER (ORDER BY value DESC) AS rank, substr(id, 6) AS member, value
             FROM counters WHERE id LIKE 'many:%') AS c
         WHERE hashtext(member) % 20 = 0 AND rank IS DISTINCT FROM counter_board_rank('many:', member)",
    );
    assert_eq!(wrong, 0);
    drop((session, counter));
    cluster.finish();
}

/// All pieces of a pass in a caller's transaction are one transaction: it folds, and leaves what may take long to the worker that is late.
#[test]
fn a_pass_beside_a_worker_that_stands_still_builds_no_board() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    let worker = watch::wait_for_compactor(&mut session);
    session.must("SELECT count(counter_incr('late:' || n, n)) FROM generate_series(1, 60000) AS n; SELECT counter_compact()");
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    session.must("SELECT counter_board('late:'); SELECT counter_incr('late:7', -100)");
    session.must("SELECT counter_compact()");
    let states: i64 = session.value("SELECT count(*) FROM counter_ext.board_state WHERE state = 1");
    let folded = session.get_exact("late:7").expect("counter_get_exact");
    signal(worker, Signal::CONT);
    assert_eq!((states, folded), (0, -93), "boards built, and the total folded");
    wait::until("the worker builds the board", SOON, || {
        session.must("SELECT counter_compact()");
        session.value("SELECT count(*) = 1 FROM counter_ext.board_state WHERE state = 1")
    });
}

/// A transaction that changes a total while an earlier board of that prefix is still being removed, and commits once the new one is built.
#[test]
fn a_board_that_is_declared_again_follows_who_began_before_it_was_built() {
    let settings = Settings::compacted_by_hand().with("max_prepared_transactions", "2");
    let cluster = Cluster::start(settings);
    let (mut session, mut holder, mut other) = (cluster.connect(), cluster.connect(), cluster.connect());
    session.must("SELECT counter_incr('again:' || n, n) FROM generate_series(1, 50) AS n; SELECT counter_compact(); SELECT counter_board('again:')");
    settle(&mut session);
    // Nobody can remove that row, so the old board stays for a while.
    holder.must("BEGIN; SELECT FROM counter_ext.board_member WHERE member = '6' FOR UPDATE");
    session
        .must("SELECT counter_unboard('again:'); SELECT counter_compact(); SELECT counter_board('again:')");
    assert_eq!(session.value::<i32>("SELECT state FROM counter_ext.board_state"), 2, "being removed");
    other.must("BEGIN; SELECT counter_drop('again:3')");
    session.must("BEGIN; SELECT counter_drop('again:5'); PREPARE TRANSACTION 'drops'");
    holder.must("COMMIT");
    wait::until("the new board is built", SOON, || {
        session.must("SELECT counter_compact()");
        session.value("SELECT count(*) = 1 FROM counter_ext.board_state WHERE state = 1")
    });
    other.must("COMMIT");
    session.must("COMMIT PREPARED 'drops'");
    settle(&mut session);
    assert_ranked(&mut session, "again:", "after both were committed");
    drop((session, holder, other));
    cluster.finish();
}

#[test]
fn boards_are_restored_and_stand_by() {
    let original = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "50ms"));
    let mut session = original.connect();
    session.must(
        "SELECT counter_incr('game:' || n % 500, n) FROM generate_series(1, 3000) AS n;
         SELECT counter_board('game:')",
    );
    settle(&mut session);
    session.must("SELECT counter_board_snapshot('game:'); SELECT counter_incr('game:1', 1000000)");

    let standby = original.standby();
    let mut reader = standby.connect();
    wait::until("the standby has the board", SOON, || {
        reader.value("SELECT member = '1' FROM counter_board_top('game:', 1)")
    });
    assert_eq!(reader.value::<i64>("SELECT counter_board_rank('game:', 1)"), 1);
    assert_eq!(reader.value::<i64>("SELECT count(*) FROM counter_board_around('game:', 1, 2)"), 3);
    // Slot rows show there before they are compacted here, with the worker stopped.
    let worker = watch::wait_for_compactor(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    session.must("SELECT counter_incr('game:2', 5000000)");
    wait::until("the standby has the slot row", SOON, || {
        reader.value("SELECT member = '2' FROM counter_board_top('game:', 1)")
    });
    assert_eq!(ranks(&mut reader, &["2", "1"]), [1, 2], "ranks have what the top has");
    signal(worker, Signal::CONT);
    drop(reader);
    standby.finish();

    settle(&mut session);
    for format in ["custom", "plain"] {
        let dump = original.file(format);
        original.tool("pg_dump", &["-F", &format[..1], "--file", &dump]);
        let copy = Cluster::start(Settings::restless().without_extension());
        match format {
            "custom" => copy.tool("pg_restore", &["--exit-on-error", "-j", "2", "-d", "postgres", &dump]),
            _ => copy.tool("psql", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-1", "-f", &dump]),
        };
        let mut restored = copy.connect();
        restored.must("SELECT counter_incr('game:3', 7)");
        settle(&mut restored);
        assert_ranked(&mut restored, "game:", "restored");
        let copies: i64 = restored.value("SELECT count(*) FROM counter_board_top('game:', 1000, now())");
        assert_eq!(copies, 500);
        drop(restored);
        copy.finish();
    }
    drop(session);
    original.finish();
}

/// Everything works from rows; counter_compact does the rest.
#[test]
fn without_preload_boards_are_compacted_by_hand() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    session.must(
        "SELECT counter_incr('game:' || n % 100, n) FROM generate_series(1, 1000) AS n;
         SELECT counter_board('game:');
         SELECT counter_incr('game:' || n % 120, n) FROM generate_series(1, 1000) AS n;
         SELECT counter_drop('game:5')",
    );
    let top: i64 = session.value("SELECT count(*) FROM counter_board_top('game:', 1000)");
    assert_eq!(top, 119);
    let same: bool = session.value(
        "SELECT bool_and(counter_get('game:' || member) = score) FROM counter_board_top('game:', 1000)",
    );
    assert!(same, "what is hot shows");
    session.must("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT counter_compact(); COMMIT");
    assert_ranked(&mut session, "game:", "compacted");
    // What somebody holds is removed once nobody does, and a board that is declared anew meanwhile is built after that.
    let mut holder = cluster.connect();
    holder.must("BEGIN; SELECT FROM counter_ext.board_member WHERE member = '6' FOR UPDATE");
    session.must("SELECT counter_unboard('game:')");
    (0..3).for_each(|_| session.must("SELECT counter_compact()"));
    let state = "SELECT coalesce((SELECT state FROM counter_ext.board_state WHERE prefix = 'game:'), -1)";
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.board_member"), 1, "what is held");
    assert_eq!(session.value::<i32>(state), 2, "something is left of it");
    session.must("SELECT counter_board('game:'); SELECT counter_compact()");
    assert_eq!(session.value::<i32>(state), 2, "something is left of the one before");
    holder.must("COMMIT");
    wait::until("it is built", SOON, || {
        session.must("SELECT counter_compact()");
        session.value::<i32>(state) == 1
    });
    assert_ranked(&mut session, "game:", "declared anew");
    session.must("SELECT counter_unboard('game:'); SELECT counter_compact()");
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.board_member"), 0);
    drop(session);
    cluster.finish();
}

/// What a board says, to the tenth place, and the ranks of the first members.
const SHOWN: &str = "SELECT coalesce((SELECT string_agg(rank || ':' || member || ':' || score, ' ' ORDER BY rank, member) \
        FROM counter_board_top('game:', 10)), '') \
    || ' | ' || (SELECT string_agg(coalesce(counter_board_rank('game:', n)::text, '-'), ' ' ORDER BY n) FROM generate_series(0, 24) AS n)";

/// A session that has changed something itself shows nothing that it remembers.
fn read_anew(session: &mut Session) -> String {
    session.must("BEGIN; SELECT counter_incr('elsewhere')");
    let shown = session.value(SHOWN);
    session.must("ROLLBACK");
    shown
}

/// A session shows what it remembers of a board without a look at its rows, and only while it would read the same anew.
#[test]
fn what_is_remembered_of_a_board_is_what_would_be_read() {
    for prepared in [0, 5] {
        let settings = Settings::compacted_by_hand().with("max_prepared_transactions", &prepared.to_string());
        let cluster = Cluster::start(settings);
        let mut writer = cluster.connect();
        watch::wait_until_buffered(&mut writer);
        writer.must("SELECT counter_incr('game:' || n % 20, n) FROM generate_series(1, 200) AS n; SELECT counter_board('game:')");
        settle(&mut writer);
        let (mut reader, mut anew) = (cluster.connect(), cluster.connect());
        let remembers = |reader: &mut Session| {
            reader.must(&format!("BEGIN; {SHOWN}"));
            let locks: i64 = reader.value(
                "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'counter_ext.board_member'::regclass",
            );
            reader.must("COMMIT");
            locks == 0
        };
        // Members 20 to 24 are not on the board: who is asked for those looks into rows.
        reader.must("SELECT counter_board_top('game:', 10), counter_board_rank('game:', 3)");
        reader.must("BEGIN; SELECT counter_board_top('game:', 10), counter_board_rank('game:', 3)");
        let locks: i64 = reader.value(
            "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'counter_ext.board_member'::regclass",
        );
        reader.must("COMMIT");
        assert_eq!(locks, 0, "nothing was remembered");
        assert!(!remembers(&mut reader), "a member that is not there is looked for");

        let mut steps = vec![
            "SELECT counter_incr('game:3', 1000)",
            "SELECT counter_incr('game:3', -990)",
            "SELECT counter_compact()",
            "BEGIN; SET LOCAL counter_ext.mode = 'buffered'; SELECT counter_incr('game:5', 700); COMMIT",
            "BEGIN; SET LOCAL counter_ext.mode = 'buffered'; SET LOCAL synchronous_commit = off; SELECT counter_incr('game:6', 800); COMMIT",
            "SELECT counter_compact()",
            "SELECT counter_set('game:7', 12345)",
            "SELECT counter_reset('game:7')",
            "SELECT counter_drop('game:8')",
            "SELECT counter_compact()",
            "SELECT counter_merge('game:9', 'game:21')",
            "SELECT counter_rename('game:10', 'game:22')",
            "BEGIN; SELECT counter_incr('game:11', 99999); ROLLBACK",
            "SELECT counter_incr_many(array_agg('game:' || n), array_agg(n::bigint)) FROM generate_series(0, 19) AS n",
            "SELECT count(counter_incr('game:' || n % 15, 1)) FROM generate_series(1, 70000) AS n",
            "SELECT count(counter_incr('other:' || n, 1)) FROM generate_series(1, 70000) AS n",
            "BEGIN; SELECT count(counter_incr('game:' || n, 1)) FROM generate_series(1, 70000) AS n; ROLLBACK",
            "SELECT counter_compact()",
            "UPDATE counter_ext.total SET value = value + 50000 WHERE id = 'game:12'",
            "SELECT counter_compact()",
            "DELETE FROM counter_ext.total WHERE id = 'game:13'",
            "SELECT counter_incr('game:14', 5); DELETE FROM counter_ext.slot WHERE id = 'game:14'",
            "SELECT counter_track('g', resolutions => '{minute}', keep => '{2 days}')",
            "SELECT counter_incr('game:15', 7000)",
            "SELECT counter_incr_at('game:15', now() - interval '1 hour', 7000)",
            "SELECT counter_board('ga')",
            "SELECT counter_incr('game:16', 8000)",
            "SELECT counter_unboard('ga'); SELECT counter_untrack('g')",
            "SELECT counter_incr('game:17', 9000)",
            "TRUNCATE counter_ext.slot",
            "SELECT counter_compact()",
        ];
        if prepared > 0 {
            steps.extend([
                "BEGIN; SELECT counter_incr('game:18', 60000); PREPARE TRANSACTION 'a'",
                "COMMIT PREPARED 'a'",
                "BEGIN; SELECT counter_incr('game:18', 60000); PREPARE TRANSACTION 'b'",
                "ROLLBACK PREPARED 'b'",
                "SELECT counter_compact()",
            ]);
        }
        steps.extend([
            "TRUNCATE counter_ext.total",
            "SELECT counter_incr('game:1', 5)",
            "SELECT counter_forget_all()",
            "SELECT counter_incr('game:2', 6)",
        ]);
        for step in steps {
            for statement in step.split("; ") {
                writer.must(statement);
            }
            let expected = read_anew(&mut anew);
            for again in ["at once", "remembered"] {
                assert_eq!(reader.value::<String>(SHOWN), expected, "{again}, after {step}");
            }
        }
        writer.must("SELECT counter_unboard('game:')");
        let gone = reader.run("SELECT counter_board_top('game:')").expect_err("no board");
        assert_excused(&gone, &["42704"], "unboarded");
        reader.must("SELECT 1");
        drop((writer, reader, anew));
        cluster.finish();
    }
}

fn ranks(session: &mut Session, members: &[&str]) -> Vec<i64> {
    let rank = |member| session.value(&format!("SELECT counter_board_rank('game:', '{member}')"));
    members.iter().map(rank).collect()
}

/// Where more is hot than a rank takes in, or a top, what a session is shown agrees with the top that it was shown before.
#[test]
fn ranks_agree_with_the_top_before_them_however_much_is_hot() {
    let cluster = Cluster::start(Settings::compacted_by_hand());
    let (mut session, mut writer) = (cluster.connect(), cluster.connect());
    watch::wait_until_buffered(&mut session);
    session.must(
        "SELECT counter_incr('game:' || n, n) FROM generate_series(1, 2000) AS n; SELECT counter_board('game:')",
    );
    settle(&mut session);
    for (mode, hot) in [("slotted", 150), ("slotted", 1500), ("buffered", 150)] {
        writer.must(&format!("SET counter_ext.mode = '{mode}'"));
        writer.must(&format!("SELECT counter_incr('game:' || n, 1) FROM generate_series(1, {hot}) AS n"));
        writer.must("SELECT counter_incr('game:1', 1000000)");
        for look in 0..2 {
            let first: String = session.value("SELECT member FROM counter_board_top('game:', 1)");
            assert_eq!(first, "1", "{mode} {hot} {look}");
            assert_eq!(ranks(&mut session, &["1", "2000"]), [1, 2], "{mode} {hot} {look}");
            let near: String = session.value(
                "SELECT string_agg(member || ':' || rank, ' ' ORDER BY rank) FROM counter_board_around('game:', '2000', 1) WHERE rank <= 2",
            );
            assert_eq!(near, "1:1 2000:2", "{mode} {hot} {look}");
        }
        // Somebody leaves it again.
        writer.must("SELECT counter_incr('game:1', -1000000)");
        assert_eq!(ranks(&mut session, &["2000"]), [1], "{mode} {hot}");
        settle(&mut session);
    }
    drop((session, writer));
    cluster.finish();
}

/// A fold takes amounts from memory one by one: who walks over them beside it misses none.
#[test]
fn a_top_beside_folds_never_falls_behind() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "10ms"));
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    session.must(
        "SELECT counter_incr('game:' || n) FROM generate_series(1, 900) AS n; SELECT counter_board('game:')",
    );
    settle(&mut session);
    let address = cluster.address();
    let (acknowledged, stop) = (AtomicU64::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
        let _ending = Ending(stop);
        scope.spawn(move || {
            let mut session = address.connect();
            session.must("SET counter_ext.mode = 'buffered'; SET synchronous_commit = off");
            while !stop.load(SeqCst) {
                session.must("SELECT counter_incr('game:' || n) FROM generate_series(1, 900) AS n");
                acknowledged.fetch_add(1, SeqCst);
            }
        });
        let mut looks = 0;
        wait::until("a hundred looks at a whole board that changes", SOON, || {
            let least = acknowledged.load(SeqCst) as i64;
            let shown: i64 = session.value("SELECT min(score) FROM counter_board_top('game:', 1000)");
            assert!(shown >= least, "{shown} after {least}, look {looks}");
            looks += 1;
            looks >= 100 && shown > 10
        });
    });
    drop(session);
    cluster.finish();
}

/// What others do meanwhile is in what a session shows as soon as they know that it is committed, and stays in it.
#[test]
fn a_remembered_board_never_falls_behind() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "20ms"));
    let address = cluster.address();
    cluster.connect().must(
        "SELECT counter_incr('game:' || n) FROM generate_series(1, 200) AS n; SELECT counter_board('game:')",
    );
    let acknowledged = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (address, stop, acknowledged) = (&address, &stop, &acknowledged);
        let _ending = Ending(stop);
        scope.spawn(move || {
            let mut session = address.connect();
            let mut random = chance::generator(1);
            while !stop.load(SeqCst) {
                let mode = ["slotted", "buffered"].choose(&mut random).expect("a mode");
                session
                    .must(&format!("SET counter_ext.mode = '{mode}'; SELECT counter_incr('game:7', 1000)"));
                acknowledged.fetch_add(1000, SeqCst);
                thread::sleep(Duration::from_millis(random.random_range(0..30)));
            }
        });
        let mut session = address.connect();
        let (mut shown, mut looks) = (0, 0);
        wait::until("a hundred looks at a board that changes", SOON, || {
            let least = (acknowledged.load(SeqCst) as i64).max(shown);
            shown = session
                .value("SELECT score FROM counter_board_top('game:', 1) WHERE member = '7' OR score = 1");
            assert!(shown >= least, "{shown} after {least}");
            if shown > 1 {
                assert_eq!(session.value::<i64>("SELECT counter_board_rank('game:', 7)"), 1);
                assert_eq!(session.value::<i64>("SELECT counter_board_rank('game:', 8)"), 2);
            }
            looks += 1;
            looks >= 100 && shown > 20_000
        });
        println!("{looks} looks at {shown}");
    });
    cluster.finish();
}
