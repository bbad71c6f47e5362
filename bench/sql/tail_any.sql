SELECT count(n) FROM tail_plain WHERE id = ANY (ARRAY(SELECT 'c' || (:first + floor(random() * :n)::bigint) FROM generate_series(1, 50)));
