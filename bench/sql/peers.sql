-- What people build by hand, each in its best shape: room on every page so that updates stay there (HOT), all slots
-- there from the start, statistics fresh.
SET client_min_messages = warning;
DROP TABLE IF EXISTS one_row, many_slots, batch;

CREATE TABLE one_row (id text PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO one_row VALUES ('hot', 0);

CREATE TABLE many_slots (id text, slot int, n bigint NOT NULL, PRIMARY KEY (id, slot)) WITH (fillfactor = 50);
INSERT INTO many_slots SELECT 'hot', slot, 0 FROM generate_series(0, 63) slot;

VACUUM ANALYZE one_row;
VACUUM ANALYZE many_slots;

-- Ids for counter_incr_many: what a client would send as a parameter.
CREATE TABLE batch AS SELECT array_agg('batch:' || n) AS ids FROM generate_series(1, 1000) n;
