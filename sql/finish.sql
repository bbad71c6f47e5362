-- What comes last: the view of everything, and who may call what.

CREATE VIEW @extschema@.counter_stats AS SELECT * FROM counter_ext.statistics(), counter_ext.limit_statistics();
-- The functions behind it check the calling user.
GRANT SELECT ON @extschema@.counter_stats TO PUBLIC;

-- Functions in schema counter_ext serve our own triggers, types and views. Nobody else needs to call one, and some would
-- let their caller stop what all share: a trigger function holds the worker back for as long as a transaction lasts. So PUBLIC has
-- none of them but those that PostgreSQL asks the calling user's right for. An upgrade script that adds a function here
-- revokes it too; a test calls each as an ordinary role.
REVOKE ALL ON ALL ROUTINES IN SCHEMA counter_ext FROM PUBLIC;
-- Operators run as their function.
GRANT EXECUTE ON FUNCTION
    counter_ext.counter_eq(counter, counter), counter_ext.counter_ne(counter, counter),
    counter_ext.counter_lt(counter, counter), counter_ext.counter_le(counter, counter),
    counter_ext.counter_gt(counter, counter), counter_ext.counter_ge(counter, counter),
    counter_ext.counter_hll_eq(counter_hll, counter_hll), counter_ext.counter_hll_ne(counter_hll, counter_hll),
    counter_ext.counter_hll_union(counter_hll, counter_hll)
    TO PUBLIC;
-- So do casts. Those to numbers check the right to read the counter.
GRANT EXECUTE ON FUNCTION
    counter_ext.counter_from_text(text), counter_ext.counter_from_varchar(varchar),
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
-- A view's functions are called by whoever reads it; each checks the right to read counters, or to monitor.
GRANT EXECUTE ON FUNCTION
    counter_ext.list_counters(), counter_ext.statistics(), counter_ext.limit_statistics()
    TO PUBLIC;

SELECT counter_ext.note_extension_created();
