-- Unique visitors: whom, of what, on which days; what belongs to a transaction is in visitors_transactions.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
-- Days are UTC's, whatever the session's time zone.
CREATE FUNCTION utc_today() RETURNS date LANGUAGE sql AS $$ SELECT (now() AT TIME ZONE 'UTC')::date $$;
SET TimeZone = 'Pacific/Kiritimati';

-- A visitor is new once. Who never was there is nobody.
SELECT counter_visitors('visitors:page');
SELECT counter_visit('visitors:page', 'user:1');
SELECT counter_visit('visitors:page', 'user:1');
SELECT counter_visit('visitors:page', 'user:2');
SELECT counter_visit(id => 'visitors:page', visitor => 'user:2');
SELECT counter_visitors('visitors:page'), counter_visitors('visitors:page', utc_today(), utc_today());
SELECT counter_visitors(id => 'visitors:page', "from" => utc_today()), counter_visitors('visitors:page', "to" => utc_today());
-- Another page has visitors of its own; reading makes none, nor does a visit make a counter.
SELECT counter_visit('visitors:other', 'user:1');
SELECT counter_visitors('visitors:other'), counter_visitors('visitors:page'), counter_visitors('visitors:unknown');
SELECT count(*) FROM counters WHERE id LIKE 'visitors:%';
SELECT count(*) FROM (SELECT id FROM counter_ext.visit UNION SELECT id FROM counter_ext.visitors) AS ids
    WHERE id = 'visitors:unknown';
-- Many in one statement: 500 visitors, each twice.
SELECT count(*), count(*) FILTER (WHERE new) AS new
    FROM (SELECT counter_visit('visitors:loop', 'user:' || i % 500) AS new FROM generate_series(1, 1000) i) AS visits;
SELECT counter_visitors('visitors:loop');

-- NULL visits nothing. An open end of NULL is none: that is tried below.
SELECT counter_visit(NULL::text, 'user:9') IS NULL AS id, counter_visit(NULL::bigint, 'user:9') IS NULL AS number,
    counter_visit('visitors:page', NULL) IS NULL AS visitor, counter_visit('visitors:page', NULL::int) IS NULL AS typed,
    counter_visit('visitors:page', 'user:9', NULL) IS NULL AS views, counter_visit(790002, NULL::uuid) IS NULL AS uuid;
SELECT counter_visitors(NULL::text), counter_visitors(NULL::bigint), counter_visitors(NULL::text, utc_today());
SELECT counter_visitors('visitors:page'), counter_visitors(790002);

-- Ids: text, varchar, name, numbers, a column of type counter; told apart byte by byte.
CREATE TABLE articles (title counter PRIMARY KEY);
INSERT INTO articles VALUES ('visitors:article'), ('visitors:Article');
SELECT title, counter_visit(title, 'user:1') AS new FROM articles ORDER BY title;
SELECT counter_visit('visitors:article'::text, 'user:1'), counter_visit('visitors:article'::varchar, 'user:1'),
    counter_visit('visitors:article'::name, 'user:1'), counter_visit('visitors:article'::counter, 'user:1'),
    counter_visit('visitors:article ', 'user:1');
SELECT title, counter_visitors(title) FROM articles ORDER BY title;
DROP TABLE articles;
SELECT counter_visit(4200043, 'user:1'), counter_visit(4200043::bigint, 'user:2'), counter_visit('4200043', 'user:2'),
    counter_visit((-7)::smallint, 'user:1');
SELECT counter_visitors(4200043), counter_visitors('4200043'), counter_visitors(-7), counter_visitors('-7'),
    counter_visitors(4200043, utc_today(), utc_today());
SELECT counter_visit(id, 'user:1') AS new, counter_visitors(id) FROM (VALUES
    ('visitors:é'), (U&'visitors:e\0301'), ('visitors:数える'), (rpad('visitors:', 255, 'x')), (rpad('visitors:', 254, 'x'))) AS ids (id);
