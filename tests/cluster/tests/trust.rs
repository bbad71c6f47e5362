//! No role gains another's rights through us (promise G9): not at install, and not by search_path.

use counter_ext_cluster_tests::installation::Installation;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, traps, wait};
use counter_ext_house::{RELEASED, script};
use std::time::Duration;

const DUPLICATE_SCHEMA: &str = "42P06";
const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[test]
fn the_installed_scripts_leave_nothing_to_search_path() {
    let scripts = Installation::get().scripts();
    assert!(!scripts.is_empty(), "no script of counter_ext is installed");
    for path in scripts {
        // Of these only the update is installed for others than this suite.
        let is_released = |version: &&str| path.ends_with(format!("counter_ext--{version}.sql"));
        if RELEASED.iter().any(is_released) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable script");
        let text = script::without_what_postgresql_refuses(&path.to_string_lossy(), &text);
        let found = script::unqualified(&text);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}:\n{}", path.display(), found.join("\n"));
    }
}

#[test]
fn nothing_of_the_target_schema_runs_at_install() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    let mut session = cluster.connect();
    traps::set(&mut session, "app");
    // The traps work: what is called without its schema falls into one.
    session.must("SET search_path = app");
    let caught = session.run("SELECT format('x'::text, 1)");
    assert!(caught.is_err() && traps::ran(&mut session, "app") == 1, "a trap does not work");
    session.must("RESET search_path");

    session.must("CREATE EXTENSION counter_ext SCHEMA app");
    assert_eq!(traps::ran(&mut session, "app"), 0, "traps ran during CREATE EXTENSION");
    session.must("SELECT app.counter_incr('a'::app.counter); DROP EXTENSION counter_ext");
    assert_eq!(traps::ran(&mut session, "app"), 0, "traps ran during DROP EXTENSION");

    // Only a superuser installs it, even into a schema and a database of somebody's own.
    session.must("CREATE ROLE mallory LOGIN; ALTER DATABASE postgres OWNER TO mallory; SET ROLE mallory; CREATE SCHEMA own");
    assert_sqlstate(
        "CREATE EXTENSION",
        session.run("CREATE EXTENSION counter_ext SCHEMA own"),
        INSUFFICIENT_PRIVILEGE,
    );
    drop(session);
    cluster.finish();
}

#[test]
fn a_schema_of_somebody_elses_is_refused() {
    let cluster = Cluster::start(Settings::preloaded().without_extension());
    let mut session = cluster.connect();
    // Neither way: its functions beside the tables, or apart from them.
    let install = |session: &mut Session| {
        let beside = session.run("CREATE EXTENSION counter_ext SCHEMA counter_ext");
        let apart = session.run("CREATE EXTENSION IF NOT EXISTS counter_ext SCHEMA public");
        assert_eq!(beside.is_ok(), apart.is_ok(), "beside: {beside:?}, apart: {apart:?}");
        apart
    };
    session.must("CREATE ROLE mallory; CREATE SCHEMA counter_ext AUTHORIZATION mallory");
    assert_sqlstate("a schema of mallory's", install(&mut session), DUPLICATE_SCHEMA);
    session.must(
        "ALTER SCHEMA counter_ext OWNER TO CURRENT_USER; GRANT CREATE ON SCHEMA counter_ext TO mallory",
    );
    assert_sqlstate("a schema that mallory may create in", install(&mut session), DUPLICATE_SCHEMA);
    session
        .must("REVOKE CREATE ON SCHEMA counter_ext FROM mallory; CREATE TABLE counter_ext.total (id text)");
    assert_sqlstate("a schema with a table", install(&mut session), DUPLICATE_SCHEMA);
    session.must("DROP TABLE counter_ext.total");
    install(&mut session).expect("an empty schema of one's own");
    session.must("SET search_path = counter_ext; SELECT counter_incr('a')");
    session.assert_count("a", 1);
    session.must("RESET search_path; DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext");
    drop(session);
    cluster.finish();
}

