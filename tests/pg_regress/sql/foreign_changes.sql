-- What others do to the tables (an administrator, a restore, an apply worker) is seen by the next read; what they roll back, never.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
-- Both totals of a counter, as a reader sees them: from memory where it is there, and from rows.
CREATE FUNCTION totals(counter) RETURNS text LANGUAGE sql AS $$ SELECT counter_get($1) || ' ' || counter_get_exact($1) $$;

SELECT counter_incr('foreign:a', 5), counter_incr('foreign:b', 6);
SELECT counter_compact() >= 0 AS compacted;
SELECT totals('foreign:a'), totals('foreign:b');

-- UPDATE, and its rollback.
UPDATE counter_ext.total SET value = 1000 WHERE id = 'foreign:a';
SELECT totals('foreign:a'), totals('foreign:b');
SELECT counter_incr('foreign:a');
SELECT totals('foreign:a');
BEGIN;
UPDATE counter_ext.total SET value = value + 1000 WHERE id = 'foreign:a';
SELECT totals('foreign:a');
SELECT counter_incr('foreign:a');
SELECT totals('foreign:a');
ROLLBACK;
SELECT totals('foreign:a');
BEGIN;
SAVEPOINT s;
UPDATE counter_ext.total SET value = value + 1000 WHERE id = 'foreign:a';
SELECT totals('foreign:a');
ROLLBACK TO s;
SELECT totals('foreign:a');
SELECT counter_incr('foreign:a');
COMMIT;
SELECT totals('foreign:a');
BEGIN;
SAVEPOINT s;
UPDATE counter_ext.total SET value = value + 1000 WHERE id = 'foreign:a';
RELEASE s;
COMMIT;
SELECT totals('foreign:a');

-- INSERT, of a counter that was read before it existed.
SELECT totals('foreign:new');
INSERT INTO counter_ext.total (id, value) VALUES ('foreign:new', 70);
SELECT totals('foreign:new');
INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('foreign:new', 1, 7), ('foreign:new', -9000000000, 700);
SELECT totals('foreign:new');
INSERT INTO counter_ext.total (id, value) VALUES ('foreign:new', 70)
    ON CONFLICT (id, node) DO UPDATE SET value = total.value + excluded.value;
SELECT totals('foreign:new');
INSERT INTO counter_ext.total (id, node, value) VALUES ('foreign:new', 3, 10000);
SELECT totals('foreign:new');
SELECT counter_compact() >= 0 AS compacted;
SELECT totals('foreign:new');

-- MERGE.
MERGE INTO counter_ext.total USING (VALUES ('foreign:new', 100000), ('foreign:merged', 1)) AS wanted (id, value)
    ON total.id = wanted.id AND total.node = 0
    WHEN MATCHED THEN UPDATE SET value = total.value + wanted.value
    WHEN NOT MATCHED THEN INSERT (id, value) VALUES (wanted.id, wanted.value);
SELECT totals('foreign:new'), totals('foreign:merged');

-- A changed id moves the amount.
UPDATE counter_ext.total SET id = 'foreign:moved' WHERE id = 'foreign:b';
SELECT totals('foreign:b'), totals('foreign:moved');

-- DELETE.
DELETE FROM counter_ext.total WHERE id = 'foreign:moved';
SELECT totals('foreign:moved');
BEGIN;
DELETE FROM counter_ext.total WHERE id = 'foreign:new' AND node = 3;
SELECT totals('foreign:new');
ROLLBACK;
SELECT totals('foreign:new');
-- A transaction's own increments are written at its end, so its DELETE does not meet them.
BEGIN;
SELECT counter_incr('foreign:new', 5);
DELETE FROM counter_ext.total WHERE id = 'foreign:new';
DELETE FROM counter_ext.slot WHERE id = 'foreign:new';
SELECT totals('foreign:new');
COMMIT;
SELECT totals('foreign:new');

-- COPY, as a restore does it.
COPY counter_ext.total (id, node, value) FROM STDIN;
foreign:copied	0	33
foreign:new	9	10000000
\.
SELECT totals('foreign:copied'), totals('foreign:new');
BEGIN;
COPY counter_ext.slot (id, slot, delta) FROM STDIN;
foreign:copied	4711	100
\.
SELECT totals('foreign:copied');
ROLLBACK;
SELECT totals('foreign:copied');

