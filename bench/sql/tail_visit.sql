\set id random(1, 100000)
\set visitor random(1, 1000000000)
SELECT counter_visit('v' || :id, :visitor);