#[test]
fn a_dump_leaves_our_rights_to_the_script_and_keeps_those_that_were_granted() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    session.must("CREATE ROLE app; GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO app; SELECT counter_incr('a', 3)");
    session.must("CREATE DATABASE copy");
    let script = cluster.file("dump.sql");
    cluster.tool("pg_dump", &["--file", &script]);
    let dump = std::fs::read_to_string(&script).expect("the dump");
    let ours: Vec<&str> = dump
        .lines()
        .filter(|line| line.starts_with("REVOKE") || line.starts_with("GRANT"))
        .filter(|line| !line.contains("counter_ext.total TO app"))
        .collect();
    assert!(ours.is_empty(), "rights that are the script's are dumped: {ours:?}");
    cluster.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname=copy", "--file", &script]);
    let mut copy = cluster.connect_to("copy");
    let query = "SELECT count(*) FROM pg_proc p, aclexplode(proacl) a WHERE pronamespace = 'counter_ext'::regnamespace AND a.grantee = 0";
    assert_eq!(copy.value::<i64>(query), session.value::<i64>(query), "rights of PUBLIC");
    copy.must("SET ROLE app; SELECT counter_incr('a', 4)");
    copy.assert_count("a", 7);
    drop((session, copy));
    cluster.finish();
}

/// An expression of a type, all names qualified.
fn value_of(kind: &str) -> &'static str {
    match kind {
        "counter" => "'trap:a'::public.counter",
        "counter_hll" => "public.counter_hll_empty()",
        "text" => "'trap:t'::pg_catalog.text",
        "character varying" => "'trap:v'::pg_catalog.varchar",
        "name" => "'trap:n'::pg_catalog.name",
        "bytea" => "'\\x118e7f'::pg_catalog.bytea",
        "cstring" => "'trap:c'::pg_catalog.cstring",
        "cstring[]" => "'{14}'::pg_catalog.cstring[]",
        "smallint" => "7::pg_catalog.int2",
        "integer" => "14::pg_catalog.int4",
        "bigint" => "5::pg_catalog.int8",
        "boolean" => "true",
        "interval" => "'1 hour'::pg_catalog.interval",
        "interval[]" => "ARRAY['1 hour', '1 day']::pg_catalog.interval[]",
        "inet" => "'2001:db8::1'::pg_catalog.inet",
        "date" => "CURRENT_DATE",
        "oid" => "0::pg_catalog.oid",
        "uuid" => "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid",
        "regclass" => "'public.trapped'::pg_catalog.regclass",
        "text[]" => "ARRAY['trap:a', 'trap:b']::pg_catalog.text[]",
        // Offsets, too, of a batch from 5 to 5.
        "bigint[]" => "ARRAY[5, 5]::pg_catalog.int8[]",
        "anyelement" => "'anna'::pg_catalog.varchar",
        "\"any\"" => "'trap:y'::pg_catalog.varchar",
        "numeric" => "3::pg_catalog.numeric",
        "character" => "'trap:p'::pg_catalog.bpchar",
        "real" => "3::pg_catalog.float4",
        "double precision" => "3::pg_catalog.float8",
        "timestamp with time zone" => "'2026-01-01'::pg_catalog.timestamptz",
        "timestamp with time zone[]" => "ARRAY[NULL, pg_catalog.now()]::pg_catalog.timestamptz[]",
        _ => panic!("tell value_of() of an argument of type {kind}"),
    }
}

