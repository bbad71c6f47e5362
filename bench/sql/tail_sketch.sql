\set id random(1, 100000)
\set visitor random(1, 1000000000)
INSERT INTO tail_sketches VALUES ('v' || :id, hll_add(hll_empty(14), hll_hash_bigint(:visitor))) ON CONFLICT (id) DO UPDATE SET s = hll_add(tail_sketches.s, hll_hash_bigint(:visitor));
