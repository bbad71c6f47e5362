-- The type counter_hll: sketches that know how many distinct values they have seen, and the aggregates that make them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
SET timezone = 'UTC';

-- The whole use.
CREATE TABLE visits (day integer, page text, visitor bigint);
INSERT INTO visits SELECT day, 'page ' || day % 2, (day * 100 + v) % 1000 FROM generate_series(1, 10) day, generate_series(1, 300) v;
CREATE TABLE days (day integer PRIMARY KEY, visitors counter_hll);
INSERT INTO days SELECT day, counter_hll_agg(visitor) FROM visits GROUP BY day;
SELECT counter_uniq(visitor), count(DISTINCT visitor) FROM visits;
SELECT #counter_hll_union_agg(visitors) AS all_days, min(#visitors), max(counter_hll_count(visitors)), count(*) FROM days;
SELECT #(a.visitors || b.visitors) AS two_days FROM days a, days b WHERE a.day = 1 AND b.day = 2;
UPDATE days SET visitors = counter_hll_add(visitors, 12345::bigint) WHERE day = 1;
UPDATE days SET visitors = counter_hll_add(visitors, 12345::bigint) WHERE day = 1;
SELECT #visitors FROM days WHERE day = 1;

-- It is shown as bytes: version and stage, parameters, then nothing, hashes, or registers.
SELECT counter_hll_agg(NULL::integer) AS empty, counter_hll_agg(1) AS one, counter_hll_agg(v) AS two FROM generate_series(1, 2) v;
SELECT stage, counter_hll_agg(v, 4, 5, 2, sparseon) AS sketch, #counter_hll_agg(v, 4, 5, 2, sparseon) AS count
    FROM (VALUES ('1 empty', 0, 1), ('2 explicit', 2, 1), ('3 sparse', 3, 1), ('4 full', 3, 0), ('4 full', 100, 1)) s (stage, n, sparseon)
    LEFT JOIN LATERAL generate_series(1, n) v ON true GROUP BY stage, n, sparseon ORDER BY stage, n;
SELECT counter_hll_empty(), counter_hll_empty(11), counter_hll_empty(sparseon => 0), counter_hll_empty(24, 8, 0, 0), #counter_hll_empty(4) AS nothing_seen;
SELECT '\x118e7f'::counter_hll, '\x118E7F'::counter_hll, '\021\216\177'::counter_hll, CAST('\x118e7f' AS counter_hll);
SET bytea_output = escape;
SELECT '\x118e7f'::counter_hll;
RESET bytea_output;
-- What is read comes into one form: hashes none, entries more than registers take, registers less than entries take.
SELECT '\x12847f'::counter_hll, '\x14847f00000000000000000000'::counter_hll, '\x14847f00004000000000000000'::counter_hll,
    '\x13847f00884826140a8582e180c868361c0e8783e1'::counter_hll;
SELECT '\x14843f00000000000000000000'::counter_hll, '\x13843f3100'::counter_hll;
-- Seven entries of eight bits are less than sixteen registers of four, eight are as much.
SELECT '\x1464401111111000000000'::counter_hll AS sparse, '\x1364400111213141516171'::counter_hll AS "full";
-- A register takes no more than it can hold.
SELECT counter_hll_agg(v, 4, 1, 0, 0) AS one_bit, counter_hll_agg(v, 4, 2, 0, 0) AS two_bits, counter_hll_agg(v, 4, 3, 0, 0) AS three_bits FROM generate_series(1, 12) v;
SELECT #'\x14847f00000000000000000000'::counter_hll AS nothing_seen;

-- Type modifiers: log2m, regwidth, expthresh, sparseon; what is left out is 14, 5, -1, 1.
CREATE TABLE sketches (name text, any_kind counter_hll, small counter_hll(4), wide counter_hll(11,6), early counter_hll(11,5,0), dense counter_hll(11,5,64,0));
SELECT attname, format_type(atttypid, atttypmod), attstorage, attalign FROM pg_attribute
    WHERE attrelid = 'sketches'::regclass AND attnum > 1 ORDER BY attnum;
SELECT typstorage, typlen, typtype, typcategory FROM pg_type WHERE typname = 'counter_hll';
INSERT INTO sketches SELECT 'fits', counter_hll_agg(v), counter_hll_agg(v, 4), counter_hll_agg(v, 11, 6, -1, 1),
    counter_hll_agg(v, 11, 5, 0, 1), counter_hll_agg(v, 11, 5, 64, 0) FROM generate_series(1, 70) v;
