-- No role gains another's rights through us, and none stops what all share.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
CREATE ROLE counter_ext_counts;
CREATE ROLE counter_ext_restores;
GRANT SELECT, INSERT, UPDATE, DELETE ON counter_ext.total, counter_ext.slot, counter_ext.visitors, counter_ext.visit TO counter_ext_counts;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON counter_ext.total, counter_ext.slot TO counter_ext_restores;

-- What anybody may call in schema counter_ext: operators, casts, and what views call.
SELECT p.oid::regprocedure AS function FROM pg_proc p
    WHERE pronamespace = 'counter_ext'::regnamespace AND has_function_privilege('counter_ext_counts', p.oid, 'EXECUTE')
    ORDER BY p.oid::regprocedure::text COLLATE "C";
-- What anybody may do to the relations there, and to the schema.
SELECT c.oid::regclass AS relation, a.privilege_type FROM pg_class c, aclexplode(relacl) a
    WHERE relnamespace = 'counter_ext'::regnamespace AND a.grantee = 0;
SELECT a.privilege_type FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'counter_ext' AND a.grantee = 0;
SELECT c.oid::regclass AS relation, a.privilege_type FROM pg_depend d JOIN pg_class c ON c.oid = d.objid, aclexplode(relacl) a
    WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext') AND d.classid = 'pg_class'::regclass
    AND d.deptype = 'e' AND a.grantee = 0 ORDER BY c.relname COLLATE "C";

-- Everything else there is refused, whatever it is called with.
SET ROLE counter_ext_counts;
DO $$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN SELECT p.oid FROM pg_proc p WHERE pronamespace = 'counter_ext'::regnamespace
        AND NOT has_function_privilege(p.oid, 'EXECUTE') AND prokind = 'f'
        AND prorettype <> 'trigger'::regtype AND NOT proargtypes::oid[] && '{internal}'::regtype[]::oid[]
    LOOP
        BEGIN
            -- Of columns: a strict function of constants is never called.
            EXECUTE (SELECT format('SELECT counter_ext.%I(%s) FROM (SELECT %s OFFSET 0) AS v', proname,
                    string_agg('a' || n, ', ' ORDER BY n), coalesce(string_agg(format('NULL::%s AS a%s', format_type(t, NULL), n), ', ') FILTER (WHERE n > 0), '1'))
                FROM pg_proc LEFT JOIN unnest(proargtypes) WITH ORDINALITY AS a (t, n) ON true WHERE oid = function GROUP BY proname);
            RAISE WARNING '% was called', function;
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
END $$;
-- Triggers on tables of one's own.
CREATE TEMP TABLE mine (id text);
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change();
CREATE TRIGGER t BEFORE TRUNCATE ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate();
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION counter_ext.note_policy_change();
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_audited_change();
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes();
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();
RESET ROLE;
-- Not even where an administrator puts them.
\set VERBOSITY terse
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE TRUNCATE ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate();
TRUNCATE mine;
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION counter_ext.note_policy_change();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_audited_change();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();
INSERT INTO mine VALUES ('a');
DROP TRIGGER t ON mine;
CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();
INSERT INTO mine VALUES ('a');
DROP TABLE mine;
\set VERBOSITY default