/// Arguments that values of their types alone would not make sense of.
fn arguments(function: &str, kinds: &str) -> Option<&'static str> {
    Some(match function {
        "counter_cache" if kinds.contains("text[]") => {
            "'public.trapped', 'trapmany:', ARRAY['kind']::pg_catalog.text[], NULL, NULL, NULL"
        }
        "counter_backfill" | "counter_verify" if kinds.contains("text[]") => {
            "'public.trapped', 'trapped:', ARRAY['kind']::pg_catalog.text[]"
        }
        "counter_cache" => "'public.trapped', 'trapcache:', 'kind'",
        "counter_backfill" | "counter_verify" => "'public.trapped', 'trapped:', 'kind'",
        "on_nodes" => "'SELECT 1'::pg_catalog.text, NULL",
        "counter_hll_empty" => "14, 5, -1, 1",
        // A table of its own: that of the other statements stays cached.
        "counter_uncache" => "'public.uncached', 'uncached:', false",
        "trigger_arguments" => "'\\x6100'::pg_catalog.bytea",
        "counter_likers" | "counter_liked_items" => {
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '0:anna'::pg_catalog.text, 5"
        }
        "counter_merge" => "'trap:t'::pg_catalog.text, 'trap:u'::pg_catalog.text",
        "counter_rename" => "'trap:t'::pg_catalog.text, pg_catalog.gen_random_uuid()::pg_catalog.text",
        // Declared by its prefix alone, and by the day below.
        "counter_board" => "'trap:t'::pg_catalog.text, NULL, NULL",
        "counter_unboard" => "'trap:t'::pg_catalog.text, NULL",
        "counter_board_top" => "'trap:t'::pg_catalog.text, 3, NULL, NULL",
        "counter_board_rank" if kinds.contains("bigint") => {
            "'trap:t'::pg_catalog.text, 5::pg_catalog.int8, NULL"
        }
        "counter_board_rank" if kinds.contains("uuid") => {
            "'trap:t'::pg_catalog.text, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid, NULL"
        }
        "counter_board_rank" => "'trap:t'::pg_catalog.text, 'x'::pg_catalog.text, NULL",
        "counter_board_around" if kinds.contains("bigint") => {
            "'trap:t'::pg_catalog.text, 5::pg_catalog.int8, 3, NULL"
        }
        "counter_board_around" if kinds.contains("uuid") => {
            "'trap:t'::pg_catalog.text, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::pg_catalog.uuid, 3, NULL"
        }
        "counter_board_around" => "'trap:t'::pg_catalog.text, 'x'::pg_catalog.text, 3, NULL",
        "counter_track" => "'trapseries:', '{minute,day}', '{1 day,forever}'",
        "counter_series" | "series_rows" => {
            "'trap:t'::pg_catalog.text, pg_catalog.now(), NULL, 'day'::pg_catalog.text"
        }
        "check_step" => "'day'::pg_catalog.text, pg_catalog.now(), NULL",
        "like_cursor_at" | "like_cursor_name" => "'0:anna'::pg_catalog.text",
        _ => return None,
    })
}

