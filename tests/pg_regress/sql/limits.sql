-- counter_allow: no more than so many in any window. counter_incr_from: what a policy does not allow is counted as filtered.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- Three an hour; another key and another length are other limits, the same length written otherwise is not.
SELECT counter_allow('allow:a', 3, '1 hour') FROM generate_series(1, 5);
SELECT counter_allow('allow:b', 3, '1 hour'), counter_allow('allow:a', 3, '2 hours'), counter_allow('allow:a', 3, '60 minutes');
-- Costs; what does not fit takes nothing.
SELECT counter_allow('allow:cost', 10, '1 hour', 4), counter_allow('allow:cost', 10, '1 hour', 7),
    counter_allow('allow:cost', 10, '1 hour', 6), counter_allow('allow:cost', 10, '1 hour', cost => 1);
SELECT counter_allow('allow:cost2', 10, '1 hour', 11), counter_allow('allow:cost2', 10, '1 hour', 10);
SELECT counter_allow('allow:huge', 2147483647, '1 hour', 2147483647), counter_allow('allow:huge', 2147483647, '1 hour');
-- Cost 0 asks whether 1 would be allowed, and takes nothing.
SELECT counter_allow('allow:ask', 1, '1 hour', 0), counter_allow('allow:ask', 1, '1 hour', 0), counter_allow('allow:ask', 1, '1 hour');
SELECT counter_allow('allow:ask', 1, '1 hour', 0), counter_allow('allow:ask', 2, '1 hour', 0), counter_allow('allow:none', 0, '1 hour', 0);
-- The maximum may change; 0 lets nothing through.
SELECT counter_allow('allow:max', 2, '1 hour', 2), counter_allow('allow:max', 5, '1 hour', 3), counter_allow('allow:max', 1, '1 hour'),
    counter_allow('allow:max', 0, '1 hour'), counter_allow('allow:max', 6, '1 hour');
-- Lengths of all sorts.
SELECT per, counter_allow('allow:per', 1, per::interval), counter_allow('allow:per', 1, per::interval)
    FROM unnest(ARRAY['1 day', '1 month', '1 month -29 days', '31 days']) per;
SELECT counter_allow('allow:month', 1, '1 month'), counter_allow('allow:month', 1, '30 days'), counter_allow('allow:month', 1, '720 hours');
-- No longer than counter_ext.max_limit_period, which no user can change: a limit takes what all databases share.
SELECT counter_allow('allow:long', 1, '31 days 0.000001 s');
SELECT counter_allow('allow:long', 1, '60000 years');
SET counter_ext.max_limit_period = '1000 years';
INSERT INTO counter_ext.policy VALUES ('long:', 1, '1 year', NULL), ('long:gap', NULL, NULL, '1 year');
SELECT counter_incr_from('long:a', 'ann');
SELECT counter_incr_from('long:gap', 'ann');
SELECT counter_incr_from('short:a', 'ann'), counter_get('long:a'), counter_get('short:a'), counter_drop('short:a');
DELETE FROM counter_ext.policy;
-- Time passes.
SELECT counter_allow('allow:short', 2, '1 s', 2), counter_allow('allow:short', 2, '1 s'), pg_sleep(1.1);
SELECT counter_allow('allow:short', 2, '1 s', 2), counter_allow('allow:short', 2, '1 s');
SELECT count(*) FILTER (WHERE counter_allow('allow:many', 1000, '1 hour')) FROM generate_series(1, 3000);
SELECT counter_allow(repeat('k', 255), 1, '1 hour'), counter_allow(repeat('k', 255), 1, '1 hour'), counter_allow('ключ', 1, '1 hour');
-- Nothing is given back by a rollback, nothing is written, at any isolation level, also where nothing may be.
BEGIN;
SELECT counter_allow('allow:rolled', 2, '1 hour');
SAVEPOINT s;
SELECT counter_allow('allow:rolled', 2, '1 hour');
ROLLBACK TO s;
SELECT counter_allow('allow:rolled', 2, '1 hour'), pg_current_xact_id_if_assigned();
ROLLBACK;
SELECT counter_allow('allow:rolled', 2, '1 hour');
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT counter_allow('allow:ro', 1, '1 hour'), counter_allow('allow:ro', 1, '1 hour'), pg_current_xact_id_if_assigned();
COMMIT;
PREPARE allow AS SELECT counter_allow($1, $2, $3);
EXECUTE allow('allow:prepared', 1, '1 hour');
EXECUTE allow('allow:prepared', 1, '1 hour');
DEALLOCATE allow;
-- Errors. NULL is one: NOT NULL would let everybody through.
SELECT counter_allow(NULL, 1, '1 hour');
SELECT counter_allow('allow:e', NULL, '1 hour');
SELECT counter_allow('allow:e', 1, NULL);
SELECT counter_allow('allow:e', 1, '1 hour', NULL);
SELECT counter_allow('', 1, '1 hour');
SELECT counter_allow(repeat('k', 256), 1, '1 hour');
SELECT counter_allow('allow:e', -1, '1 hour');
SELECT counter_allow('allow:e', 1, '1 hour', -2147483648);
SELECT counter_allow('allow:e', 1, '0');
SELECT counter_allow('allow:e', 1, '-1 second');
SELECT counter_allow('allow:e', 1, '-1 year 361 days');
SELECT counter_allow('allow:e', 1, '178000000 years');
SELECT counter_allow('allow:e', 1, '1 hour');

