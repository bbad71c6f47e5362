-- The same data for both, statistics fresh.
CREATE UNLOGGED TABLE sketch_bigints AS SELECT g::bigint AS v FROM generate_series(1, :rows) g;
CREATE UNLOGGED TABLE sketch_texts AS SELECT 'visitor:' || g AS v FROM generate_series(1, :rows) g;
-- In no order, each value about twice.
CREATE UNLOGGED TABLE sketch_repeated AS
    SELECT (g * 2654435761 % (:rows / 2))::bigint AS v FROM generate_series(1::bigint, :rows) g;

-- A hundred different full sketches, each many times.
CREATE UNLOGGED TABLE sketches_hll (s hll(14));
INSERT INTO sketches_hll
    SELECT s FROM (
        SELECT hll_add_agg(hll_hash_bigint(k * 1000000 + g), 14) AS s
        FROM generate_series(1::bigint, 100) k, generate_series(1, 100000) g GROUP BY k) one_each,
        generate_series(1, :sketches / 100);
CREATE UNLOGGED TABLE sketches_ours (s counter_hll(14));
INSERT INTO sketches_ours SELECT s::text::counter_hll FROM sketches_hll;
VACUUM ANALYZE sketch_bigints;
VACUUM ANALYZE sketch_texts;
VACUUM ANALYZE sketch_repeated;
VACUUM ANALYZE sketches_hll;
VACUUM ANALYZE sketches_ours;
