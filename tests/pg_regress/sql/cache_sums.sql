-- Caches that sum, have keys of several columns, count on a condition, or through another table.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
CREATE FUNCTION difference(source regclass, prefix text, VARIADIC keys text[]) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(format('%s: %s counted, %s rows', id, counted, rows), '; '), 'none') FROM counter_verify(source, prefix, keys) $$;
CREATE FUNCTION listed(prefix text) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(id || '=' || value, ' ' ORDER BY id COLLATE "C"), 'none') FROM counters WHERE starts_with(id, prefix) AND value <> 0 $$;

-- Sums: amount, key and condition change in one statement, each alone, all at once; NULL amounts, keys and conditions.
CREATE TABLE cs_orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, cents bigint, small smallint, paid boolean);
INSERT INTO cs_orders (customer, cents, small, paid) VALUES (1, 500, 5, true), (1, 250, 2, false), (2, 40, 4, NULL), (NULL, 7, 7, true);
SELECT counter_cache('cs_orders', 'cs:sum:', 'customer', 'cents'), counter_cache('cs_orders', 'cs:small:', 'customer', amount => 'small'),
    counter_cache('cs_orders', 'cs:paid:', 'customer', "only" => 'paid'), counter_cache('cs_orders', 'cs:both:', 'customer', 'cents', 'paid');
SELECT listed('cs:');
INSERT INTO cs_orders (customer, cents, paid) VALUES (2, 60, true), (3, NULL, true), (3, 0, true);
UPDATE cs_orders SET cents = 300 WHERE id = 2;
UPDATE cs_orders SET customer = 2 WHERE id = 1;
UPDATE cs_orders SET customer = 3 - customer, cents = cents * 2, small = -small, paid = paid IS NOT TRUE WHERE customer < 3;
SELECT listed('cs:');
UPDATE cs_orders SET cents = NULL, paid = NULL WHERE id = 5;
UPDATE cs_orders SET customer = NULL WHERE id = 2;
DELETE FROM cs_orders WHERE id = 1;
SELECT listed('cs:');
SELECT difference('cs_orders', 'cs:sum:', 'customer'), difference('cs_orders', 'cs:small:', 'customer'), difference('cs_orders', 'cs:paid:', 'customer'), difference('cs_orders', 'cs:both:', 'customer');
SELECT "table", prefix, key, state, amount, "only", through FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
-- Drift is found and mended, a sum that no row has any more too; of one key only that one, through the index.
ALTER TABLE cs_orders DISABLE TRIGGER USER;
INSERT INTO cs_orders (customer, cents, paid) VALUES (4, 1, true), (5, 2, true);
ALTER TABLE cs_orders ENABLE TRIGGER USER;
SELECT counter_incr('cs:sum:4', 10), counter_incr('cs:sum:6', 10), counter_incr('cs:sum:44', 10);
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', key => '4');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', key => '6');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', key => 'x');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', key => '1');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', true, '4');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', true);
SELECT counter_backfill('cs_orders', 'cs:sum:', 'customer'), difference('cs_orders', 'cs:sum:', 'customer');
-- An amount that is too much for a bigint is an error for who reads, and for nobody else; and right again when it is less.
INSERT INTO cs_orders (customer, cents) VALUES (9, 9223372036854775807), (9, 9223372036854775807);
SELECT counter_get('cs:sum:9');
SELECT * FROM counter_verify('cs_orders', 'cs:sum:', 'customer', key => '9');
BEGIN;
INSERT INTO cs_orders (customer, cents) VALUES (9, 9223372036854775807);
DELETE FROM cs_orders WHERE customer = 9;
INSERT INTO cs_orders (customer, cents) VALUES (9, -9223372036854775808), (9, -5);
COMMIT;
SELECT counter_get('cs:sum:9');
UPDATE cs_orders SET cents = 3 WHERE customer = 9;
SELECT counter_get('cs:sum:9'), difference('cs_orders', 'cs:sum:', 'customer');
-- Rolled back, and partly; prepared.
BEGIN;
UPDATE cs_orders SET cents = cents + 1;
SAVEPOINT s;
DELETE FROM cs_orders;
ROLLBACK TO s;
SELECT difference('cs_orders', 'cs:sum:', 'customer');
PREPARE TRANSACTION 'cs';
COMMIT PREPARED 'cs';
SELECT difference('cs_orders', 'cs:sum:', 'customer'), difference('cs_orders', 'cs:both:', 'customer');
-- Columns get other names; types, and a USING of the same type.
ALTER TABLE cs_orders RENAME cents TO "Cents";
ALTER TABLE cs_orders RENAME paid TO done;
ALTER TABLE cs_orders RENAME customer TO who;
UPDATE cs_orders SET "Cents" = 1, done = true, who = 1 WHERE id = 3;
SELECT difference('cs_orders', 'cs:sum:', 'who'), difference('cs_orders', 'cs:both:', 'who');
ALTER TABLE cs_orders ALTER "Cents" TYPE bigint USING "Cents" * 2, ALTER who TYPE text USING 'c' || who;
SELECT listed('cs:sum:'), difference('cs_orders', 'cs:sum:', 'who'), difference('cs_orders', 'cs:both:', 'who'), difference('cs_orders', 'cs:paid:', 'who');
SELECT prefix, key, state, amount, "only" FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
-- A column that is summed, or a condition, takes the cache with it.
ALTER TABLE cs_orders DROP small;
ALTER TABLE cs_orders DROP done;
SELECT prefix FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
SELECT listed('cs:paid:'), listed('cs:both:'), listed('cs:small:');
TRUNCATE cs_orders;
SELECT listed('cs:sum:');
SELECT counter_uncache('cs_orders', 'cs:sum:');

