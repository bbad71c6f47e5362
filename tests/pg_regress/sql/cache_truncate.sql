-- TRUNCATE of partitions: their rows are no more counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE FUNCTION difference(source regclass, prefix text, VARIADIC keys text[]) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(format('%s: %s counted, %s rows', id, counted, rows), '; '), 'none') FROM counter_verify(source, prefix, keys) $$;
CREATE FUNCTION listed(prefix text) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(id || '=' || value, ' ' ORDER BY id COLLATE "C"), 'none') FROM counters WHERE starts_with(id, prefix) AND value <> 0 $$;

-- Partitions there are and that come; of partitions; with columns in another order. Sums, keys of several columns, conditions.
CREATE TABLE ct_events (day int, device int, kind text, cents int, live boolean) PARTITION BY LIST (day);
CREATE TABLE ct_events_1 PARTITION OF ct_events FOR VALUES IN (1);
CREATE TABLE ct_events_2 PARTITION OF ct_events FOR VALUES IN (2) PARTITION BY LIST (device);
CREATE TABLE ct_events_2_1 PARTITION OF ct_events_2 FOR VALUES IN (1);
CREATE TABLE ct_events_2_n PARTITION OF ct_events_2 DEFAULT;
SELECT counter_cache('ct_events', 'ct:', 'device'), counter_cache('ct_events', 'cts:', ARRAY['kind', 'device'], amount => 'cents', "only" => 'live');
CREATE TABLE ct_events_3 PARTITION OF ct_events FOR VALUES IN (3);
CREATE TABLE ct_events_4 (live boolean, kind text, gone int, cents int, device int, day int);
ALTER TABLE ct_events_4 DROP gone;
ALTER TABLE ct_events ATTACH PARTITION ct_events_4 FOR VALUES IN (4);
CREATE TABLE ct_events_5 (LIKE ct_events) PARTITION BY LIST (device);
CREATE TABLE ct_events_5_n PARTITION OF ct_events_5 DEFAULT;
ALTER TABLE ct_events ATTACH PARTITION ct_events_5 FOR VALUES IN (5);
CREATE SCHEMA ct_schema CREATE TABLE ct_events_6 PARTITION OF public.ct_events FOR VALUES IN (6);
SELECT tgrelid::regclass, count(*), string_agg(tgenabled::text, '') FROM pg_trigger WHERE tgfoid = 'counter_rows'::regproc AND tgtype & 32 <> 0 GROUP BY 1 ORDER BY 1;
SELECT counter_cache('ct_events', 'ct:', 'device');
CREATE VIEW ct_differences AS SELECT difference('ct_events', 'ct:', 'device') AS "number", difference('ct_events', 'cts:', 'kind', 'device') AS "sum";
CREATE FUNCTION ct_fill() RETURNS void LANGUAGE sql AS $$
    INSERT INTO ct_events SELECT d, k, 'a:' || k, d * k, k <> 2 FROM generate_series(1, 6) d, generate_series(1, 3) k, generate_series(1, 2) $$;
