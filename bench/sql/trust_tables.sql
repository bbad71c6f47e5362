-- Likes by hand, in their best shape: the same keys and indexes as ours, the number's row with room for HOT updates.
SET client_min_messages = warning;
DROP TABLE IF EXISTS hand_liked, hand_likes, hand_counts, deltas;
CREATE TABLE hand_liked (item text COLLATE "C", actor text COLLATE "C", at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (item, actor));
CREATE INDEX ON hand_liked (actor, item);
CREATE TABLE hand_likes (item text COLLATE "C" PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO hand_likes VALUES ('hot', 0);
TRUNCATE counter_ext.liked;

-- 10,000 deltas over 1,000 ids: what a consumer would send as parameters.
CREATE TABLE deltas AS
    SELECT array_agg('apply:' || n % 1000 ORDER BY n) AS ids, array_agg(n % 7 ORDER BY n) AS deltas
    FROM generate_series(1, 10000) n;
CREATE TABLE hand_counts (id text COLLATE "C" PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO hand_counts SELECT 'apply:' || n, 0 FROM generate_series(0, 999) n;
DELETE FROM counter_ext.source_offset;
SELECT counter_apply('topic', 0, ids, deltas) FROM deltas;
VACUUM ANALYZE hand_liked;
VACUUM ANALYZE hand_likes;
VACUUM ANALYZE hand_counts;
VACUUM ANALYZE deltas;
