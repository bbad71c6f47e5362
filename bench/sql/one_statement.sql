-- A million calls in one statement, in two shapes, each after the bare series in the same shape. The time psql prints
-- is the client's, commit included. The first call opens the tables and the counter; it is not what is measured.
SELECT counter_incr('bulk');
\timing on
SELECT count(g) FROM generate_series(1, 1000000) g;
SELECT count(counter_incr('bulk')) FROM generate_series(1, 1000000);
SELECT count(f) FROM (SELECT g AS f FROM generate_series(1, 1000000) g OFFSET 0) x;
SELECT count(f) FROM (SELECT counter_incr('bulk') AS f FROM generate_series(1, 1000000) OFFSET 0) x;
