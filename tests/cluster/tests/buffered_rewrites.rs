//! What stands in the journal's way for a while, a rewrite of its table or a fold that is not committed, neither loses nor refuses an
//! increment.

use counter_ext_cluster_tests::buffered::{BUFFERED, SOON, buffered, by_hand, crash, in_rows};
use counter_ext_cluster_tests::session::assert_sqlstate;
use counter_ext_cluster_tests::{Cluster, Session, wait};
use std::thread;
use std::time::Duration;

/// A server whose worker drains only every ten seconds, so that sessions have to.
fn slow_worker() -> Cluster {
    Cluster::start(by_hand().with("wal_writer_delay", "10s"))
}

/// Leaves an increment in memory alone.
fn incr_asynchronously(session: &mut Session, id: &str) {
    session.must("SET synchronous_commit = off");
    session.incr(id, 1).expect("increment");
    session.must("SET synchronous_commit = on");
}

#[test]
fn who_rewrites_the_journal_commits_what_he_counted_before() {
    let mut cluster = slow_worker();
    let mut session = buffered(&cluster, "postgres");
    session.must("CREATE TABLE witness (n int)");
    let mut expected = 0;
    for sql in [
        "VACUUM FULL counter_ext.journal_tail",
        "BEGIN; ALTER TABLE counter_ext.journal_tail SET UNLOGGED; ROLLBACK",
        "ALTER TABLE counter_ext.journal_tail SET UNLOGGED",
        "INSERT INTO witness VALUES (1)",
        "BEGIN; INSERT INTO witness VALUES (2); SELECT counter_incr('a', 1); COMMIT",
        "SELECT counter_incr('a', 1)",
        "ALTER TABLE counter_ext.journal_tail SET LOGGED",
        "BEGIN; SELECT counter_incr('a', 1); ALTER TABLE counter_ext.journal_tail SET UNLOGGED; COMMIT",
        "BEGIN; ALTER TABLE counter_ext.journal_tail SET LOGGED; SELECT counter_incr('a', 1); COMMIT",
        "INSERT INTO witness VALUES (3)",
        "VACUUM FULL",
    ] {
        incr_asynchronously(&mut session, "a");
        session.must(sql);
        expected += 1 + i64::from(sql.contains("counter_incr"));
        assert_eq!(session.get("a").expect("counter_get"), expected, "{sql}");
    }
    drop(session);
    let mut session = crash(&mut cluster);
    session.assert_count("a", expected);
    drop(session);
    cluster.finish();
}

/// Who commits a rewrite folds what it counted before, for which it waits as any writer does for who has locked the totals.
#[test]
fn who_rewrites_the_journal_locks_the_totals_that_it_writes_to() {
    let cluster = slow_worker();
    let mut session = buffered(&cluster, "postgres");
    let mut holder = cluster.connect();
    let rewrite = "ALTER TABLE counter_ext.journal_tail SET UNLOGGED";
    let records = "SELECT count(*) FROM counter_ext.journal_tail";
    let before: i64 = session.value(records);
    incr_asynchronously(&mut session, "a");
    // The worker was called for the first one, which came late after the last drain. It is not for the next one.
    wait::until("it is drained", SOON, || session.value::<i64>(records) > before);
    thread::sleep(Duration::from_millis(200));
    incr_asynchronously(&mut session, "a");
    holder.must("BEGIN; LOCK TABLE counter_ext.total IN EXCLUSIVE MODE");
    session.must("SET lock_timeout = '300ms'");
    assert_sqlstate(rewrite, session.run(rewrite), "55P03");
    assert_eq!(in_rows(&mut session, "a"), 0, "nothing was written past the lock");
    holder.must("COMMIT");
    session.must(rewrite);
    session.assert_count("a", 2);
    cluster.finish();
}

/// A fold by hand, where there is no worker, keeps others from the journal until its transaction ends: they count in rows meanwhile.
#[test]
fn a_fold_that_is_not_committed_refuses_and_loses_nothing() {
    let mut cluster = Cluster::start(by_hand());
    let mut session = buffered(&cluster, "postgres");
    session.incr("a", 1).expect("increment");
    // Without a worker from here on, recovered, and in buffered mode again.
    cluster.restart_with(&by_hand().with("max_worker_processes", "0"));
    let mut other = cluster.address().connect_with(BUFFERED);
    other.compact().expect("compact");
    for end in ["ROLLBACK", "COMMIT"] {
        let before = other.get("a").expect("counter_get");
        other.incr("a", 1).expect("increment");
        assert!(in_rows(&mut other, "a") <= before, "it is buffered");
        incr_asynchronously(&mut other, "a");
        let mut holder = cluster.connect();
        holder.must("BEGIN");
        holder.compact().expect("compact");
        thread::sleep(Duration::from_millis(50));
        let in_rows_before = in_rows(&mut other, "a");
        incr_asynchronously(&mut other, "a");
        for _ in 0..5 {
            other.incr("a", 1).expect("an increment while a fold is not committed");
        }
        assert_eq!(in_rows(&mut other, "a"), in_rows_before + 6, "they count in rows");
        assert_eq!(other.get("a").expect("counter_get"), before + 8);
        assert_eq!(holder.get("a").expect("counter_get"), before + 8);
        holder.must(end);
        assert_eq!(other.get("a").expect("counter_get"), before + 8, "{end}");
        other.incr("a", 1).expect("increment");
        assert!(in_rows(&mut other, "a") < before + 9, "buffered again after {end}");
    }
    // Whoever dies in the middle lets go too.
    let mut holder = cluster.connect();
    holder.must("BEGIN");
    holder.compact().expect("compact");
    other.incr("a", 1).expect("increment");
    let expected = other.get("a").expect("counter_get");
    drop((holder, other));
    let mut session = crash_without_worker(&mut cluster);
    assert_eq!(session.get("a").expect("counter_get"), expected);
    session.compact().expect("compact");
    session.assert_count("a", expected);
    drop(session);
    cluster.finish_allowing(&["too many background workers"]);
}

fn crash_without_worker(cluster: &mut Cluster) -> Session {
    cluster.die(counter_ext_cluster_tests::cluster::Death::Everything);
    cluster.start_again();
    cluster.connect()
}
