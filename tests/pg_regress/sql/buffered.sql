-- counter_ext.mode = 'buffered': what a user sees of it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SET counter_ext.mode = 'bogus';
SHOW counter_ext.mode;
SELECT name, setting, context, enumvals FROM pg_settings WHERE name = 'counter_ext.mode';

-- Asked for once, it is ready soon; until then increments go to slot rows.
CREATE PROCEDURE wait_until_buffered() LANGUAGE plpgsql AS $$
BEGIN
    FOR attempt IN 1..600 LOOP
        PERFORM counter_incr('buffered:asks');
        COMMIT;
        IF (SELECT journal_state = 'ready' FROM counter_stats) THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE NOTICE 'not ready within 30 s';
END $$;
SET counter_ext.mode = 'buffered';
CALL wait_until_buffered();
SELECT journal_state, journal_tail_bytes >= 0 AS has_size, journal_delayed_by FROM counter_stats;

-- A commit counts, a rollback does not, and both are seen at once.
SELECT buffered_increments AS before FROM counter_stats \gset
SELECT counter_incr('buffered:a'), counter_incr('buffered:a', 41);
SELECT counter_get('buffered:a');
BEGIN;
SELECT counter_incr('buffered:a', 100);
SELECT counter_get('buffered:a');
SAVEPOINT s;
SELECT counter_incr('buffered:a', 1000);
ROLLBACK TO s;
SELECT counter_get('buffered:a');
ROLLBACK;
SELECT counter_get('buffered:a');
SELECT buffered_increments - :before AS buffered FROM counter_stats;

-- Every kind of commit: asynchronous, synchronous, with rows of its own, prepared.
SET synchronous_commit = off;
SELECT counter_incr('buffered:b', 1);
SET synchronous_commit = local;
SELECT counter_incr('buffered:b', 10);
RESET synchronous_commit;
BEGIN;
CREATE TABLE buffered_rows (n int);
SELECT counter_incr('buffered:b', 100);
COMMIT;
BEGIN;
SELECT counter_incr('buffered:b', 1000);
PREPARE TRANSACTION 'buffered';
SELECT counter_get('buffered:b');
COMMIT PREPARED 'buffered';
SELECT counter_get('buffered:b');

-- The mode is the one at commit.
BEGIN;
SELECT counter_incr('buffered:c');
SET LOCAL counter_ext.mode = 'slotted';
COMMIT;
SHOW counter_ext.mode;
SELECT counter_get_exact('buffered:c') AS in_rows_at_once;

-- After compaction rows have everything.
SELECT counter_compact() >= 0 AS folded;
SELECT id, counter_get(id), counter_get_exact(id) FROM unnest('{buffered:a,buffered:b,buffered:c}'::text[]) AS id;
SELECT value, exact FROM counter_info('buffered:b');

-- Many at once; a batch too long for one record; ids that repeat; nothing at all.
SELECT counter_incr_many((SELECT array_agg('buffered:many:' || i % 30000) FROM generate_series(1, 60000) i));
SELECT count(*), sum(value), min(value), max(value)
    FROM counter_get_many((SELECT array_agg('buffered:many:' || i) FROM generate_series(0, 29999) i));
SELECT counter_incr_many('{}');
SELECT counter_compact() >= 0 AS folded;
SELECT count(*), sum(value) FROM counters WHERE id LIKE 'buffered:many:%';

-- Amounts that memory does not take go through rows.
SELECT counter_incr('buffered:large', 9223372036854775807);
SELECT counter_get('buffered:large');
SELECT counter_incr('buffered:large', 1);
SELECT counter_get('buffered:large');
SELECT counter_incr('buffered:large', -9223372036854775807);
SELECT counter_get('buffered:large');
SELECT counter_compact() >= 0 AS folded;
SELECT counter_get('buffered:large'), counter_get_exact('buffered:large');

-- A counter that nothing was added to exists all the same.
SELECT counter_incr('buffered:zero', 0);
SELECT counter_compact() >= 0 AS folded;
SELECT id, value FROM counters WHERE id = 'buffered:zero';

-- Reset, set and drop.
SELECT counter_incr('buffered:r', 5);
SELECT counter_reset('buffered:r'), counter_get('buffered:r');
SELECT counter_set('buffered:r', 7);
SELECT counter_get('buffered:r');
SELECT counter_drop('buffered:r'), counter_get('buffered:r');
SELECT counter_drop('buffered:r');

-- Another user's rows, and the checks, are the same in both modes.
CREATE ROLE buffered_nobody;
SET ROLE buffered_nobody;
SELECT counter_incr('buffered:a');
SELECT * FROM counter_ext.journal;
SELECT * FROM counter_ext.journal_tail;
RESET ROLE;
-- What is not folded is written by the extension alone.
INSERT INTO counter_ext.journal_tail VALUES (1, '');
TRUNCATE counter_ext.journal_tail;
DROP ROLE buffered_nobody;
BEGIN READ ONLY;
SELECT counter_incr('buffered:a');
ROLLBACK;

DROP TABLE buffered_rows;
DROP PROCEDURE wait_until_buffered;

-- updated_at is when a counter last changed, within a tenth of a second, before and after it is compacted.
RESET counter_ext.mode;
SELECT counter_set('buffered:time', 1), pg_sleep(0.3);
SELECT clock_timestamp() AS before \gset
SET counter_ext.mode = buffered;
SELECT counter_incr('buffered:time');
RESET counter_ext.mode;
SELECT clock_timestamp() AS after \gset
SELECT value, updated_at BETWEEN :'before' AND :'after' AS is_right FROM counter_info('buffered:time');
SELECT count(counter_compact()), pg_sleep(0.3) FROM generate_series(1, 2);
SELECT value, updated_at BETWEEN :'before' AND :'after' AS is_right FROM counter_info('buffered:time');
SELECT counter_drop('buffered:time');
