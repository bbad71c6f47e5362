-- Boards: counters under a prefix, ranked by their totals.

-- Counters whose ids begin so, and go on, are the board's members. Changed by counter_board and counter_unboard.
CREATE TABLE counter_ext.board (
    prefix text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (prefix),
    CONSTRAINT board_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255),
    -- Ids that families keep for themselves, and names of windows.
    CONSTRAINT board_prefix_free CHECK (pg_catalog.left(prefix, 1) OPERATOR(pg_catalog.<>) E'\x01' AND pg_catalog.left(prefix, 1) OPERATOR(pg_catalog.<>) E'\x02')
);

-- How far a board is built. All below is derived from counter_ext.total, and so not dumped: a restored board is built anew.
CREATE TABLE counter_ext.board_state (
    prefix text COLLATE "C" NOT NULL,
    state integer NOT NULL,
    upto text COLLATE "C" NOT NULL,
    PRIMARY KEY (prefix)
) WITH (fillfactor = 50);

CREATE TABLE counter_ext.board_member (
    board text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    place bigint NOT NULL,
    PRIMARY KEY (board, member)
);
CREATE INDEX board_member_place ON counter_ext.board_member (board, place, member);

CREATE TABLE counter_ext.board_count (
    board text COLLATE "C" NOT NULL,
    scores text COLLATE "C" NOT NULL,
    counts bytea NOT NULL,
    PRIMARY KEY (board, scores)
) WITH (fillfactor = 50);

-- Counters whose totals were changed by others than compaction: the next pass brings their members up to date. Each draws a random
-- number: two transactions never meet in the index.
CREATE TABLE counter_ext.board_changed (
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
    PRIMARY KEY (id, entry)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- Dated copies.
CREATE TABLE counter_ext.board_snapshot (
    board text COLLATE "C" NOT NULL,
    taken_at timestamptz NOT NULL,
    position bigint NOT NULL,
    rank bigint NOT NULL,
    member text COLLATE "C" NOT NULL,
    score bigint NOT NULL,
    PRIMARY KEY (board, taken_at, position)
);

-- Keys and counts are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.board ALTER COLUMN prefix SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.board_state ALTER COLUMN prefix SET STORAGE EXTERNAL, ALTER COLUMN upto SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.board_member ALTER COLUMN board SET STORAGE EXTERNAL, ALTER COLUMN member SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.board_count ALTER COLUMN board SET STORAGE EXTERNAL, ALTER COLUMN scores SET STORAGE EXTERNAL,
    ALTER COLUMN counts SET STORAGE PLAIN;
ALTER TABLE counter_ext.board_changed ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.board_snapshot ALTER COLUMN board SET STORAGE EXTERNAL, ALTER COLUMN member SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.board', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.board_snapshot', '');

COMMENT ON TABLE counter_ext.board IS 'prefixes of counters that form boards; changed by counter_board and counter_unboard';
COMMENT ON TABLE counter_ext.board_state IS 'how far each board is built from counter_ext.total';
COMMENT ON TABLE counter_ext.board_member IS 'members of boards, with the totals of their counters';
COMMENT ON TABLE counter_ext.board_count IS 'how many members of a board have scores of each range';
COMMENT ON TABLE counter_ext.board_changed IS 'counters whose members are to be brought up to date';
COMMENT ON TABLE counter_ext.board_snapshot IS 'dated copies of boards, as counter_board_snapshot takes them; old ones may be deleted';
COMMENT ON COLUMN counter_ext.board_state.state IS '0 is being built, 3 is being counted, 1 is complete, 2 is being removed';
COMMENT ON COLUMN counter_ext.board_state.upto IS 'the last id that is built; the score and member up to which the board is counted';
COMMENT ON COLUMN counter_ext.board_member.place IS '~ place is the score: the highest score has the lowest place';
COMMENT ON COLUMN counter_ext.board_count.scores IS 'the lowest score of the range, and how many bits it is wide; empty for all scores';
COMMENT ON COLUMN counter_ext.board_count.counts IS 'members in each part of the range, as bigints in network order';