SELECT name, #any_kind AS any_kind, #small AS small, #wide AS wide, #early AS early, #dense AS dense FROM sketches;
INSERT INTO sketches (name, small) SELECT 'other log2m', counter_hll_agg(1);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO sketches (name, wide) SELECT 'other regwidth', counter_hll_agg(1, 11);
INSERT INTO sketches (name, early) SELECT 'other expthresh', counter_hll_agg(1, 11);
INSERT INTO sketches (name, dense) SELECT 'other sparseon', counter_hll_agg(1, 11, 5, 64, 1);
INSERT INTO sketches (name, small) VALUES ('literal', '\x118e7f');
\echo :LAST_ERROR_SQLSTATE
COPY sketches (name, small) FROM STDIN;
copied	\\x118e7f
\.
\echo :LAST_ERROR_SQLSTATE
UPDATE sketches SET small = any_kind;
SELECT '\x118e7f'::counter_hll(11);
SELECT any_kind::counter_hll(11) FROM sketches;
SELECT '\x118e7f'::counter_hll(14,5,-1,1), '\x118e7f'::bytea::counter_hll(14), '\x118b7f'::counter_hll(11)::counter_hll;
ALTER TABLE sketches ALTER any_kind TYPE counter_hll(11);
ALTER TABLE sketches ALTER any_kind TYPE counter_hll(14);
ALTER TABLE sketches ALTER any_kind TYPE counter_hll;
-- A NULL sketch to add to has the usual parameters.
UPDATE sketches SET any_kind = counter_hll_add(NULL, 1), early = NULL;
UPDATE sketches SET early = counter_hll_add(early, 1);
SELECT #any_kind AS any_kind, early FROM sketches;
UPDATE sketches SET early = counter_hll_add(counter_hll_empty(11, 5, 0), 1);
SELECT #early AS early FROM sketches;
-- Modifiers out of range, too many, no integers.
CREATE TABLE wrong (s counter_hll(3));
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE wrong (s counter_hll(25));
CREATE TABLE wrong (s counter_hll(14,0));
CREATE TABLE wrong (s counter_hll(14,9));
CREATE TABLE wrong (s counter_hll(14,5,-2));
CREATE TABLE wrong (s counter_hll(14,5,3));
CREATE TABLE wrong (s counter_hll(14,5,2147483648));
CREATE TABLE wrong (s counter_hll(14,5,-1,2));
CREATE TABLE wrong (s counter_hll(14,5,-1,1,1));
CREATE TABLE wrong (s counter_hll(eleven));
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE widest (s counter_hll(24,8,1073741824,0), t counter_hll(4,1,0,1));
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'widest'::regclass AND attnum > 0 ORDER BY attnum;

-- What is not a sketch is refused, each kind with its reason.
SELECT ''::counter_hll;
\echo :LAST_ERROR_SQLSTATE
SELECT '\x118e'::counter_hll;
SELECT 'abc'::counter_hll;
SELECT '\x218e7f'::counter_hll;
SELECT '\x108e7f00'::counter_hll;
SELECT '\x108e'::counter_hll;
SELECT '\x158e7f'::counter_hll;
SELECT '\x11837f'::counter_hll;
SELECT '\x11997f'::counter_hll;
SELECT '\x118e60'::counter_hll;
SELECT '\x118eff'::counter_hll;
SELECT '\x118e7f00'::counter_hll;
SELECT '\x128e7f00000000000000'::counter_hll;
SELECT '\x14847f000000000000000000'::counter_hll;
SELECT '\x14847f0000000000000000000000'::counter_hll;
SELECT ('\x128e7f' || (SELECT string_agg(int8send(v), '' ORDER BY v) FROM generate_series(1::bigint, 16384) v))::counter_hll;
SELECT #('\x128e7f' || (SELECT string_agg(int8send(v), '' ORDER BY v) FROM generate_series(1::bigint, 16383) v))::counter_hll AS most;
SELECT '\x128e7f00000000000000020000000000000001'::counter_hll;
SELECT '\x128e7f00000000000000010000000000000001'::counter_hll;
-- Hashes are in order as signed numbers.
SELECT '\x128e7f0000000000000001ffffffffffffffff'::counter_hll;
SELECT #'\x128e7fffffffffffffffff0000000000000001'::counter_hll AS two;
SELECT '\x13847f312840'::counter_hll;
SELECT '\x13847f509880'::counter_hll;
SELECT '\x13847f311880'::counter_hll;
SELECT '\x13847f3000'::counter_hll;
SELECT '\x13847f3101'::counter_hll;
SELECT '\x13847f310000'::counter_hll;
SELECT '\x13847f31'::counter_hll;
-- The same for bytes, and for what is no hexadecimal number.
\set VERBOSITY sqlstate
SELECT '\x13847f3101'::bytea::counter_hll;
SELECT '\x'::bytea::counter_hll;
SELECT '\x118e7g'::counter_hll;
SELECT '\x118e7'::counter_hll;
INSERT INTO sketches (any_kind) VALUES ('\x13847f3101');
COPY sketches (any_kind) FROM STDIN;
\\x13847f3101
\.
SELECT '\x118e7f'::text::counter_hll;
SELECT '\x118e7f00'::text::counter_hll;
SELECT ARRAY['\x118e7f', '\x']::counter_hll[];
-- Of postgresql-hll's undefined sketch nobody knows what it has seen. It has parameters, but for its first byte alone, and so has what it is united with.
\set VERBOSITY default
SELECT '\x10'::counter_hll, '\x10'::counter_hll(11), '\x108b7f'::counter_hll, '\x10'::bytea::counter_hll, #'\x10'::counter_hll IS NULL AS no_count,
    counter_hll_add('\x108b7f', 1), '\x108b7f'::counter_hll || counter_hll_agg(1, 11) AS "union", counter_hll_agg(1, 11) || '\x108b7f' AS noinu, '\x108b7f' = '\x10'::counter_hll(11) AS same;
