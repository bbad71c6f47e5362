-- Unique visitors: sketches by day and of ever, and what transactions added since compaction last united them.

-- The sketch of an id and day, one row a node; day '-infinity' is ever, and stays when old days are deleted.
CREATE TABLE counter_ext.visitors (
    id text COLLATE "C" NOT NULL,
    day date NOT NULL,
    node integer NOT NULL DEFAULT 0,
    sketch counter_hll(14, 5, -1, 1) NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (id, day, node),
    CONSTRAINT visitors_id_length CHECK (pg_catalog.octet_length(id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 255)
) WITH (fillfactor = 80, toast.vacuum_truncate = off);

-- Visits not yet united: rows are inserted and deleted, never changed.
CREATE TABLE counter_ext.visit (
    id text COLLATE "C" NOT NULL,
    day date NOT NULL,
    slot bigint NOT NULL,
    sketch counter_hll(14, 5, -1, 1) NOT NULL,
    PRIMARY KEY (id, day, slot),
    CONSTRAINT visit_id_length CHECK (pg_catalog.octet_length(id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 255)
) WITH (
    vacuum_truncate = off,
    toast.vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_threshold = 100000
);

-- Keys are read where they lie: never compressed, also beside a sketch that fills the row.
ALTER TABLE counter_ext.visitors ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.visit ALTER COLUMN id SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.visitors', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.visit', '');
COMMENT ON TABLE counter_ext.visitors IS 'sketches of unique visitors, a row an id, day (by counter_ext.time_zone; -infinity: ever) and node';
COMMENT ON TABLE counter_ext.visit IS 'visits not yet united into counter_ext.visitors';