-- What can be summed, and what is a condition.
\set VERBOSITY terse
ALTER TABLE cs_orders ADD price numeric, ADD state text, ADD live boolean GENERATED ALWAYS AS (state = 'live') STORED;
SELECT counter_cache('cs_orders', 'cs:n:', 'who', 'price');
SELECT counter_cache('cs_orders', 'cs:n:', 'who', 'nothing');
SELECT counter_cache('cs_orders', 'cs:n:', 'who', NULL, 'state');
SELECT counter_cache('cs_orders', 'cs:n:', 'who', NULL, 'state = ''live''');
SELECT counter_cache('cs_orders', 'cs:n:', ARRAY[]::text[]);
SELECT counter_cache('cs_orders', 'cs:n:', ARRAY['who', NULL]);
\set VERBOSITY default
SELECT counter_cache('cs_orders', 'cs:live:', 'who', "only" => 'live');
INSERT INTO cs_orders (who, state) VALUES ('a', 'live'), ('a', 'dead'), ('a', NULL);
SELECT listed('cs:live:');
UPDATE cs_orders SET state = 'live';
SELECT listed('cs:live:'), difference('cs_orders', 'cs:live:', 'who');

-- How calls resolve.
SELECT counter_cache('cs_orders', 'cs:live:', 'who', "only" => 'live', take_over => true);
SELECT counter_cache('cs_orders', 'cs:w:', 'who', true), counter_cache('cs_orders', 'cs:w:', 'who', false), counter_cache('cs_orders', 'cs:w:', 'who', take_over => false);
PREPARE cs_call AS SELECT counter_cache('cs_orders', $1, $2);
EXECUTE cs_call('cs:w:', 'who');
PREPARE cs_verify AS SELECT * FROM counter_verify('cs_orders', $1, $2, $3, $4);
EXECUTE cs_verify('cs:w:', 'who', false, 'a');
SELECT * FROM counter_verify('cs_orders', 'cs:w:', 'who', NULL::boolean);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'cs%' ORDER BY 1;
DEALLOCATE ALL;
SELECT counter_cache('cs_orders', 'cs:w:', 'who', 'id');
-- Errors say what to call: an untyped 'true' is a column to sum, a list of columns is an array, a wrong key has no cache to repair.
SELECT counter_cache('cs_orders', 'cs:w:', 'who', 'true');
SELECT * FROM counter_verify('cs_orders', 'cs:w:', 'id', repair => true);
-- Another amount is another cache, made in the old one's place.
BEGIN;
SELECT counter_uncache('cs_orders', 'cs:w:') > 0 AS ended;
SELECT counter_cache('cs_orders', 'cs:w:', 'who', amount => 'id') > 0 AS made;
COMMIT;
SELECT count(*) > 0 AND bool_and(value = (SELECT sum(o.id) FROM cs_orders o WHERE 'cs:w:' || o.who = counters.id)) AS sums FROM counters WHERE starts_with(id, 'cs:w:');
DROP TABLE cs_orders;
SELECT count(*) FROM counters WHERE starts_with(id, 'cs:');

