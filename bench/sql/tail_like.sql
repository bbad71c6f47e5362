\set item random(1, 100000)
\set actor random(1, 1000000000)
SELECT counter_like('i' || :item, 'a' || :actor);
