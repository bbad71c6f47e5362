-- Privileges on counter_ext.total decide who may count and read, through whatever function.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DROP ROLE IF EXISTS regress_counter_nobody, regress_counter_reader, regress_counter_writer, regress_counter_group;
RESET client_min_messages;
CREATE ROLE regress_counter_nobody;
CREATE ROLE regress_counter_reader;
CREATE ROLE regress_counter_writer;
CREATE ROLE regress_counter_group;
GRANT SELECT ON counter_ext.total TO regress_counter_reader;
GRANT INSERT, UPDATE ON counter_ext.total TO regress_counter_writer;
SELECT counter_incr('private:a', 5), counter_incr(790001, 5);

-- Tries each function as a role; says what came of it. A trial changes nothing.
CREATE TABLE trials (position int, call text);
INSERT INTO trials VALUES
    (1, 'counter_get(''private:a'')'), (2, 'counter_get(790001)'), (3, 'counter_get_exact(''private:a'')'),
    (4, 'counter_get_exact(790001)'), (5, 'value FROM counter_get_many(''{private:a}'')'),
    (6, 'value FROM counter_info(''private:a'')'), (7, 'value FROM counter_info(790001)'),
    (8, '''private:a''::counter::bigint'), (9, '''private:a''::counter::int'), (10, '''private:a''::counter::numeric'),
    (11, 'value FROM counters WHERE id = ''private:a'''), (12, 'count(*) FROM counter_hottest(0)'),
    (13, 'slot_rows >= 0 FROM counter_stats'),
    (20, 'counter_incr(''private:a'')'), (21, 'counter_incr(790001)'), (22, 'counter_incr_many(''{private:a}'')'),
    (23, 'counter_incr_many(''{}'')'), (24, 'counter_set(''private:a'', 1)'), (25, 'counter_set(790001, 1)'),
    (26, 'counter_compact() >= 0'),
    (30, 'counter_reset(''private:a'')'), (31, 'counter_reset(790001)'),
    (40, 'counter_drop(''private:a'')'), (41, 'counter_drop(790001)'),
    (50, 'counter_version() IS NOT NULL'), (51, '''private:a''::counter'),
    (60, 'count(*) >= 0 FROM counter_ext.slot'),
    (61, 'count(*) FROM counter_ext.list_counters()'), (62, 'slot_rows >= 0 FROM counter_ext.statistics()');
GRANT SELECT ON trials TO PUBLIC;
CREATE FUNCTION try_as(who regrole, first int = 0, last int = 59) RETURNS TABLE (call text, outcome text) LANGUAGE plpgsql AS $$
BEGIN
    FOR call IN SELECT t.call FROM trials t WHERE position BETWEEN first AND last ORDER BY position LOOP
        BEGIN
            EXECUTE format('SET LOCAL ROLE %s', who);
            EXECUTE 'SELECT ' || call INTO outcome;
            outcome := 'ok: ' || coalesce(outcome, '');
            RAISE no_data_found;
        EXCEPTION
            WHEN no_data_found THEN NULL;
            WHEN OTHERS THEN outcome := SQLSTATE;
        END;
        RETURN NEXT;
    END LOOP;
END $$;

-- Without privileges: nothing. Reading: SELECT. Counting: INSERT and UPDATE. Taking away: both. Dropping: DELETE.
SELECT * FROM try_as('regress_counter_nobody', 0, 99);
SELECT * FROM try_as('regress_counter_reader');
SELECT * FROM try_as('regress_counter_writer');
GRANT SELECT ON counter_ext.total TO regress_counter_writer;
SELECT * FROM try_as('regress_counter_writer', 30, 41);
REVOKE SELECT, INSERT ON counter_ext.total FROM regress_counter_writer;
SELECT * FROM try_as('regress_counter_writer', 20, 41);
GRANT INSERT ON counter_ext.total TO regress_counter_writer;
REVOKE UPDATE ON counter_ext.total FROM regress_counter_writer;
SELECT * FROM try_as('regress_counter_writer', 20, 41);
GRANT DELETE ON counter_ext.total TO regress_counter_nobody;
SELECT * FROM try_as('regress_counter_nobody', 20, 41);
REVOKE DELETE ON counter_ext.total FROM regress_counter_nobody;
GRANT UPDATE ON counter_ext.total TO regress_counter_writer;
-- The trials changed nothing.
SELECT counter_get('private:a'), counter_get(790001);

-- The messages name what is missing.
SET ROLE regress_counter_nobody;
SELECT counter_get('private:a');
SELECT counter_incr('private:a');
SELECT counter_reset('private:a');
SELECT counter_drop('private:a');
SELECT * FROM counters;
SELECT * FROM counter_stats;
RESET ROLE;

-- It is checked where only memory or the transaction's own increments are touched, for what does not exist too.
SELECT counter_get('private:a');
SET ROLE regress_counter_nobody;
SELECT counter_get('private:a');
SELECT counter_get('private:unknown');
RESET ROLE;
BEGIN;
SELECT counter_incr('private:new', 77);
SAVEPOINT s;
SET LOCAL ROLE regress_counter_nobody;
SELECT counter_get('private:new');
ROLLBACK TO s;
SET LOCAL ROLE regress_counter_nobody;
SELECT counter_incr('private:new');
ROLLBACK TO s;
SET LOCAL ROLE regress_counter_reader;
SELECT counter_get('private:new');
SELECT counter_incr('private:new');
ROLLBACK;

-- What was counted with the right to do so counts, though the right is gone at commit.
BEGIN;
SET LOCAL ROLE regress_counter_writer;
SELECT counter_incr('private:a', 10);
RESET ROLE;
REVOKE INSERT, UPDATE ON counter_ext.total FROM regress_counter_writer;
SET LOCAL ROLE regress_counter_writer;
COMMIT;
SELECT counter_get('private:a');
GRANT INSERT, UPDATE ON counter_ext.total TO regress_counter_writer;

-- The writer counts without reading: also where another slot row is needed, and with savepoints.
SET ROLE regress_counter_writer;
SELECT counter_incr('private:a', 100);
SELECT counter_incr_many('{private:a,private:w}', '{1000,1}');
BEGIN;
SAVEPOINT s;
SELECT counter_incr('private:w', 100);
ROLLBACK TO s;
SELECT counter_set('private:w', 2);
COMMIT;
SELECT counter_compact() >= 0 AS compacted;
SELECT count(*) FROM counter_ext.slot;
RESET ROLE;
SELECT counter_get('private:a'), counter_get('private:w');

-- GRANT and REVOKE are seen at once, in the same session and transaction; also memberships.
BEGIN;
SET LOCAL ROLE regress_counter_reader;
SELECT counter_get('private:a');
SAVEPOINT s;
RESET ROLE;
REVOKE SELECT ON counter_ext.total FROM regress_counter_reader;
SET LOCAL ROLE regress_counter_reader;
SELECT counter_get('private:a');
ROLLBACK TO s;
SELECT counter_get('private:a');
ROLLBACK;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 1);
GRANT SELECT ON counter_ext.total TO PUBLIC;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 1);
REVOKE SELECT ON counter_ext.total FROM PUBLIC;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 1);
GRANT SELECT, INSERT, UPDATE, DELETE ON counter_ext.total TO regress_counter_group;
GRANT regress_counter_group TO regress_counter_nobody;
SELECT * FROM try_as('regress_counter_nobody', 1, 41);
ALTER ROLE regress_counter_nobody NOINHERIT;
REVOKE regress_counter_group FROM regress_counter_nobody;
GRANT regress_counter_group TO regress_counter_nobody;
SELECT * FROM try_as('regress_counter_nobody', 1, 1);
REVOKE regress_counter_group FROM regress_counter_nobody;
ALTER ROLE regress_counter_nobody INHERIT;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 1);
-- Monitoring roles see the statistics, and no counter.
GRANT pg_read_all_stats TO regress_counter_nobody;
SELECT call, outcome FROM try_as('regress_counter_nobody', 11, 13);
REVOKE pg_read_all_stats FROM regress_counter_nobody;
SELECT call, outcome FROM try_as('regress_counter_nobody', 11, 13);
-- pg_read_all_data reads, pg_write_all_data writes.
GRANT pg_read_all_data TO regress_counter_nobody;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 41) WHERE outcome LIKE 'ok%';
REVOKE pg_read_all_data FROM regress_counter_nobody;
GRANT pg_write_all_data TO regress_counter_nobody;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 41) WHERE outcome LIKE 'ok%';
REVOKE pg_write_all_data FROM regress_counter_nobody;
SELECT call, outcome FROM try_as('regress_counter_nobody', 1, 1);

-- Privileges on columns are not enough, nor on the other table.
GRANT SELECT (id, node, value, updated_at), INSERT (id, node, value), UPDATE (value) ON counter_ext.total TO regress_counter_nobody;
GRANT ALL ON counter_ext.slot TO regress_counter_nobody;
SELECT outcome, count(*) FROM try_as('regress_counter_nobody', 1, 41) GROUP BY outcome;
REVOKE SELECT (id, node, value, updated_at), INSERT (id, node, value), UPDATE (value) ON counter_ext.total FROM regress_counter_nobody;
REVOKE ALL ON counter_ext.slot FROM regress_counter_nobody;
-- EXECUTE can be taken away like that of any function.
REVOKE EXECUTE ON FUNCTION counter_get(text) FROM PUBLIC;
SELECT call, outcome FROM try_as('regress_counter_reader', 1, 3);
GRANT EXECUTE ON FUNCTION counter_get(text) TO PUBLIC;

-- SECURITY DEFINER functions lend their owner's rights; what they lend ends with them.
CREATE FUNCTION visit(page text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM counter_incr('private:visit:' || page);
    RETURN counter_get('private:visit:' || page);
END $$;
SET ROLE regress_counter_nobody;
SELECT visit('home'), visit('home');
BEGIN;
SELECT visit('home');
SAVEPOINT s;
SELECT counter_get('private:visit:home');
ROLLBACK TO s;
SELECT counter_incr('private:visit:home');
ROLLBACK TO s;
SELECT visit('home');
COMMIT;
RESET ROLE;
SELECT counter_get('private:visit:home');
-- A view runs functions with the rights of whoever asks it.
CREATE VIEW home_visits AS SELECT counter_get('private:visit:home') AS visits;
GRANT SELECT ON home_visits TO PUBLIC;
SET ROLE regress_counter_reader;
SELECT * FROM home_visits;
SET ROLE regress_counter_nobody;
SELECT * FROM home_visits;
RESET ROLE;

-- Row security cannot be honoured by memory, so it is refused: to those it applies to.
ALTER TABLE counter_ext.total ENABLE ROW LEVEL SECURITY;
SELECT outcome, count(*) FROM try_as('regress_counter_group', 1, 41) GROUP BY outcome;
SET ROLE regress_counter_group;
SELECT counter_get('private:a');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_incr('private:a');
RESET ROLE;
CREATE POLICY all_rows ON counter_ext.total USING (true);
SELECT outcome, count(*) FROM try_as('regress_counter_group', 1, 41) GROUP BY outcome;
SELECT counter_get('private:a');
ALTER ROLE regress_counter_group BYPASSRLS;
SELECT call, outcome FROM try_as('regress_counter_group', 1, 1);
ALTER ROLE regress_counter_group NOBYPASSRLS;
SELECT call, outcome FROM try_as('regress_counter_group', 1, 1);
DROP POLICY all_rows ON counter_ext.total;
ALTER TABLE counter_ext.total DISABLE ROW LEVEL SECURITY;
SELECT call, outcome FROM try_as('regress_counter_group', 1, 1);
-- The same on the table of increments.
ALTER TABLE counter_ext.slot ENABLE ROW LEVEL SECURITY;
SELECT outcome, count(*) FROM try_as('regress_counter_group', 1, 41) GROUP BY outcome;
ALTER TABLE counter_ext.slot DISABLE ROW LEVEL SECURITY;

-- A role may set how many slot rows its increments use, and nothing that is the server's.
SET ROLE regress_counter_nobody;
SET counter_ext.slots = 8;
RESET counter_ext.slots;
SET counter_ext.compact_interval = '1min';
SET counter_ext.node = 1;
SET counter_ext.debug_commit_window_ms = 1;
SET counter_ext.debug_load_window_ms = 1;
-- Nobody else owns the extension and its tables.
DROP EXTENSION counter_ext;
TRUNCATE counter_ext.total;
UPDATE counter_ext.slot SET delta = 1;
RESET ROLE;

-- A cache of his own names nothing to whom may not read counters, and takes nothing away for good from whom may not drop them: what was counted
-- when stays, as the amounts that were taken off say.
SELECT counter_track('private:k:'), counter_visit('private:k:v', 'anna') AS visited;
SELECT counter_incr_at('private:k:a', now() - interval '3 hours', 100), counter_incr('private:k:b', 50);
SELECT counter_compact() >= 0 AS compacted;
CREATE SCHEMA regress_counter_writer AUTHORIZATION regress_counter_writer;
GRANT INSERT, UPDATE ON counter_ext.total TO regress_counter_writer;
SET ROLE regress_counter_writer;
CREATE TABLE regress_counter_writer.own (k text);
INSERT INTO regress_counter_writer.own VALUES ('b'), ('c');
SELECT counter_cache('regress_counter_writer.own', 'private:k:', 'k');
RESET ROLE;
GRANT SELECT ON counter_ext.total TO regress_counter_writer;
SET ROLE regress_counter_writer;
SELECT counter_cache('regress_counter_writer.own', 'private:k:', 'k');
SELECT counter_drop('private:k:a');
SELECT counter_cache('regress_counter_writer.own', 'private:k:', 'k', take_over => true);
SELECT counter_uncache('regress_counter_writer.own', 'private:k:');
RESET ROLE;
-- Those with visitors, of which he may drop none, are left as they are.
SELECT counter_visitors('private:k:v'), counter_get('private:k:b'), counter_drop('private:k:v');
SET ROLE regress_counter_writer;
SELECT counter_cache('regress_counter_writer.own', 'private:k:', 'k', take_over => true);
SELECT counter_uncache('regress_counter_writer.own', 'private:k:');
RESET ROLE;
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counters WHERE id::text LIKE 'private:k:%';
SELECT counter_get('private:k:a'), counter_total('private:k:a'), counter_total('private:k:a', now() - interval '4 hours', now() - interval '2 hours') AS then;
-- So it is where the table goes.
SELECT counter_incr_at('private:k:d', now() - interval '3 hours', 7);
SELECT counter_compact() >= 0 AS compacted;
SET ROLE regress_counter_writer;
SELECT counter_cache('regress_counter_writer.own', 'private:k:', 'k', take_over => true);
DROP TABLE regress_counter_writer.own;
RESET ROLE;
SELECT counter_compact() >= 0 AS compacted;
SELECT id, value FROM counters WHERE id::text LIKE 'private:k:%';
SELECT counter_get('private:k:d'), counter_total('private:k:d'), counter_total('private:k:d', now() - interval '4 hours', now() - interval '2 hours') AS then;
SELECT counter_untrack('private:k:');
DROP SCHEMA regress_counter_writer;

DROP VIEW home_visits;
DROP FUNCTION visit, try_as;
DROP TABLE trials;
REVOKE ALL ON counter_ext.total FROM regress_counter_reader, regress_counter_writer, regress_counter_group;
DROP ROLE regress_counter_nobody, regress_counter_reader, regress_counter_writer, regress_counter_group;