-- Keys of several columns: no two keys have one text, and none is given up that is plain.
CREATE TABLE cs_notes (id int GENERATED ALWAYS AS IDENTITY, subject_type text, subject_id bigint, tag text, flag boolean);
INSERT INTO cs_notes (subject_type, subject_id, tag, flag) VALUES ('Invoice', 7, 'a', true), ('Ship', 7, 'b', false), ('Admin::Invoice', 7, 'a:b', true), ('Invoice', NULL, 'x', true);
SELECT counter_cache('cs_notes', 'cs:two:', ARRAY['subject_type', 'subject_id']), counter_cache('cs_notes', 'cs:texts:', ARRAY['subject_type', 'tag', 'flag'], "only" => 'flag');
SELECT listed('cs:');
INSERT INTO cs_notes (subject_type, subject_id, tag, flag) VALUES ('a:b', 1, 'c', true), ('a', 1, 'b:c', true), ('a\', 1, ':', true), ('a', 1, NULL, true);
UPDATE cs_notes SET subject_type = 'Ship', subject_id = 8 WHERE id = 1;
UPDATE cs_notes SET tag = 'ü:' WHERE id = 3;
SELECT listed('cs:');
SELECT difference('cs_notes', 'cs:two:', 'subject_type', 'subject_id'), difference('cs_notes', 'cs:texts:', 'subject_type', 'tag', 'flag');
SELECT counter_incr('cs:two:Admin::Invoice:7'), counter_incr('cs:two:Gone:7'), counter_incr('cs:two:Gone:x'), counter_incr('cs:texts:a:b:true');
SELECT * FROM counter_verify('cs_notes', 'cs:two:', ARRAY['subject_type', 'subject_id'], key => 'Admin::Invoice:7');
SELECT * FROM counter_verify('cs_notes', 'cs:two:', ARRAY['subject_type', 'subject_id'], repair => true);
SELECT * FROM counter_verify('cs_notes', 'cs:texts:', ARRAY['subject_type', 'tag', 'flag'], repair => true, key => 'a:b:true');
SELECT * FROM counter_verify('cs_notes', 'cs:texts:', ARRAY['subject_type', 'tag', 'flag'], key => 'a:b\:c:true');
ALTER TABLE cs_notes RENAME subject_id TO "Subject: Id";
DELETE FROM cs_notes WHERE id = 2;
SELECT key, state FROM counter_caches WHERE prefix = 'cs:two:';
-- The last column becomes a text, which could have a colon too.
ALTER TABLE cs_notes ALTER "Subject: Id" TYPE text;
SELECT listed('cs:two:'), difference('cs_notes', 'cs:two:', 'subject_type', 'Subject: Id');
ALTER TABLE cs_notes DROP "Subject: Id";
SELECT prefix FROM counter_caches WHERE prefix LIKE 'cs:%';
TRUNCATE cs_notes;
SELECT listed('cs:');
DROP TABLE cs_notes;

-- Through another table: chapters of an author, whose books change hands.
CREATE TABLE cs_books (id int PRIMARY KEY, author int, title text);
CREATE TABLE cs_chapters (id int GENERATED ALWAYS AS IDENTITY, book int REFERENCES cs_books ON UPDATE CASCADE ON DELETE CASCADE, words int DEFAULT 10, done boolean DEFAULT true);
CREATE INDEX ON cs_chapters (book);
INSERT INTO cs_books VALUES (1, 10), (2, 20), (3, NULL);
INSERT INTO cs_chapters (book, words) VALUES (1, 1), (1, 2), (2, 4), (3, 8), (NULL, 16);
SELECT counter_cache('cs_chapters', 'cs:of:', 'book', through => 'cs_books.author'),
    counter_cache('cs_chapters', 'cs:words:', 'book', 'words', 'done', 'public.cs_books.author');
CREATE FUNCTION cs_right() RETURNS text LANGUAGE sql AS $$ SELECT concat_ws(' | ', listed('cs:of:'), listed('cs:words:'), difference('cs_chapters', 'cs:of:', 'book'), difference('cs_chapters', 'cs:words:', 'book')) $$;
SELECT cs_right();
SELECT prefix, key, amount, "only", through FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
UPDATE cs_books SET author = 20 WHERE id = 1;
SELECT cs_right();
UPDATE cs_books SET author = coalesce(author, 0) + 1, title = 'x';
SELECT cs_right();
UPDATE cs_books SET title = 'y';
UPDATE cs_books SET id = id + 10;
SELECT cs_right();
UPDATE cs_chapters SET words = words + 1, done = id <> 2, book = 13 WHERE id IN (1, 2);
SELECT cs_right();
-- Both in one statement, in either order; and by cascades.
WITH b AS (UPDATE cs_books SET author = 5 WHERE id = 12 RETURNING id) INSERT INTO cs_chapters (book) SELECT id FROM b;
WITH c AS (INSERT INTO cs_chapters (book) VALUES (11), (12), (12) RETURNING book) UPDATE cs_books SET author = 6 FROM c WHERE book = cs_books.id;
SELECT cs_right();
WITH n AS (INSERT INTO cs_books VALUES (14, 7) RETURNING id), u AS (UPDATE cs_books SET author = 7 WHERE id = 11), d AS (DELETE FROM cs_chapters WHERE book = 11)
    INSERT INTO cs_chapters (book) SELECT 14 FROM n;
SELECT cs_right();
DELETE FROM cs_books WHERE id = 12;
SELECT cs_right();
-- In one transaction, with savepoints; nothing but what was kept has counted.
BEGIN;
INSERT INTO cs_chapters (book) VALUES (13), (11);
SAVEPOINT a;
UPDATE cs_books SET author = 30 WHERE id = 13;
SAVEPOINT b;
DELETE FROM cs_books WHERE id = 11;
INSERT INTO cs_books VALUES (11, 31);
INSERT INTO cs_chapters (book) VALUES (11), (11);
SELECT cs_right();
ROLLBACK TO b;
SELECT cs_right();
UPDATE cs_books SET author = 32;
RELEASE a;
UPDATE cs_books SET author = 33 WHERE id = 14;
SELECT cs_right();
COMMIT;
SELECT cs_right();
-- Drift, of one key too; TRUNCATE of either table.
ALTER TABLE cs_books DISABLE TRIGGER USER;
UPDATE cs_books SET author = 40 WHERE id = 14;
ALTER TABLE cs_books ENABLE TRIGGER USER;
-- Where the worker has one of them at this moment, the command leaves that to it.
DO $$ BEGIN
    FOR waited IN 1..600 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM counter_ext.cache WHERE relid = 'cs_chapters'::regclass AND state = 'stale');
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
SELECT cs_right();
SELECT counter_incr('cs:of:40', 3), counter_incr('cs:of:41', 3);
SELECT * FROM counter_verify('cs_chapters', 'cs:of:', 'book', key => '40');
SELECT * FROM counter_verify('cs_chapters', 'cs:of:', 'book', key => '41', repair => true);
SELECT * FROM counter_verify('cs_chapters', 'cs:of:', 'book', repair => true);
BEGIN;
TRUNCATE cs_books CASCADE;
SELECT cs_right();
INSERT INTO cs_books VALUES (1, 1);
INSERT INTO cs_chapters (book) VALUES (1);
UPDATE cs_books SET author = 2;
SELECT cs_right();
SAVEPOINT s;
TRUNCATE cs_chapters;
SELECT cs_right();
ROLLBACK TO s;
UPDATE cs_books SET author = 3;
SELECT cs_right();
COMMIT;
-- Names of both tables and of all columns, also of the schema; a table that is rewritten.
ALTER TABLE cs_books RENAME TO cs_tomes;
ALTER TABLE cs_tomes RENAME author TO writer;
ALTER TABLE cs_tomes RENAME id TO number;
ALTER TABLE cs_chapters RENAME TO cs_parts;
ALTER TABLE cs_parts RENAME book TO tome;
ALTER TABLE cs_parts RENAME words TO length;
CREATE SCHEMA cs_there;
ALTER TABLE cs_parts SET SCHEMA cs_there;
ALTER TABLE cs_tomes SET SCHEMA cs_there;
ALTER SCHEMA cs_there RENAME TO "cs Here";
SELECT prefix, key, state, amount, through FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
INSERT INTO "cs Here".cs_tomes VALUES (2, 4);
INSERT INTO "cs Here".cs_parts (tome) VALUES (2), (2);
UPDATE "cs Here".cs_tomes SET writer = writer + 1;
SELECT listed('cs:of:'), listed('cs:words:'), difference('"cs Here".cs_parts', 'cs:of:', 'tome'), difference('"cs Here".cs_parts', 'cs:words:', 'tome');
SELECT relation, arguments FROM counter_ext.cache WHERE prefix LIKE 'cs:%' ORDER BY prefix;
BEGIN;
ALTER TABLE "cs Here".cs_tomes ALTER writer TYPE text USING 'w' || writer;
UPDATE "cs Here".cs_tomes SET writer = 'w7' WHERE number = 2;
INSERT INTO "cs Here".cs_parts (tome) VALUES (1);
SELECT listed('cs:of:'), difference('"cs Here".cs_parts', 'cs:of:', 'tome');
COMMIT;
SELECT prefix, state, why FROM counter_caches WHERE prefix LIKE 'cs:%' ORDER BY prefix;
SELECT listed('cs:of:'), difference('"cs Here".cs_parts', 'cs:of:', 'tome'), difference('"cs Here".cs_parts', 'cs:words:', 'tome');
-- The cache ends with what it counts through, with the counted table, and by counter_uncache: no trigger is left.
CREATE FUNCTION cs_triggers() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM counter_ext.counting_trigger WHERE prefix LIKE 'cs:%' $$;
SELECT cs_triggers();
BEGIN;
DROP TABLE "cs Here".cs_tomes CASCADE;
SELECT cs_triggers(), listed('cs:');
INSERT INTO "cs Here".cs_parts (tome) VALUES (1);
ROLLBACK;
BEGIN;
DROP TABLE "cs Here".cs_parts;
SELECT cs_triggers(), listed('cs:');
UPDATE "cs Here".cs_tomes SET writer = 'w8';
ROLLBACK;
BEGIN;
ALTER TABLE "cs Here".cs_tomes DROP writer;
SELECT cs_triggers(), listed('cs:');
ROLLBACK;
-- All that are listed; counters at 0 may be gone already.
SELECT counter_uncache('"cs Here".cs_parts', 'cs:of:') >= 2 AS dropped;
SELECT cs_triggers(), listed('cs:of:');
DROP SCHEMA "cs Here" CASCADE;
SELECT cs_triggers(), listed('cs:');

