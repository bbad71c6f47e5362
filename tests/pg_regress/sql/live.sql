-- counter_watch: changed totals are sent to channels.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
DO $$ BEGIN PERFORM counter_compact(); END $$;
RESET client_min_messages;

SELECT counter_watch('live:', 'live', '1 day'), counter_watch('live:', 'live', '1 day'), counter_watch('live:', 'live', '0 s');
SELECT counter_watch('live:', 'Live "2"');
SELECT prefix, channel, at_most_every, role = current_user AS mine, sent_at FROM counter_ext.watch ORDER BY channel COLLATE "C";
-- What is to be sent is in rows until it is sent; nothing where nothing changed.
SELECT counter_incr('live:a', 5), counter_incr('live:b', -1), counter_incr('dead:a');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT count(*) FROM counter_ext.watch_changed WHERE channel = 'live';
SELECT sent_at IS NOT NULL AS sent FROM counter_ext.watch WHERE channel = 'live';
SELECT sent_at AS before FROM counter_ext.watch WHERE channel = 'live' \gset
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT sent_at = :'before' AS same FROM counter_ext.watch WHERE channel = 'live';
-- Not before its time.
SELECT counter_watch('live:', 'live', '1 day');
SELECT counter_incr('live:a', 5), counter_set('live:b', 3);
DO $$ BEGIN PERFORM counter_compact(), counter_compact(); END $$;
SELECT DISTINCT id FROM counter_ext.watch_changed WHERE channel = 'live' ORDER BY id;
SELECT counter_incr('live:a', 5);
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT count(*) FROM counter_ext.watch_changed WHERE channel = 'live' AND id = 'live:a';
SELECT counter_drop('live:a'), counter_rename('live:b', 'live:c');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT DISTINCT id FROM counter_ext.watch_changed WHERE channel = 'live' ORDER BY id;
-- A watch goes with its transaction.
BEGIN;
SELECT counter_watch('live:', 'never');
ROLLBACK;
SELECT counter_unwatch('live:', 'never');
SELECT counter_unwatch('live:', 'live'), counter_unwatch('live:', 'Live "2"');
SELECT count(*) FROM counter_ext.watch_changed;
SELECT counter_incr('live:a');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT count(*) FROM counter_ext.watch_changed;
-- What families count under ids of their own is not sent, whoever changes it.
SELECT counter_watch('', 'all', '1 day'), counter_like('live:liked', 'kim');
DO $$ BEGIN PERFORM counter_compact(); END $$;
UPDATE counter_ext.total SET updated_at = now() WHERE id = E'\x01live:liked';
SELECT count(*) FROM counter_ext.watch_changed WHERE id ~ 'liked';
SELECT counter_unwatch('', 'all'), counter_unlike('live:liked', 'kim');

-- What is refused.
SELECT counter_watch('live:', NULL);
SELECT counter_watch(NULL, 'live');
SELECT counter_watch('live:', 'live', NULL);
SELECT counter_unwatch('live:', NULL);
SELECT counter_unwatch(NULL, 'live');
SELECT counter_watch('live:', '');
SELECT counter_watch('live:', repeat('x', 64));
SELECT counter_watch('live:', repeat('x', 63)), counter_unwatch('live:', repeat('x', 63));
SELECT counter_watch(repeat('x', 256), 'live');
SELECT counter_watch(E'\x02', 'live');
SELECT counter_watch('live:', 'live', '-1 us');
SELECT counter_watch('live:', 'live', '25 h');
BEGIN READ ONLY;
SELECT counter_watch('live:', 'live');
ROLLBACK;
BEGIN READ ONLY;
SELECT counter_unwatch('live:', 'live');
ROLLBACK;

-- Who may do what: who has something sent must be allowed to read it, then and later.
CREATE ROLE counter_ext_live;
SET ROLE counter_ext_live;
SELECT counter_watch('live:', 'live');
RESET ROLE;
GRANT SELECT ON counter_ext.total TO counter_ext_live;
SET ROLE counter_ext_live;
SELECT counter_watch('live:', 'live');
RESET ROLE;
GRANT INSERT ON counter_ext.watch TO counter_ext_live;
SET ROLE counter_ext_live;
SELECT counter_watch('live:', 'live', '0 s');
SELECT counter_unwatch('live:', 'live');
RESET ROLE;
SELECT role FROM counter_ext.watch;
REVOKE SELECT ON counter_ext.total FROM counter_ext_live;
SELECT counter_incr('live:secret');
DO $$ BEGIN PERFORM counter_compact(); END $$;
SELECT count(*) FROM counter_ext.watch_changed;
DROP OWNED BY counter_ext_live;
DROP ROLE counter_ext_live;
SELECT counter_unwatch('live:', 'live');
SELECT counter_drop_prefix('live:'), counter_drop('dead:a');
