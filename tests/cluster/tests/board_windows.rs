//! Boards by windows under load, crashes, pauses of the worker over the end of a window, dumps and copies: a score is what the total has changed by
//! in the window.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{Address, Isolation, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use rand::Rng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const MEMBERS: u32 = 60;
const SOON: Duration = Duration::from_secs(60);

/// What a client was told of its transactions. Each that it committed has added 1 to a member of `game:` of its own.
#[derive(Default)]
struct Told {
    committed: AtomicI64,
    /// The connection broke before there was an answer to COMMIT.
    in_doubt: AtomicI64,
}

/// Random transactions: members of `game:` are counted, set, dropped and moved, all of it now; those of `late:` are counted at any time too.
fn count(address: &Address, stop: &AtomicBool, (transactions, told): (&AtomicU64, &Told), actor: u64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let mut sql = String::from(Isolation::ALL.choose(&mut random).expect("a level").begin());
        sql += ["", "; SET LOCAL counter_ext.mode = 'buffered'"].choose(&mut random).expect("a mode");
        for _ in 0..random.random_range(1..=4) {
            let (member, other) = (random.random_range(0..MEMBERS), random.random_range(0..MEMBERS));
            let delta: i64 = random.random_range(-20..60);
            let age = random.random_range(0..10_000);
            sql += &match random.random_range(0..40) {
                0 => format!("; SELECT counter_reset('game:{member}')"),
                1 => format!("; SELECT counter_set('game:{member}', {delta})"),
                2 => format!("; SELECT counter_drop('game:{member}')"),
                3 => format!("; SAVEPOINT s; SELECT counter_incr('game:{member}', {delta}); ROLLBACK TO s"),
                4 if member != other => format!("; SELECT counter_merge('game:{member}', 'game:{other}')"),
                5..=9 => format!("; SELECT counter_board_incr('game:', {member}, {delta})"),
                10..=14 => format!("; SELECT counter_incr('late:{member}', {delta})"),
                15..=19 => {
                    format!(
                        "; SELECT counter_incr_at('late:{member}', now() - interval '{age} minutes', {delta})"
                    )
                }
                _ => format!("; SELECT counter_incr('game:{member}', {delta})"),
            };
        }
        sql += &format!("; SELECT counter_board_incr('game:', 'told-{actor}', 1)");
        let commits = random.random_range(0..4) > 0;
        sql += if commits { "; COMMIT" } else { "; ROLLBACK" };
        match connected.run(&sql) {
            Ok(()) => {
                transactions.fetch_add(1, SeqCst);
                told.committed.fetch_add(i64::from(commits), SeqCst);
            }
            Err(error) => {
                // Those that lock two counters in opposite order meet in a deadlock, as they may.
                assert_excused(&error, &["40P01"], &sql);
                let is_refused = error.code().is_some_and(|code| code.code() == "40P01");
                told.in_doubt.fetch_add(i64::from(commits && !is_refused), SeqCst);
                session = None;
            }
        }
    }
}

/// What is shown at any moment is in order, and ranked as it is shown.
fn look(address: &Address, stop: &AtomicBool, looks: &AtomicU64) {
    let mut random = chance::generator(701);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let begin = Isolation::ALL.choose(&mut random).expect("a level").begin();
        let member = random.random_range(0..MEMBERS);
        let sql = format!(
            "{begin};
             DO $$ BEGIN
                 ASSERT (SELECT bool_and(rank = should) IS NOT false FROM (
                     SELECT t.rank, rank() OVER (ORDER BY score DESC) AS should FROM counter_board_top('game:', 40, by => 'month') t) AS r), 'top';
                 ASSERT (SELECT count(*) = count(DISTINCT member) FROM counter_board_top('game:', 1000, by => 'month')), 'a member twice';
                 ASSERT (SELECT bool_and(score <= before) IS NOT false FROM (
                     SELECT score, lag(score) OVER (ORDER BY n) AS before
                     FROM counter_board_around('game:', {member}, 3, 'month') WITH ORDINALITY AS a (rank, member, score, n)) AS r), 'around';
                 PERFORM counter_board_rank('game:', {member}, 'month');
             END $$; COMMIT"
        );
        match connected.run(&sql) {
            Ok(()) => {
                looks.fetch_add(1, SeqCst);
            }
            Err(error) => {
                // Still to be recovered.
                assert_excused(&error, &["55000"], &sql);
                session = None;
            }
        }
    }
}