SELECT ct_fill();
SELECT listed('ct');
TRUNCATE ct_events_1;
SELECT listed('ct'), * FROM ct_differences;
-- Of one that has partitions; of several; in a savepoint; rows of the same transaction.
TRUNCATE ct_events_2;
SELECT listed('ct'), * FROM ct_differences;
BEGIN;
INSERT INTO ct_events VALUES (4, 7, 'b', 70, true), (1, 7, 'b', 1, true);
TRUNCATE ct_events_4;
SAVEPOINT a;
INSERT INTO ct_events_4 (day, device, kind, cents, live) VALUES (4, 7, 'b', 7, true), (4, 1, 'b', 7, true);
TRUNCATE ct_events_3, ct_events_4, ct_events_4;
SELECT listed('ct'), * FROM ct_differences;
ROLLBACK TO a;
SELECT listed('ct'), * FROM ct_differences;
COMMIT;
SELECT listed('ct'), * FROM ct_differences;
BEGIN;
TRUNCATE ct_events_3;
ROLLBACK;
SELECT listed('ct'), * FROM ct_differences;
-- Together with the whole: nothing is taken off twice.
TRUNCATE ct_events_3, ct_events, ct_events_5_n;
SELECT listed('ct'), * FROM ct_differences;
SELECT ct_fill();
BEGIN;
TRUNCATE ct_events;
INSERT INTO ct_events VALUES (4, 7, 'b', 70, true), (3, 7, 'b', 1, true);
TRUNCATE ct_events_4;
SELECT listed('ct'), * FROM ct_differences;
COMMIT;
-- In either mode, in a replica's role, at any isolation level.
SELECT ct_fill();
SET counter_ext.mode = buffered;
TRUNCATE ct_events_1;
RESET counter_ext.mode;
SET session_replication_role = replica;
TRUNCATE ct_events_2_1;
RESET session_replication_role;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM ct_events;
TRUNCATE ct_schema.ct_events_6;
COMMIT;
SELECT listed('ct'), * FROM ct_differences;
-- Where triggers were off for one partition it is recounted.
ALTER TABLE ct_events_3 DISABLE TRIGGER ALL;
TRUNCATE ct_events_3;
INSERT INTO ct_events VALUES (3, 1, 'b', 70, true);
ALTER TABLE ct_events_3 ENABLE TRIGGER ALL;
SELECT listed('ct'), * FROM ct_differences;
SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'ct_events_3'::regclass AND tgtype & 32 <> 0;
-- A detached one is nobody's; renamed ones are still counted.
ALTER TABLE ct_events DETACH PARTITION ct_events_4;
ALTER TABLE ct_events DETACH PARTITION ct_events_5;
SELECT tgrelid::regclass, count(*) FROM pg_trigger WHERE tgfoid = 'counter_rows'::regproc AND tgtype & 32 <> 0 GROUP BY 1 ORDER BY 1;
TRUNCATE ct_events_4, ct_events_5;
ALTER TABLE ct_events RENAME device TO thing;
ALTER TABLE ct_events_3 RENAME TO ct_third;
INSERT INTO ct_events VALUES (3, 8, 'b', 1, true);
TRUNCATE ct_third;
SELECT listed('ct'), difference('ct_events', 'ct:', 'thing'), difference('ct_events', 'cts:', 'kind', 'thing');
ALTER TABLE ct_events_4 RENAME device TO thing;
ALTER TABLE ct_events ATTACH PARTITION ct_events_4 FOR VALUES IN (4);
INSERT INTO ct_events VALUES (4, 8, 'b', 1, true);
TRUNCATE ct_events_4;
SELECT listed('ct'), difference('ct_events', 'ct:', 'thing'), difference('ct_events', 'cts:', 'kind', 'thing');
SELECT "table", prefix, state FROM counter_caches WHERE prefix LIKE 'ct%' ORDER BY prefix;
SELECT counter_uncache('ct_events', 'ct:') > 0, counter_uncache('ct_events', 'cts:') > 0;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('ct_events'));
DROP VIEW ct_differences;
DROP FUNCTION ct_fill;
DROP TABLE ct_events, ct_events_5;
DROP SCHEMA ct_schema;

-- One that is left of a partition that was detached past event triggers empties nothing.
CREATE TABLE ct_left (k int) PARTITION BY LIST (k);
CREATE TABLE ct_left_1 PARTITION OF ct_left FOR VALUES IN (1);
CREATE TABLE ct_left_2 PARTITION OF ct_left FOR VALUES IN (2);
SELECT counter_cache('ct_left', 'ct:', 'k');
INSERT INTO ct_left VALUES (1), (2);
SET session_replication_role = replica;
ALTER TABLE ct_left DETACH PARTITION ct_left_1;
RESET session_replication_role;
TRUNCATE ct_left_1;
SELECT listed('ct:');
ALTER TABLE ct_left_1 ADD x int;
SELECT listed('ct:'), difference('ct_left', 'ct:', 'k');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ct_left_1'::regclass;
DROP TABLE ct_left, ct_left_1;

