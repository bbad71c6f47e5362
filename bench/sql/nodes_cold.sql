\set id random(1, 10000000)
SELECT counter_incr('cold:' || :id);
