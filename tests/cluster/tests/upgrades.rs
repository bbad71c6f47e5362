//! From each version that was released to this one: the schema is that of a new installation, and no count is lost. Until then, with
//! the new library and the old SQL, whatever counts refuses, and says what to do.
//!
//! The old SQL is in sql/, and is installed for this test by its stage. What the old library wrote is in `released/`.

use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, traps, wait, watch};
use counter_ext_house::RELEASED;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const OTHER_VERSION: &str = "55000";
const UPDATE: &str = "ALTER EXTENSION counter_ext UPDATE";
const CATALOG: &str = include_str!("../released/catalog.sql");
const HELD: &str = include_str!("../released/0.1.0.sql");

fn database(cluster: &Cluster, name: &str) -> Session {
    cluster.connect().must(&format!("CREATE DATABASE {name}"));
    cluster.connect_to(name)
}

fn create(session: &mut Session, version: &str, schema: &str) {
    let created = session
        .run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION counter_ext VERSION '{version}' SCHEMA {schema}"));
    if let Err(error) = created {
        panic!("version {version}: {error:?}; its SQL is installed by the stage `cluster` of `make test`");
    }
}

/// All that PostgreSQL knows of the extension.
fn catalog(session: &mut Session) -> BTreeSet<String> {
    session.must("SET search_path = pg_catalog");
    let lines: String =
        session.value(&format!("SELECT string_agg(line, E'\\x02') FROM ({CATALOG}) AS facts (line)"));
    session.must("RESET search_path");
    lines.split('\u{2}').map(str::to_owned).collect()
}

#[test]
fn an_update_ends_where_an_installation_does() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    for (number, schema) in ["public", "app"].into_iter().enumerate() {
        let mut new = database(&cluster, &format!("new_{number}"));
        new.must(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION counter_ext SCHEMA {schema}"
        ));
        let expected = catalog(&mut new);
        assert!(expected.len() > 1000, "{} facts of the catalog", expected.len());
        for version in RELEASED {
            let mut old = database(&cluster, &format!("old_{number}_{}", version.replace('.', "_")));
            create(&mut old, version, schema);
            if schema == "app" {
                // Whoever may create something there gains nothing by it.
                traps::set(&mut old, schema);
            }
            old.must(UPDATE);
            if schema == "app" {
                assert_eq!(traps::ran(&mut old, schema), 0, "traps ran during the update from {version}");
            }
            let found = catalog(&mut old);
            let differences: Vec<String> = expected
                .difference(&found)
                .map(|line| format!("missing: {line}"))
                .chain(found.difference(&expected).map(|line| format!("left over: {line}")))
                .collect();
            assert!(differences.is_empty(), "after {version}, in {schema}:\n{}", differences.join("\n"));
        }
    }
    cluster.finish_allowing(&["nothing is compacted in database"]);
}

/// What was counted, and where it is asked for.
const COUNTS: [(&str, i64); 18] = [
    ("counter_get('page:1')", 2),
    ("counter_get('page:17')", 17),
    ("counter_get('page:18')", 1018),
    ("counter_get('page:22')", 1000),
    ("counter_get_exact('page:18')", 1018),
    ("counter_get('ünïcode \"quoted\" \\ id')", 3),
    ("counter_get(42)", 5),
    ("counter_get('debt')", -7),
    ("counter_get('paid')", 15),
    ("counter_get('applied')", 7),
    ("counter_get('money:0') + counter_get('money:1') + counter_get('money:anna')", 1855),
    ("counter_get('money:2')", 1507),
    ("counter_likes('post:0')", 10),
    ("counter_likes('post:1')", 9),
    ("counter_likes('post:2')", 11),
    ("counter_likes(7)", 1),
    ("counter_visitors('video:1')", 80),
    ("counter_visitors(9)", 1),
];

const CACHED: [(&str, i64); 3] =
    [("counter_get('posts:1')", 2), ("counter_get('posts:2')", 1), ("counter_get('parts:1')", 1)];

fn assert_counts(session: &mut Session, counts: &[(&str, i64)], when: &str) {
    for (asked, expected) in counts {
        assert_eq!(session.value::<i64>(&format!("SELECT {asked}")), *expected, "{asked}, {when}");
    }
}

