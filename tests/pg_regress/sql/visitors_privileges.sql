-- Privileges on counter_ext.visitors decide who may visit and read visitors; those on counter_ext.total, who may count views.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DROP ROLE IF EXISTS regress_visits_nobody, regress_visits_reader, regress_visits_visitor, regress_visits_counter;
RESET client_min_messages;
CREATE ROLE regress_visits_nobody;
CREATE ROLE regress_visits_reader;
CREATE ROLE regress_visits_visitor;
CREATE ROLE regress_visits_counter;
GRANT SELECT ON counter_ext.visitors TO regress_visits_reader;
GRANT INSERT, UPDATE ON counter_ext.visitors TO regress_visits_visitor;
GRANT ALL ON counter_ext.total, counter_ext.slot TO regress_visits_counter;
SELECT counter_visit('private:v', 1, 5), counter_visit(790011, 1);

-- Tries each call as a role; says what came of it. A trial changes nothing.
CREATE TABLE trials (position int, call text);
INSERT INTO trials VALUES
    (1, 'counter_visitors(''private:v'')'), (2, 'counter_visitors(790011)'), (3, 'counter_visitors(''private:v'', ''2026-01-01'', ''2026-01-01'')'),
    (4, 'counter_visitors(''private:v'', "to" => ''infinity'')'), (5, 'counter_visitors(''private:unknown'')'),
    (6, 'counter_visitors_union(''{private:v}'')'), (7, 'counter_visitors_union(''{}'')'),
    (20, 'counter_visit(''private:v'', 1)'), (21, 'counter_visit(''private:v'', 2)'), (22, 'counter_visit(''private:v'', ''2''::text)'),
    (23, 'counter_visit(790011, 1)'), (24, 'counter_visit(790011, ''1'')'), (25, 'counter_visit(''private:new'', 1)'),
    (30, 'counter_visit(''private:v'', 1, 1)'), (31, 'counter_visit(790011, 2, views => -1)'), (32, 'counter_visit(790011, 2, 0)'),
    (40, 'counter_drop(''private:v'')'), (41, 'counter_drop(''private:unknown'')'),
    (50, 'count(*) >= 0 FROM counter_ext.visitors'), (51, 'count(*) >= 0 FROM counter_ext.visit');
GRANT SELECT ON trials TO PUBLIC;
CREATE FUNCTION try_as(who regrole, first int = 0, last int = 99) RETURNS TABLE (call text, outcome text) LANGUAGE plpgsql AS $$
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

-- Without privileges: nothing. Reading: SELECT. Visiting: INSERT and UPDATE. Rights on the counters' tables are none here.
SELECT outcome, count(*) FROM try_as('regress_visits_nobody') GROUP BY outcome ORDER BY outcome;
SELECT * FROM try_as('regress_visits_reader');
SELECT * FROM try_as('regress_visits_visitor');
SELECT * FROM try_as('regress_visits_counter');
-- One of the two does not do; nor do privileges on columns, nor on the other table.
REVOKE INSERT ON counter_ext.visitors FROM regress_visits_visitor;
SELECT outcome, count(*) FROM try_as('regress_visits_visitor', 20, 39) GROUP BY outcome ORDER BY outcome;
GRANT INSERT ON counter_ext.visitors TO regress_visits_visitor;
REVOKE UPDATE ON counter_ext.visitors FROM regress_visits_visitor;
SELECT outcome, count(*) FROM try_as('regress_visits_visitor', 20, 39) GROUP BY outcome ORDER BY outcome;
GRANT UPDATE ON counter_ext.visitors TO regress_visits_visitor;
GRANT ALL ON counter_ext.visit TO regress_visits_nobody;
GRANT SELECT (id, day, sketch), INSERT (id, day, sketch), UPDATE (id, day, sketch) ON counter_ext.visitors TO regress_visits_nobody;
SELECT outcome, count(*) FROM try_as('regress_visits_nobody', 1, 41) GROUP BY outcome ORDER BY outcome;
REVOKE SELECT (id, day, sketch), INSERT (id, day, sketch), UPDATE (id, day, sketch) ON counter_ext.visitors FROM regress_visits_nobody;
REVOKE ALL ON counter_ext.visit FROM regress_visits_nobody;
-- views take the counters' rights too.
GRANT INSERT, UPDATE ON counter_ext.total TO regress_visits_visitor;
SELECT * FROM try_as('regress_visits_visitor', 30, 39);
REVOKE ALL ON counter_ext.total FROM regress_visits_visitor;
-- Dropping an id that has visitors takes DELETE on both; one that has none, only the counters'.
GRANT DELETE ON counter_ext.visitors TO regress_visits_counter;
SELECT * FROM try_as('regress_visits_counter', 40, 41);
REVOKE DELETE ON counter_ext.total FROM regress_visits_counter;
SELECT * FROM try_as('regress_visits_counter', 40, 41);
REVOKE DELETE ON counter_ext.visitors FROM regress_visits_counter;
-- The trials changed nothing.
SELECT counter_visitors('private:v'), counter_visitors(790011), counter_get('private:v'), counter_visitors('private:new');

