-- Expiry in a server without a worker: counter_compact() drops what is idle, in its caller's transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT counter_expire('exq:', '1 day');
SELECT counter_set_many('{exq:1,exq:2,exq:3,exr:1}', '{1,2,3,4}');
SELECT counter_compact() >= 0 AS compacted;
UPDATE counter_ext.total SET updated_at = now() - interval '2 days' WHERE id IN ('exq:1', 'exq:3', 'exr:1');
BEGIN;
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('ex');
ROLLBACK;
SELECT id, value FROM counter_list('ex');
-- What this transaction has counted is not idle; what it brings back after the drop counts from nothing.
BEGIN;
SELECT counter_incr('exq:1', 10);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_incr('exq:3', 5);
COMMIT;
SELECT id, value FROM counter_list('ex');
SELECT prefix, dropped FROM counter_expiries;
-- More than the lock table has room for, at once.
SELECT counter_incr_many(array_agg('exq:' || n)) FROM generate_series(1000, 6999) AS n;
SELECT counter_compact() >= 0 AS compacted;
UPDATE counter_ext.total SET updated_at = now() - interval '2 days' WHERE id LIKE 'exq:%' AND id <> 'exq:2';
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('ex');
SELECT prefix, dropped FROM counter_expiries;
SELECT counter_unexpire('exq:'), counter_drop_many('{exq:2,exr:1}');
