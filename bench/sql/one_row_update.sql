UPDATE one_row SET n = n + 1 WHERE id = 'hot';
