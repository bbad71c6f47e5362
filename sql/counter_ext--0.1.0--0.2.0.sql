-- counter_ext 0.1.0 to 0.2.0, made by `make sql`: edit sql/upgrade_from_0.1.0.sql, not this.

-- What becomes of 0.1.0. `make sql` makes sql/counter_ext--0.1.0--0.2.0.sql of this and of the SQL of 0.2.0.
--
-- The rules of sql/schema.sql hold: every function, operator and table is named with its schema.

-- The library comes first: what follows calls it.
DO $$
BEGIN
    IF @extschema@.counter_version() OPERATOR(pg_catalog.<>) '0.2.0'::pg_catalog.text THEN
        RAISE EXCEPTION 'the library of counter_ext that is loaded is version %', @extschema@.counter_version()
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Restart the server, so that it loads the library of version 0.2.0, and update the extension then.';
    END IF;
END
$$;

-- Who holds one of our locks has this one, or waits for it.
LOCK TABLE counter_ext.total IN ACCESS EXCLUSIVE MODE;

-- 0.1.0 buffered increments in the WAL, which 0.2.0 does not read. Its own last pass takes them in; its replication slot, which nobody
-- needs any more, stands for the question whether that was made. A database that has never buffered is not updated before that either: the
-- library of 0.1.0 that is to make the pass would not do with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_replication_slots s
               WHERE s.slot_name OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name
                   AND s.slot_type OPERATOR(pg_catalog.=) 'physical'::pg_catalog.text) THEN
        RAISE EXCEPTION 'increments that version 0.1.0 has buffered may be in the WAL only'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Version 0.2.0 does not read them there. The replication slot "counter_ext" of version 0.1.0 still keeps that WAL.',
            HINT = 'If each database has had counter_compact() by version 0.1.0 after its last buffered increment, run SELECT '
                'pg_drop_replication_slot(''counter_ext''), and update then; else start the server with the library of version 0.1.0, and have it so.';
    END IF;
END
$$;

-- Triggers on our own tables, of which 0.2.0 has others. Those of others on them stay.
DO $$
DECLARE
    ours record;
BEGIN
    FOR ours IN SELECT t.tgname, t.tgrelid::pg_catalog.regclass AS relation FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
        WHERE c.relnamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
            AND p.pronamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
            AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', ours.tgname, ours.relation);
    END LOOP;
END
$$;

-- Functions whose arguments or results are others now. What users have built on one of these is named in PostgreSQL's refusal to
-- drop it, and is to be dropped before, and made again after, the update. All others are replaced, and keep what depends on them.
DO $$
DECLARE
    refusal text;
    what text;
BEGIN
    DROP VIEW @extschema@.counter_stats;
    DROP FUNCTION counter_ext.statistics(), counter_ext.limit_statistics();
    DROP FUNCTION @extschema@.counter_hottest(integer);
    DROP FUNCTION @extschema@.counter_info(bigint), @extschema@.counter_info(@extschema@.counter);
    DROP FUNCTION @extschema@.counter_incr(bigint, bigint), @extschema@.counter_incr(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_allow(text, integer, interval, integer);
    DROP FUNCTION @extschema@.counter_like(bigint, bigint), @extschema@.counter_like(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_unlike(bigint, bigint), @extschema@.counter_unlike(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_liked(bigint, bigint), @extschema@.counter_liked(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_cache(pg_catalog.regclass, text, text, boolean);
    DROP FUNCTION @extschema@.counter_verify(pg_catalog.regclass, text, text, boolean);
    DROP FUNCTION @extschema@.counter_visit(bigint, anyelement, bigint), @extschema@.counter_visit(bigint, text, bigint),
        @extschema@.counter_visit(@extschema@.counter, anyelement, bigint), @extschema@.counter_visit(@extschema@.counter, text, bigint);
    DROP FUNCTION @extschema@.counter_likers(text, text, integer), @extschema@.counter_liked_items(text, text, integer);
    DROP FUNCTION counter_ext.discount_likes(pg_catalog.regclass);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS refusal := MESSAGE_TEXT, what := PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION '%', refusal
        USING ERRCODE = 'dependent_objects_still_exist', DETAIL = what,
        HINT = 'Version 0.2.0 has others in their place. Drop what is built on them, update, and make it again.';
END
$$;
-- The view goes on under its own name, with what users have built on it.
ALTER FUNCTION counter_ext.list_counters() RENAME TO list_counters_of_0_1_0;

-- Tables.
DROP TABLE counter_ext.journal;
ALTER TABLE counter_ext.slot
    ADD COLUMN at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    ADD COLUMN booked_at timestamptz;
ALTER TABLE counter_ext.token ADD COLUMN delta bigint;
ALTER TABLE counter_ext.source_offset
    ALTER COLUMN upto DROP NOT NULL,
    ADD COLUMN passed_over bigint NOT NULL DEFAULT 0,
    ADD COLUMN passed_upto bigint,
    ADD COLUMN resets bigint NOT NULL DEFAULT 0,
    ADD COLUMN reset_from bigint,
    ADD COLUMN reset_at timestamptz,
    ADD COLUMN reset_by text COLLATE "C";
ALTER TABLE counter_ext.blocked ADD COLUMN network cidr;
ALTER TABLE counter_ext.policy
    DROP CONSTRAINT policy_per,
    DROP CONSTRAINT policy_min_interval,
    ADD CONSTRAINT policy_per CHECK (
        pg_catalog.date_part('epoch', per) OPERATOR(pg_catalog.>) 0 AND per OPERATOR(pg_catalog.<=) interval '1000 years'),
    ADD CONSTRAINT policy_min_interval CHECK (
        pg_catalog.date_part('epoch', min_interval) OPERATOR(pg_catalog.>=) 0
        AND min_interval OPERATOR(pg_catalog.<=) interval '1000 years');
-- Likes are read through other indexes. Those whose time is no time have now one.
DROP INDEX counter_ext.liked_by_actor;
UPDATE counter_ext.liked SET (at) = ROW (pg_catalog.now()) WHERE NOT pg_catalog.isfinite(at);
ALTER TABLE counter_ext.liked
    DROP CONSTRAINT liked_pkey,
    ADD CONSTRAINT liked_pkey PRIMARY KEY (actor, item) INCLUDE (at),
    ADD CONSTRAINT liked_at_finite CHECK (pg_catalog.isfinite(at));
ALTER OPERATOR FAMILY @extschema@.counter_ops USING btree ADD
    FUNCTION 4 (@extschema@.counter, @extschema@.counter) pg_catalog.btequalimage(oid);
-- Sketches sort now. Before PostgreSQL 17 no command says so of an operator that is there.
UPDATE pg_catalog.pg_operator SET (oprcanmerge) = ROW (true)
    WHERE oid OPERATOR(pg_catalog.=) '@extschema@.=(@extschema@.counter_hll, @extschema@.counter_hll)'::pg_catalog.regoperator;

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.total ALTER COLUMN id SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.slot ALTER COLUMN id SET STORAGE EXTERNAL;

-- All but the counts of likes: those are counted anew as the likes are restored.
SELECT pg_catalog.pg_extension_config_dump('counter_ext.total', 'WHERE pg_catalog.ascii(id) OPERATOR(pg_catalog.<>) 1');

SELECT pg_catalog.pg_extension_config_dump('counter_ext.slot', 'WHERE pg_catalog.ascii(id) OPERATOR(pg_catalog.<>) 1');

COMMENT ON SCHEMA counter_ext IS 'tables of the extension counter_ext; privileges on counter_ext.total decide who may count and read';

COMMENT ON TABLE counter_ext.total IS 'durable totals of counters, one row a counter and node';

COMMENT ON TABLE counter_ext.slot IS 'increments of counters not yet compacted into counter_ext.total';

-- How far the journal of buffered increments is folded into totals: one row, written by whoever folds.
CREATE TABLE counter_ext.journal (
    only_row boolean NOT NULL DEFAULT true PRIMARY KEY,
    epoch bigint NOT NULL DEFAULT 0,
    CONSTRAINT journal_has_one_row CHECK (only_row),
    CONSTRAINT journal_epoch CHECK (epoch OPERATOR(pg_catalog.>=) 0)
) WITH (fillfactor = 10);

INSERT INTO counter_ext.journal DEFAULT VALUES;

COMMENT ON TABLE counter_ext.journal IS 'up to which epoch buffered increments are folded into counter_ext.total';

-- Buffered increments that are not folded yet, and pages to be used again. Rows are written by hand (src/pg/append.rs), never by SQL,
-- and never deleted: what an epoch has filled is overwritten two epochs after it. So there is nothing to vacuum but for the age
-- of transaction ids, and the file keeps its length. Not dumped: a dump has what is folded.
CREATE TABLE counter_ext.journal_tail (
    epoch bigint NOT NULL,
    record bytea NOT NULL
) WITH (vacuum_truncate = off, autovacuum_enabled = off);

-- Records are read where they lie, and fit on a page.
ALTER TABLE counter_ext.journal_tail ALTER COLUMN record SET STORAGE PLAIN;

COMMENT ON TABLE counter_ext.journal_tail IS 'buffered increments not yet folded into counter_ext.total';

-- Ids that running transactions have for themselves. A row is deleted as soon as it is inserted, so nobody sees one: see
-- src/rows/claims.rs.
CREATE TABLE counter_ext.claim (
    id text COLLATE "C" NOT NULL,
    claim bigint NOT NULL,
    PRIMARY KEY (id, claim)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

ALTER TABLE counter_ext.claim ALTER COLUMN id SET STORAGE EXTERNAL;

COMMENT ON TABLE counter_ext.claim IS 'ids that running transactions set, reset, drop or move; always empty';

CREATE OR REPLACE FUNCTION counter_ext.counter_in(cstring) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_out(counter) RETURNS cstring
    AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_send(counter) RETURNS bytea
    AS 'textsend' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_recv(internal) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_recv_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON TYPE counter IS 'the id of a counter; cast it to bigint for the live total';

CREATE OR REPLACE FUNCTION counter_ext.counter_eq(counter, counter) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(counter, counter) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_lt(counter, counter) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_le(counter, counter) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_gt(counter, counter) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ge(counter, counter) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_cmp(counter, counter) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hash(counter) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hash_extended(counter, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

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

-- src/api/audit.rs
-- counter_ext::api::audit::counter_ext::note_audited_change
CREATE OR REPLACE FUNCTION counter_ext."note_audited_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_audited_change_wrapper';

-- src/api/audit.rs
-- counter_ext::api::audit::counter_audit
CREATE OR REPLACE FUNCTION "counter_audit"(
	"prefix" text, /* TextArg < '_ > */
	"on" bool /* bool */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_audit_wrapper';

-- src/api/audit.rs
-- counter_ext::api::audit::counter_audit_verify
CREATE OR REPLACE FUNCTION "counter_audit_verify"(
	"id" text /* TextArg < '_ > */
) RETURNS TABLE (
	"ok" bool,  /* Option < bool > */
	"entries" bigint,  /* i64 */
	"log_sum" NUMERIC,  /* AnyNumeric */
	"total" NUMERIC,  /* AnyNumeric */
	"broken_seq" bigint,  /* Option < i64 > */
	"problem" TEXT  /* Option < String > */
)
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_audit_verify_wrapper';

CREATE OR REPLACE FUNCTION counter_audit_verify(id counter)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    AS 'MODULE_PATHNAME', 'counter_audit_verify_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_audit_verify(id bigint)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT * FROM @extschema@.counter_audit_verify($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_audit_verify(id uuid)
    RETURNS TABLE (ok boolean, entries bigint, log_sum numeric, total numeric, broken_seq bigint, problem text)
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT * FROM @extschema@.counter_audit_verify($1::pg_catalog.text); END;

-- src/api/audit.rs
-- counter_ext::api::audit::counter_audit_verify
CREATE OR REPLACE FUNCTION "counter_audit_verify"() RETURNS TABLE (
	"ok" bool,  /* bool */
	"chains" bigint,  /* i64 */
	"entries" bigint,  /* i64 */
	"problem" TEXT  /* Option < String > */
)
STRICT 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_audit_verify_all_wrapper';

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

-- src/api/boards.rs
-- counter_ext::api::boards::counter_ext::note_board_change
CREATE OR REPLACE FUNCTION counter_ext."note_board_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_board_change_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_ext::note_board_window_change
CREATE OR REPLACE FUNCTION counter_ext."note_board_window_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_board_window_change_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board
CREATE OR REPLACE FUNCTION "counter_board"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"by" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"keep" interval DEFAULT NULL /* Option < IntervalArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board_around
CREATE OR REPLACE FUNCTION "counter_board_around"(
	"board" text, /* Option < TextArg < '_ > > */
	"member" text, /* Option < TextArg < '_ > > */
	"n" INT DEFAULT 5, /* Option < i32 > */
	"by" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS TABLE (
	"rank" bigint,  /* i64 */
	"member" text,  /* TextBytes */
	"score" bigint  /* i64 */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_around_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board_incr
CREATE OR REPLACE FUNCTION "counter_board_incr"(
	"board" text, /* TextArg < '_ > */
	"member" text, /* TextArg < '_ > */
	"delta" bigint DEFAULT 1 /* i64 */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_incr_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board_rank
CREATE OR REPLACE FUNCTION "counter_board_rank"(
	"board" text, /* Option < TextArg < '_ > > */
	"member" text, /* Option < TextArg < '_ > > */
	"by" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS bigint /* Option < i64 > */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_rank_wrapper';

CREATE OR REPLACE FUNCTION counter_board_incr(board text, member bigint, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_board_incr($1, $2::pg_catalog.text, $3); END;

CREATE OR REPLACE FUNCTION counter_board_incr(board text, member uuid, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_board_incr($1, $2::pg_catalog.text, $3); END;

CREATE OR REPLACE FUNCTION counter_board_rank(board text, member bigint, by text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_board_rank($1, $2::pg_catalog.text, $3); END;

CREATE OR REPLACE FUNCTION counter_board_rank(board text, member uuid, by text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_board_rank($1, $2::pg_catalog.text, $3); END;

CREATE OR REPLACE FUNCTION counter_board_around(board text, member bigint, n integer DEFAULT 5, by text DEFAULT NULL)
    RETURNS TABLE (rank bigint, member text, score bigint) LANGUAGE sql VOLATILE
    BEGIN ATOMIC SELECT * FROM @extschema@.counter_board_around($1, $2::pg_catalog.text, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_board_around(board text, member uuid, n integer DEFAULT 5, by text DEFAULT NULL)
    RETURNS TABLE (rank bigint, member text, score bigint) LANGUAGE sql VOLATILE
    BEGIN ATOMIC SELECT * FROM @extschema@.counter_board_around($1, $2::pg_catalog.text, $3, $4); END;

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board_snapshot
CREATE OR REPLACE FUNCTION "counter_board_snapshot"(
	"board" text /* TextArg < '_ > */
) RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_snapshot_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_board_top
CREATE OR REPLACE FUNCTION "counter_board_top"(
	"board" text, /* Option < TextArg < '_ > > */
	"n" INT DEFAULT 10, /* Option < i32 > */
	"at" timestamp with time zone DEFAULT NULL, /* Option < TimestampWithTimeZone > */
	"by" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS TABLE (
	"rank" bigint,  /* i64 */
	"member" text,  /* TextBytes */
	"score" bigint  /* i64 */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_board_top_wrapper';

-- src/api/boards.rs
-- counter_ext::api::boards::counter_unboard
CREATE OR REPLACE FUNCTION "counter_unboard"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"by" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_unboard_wrapper';

-- src/api/bulk.rs
-- counter_ext::api::bulk::counter_drop_many
CREATE OR REPLACE FUNCTION "counter_drop_many"(
	"ids" text[] /* Option < TextArray < '_ > > */
) RETURNS bigint /* i64 */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_drop_many_wrapper';

-- src/api/bulk.rs
-- counter_ext::api::bulk::counter_drop_prefix
CREATE OR REPLACE FUNCTION "counter_drop_prefix"(
	"prefix" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_drop_prefix_wrapper';

-- src/api/bulk.rs
-- counter_ext::api::bulk::counter_set_many
CREATE OR REPLACE FUNCTION "counter_set_many"(
	"ids" text[], /* Option < TextArray < '_ > > */
	"values" bigint[] /* Option < BigintArray < '_ > > */
) RETURNS bigint /* i64 */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_set_many_wrapper';

-- src/api/cache_ids.rs
-- counter_ext::api::cache_ids::counter_id
CREATE OR REPLACE FUNCTION "counter_id"(
	"prefix" text, /* TextArg < '_ > */
	"key" text /* TextArg < '_ > */
) RETURNS text /* TextBytes */
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_id_wrapper';

CREATE OR REPLACE FUNCTION counter_id(prefix text, key numeric) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @extschema@.counter_id($1, pg_catalog.trim_scale($2)::pg_catalog.text);

CREATE OR REPLACE FUNCTION counter_id(prefix text, key uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN @extschema@.counter_id($1, $2::pg_catalog.text);

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_ext::check_cache
CREATE OR REPLACE FUNCTION counter_ext."check_cache"(
	"relation" oid, /* Oid */
	"arguments" text[] /* TextArray < '_ > */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_cache_wrapper';

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_uncache
CREATE OR REPLACE FUNCTION "counter_uncache"(
	"table" regclass, /* RelationArg < '_ > */
	"prefix" text, /* TextArg < '_ > */
	"keep_counters" bool DEFAULT false /* bool */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_uncache_wrapper';

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_ext::empty_prefix
CREATE OR REPLACE FUNCTION counter_ext."empty_prefix"(
	"prefix" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'empty_prefix_wrapper';

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_ext::is_restored
CREATE OR REPLACE FUNCTION counter_ext."is_restored"() RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'is_restored_wrapper';

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_ext::lock_against_ddl
CREATE OR REPLACE FUNCTION counter_ext."lock_against_ddl"(
	"relation" oid /* Oid */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'lock_against_ddl_wrapper';

-- src/api/cache_registry.rs
-- counter_ext::api::cache_registry::counter_ext::recount_cache
CREATE OR REPLACE FUNCTION counter_ext."recount_cache"(
	"relation" oid, /* Oid */
	"arguments" text[], /* TextArray < '_ > */
	"is_rekeyed" bool /* bool */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'recount_cache_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_backfill
CREATE OR REPLACE FUNCTION "counter_backfill"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"column" text /* Option < TextArg < '_ > > */
) RETURNS bigint /* i64 */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_backfill_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_backfill
CREATE OR REPLACE FUNCTION "counter_backfill"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"columns" text[] /* Option < TextArray < '_ > > */
) RETURNS bigint /* i64 */

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_backfill_by_columns_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_cache
CREATE OR REPLACE FUNCTION "counter_cache"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"column" text, /* Option < TextArg < '_ > > */
	"amount" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"only" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"through" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"take_over" bool DEFAULT false /* Option < bool > */
) RETURNS bigint /* i64 */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_cache_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_cache
CREATE OR REPLACE FUNCTION "counter_cache"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"columns" text[], /* Option < TextArray < '_ > > */
	"amount" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"only" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"through" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"take_over" bool DEFAULT false /* Option < bool > */
) RETURNS bigint /* i64 */

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_cache_by_columns_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_cache
CREATE OR REPLACE FUNCTION "counter_cache"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"column" text, /* Option < TextArg < '_ > > */
	"takes_over" bool /* Option < bool > */
) RETURNS bigint /* i64 */

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_cache_taking_over_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_verify
CREATE OR REPLACE FUNCTION "counter_verify"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"column" text, /* Option < TextArg < '_ > > */
	"repair" bool DEFAULT false, /* Option < bool > */
	"key" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS TABLE (
	"id" text,  /* TextBytes */
	"counted" bigint,  /* Option < i64 > */
	"rows" bigint  /* Option < i64 > */
)
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_verify_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_verify
CREATE OR REPLACE FUNCTION "counter_verify"(
	"repair" bool DEFAULT false /* Option < bool > */
) RETURNS TABLE (
	"source" text,  /* TextBytes */
	"id" text,  /* TextBytes */
	"counted" bigint,  /* Option < i64 > */
	"rows" bigint  /* Option < i64 > */
)

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_verify_all_wrapper';

-- src/api/caches.rs
-- counter_ext::api::caches::counter_verify
CREATE OR REPLACE FUNCTION "counter_verify"(
	"table" regclass, /* Option < RelationArg < '_ > > */
	"prefix" text, /* Option < TextArg < '_ > > */
	"columns" text[], /* Option < TextArray < '_ > > */
	"repair" bool DEFAULT false, /* Option < bool > */
	"key" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS TABLE (
	"id" text,  /* TextBytes */
	"counted" bigint,  /* Option < i64 > */
	"rows" bigint  /* Option < i64 > */
)

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_verify_by_columns_wrapper';

CREATE OR REPLACE FUNCTION counter_rows() RETURNS trigger AS 'MODULE_PATHNAME', 'counter_rows_wrapper' LANGUAGE c;

-- Caches, and how each stands: a row for each prefix that a table's rows are counted under. The triggers themselves decide what is
-- counted; this says what they were found like last, so that what happens to their table is noticed (src/api/cache_registry.rs).
-- Dumped by name: oids of another server mean nothing here, and a table that is left out of a dump leaves its row out.
CREATE TABLE counter_ext.cache (
    relation text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    -- As its triggers have them (src/caches/arguments.rs): the prefix, a column of the key, pairs of a word and a name.
    arguments text[] COLLATE "C" NOT NULL,
    relid oid NOT NULL,
    -- Of the columns that the arguments name, in their places.
    numbers smallint[] NOT NULL,
    middle oid NOT NULL DEFAULT 0,
    owner oid NOT NULL,
    found text NOT NULL,
    state text NOT NULL DEFAULT 'right',
    verified_at timestamptz,
    why text,
    retry_at timestamptz,
    -- Its keys have other texts now: counters of old ones are the cache's too.
    is_rekeyed boolean NOT NULL DEFAULT false,
    -- The session that made its triggers beside rows, or amounts, that these have not counted: while it lasts, a restore goes on, and
    -- brings the amounts of these rows.
    restored_by text,
    -- Arguments can be longer than an index takes.
    arguments_hash bigint GENERATED ALWAYS AS (pg_catalog.hash_array_extended(arguments, 0::pg_catalog.int8)) STORED,
    PRIMARY KEY (relid, arguments_hash),
    CONSTRAINT cache_state CHECK (state IN ('right', 'stale', 'unverified'))
);

SELECT pg_catalog.pg_extension_config_dump('counter_ext.cache', '');

COMMENT ON TABLE counter_ext.cache IS 'counter caches, and how each was found last; view counter_caches shows them';

-- The arguments of a trigger, which pg_trigger has as texts that end with a NUL each.
CREATE OR REPLACE FUNCTION counter_ext.trigger_arguments(arguments bytea) RETURNS text[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    -- No part of an escaped backslash is to be taken for the beginning of a NUL.
    RETURN (SELECT pg_catalog.array_agg(pg_catalog.convert_from(pg_catalog.decode(part, 'escape'), pg_catalog.getdatabaseencoding()) ORDER BY at)
        FROM pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.regexp_replace(pg_catalog.replace(
                pg_catalog.encode(arguments, 'escape'), '\\', '\134'), '\\000$', ''), '\000')) WITH ORDINALITY AS each (part, at));
END
$$;

-- The bytes of such arguments.
CREATE OR REPLACE FUNCTION counter_ext.argument_bytes(arguments text[]) RETURNS bytea LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    RETURN (SELECT pg_catalog.string_agg(pg_catalog.convert_to(a, pg_catalog.getdatabaseencoding()) OPERATOR(pg_catalog.||) '\x00'::pg_catalog.bytea, ''::pg_catalog.bytea ORDER BY at)
        FROM pg_catalog.unnest(arguments) WITH ORDINALITY AS each (a, at));
END
$$;

-- What stands after a word.
CREATE OR REPLACE FUNCTION counter_ext.argument_after(arguments text[], word text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT arguments[at OPERATOR(pg_catalog.+) 1] FROM pg_catalog.generate_series(3, pg_catalog.cardinality(arguments), 2) AS at
        WHERE arguments[at] OPERATOR(pg_catalog.=) word LIMIT 1);
END
$$;

-- The columns of a key, as a reader is shown them.
CREATE OR REPLACE FUNCTION counter_ext.argument_key(arguments text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.concat_ws(', ', arguments[2], (SELECT pg_catalog.string_agg(arguments[at OPERATOR(pg_catalog.+) 1], ', ' ORDER BY at)
        FROM pg_catalog.generate_series(3, pg_catalog.cardinality(arguments), 2) AS at WHERE arguments[at] OPERATOR(pg_catalog.=) 'key'))
$$;

-- The table that rows are counted through; 0 where there is none. What is no name of two parts names none: a trigger of a role that may not
-- count says what it likes, and no command of others is to fail by it.
CREATE OR REPLACE FUNCTION counter_ext.argument_middle(arguments text[]) RETURNS oid LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    RETURN (SELECT coalesce(CASE WHEN named.middle OPERATOR(pg_catalog.~)
                '^[ \t\n\r\f]*("([^"]|"")+"|[^". \t\n\r\f]+)[ \t\n\r\f]*\.[ \t\n\r\f]*("([^"]|"")+"|[^". \t\n\r\f]+)[ \t\n\r\f]*$'
            THEN pg_catalog.to_regclass(named.middle)::pg_catalog.oid END, 0::pg_catalog.oid)
        FROM counter_ext.argument_after(arguments, 'through') AS named (middle));
END
$$;

-- The numbers of the columns that arguments name, in their places; 0 where there is none of the name, NULL where it names no column.
CREATE OR REPLACE FUNCTION counter_ext.argument_numbers(relation oid, middle oid, arguments text[]) RETURNS smallint[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.array_agg(CASE WHEN place.relid IS NULL THEN NULL ELSE coalesce((SELECT a.attnum FROM pg_catalog.pg_attribute a
            WHERE a.attrelid OPERATOR(pg_catalog.=) place.relid AND a.attname OPERATOR(pg_catalog.=) arguments[at]::pg_catalog.name
                AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2), 0::pg_catalog.int2) END ORDER BY at)
        FROM pg_catalog.generate_series(1, pg_catalog.cardinality(arguments)) AS at
        CROSS JOIN LATERAL (SELECT CASE WHEN at OPERATOR(pg_catalog.=) 2 THEN relation
            WHEN at OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 1 THEN NULL
            WHEN arguments[at OPERATOR(pg_catalog.-) 1] IN ('key', 'amount', 'only') THEN relation
            WHEN arguments[at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN middle END) AS place (relid));
END
$$;

-- The same arguments, with the names that all has now; NULL in the place of what is gone.
CREATE OR REPLACE FUNCTION counter_ext.arguments_now(relation oid, middle oid, arguments text[], numbers smallint[]) RETURNS text[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.array_agg(CASE
            WHEN at OPERATOR(pg_catalog.>) 2 AND arguments[at OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) 'through' AND at OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 0
                -- As it is written, while it names the same table.
                THEN CASE WHEN counter_ext.argument_middle(arguments) OPERATOR(pg_catalog.=) middle AND middle OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                    THEN arguments[at] ELSE counter_ext.table_name(middle) END
            WHEN numbers[at] IS NULL THEN arguments[at]
            ELSE (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attnum OPERATOR(pg_catalog.=) numbers[at] AND NOT a.attisdropped
                AND a.attrelid OPERATOR(pg_catalog.=) CASE WHEN at OPERATOR(pg_catalog.>) 2 AND arguments[at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN middle ELSE relation END)
            END ORDER BY at)
        FROM pg_catalog.generate_series(1, pg_catalog.cardinality(arguments)) AS at);
END
$$;

-- A table's name with its schema, as SQL writes it.
CREATE OR REPLACE FUNCTION counter_ext.table_name(relation oid) RETURNS text LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    RETURN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) relation);
END
$$;

-- Every use of counter_rows by tables that last, each by the table or the partitioned one that it is a part of.
CREATE OR REPLACE VIEW counter_ext.counting_trigger AS
    SELECT t.oid AS trigger_oid, t.tgrelid, coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid::pg_catalog.regclass)::pg_catalog.oid AS relid,
        t.tgparentid, t.tgenabled, t.arguments[1] AS prefix, t.arguments,
        CASE WHEN 'of' OPERATOR(pg_catalog.=) ANY (t.arguments[3:]) THEN counter_ext.argument_after(t.arguments, 'of') END AS of_table
    -- The function is slow. Where nothing but the NULs is escaped, the texts are between these. Arguments that are longer than any that count
    -- (src/caches/arguments.rs) are passed over: every command of anybody would take them apart.
    FROM (SELECT e.oid, e.tgrelid, e.tgparentid, e.tgenabled, e.tgfoid, e.tgnargs, CASE
            WHEN pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.>) 4096 THEN NULL
            WHEN pg_catalog.length(pg_catalog.encode(e.tgargs, 'escape')) OPERATOR(pg_catalog.=)
                    (pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.+) (3 OPERATOR(pg_catalog.*) e.tgnargs))
                THEN (pg_catalog.string_to_array(pg_catalog.encode(e.tgargs, 'escape'), '\000'))[:e.tgnargs]
            ELSE counter_ext.trigger_arguments(e.tgargs) END AS arguments
        FROM pg_catalog.pg_trigger e WHERE pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.<=) 4096) AS t
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) t.oid
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.refobjid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
        AND t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::"char" AND c.relkind IN ('r', 'p') AND t.tgnargs OPERATOR(pg_catalog.>=) 2::pg_catalog.int2;

-- Those of counted tables, and those of the tables that rows are counted through.
CREATE OR REPLACE VIEW counter_ext.cache_trigger AS
    SELECT trigger_oid, tgrelid, relid, tgparentid, tgenabled, prefix, arguments FROM counter_ext.counting_trigger WHERE of_table IS NULL;

CREATE OR REPLACE VIEW counter_ext.middle_trigger AS
    SELECT trigger_oid, tgrelid, relid, tgparentid, tgenabled, prefix, arguments, of_table FROM counter_ext.counting_trigger WHERE of_table IS NOT NULL;

-- A partitioned table and all its partitions, or a partition. pg_partition_tree locks them: every command of DDL would wait for who holds
-- one of his own.
CREATE OR REPLACE FUNCTION counter_ext.parts(relation oid) RETURNS SETOF oid LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY WITH RECURSIVE part AS (
        SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) relation
            AND (c.relkind OPERATOR(pg_catalog.=) 'p'::"char" OR c.relispartition)
        UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN part p ON p.oid OPERATOR(pg_catalog.=) i.inhparent WHERE NOT i.inhdetachpending
    )
    SELECT p.oid FROM part p;
END
$$;

-- What is different when a cache's keys, rows or triggers have changed other than by its triggers: types, collations and labels of
-- enums, parts of the table, which triggers are switched on.
CREATE OR REPLACE FUNCTION counter_ext.cache_found(relation oid, arguments text[]) RETURNS text LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.format('%s|%s|%s',
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', a.atttypid, a.attcollation,
                (SELECT pg_catalog.string_agg(pg_catalog.encode(pg_catalog.convert_to(e.enumlabel::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex'), ',' ORDER BY e.oid) FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t
                    ON e.enumtypid OPERATOR(pg_catalog.=) t.oid OR e.enumtypid OPERATOR(pg_catalog.=) t.typbasetype
                    WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid)), ';' ORDER BY n.at)
            FROM pg_catalog.unnest(counter_ext.argument_numbers(relation, named.middle, arguments)) WITH ORDINALITY AS n (number, at)
            JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) n.number AND a.attrelid OPERATOR(pg_catalog.=) CASE
                WHEN n.at OPERATOR(pg_catalog.>) 2 AND arguments[n.at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN named.middle ELSE relation END),
        (SELECT pg_catalog.string_agg(i.relid::pg_catalog.text, ',' ORDER BY i.relid) FROM
            (SELECT t.relid FROM counter_ext.parts(relation) AS t (relid) UNION ALL SELECT t.relid FROM counter_ext.parts(named.middle) AS t (relid)) i),
        -- Whether each counts outside replicas, but those that are there for replicas only. Those of partitions for TRUNCATE, which come and go
        -- with these, only where they do not.
        (SELECT pg_catalog.string_agg(CASE WHEN t.is_of_part AND p.tgenabled OPERATOR(pg_catalog.<>) 'D'::"char" THEN NULL WHEN p.tgenabled OPERATOR(pg_catalog.=) 'D'::"char" OR p.tgenabled OPERATOR(pg_catalog.=) 'R'::"char"
                AND (p.tgtype OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.=) 0::pg_catalog.int2 THEN 'D' ELSE 'O' END, ',' ORDER BY p.oid)
            -- By the table, each: every command of anybody would else look at all triggers for each cache.
            FROM pg_catalog.pg_trigger p JOIN (
                SELECT u.trigger_oid, u.is_of_part
                    FROM (SELECT relation UNION SELECT i.relid FROM counter_ext.parts(relation) AS i (relid)) r (oid) CROSS JOIN LATERAL (
                        SELECT g.trigger_oid, g.tgrelid OPERATOR(pg_catalog.<>) g.relid AND g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AS is_of_part
                            FROM counter_ext.counting_trigger g JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) g.trigger_oid
                            WHERE g.tgrelid OPERATOR(pg_catalog.=) r.oid AND e.tgargs OPERATOR(pg_catalog.=) own.bytes
                                AND g.relid OPERATOR(pg_catalog.=) relation OFFSET 0) u
                UNION ALL SELECT u.trigger_oid, u.is_of_part
                    FROM (SELECT named.middle UNION SELECT i.relid FROM counter_ext.parts(named.middle) AS i (relid)) r (oid) CROSS JOIN LATERAL (
                        SELECT g.trigger_oid, g.tgrelid OPERATOR(pg_catalog.<>) g.relid AND g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AS is_of_part
                            FROM counter_ext.middle_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) r.oid AND g.relid OPERATOR(pg_catalog.=) named.middle
                                AND g.prefix OPERATOR(pg_catalog.=) cache_found.arguments[1] OFFSET 0) u) t ON p.oid OPERATOR(pg_catalog.=) t.trigger_oid))
    FROM counter_ext.argument_middle(arguments) AS named (middle) CROSS JOIN counter_ext.argument_bytes(arguments) AS own (bytes));
END
$$;

-- A session by its process, which no later one is called; NULL where there is none.
CREATE OR REPLACE FUNCTION counter_ext.session_name(pid int) RETURNS text LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.format('%s since %s', a.pid, pg_catalog.extract('epoch', a.backend_start)) FROM pg_catalog.pg_stat_get_activity($1) a
$$;

CREATE OR REPLACE FUNCTION counter_ext.session_lasts(name text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce($1 OPERATOR(pg_catalog.=) counter_ext.session_name(pg_catalog.split_part($1, ' ', 1)::pg_catalog.int4), false)
$$;

-- This session, if it seems to restore a dump as it makes a trigger: the table has rows already, or counters are being written. Where
-- definitions are restored before all data there is neither.
CREATE OR REPLACE FUNCTION counter_ext.restoring_session(relation oid, middle oid, prefix text) RETURNS text LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT counter_ext.session_name(pg_catalog.pg_backend_pid()) WHERE counter_ext.is_restored()
        OR EXISTS (SELECT FROM pg_catalog.unnest(ARRAY[$1, $2]) AS r (oid) LEFT JOIN LATERAL counter_ext.parts(r.oid) AS i (relid) ON true
            WHERE pg_catalog.pg_relation_size(coalesce(i.relid, r.oid)) OPERATOR(pg_catalog.>) 0::pg_catalog.int8)
        OR (SELECT pg_catalog.starts_with(t.id, $3) FROM counter_ext.total t WHERE t.id OPERATOR(pg_catalog.>=) $3 ORDER BY t.id LIMIT 1)
        OR (SELECT pg_catalog.starts_with(s.id, $3) FROM counter_ext.slot s WHERE s.id OPERATOR(pg_catalog.>=) $3 ORDER BY s.id LIMIT 1)
        OR EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'
            AND l.relation IN ('counter_ext.total'::pg_catalog.regclass::pg_catalog.oid, 'counter_ext.slot'::pg_catalog.regclass::pg_catalog.oid)
            AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
            AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid())
$$;

-- Rows of a dump find their tables again by name, in sessions of any kind.
CREATE OR REPLACE FUNCTION counter_ext.restore_cache() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
BEGIN
    IF new.restored_by IS DISTINCT FROM counter_ext.session_name(pg_catalog.pg_backend_pid()) THEN
        -- Dumped.
        new.restored_by := NULL;
    END IF;
    -- A parallel restore fills this table while another session makes the triggers. An advisory lock anybody could hold for good.
    LOCK TABLE counter_ext.cache IN SHARE UPDATE EXCLUSIVE MODE;
    IF new.relid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(new.relation)::pg_catalog.oid THEN
        -- By our own hand, or restored where nothing has changed.
        NULL;
    ELSE
        new.relid := pg_catalog.to_regclass(new.relation);
    END IF;
    SELECT c.relowner INTO new.owner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) new.relid;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    new.middle := counter_ext.argument_middle(new.arguments);
    new.numbers := counter_ext.argument_numbers(new.relid, new.middle, new.arguments);
    -- What is known of it is the dump's, in whichever order triggers and dumped row have come. Partitions may have been filled before
    -- and after the triggers.
    UPDATE counter_ext.cache AS c SET restored_by = coalesce(new.restored_by, c.restored_by), found = coalesce(counter_ext.cache_found(c.relid, c.arguments), ''),
            state = CASE WHEN 'right' IN (c.state, new.state) AND EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.relid) UNION ALL SELECT FROM pg_catalog.pg_partition_tree(c.middle)) THEN 'stale'
                WHEN c.state OPERATOR(pg_catalog.=) 'unverified' THEN new.state ELSE c.state END,
            verified_at = coalesce(c.verified_at, new.verified_at)
        WHERE c.relid OPERATOR(pg_catalog.=) new.relid AND c.arguments OPERATOR(pg_catalog.=) new.arguments
            AND (new.restored_by IS NOT NULL OR counter_ext.session_lasts(c.restored_by));
    IF FOUND OR pg_catalog.array_position(new.numbers, 0::pg_catalog.int2) IS NOT NULL OR EXISTS (SELECT FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) new.relid
            AND c.arguments OPERATOR(pg_catalog.=) new.arguments) THEN
        RETURN NULL;
    END IF;
    new.found := coalesce(counter_ext.cache_found(new.relid, new.arguments), '');
    RETURN new;
END
$$;

CREATE TRIGGER restore_cache BEFORE INSERT ON counter_ext.cache FOR EACH ROW EXECUTE FUNCTION counter_ext.restore_cache();

ALTER TABLE counter_ext.cache ENABLE ALWAYS TRIGGER restore_cache;

-- Calls of the functions in the extension's schema, which go with them when that is changed.
CREATE OR REPLACE FUNCTION counter_ext.drop_prefix(prefix text) RETURNS bigint LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
    SELECT @extschema@.counter_drop_prefix($1);
END;

-- Who has given the command, as far as a function with its owner's rights can know.
CREATE OR REPLACE FUNCTION counter_ext.caller() RETURNS oid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CASE pg_catalog.current_setting('role')
        WHEN 'none' THEN SESSION_USER::pg_catalog.name ELSE pg_catalog.current_setting('role')::pg_catalog.name END
$$;

-- What keeps others than the owner from reading these tables: functions that users can write, which planning a query could run, since
-- PostgreSQL works out constant parts of expressions in indexes, statistics, partition keys and checks as it plans, also in partition keys of
-- tables that these are partitions of; and another server, which answers when it likes. An operator's owner decides what its negator and its
-- commutator call.
CREATE OR REPLACE FUNCTION counter_ext.obstacle(relation oid, middle oid) RETURNS text LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
    WITH part AS MATERIALIZED (
        SELECT relation AS relid UNION SELECT middle
        UNION SELECT t.relid FROM counter_ext.parts(relation) AS t (relid)
        UNION SELECT t.relid FROM counter_ext.parts(middle) AS t (relid)
        UNION SELECT t.relid FROM pg_catalog.unnest(ARRAY[relation, middle]) AS r (oid) CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(r.oid) AS t (relid)
    ), holder AS MATERIALIZED (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid, p.relid AS objid FROM part p
        UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid
            FROM pg_catalog.pg_index i JOIN part p ON p.relid OPERATOR(pg_catalog.=) i.indrelid
        UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass::pg_catalog.oid, s.oid
            FROM pg_catalog.pg_statistic_ext s JOIN part p ON p.relid OPERATOR(pg_catalog.=) s.stxrelid
        UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid, k.oid
            FROM pg_catalog.pg_constraint k JOIN part p ON p.relid OPERATOR(pg_catalog.=) k.conrelid WHERE k.contype OPERATOR(pg_catalog.=) 'c'::"char"
    ), code AS (
        SELECT f.proowner AS owner FROM holder h
            JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) h.classid AND d.objid OPERATOR(pg_catalog.=) h.objid
            JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) d.refobjid
            WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        UNION ALL SELECT c.owner FROM holder h
            JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) h.classid AND d.objid OPERATOR(pg_catalog.=) h.objid
            JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
            JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) o.oprcode
            CROSS JOIN LATERAL (VALUES (f.proowner), (o.oprowner)) AS c (owner)
            WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
    )
    SELECT CASE WHEN EXISTS (SELECT FROM code c JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.owner WHERE NOT r.rolsuper)
            THEN 'indexes, statistics or partitions of the table call functions of users: counter_backfill recounts it, unless its middle table has another owner; the worker does not'
        WHEN EXISTS (SELECT FROM part p JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid WHERE c.relkind OPERATOR(pg_catalog.=) 'f'::"char")
            THEN 'another server has rows of the table: counter_backfill recounts it, unless its middle table has another owner; the worker does not' END
$$;

-- Recounts one cache; where that fails, says why and lets the worker try again later, each time. For others than the owner only where
-- nothing of the owner's runs: a function that never ends would keep the worker, or whoever gave a command, for good. What is found stays
-- so meanwhile, since whoever adds an index, statistics or a check waits for the lock.
CREATE OR REPLACE FUNCTION counter_ext.recount_one(relation oid, arguments text[], middle oid, is_for_owner boolean) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout TO '100ms' AS $$
DECLARE
    message pg_catalog.text;
BEGIN
    BEGIN
        IF NOT is_for_owner THEN
            PERFORM counter_ext.lock_against_ddl(t.relid) FROM pg_catalog.unnest(ARRAY[$1, $3]) AS t (relid);
            message := counter_ext.obstacle($1, $3);
        END IF;
        IF message IS NULL THEN
            PERFORM counter_ext.recount_cache($1, $2, (SELECT pg_catalog.bool_or(c.is_rekeyed) FROM counter_ext.cache c
                WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2));
            -- Asked after rows and counters were read, which may have been some of a restore's.
            IF counter_ext.is_restored() THEN
                RAISE EXCEPTION 'the database is being restored' USING ERRCODE = 'object_in_use';
            END IF;
            UPDATE counter_ext.cache AS c SET state = 'right', verified_at = pg_catalog.clock_timestamp(), why = NULL, retry_at = NULL, is_rekeyed = false,
                    restored_by = NULL
                WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
            RETURN true;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        message := SQLERRM;
    END;
    PERFORM counter_ext.put_off($1, $2, message);
    RETURN false;
END
$$;

-- Lets the worker try again later.
CREATE OR REPLACE FUNCTION counter_ext.put_off(relation oid, arguments text[], message text) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog, pg_temp AS $$
    UPDATE counter_ext.cache AS c SET state = 'stale', why = $3,
            retry_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => CASE WHEN c.why IS NULL THEN 1 ELSE 5 END)
        WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2
$$;

-- A repair is no conflict of the caller's transaction: where another one has written the row since this one began, that stands.
CREATE OR REPLACE FUNCTION counter_ext.note_verified(relation oid, arguments text[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE counter_ext.cache AS c SET state = 'right', verified_at = pg_catalog.clock_timestamp(), why = NULL, retry_at = NULL, restored_by = NULL
        WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$$;

-- Locks a cache's row for this transaction, if nobody else has it or has changed it.
CREATE OR REPLACE FUNCTION counter_ext.try_lock_cache(relation oid, arguments text[]) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
EXCEPTION WHEN serialization_failure THEN
    RETURN false;
END
$$;

-- Tables that have another owner now, who must have the right to count: a command that gives one of these tables, or of all where NULL, to
-- one without it is refused. Where no command told of it (REASSIGN OWNED without the library preloaded), the cache says it.
CREATE OR REPLACE FUNCTION counter_ext.follow_owners(relations oid[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN SELECT k.relid, k.prefix, k.arguments, k.middle, k.state, c.relowner,
                pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE') AS may_count,
                (SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(c.relowner, k.middle, n.number, 'SELECT')
                        AND pg_catalog.has_schema_privilege(c.relowner, (SELECT m.relnamespace FROM pg_catalog.pg_class m WHERE m.oid OPERATOR(pg_catalog.=) k.middle), 'USAGE')), true)
                    FROM pg_catalog.unnest(k.numbers) WITH ORDINALITY AS n (number, at) WHERE n.at OPERATOR(pg_catalog.>) 2
                        AND k.arguments[n.at OPERATOR(pg_catalog.-) 1] IN ('by', 'to')) AS may_read
            FROM counter_ext.cache k JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relid
            WHERE c.relowner OPERATOR(pg_catalog.<>) k.owner LOOP
        -- What was changed by another command waits until nobody has it.
        CONTINUE WHEN changed.relid OPERATOR(pg_catalog.<>) ALL (relations) AND NOT counter_ext.try_lock_cache(changed.relid, changed.arguments);
        IF changed.may_count AND changed.may_read THEN
            UPDATE counter_ext.cache AS c SET owner = changed.relowner WHERE c.relid OPERATOR(pg_catalog.=) changed.relid
                AND c.arguments OPERATOR(pg_catalog.=) changed.arguments;
        ELSIF relations IS NULL OR changed.relid OPERATOR(pg_catalog.=) ANY (relations) THEN
            IF changed.may_count THEN
                RAISE EXCEPTION 'role "%" may not read table %', pg_catalog.pg_get_userbyid(changed.relowner), changed.middle::pg_catalog.regclass
                    USING ERRCODE = 'insufficient_privilege',
                    DETAIL = pg_catalog.format('Rows of table %s are counted through it, with the rights of their table''s owner.', changed.relid::pg_catalog.regclass),
                    HINT = pg_catalog.format('GRANT SELECT ON %s TO %I;', changed.middle::pg_catalog.regclass, pg_catalog.pg_get_userbyid(changed.relowner));
            END IF;
            RAISE EXCEPTION 'role "%" may not count the rows of table %', pg_catalog.pg_get_userbyid(changed.relowner), changed.relid::pg_catalog.regclass
                USING ERRCODE = 'insufficient_privilege',
                DETAIL = pg_catalog.format('Triggers of the table count its rows into counters "%s" with the rights of its owner.', changed.prefix),
                HINT = pg_catalog.format('GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO %I;', pg_catalog.pg_get_userbyid(changed.relowner));
        ELSIF changed.state OPERATOR(pg_catalog.=) 'right' THEN
            UPDATE counter_ext.cache AS c SET state = 'stale', why = NULL, retry_at = NULL WHERE c.relid OPERATOR(pg_catalog.=) changed.relid
                AND c.arguments OPERATOR(pg_catalog.=) changed.arguments;
        END IF;
    END LOOP;
    -- A partition can be another's than the partitioned table: its triggers count with its owner's rights.
    FOR changed IN SELECT c.oid, c.relowner, k.prefix FROM pg_catalog.unnest(relations) AS r (oid)
            JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid AND c.relispartition
            JOIN counter_ext.cache k ON k.relid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid
            WHERE c.relowner OPERATOR(pg_catalog.<>) k.owner AND c.relkind OPERATOR(pg_catalog.=) 'r'::"char"
                AND NOT (pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                    AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')) LIMIT 1 LOOP
        RAISE EXCEPTION 'role "%" may not count the rows of partition %', pg_catalog.pg_get_userbyid(changed.relowner), changed.oid::pg_catalog.regclass
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = pg_catalog.format('Triggers of the partition count its rows into counters "%s" with the rights of its owner.', changed.prefix),
            HINT = pg_catalog.format('GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO %I;', pg_catalog.pg_get_userbyid(changed.relowner));
    END LOOP;
END
$$;

-- PostgreSQL has no command that changes a trigger's arguments. Whoever renames what they name holds that table's lock. The second
-- command has all sessions read the trigger's table anew.
CREATE OR REPLACE FUNCTION counter_ext.set_arguments(trigger_oid oid, relation oid, arguments text[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE pg_catalog.pg_trigger AS t SET tgargs = counter_ext.argument_bytes($3) WHERE t.oid OPERATOR(pg_catalog.=) $1;
    UPDATE pg_catalog.pg_class AS c SET relhastriggers = true WHERE c.oid OPERATOR(pg_catalog.=) $2;
END
$$;

-- Runs commands that tell no event trigger: there is nothing to follow. The setting makes all plans of the session anew.
CREATE OR REPLACE FUNCTION counter_ext.run_untold(commands text) RETURNS void LANGUAGE plpgsql STRICT
    SET search_path = pg_catalog, pg_temp SET session_replication_role TO replica AS $$
BEGIN
    EXECUTE commands;
END
$$;

-- Whether this transaction has a table for itself: what it does to it waits for nobody.
CREATE OR REPLACE FUNCTION counter_ext.is_locked(relation oid) RETURNS boolean LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.relation OPERATOR(pg_catalog.=) $1 AND l.granted
        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock'
        AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
$$;

-- Drops a trigger, if it is there. A command names its table, and that name is another one's as soon as its schema is renamed, which waits for
-- no lock.
CREATE OR REPLACE FUNCTION counter_ext.drop_trigger(trigger_oid oid) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command CONSTANT pg_catalog.text := (SELECT pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) trigger_oid);
BEGIN
    IF command IS NOT NULL THEN
        EXECUTE command;
        PERFORM counter_ext.check_table_was_meant(NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) trigger_oid));
    END IF;
END
$$;

-- Raises 40001 unless a command has come to the table that it was made for.
CREATE OR REPLACE FUNCTION counter_ext.check_table_was_meant(was_meant boolean) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT was_meant THEN
        RAISE EXCEPTION 'the schema of a table whose rows are counted was renamed meanwhile'
            USING ERRCODE = 'serialization_failure', HINT = 'Try the transaction again.';
    END IF;
END
$$;

-- TRUNCATE of a partition fires no trigger of the partitioned table. So each partition that has rows has one of its own, with the same
-- arguments: made with the cache, and as a partition comes. A dump holds them like any other trigger of a table: where it is restored,
-- partitions are there before the partitioned table's triggers, so that none is made twice.
CREATE OR REPLACE FUNCTION counter_ext.guard_partitions(relation oid) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM counter_ext.parts(relation)) THEN
        RETURN;
    END IF;
    PERFORM counter_ext.run_untold(counter_ext.partition_guards(relation));
    PERFORM counter_ext.check_table_was_meant(counter_ext.partition_guards(relation) IS NULL);
END
$$;

-- The commands that make those that are missing; NULL where none is.
CREATE OR REPLACE FUNCTION counter_ext.partition_guards(relation oid) RETURNS text LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.string_agg(pg_catalog.format('CREATE TRIGGER %1$I BEFORE TRUNCATE ON %2$s FOR EACH STATEMENT EXECUTE FUNCTION %4$s(%3$s);
            ALTER TABLE %2$s ENABLE ALWAYS TRIGGER %1$I', made.name, made.table_name, made.literals, made.function), ';')
        FROM (SELECT DISTINCT c.oid::pg_catalog.regclass AS table_name, e.tgfoid::pg_catalog.regproc AS function,
                pg_catalog.concat('counter_rows_truncate_', pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(e.tgargs), 'hex'), 8)) AS name,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(a), ', ' ORDER BY at) FROM pg_catalog.unnest(t.arguments) WITH ORDINALITY AS each (a, at)) AS literals
            FROM counter_ext.parts(relation) AS p (oid) JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.oid
            JOIN counter_ext.counting_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid
            JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) t.trigger_oid
            -- Bit 6 is TRUNCATE.
            WHERE c.relkind OPERATOR(pg_catalog.=) 'r'::"char" AND (e.tgtype OPERATOR(pg_catalog.&) 32::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger own WHERE own.tgrelid OPERATOR(pg_catalog.=) c.oid AND own.tgfoid OPERATOR(pg_catalog.=) e.tgfoid
                    AND (own.tgtype OPERATOR(pg_catalog.&) 32::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2 AND own.tgargs OPERATOR(pg_catalog.=) e.tgargs)) AS made
$$;

-- Drops those of partitions that were detached: another table has the cache that they say.
CREATE OR REPLACE FUNCTION counter_ext.release_partitions() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    commands pg_catalog.text;
    released pg_catalog.oid[];
BEGIN
    SELECT pg_catalog.string_agg(pg_catalog.format('DROP TRIGGER %I ON %s', e.tgname, e.tgrelid::pg_catalog.regclass), ';'), pg_catalog.array_agg(e.oid)
        INTO commands, released FROM counter_ext.counting_trigger t JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) t.trigger_oid
        WHERE e.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_truncate_[0-9a-f]{8}$'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger own WHERE own.tgrelid OPERATOR(pg_catalog.=) t.relid AND own.tgfoid OPERATOR(pg_catalog.=) e.tgfoid
                AND own.oid OPERATOR(pg_catalog.<>) e.oid AND own.tgargs OPERATOR(pg_catalog.=) e.tgargs)
            AND EXISTS (SELECT FROM counter_ext.cache other WHERE other.relid OPERATOR(pg_catalog.<>) t.relid AND other.middle OPERATOR(pg_catalog.<>) t.relid
                AND other.prefix OPERATOR(pg_catalog.=) t.prefix)
            AND counter_ext.is_locked(e.tgrelid);
    PERFORM counter_ext.run_untold(commands);
    PERFORM counter_ext.check_table_was_meant(NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) ANY (released)));
