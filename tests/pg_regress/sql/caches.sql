-- Counter caches: counters of the rows of a table.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
-- Every difference between counters and rows, of all the caches below: none may ever be left.
CREATE FUNCTION difference(source regclass, prefix text, key text) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(format('%s: %s counted, %s rows', id, counted, rows), '; '), 'none') FROM counter_verify(source, prefix, key) $$;

-- By hand, with transition tables of any name.
CREATE TABLE cc_comments (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, post_id int, body text DEFAULT '');
CREATE TRIGGER ins AFTER INSERT ON cc_comments REFERENCING NEW TABLE AS n
    FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:post:', 'post_id');
CREATE TRIGGER del AFTER DELETE ON cc_comments REFERENCING OLD TABLE AS "An Odd ""Name"""
    FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:post:', 'post_id');
CREATE TRIGGER upd AFTER UPDATE ON cc_comments REFERENCING NEW TABLE AS b OLD TABLE AS a
    FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:post:', 'post_id');
CREATE TRIGGER tru BEFORE TRUNCATE ON cc_comments
    FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:post:', 'post_id');
INSERT INTO cc_comments (post_id) VALUES (42), (42), (43), (NULL), (42);
SELECT counter_get('cc:post:42'), counter_get('cc:post:43'), counter_get('cc:post:');
INSERT INTO cc_comments (post_id) SELECT 1 WHERE false;
-- What does not change the key changes nothing; what does moves a row.
UPDATE cc_comments SET body = 'x';
UPDATE cc_comments SET post_id = post_id;
SELECT counter_get('cc:post:42'), counter_get('cc:post:43');
UPDATE cc_comments SET post_id = 43 WHERE id = 1;
UPDATE cc_comments SET post_id = NULL WHERE id = 2;
UPDATE cc_comments SET post_id = 42 WHERE id = 4;
SELECT counter_get('cc:post:42'), counter_get('cc:post:43'), difference('cc_comments', 'cc:post:', 'post_id');
-- A BEFORE trigger may change the key of an UPDATE that does not name it.
CREATE FUNCTION to_44() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.post_id := 44; RETURN NEW; END $$;
CREATE TRIGGER to_44 BEFORE UPDATE ON cc_comments FOR EACH ROW EXECUTE FUNCTION to_44();
UPDATE cc_comments SET body = 'y' WHERE id = 1;
DROP TRIGGER to_44 ON cc_comments;
SELECT counter_get('cc:post:44'), difference('cc_comments', 'cc:post:', 'post_id');
DELETE FROM cc_comments WHERE id IN (1, 2);
SELECT counter_get('cc:post:44'), difference('cc_comments', 'cc:post:', 'post_id');
-- COPY, ON CONFLICT, MERGE, a WITH query of several.
COPY cc_comments (post_id) FROM stdin;
42
45
45
\.
INSERT INTO cc_comments OVERRIDING SYSTEM VALUE VALUES (3, 46), (100, 46) ON CONFLICT (id) DO UPDATE SET post_id = excluded.post_id;
MERGE INTO cc_comments c USING (VALUES (3, 47), (100, NULL), (200, 47), (4, -1)) AS v (id, post_id) ON c.id = v.id
    WHEN MATCHED AND v.post_id = -1 THEN DELETE
    WHEN MATCHED THEN UPDATE SET post_id = v.post_id
    WHEN NOT MATCHED THEN INSERT (post_id) VALUES (v.post_id);
WITH gone AS (DELETE FROM cc_comments WHERE post_id = 45 RETURNING post_id)
    INSERT INTO cc_comments (post_id) SELECT post_id + 3 FROM gone;
