-- What the gateway needs of a database, once, by a superuser: psql -f setup.sql. Each statement is a transaction of its own.
CREATE EXTENSION counter_ext;

-- The gateway connects as a role that may count, like and read, and nothing else.
CREATE ROLE gateway LOGIN;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO gateway;
GRANT SELECT, INSERT, DELETE ON counter_ext.liked TO gateway;
GRANT INSERT, UPDATE ON counter_ext.source_offset TO gateway;
GRANT SELECT ON counter_ext.bucket TO gateway;
GRANT EXECUTE ON FUNCTION counter_limit(text, bigint, interval, bigint) TO gateway;

-- Trending: what was counted by the minute. The leaderboard: what was counted today.
SELECT counter_track('view:', '{minute,hour,day}', '{2 days,90 days,forever}');
SELECT counter_board('view:', by => 'day', keep => '90 days');

-- Live totals: of each item, and of all together.
SELECT counter_watch('view:', 'gateway_views', at_most_every => '1 s');
SELECT counter_watch('views', 'gateway_views', at_most_every => '1 s');
