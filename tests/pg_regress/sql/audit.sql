-- counter_audit and counter_audit_verify: every change of an audited counter is logged with it, and tampering is found.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DO $$ BEGIN PERFORM counter_compact(); END $$;
RESET client_min_messages;
-- For whoever connects to this database.
SELECT format('ALTER DATABASE %I SET counter_ext.actor = ''tester''', current_database()) \gexec
\c -
\set VERBOSITY default

-- What there is when auditing begins is the log's first entry.
SELECT counter_incr('audit:a', 5), counter_incr('other:a', 1), counter_set('audit:zero', 0);
SELECT * FROM counter_audit_verify('audit:a');
SELECT counter_audit('audit:', true), counter_audit('audit:', true);
SELECT * FROM counter_audit_verify('audit:a');
SELECT counter_incr('audit:a'), counter_incr('audit:a', -3), counter_incr('audit:a', 0), counter_incr('other:a');
SELECT counter_incr_many(ARRAY['audit:a', 'audit:b', 'audit:a'], ARRAY[1, 2, 3]);
SELECT counter_incr_once('audit:b', 4, 'audit 1'), counter_incr_once('audit:b', 4, 'audit 1');
SELECT counter_apply('audit', 7, ARRAY['audit:b', 'other:a']);
SELECT counter_visit('audit:v', 'anna', 2), counter_visit('audit:v', 'anna', 1);
-- Before sealing, and after.
SELECT * FROM counter_audit_verify('audit:b');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT id, seq, delta, operation, actor, role = session_user AS by_me, node, at <= clock_timestamp() AS at, octet_length(hash)
    FROM counter_ext.audit_log WHERE id LIKE 'audit:%' ORDER BY id, seq;
SELECT count(*) FROM counter_ext.audit_pending;
SELECT count(*) FROM counter_ext.audit_log WHERE id NOT LIKE 'audit:%';
SELECT id, v.* FROM unnest(ARRAY['audit:a', 'audit:b', 'audit:v', 'audit:zero', 'other:a']) id, counter_audit_verify(id) v;
SELECT counter_audit_verify(790501), counter_audit_verify(NULL::text);

-- Entries go with their transaction, and with their savepoint; a transaction sees its own.
BEGIN;
SELECT counter_incr('audit:a', 100);
SELECT entries, log_sum, total FROM counter_audit_verify('audit:a');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT counter_incr('audit:a', 100), counter_incr('audit:new', 100);
ROLLBACK TO s;
SELECT counter_incr('audit:a', 10);
SAVEPOINT s;
SELECT counter_incr('audit:a', 20);
RELEASE s;
SELECT ok, entries, log_sum, total FROM counter_incr('audit:a', 30), counter_audit_verify('audit:a');
COMMIT;
SELECT ok, entries, log_sum, total FROM counter_audit_verify('audit:a');
SELECT * FROM counter_audit_verify('audit:new');
-- A transaction's entries have its id, whatever its savepoints.
BEGIN;
SELECT counter_incr('audit:x');
SAVEPOINT s;
SELECT counter_incr('audit:x');
SELECT count(*), count(DISTINCT xid), bool_and(xid = pg_current_xact_id()) FROM counter_ext.audit_pending WHERE id = 'audit:x';
COMMIT;

-- Reset, set and drop; the chain goes on behind a drop.
BEGIN;
SELECT counter_reset('audit:a');
ROLLBACK;
SELECT counter_reset('audit:a'), counter_reset('audit:a');
SELECT counter_set('audit:a', 40), counter_set('audit:a', 30);
SELECT ok, log_sum, total FROM counter_audit_verify('audit:a');
SELECT counter_drop('audit:a'), counter_drop('audit:a');
SELECT ok, log_sum, total FROM counter_audit_verify('audit:a');
BEGIN;
SELECT counter_incr('audit:a', 3);
SELECT counter_drop('audit:a'), counter_incr('audit:a', 2);
SELECT ok, log_sum, total FROM counter_audit_verify('audit:a');
COMMIT;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT seq, delta, operation FROM counter_ext.audit_log WHERE id = 'audit:a' ORDER BY seq OFFSET 6;
SELECT ok, entries, log_sum, total FROM counter_audit_verify('audit:a');
-- Amounts that bigint does not hold at once.
SELECT counter_set('audit:wide', 9223372036854775807);
SELECT counter_set('audit:wide', -9223372036854775808);
SELECT counter_drop('audit:wide');
SELECT count(*), sum(delta) FROM (SELECT id, delta FROM counter_ext.audit_pending UNION ALL SELECT id, delta FROM counter_ext.audit_log) log WHERE id = 'audit:wide';
SELECT ok, log_sum, total FROM counter_audit_verify('audit:wide');

