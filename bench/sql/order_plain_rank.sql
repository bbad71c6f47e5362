SELECT 1 + count(*) FROM order_plain WHERE score > (SELECT score FROM order_plain WHERE member = (:middle)::text);