fn settle(session: &mut Session) {
    if session.value::<Option<String>>("SELECT journal_state FROM counter_stats").is_some() {
        watch::fold_everything(session);
    }
    wait::until("boards are up to date", SOON, || {
        session.compact().expect("counter_compact");
        session.value(
            "SELECT (SELECT count(*) = 0 FROM counter_ext.board_changed)
                 AND NOT EXISTS (SELECT FROM counter_ext.board_state WHERE state <> 1)
                 AND (SELECT count(*) FROM counter_ext.board_state) = (SELECT count(*) FROM counter_ext.board_window)",
        )
    });
}

/// A month's scores of members that have been counted only since the board began are their totals; who has come to nothing may be there or not.
/// Boards show what is buffered, as `counter_get` and `counter_list` do; the view `counters`, which reads rows alone, does not yet.
fn assert_totals(session: &mut Session, when: &str) {
    let differing: Option<String> = session.value(
        "SELECT string_agg(format('%s: %s on the board, total %s, %s of it in rows', member, score, value,
                 counter_get_exact('game:' || member)), ', ') FROM (
             SELECT member, score, value FROM counter_board_top('game:', 100000, by => 'month') AS t
                 FULL JOIN (SELECT substr(id, 6) AS member, value FROM counter_list('game:', 'game:', 100000)) AS c USING (member)
             WHERE coalesce(score, 0) <> coalesce(value, 0)) AS d",
    );
    assert_eq!(differing, None, "{when}: totals");
    let ranks: i64 = session.value(
        "SELECT count(*) FROM counter_board_top('game:', 100000, by => 'month') AS t
         WHERE rank <> counter_board_rank('game:', member, 'month')
             OR (SELECT a.rank FROM counter_board_around('game:', t.member, 0, 'month') AS a) <> rank",
    );
    assert_eq!(ranks, 0, "{when}: ranks");
}

/// What clients were told is committed is there, once.
fn assert_as_told(session: &mut Session, told: &[Told], when: &str) {
    for (actor, told) in told.iter().enumerate() {
        let total: i64 = session.value(&format!("SELECT counter_get('game:told-{actor}')"));
        let (committed, in_doubt) = (told.committed.load(SeqCst), told.in_doubt.load(SeqCst));
        assert!(
            (committed..=committed + in_doubt).contains(&total),
            "{when}: {actor} counted {total}, was told of {committed}, and {in_doubt} are in doubt"
        );
    }
}

/// A rank goes by what is compacted while more slot rows are there than it looks at.
fn wait_until_ranks_are_exact(session: &mut Session) {
    wait::until("few slot rows are left", SOON, || {
        session.value("SELECT count(*) < 50 FROM counter_ext.slot WHERE id LIKE 'game:%'")
    });
}

/// The same while amounts of each kind are certain to be there that compaction has not taken in.
fn assert_totals_while_nothing_is_folded(session: &mut Session) {
    let worker = watch::wait_for_compactor(session);
    watch::wait_until_compactor_pauses(session);
    signal(worker, Signal::STOP);
    session.must("SELECT counter_incr('game:' || n, -n - 1) FROM generate_series(0, 9) AS n");
    // It is the mode at COMMIT that decides.
    session.must(
        "BEGIN; SET LOCAL counter_ext.mode = buffered; SELECT counter_incr('game:' || n, n + 1) FROM generate_series(5, 14) AS n;
         SELECT counter_incr('game:fresh', 3); COMMIT",
    );
    let fresh = "SELECT counter_get('game:fresh'), (SELECT count(*) FROM counters WHERE id = 'game:fresh')";
    assert_eq!(session.pairs::<i64, i64>(fresh), [(3, 0)], "buffered");
    assert_totals(session, "not folded");
    session.must("SELECT counter_drop('game:5'), counter_reset('game:6'), counter_merge('game:7', 'game:8')");
    assert_totals(session, "dropped, not folded");
    signal(worker, Signal::CONT);
}

