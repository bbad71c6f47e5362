INSERT INTO hand_counts AS c SELECT id, sum(delta) FROM (SELECT unnest(ids) AS id, unnest(deltas) AS delta FROM deltas) d GROUP BY id ON CONFLICT (id) DO UPDATE SET n = c.n + excluded.n;