-- Wherever the extension is; of owners who are no superusers.
CREATE ROLE ct_owner;
GRANT USAGE ON SCHEMA counter_ext TO ct_owner;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO ct_owner;
CREATE SCHEMA "CT ext";
GRANT ALL ON SCHEMA public, "CT ext" TO ct_owner;
ALTER EXTENSION counter_ext SET SCHEMA "CT ext";
SET ROLE ct_owner;
CREATE TABLE "ct Moved" ("k'1" int) PARTITION BY LIST ("k'1");
CREATE TABLE "ct Moved 1" PARTITION OF "ct Moved" FOR VALUES IN (1);
SELECT "CT ext".counter_cache('"ct Moved"', E'ct:\\', 'k''1');
CREATE TABLE "ct Moved 2" PARTITION OF "ct Moved" FOR VALUES IN (2);
INSERT INTO "ct Moved" VALUES (1), (2);
TRUNCATE "ct Moved 1";
TRUNCATE "ct Moved 2";
SELECT count(*) FROM "CT ext".counter_verify('"ct Moved"', E'ct:\\', 'k''1');
SELECT "CT ext".counter_get(E'ct:\\1'), "CT ext".counter_get(E'ct:\\2');
RESET ROLE;
-- A partition's owner counts its rows: one who may not is refused now, and not at the next write.
CREATE ROLE ct_stranger;
ALTER TABLE "ct Moved 1" OWNER TO ct_stranger;
ALTER TABLE "ct Moved 1" OWNER TO CURRENT_USER;
INSERT INTO "ct Moved" VALUES (1), (2);
TRUNCATE "ct Moved 1", "ct Moved 2";
SELECT count(*) FROM "CT ext".counter_verify('"ct Moved"', E'ct:\\', 'k''1');
DROP ROLE ct_stranger;
DROP TABLE "ct Moved";
ALTER EXTENSION counter_ext SET SCHEMA public;
DROP SCHEMA "CT ext";
REVOKE ALL ON SCHEMA public, counter_ext FROM ct_owner;
REVOKE ALL ON counter_ext.total FROM ct_owner;
DROP ROLE ct_owner;

-- Without a prefix, and of rows whose keys are too long.
CREATE TABLE ct_bare (k text, p int) PARTITION BY LIST (p);
CREATE TABLE ct_bare_1 PARTITION OF ct_bare FOR VALUES IN (1);
CREATE TABLE ct_bare_2 PARTITION OF ct_bare FOR VALUES IN (2);
SELECT counter_cache('ct_bare', '', 'k'), counter_cache('ct_bare', 'ct:', 'k');
INSERT INTO ct_bare SELECT k, p FROM unnest(ARRAY['ct_bare', repeat('x', 1000)]) k, generate_series(1, 2) p;
TRUNCATE ct_bare_1;
SELECT difference('ct_bare', '', 'k'), difference('ct_bare', 'ct:', 'k'), counter_get('ct_bare'), counter_get(counter_id('ct:', repeat('x', 1000)));
DROP TABLE ct_bare;
SELECT counter_drop('ct_bare');

-- Through a middle table, with partitions on both sides: what is counted is the product of what is left.
CREATE TABLE ct_books (id int, author int, era int, PRIMARY KEY (id, era)) PARTITION BY LIST (era);
CREATE TABLE ct_books_1 PARTITION OF ct_books FOR VALUES IN (1);
CREATE TABLE ct_books_2 (era int NOT NULL, author int, id int NOT NULL);
ALTER TABLE ct_books ATTACH PARTITION ct_books_2 FOR VALUES IN (2);
CREATE TABLE ct_chapters (book int, era int, words int) PARTITION BY LIST (era);
CREATE TABLE ct_chapters_1 PARTITION OF ct_chapters FOR VALUES IN (1);
CREATE TABLE ct_chapters_2 PARTITION OF ct_chapters FOR VALUES IN (2);
CREATE TRIGGER i AFTER INSERT OR UPDATE OR DELETE ON ct_chapters FOR EACH ROW EXECUTE FUNCTION counter_rows('ct:of:', 'book', 'amount', 'words', 'through', 'public.ct_books', 'by', 'id', 'to', 'author');
CREATE TRIGGER i AFTER INSERT OR UPDATE OR DELETE ON ct_books FOR EACH ROW EXECUTE FUNCTION counter_rows('ct:of:', 'id', 'to', 'author', 'of', 'public.ct_chapters');
CREATE TRIGGER t BEFORE TRUNCATE ON ct_chapters FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('ct:of:', 'book', 'amount', 'words', 'through', 'public.ct_books', 'by', 'id', 'to', 'author');
CREATE TRIGGER t BEFORE TRUNCATE ON ct_books FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('ct:of:', 'id', 'to', 'author', 'of', 'public.ct_chapters');
-- Triggers by hand are of the partitions that come. Here all are made to have theirs.
ALTER TABLE ct_books ALTER author SET STATISTICS 10;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ct_books_1'::regclass AND tgtype & 32 <> 0;
SELECT counter_ext.guard_partitions('ct_books'::regclass), counter_ext.guard_partitions('ct_chapters'::regclass);
CREATE FUNCTION ct_fill() RETURNS void LANGUAGE sql AS $$
    INSERT INTO ct_books SELECT g, g % 2, e FROM generate_series(1, 4) g, generate_series(1, 2) e ON CONFLICT DO NOTHING;
    INSERT INTO ct_chapters SELECT g, e, g * 10 FROM generate_series(1, 4) g, generate_series(1, 2) e $$;