-- Empty and over-long: 22023.
\set VERBOSITY sqlstate
SELECT counter_visit('', 'user:1');
SELECT counter_visit(repeat('x', 256), 'user:1');
SELECT counter_visit(repeat('x', 256), 5);
SELECT counter_visitors('');
SELECT counter_visitors(repeat('é', 128));
SELECT counter_visitors_union('{visitors:page,""}');
SELECT counter_visitors_union(ARRAY[repeat('x', 256)]);
\set VERBOSITY default

-- Visitors of any type that can be hashed: equal values of a type are one visitor, and integers and uuids are those of their text (visitors_people).
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN account AS bigint CHECK (value > 0);
CREATE TYPE device AS (owner text, number int);
CREATE FUNCTION visits(VARIADIC news boolean[]) RETURNS text LANGUAGE sql AS $$ SELECT array_to_string(news, ' ') $$;
SELECT visits(counter_visit('visitors:types', 1), counter_visit('visitors:types', 1), counter_visit('visitors:types', 2),
    counter_visit('visitors:types', 1::account::int)) AS integer;
SELECT visits(counter_visit('visitors:types', 1::bigint), counter_visit('visitors:types', 1::account),
    counter_visit('visitors:types', 1::smallint), counter_visit('visitors:types', '1')) AS "bigint, domain, smallint, text";
SELECT visits(counter_visit('visitors:types', '1'::text), counter_visit('visitors:types', '1'::varchar(10)),
    counter_visit('visitors:types', '1'::char(10)), counter_visit('visitors:types', '1'::name),
    counter_visit('visitors:types', ' 1')) AS "text, varchar, char(n), name";
SELECT visits(counter_visit('visitors:types', 1.50), counter_visit('visitors:types', 1.5000), counter_visit('visitors:types', 1.51)) AS numeric;
SELECT visits(counter_visit('visitors:types', 0.0::float8), counter_visit('visitors:types', -0.0::float8),
    counter_visit('visitors:types', 'NaN'::float8), counter_visit('visitors:types', 'NaN'::float8)) AS float;
SELECT visits(counter_visit('visitors:types', true), counter_visit('visitors:types', false), counter_visit('visitors:types', true)) AS boolean;
SELECT visits(counter_visit('visitors:types', '2026-11-23'::date), counter_visit('visitors:types', '23 Nov 2026'::date),
    counter_visit('visitors:types', '2026-11-23 00:00+00'::timestamptz), counter_visit('visitors:types', '2026-11-23 01:00+01'::timestamptz)) AS times;
