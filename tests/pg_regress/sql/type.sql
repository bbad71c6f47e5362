-- The type counter: a column that holds a counter's id.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;

-- The whole use.
CREATE TABLE videos (title text, views counter);
INSERT INTO videos VALUES ('final', 'type:final'), ('semi-final', 'type:semi'), ('unseen', 'type:unseen'), ('none', NULL);
SELECT counter_incr(views, 3) FROM videos WHERE title = 'final';
SELECT counter_incr(views) FROM videos WHERE title LIKE '%final';
SELECT title, views, views::bigint FROM videos ORDER BY title;
SELECT title FROM videos WHERE views::bigint > 0 ORDER BY views::bigint DESC;
SELECT sum(views::bigint), max(views::bigint), count(views) FROM videos;
SELECT title, counter_get(views), counter_get_exact(views), (counter_info(views)).value FROM videos
    WHERE views IS NOT NULL ORDER BY title;
SELECT m.* FROM counter_get_many(ARRAY(SELECT views::text FROM videos WHERE views IS NOT NULL ORDER BY title)) m;

-- The total as other numbers.
SELECT views::int AS int, views::numeric AS numeric, views::bigint / 3.0 > 1 AS above_one, pg_typeof(views::numeric)
    FROM videos WHERE title = 'final';
SELECT CAST(views AS bigint), CAST('type:final' AS counter)::bigint, 'type:final'::counter::int FROM videos WHERE title = 'final';
SELECT counter_incr('type:large', 3000000000);
SELECT 'type:large'::counter::bigint, 'type:large'::counter::numeric;
SELECT 'type:large'::counter::int;
SELECT NULL::counter::bigint, NULL::counter::int, NULL::counter::numeric;
-- The id of this counter looks like a number: a cast still gives the total, never the id.
SELECT counter_incr(31337, 5);
SELECT 31337::counter::bigint, 31337::counter::int, 31337::counter::numeric;
SELECT 31337::counter::smallint, 31337::counter::real, 31337::counter::double precision;

-- Text, names and integers become counters, and a counter becomes text.
SELECT 'a'::counter, 'a'::text::counter, 'a'::varchar::counter, 'a'::varchar(10)::counter, 'a'::name::counter;
SELECT 7::counter, 7::smallint::counter, 7::bigint::counter, (-7)::counter, 9223372036854775807::counter;
SELECT 'abc'::counter::text, 'abc'::counter::varchar, 'abc'::counter::varchar(2), pg_typeof('abc'::counter::text);
INSERT INTO videos VALUES ('by number', 42), ('by bigint', 43::bigint), ('by smallint', 44::smallint),
    ('by text', 'type:' || 45), ('by name', 'type_name'::name);
SELECT title, views FROM videos WHERE title LIKE 'by%' ORDER BY title;
CREATE TABLE labels (label text, short varchar(6));
INSERT INTO labels SELECT views, '42'::counter FROM videos WHERE title = 'final';
SELECT * FROM labels;

-- Functions take ids of all these types.
SELECT counter_incr('type:same'), counter_incr('type:same'::text), counter_incr('type:same'::varchar),
    counter_incr('type:same'::name), counter_incr('type:same'::counter), counter_incr('type:' || 'same');
SELECT counter_get('type:same'), counter_get('type:same'::varchar), counter_get('type:same'::counter);
SELECT counter_incr(77000), counter_incr(77000::bigint), counter_incr(7700::smallint * 10), counter_incr('77000'), counter_incr(77000::counter);
SELECT counter_get(77000), counter_get('77000'), 77000::counter::bigint, counter_get_exact(77000);
CREATE DOMAIN page_name AS text CHECK (VALUE <> '');
SELECT counter_incr('type:same'::page_name), counter_get('type:same'::page_name);
PREPARE incr_text(text, bigint) AS SELECT counter_incr($1, $2);
PREPARE incr_bigint(bigint) AS SELECT counter_incr($1);
PREPARE incr_counter(counter) AS SELECT counter_incr($1);
PREPARE incr_unknown AS SELECT counter_incr($1);
EXECUTE incr_text('77000', 100);
EXECUTE incr_bigint(77000);
EXECUTE incr_counter('77000');
EXECUTE incr_unknown('77000');
SELECT counter_get(77000);
CREATE FUNCTION views_of(video counter) RETURNS bigint LANGUAGE sql AS 'SELECT video::bigint';
SELECT views_of('type:final'), views_of(31337::counter);
DO $$
DECLARE
    page counter := 'type:plpgsql';
    total bigint;