-- Counting is not writing by hand.
SET ROLE counter_ext_counts;
SELECT counter_incr('trust:a', 5);
SELECT counter_visit('trust:a', 1);
INSERT INTO counter_ext.total (id, node, value) VALUES ('trust:a', 7, 1000);
\set VERBOSITY terse
INSERT INTO counter_ext.total (id, node, value) VALUES ('trust:a', 0, 1000) ON CONFLICT (id, node) DO UPDATE SET value = 1000;
INSERT INTO counter_ext.total (id, node, value) SELECT 'trust:a', 7, 1000 WHERE false;
COPY counter_ext.total (id, node, value) FROM STDIN;
trust:a	7	1000
\.
INSERT INTO counter_ext.slot VALUES ('trust:a', 7, 1000);
INSERT INTO counter_ext.visit VALUES ('trust:a', '2026-01-01', 7, counter_hll_empty());
INSERT INTO counter_ext.visitors (id, day, sketch) VALUES ('trust:a', '2026-01-01', counter_hll_empty());
RESET ROLE;
-- By this pass, or by one of the worker's own just before.
SELECT counter_compact() >= 0 AS compacted;
SELECT count(*) AS not_compacted FROM counter_ext.visit WHERE id = 'trust:a';
SET ROLE counter_ext_counts;
UPDATE counter_ext.total SET value = 1000 WHERE id = 'trust:a';
DELETE FROM counter_ext.total WHERE id = 'trust:a';
UPDATE counter_ext.visitors SET sketch = counter_hll_empty() WHERE id = 'trust:a';
SELECT counter_get('trust:a'), counter_visitors('trust:a');
-- Forgetting old days takes DELETE, which counting does not.
DELETE FROM counter_ext.visitors WHERE id = 'trust:a' AND day > '-infinity';
-- Who may empty a table may write it.
SET ROLE counter_ext_restores;
INSERT INTO counter_ext.total (id, node, value) VALUES ('trust:a', 7, 1000);
UPDATE counter_ext.total SET value = 2000 WHERE id = 'trust:a' AND node = 7;
DELETE FROM counter_ext.total WHERE id = 'trust:a' AND node = 7;
INSERT INTO counter_ext.slot VALUES ('trust:a', 7, 1);
RESET ROLE;
SELECT counter_get('trust:a');
\set VERBOSITY default

-- Rows that say what the worker sends, drops and recounts are put there by functions, which ask for the rights on counters too. Who may
-- write such rows borrows none: neither does he hear totals that another role may read, nor have counters dropped.
CREATE ROLE counter_ext_says;
GRANT SELECT, INSERT, UPDATE, DELETE ON counter_ext.watch, counter_ext.expiry, counter_ext.cache, counter_ext.tracked, counter_ext.board,
    counter_ext.board_snapshot, counter_ext.board_window, counter_ext.board_score TO counter_ext_says;
SET ROLE counter_ext_says;
SELECT counter_watch('trust:', 'trust');
SELECT counter_expire('trust:', '1 second');
\set VERBOSITY terse
INSERT INTO counter_ext.watch VALUES ('trust:', 'trust', '0 s', 'counter_ext_counts');
INSERT INTO counter_ext.watch SELECT 'trust:', 'trust', '0 s', 'counter_ext_counts' WHERE false;
UPDATE counter_ext.watch SET role = 'counter_ext_counts';
INSERT INTO counter_ext.expiry VALUES ('trust:', '1 microsecond');
UPDATE counter_ext.expiry SET idle = '1 microsecond';
INSERT INTO counter_ext.cache SELECT 'counter_ext.gone', 'trust:', '{trust:,k}', 1, '{NULL,1}', 0, 10, '', 'right';
UPDATE counter_ext.cache SET state = 'stale';
UPDATE counter_ext.tracked SET zone = 'nowhere';
INSERT INTO counter_ext.board (prefix) VALUES ('trust:');
INSERT INTO counter_ext.board_snapshot SELECT WHERE false;
INSERT INTO counter_ext.board_window VALUES ('trust:', 'day', now(), 0, 'nowhere');
INSERT INTO counter_ext.board_score VALUES ('trust:', 'anna', 0, 0, 9);
\set VERBOSITY default
-- To end what is declared takes no more than DELETE.
DELETE FROM counter_ext.watch;
DELETE FROM counter_ext.expiry;
RESET ROLE;
DROP OWNED BY counter_ext_says;
DROP ROLE counter_ext_says;
-- An apply worker fires no triggers of statements. So where a statement is refused, each row is refused as well, in whatever role a session is.
CREATE TEMP VIEW guards AS SELECT tgrelid AS table, tgtype & 1 = 1 AS is_row, tgtype & 2 = 2 AS is_before, tgtype & 20 AS commands, tgenabled, tgqual IS NULL AS is_all
    FROM pg_trigger WHERE tgfoid IN ('counter_ext.check_written_by_hand'::regproc, 'counter_ext.note_foreign_insert'::regproc, 'counter_ext.note_foreign_change'::regproc);
