-- Relative root mean square errors of both estimates of the same sketches: ours, postgresql-hll's.
CREATE TEMPORARY TABLE theirs AS
    SELECT hll_add_agg(hll_hash_bigint(k * 1000000 + g), 11) AS s
    FROM generate_series(1::bigint, 1000) k, generate_series(1, 3 * 2048) g GROUP BY k;
SELECT sqrt(avg(((# s::text::counter_hll) / 6144.0 - 1) ^ 2)), sqrt(avg(((# s) / 6144.0 - 1) ^ 2)) FROM theirs;