BEGIN
    PERFORM counter_incr(page, 4);
    total := page::bigint;
    RAISE NOTICE '% %', page, total;
END $$;

-- An id is of 1 to 255 bytes, wherever it comes from.
SELECT ''::counter;
SELECT ''::text::counter;
SELECT ''::name::counter;
SELECT repeat('x', 256)::counter;
SELECT repeat('é', 128)::counter;
SELECT repeat('x', 256)::varchar::counter;
SELECT octet_length(repeat('x', 255)::counter::text), octet_length((repeat('é', 127) || 'x')::counter::text);
INSERT INTO videos VALUES ('empty', '');
INSERT INTO videos SELECT 'long', repeat('x', 256);
SELECT ARRAY['a', '']::counter[];
COPY videos FROM STDIN;
empty	
\.

-- Comparison is by bytes.
SELECT 'a'::counter = 'a', 'a'::counter = 'A', 'a'::counter <> 'b', 'a'::counter < 'b', 'a'::counter <= 'a',
    'b'::counter > 'a', 'a'::counter >= 'b', 'a'::counter = 'a ', 'a'::counter < 'aa';
SELECT 'a'::counter = 'a'::text, 'a'::text = 'a'::counter, 'a'::counter = 'a'::varchar, NULL::counter = 'a', 'a'::counter IS DISTINCT FROM NULL;
SELECT id FROM unnest('{b,a,B,é,10,9,ab,"a b",z}'::counter[]) id ORDER BY id;
SELECT id FROM unnest('{b,a,B}'::counter[]) id ORDER BY id DESC;

-- It does not make sense of comparisons that had none before it.
\set VERBOSITY sqlstate
SELECT 1 = 'a'::text;
SELECT 1 = 'a'::varchar;
SELECT 'a'::text = 1::bigint;
SELECT 1::smallint < 'a'::name;
SELECT 1 = 'a'::counter;
SELECT * FROM videos v JOIN labels l ON l.short = 1;
SELECT 1 IN (SELECT label FROM labels);
SELECT upper(1);
SELECT counter_incr(1.5);
SELECT counter_incr(true);
SELECT counter_incr('type:same', 1.5);
SELECT counter_incr(now());
\set VERBOSITY default
SELECT 'a'::name = 'a'::varchar, 'a'::bpchar = 'a'::varchar, 'a'::text = 'a'::name, 'a'::text || 1, 'x' || 'a'::counter, length('abc');

-- Whatever takes text takes a counter.
SELECT views LIKE 'type:%', views ILIKE 'TYPE:F%', views ~ '^type', views NOT LIKE '%x', views SIMILAR TO 'type:%', lower(views), length(views), starts_with(views, 'type'), md5(views),
    split_part(views, ':', 2), views || '!', '!' || views, views || views, title || views, views || title, views || 1 FROM videos WHERE title = 'final';
SELECT string_agg(views, ',' ORDER BY views), string_agg(views, views ORDER BY views), array_agg(views ORDER BY views), count(DISTINCT views) FROM videos WHERE title LIKE '%final';
SELECT CASE WHEN title = 'none' THEN title ELSE views END, CASE WHEN title = 'none' THEN views ELSE title END, coalesce(views, title), coalesce(title, views),
    pg_typeof(coalesce(views, title)), greatest(views, 'a'::text) FROM videos WHERE title IN ('none', 'final') ORDER BY title;
