\set rank random_zipfian(1, :n, 1.001)
\set id :first + permute(:rank - 1, :n)
INSERT INTO tail_plain VALUES ('c' || :id, 1) ON CONFLICT (id) DO UPDATE SET n = tail_plain.n + 1;
