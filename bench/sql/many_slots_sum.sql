SELECT sum(n) FROM many_slots WHERE id = 'hot';