SELECT views FROM videos WHERE title = 'final' UNION SELECT title FROM videos WHERE title = 'final' ORDER BY 1;
SELECT title FROM videos WHERE views IN ('type:final', 'type:x') UNION ALL SELECT title FROM videos WHERE views IN ('type:final'::text, 'type:x')
    UNION ALL SELECT title FROM videos WHERE views = ANY ('{type:final}'::text[]) UNION ALL SELECT title FROM videos WHERE 'type:final' = ANY (ARRAY[views])
    UNION ALL SELECT title FROM videos WHERE views NOT IN (SELECT title FROM videos) AND views = 'type:final'::text;
SELECT * FROM counter_get_many((SELECT array_agg(views ORDER BY views) FROM videos WHERE title LIKE '%final'));
-- A counter equals the number that its id says.
SELECT views, views = 42, 42::bigint = views, views = 42::smallint, views <> 42, views IN (41, 42), views = ANY (ARRAY[41, 42]), 7::counter = '7' FROM videos WHERE views IN ('42', 'type:final') ORDER BY 1;
-- It compares with each kind of text by bytes, with char(n) without the blanks at its end.
SELECT 'a'::counter = 'a'::char(3), 'a'::char(3)::counter || '|', 'a'::name = 'a'::counter, 'a'::counter <> 'b'::name, 'B'::counter < 'a'::name, 'a'::text > 'B'::counter,
    'a'::counter >= 'a'::varchar, 'a'::counter <= 'a'::text COLLATE "C", 'a'::counter IS DISTINCT FROM 'a'::text;
SELECT ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid)::counter;
INSERT INTO videos VALUES ('by uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid), ('by char', 'abc'::char(9));
SELECT title, views FROM videos WHERE title IN ('by uuid', 'by char') ORDER BY title;
-- What a parameter without a type is.
PREPARE type_1 AS SELECT 1 FROM videos WHERE views = $1 OR views LIKE $2 OR views IN ($3, 'a') OR views = ANY ($4) OR views || $5 = 'x' OR coalesce(views, $6) LIKE 'x' OR lower($7) = views;
PREPARE type_2(text, bigint, text[]) AS SELECT 1 FROM videos WHERE views = $1 OR views = $2 OR views = ANY ($3);
SELECT name, parameter_types FROM pg_prepared_statements WHERE name LIKE 'type%' ORDER BY name;
EXECUTE type_2('type:final', 42, '{type:semi}');
DEALLOCATE type_1;
DEALLOCATE type_2;
-- It is no number.
SELECT views + 1 FROM videos;
\set VERBOSITY sqlstate
UPDATE videos SET views = views + 1 WHERE title = 'final';
UPDATE videos SET views = 1 + views WHERE title = 'none';
SELECT views - 1.5 > 0 FROM videos;
SELECT views + views, '1' - views FROM videos;
SELECT views > 100 FROM videos;
SELECT views = 1.5 FROM videos;
SELECT -views FROM videos;
SELECT 'a'::text + 1;
SELECT 'a'::text - 1.5;
SELECT 1 = 'a'::char(1);
SELECT 'a'::varchar = 1;
\set VERBOSITY default
-- Text is text as before: its operators, their results and their plans.
CREATE TABLE type_texts (t text PRIMARY KEY, v varchar(9), n name, c char(9));
INSERT INTO type_texts SELECT i, i, i, i FROM generate_series(1, 2000) i;
CREATE INDEX ON type_texts (v text_pattern_ops);
ANALYZE type_texts;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF, VERBOSE) SELECT t || v, t || 'x', v || 1, n || c, t LIKE v FROM type_texts WHERE t = '7' AND v = 'x' AND n = t AND c = v;
EXPLAIN (COSTS OFF) SELECT 1 FROM type_texts WHERE v LIKE '19%';
EXPLAIN (COSTS OFF) SELECT 1 FROM type_texts WHERE t IN ('1', '2') AND t > v;
RESET enable_seqscan;
RESET enable_bitmapscan;
EXPLAIN (COSTS OFF) SELECT count(*) FROM type_texts a JOIN type_texts b ON a.t = b.v;
SELECT pg_typeof(t || v), pg_typeof(coalesce(t, v)), pg_typeof(n || c), max(t) = max(v), min(t) FROM type_texts GROUP BY 1, 2, 3;
DROP TABLE type_texts;

