\set actor random(1, 1000000000)
SELECT counter_like('hot', (:actor)::text);
