\set id :first + random(0, :n - 1)
SELECT counter_get('c' || :id);
