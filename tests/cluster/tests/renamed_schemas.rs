//! Whoever owns a schema renames it at any moment, which waits for no lock, and gives its name to another one. What runs with somebody's rights
//! over a table there runs over that table, or not at all (promise G9).

use std::thread;
use std::time::{Duration, Instant};

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, wait};

const FOR: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(60);

fn connect_as(cluster: &Cluster, role: &str) -> Session {
    let mut session = cluster.connect();
    session.must(&format!("SET SESSION AUTHORIZATION {role}"));
    session
}

#[test]
fn a_view_in_a_tables_place_runs_with_nobody_elses_rights() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut admin = cluster.connect();
    admin.must(
        "CREATE ROLE alice; CREATE ROLE mallory; GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO alice, mallory;
         DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO mallory', current_database()); END $$;
         CREATE SCHEMA alice AUTHORIZATION alice; CREATE TABLE public.taken (who name); GRANT INSERT ON public.taken TO PUBLIC",
    );
    let mut mallory = connect_as(&cluster, "mallory");
    mallory.must(
        "CREATE SCHEMA m; CREATE SCHEMA m0; GRANT USAGE, CREATE ON SCHEMA m TO alice; GRANT USAGE ON SCHEMA m0 TO alice;
         CREATE TABLE m.book (id int PRIMARY KEY, author int); INSERT INTO m.book VALUES (1, 7); GRANT SELECT, TRIGGER ON m.book TO alice;
         CREATE FUNCTION m.take() RETURNS int LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO public.taken SELECT current_user WHERE current_user <> 'mallory'; RETURN 1; END $$;
         CREATE VIEW m0.book AS SELECT 1 AS id, m.take() AS author; CREATE VIEW m0.page AS SELECT m.take() AS book;
         GRANT SELECT ON m0.book, m0.page TO alice",
    );
    let mut alice = connect_as(&cluster, "alice");
    alice.must(
        "CREATE TABLE alice.chapter (id int PRIMARY KEY, book int); INSERT INTO alice.chapter VALUES (1, 1);
         CREATE TRIGGER i AFTER INSERT ON alice.chapter REFERENCING NEW TABLE AS n FOR EACH STATEMENT
             EXECUTE FUNCTION counter_rows('by:', 'book', 'through', 'm.book', 'by', 'id', 'to', 'author');
         CREATE TABLE m.page (book int); INSERT INTO m.page VALUES (1); SELECT counter_cache('m.page', 'page:', 'book')",
    );
    let page = admin.value::<String>("SELECT 'm.page'::regclass::oid::text");
    // Of two tables, one of them alice's, and of one of hers, in mallory's schema.
    let of_two = "SELECT counter_verify('alice.chapter', 'by:', 'book')".to_owned();
    let of_one = format!("SELECT counter_verify({page}::regclass, 'page:', 'book')");
    let of_key = format!("SELECT counter_verify({page}::regclass, 'page:', 'book', key => '1')");
    let until = Instant::now() + FOR;
    thread::scope(|scope| {
        scope.spawn(move || {
            while Instant::now() < until {
                mallory.must(
                    "BEGIN; ALTER SCHEMA m RENAME TO m1; ALTER SCHEMA m0 RENAME TO m; COMMIT;
                     BEGIN; ALTER SCHEMA m RENAME TO m0; ALTER SCHEMA m1 RENAME TO m; COMMIT",
                );
            }
        });
        let (mut asked, mut refused) = (0, 0);
        while Instant::now() < until {
            for query in [&of_two, &of_one, &of_key] {
                match alice.run(query) {
                    Ok(()) => asked += 1,
                    Err(error) => {
                        let said = describe(&error);
                        let is_of_names = ["renamed meanwhile", "does not exist", "is not a table"];
                        assert!(is_of_names.iter().any(|part| said.contains(part)), "{said}");
                        refused += 1;
                    }
                }
            }
        }
        println!("{asked} asked, {refused} refused");
        assert!(asked > 0, "nothing was asked for");
    });
    let taken =
        admin.value::<String>("SELECT coalesce(string_agg(DISTINCT who, ', '), 'none') FROM public.taken");
    assert_eq!(taken, "none", "mallory's code ran with somebody's rights");
    drop((alice, admin));
    cluster.finish();
}

