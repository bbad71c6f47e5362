-- What a role has decides nothing over commands of others, and what these have set decides nothing over what is found of a cache.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set database :DBNAME
CREATE ROLE cst_app;
CREATE ROLE cst_late;
CREATE ROLE cst_other;
CREATE SCHEMA cst AUTHORIZATION cst_app;
CREATE SCHEMA cst_late AUTHORIZATION cst_late;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cst_app;

-- Whatever runs with other rights than the caller's is given the settings by which it reads texts and quotes names.
SELECT p.oid::regprocedure AS not_pinned FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'counter_ext'
    WHERE p.prosecdef AND NOT coalesce(p.proconfig @> '{standard_conforming_strings=on,quote_all_identifiers=off}', false);

-- As many columns of a key as there can be, with the longest names: more than an index takes. Noted once their owner may count.
SET ROLE cst_late;
DO $$
DECLARE
    names CONSTANT text[] := ARRAY(SELECT left('c' || md5(i::text) || md5('x' || i), 63) FROM generate_series(1, 34) AS i);
BEGIN
    EXECUTE format('CREATE TABLE cst_late.long (%s, %I int, %I bool)', (SELECT string_agg(format('%I int', n), ', ') FROM unnest(names[:32]) AS n), names[33], names[34]);
    EXECUTE format('CREATE TRIGGER t AFTER INSERT ON cst_late.long REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows(%L, %L, %s, ''amount'', %L, ''only'', %L)',
        'cst-long:' || left(md5('a') || md5('b') || md5('c') || md5('d') || md5('e'), 150), names[1],
        (SELECT string_agg(format('''key'', %L', n), ', ') FROM unnest(names[2:32]) AS n), names[33], names[34]);
END
$$;
RESET ROLE;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cst_late;
SET ROLE cst_other;
CREATE TEMPORARY TABLE cst_own (i int);
DROP TABLE cst_own;
RESET ROLE;
SELECT relation, cardinality(arguments), state FROM counter_ext.cache WHERE prefix LIKE 'cst-long:%';
SELECT left('c' || md5('1') || md5('x1'), 63) AS first \gset
ALTER TABLE cst_late.long RENAME COLUMN :first TO renamed;
ALTER TABLE cst_late.long RENAME TO longer;
SELECT relation, cardinality(arguments), arguments[2] FROM counter_ext.cache WHERE prefix LIKE 'cst-long:%';
DROP TABLE cst_late.longer;
REVOKE ALL ON counter_ext.total FROM cst_late;

-- Arguments of triggers that cannot count, and of those that partitions have from their table, are taken apart in nobody's command.
DO $$
DECLARE
    taken_apart CONSTANT oid := 'counter_ext.trigger_arguments(bytea)'::regprocedure;
    calls bigint[] := '{}';
BEGIN
    SET LOCAL track_functions = 'all';
    FOR step IN 1..2 LOOP
        calls := calls || coalesce(pg_stat_get_xact_function_calls(taken_apart), 0);
        SET LOCAL ROLE cst_other;
        EXECUTE format('CREATE TEMPORARY TABLE cst_own_%s (i int)', step);
        SET LOCAL ROLE NONE;
        calls := calls || coalesce(pg_stat_get_xact_function_calls(taken_apart), 0);
        CONTINUE WHEN step = 2;
        SET LOCAL ROLE cst_late;
        CREATE TABLE cst_late.parted (k int) PARTITION BY LIST (k);
        FOR part IN 1..8 LOOP
            EXECUTE format('CREATE TABLE cst_late.parted_%s PARTITION OF cst_late.parted FOR VALUES IN (%s)', part, part);
        END LOOP;
        CREATE TRIGGER t AFTER INSERT ON cst_late.parted FOR EACH ROW EXECUTE FUNCTION counter_rows('cst-ö:', 'k');
        SET LOCAL ROLE NONE;
    END LOOP;
    RAISE NOTICE '% calls more', calls[4] - calls[3] - (calls[2] - calls[1]);
END
$$;
DROP TABLE cst_late.parted;

-- Settings of a caller: prefixes that are escaped in the catalogs, and names that are quoted.
SET ROLE cst_app;
CREATE TABLE cst.a (k text);
CREATE TABLE cst.b (k text);
CREATE TABLE cst.posts (id int PRIMARY KEY, author int);
CREATE TABLE cst.likes (post int REFERENCES cst.posts);
SELECT counter_cache('cst.a', 'cst-ü:', 'k'), counter_cache('cst.b', 'cst\000\\1:', 'k');
SET quote_all_identifiers = on;
SELECT counter_cache('cst.likes', 'cst-likes:', 'post', through => 'cst.posts.author');
RESET quote_all_identifiers;
RESET ROLE;
SELECT relation, arguments, state FROM counter_ext.cache WHERE prefix LIKE 'cst%' ORDER BY prefix;
SELECT DISTINCT arguments FROM counter_ext.middle_trigger WHERE relid = 'cst.posts'::regclass;
DO $$
DECLARE
    setting text;
BEGIN
    FOREACH setting IN ARRAY ARRAY['quote_all_identifiers=on', 'standard_conforming_strings=off', 'array_nulls=off', 'transform_null_equals=on',
            'bytea_output=escape', 'datestyle=German, DMY', 'intervalstyle=sql_standard', 'extra_float_digits=-15', 'timezone=Asia/Kathmandu',
            'row_security=off', 'xmlbinary=hex', 'backslash_quote=off', 'plpgsql.extra_errors=all'] LOOP
        BEGIN
            SET LOCAL escape_string_warning = off;
            PERFORM set_config(split_part(setting, '=', 1), split_part(setting, '=', 2), true);
            SET LOCAL ROLE cst_other;
            CREATE TEMPORARY TABLE cst_own (i int);
            ALTER TABLE cst_own ADD j int;
            DROP TABLE cst_own;
            SET LOCAL ROLE NONE;
            RAISE EXCEPTION '% not right', (SELECT count(*) FROM counter_ext.cache WHERE prefix LIKE 'cst%' AND state <> 'right');
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE '%: %', setting, SQLERRM;
        END;
    END LOOP;
END
$$;

-- Whatever is wrong with a cache is its owner's: others' commands pass it over, and it is looked at anew.
SET ROLE cst_late;
CREATE TABLE cst_late.t (k int);
CREATE TRIGGER t AFTER INSERT ON cst_late.t FOR EACH ROW EXECUTE FUNCTION counter_rows('cst-late:', 'k');
RESET ROLE;
BEGIN;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cst_late;
CREATE OR REPLACE FUNCTION counter_ext.cache_found(relation oid, arguments text[]) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a broken cache''; END';
CREATE OR REPLACE FUNCTION counter_ext.argument_numbers(relation oid, middle oid, arguments text[]) RETURNS smallint[] LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a broken trigger''; END';
SET LOCAL ROLE cst_other;
CREATE TEMPORARY TABLE cst_own (i int);
ALTER TABLE cst_own ADD j int;
DROP TABLE cst_own;
SET LOCAL ROLE NONE;
CREATE TEMPORARY TABLE cst_own (i int);
SELECT prefix, state FROM counter_ext.cache WHERE prefix LIKE 'cst%' ORDER BY prefix;
SAVEPOINT s;
ALTER TABLE cst.a ADD n int;
ROLLBACK TO s;
ROLLBACK;
DROP TABLE cst_late.t;

-- A label of an enum that has no text in UTF-8.
SET client_min_messages = warning;
CREATE DATABASE cst_win1252 ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c cst_win1252
SET client_min_messages = warning;
CREATE EXTENSION counter_ext;
CREATE TYPE label AS ENUM ('a', E'\x81');
CREATE TABLE labelled (k label);
SELECT counter_cache('labelled', 'e:', 'k');
CREATE TEMPORARY TABLE cst_own (i int);
SELECT prefix, state FROM counter_ext.cache;
INSERT INTO labelled VALUES ('a');
SELECT counter_get('e:a');
\c :database
SET client_min_messages = warning;
DROP DATABASE cst_win1252;
DROP SCHEMA cst, cst_late CASCADE;
DROP OWNED BY cst_app, cst_late, cst_other;
DROP ROLE cst_app, cst_late, cst_other;
