-- Series: what counters came to by the minute, the hour and the day; their sum is what the total has gained.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SET TimeZone = 'UTC';
\set VERBOSITY terse

-- A pass that rolls up comes some seconds after it is due.
CREATE PROCEDURE series_await_rolled_up(name text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..300 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM pg_class WHERE relname = name);
        PERFORM counter_compact();
        COMMIT;
        PERFORM pg_sleep(0.1);
        IF i = 300 THEN RAISE EXCEPTION '% is still there', name; END IF;
    END LOOP;
END $$;
CREATE FUNCTION series_attempt(command text, OUT code text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN code := SQLSTATE; message := SQLERRM;
END $$;

-- What was there before is not in the series; all that comes after is, whatever it is.
SELECT counter_incr('series:a', 100);
SELECT counter_track('series:');
SELECT counter_track('series:');
SELECT prefix, minute_us, hour_us, day_us, zone FROM counter_ext.tracked;
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_incr('series:a', 5);
SELECT counter_total('series:a'), counter_get('series:a');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:a'), counter_get('series:a');
SELECT tableoid::regclass::text ~ '^counter_ext.bucket_minute_20\d{6}$' AS partition, id, node, value, minutes FROM counter_ext.bucket;
SELECT count(*), sum(value) FROM counter_series('series:a', now() - interval '1 hour', now(), 'minute');
BEGIN;
SELECT counter_incr('series:a', 10);
SELECT counter_total('series:a'), counter_get('series:a');
SAVEPOINT s;
SELECT counter_incr('series:a', 1000), counter_incr_at('series:a', now(), 1000);
SELECT counter_total('series:a'), counter_get('series:a');
ROLLBACK TO s;
SELECT counter_total('series:a'), counter_get('series:a');
COMMIT;
BEGIN;
SELECT counter_incr('series:a', 10), counter_incr_at('series:a', now(), 1000);
ROLLBACK;
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_set('series:a', 150);
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_reset('series:a');
SELECT counter_total('series:a'), counter_get('series:a');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_incr_many('{series:a,series:b,series:c,series-other}', '{1,2,3,4}');
BEGIN;
SELECT counter_incr('series:b', 40);
PREPARE TRANSACTION 'series';
COMMIT PREPARED 'series';
SELECT counter_total('series:b'), counter_get('series:b');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:b'), counter_get('series:b');

-- Buffered counters too.
SET counter_ext.mode = buffered;
SELECT counter_incr('series:buffered', 7);
SELECT counter_total('series:buffered'), counter_get('series:buffered');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:buffered'), counter_get('series:buffered');
RESET counter_ext.mode;

-- By hand. What is inserted brings its series along, or has none.
UPDATE counter_ext.total SET value = 1042 WHERE id = 'series:b';
SELECT counter_total('series:b'), counter_get('series:b');
DELETE FROM counter_ext.total WHERE id = 'series:b';
SELECT counter_total('series:b'), counter_get('series:b');

-- Late events: days that are 23 and 25 hours long; the ends of months.
SELECT counter_track('series:', keep => '{10000 days,20000 days,forever}', time_zone => 'Europe/Berlin');
SET TimeZone = 'Europe/Berlin';
DO $$ BEGIN
    PERFORM counter_incr_at('series:dst', at, 1) FROM generate_series(timestamptz '2024-03-30 00:00', '2024-04-02 00:00', '10 minutes') AS at;
    PERFORM counter_incr_at('series:dst', at, 1) FROM generate_series(timestamptz '2024-10-26 00:00', '2024-10-29 00:00', '1 hour') AS at;
END $$;
SELECT counter_total('series:dst'), counter_get('series:dst');
SELECT * FROM counter_series('series:dst', '2024-03-29', '2024-04-04', 'day');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_series('series:dst', '2024-03-29', '2024-04-04', 'day');
SELECT * FROM counter_series('series:dst', '2024-10-25 12:00', '2024-10-30', 'day');
SELECT * FROM counter_series('series:dst', '2024-03-31 00:30', '2024-03-31 05:00');
SELECT * FROM counter_series('series:dst', '2024-10-27 01:00', '2024-10-27 04:00');
SELECT * FROM counter_series('series:dst', '2024-01-31', '2024-12-01', 'month') WHERE value > 0;
SELECT * FROM counter_series('series:dst', '2024-03-31 01:50+01', '2024-03-31 03:12+02', 'minute') WHERE value > 0;
SELECT bucket, value FROM counter_series('series:dst', '2024-03-01', '2024-11-01', 'week') WHERE value > 0;
SET TimeZone = 'Asia/Kolkata';
SELECT * FROM counter_series('series:dst', '2024-03-30', '2024-04-03', 'day');
SET TimeZone = 'Europe/Berlin';
SELECT counter_total('series:dst', '2024-03-31', '2024-04-01'), counter_total('series:dst', "to" => '2024-04-01'), counter_total('series:dst', '2024-10-28');
SELECT count(*), sum(value) FROM counter_series('series:none', '2024-03-31', '2024-04-01');

-- Minutes become hours, and hours days: the sums stay, also where another zone has its midnights, and partitions go.
CREATE TEMP TABLE series_before AS SELECT * FROM counter_series('series:dst', '2024-03-01', '2024-11-01', 'hour');
SELECT counter_track('series:', keep => '{1 day,20000 days,forever}', time_zone => 'Europe/Berlin');
CALL series_await_rolled_up('bucket_minute_20240325_30');
SELECT DISTINCT minutes FROM counter_ext.bucket WHERE id = 'series:dst';
SELECT count(*) FROM series_before b FULL JOIN counter_series('series:dst', '2024-03-01', '2024-11-01', 'hour') a USING (bucket) WHERE a.value IS DISTINCT FROM b.value;
SELECT * FROM series_attempt($$SELECT * FROM counter_series('series:a', (SELECT since FROM counter_ext.tracked) - interval '1 year', step => 'minute')$$);
SELECT counter_incr_at('series:dst', '2024-03-31 12:34', 500);
SELECT counter_total('series:dst', '2024-03-31 12:00', '2024-03-31 13:00');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:dst', '2024-03-31 12:00', '2024-03-31 13:00'), minutes, value FROM counter_ext.bucket WHERE id = 'series:dst' AND at = '2024-03-31 12:00';
SELECT counter_track('series:', keep => '{1 day,2 days,forever}', time_zone => 'Europe/Berlin');
CALL series_await_rolled_up('bucket_hour_20241021');
CALL series_await_rolled_up('bucket_hour_20240325');
SELECT at, minutes, value FROM counter_ext.bucket WHERE id = 'series:dst' ORDER BY at;
SELECT * FROM counter_series('series:dst', '2024-03-29', '2024-04-04', 'day');
SELECT counter_total('series:dst'), counter_get('series:dst');
SELECT * FROM counter_ext.rolled;
-- What is kept nowhere any more is gone.
SELECT counter_track('series:', '{hour,day}', '{2 days,30 days}', 'Europe/Berlin');
CALL series_await_rolled_up('bucket_day_20240822');
CALL series_await_rolled_up('bucket_day_20230828');
SELECT counter_total('series:dst'), counter_get('series:dst');
SELECT counter_track('series:', time_zone => 'UTC');
SET TimeZone = 'UTC';

-- Rates and trends.
SELECT counter_incr_at('series:hot', now() - interval '3 minutes', 300), counter_incr_at('series:cold', now() - interval '30 minutes', 20),
    counter_incr('series:hot', 5);
SELECT counter_rate('series:hot', '10 minutes') BETWEEN 305 / 661.0 AND 305 / 600.0 AS rate, counter_rate('series:cold') AS cold;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT * FROM counter_trending('series:', '20 minutes', 2);
SELECT * FROM counter_trending('series:', n => 100) WHERE id ~ 'hot|cold';
SELECT * FROM counter_trending('series:h');

-- Other ids.
SELECT counter_track('1'), counter_incr_at(17, now(), 2), counter_total(17), counter_total(17::counter), counter_rate(17) > 0 AS rate,
    (SELECT sum(value) FROM counter_series(17, now() - interval '1 hour'));
SELECT counter_track('a0ee'), counter_incr_at('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, now(), 2), counter_total('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid);
PREPARE series_unknown AS SELECT counter_total($1), counter_rate($2) > 0 AS rate, (SELECT bool_or(true) FROM counter_series($3, now())), counter_incr_at($4, now());
EXECUTE series_unknown('17', '17', '17', '17');
SELECT counter_untrack('1'), counter_untrack('1'), counter_untrack('a0ee');

-- Drop, rename, merge.
SELECT counter_rename('series:hot', 'series:new');
SELECT counter_total('series:hot'), counter_total('series:new'), counter_get('series:new');
SELECT counter_total('series:new', now() - interval '5 minutes', now() - interval '2 minutes');
SELECT counter_merge('series:cold', 'series:new');
SELECT counter_total('series:cold'), counter_total('series:new'), counter_get('series:new');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:cold'), counter_total('series:new'), counter_get('series:new');
SELECT counter_rename('series:new', 'series-elsewhere'), counter_rename('series-other', 'series:other');
SELECT counter_total('series:new'), counter_get('series-elsewhere'), counter_total('series:other'), counter_get('series:other');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:other'), counter_get('series:other');
SELECT counter_drop('series:other'), counter_drop('series:other');
SELECT counter_total('series:other'), counter_get('series:other');
SELECT counter_incr('series:other', 3);
SELECT counter_total('series:other'), counter_get('series:other');
SELECT counter_drop_prefix('series:other');
SELECT count(*) FROM counter_ext.bucket WHERE id ~ 'series:other|series:new';

-- Errors.
SELECT a.* FROM (VALUES ($$SELECT counter_track('ser')$$), ($$SELECT counter_track('series:a')$$), ($$SELECT counter_track('')$$), ($$SELECT counter_track(repeat('x', 256))$$),
    ($$SELECT counter_track(E'\x01')$$), ($$SELECT counter_track('x', '{second}', '{1 day}')$$), ($$SELECT counter_track('x', '{day,day}', '{1 day,2 days}')$$),
    ($$SELECT counter_track('x', '{hour,day}', '{1 day}')$$), ($$SELECT counter_track('x', '{hour,day}', '{2 days,1 day}')$$), ($$SELECT counter_track('x', '{}', '{}')$$),
    ($$SELECT counter_track('x', '{hour}', '{soon}')$$), ($$SELECT counter_track('x', '{hour}', '{-1 day}')$$), ($$SELECT counter_track('x', '{hour}', '{59 minutes}')$$),
    ($$SELECT counter_track('x', '{hour}', '{NULL}')$$), ($$SELECT counter_track('x', '{{hour}}', '{{1 day}}')$$), ($$SELECT counter_track('x', time_zone => 'Mars/Olympus')$$),
    ($$SELECT counter_track('x', time_zone => repeat('x', 300))$$), ($$SELECT counter_total('untracked')$$), ($$SELECT counter_rate('untracked')$$), ($$SELECT counter_incr_at('untracked', now())$$),
    ($$SELECT * FROM counter_series('untracked', now() - interval '1 hour')$$), ($$SELECT * FROM counter_series('series:a', now(), step => 'second')$$),
    ($$SELECT * FROM counter_series('series:a', now(), step => NULL)$$), ($$SELECT * FROM counter_series('', now() - interval '1 hour')$$),
    ($$SELECT counter_incr_at('series:a', now() + interval '61 minutes')$$), ($$SELECT counter_incr_at('series:a', now() + interval '59 minutes', 0)$$),
    ($$SELECT counter_incr_at('series:a', 'infinity')$$), ($$SELECT counter_incr_at('series:a', '-infinity')$$), ($$SELECT counter_rate('series:a', '0')$$), ($$SELECT counter_trending('series:', '-1 s')$$),
    ($$SELECT counter_trending('series:', n => -1)$$), ($$SELECT counter_track(NULL)$$), ($$SELECT counter_untrack(NULL)$$),
    ($$SELECT * FROM counter_series('series:a', '-infinity')$$), ($$SELECT * FROM counter_series('series:a', now(), 'infinity')$$),
    ($$SELECT * FROM counter_series('series:a', '4713-01-01 BC', step => 'minute')$$)) AS v (command), series_attempt(command) AS a;
SELECT count(*) FROM counter_series(NULL::text, now() - interval '1 hour');
SELECT count(*) FROM counter_series('series:a', NULL);
SELECT count(*) FROM counter_series('series:a', now() + interval '1 day');
SELECT counter_track('short:', '{hour}', '{3 hours}');
SELECT * FROM series_attempt($$SELECT counter_incr_at('short:a', now() - interval '4 hours')$$);
SELECT counter_total('short:a', NULL, NULL), counter_get('short:a'), counter_total(NULL);
-- What somebody who may count says when something happened makes no partitions for millennia, nor one whose name is none; a zone that only
-- this session has stops nobody's compaction.
SELECT * FROM series_attempt($$SELECT counter_incr_at('series:a', '4000-01-01 BC', 0)$$);
SELECT * FROM series_attempt($$SELECT counter_incr_at('series:a', now() - interval '36001 days', 0)$$);
SELECT * FROM series_attempt($$SELECT counter_incr_at('series:a', now() - interval '35999 days', 0)$$);
SET timezone_abbreviations = 'Australia';
SELECT * FROM series_attempt($$SELECT counter_track('zone:', time_zone => 'SAT')$$);
RESET timezone_abbreviations;
-- A session's zone that is no name is one that is found by its name; one that this server does not know, as after a restore, is UTC.
BEGIN;
SET LOCAL TimeZone = '+2';
SELECT counter_track('zone:', keep => '{1 day,2 days,forever}');
SET LOCAL TimeZone = 'INTERVAL ''-03:30''';
SELECT counter_track('zone:', keep => '{1 day,2 days,forever}');
SELECT zone FROM counter_ext.tracked WHERE prefix = 'zone:';
COMMIT;
SET client_min_messages = error;
INSERT INTO counter_ext.tracked SELECT 'mars:', since, minute_us, hour_us, day_us, 'Mars/Olympus' FROM counter_ext.tracked WHERE prefix = 'zone:';
SELECT count(counter_incr_at('mars:a', now() - days * interval '1 day', 5)) FROM generate_series(0, 20) days;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('mars:a', '-infinity', 'infinity'), counter_drop('mars:a'), counter_untrack('mars:'), counter_untrack('zone:');
RESET client_min_messages;
-- Past bigint.
SELECT counter_incr('short:big', 9223372036854775807), counter_incr_at('short:big', now() - interval '2 hours', 9223372036854775807);
SELECT * FROM series_attempt($$SELECT counter_total('short:big')$$);
SELECT counter_set('short:big', 1);
SELECT counter_total('short:big'), counter_get('short:big');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('short:big'), counter_get('short:big');

-- Rights, read-only transactions.
CREATE ROLE counter_ext_series;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO counter_ext_series;
SET ROLE counter_ext_series;
SELECT a.* FROM (VALUES ($$SELECT counter_track('x')$$), ($$SELECT counter_untrack('series:')$$), ($$SELECT counter_total('series:a')$$), ($$SELECT counter_rate('series:a')$$),
    ($$SELECT * FROM counter_series('series:a', now() - interval '1 hour')$$), ($$SELECT counter_trending('series:')$$), ($$SELECT counter_incr_at('series:a', now())$$)) AS v (command), series_attempt(command) AS a;
RESET ROLE;
GRANT SELECT ON counter_ext.bucket TO counter_ext_series;
GRANT INSERT, DELETE ON counter_ext.tracked TO counter_ext_series;
SET ROLE counter_ext_series;
SELECT counter_total('series:a') > 0 AS readable, counter_track('mine:'), counter_incr('mine:a'), counter_untrack('mine:');
RESET ROLE;
REVOKE SELECT ON counter_ext.total FROM counter_ext_series;
SET ROLE counter_ext_series;
SELECT * FROM series_attempt($$SELECT counter_total('series:a')$$);
RESET ROLE;
DROP OWNED BY counter_ext_series;
DROP ROLE counter_ext_series;
BEGIN READ ONLY;
SELECT counter_total('series:a') = counter_total('series:a', '-infinity', 'infinity') AS same;
SELECT a.* FROM (VALUES ($$SELECT counter_track('x')$$), ($$SELECT counter_untrack('series:')$$), ($$SELECT counter_incr_at('series:a', now())$$)) AS v (command), series_attempt(command) AS a;
COMMIT;
-- Own changes of what is tracked; a rollback.
BEGIN;
SELECT counter_incr('rolled:a', 2), counter_track('rolled:');
SELECT counter_incr('rolled:a', 3);
SELECT counter_total('rolled:a');
ROLLBACK;
SELECT * FROM series_attempt($$SELECT counter_total('rolled:a')$$);
SELECT counter_incr('rolled:a', 4);
SELECT counter_get('rolled:a');

-- Clocks that are put forward at midnight, or back by half an hour: what comes after that is in its bucket.
SELECT counter_track('clocks:', keep => '{10000 days,20000 days,forever}');
SET TimeZone = 'America/Sao_Paulo';
SELECT count(counter_incr_at('clocks:a', at)) FROM generate_series(timestamp '2017-10-13 12:00', '2017-10-17 12:00', '1 day') AS at;
SELECT * FROM counter_series('clocks:a', '2017-10-13', '2017-10-18', 'day');
SELECT * FROM counter_series('clocks:a', '2017-10-15', '2017-10-16 00:30', 'day');
SET TimeZone = 'Australia/Lord_Howe';
SELECT count(counter_incr_at('clocks:b', at)) FROM generate_series(timestamptz '2017-04-02 00:10', '2017-04-02 04:10', '30 minutes') AS at;
SELECT * FROM counter_series('clocks:b', '2017-04-02', '2017-04-02 05:00');
SET TimeZone = 'UTC';

-- What comes late, and moves, to buckets that are being rolled up: they were kept shorter before.
SELECT counter_incr_at('clocks:m', '2017-10-13 12:34', 5), counter_incr_at('clocks:t', '2017-10-13 12:34', 7);
DO $$ BEGIN PERFORM counter_compact(); END $$;
INSERT INTO counter_ext.rolled VALUES ('bucket_minute_20170928_30', 'clocks:s');
SELECT counter_total('clocks:m'), counter_total('clocks:t');
SELECT counter_incr_at('clocks:m', '2017-10-13 12:35', 3);
SELECT counter_total('clocks:m');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('clocks:m');
SELECT counter_rename('clocks:t', 'clocks:r');
SELECT counter_total('clocks:r'), counter_get('clocks:r');
INSERT INTO counter_ext.rolled VALUES ('bucket_hour_20170928', 'clocks:s'), ('bucket_day_20170928', 'clocks:s');
SELECT counter_incr_at('clocks:m', '2017-10-13 12:36', 2);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('clocks:m');
SELECT at, minutes, value FROM counter_ext.bucket WHERE id IN ('clocks:m', 'clocks:r') AND at < '2020-01-01' ORDER BY at, minutes;
DELETE FROM counter_ext.rolled;
SELECT counter_untrack('clocks:'), counter_drop_prefix('clocks:');

-- Late events of every day of ten years make partitions of a month, not of a day, and what is counted today has its own.
SELECT counter_track('far:', '{minute}', '{forever}');
SELECT count(counter_incr_at('far:a', now() - n * interval '1 day', n)) FROM generate_series(0, 3650) AS n;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('far:a') = counter_get('far:a') AS adds_up, counter_get('far:a'), counter_total('far:a', now() - interval '3000 days 1 hour', now() - interval '2999 days 1 hour'),
    (SELECT count(*) FROM counter_ext.bucket WHERE id = 'far:a') AS buckets,
    (SELECT count(DISTINCT tableoid) BETWEEN 100 AND 140 FROM counter_ext.bucket WHERE id = 'far:a') AS partitions,
    (SELECT count(*) FROM pg_class WHERE relname = to_char(now() AT TIME ZONE 'UTC', '"bucket_minute_"YYYYMMDD')) AS todays;
SELECT counter_untrack('far:'), counter_drop('far:a');

-- What trends is what the plain sum says, whether partitions are within the window, or it begins in them.
SELECT counter_track('trend:', keep => '{3 days,40 days,forever}');
SELECT count(counter_incr_at('trend:' || n % 17, now() - (n * 7919 % 100000) * interval '1 minute', 1 + n % 5)) FROM generate_series(1, 3000) AS n;
SELECT count(counter_incr('trend:' || n % 5, n)) FROM generate_series(1, 10) AS n;
DO $$ BEGIN PERFORM counter_compact(); END $$;
CREATE FUNCTION series_trends_differ(w interval) RETURNS bigint LANGUAGE sql AS $$
    WITH plain AS (SELECT id, sum(value) AS gained FROM counter_ext.bucket
            WHERE id LIKE 'trend:%' AND at >= date_trunc('minute', clock_timestamp() - w, 'UTC') GROUP BY id HAVING sum(value) > 0),
        shown AS (SELECT id, gained FROM counter_trending('trend:', w, 100))
    SELECT count(*) FROM ((SELECT * FROM plain EXCEPT SELECT * FROM shown) UNION ALL (SELECT * FROM shown EXCEPT SELECT * FROM plain)) AS d
$$;
-- A minute may begin between the two looks.
DO $$ DECLARE w interval; BEGIN FOREACH w IN ARRAY '{20 minutes,3 hours,26 hours,2 days,5 days,30 days,60 days}'::interval[] LOOP
    IF series_trends_differ(w) > 0 AND series_trends_differ(w) > 0 THEN RAISE EXCEPTION 'trends of % differ', w; END IF;
END LOOP; END $$;
SELECT count(*) > 10 AS some, (SELECT count(DISTINCT minutes) FROM counter_ext.bucket WHERE id LIKE 'trend:%') AS levels FROM counter_trending('trend:', '60 days', 100);
-- Where somebody has dropped the indexes it is read without.
BEGIN;
DO $$ DECLARE i regclass; BEGIN FOR i IN SELECT indexrelid FROM pg_index WHERE indrelid::regclass::text ~ 'bucket_(minute|hour|day)_' AND NOT indisprimary LOOP
    EXECUTE format('DROP INDEX %s', i); END LOOP;
    IF series_trends_differ('26 hours') > 0 AND series_trends_differ('26 hours') > 0 THEN RAISE EXCEPTION 'trends differ'; END IF;
END $$;
ROLLBACK;
SELECT counter_untrack('trend:'), counter_drop_prefix('trend:') > 0 AS dropped;
DROP FUNCTION series_trends_differ;

-- TRUNCATE, and all is forgotten; what is tracked stays so.
TRUNCATE counter_ext.total;
SELECT counter_total('series:a'), counter_get('series:a'), counter_total('series:dst'), counter_total('short:big');
SELECT counter_incr('series:a', 6);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_forget_all();
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_incr('series:a', 6);
SELECT counter_total('series:a'), counter_get('series:a');
SELECT counter_untrack('series:'), counter_untrack('short:');
SELECT count(*) FROM counter_ext.bucket;
SELECT counter_drop_prefix('series') > 0 AS dropped, counter_drop_prefix('rolled:') AS rolled, counter_drop_prefix('short:') AS short;
DROP PROCEDURE series_await_rolled_up;
DROP FUNCTION series_attempt;
