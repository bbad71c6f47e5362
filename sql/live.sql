-- Live totals: who is told of changes, and what has still to be sent.

-- Changed by counter_watch and counter_unwatch.
CREATE TABLE counter_ext.watch (
    prefix text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    at_most_every interval NOT NULL,
    -- Who watches. Nothing is sent that this role may not read.
    role text COLLATE "C" NOT NULL,
    sent_at timestamptz,
    PRIMARY KEY (prefix, channel),
    CONSTRAINT watch_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT watch_channel_length CHECK (pg_catalog.octet_length(channel) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(channel) OPERATOR(pg_catalog.<=) 63)
) WITH (fillfactor = 50);

-- Counters that have changed since they were last sent; written in the transaction that folds the change, deleted by the one that sends it.
CREATE TABLE counter_ext.watch_changed (
    prefix text COLLATE "C" NOT NULL,
    channel text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    -- A random number: two transactions never meet in the index.
    entry bigint NOT NULL,
    PRIMARY KEY (prefix, channel, id, entry)
) WITH (
    vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_threshold = 100000
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.watch ALTER COLUMN prefix SET STORAGE EXTERNAL, ALTER COLUMN channel SET STORAGE EXTERNAL,
    ALTER COLUMN role SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.watch_changed ALTER COLUMN prefix SET STORAGE EXTERNAL, ALTER COLUMN channel SET STORAGE EXTERNAL,
    ALTER COLUMN id SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.watch', '');

COMMENT ON TABLE counter_ext.watch IS 'channels that are told of changed totals; changed by counter_watch and counter_unwatch';
COMMENT ON TABLE counter_ext.watch_changed IS 'counters whose changed totals have still to be sent';
COMMENT ON COLUMN counter_ext.watch.sent_at IS 'when something was last sent';