-- Index, primary key, foreign key.
CREATE TABLE pages (id counter PRIMARY KEY, title text);
INSERT INTO pages SELECT 'type:page:' || i, 'Page ' || i FROM generate_series(1, 500) i;
INSERT INTO pages VALUES ('type:page:1', 'Again');
INSERT INTO pages VALUES ('type:page:1', 'Again') ON CONFLICT (id) DO UPDATE SET title = excluded.title;
SELECT * FROM pages WHERE id = 'type:page:1';
CREATE TABLE links (page counter REFERENCES pages, target counter);
CREATE INDEX ON links USING hash (target);
INSERT INTO links SELECT 'type:page:' || i, 'type:page:' || i % 7 FROM generate_series(1, 500) i;
INSERT INTO links VALUES ('type:page:0', NULL);
ANALYZE pages, links;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT title FROM pages WHERE id = 'type:page:250';
SELECT title FROM pages WHERE id = 'type:page:250';
EXPLAIN (COSTS OFF) SELECT id FROM pages WHERE id >= 'type:page:49' AND id < 'type:page:491' ORDER BY id;
SELECT id FROM pages WHERE id >= 'type:page:49' AND id < 'type:page:491' ORDER BY id;
EXPLAIN (COSTS OFF) SELECT count(*) FROM links WHERE target = 'type:page:3';
SELECT count(*) FROM links WHERE target = 'type:page:3';
SELECT title FROM pages WHERE id = 'type:page:250'::text;
-- As well by text, a name, a number; in generic plans; the hash index too.
INSERT INTO pages SELECT i, 'Number ' || i FROM generate_series(1, 9) i;
SET plan_cache_mode = force_generic_plan;
PREPARE type_page AS SELECT title FROM pages WHERE id = $1;
PREPARE type_text(text) AS SELECT title FROM pages WHERE id = $1;
PREPARE type_texts(text[]) AS SELECT title FROM pages WHERE id = ANY ($1);
PREPARE type_number(bigint) AS SELECT title FROM pages WHERE id = $1;
PREPARE type_name(name) AS SELECT title FROM pages WHERE $1 = id;
PREPARE type_target(text) AS SELECT count(*) FROM links WHERE $1 = target;
EXPLAIN (COSTS OFF) EXECUTE type_page('type:page:7');
EXPLAIN (COSTS OFF) EXECUTE type_text('type:page:7');
EXPLAIN (COSTS OFF) EXECUTE type_texts('{type:page:7}');
EXPLAIN (COSTS OFF) EXECUTE type_number(7);
EXPLAIN (COSTS OFF) EXECUTE type_name('type:page:7');
EXPLAIN (COSTS OFF) EXECUTE type_target('type:page:3');
EXECUTE type_page('type:page:7');
EXECUTE type_text('type:page:7');
EXECUTE type_texts('{type:page:8,type:page:7,8,type:page:7,no}');
EXECUTE type_number(7);
EXECUTE type_name('type:page:7');
EXECUTE type_target('type:page:3');
DEALLOCATE ALL;
RESET plan_cache_mode;
EXPLAIN (COSTS OFF) SELECT count(*) FROM pages WHERE id >= 'type:page:49'::text AND id < 'type:page:491'::text;
SELECT count(*) FROM pages WHERE id >= 'type:page:49'::text AND id < 'type:page:491'::text;
EXPLAIN (COSTS OFF) SELECT title FROM pages WHERE id = 7;
RESET enable_seqscan;
RESET enable_bitmapscan;
-- The total is no index key: it changes by itself.
CREATE INDEX ON pages ((id::bigint));

