-- The schema, the tables that hold the truth, and the type `counter`.

CREATE SCHEMA counter_ext;

-- Durable totals, one row a counter and node; written by compaction.
CREATE TABLE counter_ext.total (
    id text COLLATE "C" NOT NULL,
    node integer NOT NULL DEFAULT 0,
    value bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, node),
    CONSTRAINT total_id_length CHECK (octet_length(id) BETWEEN 1 AND 255)
) WITH (fillfactor = 80);

-- Increments not yet compacted. Few rows, changed all the time: room on each page keeps their updates there (HOT).
-- Truncating the table's end would only be undone by the next burst.
CREATE TABLE counter_ext.slot (
    id text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    delta bigint NOT NULL,
    PRIMARY KEY (id, slot),
    CONSTRAINT slot_id_length CHECK (octet_length(id) BETWEEN 1 AND 255)
) WITH (
    fillfactor = 10,
    vacuum_truncate = off,
    autovacuum_vacuum_scale_factor = 0.0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_threshold = 100000
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.total ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.slot ALTER COLUMN id SET STORAGE EXTERNAL;

-- All but the counts of likes: those are counted anew as the likes are restored.
SELECT pg_catalog.pg_extension_config_dump('counter_ext.total', 'WHERE pg_catalog.ascii(id) <> 1');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.slot', 'WHERE pg_catalog.ascii(id) <> 1');

COMMENT ON SCHEMA counter_ext IS 'tables of the extension counter_ext; privileges on counter_ext.total decide who may count and read';
COMMENT ON TABLE counter_ext.total IS 'durable totals of counters, one row a counter and node';
COMMENT ON TABLE counter_ext.slot IS 'increments of counters not yet compacted into counter_ext.total';

-- How far the journal in the WAL is folded into totals: one row a cluster and database, since physical copies keep the
-- cluster's identifier and template copies do not keep the database's oid. Means nothing elsewhere, so it is not dumped.
CREATE TABLE counter_ext.journal (
    system_identifier bigint NOT NULL,
    database oid NOT NULL,
    node integer NOT NULL,
    epoch bigint NOT NULL,
    lsn pg_lsn NOT NULL,
    -- Anybody may write logical messages into the WAL. Ours carry this, which nobody but the owner can read.
    key bigint NOT NULL,
    PRIMARY KEY (system_identifier, database)
) WITH (fillfactor = 10);
COMMENT ON TABLE counter_ext.journal IS 'how far buffered increments are folded into counter_ext.total';

-- An id, stored and compared as its bytes. All but the input checks is what text and bytea do already.
CREATE TYPE counter;

CREATE FUNCTION counter_ext.counter_in(cstring) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_out(counter) RETURNS cstring
    AS 'textout' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_send(counter) RETURNS bytea
    AS 'textsend' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_recv(internal) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_recv_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE TYPE counter (
    INPUT = counter_ext.counter_in,
    OUTPUT = counter_ext.counter_out,
    RECEIVE = counter_ext.counter_recv,
    SEND = counter_ext.counter_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = extended,
    CATEGORY = 'S'
);
COMMENT ON TYPE counter IS 'the id of a counter; cast it to bigint for the live total';

CREATE FUNCTION counter_ext.counter_from_text(text) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
-- text is implicit so that counter_incr('match:' || id) resolves. Integers are not, or "1 = 'a'::text" would turn from
-- an error into a comparison of counters; functions take bigint by overload instead.
CREATE CAST (text AS counter) WITH FUNCTION counter_ext.counter_from_text(text) AS IMPLICIT;
CREATE FUNCTION counter_ext.counter_from_varchar(varchar) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE CAST (varchar AS counter) WITH FUNCTION counter_ext.counter_from_varchar(varchar) AS IMPLICIT;
CREATE CAST (name AS counter) WITH INOUT AS IMPLICIT;
CREATE CAST (smallint AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (integer AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (bigint AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (counter AS text) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (counter AS varchar) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE FUNCTION counter_ext.counter_eq(counter, counter) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ne(counter, counter) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_lt(counter, counter) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_le(counter, counter) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_gt(counter, counter) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ge(counter, counter) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_cmp(counter, counter) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hash(counter) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hash_extended(counter, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR = (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR <> (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
CREATE OPERATOR < (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = >, NEGATOR = >=, RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
CREATE OPERATOR <= (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = >=, NEGATOR = >, RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
CREATE OPERATOR > (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = <, NEGATOR = <=, RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
CREATE OPERATOR >= (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = <=, NEGATOR = <, RESTRICT = scalargesel, JOIN = scalargejoinsel
);
CREATE OPERATOR CLASS counter_ops DEFAULT FOR TYPE counter USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 counter_ext.counter_cmp(counter, counter);
CREATE OPERATOR CLASS counter_hash_ops DEFAULT FOR TYPE counter USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 counter_ext.counter_hash(counter),
    FUNCTION 2 counter_ext.counter_hash_extended(counter, bigint);
