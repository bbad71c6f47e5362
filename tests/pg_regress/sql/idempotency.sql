-- counter_incr_once, counter_apply, counter_apply_reset: what is delivered twice counts once.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- A token counts once for each id.
SELECT counter_incr_once('once:a', 5, 'event:1'), counter_incr_once('once:a', 5, 'event:1');
SELECT counter_incr_once('once:b', 1, 'event:1');
SELECT counter_incr_once(790101, 1, 'event:1'), counter_incr_once(790101, 1, 'event:1');
SELECT counter_get('once:a'), counter_get('once:b'), counter_get(790101);
-- Also when the delta is 0, or negative.
SELECT counter_incr_once('once:a', 0, 'event:2'), counter_incr_once('once:a', -2, 'event:3'), counter_incr_once('once:a', 0, 'event:2'), counter_get('once:a');
SELECT counter_incr_once('once:a', 1, NULL), counter_incr_once(NULL::text, 1, 'x'), counter_incr_once('once:a', NULL, 'x');
-- With another delta it is another event, and an error: from before, of this transaction, of this statement. What is stored is not told.
\set VERBOSITY sqlstate
SELECT counter_incr_once('once:a', 7, 'event:1');
\set VERBOSITY default
SELECT counter_incr_once('once:a', 7, 'event:1');
BEGIN;
SELECT counter_incr_once('once:a', 9223372036854775807, 'event:max'), counter_incr_once('once:a', 9223372036854775807, 'event:max');
SAVEPOINT s;
SELECT counter_incr_once('once:a', -9223372036854775808, 'event:max');
ROLLBACK TO s;
SELECT counter_incr_once('once:a', 9223372036854775807, 'event:max');
ROLLBACK;
SELECT counter_incr_once('once:a', n, 'event:two') FROM generate_series(1, 2) AS n;
SELECT counter_incr_once('once:a', 1, 'event:two'), counter_get('once:a');
DELETE FROM counter_ext.token WHERE token = 'event:two';
SELECT counter_incr('once:a', -1);
-- Also where somebody locks the row. A token of which the delta is not known stands for any.
BEGIN;
SELECT delta FROM counter_ext.token WHERE token = 'event:1' AND id = 'once:a' FOR SHARE;
SELECT counter_incr_once('once:a', 5, 'event:1');
SELECT counter_incr_once('once:a', 6, 'event:1');
ROLLBACK;
INSERT INTO counter_ext.token (token, id) VALUES ('by hand', 'once:a');
SELECT counter_incr_once('once:a', 5, 'by hand'), counter_incr_once('once:a', 6, 'by hand');
-- Ids and tokens of other types: 7 and '7' are the same token, and a uuid and its text.
SELECT counter_incr_once('once:t', 1, 7), counter_incr_once('once:t', 1, 7::smallint), counter_incr_once('once:t', 1, 7::bigint),
       counter_incr_once('once:t', 1, '7'), counter_incr_once('once:t'::counter, 1, 7), counter_incr_once('once:t'::varchar, 1, '7'::varchar);
