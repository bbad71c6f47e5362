-- An id may be of any natural type, for every function; a parameter without a type is text, so that drivers which ask the
-- server for it can send a string.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- What follows the id, by function.
CREATE TABLE ids_functions (name text, others text, untyped text);
INSERT INTO ids_functions VALUES ('counter_incr', '', ''), ('counter_incr', ', 2', ', $2'), ('counter_incr', ', 2::smallint', ', $2'),
    ('counter_incr', ', 2::bigint', ', $2'), ('counter_get', '', ''),
    ('counter_add', '', ''), ('counter_add', ', 2', ', $2'), ('counter_add', ', 2::bigint', ', $2'),
    ('counter_incr', ', 2::numeric', ', $2'), ('counter_add', ', 2::numeric', ', $2'), ('counter_set', ', 2::numeric', ', $2'), ('counter_get_exact', '', ''), ('counter_info', '', ''), ('counter_set', ', 2', ', $2'), ('counter_set', ', 2::bigint', ', $2'), ('counter_filtered', '', ''),
    ('counter_audit_verify', '', ''), ('counter_reset', '', ''), ('counter_drop', '', '');

-- The types of a call's parameters as the server finds them.
CREATE FUNCTION ids_parameters(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    types text;
BEGIN
    EXECUTE 'PREPARE ids_probe AS SELECT ' || call;
    SELECT parameter_types::text INTO types FROM pg_prepared_statements WHERE name = 'ids_probe';
    DEALLOCATE ids_probe;
    RETURN types;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT DISTINCT name, untyped, ids_parameters(format('%s($1%s)', name, untyped)) AS all_untyped,
    ids_parameters(format('%s(''a''%s)', name, replace(untyped, '2', '1'))) AS after_literal,
    ids_parameters(format('%s(42%s)', name, replace(untyped, '2', '1'))) AS after_integer
    FROM ids_functions ORDER BY 1, 2;
SELECT DISTINCT name, others, ids_parameters(format('%s($1%s)', name, others)) AS id_untyped FROM ids_functions WHERE others <> '' ORDER BY 1, 2;
SELECT ids_parameters('counter_incr($1::text, 2::numeric)'), ids_parameters('counter_incr(delta => $1, id => $2)');

-- Each way to write an id finds one function, and the id that its text says.
CREATE DOMAIN ids_text AS text;
CREATE DOMAIN ids_varchar AS varchar(40);
CREATE DOMAIN ids_bigint AS bigint;
CREATE DOMAIN ids_uuid AS uuid;
CREATE DOMAIN ids_counter AS counter;
CREATE TABLE ids_columns (t text, v varchar(40), n name, c char(8), k counter, s smallint, i integer, b bigint, u uuid,
    dt ids_text, dv ids_varchar, db ids_bigint, du ids_uuid, dk ids_counter);
INSERT INTO ids_columns VALUES ('ids:a', 'ids:a', 'ids:a', 'ids:a', 'ids:a', 4200, 4200, 4200, '0A0000000000000000000000000000FF', 'ids:a', 'ids:a', 4200, '{0a000000-0000-0000-0000-0000000000ff}', 'ids:a');
CREATE FUNCTION ids_attempt(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer text;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT %s FROM ids_columns) AS x', call) INTO answer;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE VIEW ids_expressions AS SELECT unnest('{''ids:a'',''ids:a''::text,''ids:''||''a'',t,v,n,c,k,s,i,b,u,dt,dv,db,du,dk,4200,4200::smallint,4200::bigint,''4200'',
    ''0a000000-0000-0000-0000-0000000000ff''}'::text[]) AS expression;
SELECT name, others, expression, ids_attempt(format('%s(%s%s)', name, expression, others)) FROM ids_functions, ids_expressions
    WHERE ids_attempt(format('%s(%s%s)', name, expression, others)) <> 'ok';
SELECT count(counter_drop(id)) AS dropped FROM counters WHERE id IN ('ids:a', '4200', '0a000000-0000-0000-0000-0000000000ff');
SELECT expression, ids_attempt(format('counter_incr(%s)', expression)) FROM ids_expressions WHERE ids_attempt(format('counter_incr(%s)', expression)) <> 'ok';
-- Each counted once. Trailing blanks of char(n) mean nothing, as in any comparison of it.
SELECT id, value FROM counters WHERE id IN ('ids:a', '4200', '0a000000-0000-0000-0000-0000000000ff') ORDER BY id;
SELECT counter_get(c), counter_get('ids:a '), counter_get(u), counter_get(u::text), counter_get(upper(u::text)), counter_get(i), counter_get(k) FROM ids_columns;
SELECT value, exact FROM ids_columns, counter_info(u);
SELECT value, exact FROM ids_columns, counter_info(b);

-- An id is checked as the type's input is.
\set VERBOSITY terse
SELECT counter_get(''::text);
SELECT counter_get(repeat('x', 256));
SELECT counter_incr(repeat('é', 128));
SELECT counter_get(E'\x01' || 'a');
SELECT counter_get('   '::char(3));
-- What is no id stays an error.
SELECT counter_get(1.5);
SELECT counter_get(true);
SELECT counter_get(now());
SELECT counter_get(ARRAY['a']);
\set VERBOSITY default


-- Whole numerics are amounts: sum() of bigint is one.
CREATE TABLE ids_hits (page text, hits bigint);
INSERT INTO ids_hits VALUES ('ids:sum', 3), ('ids:sum', 4), ('ids:sum2', 5);
SELECT count(counter_incr(page, total)), count(counter_set('ids:set:' || page, total)), array_agg(counter_add(page, total) ORDER BY page)
    FROM (SELECT page, sum(hits) AS total FROM ids_hits GROUP BY page) s;
SELECT counter_get('ids:sum'), counter_get('ids:sum2'), counter_get('ids:set:ids:sum');
SELECT counter_add('ids:sum', 2.000), counter_add('ids:sum', -7::numeric), counter_add('ids:sum'::counter, sum(hits)) FROM ids_hits;
SELECT counter_set('ids:set:ids:sum', 9223372036854775807::numeric), counter_set('ids:set:ids:sum2', -9223372036854775808.0);
SELECT counter_get('ids:set:ids:sum'), counter_get('ids:set:ids:sum2');
SELECT counter_incr('ids:sum', NULL::numeric), counter_add(NULL::text, 1::numeric), counter_set('ids:sum', NULL::numeric);
DO $$
DECLARE
    call text;
    hint text;
BEGIN
    FOREACH call IN ARRAY ARRAY['counter_incr(''ids:sum'', 9.99)', 'counter_add(''ids:sum'', -0.5)', 'counter_set(''ids:sum'', 1e-20)', 'counter_incr(''ids:sum'', ''NaN''::numeric)',
        'counter_add(''ids:sum'', 9223372036854775808)', 'counter_set(''ids:sum'', -9223372036854775809::numeric)', 'counter_incr(''ids:sum'', 1e200)', 'counter_incr(''ids:sum'', 1.5::float8)',
        'counter_incr(true, 2::numeric)', 'counter_incr(now(), 2::numeric)', 'counter_incr(ARRAY[1], 2::numeric)', 'counter_incr('''', 2::numeric)', 'counter_incr(1.5, 2)',
        'counter_add(repeat(''x'', 256), 2::numeric)', 'counter_add(E''\x01a'', 2::numeric)', 'counter_incr(true)', 'counter_incr(1.5)'] LOOP
        BEGIN
            EXECUTE 'SELECT ' || call;
            RAISE NOTICE '%: taken', call;
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            RAISE NOTICE '%: % %', call, SQLSTATE, SQLERRM;
            IF SQLSTATE NOT IN ('42883') AND hint <> '' THEN RAISE NOTICE '    %', hint; END IF;
        END;
    END LOOP;
END $$;
SELECT counter_get('ids:sum');

-- counter_add returns what counter_get says next, in the caller's transaction.
SELECT counter_add('ids:added'), counter_add('ids:added', 10), counter_get('ids:added');
BEGIN;
SELECT counter_incr('ids:added', 100), counter_add('ids:added'), counter_get('ids:added');
SAVEPOINT s;
SELECT counter_add('ids:added', 1000);
ROLLBACK TO s;
SELECT counter_add('ids:added', -1);
ROLLBACK;
SELECT counter_add('ids:added', 0), counter_get_exact('ids:added');
SELECT counter_add('ids:none', 0), counter_add(4200, 3), counter_add('4200'::counter), counter_add(u) FROM ids_columns;
SELECT sum(counter_add('ids:added')) FROM generate_series(1, 3);
SET counter_ext.mode = buffered;
SELECT counter_add('ids:added'), counter_add('ids:added', 2::numeric);
RESET counter_ext.mode;
SELECT counter_get('ids:added');
\set VERBOSITY sqlstate
SELECT counter_add('ids:set:ids:sum', 1);
SELECT counter_get('ids:set:ids:sum');
BEGIN READ ONLY;
SELECT counter_add('ids:added');
ROLLBACK;
CREATE ROLE regress_counter_adds;
SET ROLE regress_counter_adds;
SELECT counter_add('ids:added');
RESET ROLE;
GRANT INSERT, UPDATE ON counter_ext.total TO regress_counter_adds;
SET ROLE regress_counter_adds;
SELECT counter_add('ids:added');
SELECT counter_incr('ids:added', 0);
RESET ROLE;
REVOKE INSERT ON counter_ext.total FROM regress_counter_adds;
GRANT SELECT ON counter_ext.total TO regress_counter_adds;
SET ROLE regress_counter_adds;
SELECT counter_add('ids:added');
SELECT counter_get('ids:added');
RESET ROLE;
GRANT INSERT ON counter_ext.total TO regress_counter_adds;
SET ROLE regress_counter_adds;
SELECT counter_add('ids:added');
RESET ROLE;
\set VERBOSITY default
REVOKE ALL ON counter_ext.total FROM regress_counter_adds;
DROP ROLE regress_counter_adds;

-- Arrays: of text and of bigint. What is of another type is cast.
SELECT ids_parameters('counter_incr_many($1, $2)'), ids_parameters('counter_incr_many(''{a}'', ''{1}'')'), ids_parameters('counter_incr_many(ARRAY[''a''], $1)');
SELECT counter_incr_many(array_agg(page), array_agg(total)::bigint[]) FROM (SELECT page, sum(hits) AS total FROM ids_hits GROUP BY page) s;
SELECT counter_incr_many(array_agg(u)::text[]), counter_incr_many(array_agg(i)::text[]) FROM ids_columns;

SELECT count(counter_drop(id)) AS dropped FROM counters WHERE id LIKE 'ids:%' OR id IN ('4200', '0a000000-0000-0000-0000-0000000000ff');
DROP TABLE ids_hits;
DROP FUNCTION ids_parameters, ids_attempt;
DROP VIEW ids_expressions;
DROP TABLE ids_functions, ids_columns;
DROP DOMAIN ids_text, ids_varchar, ids_bigint, ids_uuid, ids_counter;
