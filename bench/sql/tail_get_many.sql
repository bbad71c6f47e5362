SELECT count(value) FROM counter_get_many(ARRAY(SELECT 'c' || (:first + floor(random() * :n)::bigint) FROM generate_series(1, 50)));
