\set id :first + random(0, :n - 1)
INSERT INTO tail_plain VALUES ('c' || :id, 1) ON CONFLICT (id) DO UPDATE SET n = tail_plain.n + 1;
