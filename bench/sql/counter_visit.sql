\set visitor random(1, 3000000)
SELECT counter_visit('saturated', :visitor);
