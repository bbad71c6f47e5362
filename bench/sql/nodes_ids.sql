\set id random(1, 1000)
SELECT counter_incr('id:' || :id);