SELECT visits(counter_visit('visitors:types', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid),
    counter_visit('visitors:types', 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'::uuid)) AS uuid;
SELECT visits(counter_visit('visitors:types', '10.0.0.1'::inet), counter_visit('visitors:types', '10.0.0.1/32'::inet),
    counter_visit('visitors:types', '08:00:2b:01:02:03'::macaddr), counter_visit('visitors:types', '\xdeadbeef'::bytea),
    counter_visit('visitors:types', '\xDEADBEEF'::bytea)) AS "addresses, bytea";
SELECT visits(counter_visit('visitors:types', 'sad'::mood), counter_visit('visitors:types', 'sad'::mood),
    counter_visit('visitors:types', '{"a": 1, "b": 2}'::jsonb), counter_visit('visitors:types', '{"b":2,"a":1}'::jsonb)) AS "enum, jsonb";
SELECT visits(counter_visit('visitors:types', ARRAY[1, 2]), counter_visit('visitors:types', '{1,2}'::int[]),
    counter_visit('visitors:types', ARRAY['a', 'b']), counter_visit('visitors:types', ARRAY['a', 'b'])) AS arrays;
SELECT visits(counter_visit('visitors:types', ('me', 1)::device), counter_visit('visitors:types', ('me', 1)::device),
    counter_visit('visitors:types', ROW(1, 'x'::text)), counter_visit('visitors:types', ROW(1, 'x'::text)),
    counter_visit('visitors:types', int4range(1, 5)), counter_visit('visitors:types', '[1,4]'::int4range)) AS "records, ranges";
SELECT counter_visitors('visitors:types');
-- Text of any length, also none, and long enough to be stored compressed.
CREATE TABLE long_names (name text);
INSERT INTO long_names VALUES (repeat('x', 100000));
SELECT visits(counter_visit('visitors:long', name), counter_visit('visitors:long', repeat('x', 100000)), counter_visit('visitors:long', ''))
    FROM long_names;
DROP TABLE long_names;
-- What cannot be hashed: 42883.
SELECT counter_visit('visitors:types', '(1,2)'::point);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visit(4200043, '{}'::json);
SELECT counter_visit('visitors:types', ARRAY['{}'::json]);
\echo :LAST_ERROR_SQLSTATE
DROP TYPE mood, device;
DROP DOMAIN account;

-- views are added to the counter of the same id, also when the visitor was there before.
SELECT counter_visit('visitors:video', 'user:1', 1), counter_visit('visitors:video', 'user:1', views => 10), counter_visit('visitors:video', 'user:1');
SELECT counter_get('visitors:video'), counter_visitors('visitors:video');
SELECT counter_visit(790003, 4711, 5), counter_visit(790003, 4711, views => -7), counter_get(790003), counter_visitors(790003);
SELECT counter_get('visitors:page');
SELECT counter_visit('visitors:video', 'user:2', 9223372036854775807);
SELECT counter_visitors('visitors:video');
SELECT counter_visit('visitors:video', 'user:3', -9223372036854775807);
SELECT counter_get('visitors:video'), counter_visitors('visitors:video');

-- Days: rows of the past, as a restore or an import inserts them. A row of day -infinity is ever; visits count for both.
INSERT INTO counter_ext.visitors (id, day, sketch) SELECT 'visitors:days', day, counter_hll_agg(visitor) FROM (VALUES
    ('-infinity'::date, 'a'), ('-infinity', 'b'), ('-infinity', 'c'), ('-infinity', 'd'),
    ('2026-01-01', 'a'), ('2026-01-02', 'a'), ('2026-01-02', 'b'), ('2026-01-04', 'c'), ('2026-01-04', 'd')) AS seen (day, visitor) GROUP BY day;
INSERT INTO counter_ext.visit (id, day, slot, sketch)
    SELECT 'visitors:days', '2026-01-05', 1, counter_hll_agg(visitor) FROM (VALUES ('a'), ('e')) AS seen (visitor);
SELECT counter_visitors('visitors:days'), counter_visitors('visitors:days', NULL, NULL),
    counter_visitors('visitors:days', '2026-01-02', '2026-01-02') AS one_day, counter_visitors('visitors:days', '2026-01-03', '2026-01-03') AS nobody;
SELECT counter_visitors('visitors:days', '2026-01-01', '2026-01-02') AS "1-2", counter_visitors('visitors:days', '2026-01-02', '2026-01-04') AS "2-4",
    counter_visitors('visitors:days', '2026-01-05') AS "5-", counter_visitors('visitors:days', "to" => '2026-01-04') AS "-4",
    counter_visitors('visitors:days', '2026-01-04', '2026-01-02') AS backwards;
SELECT counter_visitors('visitors:days', '-infinity') AS "from", counter_visitors('visitors:days', '-infinity', 'infinity') AS "from to",
    counter_visitors('visitors:days', "to" => 'infinity') AS "to", counter_visitors('visitors:days', "to" => '-infinity') AS before_all,
    counter_visitors('visitors:days', '-infinity', '-infinity') AS "not ever", counter_visitors('visitors:days', 'infinity') AS after_all,
    counter_visitors('visitors:days', '4713-01-01 BC', '5874897-12-31') AS "all days there are";
SELECT counter_visit('visitors:days', 'a'), counter_visit('visitors:days', 'f'), counter_visit('visitors:days', 'a');
SELECT counter_visitors('visitors:days'), counter_visitors('visitors:days', utc_today()) AS today, counter_visitors('visitors:days', '2026-01-04') AS since;

-- The union over ids: who was at two of them counts once.
SELECT counter_visitors_union('{visitors:page,visitors:other,visitors:video}'), counter_visitors_union('{visitors:page,visitors:page}'),
    counter_visitors_union('{visitors:unknown}'), counter_visitors_union('{}'), counter_visitors_union('[5:6]={visitors:page,visitors:days}');
SELECT counter_visitors_union('{visitors:days,visitors:page}', '2026-01-01', '2026-01-04') AS days,
    counter_visitors_union('{visitors:days,visitors:page}', "to" => '2026-01-05') AS "to", counter_visitors_union('{visitors:days}', 'infinity') AS none;
SELECT counter_visitors_union(ids) = sum(counter_visitors(id)) AS disjoint FROM (SELECT ARRAY['visitors:types', 'visitors:loop'] AS ids) AS a, unnest(ids) AS id GROUP BY ids;
SELECT counter_visitors_union(NULL);
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visitors_union('{visitors:page,NULL}');
\echo :LAST_ERROR_SQLSTATE
SELECT counter_visitors_union('{{visitors:page}}');
\echo :LAST_ERROR_SQLSTATE

-- Compaction moves and never changes: rows of ever and of each day, none left in visit.
CREATE VIEW counts AS SELECT id, counter_visitors(id) AS ever, counter_visitors(id, utc_today()) AS today, counter_visitors(id, "to" => '2026-01-04') AS past
    FROM (VALUES ('visitors:page'), ('visitors:loop'), ('visitors:types'), ('visitors:days')) AS ids (id);
SELECT * FROM counts;
SELECT counter_compact() >= 0 AS compacted;
SELECT count(*) FROM counter_ext.visit WHERE id LIKE 'visitors:%';
SELECT id, count(*) FILTER (WHERE day = '-infinity') AS ever, count(*) FILTER (WHERE day > '-infinity') AS days FROM counter_ext.visitors
    WHERE id IN ('visitors:page', 'visitors:days') GROUP BY id ORDER BY id;
SELECT day, node, counter_hll_count(sketch) AS visitors, updated_at <= clock_timestamp() AS dated FROM counter_ext.visitors
    WHERE id = 'visitors:days' AND day < '2026-02-01' ORDER BY day;
SELECT * FROM counts;
SELECT counter_visit('visitors:page', 'user:1'), counter_visit('visitors:page', 'user:3'), counter_visitors('visitors:page');
SELECT counter_compact() >= 0 AS compacted, counter_compact() >= 0 AS again;
SELECT * FROM counts;
DROP VIEW counts;

-- 1280 visitors are exact, of a day and ever; past that it is an estimate, and no visitor is new twice.
SELECT count(*) FILTER (WHERE counter_visit('visitors:crowd', i)) AS new FROM generate_series(1, 1279) i;
SELECT counter_visit('visitors:crowd', 1280), counter_visit('visitors:crowd', 1280), counter_visit('visitors:crowd', 1);
SELECT counter_visitors('visitors:crowd'), counter_visitors('visitors:crowd', utc_today());
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_visitors('visitors:crowd'), counter_visitors('visitors:crowd', utc_today());
SELECT counter_visit('visitors:crowd', i) FROM generate_series(1279, 1282) i;
SELECT abs(counter_visitors('visitors:crowd') / 1282.0 - 1) < 0.03 AS close;
SELECT count(counter_visit('visitors:crowd', i)) FROM generate_series(1, 50000) i;
SELECT abs(counter_visitors('visitors:crowd') / 50000.0 - 1) < 0.03 AS close,
    abs(counter_visitors('visitors:crowd', utc_today()) / 50000.0 - 1) < 0.03 AS close_today;
SELECT count(*) FILTER (WHERE counter_visit('visitors:crowd', i)) AS new_again FROM generate_series(1, 50000) i;
SELECT counter_visitors('visitors:crowd') AS before \gset
SELECT counter_compact() >= 0 AS compacted;
SELECT counter_visitors('visitors:crowd') = :before AS same, counter_visitors('visitors:crowd', utc_today()) = :before AS same_today;
SELECT abs(counter_visitors_union('{visitors:crowd,visitors:loop}') / 50500.0 - 1) < 0.03 AS close;

RESET TimeZone;
DROP FUNCTION utc_today, visits;