-- With triggers off for replicas, as restores and apply workers set it.
SET session_replication_role = replica;
UPDATE counter_ext.total SET value = value * 2 WHERE id = 'foreign:copied';
RESET session_replication_role;
SELECT totals('foreign:copied');

-- The tables refuse what no counter can be.
\set VERBOSITY sqlstate
INSERT INTO counter_ext.total (id, value) VALUES ('', 1);
INSERT INTO counter_ext.total (id, value) VALUES (repeat('x', 256), 1);
INSERT INTO counter_ext.total (id, value) VALUES ('foreign:null', NULL);
INSERT INTO counter_ext.slot VALUES ('', 1, 1);
INSERT INTO counter_ext.slot VALUES (repeat('x', 256), 1, 1);
INSERT INTO counter_ext.slot VALUES (NULL, 1, 1);
\set VERBOSITY default

-- Prepared.
BEGIN;
UPDATE counter_ext.total SET value = 500 WHERE id = 'foreign:copied';
PREPARE TRANSACTION 'counter_ext_regress_foreign';
SELECT totals('foreign:copied');
SELECT counter_incr('foreign:copied');
SELECT totals('foreign:copied');
COMMIT PREPARED 'counter_ext_regress_foreign';
SELECT totals('foreign:copied');

-- Many rows at once.
SELECT counter_incr('foreign:row:' || i) FROM generate_series(1, 100) i \g /dev/null
SELECT sum(counter_get('foreign:row:' || i)) FROM generate_series(1, 100) i;
INSERT INTO counter_ext.total (id, node, value) SELECT 'foreign:row:' || i, 2, 10 FROM generate_series(1, 70000) i;
SELECT sum(counter_get('foreign:row:' || i)) FROM generate_series(1, 100) i;
SELECT totals('foreign:row:100'), totals('foreign:row:101'), totals('foreign:row:70000');
DELETE FROM counter_ext.total WHERE node = 2;
SELECT totals('foreign:row:100'), totals('foreign:row:101'), totals('foreign:row:70000');

-- Rewriting the tables changes nothing.
SELECT counter_incr('foreign:a');
VACUUM FULL counter_ext.slot;
SELECT counter_incr('foreign:a');
VACUUM FULL counter_ext.total;
SELECT counter_incr('foreign:a');
REINDEX TABLE counter_ext.slot;
SELECT counter_incr('foreign:a');
CLUSTER counter_ext.slot USING slot_pkey;
SELECT counter_incr('foreign:a');
VACUUM (ANALYZE, FREEZE) counter_ext.slot, counter_ext.total;
SELECT counter_incr('foreign:a');
ALTER TABLE counter_ext.slot SET (fillfactor = 20);
SELECT counter_incr('foreign:a');
ALTER TABLE counter_ext.slot SET (fillfactor = 10);
SELECT totals('foreign:a');
BEGIN;
SELECT counter_incr('foreign:a', 10);
REINDEX TABLE counter_ext.slot;
SELECT counter_incr('foreign:a', 10);
COMMIT;
SELECT totals('foreign:a');

-- TRUNCATE, and its rollback.
BEGIN;
TRUNCATE counter_ext.total, counter_ext.slot;
SELECT totals('foreign:a'), totals('foreign:new'), (SELECT count(*) FROM counters) AS counters;
SELECT counter_incr('foreign:a', 10);
SELECT totals('foreign:a');
ROLLBACK;
SELECT totals('foreign:a');
SELECT counter_incr('foreign:a', 10);
TRUNCATE counter_ext.slot;
SELECT counter_get('foreign:a') = counter_get_exact('foreign:a') AS same;
TRUNCATE counter_ext.total, counter_ext.slot;
SELECT totals('foreign:a'), totals('foreign:new'), (SELECT count(*) FROM counters) AS counters;
SELECT counter_incr('foreign:a', 10);
SELECT totals('foreign:a'), (SELECT count(*) FROM counters) AS counters;
DROP FUNCTION totals;