SELECT counter_hll_union_agg(s) AS "union", #counter_hll_union_agg(s) IS NULL AS no_count FROM (VALUES (counter_hll_add(NULL, 1)), ('\x10'), (counter_hll_add(NULL, 2)), (NULL)) AS v (s);
SELECT counter_hll_union_agg(s ORDER BY n DESC) AS "union" FROM (VALUES (1, counter_hll_add(NULL, 1)), (2, '\x10')) AS v (n, s);
SELECT '\x108b7f'::counter_hll(14), '\x108b7f'::counter_hll::counter_hll(12);
SELECT '\x10'::counter_hll || counter_hll_agg(1, 11);
\set VERBOSITY sqlstate
-- There is no least sketch, and no way from or to anything but bytes.
SELECT min(visitors) FROM days;
SELECT 1::counter_hll;
SELECT visitors::bigint FROM days;
SELECT visitors = '\x118e7f'::bytea FROM days;
\set VERBOSITY default
SELECT visitors::bytea = visitors::text::bytea AS same, visitors::bytea::counter_hll = visitors AS back FROM days WHERE day = 3;

-- Equal is who has the same bytes.
SELECT a.day, b.day, a.visitors = b.visitors AS eq, a.visitors <> b.visitors AS ne FROM days a, days b WHERE a.day = 2 AND b.day IN (2, 3) ORDER BY b.day;
SELECT '\x12847f'::counter_hll = '\x11847f' AS read_into_one_form, '\x118e7f'::counter_hll = '\x118b7f' AS other_parameters,
    '\x118e7f'::counter_hll = NULL AS unknown;
INSERT INTO days SELECT day + 100, visitors FROM days WHERE day <= 3;
SELECT count(*), count(DISTINCT visitors::bytea) FROM days;
SELECT count(DISTINCT visitors) FROM days;
EXPLAIN (COSTS OFF) SELECT visitors, count(*) FROM days GROUP BY visitors;
SELECT n, count(*) FROM (SELECT visitors, count(*) AS n FROM days GROUP BY visitors) g GROUP BY n ORDER BY n;
SELECT count(*) FROM (SELECT DISTINCT visitors FROM days) d;
SELECT count(*) FROM (SELECT visitors FROM days WHERE day <= 2 UNION SELECT visitors FROM days WHERE day > 100) u;
SET enable_nestloop = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT a.day, b.day FROM days a JOIN days b ON a.visitors = b.visitors WHERE a.day < b.day;
SELECT a.day, b.day FROM days a JOIN days b ON a.visitors = b.visitors WHERE a.day < b.day ORDER BY 1;
RESET enable_nestloop;
RESET enable_mergejoin;
SELECT day FROM days WHERE visitors IN (SELECT visitors FROM days WHERE day = 101) ORDER BY day;
SELECT day FROM days WHERE visitors IS DISTINCT FROM (SELECT visitors FROM days WHERE day = 101) AND day < 4 ORDER BY day;
CREATE INDEX ON days USING hash (visitors);
SET enable_seqscan = off;
SELECT day FROM days WHERE visitors = (SELECT visitors FROM days WHERE day = 102) ORDER BY day;
RESET enable_seqscan;
DELETE FROM days WHERE day > 100;

-- Union: commutative, associative, of one with itself the same; only of the same parameters.
SELECT bool_and(a.visitors || b.visitors = b.visitors || a.visitors) AS commutes, bool_and(a.visitors || a.visitors = a.visitors) AS idempotent,
    bool_and((a.visitors || b.visitors) || c.visitors = a.visitors || (b.visitors || c.visitors)) AS associates,
    bool_and(a.visitors || '\x118e7f' = a.visitors) AS with_empty
    FROM days a, days b, days c WHERE a.day <= 3 AND b.day <= 5;
SELECT (a.visitors || NULL) = a.visitors AS the_one, (NULL || a.visitors) = a.visitors AS the_other, (NULL::counter_hll || NULL) IS NULL AS neither FROM days a WHERE day = 1;
SELECT '\x118e7f'::counter_hll || '\x118b7f'::counter_hll;
\echo :LAST_ERROR_SQLSTATE
SELECT '\x118e7f'::counter_hll || '\x11ae7f'::counter_hll;
SELECT '\x118e7f'::counter_hll || '\x118e40'::counter_hll;
SELECT '\x118e7f'::counter_hll || '\x118e3f'::counter_hll;
SELECT counter_hll_union_agg(s) FROM (VALUES ('\x118e7f'::counter_hll), ('\x118b7f')) s (s);
\echo :LAST_ERROR_SQLSTATE
SELECT #counter_hll_union_agg(s) AS of_two FROM (VALUES (counter_hll_add(NULL, 1)), (NULL), (counter_hll_add(NULL, 2))) s (s);
SELECT counter_hll_union_agg(visitors) = (SELECT counter_hll_agg(visitor) FROM visits WHERE day > 1) AS same FROM days WHERE day > 1;
-- Past the exact stage too, of ten values here.
SELECT counter_hll_union_agg(s) = counter_hll_union_agg(s ORDER BY n DESC) AS commutes, counter_hll_union_agg(s) = (SELECT counter_hll_agg(v, 7) FROM generate_series(1, 100) v) AS same
    FROM (SELECT n, counter_hll_agg(10 * n + v, 7) AS s FROM generate_series(0, 9) n, generate_series(1, 10) v GROUP BY n) x;

