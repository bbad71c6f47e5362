\set rank random_zipfian(1, :n, 1.001)
\set id :first + permute(:rank - 1, :n)
SELECT counter_incr('c' || :id);