END
$$;

-- Whether a table is not as the row of its cache says.
CREATE OR REPLACE FUNCTION counter_ext.cache_differs(relid oid, relation text, middle oid, arguments text[], numbers smallint[], found text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    RETURN (SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1
            AND c.oid::pg_catalog.regclass::pg_catalog.text OPERATOR(pg_catalog.=) $2)
        OR counter_ext.arguments_now($1, $3, $4, $5) IS DISTINCT FROM $4
        OR coalesce(counter_ext.cache_found($1, $4), '') OPERATOR(pg_catalog.<>) $6);
END
$$;

-- Brings a cache's row, its triggers, and where it is cheap its counters, to what its table is like after a command with this tag; for the
-- worker, which recounts by itself, after none. What its triggers' arguments are now, or NULL where it is no more.
CREATE OR REPLACE FUNCTION counter_ext.follow_cache(relation oid, arguments text[], tag text) RETURNS text[] LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
DECLARE
    -- What a command's own transaction recounts; more than that is left to the worker.
    most_bytes_at_once CONSTANT pg_catalog.int8 := 16777216;
    -- Of counter_ext.cache. The type is not named here, or nothing could be done any more where somebody has renamed that schema.
    cache record;
    arguments_now pg_catalog.text[];
    middle_now pg_catalog.text[];
    found_now pg_catalog.text;
    restored_by_now pg_catalog.text;
    table_now pg_catalog.pg_class;
    bytes_now pg_catalog.int8;
BEGIN
    SELECT * INTO cache FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO table_now FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) cache.relid;
    arguments_now := counter_ext.arguments_now(cache.relid, cache.middle, cache.arguments, cache.numbers);
    IF table_now.oid IS NULL OR pg_catalog.array_position(arguments_now, NULL) IS NOT NULL THEN
        -- The table is gone, or the column: so are the counters, and nothing counts any more.
        PERFORM counter_ext.remove_cache(cache.relid, cache.arguments, cache.state OPERATOR(pg_catalog.<>) 'unverified');
        RETURN NULL;
    END IF;
    IF arguments_now OPERATOR(pg_catalog.<>) cache.arguments THEN
        PERFORM counter_ext.set_arguments(u.trigger_oid, u.tgrelid, arguments_now) FROM counter_ext.cache_trigger u
            WHERE u.relid OPERATOR(pg_catalog.=) cache.relid AND u.arguments OPERATOR(pg_catalog.=) cache.arguments;
        UPDATE counter_ext.cache AS c SET arguments = arguments_now WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    END IF;
    IF cache.middle OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN
        -- Also where the counted table has another name now.
        middle_now := ARRAY[cache.prefix, counter_ext.argument_after(arguments_now, 'by'), 'to', counter_ext.argument_after(arguments_now, 'to'),
            'of', counter_ext.table_name(cache.relid)];
        PERFORM counter_ext.set_arguments(u.trigger_oid, u.tgrelid, middle_now) FROM counter_ext.middle_trigger u
            WHERE u.relid OPERATOR(pg_catalog.=) cache.middle AND u.prefix OPERATOR(pg_catalog.=) cache.prefix
                -- Of this table, under the name it had or has: the middle table can be somebody else's, with other caches.
                AND u.of_table IN (cache.relation, counter_ext.table_name(cache.relid))
                AND u.arguments OPERATOR(pg_catalog.<>) middle_now AND pg_catalog.cardinality(u.arguments) OPERATOR(pg_catalog.=) 6;
    END IF;
    cache.arguments := arguments_now;
    IF NOT EXISTS (SELECT FROM counter_ext.cache_trigger t WHERE t.relid OPERATOR(pg_catalog.=) cache.relid
            AND t.arguments OPERATOR(pg_catalog.=) cache.arguments) THEN
        -- A restore makes the triggers later. Else they were dropped: the counters stay, and are anybody's.
        IF pg_catalog.split_part(cache.found, '|', 3) OPERATOR(pg_catalog.=) '' THEN
            RETURN cache.arguments;
        END IF;
        DELETE FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
        RETURN NULL;
    END IF;
    IF cache.relation OPERATOR(pg_catalog.<>) cache.relid::pg_catalog.regclass::pg_catalog.text THEN
        UPDATE counter_ext.cache AS c SET relation = cache.relid::pg_catalog.regclass::pg_catalog.text WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    END IF;
    found_now := coalesce(counter_ext.cache_found(cache.relid, cache.arguments), '');
    IF found_now OPERATOR(pg_catalog.<>) cache.found AND tag IN ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE TRIGGER') THEN
        -- A new partition has no rows. A restore makes triggers of counters that are right, one after the other; but rows of a
        -- partition that it has still to fill are counted, and come with their amounts as well.
        restored_by_now := CASE tag WHEN 'CREATE TRIGGER' THEN counter_ext.restoring_session(cache.relid, cache.middle, cache.prefix) END;
        UPDATE counter_ext.cache AS c SET found = found_now, restored_by = coalesce(restored_by_now, c.restored_by),
                state = CASE WHEN restored_by_now IS NOT NULL AND c.state OPERATOR(pg_catalog.=) 'right'
                        AND EXISTS (SELECT FROM (SELECT t.* FROM pg_catalog.pg_partition_tree(cache.relid) t UNION ALL SELECT t.* FROM pg_catalog.pg_partition_tree(cache.middle) t) i
                            WHERE i.isleaf AND pg_catalog.pg_relation_size(i.relid) OPERATOR(pg_catalog.=) 0::pg_catalog.int8)
                    THEN 'stale' ELSE c.state END
            WHERE c.relid OPERATOR(pg_catalog.=) cache.relid AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    ELSIF found_now OPERATOR(pg_catalog.<>) cache.found THEN
        IF tag IS NOT NULL AND pg_catalog.split_part(cache.found, '|', 1) OPERATOR(pg_catalog.<>) pg_catalog.split_part(found_now, '|', 1) THEN
            -- A key of another type must be one that names counters still: better refused now than at the next INSERT.
            PERFORM counter_ext.check_cache(cache.relid, cache.arguments);
        END IF;
        UPDATE counter_ext.cache AS c SET found = found_now,
                state = CASE WHEN c.state OPERATOR(pg_catalog.=) 'unverified' THEN c.state ELSE 'stale' END,
                why = NULL, retry_at = NULL, is_rekeyed = c.is_rekeyed OR pg_catalog.right(c.found, 1) OPERATOR(pg_catalog.=) '*'
                    OR pg_catalog.split_part(c.found, '|', 1) OPERATOR(pg_catalog.<>) pg_catalog.split_part(found_now, '|', 1)
            WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments
            RETURNING c.* INTO cache;
        bytes_now := pg_catalog.pg_relation_size(cache.relid) OPERATOR(pg_catalog.+) coalesce((SELECT pg_catalog.sum(pg_catalog.pg_relation_size(i.relid))
            FROM (SELECT t.relid FROM counter_ext.parts(cache.relid) AS t (relid) UNION ALL SELECT t.relid FROM counter_ext.parts(cache.middle) AS t (relid)) i), 0);
        IF tag IS NOT NULL AND cache.state OPERATOR(pg_catalog.=) 'stale' AND bytes_now OPERATOR(pg_catalog.<=) most_bytes_at_once
            AND pg_catalog.strpos(pg_catalog.split_part(found_now, '|', 3), 'D') OPERATOR(pg_catalog.=) 0
            AND NOT counter_ext.is_restored() AND NOT counter_ext.session_lasts(cache.restored_by) THEN
            PERFORM counter_ext.recount_one(cache.relid, cache.arguments, cache.middle,
                coalesce(table_now.relowner OPERATOR(pg_catalog.=) counter_ext.caller(), false));
        END IF;
    END IF;
    RETURN cache.arguments;
