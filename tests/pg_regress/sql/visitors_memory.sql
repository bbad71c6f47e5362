-- Visitors with the library preloaded: what counter_stats shows of them, the worker, and memory that is too small.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
-- What earlier topics left in memory goes.
TRUNCATE counter_ext.visit, counter_ext.visitors;
-- Waits until a condition holds.
CREATE PROCEDURE wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
    holds boolean;
BEGIN
    FOR attempt IN 1..600 LOOP
        EXECUTE 'SELECT ' || condition INTO holds;
        COMMIT;
        IF holds THEN
            RETURN;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
    RAISE NOTICE 'not within 30 s: %', condition;
END $$;
CALL wait_for('worker_pid IS NOT NULL FROM counter_stats');
SELECT counter_compact() >= 0 AS compacted;

-- The setting is the server's; its prefix is reserved.
SELECT setting, unit, context, min_val, max_val, boot_val FROM pg_settings WHERE name = 'counter_ext.max_sketches';
SET counter_ext.max_sketches = 100;
SET counter_ext.max_sketch = 100;

-- visits_written: sketches that committed visits changed. A visit that changes nothing writes nothing.
SELECT visits_written AS before, rows_folded AS folded_before FROM counter_stats \gset
SELECT counter_visit('memory:a', 1);
SELECT counter_visit('memory:a', 1), counter_visit('memory:a', 1);
SELECT visits_written - :before AS written FROM counter_stats;
SELECT count(counter_visit('memory:a', i)) FROM generate_series(1, 100) i;
BEGIN;
SELECT counter_visit('memory:b', 1), counter_visit('memory:c', 1), counter_visit('memory:c', 2);
SAVEPOINT s;
SELECT counter_visit('memory:d', 1);
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT counter_visit('memory:e', 1);
ROLLBACK;
SELECT visits_written - :before AS written FROM counter_stats;
-- A read-only round of what is known already takes no transaction id, so it waits for no disk.
BEGIN;
SELECT count(*) FILTER (WHERE counter_visit('memory:a', i)) AS new, pg_current_xact_id_if_assigned() AS xid FROM generate_series(1, 100) i;
SELECT pg_current_xact_id_if_assigned() AS xid, count(*) AS locks_to_write FROM pg_locks
    WHERE pid = pg_backend_pid() AND mode = 'RowExclusiveLock' AND relation IN ('counter_ext.visit'::regclass, 'counter_ext.visitors'::regclass);
COMMIT;

-- The worker unites them by itself: visit_rows goes to 0. What it folded is counted.
CALL wait_for('visit_rows = 0 FROM counter_stats');
SELECT visit_rows, rows_folded - :folded_before AS folded, errors, last_error FROM counter_stats;
SELECT id, day > '-infinity' AS is_day, counter_hll_count(sketch) FROM counter_ext.visitors WHERE id LIKE 'memory:%' ORDER BY id, day;
-- A row that somebody holds is gone round: what was to be added to it waits in a row of its own, and counts.
BEGIN;
SELECT count(*) FROM (SELECT FROM counter_ext.visitors WHERE id = 'memory:a' FOR UPDATE) AS held;
PREPARE TRANSACTION 'counter_ext_visits_held';
SELECT counter_visit('memory:a', 101), counter_visit('memory:b', 2);
SELECT counter_compact() > 0 AS compacted;
SELECT DISTINCT id, counter_hll_count(sketch) FROM counter_ext.visit;
SELECT counter_visitors('memory:a'), counter_visitors('memory:a', '-infinity'), counter_visitors('memory:b');
ROLLBACK PREPARED 'counter_ext_visits_held';
CALL wait_for('visit_rows = 0 FROM counter_stats');
SELECT counter_visitors('memory:a'), counter_visitors('memory:a', '-infinity'), errors, last_error FROM counter_stats;

-- sketches_in_memory: that of ever of each id that was visited or read. Who is new there is new that day, so the day's is not needed.
SELECT sketches_in_memory AS before, sketch_evictions AS evictions_before, max_sketches FROM counter_stats \gset
SELECT counter_visit('memory:f', 1);
SELECT counter_visit('memory:f', 2), counter_visitors('memory:f'), counter_visitors('memory:g');
SELECT sketches_in_memory - :before AS more, sketch_evictions - :evictions_before AS evicted, max_sketches >= 32 AS has_room,
    max_sketches % 32 AS odd FROM counter_stats;
-- Days that are read one by one are held; several days at once come from rows.
SELECT counter_visitors('memory:f', '2026-01-01', '2026-01-01'), counter_visitors('memory:f', '2026-01-01', '2026-01-02');
SELECT sketches_in_memory - :before AS more FROM counter_stats;
-- An invalidation forgets them, a drop too.
DELETE FROM counter_ext.visitors WHERE id = 'memory:f';
DELETE FROM counter_ext.visit WHERE id = 'memory:f';
SELECT sketches_in_memory - :before AS more FROM counter_stats;
SELECT counter_visitors('memory:f'), counter_visit('memory:f', 1), counter_drop('memory:f');
SELECT sketches_in_memory - :before AS more FROM counter_stats;
-- More than fit: some have to go; every count stays right.
SELECT count(*) FILTER (WHERE counter_visit('memory:many:' || i, i)) AS new FROM generate_series(1, :max_sketches) i;
SELECT sum(counter_visitors('memory:many:' || i)) FROM generate_series(1, :max_sketches) i;
SELECT sketches_in_memory <= max_sketches AS fits, sketch_evictions > :evictions_before AS evicted FROM counter_stats;
SELECT count(*) FILTER (WHERE counter_visit('memory:many:' || i, i)) AS new FROM generate_series(1, :max_sketches) i;
TRUNCATE counter_ext.visit, counter_ext.visitors;
SELECT sketches_in_memory FROM counter_stats;
SELECT sum(counter_visitors('memory:many:' || i)) FROM generate_series(1, 100) i;

-- A worker that dies delays nothing but compaction.
SELECT worker_pid AS killed FROM counter_stats \gset
SELECT pg_terminate_backend(:killed);
SELECT counter_visit('memory:h', 1), counter_visitors('memory:h');
CALL wait_for('worker_pid <> ' || :killed || ' AND visit_rows = 0 FROM counter_stats');
SELECT counter_visit('memory:h', 1), counter_visitors('memory:h');
-- A transaction that drops the extension cannot be prepared, as its COMMIT PREPARED would not tell memory.
BEGIN;
SELECT counter_visit('memory:h', 8);
DROP EXTENSION counter_ext;
PREPARE TRANSACTION 'counter_ext_visits_drop';
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visitors('memory:h');
DROP PROCEDURE wait_for;