CREATE VIEW ct_state AS SELECT listed('ct:of:'), difference('ct_chapters', 'ct:of:', 'book');
SELECT ct_fill();
TABLE ct_state;
TRUNCATE ct_chapters_1;
TABLE ct_state;
TRUNCATE ct_books_2;
TABLE ct_state;
SELECT ct_fill();
BEGIN;
INSERT INTO ct_chapters VALUES (1, 1, 7), (2, 2, 7);
UPDATE ct_chapters SET era = 3 - era, words = words + 1 WHERE book = 1;
UPDATE ct_books SET author = author + 5 WHERE era = 1;
SAVEPOINT a;
TRUNCATE ct_chapters_1, ct_books_1;
TABLE ct_state;
UPDATE ct_books SET author = author + 5;
INSERT INTO ct_chapters VALUES (1, 1, 7), (2, 2, 7);
INSERT INTO ct_books VALUES (1, 9, 1);
TABLE ct_state;
ROLLBACK TO a;
UPDATE ct_books SET author = author + 1;
TABLE ct_state;
TRUNCATE ct_books_1, ct_chapters;
INSERT INTO ct_chapters VALUES (1, 1, 7), (2, 2, 7);
UPDATE ct_books SET author = author + 5;
TABLE ct_state;
COMMIT;
TRUNCATE ct_books, ct_chapters_2;
SELECT ct_fill();
TABLE ct_state;
DROP VIEW ct_state;
DROP FUNCTION ct_fill;
DROP TABLE ct_books, ct_chapters;
SELECT counter_drop_prefix('ct:of:') > 0;

-- Tables that inherit keep their rows to themselves: TRUNCATE of one, of only one, and of both.
CREATE TABLE ct_parent (k int);
CREATE TABLE ct_child () INHERITS (ct_parent);
SELECT counter_cache('ct_parent', 'ct:p:', 'k'), counter_cache('ct_child', 'ct:c:', 'k');
INSERT INTO ct_parent VALUES (1), (2);
INSERT INTO ct_child VALUES (1), (1);
TRUNCATE ONLY ct_parent;
SELECT listed('ct:'), difference('ct_parent', 'ct:p:', 'k'), difference('ct_child', 'ct:c:', 'k');
INSERT INTO ct_parent VALUES (1), (2);
TRUNCATE ct_child;
SELECT listed('ct:'), difference('ct_parent', 'ct:p:', 'k'), difference('ct_child', 'ct:c:', 'k');
INSERT INTO ct_child VALUES (1), (1);
TRUNCATE ct_parent;
SELECT listed('ct:'), difference('ct_parent', 'ct:p:', 'k'), difference('ct_child', 'ct:c:', 'k');
DROP TABLE ct_parent, ct_child;

-- CASCADE takes tables that refer to a partitioned one along.
CREATE TABLE ct_posts (id int PRIMARY KEY, blog int) PARTITION BY LIST (id);
CREATE TABLE ct_posts_1 PARTITION OF ct_posts FOR VALUES IN (1);
CREATE TABLE ct_posts_2 PARTITION OF ct_posts FOR VALUES IN (2);
CREATE TABLE ct_notes (post int REFERENCES ct_posts);
SELECT counter_cache('ct_posts', 'ct:b:', 'blog'), counter_cache('ct_notes', 'ct:n:', 'post'), counter_cache('ct_notes', 'ct:nb:', 'post', through => 'ct_posts.blog');
INSERT INTO ct_posts VALUES (1, 1), (2, 1);
INSERT INTO ct_notes VALUES (1), (2), (2);
SELECT listed('ct:');
SET client_min_messages = warning;
TRUNCATE ct_posts_1 CASCADE;
RESET client_min_messages;
SELECT listed('ct:'), difference('ct_posts', 'ct:b:', 'blog'), difference('ct_notes', 'ct:n:', 'post'), difference('ct_notes', 'ct:nb:', 'post');
DROP TABLE ct_notes, ct_posts;
DROP FUNCTION difference, listed;
