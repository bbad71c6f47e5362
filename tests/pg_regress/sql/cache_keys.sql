-- Keys of counter caches: two that are equal have one counter, two that differ have one each, and none is too long.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never

-- Numbers of any scale.
CREATE DOMAIN ck_price AS numeric(8, 3);
CREATE TABLE ck_numbers (n numeric, p ck_price);
SELECT counter_cache('ck_numbers', 'ck:', 'n'), counter_cache('ck_numbers', 'ckp:', 'p');
INSERT INTO ck_numbers VALUES (1.0, 1.5), (1.00, 1.50), (1, 1.500), (100, 100), (0.0, 0), (-0.10, -0.1), ('NaN', NULL), ('Infinity', NULL), (0.00001, NULL);
UPDATE ck_numbers SET n = 1.000 WHERE n = 1;
SELECT id, value FROM counters WHERE id ~ '^ckp?:' ORDER BY id COLLATE "C";
SELECT counter_get(counter_id('ck:', 1.00)), counter_get(counter_id('ckp:', p)) FROM ck_numbers WHERE p = 1.5 LIMIT 1;
SELECT count(*) FROM counter_verify('ck_numbers', 'ck:', 'n');
-- Drift of keys that numbers can be is found, and no other.
SELECT counter_incr('ck:7'), counter_incr('ck:7.0'), counter_incr('ck:x');
SELECT * FROM counter_verify('ck_numbers', 'ck:', 'n', repair => true);
-- Digits without end.
INSERT INTO ck_numbers (n) SELECT (repeat('9', 400) || suffix)::numeric FROM unnest('{"",.0,.00}'::text[]) suffix;
SELECT counter_get(counter_id('ck:', max(n))) FROM ck_numbers WHERE n < 'Infinity';
SELECT count(*) FROM counter_verify('ck_numbers', 'ck:', 'n');
DELETE FROM ck_numbers WHERE n > 1000 AND n < 'Infinity';
SELECT count(*) FROM counter_verify('ck_numbers', 'ck:', 'n');
DROP TABLE ck_numbers;

-- Long keys, and those that no id can have: no row is refused, and each has a counter of its own.
CREATE TABLE ck_hits (id int GENERATED ALWAYS AS IDENTITY, address text);
INSERT INTO ck_hits (address) VALUES ('/'), (repeat('c', 300));
SELECT counter_cache('ck_hits', 'ck:', 'address');
INSERT INTO ck_hits (address) SELECT CASE g WHEN 500 THEN repeat('b', 300) ELSE '/page/' || g END FROM generate_series(1, 1000) g;
INSERT INTO ck_hits (address) VALUES (repeat('c', 300)), (repeat('c', 252)), (repeat('c', 253)), (repeat('ü', 126)), (repeat('ü', 127)), (repeat('x', 1000000)), ('');
INSERT INTO ck_hits (address) SELECT string_agg(md5(g::text), '') FROM generate_series(1, 10000) g;
-- What reads like a digest is no other key's.
INSERT INTO ck_hits (address) VALUES ('~sha256:' || encode(sha256(convert_to(repeat('c', 300), 'UTF8')), 'hex'));
SELECT counter_id('ck:', repeat('c', 300)), counter_get(counter_id('ck:', repeat('c', 300)));
SELECT counter_id('ck:', repeat('c', 300)) = 'ck:~sha256:' || encode(sha256(convert_to(repeat('c', 300), 'UTF8')), 'hex') AS as_documented;
SELECT left(address, 9) AS address, octet_length(address) AS bytes, octet_length(counter_id('ck:', address)) AS id_bytes, counter_get(counter_id('ck:', address)) AS counted
    FROM ck_hits WHERE address !~ '^/' GROUP BY ck_hits.address ORDER BY 2, 1;