SELECT * FROM counter_get_many(ARRAY['cc:post:42', 'cc:post:45', 'cc:post:46', 'cc:post:47', 'cc:post:48']);
SELECT difference('cc_comments', 'cc:post:', 'post_id');
-- Rolled back, and partly.
BEGIN;
INSERT INTO cc_comments (post_id) SELECT 42 FROM generate_series(1, 10);
SAVEPOINT s;
DELETE FROM cc_comments WHERE post_id = 42;
SELECT counter_get('cc:post:42'), difference('cc_comments', 'cc:post:', 'post_id');
ROLLBACK TO s;
SELECT counter_get('cc:post:42'), difference('cc_comments', 'cc:post:', 'post_id');
ROLLBACK;
SELECT counter_get('cc:post:42'), difference('cc_comments', 'cc:post:', 'post_id');
-- In buffered mode too the counts are rows: they commit with the table's.
SET counter_ext.mode = 'buffered';
BEGIN;
INSERT INTO cc_comments (post_id) VALUES (42);
SELECT counter_incr('cc:by hand');
COMMIT;
RESET counter_ext.mode;
SELECT counter_get_exact('cc:post:42') - counter_get('cc:post:42') AS buffered, counter_get_exact('cc:by hand');
-- Prepared.
BEGIN;
INSERT INTO cc_comments (post_id) VALUES (49);
PREPARE TRANSACTION 'cc';
SELECT counter_get('cc:post:49'), difference('cc_comments', 'cc:post:', 'post_id');
COMMIT PREPARED 'cc';
SELECT counter_get('cc:post:49'), difference('cc_comments', 'cc:post:', 'post_id');
-- TRUNCATE, in a transaction that has written the table, rolled back and not.
BEGIN;
INSERT INTO cc_comments (post_id) VALUES (42), (50);
TRUNCATE cc_comments;
SELECT counter_get('cc:post:42'), counter_get('cc:post:50'), difference('cc_comments', 'cc:post:', 'post_id');
ROLLBACK;
SELECT difference('cc_comments', 'cc:post:', 'post_id');
TRUNCATE cc_comments;
SELECT counter_get('cc:post:42'), counter_get('cc:post:49'), difference('cc_comments', 'cc:post:', 'post_id');
-- Drift: what is changed past the triggers. It is found, and mended, and then there is none.
INSERT INTO cc_comments (post_id) VALUES (1), (1), (2), (3);
ALTER TABLE cc_comments DISABLE TRIGGER USER;
INSERT INTO cc_comments (post_id) VALUES (1), (4);
DELETE FROM cc_comments WHERE post_id = 3;
ALTER TABLE cc_comments ENABLE TRIGGER USER;
SELECT counter_incr('cc:post:5', 7), counter_incr('cc:post:x', 7), counter_incr('cc:post:05', 7);
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id');
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id', repair => true);
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id');
-- What cannot be a key's is somebody else's.
SELECT * FROM counter_get_many(ARRAY['cc:post:1', 'cc:post:3', 'cc:post:5', 'cc:post:x', 'cc:post:05']);
-- The caller's own increments, written or not, count once; under REPEATABLE READ too, and in a savepoint.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT counter_get('cc:post:1');
INSERT INTO cc_comments (post_id) VALUES (1), (6);
SELECT counter_incr('cc:post:1', 100), counter_incr('cc:post:7', 3);
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id');
SAVEPOINT s;
SELECT counter_backfill('cc_comments', 'cc:post:', 'post_id');
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id');
SELECT * FROM counter_get_many(ARRAY['cc:post:1', 'cc:post:6', 'cc:post:7']);
ROLLBACK TO s;
SELECT * FROM counter_verify('cc_comments', 'cc:post:', 'post_id', true);
SELECT counter_backfill('cc_comments', 'cc:post:', 'post_id');
INSERT INTO cc_comments (post_id) VALUES (1);
COMMIT;
SELECT counter_get('cc:post:1'), counter_get('cc:post:7'), difference('cc_comments', 'cc:post:', 'post_id');
-- More keys than a transaction holds pending, and than a batch: spilled, in a savepoint, mended past the triggers.
CREATE TABLE cc_many (k bigint);
SELECT counter_cache('cc_many', 'cc:many:', 'k');
BEGIN;
SAVEPOINT s;
INSERT INTO cc_many SELECT g % 70000 FROM generate_series(1, 100000) g;
SELECT difference('cc_many', 'cc:many:', 'k');
RELEASE s;
UPDATE cc_many SET k = k + 1 WHERE k >= 69000;
DELETE FROM cc_many WHERE k < 60000;
SELECT counter_backfill('cc_many', 'cc:many:', 'k');
COMMIT;
SELECT counter_get('cc:many:70000'), counter_get('cc:many:0'), difference('cc_many', 'cc:many:', 'k');
ALTER TABLE cc_many DISABLE TRIGGER USER;
INSERT INTO cc_many SELECT g FROM generate_series(68000, 75000) g;
ALTER TABLE cc_many ENABLE TRIGGER USER;
SELECT counter_backfill('cc_many', 'cc:many:', 'k');
SELECT difference('cc_many', 'cc:many:', 'k');
-- A count outside bigint.
SELECT counter_set('cc:many:70000', 9223372036854775807);
BEGIN;
SELECT counter_incr('cc:many:70000', 1);
\set VERBOSITY terse
SAVEPOINT s;
SELECT difference('cc_many', 'cc:many:', 'k');
ROLLBACK TO s;
\set VERBOSITY default
SELECT counter_backfill('cc_many', 'cc:many:', 'k'), counter_get('cc:many:70000'), difference('cc_many', 'cc:many:', 'k');
COMMIT;
SELECT counter_get('cc:many:70000'), counter_get_exact('cc:many:70000'), difference('cc_many', 'cc:many:', 'k');
DROP TABLE cc_many;
-- Dropping each would take a lock each.
DO $$ BEGIN
    PERFORM counter_compact();
    DELETE FROM counter_ext.slot WHERE id LIKE 'cc:many:%';
    DELETE FROM counter_ext.total WHERE id LIKE 'cc:many:%';
