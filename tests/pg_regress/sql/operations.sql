-- Creating, dropping, settings, what belongs to the extension.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS counter_ext CASCADE;
RESET client_min_messages;
CREATE EXTENSION counter_ext;
SELECT counter_incr('operations:a', 5);
SELECT counter_version() = extversion AS same, extnamespace::regnamespace AS schema, extrelocatable AS relocatable
    FROM pg_extension WHERE extname = 'counter_ext';

-- Settings.
SHOW counter_ext.slots;
SHOW counter_ext.compact_interval;
SHOW counter_ext.node;
SELECT name, setting, unit, context, vartype, min_val, max_val, boot_val FROM pg_settings
    WHERE name IN ('counter_ext.slots', 'counter_ext.compact_interval', 'counter_ext.node') ORDER BY name;
SET counter_ext.slots = 1;
SET counter_ext.slots = 1024;
SET counter_ext.slots = 0;
SET counter_ext.slots = 1025;
SET counter_ext.slots = 'many';
SHOW counter_ext.slots;
BEGIN;
SET LOCAL counter_ext.slots = 7;
SHOW counter_ext.slots;
COMMIT;
SHOW counter_ext.slots;
RESET counter_ext.slots;
SHOW counter_ext.slots;
SET counter_ext.compact_interval = '5s';
SET counter_ext.node = 2;
-- A misspelt one is refused.
SET counter_ext.foo = 1;
SET counter_ext.slot = 1;
SELECT set_config('counter_ext.compact_intervall', '1s', false);

-- What pg_dump takes along as data.
SELECT c::regclass AS table, condition FROM pg_extension, unnest(extconfig, extcondition) AS config (c, condition)
    WHERE extname = 'counter_ext' ORDER BY c::regclass::text COLLATE "C";

-- Everything belongs to the extension.
\pset format unaligned
SELECT p.oid::regprocedure AS function, pg_get_function_result(p.oid) AS result, provolatile, proisstrict AS strict, proparallel
    FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refobjid = e.oid
    WHERE extname = 'counter_ext' AND pronamespace = extnamespace ORDER BY p.oid::regprocedure::text COLLATE "C";
\pset format aligned
SELECT attrelid::regclass AS view, attname AS column, format_type(atttypid, atttypmod) AS type FROM pg_attribute
    WHERE attrelid IN ('counters'::regclass, 'counter_stats'::regclass) AND attnum > 0 ORDER BY attrelid::regclass::text COLLATE "C", attnum;
SELECT attrelid::regclass AS table, attname AS column, format_type(atttypid, atttypmod) AS type, attnotnull AS not_null, collname AS collation
    FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation
    WHERE attrelid IN ('counter_ext.total'::regclass, 'counter_ext.slot'::regclass) AND attnum > 0 ORDER BY attrelid::regclass::text COLLATE "C", attnum;
SELECT conrelid::regclass AS table, pg_get_constraintdef(oid) AS constraint FROM pg_constraint
    WHERE conrelid IN ('counter_ext.total'::regclass, 'counter_ext.slot'::regclass) AND contype IN ('p', 'c') ORDER BY conrelid::regclass::text COLLATE "C", contype;
SELECT castsource::regtype AS source, casttarget::regtype AS target, castcontext FROM pg_cast
    WHERE 'counter'::regtype IN (castsource, casttarget) ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";
-- Whatever the search path, also one that names other things first.
CREATE SCHEMA mischief;
CREATE FUNCTION mischief.counter_get(text) RETURNS bigint LANGUAGE sql AS 'SELECT -1';
CREATE TABLE mischief.total (id text, node int, value bigint);
SET search_path = mischief, pg_catalog;
SELECT public.counter_incr('operations:a'), public.counter_incr(1234567::bigint);
SELECT public.counter_get('operations:a'), public.counter_get(1234567::bigint), 'operations:a'::public.counter::int;
SELECT value FROM public.counters WHERE id = 'operations:a';
SET search_path = pg_catalog, pg_temp;
SELECT public.counter_get('operations:a'), public.counter_get_exact(1234567::bigint), 'operations:a'::public.counter::numeric;
RESET search_path;
DROP SCHEMA mischief CASCADE;

-- Errors of other commands come through as PostgreSQL makes them.
CREATE TABLE other (x int, y no_such_type);
CREATE TABLE other (x int);
INSERT INTO other VALUES (1), (1);
CREATE UNIQUE INDEX ON other (x);
CREATE INDEX ON other ((x + random()::int));
DO $$ BEGIN PERFORM 1 / 0; END $$;
DO $$ BEGIN RAISE EXCEPTION 'no' USING HINT = 'Do not.', DETAIL = 'Not now.', ERRCODE = 'XX123'; END $$;
\echo :LAST_ERROR_SQLSTATE
DO $$
DECLARE
    violated text;
BEGIN
    EXECUTE 'ALTER TABLE other ADD CONSTRAINT large CHECK (x > 1)';
EXCEPTION WHEN check_violation THEN
    GET STACKED DIAGNOSTICS violated = CONSTRAINT_NAME;
    RAISE NOTICE 'violated: %', violated;
