//! Workers get out of the way of what an administrator does to databases and to the extension.

use counter_ext_cluster_tests::blocking::while_blocked;
use counter_ext_cluster_tests::session::assert_sqlstate;
use counter_ext_cluster_tests::wait::in_time;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use std::thread;
use std::time::Duration;

/// Whoever waits longer than that for a lock, which would be a worker's, fails.
const NO_WAIT: &str = "SET lock_timeout = '3s'";
/// As the server's log says it where a command has waited for more than three seconds.
const WAITED: &str = "for the database's workers, and waits on";
/// What PostgreSQL itself takes to copy a database, or to run the extension's script, is another matter: that is as slow as the machine.
const IN_TIME: Duration = Duration::from_secs(30);
/// Often enough to meet a worker in the middle of something.
const ROUNDS: usize = 4;

fn at_once(session: &mut Session, sql: &str) {
    in_time(sql, IN_TIME, || session.must(sql));
}

/// A new database with the extension, its worker, and a count that is partly folded.
fn busy_database(cluster: &Cluster, name: &str) {
    cluster.connect().must(&format!("CREATE DATABASE {name}"));
    let mut session = cluster.connect_to(name);
    session.must("CREATE EXTENSION counter_ext");
    watch::wait_for_compactor(&mut session);
    session.must("SELECT counter_incr('n', n) FROM generate_series(1, 100) AS n");
    session.assert_count("n", 5050);
}

fn quick_cluster() -> Cluster {
    Cluster::start(Settings::restless())
}

#[test]
fn create_extension_in_one_more_database_starts_a_worker_without_a_restart() {
    let cluster = quick_cluster();
    busy_database(&cluster, "more");
    let mut session = cluster.connect_to("more");
    watch::wait_until_folded(&mut session);
    session.assert_count("n", 5050);
    cluster.connect().assert_count("n", 0);
    cluster.finish();
}

#[test]
fn drop_database_does_not_wait_for_workers() {
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    for round in 0..ROUNDS {
        // The same name again: what memory knows of the dropped one is gone.
        busy_database(&cluster, "doomed");
        at_once(&mut admin, "DROP DATABASE doomed");
        println!("round {round} done");
    }
    watch::assert_no_lasting_wait(&cluster.address());
    cluster.finish_without(WAITED);
}

#[test]
fn create_database_from_a_template_with_a_worker_copies_counts_that_go_on_independently() {
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    busy_database(&cluster, "original");
    for round in 0..ROUNDS {
        let copy = format!("copy_{round}");
        cluster.connect_to("original").incr("n", 1).expect("increment");
        at_once(&mut admin, &format!("CREATE DATABASE {copy} TEMPLATE original"));
        let (mut copied, mut original) = (cluster.connect_to(&copy), cluster.connect_to("original"));
        let count = 5051 + i64::try_from(round).expect("few rounds");
        copied.assert_count("n", count);
        copied.incr("n", 1000).expect("increment");
        copied.assert_count("n", count + 1000);
        original.assert_count("n", count);
        watch::wait_for_compactor(&mut copied);
        watch::wait_until_folded(&mut copied);
        copied.assert_count("n", count + 1000);
        watch::wait_for_compactor(&mut original);
        watch::wait_until_folded(&mut original);
        original.assert_count("n", count);
    }
    watch::assert_no_lasting_wait(&cluster.address());
    cluster.finish_without(WAITED);
}

#[test]
fn rename_of_a_database_with_a_worker_keeps_its_counts() {
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    busy_database(&cluster, "name_0");
    for round in 0..ROUNDS {
        let next = format!("name_{}", round + 1);
        at_once(&mut admin, &format!("ALTER DATABASE name_{round} RENAME TO {next}"));
        let mut session = cluster.connect_to(&next);
        session.assert_count("n", 5050);
        session.must("SELECT counter_incr('n', 1), counter_incr('n', -1)");
        watch::wait_for_compactor(&mut session);
        watch::wait_until_folded(&mut session);
        session.assert_count("n", 5050);
    }
    cluster.finish_without(WAITED);
}

/// Commands one right after another meet workers that are just starting, since each command that ends lets them in again.
#[test]
fn copies_and_renames_one_right_after_another_never_meet_a_worker() {
    const COPIES: usize = 20;
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    busy_database(&cluster, "original");
    for round in 0..COPIES {
        admin.must(&format!("CREATE DATABASE copy_{round} TEMPLATE original"));
        admin.must(&format!("ALTER DATABASE copy_{round} RENAME TO renamed_{round}"));
        admin.must(&format!("CREATE DATABASE again_{round} TEMPLATE renamed_{round}"));
        admin.must(&format!("DROP DATABASE renamed_{round}"));
        admin.must(&format!("DROP DATABASE again_{round}"));
    }
    watch::assert_no_lasting_wait(&cluster.address());
    cluster.finish();
}

