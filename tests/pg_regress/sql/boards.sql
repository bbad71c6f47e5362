-- Boards: any counters can be ranked; what is shown is what rank() OVER says.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DO $$ BEGIN PERFORM counter_compact(); END $$;
RESET client_min_messages;
-- Until everything is compacted, and every board built or gone.
CREATE PROCEDURE settle() LANGUAGE plpgsql AS $$ BEGIN LOOP
    PERFORM counter_compact();
    EXIT WHEN NOT EXISTS (SELECT FROM counter_ext.board b FULL JOIN counter_ext.board_state s USING (prefix)
        WHERE s.state IS DISTINCT FROM 1 OR b.since IS NULL);
    PERFORM pg_sleep(0.01);
END LOOP; END $$;

-- There are counters already: in totals, slot rows, and memory.
SELECT counter_incr('b:anna', 5), counter_incr('b:ben', 7), counter_incr('b:cid', 5), counter_incr('b:dan', -3), counter_incr('b:', 9);
BEGIN;
SET LOCAL counter_ext.mode = 'buffered';
SELECT counter_incr('b:eve', 2);
COMMIT;
SELECT counter_board_top('b:');
SELECT counter_board_incr('b:', 'anna');
SELECT counter_board('b:'), counter_board('b:');
SELECT * FROM counter_board_top('b:');
SELECT m, counter_board_rank('b:', m) FROM unnest('{anna,ben,cid,dan,eve,nobody}'::text[]) m;
SELECT * FROM counter_board_around('b:', 'eve', 1);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('b:');
SELECT m, counter_board_rank('b:', m) FROM unnest('{anna,ben,cid,dan,eve,nobody}'::text[]) m;
SELECT * FROM counter_board_top('b:', 2);
SELECT * FROM counter_board_top('b:', 0);
SELECT * FROM counter_board_around('b:', 'cid', 1);
SELECT * FROM counter_board_around('b:', 'ben', 1);
SELECT * FROM counter_board_around('b:', 'dan', 0);
SELECT * FROM counter_board_around('b:', 'nobody');

-- A score shows as soon as it is counted, in either mode, and so do the ranks.
SELECT counter_incr('b:dan', 20);
SELECT * FROM counter_board_top('b:', 3);
SELECT counter_board_rank('b:', 'dan');
BEGIN;
SET LOCAL counter_ext.mode = 'buffered';
SELECT counter_board_incr('b:', 'eve', 40);
COMMIT;
SELECT * FROM counter_board_top('b:', 3);
SELECT counter_board_rank('b:', 'eve');
SELECT * FROM counter_board_around('b:', 'eve', 2);
SELECT * FROM counter_board_around('b:', 'ben', 1);
-- So does what the transaction has done itself, and it goes with it.
BEGIN;
SELECT counter_board_incr('b:', 'fay', 100), counter_incr('b:ben', -100);
SELECT * FROM counter_board_top('b:');
SELECT counter_board_rank('b:', 'fay'), counter_board_rank('b:', 'ben');
SELECT * FROM counter_board_around('b:', 'cid', 2);
SAVEPOINT s;
SELECT counter_board_incr('b:', 'gil', 200);
SELECT * FROM counter_board_top('b:', 1);
ROLLBACK TO s;
SELECT * FROM counter_board_top('b:', 1);
ROLLBACK;
SELECT * FROM counter_board_top('b:', 1);

