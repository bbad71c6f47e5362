\set item random(1, 100000)
\set actor random(1, 1000000000)
WITH made AS (INSERT INTO tail_liked VALUES ('i' || :item, 'a' || :actor) ON CONFLICT DO NOTHING RETURNING item) INSERT INTO tail_likes SELECT item, 1 FROM made ON CONFLICT (item) DO UPDATE SET n = tail_likes.n + 1;
