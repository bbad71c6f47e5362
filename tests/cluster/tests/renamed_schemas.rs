//! Whoever owns a schema renames it at any moment, which waits for no lock, and gives its name to another one. What runs with somebody's rights
//! over a table there runs over that table, or not at all (promise G9).

use std::thread;
use std::time::{Duration, Instant};

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::{Cluster, Session, Settings};

const FOR: Duration = Duration::from_secs(10);

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
