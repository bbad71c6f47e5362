-- An id may be of any natural type, for every function; a parameter without a type is text, so that drivers which ask the
-- server for it can send a string.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- What follows the id, by function.
CREATE TABLE ids_functions (name text, others text, untyped text);
INSERT INTO ids_functions VALUES ('counter_incr', '', ''), ('counter_incr', ', 2', ', $2'), ('counter_incr', ', 2::smallint', ', $2'),
    ('counter_incr', ', 2::bigint', ', $2'), ('counter_get', '', ''),
    ('counter_get_exact', '', ''), ('counter_info', '', ''), ('counter_set', ', 2', ', $2'), ('counter_set', ', 2::bigint', ', $2'), ('counter_filtered', '', ''),
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

SELECT counter_drop('ids:a'), counter_drop(4200), counter_drop(u) FROM ids_columns;
DROP FUNCTION ids_parameters, ids_attempt;
DROP VIEW ids_expressions;
DROP TABLE ids_functions, ids_columns;
DROP DOMAIN ids_text, ids_varchar, ids_bigint, ids_uuid, ids_counter;
