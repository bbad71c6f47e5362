-- What the gateway needs of a database, by a superuser: psql -d app -v ON_ERROR_STOP=1 -f setup.sql. A second time changes nothing.
-- Each statement is a transaction of its own.
CREATE EXTENSION IF NOT EXISTS counter_ext;

-- The gateway connects as a role that may count, like and read, and nothing else. It has no password: \password gateway gives it one.
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gateway') THEN CREATE ROLE gateway LOGIN; END IF; END $$;
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