END $$;
-- session_replication_role: by triggers that are made by hand rows are counted there only where they say so.
SET session_replication_role = replica;
INSERT INTO cc_comments (post_id) VALUES (60);
RESET session_replication_role;
SELECT counter_get('cc:post:60'), counter_backfill('cc_comments', 'cc:post:', 'post_id'), counter_get('cc:post:60');
ALTER TABLE cc_comments ENABLE ALWAYS TRIGGER ins;
SET session_replication_role = replica;
INSERT INTO cc_comments (post_id) VALUES (60);
RESET session_replication_role;
SELECT counter_get('cc:post:60'), difference('cc_comments', 'cc:post:', 'post_id');
-- A query that is just changing the table cannot mend its counters.
CREATE FUNCTION backfill_now() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM counter_backfill('cc_comments', 'cc:post:', 'post_id'); RETURN NULL; END $$;
CREATE TRIGGER a_backfill AFTER INSERT ON cc_comments EXECUTE FUNCTION backfill_now();
\set VERBOSITY terse
INSERT INTO cc_comments (post_id) VALUES (61);
\set VERBOSITY default
DROP TRIGGER a_backfill ON cc_comments;

-- All at once, on a table with rows; again, it finds everything there.
CREATE TABLE "cc Odd 'Table'" ("the ""Key""" text, n int);
INSERT INTO "cc Odd 'Table'" VALUES ('a', 1), ('a', 2), ('b''c\d', 3), ('', 4), (NULL, 5);
SELECT counter_cache('"cc Odd ''Table''"', 'cc:odd''\:', 'the "Key"');
SELECT counter_cache('"cc Odd ''Table''"', 'cc:odd''\:', 'the "Key"');
SELECT regexp_replace(pg_get_triggerdef(oid), 'EXECUTE.*', '') FROM pg_trigger WHERE tgrelid = '"cc Odd ''Table''"'::regclass ORDER BY tgname;
INSERT INTO "cc Odd 'Table'" VALUES ('a', 6), ('b''c\d', 7);
UPDATE "cc Odd 'Table'" SET "the ""Key""" = 'ü' WHERE n = 1;
SELECT * FROM counter_get_many(ARRAY['cc:odd''\:a', 'cc:odd''\:b''c\d', 'cc:odd''\:', 'cc:odd''\:ü']);
SELECT difference('"cc Odd ''Table''"', 'cc:odd''\:', 'the "Key"');
-- A key that is too long for an id (cache_keys has more of them).
INSERT INTO "cc Odd 'Table'" VALUES ('fine', 8), (repeat('x', 250), 9);
INSERT INTO "cc Odd 'Table'" SELECT repeat('x', 1000000), 9;
INSERT INTO "cc Odd 'Table'" SELECT string_agg(md5(g::text), ''), 9 FROM generate_series(1, 10000) g;
SELECT count(*), difference('"cc Odd ''Table''"', 'cc:odd''\:', 'the "Key"') FROM "cc Odd 'Table'";
TRUNCATE "cc Odd 'Table'";
SELECT counter_get('cc:odd''\:a'), difference('"cc Odd ''Table''"', 'cc:odd''\:', 'the "Key"');

-- Keys of other types; without a prefix.
CREATE TYPE cc_mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cc_natural AS bigint CHECK (value >= 0);
CREATE TABLE cc_types (u uuid, s smallint, b bigint, v varchar(10), c char(5), f boolean, m cc_mood, d cc_natural, t text, n name,
    dropped int, x numeric, g int GENERATED ALWAYS AS (s + 1) STORED);