-- Made, filled and moved in one transaction.
BEGIN;
CREATE TABLE cs_books (id bigint PRIMARY KEY, author text);
CREATE TABLE cs_chapters (book smallint);
INSERT INTO cs_books VALUES (1, 'a'), (2, 'b');
INSERT INTO cs_chapters VALUES (1), (1), (2), (30000);
SELECT counter_cache('cs_chapters', 'cs:of:', 'book', through => 'cs_books.author');
UPDATE cs_books SET author = 'c' WHERE id = 1;
INSERT INTO cs_chapters VALUES (1);
INSERT INTO cs_books VALUES (30000, 'd'), (9000000000, 'e');
UPDATE cs_books SET author = 'f' WHERE id > 2;
SELECT listed('cs:of:'), difference('cs_chapters', 'cs:of:', 'book');
COMMIT;
SELECT listed('cs:of:'), difference('cs_chapters', 'cs:of:', 'book');
-- More keys than locks of their own.
INSERT INTO cs_books SELECT g, 'm' || g % 7 FROM generate_series(100, 2400) g;
INSERT INTO cs_chapters SELECT g FROM generate_series(100, 2400) g, generate_series(1, 2);
UPDATE cs_books SET author = 'm' || (id / 2) % 3 WHERE id >= 100;
DELETE FROM cs_books WHERE id BETWEEN 200 AND 1500;
DELETE FROM cs_chapters WHERE book BETWEEN 1000 AND 1600;
SELECT listed('cs:of:'), difference('cs_chapters', 'cs:of:', 'book');
DROP TABLE cs_books, cs_chapters;