-- In buffered mode; and what was buffered before auditing began.
SET counter_ext.mode = 'buffered';
SELECT counter_incr('audit:m', 7), counter_incr('auditbuf:a', 11);
SELECT counter_incr('auditbuf:a', 2);
BEGIN;
SELECT counter_incr('auditbuf:a', 1), counter_incr('auditbuf:own', 6);
SELECT counter_audit('auditbuf:', true);
SELECT counter_incr('auditbuf:a', 1);
SELECT ok, entries, log_sum, total FROM counter_audit_verify('auditbuf:a');
COMMIT;
SELECT counter_incr('auditbuf:a', 100);
SELECT id, ok, entries, log_sum, total, problem FROM unnest(ARRAY['audit:m', 'auditbuf:a', 'auditbuf:own']) id, counter_audit_verify(id) v;
RESET counter_ext.mode;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT id, ok, entries, log_sum, total, problem FROM unnest(ARRAY['audit:m', 'auditbuf:a', 'auditbuf:own']) id, counter_audit_verify(id) v;
SELECT counter_get('auditbuf:a'), counter_get_exact('auditbuf:a');

-- Auditing ends, and begins again: an entry says what was missed. Prefixes may overlap.
SELECT counter_audit('auditbuf:', false), counter_audit('auditbuf:', false);
SELECT counter_incr('auditbuf:a', 1000), counter_drop('auditbuf:own');
SELECT ok, entries, log_sum, total, problem FROM counter_audit_verify('auditbuf:a');
SELECT counter_audit('auditbuf:a', true), counter_audit('auditbuf:', true);
SELECT counter_audit('auditbuf:a', false);
SELECT counter_incr('auditbuf:a', 1);
SELECT id, ok, entries, log_sum, total, problem FROM unnest(ARRAY['auditbuf:a', 'auditbuf:own']) id, counter_audit_verify(id) v;
BEGIN;
SELECT counter_audit('auditbuf:', false);
SELECT counter_incr('auditbuf:a', 1);
ROLLBACK;
SELECT counter_incr('auditbuf:a', 1);
SELECT ok, entries, log_sum, total, problem FROM counter_audit_verify('auditbuf:a');
BEGIN;
SAVEPOINT s;
SELECT counter_audit('other:', true), counter_incr('other:a');
ROLLBACK TO s;
SELECT counter_incr('other:a');
COMMIT;
SELECT * FROM counter_audit_verify('other:a');

-- A prepared transaction's entries come with it. While there is one that counts, auditing does not begin.
BEGIN;
SELECT counter_incr('audit:p', 5);
PREPARE TRANSACTION 'audit';
SELECT * FROM counter_audit_verify('audit:p');
SET lock_timeout = '100ms';
\set VERBOSITY sqlstate
SELECT counter_audit('prepared:', true);
\set VERBOSITY default
RESET lock_timeout;
COMMIT PREPARED 'audit';
SELECT * FROM counter_audit_verify('audit:p');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_incr('audit:p', 5);
SELECT * FROM counter_audit_verify('audit:p');
COMMIT;