#[test]
fn two_renames_in_one_transaction_keep_no_worker_out_afterwards() {
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    busy_database(&cluster, "first");
    busy_database(&cluster, "second");
    admin.must("BEGIN; ALTER DATABASE first RENAME TO one; ALTER DATABASE second RENAME TO two; COMMIT");
    for name in ["one", "two"] {
        let mut session = cluster.connect_to(name);
        session.must("SELECT counter_incr('n', 1), counter_incr('n', -1)");
        watch::wait_for_compactor(&mut session);
        watch::wait_until_folded(&mut session);
        session.assert_count("n", 5050);
    }
    // While a savepoint's rename is undone, and its transaction goes on, workers may come in.
    admin.must("BEGIN; SAVEPOINT s; ALTER DATABASE one RENAME TO other; ROLLBACK TO s");
    watch::wait_for_compactor(&mut cluster.connect_to("one"));
    admin.must("COMMIT");
    cluster.finish();
}

/// PostgreSQL refuses all of these, so the worker stays where it is.
#[test]
fn a_command_that_is_refused_ends_no_worker() {
    let cluster = quick_cluster();
    let mut admin = cluster.connect();
    busy_database(&cluster, "target");
    admin.must("CREATE ROLE creator LOGIN CREATEDB; CREATE ROLE owner LOGIN");
    admin.must("CREATE DATABASE own OWNER owner");
    cluster.connect_to("own").must("CREATE EXTENSION counter_ext");
    let mut in_target = cluster.connect_to("target");
    let mut in_own = cluster.connect_to("own");
    let workers = [watch::wait_for_compactor(&mut in_target), watch::wait_for_compactor(&mut in_own)];
    admin.must("SET ROLE creator");
    let insufficient_privilege = "42501";
    assert_sqlstate("copy", admin.run("CREATE DATABASE mine TEMPLATE target"), insufficient_privilege);
    assert_sqlstate("rename", admin.run("ALTER DATABASE target RENAME TO mine"), insufficient_privilege);
    assert_sqlstate("drop", admin.run("DROP DATABASE target"), insufficient_privilege);
    assert_sqlstate(
        "move",
        admin.run("ALTER DATABASE target SET TABLESPACE pg_default"),
        insufficient_privilege,
    );
    // An owner who may not create databases may not rename one either.
    admin.must("RESET ROLE; SET ROLE owner");
    assert_sqlstate("rename", admin.run("ALTER DATABASE own RENAME TO mine"), insufficient_privilege);
    admin.must("RESET ROLE");
    // Nobody does these to the database he is connected to.
    assert_sqlstate("drop", in_target.run("DROP DATABASE target"), "55006");
    assert_sqlstate("rename", in_target.run("ALTER DATABASE target RENAME TO mine"), "0A000");
    admin.must("ALTER DATABASE target IS_TEMPLATE true");
    assert_sqlstate("drop of a template", admin.run("DROP DATABASE target"), "42809");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(
        [watch::compactor(&mut in_target), watch::compactor(&mut in_own)],
        workers.map(Some),
        "the workers before and after"
    );
    cluster.finish();
}

#[test]
fn drop_extension_does_not_wait_for_workers_and_leaves_no_count_behind() {
    let cluster = quick_cluster();
    let mut session = cluster.connect();
    session.must(NO_WAIT);
    for _ in 0..ROUNDS {
        watch::wait_for_compactor(&mut session);
        session.must("SELECT counter_incr('n', n) FROM generate_series(1, 100) AS n");
        session.assert_count("n", 5050);
        at_once(&mut session, "DROP EXTENSION counter_ext");
        at_once(&mut session, "CREATE EXTENSION counter_ext");
        session.assert_count("n", 0);
        cluster.connect().assert_count("n", 0);
        session.incr("n", 3).expect("increment");
        session.assert_count("n", 3);
        watch::wait_for_compactor(&mut session);
        watch::wait_until_folded(&mut session);
        session.assert_count("n", 3);
        session.must("SELECT counter_reset('n')");
    }
    watch::assert_no_lasting_wait(&cluster.address());
    cluster.finish();
}

#[test]
fn a_rolled_back_drop_extension_changes_nothing() {
    let cluster = quick_cluster();
    let (mut admin, mut other) = (cluster.connect(), cluster.connect());
    other.incr("n", 10).expect("increment");
    other.assert_count("n", 10);
    admin.must("BEGIN; DROP EXTENSION counter_ext; ROLLBACK");
    other.assert_count("n", 10);
    admin.must("BEGIN; DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext; ROLLBACK");
    other.incr("n", 1).expect("increment");
    other.assert_count("n", 11);
    watch::wait_for_compactor(&mut other);
    watch::wait_until_folded(&mut other);
    other.assert_count("n", 11);
    cluster.finish();
}

/// An open transaction that has counted finds its tables at commit: DROP EXTENSION waits for it.
#[test]
fn drop_extension_waits_for_a_transaction_that_has_counted() {
    let cluster = quick_cluster();
    let (mut writer, mut admin) = (cluster.connect(), cluster.connect());
    writer.must("BEGIN; SELECT counter_incr('n', 10)");
    let drop_extension = |session: &mut Session| session.must("DROP EXTENSION counter_ext");
    while_blocked(&cluster.address(), &mut admin, drop_extension, || writer.must("COMMIT"));
    admin.must("CREATE EXTENSION counter_ext");
    admin.assert_count("n", 0);
    cluster.finish();
}
