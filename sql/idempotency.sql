-- Idempotency: tokens of single events, offsets of batches.

-- Tokens that counter_incr_once has seen; the same token may count for several ids.
CREATE TABLE counter_ext.token (
    token text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- What it has counted: another delta is another event. NULL stands for any.
    delta bigint,
    PRIMARY KEY (token, id),
    CONSTRAINT token_length CHECK (pg_catalog.octet_length(token) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(token) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT token_id_length CHECK (pg_catalog.octet_length(id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 255)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.2);
-- By this the worker finds those to forget.
CREATE INDEX token_at ON counter_ext.token (at);

-- How far counter_apply has come with each source.
CREATE TABLE counter_ext.source_offset (
    source text COLLATE "C" NOT NULL,
    -- NULL: its next batch counts, whatever its offsets are.
    upto bigint,
    -- Offsets between one batch and the next. Of batches without a first offset: offsets less deltas, below 0 if there were more deltas.
    skipped bigint NOT NULL DEFAULT 0,
    batches bigint NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- Batches in a row that reached no further than upto, and how far the last of them did.
    passed_over bigint NOT NULL DEFAULT 0,
    passed_upto bigint,
    -- Calls of counter_apply_reset, and what the last of them took away.
    resets bigint NOT NULL DEFAULT 0,
    reset_from bigint,
    reset_at timestamptz,
    reset_by text COLLATE "C",
    PRIMARY KEY (source),
    CONSTRAINT source_length CHECK (pg_catalog.octet_length(source) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(source) OPERATOR(pg_catalog.<=) 255)
) WITH (fillfactor = 50);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.token ALTER COLUMN token SET STORAGE EXTERNAL, ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.source_offset ALTER COLUMN source SET STORAGE EXTERNAL, ALTER COLUMN reset_by SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.token', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.source_offset', '');
COMMENT ON TABLE counter_ext.token IS 'tokens of counter_incr_once, kept for counter_ext.token_retention';
COMMENT ON TABLE counter_ext.source_offset IS 'how far counter_apply has come with each source';
