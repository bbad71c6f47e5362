\set visitor random(1, 3000000)
SELECT :visitor;
