-- What others do to the rows of visitors (an administrator, a restore, an apply worker) is seen by the next read; what they roll back, never.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
TRUNCATE counter_ext.visitors, counter_ext.visit;
-- How many were there: ever, on the fourth of January 2026, from the first to the fifth. Memory holds the first two, rows answer the third.
CREATE FUNCTION counts(counter) RETURNS text LANGUAGE sql AS $$
    SELECT counter_visitors($1) || ' ' || counter_visitors($1, '2026-01-04', '2026-01-04') || ' ' || counter_visitors($1, '2026-01-01', '2026-01-05') $$;
CREATE FUNCTION sketch(VARIADIC visitors text[]) RETURNS counter_hll LANGUAGE sql AS $$ SELECT counter_hll_agg(v) FROM unnest(visitors) v $$;
-- Rows of an id, and how many visitors each has seen.
CREATE FUNCTION in_rows(wanted text) RETURNS TABLE (source text, day date, node int, visitors bigint) LANGUAGE sql AS $$
    SELECT 'visitors', day, node, counter_hll_count(sketch) FROM counter_ext.visitors WHERE id = wanted
    UNION ALL SELECT 'visit', day, NULL, counter_hll_count(sketch) FROM counter_ext.visit WHERE id = wanted ORDER BY 1, 2, 3 $$;

-- INSERT, of an id that was read before.
SELECT counts('rows:a');
INSERT INTO counter_ext.visitors (id, day, sketch) VALUES ('rows:a', '2026-01-04', sketch('w')), ('rows:a', '-infinity', sketch('w'));
SELECT counts('rows:a');
INSERT INTO counter_ext.visit (id, day, slot, sketch) VALUES ('rows:a', '2026-01-04', 1, sketch('x', 'y')), ('rows:a', '2026-01-05', -7, sketch('y', 'z'));
SELECT counts('rows:a');
-- Another node's row is one more.
INSERT INTO counter_ext.visitors (id, day, node, sketch) VALUES ('rows:a', '2026-01-04', 3, sketch('n', 'x'));
SELECT counts('rows:a');
BEGIN;
INSERT INTO counter_ext.visit (id, day, slot, sketch) VALUES ('rows:a', '2026-01-04', 2, sketch('never'));
SELECT counts('rows:a'), counter_visit('rows:a', 'never') AS new;
ROLLBACK;
SELECT counts('rows:a');

-- Compaction unites them, each day's and ever's, into this node's rows.
SELECT counter_compact() >= 0 AS compacted;
SELECT * FROM in_rows('rows:a');
SELECT counts('rows:a');

-- UPDATE, also of the key; savepoints.
UPDATE counter_ext.visitors SET sketch = counter_hll_add(sketch, 'u') WHERE id = 'rows:a' AND day = '2026-01-04' AND node = 0;
SELECT counts('rows:a');
BEGIN;
SAVEPOINT s;
UPDATE counter_ext.visitors SET sketch = sketch('one') WHERE id = 'rows:a';
SELECT counts('rows:a');
ROLLBACK TO s;
SELECT counts('rows:a');
COMMIT;
SELECT counts('rows:a');
UPDATE counter_ext.visitors SET id = 'rows:moved' WHERE id = 'rows:a' AND day = '2026-01-05';
SELECT counts('rows:a'), counts('rows:moved');
UPDATE counter_ext.visitors SET day = '2026-01-04' WHERE id = 'rows:moved';
SELECT counts('rows:moved');

-- DELETE of old days keeps ever.
SELECT counter_visit('rows:a', 'today');
SELECT counter_compact() >= 0 AS compacted;
DELETE FROM counter_ext.visitors WHERE day < '2026-01-05' AND day > '-infinity';
SELECT counts('rows:a'), counts('rows:moved');
SELECT counter_visit('rows:a', 'z') AS was_there_before, counter_visit('rows:a', 'w') AS so_was, counter_visit('rows:a', 'n') AS only_on_a_day_that_is_gone;
SELECT counts('rows:a');
-- All rows of an id: the next visit is the first.
DELETE FROM counter_ext.visit WHERE id = 'rows:a';
DELETE FROM counter_ext.visitors WHERE id = 'rows:a';
SELECT counts('rows:a'), counter_visit('rows:a', 'w') AS new_again;
SELECT counts('rows:a');

