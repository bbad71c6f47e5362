INSERT INTO cache_row_child (parent_id) VALUES (1);
