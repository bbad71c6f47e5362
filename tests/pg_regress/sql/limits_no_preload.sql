-- Limits without shared_preload_libraries: block list and filtered counters are rows and work; what needs windows says so.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT counter_allow('a', 1, '1 hour');
SELECT counter_incr_from('alone:a', 'ann'), counter_incr_from('alone:a', 'ann', 2);
INSERT INTO counter_ext.blocked VALUES ('bot');
SELECT counter_incr_from('alone:a', 'bot'), counter_incr_from('alone:a', 'ann'), counter_get('alone:a'), counter_filtered('alone:a');
INSERT INTO counter_ext.policy VALUES ('alone:free', NULL, NULL, '0'), ('alone:rate', 1, '1 hour', NULL), ('alone:gap', NULL, NULL, '1 hour');
SELECT counter_incr_from('alone:a', 'ann'), counter_incr_from('alone:free', 'ann'), counter_incr_from('alone:rate', 'bot');
SELECT counter_incr_from('alone:rate', 'ann');
SELECT counter_incr_from('alone:gap', 'ann');
SELECT counter_get('alone:rate'), counter_filtered('alone:rate'), counter_get('alone:gap'), counter_filtered('alone:gap');
SELECT filtered, limits_in_use, max_limits, intervals_in_use, limits_refused FROM counter_stats;
SELECT count(*) FILTER (WHERE counter_drop(id)) AS dropped FROM unnest(ARRAY['alone:a', 'alone:free', 'alone:rate']) id;
SELECT count(*) FROM counter_ext.slot WHERE id LIKE '%alone:%';
TRUNCATE counter_ext.policy, counter_ext.blocked;
