-- A visit belongs to its transaction: committed it counts, rolled back it never was.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- Commit and rollback; the transaction sees its own visits at once, of the day too.
BEGIN;
SELECT counter_visit('visits:a', 1), counter_visit('visits:a', 1), counter_visit('visits:a', 2);
SELECT counter_visitors('visits:a'), counter_visitors('visits:a', '-infinity'), counter_visitors_union('{visits:a,visits:b}');
COMMIT;
SELECT counter_visitors('visits:a');
BEGIN;
SELECT counter_visit('visits:a', 2), counter_visit('visits:a', 3), counter_visit('visits:b', 3, 5);
SELECT counter_visitors('visits:a'), counter_visitors('visits:b'), counter_get('visits:b');
ROLLBACK;
SELECT counter_visitors('visits:a'), counter_visitors('visits:b'), counter_get('visits:b');
BEGIN;
SELECT counter_visit('visits:a', 3);
SELECT 1 / 0;
COMMIT;
SELECT counter_visitors('visits:a'), counter_visit('visits:a', 3) AS still_new;
SELECT id FROM counter_ext.visit WHERE id = 'visits:b' UNION SELECT id FROM counter_ext.visitors WHERE id = 'visits:b';

-- Savepoints, nested: rolled back, released, and both.
BEGIN;
SELECT counter_visit('visits:s', 1);
SAVEPOINT one;
SELECT counter_visit('visits:s', 2), counter_visit('visits:s1', 1);
SAVEPOINT two;
SELECT counter_visit('visits:s', 3), counter_visit('visits:s', 1), counter_visit('visits:s1', 2);
SELECT counter_visitors('visits:s'), counter_visitors('visits:s1');
ROLLBACK TO two;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s1');
SELECT counter_visit('visits:s', 3) AS new_again, counter_visit('visits:s', 2);
RELEASE two;
SAVEPOINT two;
SELECT counter_visit('visits:s', 4);
RELEASE one;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s1');
COMMIT;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s1');
-- What was released into a savepoint goes with it.
BEGIN;
SAVEPOINT one;
SAVEPOINT two;
SELECT counter_visit('visits:s', 5), counter_visit('visits:s2', 5);
RELEASE two;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s2');
ROLLBACK TO one;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s2');
COMMIT;
SELECT counter_visitors('visits:s'), counter_visitors('visits:s2');
-- Many savepoints, every other one rolled back; an error in a block leaves what was visited before it.
DO $$
DECLARE
    new int := 0;
BEGIN
    FOR i IN 1..1000 LOOP
        BEGIN
            new := new + counter_visit('visits:blocks', i)::int;
            IF i % 2 = 0 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN
            PERFORM counter_visit('visits:caught', i);
        END;
    END LOOP;
    BEGIN
        PERFORM counter_visit('visits:blocks', 5000), counter_visit('', 1);
    EXCEPTION WHEN invalid_parameter_value THEN
        RAISE NOTICE 'caught: %, new: %, within: %', SQLERRM, new, counter_visitors('visits:blocks');
    END;
END $$;
SELECT counter_visitors('visits:blocks'), counter_visitors('visits:caught');

-- counter_drop takes visitors too: in a transaction, to a savepoint, and for good.
SELECT counter_visit('visits:d', i, 1) FROM generate_series(1, 3) i;
SELECT counter_drop('visits:d'), counter_drop('visits:d'), counter_visitors('visits:d'), counter_get('visits:d');
SELECT count(*) FROM counter_ext.visit WHERE id = 'visits:d';
SELECT counter_visit('visits:d', 1) AS new_again, counter_visit('visits:d', 2);
SELECT counter_compact() >= 0 AS compacted;
BEGIN;
SELECT counter_visit('visits:d', 3);
SAVEPOINT s;
SELECT counter_drop('visits:d'), counter_visitors('visits:d');
SELECT counter_visit('visits:d', 3) AS new_again, counter_visit('visits:d', 4), counter_visitors('visits:d');
ROLLBACK TO s;
SELECT counter_visitors('visits:d'), counter_visit('visits:d', 1);
SAVEPOINT s;
SELECT counter_drop('visits:d');
SELECT counter_visit('visits:d', 7), counter_visitors('visits:d');
RELEASE s;
SELECT counter_visitors('visits:d');
ROLLBACK;
SELECT counter_visitors('visits:d');
BEGIN;
SELECT counter_drop('visits:d'), counter_visit('visits:d', 9), counter_visitors('visits:d');
COMMIT;
SELECT counter_visitors('visits:d'), counter_visitors('visits:d', '-infinity');
-- What only the transaction itself has visited is dropped without a row.
BEGIN;
SELECT counter_visit('visits:own', 1), counter_drop('visits:own'), counter_drop('visits:own'), counter_visitors('visits:own');
COMMIT;
SELECT counter_visitors('visits:own'), counter_drop('visits:own');

-- Every isolation level visits and reads alike; read-only transactions only read.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT counter_visitors('visits:level');
SELECT counter_visit('visits:level', 1), counter_visitors('visits:level');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_visit('visits:level', 1), counter_visit('visits:level', 2), counter_visitors('visits:level');
COMMIT;
BEGIN READ ONLY;
SELECT counter_visitors('visits:level'), counter_visitors_union('{visits:level}');
SAVEPOINT s;
SELECT counter_visit('visits:level', 1);
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
SELECT counter_visit('visits:level', 3, 1);
ROLLBACK;
SET default_transaction_read_only = on;
SELECT counter_visit('visits:level', 3);
RESET default_transaction_read_only;
SELECT counter_visitors('visits:level'), counter_get('visits:level');