-- Adding: a NULL sketch is an empty one, a NULL value adds nothing, an untyped literal is text.
SELECT counter_hll_add(NULL, NULL) AS empty, counter_hll_add(NULL, NULL::integer) AS empty_too, counter_hll_add('\x118b7f', NULL) AS unchanged;
SELECT counter_hll_add(NULL, 'a') = counter_hll_add(NULL, 'a'::text) AS literal, counter_hll_add('\x118b7f', 'a');
SELECT #counter_hll_add(counter_hll_add(counter_hll_add(NULL, 1), 2), 1) AS two;
SELECT #counter_hll_add(counter_hll_add(NULL, 1), 1::bigint) AS other_type_other_value;
PREPARE add_text AS SELECT counter_hll_add(NULL, $1) = counter_hll_add(NULL, 'a');
EXECUTE add_text('a');
SELECT counter_hll_add('nonsense', 1);

-- Aggregates without rows, without values, with some.
CREATE TABLE none (v integer, s counter_hll);
SELECT counter_hll_agg(v), counter_hll_agg(v, 11), counter_hll_agg(v, 11, 5, -1, 1), counter_hll_union_agg(s), counter_uniq(v) FROM none;
SELECT v, counter_uniq(v) FROM none GROUP BY v;
INSERT INTO none VALUES (NULL, NULL), (NULL, NULL);
SELECT counter_hll_agg(v), counter_hll_agg(v, 11), counter_hll_agg(v, 11, 5, -1, 1), counter_hll_union_agg(s), counter_uniq(v) FROM none;
INSERT INTO none VALUES (7, counter_hll_add(NULL, 7)), (7, counter_hll_add(NULL, 8));
SELECT #counter_hll_agg(v) AS agg, #counter_hll_union_agg(s) AS union_agg, counter_uniq(v), counter_hll_agg(v) = counter_hll_add(NULL, 7) AS same FROM none;

-- DISTINCT, ORDER BY, FILTER, GROUP BY, HAVING.
SELECT counter_uniq(DISTINCT visitor), counter_uniq(visitor ORDER BY day DESC), counter_uniq(visitor) FILTER (WHERE day < 3) AS filtered,
    counter_uniq(visitor) FILTER (WHERE day > 99) AS all_filtered, #counter_hll_agg(DISTINCT visitor, 14) AS with_log2m FROM visits;
SELECT page, counter_uniq(visitor), count(DISTINCT visitor), #counter_hll_agg(visitor) AS agg FROM visits GROUP BY page
    HAVING counter_uniq(visitor) > 1 ORDER BY page;
SELECT page, day, counter_uniq(visitor) FROM visits WHERE day <= 4 GROUP BY GROUPING SETS ((page, day), (page), (day), ()) ORDER BY page, day;
SELECT page, day, #counter_hll_agg(visitor) AS agg FROM visits WHERE day <= 4 GROUP BY CUBE (page, day)
    EXCEPT SELECT page, day, count(DISTINCT visitor) FROM visits WHERE day <= 4 GROUP BY CUBE (page, day);
SELECT day, #counter_hll_union_agg(visitors) AS agg FROM days WHERE day <= 3 GROUP BY ROLLUP (day) ORDER BY day;
SET enable_hashagg = off;
SELECT page, counter_uniq(visitor) FROM visits GROUP BY page ORDER BY page;
RESET enable_hashagg;

-- Over windows: what grows, what moves, what ends before the row.
SELECT day, #counter_hll_union_agg(visitors) OVER (ORDER BY day) AS so_far,
    #counter_hll_union_agg(visitors) OVER (ORDER BY day ROWS 2 PRECEDING) AS three_days,
    #counter_hll_union_agg(visitors) OVER (ORDER BY day DESC) AS from_here,
    #counter_hll_union_agg(visitors) OVER (ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
    #counter_hll_union_agg(visitors) OVER () AS all_days FROM days ORDER BY day;
SELECT count(*) FROM (
    SELECT counter_uniq(visitor) OVER (ORDER BY visitor, day) AS so_far, dense_rank() OVER (ORDER BY visitor) AS expected FROM visits) w
    WHERE so_far <> expected;

-- The same from parallel workers.
SELECT counter_hll_agg(visitor) AS agg, counter_hll_agg(visitor, 7) AS registers, counter_uniq(visitor) AS uniq FROM visits \gset serial_
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
ALTER TABLE visits SET (parallel_workers = 2);
EXPLAIN (COSTS OFF) SELECT counter_hll_agg(visitor), counter_hll_agg(visitor, 7), counter_uniq(visitor) FROM visits;
SELECT counter_hll_agg(visitor) = :'serial_agg' AS agg, counter_hll_agg(visitor, 7) = :'serial_registers' AS registers,
    counter_uniq(visitor) = :serial_uniq AS uniq FROM visits;
