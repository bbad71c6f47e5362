\set actor random(1, 1000000000)
WITH made AS (INSERT INTO hand_liked VALUES ('hot', (:actor)::text) ON CONFLICT DO NOTHING RETURNING 1) UPDATE hand_likes SET n = n + 1 WHERE item = 'hot' AND EXISTS (SELECT FROM made);
