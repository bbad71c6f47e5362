-- Likes: as many as there are rows, whatever comes in between.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY default

-- Once each.
SELECT counter_like('post:1', 'alice') AS made, counter_like('post:1', 'alice') AS again, counter_like('post:1', 'bob') AS other,
    counter_likes('post:1') AS likes;
SELECT counter_liked('post:1', 'alice') AS alice, counter_liked('post:1', 'carol') AS carol, counter_liked('post:2', 'alice') AS elsewhere;
SELECT counter_unlike('post:1', 'alice') AS taken, counter_unlike('post:1', 'alice') AS again, counter_likes('post:1') AS likes;
SELECT counter_like('post:1', 'alice') AS made_anew, counter_likes('post:1') AS likes, counter_likes('post:2') AS none;
SELECT item, actor, at = now() AS is_now FROM counter_ext.liked WHERE actor = 'bob';

-- Numbers as they are.
SELECT counter_like(42, 7), counter_like('42', 7) AS same, counter_like(42, '7') AS same, counter_liked(42, 7), counter_likes(42),
    counter_unlike(42, 7), counter_liked(42, '7'), counter_unlike('42', 7), counter_unlike(42, '7');

-- NULL is nobody; empty and long are errors.
SELECT counter_like(NULL::text, 'a') IS NULL AS item, counter_like('a', NULL::text) IS NULL AS actor, counter_likes(NULL::text) IS NULL AS likes;
\set VERBOSITY terse
SELECT counter_like('', 'a');
SELECT counter_like('a', '');
SELECT counter_like(repeat('x', 254), repeat('y', 255)) AS longest;
SELECT counter_like(repeat('x', 255), 'a');
SELECT counter_like('a', repeat('y', 256));
SELECT counter_likes(repeat('x', 255));
SELECT counter_like(E'\x01a', 'a');
\set VERBOSITY default
SELECT counter_unlike(repeat('x', 254), repeat('y', 255));

-- Transactions and savepoints.
BEGIN;
SELECT counter_like('tx', 'a'), counter_likes('tx');
SAVEPOINT s;
SELECT counter_unlike('tx', 'a'), counter_like('tx', 'b'), counter_like('tx', 'c'), counter_likes('tx');
ROLLBACK TO s;
SELECT counter_liked('tx', 'a'), counter_liked('tx', 'b'), counter_likes('tx');
SELECT counter_like('tx', 'b'), counter_unlike('tx', 'b'), counter_like('tx', 'b'), counter_likes('tx');
ROLLBACK;
SELECT counter_likes('tx') AS likes, count(*) AS rows FROM counter_ext.liked WHERE item = 'tx';
DO $$
BEGIN
    BEGIN
        PERFORM counter_like('tx', 'a');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        PERFORM counter_like('tx', 'z');
    END;
END
$$;
SELECT actor FROM counter_likers('tx');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_like('tx', 'y'), counter_unlike('tx', 'z'), counter_likes('tx');
COMMIT;
SET counter_ext.mode = 'buffered';
SELECT counter_like('tx', 'x'), counter_likes('tx');
BEGIN;
SELECT counter_like('tx', 'w'), counter_likes('tx');
ROLLBACK;
RESET counter_ext.mode;
BEGIN;
SELECT counter_like('tx', 'v'), counter_unlike('tx', 'y');
PREPARE TRANSACTION 'likes';
SELECT counter_likes('tx') AS before;
COMMIT PREPARED 'likes';
SELECT counter_likes('tx') AS likes, count(*) AS rows FROM counter_ext.liked WHERE item = 'tx';
\set VERBOSITY terse
BEGIN READ ONLY;
SELECT counter_liked('tx', 'v'), counter_likes('tx');
SELECT counter_like('tx', 'v');
ROLLBACK;
BEGIN READ ONLY;
SELECT counter_unlike('tx', 'nobody');
ROLLBACK;
\set VERBOSITY default
-- One that is held by this transaction itself goes all the same.
BEGIN;
SELECT actor FROM counter_ext.liked WHERE item = 'tx' AND actor = 'v' FOR UPDATE;
SELECT counter_like('tx', 'v'), counter_unlike('tx', 'v');
COMMIT;

