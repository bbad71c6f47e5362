-- Keys of counter caches of types that other extensions make.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) < 2 AS lacks_types FROM pg_available_extensions WHERE name IN ('citext', 'ltree') \gset
\if :lacks_types
\quit
\endif
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE DOMAIN cci_tag AS citext;
CREATE TABLE cci_rows (ci citext, tag cci_tag, lt ltree, plain text);
SELECT counter_cache('cci_rows', 'cci:', 'ci');
\set VERBOSITY terse
SELECT counter_cache('cci_rows', 'cci:', 'tag');
SELECT counter_cache('cci_rows', 'cci:', 'lt');
SELECT counter_cache('cci_rows', 'cci:', 'plain');
ALTER TABLE cci_rows ALTER COLUMN plain TYPE citext;
\set VERBOSITY default
SELECT counter_uncache('cci_rows', 'cci:');
-- As the hint says.
ALTER TABLE cci_rows ADD ci_key text GENERATED ALWAYS AS (lower(ci::text)) STORED, ADD lt_key text GENERATED ALWAYS AS (lt::text) STORED;
SELECT counter_cache('cci_rows', 'cci:', 'ci_key'), counter_cache('cci_rows', 'ccl:', 'lt_key');
INSERT INTO cci_rows (ci, lt) VALUES ('Gardening', 'a.b'), ('gardening', 'a.b'), ('GARDENING', 'a.c');
SELECT counter_get('cci:gardening'), counter_get('ccl:a.b');
DROP TABLE cci_rows;
DROP DOMAIN cci_tag;
DROP EXTENSION citext, ltree;