ALTER TABLE cc_types DROP COLUMN dropped;
SELECT column_name, counter_cache('cc_types', 'cc:' || column_name || ':', column_name) FROM unnest('{u,s,b,v,c,f,m,d,n,x,g}'::text[]) column_name;
SELECT counter_cache('cc_types', '', 't');
INSERT INTO cc_types (u, s, b, v, c, f, m, d, n, x, t) SELECT '0A1B2C3D-0000-4000-8000-00000000000f', -3, -9223372036854775808, 'v', 'c', true, 'sad', 9223372036854775807, 'n', 1.50, 'cc alone'
    FROM generate_series(1, 2);
INSERT INTO cc_types (t) VALUES ('cc alone');
UPDATE cc_types SET s = 4 WHERE ctid = (SELECT min(ctid) FROM cc_types);
SELECT id, value FROM counters WHERE id ~ '^cc( alone|:.:)' ORDER BY id COLLATE "C";
SELECT column_name, difference('cc_types', 'cc:' || column_name || ':', column_name) FROM unnest('{u,s,b,v,c,f,m,d,n,x,g}'::text[]) column_name
    WHERE difference('cc_types', 'cc:' || column_name || ':', column_name) <> 'none';
-- A counter whose id could be anybody's is not taken for one of no row's.
SELECT difference('cc_types', '', 't');
INSERT INTO cc_types (t) VALUES ('');
INSERT INTO cc_types (t) VALUES (E'\x01');
SELECT difference('cc_types', '', 't');
DELETE FROM cc_types WHERE t IN ('', E'\x01');
-- Text of these depends on settings.
CREATE TABLE cc_dates (d date, a int[], r int4range);
SELECT counter_cache('cc_dates', 'cc:d:', 'd');
SELECT counter_cache('cc_dates', 'cc:d:', 'a');
SELECT counter_cache('cc_dates', 'cc:d:', 'r');

-- Partitions: those there are, those to come; written to directly, or through the partitioned table. Columns in another order.
CREATE TABLE cc_parts (post_id int, day int, body text) PARTITION BY RANGE (day);
CREATE TABLE cc_parts_1 PARTITION OF cc_parts FOR VALUES FROM (1) TO (2);
CREATE TABLE cc_parts_2 (body text, day int, gone int, post_id int);
ALTER TABLE cc_parts_2 DROP COLUMN gone;
ALTER TABLE cc_parts ATTACH PARTITION cc_parts_2 FOR VALUES FROM (2) TO (3);
INSERT INTO cc_parts VALUES (1, 1), (2, 2);
SELECT counter_cache('cc_parts', 'cc:part:', 'post_id');
SELECT counter_cache('cc_parts', 'cc:part:', 'post_id');
CREATE TABLE cc_parts_3 PARTITION OF cc_parts FOR VALUES FROM (3) TO (4);
INSERT INTO cc_parts VALUES (1, 1), (1, 2), (1, 3);
INSERT INTO cc_parts_2 (post_id, day) VALUES (1, 2), (2, 2);
UPDATE cc_parts SET day = 3, post_id = 5 WHERE post_id = 2;
UPDATE cc_parts SET day = 3 WHERE day = 1;
DELETE FROM cc_parts_3 WHERE ctid = (SELECT min(ctid) FROM cc_parts_3 WHERE post_id = 5);
SELECT id, value FROM counters WHERE id LIKE 'cc:part:%' ORDER BY id COLLATE "C";
SELECT difference('cc_parts', 'cc:part:', 'post_id');
TRUNCATE cc_parts;
SELECT id, value FROM counters WHERE id LIKE 'cc:part:%' ORDER BY id COLLATE "C";
CREATE TRIGGER tru BEFORE TRUNCATE ON cc_parts_1 FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:part:', 'post_id');
\set VERBOSITY terse
TRUNCATE cc_parts_1;
\set VERBOSITY default
-- By statement triggers on the partitioned table: its format is that of the rows.
CREATE TABLE cc_whole (post_id int, day int) PARTITION BY LIST (day);
CREATE TABLE cc_whole_1 (day int, post_id int);
ALTER TABLE cc_whole ATTACH PARTITION cc_whole_1 FOR VALUES IN (1);
CREATE TABLE cc_whole_2 PARTITION OF cc_whole FOR VALUES IN (2);
CREATE TRIGGER ins AFTER INSERT ON cc_whole REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:whole:', 'post_id');
CREATE TRIGGER del AFTER DELETE ON cc_whole REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:whole:', 'post_id');
CREATE TRIGGER upd AFTER UPDATE ON cc_whole REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:whole:', 'post_id');
INSERT INTO cc_whole VALUES (70, 1), (70, 2), (71, 1);
UPDATE cc_whole SET day = 3 - day;
UPDATE cc_whole SET day = 3 - day, post_id = 72 WHERE post_id = 71;
DELETE FROM cc_whole WHERE post_id = 70 AND day = 1;
SELECT id, value, difference('cc_whole', 'cc:whole:', 'post_id') FROM counters WHERE id LIKE 'cc:whole:%' ORDER BY id COLLATE "C";
-- Tables that inherit keep their rows to themselves.
CREATE TABLE cc_parent (k int);
CREATE TABLE cc_child () INHERITS (cc_parent);
SELECT counter_cache('cc_parent', 'cc:inh:', 'k');
INSERT INTO cc_parent VALUES (1), (1);
INSERT INTO cc_child VALUES (1), (2);
DELETE FROM cc_parent WHERE ctid = '(0,1)';
SELECT id, value, difference('cc_parent', 'cc:inh:', 'k') FROM counters WHERE id LIKE 'cc:inh:%' ORDER BY id COLLATE "C";

