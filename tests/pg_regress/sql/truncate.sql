-- TRUNCATE means zero: of a table whose rows are counted, of likes, of the counters' own tables; together, one after another in any
-- order, in one transaction or several, rolled back to a savepoint, in both modes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
CREATE TABLE tr_parent (id int PRIMARY KEY);
CREATE TABLE tr_rows (id serial, k int REFERENCES tr_parent);
SELECT counter_cache('tr_rows', 'tr:', 'k');
CREATE TABLE tr_bare (k text);
SELECT counter_cache('tr_bare', '', 'k');
-- Rows of three kinds, counted; some folded, some not; an increment by hand in the cache's own space, and one outside.
CREATE PROCEDURE tr_fill() LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE tr_rows, tr_parent, tr_bare, counter_ext.liked, counter_ext.total, counter_ext.slot RESTART IDENTITY;
    COMMIT;
    INSERT INTO tr_parent VALUES (1), (2);
    INSERT INTO tr_rows (k) VALUES (1), (1), (2);
    INSERT INTO tr_bare VALUES ('tr-bare');
    PERFORM counter_like('tr', 'a'), counter_like('tr', 'b');
    COMMIT;
    PERFORM counter_compact();
    COMMIT;
    INSERT INTO tr_rows (k) VALUES (1);
    PERFORM counter_like('tr', 'c');
    COMMIT;
    PERFORM counter_incr('tr:7', 10), counter_incr('tr-else', 10);
    COMMIT;
END $$;
CREATE FUNCTION tr_counts() RETURNS text LANGUAGE sql AS $$
    SELECT format('rows: 1 %s, 2 %s, 7 %s; likes: %s; bare: %s; else: %s', counter_get('tr:1'), counter_get('tr:2'), counter_get('tr:7'),
        counter_likes('tr'), counter_get('tr-bare'), counter_get('tr-else')) $$;
-- Runs the commands in one transaction, each before a bar in a savepoint that is rolled back. Shows the counts as that transaction sees
-- them where they are not what is seen after its commit, and those; and then folded.
CREATE PROCEDURE tr_try(commands text) LANGUAGE plpgsql AS $$
DECLARE
    command text;
    inside text;
    outside text;
BEGIN
    CALL tr_fill();
    FOREACH command IN ARRAY string_to_array(commands, '; ') LOOP
        BEGIN
            EXECUTE trim(TRAILING '|' FROM command);
            IF command LIKE '%|' THEN
                RAISE EXCEPTION USING ERRCODE = 'RBACK';
            END IF;
        EXCEPTION WHEN SQLSTATE 'RBACK' THEN
            NULL;
        END;
    END LOOP;
    inside := tr_counts();
    COMMIT;
    outside := tr_counts();
    PERFORM counter_compact();
    COMMIT;
    RAISE WARNING E'%\n  %', commands, outside;
    IF inside <> outside OR tr_counts() <> outside THEN
        RAISE WARNING '  inside % and folded %', inside, tr_counts();
    END IF;
    IF EXISTS (SELECT FROM counters WHERE value < 0) THEN
        RAISE WARNING '  %', (SELECT string_agg(format('%s is %s', id, value), ', ') FROM counters WHERE value < 0);
    END IF;