SELECT count(*) > 20 AS some FROM guards WHERE NOT is_row;
SELECT s.table::regclass FROM guards s WHERE NOT is_row AND commands > 0 AND NOT EXISTS (SELECT FROM guards r WHERE r.table = s.table AND r.is_row
    AND r.is_before AND r.is_all AND r.tgenabled = 'A' AND r.commands & s.commands = s.commands) ORDER BY 1;
-- All other tables of ours: what may be written there by hand, or sent by another server, is what the rights on the table say. A new one is
-- here by decision.
SELECT c.relname AS table FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p')
    AND NOT EXISTS (SELECT FROM guards r WHERE r.table = c.oid AND is_row AND is_all) ORDER BY c.relname COLLATE "C";
DROP VIEW guards;
-- Nobody declares a board of what ids of families, and names of windows, begin with: it would never be built.
\set VERBOSITY terse
INSERT INTO counter_ext.board (prefix) VALUES (E'\x01');
INSERT INTO counter_ext.board (prefix) VALUES (E'\x01h03abc');
INSERT INTO counter_ext.board (prefix) VALUES (E'\x02');
INSERT INTO counter_ext.board_window VALUES (E'\x01', 'day', now(), 0, 'UTC');
\set VERBOSITY default

-- Partitions of buckets are made past what somebody has do on commands of DDL.
CREATE FUNCTION pg_temp.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
SELECT counter_track('trust-days:', '{day}', '{forever}');
CREATE EVENT TRIGGER counter_ext_trust ON ddl_command_end EXECUTE FUNCTION pg_temp.refuse();
SELECT counter_incr_at('trust-days:a', '1982-07-01', 2);
SELECT counter_compact() >= 0 AS compacted;
DROP EVENT TRIGGER counter_ext_trust;
SELECT counter_total('trust-days:a', '1982-01-01', '1983-01-01');
SELECT counter_drop('trust-days:a'), counter_untrack('trust-days:');

-- It says so at the end of the script, and nobody else.
SELECT counter_ext.note_extension_created();

-- Rows are counted with the rights of their table's owner. Whoever has TRIGGER there, and no right to count, does not borrow them.
CREATE ROLE counter_ext_other;
CREATE TABLE counted_rows (k text);
ALTER TABLE counted_rows OWNER TO counter_ext_counts;
GRANT INSERT, TRUNCATE, TRIGGER ON counted_rows TO counter_ext_other;
SET ROLE counter_ext_counts;
SELECT counter_incr('trust:r:a', 5);
SET ROLE counter_ext_other;
CREATE TRIGGER t AFTER INSERT ON counted_rows REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('trust:r:', 'k');
CREATE TRIGGER t BEFORE TRUNCATE ON counted_rows FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('trust:r:', 'k');
INSERT INTO counted_rows VALUES ('a');
TRUNCATE counted_rows;
SET ROLE counter_ext_counts;
SELECT counter_get('trust:r:a');
CREATE TRIGGER t AFTER INSERT ON counted_rows REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('trust:r:', 'k');
SET ROLE counter_ext_other;
INSERT INTO counted_rows VALUES ('a');
RESET ROLE;
SELECT counter_get('trust:r:a');
SELECT counter_drop('trust:r:a');
DROP TABLE counted_rows;
DROP ROLE counter_ext_other;