-- Joins, grouping, sets.
SET enable_nestloop = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM pages p JOIN links l ON l.target = p.id;
SELECT count(*) FROM pages p JOIN links l ON l.target = p.id;
SET enable_mergejoin = on;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM pages p JOIN links l ON l.target = p.id;
SELECT count(*) FROM pages p JOIN links l ON l.target = p.id;
RESET enable_nestloop;
RESET enable_mergejoin;
RESET enable_hashjoin;
-- Beside text: hashed.
CREATE TABLE type_texts AS SELECT id::text AS t FROM pages;
ANALYZE type_texts;
CREATE TABLE type_few AS SELECT t FROM type_texts LIMIT 20;
ANALYZE pages, type_few;
EXPLAIN (COSTS OFF) SELECT count(*) FROM pages JOIN type_few ON id = t;
DROP TABLE type_few;
SELECT count(*) FROM pages JOIN type_texts ON id = t;
SELECT count(*), count(id), count(t) FROM (SELECT * FROM pages WHERE id <> 'type:page:1') p FULL JOIN (SELECT * FROM type_texts WHERE t <> 'type:page:2') x ON t = id;
SELECT count(*) FROM pages WHERE id IN (SELECT t FROM type_texts WHERE t < 'type:page:2');
SELECT count(*) FROM pages WHERE id NOT IN (SELECT t FROM type_texts WHERE t < 'type:page:2');
SELECT count(*) FROM type_texts WHERE t IN (SELECT id FROM pages WHERE id < 'type:page:2') AND NOT EXISTS (SELECT FROM links WHERE target = t);
DROP TABLE type_texts;
SELECT target, count(*) FROM links GROUP BY target ORDER BY target;
SET enable_sort = off;
SELECT count(*) FROM (SELECT target FROM links GROUP BY target) g;
RESET enable_sort;
SELECT count(DISTINCT target), count(DISTINCT page) FROM links;
SELECT id FROM pages WHERE title IN ('Page 5', 'Page 6') EXCEPT SELECT 'type:page:6'::counter;
SELECT CASE WHEN true THEN 'a'::counter ELSE 'b' END, coalesce(NULL, 'c'::counter), nullif('d'::counter, 'd');
CREATE TABLE by_hash (id counter) PARTITION BY HASH (id);
CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_hash SELECT id FROM pages;
SELECT count(*), count(DISTINCT tableoid) FROM by_hash;
EXPLAIN (COSTS OFF) SELECT * FROM by_hash WHERE id = 'type:page:1'::text;
SELECT count(*) FROM by_hash WHERE id = 'type:page:1'::text;

-- Arrays.
SELECT '{a,b,"c d"}'::counter[], ARRAY['a', 'b']::counter[] = '{a,b}', 'b'::counter = ANY ('{a,b}'::counter[]), '{a,b}'::counter[] @> '{b}';
SELECT array_agg(views ORDER BY views)::text[] FROM videos WHERE title LIKE '%final';
SELECT * FROM counter_get_many((SELECT array_agg(views ORDER BY views)::text[] FROM videos WHERE title LIKE '%final'));

-- JSON shows the id.
SELECT to_json(v), jsonb_build_object('views', v.views::bigint) FROM videos v WHERE title = 'final';

-- COPY, as text, CSV and binary.
COPY (SELECT * FROM videos WHERE title LIKE '%final' ORDER BY title) TO STDOUT;
COPY videos FROM STDIN (FORMAT csv);
"quoted","type:""quoted"",copied"
\.
SELECT views FROM videos WHERE title = 'quoted';
CREATE TABLE videos_copy (LIKE videos);
\copy videos TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/type_videos.data"' (FORMAT binary)
\copy videos_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/type_videos.data"' (FORMAT binary)
SELECT count(*) AS copied FROM (SELECT * FROM videos INTERSECT ALL SELECT * FROM videos_copy) AS same;
SELECT (SELECT count(*) FROM videos) - (SELECT count(*) FROM videos_copy) AS lost;
SELECT title, views::bigint FROM videos_copy WHERE title = 'final';
-- An id is checked there too.
CREATE TABLE texts (title text, views text);
INSERT INTO texts VALUES ('empty', '');
\copy texts TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/type_empty.data"' (FORMAT binary)
UPDATE texts SET title = 'long', views = repeat('x', 256);
\copy texts TO PROGRAM 'cat > "$PG_ABS_BUILDDIR/results/type_long.data"' (FORMAT binary)
\copy videos_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/type_empty.data"' (FORMAT binary)
\copy videos_copy FROM PROGRAM 'cat "$PG_ABS_BUILDDIR/results/type_long.data"' (FORMAT binary)