SELECT page, #counter_hll_agg(visitor) AS agg, counter_uniq(visitor) FROM visits GROUP BY page ORDER BY page;
-- States that are put together without workers, each of a partition: all have seen something.
CREATE TABLE parts (day integer, page text, visitor bigint) PARTITION BY RANGE (day);
CREATE TABLE early PARTITION OF parts FOR VALUES FROM (1) TO (4);
CREATE TABLE middle PARTITION OF parts FOR VALUES FROM (4) TO (8);
CREATE TABLE late PARTITION OF parts FOR VALUES FROM (8) TO (11);
INSERT INTO parts SELECT * FROM visits;
ANALYZE parts;
SET enable_partitionwise_aggregate = on;
SET max_parallel_workers_per_gather = 0;
DO $$
DECLARE
    line text;
    partial integer := 0;
BEGIN
    FOR line IN EXPLAIN SELECT counter_hll_agg(visitor), counter_uniq(visitor) FROM parts LOOP
        partial := partial + (line LIKE '%Partial Aggregate%')::integer;
    END LOOP;
    RAISE NOTICE '% partial aggregates', partial;
END $$;
SELECT counter_hll_agg(visitor) = :'serial_agg' AS agg, counter_hll_agg(visitor, 7) = :'serial_registers' AS registers,
    counter_uniq(visitor) = :serial_uniq AS uniq FROM parts;
SELECT counter_uniq(visitor) FILTER (WHERE day < 4) AS first_part, counter_uniq(visitor) FILTER (WHERE day > 7) AS last_part,
    counter_uniq(visitor) FILTER (WHERE day IN (1, 9)) AS two_parts, counter_uniq(NULLIF(day, 5)) AS days, counter_hll_agg(visitor) FILTER (WHERE day > 99) AS none FROM parts;
SELECT counter_uniq(visitor) = 1000 AS uniq FROM parts GROUP BY page;
RESET enable_partitionwise_aggregate;
RESET max_parallel_workers_per_gather;
-- Where one worker has seen no value, or no row at all.
SELECT counter_uniq(NULLIF(visitor % 300, visitor)) AS some_null, counter_uniq(visitor) FILTER (WHERE day = 7 AND visitor = 701) AS one,
    counter_hll_agg(visitor) FILTER (WHERE day > 99) AS no_row, counter_uniq(visitor) FILTER (WHERE day > 99) AS none FROM visits;
CREATE TABLE many WITH (parallel_workers = 2) AS SELECT day, visitors FROM days, generate_series(1, 200);
ANALYZE many;
EXPLAIN (COSTS OFF) SELECT counter_hll_union_agg(visitors) FROM many;
SELECT counter_hll_union_agg(visitors) = (SELECT counter_hll_union_agg(visitors) FROM days) AS same FROM many;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- log2m: more registers, smaller errors. counter_uniq is exact up to 1280 values.
SELECT n, counter_uniq(v), #counter_hll_agg(v) AS agg, #counter_hll_agg(v, 14, 5, 1024, 1) AS exact_to_1024, #counter_hll_agg(v, 17) AS log2m_17
    FROM unnest('{1,1023,1024,1025,1279,1280,1281,20000}'::integer[]) n, generate_series(1, n) v GROUP BY n ORDER BY n;
SELECT n, #counter_hll_agg(v, 4) AS log2m_4, #counter_hll_agg(v, 11) AS log2m_11, #counter_hll_agg(v, 24) AS log2m_24, #counter_hll_agg(v, 11, 8, 0, 0) AS wide
    FROM unnest('{10,1000,20000}'::integer[]) n, generate_series(1, n) v GROUP BY n ORDER BY n;
