-- Audit: which counters are audited, and the log of their increments.

-- Counters whose ids begin so are audited. Changed by counter_audit, which makes the log agree with the totals first.
CREATE TABLE counter_ext.audited (
    prefix text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (prefix),
    CONSTRAINT audited_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255)
);

-- Entries as transactions append them, until the compactor seals them.
CREATE TABLE counter_ext.audit_pending (
    id text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    -- A random number: two transactions never meet in the index.
    entry bigint NOT NULL,
    delta bigint NOT NULL,
    operation text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    xid xid8 NOT NULL,
    node integer NOT NULL,
    PRIMARY KEY (id, at, entry)
) WITH (
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_threshold = 100000
);

-- Sealed entries: each hash is over the one before it and the entry.
CREATE TABLE counter_ext.audit_log (
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    delta bigint NOT NULL,
    operation text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    xid xid8 NOT NULL,
    node integer NOT NULL,
    hash bytea NOT NULL
) PARTITION BY RANGE (at);
-- Takes what no other partition does, so that sealing needs none. Each partition has a primary key of its own: one of the parent
-- would be made again with each partition that a dump restores, and again by the dump.
CREATE TABLE counter_ext.audit_log_default PARTITION OF counter_ext.audit_log (PRIMARY KEY (id, seq)) DEFAULT;

-- The last link of each chain: by it a log that was cut off at its end is found.
CREATE TABLE counter_ext.audit_head (
    id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- One row: how many chains there are, how long they are together, and the sum of their last links' hashes. By it a chain that was
-- taken away whole is found.
CREATE TABLE counter_ext.audit_anchor (
    name text COLLATE "C" NOT NULL,
    chains bigint NOT NULL,
    entries bigint NOT NULL,
    hash bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (name)
) WITH (fillfactor = 10);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.audited ALTER COLUMN prefix SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.audit_pending ALTER COLUMN id SET STORAGE EXTERNAL,
    ALTER COLUMN actor SET STORAGE EXTERNAL, ALTER COLUMN role SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.audit_log ALTER COLUMN id SET STORAGE EXTERNAL,
    ALTER COLUMN actor SET STORAGE EXTERNAL, ALTER COLUMN role SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.audit_log_default ALTER COLUMN id SET STORAGE EXTERNAL,
    ALTER COLUMN actor SET STORAGE EXTERNAL, ALTER COLUMN role SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.audit_head ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.audit_anchor ALTER COLUMN name SET STORAGE EXTERNAL;

-- pg_dump takes an extension's rows from partitions, not from their parent.
SELECT pg_catalog.pg_extension_config_dump('counter_ext.audited', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.audit_head', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.audit_anchor', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.audit_log_default', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.audit_pending', '');

COMMENT ON TABLE counter_ext.audited IS 'prefixes of the ids of audited counters; changed by counter_audit';
COMMENT ON TABLE counter_ext.audit_pending IS 'increments of audited counters that are not sealed into counter_ext.audit_log yet';
COMMENT ON TABLE counter_ext.audit_log IS 'increments of audited counters, a chain of SHA-256 hashes an id; partitions by time may be added, each with PRIMARY KEY (id, seq)';
COMMENT ON TABLE counter_ext.audit_head IS 'the last entry of each chain in counter_ext.audit_log';
COMMENT ON TABLE counter_ext.audit_anchor IS 'what the last entries of all chains add up to';
COMMENT ON COLUMN counter_ext.audit_log.seq IS 'position in the chain of the id, from 1 on, in the order of sealing';
COMMENT ON COLUMN counter_ext.audit_log.operation IS 'increment, reset, set, drop, or open: what makes the log agree with the total when auditing begins';
COMMENT ON COLUMN counter_ext.audit_log.actor IS 'whom the call names, else the setting counter_ext.actor, else the session''s user';
COMMENT ON COLUMN counter_ext.audit_log.role IS 'the session''s user';
COMMENT ON COLUMN counter_ext.audit_log.at IS 'when the function was called';
COMMENT ON COLUMN counter_ext.audit_log.hash IS 'SHA-256 of the hash before it, 32 zero bytes for the first, and the entry''s columns, each behind its length';
