INSERT INTO hits VALUES ('hot', 1) ON CONFLICT (id) DO UPDATE SET n = hits.n + 1;