/// What is made of scores says what they say; windows of hours say what a series does.
fn assert_windows(session: &mut Session, when: &str) {
    let differing: i64 = session.value(
        "SELECT count(*) FROM (SELECT board, member, sum(value) AS score FROM counter_ext.board_score GROUP BY 1, 2) AS s
             FULL JOIN (SELECT board, member, ~place AS score FROM counter_ext.board_member) AS m USING (board, member)
         WHERE s.score IS DISTINCT FROM m.score",
    );
    assert_eq!(differing, 0, "{when}: members");
    let differing: Option<String> = session.value(
        "WITH series AS (SELECT date_trunc('hour', at) AS at, substr(id, 6) AS member, sum(value) AS score
                         FROM counter_ext.bucket WHERE id LIKE 'late:%' GROUP BY 1, 2),
             shown AS (SELECT at, t.* FROM (SELECT DISTINCT at FROM series) AS h, counter_board_top('late:', 100000, at, 'hour') AS t)
         SELECT string_agg(format('%s %s: %s in the window, %s in the series', at, member, w.score, s.score), ', ')
         FROM shown AS w FULL JOIN series AS s USING (at, member) WHERE coalesce(w.score, 0) <> coalesce(s.score, 0)",
    );
    assert_eq!(differing, None, "{when}: hours");
    let ranks: i64 = session.value(
        "SELECT count(*) FROM (SELECT DISTINCT date_trunc('hour', at) AS at FROM counter_ext.bucket WHERE id LIKE 'late:%') AS h,
             LATERAL (SELECT rank, rank() OVER (ORDER BY score DESC) AS should FROM counter_board_top('late:', 100000, at, 'hour')) AS t
         WHERE rank <> should",
    );
    assert_eq!(ranks, 0, "{when}: ranks of hours");
}

#[test]
fn windows_are_right_after_load_crashes_and_pauses() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    for sql in [
        "SELECT counter_board('game:', by => 'month')",
        "SELECT counter_board('late:', by => 'hour', keep => '30 days')",
        "SELECT counter_track('late:', '{minute}', '{30 days}')",
    ] {
        session.must(sql);
    }
    drop(session);
    let (stop, transactions, looks) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let told: [Told; 4] = Default::default();
    thread::scope(|scope| {
        let (address, stop, transactions, looks) = (&address, &stop, &transactions, &looks);
        let _ending = Ending(stop);
        for (actor, told) in (0..).zip(&told) {
            scope.spawn(move || count(address, stop, (transactions, told), actor));
        }
        scope.spawn(move || look(address, stop, looks));
        thread::sleep(load_time(1.5));
        // Compaction pauses, and dies.
        let worker = watch::wait_for_compactor(&mut cluster.connect());
        signal(worker, Signal::STOP);
        thread::sleep(load_time(1.0));
        signal(worker, Signal::CONT);
        thread::sleep(load_time(0.5));
        cluster.kill_one(SOON, |_| Some(worker));
        cluster.wait_until_it_answers();
        for death in [Death::Everything, Death::Immediate] {
            thread::sleep(load_time(1.0));
            cluster.die(death);
            cluster.start_again();
        }
        thread::sleep(load_time(1.0));
        wait::until_enough_was_done(|| transactions.load(SeqCst) > 100 && looks.load(SeqCst) > 10);
    });
    println!("{} transactions, {} looks", transactions.load(SeqCst), looks.load(SeqCst));
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    wait_until_ranks_are_exact(&mut session);
    assert_as_told(&mut session, &told, "quiet");
    assert_totals(&mut session, "quiet");
    settle(&mut session);
    assert_as_told(&mut session, &told, "folded");
    assert_totals(&mut session, "folded");
    assert_windows(&mut session, "folded");
    assert_totals_while_nothing_is_folded(&mut session);
    settle(&mut session);
    assert_totals(&mut session, "folded again");
    assert_windows(&mut session, "folded again");
    drop(session);
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on", "deadlock"]);
}

