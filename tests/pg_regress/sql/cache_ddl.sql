-- Caches follow what happens to their table.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE VIEW cd_caches AS SELECT prefix, key, state, verified_at IS NOT NULL AS verified, why FROM counter_caches ORDER BY prefix;

-- A column, a table and a schema get other names, also in a transaction that is rolled back.
CREATE TABLE cd_rows (id int, room int);
SELECT counter_cache('cd_rows', 'cd:', 'room');
INSERT INTO cd_rows VALUES (1, 1);
BEGIN;
ALTER TABLE cd_rows RENAME COLUMN room TO place;
INSERT INTO cd_rows VALUES (2, 1);
SELECT counter_get('cd:1');
ROLLBACK;
INSERT INTO cd_rows VALUES (3, 1);
ALTER TABLE cd_rows RENAME COLUMN room TO "the ""place'";
INSERT INTO cd_rows VALUES (4, 1);
UPDATE cd_rows SET "the ""place'" = 2 WHERE id = 1;
CREATE SCHEMA cd_elsewhere;
ALTER TABLE cd_rows SET SCHEMA cd_elsewhere;
ALTER SCHEMA cd_elsewhere RENAME TO cd_there;
ALTER TABLE cd_there.cd_rows RENAME TO cd_renamed;
DELETE FROM cd_there.cd_renamed WHERE id = 3;
SELECT counter_get('cd:1') AS one, counter_get('cd:2') AS two;
SELECT * FROM counter_verify('cd_there.cd_renamed', 'cd:', 'the "place''');
SELECT "table", prefix, key, state FROM counter_caches;
SELECT relation, arguments FROM counter_ext.cache;

-- Commands for relations of other kinds rename tables, and columns of tables, too.
CREATE TABLE cd_named (k int);
SELECT counter_cache('cd_named', 'cd-named:', 'k');
ALTER INDEX cd_named RENAME TO cd_names;
ALTER VIEW cd_names RENAME COLUMN k TO l;
INSERT INTO cd_names VALUES (1);
ALTER MATERIALIZED VIEW cd_names RENAME COLUMN l TO m;
ALTER FOREIGN TABLE cd_names RENAME COLUMN m TO n;
INSERT INTO cd_names VALUES (1);
SELECT relation, arguments, state FROM counter_ext.cache WHERE prefix = 'cd-named:';
SELECT counter_get('cd-named:1'), count(*) FROM counter_verify('cd_names', 'cd-named:', 'n');
DROP TABLE cd_names;

-- The key gets another type, by a USING of the same type too.
ALTER TABLE cd_there.cd_renamed RENAME COLUMN "the ""place'" TO room;
ALTER TABLE cd_there.cd_renamed ALTER COLUMN room TYPE text USING 'r' || room;
SELECT id, value FROM counters WHERE starts_with(id, 'cd:') AND value <> 0 ORDER BY 1;
ALTER TABLE cd_there.cd_renamed ALTER COLUMN room TYPE text USING room || 'x';
SELECT id, value FROM counters WHERE starts_with(id, 'cd:') AND value <> 0 ORDER BY 1;
SELECT * FROM cd_caches;

-- The column goes, and the counters with it; rolled back, nothing has happened.
BEGIN;
ALTER TABLE cd_there.cd_renamed DROP COLUMN room;
SELECT count(*) FROM counters WHERE starts_with(id, 'cd:');
SELECT * FROM cd_caches;
ROLLBACK;
SELECT id, value FROM counters WHERE starts_with(id, 'cd:') AND value <> 0 ORDER BY 1;
SELECT * FROM cd_caches;
ALTER TABLE cd_there.cd_renamed DROP COLUMN room;
SELECT count(*) FROM counters WHERE starts_with(id, 'cd:');
INSERT INTO cd_there.cd_renamed VALUES (9);
DROP SCHEMA cd_there CASCADE;