END $$;
CREATE PROCEDURE tr_all() LANGUAGE plpgsql AS $$
BEGIN
    CALL tr_try('SELECT 1');
    CALL tr_try('TRUNCATE tr_rows');
    CALL tr_try('TRUNCATE tr_parent CASCADE');
    CALL tr_try('TRUNCATE tr_rows; TRUNCATE tr_rows');
    CALL tr_try('TRUNCATE tr_rows; INSERT INTO tr_rows (k) VALUES (1), (2), (2)');
    CALL tr_try('INSERT INTO tr_rows (k) VALUES (2); TRUNCATE tr_rows RESTART IDENTITY; INSERT INTO tr_rows (k) VALUES (1)');
    CALL tr_try('TRUNCATE tr_rows|');
    CALL tr_try('TRUNCATE tr_rows|; TRUNCATE tr_rows; INSERT INTO tr_rows (k) VALUES (2)');
    CALL tr_try('SELECT counter_incr(''tr:1'', 5); TRUNCATE tr_rows|');
    CALL tr_try('TRUNCATE tr_bare');
    CALL tr_try('TRUNCATE counter_ext.liked');
    CALL tr_try('SELECT counter_like(''tr'', ''d''); TRUNCATE counter_ext.liked; SELECT counter_like(''tr'', ''e'')');
    CALL tr_try('TRUNCATE counter_ext.liked|');
    CALL tr_try('TRUNCATE tr_rows, tr_bare, counter_ext.liked, counter_ext.total, counter_ext.slot');
    CALL tr_try('TRUNCATE counter_ext.slot, counter_ext.total, counter_ext.liked, tr_bare, tr_rows');
    CALL tr_try('TRUNCATE tr_rows, tr_bare, counter_ext.liked; TRUNCATE counter_ext.total, counter_ext.slot');
    CALL tr_try('TRUNCATE counter_ext.total, counter_ext.slot; TRUNCATE tr_rows, tr_bare, counter_ext.liked');
    CALL tr_try('TRUNCATE tr_rows, tr_bare, counter_ext.liked; TRUNCATE counter_ext.total');
    CALL tr_try('TRUNCATE tr_rows, tr_bare, counter_ext.liked; TRUNCATE counter_ext.slot');
    CALL tr_try('TRUNCATE counter_ext.total; TRUNCATE tr_rows, tr_bare, counter_ext.liked; TRUNCATE counter_ext.total');
    CALL tr_try('TRUNCATE counter_ext.slot; TRUNCATE tr_rows, tr_bare, counter_ext.liked');
    CALL tr_try('TRUNCATE counter_ext.total');
    CALL tr_try('SELECT counter_incr(''tr-else'', 5); TRUNCATE counter_ext.total, counter_ext.slot');
    CALL tr_try('SELECT counter_incr(''tr-else'', 5); TRUNCATE counter_ext.total, counter_ext.slot|');
    CALL tr_try('TRUNCATE counter_ext.total; SELECT counter_incr(''tr-else'', 7)');
    CALL tr_try('TRUNCATE counter_ext.total|; SELECT counter_incr(''tr-else'', 7)');
    CALL tr_try('TRUNCATE counter_ext.total; TRUNCATE counter_ext.total|; SELECT counter_incr(''tr-else'', 7)');
    CALL tr_try('TRUNCATE tr_rows|; TRUNCATE counter_ext.total, counter_ext.slot|; TRUNCATE counter_ext.liked');
END $$;
\set VERBOSITY terse
CALL tr_all();
SET counter_ext.mode = 'buffered';
CALL tr_all();
-- Under an old snapshot: what others have committed since is emptied too.
CALL tr_fill();
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM tr_rows;
SAVEPOINT s;
TRUNCATE tr_rows, counter_ext.liked;
RELEASE s;
COMMIT;
SELECT tr_counts();
-- More than a transaction holds pending.
BEGIN;
INSERT INTO tr_bare SELECT 'tr-many:' || g FROM generate_series(1, 70000) AS g;
TRUNCATE tr_bare;
COMMIT;
SELECT count(*) FROM counters WHERE id LIKE 'tr-many:%' AND value <> 0;
BEGIN;
SELECT sum(1) FROM (SELECT counter_incr('tr-many:' || g) FROM generate_series(1, 70000) AS g) AS each;
TRUNCATE counter_ext.total;
COMMIT;
SELECT count(*) FROM counters WHERE id LIKE 'tr-many:%' AND value <> 0;
RESET counter_ext.mode;
DROP TABLE tr_rows, tr_parent, tr_bare;
DROP PROCEDURE tr_all, tr_try, tr_fill;
DROP FUNCTION tr_counts;
TRUNCATE counter_ext.liked, counter_ext.total;