/// Each function that somebody may call, each operator, each cast and view of the extension, as statements.
fn everything(session: &mut Session) -> Vec<String> {
    const MEMBERS: &str = "pg_depend d WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
        AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext')";
    let mut statements = Vec::new();
    let functions: Vec<(String, String)> = session.pairs(&format!(
        "SELECT p.pronamespace::regnamespace || '.' || p.proname || '|' || p.prokind::text,
             coalesce((SELECT string_agg(format_type(t, NULL), '|' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n)), '')
         FROM pg_proc p WHERE p.oid IN (SELECT objid FROM {MEMBERS} AND d.classid = 'pg_proc'::regclass)
         AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype) AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
         AND has_function_privilege('trap_app', p.oid, 'EXECUTE') AND p.prokind <> 'p'
         ORDER BY p.proname = 'counter_drop', p.oid::regprocedure::text"
    ));
    for (name, kinds) in &functions {
        let (name, kind) = name.split_once('|').expect("a kind");
        let given = arguments(name.rsplit('.').next().unwrap_or_default(), kinds)
            .map(str::to_owned)
            .unwrap_or_else(|| {
                kinds.split('|').filter(|kind| !kind.is_empty()).map(value_of).collect::<Vec<_>>().join(", ")
            });
        let from = if kind == "a" { " FROM (VALUES (1), (2)) AS v" } else { "" };
        let call = if kind == "a" { "SELECT" } else { "SELECT * FROM" };
        statements.push(format!("{call} {name}({given}){from}"));
    }
    let operators: Vec<(String, String)> = session.pairs(&format!(
        "SELECT oprnamespace::regnamespace || '.' || oprname, coalesce(format_type(nullif(oprleft, 0), NULL), '') || '|' || format_type(oprright, NULL)
         FROM pg_operator o WHERE o.oid IN (SELECT objid FROM {MEMBERS} AND d.classid = 'pg_operator'::regclass)"
    ));
    for (name, kinds) in &operators {
        let (left, right) = kinds.split_once('|').expect("two types");
        let left = if left.is_empty() { "" } else { value_of(left) };
        statements.push(format!("SELECT {left} OPERATOR({name}) {}", value_of(right)));
    }
    let casts: Vec<(String, String)> = session.pairs(&format!(
        "SELECT format_type(castsource, NULL), t.typnamespace::regnamespace || '.' || t.typname
         FROM pg_cast c JOIN pg_type t ON t.oid = casttarget WHERE c.oid IN (SELECT objid FROM {MEMBERS} AND d.classid = 'pg_cast'::regclass)"
    ));
    statements.extend(casts.iter().map(|(from, to)| {
        let is_sketch = from == "text" && to.ends_with(".counter_hll");
        let value = if is_sketch { "'\\x118e7f'::pg_catalog.text" } else { value_of(from) };
        format!("SELECT ({value})::{to}")
    }));
    let views: Vec<(String, String)> = session.pairs(&format!(
        "SELECT c.relnamespace::regnamespace::text, c.relname::text FROM pg_class c
         WHERE c.oid IN (SELECT objid FROM {MEMBERS} AND d.classid = 'pg_class'::regclass) AND relkind = 'v'"
    ));
    statements.extend(views.iter().map(|(schema, view)| format!("SELECT * FROM {schema}.{view}")));
    statements.extend(
        [
            "SELECT public.counter_board('trap:'::pg_catalog.text, 'day'::pg_catalog.text, '1 day'::pg_catalog.interval)",
            "SELECT public.counter_incr('trap:s'::public.counter)",
            "SELECT public.counter_compact()",
            "SELECT * FROM public.counter_board_top('trap:'::pg_catalog.text, 3, pg_catalog.now(), 'day'::pg_catalog.text)",
            "SELECT public.counter_board_rank('trap:'::pg_catalog.text, 's'::pg_catalog.text, 'day'::pg_catalog.text)",
            "SELECT * FROM public.counter_board_around('trap:'::pg_catalog.text, 's'::pg_catalog.text, 3, 'day'::pg_catalog.text)",
            "SELECT public.counter_unboard('trap:'::pg_catalog.text, 'day'::pg_catalog.text)",
            "INSERT INTO public.trapped (kind) VALUES ('a'), ('b')",
            "UPDATE public.trapped SET kind = 'c'",
            "INSERT INTO counter_ext.liked (item, actor) VALUES ('trap:i', 'anna'), ('trap:i', 'bert')",
            "UPDATE counter_ext.liked SET actor = actor",
            "DELETE FROM counter_ext.liked",
            "BEGIN; SELECT public.counter_incr('trap:s'::public.counter); SAVEPOINT s; SELECT public.counter_incr('trap:s'::public.counter); \
             ROLLBACK TO s; COMMIT",
            "BEGIN; SET LOCAL counter_ext.mode = 'buffered'; SELECT public.counter_incr('trap:f'::public.counter, 2); COMMIT",
            "SELECT public.counter_incr_many(ARRAY(SELECT 'trap:many' OPERATOR(pg_catalog.||) g::pg_catalog.text FROM pg_catalog.generate_series(1, 70000) g))",
            "SELECT public.counter_compact()",
            "DELETE FROM public.trapped",
            "TRUNCATE public.trapped, counter_ext.liked",
        ]
        .map(str::to_owned),
    );
    statements
}

