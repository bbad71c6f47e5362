-- counter_incr_once and counter_apply: what is delivered twice counts once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- A token counts once for each id.
SELECT counter_incr_once('once:a', 5, 'event:1'), counter_incr_once('once:a', 5, 'event:1');
SELECT counter_incr_once('once:b', 1, 'event:1');
SELECT counter_incr_once(790101, 1, 'event:1'), counter_incr_once(790101, 1, 'event:1');
SELECT counter_get('once:a'), counter_get('once:b'), counter_get(790101);
-- Also when the delta is another one, or 0, or negative.
SELECT counter_incr_once('once:a', 7, 'event:1'), counter_incr_once('once:a', 0, 'event:2');
SELECT counter_incr_once('once:a', -2, 'event:3'), counter_incr_once('once:a', 0, 'event:2'), counter_get('once:a');
SELECT counter_incr_once('once:a', 1, NULL), counter_incr_once(NULL::text, 1, 'x'), counter_incr_once('once:a', NULL, 'x');
-- The token goes with its transaction, and with its savepoint.
BEGIN;
SELECT counter_incr_once('once:a', 10, 'event:4'), counter_incr_once('once:a', 10, 'event:4');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT counter_incr_once('once:a', 10, 'event:4');
ROLLBACK TO s;
SELECT counter_incr_once('once:a', 10, 'event:4');
RELEASE s;
SELECT counter_incr_once('once:a', 10, 'event:4'), counter_get('once:a');
COMMIT;
SELECT counter_get('once:a');
-- At the other isolation levels, and in buffered mode.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_incr_once('once:a', 1, 'event:4'), counter_incr_once('once:a', 1, 'event:5');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT counter_incr_once('once:a', 1, 'event:5'), counter_incr_once('once:a', 1, 'event:6');
COMMIT;
SET counter_ext.mode = 'buffered';
SELECT counter_incr_once('once:a', 1, 'event:6'), counter_incr_once('once:a', 1, 'event:7'), counter_get('once:a');
RESET counter_ext.mode;
-- Many at once, half of them twice.
SELECT count(*) FILTER (WHERE counter_incr_once('once:many', 1, 'n' || g % 1000)) FROM generate_series(1, 1500) g;
SELECT counter_get('once:many');
-- A prepared transaction keeps its token in doubt: others wait for it.
BEGIN;
SELECT counter_incr_once('once:p', 1, 'prepared');
PREPARE TRANSACTION 'once';
SET lock_timeout = '100ms';
\set VERBOSITY sqlstate
SELECT counter_incr_once('once:p', 1, 'prepared');
\set VERBOSITY default
RESET lock_timeout;
COMMIT PREPARED 'once';
SELECT counter_incr_once('once:p', 1, 'prepared'), counter_get('once:p');
-- Errors.
SELECT counter_incr_once('', 1, 'x');
SELECT counter_incr_once('once:a', 1, '');
SELECT counter_incr_once('once:a', 1, repeat('x', 256));
BEGIN READ ONLY;
SELECT counter_incr_once('once:a', 1, 'x');
ROLLBACK;
-- A row that somebody only locks is there.
BEGIN;
SELECT id FROM counter_ext.token WHERE token = 'event:7' FOR UPDATE;
SELECT counter_incr_once('once:a', 1, 'event:7');
COMMIT;
-- Old tokens are forgotten: here by hand, as the worker does it.
UPDATE counter_ext.token SET at = now() - interval '8 days' WHERE token LIKE 'n%';
SELECT counter_compact() >= 0 AS compacted;
DELETE FROM counter_ext.token WHERE token LIKE 'n%';
SELECT counter_incr_once('once:many', 1, 'n1'), counter_get('once:many');