-- Partitions on both sides, written through the whole and directly.
CREATE TABLE cs_books (id int, author int, era int, PRIMARY KEY (id, era)) PARTITION BY LIST (era);
CREATE TABLE cs_books_1 PARTITION OF cs_books FOR VALUES IN (1);
CREATE TABLE cs_books_2 (era int NOT NULL, author int, gone int, id int NOT NULL);
ALTER TABLE cs_books_2 DROP gone;
ALTER TABLE cs_books ATTACH PARTITION cs_books_2 FOR VALUES IN (2);
CREATE TABLE cs_chapters (book int, era int) PARTITION BY LIST (era);
CREATE TABLE cs_chapters_1 PARTITION OF cs_chapters FOR VALUES IN (1);
CREATE TABLE cs_chapters_2 PARTITION OF cs_chapters FOR VALUES IN (2);
\set VERBOSITY terse
SELECT counter_cache('cs_chapters', 'cs:of:', 'book', through => 'cs_books.author');
\set VERBOSITY default
ALTER TABLE cs_books DROP CONSTRAINT cs_books_pkey;
CREATE TABLE cs_ids (id int PRIMARY KEY);
CREATE TRIGGER i AFTER INSERT OR UPDATE OR DELETE ON cs_chapters FOR EACH ROW EXECUTE FUNCTION counter_rows('cs:of:', 'book', 'through', 'public.cs_books', 'by', 'id', 'to', 'author');
CREATE TRIGGER i AFTER INSERT OR UPDATE OR DELETE ON cs_books FOR EACH ROW EXECUTE FUNCTION counter_rows('cs:of:', 'id', 'to', 'author', 'of', 'public.cs_chapters');
INSERT INTO cs_books (id, author, era) VALUES (1, 10, 1), (2, 20, 2);
INSERT INTO cs_chapters VALUES (1, 1), (2, 1), (2, 2);
UPDATE cs_books_2 SET author = 30;
UPDATE cs_books SET era = 2, author = 40 WHERE id = 1;
INSERT INTO cs_chapters_2 VALUES (1, 2);
SELECT listed('cs:of:'), difference('cs_chapters', 'cs:of:', 'book');
SELECT counter_backfill('cs_chapters', 'cs:of:', 'book');
DROP TABLE cs_books, cs_chapters, cs_ids;

