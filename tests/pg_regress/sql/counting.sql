-- Counting and reading, one statement a transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- A counter exists from its first increment; before it, it reads as 0.
SELECT counter_get('counting:page');
SELECT counter_incr('counting:page');
SELECT counter_get('counting:page');
SELECT counter_incr('counting:page', 41);
SELECT counter_get('counting:page'), counter_get_exact('counting:page');
SELECT counter_incr('counting:page', -50);
SELECT counter_get('counting:page'), counter_get_exact('counting:page');
SELECT counter_incr(id => 'counting:page', delta => 8);
SELECT counter_get('counting:page'), counter_get_exact('counting:page');

-- Reading does not make a counter; an increment by 0 does.
SELECT counter_get('counting:unknown'), counter_get_exact('counting:unknown');
SELECT count(*) FROM counter_info('counting:unknown');
SELECT counter_incr('counting:zero', 0);
SELECT counter_get('counting:zero'), counter_get_exact('counting:zero');
SELECT value, exact FROM counter_info('counting:zero');
SELECT id, value FROM counters WHERE id IN ('counting:unknown', 'counting:zero');

-- NULL counts nothing.
SELECT counter_incr('counting:page', NULL) IS NULL AS nothing;
SELECT counter_incr(NULL::text) IS NULL AS nothing;
SELECT counter_incr(NULL::bigint, 5) IS NULL AS nothing;
SELECT counter_get(NULL::text), counter_get_exact(NULL::text), counter_get(NULL::bigint);
SELECT count(*) FROM counter_info(NULL::text);
SELECT counter_get('counting:page');

-- Ids are any text of 1 to 255 bytes, told apart byte by byte.
SELECT counter_incr(id) FROM (VALUES
    ('counting:case'), ('counting:CASE'), ('counting:case '), (' counting:case'),
    ('counting:é'), (U&'counting:e\0301'), ('counting:数える'), ('counting:🏏'), (E'counting:a\n\tb'),
    (rpad('counting:', 255, 'x')), (rpad('counting:', 254, 'x')), (rpad('counting:', 253, 'x') || 'é')) AS ids (id);
SELECT count(*) AS counters, sum(value) FROM counters
    WHERE id LIKE '%counting:case%' OR id LIKE 'counting:CASE';
SELECT id, octet_length(id) AS bytes, value FROM counters WHERE id ~ '^counting:(é|e.$|数える|🏏|a\n)' ORDER BY id COLLATE "C";
SELECT length(id) AS characters, octet_length(id) AS bytes, value FROM counters
    WHERE id LIKE 'counting:xxx%' ORDER BY id COLLATE "C";
SELECT counter_get('🏏'), counter_get('counting:🏏'), counter_get(rpad('counting:', 255, 'x'));

-- Both ends of bigint.
SELECT counter_incr('counting:most', 9223372036854775807);
SELECT counter_incr('counting:least', -9223372036854775808);
SELECT counter_get('counting:most'), counter_get('counting:least');
SELECT counter_get_exact('counting:most'), counter_get_exact('counting:least');

-- Integers are ids too: 42 and '42' are the same counter.
SELECT counter_incr(4200042);
SELECT counter_incr(4200042::bigint, 10);
SELECT counter_incr('4200042', 1000), counter_incr('4200042'::text, 10000), counter_incr('4200042'::varchar, 100000);
SELECT counter_incr(-7::smallint, 3);
SELECT counter_get(4200042), counter_get('4200042'), counter_get_exact(4200042), counter_get(-7), counter_get('-7');
SELECT value, exact FROM counter_info(4200042);

-- Many increments of one counter in one statement.
SELECT count(counter_incr('counting:loop', i)) FROM generate_series(1, 100000) i;
SELECT counter_get('counting:loop'), counter_get_exact('counting:loop');

-- Many counters at once; an id may repeat, deltas default to 1.
SELECT counter_incr_many(ARRAY['counting:a', 'counting:b', 'counting:a']);
SELECT counter_incr_many(ARRAY['counting:a', 'counting:b', 'counting:a', 'counting:c'], ARRAY[10, 20, -100, 0]);
SELECT counter_incr_many(ids => ARRAY['counting:c'], deltas => NULL);
SELECT counter_incr_many('{}');
SELECT counter_incr_many('{}', '{}');
SELECT counter_incr_many('[0:1]={counting:b,counting:c}', '[5:6]={1000,2000}');
SELECT * FROM counter_get_many(ARRAY['counting:c', 'counting:a', 'counting:none', 'counting:b', 'counting:a']);
SELECT * FROM counter_get_many('{}');
SELECT * FROM counter_get_many('[7:8]={counting:a,counting:b}') WITH ORDINALITY;

