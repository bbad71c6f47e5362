-- Series: what counters came to, by time.

-- Counters whose ids begin so have a series. Changed by counter_track and counter_untrack, which keep out who counts.
CREATE TABLE counter_ext.tracked (
    prefix text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- How long buckets are kept, in microseconds; NULL: there are none so long; 9223372036854775807: for ever.
    minute_us bigint,
    hour_us bigint,
    day_us bigint,
    zone text COLLATE "C" NOT NULL,
    PRIMARY KEY (prefix),
    CONSTRAINT tracked_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255)
);

-- What went into totals, by the time at which it was counted or happened. An amount is in one bucket: as minutes are expired, they go
-- into hours, and those into days. Partitions by time are made as they are needed, and dropped.
CREATE TABLE counter_ext.bucket (
    id text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL,
    node integer NOT NULL,
    -- A random number: what is restored and what is counted meanwhile never meet in the index.
    part bigint NOT NULL,
    value bigint NOT NULL,
    minutes integer NOT NULL
) PARTITION BY LIST (minutes);
CREATE TABLE counter_ext.bucket_minute PARTITION OF counter_ext.bucket FOR VALUES IN (1) PARTITION BY RANGE (at);
CREATE TABLE counter_ext.bucket_hour PARTITION OF counter_ext.bucket FOR VALUES IN (60) PARTITION BY RANGE (at);
CREATE TABLE counter_ext.bucket_day PARTITION OF counter_ext.bucket FOR VALUES IN (1440) PARTITION BY RANGE (at);

-- A partition that is being rolled up into longer buckets: up to this id that is done.
CREATE TABLE counter_ext.rolled (
    partition text COLLATE "C" NOT NULL,
    upto text COLLATE "C" NOT NULL,
    PRIMARY KEY (partition)
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.tracked ALTER COLUMN prefix SET STORAGE EXTERNAL, ALTER COLUMN zone SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.bucket ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.bucket_minute ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.bucket_hour ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.bucket_day ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.rolled ALTER COLUMN partition SET STORAGE EXTERNAL, ALTER COLUMN upto SET STORAGE EXTERNAL;

-- Partitions that were made as they were needed are no part of the extension, and dumped as any table.
SELECT pg_catalog.pg_extension_config_dump('counter_ext.tracked', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.rolled', '');

COMMENT ON TABLE counter_ext.tracked IS 'prefixes of the ids of counters that have a series; changed by counter_track and counter_untrack';
COMMENT ON TABLE counter_ext.bucket IS 'series of counters, in buckets of a minute, an hour or a day; privileges on it decide who may read series';
COMMENT ON TABLE counter_ext.rolled IS 'partitions of counter_ext.bucket that are being rolled up: up to which id that is done';
COMMENT ON COLUMN counter_ext.tracked.zone IS 'the time zone in whose hours and days expired buckets are summed up';
