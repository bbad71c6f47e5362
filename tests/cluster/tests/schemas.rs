//! Where the extension's functions go: into any schema, also that of its tables, and later into another one. Its tables stay where
//! they are, and everything that asks for the extension's schema finds it.

use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate};

const NO_SCHEMA: &str = "3F000";
const NOT_SUPPORTED: &str = "0A000";
const NOT_IN_STATE: &str = "55000";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// What PUBLIC may do to the extension's functions, each by its name and types without their schemas.
fn rights_of_public(session: &mut Session) -> Vec<(String, bool)> {
    session.must("SET search_path = counter_ext, public");
    let rights = session.pairs(
        "SELECT p.proname || pg_get_function_identity_arguments(p.oid), has_function_privilege('anybody', p.oid, 'EXECUTE')
         FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
         AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext') AND d.classid = 'pg_proc'::regclass ORDER BY 1",
    );
    session.must("RESET search_path");
    rights
}

/// Uses every family, with names looked up in `schema`.
fn use_it(session: &mut Session, schema: &str) {
    session.must(&format!("SET search_path = {schema}, public"));
    session.must(
        "SELECT counter_incr('a', 2), counter_incr(7::bigint), counter_like('post', 'anna'), counter_visit('page', 'anna'::text), counter_incr_from('a', 'bert')",
    );
    session.must(
        "INSERT INTO public.comments (post) VALUES (1), (1), (2); DELETE FROM public.comments WHERE post = 2",
    );
    session.must("UPDATE public.videos SET title = title WHERE views::bigint >= 0");
    session.must("SELECT counter_compact(); SELECT * FROM counters; SELECT * FROM counter_stats");
}

fn assert_used(session: &mut Session, schema: &str, times: i64) {
    session.must(&format!("SET search_path = {schema}, public"));
    let wanted = [
        ("counter_get('a')", 3 * times),
        ("counter_get(7::bigint)", times),
        ("counter_likes('post')", 1),
        ("counter_visitors('page')", 1),
        ("counter_get('comments:1')", 2 * times),
        ("(SELECT count(*) FROM counter_verify('public.comments', 'comments:', 'post'))", 0),
        ("(SELECT count(*) FROM counter_likers('post'))", 1),
        ("(SELECT views::bigint FROM public.videos)", 3 * times),
        ("(SELECT value FROM counters WHERE id = 'a')", 3 * times),
    ];
    session.must("SELECT counter_compact()");
    for (what, value) in wanted {
        assert_eq!(session.value::<i64>(&format!("SELECT {what}")), value, "{what} in {schema}");
    }
    assert!(session.value::<bool>("SELECT ok FROM counter_audit_verify('a')"), "the audit log in {schema}");
    session.must("RESET search_path");
}

fn make_tables(session: &mut Session, schema: &str) {
    session.must(&format!(
        "CREATE TABLE public.comments (id serial, post bigint);
         SELECT {schema}.counter_cache('public.comments', 'comments:', 'post');
         CREATE TABLE public.videos (title text, views {schema}.counter);
         INSERT INTO public.videos VALUES ('a', 'a');
         SELECT {schema}.counter_audit('a', true)"
    ));
}

#[test]
fn its_own_schema_takes_all_of_it() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    let mut session = cluster.connect();
    for command in ["CREATE ROLE anybody", "CREATE DATABASE usual", "CREATE DATABASE copy"] {
        session.must(command);
    }
    // None there: a preloaded library makes it.
    session.must("CREATE EXTENSION counter_ext SCHEMA counter_ext");
    make_tables(&mut session, "counter_ext");
    use_it(&mut session, "counter_ext");
    assert_used(&mut session, "counter_ext", 1);

    let mut usual = cluster.connect_to("usual");
    usual.must("CREATE EXTENSION counter_ext");
    assert_eq!(rights_of_public(&mut session), rights_of_public(&mut usual));

    // A dump names the schema, and makes it first.
    let script = cluster.file("dump.sql");
    cluster.tool("pg_dump", &["--file", &script]);
    cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname=copy", "--file", &script]);
    let mut copy = cluster.connect_to("copy");
    assert_used(&mut copy, "counter_ext", 1);
    use_it(&mut copy, "counter_ext");
    assert_used(&mut copy, "counter_ext", 2);
    assert_sqlstate(
        "out of its own schema",
        copy.run("ALTER EXTENSION counter_ext SET SCHEMA public"),
        NOT_SUPPORTED,
    );

    // The recipe of docs/install.md for that.
    let text = std::fs::read_to_string(&script).expect("the dump");
    let text = text
        .replace("WITH SCHEMA counter_ext", "WITH SCHEMA tools")
        .replace("counter_ext.counter", "tools.counter");
    std::fs::write(&script, format!("CREATE SCHEMA tools;\n{text}")).expect("the edited dump");
    session.must("CREATE DATABASE edited");
    cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname=edited", "--file", &script]);
    let mut edited = cluster.connect_to("edited");
    assert_used(&mut edited, "tools", 1);
    use_it(&mut edited, "tools");
    assert_used(&mut edited, "tools", 2);

    // The schema stays when the extension goes, as any does that it did not make; it is taken once more, either way.
    copy.must("DROP EXTENSION counter_ext CASCADE; DROP TABLE public.comments, public.videos");
    copy.must("CREATE EXTENSION counter_ext SCHEMA counter_ext; DROP EXTENSION counter_ext");
    copy.must("CREATE EXTENSION counter_ext; SELECT counter_incr('b'); DROP EXTENSION counter_ext");
    assert!(!copy.value::<bool>("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'counter_ext')"));
    // Who may not create the extension leaves no schema behind.
    copy.must("CREATE ROLE mallory; GRANT CREATE ON DATABASE copy TO mallory; SET ROLE mallory");
    assert_sqlstate(
        "CREATE EXTENSION",
        copy.run("CREATE EXTENSION counter_ext SCHEMA counter_ext"),
        INSUFFICIENT_PRIVILEGE,
    );
    copy.must("RESET ROLE");
    assert!(!copy.value::<bool>("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'counter_ext')"));
    drop((session, usual, copy, edited));
    cluster.finish();
}