-- A thousand counters; every way of reading says the same.
SELECT counter_incr_many(array_agg('counting:many:' || i), array_agg(i::bigint)) FROM generate_series(1, 1000) i;
SELECT sum(value), count(*) FROM counter_get_many(ARRAY(SELECT 'counting:many:' || i FROM generate_series(1, 1000) i));
SELECT sum(value), count(*) FROM counters WHERE id LIKE 'counting:many:%';
SELECT count(*) FROM counters c WHERE id LIKE 'counting:%'
    AND (c.value <> counter_get(c.id) OR c.value <> counter_get_exact(c.id));

-- The view lists every counter once.
SELECT id, value FROM counters WHERE id IN ('counting:c', 'counting:a', 'counting:b', 'counting:page') ORDER BY id;
SELECT count(*) FROM (SELECT id FROM counters GROUP BY id HAVING count(*) > 1) AS listed_twice;

-- Compaction moves, never changes.
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('counting:page'), counter_get_exact('counting:page');
SELECT counter_incr('counting:page');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('counting:page'), counter_get_exact('counting:page');
SELECT value, exact, updated_at <= clock_timestamp() AS compacted FROM counter_info('counting:page');
SELECT sum(value), count(*) FROM counters WHERE id LIKE 'counting:many:%';
SELECT counter_get('counting:most'), counter_get('counting:least'), counter_get('counting:zero');

-- It stays so with one slot row a counter at most, and with many.
SET counter_ext.slots = 1;
SELECT counter_incr('counting:page', 100) FROM generate_series(1, 3);
SET counter_ext.slots = 1024;
SELECT counter_incr('counting:page', 1000) FROM generate_series(1, 3);
RESET counter_ext.slots;
SELECT counter_get('counting:page'), counter_get_exact('counting:page');

-- updated_at is when the counter last changed, not when that was compacted.
CREATE TABLE counting_times (what text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION counting_between(id text, low text, high text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN i.updated_at < l.at - interval '100 ms' THEN 'too old' WHEN i.updated_at > h.at THEN 'too new' ELSE 'right' END
    FROM counter_info(id) i, (SELECT at FROM counting_times WHERE what = low) l, (SELECT at FROM counting_times WHERE what = high) h
$$;
SELECT counter_incr('counting:time'), pg_sleep(0.3);
INSERT INTO counting_times VALUES ('before second');
SELECT counter_incr('counting:time');
INSERT INTO counting_times VALUES ('after second');
SELECT counting_between('counting:time', 'before second', 'after second');
SELECT count(counter_compact()), pg_sleep(0.3) FROM generate_series(1, 2);
SELECT counting_between('counting:time', 'before second', 'after second');
SELECT count(*) FROM counters c JOIN counter_info('counting:time') i USING (updated_at) WHERE c.id = 'counting:time';
-- Nor does a statement that began before the last change take it back.
SELECT counter_incr('counting:later');
SELECT counter_compact() >= 0 AS compacted;
UPDATE counter_ext.total SET updated_at = updated_at + interval '1 hour' WHERE id = 'counting:later';
SELECT counter_incr('counting:later');
SELECT value, updated_at > clock_timestamp() AS kept FROM counter_info('counting:later');
-- What adds up to nothing is a change too, and what is rolled back is none.
BEGIN;
SELECT counter_incr('counting:time');
SELECT updated_at >= transaction_timestamp() AS own FROM counter_info('counting:time');
ROLLBACK;
SELECT counting_between('counting:time', 'before second', 'after second');
INSERT INTO counting_times VALUES ('before third');
SELECT counter_incr('counting:time', 1);
SELECT counter_incr('counting:time', -1);
INSERT INTO counting_times VALUES ('after third');
SELECT count(counter_compact()), pg_sleep(0.3) FROM generate_series(1, 2);
SELECT counting_between('counting:time', 'before third', 'after third'), counter_get('counting:time');
SELECT counter_drop('counting:time');
DROP FUNCTION counting_between;
DROP TABLE counting_times;