SELECT counter_hll_agg(1, 3);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_hll_agg(1, 25);
SELECT counter_hll_agg(1, -2147483648);
SELECT counter_hll_agg(1, 14, 0, -1, 1);
SELECT counter_hll_agg(1, 14, 5, 3, 1);
SELECT counter_hll_agg(1, 14, 5, 9223372036854775807, 1);
SELECT counter_hll_agg(1, 14, 5, -1, 2);
SELECT counter_hll_empty(3);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_hll_empty(14, 9);
SELECT counter_hll_empty(14, 5, 1000);
SELECT counter_hll_empty(14, 5, -1, -1);
SELECT counter_hll_empty(NULL) IS NULL AS of_null;
SELECT counter_hll_agg(1, NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_hll_agg(1, 14, NULL, -1, 1);
SELECT counter_hll_agg(1, 14, 5, NULL, 1);
SELECT counter_hll_agg(1, 14, 5, -1, NULL);
SELECT counter_hll_agg(v, 99) FROM none WHERE false;
-- Every register is full: there were many, and there is no telling how many.
SELECT #'\x14843fffffffffffffffffffff'::counter_hll;
\echo :LAST_ERROR_SQLSTATE
SELECT #counter_hll_agg(v, 4, 1, 0, 1) FROM generate_series(1, 1000) v;

-- Values that are equal count once, whatever they look like; NULL would say that adding and aggregating hash differently.
CREATE FUNCTION alike(a anyelement, b anyelement) RETURNS boolean LANGUAGE sql
    AS 'SELECT CASE WHEN counter_hll_agg(a) = counter_hll_add(NULL, a) THEN counter_hll_agg(a) = counter_hll_agg(b) END';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE point_in_time AS (place text, at timestamptz);
CREATE DOMAIN percent AS numeric CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN feeling AS mood;
SELECT alike(1.0, 1.00) AS "numeric", alike(0.0, -0.000) AS zero, alike('NaN'::numeric, 'nan'::numeric) AS nan, alike(1.0, 1.01) AS no;
SELECT alike('-0'::float8, '0'::float8) AS float8, alike('-0'::float4, '0'::float4) AS float4, alike('nan'::float8, '-nan'::float8) AS nan, alike(1::float8, 2::float8) AS no;
SELECT alike('ab'::char(2), 'ab'::char(5)) AS char, counter_uniq(v) AS chars FROM (VALUES ('ab'::char(5)::bpchar), ('ab'::bpchar)) c (v);
SELECT alike('ab'::char(5), 'ab  '::bpchar) AS bpchar, alike('ab'::char(3), ' ab'::char(3)) AS no, alike('ab '::text, 'ab'::text) AS text_no;
SELECT alike('ok'::mood, 'ok'::mood) AS enum, alike('ok'::mood, 'sad'::mood) AS no, counter_hll_add(NULL, 'ok'::feeling) = counter_hll_add(NULL, 'ok'::mood) AS domain;
SELECT counter_hll_add(NULL, 1.50::percent) = counter_hll_add(NULL, 1.5) AS domain, counter_hll_add(NULL, 'a'::varchar(3)) = counter_hll_add(NULL, 'a') AS varchar,
    counter_hll_add(NULL, 'a'::name) = counter_hll_add(NULL, 'a') AS name;
SELECT alike(ARRAY[1.0, 2], ARRAY[1.00, 2.0]) AS "array", alike(ARRAY[1, NULL], ARRAY[1, NULL]) AS with_null, alike(ARRAY[1, 2], ARRAY[2, 1]) AS no;
SELECT alike(ROW('here', '2026-07-31 12:00+00')::point_in_time, ROW('here', '2026-07-31 14:00+02')::point_in_time) AS composite,
    alike(ROW('here', NULL)::point_in_time, ROW('there', NULL)::point_in_time) AS no;
SELECT alike(ROW(1, 'a'::text, 1.0), ROW(1, 'a'::text, 1.00)) AS record, alike(ROW(1, 2), ROW(2, 1)) AS no, counter_uniq(ROW(day, page)) FROM visits;
SELECT counter_uniq(v) AS rows FROM visits v WHERE day = 1;
SELECT alike('{"a": 1, "b": [2.0]}'::jsonb, '{"b": [2.00], "a": 1}'::jsonb) AS jsonb, alike('[1]'::jsonb, '[2]'::jsonb) AS no;
SELECT alike('10.1'::cidr, '10.1.0.0/16'::cidr) AS cidr, alike('10.0.0.1'::inet, '10.0.0.1/32'::inet) AS inet, alike('10.0.0.1'::inet, '10.0.0.1/8'::inet) AS no;
SELECT alike('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, '{A0EEBC999C0B4EF8BB6D6BB9BD380A11}'::uuid) AS uuid,
    alike('2026-07-31 12:00+00'::timestamptz, '2026-07-31 14:00+02'::timestamptz) AS timestamptz, alike('1 day'::interval, '24:00'::interval) AS interval,
    alike('[1,3]'::int4range, '[1,4)'::int4range) AS range;
SELECT counter_hll_add(NULL, '2026-07-31 12:00+00'::timestamptz) AS sketch \gset
SET timezone = 'Asia/Tokyo';
SELECT counter_hll_add(NULL, '2026-07-31 12:00+00'::timestamptz) = :'sketch' AS in_another_time_zone;
SET timezone = 'UTC';
SELECT counter_uniq(v) AS booleans FROM unnest('{t,f,t,NULL}'::boolean[]) v;
SELECT counter_uniq(v) AS byteas FROM unnest(ARRAY['', '\x00', '\x0000', '\x', 'a']::bytea[]) v;
SELECT counter_uniq(v) AS texts FROM unnest(ARRAY['', 'a', 'A', repeat('x', 100000), repeat('x', 100001), repeat('x', 100000), NULL]) v;
SELECT counter_uniq(visitors) AS sketches, counter_uniq(#visitors) AS counts FROM days;
-- The same hash in every database: an enum's is that of its label, also after it was made anew.
SELECT counter_hll_add(NULL, 'ok'::mood) = counter_hll_add(NULL, 'ok') AS label;
-- As postgresql-hll has them.
SELECT counter_hll_add(NULL, true), counter_hll_add(NULL, 1::smallint), counter_hll_add(NULL, 1), counter_hll_add(NULL, 1::bigint);
SELECT counter_hll_add(NULL, ''), counter_hll_add(NULL, 'a'), counter_hll_add(NULL, '\x61'::bytea), counter_hll_add(NULL, '2000-01-02'::date);
-- Types that nobody can tell apart by a hash, alone and inside others.
SELECT counter_hll_add(NULL, '(1,2)'::point);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_hll_agg('(1,2)'::point);
SELECT counter_uniq('{}'::json);
\set VERBOSITY sqlstate
SELECT counter_hll_agg(ARRAY['(1,2)'::point]);
SELECT counter_hll_agg(ROW('(1,2)'::point));
SELECT counter_hll_agg('(1,2)'::point, 11);
SELECT counter_hll_agg(NULL::point);
SELECT counter_hll_add(NULL, NULL::point);
SELECT counter_uniq(p) FROM (SELECT '(1,2)'::point AS p WHERE false) none;
-- Nobody but an aggregate calls its functions. How the parser says so differs between minor versions.
DO $$
DECLARE
    call text;
BEGIN
    FOREACH call IN ARRAY ARRAY['add(NULL, 1)', 'add(NULL::internal, 1)', 'sketch(NULL)', 'count(NULL)', 'combine(NULL, NULL)',
        'serial(NULL)', 'deserial(''\x118e7f'', NULL)'] LOOP
        BEGIN
            EXECUTE 'SELECT counter_ext.hll_agg_' || call;
            RAISE NOTICE '% was called', call;
        EXCEPTION WHEN undefined_function OR cannot_coerce OR feature_not_supported THEN
        END;
    END LOOP;
END
$$;
\set VERBOSITY default

-- Domains and arrays of sketches, a column with a default, a generated one, a check.
CREATE DOMAIN small_sketch AS counter_hll(4,5,-1,1) CHECK (#VALUE < 20);
SELECT #'\x11847f'::small_sketch AS empty;
SELECT '\x118e7f'::small_sketch;
SELECT #counter_hll_agg(v, 4)::small_sketch FROM generate_series(1, 200) v;
SELECT array_agg(visitors ORDER BY day) = array_agg(visitors ORDER BY day) AS same, cardinality(array_agg(visitors)) FROM days;
SELECT #((array_agg(visitors ORDER BY day))[2]) AS second FROM days;
SELECT '{"\\x118e7f",NULL}'::counter_hll[], ARRAY['\x118e7f'::counter_hll] || '\x118b7f'::counter_hll;
CREATE TABLE pages (page text, visitors counter_hll(11) DEFAULT '\x118b7f', visits bigint GENERATED ALWAYS AS (#visitors) STORED);
INSERT INTO pages VALUES ('a');
UPDATE pages SET visitors = counter_hll_add(visitors, 'somebody');
UPDATE pages SET visitors = counter_hll_add(visitors, 'somebody else');
SELECT page, visits FROM pages;

-- What a sketch was made with, and how it is stored; with that the odd ones are found, and folded down.
CREATE TABLE odd (day int, users counter_hll);
INSERT INTO odd SELECT d, CASE d WHEN 2 THEN counter_hll_agg(v, 11) WHEN 3 THEN counter_hll_agg(v, 12, 6, 0, 0) ELSE counter_hll_agg(v) END
    FROM generate_series(1, 4) d, generate_series(1, 50 + d * d * d * 20) v GROUP BY d;
INSERT INTO odd VALUES (5, counter_hll_empty(16)), (6, '\x10'), (7, counter_hll_add(counter_hll_empty(24, 8, 1, 0), 1)), (8, NULL);
SELECT day, info.* FROM odd, counter_hll_info(users) AS info ORDER BY day;
SELECT day, (counter_hll_info(users)).log2m FROM odd WHERE (counter_hll_info(users)).log2m <> 14 ORDER BY day;
SELECT counter_hll_info(users), pg_typeof(counter_hll_info(users)) FROM odd WHERE day = 1;
SELECT #counter_hll_union_agg(users) FROM odd WHERE day IN (1, 2, 4);
SELECT #counter_hll_union_agg(counter_hll_fold(users, 11)) AS folded, #counter_hll_agg(v, 11) AS anew FROM odd, (SELECT generate_series(1, 50 + 64 * 20) AS v) AS v WHERE day IN (1, 2, 4);
-- A folded sketch is the one that the same values make.
SELECT n, log2m, counter_hll_fold(counter_hll_agg(v), log2m) = counter_hll_agg(v, log2m) AS same
    FROM unnest('{0,1,160,161,1280,1281,20000}'::int[]) n CROSS JOIN unnest('{4,11,13,14}'::int[]) log2m LEFT JOIN LATERAL generate_series(1, n) v ON true
    GROUP BY n, log2m HAVING counter_hll_fold(counter_hll_agg(v), log2m) <> counter_hll_agg(v, log2m);
SELECT counter_hll_fold('\x10', 11), counter_hll_fold(counter_hll_empty(24, 8, 0, 0), 4), counter_hll_fold(NULL, 11) IS NULL AS sketch, counter_hll_fold(counter_hll_empty(), NULL) IS NULL AS log2m;
SELECT counter_hll_fold(counter_hll_agg(1, 11), 14);
SELECT counter_hll_fold(counter_hll_agg(1), 3);
SELECT counter_hll_fold(counter_hll_agg(1), -2147483648);
UPDATE odd SET users = counter_hll_fold(users, 11) WHERE day <> 8;
SELECT DISTINCT (counter_hll_info(users)).log2m FROM odd WHERE users IS NOT NULL;
DROP TABLE odd;

-- One value more is hashed as the aggregate hashes it: text and what becomes text by itself, a counter, and anything else.
CREATE TYPE hll_mood AS ENUM ('sad', 'ok');
CREATE DOMAIN hll_domain AS counter;
CREATE FUNCTION hll_is_same(call text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    is_same boolean;
BEGIN
    EXECUTE format('SELECT counter_hll_add(counter_hll_empty(), v) = counter_hll_agg(v) FROM (SELECT %s AS v) AS v GROUP BY v', call) INTO is_same;
    RETURN is_same;
END $$;
SELECT call FROM unnest(ARRAY[$$'a'$$, $$'a'::text$$, $$'a'::varchar$$, $$'a'::char(9)$$, $$'a'::name$$, $$'a'::counter$$, $$'a'::hll_domain$$,
        $$'sad'::hll_mood$$, '7', '7::smallint', '7::bigint', '7.50', '7::float8', 'true', $$'2026-01-01'::date$$, $$'2026-01-01 00:00+00'::timestamptz$$,
        $$'0a000000-0000-0000-0000-0000000000ff'::uuid$$, $$'10.0.0.1'::inet$$, $$'\x0a'::bytea$$, 'ARRAY[1]', 'ROW(1)', $$'{}'::jsonb$$, '1::oid', $$interval '1 day'$$]) AS call
    WHERE hll_is_same(call) IS NOT true;
DROP FUNCTION hll_is_same;
DROP TYPE hll_mood;
DROP DOMAIN hll_domain;

-- COPY, as text, CSV and binary; a sketch out of line among them.
INSERT INTO pages SELECT 'large', counter_hll_agg(v, 11) FROM generate_series(1, 100000) v;
SELECT pg_column_size(visitors) FROM pages WHERE page = 'large';
COPY (SELECT page, visitors FROM pages WHERE page = 'a') TO STDOUT;
COPY (SELECT page, visitors FROM pages WHERE page = 'a') TO STDOUT (FORMAT csv);
CREATE TABLE pages_copy (page text, visitors counter_hll(11));
CREATE TABLE bytes (page text, visitors bytea);
\copy pages (page, visitors) TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/hll_pages.data"' (FORMAT binary)
\copy pages_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/hll_pages.data"' (FORMAT binary)
SELECT c.page, #c.visitors AS count, c.visitors = p.visitors AS same FROM pages_copy c JOIN pages p USING (page) ORDER BY page;
-- What is not a sketch, and one of other parameters, is refused there too.
\set VERBOSITY sqlstate
INSERT INTO bytes VALUES ('malformed', '\x138b7f00');
\copy bytes TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
\copy pages_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
UPDATE bytes SET visitors = '\x118e7f';
\copy bytes TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
\copy pages_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
\set VERBOSITY default
UPDATE bytes SET visitors = '\x128b7f';
\copy bytes TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
\copy pages_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/hll_bytes.data"' (FORMAT binary)
SELECT visitors FROM pages_copy WHERE page = 'malformed';

-- From a column of bytes and back.
ALTER TABLE bytes ALTER visitors TYPE counter_hll USING visitors::counter_hll;
SELECT visitors, #visitors AS count FROM bytes;
ALTER TABLE bytes ALTER visitors TYPE bytea USING visitors::bytea;

DROP TABLE visits, parts, days, many, sketches, widest, none, pages, pages_copy, bytes;
DROP FUNCTION alike;
DROP DOMAIN percent, feeling, small_sketch;
DROP TYPE mood, point_in_time;

-- A sketch stands wherever a column can: what sorts has an order.
CREATE TABLE sorted (day int, page text, users counter_hll);
INSERT INTO sorted SELECT d, 'p' || d % 2, counter_hll_agg(v % 3) FROM generate_series(1, 6) d, generate_series(1, 5) v GROUP BY d;
INSERT INTO sorted VALUES (7, 'p1', counter_hll_empty());
SELECT count(*) FROM (SELECT DISTINCT users FROM sorted) AS each;
SELECT count(DISTINCT users), cardinality(array_agg(DISTINCT users)) FROM sorted;
SELECT max(n) FROM (SELECT row_number() OVER (PARTITION BY users ORDER BY day) AS n FROM sorted) AS each;
SELECT count(*) FROM (SELECT d FROM sorted d ORDER BY d) AS each;
SET enable_hashagg = off;
SELECT count(*), sum(n) FROM (SELECT users, count(*) AS n FROM sorted GROUP BY users) AS each;
RESET enable_hashagg;
SET enable_hashjoin = off;
SET enable_nestloop = off;
SELECT count(*) FROM sorted a FULL JOIN sorted b ON a.users = b.users AND a.day = b.day;
RESET enable_hashjoin;
RESET enable_nestloop;
CREATE UNIQUE INDEX ON sorted (day, users);
INSERT INTO sorted SELECT day, page, users FROM sorted ON CONFLICT (day, users) DO NOTHING;
CREATE MATERIALIZED VIEW sorted_view AS SELECT DISTINCT users FROM sorted;
CREATE UNIQUE INDEX ON sorted_view (users);
REFRESH MATERIALIZED VIEW CONCURRENTLY sorted_view;
SELECT bool_and((a.users < b.users) = (a.users::bytea < b.users::bytea) AND (a.users >= b.users) = (b.users <= a.users) AND (a.users > b.users) = (b.users < a.users)) FROM sorted a, sorted b;
-- Bytes and text go into a column as they are.
INSERT INTO sorted SELECT 8, 'p0', users::bytea FROM sorted WHERE day = 1;
INSERT INTO sorted SELECT 9, 'p1', users::text FROM sorted WHERE day = 1;
SELECT count(DISTINCT users) FROM sorted WHERE day IN (1, 8, 9);
DROP MATERIALIZED VIEW sorted_view;
DROP TABLE sorted;