-- Tampering is found, and named.
SELECT counter_incr('audit:t', g) FROM generate_series(1, 5) g;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT ok, entries, log_sum, total FROM counter_audit_verify('audit:t');
BEGIN;
UPDATE counter_ext.audit_log SET delta = 30 WHERE id = 'audit:t' AND seq = 3;
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
UPDATE counter_ext.audit_log SET actor = 'somebody else' WHERE id = 'audit:t' AND seq = 2;
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
UPDATE counter_ext.audit_log SET at = at - interval '1 day' WHERE id = 'audit:t' AND seq = 5;
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
DELETE FROM counter_ext.audit_log WHERE id = 'audit:t' AND seq = 4;
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
DELETE FROM counter_ext.audit_log WHERE id = 'audit:t' AND seq = 5;
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
INSERT INTO counter_ext.audit_log SELECT id, 6, delta, operation, actor, role, at, xid, node, hash FROM counter_ext.audit_log WHERE id = 'audit:t' AND seq = 5;
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
INSERT INTO counter_ext.audit_log SELECT id, 0, delta, operation, actor, role, at, xid, node, hash FROM counter_ext.audit_log WHERE id = 'audit:t' AND seq = 2;
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
UPDATE counter_ext.audit_log SET delta = 7 - delta WHERE id = 'audit:t' AND seq IN (3, 4);
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
UPDATE counter_ext.audit_head SET hash = '\x00' WHERE id = 'audit:t';
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
DELETE FROM counter_ext.audit_head WHERE id = 'audit:t';
SELECT ok, broken_seq, problem FROM counter_audit_verify('audit:t');
DELETE FROM counter_ext.audit_log WHERE id = 'audit:t';
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
-- So are a total that was changed by hand, and an entry that was taken away before it was sealed.
BEGIN;
UPDATE counter_ext.total SET value = value + 1 WHERE id = 'audit:t';
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
BEGIN;
SELECT counter_incr('audit:t', 9);
DELETE FROM counter_ext.audit_pending WHERE id = 'audit:t';
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
SELECT * FROM counter_audit_verify('audit:t');

-- So is one that goes through a row of another node's number.
BEGIN;
INSERT INTO counter_ext.total (id, node, value) VALUES ('audit:t', 7, 1000);
SELECT * FROM counter_audit_verify('audit:t');
ROLLBACK;
-- A chain that is gone as a whole shows where all chains are compared with their anchor, though its counter is at nothing.
SELECT counter_incr('audit:z', 5), counter_incr('audit:z', -5);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT ok, entries FROM counter_audit_verify('audit:z');
SELECT ok, chains > 0 AS some, entries > 1 AS several, problem FROM counter_audit_verify();
SELECT ok, entries, problem FROM counter_audit_verify('audit:never');
BEGIN;
DELETE FROM counter_ext.audit_log WHERE id = 'audit:z';
DELETE FROM counter_ext.audit_head WHERE id = 'audit:z';
SELECT ok, entries, broken_seq, problem ~ 'audit_anchor' AS anchored FROM counter_audit_verify('audit:z');
SELECT ok, problem ~ 'chains, audit_anchor' AS anchored FROM counter_audit_verify();
ROLLBACK;
-- So does one that was made shorter, with a head to it, and an anchor that is gone.
BEGIN;
DELETE FROM counter_ext.audit_log WHERE id = 'audit:z' AND seq = 2;
UPDATE counter_ext.audit_head SET seq = 1, hash = l.hash FROM counter_ext.audit_log l WHERE audit_head.id = 'audit:z' AND l.id = 'audit:z';
SELECT broken_seq FROM counter_audit_verify('audit:z');
SELECT ok, problem FROM counter_audit_verify();
ROLLBACK;
BEGIN;
DELETE FROM counter_ext.audit_anchor;
SELECT ok, problem ~ 'audit_anchor knows 0' AS anchored FROM counter_audit_verify();
ROLLBACK;
SELECT ok, problem FROM counter_audit_verify();

