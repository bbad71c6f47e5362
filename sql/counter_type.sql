-- The type `counter` among others: text, names, integers, uuids; and no arithmetic.
--
-- A counter becomes text by itself, as varchar does, so whatever takes text takes a counter: LIKE, ||, lower(), CASE and COALESCE beside
-- text. Text becomes a counter where it is stored in one or cast to it, not by itself: or "1 = 'a'::text" would be a comparison of
-- counters, by the operators below.

CREATE FUNCTION counter_ext.counter_from_text(text) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE CAST (text AS counter) WITH FUNCTION counter_ext.counter_from_text(text) AS ASSIGNMENT;
CREATE FUNCTION counter_ext.counter_from_varchar(varchar) RETURNS counter
    AS 'MODULE_PATHNAME', 'counter_from_text_wrapper' LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
CREATE CAST (varchar AS counter) WITH FUNCTION counter_ext.counter_from_varchar(varchar) AS ASSIGNMENT;
-- The blanks at the end of char(n) mean nothing; functions that take its text do not see them either.
CREATE FUNCTION counter_ext.counter_from_bpchar(bpchar) RETURNS counter
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT counter_ext.counter_from_text($1::pg_catalog.text); END;
CREATE CAST (bpchar AS counter) WITH FUNCTION counter_ext.counter_from_bpchar(bpchar) AS ASSIGNMENT;
CREATE CAST (name AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (smallint AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (integer AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (bigint AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (uuid AS counter) WITH INOUT AS ASSIGNMENT;
CREATE CAST (counter AS text) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (counter AS varchar) WITHOUT FUNCTION AS ASSIGNMENT;

-- Beside text, by bytes as among counters. They are in the families of counters, so that an index on a counter serves "id = $1" with a
-- text, and text beside counters can be hashed. No MERGES: a text is sorted by its collation elsewhere.
CREATE FUNCTION counter_ext.counter_eq(counter, text) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ne(counter, text) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_lt(counter, text) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_le(counter, text) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_gt(counter, text) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ge(counter, text) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_eq(text, counter) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ne(text, counter) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_lt(text, counter) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_le(text, counter) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_gt(text, counter) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_ge(text, counter) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_cmp(counter, text) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_cmp(text, counter) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_cmp(text, text) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
CREATE FUNCTION counter_ext.counter_hash(text) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION counter_ext.counter_hash_extended(text, bigint) RETURNS bigint
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
CREATE FUNCTION counter_ext.text_eq(text, text) RETURNS boolean
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
CREATE FUNCTION counter_ext.counter_eq(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.=) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_ne(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<>) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_lt(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_le(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<=) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_gt(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.>) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_ge(counter, name) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.>=) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_eq(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.=) $2; END;
CREATE FUNCTION counter_ext.counter_ne(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<>) $2; END;
CREATE FUNCTION counter_ext.counter_lt(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<) $2; END;
CREATE FUNCTION counter_ext.counter_le(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.<=) $2; END;
CREATE FUNCTION counter_ext.counter_gt(name, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.>) $2; END;
CREATE FUNCTION counter_ext.counter_ge(name, counter) RETURNS boolean
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
CREATE FUNCTION counter_ext.counter_eq(counter, bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.=) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_ne(counter, bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1 OPERATOR(@extschema@.<>) $2::pg_catalog.text; END;
CREATE FUNCTION counter_ext.counter_eq(bigint, counter) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE BEGIN ATOMIC SELECT $1::pg_catalog.text OPERATOR(@extschema@.=) $2; END;
CREATE FUNCTION counter_ext.counter_ne(bigint, counter) RETURNS boolean
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
CREATE FUNCTION counter_ext.no_arithmetic(counter, double precision) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.no_arithmetic(double precision, counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE FUNCTION counter_ext.no_arithmetic(counter, counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_no_arithmetic_wrapper' LANGUAGE c IMMUTABLE PARALLEL SAFE;
CREATE OPERATOR @extschema@.+ (LEFTARG = counter, RIGHTARG = double precision, FUNCTION = counter_ext.no_arithmetic);
CREATE OPERATOR @extschema@.+ (LEFTARG = double precision, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);
CREATE OPERATOR @extschema@.+ (LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);
CREATE OPERATOR @extschema@.- (LEFTARG = counter, RIGHTARG = double precision, FUNCTION = counter_ext.no_arithmetic);
CREATE OPERATOR @extschema@.- (LEFTARG = double precision, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);
CREATE OPERATOR @extschema@.- (LEFTARG = counter, RIGHTARG = counter, FUNCTION = counter_ext.no_arithmetic);
