INSERT INTO cache_ours_child (parent_id) VALUES (1);
