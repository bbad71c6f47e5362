-- counter_stats and counter_hottest, with the library preloaded.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
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

-- A worker comes by itself.
CALL wait_for('worker_pid IS NOT NULL FROM counter_stats');
SELECT count(*), preloaded, worker_state IN ('idle', 'compacting') AS works, max_counters, memory_bytes > 0 AS has_memory
    FROM counter_stats GROUP BY 2, 3, 4, 5;
SELECT backend_type FROM pg_stat_activity WHERE backend_type LIKE 'counter_ext%'
    AND (datname = current_database() AND pid = (SELECT worker_pid FROM counter_stats) OR datname IS NULL) ORDER BY 1;
SHOW counter_ext.max_counters;
SELECT setting, context, min_val, max_val FROM pg_settings WHERE name = 'counter_ext.max_counters';
SET counter_ext.max_counters = 100;

-- increments: one a call and array element, of committed transactions.
SELECT increments AS before FROM counter_stats \gset
SELECT counter_incr('stats:a');
SELECT counter_incr('stats:a', 100), counter_incr('stats:a', -100), counter_incr('stats:b', 0);
SELECT counter_incr_many('{stats:a,stats:b,stats:a}');
SELECT count(counter_incr('stats:a')) FROM generate_series(1, 1000);
BEGIN;
SELECT counter_incr('stats:a');
SAVEPOINT s;
SELECT counter_incr('stats:a');
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT counter_incr('stats:a');
ROLLBACK;
SELECT increments - :before AS increments FROM counter_stats;
-- Spilled ones too.
SELECT increments AS before FROM counter_stats \gset
SELECT counter_incr_many((SELECT array_agg('stats:bulk:' || i) FROM generate_series(1, 70000) i));
SELECT increments - :before AS increments FROM counter_stats;
TRUNCATE counter_ext.slot, counter_ext.total;

-- compactions, rows_folded, last_compaction_at, slot_rows.
SELECT compactions AS compactions_before, rows_folded AS folded_before, clock_timestamp() AS started FROM counter_stats \gset
-- A prepared transaction writes to slot rows only.
BEGIN;
SELECT count(counter_incr('stats:' || i)) FROM generate_series(1, 5) i;
PREPARE TRANSACTION 'stats';
COMMIT PREPARED 'stats';
SELECT counter_compact() >= 0 AS compacted;
SELECT compactions > :compactions_before AS compacted, rows_folded - :folded_before >= 5 AS folded,
    last_compaction_at BETWEEN :'started' AND clock_timestamp() AS now FROM counter_stats;
CALL wait_for('slot_rows = 0 FROM counter_stats');
SELECT slot_rows FROM counter_stats;
SELECT count(*), sum(value) FROM counter_ext.total WHERE id ~ '^stats:\d$';
SELECT errors, last_error, last_error_at FROM counter_stats;

-- overflowed: counters that compaction leaves as they are, since their total would pass bigint.
SELECT counter_incr('stats:overflow', 9223372036854775807);
SELECT counter_incr('stats:overflow', 9223372036854775807);
SELECT counter_incr('stats:fine');
CALL wait_for('overflowed = 1 FROM counter_stats');
SELECT overflowed, slot_rows > 0 AS left_unfolded, errors FROM counter_stats;
SELECT value FROM counter_ext.total WHERE id = 'stats:fine';
SELECT counter_incr('stats:overflow', -9223372036854775807);
SELECT counter_get('stats:overflow');
CALL wait_for('overflowed = 0 AND slot_rows = 0 FROM counter_stats');
SELECT overflowed, slot_rows FROM counter_stats;

