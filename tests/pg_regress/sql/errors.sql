-- Errors: SQLSTATE, a message that names the value, a HINT where there is one thing to do; and nothing is counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT counter_incr('errors:a', 7);

-- Empty and over-long ids: 22023.
SELECT counter_incr('');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr(repeat('x', 256));
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr(repeat('é', 128));
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr(repeat('x', 1000000));
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT counter_get('');
SELECT counter_get(repeat('x', 256));
SELECT counter_get_exact('');
SELECT counter_get_exact(repeat('x', 256));
SELECT counter_info('');
SELECT counter_info(repeat('x', 256));
SELECT counter_reset('');
SELECT counter_reset(repeat('x', 256));
SELECT counter_set('', 1);
SELECT counter_set(repeat('x', 256), 1);
SELECT counter_drop('');
SELECT counter_drop(repeat('x', 256));
SELECT counter_incr_many('{errors:a,""}');
SELECT counter_incr_many(ARRAY['errors:a', repeat('x', 256)]);
SELECT counter_get_many('{errors:a,""}');
SELECT counter_get_many(ARRAY['errors:a', repeat('x', 256)]);
\set VERBOSITY default

-- NULL arrays and NULL inside arrays: 22004.
SELECT counter_incr_many(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr_many('{errors:a,errors:b,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr_many('{errors:a,errors:b}', '{1,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr_many('[0:1]={errors:a,NULL}');
SELECT counter_get_many(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_get_many('{NULL,errors:a}');
\echo :LAST_ERROR_SQLSTATE

-- Arrays of different length, and of more than one dimension: 2202E.
SELECT counter_incr_many('{errors:a,errors:b}', '{1}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr_many('{errors:a}', '{}');
SELECT counter_incr_many('{}', '{1}');
SELECT counter_incr_many('{{errors:a,errors:b},{errors:c,errors:d}}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr_many('{errors:a,errors:b}', '{{1,2}}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_get_many('{{errors:a,errors:b}}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_get('errors:a'), counter_get('errors:b');

-- Increments of one transaction that leave bigint: 22003 to the incrementer, and the sum stays as it was.
BEGIN;
SELECT counter_incr('errors:sum', 9223372036854775807);
SAVEPOINT s;
SELECT counter_incr('errors:sum', 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_incr_many('{errors:other,errors:sum}', '{1,1}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_incr('errors:sum', -9223372036854775808);
SELECT counter_incr('errors:sum', -9223372036854775807);
SELECT counter_incr('errors:sum', -1);
ROLLBACK TO s;
SELECT counter_incr('errors:sum', -7);
COMMIT;
SELECT counter_get('errors:sum'), counter_get('errors:other');

-- A total that legal increments push past bigint: 22003 to whoever asks for it.
SELECT counter_set('errors:full', 9223372036854775807);
SELECT counter_incr('errors:full', 1);
SELECT counter_get('errors:full');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_get_exact('errors:full');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_info('errors:full');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_get_many('{errors:a,errors:full}');
\echo :LAST_ERROR_SQLSTATE
SELECT 'errors:full'::counter::bigint;
\echo :LAST_ERROR_SQLSTATE
SELECT value FROM counters WHERE id = 'errors:full';
\echo :LAST_ERROR_SQLSTATE
SELECT counter_reset('errors:full');
\echo :LAST_ERROR_SQLSTATE
-- Compaction goes on, with the others and with what fits.
SELECT counter_incr('errors:a', 10);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('errors:a');
SELECT counter_get('errors:full');
SELECT counter_incr('errors:full', 5);
SELECT counter_get('errors:full');
-- Ways out, as the hint says.
SELECT counter_incr('errors:full', -6);
SELECT counter_get('errors:full'), counter_get_exact('errors:full');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('errors:full'), counter_get_exact('errors:full');
SELECT counter_incr('errors:full', 2);
SELECT counter_get('errors:full');
SELECT counter_set('errors:full', 3);
SELECT counter_get('errors:full'), counter_get_exact('errors:full');
SELECT counter_set('errors:full', -9223372036854775808);
SELECT counter_incr('errors:full', -9223372036854775808);
SELECT counter_get('errors:full');
SELECT counter_drop('errors:full');
SELECT counter_get('errors:full'), counter_get_exact('errors:full');
-- The same, seen with the caller's own increments.
SELECT counter_incr('errors:own', 9223372036854775807);
SELECT counter_get('errors:own');
BEGIN;
SELECT counter_incr('errors:own', 1);
SELECT counter_get('errors:own');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SELECT counter_incr('errors:own', 1);
SELECT counter_get_exact('errors:own');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT counter_get('errors:own'), counter_get_exact('errors:own');
BEGIN;
SELECT counter_incr('errors:own', 1);
SELECT counter_incr('errors:own', -1);
SELECT counter_get('errors:own'), counter_get_exact('errors:own');
COMMIT;
SELECT counter_drop('errors:own');

-- Read-only transactions change nothing: 25006. They may read.
BEGIN READ ONLY;
SAVEPOINT s;
SELECT counter_incr('errors:a');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_incr(42);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_incr_many('{errors:a}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_set('errors:a', 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_reset('errors:a');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_drop('errors:a');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_compact();
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_get('errors:a'), counter_get_exact('errors:a'), (counter_info('errors:a')).value, 'errors:a'::counter::bigint;
SELECT * FROM counter_get_many('{errors:a}');
SELECT value FROM counters WHERE id = 'errors:a';
SELECT slot_rows >= 0 AS answered FROM counter_stats;
COMMIT;
SET default_transaction_read_only = on;
SELECT counter_incr('errors:a');
RESET default_transaction_read_only;
-- An increment made before the transaction became read-only counts.
BEGIN;
SELECT counter_incr('errors:a', 100);
SET TRANSACTION READ ONLY;
COMMIT;
SELECT counter_get('errors:a');

-- Other arguments.
SELECT * FROM counter_hottest(-1);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM counter_hottest(0);
SELECT * FROM counter_hottest(NULL);

-- A statement that fails counts nothing, also what it counted before it failed.
SELECT counter_incr('errors:a', 1000), 1 / (i - 3) FROM generate_series(1, 5) i;
SELECT counter_incr_many('{errors:a,errors:b,""}', '{1,2,3}');
SELECT counter_get('errors:a'), counter_get('errors:b');
