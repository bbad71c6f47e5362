-- Many counters at once: set, dropped, dropped by prefix; listed page by page. In both modes, with savepoints, prepared, and past
-- the room of the lock table.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
-- Messages by SQLSTATE and text, not by line.
CREATE FUNCTION bulk_attempt(command text, OUT code text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;
\set VERBOSITY default

-- Set: each once, of one that repeats the last.
SELECT counter_set_many('{bulk:a,bulk:b,bulk:a,bulk:c}', '{1,2,3,-9223372036854775808}');
SELECT id, value, overflowed FROM counter_list('bulk:');
SELECT counter_set_many('{bulk:b,bulk:c}', '{9223372036854775807,9223372036854775807}');
SELECT id, value FROM counter_list('bulk:');
SELECT counter_set_many('{}', '{}'), counter_drop_many('{}'), counter_drop_prefix('bulk:none:');
SELECT b.* FROM (VALUES
    ($$SELECT counter_set_many('{a}', '{1,2}')$$), ($$SELECT counter_set_many('{a,NULL}', '{1,2}')$$),
    ($$SELECT counter_set_many('{a,b}', '{1,NULL}')$$), ($$SELECT counter_set_many(NULL, '{1}')$$),
    ($$SELECT counter_set_many('{a}', NULL)$$), ($$SELECT counter_set_many('{{a},{b}}', '{1,2}')$$),
    ($$SELECT counter_set_many('{a,b}', '{{1},{2}}')$$), ($$SELECT counter_set_many('{a,""}', '{1,2}')$$),
    ($$SELECT counter_set_many(ARRAY['a', chr(1) || 'b'], '{1,2}')$$), ($$SELECT counter_set_many(ARRAY[repeat('x', 256)], '{1}')$$),
    ($$SELECT counter_drop_many(NULL)$$), ($$SELECT counter_drop_many('{a,NULL}')$$), ($$SELECT counter_drop_prefix('')$$),
    ($$SELECT counter_drop_prefix(chr(2))$$), ($$SELECT counter_drop_prefix(repeat('x', 256))$$),
    ($$SELECT * FROM counter_list(NULL)$$), ($$SELECT * FROM counter_list('', '', NULL)$$), ($$SELECT * FROM counter_list('', '', -1)$$),
    ($$SELECT * FROM counter_list(chr(1))$$)) AS v (command), bulk_attempt(command) AS b;
SELECT counter_drop_prefix(NULL) IS NULL AS strict;

-- In a transaction: savepoints, rollback, one's own changes.
BEGIN;
SELECT counter_set_many('{bulk:a,bulk:d}', '{10,20}');
SAVEPOINT one;
SELECT counter_drop_many('{bulk:a,bulk:a,bulk:b,bulk:none}');
SELECT counter_incr('bulk:e');
SELECT id, value FROM counter_list('bulk:');
ROLLBACK TO one;
SELECT id, value FROM counter_list('bulk:');
SELECT counter_drop_prefix('bulk:');
SELECT id, value FROM counter_list('bulk:');
SELECT counter_incr('bulk:a', 7);
SELECT id, value FROM counter_list('bulk:');
ROLLBACK;
SELECT id, value FROM counter_list('bulk:');

-- One past bigint keeps nobody from being listed.
SELECT counter_incr('bulk:b', 1);
SELECT id, value, overflowed FROM counter_list('bulk:');
SELECT counter_set_many('{bulk:b}', '{5}');
-- By key, in the order of bytes, whatever the database sorts by.
SELECT counter_set_many('{bulk:B,bulk:ä,bulk:a1,bulk:a-1}', '{1,2,3,4}');
SELECT id FROM counter_list('bulk:');
SELECT id FROM counter_list('bulk:', 'bulk:a', 2);
SELECT id FROM counter_list('bulk:', 'zzz');
SELECT id FROM counter_list('bulk:', '', 0);
SELECT count(*) >= 7 AS all_of_them FROM counter_list();
SELECT id FROM counter_list(after => 'bulk:b', max_rows => 1);
-- Likes and what was filtered are not counters of anybody's.
SELECT counter_like('bulk:liked', 'joe');
SELECT id FROM counter_list('bulk:l'), counter_likes('bulk:liked');

-- Visitors of dropped ids are forgotten, also where nothing was counted.
SELECT counter_visit('bulk:a', 'joe'), counter_visit('bulk:v', 'joe');
BEGIN;
SELECT counter_visit('bulk:w', 'joe');
SELECT counter_drop_prefix('bulk:v'), counter_drop_prefix('bulk:w');
COMMIT;
SELECT counter_drop_many('{bulk:a}');
SELECT counter_visitors('bulk:a'), counter_visitors('bulk:v'), counter_visitors('bulk:w');
SELECT counter_drop_prefix('bulk:');
SELECT id FROM counter_list('bulk:');
SELECT counter_unlike('bulk:liked', 'joe');

-- Buffered: what is in no row yet is listed, set and dropped as anything else.
SET counter_ext.mode = buffered;
SELECT count(counter_incr('bulk:' || n, n)) FROM generate_series(1, 5) AS n;
SELECT id, value FROM counter_list('bulk:');
SELECT counter_set_many('{bulk:1,bulk:6}', '{100,600}');
SELECT id, value FROM counter_list('bulk:', max_rows => 2);
SELECT counter_drop_many('{bulk:1,bulk:2,bulk:9}');
SELECT counter_drop_prefix('bulk:');
SELECT count(*) FROM counter_list('bulk:');
RESET counter_ext.mode;

-- Past the first ones no lock an id is kept, whichever way they are set.
CREATE FUNCTION bulk_locks() RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'object' AND objsubid = 1 $$;
BEGIN;
SELECT count(counter_set('bulk:' || n, n)) FROM generate_series(1, 1000) AS n;
SELECT count(counter_reset('bulk:' || n)), bulk_locks() <= 64 AS few_locks FROM generate_series(1, 1000) AS n;
SELECT counter_set_many(array_agg('bulk:' || n), array_agg(n::bigint)) FROM generate_series(1, 1000) AS n;
SELECT bulk_locks() <= 64 AS few_locks;
SAVEPOINT one;
SELECT count(counter_drop(id)) FROM counter_list('bulk:', max_rows => 2000);
SELECT bulk_locks() <= 64 AS few_locks;
ROLLBACK TO one;
SELECT count(*), sum(value) FROM counter_list('bulk:', max_rows => 2000);
SELECT count(*) AS claims_that_anybody_sees FROM counter_ext.claim;
COMMIT;
SELECT count(*), sum(value) FROM counter_list('bulk:', max_rows => 2000);
-- Prepared, they stay taken.
BEGIN;
SELECT counter_drop_prefix('bulk:');
PREPARE TRANSACTION 'bulk';
SELECT count(*), sum(value) FROM counter_list('bulk:', max_rows => 2000);
SET lock_timeout = '100ms';
SELECT code FROM bulk_attempt($$SELECT counter_set('bulk:1', 1)$$);
SELECT code FROM bulk_attempt($$SELECT counter_set('bulk:999', 1)$$);
SELECT code FROM bulk_attempt($$SELECT counter_incr('bulk:999', 0)$$);
COMMIT PREPARED 'bulk';
RESET lock_timeout;
SELECT id, value FROM counter_list('bulk:');
SELECT counter_drop_prefix('bulk:') >= 0;

-- Rights.
CREATE ROLE bulk_reader;
CREATE ROLE bulk_counter;
GRANT SELECT ON counter_ext.total TO bulk_reader;
GRANT INSERT, UPDATE ON counter_ext.total TO bulk_counter;
SET ROLE bulk_reader;
SELECT count(*) FROM counter_list('bulk:');
SELECT b.code, b.message FROM (VALUES ($$SELECT counter_set_many('{a}', '{1}')$$), ($$SELECT counter_drop_many('{a}')$$),
    ($$SELECT counter_drop_prefix('a')$$)) AS v (command), bulk_attempt(command) AS b;
SET ROLE bulk_counter;
SELECT counter_set_many('{bulk:r}', '{1}');
SELECT b.code, b.message FROM (VALUES ($$SELECT * FROM counter_list('a')$$), ($$SELECT counter_drop_many('{a}')$$),
    ($$SELECT counter_drop_prefix('a')$$)) AS v (command), bulk_attempt(command) AS b;
RESET ROLE;
REVOKE ALL ON counter_ext.total FROM bulk_reader, bulk_counter;
DROP ROLE bulk_reader, bulk_counter;
BEGIN READ ONLY;
SELECT id, value FROM counter_list('bulk:');
SAVEPOINT one;
SELECT counter_set_many('{a}', '{1}');
ROLLBACK TO one;
SELECT counter_drop_many('{a}');
ROLLBACK TO one;
SELECT counter_drop_prefix('a');
ROLLBACK;
SELECT counter_drop_prefix('bulk:');
DROP FUNCTION bulk_attempt, bulk_locks;