-- What a foreign key does in cascade is counted; a deferred trigger counts at COMMIT.
CREATE TABLE cc_post (id int PRIMARY KEY);
CREATE TABLE cc_reply (post_id int REFERENCES cc_post ON DELETE CASCADE ON UPDATE CASCADE, mood text);
SELECT counter_cache('cc_reply', 'cc:reply:', 'post_id');
CREATE CONSTRAINT TRIGGER late AFTER INSERT OR DELETE ON cc_reply DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:mood:', 'mood');
INSERT INTO cc_post VALUES (1), (2);
BEGIN;
INSERT INTO cc_reply VALUES (1, 'glad'), (1, 'sad'), (2, 'glad');
SELECT counter_get('cc:reply:1'), counter_get('cc:mood:glad');
COMMIT;
SELECT counter_get('cc:reply:1'), counter_get('cc:mood:glad');
UPDATE cc_post SET id = 3 WHERE id = 1;
DELETE FROM cc_post WHERE id = 2;
SELECT id, value FROM counters WHERE id ~ '^cc:(reply|mood):' ORDER BY id COLLATE "C";
SELECT difference('cc_reply', 'cc:reply:', 'post_id');
-- The trigger function is the extension's.
\set VERBOSITY terse
DROP FUNCTION counter_rows();
DROP TABLE cc_reply, cc_post;
\set VERBOSITY default

