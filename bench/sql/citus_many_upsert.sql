\set id random(1, 1000)
INSERT INTO hits VALUES (:id, 1) ON CONFLICT (id) DO UPDATE SET n = hits.n + 1;