/// Rows as the old library has left them, and caches of the kind that it made.
fn fill(cluster: &Cluster, session: &mut Session, database: &str) {
    let switch = |session: &mut Session, how: &str| {
        session.must(&format!(
            "DO $$ DECLARE ours regclass; BEGIN
                 FOR ours IN SELECT oid FROM pg_class
                     WHERE relnamespace = 'counter_ext'::regnamespace AND relkind IN ('r', 'p') AND relhastriggers LOOP
                     EXECUTE format('ALTER TABLE %s {how} TRIGGER USER', ours);
                 END LOOP;
             END $$"
        ));
    };
    // They are of the new library, and refuse.
    switch(session, "DISABLE");
    let script = cluster.file("held.sql");
    fs::write(&script, HELD).expect("write the script");
    cluster.tool(
        "psql",
        &["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", database, "--file", &script],
    );
    // Tokens are forgotten when they are old.
    session.must(
        "UPDATE counter_ext.token SET at = now();
         INSERT INTO counter_ext.total (id, value) VALUES ('posts:1', 2), ('posts:2', 1), ('parts:1', 1)",
    );
    switch(session, "ENABLE");
    session.must(
        "CREATE TABLE post (id int PRIMARY KEY, author int);
         CREATE TABLE part (id int, author int) PARTITION BY LIST (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
         INSERT INTO post VALUES (1, 1), (2, 1), (3, 2);
         INSERT INTO part VALUES (1, 1);
         CREATE TRIGGER counter_rows_insert_8ab72241 AFTER INSERT ON post REFERENCING NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('posts:', 'author');
         CREATE TRIGGER counter_rows_delete_8ab72241 AFTER DELETE ON post REFERENCING OLD TABLE AS old_rows
             FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('posts:', 'author');
         CREATE TRIGGER counter_rows_update_8ab72241 AFTER UPDATE ON post REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('posts:', 'author');
         CREATE TRIGGER counter_rows_truncate_8ab72241 BEFORE TRUNCATE ON post
             FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('posts:', 'author');
         CREATE TRIGGER counter_rows_insert_85a4cce8 AFTER INSERT ON part FOR EACH ROW EXECUTE FUNCTION counter_rows('parts:', 'author');
         CREATE TRIGGER counter_rows_delete_85a4cce8 AFTER DELETE ON part FOR EACH ROW EXECUTE FUNCTION counter_rows('parts:', 'author');
         CREATE TRIGGER counter_rows_update_85a4cce8 AFTER UPDATE ON part FOR EACH ROW EXECUTE FUNCTION counter_rows('parts:', 'author');
         CREATE TRIGGER counter_rows_truncate_85a4cce8 BEFORE TRUNCATE ON part
             FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('parts:', 'author');
         CREATE TABLE video (title text, views counter, seen counter_hll);
         INSERT INTO video VALUES ('one', 'page:18', counter_hll_add(NULL, 7));
         CREATE INDEX ON video (views);
         CREATE VIEW hot AS SELECT id, value FROM counters WHERE value > 1000;
         CREATE VIEW live AS SELECT title, counter_get(views) AS views FROM video;
         CREATE ROLE app;
         GRANT SELECT ON counters, counter_ext.total TO app",
    );
}

/// Calls each of the extension's functions, and says what came of it: the SQLSTATE and the HINT, or 'ok'.
const CALL_ALL: &str = r#"
CREATE FUNCTION pg_temp.outcome(called regprocedure, arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; hint text;
BEGIN
    EXECUTE format('SELECT %s(%s)', called::oid::regproc, arguments);
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, hint = PG_EXCEPTION_HINT;
    RETURN state || ' ' || hint;
END $$;
CREATE TABLE outcome AS SELECT called::text, outcome FROM (
    SELECT p.oid::regprocedure AS called, coalesce(string_agg(format('%L::%s', CASE
        WHEN t.type = 'interval'::regtype THEN '1 hour' WHEN t.type IN ('date'::regtype, 'timestamptz'::regtype) THEN 'now'
        WHEN t.type::text LIKE '%[]' THEN '{1}' WHEN t.type::text LIKE '%counter_hll' THEN '\x118e7f'
        WHEN t.type = 'regclass'::regtype THEN 'pg_class' ELSE '1' END,
        CASE WHEN t.type = 'anyelement'::regtype THEN 'text' ELSE format_type(t.type, NULL) END), ', ' ORDER BY number) FILTER (WHERE number IS NOT NULL), '') AS arguments
    FROM pg_extension e
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    JOIN pg_proc p ON p.oid = d.objid
    LEFT JOIN LATERAL unnest(p.proargtypes::oid[]::regtype[]) WITH ORDINALITY AS t (type, number) ON true
    WHERE e.extname = 'counter_ext' AND p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
        AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal')
    GROUP BY p.oid
    HAVING bool_and(t.type IS NULL OR t.type NOT IN ('internal'::regtype, 'cstring'::regtype))
) AS calls, LATERAL pg_temp.outcome(called, arguments) AS outcome"#;

/// What only makes one value of another goes on, so that a dump can be taken, and so does the answer to which library this is.
fn may_go_on(function: &str) -> bool {
    function.starts_with("counter_version(")
        || function.starts_with("counter_hll_")
        || function.starts_with("counter_ext.counter_hll_")
        // In 0.1.0 plain SQL over rows.
        || function.starts_with("counter_likers(")
        || function.starts_with("counter_liked_items(")
        // It does nothing but in a script of the extension.
        || function.starts_with("counter_ext.note_extension_created(")
}

fn assert_all_refuse(session: &mut Session) {
    session.must(CALL_ALL);
    let outcomes: Vec<(String, String)> = session.pairs("SELECT called, outcome FROM outcome");
    assert!(outcomes.len() > 60, "{} functions were called", outcomes.len());
    let refusal = format!("{OTHER_VERSION} Run {UPDATE} in this database.");
    let others: Vec<_> =
        outcomes.iter().filter(|(function, outcome)| *outcome != refusal && !may_go_on(function)).collect();
    assert!(others.is_empty(), "{others:#?}");
    session.must("DROP TABLE outcome");
}

/// How often the server's log says something.
fn said(session: &mut Session, cluster: &Cluster, words: &str) -> i64 {
    let log = cluster.file("server.log");
    session.value(&format!("SELECT count(*) FROM regexp_matches(pg_read_file('{log}'), '{words}', 'g')"))
}

#[test]
fn counts_are_kept_and_until_the_update_nothing_counts() {
    const IDLE: &str = "nothing is compacted in database";
    let mut cluster = Cluster::start(Settings::restless().without_extension());
    let mut session = database(&cluster, "old");
    create(&mut session, RELEASED[0], "public");
    fill(&cluster, &mut session, "old");
    let idle = |session: &mut Session, cluster: &Cluster| {
        wait::until("the worker to say that it does nothing", Duration::from_secs(30), || {
            said(session, cluster, IDLE) > 0
        });
    };
    idle(&mut session, &cluster);
    assert_all_refuse(&mut session);
    // Triggers too: what they would count is not to go missing.
    assert_sqlstate("a cached row", session.run("INSERT INTO post VALUES (9, 9)"), OTHER_VERSION);
    assert_sqlstate("a total by hand", session.run("DELETE FROM counter_ext.total"), OTHER_VERSION);
    // Types do not: a dump can be taken.
    let dumped = cluster.tool("pg_dump", &["--dbname", "old", "--table", "video"]);
    assert!(String::from_utf8_lossy(&dumped.stdout).contains("page:18"), "the dump has no row");
    assert_eq!(said(&mut session, &cluster, IDLE), 1, "the worker has said it more than once");

    // So it is after a start, where nobody remembers anything.
    drop(session);
    cluster.restart();
    let mut session = cluster.connect_to("old");
    assert_sqlstate("counter_get", session.run("SELECT counter_get('page:1')"), OTHER_VERSION);
    assert_sqlstate("counters", session.run("TABLE counters"), OTHER_VERSION);
    // Another session, which has been told so, hears of the update.
    let mut other = cluster.connect_to("old");
    assert_sqlstate("counter_incr", other.run("SELECT counter_incr('page:1')"), OTHER_VERSION);
    session.must("BEGIN");
    session.must(UPDATE);
    session.must("ROLLBACK");
    assert_sqlstate("after a rollback", session.run("SELECT counter_get('page:1')"), OTHER_VERSION);
    session.must(UPDATE);

    for (session, when) in [(&mut session, "after the update"), (&mut other, "in another session")] {
        assert_counts(session, &COUNTS, when);
        assert_counts(session, &CACHED, when);
    }
    watch::wait_for_compactor(&mut session);
    watch::wait_until_folded(&mut session);
    assert_counts(&mut session, &COUNTS, "folded");
    assert_counts(&mut session, &CACHED, "folded");
    assert!(
        !session.value::<bool>("SELECT counter_incr_once('paid', 10, 'order-1')"),
        "a token is forgotten"
    );
    assert!(
        !session.value::<bool>("SELECT counter_apply('kafka:views:0', 100, '{applied}')"),
        "an offset is forgotten"
    );
    let sound = "SELECT string_agg(problem, '; ') FROM (SELECT problem FROM counter_audit_verify() \
                 UNION ALL SELECT (counter_audit_verify(id)).problem FROM counter_ext.audit_head) AS each";
    assert_eq!(session.value::<Option<String>>(sound), None, "what is wrong with the log");
    assert_eq!(session.value::<i64>("SELECT count(*) FROM counter_ext.audit_head"), 4);
    assert!(
        !session.value::<bool>("SELECT counter_incr_from('view:1', '10.1.2.3')"),
        "a network is not blocked"
    );
    assert!(!session.value::<bool>("SELECT counter_incr_from('view:1', 'bot')"), "an actor is not blocked");
    // What was built on it still stands, caches go on, and counting does.
    assert_eq!(session.value::<i64>("SELECT count(*) FROM hot"), 5);
    assert_eq!(session.value::<i64>("SELECT views FROM live"), 1018);
    assert!(session.value::<bool>("SELECT has_table_privilege('app', 'counters', 'SELECT')"));
    session.must("INSERT INTO post VALUES (4, 1); INSERT INTO part VALUES (1, 1); SELECT counter_incr('page:1'), counter_like(7, 9)");
    let afterwards = [
        ("counter_get('posts:1')", 3),
        ("counter_get('parts:1')", 2),
        ("counter_get('page:1')", 3),
        ("counter_likes(7)", 2),
        ("(SELECT count(*) FROM counter_verify())", 0),
        ("(SELECT count(*) FROM counter_caches)", 2),
    ];
    assert_counts(&mut session, &afterwards, "after more was counted");

    // SQL of a later version, as an update without a restart leaves it behind. Its script changes counter_ext.total in some way.
    session.must(
        "UPDATE pg_extension SET extversion = '9.9.9' WHERE extname = 'counter_ext';
         GRANT UPDATE ON counter_ext.total TO app",
    );
    for session in [&mut session, &mut other] {
        let error = session.run("SELECT counter_incr('page:1')").expect_err("a later version");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code().code(), OTHER_VERSION);
        assert!(error.hint().is_some_and(|hint| hint.contains("restart the server")), "{error:?}");
    }
    drop((session, other));
    cluster.finish_allowing(&[IDLE]);
}

#[test]
fn a_refused_update_says_what_is_to_be_done() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    let mut session = database(&cluster, "old");
    create(&mut session, RELEASED[0], "public");
    session.must(
        "SELECT pg_create_physical_replication_slot('counter_ext');
         CREATE VIEW mine AS SELECT preloaded FROM counter_stats",
    );
    let mut refuses = |code: &str, detail: &str, hint: &str| {
        let error = session.run(UPDATE).expect_err("the update");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code().code(), code, "{error:?}");
        assert!(error.detail().is_some_and(|said| said.contains(detail)), "{error:?}");
        assert!(error.hint().is_some_and(|said| said.contains(hint)), "{error:?}");
        session.must("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
    };
    // Nothing was ever buffered in this database. In another one it may have been, and the library of before is to be had again for it,
    // which would do nothing with this one.
    refuses("55000", "still keeps that WAL", "pg_drop_replication_slot");
    refuses("2BP01", "view mine depends on view counter_stats", "make it again");
    session.must("DROP VIEW mine");
    session.must(UPDATE);
    drop(session);
    cluster.finish_allowing(&["nothing is compacted in database"]);
}