#[test]
fn nothing_of_the_callers_search_path_runs() {
    let mut cluster = Cluster::start(Settings::compacted_by_hand());
    let mut session = cluster.connect();
    traps::set(&mut session, "evil");
    traps::set_types(&mut session, "evil");
    session.must(
        "CREATE ROLE trap_app LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA counter_ext TO trap_app;
         GRANT TRUNCATE ON counter_ext.liked, counter_ext.liked_0 TO trap_app;
         GRANT pg_read_all_stats TO trap_app;
         DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE proname ~ '^counter_(allow|limit)' LOOP
             EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO trap_app', f); END LOOP; END $$;
         CREATE TABLE public.trapped (n serial, kind text);
         ALTER TABLE public.trapped OWNER TO trap_app;
         GRANT CREATE ON SCHEMA public TO trap_app;
         CREATE TABLE public.uncached (kind text);
         ALTER TABLE public.uncached OWNER TO trap_app;
         SELECT counter_cache('public.uncached', 'uncached:', 'kind');
         SELECT counter_cache('public.trapped', 'trapped:', 'kind'); SELECT counter_audit('trap:', true);
         SELECT counter_track('trap:'), counter_track('5'), counter_track('a0eebc99');
         DO $$ DECLARE t name; BEGIN FOR t IN SELECT relname FROM pg_class WHERE relnamespace = 'counter_ext'::regnamespace AND relname ~ '^liked'
             AND relkind IN ('r', 'p') LOOP EXECUTE format('GRANT TRUNCATE ON counter_ext.%I TO trap_app', t); END LOOP; END $$",
    );
    let statements = everything(&mut session);
    assert!(statements.len() > 120, "only {} statements were made", statements.len());
    for role in ["trap_app", "postgres"] {
        let mut victim = cluster.connect();
        victim.must(&format!("SET SESSION AUTHORIZATION {role}; SET search_path = evil, pg_catalog, public"));
        let mut failed = Vec::new();
        for statement in &statements {
            let result = victim.run(statement);
            let trapped = traps::ran(&mut session, "evil");
            assert_eq!(trapped, 0, "as {role}: {statement} ran a trap: {result:?}");
            if let Err(error) = result {
                let _ = victim.run("ROLLBACK");
                let why = counter_ext_cluster_tests::session::describe(&error);
                // Operators that are there to say so.
                if why.contains("a counter is an id, not a number") {
                    continue;
                }
                failed.push(format!("{statement}: {why}"));
            }
        }
        assert!(
            failed.len() <= EXPECTED_FAILURES,
            "as {role}, {} of {} failed:\n{}",
            failed.len(),
            statements.len(),
            failed.join("\n")
        );
        victim.must("SET counter_ext.mode = 'buffered'");
        victim.must("SELECT public.counter_incr('trap:f'::public.counter, 2)");
    }

    // What the first read after a crash looks up as the tables' owner; and the worker, in a database whose owner has set a path.
    session.must("ALTER DATABASE postgres SET search_path = evil, pg_catalog, public");
    drop(session);
    cluster.die(counter_ext_cluster_tests::cluster::Death::Everything);
    cluster.start_again();
    let mut victim = cluster.connect();
    victim.must("SET SESSION AUTHORIZATION trap_app; SET search_path = evil, pg_catalog, public");
    let value: i64 = victim.value("SELECT public.counter_get('trap:f'::public.counter)");
    victim.must("SELECT public.counter_compact()");
    let mut session = cluster.connect();
    assert_eq!(traps::ran(&mut session, "evil"), 0, "a trap ran after a crash");
    assert!(value > 0, "the counter is gone");
    drop((session, victim));
    cluster.finish();
}

