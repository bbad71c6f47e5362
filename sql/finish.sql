-- What comes last: the view of everything, and who may call what.

CREATE VIEW @extschema@.counter_stats AS SELECT * FROM counter_ext.statistics(), counter_ext.limit_statistics();
-- The functions behind it check the calling user.
GRANT SELECT ON @extschema@.counter_stats TO PUBLIC;

-- ALTER EXTENSION counter_ext SET SCHEMA: PostgreSQL moves an extension whose objects are all in one schema only, so its tables would
-- go too. This moves what is in the extension's schema, and leaves schema counter_ext. A preloaded library calls it in place of
-- PostgreSQL's own; a superuser can call it.
CREATE FUNCTION counter_ext.set_schema(schema name) RETURNS void
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
        IF what.schema = old_name THEN
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
-- A view's functions are called by whoever reads it; each checks the right to read counters, or to monitor.
GRANT EXECUTE ON FUNCTION
    counter_ext.list_counters(), counter_ext.statistics(), counter_ext.limit_statistics()
    TO PUBLIC;

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

SELECT counter_ext.note_extension_created();
