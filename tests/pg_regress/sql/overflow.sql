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
-- Who may count and not read declares series and boards of a counter past bigint as of any other: an error would tell him its total, try by try.
CREATE ROLE counter_ext_blind;
GRANT INSERT, UPDATE ON counter_ext.total TO counter_ext_blind;
GRANT INSERT ON counter_ext.tracked, counter_ext.board, counter_ext.board_window, counter_ext.audited TO counter_ext_blind;
SELECT counter_incr('blind:in', 1000), counter_incr('blind:past', 1000);
SET ROLE counter_ext_blind;
SELECT counter_incr('blind:in', 9223372036854774807), counter_incr('blind:past', 9223372036854774808);
SELECT counter_track('blind:in'), counter_track('blind:past');
SELECT counter_board('blind:in', 'day'), counter_board('blind:past', 'day'), counter_board('blind:in'), counter_board('blind:past');
SELECT counter_audit('blind:in', true), counter_audit('blind:past', true);
-- Nor do the rows that were folded say whose total could take them.
SELECT counter_incr('blind:in', -10), counter_incr('blind:past', 10);
SELECT counter_compact();
RESET ROLE;
SELECT id, value, overflowed FROM counters WHERE id LIKE 'blind:%' ORDER BY id;
-- A series has what its total gains, now or once it can.
SELECT counter_incr('blind:past', -5010);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('blind:past'), counter_total('blind:past'), counter_total('blind:in');
SELECT ok, log_sum, total FROM counter_audit_verify('blind:past');
SELECT count(counter_untrack(prefix)) FROM counter_ext.tracked WHERE prefix LIKE 'blind:%';
SELECT count(counter_unboard(prefix, by)) FROM unnest('{blind:in,blind:past}'::text[]) AS prefix, unnest('{day,NULL}'::text[]) AS by;
SELECT counter_audit('blind:in', false), counter_audit('blind:past', false);
SELECT count(counter_drop(id)) FROM counters WHERE id LIKE 'blind:%';
DROP OWNED BY counter_ext_blind;
DROP ROLE counter_ext_blind;
