-- What people build by hand on a cluster: a row a counter, distributed by its id, with room on every page so that updates stay there (HOT).
SET client_min_messages = warning;
CREATE TABLE hits (id text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
SELECT create_distributed_table('hits', 'id') \g /dev/null
INSERT INTO hits SELECT n::text, 0 FROM generate_series(1, 1000) AS n;
INSERT INTO hits VALUES ('hot', 0);
VACUUM ANALYZE hits;
