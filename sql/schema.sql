-- The schema, the tables that hold the truth, and the type `counter`.
--
-- A superuser runs this script, while search_path is the schema that the extension goes to. Whoever may create something there
-- must gain nothing by it: every function, operator and table here is named with its schema, where it is called as well as
-- where a definition refers to it. tests/house looks for what is not. The same holds for upgrade scripts.

-- Who owns a schema may drop whatever is in it, and who may create in it can place a table where ours will be looked for. So a
-- schema that is there already has to be the installing role's own, closed to others, and empty; then the extension takes it over. That is
-- so where the functions go into it too: CREATE EXTENSION counter_ext SCHEMA counter_ext.
DO $$
DECLARE
    owner pg_catalog.oid;
    access pg_catalog.aclitem[];
BEGIN
    SELECT n.nspowner, n.nspacl INTO owner, access FROM pg_catalog.pg_namespace n
        WHERE n.nspname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name;
    IF NOT FOUND THEN
        CREATE SCHEMA counter_ext;
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) owner
                   AND (r.rolname OPERATOR(pg_catalog.=) CURRENT_USER OR r.rolsuper)) THEN
        RAISE EXCEPTION 'schema "counter_ext" exists and belongs to role "%"', pg_catalog.pg_get_userbyid(owner)
            USING ERRCODE = 'duplicate_schema',
            DETAIL = 'The owner of a schema may drop what is in it, so the extension does not put its tables there.',
            HINT = 'Drop or rename that schema, or make it that of the role which installs the extension.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.aclexplode(access) a
               WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text
               AND a.grantee OPERATOR(pg_catalog.<>) owner) THEN
        RAISE EXCEPTION 'schema "counter_ext" exists and others than its owner may create objects in it'
            USING ERRCODE = 'duplicate_schema', HINT = 'Revoke CREATE on that schema.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_depend d
               WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
               AND d.refobjid OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
               AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass) THEN
        RAISE EXCEPTION 'schema "counter_ext" exists and is not empty'
            USING ERRCODE = 'duplicate_schema', HINT = 'Move or drop what is in that schema.';
    END IF;
    IF '@extschema@'::pg_catalog.regnamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace THEN
        -- An extension cannot own the schema that it lies in: dropping either would drop the other. But CREATE SCHEMA IF NOT EXISTS,
        -- which pgrx writes before what goes there, takes only a schema that the extension owns. So it owns this one until sql/finish.sql.
        INSERT INTO pg_catalog.pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
            SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, 'counter_ext'::pg_catalog.regnamespace, 0,
                'pg_catalog.pg_extension'::pg_catalog.regclass, e.oid, 0, 'e'
            FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name;
    ELSE
        ALTER EXTENSION counter_ext ADD SCHEMA counter_ext;
    END IF;
END
$$;

-- Durable totals, one row a counter and node; written by compaction.
CREATE TABLE counter_ext.total (
    id text COLLATE "C" NOT NULL,
    node integer NOT NULL DEFAULT 0,
    value bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (id, node),
    CONSTRAINT total_id_length CHECK (pg_catalog.octet_length(id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 255)
) WITH (fillfactor = 80);

-- Increments not yet compacted. Few rows, changed all the time: room on each page keeps their updates there (HOT).
-- Truncating the table's end would only be undone by the next burst.
CREATE TABLE counter_ext.slot (
    id text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    delta bigint NOT NULL,
    -- When it was last added to.
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- When its amount happened, where that is not when it was counted.
    booked_at timestamptz,
    PRIMARY KEY (id, slot),
    CONSTRAINT slot_id_length CHECK (pg_catalog.octet_length(id) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(id) OPERATOR(pg_catalog.<=) 255)
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

CREATE OPERATOR @extschema@.= (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR @extschema@.<> (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR @extschema@.< (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_lt,
    COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=), RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);
CREATE OPERATOR @extschema@.<= (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_le,
    COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>), RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);
CREATE OPERATOR @extschema@.> (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_gt,
    COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=), RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);
CREATE OPERATOR @extschema@.>= (
    LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.counter_ge,
    COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<), RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);
CREATE OPERATOR CLASS counter_ops DEFAULT FOR TYPE counter USING btree AS
    OPERATOR 1 @extschema@.<, OPERATOR 2 @extschema@.<=, OPERATOR 3 @extschema@.=, OPERATOR 4 @extschema@.>=, OPERATOR 5 @extschema@.>,
    FUNCTION 1 counter_ext.counter_cmp(counter, counter),
    -- Equal ones are the same bytes.
    FUNCTION 4 pg_catalog.btequalimage(oid);
CREATE OPERATOR CLASS counter_hash_ops DEFAULT FOR TYPE counter USING hash AS
    OPERATOR 1 @extschema@.=,
    FUNCTION 1 counter_ext.counter_hash(counter),
    FUNCTION 2 counter_ext.counter_hash_extended(counter, bigint);
