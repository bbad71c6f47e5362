-- Keys of counter caches that are in no row: virtual generated columns, from PostgreSQL 18 on.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT current_setting('server_version_num')::int < 180000 AS lacks_virtual \gset
\if :lacks_virtual
\quit
\endif
CREATE TABLE cv_posts (author bigint, published boolean, live_author bigint GENERATED ALWAYS AS (CASE WHEN published THEN author END) VIRTUAL);
SELECT counter_cache('cv_posts', 'cv:', 'live_author');
CREATE TRIGGER t AFTER INSERT ON cv_posts FOR EACH ROW EXECUTE FUNCTION counter_rows('cv:', 'live_author');
-- As the hint says.
ALTER TABLE cv_posts DROP COLUMN live_author, ADD live_author bigint GENERATED ALWAYS AS (CASE WHEN published THEN author END) STORED;
SELECT counter_cache('cv_posts', 'cv:', 'live_author');
INSERT INTO cv_posts VALUES (1, true), (1, true), (1, false);
SELECT counter_get('cv:1');
DROP TABLE cv_posts;
