-- Boards by windows: what members gained in an hour, a day, a week or a month, in the zone in which the board was declared.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DO $$ BEGIN PERFORM counter_compact(); END $$;
RESET client_min_messages;
\set VERBOSITY terse
CREATE PROCEDURE windows_settle() LANGUAGE plpgsql AS $$ BEGIN LOOP
    PERFORM counter_compact();
    EXIT WHEN NOT EXISTS (SELECT FROM counter_ext.board_state WHERE state <> 1) AND NOT EXISTS (SELECT FROM counter_ext.board_changed);
    COMMIT;
    PERFORM pg_sleep(0.01);
END LOOP; END $$;
CREATE FUNCTION windows_attempt(command text, OUT code text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    code := 'ok';
EXCEPTION WHEN OTHERS THEN code := SQLSTATE; message := SQLERRM;
END $$;

-- What was there before is not on it; a board for ever is another one.
SELECT counter_incr('w:anna', 100), counter_incr('w:ben', 50);
BEGIN;
SET LOCAL counter_ext.mode = 'buffered';
SELECT counter_incr('w:ben', 7);
COMMIT;
SELECT counter_board_top('w:');
SELECT counter_board('w:', by => 'month'), counter_board('w:', by => 'month'), counter_board('w:', 'month', '90 days');
SELECT prefix, length, keep_us, zone FROM counter_ext.board_window;
SELECT * FROM counter_board_top('w:');
SELECT counter_incr('w:anna', 5), counter_board_incr('w:', 'cid', 9);
SELECT * FROM counter_board_top('w:');
BEGIN;
SET LOCAL counter_ext.mode = 'buffered';
SELECT counter_incr('w:ben', 6);
COMMIT;
SELECT * FROM counter_board_top('w:');
SELECT m, counter_board_rank('w:', m) FROM unnest('{anna,ben,cid,nobody}'::text[]) m;
SELECT * FROM counter_board_around('w:', 'ben', 1);
CALL windows_settle();
SELECT * FROM counter_board_top('w:');
SELECT m, counter_board_rank('w:', m) FROM unnest('{anna,ben,cid,nobody}'::text[]) m;
SELECT * FROM counter_board_around('w:', 'ben', 1);
SELECT * FROM counter_board_top('w:', 2);
SELECT * FROM counter_board_top('w:', 0);
-- What the transaction does shows, and goes with it.
BEGIN;
SELECT counter_incr('w:dan', 50), counter_incr('w:cid', -20);
SELECT * FROM counter_board_top('w:');
SELECT counter_board_rank('w:', 'dan'), counter_board_rank('w:', 'cid');
SELECT * FROM counter_board_around('w:', 'anna', 2);
SAVEPOINT s;
SELECT counter_incr('w:dan', -60);
SELECT counter_board_rank('w:', 'dan');
ROLLBACK TO s;
SELECT counter_board_rank('w:', 'dan');
ROLLBACK;
SELECT * FROM counter_board_top('w:');

-- Several boards of a prefix.
SELECT counter_board('w:', by => 'hour', keep => '2 days'), counter_board('w:', by => 'hour', keep => '3 days'), counter_board('w:', by => 'week');
SELECT * FROM windows_attempt($$SELECT counter_board_top('w:')$$);
SELECT * FROM windows_attempt($$SELECT counter_board_rank('w:', 'anna')$$);
-- Who may not read counters is not told which boards there are.
CREATE ROLE windows_nobody;
SET ROLE windows_nobody;
SELECT * FROM windows_attempt($$SELECT counter_board_top('w:')$$);
SELECT * FROM windows_attempt($$SELECT counter_board_top('none:')$$);
RESET ROLE;
DROP ROLE windows_nobody;
SELECT * FROM windows_attempt($$SELECT counter_board_top('w:', by => 'day')$$);
SELECT * FROM windows_attempt($$SELECT counter_board_top('w:', by => 'year')$$);
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_board('w:');
SELECT * FROM counter_board_top('w:');
SELECT counter_board_rank('w:', 'anna'), counter_board_rank('w:', 'anna', by => 'month'), counter_board_rank('w:', 'anna', 'hour');
SELECT counter_incr('w:anna', 1);
SELECT * FROM counter_board_top('w:', by => 'hour');
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT * FROM counter_board_around('w:', 'anna', 1, 'month');

-- Resets and sets change the score as they change the total; a drop takes off what is under way.
SELECT counter_reset('w:anna');
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_set('w:anna', 200);
SELECT * FROM counter_board_top('w:', by => 'month');
CALL windows_settle();
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_drop('w:anna');
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_board_rank('w:', 'ben', 'month');
CALL windows_settle();
SELECT * FROM counter_board_top('w:', by => 'month');
BEGIN;
SELECT counter_drop('w:cid');
SELECT * FROM counter_board_top('w:', by => 'month');
ROLLBACK;
SELECT * FROM counter_board_top('w:', by => 'month');
-- Renamed and merged, the score of the window goes along, and nothing else of the total.
SELECT counter_incr('w:ben', 1000), counter_incr('x:old', 5000);
CALL windows_settle();
SELECT counter_rename('w:ben', 'w:bert'), counter_get('w:bert');
SELECT * FROM counter_board_top('w:', by => 'month');
CALL windows_settle();
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_incr('w:bert', 1), counter_merge('w:bert', 'w:cid'), counter_get('w:cid');
SELECT * FROM counter_board_top('w:', by => 'month');
CALL windows_settle();
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT counter_merge('x:old', 'w:cid'), counter_get('w:cid');
SELECT * FROM counter_board_top('w:', by => 'month');
CALL windows_settle();
SELECT * FROM counter_board_top('w:', by => 'month');
SELECT * FROM counter_board_top('w:');

-- Late events go where they belong: each window is what grouping by date_trunc in its zone says, over clocks that change, and ends of months.
CREATE TABLE windows_event (zone text, n integer, member text, at timestamptz, delta bigint);
INSERT INTO windows_event
    SELECT z.zone, n, (n * 7919 % 13)::text, date_trunc('minute', now()) - (n * 104729 % 1700) * interval '13 hours' - n * interval '7 minutes', (n * 31 % 101 - 20) | 1
    FROM unnest('{UTC,Europe/Berlin,Australia/Lord_Howe,America/St_Johns}'::text[]) z (zone), generate_series(1, 240) AS n;
DO $$ DECLARE z text; l text; BEGIN
    FOR z IN SELECT DISTINCT zone FROM windows_event LOOP
        PERFORM set_config('counter_ext.time_zone', z, false);
        FOR l IN SELECT unnest('{hour,day,week,month}'::text[]) LOOP
            PERFORM counter_board('late:' || z || ':', l, '5 years');
        END LOOP;
    END LOOP;
END $$;
RESET counter_ext.time_zone;
SELECT count(counter_incr_at('late:' || zone || ':' || member, at, delta)) FROM windows_event;
CREATE FUNCTION windows_differ(when_ text) RETURNS SETOF text LANGUAGE sql AS $$
    WITH windows AS (
        SELECT zone, length, date_trunc(length, at, zone) AS began, max(at) AS an_instant
        FROM windows_event, unnest('{hour,day,week,month}'::text[]) AS length GROUP BY 1, 2, 3),
    expected AS (
        SELECT zone, length, began, member, sum(delta)::bigint AS score, rank() OVER (PARTITION BY zone, length, began ORDER BY sum(delta) DESC) AS rank
        FROM windows JOIN windows_event USING (zone) WHERE date_trunc(length, at, zone) = began GROUP BY zone, length, began, member),
    shown AS (
        SELECT zone, length, began, t.member, t.score, t.rank
        FROM windows, counter_board_top('late:' || zone || ':', 1000, an_instant, length) t)
    SELECT format('%s: %s windows differ', when_, count(*)) FROM ((SELECT * FROM expected EXCEPT SELECT * FROM shown) UNION ALL (SELECT * FROM shown EXCEPT SELECT * FROM expected)) d
    HAVING count(*) > 0
$$;
SELECT windows_differ('not folded');
CALL windows_settle();
SELECT windows_differ('folded');
SELECT count(*) > 1000 AS windows FROM (SELECT DISTINCT board FROM counter_ext.board_score WHERE board ~ 'late:') b;
-- A finished window takes what is later still, and a drop leaves it alone.
INSERT INTO windows_event SELECT zone, n + 1000, member, at, 5 FROM windows_event WHERE n % 10 = 0;
SELECT count(counter_incr_at('late:' || zone || ':' || member, at, 5)) FROM windows_event WHERE n > 1000;
SELECT windows_differ('later');
CALL windows_settle();
SELECT windows_differ('later, folded');
SELECT count(*) AS members FROM counter_board_top('late:UTC:', 1000, now() - interval '100 days', 'month') t \gset
SELECT counter_drop_prefix('late:UTC:') > 0 AS dropped;
CALL windows_settle();
SELECT count(*) = :members AND count(*) > 0 AS stays FROM counter_board_top('late:UTC:', 1000, now() - interval '100 days', 'month') t;
SELECT * FROM windows_attempt($$SELECT counter_incr_at('late:UTC:a', now() - interval '6 years')$$);
SELECT * FROM windows_attempt($$SELECT counter_incr_at('late:UTC:a', now() + interval '2 hours')$$);
SELECT * FROM windows_attempt($$SELECT counter_incr_at('neither:a', now())$$);
SELECT counter_board_top('late:UTC:', 5, '-infinity', 'day');
SELECT counter_board_top('late:UTC:', 5, 'infinity', 'day');
SELECT counter_board_top('late:UTC:', 5, now() - interval '6 years', 'day');

-- Kept for less, the older ones go; ended, all of them.
CREATE FUNCTION windows_kept(prefix text, length text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(DISTINCT board) FROM counter_ext.board_score WHERE board ~ (prefix || '[0-9a-f]{16}$') AND substr(board, 2, 1) = left(length, 1)
$$;
SELECT counter_board('late:Europe/Berlin:', 'day', '100 days');
SET counter_ext.time_zone = 'Europe/Berlin';
SELECT counter_board('late:Europe/Berlin:', 'day', '100 days'), counter_board('late:Europe/Berlin:', 'day', '100 days');
RESET counter_ext.time_zone;
DO $$ BEGIN FOR i IN 1..300 LOOP
    PERFORM counter_compact();
    COMMIT;
    EXIT WHEN windows_kept('late:Europe/Berlin:', 'day') < 100;
    PERFORM pg_sleep(0.1);
END LOOP; END $$;
SELECT windows_kept('late:Europe/Berlin:', 'day') = (SELECT count(DISTINCT date_trunc('day', at, zone)) FROM windows_event
    WHERE zone = 'Europe/Berlin' AND date_trunc('day', at, zone) >= date_trunc('day', now() - interval '2400 hours', zone)) AS exactly,
    windows_kept('late:Europe/Berlin:', 'hour') > 200 AS others_stay;
SELECT counter_unboard('late:Europe/Berlin:', 'hour'), counter_unboard('late:Europe/Berlin:', 'hour'), counter_unboard('late:Europe/Berlin:');
SELECT * FROM windows_attempt($$SELECT counter_board_top('late:Europe/Berlin:', by => 'hour')$$);
DO $$ BEGIN FOR i IN 1..300 LOOP
    PERFORM counter_compact();
    COMMIT;
    EXIT WHEN windows_kept('late:Europe/Berlin:', 'hour') = 0;
    PERFORM pg_sleep(0.1);
END LOOP; END $$;
SELECT windows_kept('late:Europe/Berlin:', 'hour');

-- Whatever the setting takes, windows begin as days do in a session of that zone: numbers, intervals, names that are abbreviations too.
CREATE TABLE windows_zone (zone text PRIMARY KEY, last timestamptz DEFAULT now());
INSERT INTO windows_zone (zone) VALUES ('+2'), ('-3.5'), ('INTERVAL ''05:30'''), ('US/Eastern'), ('CET'), ('europe/berlin'), ('<ODD>-04:17');
CREATE FUNCTION windows_zone_differs(counts boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE z text; last timestamptz; at timestamptz; began timestamptz; shown bigint[];
BEGIN
    FOR z, last IN SELECT w.zone, w.last FROM windows_zone w LOOP
        PERFORM set_config('counter_ext.time_zone', z, true), set_config('TimeZone', z, true);
        IF counts THEN
            PERFORM counter_board('zone:' || z || ':', 'day', '5 years');
        END IF;
        FOR days IN 0..270 BY 90 LOOP
            at := last - days * interval '1 day';
            began := date_trunc('day', at);
            IF counts THEN
                PERFORM counter_incr_at('zone:' || z || ':' || days, at);
            ELSE
                shown := ARRAY(SELECT (SELECT score FROM counter_board_top('zone:' || z || ':', 1, t, 'day')) FROM unnest(ARRAY[
                    began - interval '1 microsecond', began, began + interval '1 day' - interval '1 microsecond', began + interval '1 day']) t);
                IF shown <> '{NULL,1,1,NULL}' THEN
                    RETURN NEXT format('%s, %s days ago: %s', z, days, shown);
                END IF;
            END IF;
        END LOOP;
    END LOOP;
END $$;
SELECT windows_zone_differs(true);
CALL windows_settle();
SELECT windows_zone_differs(false);
SELECT prefix, zone FROM counter_ext.board_window WHERE prefix ~ '^zone:' ORDER BY prefix;
SET counter_ext.time_zone = 'Europe/Berlin';
SELECT counter_board('zone:europe/berlin:', 'day', '5 years');
SET counter_ext.time_zone = '-2';
SELECT counter_board('zone:+2:', 'day', '5 years');
RESET counter_ext.time_zone;
-- A zone that this server does not know, as after a restore, and a time to keep that is none: counted in UTC, and nothing stops.
SET client_min_messages = error;
INSERT INTO counter_ext.board_window VALUES ('zone:mars:', 'day', now(), 86400000000, 'Mars/Olympus'), ('zone:never:', 'hour', now(), -9000000000000000000, 'UTC'),
    ('zone:long:', 'week', now(), 9000000000000000000, repeat('x', 1000));
SELECT counter_incr('zone:mars:a', 5), counter_incr('zone:never:a', 6), counter_incr('zone:long:a', 7);
DO $$ BEGIN FOR i IN 1..300 LOOP
    PERFORM counter_compact();
    COMMIT;
    EXIT WHEN (SELECT count(*) FROM counter_ext.board_state WHERE state = 1) = (SELECT count(*) FROM counter_ext.board_window) + (SELECT count(*) FROM counter_ext.board);
    PERFORM pg_sleep(0.1);
END LOOP; END $$;
SELECT t.* FROM unnest('{zone:mars:,zone:never:,zone:long:}'::text[]) p, counter_board_top(p) t;
SELECT counter_drop('zone:mars:a'), counter_rename('zone:never:a', 'zone:mars:b');
CALL windows_settle();
RESET client_min_messages;
DELETE FROM counter_ext.board_window WHERE prefix ~ '^zone:';
SELECT counter_drop_prefix('zone:') > 0 AS dropped;
DROP FUNCTION windows_zone_differs;
DROP TABLE windows_zone;

-- What is wrong.
SELECT counter_board('w:', by => 'year');
SELECT counter_board('w:', keep => '1 day');
SELECT counter_board('w:', 'day', '-1 day');
SELECT counter_board(NULL, 'day');
SELECT counter_unboard('w:', 'decade');
SELECT counter_board_rank('w:', '', 'month');
SELECT counter_board_top('w:', -1, by => 'month');
SELECT counter_board_top(NULL, 1, by => 'month'), counter_board_rank('w:', NULL::text, 'month');
BEGIN READ ONLY;
SELECT * FROM counter_board_top('w:', 1, by => 'month');
SELECT counter_board('w:', 'day');
ROLLBACK;
CREATE ROLE counter_ext_window;
SET ROLE counter_ext_window;
SELECT counter_board('w:', 'day');
SELECT counter_unboard('w:', 'month');
SELECT counter_board_top('w:', by => 'month');
SELECT counter_board_rank('w:', 'cid', 'month');
RESET ROLE;
GRANT SELECT ON counter_ext.total TO counter_ext_window;
SET ROLE counter_ext_window;
SELECT * FROM counter_board_top('w:', 1, by => 'month');
RESET ROLE;
DROP OWNED BY counter_ext_window;
DROP ROLE counter_ext_window;

-- By hand, and emptied.
BEGIN;
TRUNCATE counter_ext.total;
SELECT counter_board_top('w:', by => 'month');
SELECT counter_incr('w:anna', 3);
SELECT * FROM counter_board_top('w:', by => 'month');
ROLLBACK;
BEGIN;
SELECT counter_forget_all();
SELECT counter_board_top('w:', by => 'month');
ROLLBACK;
DELETE FROM counter_ext.board_window;
SELECT counter_unboard(prefix) FROM counter_ext.board;
SELECT counter_drop_prefix('w:') > 0 AND counter_drop_prefix('late:') > 0 AS dropped;
DO $$ BEGIN FOR i IN 1..300 LOOP
    PERFORM counter_compact();
    COMMIT;
    EXIT WHEN NOT EXISTS (SELECT FROM counter_ext.board_state) AND NOT EXISTS (SELECT FROM counter_ext.board_changed);
    PERFORM pg_sleep(0.1);
END LOOP; END $$;
SELECT (SELECT count(*) FROM counter_ext.board_score), (SELECT count(*) FROM counter_ext.board_member), (SELECT count(*) FROM counter_ext.board_count), (SELECT count(*) FROM counter_ext.board_state);
DROP TABLE windows_event;
DROP FUNCTION windows_differ, windows_kept, windows_attempt;
DROP PROCEDURE windows_settle;