-- A table goes, with its schema or by itself; it is made again in the same transaction and in a later one.
CREATE SCHEMA cd_gone CREATE TABLE lots (id int, lot int);
SELECT counter_cache('cd_gone.lots', 'cd:', 'lot');
INSERT INTO cd_gone.lots VALUES (1, 1), (2, 1);
DROP SCHEMA cd_gone CASCADE;
SELECT count(*) FROM counters WHERE starts_with(id, 'cd:');
CREATE TABLE cd_lots (id int, lot int);
SELECT counter_cache('cd_lots', 'cd:', 'lot');
INSERT INTO cd_lots VALUES (1, 1), (2, 1);
BEGIN;
DROP TABLE cd_lots;
SELECT counter_get('cd:1');
ROLLBACK;
SELECT counter_get('cd:1');
BEGIN;
DROP TABLE cd_lots;
CREATE TABLE cd_lots (id int, lot int);
SELECT counter_cache('cd_lots', 'cd:', 'lot');
INSERT INTO cd_lots VALUES (1, 1);
COMMIT;
SELECT counter_get('cd:1');
SELECT * FROM cd_caches;

-- Triggers are switched off and on.
ALTER TABLE cd_lots DISABLE TRIGGER USER;
INSERT INTO cd_lots VALUES (2, 1);
SELECT state FROM cd_caches;
ALTER TABLE cd_lots ENABLE TRIGGER USER;
SELECT counter_get('cd:1'), state FROM cd_caches;

