-- What comes last: the view of everything, and who may call what.

CREATE VIEW @extschema@.counter_stats AS
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

SELECT counter_ext.note_extension_created();
