-- What can be called, and with what: every function's declaration; NULL in every place; every function that may run beside a
-- parallel plan, run beside one.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
CREATE VIEW surface_functions AS
    SELECT p.*, n.nspname, p.prorettype::regtype::text AS result, pg_get_function_identity_arguments(p.oid) AS arguments
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
    WHERE e.extname = 'counter_ext';

-- A function that a parallel plan may be beside must not write; one that a worker may run must not look into our memory. Not
-- STRICT is what says itself which NULL it takes.
\pset format unaligned
SELECT nspname || '.' || proname || '(' || arguments || ')' AS function, CASE prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE lanname END AS language,
    CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
    CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel, proisstrict AS strict, proretset AS rows
    FROM surface_functions JOIN pg_language l ON l.oid = prolang
    ORDER BY (nspname || '.' || proname || '(' || arguments) COLLATE "C";
\pset format aligned
-- One in SQL that is VOLATILE begins a command of its own unless it is inlined, and that a parallel plan refuses. Those that return
-- rows are not inlined, nor are those with settings or other rights.
SELECT nspname, proname FROM surface_functions JOIN pg_language l ON l.oid = prolang
    WHERE lanname IN ('sql', 'plpgsql') AND provolatile = 'v' AND proparallel <> 'u'
        AND (proretset OR prosecdef OR proconfig IS NOT NULL OR lanname = 'plpgsql');

-- A value for an argument: NULL for the one at position `null_at`, from `source` where that is not NULL.
CREATE FUNCTION surface_arguments(types oid[], names text[], null_at int DEFAULT 0, source text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(CASE WHEN i = null_at THEN 'NULL' ELSE CASE t::regtype::text
            WHEN 'bigint' THEN coalesce(source, '1') WHEN 'integer' THEN CASE names[i] WHEN 'log2m' THEN '14' ELSE '1' END WHEN 'boolean' THEN 'false' WHEN 'regclass' THEN '''pg_class'''
            WHEN 'text[]' THEN CASE names[i] WHEN 'resolutions' THEN '''{day}''' WHEN 'keep' THEN '''{forever}''' ELSE '''{a}''' END WHEN 'bigint[]' THEN '''{1}''' WHEN 'integer[]' THEN '''{1}''' WHEN 'smallint[]' THEN '''{1}''' WHEN 'timestamp with time zone[]' THEN '''{2026-01-01}''' WHEN 'interval' THEN '''1 s''' WHEN 'interval[]' THEN '''{1 s}''' WHEN 'inet' THEN '''1.2.3.4''' WHEN 'date' THEN '''2026-01-01'''
            WHEN 'cstring[]' THEN '''{14}''' WHEN 'anyelement' THEN '1' WHEN 'counter_hll' THEN 'counter_hll_empty()'
            WHEN 'bytea' THEN 'counter_hll_empty()' WHEN 'oid' THEN '0' WHEN 'timestamp with time zone' THEN '''2026-01-01'''
            WHEN 'smallint' THEN '1' WHEN 'numeric' THEN '1' WHEN 'double precision' THEN '1' WHEN 'uuid' THEN '''a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'''
            ELSE CASE names[i] WHEN 'step' THEN '''day''' WHEN 'by' THEN '''day''' WHEN 'after' THEN '''0:a''' WHEN 'cursor' THEN '''0:a''' ELSE coalesce(source || '::text', '''a''') END END END
        || '::' || CASE t::regtype::text WHEN 'anyelement' THEN 'integer' WHEN '"any"' THEN 'text' ELSE t::regtype::text END, ', ' ORDER BY i), '')
    FROM unnest(types) WITH ORDINALITY AS each (t, i)
$$;
-- What a call gives, undone.
CREATE FUNCTION surface_attempt(command text, OUT code text, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RAISE EXCEPTION USING ERRCODE = 'RBACK';
EXCEPTION
    WHEN SQLSTATE 'RBACK' THEN code := 'ok';
    WHEN OTHERS THEN code := SQLSTATE; message := SQLERRM;
END $$;

-- Series are of counters that are tracked.
SELECT counter_track('a'), counter_track('1'), counter_track('2');
-- And boards of those that are declared, for ever and by windows.
SELECT counter_board('a'), counter_board('a', by => 'day');

-- NULL in each place of each function: nothing but an answer, or 22004 with the argument's name.
CREATE TEMP TABLE surface_nulls AS
    SELECT proname, arguments, position, proargnames[position] AS argument, attempt.*
    FROM surface_functions, generate_series(1, pronargs) AS position,
        surface_attempt(format('SELECT %I.%I(%s)', nspname, proname, surface_arguments(proargtypes::oid[], proargnames, position))) AS attempt
    WHERE result NOT IN ('trigger', 'event_trigger') AND NOT 'internal'::regtype = ANY (proargtypes)
        AND proname <> 'no_arithmetic' AND prokind <> 'p';
SELECT count(*) > 100 AS many FROM surface_nulls;
SELECT proname, arguments, position, code, message FROM surface_nulls
    WHERE code <> 'ok' AND NOT (code = '22004' AND message = format('argument "%s" is NULL', argument))
        -- Where NULL says that there is none, and it is another's value that names no column.
        AND NOT (argument IN ('amount', 'only', 'through', 'key') AND message ~ '^(column )?"a" (is not a column of a table|of table "pg_class" does not exist)$') ORDER BY 1, 2, 3;
SELECT DISTINCT proname, argument FROM surface_nulls WHERE code = '22004' ORDER BY 1, 2;

-- Beside a parallel plan: all that say they can be.
CREATE TABLE surface_big AS SELECT g AS k FROM generate_series(1, 20000) AS g;
ALTER TABLE surface_big SET (parallel_workers = 2);
ANALYZE surface_big;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT proname, arguments, attempt.* FROM surface_functions,
        surface_attempt(format('CREATE TABLE surface_made AS SELECT n, x::text FROM (SELECT count(*) AS n FROM surface_big) AS big, LATERAL (SELECT %I.%I(%s) AS x) AS called',
            nspname, proname, surface_arguments(proargtypes::oid[], proargnames, 0, 'n'))) AS attempt
    WHERE proparallel <> 'u' AND prokind = 'f' AND result NOT IN ('trigger', 'event_trigger', 'internal') AND NOT 'internal'::regtype = ANY (proargtypes)
        AND code <> 'ok'
    ORDER BY 1, 2;
SELECT proname, arguments, attempt.* FROM surface_functions,
        surface_attempt(format('CREATE TABLE surface_made AS SELECT n, x.* FROM (SELECT count(*) AS n FROM surface_big) AS big, LATERAL %I.%I(%s) AS x',
            nspname, proname, surface_arguments(proargtypes::oid[], proargnames, 0, 'n'))) AS attempt
    WHERE proparallel <> 'u' AND proretset AND code <> 'ok'
    ORDER BY 1, 2;
EXPLAIN (COSTS off) SELECT n, i.* FROM (SELECT count(*) AS n FROM surface_big) AS big, LATERAL counter_info(n) AS i;
CREATE TABLE surface_made AS SELECT n, v.value FROM (SELECT count(*) AS n FROM surface_big) AS big, counters AS v;
SELECT counter_untrack('a'), counter_untrack('1'), counter_untrack('2'), counter_unboard('a'), counter_unboard('a', 'day');
DROP TABLE surface_made, surface_big, surface_nulls;
DROP VIEW surface_functions;
DROP FUNCTION surface_arguments, surface_attempt;
