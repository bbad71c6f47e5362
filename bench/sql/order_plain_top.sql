SELECT count(*) FROM (SELECT member, score FROM order_plain ORDER BY score DESC LIMIT 10) AS top;