-- A batch counts once: at or below what its source has delivered it changes nothing.
SELECT counter_apply('kafka:0', 10, ARRAY['apply:a', 'apply:b', 'apply:a'], ARRAY[1, 2, 3]);
SELECT counter_apply('kafka:0', 10, ARRAY['apply:a'], ARRAY[100]), counter_apply('kafka:0', 3, ARRAY['apply:a'], ARRAY[100]);
SELECT counter_get('apply:a'), counter_get('apply:b');
-- Without deltas 1 each; sources are apart; gaps are allowed, and to be seen.
SELECT counter_apply('kafka:0', 11, ARRAY['apply:a']), counter_apply('kafka:1', 11, ARRAY['apply:a'], NULL);
SELECT counter_apply('kafka:0', 20, ARRAY['apply:a', 'apply:a']), counter_apply('kafka:0', 21, '{}'), counter_apply('kafka:2', -5, '{}');
SELECT source, upto, skipped, batches FROM counter_ext.source_offset WHERE source LIKE 'kafka%' ORDER BY source;
-- A row that this transaction has locked is not held by another.
BEGIN;
SELECT upto FROM counter_ext.source_offset WHERE source = 'kafka:0' FOR UPDATE;
SELECT counter_apply('kafka:0', 1000000, ARRAY['locked:a']);
ROLLBACK;
SELECT counter_get('apply:a');
-- Offset and increments roll back together.
BEGIN;
SELECT counter_apply('kafka:0', 30, ARRAY['apply:a'], ARRAY[1000]), counter_apply('kafka:0', 30, ARRAY['apply:a'], ARRAY[1000]);
SELECT counter_get('apply:a');
ROLLBACK;
SELECT counter_apply('kafka:0', 30, ARRAY['apply:a'], ARRAY[-1]), counter_get('apply:a');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_apply('kafka:0', 31, ARRAY['apply:a']), counter_apply('kafka:0', 32, ARRAY['apply:a']), counter_get('apply:a');
COMMIT;
SET counter_ext.mode = 'buffered';
SELECT counter_apply('kafka:0', 32, ARRAY['apply:a']), counter_apply('kafka:0', 33, ARRAY['apply:a']), counter_get('apply:a');
RESET counter_ext.mode;
SELECT counter_apply('end', 9223372036854775807, ARRAY['apply:a']), counter_apply('end', 9223372036854775807, ARRAY['apply:a']);
SELECT counter_apply('end2', -9223372036854775808, '{}'), counter_apply('end2', 9223372036854775807, '{}');
SELECT source, upto, skipped FROM counter_ext.source_offset WHERE source LIKE 'end%' ORDER BY source;
-- Errors: nothing counts, and the offset stays.
SELECT counter_apply(NULL, 1, ARRAY['apply:a']);
SELECT counter_apply('kafka:0', NULL, ARRAY['apply:a']);
SELECT counter_apply('kafka:0', 99, NULL);
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a', NULL]);
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a', '']);
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a'], ARRAY[1, 2]);
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a', 'apply:b'], ARRAY[1, NULL]);
SELECT counter_apply('', 99, ARRAY['apply:a']);
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a', 'apply:a'], ARRAY[9223372036854775807, 1]);
BEGIN READ ONLY;
SELECT counter_apply('kafka:0', 99, ARRAY['apply:a']);
ROLLBACK;
SELECT upto FROM counter_ext.source_offset WHERE source = 'kafka:0';
SELECT counter_get('apply:a');

-- Counting rights are not enough, and these alone neither.
CREATE ROLE regress_idempotent;
GRANT INSERT, UPDATE ON counter_ext.total TO regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_incr_once('once:a', 1, 'role');
SELECT counter_apply('kafka:9', 1, ARRAY['apply:a']);
RESET ROLE;
GRANT INSERT ON counter_ext.token TO regress_idempotent;
GRANT INSERT, UPDATE ON counter_ext.source_offset TO regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_incr_once('once:a', 1, 'role'), counter_apply('kafka:9', 1, ARRAY['apply:a']);
RESET ROLE;
REVOKE ALL ON counter_ext.total FROM regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_incr_once('once:a', 1, 'role2');
RESET ROLE;
DROP OWNED BY regress_idempotent;
DROP ROLE regress_idempotent;

SELECT count(*) FROM (SELECT counter_drop(id) FROM unnest(ARRAY['once:a', 'once:b', '790101', 'once:many', 'once:p', 'apply:a', 'apply:b']) id) dropped;
DELETE FROM counter_ext.token;
DELETE FROM counter_ext.source_offset;