-- counter_uncache.
CREATE ROLE cd_other;
SET ROLE cd_other;
SELECT counter_uncache('cd_lots', 'cd:');
SELECT prefix, state FROM counter_caches;
RESET ROLE;
SELECT counter_uncache('cd_lots', 'other:');
SELECT counter_uncache('cd_lots', 'cd:', keep_counters => true);
SELECT counter_get('cd:1'), (SELECT count(*) FROM cd_caches) AS caches, (SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cd_lots'::regclass) AS triggers;
SELECT counter_cache('cd_lots', 'cd:', 'lot');
SELECT counter_uncache('cd_lots', 'cd:');
SELECT counter_get('cd:1');
DROP TABLE cd_lots;

-- A label of an enum.
CREATE TYPE cd_mood AS ENUM ('glum', 'merry');
CREATE TABLE cd_days (id int, mood cd_mood);
INSERT INTO cd_days VALUES (1, 'glum'), (2, 'glum'), (3, 'merry');
SELECT counter_cache('cd_days', 'cd:', 'mood');
ALTER TYPE cd_mood RENAME VALUE 'glum' TO 'blue';
DELETE FROM cd_days WHERE id = 1;
SELECT id, value FROM counters WHERE starts_with(id, 'cd:') AND value <> 0 ORDER BY 1;

-- Another owner must have the right to count, whichever command makes him one.
ALTER TABLE cd_days OWNER TO cd_other;
CREATE ROLE cd_leaves;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cd_leaves;
ALTER TABLE cd_days OWNER TO cd_leaves;
REASSIGN OWNED BY cd_leaves TO cd_other;
INSERT INTO cd_days VALUES (4, 'merry');
SELECT counter_get('cd:merry'), (SELECT relowner::regrole FROM pg_class WHERE oid = 'cd_days'::regclass) AS owner;
ALTER TABLE cd_days OWNER TO CURRENT_USER;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cd_other;
ALTER TABLE cd_days OWNER TO cd_leaves;
REASSIGN OWNED BY cd_leaves TO cd_other;
SELECT relowner::regrole FROM pg_class WHERE oid = 'cd_days'::regclass;
DROP OWNED BY cd_leaves;
DROP ROLE cd_leaves;
DELETE FROM cd_days WHERE id = 2;
SELECT counter_get('cd:blue');
DROP TABLE cd_days;
DROP TYPE cd_mood;
REVOKE ALL ON counter_ext.total FROM cd_other;
DROP ROLE cd_other;

-- Partitions come and go.
CREATE TABLE cd_events (day int, device int) PARTITION BY RANGE (day);
CREATE TABLE cd_events_1 PARTITION OF cd_events FOR VALUES FROM (1) TO (2);
CREATE TABLE cd_events_2 PARTITION OF cd_events FOR VALUES FROM (2) TO (3);
SELECT counter_cache('cd_events', 'cd:', 'device');
CREATE TABLE cd_events_3 PARTITION OF cd_events FOR VALUES FROM (3) TO (4);
INSERT INTO cd_events SELECT 1 + g % 3, 7 FROM generate_series(1, 30) g;
DROP TABLE cd_events_1;
SELECT counter_get('cd:7');
ALTER TABLE cd_events DETACH PARTITION cd_events_2;
SELECT counter_get('cd:7');
INSERT INTO cd_events_2 VALUES (2, 7);
ALTER TABLE cd_events ATTACH PARTITION cd_events_2 FOR VALUES FROM (2) TO (3);
SELECT counter_get('cd:7');
ALTER TABLE cd_events RENAME COLUMN device TO thing;
INSERT INTO cd_events VALUES (2, 7);
INSERT INTO cd_events_3 VALUES (3, 7);
SELECT counter_get('cd:7');
SELECT * FROM counter_verify('cd_events', 'cd:', 'thing');
SELECT * FROM cd_caches;
DROP TABLE cd_events;

-- What is written in a replica's role is counted as well, once, whichever triggers somebody has enabled for it.
CREATE TABLE cd_replica (k int);
INSERT INTO cd_replica VALUES (1);
SELECT counter_cache('cd_replica', 'cd:', 'k');
SELECT tgenabled, regexp_replace(regexp_replace(pg_get_triggerdef(oid), 'EXECUTE.*', ''), '_[0-9a-f]{8} ', ' ') FROM pg_trigger WHERE tgrelid = 'cd_replica'::regclass ORDER BY tgname;
CREATE VIEW cd_difference AS SELECT counter_get('cd:1') AS counted, (SELECT count(*) FROM cd_replica WHERE k = 1) AS rows, (SELECT count(*) FROM counter_verify('cd_replica', 'cd:', 'k')) AS differences;
INSERT INTO cd_replica VALUES (1), (2);
SET session_replication_role = replica;
INSERT INTO cd_replica VALUES (1), (1), (3);
UPDATE cd_replica SET k = 4 WHERE k = 3;
DELETE FROM cd_replica WHERE ctid = (SELECT min(ctid) FROM cd_replica WHERE k = 1);
SELECT * FROM cd_difference;
TRUNCATE cd_replica;
SELECT * FROM cd_difference;
INSERT INTO cd_replica VALUES (1), (1), (3);
RESET session_replication_role;
SELECT * FROM cd_difference;
DO $$
DECLARE
    trigger_name name;
BEGIN
    FOR trigger_name IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'cd_replica'::regclass LOOP
        EXECUTE format('ALTER TABLE cd_replica ENABLE ALWAYS TRIGGER %I', trigger_name);
    END LOOP;
END $$;
INSERT INTO cd_replica VALUES (1);
UPDATE cd_replica SET k = 1 WHERE k = 3;
SET session_replication_role = replica;
INSERT INTO cd_replica VALUES (1);
DELETE FROM cd_replica WHERE ctid = (SELECT min(ctid) FROM cd_replica WHERE k = 1);
RESET session_replication_role;
SELECT * FROM cd_difference;
-- As a restore ends, and fixtures.
ALTER TABLE cd_replica DISABLE TRIGGER ALL;
INSERT INTO cd_replica VALUES (1);
ALTER TABLE cd_replica ENABLE TRIGGER ALL;
SELECT * FROM cd_difference;
SELECT string_agg(tgenabled::text, '' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'cd_replica'::regclass;
SET session_replication_role = replica;
INSERT INTO cd_replica VALUES (1);
RESET session_replication_role;
SELECT * FROM cd_difference;
SELECT counter_cache('cd_replica', 'cd:', 'k'), counter_backfill('cd_replica', 'cd:', 'k');
ALTER TABLE cd_replica RENAME COLUMN k TO l;
SET session_replication_role = replica;
INSERT INTO cd_replica VALUES (1);
RESET session_replication_role;
SELECT counter_get('cd:1'), count(*) AS differences FROM counter_verify('cd_replica', 'cd:', 'l');
SELECT counter_uncache('cd_replica', 'cd:');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'cd_replica'::regclass;
DROP VIEW cd_difference;
DROP TABLE cd_replica;
-- Row triggers do it themselves; partitions have what their table has.
CREATE TABLE cd_parts (day int, k int) PARTITION BY RANGE (day);
CREATE TABLE cd_parts_1 PARTITION OF cd_parts FOR VALUES FROM (1) TO (2);
SELECT counter_cache('cd_parts', 'cd:', 'k');
CREATE TABLE cd_parts_2 PARTITION OF cd_parts FOR VALUES FROM (2) TO (3);
SELECT tgrelid::regclass, string_agg(tgenabled::text, '' ORDER BY tgname) FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('cd_parts')) GROUP BY 1 ORDER BY 1;
SET session_replication_role = replica;
INSERT INTO cd_parts VALUES (1, 1), (2, 1);
INSERT INTO cd_parts_2 VALUES (2, 1);
RESET session_replication_role;
INSERT INTO cd_parts VALUES (1, 1), (2, 1);
SELECT counter_get('cd:1');
SET session_replication_role = replica;
TRUNCATE cd_parts;
RESET session_replication_role;
SELECT counter_get('cd:1');
DROP TABLE cd_parts;

-- Filled or repaired, a cache is known to be right as of then.
CREATE TABLE cd_filled (k int);
CREATE TRIGGER t AFTER INSERT OR DELETE OR UPDATE ON cd_filled FOR EACH ROW EXECUTE FUNCTION counter_rows('cd:', 'k');
SELECT * FROM cd_caches;
SELECT counter_backfill('cd_filled', 'cd:', 'k');
SELECT * FROM cd_caches;
SELECT verified_at AS filled_at FROM counter_caches WHERE prefix = 'cd:' \gset
SELECT count(*) FROM counter_verify('cd_filled', 'cd:', 'k');
SELECT verified_at = :'filled_at' AS as_before FROM counter_caches WHERE prefix = 'cd:';
SELECT count(*) FROM counter_verify('cd_filled', 'cd:', 'k', repair => true);
SELECT verified_at > :'filled_at' AS later FROM counter_caches WHERE prefix = 'cd:';
SELECT count(*) FROM counter_verify(repair => true) WHERE source = 'public.cd_filled';
BEGIN;
SELECT counter_backfill('cd_filled', 'cd:', 'k');
ROLLBACK;
DROP TABLE cd_filled;

-- Triggers made by hand show, and those that CREATE SCHEMA makes are looked at too.
CREATE SCHEMA cd_made
    CREATE TABLE one (k int)
    CREATE TRIGGER t AFTER INSERT OR DELETE OR UPDATE ON one FOR EACH ROW EXECUTE FUNCTION counter_rows('cd:', 'k');
SELECT "table", prefix, key, state FROM counter_caches;
CREATE SCHEMA cd_overlaps
    CREATE TABLE two (k int)
    CREATE TRIGGER t AFTER INSERT OR DELETE OR UPDATE ON two FOR EACH ROW EXECUTE FUNCTION counter_rows('cd:x:', 'k');
DROP TABLE cd_made.one;
DROP SCHEMA cd_made;
DROP VIEW cd_caches;
SELECT count(*) FROM counter_ext.cache;

-- Who may only count drops no visitors by dropping a table, and what no cache was ever found to count stays.
CREATE ROLE ddl_counter;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO ddl_counter;
CREATE TABLE ddl_mine (k text);
ALTER TABLE ddl_mine OWNER TO ddl_counter;
DO $$ BEGIN PERFORM counter_incr('ddl-mine:a', 5), counter_visit('ddl-mine:a', 'v'); END $$;
SET ROLE ddl_counter;
SELECT counter_cache('ddl_mine', 'ddl-mine:', 'k', take_over => true);
DROP TABLE ddl_mine;
RESET ROLE;
SELECT counter_visitors('ddl-mine:a');
CREATE TABLE ddl_mine (k text);
ALTER TABLE ddl_mine OWNER TO ddl_counter;
SET ROLE ddl_counter;
CREATE TRIGGER mine AFTER INSERT ON ddl_mine FOR EACH ROW EXECUTE FUNCTION counter_rows('ddl-other:', 'k');
RESET ROLE;
DO $$ BEGIN PERFORM counter_incr('ddl-other:a', 7); END $$;
DROP TABLE ddl_mine;
SELECT counter_get('ddl-other:a');
SELECT counter_drop('ddl-mine:a'), counter_drop('ddl-other:a');
DROP OWNED BY ddl_counter;
DROP ROLE ddl_counter;