-- What an owner has put into an index of his table runs with his rights, also where a superuser verifies all caches.
CREATE TABLE who_ran (who name);
GRANT INSERT ON who_ran TO counter_ext_counts;
CREATE SCHEMA counter_ext_counts AUTHORIZATION counter_ext_counts;
SET ROLE counter_ext_counts;
CREATE FUNCTION counter_ext_counts.tell() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.who_ran VALUES (current_user); END';
CREATE FUNCTION counter_ext_counts.trap(text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql
    AS 'BEGIN PERFORM counter_ext_counts.tell(); RETURN true; END';
CREATE TABLE counter_ext_counts.trapped (k text);
CREATE INDEX ON counter_ext_counts.trapped (k) WHERE counter_ext_counts.trap('x');
SELECT counter_cache('counter_ext_counts.trapped', 'trust:t:', 'k');
RESET ROLE;
TRUNCATE who_ran;
SELECT * FROM counter_verify(repair => true) WHERE id::text ~ '^trust:';
SELECT counter_backfill('counter_ext_counts.trapped', 'trust:t:', 'k');
SELECT DISTINCT who FROM who_ran;
-- Who verifies needs the right to read the rows.
GRANT USAGE ON SCHEMA counter_ext_counts TO counter_ext_restores;
SET ROLE counter_ext_restores;
SELECT * FROM counter_verify('counter_ext_counts.trapped', 'trust:t:', 'k');
RESET ROLE;
DROP SCHEMA counter_ext_counts CASCADE;
DROP TABLE who_ran;

-- A trigger on a table of one's own says what it likes while its owner may not count. Neither then, nor once he may, does it decide over
-- counters, or over triggers of a table that is another's.
CREATE ROLE counter_ext_mal;
CREATE SCHEMA counter_ext_mal AUTHORIZATION counter_ext_mal;
CREATE SCHEMA counter_ext_victim AUTHORIZATION counter_ext_counts;
GRANT USAGE ON SCHEMA counter_ext_victim TO counter_ext_mal;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counter_ext_counts;
SET ROLE counter_ext_counts;
CREATE TABLE counter_ext_victim.books (id int PRIMARY KEY, author int);
CREATE TABLE counter_ext_victim.chapters (id int PRIMARY KEY, book int REFERENCES counter_ext_victim.books);
INSERT INTO counter_ext_victim.books VALUES (1, 7);
INSERT INTO counter_ext_victim.chapters VALUES (1, 1), (2, 1);
SELECT counter_cache('counter_ext_victim.chapters', 'trust:w:', 'book', through => 'counter_ext_victim.books.author');
SELECT counter_incr('trust:alone', 5);
SET ROLE counter_ext_mal;
CREATE TABLE counter_ext_mal.own (id int, book int);
CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.own FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:', 'id');
SELECT counter_uncache('counter_ext_mal.own', 'trust:');
CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.own FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:alone', 'id');
CREATE TRIGGER u AFTER INSERT ON counter_ext_mal.own FOR EACH ROW
    EXECUTE FUNCTION counter_rows('trust:w:', 'book', 'through', 'counter_ext_victim.books', 'by', 'id', 'to', 'author');
RESET ROLE;
SELECT counter_get('trust:w:7'), counter_get('trust:alone');
-- Nor is a total left out that a restore brings.
INSERT INTO counter_ext.total VALUES ('trust:alone7', 7, 3);
SELECT counter_drop('trust:alone7');
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counter_ext_mal;
CREATE TABLE unrelated (i int);
DROP TABLE unrelated;
SET ROLE counter_ext_mal;
SELECT counter_uncache('counter_ext_mal.own', 'trust:alone');
ALTER TABLE counter_ext_mal.own RENAME TO renamed;
DROP TABLE counter_ext_mal.renamed;
SET ROLE counter_ext_counts;
UPDATE counter_ext_victim.books SET author = 8;
RESET ROLE;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'counter_ext_victim.books'::regclass AND NOT tgisinternal
    AND strpos(encode(tgargs, 'escape'), 'counter_ext_victim.chapters') > 0;
SELECT counter_get('trust:w:8'), counter_get('trust:alone');

-- What a restore has switched on is put right for the command's own tables. Others are not touched, nor their locks waited for.
SET ROLE counter_ext_mal;
CREATE TABLE counter_ext_mal.own (k int);
CREATE TRIGGER counter_rows_replica_00000001 AFTER INSERT ON counter_ext_mal.own FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:m:', 'k');
SET ROLE counter_ext_counts;
ALTER TABLE counter_ext_victim.books ADD title text;
RESET ROLE;
SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'counter_ext_mal.own'::regclass;
SET ROLE counter_ext_mal;
ALTER TABLE counter_ext_mal.own ADD title text;
RESET ROLE;
SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'counter_ext_mal.own'::regclass;

-- The worker runs no functions that users have put into an index: one that never ends would keep it for good. In a session that has
-- written no amounts by hand, as a restore does.
\c -
SET ROLE counter_ext_mal;
CREATE TYPE counter_ext_mal.kind AS ENUM ('a', 'b');
CREATE TABLE counter_ext_mal.kinds (id int, kind counter_ext_mal.kind);
CREATE FUNCTION counter_ext_mal.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql
    AS $$ BEGIN IF current_setting('counter_ext_trap.is_off', true) = 'yes' THEN RETURN 1; END IF; RAISE 'the trap has run'; END $$;
SET counter_ext_trap.is_off = 'yes';
SELECT counter_cache('counter_ext_mal.kinds', 'trust:k:', 'kind');
CREATE INDEX ON counter_ext_mal.kinds ((id + counter_ext_mal.trap(1)));
RESET counter_ext_trap.is_off;
ALTER TYPE counter_ext_mal.kind RENAME VALUE 'b' TO 'c';
SELECT state, why FROM counter_caches WHERE prefix = 'trust:k:';
RESET ROLE;
DO $$
BEGIN
    FOR i IN 1..200 LOOP
        EXIT WHEN (SELECT why FROM counter_caches WHERE prefix = 'trust:k:') <> 'the trap has run';
        PERFORM pg_sleep(0.1);
    END LOOP;
END
$$;
SELECT state, why FROM counter_caches WHERE prefix = 'trust:k:';
SET ROLE counter_ext_mal;
SET counter_ext_trap.is_off = 'yes';
SELECT counter_backfill('counter_ext_mal.kinds', 'trust:k:', 'kind');
SELECT state, why FROM counter_caches WHERE prefix = 'trust:k:';
RESET counter_ext_trap.is_off;
RESET ROLE;
SET client_min_messages = warning;
DROP SCHEMA counter_ext_mal, counter_ext_victim CASCADE;
RESET client_min_messages;
DROP OWNED BY counter_ext_mal;
DROP ROLE counter_ext_mal;
SELECT counter_drop('trust:alone');

-- Nobody holds a lock to the end of his transaction on a table that he has no right to: not by a trigger made by hand, nor as it
-- fires, nor by verifying all. Nor is a command of one role refused, or kept waiting, for triggers of another that may count only since.
CREATE ROLE counter_ext_mal;
CREATE SCHEMA counter_ext_mal AUTHORIZATION counter_ext_mal;
CREATE SCHEMA counter_ext_victim AUTHORIZATION counter_ext_counts;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counter_ext_counts;
SET ROLE counter_ext_counts;
CREATE TABLE counter_ext_victim.books (id int PRIMARY KEY, author int) PARTITION BY RANGE (id);
CREATE TABLE counter_ext_victim.some_books PARTITION OF counter_ext_victim.books FOR VALUES FROM (0) TO (9);
CREATE TABLE counter_ext_victim.words (k int);
SELECT counter_cache('counter_ext_victim.words', 'trust:words:', 'k');
RESET ROLE;
CREATE VIEW pg_temp.held AS SELECT relation::regclass, mode FROM pg_locks WHERE pid = pg_backend_pid()
    AND relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'counter_ext_victim'::regnamespace);