-- A trigger of somebody else's table changes no counter of a cache that does not count through it. Names that are none.
CREATE TABLE cs_books (id int PRIMARY KEY, author int);
CREATE TABLE cs_chapters (book int, other int, long int8);
CREATE TABLE cs_other (id int PRIMARY KEY, author int, name text, UNIQUE (name));
SELECT counter_cache('cs_chapters', 'cs:of:', 'book', through => 'cs_books.author', take_over => true);
CREATE TRIGGER i AFTER INSERT ON cs_other REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cs:of:', 'id', 'to', 'author', 'of', 'public.cs_chapters');
\set VERBOSITY terse
INSERT INTO cs_other VALUES (1, 1);
DROP TRIGGER i ON cs_other;
CREATE TRIGGER i AFTER INSERT ON cs_other REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cs:x:', 'id', 'sum', 'author');
CREATE TRIGGER i AFTER INSERT ON cs_other REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION counter_rows('cs:x:', 'id', 'through', 'public.cs_gone', 'by', 'id', 'to', 'author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'no.cs_books.author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'cs_nothing.author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'cs_books.nothing');
SELECT counter_cache('cs_chapters', 'cs:x:', ARRAY['book', 'other'], through => 'cs_books.author');
ALTER TABLE cs_other DROP CONSTRAINT cs_other_pkey;
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'cs_other.author');
ALTER TABLE cs_other ADD PRIMARY KEY (name);
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'cs_other.author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'long', through => 'cs_books.author');
SELECT counter_cache('cs_chapters', 'cs:x:', 'book', through => 'cs_chapters.book');
SELECT counter_uncache('cs_chapters', 'cs:x:');
-- Whose rights: the counted table's owner reads the middle table.
CREATE ROLE cs_owner;
GRANT CREATE ON SCHEMA public TO cs_owner;
GRANT USAGE ON SCHEMA counter_ext TO cs_owner;
GRANT INSERT, UPDATE ON counter_ext.total TO cs_owner;
SET ROLE cs_owner;
CREATE TABLE cs_mine (book int);
SELECT counter_cache('cs_mine', 'cs:mine:', 'book', through => 'cs_books.author');
RESET ROLE;
SELECT counter_cache('cs_mine', 'cs:mine:', 'book', through => 'cs_books.author');
GRANT SELECT ON cs_books TO cs_owner;
SELECT counter_cache('cs_mine', 'cs:mine:', 'book', through => 'cs_books.author');
INSERT INTO cs_books VALUES (1, 10);
SET ROLE cs_owner;
INSERT INTO cs_mine VALUES (1);
RESET ROLE;
REVOKE SELECT ON cs_books FROM cs_owner;
INSERT INTO cs_mine VALUES (1);
GRANT SELECT ON cs_books TO cs_owner;
ALTER TABLE cs_books ENABLE ROW LEVEL SECURITY;
INSERT INTO cs_mine VALUES (1);
ALTER TABLE cs_books DISABLE ROW LEVEL SECURITY;
UPDATE cs_books SET author = 11;
SELECT listed('cs:mine:'), difference('cs_mine', 'cs:mine:', 'book');
-- A session in a replica's role, which foreign keys do not hold, leaves chapters without their book; a new one has them.
CREATE TABLE cs_tales (id int PRIMARY KEY, author int);
CREATE TABLE cs_pages (tale int REFERENCES cs_tales ON DELETE CASCADE);
SELECT counter_cache('cs_pages', 'cs:pages:', 'tale', through => 'cs_tales.author');
INSERT INTO cs_tales VALUES (1, 3);
INSERT INTO cs_pages VALUES (1), (1);
SET session_replication_role = replica;
DELETE FROM cs_tales;
RESET session_replication_role;
SELECT listed('cs:pages:'), difference('cs_pages', 'cs:pages:', 'tale');
INSERT INTO cs_tales VALUES (1, 4), (2, 4);
SELECT listed('cs:pages:'), difference('cs_pages', 'cs:pages:', 'tale');
DROP TABLE cs_pages, cs_tales;
DROP TABLE cs_mine, cs_books, cs_chapters, cs_other;
SELECT cs_triggers(), listed('cs:');
REVOKE ALL ON SCHEMA public, counter_ext FROM cs_owner;
REVOKE ALL ON counter_ext.total FROM cs_owner;
DROP ROLE cs_owner;
DROP FUNCTION difference, listed, cs_right, cs_triggers;
SELECT count(counter_drop(id)) >= 0 AS dropped FROM counters WHERE id LIKE 'cs:%';