/// The board ends by itself: what was counted before is in the finished window, also what is folded later, and the next one begins with nothing.
#[test]
fn a_window_ends_while_the_worker_stands_still() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "100ms"));
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    // A zone whose next hour begins with the next minute, or the one after that.
    let (zone, seconds): (String, i64) = session.pairs(
        "SELECT format('<roll>-00:%s', to_char(60 - extract(minute FROM at), 'FM00')), extract(epoch FROM at - clock_timestamp())::bigint
         FROM (SELECT date_trunc('minute', clock_timestamp() + interval '70 seconds', 'UTC') AS at) AS next",
    )
    .remove(0);
    let zone = zone.replace("-00:60", "-01:00");
    println!("zone {zone}, {seconds} s");
    session.must(&format!("SET counter_ext.time_zone = '{zone}'"));
    session.must("SELECT counter_board('roll:', by => 'hour')");
    session.must("SELECT counter_incr('roll:folded', 3)");
    settle(&mut session);
    let worker = watch::wait_for_compactor(&mut session);
    watch::wait_until_compactor_pauses(&mut session);
    signal(worker, Signal::STOP);
    session.must("RESET counter_ext.mode");
    session.must("SELECT counter_incr('roll:anna', 5), counter_incr('roll:folded', 1)");
    // It is the mode at COMMIT that decides.
    session.must(
        "BEGIN; SET LOCAL counter_ext.mode = buffered; SELECT counter_incr('roll:buffered', 2); COMMIT",
    );
    let in_rows = "SELECT counter_get_exact('roll:anna'), counter_get_exact('roll:buffered')";
    assert_eq!(session.pairs::<i64, i64>(in_rows), [(5, 0)]);
    let began = "SELECT extract(epoch FROM date_trunc('hour', clock_timestamp(), (SELECT zone FROM counter_ext.board_window)))::bigint";
    let before: i64 = session.value(began);
    let top = "SELECT string_agg(rank || ' ' || member || ' ' || score, ', ' ORDER BY rank, member) FROM counter_board_top('roll:'";
    let shown = |session: &mut Session| -> Option<String> { session.value(&format!("{top})")) };
    let of_before = |session: &mut Session| -> Option<String> {
        session.value(&format!("{top}, 10, to_timestamp({before}))"))
    };
    let all = Some("1 anna 5, 2 folded 4, 3 buffered 2".to_owned());
    assert_eq!(shown(&mut session), all);
    wait::until("the next window begins", Duration::from_secs(140), || {
        thread::sleep(Duration::from_millis(200));
        session.value::<i64>(began) > before
    });
    assert_eq!((shown(&mut session), of_before(&mut session)), (None, all.clone()), "nothing is folded");
    assert_eq!(session.value::<Option<i64>>("SELECT counter_board_rank('roll:', 'anna')"), None);
    session.must("SELECT counter_incr('roll:ben', 7), counter_incr('roll:anna', 1)");
    let now = Some("1 ben 7, 2 anna 1".to_owned());
    assert_eq!((shown(&mut session), of_before(&mut session)), (now.clone(), all.clone()));
    signal(worker, Signal::CONT);
    settle(&mut session);
    assert_eq!((shown(&mut session), of_before(&mut session)), (now, all), "folded");
    assert_eq!(session.value::<i64>("SELECT counter_board_rank('roll:', 'anna')"), 2);
    // What comes late goes there still.
    session.must(&format!("SELECT counter_incr_at('roll:ben', to_timestamp({before}), 9)"));
    let later = Some("1 ben 9, 2 anna 5, 3 folded 4, 4 buffered 2".to_owned());
    assert_eq!(of_before(&mut session), later);
    settle(&mut session);
    assert_eq!(of_before(&mut session), later);
    drop(session);
    cluster.finish();
}