SELECT count(*) FROM counter_verify('ck_hits', 'ck:', 'address');
UPDATE ck_hits SET address = address || 'c' WHERE address ~ '^c';
DELETE FROM ck_hits WHERE address ~ '^x';
SELECT counter_get(counter_id('ck:', repeat('c', 301))), counter_get(counter_id('ck:', repeat('c', 300)));
SELECT count(*) FROM counter_verify('ck_hits', 'ck:', 'address');
-- Drift of one is found, and mended.
SELECT counter_incr(counter_id('ck:', repeat('c', 301)), 5), counter_incr(counter_id('ck:', repeat('no row', 100)), 5);
SELECT left(id, 20) AS id, counted, rows FROM counter_verify('ck_hits', 'ck:', 'address', repair => true);
SELECT count(*) FROM counter_verify('ck_hits', 'ck:', 'address');
TRUNCATE ck_hits;
SELECT count(*) FROM counters WHERE starts_with(id, 'ck:') AND value <> 0;
DROP TABLE ck_hits;
-- Without a prefix.
CREATE TABLE ck_bare (k text);
INSERT INTO ck_bare VALUES (''), (E'\x02'), (repeat('d', 256));
SELECT counter_cache('ck_bare', '', 'k');
INSERT INTO ck_bare VALUES (''), (E'\x01likes'), (E'\x02'), (repeat('d', 255)), (repeat('d', 256));
SELECT octet_length(k) AS bytes, octet_length(counter_id('', k)) AS id_bytes, counter_get(counter_id('', k)) AS counted FROM ck_bare GROUP BY k ORDER BY 1, 2, k COLLATE "C";
SELECT count(*) FROM counter_verify('ck_bare', '', 'k');
TRUNCATE ck_bare;
SELECT counter_get(counter_id('', '')), counter_get(counter_id('', repeat('d', 256)));
DROP TABLE ck_bare;
-- There must be room for the digest, also where triggers are made by hand.
CREATE TABLE ck_room (k text);
SELECT counter_cache('ck_room', repeat('p', 183), 'k');
INSERT INTO ck_room VALUES (repeat('d', 255)), ('');
SELECT count(*) FROM counter_verify('ck_room', repeat('p', 183), 'k');
SELECT counter_cache('ck_room', repeat('q', 184), 'k');
\set VERBOSITY terse
DO $$ BEGIN EXECUTE format('CREATE TRIGGER t AFTER INSERT ON ck_room FOR EACH ROW EXECUTE FUNCTION counter_rows(%L, %L)', repeat('q', 184), 'k'); END $$;
\set VERBOSITY default
DROP TABLE ck_room;

-- counter_id takes what drivers bind.
PREPARE typeless AS SELECT counter_id($1, $2);
EXECUTE typeless('ck:', 'a');
SELECT pg_typeof(counter_id('ck:', NULL)), counter_id('ck:', NULL) IS NULL AS null_key, counter_id(NULL, 'a') IS NULL AS null_prefix;
SELECT counter_id('ck:', 42), counter_id('ck:', 42::bigint), counter_id('ck:', 7::smallint), counter_id('ck:', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid);
SELECT counter_id(repeat('p', 184), 'a');
SELECT counter_id(E'\x01', 'a');

-- Equal values of these have different texts, or none have one for good; or equality is not known.
CREATE TABLE ck_refused (j jsonb,
    f4 real, f8 double precision, m money, dt date, ts timestamp, tz timestamptz, i interval, tt timetz, b bytea, rc regclass, a int[], ra int4range, ta timestamptz[],
    js json, x xml, pt point, bo box, ci2 circle, po polygon);
DO $$
DECLARE
    name text;
    hint text;
BEGIN
    FOR name IN SELECT attname FROM pg_attribute WHERE attrelid = 'ck_refused'::regclass AND attnum > 0 ORDER BY attnum LOOP
        BEGIN
            PERFORM counter_cache('ck_refused', 'ck:', name);
            RAISE WARNING '% is taken', name;
        EXCEPTION WHEN feature_not_supported THEN
            GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
            RAISE NOTICE '%: %', SQLERRM, hint;
        END;
    END LOOP;
END $$;
CREATE TRIGGER t AFTER INSERT ON ck_refused FOR EACH ROW EXECUTE FUNCTION counter_rows('ck:', 'j');
SELECT count(*) FROM counter_caches WHERE "table" = 'ck_refused'::regclass;
-- Nor does a key become of such a type.
CREATE TABLE ck_changed (t text, k int);
SELECT counter_cache('ck_changed', 'ck:', 't');
INSERT INTO ck_changed VALUES ('a', 1);
ALTER TABLE ck_changed ALTER COLUMN t TYPE jsonb USING to_jsonb(t);
ALTER TABLE ck_changed ALTER COLUMN t TYPE date USING '2026-01-01';
ALTER TABLE ck_changed ALTER COLUMN t TYPE varchar(5);
INSERT INTO ck_changed VALUES ('a', 1);
SELECT counter_get('ck:a'), state, why FROM counter_caches WHERE prefix = 'ck:';
DROP TABLE ck_changed;
DROP TABLE ck_refused;
-- These are the same in text and in value.
CREATE TABLE ck_taken (ip inet, net cidr, mac macaddr, ch "char", bits bit(3), varbits varbit, time time, lsn pg_lsn, xid xid8, oid oid, name name, views counter);
SELECT attname, counter_cache('ck_taken', attname || ':', attname) FROM pg_attribute WHERE attrelid = 'ck_taken'::regclass AND attnum > 0 ORDER BY attnum;
INSERT INTO ck_taken SELECT '::ffff:10.0.0.1', '10/8', '08-00-2b-01-02-03', 'c', '101', '10', '04:05:06.7', '16/B374D848', '42', 42, 'n', 'v' FROM generate_series(1, 2);
SELECT id, value FROM counters WHERE id ~ '^(ip|net|mac|ch|bits|varbits|time|lsn|xid|oid|name|views):' ORDER BY id COLLATE "C";
DROP TABLE ck_taken;
DROP DOMAIN ck_price;
DO $$ BEGIN PERFORM counter_compact(), counter_drop_prefix(prefix) FROM unnest('{ck:,ckp:}'::text[]) prefix; END $$;