-- Partitions by time, which may have their columns in another order.
CREATE TABLE audit_log_future (role text COLLATE "C" NOT NULL, hash bytea NOT NULL, gone integer, actor text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL, seq bigint NOT NULL, delta bigint NOT NULL, operation text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL, xid xid8 NOT NULL, node integer NOT NULL);
ALTER TABLE audit_log_future DROP COLUMN gone;
ALTER TABLE audit_log_future ADD PRIMARY KEY (id, seq);
ALTER TABLE counter_ext.audit_log ATTACH PARTITION audit_log_future FOR VALUES FROM (now()) TO ('infinity');
SELECT counter_incr('audit:t', g) FROM generate_series(6, 8) g;
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT seq, delta, tableoid = 'audit_log_future'::regclass FROM counter_ext.audit_log WHERE id = 'audit:t' ORDER BY seq;
SELECT * FROM counter_audit_verify('audit:t');
ALTER TABLE counter_ext.audit_log DETACH PARTITION audit_log_future;
SELECT ok, entries, broken_seq, problem FROM counter_audit_verify('audit:t');
INSERT INTO counter_ext.audit_log (id, seq, delta, operation, actor, role, at, xid, node, hash)
    SELECT id, seq, delta, operation, actor, role, at, xid, node, hash FROM audit_log_future;
DROP TABLE audit_log_future;
BEGIN;
CREATE TABLE audit_log_past PARTITION OF counter_ext.audit_log FOR VALUES FROM (MINVALUE) TO ('2000-01-01');
SELECT counter_audit_verify('audit:t');
ROLLBACK;
SELECT * FROM counter_audit_verify('audit:t');

-- Errors, and privileges.
SELECT counter_audit(NULL, true), counter_audit('x', NULL);
SELECT counter_audit(repeat('x', 256), true);
SELECT counter_audit(E'\x01', true);
SELECT counter_audit_verify('');
BEGIN READ ONLY;
SELECT counter_audit('x', true);
ROLLBACK;
BEGIN READ ONLY;
SELECT ok FROM counter_audit_verify('audit:t');
ROLLBACK;
SELECT format('ALTER DATABASE %I RESET counter_ext.actor', current_database()) \gexec
\c -
SET counter_ext.actor = '';
SELECT counter_incr('audit:actor');
BEGIN;
SELECT set_config('counter_ext.actor', repeat('x', 256), false) IS NULL;
SELECT counter_incr('audit:actor');
ROLLBACK;
RESET counter_ext.actor;
SELECT counter_incr('audit:actor');
SELECT count(*) FROM (SELECT id, actor, role FROM counter_ext.audit_pending UNION ALL SELECT id, actor, role FROM counter_ext.audit_log) log
    WHERE id = 'audit:actor' AND actor = session_user AND role = session_user;
CREATE ROLE regress_audit;
GRANT INSERT, UPDATE, SELECT ON counter_ext.total TO regress_audit;
SET ROLE regress_audit;
SELECT counter_incr('audit:role');
SELECT counter_audit('x', true);
SELECT counter_audit('audit:', false);
SELECT counter_audit_verify('audit:role');
SELECT FROM counter_ext.audit_log;
INSERT INTO counter_ext.audited VALUES ('x');
RESET ROLE;
SELECT ok, entries FROM counter_audit_verify('audit:role');
GRANT INSERT ON counter_ext.audited TO regress_audit;
GRANT SELECT ON counter_ext.audit_log TO regress_audit;
SET ROLE regress_audit;
SELECT counter_audit('x', true);
SELECT counter_audit('x', false);
SELECT ok, entries FROM counter_audit_verify('audit:role');
RESET ROLE;
DROP OWNED BY regress_audit;
DROP ROLE regress_audit;

-- A prefix that somebody inserts by hand takes effect too. Everything may be audited, but for what families count for themselves.
INSERT INTO counter_ext.audited VALUES ('hand:');
SELECT counter_incr('hand:a');
SELECT ok, entries FROM counter_audit_verify('hand:a');
SELECT counter_audit('', true);
SELECT counter_incr('other:a');
SELECT ok, log_sum = total FROM counter_audit_verify('other:a');
SELECT counter_audit('', false);

