-- Expiry: counters under these prefixes are dropped by the worker when nobody has incremented them for so long; the longest prefix holds.

CREATE TABLE counter_ext.expiry (
    prefix text COLLATE "C" NOT NULL,
    idle interval NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- Counters that have been dropped so.
    dropped bigint NOT NULL DEFAULT 0,
    last_dropped_at timestamptz,
    PRIMARY KEY (prefix),
    CONSTRAINT expiry_prefix_length CHECK (
        pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT expiry_idle CHECK (
        pg_catalog.date_part('epoch', idle) OPERATOR(pg_catalog.>) 0 AND idle OPERATOR(pg_catalog.<=) interval '1000 years')
) WITH (fillfactor = 50);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.expiry ALTER COLUMN prefix SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.expiry', '');
COMMENT ON TABLE counter_ext.expiry IS 'prefixes of the ids of counters that are dropped when nobody has incremented them for so long; changed by counter_expire and counter_unexpire';

CREATE VIEW @extschema@.counter_expiries WITH (security_invoker) AS
    SELECT e.prefix, e.idle, e.since, e.dropped, e.last_dropped_at FROM counter_ext.expiry e;
COMMENT ON VIEW @extschema@.counter_expiries IS 'under which prefixes counters expire, after how long without an increment, and how many have';
GRANT SELECT ON @extschema@.counter_expiries TO PUBLIC;
