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

-- Pages.
SELECT count(counter_like('paged', 'actor:' || n)) FROM generate_series(1, 9) AS n;
SELECT actor FROM counter_likers('paged', max_rows => 4);
SELECT actor FROM counter_likers('paged', 'actor:4', 4);
SELECT actor FROM counter_likers('paged', NULL, 1);
SELECT item FROM counter_liked_items('actor', after => 'item:495', max_rows => 3);
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT * FROM counter_likers('paged', 'actor:4', 4);
RESET enable_seqscan;

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
