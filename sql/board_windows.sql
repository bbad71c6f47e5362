-- Boards by windows: members ranked by what their counters gained in an hour, a day, a week or a month.

-- Changed by counter_board and counter_unboard, which keep out who counts.
CREATE TABLE counter_ext.board_window (
    prefix text COLLATE "C" NOT NULL,
    length text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- How long a window is kept after its end, in microseconds.
    keep_us bigint NOT NULL,
    zone text COLLATE "C" NOT NULL,
    PRIMARY KEY (prefix, length),
    CONSTRAINT board_window_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT board_window_prefix_free CHECK (pg_catalog.left(prefix, 1) OPERATOR(pg_catalog.<>) E'\x01' AND pg_catalog.left(prefix, 1) OPERATOR(pg_catalog.<>) E'\x02')
);

-- What members have gained in each window. board_member and board_count, which say their order, are made of it.
CREATE TABLE counter_ext.board_score (
    board text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    node integer NOT NULL,
    -- A random number: what is restored and what is counted meanwhile never meet in the index.
    part bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (board, member, node, part)
) WITH (fillfactor = 80);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.board_window ALTER COLUMN prefix SET STORAGE EXTERNAL, ALTER COLUMN length SET STORAGE EXTERNAL,
    ALTER COLUMN zone SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.board_score ALTER COLUMN board SET STORAGE EXTERNAL, ALTER COLUMN member SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.board_window', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.board_score', '');

COMMENT ON TABLE counter_ext.board_window IS 'boards by windows of time; changed by counter_board and counter_unboard';
COMMENT ON TABLE counter_ext.board_score IS 'what members of boards by windows have gained in each window';
COMMENT ON COLUMN counter_ext.board_window.zone IS 'the time zone in which windows begin';
COMMENT ON COLUMN counter_ext.board_score.board IS 'names a window: its length, prefix and beginning';