/// PostgreSQL reads a literal of a named type while it analyzes a query, and that of a composite type calls what checks its domains. What that has done is
/// rolled back, but not what it has drawn from a sequence.
#[test]
fn a_type_in_another_ones_place_reads_no_key() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut admin = cluster.connect();
    admin.must(
        "CREATE ROLE alice; CREATE ROLE mallory; GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO alice, mallory;
         CREATE SCHEMA alice AUTHORIZATION alice; CREATE SCHEMA m AUTHORIZATION mallory; GRANT USAGE ON SCHEMA alice, m TO alice, mallory",
    );
    let mut mallory = connect_as(&cluster, "mallory");
    mallory.must(
        "CREATE TYPE m.mood AS ENUM ('sad', 'glad'); CREATE SEQUENCE m.taken; GRANT USAGE ON SEQUENCE m.taken TO PUBLIC;
         CREATE FUNCTION m.take(text) RETURNS boolean LANGUAGE plpgsql AS $$
             BEGIN IF current_user <> 'mallory' THEN PERFORM nextval('m.taken'); END IF; RETURN true; END $$;
         CREATE DOMAIN m.checked AS text CHECK (m.take(VALUE)); CREATE TYPE m.mood0 AS (x m.checked);
         CREATE CAST (m.mood AS m.mood0) WITH INOUT",
    );
    let mut alice = connect_as(&cluster, "alice");
    alice.must(
        "CREATE TABLE alice.votes (k m.mood); GRANT SELECT ON alice.votes TO mallory; SELECT counter_cache('alice.votes', 'votes:', 'k');
         INSERT INTO alice.votes VALUES ('sad'), ('glad')",
    );
    let until = Instant::now() + FOR;
    thread::scope(|scope| {
        scope.spawn(move || {
            while Instant::now() < until {
                mallory.must(
                    "BEGIN; ALTER TYPE m.mood RENAME TO mood1; ALTER TYPE m.mood0 RENAME TO mood; COMMIT;
                     BEGIN; ALTER TYPE m.mood RENAME TO mood0; ALTER TYPE m.mood1 RENAME TO mood; COMMIT",
                );
            }
        });
        let mut asked = 0;
        while Instant::now() < until {
            // One that has been asked hears of a new name late.
            let mut asks = connect_as(&cluster, "mallory");
            asked += i32::from(
                asks.run("SELECT counter_verify('alice.votes', 'votes:', 'k', key => '(a)')").is_ok(),
            );
            asked += i32::from(
                asks.run("SELECT counter_verify('alice.votes', 'votes:', 'k', key => 'sad')").is_ok(),
            );
        }
        println!("{asked} answered");
        assert!(asked > 0, "nothing was answered");
    });
    assert!(
        !admin.value::<bool>("SELECT is_called FROM m.taken"),
        "mallory's code ran with somebody's rights"
    );
    drop((alice, admin));
    cluster.finish();
}