-- Wrong uses.
CREATE TABLE cc_wrong (k int, l int);
CREATE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:w:', 'k');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER UPDATE ON cc_wrong REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:w:', 'k');
UPDATE cc_wrong SET k = 1;
\set VERBOSITY terse
CREATE OR REPLACE TRIGGER w BEFORE INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'k');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'nothing');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'ctid');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows(E'\x01', 'k');
INSERT INTO cc_wrong VALUES (1);
CREATE OR REPLACE TRIGGER w AFTER TRUNCATE ON cc_wrong FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:w:', 'k');
TRUNCATE cc_wrong;
CREATE OR REPLACE TRIGGER w AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'l');
ALTER TABLE cc_wrong DROP COLUMN l;
INSERT INTO cc_wrong VALUES (1);
DROP TRIGGER w ON cc_wrong;
SELECT counter_rows();
SELECT counter_backfill('cc_wrong', 'cc:w:', 'k');
SELECT * FROM counter_verify('cc_wrong', 'cc:w:', 'k', true);
SELECT counter_cache('cc_wrong', 'cc:w:', 'nothing');
SELECT counter_cache('cc_wrong', E'\x02', 'k');
SELECT counter_cache('cc_wrong', repeat('x', 256), 'k');
SELECT counter_cache('pg_views', 'cc:w:', 'viewname');
SELECT counter_cache(1::regclass, 'cc:w:', 'viewname');
SELECT counter_cache(NULL, 'cc:w:', 'k');
SELECT counter_cache('cc_wrong', NULL, 'k');
SELECT counter_verify('cc_wrong', 'cc:w:', NULL);
-- Triggers by hand that count in part, or would count twice beside those that are missing.
CREATE TRIGGER w AFTER UPDATE OF k ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'k');
SELECT counter_cache('cc_wrong', 'cc:w:', 'k');
CREATE OR REPLACE TRIGGER w AFTER DELETE ON cc_wrong FOR EACH ROW WHEN (OLD.k > 0) EXECUTE FUNCTION counter_rows('cc:w:', 'k');
SELECT counter_cache('cc_wrong', 'cc:w:', 'k');
CREATE OR REPLACE TRIGGER w AFTER INSERT OR DELETE OR UPDATE ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'k');
ALTER TABLE cc_wrong DISABLE TRIGGER w;
SELECT counter_cache('cc_wrong', 'cc:w:', 'k');
ALTER TABLE cc_wrong ENABLE TRIGGER w;
SELECT counter_backfill('cc_wrong', 'cc:w:', 'k');
CREATE TRIGGER w2 AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:', 'k');
SELECT counter_backfill('cc_wrong', 'cc:w:', 'k');
DROP TRIGGER w2 ON cc_wrong;
-- One row trigger for three events: only the one for TRUNCATE is missing.
SELECT counter_cache('cc_wrong', 'cc:w:', 'k');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'cc_wrong'::regclass AND NOT tgname ~ '^counter_rows_truncate_';
INSERT INTO cc_wrong VALUES (1), (2);
UPDATE cc_wrong SET k = k + 1;
DELETE FROM cc_wrong WHERE k = 3;
SELECT counter_get('cc:w:1'), counter_get('cc:w:2'), counter_get('cc:w:3'), difference('cc_wrong', 'cc:w:', 'k');
-- One prefix, one table and column.
SELECT counter_cache('cc_wrong', 'cc:post:', 'k');
SELECT counter_cache('cc_comments', 'cc:post:', 'id');
SELECT counter_cache('cc_comments', 'cc:post:', 'post_id');
-- Nor one prefix that begins with another's, by whatever way the trigger is made: a counter could be meant under both.
SELECT counter_cache('cc_wrong', 'cc:w:', 'k');
SELECT counter_cache('cc_comments', 'cc:w:1', 'post_id');
SELECT counter_cache('cc_comments', 'cc:', 'post_id');
SELECT counter_cache('cc_wrong', 'cc:w', 'k');
CREATE TRIGGER nested AFTER INSERT ON cc_comments FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:1', 'post_id');
CREATE TRIGGER nested AFTER INSERT ON cc_comments FOR EACH ROW EXECUTE FUNCTION public.counter_rows('c', 'post_id');
CREATE TRIGGER shared AFTER INSERT ON cc_wrong FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:post:', 'k');
CREATE TRIGGER apart AFTER INSERT ON cc_comments FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:apart:', 'post_id');
DROP TRIGGER apart ON cc_comments;
SELECT difference('cc_wrong', 'cc:w:', 'k');
-- Where the guard was off, the longer prefix is another cache's: its counters are not drift of the shorter one's, nor emptied with
-- them; and nothing is mended until one of the two is gone.
ALTER EVENT TRIGGER counter_ext_after_ddl DISABLE;
CREATE TRIGGER nested AFTER INSERT OR UPDATE OR DELETE ON cc_comments FOR EACH ROW EXECUTE FUNCTION counter_rows('cc:w:1', 'post_id');
ALTER EVENT TRIGGER counter_ext_after_ddl ENABLE;
INSERT INTO cc_comments (post_id) VALUES (5);
SELECT difference('cc_wrong', 'cc:w:', 'k');
SELECT counter_backfill('cc_wrong', 'cc:w:', 'k');
SELECT counter_cache('cc_comments', 'cc:w:1', 'post_id');
TRUNCATE cc_wrong;
SELECT counter_get('cc:w:15'), counter_get('cc:w:2');
DROP TRIGGER nested ON cc_comments;
SELECT counter_backfill('cc_wrong', 'cc:w:', 'k');
-- Read-only: it can look.
BEGIN READ ONLY;
SELECT difference('cc_comments', 'cc:post:', 'post_id');
SAVEPOINT s;
SELECT counter_backfill('cc_comments', 'cc:post:', 'post_id');
ROLLBACK;
\set VERBOSITY default