SELECT count(*) FROM counter_ext.audited, counter_audit(prefix, false) ended WHERE ended;
-- An increment that names its actor is that actor's, whatever the setting says; what is filtered is not the counter's.
SELECT counter_audit('audit:', true) IS NOT NULL AS audited;
INSERT INTO counter_ext.blocked (actor) VALUES ('audit bot');
BEGIN;
SET LOCAL counter_ext.actor = 'somebody else';
SELECT counter_incr_from('audit:from', 'user:7', 2), counter_incr_from('audit:from', 'audit bot', 5);
COMMIT;
SELECT counter_compact() >= 0 AS sealed;
SELECT delta, operation, actor FROM counter_ext.audit_log WHERE id = 'audit:from';
SELECT ok, log_sum, total, problem, counter_filtered('audit:from') FROM counter_audit_verify('audit:from');
DELETE FROM counter_ext.blocked WHERE actor = 'audit bot';
SELECT counter_audit('audit:', false) AS over;

SELECT count(*) FROM (SELECT counter_drop(id) FROM counters WHERE id ~ '^(audit|other|auditbuf|hand):') dropped;
DO $$ BEGIN PERFORM counter_compact(); END $$;
TRUNCATE counter_ext.audit_log, counter_ext.audit_head, counter_ext.audit_anchor, counter_ext.audit_pending;
DELETE FROM counter_ext.token WHERE token LIKE 'audit %';
DELETE FROM counter_ext.source_offset WHERE source = 'audit';

-- Who acts is said by the call, or for one transaction: never for a session, which a pooler hands to the next client.
SELECT counter_audit('actor:', true);
\set VERBOSITY default
SET counter_ext.actor = 'client 1';
BEGIN;
SET SESSION counter_ext.actor = 'client 1';
ROLLBACK;
\set VERBOSITY terse
SET counter_ext.actor = '';
SET counter_ext.actor TO DEFAULT;
SELECT counter_incr('actor:a', 1);
BEGIN;
SET LOCAL counter_ext.actor = 'client 2';
SELECT counter_incr('actor:a', 2), counter_incr('actor:a', 3, 'client 3'), counter_incr('actor:a', 4, actor => NULL);
SAVEPOINT s;
SET LOCAL counter_ext.actor = 'client 4';
SELECT counter_incr('actor:a', 5);
ROLLBACK TO s;
SELECT counter_incr('actor:a', 6);
COMMIT;
SHOW counter_ext.actor;
SELECT counter_incr('actor:a', 7);
-- However else it is set, it ends with the transaction.
SELECT set_config('counter_ext.actor', 'client 8', false), counter_incr('actor:a', 8);
SELECT current_setting('counter_ext.actor') AS nobody, counter_incr('actor:a', 9);
BEGIN;
SELECT set_config('counter_ext.actor', 'client 10', false);
SELECT counter_incr('actor:a', 10);
SET LOCAL counter_ext.actor = 'client 11';
SELECT counter_incr('actor:a', 11);
COMMIT;
SELECT counter_incr('actor:a', 12);
DO $$
BEGIN
    SET LOCAL counter_ext.actor = 'client 13';
    PERFORM counter_incr('actor:a', 13);
    COMMIT;
    PERFORM counter_incr('actor:a', 14);
    SET counter_ext.actor = 'client 15';
    PERFORM counter_incr('actor:a', 15);
    COMMIT;
    PERFORM counter_incr('actor:a', 16);
