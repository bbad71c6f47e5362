-- A counter past bigint is its own affair: it is shown as such, and the others beside it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT counter_incr('over:a', 1), counter_incr('over:past', 9223372036854775807), counter_incr('over:z', 3);
SELECT counter_incr('over:past', 1);
\set VERBOSITY terse
SELECT counter_get('over:past');
SELECT counter_get_exact('over:past');
SELECT * FROM counter_info('over:past');
\set VERBOSITY default
SELECT id, value, overflowed FROM counters WHERE id LIKE 'over:%' ORDER BY id;
SELECT * FROM counter_get_many(ARRAY['over:z', 'over:past', 'over:a']);
SELECT sum(value) FROM counter_get_many(ARRAY['over:z', 'over:a']);
SELECT id, value, overflowed FROM counter_hottest(1000) WHERE id LIKE 'over:%' ORDER BY id;
-- Folded as far as it goes; the worker goes on with the others.
SELECT counter_incr('over:a', 1);
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value, overflowed FROM counters WHERE id LIKE 'over:%' ORDER BY id;
-- On the other side too.
SELECT counter_set('over:past', -9223372036854775808);
SELECT counter_incr('over:past', -1);
SELECT id, value, overflowed FROM counters WHERE id = 'over:past';
-- A cache's counter: it is found, and mended.
CREATE TABLE over_rows (k int);
SELECT counter_cache('over_rows', 'over:rows:', 'k');
INSERT INTO over_rows VALUES (1), (2);
SELECT counter_incr('over:rows:1', 9223372036854775807);
SELECT * FROM counter_verify('over_rows', 'over:rows:', 'k');
SELECT * FROM counter_verify('over_rows', 'over:rows:', 'k', repair => true);
SELECT id, value, overflowed FROM counters WHERE id LIKE 'over:rows:%' ORDER BY id;
-- Back in range it is as any other.
SELECT counter_incr('over:past', 1);
SELECT id, value, overflowed FROM counters WHERE id = 'over:past';
DROP TABLE over_rows;
SELECT count(counter_drop(id)) FROM counters WHERE id LIKE 'over:%';