-- Privileges: the table's owner must be allowed to count, its writers need not.
CREATE ROLE cc_owner;
CREATE ROLE cc_writer;
GRANT CREATE ON SCHEMA public TO cc_owner;
SET ROLE cc_owner;
CREATE TABLE cc_owned (k int);
GRANT INSERT, UPDATE, DELETE, TRUNCATE ON cc_owned TO cc_writer;
SELECT counter_cache('cc_owned', 'cc:owned:', 'k');
RESET ROLE;
GRANT USAGE ON SCHEMA counter_ext TO cc_owner;
GRANT INSERT, UPDATE ON counter_ext.total TO cc_owner;
SET ROLE cc_writer;
\set VERBOSITY terse
SELECT counter_cache('cc_owned', 'cc:owned:', 'k');
\set VERBOSITY default
SET ROLE cc_owner;
SELECT counter_cache('cc_owned', 'cc:owned:', 'k');
SET ROLE cc_writer;
INSERT INTO cc_owned VALUES (1), (1), (2);
SELECT current_user;
SELECT counter_incr('cc:owned:1');
SELECT counter_backfill('cc_owned', 'cc:owned:', 'k');
SELECT * FROM counter_verify('cc_owned', 'cc:owned:', 'k');
RESET ROLE;
SELECT counter_get('cc:owned:1'), counter_get('cc:owned:2');
-- A writer who may not read can still TRUNCATE; forced row security hides no row from the count.
ALTER TABLE cc_owned ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET ROLE cc_owner;
SELECT counter_backfill('cc_owned', 'cc:owned:', 'k');
SET ROLE cc_writer;
TRUNCATE cc_owned;
RESET ROLE;
SELECT counter_get('cc:owned:1'), counter_get('cc:owned:2'), difference('cc_owned', 'cc:owned:', 'k');
ALTER TABLE cc_owned DISABLE ROW LEVEL SECURITY;
-- Rights are looked at when the trigger fires.
REVOKE INSERT ON counter_ext.total FROM cc_owner;
INSERT INTO cc_owned VALUES (1);
SELECT current_user = session_user AS myself, count(*) FROM cc_owned;
DROP TABLE cc_owned;
REVOKE ALL ON SCHEMA public, counter_ext FROM cc_owner;
REVOKE ALL ON counter_ext.total FROM cc_owner;
DROP ROLE cc_owner, cc_writer;

-- Two statements may share one trigger: two foreign keys, two changes in one WITH.
CREATE TABLE cc_users (id int PRIMARY KEY);
CREATE TABLE cc_posts (id int PRIMARY KEY, author int REFERENCES cc_users ON DELETE SET NULL,
    editor int REFERENCES cc_users ON DELETE SET NULL);
INSERT INTO cc_users VALUES (1), (2);
INSERT INTO cc_posts VALUES (1, 1, 2), (2, 2, 1), (3, 1, 1);
SELECT counter_cache('cc_posts', 'cc:by:', 'author');
DELETE FROM cc_users WHERE id = 1;
WITH a AS (UPDATE cc_posts SET editor = 2 WHERE id = 2) UPDATE cc_posts SET author = 2 WHERE id = 1;
SELECT counter_get('cc:by:1'), counter_get('cc:by:2'), difference('cc_posts', 'cc:by:', 'author');
DROP TABLE cc_posts, cc_users;