END $$;
CREATE FUNCTION acts() RETURNS void LANGUAGE sql SET counter_ext.actor = 'client 17' AS $$ SELECT counter_incr('actor:a', 17) $$;
SELECT acts(), counter_incr('actor:a', 18);
DROP FUNCTION acts;
BEGIN;
SELECT set_config('counter_ext.actor', 'client 19', false);
SELECT counter_incr('actor:a', 19);
PREPARE TRANSACTION 'actor';
SELECT counter_incr('actor:a', 20);
COMMIT PREPARED 'actor';
BEGIN;
SELECT set_config('counter_ext.actor', 'client 21', false);
ROLLBACK;
SELECT counter_incr('actor:a', 21);
-- What the role has is its own, and comes back after SET LOCAL.
DO $$ BEGIN EXECUTE format('ALTER ROLE %I SET counter_ext.actor = ''service''', current_user); END $$;
\c -
SELECT counter_incr('actor:a', 22);
BEGIN;
SELECT set_config('counter_ext.actor', 'client 23', false), counter_incr('actor:a', 23);
COMMIT;
SELECT counter_incr('actor:a', 24);
DO $$ BEGIN EXECUTE format('ALTER ROLE %I RESET counter_ext.actor', current_user); END $$;
\c -
-- Parallel workers are given the leader's.
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
BEGIN;
SET LOCAL counter_ext.actor = 'client 25';
SELECT counter_incr('actor:a', 25);
SELECT count(*) > 0 AS counted FROM pg_class;
SELECT counter_incr('actor:a', 26);
COMMIT;
SELECT counter_incr('actor:a', 27);
-- Where the administrator says that sessions are their clients' own, an actor holds for the session, until he takes that back.
SET counter_ext.actor_scope = 'session';
SET counter_ext.actor = 'client 40';
SELECT counter_incr('actor:a', 40);
BEGIN;
SET LOCAL counter_ext.actor = 'client 41';
SELECT counter_incr('actor:a', 41);
COMMIT;
SELECT counter_incr('actor:a', 42), counter_incr('actor:a', 43, actor => 'client 43');
SET counter_ext.actor_scope = 'transaction';
SELECT counter_incr('actor:a', 44);
SHOW counter_ext.actor;
SET counter_ext.actor_scope = 'session';
SET counter_ext.actor = 'client 45';
BEGIN;
SET LOCAL counter_ext.actor_scope = 'transaction';
SELECT counter_incr('actor:a', 45);
ROLLBACK;
SELECT counter_incr('actor:a', 46);
BEGIN;
SET LOCAL counter_ext.actor_scope = 'transaction';
SELECT counter_incr('actor:a', 47);
COMMIT;
SELECT counter_incr('actor:a', 48);
RESET counter_ext.actor_scope;
SET counter_ext.actor = 'client 49';
CREATE ROLE audit_client;
SET ROLE audit_client;
SET counter_ext.actor_scope = 'session';
RESET ROLE;
DROP ROLE audit_client;
-- Actors of other types, and ids.
SELECT counter_incr('actor:a', 30, 7), counter_incr('actor:a', 31, 7::bigint), counter_incr('actor:a'::counter, 32, 7::smallint), counter_incr('actor:a', 33, '7'),
    counter_incr('actor:a'::varchar, 34, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid), counter_incr('actor:a', 35, 'client'::name), counter_incr('actor:a', actor => 'client 1'),
    counter_incr(id => 'actor:a', actor => 'client 36', delta => 36);
SELECT counter_incr('actor:a', 1, true);
SELECT counter_incr('actor:a', 1, '');
SELECT counter_incr('actor:a', 1, repeat('x', 256));
SELECT counter_incr(NULL, 1, 'x'), counter_incr('actor:a', NULL, 'x'), counter_incr(NULL::bigint), counter_incr(NULL, NULL);
SELECT counter_incr(42, 1, 7), counter_incr(42, 1, 'x'), counter_incr(42, actor => 'x'), counter_incr(42::smallint, 1, 7), counter_incr(gen_random_uuid(), 1, gen_random_uuid());
PREPARE actor_1 AS SELECT counter_incr($1, $2, $3);
PREPARE actor_2 AS SELECT counter_incr($1, actor => $2);
PREPARE actor_3 AS SELECT counter_incr(42, $1, $2), counter_incr($3), counter_incr($4, $5);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'actor%' ORDER BY name;
DEALLOCATE ALL;
-- A pass goes on with sealing where the one before left off, among many entries: the next one begins it anew.
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT counter_compact() >= 0 AS sealed;
SELECT delta, CASE actor WHEN session_user THEN 'session_user' ELSE actor END AS actor
    FROM (SELECT id, delta, actor FROM counter_ext.audit_pending UNION ALL SELECT id, delta, actor FROM counter_ext.audit_log) AS entries
    WHERE id = 'actor:a' ORDER BY delta, actor;
SELECT ok FROM counter_audit_verify('actor:a');
SELECT counter_audit('actor:', false);
