\set slot random(1, :slots)
INSERT INTO n_slots AS s VALUES ($$hot:$$ || :slots, :slot, 1) ON CONFLICT (id, slot) DO UPDATE SET n = s.n + 1;
