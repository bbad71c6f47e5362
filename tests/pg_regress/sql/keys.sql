-- Whoever owns our tables may put another primary key there. Scans and inserts by hand rely on its shape: they work or raise 55000, and
-- the server stays up.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SELECT pg_backend_pid() AS session \gset

-- What a query answers where a table has another primary key; all of it is taken back.
CREATE FUNCTION with_key(changed text, key text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
    hint text;
BEGIN
    IF changed = 'slot' THEN
        -- Else it is known that there is nothing to be found there, and nobody looks.
        INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('keys:slot' || key, 7, 3), ('keys:cold', 8, 3);
    END IF;
    EXECUTE format('ALTER TABLE counter_ext.%I DROP CONSTRAINT %I, ADD PRIMARY KEY %s', changed, changed || '_pkey', key);
    EXECUTE query INTO answer;
    RAISE EXCEPTION USING ERRCODE = 'ZZ001', MESSAGE = concat('answered ', answer);
EXCEPTION
    WHEN SQLSTATE 'ZZ001' THEN RETURN SQLERRM;
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
        RETURN concat_ws(' | ', SQLSTATE, SQLERRM, hint);
END $$;

-- Rows whose numbers a comparison of the wrong type would take for addresses. Each id is new, so that no total in memory answers.
INSERT INTO counter_ext.total (id, node, value) VALUES ('keys:a', 2147483647, 1), ('keys:a', -1, 2), ('keys:a', 0, 4);
INSERT INTO counter_ext.slot (id, slot, delta) VALUES ('keys:a', 9223372036854775807, 1), ('keys:a', -1, 2);

SELECT key, with_key('total', key, format('SELECT counter_get(%L)', 'keys:' || key)) FROM (VALUES
    ('(node, id)'), ('(id, node, value)'), ('(value, id, node)'), ('(id, node) INCLUDE (value)'), ('(id, node) DEFERRABLE')) AS keys (key);
SELECT with_key('total', '(node, id)', query) FROM (VALUES
    ('SELECT counter_set(''keys:cold'', 1)'), ('SELECT counter_drop(''keys:a'')'), ('SELECT count(*) FROM counters WHERE id ~ ''^keys:'''),
    ('SELECT slots FROM counter_info(''keys:a'')'), ('SELECT counter_get_many(ARRAY[''keys:cold''])')) AS queries (query);
SELECT key, with_key('slot', key, format('SELECT counter_get(%L)', 'keys:slot' || key)) FROM (VALUES
    ('(slot, id)'), ('(id, slot, delta)'), ('(slot)'), ('(id, slot) INCLUDE (delta)')) AS keys (key);
SELECT with_key('slot', '(slot, id)', 'SELECT counter_set(''keys:cold'', 1)');
SELECT counter_get('keys:a');

-- A change is written at the commit.
BEGIN;
ALTER TABLE counter_ext.total DROP CONSTRAINT total_pkey, ADD PRIMARY KEY (node, id);
SELECT counter_incr('keys:a');
COMMIT;
BEGIN;
ALTER TABLE counter_ext.slot DROP CONSTRAINT slot_pkey, ADD PRIMARY KEY (slot, id);
SELECT counter_incr('keys:new');
COMMIT;
BEGIN;
ALTER TABLE counter_ext.total ALTER COLUMN id TYPE text COLLATE "POSIX";
SELECT counter_get('keys:unheard');
ROLLBACK;
SELECT counter_get('keys:a'), counter_incr('keys:a');

-- Visitors.
-- What the worker has united by now would be two rows of an id.
DELETE FROM counter_ext.visitors;
SELECT key, with_key('visitors', key, format('SELECT counter_visitors(%L)', 'keys:' || key)) FROM (VALUES
    ('(node, id, day)'), ('(day, id, node)'), ('(id)'), ('(id, day, node) INCLUDE (updated_at)')) AS keys (key);
SELECT key, with_key('visit', key, format('SELECT counter_visitors(%L)', 'keys:visit' || key)) FROM (VALUES ('(slot, id, day)'), ('(id, slot)')) AS keys (key);
SELECT with_key('visit', '(slot, id, day)', 'SELECT counter_drop(''keys:a'')');

-- Idempotency, likes.
SELECT counter_incr_once('keys:b', 1, 'token'), counter_apply('source', 1, ARRAY['keys:b']), counter_like('keys', 'a');
SELECT key, with_key('token', key, 'SELECT counter_incr_once(''keys:b'', 1, ''token'')') FROM (VALUES
    ('(id, token)'), ('(at, token, id)'), ('(token, id, at)'), ('(token, id) INCLUDE (at)')) AS keys (key);
SELECT key, with_key('source_offset', key, 'SELECT counter_apply(''source'', 2, ARRAY[''keys:b''])') FROM (VALUES
    ('(upto, source)'), ('(source, upto)'), ('(source) INCLUDE (upto)')) AS keys (key);
SELECT key, with_key('liked', key, 'SELECT counter_like(''keys'', ''a'')'), with_key('liked', key, 'SELECT counter_liked(''keys'', ''a'')'),
    with_key('liked', key, 'SELECT counter_unlike(''keys'', ''a'')') FROM (VALUES
    ('(item, actor)'), ('(item)'), ('(at, item, actor)'), ('(actor, item) INCLUDE (at)')) AS keys (key);

-- Limits and audit.
INSERT INTO counter_ext.policy (prefix, max_per_actor, per, min_interval) VALUES ('keys:', 1, '1 minute', '1 second');
INSERT INTO counter_ext.blocked (actor, reason, until) VALUES ('keys', 'test', '2000-01-01');
SELECT key, with_key('policy', key, 'SELECT counter_incr_from(''keys:c'', ''a'')') FROM (VALUES
    ('(max_per_actor, prefix)'), ('(per)'), ('(prefix, per)'), ('(prefix) INCLUDE (per)')) AS keys (key);
SELECT key, with_key('blocked', key, 'SELECT counter_incr_from(''keys:c'', ''keys'')') FROM (VALUES
    ('(until, actor)'), ('(reason)'), ('(actor) INCLUDE (until)')) AS keys (key);
DELETE FROM counter_ext.policy;
DELETE FROM counter_ext.blocked;
SELECT counter_audit('keys:', true);
SELECT counter_incr('keys:a');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT key, with_key('audited', key, 'SELECT counter_audit(''keys:'', false)') FROM (VALUES
    ('(since, prefix)'), ('(prefix, since)'), ('(prefix) INCLUDE (since)')) AS keys (key);
SELECT changed, key, with_key(changed, key, 'SELECT ok FROM counter_audit_verify(''keys:a'')') FROM (VALUES
    ('audit_pending', '(entry, id, at)'), ('audit_head', '(seq, id)'), ('audit_head', '(id) INCLUDE (seq)'), ('audit_log_default', '(seq, id)'),
    ('audit_log_default', '(id, seq, at)'), ('audit_log_default', '(id, seq) INCLUDE (at)')) AS keys (changed, key);
SELECT with_key('audit_anchor', '(chains, name)', 'SELECT count(*) FROM counter_audit_verify()');
SELECT counter_audit('keys:', false);

-- The same session answered all of it.
SELECT :session = pg_backend_pid() AS is_up;
DO $$ BEGIN PERFORM counter_compact(); END $$;
TRUNCATE counter_ext.audit_log, counter_ext.audit_head, counter_ext.audit_anchor, counter_ext.audit_pending;
DELETE FROM counter_ext.total WHERE id LIKE 'keys:%';
DELETE FROM counter_ext.slot WHERE id LIKE 'keys:%';
DELETE FROM counter_ext.token;
DELETE FROM counter_ext.source_offset;
DELETE FROM counter_ext.liked;
DROP FUNCTION with_key;
