-- Without shared_preload_libraries: no worker and no shared memory; rows answer, compaction is by hand.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
TRUNCATE counter_ext.total, counter_ext.slot;
-- A prepared transaction writes to slot rows only.
\set to_slots 'PREPARE TRANSACTION ''to_slots''; COMMIT PREPARED ''to_slots'';'

-- counter_stats says so. What is not measured is NULL.
BEGIN;
SELECT counter_incr('no_preload:a', 5);
:to_slots
SELECT counter_stats_reset();
\x on
SELECT * FROM counter_stats;
\x off
SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'counter_ext%';

-- Settings exist as soon as the library is loaded; one set before is taken over, one that nobody knows is not.
SHOW counter_ext.max_counters;
\c -
SET counter_ext.slots = 8;
SET counter_ext.slotz = 8;
SET counter_ext.actor = 'whoever had the session before';
SELECT counter_get('no_preload:a');
SHOW counter_ext.actor;
SHOW counter_ext.slots;
SHOW counter_ext.slotz;
RESET counter_ext.slots;
SHOW counter_ext.slots;

-- Compaction folds slot rows, and says how many.
SELECT value, exact, slots, updated_at <= clock_timestamp() AS dated FROM counter_info('no_preload:a');
BEGIN;
SELECT counter_incr('no_preload:a', 10);
SELECT counter_incr('no_preload:b');
:to_slots
SELECT id, value, slots FROM counters;
SELECT slot_rows FROM counter_stats;
SELECT counter_compact();
SELECT id, value, slots, updated_at <= clock_timestamp() AS dated FROM counters;
SELECT id, node, value FROM counter_ext.total ORDER BY id;
SELECT slot_rows FROM counter_stats;
SELECT counter_compact();
BEGIN;
SELECT counter_incr('no_preload:a', 100);
:to_slots
SELECT value, exact, slots FROM counter_info('no_preload:a');
SELECT counter_get('no_preload:a'), counter_get_exact('no_preload:a');

-- It belongs to the caller's transaction. An increment makes a slot row where the total is held, as by a fold.
BEGIN;
SELECT counter_compact();
SELECT value, slots FROM counter_info('no_preload:a');
SELECT counter_incr('no_preload:a', 1000);
SELECT counter_compact();
SELECT counter_get('no_preload:a'), counter_get_exact('no_preload:a');
ROLLBACK;
SELECT value, slots FROM counter_info('no_preload:a');
BEGIN;
SELECT counter_incr('no_preload:a', 1000);
SELECT counter_compact();
COMMIT;
SELECT value, slots FROM counter_info('no_preload:a');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_compact();
SELECT counter_get('no_preload:a'), counter_get_exact('no_preload:a');
COMMIT;
SELECT value, slots FROM counter_info('no_preload:a');

-- A total that would pass bigint is left in its slot rows.
BEGIN;
SELECT counter_incr('no_preload:full', 9223372036854775807);
:to_slots
BEGIN;
SELECT counter_incr('no_preload:full', 5);
:to_slots
SELECT counter_compact();
SELECT counter_compact();
SELECT count(*) AS left_unfolded, sum(delta) + (SELECT value FROM counter_ext.total WHERE id = 'no_preload:full') AS total
    FROM counter_ext.slot WHERE id = 'no_preload:full';
SELECT counter_get('no_preload:full');
SELECT counter_incr('no_preload:full', -6);
SELECT counter_get('no_preload:full');
SELECT counter_compact() > 0 AS compacted;
SELECT counter_compact() >= 0 AS compacted;
SELECT value, slots FROM counter_info('no_preload:full');

-- counter_hottest goes by slot rows, and knows no rate.
SELECT * FROM counter_hottest();
BEGIN;
SELECT counter_incr('no_preload:b');
:to_slots
SELECT * FROM counter_hottest();
BEGIN;
SELECT counter_set('no_preload:wide', 9223372036854775807);
SELECT counter_set('no_preload:wide', -2);
COMMIT;
SELECT * FROM counter_hottest();
SELECT * FROM counter_hottest(1);
-- A board is exact before anything is compacted.
SELECT counter_board('no_preload:board:');
SELECT counter_incr_many('{no_preload:board:anna,no_preload:board:ben,no_preload:board:cara}', '{5,3,7}');
SELECT counter_board_rank('no_preload:board:', 'ben'), counter_board_rank('no_preload:board:', 'nobody');
SELECT * FROM counter_board_around('no_preload:board:', 'anna', 1);
SELECT counter_board_incr('no_preload:board:', 'ben', 5);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_board_incr('no_preload:board:', 'anna', 2);
SELECT counter_board_rank('no_preload:board:', 'ben'), counter_board_rank('no_preload:board:', 'cara'), counter_board_rank('no_preload:board:', 'anna');
SELECT counter_unboard('no_preload:board:'), counter_drop_prefix('no_preload:board:');
-- Buffered mode needs shared memory.
SET counter_ext.mode = 'buffered';
SELECT counter_incr('no_preload:buffered');
SELECT counter_get('no_preload:buffered');
RESET counter_ext.mode;