-- Members may be numbers and uuids.
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_board_incr('b:', 42), counter_board_incr('b:', 42::bigint, 2), counter_board_incr('b:', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
SELECT counter_board_rank('b:', 42), counter_board_rank('b:', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
SELECT * FROM counter_board_around('b:', 42, 1);
PREPARE rank AS SELECT counter_board_rank($1, $2);
EXECUTE rank('b:', 'anna');
SELECT counter_drop('b:42'), counter_drop('b:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');

-- Set, reset, drop, rename, merge.
SELECT counter_set('b:anna', 50), counter_reset('b:eve'), counter_drop('b:dan'), counter_rename('b:cid', 'b:cod');
SELECT * FROM counter_board_top('b:');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('b:');
SELECT counter_board_rank('b:', 'dan'), counter_board_rank('b:', 'cid'), counter_board_rank('b:', 'eve');
SELECT counter_merge('b:cod', 'b:eve');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('b:');
-- A counter at 0 is a member.
SELECT counter_incr('b:zoe', 0);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT member, ~place AS score FROM counter_ext.board_member WHERE board = 'b:' ORDER BY place, member;
SELECT counter_board_rank('b:', 'zoe');

-- Rows that others write: another node's, an administrator's.
INSERT INTO counter_ext.total (id, node, value) VALUES ('b:ben', 7, 1000), ('b:ida', 7, 3);
SELECT * FROM counter_board_top('b:', 2);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('b:');
SELECT m, counter_board_rank('b:', m) FROM unnest('{ben,ida}'::text[]) m;
UPDATE counter_ext.total SET value = 4 WHERE id = 'b:ben' AND node = 7;
DELETE FROM counter_ext.total WHERE id = 'b:ida';
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT member, ~place AS score FROM counter_ext.board_member WHERE board = 'b:' ORDER BY place, member;

-- Both ends of bigint, and past them.
SELECT counter_set('b:max', 9223372036854775807), counter_set('b:min', -9223372036854775808);
INSERT INTO counter_ext.total (id, node, value) VALUES ('b:max', 7, 10);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT rank, member, score FROM counter_board_top('b:');
SELECT counter_board_rank('b:', 'max'), counter_board_rank('b:', 'min');
SELECT counter_drop('b:max'), counter_drop('b:min');
DELETE FROM counter_ext.total WHERE id = 'b:max';

-- Copies.
SELECT counter_board_snapshot('b:') AS first \gset
SELECT counter_board_incr('b:', 'zoe', 77);
SELECT counter_board_snapshot('b:') AS second \gset
SELECT * FROM counter_board_top('b:', 2, :'first');
SELECT * FROM counter_board_top('b:', 2, :'second');
SELECT * FROM counter_board_top('b:', 2, now());
SELECT * FROM counter_board_top('b:', 2, :'first'::timestamptz - interval '1 us');
SELECT count(*), count(DISTINCT taken_at) FROM counter_ext.board_snapshot WHERE board = 'b:';

-- Boards within boards, and a board of everything.
SELECT counter_board('b:x:'), counter_incr('b:x:kim', 60);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('b:x:');
SELECT * FROM counter_board_top('b:', 2);
SELECT counter_board('');
SELECT counter_board_rank('', 'b:x:kim') = (SELECT count(*) + 1 FROM counters WHERE value > 60) AS ok;
-- What families count under ids of their own is on none, whoever changes it.
SELECT counter_like('b:liked', 'kim');
DO $$ BEGIN PERFORM counter_compact(); END $$;
UPDATE counter_ext.total SET updated_at = now() WHERE id = E'\x01b:liked';
SELECT count(*) FROM counter_ext.board_changed WHERE id ~ 'liked';
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_board_top('', 1000000) WHERE member ~ 'liked';
SELECT counter_unlike('b:liked', 'kim');

-- Many, with ties, as rank() OVER says.
SELECT counter_set_many(array_agg('b:many:' || i), array_agg(i * 7919 % 1000 - 300)) FROM generate_series(1, 3000) i;
SELECT counter_board('b:many:');
DO $$ BEGIN PERFORM counter_compact(); END $$;
WITH r AS (SELECT substr(id, 8) AS member, value, rank() OVER (ORDER BY value DESC) FROM counters WHERE id LIKE 'b:many:%')
    SELECT count(*), count(*) FILTER (WHERE counter_board_rank('b:many:', member) = rank) AS ranked FROM r;
WITH r AS (SELECT substr(id, 8) AS member, value, rank() OVER (ORDER BY value DESC) FROM counters WHERE id LIKE 'b:many:%')
    SELECT count(*) FROM (SELECT rank, member, value FROM r EXCEPT SELECT rank, member, score FROM counter_board_top('b:many:', 3000)) AS differ;
DO $$ BEGIN PERFORM counter_incr('b:many:' || i, i * 31 % 500) FROM generate_series(1, 3000, 3) i; END $$;
DO $$ BEGIN PERFORM counter_compact(); END $$;
WITH r AS (SELECT substr(id, 8) AS member, value, rank() OVER (ORDER BY value DESC) FROM counters WHERE id LIKE 'b:many:%')
    SELECT count(*), count(*) FILTER (WHERE counter_board_rank('b:many:', member) = rank) AS ranked FROM r;
SELECT sum(length(counts)) > 0 AS counted FROM counter_ext.board_count WHERE board = 'b:many:';
-- One too many to be built at once goes on behind the call.
SELECT counter_set_many(array_agg('b:more:' || i), array_agg(i::bigint)) FROM generate_series(1, 15000) i;
SELECT counter_board('b:more:');
CALL settle();
SELECT * FROM counter_board_top('b:more:', 1);
SELECT counter_board_rank('b:more:', 1);

-- It ends, and begins anew.
SELECT counter_unboard('b:many:'), counter_unboard('b:many:');
SELECT counter_board_top('b:many:');
SELECT counter_drop_prefix('b:many:1');
SELECT counter_board('b:many:');
CALL settle();
SELECT count(*) FROM counter_board_top('b:many:', 5000);
SELECT counter_unboard('b:many:'), counter_unboard('b:more:'), counter_unboard('');
CALL settle();
SELECT prefix, state FROM counter_ext.board_state;
SELECT board, count(*) FROM counter_ext.board_member GROUP BY board ORDER BY board;
SELECT DISTINCT board FROM counter_ext.board_count ORDER BY board;
-- By hand, as a restore does it.
INSERT INTO counter_ext.board (prefix) VALUES ('b:more:');
SELECT count(*) FROM counter_board_top('b:more:', 20000);
SELECT count(*) > 0 AS unharmed FROM counter_board_top('b:', 1);
CALL settle();
SELECT count(*) FROM counter_board_top('b:more:', 20000);
DELETE FROM counter_ext.board WHERE prefix = 'b:more:';
SELECT counter_board_top('b:more:');
BEGIN;
SELECT counter_board('b:gone:'), counter_incr('b:gone:a');
SELECT * FROM counter_board_top('b:gone:');
ROLLBACK;
SELECT counter_board_top('b:gone:');
BEGIN;
SAVEPOINT s;
SELECT counter_board('b:gone:');
ROLLBACK TO s;
SELECT counter_board_top('b:gone:');
ROLLBACK;

-- What is refused.
SELECT counter_board(NULL);
SELECT counter_unboard(NULL);
SELECT counter_board_rank('b:', NULL::text), counter_board_rank(NULL, 'a');
SELECT counter_board_incr('b:', 'a', NULL);
SELECT counter_board(repeat('x', 256));
SELECT counter_board(E'\x01a');
SELECT counter_board_rank('b:', '');
SELECT counter_board_rank('b:', repeat('x', 254));
SELECT counter_board_incr('b:', '');
SELECT counter_board_top('b:', -1);
SELECT counter_board_around('b:', 'ben', -1);
BEGIN READ ONLY;
SELECT * FROM counter_board_top('b:', 1);
SELECT counter_board_rank('b:', 'ben');
SELECT counter_board_snapshot('b:');
ROLLBACK;
BEGIN READ ONLY;
SELECT counter_board('c:');
ROLLBACK;
BEGIN READ ONLY;
SELECT counter_unboard('b:');
ROLLBACK;

-- Who may do what.
CREATE ROLE counter_ext_board;
SET ROLE counter_ext_board;
SELECT counter_board('c:');
SELECT counter_unboard('b:');
SELECT counter_board_top('b:');
SELECT counter_board_rank('b:', 'ben');
SELECT counter_board_around('b:', 'ben');
SELECT counter_board_incr('b:', 'ben');
SELECT counter_board_snapshot('b:');
SELECT counter_board_top('b:', 1, now());
RESET ROLE;
GRANT SELECT ON counter_ext.total TO counter_ext_board;
SET ROLE counter_ext_board;
SELECT * FROM counter_board_top('b:', 1);
SELECT counter_board_rank('b:', 'ben');
SELECT counter_board_snapshot('b:');
RESET ROLE;
GRANT INSERT ON counter_ext.board_snapshot, counter_ext.board TO counter_ext_board;
SET ROLE counter_ext_board;
SELECT counter_board_snapshot('b:') IS NOT NULL AS taken, counter_board('c:');
SELECT counter_unboard('c:');
RESET ROLE;
DROP OWNED BY counter_ext_board;
DROP ROLE counter_ext_board;

-- Everything is forgotten but which boards there are.
BEGIN;
SELECT counter_forget_all();
SELECT * FROM counter_board_top('b:');
SELECT counter_incr('b:new', 3);
SELECT * FROM counter_board_top('b:');
ROLLBACK;
SELECT counter_unboard(prefix) FROM counter_ext.board;
SELECT counter_drop_prefix('b:') > 0 AS dropped;
CALL settle();
SELECT (SELECT count(*) FROM counter_ext.board_member), (SELECT count(*) FROM counter_ext.board_count), (SELECT count(*) FROM counter_ext.board_changed);
DELETE FROM counter_ext.board_snapshot;
DROP PROCEDURE settle;