/// Whoever may not count, and whoever may, have made triggers, an index and locks before the update: it does not fail by them, runs nothing of
/// theirs, and recounts the caches of those who may count later.
#[test]
fn tables_of_others_do_not_hold_the_update_up() {
    let cluster = Cluster::start(Settings::restless().without_extension());
    let mut session = database(&cluster, "old");
    create(&mut session, RELEASED[0], "public");
    let trigger = |table: &str, prefix: &str, number: u32| {
        format!(
            "CREATE TRIGGER counter_rows_insert_{number:08x} AFTER INSERT ON {table} REFERENCING NEW TABLE AS n
                 FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('{prefix}', 'k');"
        )
    };
    session.must(
        "CREATE ROLE stranger; CREATE ROLE counts; GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counts;
         CREATE SCHEMA stranger AUTHORIZATION stranger; CREATE SCHEMA counts AUTHORIZATION counts;
         ALTER TABLE counter_ext.total DISABLE TRIGGER USER;
         INSERT INTO counter_ext.total (id, node, value) VALUES ('victim:1', 0, 1000), ('kept:1', 0, 5), ('gone:1', 0, 6), ('busy:1', 0, 7);
         ALTER TABLE counter_ext.total ENABLE TRIGGER USER",
    );
    let mut own = cluster.connect_to("old");
    own.must("SET ROLE stranger; CREATE TABLE stranger.t (k text)");
    own.must(&trigger("stranger.t", "victim:", 0xdead_beef));
    own.must(
        "SET ROLE counts;
         CREATE TABLE counts.kept (k text); CREATE TABLE counts.gone (k text); CREATE TABLE counts.busy (k text); CREATE TABLE counts.slow (k text);
         INSERT INTO counts.kept VALUES ('1'), ('1'); INSERT INTO counts.slow VALUES ('1')",
    );
    for (number, name) in ["kept", "gone", "busy", "slow"].into_iter().enumerate() {
        own.must(&trigger(&format!("counts.{name}"), &format!("{name}:"), number as u32));
    }
    // An index whose function does not end, as planning a query of the table works it out.
    own.must(
        "ALTER TABLE counts.gone DROP COLUMN k;
         CREATE FUNCTION counts.endless(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
         CREATE INDEX ON counts.slow (k) WHERE counts.endless(1);
         CREATE OR REPLACE FUNCTION counts.endless(int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); RETURN true; END'",
    );
    own.must("BEGIN; LOCK TABLE counts.busy IN ACCESS SHARE MODE");
    session.must("SET statement_timeout = '5min'; SET lock_timeout = '7min'");
    session.must(UPDATE);
    assert_eq!(session.value::<String>("SHOW lock_timeout"), "7min");
    own.must("ROLLBACK");
    drop(own);

    session.must("SELECT counter_incr('page:1')");
    assert_eq!(session.value::<i64>("SELECT counter_get('victim:1')"), 1000, "a stranger's triggers decide");
    for name in ["gone", "busy"] {
        let words = format!("WARNING:  table counts.{name} keeps the triggers by which version 0.1.0");
        assert_eq!(said(&mut session, &cluster, &words), 1, "of {name}");
    }
    wait::until("the worker to recount", Duration::from_secs(60), || {
        session.value::<i64>("SELECT counter_get('kept:1')") == 2
            && session.value::<bool>("SELECT state = 'right' FROM counter_caches WHERE prefix = 'kept:'")
    });
    assert_eq!(session.value::<i64>("SELECT counter_get('busy:1')"), 7, "what was passed over");
    // The hint of the WARNING.
    session.must("SET ROLE counts; SELECT public.counter_cache('counts.busy', 'busy:', 'k', take_over => true); RESET ROLE");
    assert_eq!(session.value::<i64>("SELECT counter_get('busy:1')"), 0);
    let state =
        "SELECT concat(state, why LIKE '%counter_backfill%') FROM counter_caches WHERE prefix = 'slow:'";
    wait::until("the worker to say what it does not recount", Duration::from_secs(60), || {
        session.value::<String>(state) == "stalet"
    });
    drop(session);
    cluster
        .finish_allowing(&["nothing is compacted in database", "keeps the triggers by which version 0.1.0"]);
}