-- Without a policy everything counts.
SELECT counter_incr_from('from:a', 'ann'), counter_incr_from('from:a', 'ann', 41), counter_incr_from(790505, 'ann'),
    counter_get('from:a'), counter_filtered('from:a'), counter_filtered(790505), counter_filtered('from:unknown');
-- A rate, of an actor over all ids of the prefix; calls count, not deltas.
INSERT INTO counter_ext.policy VALUES ('from:', 3, '1 hour', NULL);
SELECT counter_incr_from('from:a', 'bob', 10) FROM generate_series(1, 2);
SELECT counter_incr_from('from:b', 'bob') FROM generate_series(1, 3);
SELECT counter_incr_from('from:a', 'cid'), counter_incr_from('fro', 'bob');
SELECT counter_get('from:a'), counter_get('from:b'), counter_filtered('from:a'), counter_filtered('from:b');
-- The longest prefix holds; a policy without limits is an exception.
INSERT INTO counter_ext.policy VALUES ('', 0, '1 s', NULL), ('from:free', NULL, NULL, NULL), ('from:gap', NULL, NULL, '1 hour');
SELECT counter_incr_from('other:a', 'dan'), counter_incr_from('from:free:a', 'bob'), counter_incr_from('from:free:a', 'bob'),
    counter_incr_from('from:gap:a', 'bob'), counter_incr_from('from:gap:a', 'bob'), counter_incr_from('from:gap:b', 'bob'),
    counter_incr_from('from:gap:a', 'eve'), counter_incr_from('from:gap:a', 'bob', -5);
SELECT counter_get('from:gap:a'), counter_filtered('from:gap:a'), counter_filtered('other:a');
-- A change holds from the next command on, and is undone with its transaction or savepoint.
BEGIN;
SELECT counter_incr_from('other:a', 'dan');
DELETE FROM counter_ext.policy WHERE prefix = '';
SELECT counter_incr_from('other:a', 'dan');
SAVEPOINT s;
INSERT INTO counter_ext.policy VALUES ('other:', 0, '1 s', NULL);
SELECT counter_incr_from('other:a', 'dan');
ROLLBACK TO s;
SELECT counter_incr_from('other:a', 'dan');
ROLLBACK;
SELECT counter_incr_from('other:a', 'dan'), counter_get('other:a'), counter_filtered('other:a');
UPDATE counter_ext.policy SET prefix = 'otherwise:' WHERE prefix = '';
SELECT counter_incr_from('other:a', 'dan'), counter_incr_from('otherwise:a', 'dan');
TRUNCATE counter_ext.policy;
SELECT counter_incr_from('otherwise:a', 'dan');
-- Both limits: one that is over its rate does not begin an interval, and one within its interval takes nothing of the rate.
INSERT INTO counter_ext.policy VALUES ('from:both', 2, '1 s', '1 hour');
SELECT counter_incr_from('from:both:a', 'fay'), counter_incr_from('from:both:a', 'fay'), counter_incr_from('from:both:b', 'fay'),
    counter_incr_from('from:both:c', 'fay'), pg_sleep(1.1);
SELECT counter_incr_from('from:both:c', 'fay'), counter_incr_from('from:both:a', 'fay');
-- Filtered views belong to the transaction, as counted ones do.
BEGIN;
SELECT counter_incr_from('from:both:a', 'fay', 100), counter_filtered('from:both:a');
ROLLBACK;
SELECT counter_filtered('from:both:a');
SET counter_ext.mode = 'buffered';
SELECT counter_incr_from('from:both:a', 'fay', 100), counter_filtered('from:both:a');
SELECT counter_filtered('from:both:a');
RESET counter_ext.mode;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_incr_from('from:both:a', 'fay'), counter_incr_from('from:both:a', 'gus');
COMMIT;
SELECT counter_get('from:both:a'), counter_filtered('from:both:a');
BEGIN;
SELECT counter_incr_from('from:both:a', 'fay', 1000);
PREPARE TRANSACTION 'limits';
COMMIT PREPARED 'limits';
SELECT counter_filtered('from:both:a');
-- The block list: for good, until a time, and no longer.
INSERT INTO counter_ext.blocked VALUES ('bot', 'scrapes', NULL), ('late', NULL, now() + interval '1 hour'), ('past', NULL, now() - interval '1 hour'),
    ('never', NULL, '-infinity'), ('ever', repeat('long reason ', 10000), 'infinity'), (repeat('b', 255), repeat(md5('x'), 5000), NULL);
