-- An increment belongs to its transaction: committed it counts once, rolled back it never counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- Commit and rollback; the transaction reads its own increments at once.
BEGIN;
SELECT counter_incr('tx:a', 10);
SELECT counter_incr('tx:a', 5);
SELECT counter_get('tx:a'), counter_get_exact('tx:a'), (counter_info('tx:a')).value;
SELECT * FROM counter_get_many('{tx:a,tx:b}');
COMMIT;
SELECT counter_get('tx:a'), counter_get_exact('tx:a');
BEGIN;
SELECT counter_incr('tx:a', 100), counter_incr('tx:new', 100);
SELECT counter_get('tx:a'), counter_get_exact('tx:a'), counter_get('tx:new');
ROLLBACK;
SELECT counter_get('tx:a'), counter_get_exact('tx:a'), counter_get('tx:new');
SELECT count(*) FROM counter_info('tx:new');
-- A failed transaction is a rolled back one.
BEGIN;
SELECT counter_incr('tx:a', 100);
SELECT 1 / 0;
SELECT counter_incr('tx:a', 100);
COMMIT;
SELECT counter_get('tx:a');
-- Chains.
BEGIN;
SELECT counter_incr('tx:a');
COMMIT AND CHAIN;
SELECT counter_incr('tx:a', 100);
ROLLBACK AND CHAIN;
SELECT counter_incr('tx:a');
COMMIT;
SELECT counter_get('tx:a'), counter_get_exact('tx:a');

-- Savepoints, nested: rolled back, released, and both.
BEGIN;
SELECT counter_incr('tx:s', 1);
SAVEPOINT one;
SELECT counter_incr('tx:s', 10), counter_incr('tx:s1', 10);
SAVEPOINT two;
SELECT counter_incr('tx:s', 100), counter_incr('tx:s2', 100);
SAVEPOINT three;
SELECT counter_incr('tx:s', 1000), counter_incr('tx:s1', 1000);
SELECT id, value FROM counter_get_many('{tx:s,tx:s1,tx:s2}');
ROLLBACK TO two;
SELECT id, value FROM counter_get_many('{tx:s,tx:s1,tx:s2}');
SELECT counter_incr('tx:s', 10000);
RELEASE two;
SELECT id, value FROM counter_get_many('{tx:s,tx:s1,tx:s2}');
SAVEPOINT two;
SELECT counter_incr('tx:s', 100000);
RELEASE one;
SELECT id, value FROM counter_get_many('{tx:s,tx:s1,tx:s2}');
COMMIT;
SELECT id, value FROM counter_get_many('{tx:s,tx:s1,tx:s2}');
-- What was released into a savepoint goes with it.
BEGIN;
SAVEPOINT one;
SAVEPOINT two;
SELECT counter_incr('tx:s', 7), counter_incr('tx:s3', 7);
RELEASE two;
SELECT counter_get('tx:s'), counter_get('tx:s3');
ROLLBACK TO one;
SELECT counter_get('tx:s'), counter_get('tx:s3');
SELECT counter_incr('tx:s3', 1);
COMMIT;
SELECT counter_get('tx:s'), counter_get('tx:s3');
-- Many savepoints, every other one rolled back.
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        BEGIN
            PERFORM counter_incr('tx:blocks', i);
            IF i % 2 = 0 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN
            PERFORM counter_incr('tx:caught');
        END;
    END LOOP;
END $$;
SELECT counter_get('tx:blocks'), counter_get_exact('tx:blocks'), counter_get('tx:caught');
-- A failed call in a block leaves what was counted before it.
DO $$
BEGIN
    PERFORM counter_incr('tx:kept', 3);
    BEGIN
        PERFORM counter_incr('tx:kept', 10), counter_incr('');
    EXCEPTION WHEN invalid_parameter_value THEN
        RAISE NOTICE 'caught: %', SQLERRM;
    END;
    RAISE NOTICE 'within: %', counter_get('tx:kept');