#[test]
fn windows_are_restored_and_stand_by() {
    let original = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "50ms"));
    let mut session = original.connect();
    for sql in [
        "SELECT counter_board('game:', by => 'month')",
        "SELECT counter_board('late:', by => 'hour', keep => '30 days')",
        "SELECT counter_track('late:', '{minute}', '{30 days}')",
    ] {
        session.must(sql);
    }
    session.must(
        "SELECT counter_incr('game:' || n % 100, n), counter_incr_at('late:' || n % 9, now() - n * interval '10 minutes', n)
         FROM generate_series(1, 600) AS n",
    );
    settle(&mut session);
    session.must(
        "SELECT counter_incr('game:1', 1000000), counter_drop('game:2'), counter_merge('game:3', 'game:4')",
    );
    assert_totals(&mut session, "here");
    let standby = original.standby();
    let mut reader = standby.connect();
    wait::until("the standby has the board", SOON, || {
        reader.value("SELECT member = '1' FROM counter_board_top('game:', 1)")
    });
    assert_eq!(reader.value::<i64>("SELECT counter_board_rank('game:', 1)"), 1);
    assert_eq!(reader.value::<i64>("SELECT count(*) FROM counter_board_around('game:', 1, 2)"), 3);
    drop(reader);
    standby.finish();
    for format in ["custom", "plain"] {
        let dump = original.file(format);
        original.tool("pg_dump", &["-F", &format[..1], "--file", &dump]);
        let copy = Cluster::start(Settings::restless().without_extension());
        match format {
            "custom" => copy.tool("pg_restore", &["--exit-on-error", "-j", "2", "-d", "postgres", &dump]),
            _ => copy.tool("psql", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-1", "-f", &dump]),
        };
        let mut restored = copy.connect();
        restored.must("SELECT counter_incr('game:3', 7), counter_incr('late:3', 1)");
        settle(&mut restored);
        assert_totals(&mut restored, format);
        assert_windows(&mut restored, format);
        drop(restored);
        copy.finish();
    }
    drop(session);
    original.finish();
}

/// Everything works from rows; counter_compact does the rest.
#[test]
fn without_preload_windows_are_compacted_by_hand() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    session.must("SELECT counter_board('game:', by => 'month'), counter_board('late:', by => 'hour')");
    session.must("SELECT counter_track('late:', '{minute}', '{30 days}')");
    session.must(
        "SELECT counter_incr('game:' || n % 100, n), counter_incr_at('late:' || n % 7, now() - n * interval '10 minutes', n)
             FROM generate_series(1, 1000) AS n;
         SELECT counter_drop('game:5')",
    );
    assert_totals(&mut session, "counted");
    session.must("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT counter_compact(); COMMIT");
    settle(&mut session);
    assert_totals(&mut session, "compacted");
    assert_windows(&mut session, "compacted");
    // What somebody holds is removed once nobody does.
    let mut holder = cluster.connect();
    holder.must("BEGIN; SELECT FROM counter_ext.board_member WHERE member = '6' FOR UPDATE");
    holder.must("SELECT FROM counter_ext.board_score WHERE board ~ 'game' AND member = '8' FOR UPDATE");
    session.must("SELECT counter_unboard('game:', 'month'), counter_unboard('late:', 'hour')");
    wait::until("all is removed but what is held", SOON, || {
        session.must("SELECT counter_compact()");
        session.value("SELECT count(*) = 0 FROM counter_ext.board_member WHERE member <> '6'")
    });
    (0..3).for_each(|_| session.must("SELECT counter_compact()"));
    let left: i64 = session.value("SELECT count(*) FROM counter_ext.board_state");
    assert_eq!(left, 2, "boards of which something is left");
    holder.must("COMMIT");
    wait::until("all is removed", SOON, || {
        session.must("SELECT counter_compact()");
        session.value("SELECT (SELECT count(*) FROM counter_ext.board_member) + (SELECT count(*) FROM counter_ext.board_score) = 0")
    });
    drop(session);
    cluster.finish();
}