-- The messages name what is missing.
SET ROLE regress_visits_nobody;
SELECT counter_visitors('private:v');
SELECT counter_visit('private:v', 1);
RESET ROLE;
SET ROLE regress_visits_visitor;
SELECT counter_visit('private:v', 2, 1);
RESET ROLE;
SET ROLE regress_visits_counter;
SELECT counter_incr('private:v');
SELECT counter_reset('private:v');
RESET ROLE;
GRANT DELETE ON counter_ext.total TO regress_visits_counter;
SET ROLE regress_visits_counter;
SELECT counter_drop('private:v');
RESET ROLE;
SELECT counter_visitors('private:v'), counter_get('private:v');

-- The role that matters is the one that calls: within a transaction, through SECURITY DEFINER, at COMMIT nobody's.
BEGIN;
SET LOCAL ROLE regress_visits_visitor;
SELECT counter_visit('private:v', 3);
SAVEPOINT s;
SELECT counter_visitors('private:v');
ROLLBACK TO s;
SET LOCAL ROLE regress_visits_reader;
SELECT counter_visitors('private:v');
SAVEPOINT s;
SELECT counter_visit('private:v', 3);
ROLLBACK TO s;
RESET ROLE;
REVOKE ALL ON counter_ext.visitors FROM regress_visits_visitor;
SAVEPOINT s;
SET LOCAL ROLE regress_visits_visitor;
SELECT counter_visit('private:v', 3);
ROLLBACK TO s;
COMMIT;
SELECT counter_visitors('private:v');
GRANT INSERT, UPDATE ON counter_ext.visitors TO regress_visits_visitor;
CREATE FUNCTION lent(page text, who int) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM counter_visit(page, who);
    RETURN counter_visitors(page);
END $$;
SET ROLE regress_visits_nobody;
SELECT lent('private:lent', 1), lent('private:lent', 2), lent('private:lent', 1);
SELECT counter_visitors('private:lent');
RESET ROLE;
CREATE VIEW lent_view AS SELECT counter_visitors('private:lent') AS visitors;
GRANT SELECT ON lent_view TO PUBLIC;
SET ROLE regress_visits_nobody;
SELECT * FROM lent_view;
SET ROLE regress_visits_reader;
SELECT * FROM lent_view;
RESET ROLE;
DROP VIEW lent_view;
DROP FUNCTION lent;
-- Memberships count at once; pg_read_all_data reads, pg_write_all_data visits.
GRANT pg_read_all_data TO regress_visits_nobody;
SELECT call FROM try_as('regress_visits_nobody', 1, 41) WHERE outcome LIKE 'ok%';
REVOKE pg_read_all_data FROM regress_visits_nobody;
GRANT pg_write_all_data TO regress_visits_nobody;
SELECT call FROM try_as('regress_visits_nobody', 1, 39) WHERE outcome LIKE 'ok%';
REVOKE pg_write_all_data FROM regress_visits_nobody;
SELECT outcome, count(*) FROM try_as('regress_visits_nobody') GROUP BY outcome ORDER BY outcome;

-- Row security cannot be honoured by memory, so it is refused to those it applies to: on either table.
GRANT SELECT, INSERT, UPDATE ON counter_ext.visitors, counter_ext.total TO regress_visits_nobody;
ALTER TABLE counter_ext.visitors ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON counter_ext.visitors USING (true);
SELECT outcome, count(*) FROM try_as('regress_visits_nobody', 1, 39) GROUP BY outcome ORDER BY outcome;
SET ROLE regress_visits_nobody;
SELECT counter_visitors('private:v');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visit('private:v', 1);
RESET ROLE;
SELECT counter_visitors('private:v'), counter_visit('private:v', 1);
ALTER ROLE regress_visits_nobody BYPASSRLS;
SELECT outcome, count(*) FROM try_as('regress_visits_nobody', 1, 7) GROUP BY outcome ORDER BY outcome;
ALTER ROLE regress_visits_nobody NOBYPASSRLS;
DROP POLICY all_rows ON counter_ext.visitors;
ALTER TABLE counter_ext.visitors DISABLE ROW LEVEL SECURITY;
ALTER TABLE counter_ext.visit ENABLE ROW LEVEL SECURITY;
SELECT outcome, count(*) FROM try_as('regress_visits_nobody', 1, 39) GROUP BY outcome ORDER BY outcome;
ALTER TABLE counter_ext.visit DISABLE ROW LEVEL SECURITY;
-- Row security on the counters' tables does not concern visits without views.
ALTER TABLE counter_ext.total ENABLE ROW LEVEL SECURITY;
SELECT * FROM try_as('regress_visits_nobody', 20, 39);
ALTER TABLE counter_ext.total DISABLE ROW LEVEL SECURITY;

DROP FUNCTION try_as;
DROP TABLE trials;
REVOKE ALL ON counter_ext.visitors, counter_ext.total, counter_ext.slot
    FROM regress_visits_nobody, regress_visits_reader, regress_visits_visitor, regress_visits_counter;
DROP ROLE regress_visits_nobody, regress_visits_reader, regress_visits_visitor, regress_visits_counter;
