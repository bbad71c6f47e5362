-- One parent with children, counted twice: by counter_cache, and by the usual row trigger that updates the parent. Both parents
-- with room on their pages (HOT), statistics fresh.
SET client_min_messages = warning;
DROP TABLE IF EXISTS cache_ours_child, cache_ours_parent, cache_row_child, cache_row_parent;
DROP FUNCTION IF EXISTS cache_row_count();

CREATE TABLE cache_ours_parent (id int PRIMARY KEY);
INSERT INTO cache_ours_parent VALUES (1);
CREATE TABLE cache_ours_child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent_id int NOT NULL);
SELECT counter_cache('cache_ours_child', 'cache:', 'parent_id');

CREATE TABLE cache_row_parent (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
INSERT INTO cache_row_parent VALUES (1);
CREATE TABLE cache_row_child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent_id int NOT NULL);
CREATE FUNCTION cache_row_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE cache_row_parent SET n = n + 1 WHERE id = NEW.parent_id;
    RETURN NULL;
END $$;
CREATE TRIGGER cache_row_count AFTER INSERT ON cache_row_child FOR EACH ROW EXECUTE FUNCTION cache_row_count();

VACUUM ANALYZE cache_ours_parent;
VACUUM ANALYZE cache_ours_child;
VACUUM ANALYZE cache_row_parent;
VACUUM ANALYZE cache_row_child;