SELECT actor, counter_incr_from('block:a', actor), counter_incr_from('block:a', actor)
    FROM unnest(ARRAY['bot', 'late', 'past', 'never', 'ever', repeat('b', 255), 'bo', 'bott', 'human']) WITH ORDINALITY AS actors(actor, n) ORDER BY n;
SELECT counter_get('block:a'), counter_filtered('block:a');
DELETE FROM counter_ext.blocked WHERE actor = 'bot';
UPDATE counter_ext.blocked SET until = now() + interval '1 s' WHERE actor = 'late';
SELECT counter_incr_from('block:a', 'bot'), counter_incr_from('block:a', 'late'), pg_sleep(1.1);
SELECT counter_incr_from('block:a', 'late');
TRUNCATE counter_ext.blocked;
SELECT counter_incr_from('block:a', repeat('b', 255));
-- What was filtered is in no listing, and goes with its counter. A reset leaves it.
SELECT id, value FROM counters WHERE id LIKE 'block%' OR id < ' ';
SELECT counter_reset('block:a'), counter_filtered('block:a');
SELECT counter_drop('block:a'), counter_filtered('block:a'), counter_get('block:a'), counter_drop('block:a');
SELECT count(*) FROM counter_ext.total WHERE id LIKE '%block:a';
SELECT filtered > 0 AS filtered, limits_in_use > 0 AS limits, max_limits > 0 AS max, intervals_in_use > 0 AS intervals, limits_refused FROM counter_stats;
-- Errors: nothing counts.
SELECT counter_incr_from(NULL, 'x');
SELECT counter_incr_from('from:e', 'x', NULL);
SELECT counter_incr_from('from:e', '');
SELECT counter_incr_from('from:e', repeat('x', 256));
SELECT counter_incr_from('', 'x');
SELECT counter_incr_from(repeat('i', 255), 'x');
SELECT counter_incr_from(repeat('i', 254), 'x'), counter_filtered(repeat('i', 254)), counter_filtered(NULL::counter);
SELECT counter_filtered(repeat('i', 255));
SELECT counter_incr_from('from:e', 'x', 9223372036854775807), counter_incr_from('from:e', 'x', 1);
BEGIN READ ONLY;
SELECT counter_incr_from('from:e', 'x');
ROLLBACK;
SELECT counter_get('from:e'), counter_filtered('from:e');
INSERT INTO counter_ext.policy VALUES ('bad', 1, NULL, NULL);
INSERT INTO counter_ext.policy VALUES ('bad', -1, '1 s', NULL);
INSERT INTO counter_ext.policy VALUES ('bad', 1, '0', NULL);
INSERT INTO counter_ext.policy VALUES ('bad', 1, '2000 years', NULL);
INSERT INTO counter_ext.policy VALUES ('bad', NULL, NULL, '-1 s');
INSERT INTO counter_ext.blocked VALUES ('');

-- Who may count is held to policies that he may not read; counter_allow is for whom it was granted to.
CREATE ROLE regress_limited;
GRANT INSERT, UPDATE ON counter_ext.total TO regress_limited;
INSERT INTO counter_ext.policy VALUES ('role:', 1, '1 hour', NULL);
SET ROLE regress_limited;
SELECT counter_incr_from('role:a', 'x'), counter_incr_from('role:a', 'x');
SELECT counter_allow('allow:role', 1, '1 hour');
SELECT counter_filtered('role:a');
SELECT * FROM counter_ext.policy;
INSERT INTO counter_ext.blocked VALUES ('boss');
SELECT * FROM counter_ext.limit_statistics();
RESET ROLE;
REVOKE INSERT ON counter_ext.total FROM regress_limited;
GRANT EXECUTE ON FUNCTION counter_allow(text, bigint, interval, bigint) TO regress_limited;
SET ROLE regress_limited;
SELECT counter_incr_from('role:a', 'x');
SELECT counter_allow('allow:role', 1, '1 hour');
RESET ROLE;
SELECT counter_get('role:a'), counter_filtered('role:a');
DROP OWNED BY regress_limited;
DROP ROLE regress_limited;

DELETE FROM counter_ext.policy;
SELECT count(*) FROM (SELECT counter_drop(id) FROM unnest(ARRAY['from:a', 'from:b', 'from:free:a', 'from:gap:a', 'from:gap:b', 'from:both:a', 'from:both:b',
    'from:both:c', 'fro', 'other:a', 'otherwise:a', 'role:a', '790505', repeat('i', 254)]) id) dropped;
SELECT id FROM counters WHERE id LIKE 'from%' OR id LIKE 'other%' OR id LIKE 'role%';