GRANT SELECT ON pg_temp.held TO counter_ext_mal;
SET ROLE counter_ext_mal;
CREATE TABLE counter_ext_mal.own (id int, book int);
BEGIN;
CREATE TRIGGER u AFTER INSERT ON counter_ext_mal.own REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('trust:l:', 'book', 'through', 'counter_ext_victim.books', 'by', 'id', 'to', 'author');
SELECT * FROM pg_temp.held;
ROLLBACK;
RESET ROLE;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counter_ext_mal;
GRANT SELECT ON counter_ext.liked TO counter_ext_mal;
SET ROLE counter_ext_mal;
BEGIN;
CREATE TRIGGER u AFTER INSERT ON counter_ext_mal.own REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('trust:l:', 'book', 'through', 'counter_ext_victim.books', 'by', 'id', 'to', 'author');
SELECT * FROM pg_temp.held;
COMMIT;
INSERT INTO counter_ext_mal.own SELECT WHERE false;
BEGIN;
SELECT * FROM counter_verify() WHERE source::text ~ 'counter_ext_';
SELECT * FROM pg_temp.held;
ROLLBACK;
DROP TABLE counter_ext_mal.own;
RESET ROLE;
DROP VIEW pg_temp.held;
-- A trigger on a partition counts with the rights of the partition's owner. It is no cache of the partitioned table's.
REVOKE INSERT, UPDATE ON counter_ext.total FROM counter_ext_mal;
CREATE TABLE counter_ext_victim.parted (k int) PARTITION BY LIST (k);
CREATE TABLE counter_ext_mal.part PARTITION OF counter_ext_victim.parted DEFAULT;
ALTER TABLE counter_ext_mal.part OWNER TO counter_ext_mal;
SET ROLE counter_ext_mal;
CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.part FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:p:', 'k');
RESET ROLE;
SELECT relation FROM counter_ext.cache WHERE prefix = 'trust:p:';
DROP TABLE counter_ext_victim.parted;
-- A trigger says no more than names of columns and tables: every command of anybody reads it. One that says more is passed over.
SET ROLE counter_ext_mal;
CREATE TABLE counter_ext_mal.long (k int);
\set VERBOSITY terse
DO $$ BEGIN EXECUTE format('CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.long FOR EACH ROW EXECUTE FUNCTION counter_rows(''trust:long:'', ''k'', ''to'', %L, ''of'', ''a.b'')', repeat('x', 100000)); END $$;
DO $$ BEGIN EXECUTE format('CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.long FOR EACH ROW EXECUTE FUNCTION counter_rows(''trust:long:'', ''k'', ''to'', ''k'', ''of'', %L)', repeat('x', 100000)); END $$;
DO $$ BEGIN EXECUTE format('CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.long FOR EACH ROW EXECUTE FUNCTION counter_rows(''trust:long:'', ''k'' %s)', repeat(', ''key'', ''k''', 40)); END $$;
\set VERBOSITY default
CREATE TRIGGER t AFTER INSERT ON counter_ext_mal.long FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:long:', 'k');
RESET ROLE;
SELECT count(*) FROM counter_ext.counting_trigger WHERE tgrelid = 'counter_ext_mal.long'::regclass;
UPDATE pg_trigger SET tgargs = tgargs || convert_to(repeat('x', 1000000), 'UTF8') || '\x00', tgnargs = 3 WHERE tgrelid = 'counter_ext_mal.long'::regclass;
SELECT count(*) FROM counter_ext.counting_trigger WHERE tgrelid = 'counter_ext_mal.long'::regclass;
DROP TABLE counter_ext_mal.long;
-- What names no table.
CREATE SCHEMA counter_ext_mal2 AUTHORIZATION counter_ext_mal CREATE TABLE t (k int) CREATE TRIGGER t AFTER INSERT ON t
    FOR EACH ROW EXECUTE FUNCTION counter_rows('trust:n:', 'k', 'through', 'a.b.c.d', 'by', 'id', 'to', 'k');
GRANT INSERT, UPDATE ON counter_ext.total TO counter_ext_mal;
CREATE TABLE unrelated (i int);
DROP TABLE unrelated;
SET client_min_messages = warning;
DROP SCHEMA counter_ext_mal, counter_ext_mal2, counter_ext_victim CASCADE;
RESET client_min_messages;
DROP OWNED BY counter_ext_mal;
DROP ROLE counter_ext_mal;

SELECT counter_drop('trust:a');
DROP OWNED BY counter_ext_counts, counter_ext_restores;
DROP ROLE counter_ext_counts, counter_ext_restores;
