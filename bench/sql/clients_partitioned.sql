\set slot random(0, 15)
UPDATE partitioned SET n = n + 1 WHERE id = $$hot$$ AND slot = :slot;