-- Memory: a counter is loaded by its first read, and then served from there.
SELECT loads AS before, evictions AS evictions_before, counters_in_memory AS held_before FROM counter_stats \gset
SELECT counter_get('stats:overflow'), counter_get('stats:unknown'), counter_get_exact('stats:1');
SELECT loads - :before AS loads FROM counter_stats;
SELECT counter_get('stats:1'), counter_get('stats:2'), counter_get('stats:1');
SELECT counter_incr('stats:1');
SELECT counter_get('stats:1');
SELECT loads - :before AS loads, evictions - :evictions_before AS evictions, counters_in_memory - :held_before AS more_in_memory FROM counter_stats;
-- invalidations: counters forgotten since somebody changed their rows.
SELECT invalidations AS before, loads AS loads_before FROM counter_stats \gset
UPDATE counter_ext.total SET value = 50 WHERE id = 'stats:2';
SELECT invalidations - :before AS invalidations FROM counter_stats;
SELECT counter_get('stats:2');
SELECT loads - :loads_before > 0 AS loaded_again FROM counter_stats;

-- counter_hottest: what is being incremented now, with its rate.
SELECT count(counter_incr('stats:hot')) FROM generate_series(1, 1000);
SELECT counter_get('stats:hot');
SELECT count(counter_incr('stats:hot')) FROM generate_series(1, 100000);
SELECT counter_incr('stats:1');
CALL wait_for('count(*) = 1 FROM counter_hottest(1) WHERE id = ''stats:hot''');
SELECT id, value, increments_per_s > 0 AS has_rate FROM counter_hottest(1);
SELECT count(*) <= 2 AS limited, count(*) FILTER (WHERE increments_per_s IS NULL) AS without_rate FROM counter_hottest(2);
SELECT count(*) <= 10 AS limited FROM counter_hottest();
SELECT count(*) FROM counter_hottest(0);

-- counter_stats_reset: counts begin anew, at once; what says how things stand stays, and so does every counter.
SELECT increments > 1000 AS counted, loads > 0 AS loaded, stats_reset_at, stats_reset_by FROM counter_stats;
SELECT counter_get('stats:1') AS value_before, loads AS loads_before FROM counter_stats \gset
BEGIN READ ONLY;
SELECT counter_stats_reset();
ROLLBACK;
SELECT increments, rows_folded <= 64 AS folded_few, loads < :loads_before AS loaded_few, load_timeouts, evictions, invalidations, errors, last_error, last_error_at, buffered_increments, journal_bytes,
    visits_written, filtered, limits_refused, sketch_evictions, limit_evictions FROM counter_stats;
SELECT counters_in_memory > 0 AS holds, last_compaction_at IS NOT NULL AS compacted, worker_pid IS NOT NULL AS works,
    stats_reset_at BETWEEN now() - interval '1 minute' AND clock_timestamp() AS just_now, stats_reset_by = session_user AS by_me FROM counter_stats;
SELECT counter_incr('stats:1'), counter_incr('stats:2');
SELECT increments, (SELECT counter_get('stats:1')) - :value_before AS counted FROM counter_stats;
-- The worker goes by what is counted since the start, so it misses nothing.
CALL wait_for('compactions > 0 AND slot_rows = 0 FROM counter_stats');
-- Who may call it: as with pg_stat_reset, nobody but superusers until it is granted.
CREATE ROLE stats_operator;
GRANT pg_read_all_stats TO stats_operator;
SET ROLE stats_operator;
SELECT counter_stats_reset();
RESET ROLE;
GRANT EXECUTE ON FUNCTION counter_stats_reset() TO stats_operator;
SET ROLE stats_operator;
SELECT counter_stats_reset();
SELECT increments, stats_reset_by FROM counter_stats;
RESET ROLE;
DROP OWNED BY stats_operator;
DROP ROLE stats_operator;

-- A worker that dies comes back; counting, reading and counter_compact() go on.
SELECT worker_pid AS killed FROM counter_stats \gset
SELECT pg_terminate_backend(:killed);
SELECT counter_incr('stats:1', 10);
SELECT counter_get('stats:1'), counter_get_exact('stats:1');
SELECT counter_compact() >= 0 AS compacted;
CALL wait_for('worker_pid <> ' || :killed || ' FROM counter_stats');
SELECT worker_pid <> :killed AS another, errors FROM counter_stats;
SELECT counter_get('stats:1'), counter_get_exact('stats:1');
DROP PROCEDURE wait_for;