/// While a lock is waited for, the table's owner gives its name to another one, and its group's rights to nobody.
#[test]
fn what_is_waited_for_is_the_table_that_is_read() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut admin = cluster.connect();
    admin.must(
        "CREATE ROLE app; CREATE ROLE mid; GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO app, mid;
         DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO mid', current_database()); END $$;
         CREATE SCHEMA app AUTHORIZATION app; CREATE SCHEMA mid AUTHORIZATION mid; GRANT USAGE ON SCHEMA app TO mid; GRANT USAGE ON SCHEMA mid TO app;
         CREATE TABLE public.taken (who name); GRANT INSERT ON public.taken TO PUBLIC;
         CREATE ROLE team; GRANT team TO mid WITH ADMIN OPTION",
    );
    let (mut app, mut mid, mut other) =
        (connect_as(&cluster, "app"), connect_as(&cluster, "mid"), connect_as(&cluster, "mid"));
    mid.must(
        "CREATE SCHEMA mid_code; GRANT USAGE ON SCHEMA mid_code TO PUBLIC;
         CREATE FUNCTION mid_code.take() RETURNS int LANGUAGE plpgsql AS $$
             BEGIN INSERT INTO public.taken SELECT current_user WHERE current_user <> 'mid'; RETURN 1; END $$;
         CREATE FUNCTION mid_code.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN mid_code.take(); END';
         CREATE FUNCTION mid_code.may(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN mid_code.take() = 1; END';
         CREATE TABLE mid.books (id int PRIMARY KEY, author int); INSERT INTO mid.books VALUES (1, 7);
         CREATE TABLE mid.ruled (id int PRIMARY KEY, author int); INSERT INTO mid.ruled VALUES (1, 7);
         GRANT SELECT ON mid.books, mid.ruled TO app; CREATE SCHEMA mid_b; CREATE TABLE mid_b.books (id int PRIMARY KEY, author int);
         CREATE POLICY p ON mid.ruled USING (mid_code.may(id)); ALTER TABLE mid.ruled ENABLE ROW LEVEL SECURITY;
         GRANT CREATE, USAGE ON SCHEMA mid TO team; GRANT team TO app; ALTER TABLE mid.ruled OWNER TO team",
    );
    app.must(
        "CREATE TABLE app.chapters (id int PRIMARY KEY, book int); GRANT SELECT ON app.chapters TO mid;
         CREATE TRIGGER i AFTER INSERT ON app.chapters REFERENCING NEW TABLE AS n FOR EACH STATEMENT
             EXECUTE FUNCTION counter_rows('by:', 'book', 'through', 'mid.books', 'by', 'id', 'to', 'author');
         CREATE TABLE app.lines (id int PRIMARY KEY, book int); GRANT SELECT ON app.lines TO mid;
         CREATE TRIGGER i AFTER INSERT ON app.lines REFERENCING NEW TABLE AS n FOR EACH STATEMENT
             EXECUTE FUNCTION counter_rows('ruled:', 'book', 'through', 'mid.ruled', 'by', 'id', 'to', 'author');
         INSERT INTO app.chapters VALUES (1, 1); INSERT INTO app.lines VALUES (1, 1)",
    );
    let taken = "SELECT coalesce(string_agg(DISTINCT who, ', '), 'none') FROM public.taken";
    let waits = |admin: &mut Session, pid: i32| {
        wait::until("it waits for a lock", SOON, || {
            admin.value::<bool>(&format!(
                "SELECT count(*) > 0 FROM pg_locks WHERE pid = {pid} AND NOT granted"
            ))
        });
    };

    // An index's lock stops the planner before it works out what statistics say, which needs no lock on the table.
    let pid = app.backend_pid();
    mid.must("BEGIN; LOCK TABLE mid.books IN SHARE UPDATE EXCLUSIVE MODE");
    other.must("BEGIN; ALTER INDEX mid.books_pkey SET TABLESPACE pg_default");
    thread::scope(|scope| {
        let verify = scope.spawn(|| app.run("SELECT counter_verify('app.chapters', 'by:', 'book')"));
        waits(&mut admin, pid);
        mid.must("ALTER SCHEMA mid RENAME TO mid_a; ALTER SCHEMA mid_b RENAME TO mid; COMMIT");
        waits(&mut admin, pid);
        let mut adds = connect_as(&cluster, "mid");
        adds.must("SET lock_timeout = '2s'");
        let added = adds.run("CREATE STATISTICS mid_a.s ON (author + mid_code.trap(1)), id FROM mid_a.books");
        other.must("ROLLBACK");
        let verified = verify.join().expect("no panic");
        assert!(added.is_err(), "statistics came between the check and the query: {verified:?}");
    });
    assert_eq!(admin.value::<String>(taken), "none", "mid's code ran with somebody's rights");

    // Whose rows a policy hides is asked when they are read.
    mid.must("ALTER SCHEMA mid RENAME TO mid_b; ALTER SCHEMA mid_a RENAME TO mid");
    let pid = other.backend_pid();
    mid.must("BEGIN; LOCK TABLE mid.ruled IN SHARE UPDATE EXCLUSIVE MODE");
    thread::scope(|scope| {
        let verify = scope.spawn(|| other.run("SELECT counter_verify('app.lines', 'ruled:', 'book')"));
        waits(&mut admin, pid);
        mid.must("REVOKE team FROM app; COMMIT");
        assert_sqlstate("rows that a policy hides", verify.join().expect("no panic"), "42501");
    });
    assert_eq!(admin.value::<String>(taken), "none", "mid's policy ran with somebody's rights");
    drop((app, mid, other, admin));
    cluster.finish();
}
