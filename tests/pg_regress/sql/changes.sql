-- counter_reset, counter_set, counter_drop.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- Reset takes the whole amount away and says how much it was.
SELECT counter_incr('changes:a', 42);
SELECT counter_reset('changes:a');
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_reset('changes:a');
SELECT counter_incr('changes:a', -5);
SELECT counter_reset('changes:a'), counter_get('changes:a');
SELECT counter_incr('changes:a', 3);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_incr('changes:a', 4);
SELECT counter_reset('changes:a');
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
-- The counter still exists; one that did not exist does not come to be.
SELECT value FROM counter_info('changes:a');
SELECT counter_reset('changes:unknown');
SELECT count(*) FROM counter_info('changes:unknown');
SELECT counter_reset(NULL::text), counter_reset(NULL::bigint);
-- Within a transaction, with increments of its own.
BEGIN;
SELECT counter_incr('changes:a', 10);
SELECT counter_reset('changes:a'), counter_reset('changes:a');
SELECT counter_incr('changes:a', 2);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
COMMIT;
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
BEGIN;
SELECT counter_reset('changes:a');
ROLLBACK;
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
-- All counters of a kind.
SELECT counter_incr('changes:kind:' || i, i) FROM generate_series(1, 4) i;
SELECT sum(counter_reset(id)) FROM counters WHERE id LIKE 'changes:kind:%';
SELECT sum(value), count(*) FROM counters WHERE id LIKE 'changes:kind:%';

-- Set makes it what was asked for.
SELECT counter_set('changes:a', 100);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_set('changes:a', 100);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_incr('changes:a');
SELECT counter_set(id => 'changes:a', value => -7);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_set('changes:a', 0);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_set('changes:new', 0), counter_set('changes:new2', 5);
SELECT id, value FROM counters WHERE id LIKE 'changes:new%' ORDER BY id;
SELECT counter_set('changes:a', NULL) IS NULL AS nothing, counter_set(NULL::text, 1) IS NULL AS nothing;
BEGIN;
SELECT counter_incr('changes:a', 10);
SELECT counter_set('changes:a', 3);
SELECT counter_incr('changes:a', 10);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
ROLLBACK;
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
-- From one end of bigint to the other and back, in one transaction and in several.
SELECT counter_set('changes:wide', 9223372036854775807);
SELECT counter_set('changes:wide', -9223372036854775808);
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
SELECT counter_reset('changes:wide');
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
BEGIN;
SELECT counter_set('changes:wide', -9223372036854775808);
SELECT counter_set('changes:wide', 9223372036854775807);
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
SAVEPOINT s;
SELECT counter_set('changes:wide', -9223372036854775807);
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
ROLLBACK TO s;
SELECT counter_incr('changes:wide', -7);
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
COMMIT;
SELECT counter_get('changes:wide'), counter_get_exact('changes:wide');
-- What is asked for fits, so it can be had, whatever the transaction's own increments add up to.
SELECT counter_set('changes:fits', -9223372036854775807);
BEGIN;
SELECT counter_incr('changes:fits', 9223372036854775807);
SELECT counter_get('changes:fits'), counter_get_exact('changes:fits');
SELECT counter_set('changes:fits', 5);
SELECT counter_get('changes:fits'), counter_get_exact('changes:fits');
SELECT counter_reset('changes:fits');
COMMIT;
SELECT counter_get('changes:fits'), counter_get_exact('changes:fits');

-- Drop makes it not exist, and says whether it did.
SELECT counter_drop('changes:a');
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT count(*) FROM counter_info('changes:a');
SELECT count(*) FROM counters WHERE id = 'changes:a';
SELECT counter_drop('changes:a');
SELECT counter_drop('changes:unknown'), counter_drop(NULL::text);
SELECT counter_incr('changes:a', 6);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_incr('changes:a', 1);
SELECT counter_drop('changes:a'), counter_get('changes:a');
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
BEGIN;
SELECT counter_incr('changes:a', 9);
SELECT counter_drop('changes:a'), counter_drop('changes:a');
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
COMMIT;
SELECT count(*) FROM counter_info('changes:a');
SELECT counter_set('changes:a', 11);
BEGIN;
SELECT counter_drop('changes:a');
SELECT counter_incr('changes:a', 5);
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
ROLLBACK;
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
BEGIN;
SELECT counter_drop('changes:a');
SELECT counter_set('changes:a', 5);
COMMIT;
SELECT counter_get('changes:a'), counter_get_exact('changes:a');
SELECT count(counter_drop(id)) FROM counters WHERE id LIKE 'changes:kind:%';
SELECT count(*) FROM counters WHERE id LIKE 'changes:kind:%';

-- Integers are ids here too.
SELECT counter_set(8100081, 5);
SELECT counter_reset(8100081), counter_get('8100081');
SELECT counter_drop(8100081), counter_drop(8100081);

-- Amounts of other nodes are part of the total: reset and set reckon with them, their rows are not touched.
INSERT INTO counter_ext.total (id, node, value) VALUES ('changes:nodes', 5, 100), ('changes:nodes', 7, 10);
SELECT counter_incr('changes:nodes', 1);
SELECT counter_get('changes:nodes'), counter_get_exact('changes:nodes');
SELECT counter_reset('changes:nodes');
SELECT counter_get('changes:nodes'), counter_get_exact('changes:nodes');
SELECT counter_set('changes:nodes', 50);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('changes:nodes'), counter_get_exact('changes:nodes');
SELECT node, value FROM counter_ext.total WHERE id = 'changes:nodes' AND node > 0 ORDER BY node;
SELECT counter_drop('changes:nodes');
SELECT counter_get('changes:nodes'), counter_get_exact('changes:nodes');
SELECT node, value FROM counter_ext.total WHERE id = 'changes:nodes' AND node > 0 ORDER BY node;

-- Where no other node counts, everywhere is here. What makes a node says what it needs.
SELECT counter_incr('changes:everywhere', 5);
SELECT counter_set('changes:everywhere', 7, everywhere => true);
SELECT counter_set('changes:everywhere'::counter, 8, false), counter_set(4711::bigint, 9, true), counter_set('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 10, true);
SELECT counter_reset('changes:everywhere', everywhere => true), counter_reset(4711::bigint, true),
    counter_reset('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, false), counter_reset('changes:everywhere'::counter, true);
SELECT counter_drop_many('{changes:everywhere,4711,a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}');
\set SHOW_CONTEXT never
CALL counter_node_setup(0);
CALL counter_node_setup(NULL);
CALL counter_node_setup(1, NULL);
CALL counter_node_setup(1);
SELECT counter_node_harvester(NULL);
SELECT counter_node_harvester(1);
CALL counter_node_leave();
\set SHOW_CONTEXT errors