END $$;
COPY other FROM STDIN;
one
\.
DROP TABLE other;

-- Dropping it: what depends on it stands in the way.
CREATE TABLE videos (views counter);
INSERT INTO videos VALUES ('operations:a');
\set VERBOSITY terse
DROP EXTENSION counter_ext;
DROP TABLE videos;
DROP TABLE counter_ext.slot;
DROP SCHEMA counter_ext;
DROP FUNCTION counter_get(counter);
\set VERBOSITY default
BEGIN;
SELECT counter_incr('operations:a');
DROP EXTENSION counter_ext;
\set VERBOSITY terse
SELECT counter_get('operations:a');
\set VERBOSITY default
ROLLBACK;
SELECT counter_get('operations:a'), counter_get_exact('operations:a');
BEGIN;
SELECT counter_incr('operations:a', 10);
SAVEPOINT s;
DROP EXTENSION counter_ext;
ROLLBACK TO s;
SELECT counter_incr('operations:a', 100);
COMMIT;
SELECT counter_get('operations:a'), counter_get_exact('operations:a');
-- Dropped, it forgets; created again in the same session, it starts from nothing.
BEGIN;
SELECT counter_incr('operations:a');
DROP EXTENSION counter_ext;
COMMIT;
SELECT to_regclass('counter_ext.total') IS NULL AND to_regtype('counter') IS NULL AND to_regnamespace('counter_ext') IS NULL AS gone;
CREATE EXTENSION counter_ext;
SELECT counter_get('operations:a'), counter_get_exact('operations:a'), (SELECT count(*) FROM counters) AS counters;
SELECT counter_incr('operations:a', 3);
SELECT counter_get('operations:a'), counter_get_exact('operations:a');
-- Dropped and created in one transaction: what was counted before the drop is gone after it, and nothing can be
-- counted after it until the transaction ends.
BEGIN;
SELECT counter_incr('operations:a', 1000);
DROP EXTENSION counter_ext;
CREATE EXTENSION counter_ext;
SELECT counter_get('operations:a'), counter_get_exact('operations:a'), (SELECT count(*) FROM counters) AS counters;
SELECT counter_incr('operations:b', 7);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT counter_get('operations:a'), counter_get('operations:b');
BEGIN;
SELECT counter_incr('operations:a', 1000);
DROP EXTENSION counter_ext;
CREATE EXTENSION counter_ext;
COMMIT;
SELECT counter_get('operations:a'), counter_get_exact('operations:a'), (SELECT count(*) FROM counters) AS counters;
SELECT counter_incr('operations:b', 7);
-- A drop that is rolled back leaves all as it was.
BEGIN;
DROP EXTENSION counter_ext;
CREATE EXTENSION counter_ext;
SELECT counter_incr('operations:b', 100);
ROLLBACK;
SELECT counter_get('operations:a'), counter_get('operations:b');
DROP EXTENSION counter_ext;
-- Created in a transaction, it counts there at once.
BEGIN;
CREATE EXTENSION counter_ext;
SELECT counter_incr('operations:c', 4);
SELECT counter_get('operations:c');
COMMIT;
SELECT counter_get('operations:c'), counter_get_exact('operations:c');
DROP EXTENSION counter_ext;
BEGIN;
CREATE EXTENSION counter_ext;
SELECT counter_incr('operations:c', 4);
ROLLBACK;
SELECT to_regclass('counter_ext.total') IS NULL AS gone;

-- Only superusers create it.
CREATE ROLE regress_counter_user;
GRANT CREATE ON SCHEMA public TO regress_counter_user;
SET ROLE regress_counter_user;
CREATE EXTENSION counter_ext;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM regress_counter_user;
DROP ROLE regress_counter_user;

-- In a schema of its own: functions, type and views there, tables in counter_ext.
CREATE SCHEMA counting;
CREATE EXTENSION counter_ext SCHEMA counting;
SELECT counting.counter_incr('operations:a', 2), counting.counter_incr(88, 3);
SELECT counting.counter_get('operations:a'), counting.counter_get(88), counting.counter_get_exact(88);
SELECT 'operations:a'::counting.counter::bigint, 88::counting.counter::int, 88::counting.counter::numeric;
SELECT id, value FROM counting.counters ORDER BY id;
SELECT slot_rows >= 0 AS answered FROM counting.counter_stats;
SELECT value FROM counting.counter_info(88);
SELECT counting.counter_reset(88), counting.counter_drop(88), counting.counter_compact() >= 0 AS compacted;
CREATE TABLE videos (views counting.counter PRIMARY KEY);
INSERT INTO videos VALUES ('operations:a');
SELECT views, views::bigint FROM videos;
SET search_path = counting, public;
SELECT counter_get('operations:a'), views::bigint FROM videos;
RESET search_path;
DROP TABLE videos;
SELECT counter_ext.set_schema('public');
SELECT public.counter_get('operations:a');
SELECT counter_ext.set_schema('counting');
DROP SCHEMA counting;
DROP SCHEMA counting CASCADE;
SELECT to_regclass('counter_ext.total') IS NULL AS gone;
CREATE EXTENSION counter_ext;