#[test]
fn it_moves_to_another_schema_and_its_tables_stay() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    session.must("CREATE ROLE anybody; CREATE SCHEMA \"the Tools\"; CREATE SCHEMA other");
    session.must("CREATE DATABASE copy");
    make_tables(&mut session, "public");
    use_it(&mut session, "public");
    // A session that has prepared statements, and remembers what it looked up.
    let mut other = cluster.connect();
    other.must(
        "SET search_path = public, \"the Tools\"; PREPARE p AS SELECT counter_incr('prepared', 1); EXECUTE p",
    );
    let rights = rights_of_public(&mut session);

    session.must("ALTER EXTENSION counter_ext SET SCHEMA \"the Tools\"");
    let left: i64 = session.value(
        "SELECT count(*) FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) AS i
         WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext') AND d.deptype = 'e' AND i.schema = 'public'",
    );
    assert_eq!(left, 0, "something was left behind");
    let named: i64 = session.value(
        "SELECT count(*) FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
         AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext') AND prosrc ~ 'public\\.'",
    );
    assert_eq!(named, 0, "the text of a function names the schema that it was installed in");
    other.must("EXECUTE p");
    assert_used(&mut session, "\"the Tools\"", 1);
    use_it(&mut session, "\"the Tools\"");
    assert_used(&mut session, "\"the Tools\"", 2);
    session.must("SET search_path = \"the Tools\", public");
    assert_eq!(session.value::<i64>("SELECT counter_get('prepared')"), 2);
    session.must("RESET search_path");
    session.must("ALTER EXTENSION counter_ext SET SCHEMA public");
    assert_eq!(rights_of_public(&mut session), rights);
    session.must("ALTER EXTENSION counter_ext SET SCHEMA \"the Tools\"");

    // Undone with its transaction.
    session.must("BEGIN; ALTER EXTENSION counter_ext SET SCHEMA other; ROLLBACK");
    assert_used(&mut session, "\"the Tools\"", 2);
    let refused: [(&str, &str); 3] = [
        ("ALTER EXTENSION counter_ext SET SCHEMA nowhere", NO_SCHEMA),
        ("ALTER EXTENSION counter_ext SET SCHEMA counter_ext", NOT_SUPPORTED),
        ("SET ROLE anybody; ALTER EXTENSION counter_ext SET SCHEMA other", INSUFFICIENT_PRIVILEGE),
    ];
    for (command, code) in refused {
        assert_sqlstate(command, session.run(command), code);
    }
    session.must("RESET ROLE");

    let script = cluster.file("dump.sql");
    cluster.tool("pg_dump", &["--file", &script]);
    cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname=copy", "--file", &script]);
    let mut copy = cluster.connect_to("copy");
    assert_used(&mut copy, "\"the Tools\"", 2);
    use_it(&mut copy, "\"the Tools\"");
    copy.must("DROP EXTENSION counter_ext CASCADE; CREATE EXTENSION counter_ext");
    drop((session, other, copy));
    cluster.finish();
}

#[test]
fn without_preload_postgresql_refuses_and_other_words_do() {
    let cluster = Cluster::start(Settings::without_preload().without_extension());
    let mut session = cluster.connect();
    assert_sqlstate(
        "CREATE EXTENSION",
        session.run("CREATE EXTENSION counter_ext SCHEMA counter_ext"),
        NO_SCHEMA,
    );
    session.must("CREATE SCHEMA IF NOT EXISTS counter_ext; CREATE EXTENSION counter_ext SCHEMA counter_ext");
    session.must(
        "SELECT counter_ext.counter_incr('a'); DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext",
    );
    session.must("CREATE SCHEMA tools");
    assert_sqlstate(
        "ALTER EXTENSION",
        session.run("ALTER EXTENSION counter_ext SET SCHEMA tools"),
        NOT_SUPPORTED,
    );
    session.must("SELECT counter_ext.set_schema('tools'); SELECT tools.counter_incr('a', 5)");
    assert_eq!(session.value::<i64>("SELECT tools.counter_get('a')"), 5);
    drop(session);
    cluster.finish();
}

#[test]
fn tables_that_are_not_where_they_were_are_missed_by_their_name() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    session.must("SELECT counter_incr('a'); ALTER SCHEMA counter_ext RENAME TO elsewhere");
    // Who has found them by now goes on with them.
    let mut session = cluster.connect();
    for call in ["counter_incr('a')", "counter_get('a')", "counter_like('a', 'b')", "counter_visitors('a')"] {
        let error = session.run(&format!("SELECT {call}")).expect_err("its tables are not there");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code().code(), NOT_IN_STATE, "{call}: {error}");
        assert!(!error.message().contains("not installed"), "{call}: {error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("RENAME TO counter_ext")), "{call}: {error}");
    }
    session.must("ALTER SCHEMA elsewhere RENAME TO counter_ext; SELECT counter_incr('a')");
    session.assert_count("a", 2);
    drop(session);
    // The worker may have looked for them meanwhile.
    cluster.finish_allowing(&[
        "schema \"counter_ext\" does not exist",
        "relation \"counter_ext.cache\" does not exist",
    ]);
}
