-- Counters that expire: which are dropped, and which are not; how it is declared, shown and ended; beside caches, the audit log, likes and
-- visitors; in both modes, prepared, by whom.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE FUNCTION expiry_attempt(command text, OUT code text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;
-- As if it had been incremented so long ago.
CREATE PROCEDURE expiry_age(which text, age interval) LANGUAGE sql AS $$
    UPDATE counter_ext.total SET updated_at = now() - age WHERE id LIKE which;
$$;
CREATE VIEW expiry_seen AS SELECT prefix, idle, since <= now() AS since, dropped, last_dropped_at IS NOT NULL AS has_dropped FROM counter_expiries;

-- Declared, changed, ended.
SELECT counter_expire('exp:', '1 day'), counter_expire('exp:', '24 hours'), counter_expire('exp:', '24:00:00');
SELECT * FROM expiry_seen;
SELECT counter_expire('exp:', '1 day');
SELECT counter_unexpire('exp:'), counter_unexpire('exp:'), counter_unexpire('exp:none');
SELECT * FROM expiry_seen;
-- Months, and fields of either sign, whatever the style of intervals.
SET intervalstyle = 'sql_standard';
SELECT counter_expire('exp:a', '-1 month +40 days -1 microsecond'), counter_expire('exp:b', '1000 years');
RESET intervalstyle;
SELECT prefix, idle FROM counter_expiries ORDER BY prefix;
SELECT counter_unexpire('exp:a'), counter_unexpire('exp:b');
SELECT e.* FROM (VALUES
    ($$SELECT counter_expire('', '1 day')$$), ($$SELECT counter_expire(NULL, '1 day')$$), ($$SELECT counter_expire('exp:', NULL)$$),
    ($$SELECT counter_expire(repeat('x', 256), '1 day')$$), ($$SELECT counter_expire(chr(1) || 'x', '1 day')$$),
    ($$SELECT counter_expire('exp:', '0')$$), ($$SELECT counter_expire('exp:', '-1 second')$$), ($$SELECT counter_expire('exp:', '1 month -30 days')$$),
    ($$SELECT counter_expire('exp:', '1000 years 1 microsecond')$$), ($$SELECT counter_expire('exp:', '178000000 years')$$),
    ($$SELECT counter_unexpire('')$$), ($$SELECT counter_unexpire(NULL)$$), ($$SELECT counter_unexpire(repeat('x', 256))$$)) AS v (command),
    expiry_attempt(command) AS e;
BEGIN READ ONLY;
SELECT counter_expire('exp:', '1 day');
ROLLBACK;
BEGIN READ ONLY;
SELECT counter_unexpire('exp:');
ROLLBACK;
-- By hand, within bounds.
\set VERBOSITY terse
INSERT INTO counter_ext.expiry (prefix, idle) VALUES ('', '1 day');
INSERT INTO counter_ext.expiry (prefix, idle) VALUES ('exp:', '0');
\set VERBOSITY default
-- Unknown types.
PREPARE expire_any AS SELECT counter_expire($1, $2);
EXECUTE expire_any('exp:', '2 days');
SELECT counter_unexpire('exp:');

-- What is idle goes, and nothing else: neither what is younger, nor what has another prefix, nor what begins with the prefix's beginning.
SELECT counter_set_many('{exp:,exp:1,exp:2,exp:3,exp,exq:1,EXP:1,exp:ä}', '{1,2,-3,0,5,6,7,8}');
SELECT counter_compact() >= 0 AS compacted;
CALL expiry_age('ex%', '25 hours');
CALL expiry_age('EXP:1', '25 hours');
SELECT counter_incr('exp:2', 10);
SELECT counter_expire('exp:', '1 day');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counters WHERE id ILIKE 'ex%' ORDER BY id;
SELECT counter_get('exp:1'), counter_get_exact('exp:1'), counter_get('exp:2'), (SELECT count(*) FROM counter_info('exp:1')) AS exists;
SELECT * FROM expiry_seen;
-- It counts from nothing again.
SELECT counter_incr('exp:1', 3);
SELECT counter_get('exp:1'), counter_get_exact('exp:1');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT counter_drop_many('{exp,exq:1,EXP:1}');

-- The longest prefix holds, whichever is longer in time.
SELECT counter_expire('exp:long:', '7 days'), counter_expire('exp:short:', '1 hour');
SELECT counter_set_many('{exp:long:1,exp:long:2,exp:short:1,exp:other:1,exp:longer}', '{1,1,1,1,1}');
CALL expiry_age('exp:long%', '2 days');
CALL expiry_age('exp:long:2', '8 days');
CALL expiry_age('exp:short:%', '2 hours');
CALL expiry_age('exp:other:%', '2 hours');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT prefix, dropped FROM counter_expiries ORDER BY prefix;
-- Ended: what is idle stays.
SELECT counter_unexpire('exp:short:'), counter_unexpire('exp:long:');
SELECT counter_expire('exp:', '30 days');
CALL expiry_age('exp:%', '29 days');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');

-- What goes with a counter: visitors, what was filtered, its rows in whatever form. Likes are rows, and stay.
SELECT counter_unexpire('exp:') AS ended;
SELECT counter_drop_prefix('exp:') > 0 AS dropped;
INSERT INTO counter_ext.policy VALUES ('exp:', 0, '1 day');
SELECT counter_incr_from('exp:v', 'bot');
DELETE FROM counter_ext.policy;
SELECT counter_incr('exp:v', 4), counter_visit('exp:v', 'anna'), counter_visit('exp:w', 'anna'), counter_like('exp:v', 'anna');
SELECT counter_filtered('exp:v'), counter_visitors('exp:v'), counter_likes('exp:v');
SELECT counter_compact() >= 0 AS compacted;
CALL expiry_age('exp:v', '2 days');
SELECT counter_expire('exp:', '1 day');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('exp:v'), counter_filtered('exp:v'), counter_visitors('exp:v'), counter_likes('exp:v'), counter_liked('exp:v', 'anna');
-- Buckets of series, and places on boards.
SELECT counter_track('exp:t:', '{minute,day}', '{2 days,90 days}'), counter_board('exp:t:') AS is_board;
SELECT counter_set_many('{exp:t:1,exp:t:2}', '{5,6}'), counter_compact() >= 0 AS compacted;
SELECT counter_compact() >= 0 AS compacted;
CALL expiry_age('exp:t:1', '2 days');
SELECT counter_compact() >= 0 AND counter_compact() >= 0 AS compacted;
SELECT sum(value) FROM counter_series('exp:t:1', now() - interval '1 hour', now(), 'minute');
SELECT sum(value) FROM counter_series('exp:t:2', now() - interval '1 hour', now(), 'minute');
SELECT * FROM counter_board_top('exp:t:', 5);
SELECT counter_untrack('exp:t:') IS NOT NULL AS ended, counter_unboard('exp:t:') AS unboarded, counter_drop('exp:t:2');
-- Visitors of an id that is no counter are nobody's increments.
SELECT counter_visitors('exp:w');
SELECT counter_drop('exp:w'), counter_unlike('exp:v', 'anna');

-- Nobody has incremented it: not who reads, nor who resets what is 0; but who sets or resets has changed it.
SELECT counter_set_many('{exp:read,exp:reset,exp:zero}', '{1,1,0}');
SELECT counter_compact() >= 0 AS compacted;
CALL expiry_age('exp:%', '2 days');
SELECT counter_get('exp:read'), counter_reset('exp:reset'), counter_reset('exp:zero');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT counter_drop_prefix('exp:');

-- What is not folded yet counts as what it is: new. In both modes, and in a transaction that has counted and asks for a pass itself.
SET counter_ext.mode = buffered;
SELECT counter_incr('exp:buffered');
SELECT counter_compact() >= 0 AS compacted;
BEGIN;
CALL expiry_age('exp:%', '2 days');
SELECT counter_incr('exp:buffered', 5);
COMMIT;
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
RESET counter_ext.mode;
CALL expiry_age('exp:%', '2 days');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT counter_get('exp:buffered');

-- updated_at is the last increment's time, right at once.
SELECT counter_incr('exp:at');
CALL expiry_age('exp:at', '2 hours');
SELECT updated_at < now() - interval '1 hour' AS old FROM counter_info('exp:at');
SELECT counter_incr('exp:at');
SELECT now() - updated_at < interval '1 minute' AS fresh FROM counter_info('exp:at');
SELECT now() - updated_at < interval '1 minute' AS fresh FROM counters WHERE id = 'exp:at';
SET counter_ext.mode = buffered;
SELECT counter_compact() >= 0 AS compacted;
CALL expiry_age('exp:at', '2 hours');
SELECT counter_incr('exp:at');
SELECT now() - updated_at < interval '1 minute' AS fresh FROM counter_info('exp:at');
RESET counter_ext.mode;

-- A prepared transaction's rows are nobody's to drop.
SELECT counter_compact() >= 0 AS compacted;
BEGIN;
SELECT counter_incr('exp:at', 100);
PREPARE TRANSACTION 'expiry';
CALL expiry_age('exp:at', '2 days');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
COMMIT PREPARED 'expiry';
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
-- Declarations commit and roll back with their transactions, prepared ones too.
BEGIN;
SELECT counter_expire('exp:p', '1 hour');
SAVEPOINT one;
SELECT counter_unexpire('exp:p');
ROLLBACK TO one;
PREPARE TRANSACTION 'expiry';
SELECT prefix FROM counter_expiries ORDER BY prefix;
COMMIT PREPARED 'expiry';
SELECT prefix FROM counter_expiries ORDER BY prefix;
SELECT counter_unexpire('exp:p');
SELECT counter_drop('exp:at');

-- An audited counter's end is logged.
SELECT counter_audit('exp:', true);
SELECT counter_incr('exp:audited', 5);
CALL expiry_age('exp:audited', '2 days');
SELECT counter_compact() >= 0 AND counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT delta, operation FROM counter_ext.audit_log WHERE id = 'exp:audited' ORDER BY seq;
SELECT ok, log_sum, total, problem FROM counter_audit_verify('exp:audited');
SELECT counter_audit('exp:', false);

-- Counters of a cache are its rows', whichever comes first.
CREATE TABLE expiry_comment (post text);
SELECT counter_cache('expiry_comment', 'exp:comment:', 'post');
SELECT counter_cache('expiry_comment', 'ex', 'post');
SELECT counter_cache('expiry_comment', 'exp:', 'post');
SELECT counter_cache('expiry_comment', '', 'post');
SELECT counter_cache('expiry_comment', 'ex-comment:', 'post');
SELECT counter_expire('ex-comment:', '1 day');
SELECT counter_expire('ex', '1 day');
SELECT counter_expire('ex-comment:1', '1 day');
INSERT INTO expiry_comment VALUES ('1'), ('1'), ('2');
CALL expiry_age('ex-comment:%', '2 days');
-- Also where somebody has put it there by hand.
INSERT INTO counter_ext.expiry (prefix, idle) VALUES ('ex-', '1 day'), ('ex-comment:', '1 day');
SELECT counter_incr('ex-other');
CALL expiry_age('ex-%', '2 days');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('ex-');
DELETE FROM counter_ext.expiry WHERE prefix LIKE 'ex-%';
SELECT counter_uncache('expiry_comment', 'ex-comment:');
SELECT counter_expire('ex-comment:', '1 day'), counter_unexpire('ex-comment:');
DROP TABLE expiry_comment;

-- Of several nodes' rows each node drops its own, when nobody has counted on any.
INSERT INTO counter_ext.total (id, node, value) VALUES ('exp:node', 7, 100);
SELECT counter_incr('exp:node', 5);
SELECT counter_compact() >= 0 AS compacted;
UPDATE counter_ext.total SET updated_at = now() - interval '2 days' WHERE id = 'exp:node' AND node = 0;
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('exp:node'), counter_get_exact('exp:node');
CALL expiry_age('exp:node', '2 days');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('exp:node'), counter_get_exact('exp:node');
SELECT node, value FROM counter_ext.total WHERE id = 'exp:node';
DELETE FROM counter_ext.total WHERE id = 'exp:node';

-- Forgetting all counters leaves what is declared; a renamed counter is as new.
SELECT counter_incr('exp:old');
CALL expiry_age('exp:old', '2 days');
SELECT counter_rename('exp:old', 'exp:new');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list('exp:');
SELECT counter_drop('exp:new');

-- Rights.
CREATE ROLE expiry_reader;
CREATE ROLE expiry_dropper;
GRANT USAGE ON SCHEMA counter_ext TO expiry_reader, expiry_dropper;
GRANT SELECT ON counter_ext.total, counter_ext.expiry TO expiry_reader;
GRANT SELECT, DELETE ON counter_ext.total TO expiry_dropper;
GRANT DELETE ON counter_ext.visitors TO expiry_dropper;
GRANT INSERT ON counter_ext.expiry TO expiry_dropper;
SET ROLE expiry_reader;
SELECT e.* FROM (VALUES ($$SELECT counter_expire('exp:', '1 day')$$), ($$SELECT counter_unexpire('exp:')$$)) AS v (command), expiry_attempt(command) AS e;
SELECT prefix FROM counter_expiries;
SET ROLE expiry_dropper;
SELECT e.* FROM (VALUES ($$SELECT counter_expire('exp:', '1 day')$$), ($$SELECT counter_unexpire('exp:')$$), ($$SELECT * FROM counter_expiries$$)) AS v (command),
    expiry_attempt(command) AS e;
RESET ROLE;
GRANT UPDATE ON counter_ext.expiry TO expiry_dropper;
REVOKE DELETE ON counter_ext.total FROM expiry_dropper;
SET ROLE expiry_dropper;
SELECT e.* FROM expiry_attempt($$SELECT counter_expire('exp:', '1 day')$$) AS e;
RESET ROLE;
GRANT DELETE ON counter_ext.total TO expiry_dropper;
-- Visitors go with their counters, as they do with counter_drop.
REVOKE DELETE ON counter_ext.visitors FROM expiry_dropper;
SET ROLE expiry_dropper;
SELECT e.* FROM expiry_attempt($$SELECT counter_expire('exp:', '1 day')$$) AS e;
RESET ROLE;
SELECT prefix, idle FROM counter_expiries;
GRANT DELETE ON counter_ext.visitors TO expiry_dropper;
SET ROLE expiry_dropper;
SELECT counter_expire('exp:', '3 days');
RESET ROLE;
SELECT prefix, idle FROM counter_expiries;
SELECT counter_unexpire('exp:');
REVOKE ALL ON ALL TABLES IN SCHEMA counter_ext FROM expiry_reader, expiry_dropper;
REVOKE ALL ON SCHEMA counter_ext FROM expiry_reader, expiry_dropper;
DROP ROLE expiry_reader, expiry_dropper;

-- Nobody's search_path says what is dropped.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.gt(interval, interval) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = textne);
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE TABLE hostile.expiry (prefix text PRIMARY KEY, idle interval);
SET search_path = hostile, pg_catalog, public, counter_ext;
SELECT counter_expire('exp:', '3 days'), counter_expire('exp:', '4 days'), counter_unexpire('exp:');
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
RESET client_min_messages;

DROP VIEW expiry_seen;
DROP PROCEDURE expiry_age(text, interval);
DROP FUNCTION expiry_attempt(text);