/// A text that is no sketch, parameters that no sketch has, to forget everything without the right to TRUNCATE, and a harvester, or
/// what a node is asked for, where there are no nodes. Those that make nodes are in `nodes`.
const EXPECTED_FAILURES: usize = 6;

const SOON: Duration = Duration::from_secs(60);

/// Without a worker, so that nothing is recounted but by who is looked at.
#[test]
fn nobody_waits_for_a_caches_owner_or_runs_his_code() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut admin = cluster.connect();
    admin.must(
        "CREATE ROLE app; CREATE SCHEMA app AUTHORIZATION app; CREATE ROLE mallory; CREATE SCHEMA mal AUTHORIZATION mallory;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA counter_ext TO app, mallory;
         CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER elsewhere FOREIGN DATA WRAPPER dummy; GRANT USAGE ON FOREIGN SERVER elsewhere TO app",
    );
    let (mut app, mut reader) = (cluster.connect(), cluster.connect());
    let mut mallory = cluster.connect();
    app.must("SET SESSION AUTHORIZATION app");
    mallory.must("SET SESSION AUTHORIZATION mallory; CREATE TABLE mal.mine (i int)");
    let state = |session: &mut Session, prefix: &str| {
        session.value::<String>(&format!("SELECT state FROM counter_ext.cache WHERE prefix = '{prefix}'"))
    };
    let why = |session: &mut Session, prefix: &str| {
        let query = format!("SELECT coalesce(why, '') FROM counter_ext.cache WHERE prefix = '{prefix}'");
        session.value::<String>(&query)
    };

    // An index has code of app's run where a query of the table is planned. A partition that is being detached changes the table while nobody's
    // command is told of it.
    app.must(
        "CREATE TABLE app.pt (k int, d int) PARTITION BY LIST (d);
         CREATE TABLE app.pt1 PARTITION OF app.pt FOR VALUES IN (1); CREATE TABLE app.pt2 PARTITION OF app.pt FOR VALUES IN (2);
         CREATE TRIGGER i AFTER INSERT ON app.pt REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('ht:', 'k');
         CREATE TRIGGER d AFTER DELETE ON app.pt REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('ht:', 'k');
         CREATE TRIGGER u AFTER UPDATE ON app.pt REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('ht:', 'k');
         INSERT INTO app.pt VALUES (1, 1), (1, 2);
         SELECT counter_backfill('app.pt', 'ht:', 'k'); SELECT * FROM counter_verify('app.pt', 'ht:', 'k', repair => true);
         CREATE TABLE app.ran (who name);
         CREATE FUNCTION app.tell() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO app.ran VALUES (session_user); END';
         CREATE FUNCTION app.evil(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM app.tell(); RETURN n; END';
         CREATE INDEX ON app.pt2 (k) WHERE d > app.evil(7)",
    );
    assert_eq!(state(&mut admin, "ht:"), "right");
    reader.must("BEGIN; SELECT count(*) FROM app.pt");
    app.must("SET statement_timeout = '1s'");
    wait::until("the partition is being detached", SOON, || {
        let _ = app.run("ALTER TABLE app.pt DETACH PARTITION app.pt1 CONCURRENTLY");
        admin.value::<bool>("SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'app.pt1'::regclass")
    });
    app.must("RESET statement_timeout");
    // It stays so.
    drop(reader);
    let ran_elsewhere = "SELECT count(*) FROM app.ran WHERE who <> 'app'";
    mallory.must("ALTER TABLE mal.mine ADD m int");
    assert_eq!(admin.value::<i64>(ran_elsewhere), 0, "app's code ran in mallory's session");
    assert_eq!(state(&mut admin, "ht:"), "stale");
    admin.must("ALTER TABLE app.pt ADD n int; SELECT counter_compact()");
    assert_eq!(admin.value::<i64>(ran_elsewhere), 0, "app's code ran in a superuser's session");
    assert!(why(&mut admin, "ht:").contains("functions of users"), "{}", why(&mut admin, "ht:"));

    // Its table has another name, of which nobody was told. What the first command finds is in its own transaction.
    app.must("CREATE TABLE app.own (k int); SELECT counter_cache('app.own', 'own:', 'k'); INSERT INTO app.own VALUES (1)");
    admin.must(
        "SET session_replication_role = replica; ALTER TABLE app.own RENAME TO renamed; ALTER TABLE app.renamed RENAME COLUMN k TO l;
         RESET session_replication_role",
    );
    app.must("BEGIN; CREATE TABLE app.junk (i int)");
    mallory.must("SET lock_timeout = '5s'; CREATE TABLE mal.own (i int); ALTER TABLE mal.own ADD j int");
    admin.must("SET lock_timeout = '5s'; CREATE TEMPORARY TABLE mine (i int); DROP TABLE mine");
    app.must("ROLLBACK");
    mallory.must("DROP TABLE mal.own");
    // Others than the owner have it recounted by nobody but the worker, or a superuser.
    assert_eq!(state(&mut admin, "own:"), "stale");
    mallory.must("SELECT counter_compact()");
    assert_eq!(state(&mut admin, "own:"), "stale");
    wait::until("it is followed", SOON, || {
        admin.must("SELECT counter_compact()");
        state(&mut admin, "own:") == "right"
    });
    app.must("INSERT INTO app.renamed VALUES (1)");
    admin.assert_count("own:1", 2);
    assert_eq!(
        admin.value::<String>("SELECT relation FROM counter_ext.cache WHERE prefix = 'own:'"),
        "app.renamed"
    );

    // Whoever counts through a table of another's keeps that one waiting no more than a moment, and what he counts is mended after that.
    admin.must(
        "CREATE TABLE public.books (id int PRIMARY KEY, author int); INSERT INTO public.books VALUES (1, 7);
         GRANT SELECT ON public.books TO app",
    );
    app.must(
        "CREATE TABLE app.chapters (book int);
         CREATE TRIGGER t AFTER INSERT ON app.chapters REFERENCING NEW TABLE AS n FOR EACH STATEMENT
             EXECUTE FUNCTION counter_rows('ch:', 'book', 'through', 'public.books', 'by', 'id', 'to', 'author')",
    );
    app.must("BEGIN; ALTER TABLE app.chapters ADD n int");
    admin.must("UPDATE counter_ext.cache SET state = 'right' WHERE prefix = 'ch:'");
    admin.must("ALTER TABLE public.books RENAME TO volumes");
    app.must("ROLLBACK");
    mallory.must("CREATE TABLE mal.own (i int)");
    assert_eq!(state(&mut admin, "ch:"), "stale");
    app.must("CREATE TABLE app.junk (i int)");
    let through = "SELECT arguments[4] FROM counter_ext.cache WHERE prefix = 'ch:'";
    assert_eq!(admin.value::<String>(through), "public.volumes");

    // Another server answers when it likes.
    app.must(
        "CREATE TABLE app.ft (k int, d int) PARTITION BY LIST (d); CREATE TABLE app.ft1 PARTITION OF app.ft FOR VALUES IN (1);
         SELECT counter_cache('app.ft', 'ft:', 'k');
         CREATE FOREIGN TABLE app.ft2 PARTITION OF app.ft FOR VALUES IN (2) SERVER elsewhere",
    );
    admin.must("UPDATE counter_ext.cache SET state = 'stale' WHERE prefix = 'ft:'; SELECT counter_compact()");
    assert!(why(&mut admin, "ft:").contains("another server"), "{}", why(&mut admin, "ft:"));
    drop((app, mallory, admin));
    cluster.finish();
}
