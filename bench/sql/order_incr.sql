\set member random(1, :n)
SELECT counter_incr('g' || :n || ':' || :member);
