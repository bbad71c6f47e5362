-- Visitors without shared_preload_libraries: rows answer, each transaction leaves one an id and day, compaction is by hand.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
TRUNCATE counter_ext.visitors, counter_ext.visit, counter_ext.total, counter_ext.slot;
CREATE VIEW in_rows AS
    SELECT 'visit' AS source, id, day > '-infinity' AS is_day, count(*) AS rows, counter_hll_count(counter_hll_union_agg(sketch)) AS visitors
    FROM counter_ext.visit GROUP BY id, day
    UNION ALL SELECT 'visitors', id, day > '-infinity', count(*), counter_hll_count(counter_hll_union_agg(sketch))
    FROM counter_ext.visitors GROUP BY id, day ORDER BY 1, 2, 3, 5;

-- One row a transaction, id and day; none for what changes nothing.
SELECT counter_visit('alone:a', i) FROM generate_series(1, 3) i;
SELECT counter_visit('alone:a', 3), counter_visit('alone:a', 4), counter_visit('alone:b', 4);
SELECT counter_visit('alone:a', 1), counter_visit('alone:b', 4);
BEGIN;
INSERT INTO counter_ext.blocked (actor, network) VALUES ('bot', NULL), (NULL, '10.0.0.0/8');
SELECT counter_visit('alone:a', 'bot'), counter_visit('alone:a', '10.1.2.3');
ROLLBACK;
SELECT counter_visited('alone:a', 1), counter_visited('alone:a', '10.1.2.3');
BEGIN;
SELECT counter_visit('alone:a', 5);
SAVEPOINT s;
SELECT counter_visit('alone:a', 6), counter_visit('alone:c', 6);
ROLLBACK TO s;
SELECT counter_visit('alone:a', 7);
COMMIT;
SELECT * FROM in_rows;
SELECT counter_visitors('alone:a'), counter_visitors('alone:b'), counter_visitors('alone:c');
SELECT preloaded, visits_written, visit_rows, sketches_in_memory, max_sketches, sketch_evictions FROM counter_stats;

-- Compaction says how many rows it united, slot rows among them, and belongs to the caller's transaction.
SELECT counter_incr('alone:a');
BEGIN;
SELECT counter_compact();
SELECT * FROM in_rows;
SELECT counter_visitors('alone:a'), counter_visitors('alone:b');
SELECT counter_visit('alone:a', 8), counter_compact(), counter_visitors('alone:a');
ROLLBACK;
SELECT visit_rows, slot_rows FROM counter_stats;
SELECT counter_compact();
SELECT * FROM in_rows;
SELECT counter_compact();
SELECT counter_visitors('alone:a'), counter_visitors('alone:b'), visit_rows FROM counter_stats;
-- Visits on top of it, and some of another day.
SELECT counter_visit('alone:a', 8), counter_visit('alone:b', 8), counter_visit('alone:b', 4);
INSERT INTO counter_ext.visit (id, day, slot, sketch) SELECT 'alone:b', '2026-01-01', 1, counter_hll_agg(i::text) FROM generate_series(1, 8) i;
SELECT * FROM in_rows WHERE id <> 'alone:c';
SELECT counter_compact();
SELECT * FROM in_rows;
SELECT counter_visitors('alone:a'), counter_visitors('alone:b'), counter_visitors('alone:b', "to" => '2026-01-01');

-- Past 1280 visitors, and values that are stored out of line.
SELECT count(*) FILTER (WHERE counter_visit('alone:crowd', i)) AS new FROM generate_series(1, 1280) i;
SELECT count(*) FILTER (WHERE counter_visit('alone:crowd', i)) AS new FROM generate_series(1, 1280) i;
SELECT counter_visitors('alone:crowd'), octet_length(sketch::bytea) AS bytes, pg_column_size(sketch) AS stored
    FROM counter_ext.visit WHERE id = 'alone:crowd';
SELECT counter_compact(), counter_visitors('alone:crowd');
SELECT counter_visit('alone:crowd', i) FROM generate_series(1280, 1282) i;
SELECT count(*) FILTER (WHERE counter_visit('alone:crowd', i)) AS new FROM generate_series(1, 1282) i;
SELECT counter_compact(), abs(counter_visitors('alone:crowd') / 1282.0 - 1) < 0.03 AS close, counter_compact() AS again;

-- counter_drop takes the rows of both tables.
SELECT counter_visit('alone:a', 9), counter_drop('alone:a'), counter_visitors('alone:a');
SELECT * FROM in_rows WHERE id = 'alone:a';
DROP VIEW in_rows;
TRUNCATE counter_ext.visitors, counter_ext.visit, counter_ext.total, counter_ext.slot;
