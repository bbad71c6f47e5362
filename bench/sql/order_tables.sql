-- Members with scores as an application keeps them, and raw events of a day.
SET client_min_messages = warning;
DROP TABLE IF EXISTS order_plain, order_events;
CREATE TABLE order_plain (member text COLLATE "C" PRIMARY KEY, score bigint NOT NULL);
INSERT INTO order_plain SELECT n::text, 1 + n * 2654435761 % 1000000 FROM generate_series(1::bigint, 1000000) AS n;
CREATE INDEX ON order_plain (score DESC);
VACUUM ANALYZE order_plain;
CREATE UNLOGGED TABLE order_events (id text NOT NULL, at timestamptz NOT NULL);
INSERT INTO order_events SELECT 'series', date_trunc('hour', now()) - interval '1 day' + n * interval '86.4 ms' / 10
    FROM generate_series(1::bigint, :events) AS n;
VACUUM ANALYZE order_events;
