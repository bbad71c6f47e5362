-- Visits of other days than today, and whole days that another system has counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
CREATE FUNCTION utc_today() RETURNS date LANGUAGE sql AS $$ SELECT (now() AT TIME ZONE 'UTC')::date $$;
SET TimeZone = 'Pacific/Kiritimati';

-- A late visit is of its day, and of ever.
SELECT counter_visit('late:a', 'ann', at => utc_today() - 3), counter_visit('late:a', 'ann'), counter_visit('late:a', 'ann', at => utc_today() - 3),
    counter_visit('late:a', 'bob', 0, utc_today() + 1), counter_visit('late:a', 'cid', at => utc_today()), counter_visit('late:a', 'dan', at => NULL);
CREATE VIEW days AS SELECT counter_visitors('late:a') AS ever, counter_visitors('late:a', utc_today() - 3, utc_today() - 3) AS late, counter_visitors('late:a', utc_today() - 2, utc_today() - 1) AS between,
    counter_visitors('late:a', utc_today(), utc_today()) AS today, counter_visitors('late:a', utc_today() + 1) AS tomorrow;
SELECT * FROM days;
SELECT counter_compact() >= 0 AS compacted;
SELECT * FROM days;
SELECT utc_today() - day AS ago, # sketch AS visitors FROM counter_ext.visitors WHERE id = 'late:a' AND day > '-infinity' ORDER BY day;
-- A rollback takes it back; views are of now.
BEGIN;
SELECT counter_visit('late:a', 'eve', views => 2, at => utc_today() - 2);
SAVEPOINT s;
SELECT counter_visit('late:a', 'fay', at => utc_today() - 1);
SELECT * FROM days;
ROLLBACK TO s;
SELECT * FROM days;
ROLLBACK;
SELECT counter_visit('late:a', 'ann', views => 2, at => utc_today() - 2), counter_get('late:a');
SELECT * FROM days;
-- Bounds: a year late, a day early.
SELECT counter_visit('late:b', 'ann', at => utc_today() - 366);
SELECT counter_visit('late:b', 'ann', at => utc_today() - 367);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visit(790021, 'ann', at => utc_today() + 2);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visit('late:b', 'ann', at => '-infinity');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY sqlstate
SELECT counter_visit('late:b', 'ann', at => 'infinity');
SELECT counter_visit('late:b', 'ann', at => '4713-01-01 BC');
SELECT counter_visit('late:b', 'ann', at => '5874897-12-31');
SELECT counter_visit('late:b', NULL, at => 'infinity');
\set VERBOSITY default
SELECT counter_visitors('late:b');

-- A day's sketch: any day of the past, and of more registers than ours.
SELECT counter_visitors_add('late:c', counter_hll_agg(v::text), '2020-02-29') AS new FROM generate_series(1, 100) v;
SELECT counter_visitors_add('late:c', counter_hll_agg(v::text), '2020-02-29') AS again, counter_visitors_add('late:c', counter_hll_agg(v::text), '2020-03-01') AS other_day FROM generate_series(51, 100) v;
SELECT counter_visitors('late:c'), counter_visitors('late:c', '2020-02-29', '2020-02-29'), counter_visitors('late:c', '2020-03-01', '2020-03-01'), counter_visit('late:c', 7), counter_visit('late:c', 101);
SELECT counter_visitors_add('late:c', counter_hll_agg(v::text, 17, 6, -1, 1), '2020-03-02') AS folded FROM generate_series(1, 50000) v;
SELECT counter_compact() >= 0 AS compacted;
-- As if they had come one by one.
SELECT sketch = (SELECT counter_hll_agg(v::text) FROM generate_series(1, 50000) v) AS same FROM counter_ext.visitors WHERE id = 'late:c' AND day = '2020-03-02';
SELECT counter_visit('late:c', 49999), abs(counter_visitors('late:c') / 50000.0 - 1) < 0.03 AS close;
SELECT counter_visitors_add('late:c', counter_hll_empty(16), '2020-01-01'), counter_visitors_add('late:c', NULL, '2020-01-01') IS NULL AS nothing,
    counter_visitors_add('late:c', counter_hll_empty(), NULL) IS NULL AS no_day, counter_visitors_add(NULL::text, counter_hll_empty(), '2020-01-01') IS NULL AS no_id,
    (SELECT count(*) FROM counter_ext.visitors WHERE id = 'late:c' AND day = '2020-01-01') AS rows;
-- Ids of every type.
SELECT counter_visitors_add(790021, counter_hll_agg('a'::text), '2020-01-01'), counter_visitors_add('790021'::counter, counter_hll_agg('a'::text), '2020-01-01'),
    counter_visitors_add('0a000000-0000-0000-0000-0000000000ff'::uuid, counter_hll_agg('a'::text), '2020-01-01'), counter_visitors(790021), counter_visitors('0a000000-0000-0000-0000-0000000000ff');
PREPARE untyped AS SELECT counter_visitors_add($1, $2, $3);
SELECT parameter_types::text FROM pg_prepared_statements WHERE name = 'untyped';
DEALLOCATE untyped;
-- It belongs to its transaction.
BEGIN;
SELECT counter_visitors_add('late:d', counter_hll_agg(v::text), '2020-01-01'), counter_visitors('late:d') FROM generate_series(1, 2000) v;
SELECT counter_visitors('late:d', '2020-01-01', '2020-01-01') > 1900 AS own;
ROLLBACK;
SELECT counter_visitors('late:d');
-- What it cannot take.
SELECT counter_visitors_add('late:d', counter_hll_empty(11), '2020-01-01');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visitors_add('late:d', counter_hll_empty(14, 4), '2020-01-01');
SELECT counter_visitors_add('late:d', '\x10', '2020-01-01');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visitors_add('late:d', counter_hll_empty(), '-infinity');
\set VERBOSITY sqlstate
SELECT counter_visitors_add('late:d', counter_hll_empty(), utc_today() + 2);
SELECT counter_visitors_add('', counter_hll_empty(), '2020-01-01');
SELECT counter_visitors_add('late:d', counter_hll_agg(1), utc_today() + 1);
BEGIN READ ONLY;
SELECT counter_visitors_add('late:d', counter_hll_agg(1), '2020-01-01');
ROLLBACK;
CREATE ROLE regress_late;
SET ROLE regress_late;
SELECT counter_visitors_add('late:d', counter_hll_agg(1), '2020-01-01');
SELECT counter_visit('late:d', 1, at => utc_today() - 1);
RESET ROLE;
GRANT INSERT, UPDATE ON counter_ext.visitors TO regress_late;
SET ROLE regress_late;
SELECT counter_visitors_add('late:d', counter_hll_agg(1), '2020-01-01');
RESET ROLE;
DROP OWNED BY regress_late;
DROP ROLE regress_late;
\set VERBOSITY default
SELECT counter_visitors('late:d');

-- A row that was put there by hand and says nothing takes nothing from the others.
INSERT INTO counter_ext.visit (id, day, slot, sketch) VALUES ('late:d', '2020-01-01', 1, '\x108e7f');
SELECT counter_visitors('late:d'), counter_visitors('late:d', '2020-01-01', '2020-01-01'), counter_compact() >= 0 AS compacted;
SELECT counter_visitors('late:d'), count(*) FROM counter_ext.visit WHERE id = 'late:d';
SELECT count(counter_drop(id)) FROM unnest('{late:a,late:b,late:c,late:d,790021,0a000000-0000-0000-0000-0000000000ff}'::text[]) id;
DROP VIEW days;
DROP FUNCTION utc_today;
