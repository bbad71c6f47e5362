-- Counters get other ids: renamed, merged, with what was filtered, visitors and likes. And everything is forgotten.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
CREATE FUNCTION moving_attempt(command text, OUT code text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END $$;

-- Renamed: the total, one's own increments too.
SELECT counter_set('move:a', 10);
BEGIN;
SELECT counter_incr('move:a', 5);
SELECT counter_rename('move:a', 'move:b');
SELECT id, value FROM counter_list('move:');
SELECT counter_get('move:a'), counter_get('move:b'), counter_get_exact('move:b');
ROLLBACK;
SELECT id, value FROM counter_list('move:');
SELECT counter_rename('move:a', 'move:b'), counter_rename('move:a', 'move:c');
SELECT id, value FROM counter_list('move:');
BEGIN;
SAVEPOINT one;
SELECT counter_rename('move:b', 'move:c');
SELECT counter_incr('move:b', 3);
SELECT id, value FROM counter_list('move:');
ROLLBACK TO one;
SELECT id, value FROM counter_list('move:');
SELECT counter_rename('move:b', 'move:c');
SELECT counter_rename('move:c', 'move:b');
COMMIT;
SELECT id, value FROM counter_list('move:');
-- At nothing it is there all the same.
SELECT counter_set('move:b', 0);
SELECT counter_rename('move:b', 'move:zero');
SELECT id, value FROM counter_list('move:');
SELECT counter_drop_prefix('move:');

-- Merged.
SELECT counter_set_many('{move:a,move:b}', '{10,20}');
SELECT counter_merge('move:a', 'move:b'), counter_merge('move:none', 'move:b'), counter_merge('move:b', 'move:new');
SELECT id, value FROM counter_list('move:');
SELECT counter_set_many('{move:a,move:b}', '{9223372036854775807,1}');
SELECT * FROM moving_attempt($$SELECT counter_merge('move:a', 'move:b')$$);
SELECT id, value FROM counter_list('move:');
-- One past bigint can be renamed.
SELECT counter_incr('move:a', 1);
SELECT counter_rename('move:a', 'move:big');
SELECT id, value, overflowed FROM counter_list('move:');
SELECT counter_drop_prefix('move:');

-- Buffered increments move as well, whether they are in rows yet or not.
SET counter_ext.mode = buffered;
SELECT counter_incr('move:a', 7);
SELECT counter_incr('move:b', 1);
SELECT counter_rename('move:a', 'move:c'), counter_merge('move:b', 'move:c');
SELECT value FROM counter_list('move:c');
SELECT counter_get('move:a'), counter_get('move:b');
RESET counter_ext.mode;
SELECT counter_drop_prefix('move:') > 0 AS dropped;

-- Visitors: of ever, of each day, one's own; who visited both is one.
SELECT counter_visit('move:a', 'ann'), counter_visit('move:a', 'bob'), counter_visit('move:b', 'bob'), counter_visit('move:b', 'cid');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_visit('move:a', 'dan');
BEGIN;
SELECT counter_visit('move:a', 'eve');
SELECT * FROM moving_attempt($$SELECT counter_rename('move:a', 'move:b')$$);
SELECT counter_rename('move:a', 'move:c');
SELECT counter_visitors('move:a'), counter_visitors('move:c'), counter_visitors('move:c', current_date - 1, current_date + 1);
ROLLBACK;
SELECT counter_visitors('move:a'), counter_visitors('move:c');
SELECT counter_merge('move:a', 'move:b');
SELECT counter_visitors('move:a'), counter_visitors('move:b'), counter_visitors('move:b', current_date - 1, current_date + 1);
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_visitors('move:a'), counter_visitors('move:b'), counter_visitors('move:b', current_date - 1, current_date + 1);
SELECT counter_visit('move:b', 'ann') AS seen_again, counter_visit('move:a', 'ann') AS seen_there;
SELECT counter_drop_prefix('move:') > 0 AS dropped;

-- Likes: who liked both likes one, once.
SELECT counter_like('move:a', 'ann'), counter_like('move:a', 'bob'), counter_like('move:b', 'bob'), counter_like('move:b', 'cid');
SELECT * FROM moving_attempt($$SELECT counter_rename('move:a', 'move:b')$$);
SELECT counter_rename('move:a', 'move:c');
SELECT counter_likes('move:a'), counter_likes('move:c'), counter_liked('move:c', 'ann'), counter_liked('move:a', 'ann');
BEGIN;
SELECT counter_like('move:c', 'own');
SELECT counter_merge('move:c', 'move:b');
SELECT counter_likes('move:b'), counter_likes('move:c');
COMMIT;
SELECT counter_likes('move:b'), counter_likes('move:c'), count(*) FROM counter_ext.liked WHERE item = 'move:b';
SELECT * FROM moving_attempt($$SELECT counter_rename('move:b', repeat('x', 255))$$);
DELETE FROM counter_ext.liked WHERE item LIKE 'move:%';

-- What was filtered goes along.
INSERT INTO counter_ext.blocked (actor) VALUES ('move:bot');
SELECT counter_incr_from('move:a', 'move:bot', 3), counter_incr_from('move:a', 'joe', 1);
SELECT counter_rename('move:a', 'move:b');
SELECT counter_filtered('move:a'), counter_filtered('move:b'), counter_get('move:b');
DELETE FROM counter_ext.blocked WHERE actor = 'move:bot';
SELECT counter_drop_prefix('move:');

-- The log of either agrees with its total.
SELECT counter_audit('move:', true);
SELECT counter_incr('move:a', 4), counter_incr('move:b', 5);
SELECT counter_merge('move:a', 'move:b'), counter_rename('move:b', 'move:c');
SELECT id, operation, sum(delta) FROM counter_ext.audit_pending WHERE id LIKE 'move:%' GROUP BY 1, 2
    UNION ALL SELECT id, operation, sum(delta) FROM counter_ext.audit_log WHERE id LIKE 'move:%' GROUP BY 1, 2 ORDER BY 1, 2, 3;
SELECT id, ok FROM unnest('{move:a,move:b,move:c}'::text[]) AS id, counter_audit_verify(id);
SELECT counter_audit('move:', false);
SELECT counter_drop_prefix('move:');

-- Refused.
CREATE TABLE moving_posts (id int PRIMARY KEY, author int);
SELECT counter_cache('moving_posts', 'move:posts:', 'author');
INSERT INTO moving_posts VALUES (1, 1);
SELECT a.* FROM (VALUES ($$SELECT counter_rename('move:posts:1', 'move:a')$$), ($$SELECT counter_merge('move:a', 'move:posts:1')$$),
    ($$SELECT counter_merge('move:a', 'move:a')$$), ($$SELECT counter_rename('', 'move:a')$$), ($$SELECT counter_rename('move:a', '')$$),
    ($$SELECT counter_rename(chr(1) || 'a', 'move:a')$$), ($$SELECT counter_rename('a', repeat('x', 256))$$)) AS v (command), moving_attempt(command) AS a;
DROP TABLE moving_posts;
SELECT counter_drop_prefix('move:');
SELECT counter_incr('move:a'), counter_incr('move:b');
SELECT code, message, hint FROM moving_attempt($$SELECT counter_rename('move:a', 'move:b')$$);
SELECT code FROM moving_attempt($$SELECT counter_rename('move:a', 'move:a')$$);
SELECT counter_rename(NULL, 'move:c') IS NULL AND counter_merge('move:a', NULL) IS NULL AS strict;
CREATE ROLE moving_role;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO moving_role;
SET ROLE moving_role;
SELECT a.code, a.message FROM (VALUES ($$SELECT counter_rename('move:a', 'move:c')$$), ($$SELECT counter_merge('move:a', 'move:b')$$),
    ($$SELECT counter_forget_all()$$)) AS v (command), moving_attempt(command) AS a;
RESET ROLE;
GRANT DELETE ON counter_ext.total TO moving_role;
SELECT counter_visit('move:v', 'joe'), counter_like('move:l', 'joe');
SET ROLE moving_role;
SELECT a.code, a.message FROM (VALUES ($$SELECT counter_rename('move:a', 'move:c')$$), ($$SELECT counter_rename('move:v', 'move:w')$$),
    ($$SELECT counter_rename('move:l', 'move:m')$$)) AS v (command), moving_attempt(command) AS a;
RESET ROLE;
REVOKE ALL ON counter_ext.total FROM moving_role;
BEGIN READ ONLY;
SAVEPOINT one;
SELECT counter_rename('move:c', 'move:a');
ROLLBACK TO one;
SELECT counter_merge('move:c', 'move:a');
ROLLBACK TO one;
SELECT counter_forget_all();
ROLLBACK;
-- Ids of other types.
SELECT counter_incr(77001);
SELECT counter_rename(77001, 77002), counter_merge(77002::bigint, 77003::int);
SELECT counter_rename('77003'::counter, 'move:n'), counter_get('move:n');
SELECT counter_incr('0189A0B1-0000-7000-8000-000000000001'::uuid);
SELECT counter_merge('0189A0B1-0000-7000-8000-000000000001'::uuid, '0189A0B1-0000-7000-8000-000000000002'::uuid), counter_get('0189a0b1-0000-7000-8000-000000000002');
PREPARE moving_p AS SELECT counter_rename($1, $2);
PREPARE moving_q AS SELECT counter_merge($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'moving%' ORDER BY 1;
DEALLOCATE moving_p;
DEALLOCATE moving_q;

-- Prepared.
BEGIN;
SELECT counter_rename('move:c', 'move:p');
PREPARE TRANSACTION 'moving';
SELECT id FROM counter_list('move:p');
COMMIT PREPARED 'moving';
SELECT id, value FROM counter_list('move:p');
SELECT counter_get('move:p'), counter_get('move:c');

-- Everything is forgotten, in both modes and in one's own transaction too, and comes back by a rollback.
SELECT counter_incr_once('move:t', 1, 'token'), counter_apply('move:source', 5, '{move:s}');
SELECT counter_allow('move:key', 1, '1 hour'), counter_allow('move:key', 1, '1 hour');
SELECT counter_audit('move:audited:', true);
SELECT counter_incr('move:audited:a');
CREATE FUNCTION moving_all() RETURNS TABLE (counters bigint, likes bigint, visitors bigint, tokens bigint, offsets bigint, log bigint) LANGUAGE sql AS
    $$ SELECT (SELECT count(*) FROM counter_list(max_rows => 1000000)), (SELECT count(*) FROM counter_ext.liked), counter_visitors('move:v'), (SELECT count(*) FROM counter_ext.token),
       (SELECT count(*) FROM counter_ext.source_offset), (SELECT count(*) FROM counter_ext.audit_pending) + (SELECT count(*) FROM counter_ext.audit_log) $$;
SET counter_ext.mode = buffered;
SELECT counter_incr('move:buffered', 9);
BEGIN;
SELECT counter_incr('move:own', 9), counter_visit('move:v', 'own');
SAVEPOINT one;
SELECT counter_forget_all();
SELECT * FROM moving_all();
SELECT counter_get('move:own'), counter_get('move:buffered'), counter_likes('move:l');
ROLLBACK TO one;
SELECT counters > 5 AS counters, likes, visitors, tokens > 0 AS tokens, offsets > 0 AS offsets, log > 0 AS log FROM moving_all();
SELECT counter_get('move:own'), counter_get('move:buffered'), counter_likes('move:l'), counter_allow('move:key', 1, '1 hour');
ROLLBACK;
SELECT counter_get('move:buffered'), counter_allow('move:key', 1, '1 hour');
SELECT counter_forget_all();
SELECT * FROM moving_all();
SELECT count(*) FROM counters;
SELECT counter_get('move:own'), counter_get('move:buffered'), counter_likes('move:l'), counter_visit('move:v', 'joe'), counter_allow('move:key', 1, '1 hour');
SELECT ok, chains FROM counter_audit_verify();
-- And it goes on as ever.
SELECT counter_incr('move:buffered', 2);
SELECT counter_get('move:buffered');
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counter_list();
RESET counter_ext.mode;
SELECT counter_like('move:l', 'joe'), counter_likes('move:l'), counter_incr_once('move:t', 1, 'token'), counter_apply('move:source', 5, '{move:s}');
SELECT counter_audit('move:audited:', false);
SELECT counter_forget_all(), counter_forget_all();
SELECT * FROM moving_all();
-- Whoever has TRUNCATE may.
GRANT TRUNCATE ON ALL TABLES IN SCHEMA counter_ext TO moving_role;
GRANT SELECT ON counter_ext.total TO moving_role;
SELECT counter_incr('move:x');
SET ROLE moving_role;
SELECT counter_forget_all();
SELECT counter_get('move:x');
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA counter_ext FROM moving_role;
DROP ROLE moving_role;
DROP FUNCTION moving_attempt, moving_all;