-- Triggers, also deferred ones that visit at the very end; procedures that commit; cursors that COMMIT runs to their end.
CREATE TABLE clicks (page text, who int);
CREATE FUNCTION note_click() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM counter_visit(TG_ARGV[0] || new.page, new.who);
    RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT ON clicks FOR EACH ROW EXECUTE FUNCTION note_click('visits:now:');
CREATE CONSTRAINT TRIGGER note_later AFTER INSERT ON clicks DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION note_click('visits:later:');
BEGIN;
INSERT INTO clicks VALUES ('a', 1), ('a', 2), ('b', 1), ('a', 1);
SELECT counter_visitors('visits:now:a'), counter_visitors('visits:later:a');
COMMIT;
SELECT counter_visitors('visits:now:a'), counter_visitors('visits:later:a'), counter_visitors('visits:later:b');
BEGIN;
INSERT INTO clicks VALUES ('a', 3), (repeat('x', 250), 1);
COMMIT;
SELECT counter_visitors('visits:now:a'), counter_visitors('visits:later:a');
DROP TABLE clicks;
CREATE PROCEDURE visit_all(last int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..last LOOP
        PERFORM counter_visit('visits:procedure', i);
        IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
    END LOOP;
END $$;
CALL visit_all(10);
SELECT counter_visitors('visits:procedure');
BEGIN;
DECLARE visiting NO SCROLL CURSOR WITH HOLD FOR SELECT i, counter_visit('visits:cursor', i % 4) AS new FROM generate_series(1, 6) i;
FETCH 2 FROM visiting;
SELECT counter_visitors('visits:cursor');
COMMIT;
SELECT counter_visitors('visits:cursor');
FETCH ALL FROM visiting;
CLOSE visiting;
DROP PROCEDURE visit_all;
DROP FUNCTION note_click;

-- A commit that fails at the last moment, when visits are written already, leaves none, neither in rows nor in memory.
SELECT counter_visit('visits:last', 1), counter_visitors('visits:last');
BEGIN;
CREATE TEMP TABLE parents (id int PRIMARY KEY) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE children (id int REFERENCES parents) ON COMMIT PRESERVE ROWS;
SELECT counter_visit('visits:last', 2), counter_visitors('visits:last');
COMMIT;
SELECT counter_visitors('visits:last'), counter_visitors('visits:last', '-infinity'), counter_visit('visits:last', 2) AS new;

-- Two-phase commit: prepared visits count from COMMIT PREPARED on.
SELECT counter_visit('visits:p', 1), counter_visitors('visits:p');
BEGIN;
SELECT counter_visit('visits:p', 2), counter_visit('visits:p2', 1);
SAVEPOINT s;
SELECT counter_visit('visits:p', 3);
ROLLBACK TO s;
SELECT counter_visitors('visits:p');
PREPARE TRANSACTION 'counter_ext_visits_1';
SELECT counter_visitors('visits:p'), counter_visitors('visits:p2');
SELECT counter_visit('visits:p', 2) AS not_seen_yet, counter_visit('visits:p', 4), counter_visitors('visits:p');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_visitors('visits:p'), counter_visitors('visits:p2');
COMMIT PREPARED 'counter_ext_visits_1';
SELECT counter_visitors('visits:p'), counter_visitors('visits:p2'), counter_visit('visits:p2', 1);
BEGIN;
SELECT counter_visit('visits:p', 5), counter_drop('visits:p2');
PREPARE TRANSACTION 'counter_ext_visits_2';
SELECT counter_visitors('visits:p'), counter_visitors('visits:p2');
ROLLBACK PREPARED 'counter_ext_visits_2';
SELECT counter_visitors('visits:p'), counter_visitors('visits:p2');
BEGIN;
SELECT counter_drop('visits:p2'), counter_visit('visits:p2', 8), counter_visit('visits:p2', 9);
PREPARE TRANSACTION 'counter_ext_visits_3';
SELECT counter_visitors('visits:p2'), counter_visit('visits:p2', 7), counter_visitors('visits:p2');
COMMIT PREPARED 'counter_ext_visits_3';
SELECT counter_visitors('visits:p2');

-- More ids than a transaction holds pending, with a savepoint among them, and prepared.
CREATE FUNCTION visit_many(first int, last int, visitor int) RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FILTER (WHERE counter_visit('visits:many:' || i, visitor)) FROM generate_series(first, last) i $$;
CREATE FUNCTION visitors_of_many() RETURNS bigint LANGUAGE sql AS $$ SELECT sum(counter_visitors('visits:many:' || i)) FROM generate_series(1, 20000) i $$;
BEGIN;
SELECT visit_many(1, 20000, 1), visit_many(19000, 20000, 1) AS again;
SELECT visitors_of_many();
SAVEPOINT s;
SELECT visit_many(1, 20000, 2), visitors_of_many();
ROLLBACK TO s;
SELECT visitors_of_many();
SELECT visit_many(19998, 20000, 3);
COMMIT;
SELECT visitors_of_many(), counter_visitors('visits:many:1'), counter_visitors('visits:many:20000');
BEGIN;
SELECT visit_many(1, 20000, 4);
ROLLBACK;
BEGIN;
SELECT visit_many(1, 20000, 5);
PREPARE TRANSACTION 'counter_ext_visits_4';
SELECT visitors_of_many();
COMMIT PREPARED 'counter_ext_visits_4';
SELECT visitors_of_many();
SELECT counter_compact() >= 0 AS compacted;
SELECT visitors_of_many(), visit_many(1, 20000, 5) AS again;
DROP FUNCTION visit_many, visitors_of_many;