END
$$;

-- Leaves a cache to the worker, or to the next command on its table. Where somebody has its row, the next command of anybody does it.
CREATE OR REPLACE FUNCTION counter_ext.mark_stale(relation oid, arguments text[], cannot_tell boolean) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2
            AND c.state OPERATOR(pg_catalog.=) 'right')
        AND counter_ext.try_lock_cache($1, $2) THEN
        -- Looked at anew: another command may have put it right just before.
        UPDATE counter_ext.cache AS c SET state = 'stale', why = NULL, retry_at = NULL
            WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 AND c.state OPERATOR(pg_catalog.=) 'right'
                AND ($3 OR counter_ext.cache_differs(c.relid, c.relation, c.middle, c.arguments, c.numbers, c.found));
    END IF;
END
$$;

-- Follows the cache of a table that the command has not changed itself: it waits for nobody, or hardly. Whether nobody stood in its way.
CREATE OR REPLACE FUNCTION counter_ext.try_follow_cache(relation oid, arguments text[], tag text) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout TO '100ms' AS $$
BEGIN
    IF counter_ext.try_lock_cache($1, $2) THEN
        PERFORM counter_ext.follow_cache($1, $2, $3);
    END IF;
    RETURN true;
EXCEPTION WHEN lock_not_available OR serialization_failure OR deadlock_detected THEN
    RETURN false;
END
$$;

-- A piece of the worker's step: the next stale cache, if one is due and nobody else has it, of the caller's own where that is no superuser.
-- While a restore goes on none is: what it has still to bring would be counted once more.
CREATE OR REPLACE FUNCTION counter_ext.recount_next() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET lock_timeout TO '100ms' AS $$
DECLARE
    next counter_ext.cache;
    arguments_now pg_catalog.text[];
BEGIN
    IF counter_ext.is_restored() THEN
        RETURN false;
    END IF;
    SELECT * INTO next FROM counter_ext.cache c
        WHERE c.state OPERATOR(pg_catalog.=) 'stale' AND (c.retry_at IS NULL OR c.retry_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp())
            AND (c.restored_by OPERATOR(pg_catalog.=) counter_ext.session_name(pg_catalog.pg_backend_pid()) OR NOT counter_ext.session_lasts(c.restored_by))
            AND pg_catalog.pg_has_role(counter_ext.caller(), c.owner, 'USAGE')
        ORDER BY c.retry_at NULLS FIRST LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The table may have changed by a command that could only say that it is stale.
    BEGIN
        PERFORM counter_ext.lock_against_ddl(t.relid) FROM pg_catalog.unnest(ARRAY[next.relid, next.middle]) AS t (relid);
        arguments_now := counter_ext.follow_cache(next.relid, next.arguments, NULL);
    EXCEPTION WHEN OTHERS THEN
        PERFORM counter_ext.put_off(next.relid, next.arguments, SQLERRM);
        RETURN true;
    END;
    IF arguments_now IS NOT NULL THEN
        PERFORM counter_ext.recount_one(next.relid, arguments_now, next.middle, false);
    END IF;
    RETURN true;
END
$$;

-- Caches of these tables, or of all where NULL, that their triggers say and the registry does not. Whether their owners may count is asked
-- before a trigger's arguments are taken apart, and only of triggers that no partition has from its table: everybody's commands ask it.
CREATE OR REPLACE FUNCTION counter_ext.unnoted_caches(relations oid[]) RETURNS TABLE (relid oid, prefix text, arguments text[], middle oid, owner oid)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY WITH candidate AS MATERIALIZED (
        SELECT g.trigger_oid, c.relowner FROM counter_ext.counting_trigger g
            JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.relid
            -- A partition can be another's than the partitioned table: its trigger has its owner's rights.
            JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) g.tgrelid
            WHERE g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND ($1 IS NULL OR g.relid OPERATOR(pg_catalog.=) ANY ($1))
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
                AND pg_catalog.has_table_privilege(p.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(p.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
    )
    SELECT DISTINCT t.relid, t.prefix, t.arguments, t.middle, candidate.relowner FROM candidate CROSS JOIN LATERAL (
        SELECT u.relid, u.prefix, u.arguments, counter_ext.argument_middle(u.arguments) AS middle FROM counter_ext.cache_trigger u
            WHERE u.trigger_oid OPERATOR(pg_catalog.=) candidate.trigger_oid
                AND NOT EXISTS (SELECT FROM counter_ext.cache k WHERE k.relid OPERATOR(pg_catalog.=) u.relid AND k.arguments OPERATOR(pg_catalog.=) u.arguments)
            OFFSET 0) AS t
        WHERE pg_catalog.array_position(counter_ext.argument_numbers(t.relid, t.middle, t.arguments), 0::pg_catalog.int2) IS NULL;
END
$$;

-- Notes such a cache. Whether it was not noted meanwhile.
CREATE OR REPLACE FUNCTION counter_ext.note_cache(relation oid, prefix text, arguments text[], middle oid, owner oid, restored_by text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    INSERT INTO counter_ext.cache (relation, prefix, arguments, relid, numbers, middle, owner, found, state, restored_by)
        VALUES ($1::pg_catalog.regclass::pg_catalog.text, $2, $3, $1, counter_ext.argument_numbers($1, $4, $3), $4, $5, '', 'unverified', $6)
        ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- After any command of DDL: brings the registry, and where it is cheap the counters, to what the tables are like now.
CREATE OR REPLACE FUNCTION counter_ext.follow_tables() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
DECLARE
    -- Of counter_ext.cache. The type is not named here, or nothing could be done any more where somebody has renamed that schema.
    cache record;
    reset_trigger record;
    made record;
    -- Tables that the command is about, or the partitioned ones that these are parts of.
    named pg_catalog.oid[];
    -- Those in a schema that it is about.
    named_through pg_catalog.oid[] := '{}';
    locked pg_catalog.oid[];
    is_own pg_catalog.bool;
    is_near pg_catalog.bool;
    -- Whether what a cache has against the command is said to whoever gave it.
    may_refuse pg_catalog.bool;
    is_kept_waiting pg_catalog.bool := false;
BEGIN
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG NOT IN ('ALTER TABLE', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA',
            'ALTER TRIGGER', 'CREATE TRIGGER', 'CREATE SCHEMA', 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'ALTER EXTENSION',
            -- They rename tables and columns of tables too.
            'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER SEQUENCE') THEN
        RETURN;
    END IF;
    IF pg_catalog.to_regclass('counter_ext.cache') IS NULL OR pg_catalog.to_regclass('counter_ext.total') IS NULL
        OR pg_catalog.to_regclass('counter_ext.cache_trigger') IS NULL THEN
        RETURN;
    END IF;
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG OPERATOR(pg_catalog.=) 'ALTER TABLE' THEN
        PERFORM counter_ext.release_partitions();
        -- ENABLE TRIGGER ALL, with which a restore ends, knows nothing of replicas. Only the command's own tables are looked at: it holds
        -- their locks, and nobody waits here for somebody else's.
        FOR reset_trigger IN SELECT p.oid, p.tgname, p.tgrelid::pg_catalog.regclass AS name, CASE WHEN pg_catalog.starts_with(p.tgname::pg_catalog.text, 'counter_rows_replica_') THEN 'REPLICA' ELSE 'ALWAYS' END AS sessions
                FROM counter_ext.counting_trigger u JOIN pg_catalog.pg_trigger p ON p.oid OPERATOR(pg_catalog.=) u.trigger_oid
                WHERE p.tgenabled OPERATOR(pg_catalog.=) 'O'::"char" AND p.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    AND u.tgrelid IN (SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c
                        WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass)
                    AND (p.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_(replica|truncate)_[0-9a-f]{8}$'
                        OR p.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_(insert|update|delete)_[0-9a-f]{8}$'
                        AND (p.tgtype OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2) LOOP
            EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE %s TRIGGER %I', reset_trigger.name, reset_trigger.sessions, reset_trigger.tgname);
            PERFORM counter_ext.check_table_was_meant(EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) reset_trigger.oid
                AND t.tgenabled OPERATOR(pg_catalog.<>) 'O'::"char"));
        END LOOP;
    END IF;
    PERFORM counter_ext.follow_owners(CASE TG_EVENT WHEN 'ddl_command_end' THEN ARRAY(SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c
        WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) ELSE '{}' END);
    named := ARRAY(SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(t.relid)::pg_catalog.oid, t.relid) FROM pg_catalog.unnest(
        CASE TG_EVENT WHEN 'ddl_command_end' THEN ARRAY(SELECT coalesce(t.tgrelid, c.objid) FROM pg_catalog.pg_event_trigger_ddl_commands() c
            LEFT JOIN pg_catalog.pg_trigger t ON c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid OPERATOR(pg_catalog.=) c.objid
            WHERE c.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_trigger'::pg_catalog.regclass))
        WHEN 'sql_drop' THEN ARRAY(SELECT d.objid FROM pg_catalog.pg_event_trigger_dropped_objects() d
            WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) END) AS t (relid));
    IF TG_TAG OPERATOR(pg_catalog.=) 'ALTER SCHEMA' AND TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' THEN
        named_through := ARRAY(SELECT r.oid FROM pg_catalog.pg_class r JOIN pg_catalog.pg_event_trigger_ddl_commands() c ON c.objid OPERATOR(pg_catalog.=) r.relnamespace
            WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND r.relkind IN ('r', 'p'));
    END IF;
    -- Whoever has a cache decides over nobody's commands but those on its own table. A transaction that has changed its row, or holds its table,
    -- keeps others waiting for good; and what was noted past the triggers, as by DETACH PARTITION CONCURRENTLY, every command would find.
    FOR cache IN SELECT * FROM counter_ext.cache LOOP
        IF cache.relid OPERATOR(pg_catalog.=) ANY (named) THEN
            PERFORM counter_ext.follow_cache(cache.relid, cache.arguments, TG_TAG);
            CONTINUE;
        END IF;
        may_refuse := false;
        BEGIN
            CONTINUE WHEN NOT counter_ext.cache_differs(cache.relid, cache.relation, cache.middle, cache.arguments, cache.numbers, cache.found);
            -- Those which a command has for itself, though it does not name them.
            locked := coalesce(locked, ARRAY(SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(l.relation)::pg_catalog.oid, l.relation) FROM pg_catalog.pg_locks l
                WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock'
                    AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())));
            is_own := cache.relid OPERATOR(pg_catalog.=) ANY (locked);
            is_near := cache.middle OPERATOR(pg_catalog.=) ANY (named OPERATOR(pg_catalog.||) locked)
                OR cache.relid OPERATOR(pg_catalog.=) ANY (named_through) OR cache.middle OPERATOR(pg_catalog.=) ANY (named_through);
            may_refuse := coalesce(is_own OR is_near OR cache.owner OPERATOR(pg_catalog.=) counter_ext.caller(), false);
            IF is_own THEN
                PERFORM counter_ext.follow_cache(cache.relid, cache.arguments, TG_TAG);
            ELSIF NOT is_kept_waiting AND (may_refuse
                    OR TG_TAG IN ('ALTER TYPE', 'ALTER DOMAIN') AND pg_catalog.pg_has_role(counter_ext.caller(), cache.owner, 'USAGE'))
            THEN
                -- What it finds of its owner's was done by no command with this tag.
                is_kept_waiting := NOT counter_ext.try_follow_cache(cache.relid, cache.arguments, CASE WHEN is_near THEN TG_TAG ELSE '' END);
                IF is_kept_waiting THEN
                    PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, false);
                END IF;
            ELSE
                PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, false);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            IF may_refuse THEN
                RAISE;
            END IF;
            -- Somebody else's cache, whatever is wrong with it: the worker says so in its row.
            PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, true);
        END;
    END LOOP;
    FOR made IN SELECT * FROM counter_ext.unnoted_caches(named) LOOP
        -- CREATE TRIGGER itself is checked by counter_ext.after_ddl.
        IF counter_ext.note_cache(made.relid, made.prefix, made.arguments, made.middle, made.owner,
                CASE TG_TAG WHEN 'CREATE TRIGGER' THEN counter_ext.restoring_session(made.relid, made.middle, made.prefix) END)
            AND TG_TAG OPERATOR(pg_catalog.=) 'CREATE SCHEMA' THEN
            PERFORM counter_ext.check_cache(made.relid, made.arguments);
        END IF;
    END LOOP;
    -- Those of others, whose owners may count since. Where another transaction is just noting one, this command does not wait, and whatever is
    -- wrong with one, it does not fail.
    BEGIN
        FOR made IN SELECT * FROM counter_ext.unnoted_caches(NULL) LOOP
            BEGIN
                LOCK TABLE counter_ext.cache IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
                PERFORM counter_ext.note_cache(made.relid, made.prefix, made.arguments, made.middle, made.owner, NULL);
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    -- ATTACH is followed by counter_ext.after_ddl, which knows it from other commands: a restore's could give a partition its trigger first.
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG IN ('CREATE TABLE', 'CREATE SCHEMA') THEN
        PERFORM counter_ext.guard_partitions(c.objid) FROM (SELECT DISTINCT made_by.objid FROM pg_catalog.pg_event_trigger_ddl_commands() made_by
            WHERE made_by.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) AS c;
    END IF;
END
$$;

-- A table is about to be rewritten: its keys may be others, of the same type too.
CREATE OR REPLACE FUNCTION counter_ext.follow_rewrites() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
BEGIN
    UPDATE counter_ext.cache AS c SET found = pg_catalog.concat(c.found, '*')
        WHERE coalesce(pg_catalog.pg_partition_root(pg_catalog.pg_event_trigger_table_rewrite_oid()),
            pg_catalog.pg_event_trigger_table_rewrite_oid()::pg_catalog.regclass)::pg_catalog.oid IN (c.relid, c.middle)
            -- Rows of another's table are counted through it: nobody waits for what he does.
            AND (coalesce(pg_catalog.pg_partition_root(pg_catalog.pg_event_trigger_table_rewrite_oid()),
                pg_catalog.pg_event_trigger_table_rewrite_oid()::pg_catalog.regclass)::pg_catalog.oid OPERATOR(pg_catalog.=) c.relid
                OR counter_ext.try_lock_cache(c.relid, c.arguments));
END
$$;

-- Ends a cache: its triggers, where there are some still, its row, and its counters if asked.
CREATE OR REPLACE FUNCTION counter_ext.remove_cache(relation oid, arguments text[], drops_counters boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made record;
    table_name CONSTANT pg_catalog.text := counter_ext.table_name($1);
    known counter_ext.cache;
BEGIN
    DELETE FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 RETURNING c.* INTO known;
    -- A table that is gone has left the other's triggers, with its last name.
    FOR made IN SELECT t.oid FROM counter_ext.cache_trigger u
            JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) u.trigger_oid
            WHERE u.relid OPERATOR(pg_catalog.=) $1 AND u.arguments OPERATOR(pg_catalog.=) $2
                AND u.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        UNION ALL SELECT t.oid FROM counter_ext.middle_trigger u
            JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) u.trigger_oid
            WHERE u.relid OPERATOR(pg_catalog.=) coalesce(known.middle, counter_ext.argument_middle($2)) AND u.prefix OPERATOR(pg_catalog.=) $2[1]
                AND u.of_table IN (known.relation, table_name)
                AND u.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid LOOP
        PERFORM counter_ext.drop_trigger(made.oid);
    END LOOP;
    -- Without a prefix the counters could be anybody's. So could those that were never found to be the cache's, or are another's too: anybody
    -- makes a trigger on a table of his own, which says what it likes until its owner may count. They stay, unless the owner could drop
    -- them himself. So do those that visitors were noted beside.
    IF drops_counters AND $2[1] OPERATOR(pg_catalog.<>) '' AND known.relid IS NOT NULL
        AND (known.state OPERATOR(pg_catalog.<>) 'unverified' OR pg_catalog.has_table_privilege(known.owner, 'counter_ext.total'::pg_catalog.regclass, 'DELETE'))
        AND NOT EXISTS (SELECT FROM counter_ext.cache_trigger u JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.tgrelid
            WHERE u.prefix OPERATOR(pg_catalog.<>) '' AND (pg_catalog.starts_with(u.prefix, $2[1]) OR pg_catalog.starts_with($2[1], u.prefix))
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE'))
        AND (pg_catalog.has_table_privilege(known.owner, 'counter_ext.visitors'::pg_catalog.regclass, 'DELETE') OR NOT EXISTS (
            SELECT FROM counter_ext.visitors v WHERE pg_catalog.starts_with(v.id, $2[1]) UNION ALL
            SELECT FROM counter_ext.visit v WHERE pg_catalog.starts_with(v.id, $2[1]))) THEN
        IF pg_catalog.has_table_privilege(known.owner, 'counter_ext.total'::pg_catalog.regclass, 'DELETE') THEN
            RETURN counter_ext.drop_prefix($2[1]);
        END IF;
        -- What there was of them before the cache, or was counted under the prefix by others, is not the owner's to take away: whoever may count
        -- brings counters to 0, and series, boards and the audit log say so.
        RETURN counter_ext.empty_prefix($2[1]);
    END IF;
    RETURN 0;
END
$$;

-- Behind counter_uncache, which has looked at whose table it is.
CREATE OR REPLACE FUNCTION counter_ext.uncache(relation oid, prefix text, drops_counters boolean) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cache record;
    dropped pg_catalog.int8 := 0;
BEGIN
    FOR cache IN SELECT DISTINCT t.relid, t.arguments FROM counter_ext.cache_trigger t
            WHERE t.relid OPERATOR(pg_catalog.=) $1 AND t.prefix OPERATOR(pg_catalog.=) $2 LOOP
        dropped := dropped OPERATOR(pg_catalog.+) counter_ext.remove_cache(cache.relid, cache.arguments, drops_counters);
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no triggers count the rows of table % into counters "%"', $1::pg_catalog.regclass, $2
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'View counter_caches lists the caches there are.';
    END IF;
    RETURN dropped;
END
$$;

CREATE OR REPLACE VIEW @extschema@.counter_caches AS
    SELECT DISTINCT t.relid::pg_catalog.regclass AS "table", t.prefix, counter_ext.argument_key(t.arguments) AS key, coalesce(c.state, 'unverified') AS state, c.verified_at, c.why,
        counter_ext.argument_after(t.arguments, 'amount') AS amount, counter_ext.argument_after(t.arguments, 'only') AS "only",
        counter_ext.argument_after(t.arguments, 'through') OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||)
            pg_catalog.quote_ident(counter_ext.argument_after(t.arguments, 'to')) AS through
    FROM counter_ext.cache_trigger t LEFT JOIN counter_ext.cache c ON c.relid OPERATOR(pg_catalog.=) t.relid
        AND c.arguments OPERATOR(pg_catalog.=) t.arguments;

COMMENT ON VIEW @extschema@.counter_caches IS 'counter caches: what they count, by what, and whether they are right';

GRANT SELECT ON @extschema@.counter_caches TO PUBLIC;

