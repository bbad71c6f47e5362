-- The type `counter_hll`: HyperLogLog sketches in the storage format that postgresql-hll uses too.

CREATE TYPE counter_hll;

CREATE FUNCTION counter_ext.counter_hll_in(cstring, oid, integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_out(counter_hll) RETURNS cstring
    AS 'byteaout' LANGUAGE internal STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_recv(internal, oid, integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_recv_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_send(counter_hll) RETURNS bytea
    AS 'byteasend' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME', 'counter_hll_typmod_in_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_typmod_out(integer) RETURNS cstring
    AS 'MODULE_PATHNAME', 'counter_hll_typmod_out_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

-- External: packed registers do not compress, and trying takes longer than everything else.
CREATE TYPE counter_hll (
    INPUT = counter_ext.counter_hll_in,
    OUTPUT = counter_ext.counter_hll_out,
    RECEIVE = counter_ext.counter_hll_recv,
    SEND = counter_ext.counter_hll_send,
    TYPMOD_IN = counter_ext.counter_hll_typmod_in,
    TYPMOD_OUT = counter_ext.counter_hll_typmod_out,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = external
);
COMMENT ON TYPE counter_hll IS 'HyperLogLog sketch: the number of distinct values in a few kilobytes; counter_hll(log2m, regwidth, expthresh, sparseon)';

CREATE FUNCTION counter_ext.counter_hll_check(counter_hll, integer, boolean) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_check_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE CAST (counter_hll AS counter_hll)
    WITH FUNCTION counter_ext.counter_hll_check(counter_hll, integer, boolean) AS IMPLICIT;
CREATE FUNCTION counter_ext.counter_hll_from_bytea(bytea) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_from_bytea_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE CAST (bytea AS counter_hll) WITH FUNCTION counter_ext.counter_hll_from_bytea(bytea) AS ASSIGNMENT;
CREATE CAST (text AS counter_hll) WITH INOUT AS ASSIGNMENT;
CREATE CAST (counter_hll AS bytea) WITHOUT FUNCTION;

-- Equal sketches have equal bytes: whatever comes in is brought into one form.
CREATE FUNCTION counter_ext.counter_hll_eq(counter_hll, counter_hll) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_ne(counter_hll, counter_hll) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_hash(counter_hll) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hll_hash_extended(counter_hll, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE OPERATOR @extschema@.= (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_eq,
    COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>), RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR @extschema@.<> (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_ne,
    COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=), RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
CREATE OPERATOR CLASS counter_hll_hash_ops DEFAULT FOR TYPE counter_hll USING hash AS
    OPERATOR 1 @extschema@.=,
    FUNCTION 1 counter_ext.counter_hll_hash(counter_hll),
    FUNCTION 2 counter_ext.counter_hll_hash_extended(counter_hll, bigint);

-- An order of bytes. It says nothing about sketches; DISTINCT, PARTITION BY, unique indexes and whatever else sorts go by it.
CREATE FUNCTION counter_ext.counter_hll_lt(counter_hll, counter_hll) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_le(counter_hll, counter_hll) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_gt(counter_hll, counter_hll) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_ge(counter_hll, counter_hll) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hll_cmp(counter_hll, counter_hll) RETURNS integer
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

CREATE FUNCTION counter_hll_count(sketch counter_hll) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_hll_count_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE OPERATOR @extschema@.# (RIGHTARG = counter_hll, FUNCTION = @extschema@.counter_hll_count);

CREATE FUNCTION counter_ext.counter_hll_union(counter_hll, counter_hll) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_union_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE OPERATOR @extschema@.|| (
    LEFTARG = counter_hll, RIGHTARG = counter_hll, FUNCTION = counter_ext.counter_hll_union, COMMUTATOR = OPERATOR(@extschema@.||)
);

CREATE FUNCTION counter_hll_empty(
    log2m integer DEFAULT 14, regwidth integer DEFAULT 5, expthresh bigint DEFAULT -1, sparseon integer DEFAULT 1
) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_empty_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION counter_hll_fold(sketch counter_hll, log2m integer) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_fold_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_header(counter_hll) RETURNS bigint[]
    AS 'MODULE_PATHNAME', 'counter_hll_header_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_hll_info(
    sketch counter_hll, OUT log2m integer, OUT regwidth integer, OUT expthresh bigint, OUT sparseon integer, OUT stage text
) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT header[1]::pg_catalog.int4, header[2]::pg_catalog.int4, header[3], header[4]::pg_catalog.int4,
        ('{undefined,empty,explicit,sparse,full}'::pg_catalog.text[])[header[5] OPERATOR(pg_catalog.+) 1]
        FROM (SELECT counter_ext.hll_header($1) AS header OFFSET 0) AS read;
END;

-- The overload for text is what an untyped literal resolves to.
CREATE FUNCTION counter_hll_add(sketch counter_hll, element anyelement) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_add_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_hll_add(sketch counter_hll, element text) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_add_text_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION counter_ext.hll_agg_add(internal, anyelement) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_add(internal, anyelement, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step_log2m' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_add(internal, anyelement, integer, integer, bigint, integer) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_step_all' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_unite(internal, counter_hll) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_unite_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_combine(internal, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_combine_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_serial(internal) RETURNS bytea
    AS 'MODULE_PATHNAME', 'counter_hll_agg_serial_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_deserial(bytea, internal) RETURNS internal
    AS 'MODULE_PATHNAME', 'counter_hll_agg_deserial_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_sketch(internal) RETURNS counter_hll
    AS 'MODULE_PATHNAME', 'counter_hll_agg_sketch_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.hll_agg_count(internal) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_hll_agg_count_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;

-- Their space is that of a full sketch of log2m 14: by it, not by what is used, a hashed aggregation keeps to work_mem.
-- Their final functions only read: over a window that grows, each row adds to the state of the row before.
CREATE AGGREGATE counter_hll_agg(anyelement) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);
CREATE AGGREGATE counter_hll_agg(anyelement, log2m integer) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);
CREATE AGGREGATE counter_hll_agg(anyelement, log2m integer, regwidth integer, expthresh bigint, sparseon integer) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);
CREATE AGGREGATE counter_hll_union_agg(counter_hll) (
    SFUNC = counter_ext.hll_agg_unite, STYPE = internal, FINALFUNC = counter_ext.hll_agg_sketch,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);
CREATE AGGREGATE counter_uniq(anyelement) (
    SFUNC = counter_ext.hll_agg_add, STYPE = internal, FINALFUNC = counter_ext.hll_agg_count,
    COMBINEFUNC = counter_ext.hll_agg_combine, SERIALFUNC = counter_ext.hll_agg_serial,
    DESERIALFUNC = counter_ext.hll_agg_deserial, FINALFUNC_MODIFY = READ_ONLY, SSPACE = 16640, PARALLEL = SAFE
);
