UPDATE locked_slots SET n = n + 1 WHERE id = 'hot' AND slot = (SELECT slot FROM locked_slots WHERE id = 'hot' LIMIT 1 FOR UPDATE SKIP LOCKED);
