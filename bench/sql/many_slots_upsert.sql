INSERT INTO many_slots AS s VALUES ('hot', floor(random() * 64)::int, 1) ON CONFLICT (id, slot) DO UPDATE SET n = s.n + 1;