-- COPY, as pg_restore does, also where triggers are told that they are a replica's.
SET session_replication_role = replica;
COPY counter_ext.visitors (id, day, node, sketch, updated_at) FROM stdin;
rows:c	-infinity	0	\\x128e7f	2026-01-05 00:00:00+00
rows:c	2026-01-04	0	\\x128e7f8000000000000001	2026-01-05 00:00:00+00
\.
COPY counter_ext.visit (id, day, slot, sketch) FROM stdin;
rows:c	2026-01-05	5	\\x128e7f0000000000000001
rows:c	2026-01-05	6	\\x128e7f8000000000000001
\.
SELECT counts('rows:c');
DELETE FROM counter_ext.visit WHERE id = 'rows:c' AND slot = 5;
SELECT counts('rows:c');
RESET session_replication_role;
-- Sketches of other parameters are not let in, nor anything that is none.
INSERT INTO counter_ext.visit SELECT 'rows:c', '2026-01-04', 7, counter_hll_agg(1, 11);
\echo :LAST_ERROR_SQLSTATE
UPDATE counter_ext.visitors SET sketch = (SELECT counter_hll_agg(1, 11)) WHERE id = 'rows:c';
\echo :LAST_ERROR_SQLSTATE
INSERT INTO counter_ext.visit VALUES ('rows:c', '2026-01-04', 7, '\x1234');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
INSERT INTO counter_ext.visit VALUES ('', '2026-01-04', 7, '\x118e7f');
INSERT INTO counter_ext.visit VALUES ('rows:c', NULL, 7, '\x118e7f');
\set VERBOSITY default
SELECT counts('rows:c');

-- TRUNCATE, and its rollback.
BEGIN;
TRUNCATE counter_ext.visit, counter_ext.visitors;
SELECT counts('rows:a'), counter_visit('rows:a', 'w') AS new, counts('rows:a');
ROLLBACK;
SELECT counts('rows:a'), counts('rows:c');
BEGIN;
SELECT counter_visit('rows:kept', 1);
TRUNCATE counter_ext.visit, counter_ext.visitors;
SELECT counts('rows:kept');
COMMIT;
SELECT counts('rows:a'), counts('rows:c'), counts('rows:kept'), (SELECT count(*) FROM counter_ext.visit) AS rows;
TRUNCATE counter_ext.visit, counter_ext.visitors;

-- Columns, indexes, VACUUM FULL, CLUSTER, REINDEX change nothing.
SELECT counter_visit('rows:d', i) FROM generate_series(1, 2) i;
ALTER TABLE counter_ext.visitors ADD COLUMN note text;
ALTER TABLE counter_ext.visit ADD COLUMN note text DEFAULT 'none', ALTER COLUMN slot SET STATISTICS 10;
CREATE INDEX visit_day ON counter_ext.visit (day);
CREATE INDEX visitors_count ON counter_ext.visitors (counter_hll_count(sketch));
SELECT counter_visit('rows:d', 3), counter_compact() >= 0 AS compacted, counter_visit('rows:d', 4), counts('rows:d');
SELECT counter_compact() >= 0 AS compacted;
SELECT day > '-infinity' AS is_day, counter_hll_count(sketch), note FROM counter_ext.visitors WHERE id = 'rows:d' ORDER BY day;
VACUUM FULL counter_ext.visit;
CLUSTER counter_ext.visitors USING visitors_pkey;
REINDEX TABLE counter_ext.visit;
SELECT counter_visit('rows:d', 5), counter_visit('rows:d', 3), counts('rows:d');
ALTER TABLE counter_ext.visitors DROP COLUMN note;
ALTER TABLE counter_ext.visit DROP COLUMN note;
DROP INDEX counter_ext.visit_day, counter_ext.visitors_count;
SELECT counter_compact() >= 0 AS compacted, counts('rows:d'), counter_visit('rows:d', 6), counter_visit('rows:d', 6);
-- Without a primary key no row can be found: 55000.
BEGIN;
SELECT counter_visit('rows:e', 1);
SAVEPOINT s;
ALTER TABLE counter_ext.visit DROP CONSTRAINT visit_pkey;
SELECT counter_visitors('rows:unheard');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
ALTER TABLE counter_ext.visitors DROP CONSTRAINT visitors_pkey;
COMMIT;
SELECT counts('rows:d'), counts('rows:e');

-- Dropped with the extension in the same transaction, visits go quietly; rolled back, nothing is dropped.
BEGIN;
SELECT counter_visit('rows:d', 7), counter_visit('rows:f', 7);
SAVEPOINT s;
\set VERBOSITY terse
DROP FUNCTION counts, sketch, in_rows;
DROP EXTENSION counter_ext;
\set VERBOSITY default
ROLLBACK TO s;
SELECT counts('rows:d'), counts('rows:f');
COMMIT;
SELECT counts('rows:d'), counts('rows:f');
DROP FUNCTION counts, sketch, in_rows;
BEGIN;
SELECT counter_visit('rows:g', 7);
DROP EXTENSION counter_ext;
COMMIT;
CREATE EXTENSION counter_ext;
SELECT counter_visitors('rows:d'), counter_visitors('rows:g'), counter_visit('rows:g', 7) AS new;
-- Dropped and made anew by a transaction that has visited: it cannot visit again, and what it had visited is gone.
BEGIN;
SELECT counter_visit('rows:g', 8);
DROP EXTENSION counter_ext;
CREATE EXTENSION counter_ext;
SELECT counter_visitors('rows:g');
SELECT counter_visit('rows:g', 9);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT counter_visitors('rows:g');
BEGIN;
SELECT counter_visit('rows:g', 8);
DROP EXTENSION counter_ext;
CREATE EXTENSION counter_ext;
COMMIT;
SELECT counter_visitors('rows:g'), counter_visit('rows:g', 7) AS new;