SELECT counter_incr_once('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, 1, 'B0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid),
       counter_incr_once('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),
       counter_incr_once(790101, 1, 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid), counter_get('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT counter_incr_once('once:t', 1, 7.5);
SELECT counter_incr_once('once:t', 1, NULL::uuid), counter_incr_once(NULL::uuid, 1, 7), counter_get('once:t');
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
SELECT counter_incr_once('once:a', 10, 'event:4'), counter_incr_once('once:a', 1, 'event:5');
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

-- With the first offset too, batches cut at other borders count each offset once.
SELECT counter_apply('cut', 1, 50, array_fill('cut:a'::text, ARRAY[50]), NULL), counter_apply('cut', 51, 100, array_fill('cut:a'::text, ARRAY[50]), NULL);
SELECT counter_apply('cut', 51, 150, array_fill('cut:a'::text, ARRAY[100]), NULL), counter_get('cut:a');
SELECT counter_apply('cut', 40, 150, array_fill('cut:a'::text, ARRAY[111]), NULL), counter_apply('cut', 1, 1, ARRAY['cut:a'], ARRAY[1]), counter_get('cut:a');
-- What came again is noted, until the next batch counts. Offsets may be missing between two batches.
SELECT upto, skipped, batches, passed_over, passed_upto FROM counter_ext.source_offset WHERE source = 'cut';
SELECT counter_apply('cut', 150, 152, ARRAY['cut:a', 'cut:b', 'cut:a'], ARRAY[1000, 2, 3]), counter_get('cut:a'), counter_get('cut:b');
SELECT counter_apply('cut', 163, 164, ARRAY['cut:a', 'cut:b'], ARRAY[4, -1]), counter_get('cut:a'), counter_get('cut:b');
SELECT upto, skipped, batches, passed_over, passed_upto FROM counter_ext.source_offset WHERE source = 'cut';
-- An offset that counts nothing has no id.
SELECT counter_apply('cut', 165, 168, ARRAY[NULL, 'cut:b', NULL, 'cut:b'], ARRAY[NULL, 10, 7, 0]), counter_apply('cut', 169, 170, ARRAY[NULL, NULL], NULL);
-- One that counts several is named for each; so are the few of many offsets.
SELECT counter_apply('cut', first => 169, upto => 1000, ids => ARRAY['cut:a', 'cut:b', 'cut:b', 'cut:a', NULL], deltas => ARRAY[100, 100, 20, 3, 1],
                     offsets => ARRAY[1000, 170, 171, 171, 300]);
SELECT counter_apply('cut', 1001, 1002, '{}', '{}', '{}'), counter_get('cut:a'), counter_get('cut:b');
SELECT upto, skipped, batches FROM counter_ext.source_offset WHERE source = 'cut';
-- Both forms go by the same offset. Without the first offset more deltas than offsets show, below 0.
SELECT counter_apply('cut', 1003, ARRAY['cut:a']), counter_apply('cut', 1002, 1003, ARRAY['cut:a', 'cut:a'], NULL), counter_apply('cut', 1004, ARRAY['cut:a', 'cut:a', 'cut:a']);
SELECT upto, skipped, batches, passed_over, passed_upto FROM counter_ext.source_offset WHERE source = 'cut';
-- At the ends of bigint.
SELECT counter_apply('cut:ends', -9223372036854775808, -9223372036854775807, ARRAY['cut:c', 'cut:c'], ARRAY[1, 2]),
       counter_apply('cut:ends', -9223372036854775808, 9223372036854775807, ARRAY['cut:c', 'cut:c', 'cut:c'], ARRAY[100, 4, 8], ARRAY[-9223372036854775807, -9223372036854775806, 9223372036854775807]),
       counter_apply('cut:ends', 9223372036854775807, 9223372036854775807, ARRAY['cut:c'], ARRAY[100]), counter_get('cut:c');
SELECT counter_apply('cut:far', -9223372036854775808, -9223372036854775808, ARRAY['cut:c'], ARRAY[0]), counter_apply('cut:far', 9223372036854775807, 9223372036854775807, ARRAY['cut:c'], ARRAY[0]);
SELECT source, upto, skipped FROM counter_ext.source_offset WHERE source IN ('cut:ends', 'cut:far') ORDER BY source;
-- Transactions, savepoints, isolation levels, modes.
BEGIN;
SELECT counter_apply('cut:tx', 1, 3, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL);
SAVEPOINT s;
SELECT counter_apply('cut:tx', 2, 5, ARRAY['cut:d', 'cut:d', 'cut:d', 'cut:d'], NULL), counter_get('cut:d');
ROLLBACK TO s;
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], NULL), counter_get('cut:d');
COMMIT;
BEGIN;
SELECT counter_apply('cut:tx', 1, 9, array_fill('cut:d'::text, ARRAY[9]), NULL), counter_get('cut:d');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_apply('cut:tx', 4, 6, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL), counter_apply('cut:tx', 5, 7, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL counter_ext.mode = 'buffered';
SELECT counter_apply('cut:tx', 6, 8, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL), counter_get('cut:d');
COMMIT;
SELECT counter_get('cut:d');
-- Prepared, it keeps its source: the next batch waits.
BEGIN;
SELECT counter_apply('cut:tx', 8, 10, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL);
PREPARE TRANSACTION 'cut';
SET lock_timeout = '100ms';
\set VERBOSITY sqlstate
SELECT counter_apply('cut:tx', 9, 11, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL);
SELECT counter_apply_reset('cut:tx');
\set VERBOSITY default
RESET lock_timeout;
COMMIT PREPARED 'cut';
SELECT counter_apply('cut:tx', 9, 11, ARRAY['cut:d', 'cut:d', 'cut:d'], NULL), counter_get('cut:d');
-- A source that begins anew: what it says again counts, once it is reset.
SELECT counter_apply('cut:tx', 0, 1, ARRAY['cut:d', 'cut:d'], NULL), counter_apply('cut:tx', 2, 2, ARRAY['cut:d'], NULL);
SELECT upto, passed_over, passed_upto, resets FROM counter_ext.source_offset WHERE source = 'cut:tx';
SELECT counter_apply_reset('cut:tx'), counter_apply_reset('cut:tx'), counter_apply_reset('cut:unknown'), counter_apply_reset(NULL);
SELECT upto, skipped, batches, passed_over, passed_upto, resets, reset_from, reset_at <= now() AS at, reset_by = session_user AS by
    FROM counter_ext.source_offset WHERE source = 'cut:tx';
SELECT counter_apply('cut:tx', 0, 1, ARRAY['cut:d', 'cut:d'], NULL), counter_apply('cut:tx', 1, 2, ARRAY['cut:d', 'cut:d'], NULL), counter_get('cut:d');
SELECT upto, skipped, batches, passed_over, passed_upto, resets, reset_from FROM counter_ext.source_offset WHERE source = 'cut:tx';
BEGIN;
SELECT counter_apply_reset('cut:tx'), counter_apply('cut:tx', 1, 1, ARRAY['cut:d'], NULL), counter_apply_reset('cut:tx');
ROLLBACK;
SELECT counter_apply('cut:tx', 2, 2, ARRAY['cut:d'], NULL), counter_get('cut:d');
BEGIN READ ONLY;
SELECT counter_apply_reset('cut:tx');
ROLLBACK;
SELECT counter_apply_reset('');
-- Sources of other types.
SELECT counter_apply(7, 1, ARRAY['cut:e']), counter_apply(7::bigint, 1, 1, ARRAY['cut:e'], NULL), counter_apply('7', 1, ARRAY['cut:e']), counter_apply('7'::varchar, 1, ARRAY['cut:e']),
       counter_apply_reset(7::smallint), counter_apply_reset('7');
SELECT counter_apply('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid, 1, 1, ARRAY['cut:e'], NULL), counter_apply_reset('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SELECT counter_apply(NULL::uuid, 1, ARRAY['cut:e']);
SELECT counter_apply(1.5, 1, ARRAY['cut:e']);
-- Parameters without a type.
PREPARE once AS SELECT counter_incr_once($1, $2, $3);
PREPARE apply3 AS SELECT counter_apply($1, $2, $3);
PREPARE apply4 AS SELECT counter_apply($1, $2, $3, $4);
PREPARE apply5 AS SELECT counter_apply($1, $2, $3, $4, $5);
PREPARE apply6 AS SELECT counter_apply($1, $2, $3, $4, $5, $6);
PREPARE reset AS SELECT counter_apply_reset($1);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
DEALLOCATE ALL;
-- Errors: nothing counts, and the offset stays.
SELECT counter_apply(NULL, 3, 4, ARRAY['cut:d', 'cut:d'], NULL);
SELECT counter_apply('cut:tx', NULL, 4, ARRAY['cut:d', 'cut:d'], NULL);
SELECT counter_apply('cut:tx', 3, NULL, ARRAY['cut:d', 'cut:d'], NULL);
SELECT counter_apply('cut:tx', 3, 4, NULL, NULL);
SELECT counter_apply('cut:tx', 4, 3, '{}', NULL);
SELECT counter_apply('cut:tx', -9223372036854775808, 9223372036854775807, '{}', NULL);
SELECT counter_apply('cut:tx', 3, 5, ARRAY['cut:d', 'cut:d'], NULL);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', ''], NULL);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], ARRAY[1, NULL]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], ARRAY[1]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY[ARRAY['cut:d', 'cut:d']], NULL);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], NULL, ARRAY[3]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], NULL, ARRAY[3, NULL]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], NULL, ARRAY[3, 5]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], NULL, ARRAY[ARRAY[3, 4]]);
SELECT counter_apply('cut:tx', 3, 4, ARRAY['cut:d', 'cut:d'], ARRAY[9223372036854775807, 1]);
SELECT upto, counter_get('cut:d') FROM counter_ext.source_offset WHERE source = 'cut:tx';

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
-- A reset makes what was counted count again: that takes the right to delete the row.
GRANT SELECT ON counter_ext.source_offset TO regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_apply_reset('kafka:9');
RESET ROLE;
-- Rows of sources of the extension's own are no role's to write; a source of his own he may write as he likes.
INSERT INTO counter_ext.source_offset (source, upto) VALUES ('counter_ext.node:1', 7), ('counter_ext.citus', 7);
SET ROLE regress_idempotent;
\set VERBOSITY terse
INSERT INTO counter_ext.source_offset (source, upto) VALUES ('counter_ext.node:2', 9223372036854775807);
INSERT INTO counter_ext.source_offset (source, upto) VALUES ('counter_ext.node:1', 7) ON CONFLICT (source) DO UPDATE SET upto = 7;
UPDATE counter_ext.source_offset SET upto = 9223372036854775807 WHERE source = 'counter_ext.node:1';
UPDATE counter_ext.source_offset SET source = 'mine' WHERE source = 'counter_ext.node:1';
UPDATE counter_ext.source_offset SET source = 'counter_ext.node:2' WHERE source = 'kafka:9';
\set VERBOSITY default
INSERT INTO counter_ext.source_offset (source, upto) VALUES ('mine', 7);
UPDATE counter_ext.source_offset SET upto = 8 WHERE source = 'mine';
RESET ROLE;
GRANT DELETE ON counter_ext.source_offset TO regress_idempotent;
SET ROLE regress_idempotent;
\set VERBOSITY terse
DELETE FROM counter_ext.source_offset WHERE source = 'counter_ext.node:1';
\set VERBOSITY default
DELETE FROM counter_ext.source_offset WHERE source = 'mine' RETURNING source, upto;
RESET ROLE;
UPDATE counter_ext.source_offset SET upto = 8 WHERE source = 'counter_ext.citus';
WITH gone AS (DELETE FROM counter_ext.source_offset WHERE starts_with(source, 'counter_ext.') RETURNING source, upto) SELECT * FROM gone ORDER BY upto;
REVOKE ALL ON counter_ext.source_offset FROM regress_idempotent;
GRANT SELECT, DELETE ON counter_ext.source_offset TO regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_apply_reset('kafka:9');
RESET ROLE;
REVOKE ALL ON counter_ext.total FROM regress_idempotent;
SET ROLE regress_idempotent;
SELECT counter_incr_once('once:a', 1, 'role2');
RESET ROLE;
DROP OWNED BY regress_idempotent;
DROP ROLE regress_idempotent;

-- Each delta may have a time of its own, as that of a message.
SELECT counter_track('at:', keep => '{2 days,90 days,200 days}', time_zone => 'UTC');
SELECT counter_apply('at:0', 1, 4, ARRAY['at:a', 'at:a', NULL, 'at:b'], ARRAY[1, 2, 3, 4],
    at => ARRAY[now() - interval '3 hours', NULL, '-infinity', now() - interval '20 days']), counter_get('at:a'), counter_get('at:b');
SELECT counter_total('at:a'), counter_total('at:a', now() - interval '4 hours', now() - interval '2 hours'), counter_total('at:b'), counter_total('at:b', now() - interval '19 days');
-- What the source has delivered counts no more, and its time is not looked at; with offsets, too.
SELECT counter_apply('at:0', 1, 5, ARRAY['at:a', 'at:c', 'at:a', 'at:a', 'at:a'], NULL, NULL, ARRAY['-infinity', now() - interval '20 years', now() + interval '2 hours', NULL, now() - interval '1 hour']),
    counter_get('at:a'), counter_total('at:a', now() - interval '2 hours', now() - interval '30 minutes');
SELECT counter_apply('at:0', 6, 9, ARRAY['at:a', 'at:a', 'at:b'], ARRAY[10, 20, 30], ARRAY[9, 6, 9], ARRAY[now() - interval '5 hours', NULL, now() - interval '5 hours']::timestamptz[]), counter_get('at:a'),
    counter_total('at:a', now() - interval '6 hours', now() - interval '4 hours'), counter_total('at:b', now() - interval '6 hours', now() - interval '4 hours');
SELECT counter_apply(7, 1, 1, ARRAY['at:a'], NULL, at => ARRAY[now() - interval '5 hours']), counter_total('at:a', now() - interval '6 hours', now() - interval '4 hours');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('at:a'), counter_get('at:a'), counter_total('at:b'), counter_get('at:b');
-- A time that cannot be had takes the batch with it.
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'at:a'], NULL, at => ARRAY[NULL, now() - interval '201 days']);
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'at:a'], NULL, at => ARRAY[NULL, now() + interval '2 hours']);
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'at:a'], NULL, at => ARRAY[NULL, 'infinity'::timestamptz]);
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'not-tracked'], NULL, at => ARRAY[NULL, now()]);
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'at:a'], NULL, at => ARRAY[now()]);
SELECT counter_apply('at:0', 10, 11, ARRAY['at:a', 'at:a'], NULL, at => ARRAY[ARRAY[now(), now()]]);
SELECT counter_get('at:a'), (SELECT upto FROM counter_ext.source_offset WHERE source = 'at:0');
SELECT counter_untrack('at:'), counter_drop_prefix('at:');

SELECT count(*) FROM (SELECT counter_drop(id) FROM unnest(ARRAY['once:a', 'once:b', '790101', 'once:many', 'once:p', 'apply:a', 'apply:b', 'once:t', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'cut:a', 'cut:b', 'cut:c', 'cut:d', 'cut:e']) id) dropped;
DELETE FROM counter_ext.token;
DELETE FROM counter_ext.source_offset;
-- Names of the extension's own sources are not for others.
SELECT counter_apply('counter_ext.moving 1 2', 1, '{a}');
SELECT counter_apply_reset('counter_ext.moving 1 2');