-- A new cache takes over nothing unasked. Keys are named by their cast to text. Corrections are audited.
CREATE TABLE cc_new (k int, padded char(5), yes boolean);
SELECT counter_incr('cc:new:1', 10);
SELECT counter_cache('cc_new', 'cc:new:', 'k');
SELECT counter_get('cc:new:1'), (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cc_new'::regclass) AS triggers;
SELECT counter_audit('cc:new:', true);
SELECT counter_cache('cc_new', 'cc:new:', 'k', take_over => true), counter_get('cc:new:1');
SELECT counter_cache('cc_new', 'cc:pad:', 'padded'), counter_cache('cc_new', 'cc:yes:', 'yes');
INSERT INTO cc_new VALUES (1, 'ab', true), (1, 'ab ', false), (2, 'c', true);
ALTER TABLE cc_new DISABLE TRIGGER USER;
INSERT INTO cc_new VALUES (1);
ALTER TABLE cc_new ENABLE TRIGGER USER;
SELECT * FROM counter_verify('cc_new', 'cc:new:', 'k', repair => true);
SELECT k, counter_get('cc:new:' || k), counter_get('cc:pad:' || padded), counter_get('cc:yes:' || yes::text) FROM cc_new WHERE yes ORDER BY k;
SELECT difference('cc_new', 'cc:pad:', 'padded'), difference('cc_new', 'cc:yes:', 'yes');
SELECT ok, log_sum, total, problem FROM counter_audit_verify('cc:new:1');
SELECT counter_audit('cc:new:', false);
SELECT counter_compact() >= 0 AS sealed;
DELETE FROM counter_ext.audit_pending; DELETE FROM counter_ext.audit_log; DELETE FROM counter_ext.audit_head; DELETE FROM counter_ext.audit_anchor;
DROP TABLE cc_new;
SELECT counter_cache('counter_ext.liked', 'cc:liked:', 'item');

-- A restored total of a cache is left out where the rows are counted as they arrive, and taken where they are not.
CREATE TABLE cc_arriving (k int);
SELECT counter_cache('cc_arriving', 'cc:arr:', 'k');
INSERT INTO cc_arriving VALUES (1), (1);
COPY counter_ext.total (id, value) FROM stdin;
cc:arr:1	2
cc:arr:x	2
cc:other	2
\.
INSERT INTO counter_ext.slot VALUES ('cc:arr:1', 4711, 2), ('cc:other', 4711, 2);
SELECT * FROM counter_get_many(ARRAY['cc:arr:1', 'cc:arr:x', 'cc:other']);
SET session_replication_role = replica;
INSERT INTO cc_arriving VALUES (3);
INSERT INTO counter_ext.total (id, value) VALUES ('cc:arr:3', 1);
RESET session_replication_role;
SELECT counter_get('cc:arr:3'), difference('cc_arriving', 'cc:arr:', 'k');
-- All of a database's counts at once, likes too; what cannot be mended is passed over.
SELECT counter_like('cc:liked', 'a'), counter_like('cc:liked', 'b'), counter_like('cc:unliked', 'a');
DELETE FROM counter_ext.total WHERE id IN (E'\x01cc:liked', 'cc:arr:1');
DELETE FROM counter_ext.slot WHERE id IN (E'\x01cc:liked', 'cc:arr:1');
ALTER TABLE cc_comments DISABLE TRIGGER ins;
SELECT * FROM counter_verify() WHERE id ~ '^cc:(liked|unliked|arr)';
SELECT * FROM counter_verify(repair => true) WHERE id ~ '^cc:(liked|unliked|arr)';
SELECT * FROM counter_verify() WHERE id ~ '^cc:(liked|unliked|arr)';
SELECT counter_likes('cc:liked'), counter_likes('cc:unliked'), counter_get('cc:arr:1');
SELECT counter_verify(NULL);
ALTER TABLE cc_comments ENABLE TRIGGER ins;
DELETE FROM counter_ext.liked WHERE item LIKE 'cc:%';
DROP TABLE cc_arriving;

-- A table of somebody who may not count takes no prefix, and nobody repairs counters by what is in it.
SELECT counter_incr('cc:ad:bob', 500), counter_incr('cc:ad:anna', 3);
CREATE ROLE cc_eve;
CREATE SCHEMA cc_eve AUTHORIZATION cc_eve;
SET ROLE cc_eve;
CREATE TABLE cc_eve.squatter (k text);
INSERT INTO cc_eve.squatter SELECT 'anna' FROM generate_series(1, 7);
CREATE TRIGGER i AFTER INSERT ON cc_eve.squatter REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:ad:', 'k');
CREATE TRIGGER d AFTER DELETE ON cc_eve.squatter REFERENCING OLD TABLE AS o FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:ad:', 'k');
CREATE TRIGGER u AFTER UPDATE ON cc_eve.squatter REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cc:ad:', 'k');
RESET ROLE;
SELECT * FROM counter_verify() WHERE id::text ~ '^cc:ad:';
SELECT * FROM counter_verify(repair => true) WHERE id::text ~ '^cc:ad:';
SELECT * FROM counter_verify('cc_eve.squatter', 'cc:ad:', 'k', true);
SELECT counter_get('cc:ad:bob'), counter_get('cc:ad:anna');
CREATE TABLE cc_free (k int);
SELECT counter_cache('cc_free', 'cc:ad:free:', 'k');
DROP TABLE cc_free;
DROP TABLE cc_eve.squatter;
DROP SCHEMA cc_eve;
DROP ROLE cc_eve;

DROP TABLE cc_comments, "cc Odd 'Table'", cc_types, cc_dates, cc_parts, cc_whole, cc_child, cc_parent, cc_wrong;
DROP TYPE cc_mood;
DROP DOMAIN cc_natural;
DROP FUNCTION difference, to_44, backfill_now;
SELECT count(counter_drop(id)) > 0 AS dropped FROM counters WHERE id LIKE 'cc%';