-- By hand: counted, whichever way they come and go.
INSERT INTO counter_ext.liked (item, actor) SELECT 'hand:' || n % 5, 'u' || n FROM generate_series(1, 100) AS n;
DELETE FROM counter_ext.liked WHERE item = 'hand:2';
UPDATE counter_ext.liked SET item = 'hand:9' WHERE item = 'hand:3' AND actor < 'u5';
COPY counter_ext.liked (item, actor) FROM STDIN;
hand:7	a
hand:7	b
\.
INSERT INTO counter_ext.liked VALUES ('hand:7', 'b'), ('hand:7', 'c') ON CONFLICT DO NOTHING;
SELECT item, counter_likes(item) AS likes, count(*) AS rows FROM counter_ext.liked WHERE item LIKE 'hand:%' GROUP BY item ORDER BY item;
SELECT counter_likes('hand:2') AS deleted;
-- A partition by its own name, as a restore does, under any role of replication.
SET session_replication_role = replica;
SELECT tableoid::regclass AS partition FROM counter_ext.liked WHERE item = 'hand:7' LIMIT 1 \gset
INSERT INTO :partition (item, actor) VALUES ('hand:7', 'd');
SELECT counter_likes('hand:7') AS likes;
TRUNCATE :partition;
SELECT counter_likes('hand:7') AS likes;
RESET session_replication_role;
TRUNCATE counter_ext.liked;
SELECT sum(counter_likes('hand:' || n)) AS likes, counter_likes('post:1') FROM generate_series(0, 9) AS n;

-- Rows lie where PostgreSQL itself would put them: each partition's own constraint says so.
SELECT bool_and(counter_like('item:' || n, 'actor')) AS made FROM generate_series(1, 500) AS n;
SELECT count(DISTINCT tableoid) AS partitions, count(*) AS rows,
    count(*) FILTER (WHERE satisfies_hash_partition('counter_ext.liked'::regclass, 16,
        substring(tableoid::regclass::text FROM '\d+$')::int, item)) AS in_their_place
    FROM counter_ext.liked;
SELECT counter_liked('item:77', 'actor'), counter_unlike('item:77', 'actor');

-- Pages, newest first; likes of one time by name.
INSERT INTO counter_ext.liked (item, actor, at) SELECT 'paged', 'actor:' || n, timestamptz '2026-01-01 00:00:00.000001+00' + n / 3 * interval '1 microsecond' FROM generate_series(1, 9) AS n;
SELECT actor, extract(microseconds FROM at) AS us FROM counter_likers('paged', max_rows => 4);
SELECT cursor AS page FROM counter_likers('paged', max_rows => 4) OFFSET 3 \gset
SELECT actor FROM counter_likers('paged', :'page', 4);
-- The like that a page ended with may be gone, and a new one is not on a later page.
BEGIN;
SELECT counter_unlike('paged', 'actor:6') AS gone, counter_like('paged', 'newest') AS new;
SELECT actor FROM counter_likers('paged', after => :'page', max_rows => 4);
ROLLBACK;
SELECT actor FROM counter_likers('paged', NULL, 1);
SELECT count(*) AS none FROM counter_likers('paged', :'page', 0);
SELECT item, at = now() AS is_now FROM counter_liked_items('actor', max_rows => 2) ORDER BY item;
SELECT cursor AS page FROM counter_liked_items('actor', max_rows => 498) OFFSET 497 \gset
SELECT count(*) AS "left" FROM counter_liked_items('actor', after => :'page');
-- All pages together are all likes, whatever their size.
CREATE FUNCTION pages(size int) RETURNS TABLE (actor text, page int) LANGUAGE plpgsql AS $$
DECLARE
    place text;
    found_any boolean;
BEGIN
    page := 0;
    LOOP
        page := page + 1;
        found_any := false;
        FOR actor, place IN SELECT l.actor, l.cursor FROM counter_likers('paged', place, size) l LOOP
            found_any := true;
            RETURN NEXT;
        END LOOP;
        EXIT WHEN NOT found_any;
    END LOOP;
END $$;
SELECT size, count(*) AS likes, count(DISTINCT actor) AS different, max(page) AS pages FROM generate_series(1, 10) AS size, pages(size) GROUP BY size ORDER BY size;
DROP FUNCTION pages;
\set VERBOSITY default
SELECT * FROM counter_likers('paged', after => 'actor:4');
SELECT * FROM counter_liked_items('actor', after => '');
SELECT * FROM counter_likers('paged', max_rows => -1);
INSERT INTO counter_ext.liked (item, actor, at) VALUES ('paged', 'for ever', 'infinity');
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS off) SELECT * FROM counter_likers('paged', '820540800000000:actor:4', 4);
EXPLAIN (COSTS off) SELECT * FROM counter_likers(42, NULL, 4);
-- Of an actor: what the primary key's index of each partition has of him, without rows, sorted for the page.
CREATE FUNCTION plan_nodes(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS off) ' || query LOOP
        RETURN NEXT regexp_replace(trim(line, ' ->'), '_\d+', '_n', 'g');
    END LOOP;
END $$;
SET enable_bitmapscan = off;
SELECT node, count(*) FROM plan_nodes('SELECT * FROM counter_liked_items(''actor'', max_rows => 4)') AS node WHERE node !~ 'Cond|Key|Disabled' GROUP BY node ORDER BY node COLLATE "C";
DROP FUNCTION plan_nodes;
RESET enable_bitmapscan;
RESET enable_seqscan;
RESET enable_sort;

