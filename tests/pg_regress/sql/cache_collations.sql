-- Keys of counter caches in a collation that calls different texts equal.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) = 0 AS lacks_icu FROM pg_collation WHERE collname = 'und-x-icu' \gset
\if :lacks_icu
\quit
\endif
CREATE COLLATION cco_any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN cco_name AS text COLLATE cco_any_case;
CREATE TABLE cco_rows (t text COLLATE cco_any_case, v varchar(9) COLLATE cco_any_case, c char(9) COLLATE cco_any_case, d cco_name, plain text);
SELECT counter_cache('cco_rows', 'cco:', 't');
\set VERBOSITY terse
SELECT counter_cache('cco_rows', 'cco:', 'v');
SELECT counter_cache('cco_rows', 'cco:', 'c');
SELECT counter_cache('cco_rows', 'cco:', 'd');
CREATE TRIGGER t AFTER INSERT ON cco_rows FOR EACH ROW EXECUTE FUNCTION counter_rows('cco:', 't');
SELECT counter_cache('cco_rows', 'cco:', 'plain');
ALTER TABLE cco_rows ALTER COLUMN plain TYPE text COLLATE cco_any_case;
\set VERBOSITY default
SELECT counter_uncache('cco_rows', 'cco:');
-- As the hint says.
ALTER TABLE cco_rows ADD t_key text GENERATED ALWAYS AS (lower(t COLLATE "und-x-icu")) STORED;
SELECT counter_cache('cco_rows', 'cco:', 't_key');
INSERT INTO cco_rows (t) VALUES ('Čeština'), ('ČEŠTINA'), ('čeština');
SELECT counter_get('cco:čeština');
DROP TABLE cco_rows;
DROP DOMAIN cco_name;
DROP COLLATION cco_any_case;