END $$;
SELECT counter_get('tx:kept');

-- Reset, set and drop obey savepoints too.
SELECT counter_set('tx:r', 50);
BEGIN;
SELECT counter_incr('tx:r', 1);
SAVEPOINT s;
SELECT counter_reset('tx:r');
SELECT counter_incr('tx:r', 2);
SELECT counter_get('tx:r'), counter_get_exact('tx:r');
ROLLBACK TO s;
SELECT counter_get('tx:r'), counter_get_exact('tx:r');
SELECT counter_set('tx:r', 1000);
SELECT counter_get('tx:r'), counter_get_exact('tx:r');
ROLLBACK TO s;
SELECT counter_drop('tx:r');
SELECT counter_get('tx:r'), counter_get_exact('tx:r'), (SELECT count(*) FROM counter_info('tx:r')) AS exists;
SELECT counter_incr('tx:r', 3);
SELECT counter_get('tx:r'), counter_get_exact('tx:r');
ROLLBACK TO s;
SELECT counter_get('tx:r'), counter_get_exact('tx:r');
COMMIT;
SELECT counter_get('tx:r'), counter_get_exact('tx:r');

-- Procedures that commit and roll back on the way.
CREATE PROCEDURE count_to(steps int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..steps LOOP
        PERFORM counter_incr('tx:procedure', i);
        IF i % 3 = 0 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
        IF i % 4 = 0 THEN
            RAISE NOTICE 'after %: %', i, counter_get('tx:procedure');
        END IF;
    END LOOP;
END $$;
CALL count_to(10);
SELECT counter_get('tx:procedure'), counter_get_exact('tx:procedure');

-- Triggers: plain, and deferred to the end of the transaction.
CREATE TABLE votes (topic text, weight int);
CREATE FUNCTION count_vote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM counter_incr(TG_ARGV[0] || new.topic, new.weight);
    RETURN NULL;
END $$;
CREATE TRIGGER votes_count AFTER INSERT ON votes FOR EACH ROW EXECUTE FUNCTION count_vote('tx:votes:');
CREATE CONSTRAINT TRIGGER votes_count_later AFTER INSERT ON votes DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION count_vote('tx:deferred:');
BEGIN;
INSERT INTO votes VALUES ('a', 1), ('b', 2), ('a', 3);
SELECT id, value FROM counter_get_many('{tx:votes:a,tx:votes:b,tx:deferred:a,tx:deferred:b}');
COMMIT;
SELECT id, value FROM counter_get_many('{tx:votes:a,tx:votes:b,tx:deferred:a,tx:deferred:b}');
BEGIN;
INSERT INTO votes VALUES ('a', 10);
SET CONSTRAINTS ALL IMMEDIATE;
SELECT id, value FROM counter_get_many('{tx:votes:a,tx:deferred:a}');
ROLLBACK;
-- An error at the last moment, in a deferred trigger, takes all back.
BEGIN;
INSERT INTO votes VALUES ('b', 10), (repeat('x', 245), 10);
COMMIT;
SELECT id, value FROM counter_get_many('{tx:votes:a,tx:votes:b,tx:deferred:a,tx:deferred:b}');
SELECT count(*) FROM votes;

-- Cursors count as they are fetched; one that is held is run to its end by COMMIT.
BEGIN;
DECLARE counting NO SCROLL CURSOR FOR SELECT i, counter_incr('tx:cursor', i) FROM generate_series(1, 5) i;
FETCH 2 FROM counting;
SELECT counter_get('tx:cursor');
FETCH 1 FROM counting;
COMMIT;
SELECT counter_get('tx:cursor'), counter_get_exact('tx:cursor');
BEGIN;
DECLARE held NO SCROLL CURSOR WITH HOLD FOR SELECT i, counter_incr('tx:held', i) FROM generate_series(1, 5) i;
FETCH 2 FROM held;
SELECT counter_get('tx:held');
COMMIT;
SELECT counter_get('tx:held'), counter_get_exact('tx:held');
FETCH ALL FROM held;
CLOSE held;
SELECT counter_get('tx:held'), counter_get_exact('tx:held');
-- A cursor that reads sees what its own transaction counts meanwhile, if it asks for the fresh total.
BEGIN;
DECLARE reading CURSOR FOR SELECT i, counter_get('tx:held') FROM generate_series(1, 3) i;
FETCH 1 FROM reading;
SELECT counter_incr('tx:held', 100);
FETCH 1 FROM reading;
ROLLBACK;

-- Every isolation level counts and reads alike.
BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT counter_incr('tx:level', 1);
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
COMMIT;
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT counter_incr('tx:level', 10);
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT counter_incr('tx:level', 100);
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT counter_incr('tx:level', 1000);
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
SAVEPOINT s;
SELECT counter_incr('tx:level', 10000);
ROLLBACK TO s;
SELECT counter_reset('tx:level'), counter_get('tx:level'), counter_get_exact('tx:level');
SELECT counter_set('tx:level', 5), counter_drop('tx:level');
SELECT counter_incr('tx:level', 2000);
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
COMMIT;
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT counter_get('tx:level'), counter_get_exact('tx:level');
COMMIT;

-- synchronous_commit decides when a commit is durable, not what it counts.
SET synchronous_commit = off;
SELECT counter_incr('tx:level', 1);
RESET synchronous_commit;
SELECT counter_get('tx:level');

-- Two-phase commit: prepared increments count from COMMIT PREPARED on.
BEGIN;
SELECT counter_incr('tx:p', 5), counter_incr('tx:p2', 6);
SAVEPOINT s;
SELECT counter_incr('tx:p', 100);
ROLLBACK TO s;
SAVEPOINT s;
SELECT counter_incr('tx:p', 1000);
RELEASE s;
SELECT counter_get('tx:p');
PREPARE TRANSACTION 'counter_ext_regress_1';
SELECT counter_get('tx:p'), counter_get_exact('tx:p'), counter_get('tx:p2');
SELECT counter_incr('tx:p', 10000);
SELECT counter_get('tx:p'), counter_get_exact('tx:p');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('tx:p'), counter_get_exact('tx:p');
COMMIT PREPARED 'counter_ext_regress_1';
SELECT counter_get('tx:p'), counter_get_exact('tx:p'), counter_get('tx:p2');
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_get('tx:p'), counter_get_exact('tx:p'), counter_get('tx:p2');
BEGIN;
SELECT counter_incr('tx:p', 7);
PREPARE TRANSACTION 'counter_ext_regress_2';
SELECT counter_get('tx:p');
ROLLBACK PREPARED 'counter_ext_regress_2';
SELECT counter_get('tx:p'), counter_get_exact('tx:p');
-- So with reset, set and drop.
SELECT counter_set('tx:p:set', 1), counter_set('tx:p:reset', 2), counter_set('tx:p:drop', 3);
BEGIN;
SELECT counter_set('tx:p:set', 10), counter_reset('tx:p:reset'), counter_drop('tx:p:drop'), counter_incr('tx:p:drop', 4);
PREPARE TRANSACTION 'counter_ext_regress_3';
SELECT id, value FROM counter_get_many('{tx:p:set,tx:p:reset,tx:p:drop}');
SELECT counter_incr_many('{tx:p:set,tx:p:reset,tx:p:drop}', '{100,200,300}');
SELECT id, value FROM counter_get_many('{tx:p:set,tx:p:reset,tx:p:drop}');
COMMIT PREPARED 'counter_ext_regress_3';
SELECT id, value FROM counter_get_many('{tx:p:set,tx:p:reset,tx:p:drop}');
SELECT counter_get_exact('tx:p:set'), counter_get_exact('tx:p:reset'), counter_get_exact('tx:p:drop');
-- More counters than get a lock each.
BEGIN;
SELECT counter_incr_many(ARRAY(SELECT 'tx:p:many:' || i FROM generate_series(1, 200) i));
PREPARE TRANSACTION 'counter_ext_regress_4';
SELECT sum(value) FROM counter_get_many(ARRAY(SELECT 'tx:p:many:' || i FROM generate_series(1, 200) i));
COMMIT PREPARED 'counter_ext_regress_4';
SELECT sum(value) FROM counter_get_many(ARRAY(SELECT 'tx:p:many:' || i FROM generate_series(1, 200) i));

-- A transaction of more counters than backend memory holds spills to rows; nothing else changes.
CREATE FUNCTION bulk(first int, last int) RETURNS text[] LANGUAGE sql AS
    $$ SELECT array_agg('tx:bulk:' || i) FROM generate_series(first, last) i $$;
BEGIN;
SELECT counter_incr('tx:bulk:1', 1000);
SAVEPOINT s;
SELECT counter_incr_many(bulk(1, 100000));
SELECT counter_get('tx:bulk:1'), counter_get('tx:bulk:2'), counter_get('tx:bulk:99999'), counter_get_exact('tx:bulk:99999');
SELECT sum(value) FROM counter_get_many(bulk(1, 100000));
ROLLBACK TO s;
SELECT counter_get('tx:bulk:1'), counter_get('tx:bulk:2'), counter_get('tx:bulk:99999'), counter_get_exact('tx:bulk:99999');
COMMIT;
SELECT count(*), sum(value) FROM counters WHERE id LIKE 'tx:bulk:%';
BEGIN;
SELECT counter_incr_many(bulk(1, 100000));
SAVEPOINT s;
SELECT counter_incr_many(bulk(1, 70000), array_fill(10::bigint, ARRAY[70000]));
RELEASE s;
SELECT counter_incr('tx:bulk:5', 1000000);
SELECT counter_get('tx:bulk:1'), counter_get('tx:bulk:5'), counter_get('tx:bulk:99999'), counter_get_exact('tx:bulk:5');
ROLLBACK;
SELECT count(*), sum(value) FROM counters WHERE id LIKE 'tx:bulk:%';
BEGIN;
SELECT counter_incr_many(bulk(1, 100000));
SAVEPOINT s;
SELECT counter_incr('tx:bulk:5', 10);
ROLLBACK TO s;
SAVEPOINT s;
SELECT counter_incr('tx:bulk:5', 100), counter_incr('tx:bulk:99999', 100);
RELEASE s;
COMMIT;
SELECT counter_get('tx:bulk:1'), counter_get('tx:bulk:5'), counter_get('tx:bulk:99999'), counter_get_exact('tx:bulk:5');
SELECT count(*), sum(value) FROM counters WHERE id LIKE 'tx:bulk:%';
-- And prepared.
BEGIN;
SELECT counter_incr_many(bulk(1, 70000));
PREPARE TRANSACTION 'counter_ext_regress_5';
SELECT counter_get('tx:bulk:5'), counter_get('tx:bulk:70000');
COMMIT PREPARED 'counter_ext_regress_5';
SELECT counter_get('tx:bulk:5'), counter_get('tx:bulk:70000');
SELECT counter_compact() >= 0 AS compacted;
SELECT count(*), sum(value) FROM counters WHERE id LIKE 'tx:bulk:%';
SELECT sum(value) FROM counter_get_many(bulk(1, 100000));

TRUNCATE counter_ext.slot, counter_ext.total;
SELECT count(*) FROM counters;
SELECT counter_get('tx:bulk:5'), counter_get_exact('tx:bulk:5'), counter_get('tx:a');
DROP FUNCTION bulk;
DROP TABLE votes;
DROP FUNCTION count_vote;
DROP PROCEDURE count_to;