-- Columns become counters and back.
ALTER TABLE labels ALTER label TYPE counter;
SELECT label::bigint FROM labels;
ALTER TABLE labels ALTER label TYPE text;
ALTER TABLE labels ADD total counter DEFAULT 'type:final';
SELECT label, total::bigint FROM labels;

-- A column of numbers is refused: it would hold ids where it held totals. By whatever name the type goes, in whatever table.
CREATE TABLE counted (id int PRIMARY KEY, views bigint, likes numeric(10), rate real, slug text, "An Odd ""Name""" smallint);
INSERT INTO counted VALUES (1, 100, 7, 0.5, 'type:slug', 3);
CREATE DOMAIN type_alias AS counter;
CREATE DOMAIN type_number AS int;
ALTER TABLE counted ADD aliased type_number DEFAULT 4;
DO $$ BEGIN ALTER TABLE counted ALTER views TYPE counter; EXCEPTION WHEN datatype_mismatch THEN RAISE NOTICE 'refused'; END $$;
ALTER TABLE counted ALTER COLUMN views SET DATA TYPE public.counter USING views, ALTER slug TYPE counter;
\set VERBOSITY terse
ALTER TABLE counted ALTER views TYPE counter USING counted.views;
ALTER TABLE IF EXISTS ONLY public.counted ALTER likes TYPE counter;
ALTER TABLE counted ALTER rate TYPE type_alias;
ALTER TABLE counted ALTER "An Odd ""Name""" TYPE counter;
ALTER TABLE counted ALTER aliased TYPE counter;
DO $$ BEGIN EXECUTE 'ALTER TABLE counted ALTER id TYPE counter'; END $$;
CREATE TYPE type_row AS (views bigint);
CREATE TABLE typed OF type_row;
ALTER TYPE type_row ALTER ATTRIBUTE views TYPE counter CASCADE;
DROP TABLE typed;
DROP TYPE type_row;
CREATE TABLE counted_parts (day int, views bigint) PARTITION BY LIST (day);
CREATE TABLE counted_parts_1 PARTITION OF counted_parts FOR VALUES IN (1);
ALTER TABLE counted_parts ALTER views TYPE counter;
ALTER TABLE counted ALTER nothing TYPE counter;
ALTER TABLE nothing ALTER views TYPE counter;
\set VERBOSITY default
-- Whoever says how is believed; a number that is assigned is an id, as ever; other types and commands are as they were.
ALTER TABLE counted ALTER id TYPE counter USING 'type:' || id;
ALTER TABLE counted ALTER views TYPE counter USING views::text::counter, ALTER slug TYPE counter, ALTER likes TYPE bigint, ADD more counter DEFAULT 42;
SELECT id, views, likes, slug, more FROM counted;
INSERT INTO counted (id, views, slug) VALUES ('type:2', 42, 43);
CREATE VIEW counted_view AS SELECT 1 AS one;
ALTER TABLE counted_view ALTER one SET DEFAULT 2;
SELECT id, views, slug FROM counted ORDER BY id DESC LIMIT 1;
DROP VIEW counted_view;
DROP TABLE counted, counted_parts;
DROP DOMAIN type_alias, type_number;

DROP FUNCTION views_of;
DROP DOMAIN page_name;
DROP TABLE videos, videos_copy, texts, labels, pages, links, by_hash;