-- src/api/changes.rs
-- counter_ext::api::changes::counter_drop
CREATE OR REPLACE FUNCTION "counter_drop"(
	"id" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_drop_wrapper';

-- src/api/changes.rs
-- counter_ext::api::changes::counter_reset
CREATE OR REPLACE FUNCTION "counter_reset"(
	"id" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_reset_wrapper';

-- src/api/changes.rs
-- counter_ext::api::changes::counter_reset
CREATE OR REPLACE FUNCTION "counter_reset"(
	"id" text, /* TextArg < '_ > */
	"everywhere" bool /* bool */
) RETURNS bigint /* i64 */
STRICT 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_reset_everywhere_wrapper';

-- src/api/changes.rs
-- counter_ext::api::changes::counter_set
CREATE OR REPLACE FUNCTION "counter_set"(
	"id" text, /* TextArg < '_ > */
	"value" bigint /* i64 */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_set_wrapper';

-- src/api/changes.rs
-- counter_ext::api::changes::counter_set
CREATE OR REPLACE FUNCTION "counter_set"(
	"id" text, /* TextArg < '_ > */
	"value" bigint, /* i64 */
	"everywhere" bool /* bool */
) RETURNS void
STRICT 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_set_everywhere_wrapper';

CREATE OR REPLACE FUNCTION counter_reset(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_reset_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_reset(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_reset(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_reset(id counter, everywhere boolean) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_reset_everywhere_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_reset(id bigint, everywhere boolean) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_reset(id uuid, everywhere boolean) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_reset($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_set(id counter, value bigint, everywhere boolean) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_everywhere_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_set(id bigint, value bigint, everywhere boolean) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_set(id uuid, value bigint, everywhere boolean) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2, $3); END;

-- As those of counter_incr.
CREATE OR REPLACE FUNCTION counter_set(id counter, value bigint) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_set(id bigint, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_set(id uuid, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_set(id "any", value numeric) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_set_numeric_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_set(id smallint, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_set(id integer, value bigint) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_set($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_drop(id counter) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_drop_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_drop(id bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_drop($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_drop(id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_drop($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_ext.counter_from_text(text) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

DROP CAST (text AS counter);
CREATE CAST (text AS counter) WITH FUNCTION counter_ext.counter_from_text(text) AS ASSIGNMENT;

CREATE OR REPLACE FUNCTION counter_ext.counter_from_varchar(varchar) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

DROP CAST (varchar AS counter);
CREATE CAST (varchar AS counter) WITH FUNCTION counter_ext.counter_from_varchar(varchar) AS ASSIGNMENT;

-- The blanks at the end of char(n) mean nothing; functions that take its text do not see them either.
CREATE OR REPLACE FUNCTION counter_ext.counter_from_bpchar(bpchar) RETURNS counter
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT counter_ext.counter_from_text($1::pg_catalog.text); END;

CREATE CAST (bpchar AS counter) WITH FUNCTION counter_ext.counter_from_bpchar(bpchar) AS ASSIGNMENT;

DROP CAST (name AS counter);
CREATE CAST (name AS counter) WITH INOUT AS ASSIGNMENT;

DROP CAST (smallint AS counter);
CREATE CAST (smallint AS counter) WITH INOUT AS ASSIGNMENT;

DROP CAST (integer AS counter);
CREATE CAST (integer AS counter) WITH INOUT AS ASSIGNMENT;

DROP CAST (bigint AS counter);
CREATE CAST (bigint AS counter) WITH INOUT AS ASSIGNMENT;

CREATE CAST (uuid AS counter) WITH INOUT AS ASSIGNMENT;

DROP CAST (counter AS text);
CREATE CAST (counter AS text) WITHOUT FUNCTION AS IMPLICIT;

DROP CAST (counter AS varchar);
CREATE CAST (counter AS varchar) WITHOUT FUNCTION AS ASSIGNMENT;

-- Beside text, by bytes as among counters. They are in the families of counters, so that an index on a counter serves "id = $1" with a
-- text, and text beside counters can be hashed. No MERGES: a text is sorted by its collation elsewhere.
CREATE OR REPLACE FUNCTION counter_ext.counter_eq(counter, text) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(counter, text) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_lt(counter, text) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_le(counter, text) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_gt(counter, text) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ge(counter, text) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_eq(text, counter) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(text, counter) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_lt(text, counter) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_le(text, counter) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_gt(text, counter) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_ge(text, counter) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_cmp(counter, text) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_cmp(text, counter) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_cmp(text, text) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hash(text) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hash_extended(text, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR @extschema@.= (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

CREATE OPERATOR @extschema@.< (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

CREATE OPERATOR @extschema@.<= (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

CREATE OPERATOR @extschema@.> (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

CREATE OPERATOR @extschema@.>= (
    LEFTARG = counter, RIGHTARG = text, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

CREATE OPERATOR @extschema@.= (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

CREATE OPERATOR @extschema@.< (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

CREATE OPERATOR @extschema@.<= (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

CREATE OPERATOR @extschema@.> (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

CREATE OPERATOR @extschema@.>= (
    LEFTARG = text, RIGHTARG = counter, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

-- What hashes counters beside texts wants an equality of texts by bytes too: one with a name of its own, in a schema that nobody
-- searches. Not in the family of btree, only the comparison is, by which "id = ANY($1)" sorts texts: with it PostgreSQL would let
-- a text reference a counter's key, and then fail at DELETE for want of a collation.
CREATE OR REPLACE FUNCTION counter_ext.text_eq(text, text) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OPERATOR counter_ext.=== (
    LEFTARG = text, RIGHTARG = text, FUNCTION = counter_ext.text_eq,
    COMMUTATOR = OPERATOR(counter_ext.===), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES
);

ALTER OPERATOR FAMILY @extschema@.counter_ops USING btree ADD
    OPERATOR 1 @extschema@.< (counter, text),
    OPERATOR 2 @extschema@.<= (counter, text),
    OPERATOR 3 @extschema@.= (counter, text),
    OPERATOR 4 @extschema@.>= (counter, text),
    OPERATOR 5 @extschema@.> (counter, text),
    FUNCTION 1 (counter, text) counter_ext.counter_cmp(counter, text),
    OPERATOR 1 @extschema@.< (text, counter),
    OPERATOR 2 @extschema@.<= (text, counter),
    OPERATOR 3 @extschema@.= (text, counter),
    OPERATOR 4 @extschema@.>= (text, counter),
    OPERATOR 5 @extschema@.> (text, counter),
    FUNCTION 1 (text, counter) counter_ext.counter_cmp(text, counter),
    FUNCTION 1 (text, text) counter_ext.counter_cmp(text, text);

ALTER OPERATOR FAMILY @extschema@.counter_hash_ops USING hash ADD
    OPERATOR 1 @extschema@.= (counter, text),
    OPERATOR 1 @extschema@.= (text, counter),
    OPERATOR 1 counter_ext.=== (text, text),
    FUNCTION 1 (text, text) counter_ext.counter_hash(text),
    FUNCTION 2 (text, text) counter_ext.counter_hash_extended(text, bigint);

-- Beside name: or counter = text and text = name would tie. Inlined, so an index on the counter serves them.
CREATE OR REPLACE FUNCTION counter_ext.counter_eq(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.=) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<>) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_lt(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_le(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<=) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_gt(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.>) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ge(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.>=) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_eq(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.=) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<>) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_lt(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_le(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<=) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_gt(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.>) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ge(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.>=) $2; END;

CREATE OPERATOR @extschema@.= (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

CREATE OPERATOR @extschema@.< (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

CREATE OPERATOR @extschema@.<= (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

CREATE OPERATOR @extschema@.> (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

CREATE OPERATOR @extschema@.>= (
    LEFTARG = counter, RIGHTARG = name, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

CREATE OPERATOR @extschema@.= (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

CREATE OPERATOR @extschema@.< (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

CREATE OPERATOR @extschema@.<= (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

CREATE OPERATOR @extschema@.> (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

CREATE OPERATOR @extschema@.>= (
    LEFTARG = name, RIGHTARG = counter, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

-- Beside integers: whether the id is that number's text. Inlined, as above. There is no order: the id 10 comes before the id 9.
CREATE OR REPLACE FUNCTION counter_ext.counter_eq(counter, bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.=) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(counter, bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<>) $2::pg_catalog.text; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_eq(bigint, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.=) $2; END;

CREATE OR REPLACE FUNCTION counter_ext.counter_ne(bigint, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<>) $2; END;

CREATE OPERATOR @extschema@.= (
    LEFTARG = counter, RIGHTARG = bigint, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = counter, RIGHTARG = bigint, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

CREATE OPERATOR @extschema@.= (
    LEFTARG = bigint, RIGHTARG = counter, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel
);

CREATE OPERATOR @extschema@.<> (
    LEFTARG = bigint, RIGHTARG = counter, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

-- "views = views + 1" is what one writes for a column of numbers: these say what to write for a counter. double precision takes all
-- numbers; the result is a type that can be stored and compared, so that nothing else is complained of first.
CREATE OR REPLACE FUNCTION counter_ext.no_arithmetic(counter, double precision) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.no_arithmetic(double precision, counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.no_arithmetic(counter, counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OPERATOR @extschema@.+ (LEFTARG = counter, RIGHTARG = double precision, FUNCTION = counter_ext.no_arithmetic);

CREATE OPERATOR @extschema@.+ (LEFTARG = double precision, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);

CREATE OPERATOR @extschema@.+ (LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);

CREATE OPERATOR @extschema@.- (LEFTARG = counter, RIGHTARG = double precision, FUNCTION = counter_ext.no_arithmetic);

CREATE OPERATOR @extschema@.- (LEFTARG = double precision, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);

CREATE OPERATOR @extschema@.- (LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);

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

CREATE OR REPLACE VIEW @extschema@.counter_expiries WITH (security_invoker) AS
    SELECT e.prefix, e.idle, e.since, e.dropped, e.last_dropped_at FROM counter_ext.expiry e;

COMMENT ON VIEW @extschema@.counter_expiries IS 'under which prefixes counters expire, after how long without an increment, and how many have';

GRANT SELECT ON @extschema@.counter_expiries TO PUBLIC;

-- src/api/expiry.rs
-- counter_ext::api::expiry::counter_expire
CREATE OR REPLACE FUNCTION "counter_expire"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"idle" interval /* Option < IntervalArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_expire_wrapper';

-- src/api/expiry.rs
-- counter_ext::api::expiry::counter_unexpire
CREATE OR REPLACE FUNCTION "counter_unexpire"(
	"prefix" text /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_unexpire_wrapper';

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_in(cstring, oid, integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_out(counter_hll) RETURNS cstring
    AS 'byteaout' LANGUAGE internal STABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_recv(internal, oid, integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_recv_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_send(counter_hll) RETURNS bytea
    AS 'byteasend' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME', 'counter_hll_typmod_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_typmod_out(integer) RETURNS cstring
    AS 'MODULE_PATHNAME', 'counter_hll_typmod_out_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON TYPE counter_hll IS 'HyperLogLog sketch: the number of distinct values in a few kilobytes; counter_hll(log2m, regwidth, expthresh, sparseon)';

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_check(counter_hll, integer, boolean) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_check_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

DROP CAST (counter_hll AS counter_hll);
CREATE CAST (counter_hll AS counter_hll)
    WITH FUNCTION counter_ext.counter_hll_check(counter_hll, integer, boolean) AS IMPLICIT;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_from_bytea(bytea) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_from_bytea_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

DROP CAST (bytea AS counter_hll);
CREATE CAST (bytea AS counter_hll) WITH FUNCTION counter_ext.counter_hll_from_bytea(bytea) AS ASSIGNMENT;

CREATE CAST (text AS counter_hll) WITH INOUT AS ASSIGNMENT;

DROP CAST (counter_hll AS bytea);
CREATE CAST (counter_hll AS bytea) WITHOUT FUNCTION;

-- Equal sketches have equal bytes: whatever comes in is brought into one form.
CREATE OR REPLACE FUNCTION counter_ext.counter_hll_eq(counter_hll, counter_hll) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_ne(counter_hll, counter_hll) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_hash(counter_hll) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_hash_extended(counter_hll, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

-- An order of bytes. It says nothing about sketches; DISTINCT, PARTITION BY, unique indexes and whatever else sorts go by it.
CREATE OR REPLACE FUNCTION counter_ext.counter_hll_lt(counter_hll, counter_hll) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_le(counter_hll, counter_hll) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_gt(counter_hll, counter_hll) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_ge(counter_hll, counter_hll) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_cmp(counter_hll, counter_hll) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;

CREATE OPERATOR @extschema@.< (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

CREATE OPERATOR @extschema@.<= (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

CREATE OPERATOR @extschema@.> (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

CREATE OPERATOR @extschema@.>= (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

CREATE OPERATOR CLASS counter_hll_ops DEFAULT FOR TYPE counter_hll USING btree AS
    OPERATOR 1 @extschema@.<, OPERATOR 2 @extschema@.<=, OPERATOR 3 @extschema@.=, OPERATOR 4 @extschema@.>=, OPERATOR 5 @extschema@.>,
    FUNCTION 1 counter_ext.counter_hll_cmp(counter_hll, counter_hll);

CREATE OR REPLACE FUNCTION counter_hll_count(sketch counter_hll) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_hll_count_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.counter_hll_union(counter_hll, counter_hll) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_union_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_hll_empty(
    log2m integer DEFAULT 14, regwidth integer DEFAULT 5, expthresh bigint DEFAULT -1, sparseon integer DEFAULT 1
) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_empty_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_hll_fold(sketch counter_hll, log2m integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_fold_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_header(counter_hll) RETURNS bigint[]
    AS 'MODULE_PATHNAME', 'counter_hll_header_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_hll_info(
    sketch counter_hll, OUT log2m integer, OUT regwidth integer, OUT expthresh bigint, OUT sparseon integer, OUT stage text
) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT header[1]::pg_catalog.int4, header[2]::pg_catalog.int4, header[3], header[4]::pg_catalog.int4,
        ('{undefined,empty,explicit,sparse,full}'::pg_catalog.text[])[header[5] OPERATOR(pg_catalog.+) 1]
        FROM (SELECT counter_ext.hll_header($1) AS header OFFSET 0) AS read;
END;

-- The overload for text is what an untyped literal resolves to.
CREATE OR REPLACE FUNCTION counter_hll_add(sketch counter_hll, element anyelement) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_add_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_hll_add(sketch counter_hll, element text) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_add_text_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_add(internal, anyelement) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_add(internal, anyelement, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step_log2m' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_add(internal, anyelement, integer, integer, bigint, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step_all' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_unite(internal, counter_hll) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_unite_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_combine_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_serial(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'counter_hll_agg_serial_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_deserial(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_deserial_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_sketch(internal) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_agg_sketch_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION counter_ext.hll_agg_count(internal) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_hll_agg_count_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

-- Their space is that of a full sketch of log2m 14: by it, not by what is used, a hashed aggregation keeps to work_mem.
-- Their final functions only read: over a window that grows, each row adds to the state of the row before.
CREATE OR REPLACE AGGREGATE counter_hll_agg(anyelement) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);

CREATE OR REPLACE AGGREGATE counter_hll_agg(anyelement, log2m integer) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);

CREATE OR REPLACE AGGREGATE counter_hll_agg(anyelement, log2m integer, regwidth integer, expthresh bigint, sparseon integer) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);

CREATE OR REPLACE AGGREGATE counter_hll_union_agg(counter_hll) (
    SFUNC = counter_ext.hll_agg_unite, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);

CREATE OR REPLACE AGGREGATE counter_uniq(anyelement) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_count,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.token ALTER COLUMN token SET STORAGE EXTERNAL, ALTER COLUMN id SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.source_offset ALTER COLUMN source SET STORAGE EXTERNAL, ALTER COLUMN reset_by SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.token', '');

SELECT pg_catalog.pg_extension_config_dump('counter_ext.source_offset', '');

COMMENT ON TABLE counter_ext.token IS 'tokens of counter_incr_once, kept for counter_ext.token_retention';

COMMENT ON TABLE counter_ext.source_offset IS 'how far counter_apply has come with each source';

-- src/api/idempotency.rs
-- counter_ext::api::idempotency::counter_apply
CREATE OR REPLACE FUNCTION "counter_apply"(
	"source" text, /* Option < TextArg < '_ > > */
	"upto" bigint, /* Option < i64 > */
	"ids" text[], /* Option < TextArray < '_ > > */
	"deltas" bigint[] DEFAULT NULL /* Option < BigintArray < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_apply_wrapper';

-- src/api/idempotency.rs
-- counter_ext::api::idempotency::counter_apply
CREATE OR REPLACE FUNCTION "counter_apply"(
	"source" text, /* Option < TextArg < '_ > > */
	"first" bigint, /* Option < i64 > */
	"upto" bigint, /* Option < i64 > */
	"ids" text[], /* Option < TextArray < '_ > > */
	"deltas" bigint[], /* Option < BigintArray < '_ > > */
	"offsets" bigint[] DEFAULT NULL, /* Option < BigintArray < '_ > > */
	"at" timestamptz[] DEFAULT NULL /* Option < TimestampArray < '_ > > */
) RETURNS bool /* bool */

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_apply_from_wrapper';

-- src/api/idempotency.rs
-- counter_ext::api::idempotency::counter_apply_reset
CREATE OR REPLACE FUNCTION "counter_apply_reset"(
	"source" text /* TextArg < '_ > */
) RETURNS bigint /* Option < i64 > */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_apply_reset_wrapper';

-- src/api/idempotency.rs
-- counter_ext::api::idempotency::counter_incr_once
CREATE OR REPLACE FUNCTION "counter_incr_once"(
	"id" text, /* TextArg < '_ > */
	"delta" bigint, /* i64 */
	"token" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_incr_once_wrapper';

CREATE OR REPLACE FUNCTION counter_incr_once(id counter, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id bigint, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id uuid, delta bigint, token text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id text, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id counter, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id bigint, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_once(id uuid, delta bigint, token anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_once_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_apply(source anyelement, upto bigint, ids text[], deltas bigint[] DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_apply_of_wrapper' LANGUAGE c VOLATILE;

-- `deltas` has no default: with four arguments this would be like the above, but for an array in one place, which
-- an untyped parameter does not say.
CREATE OR REPLACE FUNCTION counter_apply(source anyelement, first bigint, upto bigint, ids text[], deltas bigint[], offsets bigint[] DEFAULT NULL,
    at timestamptz[] DEFAULT NULL) RETURNS boolean AS 'MODULE_PATHNAME', 'counter_apply_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_apply_reset(source anyelement) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_apply_reset_of_wrapper' LANGUAGE c VOLATILE STRICT;

-- src/api/increments.rs
-- counter_ext::api::increments::counter_add
CREATE OR REPLACE FUNCTION "counter_add"(
	"id" text, /* TextArg < '_ > */
	"delta" bigint DEFAULT 1 /* i64 */
) RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_add_wrapper';

-- src/api/increments.rs
-- counter_ext::api::increments::counter_incr
CREATE OR REPLACE FUNCTION "counter_incr"(
	"id" text, /* Option < TextArg < '_ > > */
	"delta" bigint DEFAULT 1, /* Option < i64 > */
	"actor" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS VOID /* Option < () > */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_incr_wrapper';

-- A numeric amount goes to "any", which never competes for what has no type: beside counter_incr(text, numeric) an untyped or an
-- integer amount would be ambiguous. Where the id is an integer, "any" would tie with bigint: so each
-- width has one of its own.
-- A NULL actor is nobody named, so these are not STRICT: an id or a delta of NULL counts nothing all the same.
CREATE OR REPLACE FUNCTION counter_incr(id counter, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr(id bigint, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_incr(id uuid, delta bigint DEFAULT 1, actor text DEFAULT NULL) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_incr(id text, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr(id counter, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr(id bigint, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr(id uuid, delta bigint, actor anyelement) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_by_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr(id "any", delta numeric) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_numeric_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr(id smallint, delta bigint) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_incr(id integer, delta bigint) RETURNS void
    LANGUAGE sql VOLATILE BEGIN ATOMIC SELECT @extschema@.counter_incr($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_add(id counter, delta bigint DEFAULT 1) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_add_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_add(id bigint, delta bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_add(id uuid, delta bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_add(id "any", delta numeric) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_add_numeric_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_add(id smallint, delta bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_add(id integer, delta bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_add($1::pg_catalog.text, $2); END;

-- src/api/increments.rs
-- counter_ext::api::increments::counter_incr_many
CREATE OR REPLACE FUNCTION "counter_incr_many"(
	"ids" text[], /* Option < TextArray < '_ > > */
	"deltas" bigint[] DEFAULT NULL /* Option < BigintArray < '_ > > */
) RETURNS void
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_incr_many_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::count_likes
CREATE OR REPLACE FUNCTION counter_ext."count_likes"(
	"item" text, /* TextArg < '_ > */
	"change" bigint /* i64 */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'count_likes_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_like
CREATE OR REPLACE FUNCTION "counter_like"(
	"item" text, /* TextArg < '_ > */
	"actor" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_like_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_liked
CREATE OR REPLACE FUNCTION "counter_liked"(
	"item" text, /* TextArg < '_ > */
	"actor" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_liked_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_likes
CREATE OR REPLACE FUNCTION "counter_likes"(
	"item" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_likes_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_unlike
CREATE OR REPLACE FUNCTION "counter_unlike"(
	"item" text, /* TextArg < '_ > */
	"actor" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_unlike_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::empty_likes
CREATE OR REPLACE FUNCTION counter_ext."empty_likes"(
	"partition" regclass /* RelationArg < '_ > */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'empty_likes_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::like_cursor
CREATE OR REPLACE FUNCTION counter_ext."like_cursor"(
	"at" timestamp with time zone, /* TimestampWithTimeZone */
	"name" text /* TextArg < '_ > */
) RETURNS text /* TextBytes */
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'like_cursor_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::like_cursor_at
CREATE OR REPLACE FUNCTION counter_ext."like_cursor_at"(
	"cursor" text /* Option < TextArg < '_ > > */
) RETURNS timestamp with time zone /* Option < TimestampWithTimeZone > */
IMMUTABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'like_cursor_at_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::like_cursor_name
CREATE OR REPLACE FUNCTION counter_ext."like_cursor_name"(
	"cursor" text /* Option < TextArg < '_ > > */
) RETURNS text /* TextBytes */
IMMUTABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'like_cursor_name_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::liked_items_here
CREATE OR REPLACE FUNCTION counter_ext."liked_items_here"(
	"max_rows" INT /* Option < i32 > */
) RETURNS INT /* Option < i32 > */
STABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'liked_items_here_wrapper';

-- src/api/likes.rs
-- counter_ext::api::likes::counter_ext::likers_here
CREATE OR REPLACE FUNCTION counter_ext."likers_here"(
	"item" text, /* Option < TextArg < '_ > > */
	"max_rows" INT /* Option < i32 > */
) RETURNS INT /* Option < i32 > */
STABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'likers_here_wrapper';

-- What pages of an item's likes are read through, newest first: there may be millions. An actor's are sorted for each page.
CREATE INDEX liked_by_item ON counter_ext.liked (item, at, actor);

-- What comes and goes by other ways than counter_like is counted too: a restore, an administrator's DELETE. By statement, from
-- transition tables, which go to disk when they are large.
CREATE OR REPLACE FUNCTION counter_ext.note_foreign_likes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
BEGIN
    IF pg_partition_root(TG_RELID) IS DISTINCT FROM 'counter_ext.liked'::regclass THEN
        RAISE EXCEPTION 'this trigger function serves counter_ext.liked and its partitions only'
            USING ERRCODE = 'trigger_protocol_violated';
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        PERFORM counter_ext.count_likes(item, n) FROM (SELECT item, pg_catalog.count(*) AS n FROM came GROUP BY item) AS each;
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        PERFORM counter_ext.count_likes(item, OPERATOR(pg_catalog.-) n) FROM (SELECT item, pg_catalog.count(*) AS n FROM went GROUP BY item) AS each;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM counter_ext.empty_likes(TG_RELID);
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    relation text;
BEGIN
    FOR number IN -1..15 LOOP
        relation := CASE WHEN number OPERATOR(pg_catalog.<) 0 THEN 'liked' ELSE pg_catalog.concat('liked_', number) END;
        -- Keys are read where they lie: never compressed, whatever columns somebody adds.
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ALTER COLUMN item SET STORAGE EXTERNAL,
            ALTER COLUMN actor SET STORAGE EXTERNAL', relation);
        -- A statement fires the triggers of the table that it names, partition or whole; TRUNCATE those of all it empties.
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert AFTER INSERT ON counter_ext.%I REFERENCING NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_delete AFTER DELETE ON counter_ext.%I REFERENCING OLD TABLE AS went
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_update AFTER UPDATE ON counter_ext.%I
            REFERENCING OLD TABLE AS went NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert,
            ENABLE ALWAYS TRIGGER note_foreign_delete, ENABLE ALWAYS TRIGGER note_foreign_update', relation);
        IF number OPERATOR(pg_catalog.>=) 0 THEN
            EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate BEFORE TRUNCATE ON counter_ext.%I
                FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
            EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_truncate', relation);
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('counter_ext.%I', relation)::pg_catalog.regclass, '');
        END IF;
    END LOOP;
END
$$;

-- Items and actors of other types than text. Each is the same C function, which asks PostgreSQL for the types of its call. An untyped
-- literal or parameter is text, PostgreSQL's preferred type of those that it could be.
CREATE OR REPLACE FUNCTION counter_like(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_like(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_unlike(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_liked(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_liked(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_likes(item counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_likes(item bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_likes(item uuid) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

-- Pages of likes, newest first: each goes on behind the last of the one before, through an index.
CREATE OR REPLACE FUNCTION counter_likers(item text, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.actor, liked.at, counter_ext.like_cursor(liked.at, liked.actor) FROM counter_ext.liked
        WHERE liked.item OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND ROW(liked.at, liked.actor) OPERATOR(pg_catalog.<)
                ROW(counter_ext.like_cursor_at($2), counter_ext.like_cursor_name($2) COLLATE "C")
        ORDER BY liked.at DESC, liked.actor DESC LIMIT counter_ext.likers_here($1, $3);
END;

CREATE OR REPLACE FUNCTION counter_liked_items(actor text, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.item, liked.at, counter_ext.like_cursor(liked.at, liked.item) FROM counter_ext.liked
        WHERE liked.actor OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND ROW(liked.at, liked.item) OPERATOR(pg_catalog.<)
                ROW(counter_ext.like_cursor_at($2), counter_ext.like_cursor_name($2) COLLATE "C")
        ORDER BY liked.at DESC, liked.item DESC LIMIT counter_ext.liked_items_here($3);
END;

CREATE OR REPLACE FUNCTION counter_likers(item counter, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_likers(item bigint, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_likers(item uuid, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_liked_items(actor bigint, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT item, at, cursor FROM @extschema@.counter_liked_items($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_liked_items(actor uuid, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT item, at, cursor FROM @extschema@.counter_liked_items($1::pg_catalog.text, $2, $3); END;

COMMENT ON TABLE counter_ext.liked IS 'likes, a row each; privileges on it decide who may like and read likes';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_ext::note_policy_change
CREATE OR REPLACE FUNCTION counter_ext."note_policy_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_policy_change_wrapper';

-- Actors are looked for without regard to capitals, in ASCII.
CREATE INDEX blocked_folded ON counter_ext.blocked (pg_catalog.lower(actor));

CREATE INDEX blocked_network ON counter_ext.blocked (actor) WHERE network IS NOT NULL;

-- A row names a network by its column, or by an actor that is an address with a mask; each gives the other. So is an address a network,
-- of itself, in any spelling but the one in which all are looked for.
CREATE OR REPLACE FUNCTION counter_ext.complete_blocked() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.network IS DISTINCT FROM OLD.network THEN
            IF NEW.actor = OLD.actor AND OLD.actor = OLD.network::text THEN
                NEW.actor := NULL;
            END IF;
        ELSIF NEW.actor IS DISTINCT FROM OLD.actor THEN
            NEW.network := NULL;
        END IF;
    END IF;
    IF NEW.actor IS NULL THEN
        NEW.actor := NEW.network::text;
    ELSIF NEW.network IS NULL AND NEW.actor ~ '^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$' THEN
        BEGIN
            IF NEW.actor <> host(NEW.actor::inet) OR NEW.actor ~ ':.*[.]' THEN
                NEW.network := network(NEW.actor::inet);
            END IF;
        EXCEPTION WHEN data_exception THEN
            -- It only looks like one.
            NULL;
        END;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER complete_blocked BEFORE INSERT OR UPDATE ON counter_ext.blocked
    FOR EACH ROW EXECUTE FUNCTION counter_ext.complete_blocked();

ALTER TABLE counter_ext.blocked ENABLE ALWAYS TRIGGER complete_blocked;

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.policy ALTER COLUMN prefix SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.blocked ALTER COLUMN actor SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.policy', '');

SELECT pg_catalog.pg_extension_config_dump('counter_ext.blocked', '');

COMMENT ON TABLE counter_ext.policy IS 'how often counter_incr_from counts an actor, by prefix of the id; the longest prefix holds';

COMMENT ON TABLE counter_ext.blocked IS 'actors, and networks of addresses, that counter_incr_from and counter_visit do not count';

-- Backends are told of a change when it commits. By row, since an apply worker fires no other triggers.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['policy', 'blocked'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_policy_change BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_policy_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_policy_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_policy_change()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_policy_change,
            ENABLE ALWAYS TRIGGER note_policy_truncate', relation);
    END LOOP;
END
$$;

-- src/api/limits.rs
-- counter_ext::api::limits::counter_address
CREATE OR REPLACE FUNCTION "counter_address"(
	"address" inet /* AddressArg < '_ > */
) RETURNS text /* TextBytes */
STRICT STABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_address_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_allow
CREATE OR REPLACE FUNCTION "counter_allow"(
	"key" text, /* Option < TextArg < '_ > > */
	"max" bigint, /* Option < i64 > */
	"per" interval, /* Option < IntervalArg < '_ > > */
	"cost" bigint DEFAULT 1 /* Option < i64 > */
) RETURNS bool /* bool */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_allow_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_allow_all
CREATE OR REPLACE FUNCTION "counter_allow_all"(
	"keys" text[], /* Option < TextArray < '_ > > */
	"maxes" bigint[], /* Option < BigintArray < '_ > > */
	"pers" interval[], /* Option < IntervalArray < '_ > > */
	"costs" bigint[] DEFAULT NULL /* Option < BigintArray < '_ > > */
) RETURNS bool /* bool */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_allow_all_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_filtered
CREATE OR REPLACE FUNCTION "counter_filtered"(
	"id" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_filtered_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_incr_from
CREATE OR REPLACE FUNCTION "counter_incr_from"(
	"id" counter, /* Option < CounterArg < '_ > > */
	"actor" text, /* Option < TextArg < '_ > > */
	"delta" bigint DEFAULT 1 /* Option < i64 > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_incr_from_wrapper';

CREATE OR REPLACE FUNCTION counter_incr_from(id text, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id bigint, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id uuid, actor text, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id text, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id counter, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id bigint, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_incr_from(id uuid, actor anyelement, delta bigint DEFAULT 1) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_incr_from_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_filtered(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_filtered_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_filtered(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_filtered(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_filtered($1::pg_catalog.text); END;

-- src/api/limits.rs
-- counter_ext::api::limits::counter_limit
CREATE OR REPLACE FUNCTION "counter_limit"(
	"key" text, /* Option < TextArg < '_ > > */
	"max" bigint, /* Option < i64 > */
	"per" interval, /* Option < IntervalArg < '_ > > */
	"cost" bigint DEFAULT 1 /* Option < i64 > */
) RETURNS TABLE (
	"allowed" bool,  /* bool */
	"remaining" bigint,  /* i64 */
	"reset_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"retry_after" interval  /* Option < Interval > */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_limit_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_limit_all
CREATE OR REPLACE FUNCTION "counter_limit_all"(
	"keys" text[], /* Option < TextArray < '_ > > */
	"maxes" bigint[], /* Option < BigintArray < '_ > > */
	"pers" interval[], /* Option < IntervalArray < '_ > > */
	"costs" bigint[] DEFAULT NULL /* Option < BigintArray < '_ > > */
) RETURNS TABLE (
	"key" text,  /* TextBytes */
	"allowed" bool,  /* bool */
	"remaining" bigint,  /* i64 */
	"reset_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"retry_after" interval  /* Option < Interval > */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_limit_all_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_limit_refund
CREATE OR REPLACE FUNCTION "counter_limit_refund"(
	"key" text, /* Option < TextArg < '_ > > */
	"max" bigint, /* Option < i64 > */
	"per" interval, /* Option < IntervalArg < '_ > > */
	"cost" bigint DEFAULT 1 /* Option < i64 > */
) RETURNS bigint /* i64 */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_limit_refund_wrapper';

-- src/api/limits.rs
-- counter_ext::api::limits::counter_limit_reset
CREATE OR REPLACE FUNCTION "counter_limit_reset"(
	"key" text /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_limit_reset_wrapper';

-- Keys take memory that all databases share: whoever may fill it is named. Functions for keys of other types than text need no right of
-- their own: they run with the caller's, who needs that to the one for text.
REVOKE EXECUTE ON FUNCTION
    @extschema@.counter_allow(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_limit(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_allow_all(pg_catalog.text[], bigint[], interval[], bigint[]),
    @extschema@.counter_limit_all(pg_catalog.text[], bigint[], interval[], bigint[]),
    @extschema@.counter_limit_refund(pg_catalog.text, bigint, interval, bigint),
    @extschema@.counter_limit_reset(pg_catalog.text)
    FROM PUBLIC;

CREATE OR REPLACE FUNCTION counter_allow(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_allow(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_allow(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_allow(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_allow(@extschema@.counter_address($1), $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS TABLE (allowed boolean, remaining bigint, reset_at timestamptz, retry_after interval)
    LANGUAGE sql VOLATILE ROWS 1 BEGIN ATOMIC SELECT * FROM @extschema@.counter_limit(@extschema@.counter_address($1), $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit_refund(key bigint, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit_refund(key uuid, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit_refund(key counter, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit_refund(key inet, max bigint, per interval, cost bigint DEFAULT 1) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_refund(@extschema@.counter_address($1), $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_limit_reset(key bigint) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_limit_reset(key uuid) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_limit_reset(key counter) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_limit_reset(key inet) RETURNS boolean
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_limit_reset(@extschema@.counter_address($1)); END;

-- src/api/limits.rs
-- counter_ext::api::limits::counter_ext::limit_statistics
CREATE OR REPLACE FUNCTION counter_ext."limit_statistics"() RETURNS TABLE (
	"filtered" bigint,  /* Option < i64 > */
	"limits_in_use" bigint,  /* i64 */
	"max_limits" bigint,  /* i64 */
	"intervals_in_use" bigint,  /* i64 */
	"limits_refused" bigint,  /* Option < i64 > */
	"limit_evictions" bigint,  /* Option < i64 > */
	"limit_bytes" bigint  /* i64 */
)
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'limit_statistics_wrapper';

-- src/api/listing.rs
-- counter_ext::api::listing::counter_list
CREATE OR REPLACE FUNCTION "counter_list"(
	"prefix" text DEFAULT '', /* Option < TextArg < '_ > > */
	"after" text DEFAULT NULL, /* Option < TextArg < '_ > > */
	"max_rows" INT DEFAULT 100 /* Option < i32 > */
) RETURNS TABLE (
	"id" text,  /* TextBytes */
	"value" bigint,  /* Option < i64 > */
	"slots" INT,  /* i32 */
	"updated_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"overflowed" bool  /* bool */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_list_wrapper';

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

-- src/api/live.rs
-- counter_ext::api::live::counter_ext::note_watch_change
CREATE OR REPLACE FUNCTION counter_ext."note_watch_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_watch_change_wrapper';

-- src/api/live.rs
-- counter_ext::api::live::counter_unwatch
CREATE OR REPLACE FUNCTION "counter_unwatch"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"channel" text /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_unwatch_wrapper';

-- src/api/live.rs
-- counter_ext::api::live::counter_watch
CREATE OR REPLACE FUNCTION "counter_watch"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"channel" text, /* Option < TextArg < '_ > > */
	"at_most_every" interval DEFAULT '1 s' /* Option < IntervalArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_watch_wrapper';

-- src/api/moving.rs
-- counter_ext::api::moving::counter_forget_all
CREATE OR REPLACE FUNCTION "counter_forget_all"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_forget_all_wrapper';

-- src/api/moving.rs
-- counter_ext::api::moving::counter_merge
CREATE OR REPLACE FUNCTION "counter_merge"(
	"from" text, /* TextArg < '_ > */
	"into" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_merge_wrapper';

-- src/api/moving.rs
-- counter_ext::api::moving::counter_rename
CREATE OR REPLACE FUNCTION "counter_rename"(
	"from" text, /* TextArg < '_ > */
	"to" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_rename_wrapper';

CREATE OR REPLACE FUNCTION counter_rename("from" counter, "to" counter) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_rename("from" bigint, "to" bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_rename("from" uuid, "to" uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_rename($1::pg_catalog.text, $2::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_merge("from" counter, "into" counter) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_merge("from" bigint, "into" bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_merge("from" uuid, "into" uuid) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_merge($1::pg_catalog.text, $2::pg_catalog.text); END;

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::receive_like
CREATE OR REPLACE FUNCTION counter_ext."receive_like"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'receive_like_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::ask_node
CREATE OR REPLACE FUNCTION counter_ext."ask_node"(
	"parameters" text /* TextArg < '_ > */
) RETURNS text /* Option < TextBytes > */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'ask_node_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::check_may_set_up_nodes
CREATE OR REPLACE FUNCTION counter_ext."check_may_set_up_nodes"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_may_set_up_nodes_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::check_node_of_row
CREATE OR REPLACE FUNCTION counter_ext."check_node_of_row"(
	"number" INT /* i32 */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_node_of_row_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::check_node_parameters
CREATE OR REPLACE FUNCTION counter_ext."check_node_parameters"(
	"parameters" text /* TextArg < '_ > */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_node_parameters_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::drop_node_slot
CREATE OR REPLACE FUNCTION counter_ext."drop_node_slot"(
	"parameters" text, /* TextArg < '_ > */
	"slot" text /* TextArg < '_ > */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'drop_node_slot_wrapper';

-- src/api/nodes.rs
-- counter_ext::api::nodes::counter_ext::make_node_slot
CREATE OR REPLACE FUNCTION counter_ext."make_node_slot"(
	"parameters" text, /* TextArg < '_ > */
	"slot" text /* TextArg < '_ > */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'make_node_slot_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_compact
CREATE OR REPLACE FUNCTION "counter_compact"() RETURNS bigint /* i64 */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_compact_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_stats_reset
CREATE OR REPLACE FUNCTION "counter_stats_reset"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_stats_reset_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_version
CREATE OR REPLACE FUNCTION "counter_version"() RETURNS TEXT /* & '_ str */
IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_version_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_ext::note_extension_created
CREATE OR REPLACE FUNCTION counter_ext."note_extension_created"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'note_extension_created_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_ext::statistics
CREATE OR REPLACE FUNCTION counter_ext."statistics"() RETURNS TABLE (
	"preloaded" bool,  /* bool */
	"worker_pid" INT,  /* Option < i32 > */
	"worker_state" TEXT,  /* & '_ str */
	"increments" bigint,  /* Option < i64 > */
	"compactions" bigint,  /* Option < i64 > */
	"rows_folded" bigint,  /* Option < i64 > */
	"last_compaction_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"slot_rows" bigint,  /* i64 */
	"errors" bigint,  /* Option < i64 > */
	"last_error" TEXT,  /* Option < String > */
	"last_error_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"overflowed" bigint,  /* Option < i64 > */
	"counters_in_memory" bigint,  /* i64 */
	"max_counters" bigint,  /* i64 */
	"memory_bytes" bigint,  /* i64 */
	"loads" bigint,  /* Option < i64 > */
	"load_timeouts" bigint,  /* Option < i64 > */
	"evictions" bigint,  /* Option < i64 > */
	"invalidations" bigint,  /* Option < i64 > */
	"journal_state" TEXT,  /* Option < & '_ str > */
	"buffered_increments" bigint,  /* Option < i64 > */
	"journal_bytes" bigint,  /* Option < i64 > */
	"journal_tail_bytes" bigint,  /* i64 */
	"journal_delayed_by" INT,  /* Option < i32 > */
	"journal_recovered_records" bigint,  /* Option < i64 > */
	"visits_written" bigint,  /* Option < i64 > */
	"visit_rows" bigint,  /* i64 */
	"sketches_in_memory" bigint,  /* i64 */
	"max_sketches" bigint,  /* i64 */
	"sketch_evictions" bigint,  /* Option < i64 > */
	"counter_bytes" bigint,  /* i64 */
	"sketch_bytes" bigint  /* i64 */
)
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'statistics_wrapper';

-- src/api/operations.rs
-- counter_ext::api::operations::counter_ext::statistics_reset
CREATE OR REPLACE FUNCTION counter_ext."statistics_reset"() RETURNS TABLE (
	"at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"role" oid  /* Option < Oid > */
)
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'statistics_reset_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_get
CREATE OR REPLACE FUNCTION "counter_get"(
	"id" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_get_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_get_exact
CREATE OR REPLACE FUNCTION "counter_get_exact"(
	"id" text /* TextArg < '_ > */
) RETURNS bigint /* i64 */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_get_exact_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_get_many
CREATE OR REPLACE FUNCTION "counter_get_many"(
	"ids" text[] /* Option < TextArray < '_ > > */
) RETURNS TABLE (
	"id" text,  /* TextBytes */
	"value" bigint  /* Option < i64 > */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_get_many_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_hottest
CREATE OR REPLACE FUNCTION "counter_hottest"(
	"n" INT DEFAULT 10 /* i32 */
) RETURNS TABLE (
	"id" text,  /* TextBytes */
	"value" bigint,  /* Option < i64 > */
	"increments_per_s" double precision,  /* Option < f64 > */
	"overflowed" bool  /* bool */
)
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_hottest_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_info
CREATE OR REPLACE FUNCTION "counter_info"(
	"id" text /* TextArg < '_ > */
) RETURNS TABLE (
	"value" bigint,  /* i64 */
	"exact" bool,  /* bool */
	"slots" INT,  /* i32 */
	"updated_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"behind" interval  /* Option < Interval > */
)
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_info_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_info
CREATE OR REPLACE FUNCTION "counter_info"(
	"id" bigint /* i64 */
) RETURNS TABLE (
	"value" bigint,  /* i64 */
	"exact" bool,  /* bool */
	"slots" INT,  /* i32 */
	"updated_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"behind" interval  /* Option < Interval > */
)
STRICT PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_info_number_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_info
CREATE OR REPLACE FUNCTION "counter_info"(
	"id" uuid /* pgrx :: Uuid */
) RETURNS TABLE (
	"value" bigint,  /* i64 */
	"exact" bool,  /* bool */
	"slots" INT,  /* i32 */
	"updated_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"behind" interval  /* Option < Interval > */
)
STRICT PARALLEL RESTRICTED 
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_info_uuid_wrapper';

-- src/api/reads.rs
-- counter_ext::api::reads::counter_ext::list_counters
CREATE OR REPLACE FUNCTION counter_ext."list_counters"() RETURNS TABLE (
	"id" text,  /* TextBytes */
	"value" bigint,  /* Option < i64 > */
	"slots" INT,  /* i32 */
	"updated_at" timestamp with time zone,  /* Option < TimestampWithTimeZone > */
	"overflowed" bool  /* bool */
)
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'list_counters_wrapper';

CREATE OR REPLACE FUNCTION counter_get(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_get_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_get(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_get(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_get_exact(id counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_get_exact_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_get_exact(id bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get_exact($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_get_exact(id uuid) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_get_exact($1::pg_catalog.text); END;

CREATE OR REPLACE FUNCTION counter_info(id counter) RETURNS TABLE (value bigint, exact boolean, slots integer, updated_at timestamptz, behind interval)
    AS 'MODULE_PATHNAME', 'counter_info_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

DROP CAST (counter AS bigint);
CREATE CAST (counter AS bigint) WITH FUNCTION @extschema@.counter_get(counter);

-- Without these PostgreSQL would read the id as a number.
CREATE OR REPLACE FUNCTION counter_ext.total_as_smallint(id counter) RETURNS smallint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.int2; END;

DROP CAST (counter AS smallint);
CREATE CAST (counter AS smallint) WITH FUNCTION counter_ext.total_as_smallint(counter);

CREATE OR REPLACE FUNCTION counter_ext.total_as_integer(id counter) RETURNS integer
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.int4; END;

DROP CAST (counter AS integer);
CREATE CAST (counter AS integer) WITH FUNCTION counter_ext.total_as_integer(counter);

CREATE OR REPLACE FUNCTION counter_ext.total_as_real(id counter) RETURNS real
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.float4; END;

DROP CAST (counter AS real);
CREATE CAST (counter AS real) WITH FUNCTION counter_ext.total_as_real(counter);

CREATE OR REPLACE FUNCTION counter_ext.total_as_double(id counter) RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.float8; END;

DROP CAST (counter AS double precision);
CREATE CAST (counter AS double precision) WITH FUNCTION counter_ext.total_as_double(counter);

CREATE OR REPLACE FUNCTION counter_ext.total_as_numeric(id counter) RETURNS numeric
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_get($1)::pg_catalog.numeric; END;

DROP CAST (counter AS numeric);
CREATE CAST (counter AS numeric) WITH FUNCTION counter_ext.total_as_numeric(counter);

CREATE OR REPLACE VIEW @extschema@.counters AS SELECT id, value, slots, updated_at, overflowed FROM counter_ext.list_counters();

COMMENT ON VIEW @extschema@.counters IS 'every counter: id, total, slot rows, when it last changed, whether its total is outside bigint';

-- The function behind it checks the calling user's rights on counter_ext.total.
GRANT SELECT ON @extschema@.counters TO PUBLIC;

GRANT USAGE ON SCHEMA counter_ext TO PUBLIC;

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

-- src/api/series.rs
-- counter_ext::api::series::counter_ext::note_tracked_change
CREATE OR REPLACE FUNCTION counter_ext."note_tracked_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_tracked_change_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_ext::check_step
CREATE OR REPLACE FUNCTION counter_ext."check_step"(
	"step" text, /* Option < TextArg < '_ > > */
	"from" timestamp with time zone, /* Option < TimestampWithTimeZone > */
	"to" timestamp with time zone /* Option < TimestampWithTimeZone > */
) RETURNS text /* TextBytes */
STABLE PARALLEL SAFE
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'check_step_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_incr_at
CREATE OR REPLACE FUNCTION "counter_incr_at"(
	"id" text, /* TextArg < '_ > */
	"at" timestamp with time zone, /* TimestampWithTimeZone */
	"delta" bigint DEFAULT 1 /* i64 */
) RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_incr_at_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_track
CREATE OR REPLACE FUNCTION "counter_track"(
	"prefix" text, /* Option < TextArg < '_ > > */
	"resolutions" text[] DEFAULT '{minute,hour,day}', /* Option < TextArray < '_ > > */
	"keep" text[] DEFAULT '{2 days,90 days,forever}', /* Option < TextArray < '_ > > */
	"time_zone" text DEFAULT NULL /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_track_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_untrack
CREATE OR REPLACE FUNCTION "counter_untrack"(
	"prefix" text /* Option < TextArg < '_ > > */
) RETURNS bool /* bool */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_untrack_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_ext::series_rows
CREATE OR REPLACE FUNCTION counter_ext."series_rows"(
	"id" text, /* Option < TextArg < '_ > > */
	"from" timestamp with time zone, /* Option < TimestampWithTimeZone > */
	"to" timestamp with time zone, /* Option < TimestampWithTimeZone > */
	"step" text /* Option < TextArg < '_ > > */
) RETURNS TABLE (
	"at" timestamp with time zone,  /* TimestampWithTimeZone */
	"value" NUMERIC  /* AnyNumeric */
)
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'series_rows_wrapper';

-- src/api/series.rs
-- counter_ext::api::series::counter_ext::series_total
CREATE OR REPLACE FUNCTION counter_ext."series_total"(
	"id" text, /* Option < TextArg < '_ > > */
	"from" timestamp with time zone, /* Option < TimestampWithTimeZone > */
	"to" timestamp with time zone /* Option < TimestampWithTimeZone > */
) RETURNS bigint /* Option < i64 > */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'series_total_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::advance_source_here
CREATE OR REPLACE FUNCTION counter_ext."advance_source_here"(
	"source" text, /* Option < TextArg < '_ > > */
	"first" bigint, /* Option < i64 > */
	"upto" bigint, /* Option < i64 > */
	"deltas" bigint /* Option < i64 > */
) RETURNS TABLE (
	"advanced" bool,  /* bool */
	"before" bigint  /* Option < i64 > */
)
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'advance_source_here_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::get_many_here
CREATE OR REPLACE FUNCTION counter_ext."get_many_here"(
	"key" text, /* Option < TextArg < '_ > > */
	"ids" text[] /* Option < TextArray < '_ > > */
) RETURNS SETOF bigint /* Option < i64 > */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'get_many_here_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::has_arrived
CREATE OR REPLACE FUNCTION counter_ext."has_arrived"(
	"id" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'has_arrived_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::incr_many_here
CREATE OR REPLACE FUNCTION counter_ext."incr_many_here"(
	"key" text, /* Option < TextArg < '_ > > */
	"ids" text[], /* Option < TextArray < '_ > > */
	"deltas" bigint[] /* Option < BigintArray < '_ > > */
) RETURNS bigint /* i64 */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'incr_many_here_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::owner_group
CREATE OR REPLACE FUNCTION counter_ext."owner_group"(
	"id" text /* TextArg < '_ > */
) RETURNS INT /* Option < i32 > */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'owner_group_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::take_moved
CREATE OR REPLACE FUNCTION counter_ext."take_moved"(
	"source" text, /* TextArg < '_ > */
	"batch" bigint, /* i64 */
	"ids" text[], /* TextArray < '_ > */
	"amounts" bigint[] /* BigintArray < '_ > */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'take_moved_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::visitors_here
CREATE OR REPLACE FUNCTION counter_ext."visitors_here"(
	"key" text, /* Option < TextArg < '_ > > */
	"ids" text[], /* Option < TextArray < '_ > > */
	"first_day" INT, /* Option < i32 > */
	"last_day" INT /* Option < i32 > */
) RETURNS counter_hll /* SketchBytes */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'visitors_here_wrapper';

-- src/api/sharding.rs
-- counter_ext::api::sharding::counter_ext::want_pass
CREATE OR REPLACE FUNCTION counter_ext."want_pass"() RETURNS void
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'want_pass_wrapper';

-- src/api/triggers.rs
-- counter_ext::api::triggers::counter_ext::check_written_by_hand
CREATE OR REPLACE FUNCTION counter_ext."check_written_by_hand"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'check_written_by_hand_wrapper';

-- These rows are written by who owns the table: see src/rows/by_hand.rs. The statement is refused before it locks anything, and each row as well: an apply worker
-- fires no triggers of statements, and from PostgreSQL 16 on it may apply with the rights of whoever has made its subscription. This trigger comes
-- before the others of its row, which go by their names. Also under session_replication_role = replica: apply workers and restores set it, and anybody
-- to whom that is granted could.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['watch', 'expiry', 'cache', 'tracked', 'board', 'board_snapshot', 'board_window', 'board_score'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_written_by_hand,
            ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
    -- Statements that fill these are refused by note_foreign_insert.
    FOREACH relation IN ARRAY ARRAY['rolled', 'audit_pending', 'audit_log_default', 'audit_head', 'audit_anchor'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
END
$$;

-- src/api/triggers.rs
-- counter_ext::api::triggers::counter_ext::note_foreign_change
CREATE OR REPLACE FUNCTION counter_ext."note_foreign_change"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_foreign_change_wrapper';

-- src/api/triggers.rs
-- counter_ext::api::triggers::counter_ext::note_foreign_insert
CREATE OR REPLACE FUNCTION counter_ext."note_foreign_insert"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_foreign_insert_wrapper';

-- src/api/triggers.rs
-- counter_ext::api::triggers::counter_ext::note_foreign_truncate
CREATE OR REPLACE FUNCTION counter_ext."note_foreign_truncate"()
	RETURNS TRIGGER
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'note_foreign_truncate_wrapper';

-- Keys are read where they lie: never compressed, also beside a sketch that fills the row.
ALTER TABLE counter_ext.visitors ALTER COLUMN id SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.visit ALTER COLUMN id SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.visitors', '');

SELECT pg_catalog.pg_extension_config_dump('counter_ext.visit', '');

COMMENT ON TABLE counter_ext.visitors IS 'sketches of unique visitors, a row an id, day (by counter_ext.time_zone; -infinity: ever) and node';

COMMENT ON TABLE counter_ext.visit IS 'visits not yet united into counter_ext.visitors';

-- The nodes: each writes its own row, and the others get it by replication. Not dumped: a restored database is nobody's node until
-- counter_node_setup makes it one.
CREATE TABLE counter_ext.member (
    node integer NOT NULL,
    version text NOT NULL,
    -- Whom this node lets take the amounts of all nodes.
    harvester integer,
    -- Nodes whose first copy is complete there.
    copied integer[] NOT NULL DEFAULT '{}',
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    left_at timestamptz,
    PRIMARY KEY (node),
    CONSTRAINT member_node CHECK (node OPERATOR(pg_catalog.>) 0)
);

-- What a node asks others to drop, until all of them have it: see src/nodes/requests.rs.
CREATE TABLE counter_ext.drop_request (
    node integer NOT NULL,
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
    -- The nodes that there were. One that joins later is not meant.
    asked integer[] NOT NULL,
    -- It has come with an earlier subscription, and not yet with this one.
    is_stale boolean NOT NULL DEFAULT false,
    PRIMARY KEY (node, id, entry)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- What this node is to drop, since another one has; taken by the next pass.
CREATE TABLE counter_ext.drop_wanted (
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
    PRIMARY KEY (id, entry)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- What each node has last said of an item and an actor: see src/likes/by_node.rs. Not dumped: counter_node_setup begins with the likes that there are.
CREATE TABLE counter_ext.like_of_node (
    item text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    node integer NOT NULL,
    is_liked boolean NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (item, actor, node)
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.like_of_node ALTER COLUMN item SET STORAGE EXTERNAL, ALTER COLUMN actor SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.member ALTER COLUMN version SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.drop_request ALTER COLUMN id SET STORAGE EXTERNAL;

ALTER TABLE counter_ext.drop_wanted ALTER COLUMN id SET STORAGE EXTERNAL;

COMMENT ON TABLE counter_ext.member IS 'nodes that count the same counters; each writes its own row';

COMMENT ON TABLE counter_ext.like_of_node IS 'what each node has last said of an item and an actor; the highest version holds, and makes rows of counter_ext.liked';

COMMENT ON TABLE counter_ext.drop_request IS 'counters that other nodes are asked to drop, until all of them have heard';

COMMENT ON TABLE counter_ext.drop_wanted IS 'counters that another node has dropped, and that the next pass drops here';

-- Only rows that come by replication fire these.
CREATE OR REPLACE FUNCTION counter_ext.receive_node_row() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM counter_ext.check_node_of_row(OLD.node);
        RETURN OLD;
    END IF;
    PERFORM counter_ext.check_node_of_row(NEW.node);
    -- What an earlier subscription has left is replaced.
    IF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.member'::regclass THEN
        DELETE FROM counter_ext.member m WHERE m.node = NEW.node;
    ELSIF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.like_of_node'::regclass THEN
        DELETE FROM counter_ext.like_of_node l WHERE l.item = NEW.item AND l.actor = NEW.actor AND l.node = NEW.node;
    ELSIF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.drop_request'::regclass THEN
        DELETE FROM counter_ext.drop_request r WHERE r.node = NEW.node AND r.id = NEW.id AND r.entry = NEW.entry;
        -- What has come before is done: what has been counted since then stays.
        IF NOT FOUND AND current_setting('counter_ext.node')::integer = ANY (NEW.asked) THEN
            INSERT INTO counter_ext.drop_wanted (id, entry) VALUES (NEW.id, NEW.entry) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    RETURN NEW;
END
$$;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['member', 'drop_request', 'like_of_node'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER receive_node_row BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.receive_node_row()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE REPLICA TRIGGER receive_node_row', relation);
    END LOOP;
END
$$;

-- What these rows say, the worker and others do: only who owns the tables writes them by hand, or has them sent by another server.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['member', 'drop_request', 'drop_wanted', 'like_of_node'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_written_by_hand,
            ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
END
$$;

-- So it is with how far these have delivered to each other, which is beside what other sources have (src/api/idempotency.rs). counter_apply
-- writes rows past triggers.
CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.source_offset
    FOR EACH ROW WHEN (pg_catalog.starts_with(NEW.source, 'counter_ext.')) EXECUTE FUNCTION counter_ext.check_written_by_hand();

CREATE TRIGGER check_taken_by_hand BEFORE UPDATE OR DELETE ON counter_ext.source_offset
    FOR EACH ROW WHEN (pg_catalog.starts_with(OLD.source, 'counter_ext.')) EXECUTE FUNCTION counter_ext.check_written_by_hand();

ALTER TABLE counter_ext.source_offset ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_taken_by_hand;

CREATE TRIGGER receive_like AFTER INSERT OR UPDATE ON counter_ext.like_of_node FOR EACH ROW EXECUTE FUNCTION counter_ext.receive_like();

ALTER TABLE counter_ext.like_of_node ENABLE REPLICA TRIGGER receive_like;

-- Errors: 22004, 22023 what is asked for makes no sense; 25006 a standby; 42501; 55000 this server is not configured for it.
CREATE OR REPLACE FUNCTION counter_ext.check_node_setup(node integer, peers text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    setting integer := current_setting('counter_ext.node')::integer;
BEGIN
    IF node IS NULL OR peers IS NULL OR array_position(peers, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'argument "%" is NULL', CASE WHEN node IS NULL THEN 'node' ELSE 'peers' END
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF node < 1 THEN
        RAISE EXCEPTION 'node % is no node''s number', node
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give each server a number from 1 on that no other has.';
    END IF;
    PERFORM counter_ext.check_may_set_up_nodes();
    FOR i IN 1 .. cardinality(peers) LOOP
        BEGIN
            PERFORM counter_ext.check_node_parameters(peers[i]);
        EXCEPTION WHEN syntax_error THEN
            -- Its message would show parts of what may be a password.
            RAISE EXCEPTION 'peer % of the list does not say how to connect to a server', i
                USING ERRCODE = 'syntax_error', HINT = 'Write it as for psql: ''host=b.example dbname=app user=counters'', with quotes around what has spaces.';
        END;
    END LOOP;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'cannot execute counter_node_setup() during recovery' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF setting <> node THEN
        RAISE EXCEPTION 'counter_ext.node is %, not %', setting, node
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Run ALTER SYSTEM SET counter_ext.node = %s and SELECT pg_reload_conf(), and call it again.', node);
    END IF;
    IF to_regclass('counter_ext.shard_of_id') IS NOT NULL THEN
        RAISE EXCEPTION 'counters are spread over the nodes of a cluster here'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Counters are either on all nodes or spread over them.';
    END IF;
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %, not logical', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set wal_level = logical and restart the server.';
    END IF;
    PERFORM counter_ext.check_node_names();
END
$$;

-- What a peer says of itself, looked at. `problem` is what it has still to do, if anything. Errors: 55000 it is not fit to be one.
-- `published` are the nodes whose rows it publishes, `unpublished` those whose heir it is to be.
CREATE OR REPLACE FUNCTION counter_ext.node_of_peer(node integer, peer text, OUT number integer, OUT slot text, OUT slot_state text, OUT published integer[],
    OUT unpublished integer[], OUT problem text)
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about json;
    reason text;
BEGIN
    BEGIN
        about := counter_ext.ask_node(peer)::json;
    EXCEPTION WHEN connection_exception THEN
        GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
        problem := reason;
        RETURN;
    END;
    IF about->>'version' IS NULL THEN
        problem := 'a peer has no extension counter_ext yet';
        RETURN;
    END IF;
    IF about->>'version' <> (SELECT extversion FROM pg_extension WHERE extname = 'counter_ext') THEN
        RAISE EXCEPTION 'a peer has version % of counter_ext, this server another one', about->>'version'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Bring all nodes to the same version: install it, and run ALTER EXTENSION counter_ext UPDATE.';
    END IF;
    number := (about->>'node')::integer;
    IF number = node THEN
        RAISE EXCEPTION 'a peer is node % too', node
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Two servers with the same number would overwrite each other''s counts.',
            HINT = 'Give one of them another counter_ext.node and reload it; leave this server itself out of its peers.';
    END IF;
    -- Before anything else that may pass with time: nobody who waits for that peer would mend it.
    IF NOT (about->>'is_a_superusers')::boolean THEN
        RAISE EXCEPTION 'publication "counter_node" of % is no superuser''s', CASE number WHEN 0 THEN 'a peer' ELSE 'node ' || number END
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have this server take any of its tables.',
            HINT = 'Run DROP PUBLICATION counter_node there, or ALTER PUBLICATION counter_node OWNER TO a superuser, and call counter_node_setup there.';
    END IF;
    IF number = 0 OR NOT (about->>'is_set_up')::boolean THEN
        problem := format('%s has not called counter_node_setup yet', CASE number WHEN 0 THEN 'a peer' ELSE 'node ' || number END);
        RETURN;
    END IF;
    IF NOT (about->>'is_right')::boolean THEN
        problem := format('node %s to publish its counters, all of them and nothing else: call counter_node_setup there', number);
        RETURN;
    END IF;
    slot := format('counter_node_%s_of_%s', node, about->>'database');
    slot_state := about->'slots'->>slot;
    published := ARRAY(SELECT p::integer FROM json_array_elements_text(CASE json_typeof(about->'published') WHEN 'array' THEN about->'published' ELSE '[]' END) AS p);
    unpublished := ARRAY(SELECT p::integer FROM json_array_elements_text(CASE json_typeof(about->'unpublished') WHEN 'array' THEN about->'unpublished' ELSE '[]' END) AS p);
END
$$;

-- What counter_node_setup would run.
CREATE OR REPLACE FUNCTION counter_ext.node_plan(node integer, peers text[]) RETURNS SETOF text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    peer text;
    asked record;
    i integer := 0;
BEGIN
    RETURN NEXT format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'');',
        counter_ext.node_publishes(node, counter_ext.node_is_heir_of(node, '{}')));
    FOREACH peer IN ARRAY peers LOOP
        i := i + 1;
        asked := counter_ext.node_of_peer(node, peer);
        IF asked.problem IS NOT NULL THEN
            RETURN NEXT format('-- %s', asked.problem);
            CONTINUE;
        END IF;
        IF asked.slot_state IS NULL THEN
            RETURN NEXT format('SELECT pg_create_logical_replication_slot(%L, ''pgoutput''); -- on node %s', asked.slot, asked.number);
        END IF;
        IF NOT counter_ext.is_subscribed_to_node(asked.number) THEN
            -- Who reads this need not know a password.
            RETURN NEXT format('CREATE SUBSCRIPTION counter_node_%s CONNECTION ''<peer %s of the list>'' PUBLICATION counter_node WITH (create_slot = false, slot_name = %L, enabled = false);',
                asked.number, i, asked.slot);
            RETURN NEXT format('ALTER SUBSCRIPTION counter_node_%s ENABLE; -- where it takes counters and nothing else', asked.number);
        END IF;
    END LOOP;
END
$$;

-- What this server counted before it had a number becomes the node's.
CREATE OR REPLACE FUNCTION counter_ext.number_own_rows(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.total t WHERE t.node = 0) THEN
        -- Nobody counts meanwhile.
        LOCK TABLE counter_ext.total IN SHARE ROW EXCLUSIVE MODE;
        UPDATE counter_ext.total t SET value = t.value + o.value, updated_at = greatest(t.updated_at, o.updated_at)
            FROM counter_ext.total o WHERE o.id = t.id AND o.node = 0 AND t.node = number_own_rows.node;
        DELETE FROM counter_ext.total o USING counter_ext.total t WHERE o.node = 0 AND t.id = o.id AND t.node = number_own_rows.node;
        UPDATE counter_ext.total t SET node = number_own_rows.node WHERE t.node = 0;
    END IF;
    IF EXISTS (SELECT FROM counter_ext.visitors v WHERE v.node = 0) THEN
        LOCK TABLE counter_ext.visitors IN SHARE ROW EXCLUSIVE MODE;
        UPDATE counter_ext.visitors v SET sketch = counter_ext.counter_hll_union(v.sketch, o.sketch), updated_at = greatest(v.updated_at, o.updated_at)
            FROM counter_ext.visitors o WHERE o.id = v.id AND o.day = v.day AND o.node = 0 AND v.node = number_own_rows.node;
        DELETE FROM counter_ext.visitors o USING counter_ext.visitors v
            WHERE o.node = 0 AND v.id = o.id AND v.day = o.day AND v.node = number_own_rows.node;
        UPDATE counter_ext.visitors v SET node = number_own_rows.node WHERE v.node = 0;
    END IF;
END
$$;

-- A server that was made as a copy of another one has its counters of likes under that one's number. Each node counts likes from the rows that it has.
CREATE OR REPLACE FUNCTION counter_ext.number_counters_of_likes(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.total t WHERE t.id < chr(2) AND t.node <> $1) THEN
        LOCK TABLE counter_ext.total IN SHARE ROW EXCLUSIVE MODE;
        WITH gone AS (DELETE FROM counter_ext.total t WHERE t.id < chr(2) AND t.node <> $1 RETURNING t.id, t.value, t.updated_at)
            INSERT INTO counter_ext.total AS t (id, node, value, updated_at) SELECT g.id, $1, sum(g.value), max(g.updated_at) FROM gone g GROUP BY g.id
            ON CONFLICT ON CONSTRAINT total_pkey DO UPDATE SET value = t.value + excluded.value, updated_at = greatest(t.updated_at, excluded.updated_at);
    END IF;
END
$$;

-- Does what can be done now, and says what is still waited for; NULL where the node is ready, and nothing where it goes on at once in the next
-- transaction. In a transaction that has written nothing yet: a slot that is made on a peer waits there for transactions that write, and a slot that the
-- peer makes here would wait for this one.
CREATE OR REPLACE FUNCTION counter_ext.node_step(node integer, peers text[]) RETURNS text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    numbers integer[] := '{}';
    slots text[] := '{}';
    states text[] := '{}';
    published text[] := '{}';
    unpublished text[] := '{}';
    reachable text[] := '{}';
    -- Who is not subscribed to yet, and can be.
    fresh boolean[] := '{}';
    gone integer[];
    other integer;
    copies_anew boolean := false;
    publishes_less boolean;
    waits_for text;
    complete integer[];
BEGIN
    -- Who began a command before the reload may still count without the number; so may whatever other process runs a transaction.
    IF pg_conf_load_time() > clock_timestamp() - interval '1 second' OR EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND CASE WHEN a.backend_type = 'client backend' THEN a.state = 'active' AND a.query_start < pg_conf_load_time() + interval '1 second'
                ELSE a.backend_type NOT IN ('walsender', 'autovacuum worker') AND a.xact_start < pg_conf_load_time() + interval '1 second' END)
    THEN
        RETURN 'commands that began before counter_ext.node was reloaded';
    END IF;
    PERFORM counter_ext.check_node_names();
    IF counter_ext.end_strange_subscriptions() THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(peers) LOOP
        asked := counter_ext.node_of_peer(node, peers[i]);
        IF asked.problem IS NOT NULL THEN
            waits_for := coalesce(waits_for, asked.problem);
            CONTINUE;
        END IF;
        IF asked.number = ANY (numbers) THEN
            RAISE EXCEPTION 'two of the peers are node %', asked.number
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name each server once, and give each a number of its own.';
        END IF;
        numbers := array_append(numbers, asked.number);
        slots := array_append(slots, asked.slot);
        states := array_append(states, asked.slot_state);
        published := array_append(published, asked.published::text);
        unpublished := array_append(unpublished, asked.unpublished::text);
        reachable := array_append(reachable, peers[i]);
    END LOOP;

    -- What has been missed cannot be had any more: it is copied once more, as a whole. Without a subscription that is so whatever fails from here on.
    FOR i IN 1 .. cardinality(numbers) LOOP
        IF coalesce(states[i], 'lost') = 'lost' AND counter_ext.is_subscribed_to_node(numbers[i]) THEN
            PERFORM counter_ext.unsubscribe_from_node(numbers[i]);
            copies_anew := true;
        END IF;
    END LOOP;
    IF copies_anew THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(numbers) LOOP
        fresh := array_append(fresh, NOT counter_ext.is_subscribed_to_node(numbers[i]));
        IF NOT fresh[i] THEN
            CONTINUE;
        END IF;
        other := (SELECT min(n) FROM unnest(published[i]::integer[]) AS n
            WHERE n <> numbers[i] AND (n = node OR n = ANY (numbers) OR counter_ext.is_subscribed_to_node(n)));
        IF other IS NOT NULL THEN
            waits_for := coalesce(waits_for, format('node %s to hand on no longer what node %s has counted: call counter_node_setup there, or counter_node_leave(%s) here where that one has left',
                numbers[i], other, other));
            fresh[i] := false;
            CONTINUE;
        END IF;
        other := (SELECT min(n) FROM unnest(unpublished[i]::integer[]) AS n WHERE n <> node AND n <> ALL (numbers));
        IF other IS NOT NULL THEN
            waits_for := coalesce(waits_for,
                format('node %s to hand on what node %s has counted, which has left: call counter_node_leave(%s) there', numbers[i], other, other));
            fresh[i] := false;
            CONTINUE;
        END IF;
        IF states[i] = 'lost' THEN
            PERFORM counter_ext.drop_node_slot(reachable[i], slots[i]);
        END IF;
        IF coalesce(states[i], 'lost') = 'lost' THEN
            PERFORM counter_ext.make_node_slot(reachable[i], slots[i]);
        END IF;
    END LOOP;

    PERFORM counter_ext.number_own_rows(node);
    publishes_less := counter_ext.publish_node(node, numbers, false);
    IF NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = node_step.node AND m.left_at IS NULL) THEN
        PERFORM counter_ext.number_counters_of_likes(node);
        INSERT INTO counter_ext.like_of_node (item, actor, node, is_liked, version, at)
            SELECT l.item, l.actor, node_step.node, true, 1, l.at FROM counter_ext.liked l ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO counter_ext.member AS m (node, version)
        SELECT node_step.node, e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext'
        ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET version = excluded.version, left_at = NULL
        WHERE m.version <> excluded.version OR m.left_at IS NOT NULL;
    IF publishes_less THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(numbers) LOOP
        IF fresh[i] THEN
            -- What this node hands on itself stays: its going would be handed on too.
            gone := ARRAY(SELECT n FROM unnest(numbers[i] || published[i]::integer[]) AS n
                WHERE n = numbers[i] OR n <> ALL (coalesce(counter_ext.node_published('total'), '{}')));
            DELETE FROM counter_ext.total t WHERE t.node = ANY (gone);
            DELETE FROM counter_ext.visitors v WHERE v.node = ANY (gone);
            DELETE FROM counter_ext.member m WHERE m.node = ANY (gone);
            DELETE FROM counter_ext.like_of_node l WHERE l.node = ANY (gone);
            UPDATE counter_ext.drop_request r SET is_stale = true WHERE r.node = numbers[i];
            UPDATE counter_ext.member m SET copied = array_remove(m.copied, numbers[i]) WHERE m.node = node_step.node;
            PERFORM counter_ext.subscribe_to_node(numbers[i], reachable[i], slots[i]);
        END IF;
    END LOOP;

    SELECT coalesce(array_agg(n ORDER BY n), '{}') INTO complete FROM unnest(numbers) AS n
        WHERE (SELECT bool_and(r.srsubstate IN ('s', 'r')) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
               JOIN pg_database d ON d.oid = s.subdbid
               WHERE d.datname = current_database() AND s.subname = 'counter_node_' || n);
    UPDATE counter_ext.member m SET copied = complete WHERE m.node = node_step.node AND NOT m.copied @> complete;
    DELETE FROM counter_ext.drop_request r WHERE r.node = ANY (complete) AND r.is_stale;
    IF waits_for IS NULL THEN
        SELECT CASE WHEN NOT n = ANY (complete) THEN format('the first copy of what node %s has', n)
                    ELSE format('node %s to copy what this node has', n) END
            INTO waits_for FROM unnest(numbers) AS n
            WHERE NOT n = ANY (complete)
                OR NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = n AND node_step.node = ANY (m.copied))
            ORDER BY n LIMIT 1;
    END IF;
    IF waits_for IS NULL THEN
        PERFORM counter_ext.publish_node(node, numbers, true);
    END IF;
    RETURN waits_for;
END
$$;

CREATE PROCEDURE counter_node_setup(node integer, peers text[] DEFAULT '{}', dry_run boolean DEFAULT false,
    patience interval DEFAULT interval '5 minutes')
    LANGUAGE plpgsql AS $$
DECLARE
    line pg_catalog.text;
    waits_for pg_catalog.text;
    said pg_catalog.text;
    give_up pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) patience;
BEGIN
    PERFORM counter_ext.check_node_setup(node, peers);
    IF dry_run THEN
        FOR line IN SELECT p.p FROM counter_ext.node_plan(node, peers) AS p(p) LOOP
            RAISE NOTICE '%', line;
        END LOOP;
        RETURN;
    END IF;
    LOOP
        COMMIT;
        waits_for := counter_ext.node_step(node, peers);
        COMMIT;
        EXIT WHEN waits_for IS NULL;
        CONTINUE WHEN waits_for OPERATOR(pg_catalog.=) '';
        IF said IS NULL OR said OPERATOR(pg_catalog.<>) waits_for THEN
            RAISE NOTICE 'node % waits for: %', node, waits_for;
            said := waits_for;
        END IF;
        IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) give_up THEN
            RAISE EXCEPTION 'node % is not ready: it waits for: %', node, waits_for
                USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'What was made stays. Call counter_node_setup on every node, and here again.';
        END IF;
        PERFORM pg_catalog.pg_sleep(0.2);
    END LOOP;
    RAISE NOTICE 'node % is ready', node;
END
$$;

-- Ends what this node takes from one node, or from all; returns where slots are left to be dropped.
CREATE OR REPLACE FUNCTION counter_ext.node_unsubscribe(which integer, OUT parameters text, OUT slot text) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
BEGIN
    PERFORM counter_ext.check_node_names();
    FOR asked IN SELECT substring(s.subname FROM '^counter_node_([0-9]+)$')::integer AS number, s.subconninfo, s.subslotname
        FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$'
    LOOP
        IF which IS NULL OR asked.number = which THEN
            PERFORM counter_ext.unsubscribe_from_node(asked.number);
            parameters := asked.subconninfo;
            slot := asked.subslotname;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF which IS NULL THEN
        -- All others have them.
        DELETE FROM counter_ext.drop_request r WHERE r.node = current_setting('counter_ext.node')::integer;
    END IF;
END
$$;

-- Nodes that have not taken what this one wrote up to a place in the log.
CREATE OR REPLACE FUNCTION counter_ext.nodes_behind(upto pg_lsn) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(substring(s.slot_name FROM '^counter_node_([0-9]+)_of_'), ', ' ORDER BY s.slot_name)
        FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
        WHERE s.database = current_database() AND s.slot_name ~ ('^counter_node_[0-9]+_of_' || d.oid || '$')
            AND (upto IS NULL OR s.confirmed_flush_lsn < upto)
$$;

CREATE PROCEDURE counter_node_leave(node integer DEFAULT NULL, patience interval DEFAULT interval '5 minutes')
    LANGUAGE plpgsql AS $$
DECLARE
    own pg_catalog.int4 := pg_catalog.current_setting('counter_ext.node')::pg_catalog.int4;
    is_own pg_catalog.bool := node IS NULL OR node OPERATOR(pg_catalog.=) own;
    give_up pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) patience;
    compact pg_catalog.text;
    upto pg_catalog.pg_lsn;
    behind pg_catalog.text;
    slots pg_catalog.text[];
    parameters pg_catalog.text[];
BEGIN
    PERFORM counter_ext.check_may_set_up_nodes();
    IF own OPERATOR(pg_catalog.=) 0 THEN
        RAISE EXCEPTION 'this server is no node' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'counter_ext.node is 0.';
    END IF;
    PERFORM counter_ext.check_node_names();
    UPDATE counter_ext.member m SET (left_at, copied) = ROW (pg_catalog.now(), '{}')
        WHERE m.left_at IS NULL
            AND m.node OPERATOR(pg_catalog.=) CASE WHEN is_own THEN own ELSE counter_node_leave.node END;
    COMMIT;
    IF is_own THEN
        -- What it has counted stays counted elsewhere, so it has to get there.
        -- By the schema that it is in now: ALTER EXTENSION may have moved it.
        SELECT pg_catalog.format('SELECT %I.counter_compact()', n.nspname) INTO compact FROM pg_catalog.pg_extension e
            JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
            WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext';
        EXECUTE compact;
        COMMIT;
        upto := pg_catalog.pg_current_wal_lsn();
        LOOP
            behind := counter_ext.nodes_behind(upto);
            COMMIT;
            EXIT WHEN behind IS NULL;
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) give_up THEN
                RAISE EXCEPTION 'node % cannot leave: what it has counted has not reached node %', own, behind
                    USING ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'Call it again once that node takes it, or call counter_node_leave(that node) here if it is gone for good.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.2);
        END LOOP;
    END IF;
    SELECT pg_catalog.array_agg(u.parameters), pg_catalog.array_agg(u.slot) INTO parameters, slots
        FROM counter_ext.node_unsubscribe(CASE WHEN is_own THEN NULL ELSE counter_node_leave.node END) AS u;
    COMMIT;
    PERFORM counter_ext.drop_node_slots(parameters, slots, give_up);
    IF NOT is_own THEN
        PERFORM counter_ext.inherit_from_node(own, counter_node_leave.node);
    ELSE
        behind := counter_ext.nodes_behind(NULL);
        IF behind IS NULL THEN
            PERFORM counter_ext.unpublish_node();
        ELSE
            RAISE NOTICE 'node % has left; call counter_node_leave(%) on node %', own, own, behind;
        END IF;
    END IF;
END
$$;

-- Slots of subscriptions that are gone. One whose server cannot be reached, or that stays in use until the time that is given, is told of: it keeps that
-- server's log until it is dropped.
CREATE OR REPLACE FUNCTION counter_ext.drop_node_slots(parameters text[], slots text[], give_up timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text;
    is_reached boolean;
BEGIN
    FOR i IN 1 .. coalesce(cardinality(slots), 0) LOOP
        LOOP
            problem := NULL;
            is_reached := true;
            BEGIN
                PERFORM counter_ext.drop_node_slot(parameters[i], slots[i]);
            EXCEPTION
                WHEN sqlclient_unable_to_establish_sqlconnection THEN
                    problem := SQLERRM;
                    is_reached := false;
                WHEN connection_exception THEN
                    problem := SQLERRM;
                -- What is no connection string is an error of its own from PostgreSQL 16 on.
                WHEN syntax_error THEN
                    problem := 'could not establish connection';
                    is_reached := false;
            END;
            EXIT WHEN problem IS NULL OR NOT is_reached OR clock_timestamp() > give_up;
            -- Whoever used it may take a moment to end.
            PERFORM pg_sleep(0.1);
        END LOOP;
        IF problem IS NOT NULL THEN
            RAISE WARNING 'replication slot "%" could not be dropped: %', slots[i], problem
                USING HINT = 'Drop it on that server with pg_drop_replication_slot(), or it will keep its WAL.';
        END IF;
    END LOOP;
END
$$;

-- A node is gone: what it has counted is handed on, and its slot keeps no log any more.
CREATE OR REPLACE FUNCTION counter_ext.inherit_from_node(own integer, node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM counter_ext.check_node_names();
    IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'counter_node')
        AND NOT EXISTS (SELECT FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$' AND r.srsubstate NOT IN ('s', 'r'))
    THEN
        PERFORM counter_ext.publish_node(own, '{}', true);
    END IF;
    BEGIN
        PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
            WHERE d.datname = current_database() AND s.slot_name = format('counter_node_%s_of_%s', node, d.oid) AND NOT s.active;
    EXCEPTION WHEN object_in_use THEN
        -- Then the node is not gone, and drops the slot itself when it leaves.
        NULL;
    END;
END
$$;

-- Called on every node. Errors: 22004; 42501; 55000 this server, or the one named, is no node.
CREATE OR REPLACE FUNCTION counter_node_harvester(node integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer := current_setting('counter_ext.node')::integer;
BEGIN
    IF node IS NULL THEN
        RAISE EXCEPTION 'argument "node" is NULL' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'A harvester can be replaced by another one, but not by none: what it took for all nodes stands in its own rows.';
    END IF;
    PERFORM counter_ext.check_may_set_up_nodes();
    -- Whoever takes amounts by what was said before has committed, and so comes first on all nodes.
    LOCK TABLE counter_ext.member IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = counter_node_harvester.node AND m.left_at IS NULL) THEN
        RAISE EXCEPTION 'there is no node %', node USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Call counter_node_setup there and here first.';
    END IF;
    UPDATE counter_ext.member m SET harvester = counter_node_harvester.node WHERE m.node = own AND m.left_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this server is no node' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call counter_node_setup first.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION counter_ext.is_subscribed_to_node(node integer) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || node)
$$;

-- What a node publishes: its own rows, and those of nodes that have left and whose heir it is; of counters not those of likes, which each node counts
-- from the rows that it has.
CREATE OR REPLACE FUNCTION counter_ext.node_publishes(node integer, heir_of integer[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('TABLE counter_ext.total WHERE (node = ANY (ARRAY[%1$s]) AND ascii(id) <> 1), TABLE counter_ext.visitors WHERE (node = ANY (ARRAY[%1$s])), '
        'TABLE counter_ext.member WHERE (node = ANY (ARRAY[%1$s])), TABLE counter_ext.like_of_node WHERE (node = ANY (ARRAY[%1$s])), '
        'TABLE counter_ext.drop_request WHERE (node = ANY (ARRAY[%2$s]))', array_to_string(node || heir_of, ', '), node)
$$;

-- The tables that nodes send each other.
CREATE OR REPLACE FUNCTION counter_ext.node_relations() RETURNS oid[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY['counter_ext.total'::regclass, 'counter_ext.visitors'::regclass, 'counter_ext.member'::regclass, 'counter_ext.like_of_node'::regclass,
        'counter_ext.drop_request'::regclass]::oid[]
$$;

-- Publications and subscriptions are in no schema, so whoever may make some may have taken the names of ours: his publication would have the other nodes write
-- whatever tables he adds, with the rights of a superuser before PostgreSQL 16, and his subscription would have this server connect where he says.
-- Errors: 55000 one of that name is not a superuser's.
CREATE OR REPLACE FUNCTION counter_ext.check_node_names() RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner name;
    taken name;
BEGIN
    SELECT r.rolname INTO owner FROM pg_publication p JOIN pg_roles r ON r.oid = p.pubowner WHERE p.pubname = 'counter_node' AND NOT r.rolsuper;
    IF FOUND THEN
        RAISE EXCEPTION 'publication "counter_node" belongs to role "%", which is no superuser', owner
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have the other nodes take any of its tables.',
            HINT = 'Run DROP PUBLICATION counter_node, or ALTER PUBLICATION counter_node OWNER TO a superuser, and call it again.';
    END IF;
    SELECT s.subname, r.rolname INTO taken, owner FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid JOIN pg_roles r ON r.oid = s.subowner
        WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$' AND NOT r.rolsuper ORDER BY s.subname LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'subscription "%" belongs to role "%", which is no superuser', taken, owner
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have this server connect anywhere.',
            HINT = format('Run ALTER SUBSCRIPTION %1$s DISABLE, ALTER SUBSCRIPTION %1$s SET (slot_name = NONE) and DROP SUBSCRIPTION %1$s, and call it again.', taken);
    END IF;
END
$$;

-- What a subscription takes beside the tables that nodes send each other, by names; NULL where that is nothing.
CREATE OR REPLACE FUNCTION counter_ext.subscribed_strangers(node integer) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(r.srrelid::regclass::text, ', ' ORDER BY r.srrelid) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
        JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || node AND r.srrelid <> ALL (counter_ext.node_relations())
$$;

-- Whose rows the publication has, by the name of a table.
CREATE OR REPLACE FUNCTION counter_ext.node_published(relation name) RETURNS integer[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_to_array(substring(p.rowfilter, 'ARRAY[[]([0-9, ]+)[]]'), ', ')::integer[] FROM pg_publication_tables p
        WHERE p.pubname = 'counter_node' AND p.schemaname = 'counter_ext' AND p.tablename = relation
$$;

-- The nodes that have left and whose rows this one hands on, so that who joins later has them: all, on the lowest of those that have not left. Not those
-- that are `back`, nor those that this one still takes from.
CREATE OR REPLACE FUNCTION counter_ext.node_is_heir_of(node integer, back integer[]) RETURNS integer[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(m.node ORDER BY m.node), '{}') FROM counter_ext.member m
        WHERE m.left_at IS NOT NULL AND m.node <> $1 AND m.node <> ALL (back) AND NOT counter_ext.is_subscribed_to_node(m.node)
            AND NOT EXISTS (SELECT FROM counter_ext.member o WHERE o.left_at IS NULL AND o.node < $1)
$$;

-- Brings the publication to what it should have; what is new of other nodes where it `may_add` that: their rows are here as a whole, and none is about to be
-- deleted. Returns whether it has less than before: what the same transaction deletes could still go out.
CREATE OR REPLACE FUNCTION counter_ext.publish_node(node integer, back integer[], may_add boolean) RETURNS boolean
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    earlier integer[] := coalesce(counter_ext.node_published('total'), '{}');
    heir_of integer[] := ARRAY(SELECT n FROM unnest(counter_ext.node_is_heir_of(node, back)) AS n WHERE may_add OR n = ANY (earlier));
    is_right boolean;
    present record;
BEGIN
    PERFORM counter_ext.check_node_names();
    SELECT p.oid, p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete AND NOT p.pubtruncate AND NOT p.pubviaroot AS has_options
        INTO present FROM pg_publication p WHERE p.pubname = 'counter_node';
    -- One of all tables cannot be changed into one of some.
    IF present.puballtables THEN
        DROP PUBLICATION counter_node;
    END IF;
    IF present.oid IS NULL OR present.puballtables THEN
        EXECUTE format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'')', counter_ext.node_publishes(node, heir_of));
        RETURN present.oid IS NOT NULL;
    END IF;
    IF NOT present.has_options THEN
        ALTER PUBLICATION counter_node SET (publish = 'insert, update, delete', publish_via_partition_root = false);
    END IF;
    -- A dump does not say what it publishes; or the number is another one; or somebody has left, or is back; or somebody has added what is none of ours.
    is_right := NOT EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = present.oid)
        AND NOT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = present.oid
            AND (r.prattrs IS NOT NULL OR r.prrelid <> ALL (counter_ext.node_relations())))
        AND (SELECT bool_and(counter_ext.node_published(r.relation) IS NOT DISTINCT FROM r.nodes)
            FROM (VALUES ('total'::name, node || heir_of), ('visitors', node || heir_of), ('member', node || heir_of), ('like_of_node', node || heir_of),
                ('drop_request', ARRAY[node])) AS r (relation, nodes));
    IF NOT is_right THEN
        EXECUTE format('ALTER PUBLICATION counter_node SET %s', counter_ext.node_publishes(node, heir_of));
    END IF;
    RETURN NOT earlier <@ (node || heir_of);
END
$$;

CREATE OR REPLACE FUNCTION counter_ext.unpublish_node() RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM counter_ext.check_node_names();
    IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'counter_node') THEN
        DROP PUBLICATION counter_node;
    END IF;
END
$$;

-- Its slot is left to the caller: PostgreSQL would drop it outside this transaction.
CREATE OR REPLACE FUNCTION counter_ext.unsubscribe_from_node(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s DISABLE', node);
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s SET (slot_name = NONE)', node);
    EXECUTE format('DROP SUBSCRIPTION counter_node_%s', node);
END
$$;

-- What the peer has said of its publication need not be what it sends, or may be otherwise by now: so before anything is taken, this server looks at what
-- that would be. The context of an error in it would show the whole command, and with it a password. Errors: 55000 it would not be counters, all of them and nothing else.
CREATE OR REPLACE FUNCTION counter_ext.subscribe_to_node(number integer, peer text, slot text) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
    strangers text;
    taken bigint;
BEGIN
    BEGIN
        EXECUTE format('CREATE SUBSCRIPTION counter_node_%s CONNECTION %L PUBLICATION counter_node WITH (create_slot = false, slot_name = %L, enabled = false)',
            number, peer, slot);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message || CASE detail WHEN '' THEN '' ELSE format(' (%s)', detail) END,
            HINT = coalesce(nullif(hint, ''), 'What was made stays. Call counter_node_setup again when that has changed.');
    END;
    -- The error takes the subscription back.
    strangers := counter_ext.subscribed_strangers(number);
    IF strangers IS NOT NULL THEN
        RAISE EXCEPTION 'node % publishes what is no counter: %', number, strangers
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Nothing was taken. Call counter_node_setup there, and here again.';
    END IF;
    taken := (SELECT count(*) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || number);
    IF taken <> cardinality(counter_ext.node_relations()) THEN
        RAISE EXCEPTION 'node % does not publish all that its counters need', number
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Nothing was taken. Call counter_node_setup there, and here again.';
    END IF;
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s ENABLE', number);
END
$$;

-- Ends subscriptions to nodes that take what is no counter, as somebody may have had them do with REFRESH PUBLICATION; returns whether there
-- was one.
CREATE OR REPLACE FUNCTION counter_ext.end_strange_subscriptions() RETURNS boolean
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    strange record;
    is_one boolean := false;
BEGIN
    FOR strange IN SELECT u.number, counter_ext.subscribed_strangers(u.number) AS relations
        FROM (SELECT substring(s.subname FROM '^counter_node_([0-9]+)$')::integer AS number FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$') AS u
    LOOP
        IF strange.relations IS NOT NULL THEN
            PERFORM counter_ext.unsubscribe_from_node(strange.number);
            RAISE WARNING 'subscription "counter_node_%" is dropped, since it took what is no counter: %', strange.number, strange.relations
                USING HINT = format('The slot of node %s keeps its log until counter_node_setup here names that node.', strange.number);
            is_one := true;
        END IF;
    END LOOP;
    RETURN is_one;
END
$$;

-- Amounts on their way to another node: taken from counters here, in the transaction that writes the row, and given to that node, which counts each batch
-- once. Written by the worker.
CREATE SEQUENCE counter_ext.moving_batch;

CREATE TABLE counter_ext.moving (
    batch bigint NOT NULL DEFAULT pg_catalog.nextval('counter_ext.moving_batch'),
    -- The node's group, as Citus numbers it: a batch goes where it was first sent, even if the ids have moved on meanwhile.
    target integer NOT NULL,
    ids text[] NOT NULL,
    amounts bigint[] NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (batch)
);

SELECT pg_catalog.pg_extension_config_dump('counter_ext.moving', '');

SELECT pg_catalog.pg_extension_config_dump('counter_ext.moving_batch', '');

COMMENT ON TABLE counter_ext.moving IS 'amounts of counters on their way to the node that has them now';

-- What these rows say, the worker does: only who owns the table writes them by hand.
CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.moving
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();

CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.moving
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();

ALTER TABLE counter_ext.moving ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;

-- Shards of other nodes, and how far this node has come with giving away what it has of them.
CREATE TABLE counter_ext.shard_vacated (
    shard bigint NOT NULL,
    placed text NOT NULL,
    -- noted: transactions that may go by where it was before are not known yet. waiting: they are, and some may be open. free: they have ended.
    -- empty: no row was found since.
    state text NOT NULL CHECK (state IN ('noted', 'waiting', 'free', 'empty')),
    -- Those transactions, by their virtual ids: they had tokens, sources or likes locked once the shard had moved.
    writers text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (shard)
);

COMMENT ON TABLE counter_ext.shard_vacated IS 'shards of other nodes; this node has nothing of those that are empty';

-- Shards of this node that no other node has anything of any more.
CREATE TABLE counter_ext.shard_arrived (
    shard bigint NOT NULL,
    placed text NOT NULL,
    PRIMARY KEY (shard)
);

COMMENT ON TABLE counter_ext.shard_arrived IS 'shards of this node that no other node has anything of any more';

CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_vacated
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();

CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_vacated
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();

ALTER TABLE counter_ext.shard_vacated ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;

CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_arrived
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();

CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_arrived
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();

ALTER TABLE counter_ext.shard_arrived ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;

-- Where the shards are that say whose each id is, and whether everything of them has arrived there as far as this node knows. No rows where nothing is
-- spread. STABLE: it sees what its caller's statement sees.
CREATE OR REPLACE FUNCTION counter_ext.placed_shards()
    RETURNS TABLE (shard bigint, placed text, least_hash text, most_hash text, node_group integer, own_group integer, has_arrived boolean)
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT s.shardid, p.xmin::text, s.shardminvalue, s.shardmaxvalue, p.groupid, l.groupid,
            EXISTS (SELECT FROM counter_ext.shard_arrived a WHERE a.shard = s.shardid AND a.placed = p.xmin::text)
        FROM pg_catalog.pg_dist_shard s JOIN pg_catalog.pg_dist_placement p ON p.shardid = s.shardid AND p.shardstate = 1 CROSS JOIN pg_catalog.pg_dist_local_group l
        WHERE s.logicalrelid = to_regclass('counter_ext.shard_of_id');
END
$$;

-- Errors: 25006 a standby; 42501; 55000 there is no cluster here, or this node is not its coordinator.
CREATE OR REPLACE FUNCTION counter_ext.check_citus(function text, on_coordinator boolean) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no extension "citus"' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Counters are spread over nodes by Citus: put citus before counter_ext in shared_preload_libraries, run CREATE EXTENSION citus, '
                'and add nodes with citus_add_node(). One server needs none of this.';
    END IF;
    IF NOT on_coordinator THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper) THEN
        RAISE EXCEPTION 'permission denied for function %', function
            USING ERRCODE = 'insufficient_privilege', HINT = 'It changes what all nodes do: have a superuser call it.';
    END IF;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'cannot execute %() during recovery', function USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    SELECT l.groupid INTO own FROM pg_catalog.pg_dist_local_group l;
    IF own <> 0 THEN
        RAISE EXCEPTION 'this node is not the coordinator of its cluster, but that of group %', own
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Call %s() on the coordinator.', function);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_dist_node n WHERE n.isactive AND n.noderole = 'primary' AND n.shouldhaveshards) THEN
        RAISE EXCEPTION 'the cluster has no node that may have shards' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add one with citus_add_node(), or let the coordinator have shards with citus_set_node_property().';
    END IF;
END
$$;

-- Runs a query of one value on the nodes of some groups, NULL for all; each over a connection of its own, as the caller.
CREATE OR REPLACE FUNCTION counter_ext.on_nodes(command text, groups bigint[])
    RETURNS TABLE (group_id integer, node text, succeeded boolean, answer text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        RETURN;
    END IF;
    -- There need be no such function where this one is made.
    RETURN QUERY EXECUTE
        'SELECT n.groupid, n.nodename || '':'' || n.nodeport, r.success, r.result
            FROM (SELECT array_agg(d.nodename) AS names, array_agg(d.nodeport) AS ports, array_agg($1) AS commands FROM pg_catalog.pg_dist_node d
                  WHERE d.isactive AND d.noderole = ''primary'' AND ($2 IS NULL OR d.groupid = ANY ($2))) AS a,
                LATERAL master_run_on_worker(a.names, a.ports, a.commands, true) AS r (name, port, success, result)
                JOIN pg_catalog.pg_dist_node n ON n.nodename = r.name AND n.nodeport = r.port
            WHERE a.names IS NOT NULL ORDER BY n.groupid'
        USING command, groups;
END
$$;

-- Calls a function on the nodes of some groups, in a transaction that is on their disks before they answer. Whoever waits for an answer holds
-- something that they may need: they give up after five seconds of waiting for a lock.
CREATE OR REPLACE FUNCTION counter_ext.call_on_nodes(call text, groups bigint[])
    RETURNS TABLE (group_id integer, node text, succeeded boolean, answer text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM counter_ext.on_nodes(format('SELECT %s FROM pg_catalog.set_config(''synchronous_commit'', ''on'', true) AS flushed, '
        'pg_catalog.set_config(''lock_timeout'', ''5s'', true) AS bounded', call), groups)
$$;

-- Functions of ours that Citus can send on: those whose first argument is an id, of a type that is one text or becomes one.
CREATE OR REPLACE FUNCTION counter_ext.functions_by_id() RETURNS SETOF regprocedure
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'counter_ext'
        WHERE p.prokind = 'f' AND (
            p.proargtypes[0] IN ('text'::regtype, 'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'uuid'::regtype,
                (SELECT t.oid FROM pg_type t WHERE t.typname = 'counter' AND t.typnamespace = e.extnamespace))
            AND p.proname IN ('counter_add', 'counter_allow', 'counter_audit_verify', 'counter_drop', 'counter_filtered', 'counter_get',
                'counter_get_exact', 'counter_incr', 'counter_incr_at', 'counter_incr_from', 'counter_incr_once', 'counter_info', 'counter_like',
                'counter_liked', 'counter_likes', 'counter_limit', 'counter_limit_refund', 'counter_limit_reset', 'counter_rate',
                'counter_reset', 'counter_set', 'counter_total', 'counter_unlike', 'counter_visit', 'counter_visited',
                'counter_visitors', 'counter_visitors_add')
            AND p.pronamespace = e.extnamespace
            OR p.proname IN ('advance_source_here', 'get_many_here', 'incr_many_here', 'visitors_here')
            AND p.pronamespace = 'counter_ext'::regnamespace)
        ORDER BY p.oid
$$;

-- Who may do what with our tables: the rights that were granted, but for the owner's own.
CREATE OR REPLACE FUNCTION counter_ext.table_grants() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(json_agg(json_build_object('table', c.relname, 'role', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
            'right', a.privilege_type, 'grantable', a.is_grantable) ORDER BY c.relname, a.grantee, a.privilege_type), '[]')
        FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'counter_ext',
        aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND a.grantee <> c.relowner
$$;

-- Makes the rights on our tables those of another node. Called there by counter_citus_setup(). Errors: 42704 a role is missing.
CREATE OR REPLACE FUNCTION counter_ext.take_table_grants(grants json) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command text;
    changes bigint := 0;
BEGIN
    FOR command IN
        WITH wanted AS (SELECT w::jsonb AS g FROM json_array_elements(grants) AS w),
            present AS (SELECT h::jsonb AS g FROM json_array_elements(counter_ext.table_grants()) AS h)
        SELECT format('REVOKE %s ON TABLE counter_ext.%I FROM %s', g->>'right', g->>'table', coalesce(quote_ident(g->>'role'), 'PUBLIC'))
            FROM (SELECT g FROM present EXCEPT SELECT g FROM wanted) AS gone
        UNION ALL
        SELECT format('GRANT %s ON TABLE counter_ext.%I TO %s%s', g->>'right', g->>'table', coalesce(quote_ident(g->>'role'), 'PUBLIC'),
                CASE WHEN (g->>'grantable')::boolean THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM (SELECT g FROM wanted EXCEPT SELECT g FROM present) AS new
    LOOP
        EXECUTE command;
        changes := changes + 1;
    END LOOP;
    RETURN changes;
END
$$;

-- Errors: those of counter_ext.check_citus; 55000 a node has not got this version of the extension, or has caches; 08006 one does not answer.
CREATE OR REPLACE FUNCTION counter_citus_setup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    extension record;
    asked record;
    each regprocedure;
    group_of_shards integer;
    is_sent_on boolean;
BEGIN
    PERFORM counter_ext.check_citus('counter_citus_setup', true);
    SELECT e.extversion, quote_ident(n.nspname) AS schema INTO extension
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'counter_ext';
    FOR asked IN SELECT * FROM counter_ext.on_nodes(
        'SELECT coalesce((SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) ''counter_ext''), ''none'')', NULL)
    LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'node % does not answer: %', asked.node, asked.answer USING ERRCODE = 'connection_failure';
        ELSIF asked.answer <> extension.extversion THEN
            RAISE EXCEPTION 'node % has version % of counter_ext, the coordinator %', asked.node, asked.answer, extension.extversion
                USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Install the same version on all nodes. Where it is missing, run SET citus.enable_ddl_propagation = off and CREATE EXTENSION counter_ext there.';
        END IF;
    END LOOP;
    FOR asked IN SELECT * FROM counter_ext.on_nodes(format('SELECT pg_catalog.count(*) FROM %s.counter_caches', extension.schema), NULL) LOOP
        IF asked.answer <> '0' THEN
            RAISE EXCEPTION 'node % has % counter caches', asked.node, asked.answer USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'The counters of a cache would not be where its rows are. Call counter_uncache() for each row of the view counter_caches first.';
        END IF;
    END LOOP;

    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT pg_catalog.current_setting(''counter_ext.node'')', NULL) LOOP
        IF asked.answer <> '0' THEN
            RAISE EXCEPTION 'node % is number % of several that count the same counters', asked.node, asked.answer
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Counters are either on all nodes or spread over them: let it leave first, and set counter_ext.node to 0.';
        END IF;
    END LOOP;

    -- In one connection to each node, so that what is made can be used at once.
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    IF to_regclass('counter_ext.shard_of_id') IS NULL THEN
        CREATE TABLE counter_ext.shard_of_id (id text NOT NULL);
        COMMENT ON TABLE counter_ext.shard_of_id IS 'has no rows: an id is on the node that has this table''s shard for it';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = 'counter_ext.shard_of_id'::regclass) THEN
        PERFORM create_distributed_table('counter_ext.shard_of_id', 'id', colocate_with := 'none');
    END IF;
    SELECT p.colocationid INTO group_of_shards FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = 'counter_ext.shard_of_id'::regclass;
    FOR each IN SELECT * FROM counter_ext.functions_by_id() LOOP
        SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_object o WHERE o.classid = 'pg_proc'::regclass AND o.objid = each
            AND o.colocationid = group_of_shards AND o.force_delegation) INTO is_sent_on;
        IF NOT is_sent_on THEN
            PERFORM create_distributed_function(each, '$1', colocate_with := 'counter_ext.shard_of_id', force_delegation := true);
        END IF;
    END LOOP;

    FOR asked IN SELECT * FROM counter_ext.on_nodes(
        format('SELECT counter_ext.take_table_grants(%L)', counter_ext.table_grants()),
        (SELECT array_agg(n.groupid) FROM pg_catalog.pg_dist_node n WHERE n.groupid <> 0))
    LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'rights could not be granted on node %: %', asked.node, asked.answer
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Make the same roles on all nodes, and call it again.';
        END IF;
    END LOOP;

    -- A coordinator without shards has no counters: nothing is to be counted there, also by sessions that begin before they know of the shards.
    IF EXISTS (SELECT FROM counter_ext.placed_shards() AS s WHERE s.node_group = 0) THEN
        PERFORM counter_ext.set_serve(NULL);
    ELSE
        PERFORM counter_ext.set_serve('off');
    END IF;
    -- They bring what was counted before to where it belongs, and ask whether all of that has come.
    PERFORM FROM counter_ext.on_nodes('SELECT counter_ext.want_pass()', NULL);
END
$$;

-- Brings batches to the nodes that they are for, each once; says what was in the way, if anything, and whether there are more for those that took
-- some. Called by the worker, once the transaction that wrote the batches has committed.
CREATE OR REPLACE FUNCTION counter_ext.deliver_moving(OUT problem text, OUT goes_on boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- For each node: one that does not answer keeps nothing from the others.
    most CONSTANT integer := 100;
    source text := (SELECT format('counter_ext.moving %s %s', s.system_identifier, d.oid)
        FROM pg_control_system() AS s, pg_database d WHERE d.datname = current_database());
    piece record;
    asked record;
    failed integer[] := '{}';
    delivered integer[] := '{}';
BEGIN
    goes_on := false;
    FOR piece IN SELECT m.* FROM counter_ext.moving m WHERE m.batch IN (
            SELECT n.batch FROM (SELECT o.batch, row_number() OVER (PARTITION BY o.target ORDER BY o.batch) AS nth FROM counter_ext.moving o) AS n
            WHERE n.nth <= most) ORDER BY m.batch
    LOOP
        CONTINUE WHEN piece.target = ANY (failed);
        SELECT * INTO asked FROM counter_ext.call_on_nodes(
            format('counter_ext.take_moved(%L, %L, %L, %L)', source, piece.batch, piece.ids, piece.amounts), ARRAY[piece.target]);
        IF asked.succeeded THEN
            DELETE FROM counter_ext.moving m WHERE m.batch = piece.batch;
            delivered := delivered || piece.target;
        ELSE
            problem := coalesce(asked.answer, format('there is no node of group %s', piece.target));
            failed := failed || piece.target;
        END IF;
    END LOOP;
    goes_on := EXISTS (SELECT FROM counter_ext.moving m WHERE m.target = ANY (delivered) AND m.target <> ALL (failed));
END
$$;

-- Transactions, by their virtual ids, that have a table locked for writing whose rows must not be looked for in vain. Vacuum is none of them.
CREATE OR REPLACE FUNCTION counter_ext.writers_of_rows() RETURNS text[]
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        AND l.relation IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname ~ '^(token|source_offset|liked(_[0-9]+)?)$')
        AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND l.pid IS DISTINCT FROM pg_backend_pid()
$$;

-- How many shards of other nodes there are that this node may have something of, or that are not noted as they are placed now; but for those that
-- are named.
CREATE OR REPLACE FUNCTION counter_ext.shards_not_vacated(others bigint[]) RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM counter_ext.placed_shards() AS s WHERE s.node_group <> s.own_group
        AND NOT EXISTS (SELECT FROM counter_ext.shard_vacated v WHERE v.shard = s.shard AND v.placed = s.placed
            AND (v.state = 'empty' OR v.shard = ANY (others)))
$$;

-- Notes shards that are another node's now, and who may still go by where they were. Says of which shards it was noted before that nobody does any
-- more, and whether there is something to be noted at once. Each step is noted in a transaction of its own, which is on disk before the next one.
CREATE OR REPLACE FUNCTION counter_ext.note_vacated_shards(OUT free_shards bigint[], OUT goes_on boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_writers text[] := counter_ext.writers_of_rows();
    changed bigint;
BEGIN
    -- What these transactions did is on disk too, by the order of the log: what is moved now is not lost here by a crash while it is kept there.
    SELECT array_agg(v.shard) INTO free_shards FROM counter_ext.shard_vacated v WHERE v.state = 'free';
    -- A prepared transaction has another virtual id once the server was started again: it may be any of those.
    UPDATE counter_ext.shard_vacated v SET state = 'free', writers = '{}'
        WHERE v.state = 'waiting' AND NOT v.writers && now_writers
            AND (v.writers = '{}' OR NOT EXISTS (SELECT FROM unnest(now_writers) AS w WHERE starts_with(w, '-1/')));
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := changed > 0;
    -- The shard was noted in an earlier transaction: whoever locks one of these tables from now on knows that it has moved.
    UPDATE counter_ext.shard_vacated v SET state = 'waiting', writers = now_writers WHERE v.state = 'noted';
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := goes_on OR changed > 0;
    -- Until whoever moved a shard has given back his lock on the placements, other sessions may not have been told. A savepoint that is released gives
    -- back that of its id.
    INSERT INTO counter_ext.shard_vacated AS v (shard, placed, state)
        SELECT s.shard, s.placed, 'noted' FROM counter_ext.placed_shards() AS s WHERE s.node_group <> s.own_group
        AND NOT EXISTS (SELECT FROM counter_ext.shard_vacated v WHERE v.shard = s.shard AND v.placed = s.placed)
        AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = to_regclass('pg_catalog.pg_dist_placement')
            AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND l.mode = 'RowExclusiveLock')
        ON CONFLICT (shard) DO UPDATE SET placed = excluded.placed, state = excluded.state, writers = '{}';
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := goes_on OR changed > 0;
END
$$;

-- Rows that stay what they are, however often they come: those of ids that another node has go there, and then here. Says how many went, whether
-- there is more to do at once, of how many shards there may be more, how many rows the other node did not want any more, and what was in the way.
-- With `only_if_free` nothing is looked for while somebody may go by an old place. Called by the worker, at READ COMMITTED: each statement sees what
-- was committed before it.
-- Tokens, sources and likes stay until nobody goes by the old place of any shard: who looks for one in vain would do again what was done.
CREATE OR REPLACE FUNCTION counter_ext.move_rows(only_if_free boolean, OUT moved bigint, OUT goes_on boolean, OUT unfinished bigint, OUT unwanted bigint, OUT problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Of tokens and the like, and of sketches, which are larger.
    most CONSTANT integer := 5000;
    most_sketches CONSTANT integer := 1000;
    kind text;
    piece record;
    asked record;
    free_shards bigint[];
    is_free boolean;
    -- Groups of nodes that something was sent to, or could not be.
    busy integer[] := '{}';
    seen bigint := 0;
BEGIN
    moved := 0;
    unwanted := 0;
    -- A row that has gone must not come back after a crash: by then its shard may have arrived, and the row be an old one.
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT n.free_shards, n.goes_on INTO free_shards, goes_on FROM counter_ext.note_vacated_shards() AS n;
    is_free := counter_ext.shards_not_vacated(free_shards) = 0;
    IF only_if_free AND NOT is_free THEN
        unfinished := counter_ext.shards_not_vacated('{}');
        RETURN;
    END IF;
    -- One kind after the other: of those behind the first that has something nothing is read.
    FOREACH kind IN ARRAY ARRAY['likes', 'tokens', 'sources', 'visits', 'visitors'] LOOP
        FOR piece IN
            SELECT s.target, json_agg(s) AS rows FROM (
                SELECT counter_ext.owner_group(l.item) AS target, l.item, l.actor, l.at FROM counter_ext.liked l
                WHERE kind = 'likes' AND is_free AND counter_ext.owner_group(l.item) IS NOT NULL LIMIT most) AS s GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(t.id) AS target, t.token, t.id, t.at, t.delta FROM counter_ext.token t
                WHERE kind = 'tokens' AND is_free AND counter_ext.owner_group(t.id) IS NOT NULL LIMIT most) AS s GROUP BY s.target
            UNION ALL
            -- A node's own sources, by which it delivers what moves, are its own wherever they are.
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(o.source) AS target, o.* FROM counter_ext.source_offset o
                WHERE kind = 'sources' AND is_free AND counter_ext.owner_group(o.source) IS NOT NULL AND NOT starts_with(o.source, 'counter_ext.moving ') LIMIT most) AS s
                GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(v.id) AS target, v.id, v.day, v.slot, v.sketch::text AS sketch FROM counter_ext.visit v
                WHERE kind = 'visits' AND counter_ext.owner_group(v.id) IS NOT NULL LIMIT most_sketches) AS s GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(v.id) AS target, v.id, v.day, v.node, v.sketch::text AS sketch FROM counter_ext.visitors v
                WHERE kind = 'visitors' AND counter_ext.owner_group(v.id) IS NOT NULL LIMIT most_sketches) AS s GROUP BY s.target
        LOOP
            busy := busy || piece.target;
            seen := seen + json_array_length(piece.rows);
            -- Since it was looked whether all are free, another shard may have moved, and these rows be its.
            CONTINUE WHEN kind IN ('likes', 'tokens', 'sources') AND counter_ext.shards_not_vacated(free_shards) > 0;
            BEGIN
                SELECT * INTO asked FROM counter_ext.call_on_nodes(format('counter_ext.take_rows(%L, %L)', kind, piece.rows), ARRAY[piece.target]);
                IF asked.succeeded IS NOT TRUE THEN
                    problem := coalesce(asked.answer, format('there is no node of group %s', piece.target));
                    CONTINUE;
                END IF;
                -- As they were when they were sent: what has changed meanwhile goes the next time.
                CASE kind
                    WHEN 'likes' THEN
                        DELETE FROM counter_ext.liked l USING json_to_recordset(piece.rows) AS r (item text, actor text)
                            WHERE l.item = r.item AND l.actor = r.actor;
                    WHEN 'tokens' THEN
                        DELETE FROM counter_ext.token t USING json_to_recordset(piece.rows) AS r (token text, id text)
                            WHERE t.token = r.token AND t.id = r.id;
                    WHEN 'sources' THEN
                        DELETE FROM counter_ext.source_offset o USING json_populate_recordset(NULL::counter_ext.source_offset, piece.rows) AS r
                            WHERE o.source = r.source AND o IS NOT DISTINCT FROM r;
                    WHEN 'visits' THEN
                        DELETE FROM counter_ext.visit v USING json_to_recordset(piece.rows) AS r (id text, day date, slot bigint)
                            WHERE v.id = r.id AND v.day = r.day AND v.slot = r.slot;
                    ELSE
                        DELETE FROM counter_ext.visitors v USING json_to_recordset(piece.rows) AS r (id text, day date, node integer, sketch text)
                            WHERE v.id = r.id AND v.day = r.day AND v.node = r.node AND v.sketch::text = r.sketch;
                END CASE;
                -- What is deleted locks tables that others count by: nobody is asked any more in this transaction.
                moved := json_array_length(piece.rows);
                unwanted := asked.answer::bigint;
                goes_on := true;
                unfinished := counter_ext.shards_not_vacated('{}');
                RETURN;
            EXCEPTION
                -- Somebody holds a row. The others go all the same.
                WHEN lock_not_available OR deadlock_detected THEN
                    problem := SQLERRM;
            END;
        END LOOP;
    END LOOP;
    -- Those who could have written had ended before this looked, and it found nothing; nor was there more than it looked at.
    IF is_free AND seen < most_sketches THEN
        UPDATE counter_ext.shard_vacated v SET state = 'empty' FROM counter_ext.placed_shards() AS s
            WHERE v.shard = ANY (free_shards) AND s.shard = v.shard AND s.placed = v.placed AND s.node_group <> ALL (busy);
    END IF;
    unfinished := counter_ext.shards_not_vacated('{}');
END
$$;

-- Shards of another node, named by its group, that this one has nothing of any more. It is this node's worker that looks.
CREATE OR REPLACE FUNCTION counter_ext.shards_vacated(target integer) RETURNS json
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF counter_ext.shards_not_vacated('{}') > 0 THEN
        PERFORM counter_ext.want_pass();
    END IF;
    RETURN (SELECT coalesce(json_agg(v.shard), '[]') FROM counter_ext.shard_vacated v
        JOIN counter_ext.placed_shards() AS s ON s.shard = v.shard AND s.placed = v.placed
        WHERE v.state = 'empty' AND s.node_group = shards_vacated.target);
END
$$;

-- Asks all other nodes which of this node's shards they have nothing of any more; says of how many everything has arrived since it last asked, and what was in the way.
-- Called by the worker.
CREATE OR REPLACE FUNCTION counter_ext.look_for_arrivals(OUT arrived bigint, OUT problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer := (SELECT l.groupid FROM pg_catalog.pg_dist_local_group l);
    others bigint[];
    waiting json;
    asked record;
    answers integer := 0;
    vacated_by_all bigint[];
BEGIN
    arrived := 0;
    IF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        problem := 'there is no list of nodes';
        RETURN;
    END IF;
    -- Before anybody is asked: what an answer is about is the placement of now, or one before.
    SELECT json_agg(json_build_object('shard', s.shard, 'placed', s.placed)), array_agg(s.shard) INTO waiting, vacated_by_all
        FROM counter_ext.placed_shards() AS s WHERE s.node_group = own AND NOT s.has_arrived;
    IF waiting IS NULL THEN
        RETURN;
    END IF;
    -- Also those that cannot be asked now: nobody knows what they have.
    SELECT array_agg(DISTINCT g.groupid) INTO others FROM (
        SELECT n.groupid FROM pg_catalog.pg_dist_node n WHERE n.noderole = 'primary' UNION SELECT p.groupid FROM pg_catalog.pg_dist_placement p) AS g
        WHERE g.groupid <> own;
    FOR asked IN SELECT * FROM counter_ext.call_on_nodes(format('counter_ext.shards_vacated(%s)', own), coalesce(others, '{}')) LOOP
        IF asked.succeeded IS NOT TRUE THEN
            problem := format('node %s: %s', asked.node, asked.answer);
            RETURN;
        END IF;
        answers := answers + 1;
        vacated_by_all := ARRAY(SELECT unnest(vacated_by_all) INTERSECT SELECT j::bigint FROM json_array_elements_text(asked.answer::json) AS j);
    END LOOP;
    IF answers < coalesce(cardinality(others), 0) THEN
        problem := 'some nodes are not active';
        RETURN;
    END IF;
    INSERT INTO counter_ext.shard_arrived AS a (shard, placed)
        SELECT r.shard, r.placed FROM json_to_recordset(waiting) AS r (shard bigint, placed text) WHERE r.shard = ANY (vacated_by_all)
        ON CONFLICT (shard) DO UPDATE SET placed = excluded.placed;
    GET DIAGNOSTICS arrived = ROW_COUNT;
END
$$;

-- What move_rows() of another node sends. What is here already is left out. Returns how many rows came once all had arrived: those are older than what has
-- been done here since, as after a failover of the sender, and are not taken in.
CREATE OR REPLACE FUNCTION counter_ext.take_rows(what text, rows text) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unwanted bigint := 0;
BEGIN
    IF what IN ('likes', 'sources') THEN
        unwanted := (SELECT count(*) FROM json_array_elements(rows::json) AS r WHERE counter_ext.has_arrived(coalesce(r->>'item', r->>'source')));
    END IF;
    CASE what
        WHEN 'likes' THEN
            INSERT INTO counter_ext.liked (item, actor, at)
                SELECT r.item, r.actor, r.at FROM json_to_recordset(rows::json) AS r (item text, actor text, at timestamptz)
                WHERE NOT counter_ext.has_arrived(r.item) ON CONFLICT DO NOTHING;
        WHEN 'tokens' THEN
            INSERT INTO counter_ext.token (token, id, at, delta)
                SELECT r.token, r.id, r.at, r.delta FROM json_to_recordset(rows::json) AS r (token text, id text, at timestamptz, delta bigint)
                ON CONFLICT DO NOTHING;
        WHEN 'sources' THEN
            -- Nothing is applied here of a source before all of it has arrived: what comes until then is the latest.
            INSERT INTO counter_ext.source_offset AS o
                SELECT r.* FROM json_populate_recordset(NULL::counter_ext.source_offset, rows::json) AS r
                WHERE NOT counter_ext.has_arrived(r.source)
                ON CONFLICT (source) DO UPDATE SET upto = excluded.upto, skipped = excluded.skipped, batches = excluded.batches,
                    updated_at = excluded.updated_at, passed_over = excluded.passed_over, passed_upto = excluded.passed_upto,
                    resets = excluded.resets, reset_from = excluded.reset_from, reset_at = excluded.reset_at, reset_by = excluded.reset_by;
        ELSE
            -- Sketches are united in the next pass, however often they come.
            EXECUTE format('INSERT INTO counter_ext.visit (id, day, slot, sketch)
                SELECT r.id, r.day, hashint8extended((random() * 9e15)::bigint, 0), r.sketch::%s
                FROM json_to_recordset($1::json) AS r (id text, day date, sketch text)',
                (SELECT format_type(a.atttypid, NULL) FROM pg_attribute a
                 WHERE a.attrelid = 'counter_ext.visit'::regclass AND a.attname = 'sketch')) USING rows;
    END CASE;
    -- Looked at once the table is locked: from then on nothing is taken in that this node has said it has nothing of. The sender asks again.
    IF EXISTS (SELECT FROM json_array_elements(rows::json) AS r
               WHERE counter_ext.owner_group(coalesce(r->>'item', r->>'source', r->>'id')) IS NOT NULL)
    THEN
        RAISE EXCEPTION 'these rows belong to yet another node' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN unwanted;
END
$$;

-- For this database on this node, from the next session on.
CREATE OR REPLACE FUNCTION counter_ext.set_serve(value text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    EXECUTE format('ALTER DATABASE %I %s', current_database(),
        CASE WHEN value IS NULL THEN 'RESET counter_ext.serve' ELSE format('SET counter_ext.serve = %L', value) END);
    PERFORM set_config('citus.enable_ddl_propagation', 'on', true);
END
$$;

-- What this node has to say for counter_citus_status(). Where something is to arrive, the worker is to ask for it.
CREATE OR REPLACE FUNCTION counter_ext.citus_node() RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shards bigint;
    arrived bigint;
    functions bigint;
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NOT NULL THEN
        SELECT count(*), count(*) FILTER (WHERE s.has_arrived) INTO shards, arrived
            FROM counter_ext.placed_shards() AS s WHERE s.node_group = s.own_group;
        SELECT count(*) INTO functions FROM counter_ext.functions_by_id() AS f (f)
            JOIN pg_catalog.pg_dist_object o ON o.classid = 'pg_proc'::regclass AND o.objid = f.f AND o.force_delegation;
    END IF;
    IF shards > arrived THEN
        PERFORM counter_ext.want_pass();
    END IF;
    RETURN json_build_object('serves', current_setting('counter_ext.serve', true), 'shards', coalesce(shards, 0),
        'functions', coalesce(functions, 0),
        'moving', (SELECT count(*) FROM counter_ext.moving m), 'arriving', coalesce(shards - arrived, 0),
        'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext'));
END
$$;

-- Errors: 55000 there is no cluster here.
CREATE OR REPLACE FUNCTION counter_citus_status()
    RETURNS TABLE (group_id integer, node text, serves boolean, shards bigint, functions bigint, moving bigint, arriving bigint, version text,
        problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    said json;
    wanted bigint := (SELECT count(*) FROM counter_ext.functions_by_id());
    own_version text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext');
BEGIN
    PERFORM counter_ext.check_citus('counter_citus_status', false);
    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT counter_ext.citus_node()', NULL) LOOP
        group_id := asked.group_id;
        node := asked.node;
        said := CASE WHEN asked.succeeded THEN asked.answer::json END;
        serves := said->>'serves' = 'on';
        shards := (said->>'shards')::bigint;
        functions := (said->>'functions')::bigint;
        moving := (said->>'moving')::bigint;
        arriving := (said->>'arriving')::bigint;
        version := said->>'version';
        problem := CASE
            WHEN NOT asked.succeeded THEN asked.answer
            WHEN version <> own_version THEN format('another version than %s', own_version)
            WHEN functions < wanted THEN format('%s functions are not sent on: call counter_citus_setup()', wanted - functions)
            WHEN shards > 0 AND NOT serves THEN 'it has shards, but counter_ext.serve is off'
        END;
        RETURN NEXT;
    END LOOP;
END
$$;

-- All counters of a node that has ids, as JSON: behind the view counters_everywhere.
CREATE OR REPLACE FUNCTION counter_ext.list_everywhere()
    RETURNS TABLE (node text, id text, value bigint, slots integer, updated_at timestamptz, overflowed boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    groups bigint[];
    list text := (SELECT format('SELECT c.id, c.value, c.slots, c.updated_at, c.overflowed FROM %I.counters AS c', n.nspname)
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'counter_ext');
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN QUERY EXECUTE 'SELECT NULL::text, l.* FROM (' || list || ') AS l';
        RETURN;
    END IF;
    -- As the caller, who need not be allowed to read our tables.
    SELECT array_agg(DISTINCT p.groupid) INTO groups FROM pg_catalog.pg_dist_placement p JOIN pg_catalog.pg_dist_shard s ON s.shardid = p.shardid
        WHERE s.logicalrelid = to_regclass('counter_ext.shard_of_id') AND p.shardstate = 1;
    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT pg_catalog.json_agg(l) FROM (' || list || ') AS l', groups) LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'node % does not answer: %', asked.node, asked.answer USING ERRCODE = 'connection_failure';
        END IF;
        RETURN QUERY SELECT asked.node, r.id, r.value, r.slots, r.updated_at, r.overflowed
            FROM json_to_recordset(nullif(asked.answer, '')::json)
                AS r (id text, value bigint, slots integer, updated_at timestamptz, overflowed boolean);
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW @extschema@.counters_everywhere AS SELECT * FROM counter_ext.list_everywhere();

GRANT SELECT ON @extschema@.counters_everywhere TO PUBLIC;

COMMENT ON VIEW @extschema@.counters_everywhere IS 'counters of all nodes of a Citus cluster, or of this server where there is none';

-- Before the change, so that nothing that looks at it within its own statement puts it into memory; after it, for what other
-- triggers have made of the row. Also under session_replication_role = replica: restores and apply workers set it.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['total', 'slot', 'visitors', 'visit'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_change_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_change AFTER INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_foreign_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate_after AFTER TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_truncate()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_change_before,
            ENABLE ALWAYS TRIGGER note_foreign_change, ENABLE ALWAYS TRIGGER note_foreign_truncate,
            ENABLE ALWAYS TRIGGER note_foreign_truncate_after', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert', relation);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION counter_ext.guard_journal() RETURNS trigger
    AS 'MODULE_PATHNAME', 'guard_journal_wrapper' LANGUAGE c;

CREATE OR REPLACE FUNCTION counter_ext.refuse_journal_truncate() RETURNS trigger
    AS 'MODULE_PATHNAME', 'refuse_journal_truncate_wrapper' LANGUAGE c;

DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['journal', 'journal_tail'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_rows BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.guard_journal()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.refuse_journal_truncate()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER guard_rows,
            ENABLE ALWAYS TRIGGER guard_truncate', relation);
    END LOOP;
END
$$;

-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_audited_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.audited
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_audited_change();

ALTER TABLE counter_ext.audited ENABLE ALWAYS TRIGGER note_audited_change;

-- An apply worker fires none of statements.
CREATE TRIGGER note_audited_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.audited
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_audited_change();

ALTER TABLE counter_ext.audited ENABLE REPLICA TRIGGER note_audited_change_row;

-- While a restore fills them, nothing is sealed.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['audit_pending', 'audit_log_default', 'audit_head', 'audit_anchor'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert', relation);
    END LOOP;
END
$$;

-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_board_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();

CREATE TRIGGER note_board_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_change();

CREATE TRIGGER note_board_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.board
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_change();

ALTER TABLE counter_ext.board ENABLE ALWAYS TRIGGER note_board_change_before, ENABLE ALWAYS TRIGGER note_board_change,
    ENABLE ALWAYS TRIGGER note_board_change_row;

-- An apply worker fires none of statements.
CREATE TRIGGER note_board_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.board
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_change();

ALTER TABLE counter_ext.board ENABLE REPLICA TRIGGER note_board_change_row_before;

CREATE TRIGGER note_board_window_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_window_change();

CREATE TRIGGER note_board_window_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_board_window_change();

CREATE TRIGGER note_board_window_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.board_window
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_window_change();

ALTER TABLE counter_ext.board_window ENABLE ALWAYS TRIGGER note_board_window_change_before,
    ENABLE ALWAYS TRIGGER note_board_window_change, ENABLE ALWAYS TRIGGER note_board_window_change_row;

CREATE TRIGGER note_board_window_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.board_window
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_board_window_change();

ALTER TABLE counter_ext.board_window ENABLE REPLICA TRIGGER note_board_window_change_row_before;

-- While a restore fills them, no window is built.
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.board_window
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();

ALTER TABLE counter_ext.board_window ENABLE ALWAYS TRIGGER note_foreign_insert;

CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.board_score
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();

ALTER TABLE counter_ext.board_score ENABLE ALWAYS TRIGGER note_foreign_insert;

-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_watch_change_before BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.watch
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();

CREATE TRIGGER note_watch_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.watch
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_watch_change();

ALTER TABLE counter_ext.watch ENABLE ALWAYS TRIGGER note_watch_change_before, ENABLE ALWAYS TRIGGER note_watch_change;

-- An apply worker fires none of those.
CREATE TRIGGER note_watch_change_row_before BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.watch
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_watch_change();

CREATE TRIGGER note_watch_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.watch
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_watch_change();

ALTER TABLE counter_ext.watch ENABLE REPLICA TRIGGER note_watch_change_row_before, ENABLE REPLICA TRIGGER note_watch_change_row;

-- Also under session_replication_role = replica: restores set it.
CREATE TRIGGER note_tracked_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON counter_ext.tracked
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_tracked_change();

ALTER TABLE counter_ext.tracked ENABLE ALWAYS TRIGGER note_tracked_change;

-- An apply worker fires none of statements.
CREATE TRIGGER note_tracked_change_row AFTER INSERT OR UPDATE OR DELETE ON counter_ext.tracked
    FOR EACH ROW EXECUTE FUNCTION counter_ext.note_tracked_change();

ALTER TABLE counter_ext.tracked ENABLE REPLICA TRIGGER note_tracked_change_row;

-- While a restore fills them, nothing is rolled up.
CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.tracked
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();

ALTER TABLE counter_ext.tracked ENABLE ALWAYS TRIGGER note_foreign_insert;

CREATE TRIGGER note_foreign_insert BEFORE INSERT ON counter_ext.rolled
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_insert();

ALTER TABLE counter_ext.rolled ENABLE ALWAYS TRIGGER note_foreign_insert;

CREATE OR REPLACE FUNCTION counter_incr_at(id counter, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    AS 'MODULE_PATHNAME', 'counter_incr_at_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_incr_at(id bigint, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr_at($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_incr_at(id uuid, at timestamptz, delta bigint DEFAULT 1) RETURNS void
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_incr_at($1::pg_catalog.text, $2, $3); END;

-- What a counter was changed by, bucket by bucket, in the session's time zone: the buckets that begin from the one on that "from" is in,
-- and before "to", by default now. An empty bucket is 0; the newest has what is not compacted yet.
CREATE OR REPLACE FUNCTION counter_series(id text, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    -- A step from an instant need not begin a bucket, where clocks are put forward at midnight or by half an hour: buckets are looked for
    -- from there on, up to an hour further than needed.
    -- The step is checked for the rows below too, or one that is NULL would fold all of this to nothing.
    SELECT b.bucket, pg_catalog.sum(b.value)::pg_catalog.int8
    FROM (SELECT pg_catalog.date_trunc($4, s.at), 0::pg_catalog.numeric
            FROM pg_catalog.generate_series(
                pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), $2),
                COALESCE($3, pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.+) '1 hour'::pg_catalog.interval,
                ('1 ' OPERATOR(pg_catalog.||) counter_ext.check_step($4, $2, $3))::pg_catalog.interval) AS s (at)
        UNION ALL
        SELECT pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), r.at), r.value
            FROM counter_ext.series_rows($1, pg_catalog.date_trunc(counter_ext.check_step($4, $2, $3), $2), $3, $4) AS r) AS b (bucket, value)
    WHERE $1 IS NOT NULL AND $2 IS NOT NULL AND b.bucket OPERATOR(pg_catalog.<) COALESCE($3, pg_catalog.clock_timestamp())
    GROUP BY b.bucket ORDER BY b.bucket;
END;

CREATE OR REPLACE FUNCTION counter_series(id counter, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_series(id bigint, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_series(id uuid, "from" timestamptz, "to" timestamptz DEFAULT NULL, step text DEFAULT 'hour')
    RETURNS TABLE (bucket timestamptz, value bigint) LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT bucket, value FROM @extschema@.counter_series($1::pg_catalog.text, $2, $3, $4); END;

CREATE OR REPLACE FUNCTION counter_total(id text, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_total(id counter, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_total(id bigint, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_total(id uuid, "from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED BEGIN ATOMIC SELECT counter_ext.series_total($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_rate(id text, "window" interval DEFAULT '5 minutes') RETURNS double precision
    AS 'MODULE_PATHNAME', 'counter_rate_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_rate(id counter, "window" interval DEFAULT '5 minutes') RETURNS double precision
    AS 'MODULE_PATHNAME', 'counter_rate_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_rate(id bigint, "window" interval DEFAULT '5 minutes') RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_rate($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_rate(id uuid, "window" interval DEFAULT '5 minutes') RETURNS double precision
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_rate($1::pg_catalog.text, $2); END;

CREATE OR REPLACE FUNCTION counter_trending(prefix text, "window" interval DEFAULT '1 hour', n integer DEFAULT 10)
    RETURNS TABLE (id text, gained numeric)
    AS 'MODULE_PATHNAME', 'counter_trending_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_ext.before_ddl() RETURNS event_trigger AS 'MODULE_PATHNAME', 'before_ddl_wrapper' LANGUAGE c;

CREATE OR REPLACE FUNCTION counter_ext.after_ddl() RETURNS event_trigger AS 'MODULE_PATHNAME', 'after_ddl_wrapper' LANGUAGE c;

CREATE EVENT TRIGGER counter_ext_before_ddl ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'ALTER FOREIGN TABLE', 'ALTER TYPE')
    EXECUTE FUNCTION counter_ext.before_ddl();

CREATE EVENT TRIGGER counter_ext_after_ddl ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE TRIGGER')
    EXECUTE FUNCTION counter_ext.after_ddl();

CREATE EVENT TRIGGER counter_ext_follow_tables ON ddl_command_end EXECUTE FUNCTION counter_ext.follow_tables();

CREATE EVENT TRIGGER counter_ext_follow_rewrites ON table_rewrite EXECUTE FUNCTION counter_ext.follow_rewrites();

CREATE EVENT TRIGGER counter_ext_follow_drops ON sql_drop EXECUTE FUNCTION counter_ext.follow_tables();

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visit
CREATE OR REPLACE FUNCTION "counter_visit"(
	"id" counter, /* Option < CounterArg < '_ > > */
	"visitor" anyelement, /* Option < AnyElement > */
	"views" bigint DEFAULT 0, /* Option < i64 > */
	"at" date DEFAULT NULL /* Option < Date > */
) RETURNS bool /* Option < bool > */
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visit_wrapper';

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visit
CREATE OR REPLACE FUNCTION "counter_visit"(
	"id" counter, /* Option < CounterArg < '_ > > */
	"visitor" text, /* Option < TextArg < '_ > > */
	"views" bigint DEFAULT 0, /* Option < i64 > */
	"at" date DEFAULT NULL /* Option < Date > */
) RETURNS bool /* Option < bool > */

LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visit_text_wrapper';

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visited
CREATE OR REPLACE FUNCTION "counter_visited"(
	"id" text, /* TextArg < '_ > */
	"visitor" text /* TextArg < '_ > */
) RETURNS bool /* bool */
STRICT PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visited_wrapper';

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visitors
CREATE OR REPLACE FUNCTION "counter_visitors"(
	"id" counter, /* Option < CounterArg < '_ > > */
	"from" date DEFAULT NULL, /* Option < Date > */
	"to" date DEFAULT NULL /* Option < Date > */
) RETURNS bigint /* Option < i64 > */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visitors_wrapper';

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visitors_add
CREATE OR REPLACE FUNCTION "counter_visitors_add"(
	"id" text, /* TextArg < '_ > */
	"sketch" counter_hll, /* SketchArg < '_ > */
	"at" date /* Date */
) RETURNS bool /* bool */
STRICT
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visitors_add_wrapper';

CREATE OR REPLACE FUNCTION counter_visit(id text, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visit(id text, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_text_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visit(id bigint, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visit(id bigint, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visit(id uuid, visitor anyelement, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visit(id uuid, visitor text, views bigint DEFAULT 0, at date DEFAULT NULL) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visit_of_wrapper' LANGUAGE c VOLATILE;

CREATE OR REPLACE FUNCTION counter_visited(id text, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id counter, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id counter, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id bigint, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id bigint, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id uuid, visitor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visited(id uuid, visitor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visited_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visitors(id text, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_visitors_wrapper' LANGUAGE c VOLATILE PARALLEL RESTRICTED;

CREATE OR REPLACE FUNCTION counter_visitors(id bigint, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_visitors($1::pg_catalog.text::@extschema@.counter, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_visitors(id uuid, "from" date DEFAULT NULL, "to" date DEFAULT NULL) RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL RESTRICTED
    BEGIN ATOMIC SELECT @extschema@.counter_visitors($1::pg_catalog.text::@extschema@.counter, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_visitors_add(id counter, sketch counter_hll, at date) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_visitors_add_wrapper' LANGUAGE c VOLATILE STRICT;

CREATE OR REPLACE FUNCTION counter_visitors_add(id bigint, sketch counter_hll, at date) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_visitors_add($1::pg_catalog.text, $2, $3); END;

CREATE OR REPLACE FUNCTION counter_visitors_add(id uuid, sketch counter_hll, at date) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_visitors_add($1::pg_catalog.text, $2, $3); END;

-- src/api/visitors.rs
-- counter_ext::api::visitors::counter_visitors_union
CREATE OR REPLACE FUNCTION "counter_visitors_union"(
	"ids" text[], /* Option < TextArray < '_ > > */
	"from" date DEFAULT NULL, /* Option < Date > */
	"to" date DEFAULT NULL /* Option < Date > */
) RETURNS bigint /* i64 */
PARALLEL RESTRICTED
LANGUAGE c /* Rust */
AS 'MODULE_PATHNAME', 'counter_visitors_union_wrapper';

CREATE OR REPLACE VIEW @extschema@.counter_stats AS
    SELECT s.*, l.*, r.at AS stats_reset_at, pg_catalog.pg_get_userbyid(r.role) AS stats_reset_by
    FROM counter_ext.statistics() AS s, counter_ext.limit_statistics() AS l, counter_ext.statistics_reset() AS r;

-- The functions behind it check the calling user.
GRANT SELECT ON @extschema@.counter_stats TO PUBLIC;

COMMENT ON VIEW @extschema@.counter_stats IS 'one row to graph: worker, increments, compactions, backlog, errors, memory, loads, evictions';

-- As pg_stat_reset.
REVOKE EXECUTE ON FUNCTION @extschema@.counter_stats_reset() FROM PUBLIC;

-- ALTER EXTENSION counter_ext SET SCHEMA: PostgreSQL moves an extension whose objects are all in one schema only, so its tables would
-- go too. This moves what is in the extension's schema, and leaves schema counter_ext. A preloaded library calls it in place of
-- PostgreSQL's own; a superuser can call it.
CREATE OR REPLACE FUNCTION counter_ext.set_schema(schema name) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    extension oid;
    old_schema oid;
    new_schema oid;
    old_name text;
    object record;
    what record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper) THEN
        RAISE EXCEPTION 'permission denied to move extension "counter_ext"'
            USING ERRCODE = 'insufficient_privilege', HINT = 'A superuser may do it.';
    END IF;
    SELECT e.oid, e.extnamespace INTO extension, old_schema FROM pg_extension e WHERE e.extname = 'counter_ext' FOR UPDATE;
    SELECT n.oid INTO new_schema FROM pg_namespace n WHERE n.nspname = set_schema.schema;
    IF new_schema IS NULL THEN
        RAISE EXCEPTION 'schema "%" does not exist', schema USING ERRCODE = 'invalid_schema_name';
    END IF;
    SELECT quote_ident(n.nspname) INTO old_name FROM pg_namespace n WHERE n.oid = old_schema;
    IF new_schema = old_schema THEN
        RETURN;
    END IF;
    IF 'counter_ext'::regnamespace IN (old_schema, new_schema) THEN
        RAISE EXCEPTION 'extension "counter_ext" cannot be moved into the schema "counter_ext", or out of it'
            USING ERRCODE = 'feature_not_supported',
            DETAIL = 'Its tables are in a schema of that name, which its functions cannot join or leave any more.',
            HINT = 'Dump the database, and restore it where CREATE EXTENSION names the other schema.';
    END IF;
    -- One after the other: what an object is called changes as its types move.
    FOR object IN
        SELECT d.classid, d.objid FROM pg_depend d
        WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e'
    LOOP
        SELECT i.type, i.identity, i.schema INTO what FROM pg_identify_object(object.classid, object.objid, 0) AS i;
        -- A view's type goes with the view, an array's with that of its elements.
        IF what.schema = old_name AND NOT EXISTS (SELECT FROM pg_type t WHERE object.classid = 'pg_type'::regclass
            AND t.oid = object.objid AND (t.typrelid <> 0 OR t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc))
        THEN
            EXECUTE format('ALTER %s %s SET SCHEMA %I', what.type, what.identity, schema);
        END IF;
    END LOOP;
    UPDATE pg_extension SET extnamespace = new_schema WHERE oid = extension;
    UPDATE pg_depend SET refobjid = new_schema
        WHERE classid = 'pg_extension'::regclass AND objid = extension
            AND refclassid = 'pg_namespace'::regclass AND refobjid = old_schema;
END
$$;

-- Functions in schema counter_ext serve our own triggers, types and views. Nobody else needs to call one, and some would
-- let their caller stop what all share: a trigger function holds the worker back for as long as a transaction lasts. So PUBLIC has
-- none of them but those that PostgreSQL asks the calling user's right for. An upgrade script that adds a function here
-- revokes it too; a test calls each as an ordinary role. Where the extension's other functions lie there as well, those for
-- everybody are told by their names; a test compares both ways to install.
DO $$
DECLARE
    ours pg_catalog.regprocedure;
BEGIN
    FOR ours IN SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
            AND ('@extschema@'::pg_catalog.regnamespace OPERATOR(pg_catalog.<>) 'counter_ext'::pg_catalog.regnamespace
                OR p.proname OPERATOR(pg_catalog.!~) '^counter_'
                OR p.proname OPERATOR(pg_catalog.~)
                    '^counter_(hll_)?(in|out|send|recv|typmod_in|typmod_out|eq|ne|lt|le|gt|ge|cmp|hash|hash_extended|check|union|from_[a-z]+|to_[a-z]+)$')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', ours);
    END LOOP;
END
$$;

-- Operators run as their function.
GRANT EXECUTE ON FUNCTION
    counter_ext.counter_eq(counter, counter), counter_ext.counter_ne(counter, counter),
    counter_ext.counter_lt(counter, counter), counter_ext.counter_le(counter, counter),
    counter_ext.counter_gt(counter, counter), counter_ext.counter_ge(counter, counter),
    counter_ext.counter_eq(counter, text), counter_ext.counter_ne(counter, text),
    counter_ext.counter_lt(counter, text), counter_ext.counter_le(counter, text),
    counter_ext.counter_gt(counter, text), counter_ext.counter_ge(counter, text),
    counter_ext.counter_eq(text, counter), counter_ext.counter_ne(text, counter),
    counter_ext.counter_lt(text, counter), counter_ext.counter_le(text, counter),
    counter_ext.counter_gt(text, counter), counter_ext.counter_ge(text, counter),
    counter_ext.counter_eq(counter, name), counter_ext.counter_ne(counter, name),
    counter_ext.counter_lt(counter, name), counter_ext.counter_le(counter, name),
    counter_ext.counter_gt(counter, name), counter_ext.counter_ge(counter, name),
    counter_ext.counter_eq(name, counter), counter_ext.counter_ne(name, counter),
    counter_ext.counter_lt(name, counter), counter_ext.counter_le(name, counter),
    counter_ext.counter_gt(name, counter), counter_ext.counter_ge(name, counter),
    counter_ext.counter_eq(counter, bigint), counter_ext.counter_ne(counter, bigint),
    counter_ext.counter_eq(bigint, counter), counter_ext.counter_ne(bigint, counter),
    counter_ext.text_eq(text, text),
    counter_ext.no_arithmetic(counter, double precision), counter_ext.no_arithmetic(double precision, counter), counter_ext.no_arithmetic(counter, counter),
    counter_ext.counter_hll_eq(counter_hll, counter_hll), counter_ext.counter_hll_ne(counter_hll, counter_hll),
    counter_ext.counter_hll_lt(counter_hll, counter_hll), counter_ext.counter_hll_le(counter_hll, counter_hll),
    counter_ext.counter_hll_gt(counter_hll, counter_hll), counter_ext.counter_hll_ge(counter_hll, counter_hll),
    counter_ext.counter_hll_cmp(counter_hll, counter_hll), counter_ext.counter_hll_union(counter_hll, counter_hll)
    TO PUBLIC;

-- So do casts. Those to numbers check the right to read the counter.
GRANT EXECUTE ON FUNCTION
    counter_ext.counter_from_text(text), counter_ext.counter_from_varchar(varchar), counter_ext.counter_from_bpchar(bpchar),
    counter_ext.counter_hll_check(counter_hll, integer, boolean), counter_ext.counter_hll_from_bytea(bytea),
    counter_ext.total_as_smallint(counter), counter_ext.total_as_integer(counter), counter_ext.total_as_real(counter),
    counter_ext.total_as_double(counter), counter_ext.total_as_numeric(counter)
    TO PUBLIC;

-- Where the value is a constant, a cast through text runs as the types' output and input functions.
GRANT EXECUTE ON FUNCTION
    counter_ext.counter_in(cstring), counter_ext.counter_out(counter),
    counter_ext.counter_hll_in(cstring, oid, integer), counter_ext.counter_hll_out(counter_hll)
    TO PUBLIC;

-- Those in the body of a function in SQL run with the rights of its caller. They only read and write a cursor.
GRANT EXECUTE ON FUNCTION
    counter_ext.likers_here(text, integer), counter_ext.liked_items_here(integer),
    counter_ext.like_cursor(timestamptz, text), counter_ext.like_cursor_at(text), counter_ext.like_cursor_name(text)
    TO PUBLIC;

-- So do those of series, and check the right to read counters and buckets.
GRANT EXECUTE ON FUNCTION
    counter_ext.series_rows(text, timestamptz, timestamptz, text), counter_ext.series_total(text, timestamptz, timestamptz),
    counter_ext.check_step(text, timestamptz, timestamptz)
    TO PUBLIC;

-- So does what counter_hll_info reads.
GRANT EXECUTE ON FUNCTION counter_ext.hll_header(counter_hll) TO PUBLIC;

-- The view counter_caches shows what pg_trigger shows to everybody.
GRANT EXECUTE ON FUNCTION counter_ext.trigger_arguments(bytea), counter_ext.argument_after(text[], text), counter_ext.argument_key(text[]) TO PUBLIC;

-- These say what is wrong with who, or what, calls a procedure, and do nothing else.
GRANT EXECUTE ON FUNCTION counter_ext.check_node_setup(integer, text[]), counter_ext.check_may_set_up_nodes() TO PUBLIC;

-- Other nodes call these as who has called there; each checks the right to count or to read.
GRANT EXECUTE ON FUNCTION
    counter_ext.incr_many_here(text, text[], bigint[]), counter_ext.get_many_here(text, text[]),
    counter_ext.visitors_here(text, text[], integer, integer), counter_ext.advance_source_here(text, bigint, bigint, bigint)
    TO PUBLIC;

-- The view counters_everywhere asks other nodes as who reads it, with what Citus lets everybody do.
GRANT EXECUTE ON FUNCTION counter_ext.list_everywhere(), counter_ext.on_nodes(text, bigint[]) TO PUBLIC;

-- These change, or show, what all nodes do.
REVOKE ALL ON FUNCTION @extschema@.counter_citus_setup(), @extschema@.counter_citus_status() FROM PUBLIC;

-- A view's functions are called by whoever reads it; each checks the right to read counters, or to monitor.
GRANT EXECUTE ON FUNCTION
    counter_ext.list_counters(), counter_ext.statistics(), counter_ext.limit_statistics(), counter_ext.statistics_reset()
    TO PUBLIC;

-- What \df+ says: the first sentences of docs/reference.md, which a test compares. Of an overload with an argument that is named here
-- the comment is another one than of those without.
DO $$
DECLARE
    ours pg_catalog.regprocedure;
    says pg_catalog.text;
BEGIN
    FOR ours, says IN SELECT p.oid, c.says FROM (VALUES
            ('counter_incr', NULL, 'adds to a counter, in the caller''s transaction'),
            ('counter_incr_many', NULL, 'adds deltas[i], or 1, to ids[i]'),
            ('counter_add', NULL, 'adds as counter_incr does, and returns what counter_get would say next in this transaction'),
            ('counter_get', NULL, 'the total now; 0 when unknown'),
            ('counter_get_many', NULL, 'totals in the order asked for'),
            ('counter_get_exact', NULL, 'the total from rows, under the caller''s snapshot, own increments included'),
            ('counter_info', NULL, 'the total, whether it is exact, how many slot rows the counter has, and when it last changed'),
            ('counter_list', NULL, 'a page of counters in the order of their ids'' bytes, after the last id of the page before'),
            ('counter_hottest', NULL, 'what is being counted most, over the last seconds'),
            ('counter_reset', NULL, 'takes the amount away and returns it; concurrent increments stay'),
            ('counter_set', NULL, 'makes the value what is asked for; concurrent increments come on top'),
            ('counter_set_many', NULL, 'sets many counters, and returns how many'),
            ('counter_drop', NULL, 'makes the counter not exist, its visitors too; true when there was anything'),
            ('counter_drop_many', NULL, 'drops many counters, and returns of how many there was anything'),
            ('counter_drop_prefix', NULL, 'drops all counters whose ids begin so, and the visitors of all such ids; how many'),
            ('counter_rename', NULL, 'gives a counter another id, with what was filtered, visitors and likes; true when there was anything'),
            ('counter_merge', NULL, 'adds a counter to another, and is gone: totals add up, who visited or liked both is one'),
            ('counter_expire', NULL, 'has counters under the prefix dropped that nobody has incremented for so long; true when that changed anything'),
            ('counter_unexpire', NULL, 'has counters under the prefix stay from now on; true when they did not'),
            ('counter_forget_all', NULL, 'for test suites: takes away counters, likes, visitors, tokens, source offsets, windows of limits and the audit log of this database'),
            ('counter_incr_once', NULL, 'adds unless the token has been seen for that id; false where it has'),
            ('counter_apply', 'first', 'adds what of a batch is past what its source has delivered; true where it reaches past that'),
            ('counter_apply', NULL, 'adds a whole batch unless its source has delivered up to there'),
            ('counter_apply_reset', NULL, 'lets a source begin anew; the offset it was at, NULL for none'),
            ('counter_like', NULL, 'makes the like; true when this call made it'),
            ('counter_unlike', NULL, 'takes the like back; true when this call did'),
            ('counter_liked', NULL, 'whether the like is there'),
            ('counter_likes', NULL, 'how many likes the item has: as many as it has rows'),
            ('counter_likers', NULL, 'a page of who likes an item, newest first, behind the cursor of the last row of the page before'),
            ('counter_liked_items', NULL, 'a page of what an actor likes, newest first, behind the cursor of the last row of the page before'),
            ('counter_allow', NULL, 'whether the key''s sliding window has room for cost more, and takes it'),
            ('counter_limit', NULL, 'takes as counter_allow does, and says what to tell the client'),
            ('counter_allow_all', NULL, 'up to 32 limits at once: takes from all, or from none'),
            ('counter_limit_all', NULL, 'takes as counter_allow_all does, with a row a limit; allowed says whether all allow it'),
            ('counter_limit_refund', NULL, 'gives back what was taken; what is allowed now'),
            ('counter_limit_reset', NULL, 'forgets what was taken of a key, in all its windows; true when there was anything'),
            ('counter_address', NULL, 'an address in the one spelling that limits know it by'),
            ('counter_incr_from', NULL, 'counts if block list and policy let it, else adds to what was filtered'),
            ('counter_filtered', NULL, 'how much was filtered of a counter'),
            ('counter_cache', NULL, 'has counters count a table''s rows by a column, or sum another: makes the triggers and fills the counters; how many it changed'),
            ('counter_rows', NULL, 'trigger function: counts rows by a column'),
            ('counter_id', NULL, 'the id of a key''s counter: the prefix and the key, or a long key''s digest'),
            ('counter_backfill', NULL, 'fills the counters while writes go on; how many it changed'),
            ('counter_uncache', NULL, 'ends a cache: drops its triggers and its counters; how many counters'),
            ('counter_verify', 'prefix', 'counters of a cache that differ from their rows; repair mends them, key looks at one'),
            ('counter_verify', NULL, 'counters of all caches of the database, and of likes, that differ from their rows; repair mends them'),
            ('counter_visit', NULL, 'notes that the visitor was there today, or on that day; true when never before'),
            ('counter_visited', NULL, 'whether the visitor has ever been there, as far as the sketch can tell'),
            ('counter_visitors', NULL, 'unique visitors ever, or on days, both included'),
            ('counter_visitors_union', NULL, 'unique visitors of several ids together, ever or on days'),
            ('counter_visitors_add', NULL, 'notes that all whom a sketch of texts has seen were there on that day; true when somebody never was before'),
            ('counter_hll_agg', NULL, 'aggregate: sketch of the distinct values; NULL for no rows'),
            ('counter_hll_union_agg', NULL, 'aggregate: union of sketches; NULL for no rows'),
            ('counter_uniq', NULL, 'aggregate: number of distinct values: exact up to 1280, else within 0.81 % (one standard error)'),
            ('counter_hll_count', NULL, 'number of distinct values that the sketch has seen'),
            ('counter_hll_empty', NULL, 'a sketch that has seen nothing'),
            ('counter_hll_add', NULL, 'the sketch and one value more, hashed as in the aggregates; a NULL sketch is an empty one'),
            ('counter_hll_fold', NULL, 'the sketch that the same values make with a smaller log2m'),
            ('counter_hll_info', NULL, 'what the sketch was made with, and how it is stored: empty and explicit ones are exact, sparse and full ones are estimates'),
            ('counter_track', NULL, 'begins series of the counters under the prefix, or changes how long their buckets are kept: give resolutions and keep together, as many of each; true when that changed anything'),
            ('counter_untrack', NULL, 'ends series of the counters under the prefix, and forgets their buckets; true when there were any'),
            ('counter_series', NULL, 'what a counter was changed by, a row a minute, hour, day, week, month or year, zeros included'),
            ('counter_total', NULL, 'what a counter was changed by from one time on and before another, or since it is tracked'),
            ('counter_incr_at', NULL, 'adds, and books it in the series where it happened'),
            ('counter_rate', NULL, 'what a counter gained a second; the window begins with a whole minute'),
            ('counter_trending', NULL, 'the counters under a prefix that gained most, as of the last compaction'),
            ('counter_board', NULL, 'declares that the counters under a prefix form a board, for ever or by hour, day, week or month; true when that changed anything'),
            ('counter_unboard', NULL, 'ends a board; its counters and copies stay'),
            ('counter_board_incr', NULL, 'adds to a member''s counter'),
            ('counter_board_top', NULL, 'the first members of a board'),
            ('counter_board_rank', NULL, 'the member''s rank; NULL where it is not on the board'),
            ('counter_board_around', NULL, 'the member, n before and n behind it'),
            ('counter_board_snapshot', NULL, 'copies the board to counter_ext.board_snapshot; when'),
            ('counter_watch', NULL, 'has changed totals sent to a channel, as JSON; true when that changed anything'),
            ('counter_unwatch', NULL, 'has changed totals sent to a channel no more; true when that changed anything'),
            ('counter_audit', NULL, 'begins or ends auditing of the counters under a prefix; true when that changed anything'),
            ('counter_audit_verify', 'id', 'whether a counter''s log is whole, and adds up to its total'),
            ('counter_audit_verify', NULL, 'whether no chain of the audit log is gone as a whole'),
            ('counter_compact', NULL, 'makes one compaction pass now; how many slot rows it folded'),
            ('counter_version', NULL, 'the version of the library that is loaded'),
            ('counter_stats_reset', NULL, 'has the counts of counter_stats begin anew, in this database; no counter changes'),
            ('counter_node_setup', NULL, 'makes this server one of several that count the same counters, and waits until each has copied the others'),
            ('counter_node_leave', NULL, 'this node leaves the others, or stops taking from one that has left; what was counted stays counted'),
            ('counter_node_harvester', NULL, 'says on every node which one takes the amounts of all'),
            ('counter_citus_setup', NULL, 'spreads counters over the nodes of a Citus cluster'),
            ('counter_citus_status', NULL, 'what each node of a Citus cluster has of the counters')
        ) AS c (name, argument, says)
        JOIN pg_catalog.pg_proc p ON p.proname OPERATOR(pg_catalog.=) c.name::pg_catalog.name
            AND (c.argument IS NULL OR c.argument OPERATOR(pg_catalog.=) ANY (p.proargnames))
        JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
            AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND d.refobjid OPERATOR(pg_catalog.=) e.oid AND e.extname OPERATOR(pg_catalog.=) 'counter_ext'
        WHERE p.pronamespace OPERATOR(pg_catalog.=) '@extschema@'::pg_catalog.regnamespace
        ORDER BY c.argument NULLS FIRST
    LOOP
        EXECUTE pg_catalog.format('COMMENT ON ROUTINE %s IS %L', ours, says);
    END LOOP;
END
$$;

-- Only for this script did the extension own the schema that it lies in: see sql/schema.sql.
DO $$
BEGIN
    IF '@extschema@'::pg_catalog.regnamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace THEN
        DELETE FROM pg_catalog.pg_depend
            WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
                AND objid OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
                AND refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass;
    END IF;
END
$$;


DROP FUNCTION counter_ext.list_counters_of_0_1_0();

-- Actors that are networks are recognized as they are written.
UPDATE counter_ext.blocked SET (network) = ROW (NULL::cidr);

-- What the chains of the audit log add up to: see src/audit/anchor.rs. Each link's hash is a number of 256 bits, taken here as
-- eight of 32 bits, which cannot run over bigint for as many chains as there may be.
DO $$
DECLARE
    chains bigint;
    entries bigint;
    parts bigint[];
    carry bigint := 0;
    added bytea := ''::pg_catalog.bytea;
BEGIN
    SELECT pg_catalog.count(*), pg_catalog.sum(seq)::pg_catalog.int8 INTO chains, entries FROM counter_ext.audit_head;
    IF chains OPERATOR(pg_catalog.=) 0 THEN
        RETURN;
    END IF;
    SELECT pg_catalog.array_agg(each.part ORDER BY each.number) INTO parts FROM (
        SELECT n AS number, pg_catalog.sum(('x'::pg_catalog.text OPERATOR(pg_catalog.||)
            pg_catalog.encode(pg_catalog.substr(links.hash, n OPERATOR(pg_catalog.*) 4 OPERATOR(pg_catalog.+) 1, 4), 'hex'))::pg_catalog.bit(32)::pg_catalog.int8)::pg_catalog.int8 AS part
        FROM (
            SELECT pg_catalog.sha256(
                pg_catalog.int8send(26) OPERATOR(pg_catalog.||) 'counter_ext audit anchor 1'::pg_catalog.bytea
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.octet_length(raw.id)) OPERATOR(pg_catalog.||) raw.id
                OPERATOR(pg_catalog.||) pg_catalog.int8send(8) OPERATOR(pg_catalog.||) pg_catalog.int8send(raw.seq)
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.octet_length(raw.hash)) OPERATOR(pg_catalog.||) raw.hash) AS hash
            FROM (
                SELECT pg_catalog.convert_to(h.id, pg_catalog.getdatabaseencoding()) AS id, h.seq, h.hash FROM counter_ext.audit_head h
            ) AS raw
        ) AS links, pg_catalog.generate_series(0, 7) AS n
        GROUP BY n
    ) AS each;
    FOR n IN REVERSE 8..1 LOOP
        carry := carry OPERATOR(pg_catalog.+) parts[n];
        added := pg_catalog.substr(pg_catalog.int8send(carry), 5, 4) OPERATOR(pg_catalog.||) added;
        carry := carry OPERATOR(pg_catalog.>>) 32;
    END LOOP;
    -- This is no restore, for whose end the worker would wait.
    ALTER TABLE counter_ext.audit_anchor DISABLE TRIGGER note_foreign_insert;
    INSERT INTO counter_ext.audit_anchor (name, chains, entries, hash) VALUES ('heads', chains, entries, added);
    ALTER TABLE counter_ext.audit_anchor ENABLE ALWAYS TRIGGER note_foreign_insert;
END
$$;

-- Caches get the triggers that 0.2.0 makes; their rows are counted by the worker, or by counter_compact. Nothing here reads a table or runs
-- what its owner has written, nor does the update fail or wait for long by one: what cannot be had stays as it is. A table whose owner may not
-- count is none of a cache, whatever its triggers are called.
CREATE FUNCTION counter_ext.remake_cache(relation pg_catalog.regclass, prefix text, key_column text) RETURNS void
    AS 'MODULE_PATHNAME', 'remake_cache_wrapper' LANGUAGE c STRICT;
DO $$
DECLARE
    cache record;
    old record;
    lock_timeout_before CONSTANT pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    -- Of all tables together, and of one lock.
    waits_until CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => 60);
    longest_wait_ms CONSTANT pg_catalog.int4 := 10000;
BEGIN
    FOR cache IN
        SELECT DISTINCT c.oid::pg_catalog.regclass AS relation, counter_ext.trigger_arguments(t.tgargs) AS arguments
        FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
        WHERE t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
            AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
            AND t.tgname OPERATOR(pg_catalog.~) '^counter_rows_(insert|delete|update|truncate)_[0-9a-f]{8}$'::pg_catalog.text
            AND t.tgnargs OPERATOR(pg_catalog.=) 2::pg_catalog.int2 AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) 4096
            AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::"char"
            AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
            AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
    LOOP
        PERFORM pg_catalog.set_config('lock_timeout', GREATEST(10, LEAST(longest_wait_ms, (1000 OPERATOR(pg_catalog.*)
            pg_catalog.date_part('epoch', waits_until OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()))::pg_catalog.int4))::pg_catalog.text, true);
        BEGIN
            FOR old IN
                SELECT t.oid FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid OPERATOR(pg_catalog.=) cache.relation
                    AND t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
                    AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    AND t.tgnargs OPERATOR(pg_catalog.=) 2::pg_catalog.int2 AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) 4096
                    AND counter_ext.trigger_arguments(t.tgargs) OPERATOR(pg_catalog.=) cache.arguments
                    AND t.tgname OPERATOR(pg_catalog.~) '^counter_rows_(insert|delete|update|truncate)_[0-9a-f]{8}$'::pg_catalog.text
            LOOP
                PERFORM counter_ext.drop_trigger(old.oid);
            END LOOP;
            PERFORM counter_ext.remake_cache(cache.relation, cache.arguments[1], cache.arguments[2]);
            UPDATE counter_ext.cache AS c SET (state, why, retry_at, restored_by) = ROW ('stale', NULL::text, NULL::timestamptz, NULL::text)
                WHERE c.relid OPERATOR(pg_catalog.=) cache.relation::pg_catalog.oid AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'table % keeps the triggers by which version 0.1.0 counts its rows into counters "%": %', cache.relation, cache.arguments[1], SQLERRM
                USING ERRCODE = SQLSTATE,
                HINT = pg_catalog.format('When that is mended, have the table''s owner call %s.counter_cache(%L, %L, %L, take_over => true).',
                    '@extschema@', cache.relation, cache.arguments[1], cache.arguments[2]);
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('lock_timeout', lock_timeout_before, true);
END
$$;
DROP FUNCTION counter_ext.remake_cache(pg_catalog.regclass, text, text);

SELECT counter_ext.note_extension_created();