-- Items and actors of any type that names something: one and the same whatever the type.
CREATE DOMAIN likes_id AS bigint;
CREATE DOMAIN likes_name AS varchar(40);
CREATE TABLE likes_of (item counter, number likes_id, name likes_name);
INSERT INTO likes_of VALUES ('7', 7, '7');
SELECT counter_like(7, 7::smallint) AS first, counter_like('7', 7::bigint) AS bigint, counter_like(7::smallint, '7') AS text, counter_like('7', '7') AS both,
    counter_like('7'::varchar, '7'::name) AS name, counter_like(item, number) AS counter, counter_like(number, name) AS domain,
    counter_like(name, item) AS item, counter_like(7::bigint, '7'::char(4)) AS blank_padded FROM likes_of;
SELECT counter_likes(7), counter_likes('7'), counter_likes(7::bigint), counter_likes(item), counter_likes(name), counter_likes(number) FROM likes_of;
SELECT counter_liked(7, 7), counter_liked('7', 7), counter_liked(item, number), counter_liked(number, '7') FROM likes_of;
SELECT l.actor FROM likes_of, counter_likers(item) AS l;
SELECT l.item FROM likes_of, counter_liked_items(number) AS l;
SELECT counter_unlike(item, 7::smallint) AS taken, counter_unlike(7, 7) AS again FROM likes_of;
\set u 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'
SELECT counter_like(:'u'::uuid, :'u'::uuid), counter_liked(lower(:'u'), lower(:'u')), counter_liked(:'u'::uuid, lower(:'u')), counter_liked(lower(:'u'), :'u'::uuid), counter_likes(:'u'::uuid);
SELECT actor FROM counter_likers(:'u'::uuid);
SELECT item FROM counter_liked_items(:'u'::uuid);
SELECT counter_unlike(:'u'::uuid, :'u'::uuid);
SELECT counter_like('paged', 1.5);
\set VERBOSITY terse
SELECT counter_like('paged', true);
SELECT counter_like(42, current_date);
SELECT counter_like('paged', ARRAY['a']);
SELECT counter_like('', 7);
\set VERBOSITY default
-- What a driver that asks the server is told.
PREPARE likes_1 AS SELECT counter_like($1, $2), counter_unlike($1, $2), counter_liked($1, $2), counter_likes($1);
PREPARE likes_2 AS SELECT * FROM counter_likers($1, $2, $3);
PREPARE likes_3 AS SELECT * FROM counter_liked_items($1);
PREPARE likes_4 AS SELECT counter_like($1, 7), counter_like(7, $2);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'likes%' ORDER BY name;
DEALLOCATE ALL;
DROP TABLE likes_of;
DROP DOMAIN likes_id, likes_name;

-- What counts them is nobody's to name, and is not listed.
SELECT count(*) AS listed FROM counters WHERE id::text LIKE '%paged';
SELECT count(*) AS hottest FROM counter_hottest(1000) WHERE id::text LIKE '%paged';
\set VERBOSITY terse
SELECT counter_get(E'\x01paged');
\set VERBOSITY default

-- Privileges: those on counter_ext.liked decide, and no other are needed.
CREATE ROLE likes_fan;
SET ROLE likes_fan;
\set VERBOSITY terse
SELECT counter_like('paged', 'fan');
SELECT counter_unlike('paged', 'fan');
SELECT counter_liked('paged', 'fan');
SELECT counter_likes('paged');
SELECT * FROM counter_likers('paged');
\set VERBOSITY default
RESET ROLE;
GRANT USAGE ON SCHEMA counter_ext TO likes_fan;
GRANT INSERT ON counter_ext.liked TO likes_fan;
SET ROLE likes_fan;
SELECT counter_like('paged', 'fan');
\set VERBOSITY terse
SELECT counter_unlike('paged', 'fan');
SELECT counter_incr('paged');
SELECT counter_ext.count_likes('paged', 1);
INSERT INTO counter_ext.liked (item, actor) VALUES ('paged', 'fan by hand');
\set VERBOSITY default
RESET ROLE;
GRANT SELECT, DELETE ON counter_ext.liked TO likes_fan;
SET ROLE likes_fan;
SELECT counter_unlike('paged', 'fan'), counter_likes('paged');
RESET ROLE;
ALTER TABLE counter_ext.liked ENABLE ROW LEVEL SECURITY;
SET ROLE likes_fan;
\set VERBOSITY terse
SELECT counter_like('paged', 'fan');
SELECT counter_likes('paged');
\set VERBOSITY default
RESET ROLE;
ALTER TABLE counter_ext.liked DISABLE ROW LEVEL SECURITY;
SELECT counter_likes('paged') AS likes, count(*) AS rows FROM counter_ext.liked WHERE item = 'paged';

DROP OWNED BY likes_fan;
DROP ROLE likes_fan;
