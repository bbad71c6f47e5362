\set id :first + random(0, :n - 1)
SELECT n FROM tail_plain WHERE id = 'c' || :id;
