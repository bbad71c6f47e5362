-- What one owner has written runs with no other's rights while rows are counted, through an operator or as a query is planned.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE cri_app;
CREATE ROLE cri_mid;
GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO cri_app, cri_mid;
SELECT n.nspname AS extension_schema FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'counter_ext' \gset
GRANT CREATE ON SCHEMA :extension_schema TO cri_mid;
CREATE SCHEMA cri_app AUTHORIZATION cri_app;
CREATE SCHEMA cri_mid AUTHORIZATION cri_mid;
GRANT USAGE ON SCHEMA cri_app TO cri_mid;
GRANT USAGE ON SCHEMA cri_mid TO cri_app;
SET ROLE cri_app;
CREATE TABLE cri_app.secret (t text);
SET ROLE cri_mid;
CREATE FUNCTION cri_mid.take() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_user = 'cri_app' THEN
        GRANT SELECT ON cri_app.secret TO cri_mid;
    END IF;
END
$$;
RESET ROLE;
\set is_taken 'SELECT has_table_privilege(''cri_mid'', ''cri_app.secret'', ''SELECT'') AS is_taken;'

-- An operator for a domain over a type whose schema others may create in.
SET ROLE cri_app;
CREATE DOMAIN cri_app.cid AS counter;
CREATE TABLE cri_app.m2 (by cri_app.cid PRIMARY KEY, dest text);
CREATE TABLE cri_app.c2 (key counter);
CREATE TABLE cri_app.t2 (k cri_app.cid);
GRANT INSERT ON cri_app.c2 TO cri_mid;
INSERT INTO cri_app.m2 VALUES ('a', 'x');
INSERT INTO cri_app.c2 VALUES ('a');
INSERT INTO cri_app.t2 VALUES ('a');
SET ROLE cri_mid;
CREATE FUNCTION cri_mid.is_equal(cri_app.cid, counter) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN true; END';
CREATE OPERATOR :extension_schema.= (LEFTARG = cri_app.cid, RIGHTARG = counter, FUNCTION = cri_mid.is_equal);
CREATE FUNCTION cri_mid.is_equal(cri_app.cid, cri_app.cid) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN true; END';
CREATE OPERATOR :extension_schema.= (LEFTARG = cri_app.cid, RIGHTARG = cri_app.cid, FUNCTION = cri_mid.is_equal);
SET ROLE cri_app;
SELECT counter_cache('cri_app.c2', 'cri-c2:', 'key', through => 'cri_app.m2.dest');
SELECT counter_cache('cri_app.t2', 'cri-t2:', 'k');
INSERT INTO cri_app.c2 VALUES ('a'), ('b');
INSERT INTO cri_app.m2 VALUES ('b', 'y');
UPDATE cri_app.m2 SET dest = 'z' WHERE dest = 'x';
SELECT * FROM counter_verify('cri_app.c2', 'cri-c2:', 'key');
SELECT * FROM counter_verify('cri_app.t2', 'cri-t2:', 'k', key => 'a');
SELECT counter_get('cri-c2:x'), counter_get('cri-c2:y'), counter_get('cri-c2:z'), counter_get('cri-t2:a');
RESET ROLE;
:is_taken
REVOKE SELECT ON cri_app.secret FROM cri_mid;

-- The owner of a middle table writes what runs as a query of it is planned.
SET ROLE cri_mid;
CREATE TABLE cri_mid.books (id int PRIMARY KEY, author int);
GRANT SELECT, TRIGGER ON cri_mid.books TO cri_app;
INSERT INTO cri_mid.books VALUES (1, 7), (2, 8);
SET ROLE cri_app;
CREATE TABLE cri_app.chapters (id int PRIMARY KEY, book int);
GRANT SELECT, INSERT ON cri_app.chapters TO cri_mid;
CREATE TRIGGER i AFTER INSERT ON cri_app.chapters REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('cri-by:', 'book', 'through', 'cri_mid.books', 'by', 'id', 'to', 'author');
SET ROLE cri_mid;
CREATE FUNCTION cri_mid.trap(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN 1; END';
CREATE INDEX trap ON cri_mid.books ((author + cri_mid.trap(1)));
INSERT INTO cri_app.chapters VALUES (1, 1), (2, 2);
SELECT counter_get('cri-by:7'), counter_get('cri-by:8');
-- Who may read both tables has the rows compared with the counters.
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');
RESET ROLE;
:is_taken
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');
DROP INDEX cri_mid.trap;
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');

-- The same in the negator of an operator whose own function is PostgreSQL's, which a plan's estimates call.
SET ROLE cri_mid;
CREATE FUNCTION cri_mid.differs(int, int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN true; END';
CREATE OPERATOR cri_mid.== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, RESTRICT = eqsel, NEGATOR = OPERATOR(cri_mid.<<>>));
CREATE OPERATOR cri_mid.<<>> (LEFTARG = int, RIGHTARG = int, FUNCTION = cri_mid.differs, RESTRICT = scalarltsel, NEGATOR = OPERATOR(cri_mid.==));
INSERT INTO cri_mid.books SELECT g, g % 10 FROM generate_series(100, 20000) AS g;
CREATE INDEX odd ON cri_mid.books (id) WHERE author IS NOT NULL OR NOT (author OPERATOR(cri_mid.==) 5);
ANALYZE cri_mid.books;
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');
RESET ROLE;
:is_taken
DROP INDEX cri_mid.odd;

-- In the type of a range, which nothing of the index names.
SET ROLE cri_mid;
CREATE FUNCTION cri_mid.gap(int, int) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN $1 - $2; END';
CREATE TYPE cri_mid.span AS RANGE (subtype = int4, subtype_diff = cri_mid.gap);
ALTER TABLE cri_mid.books ADD s cri_mid.span;
UPDATE cri_mid.books SET s = cri_mid.span(id, id + 5);
CREATE INDEX odd ON cri_mid.books (id) WHERE author IS NOT NULL OR s @> 1000;
ANALYZE cri_mid.books;
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');
RESET ROLE;
:is_taken
DROP INDEX cri_mid.odd;

-- In the partition key of what the middle table is a partition of. A session of its own: what is planned once is kept.
SET ROLE cri_mid;
CREATE TABLE cri_mid.top (id int, author int) PARTITION BY RANGE ((author + cri_mid.trap(1)));
CREATE TABLE cri_mid.sub PARTITION OF cri_mid.top FOR VALUES FROM (0) TO (1000000) PARTITION BY LIST (id);
CREATE TABLE cri_mid.leaf PARTITION OF cri_mid.sub DEFAULT;
GRANT SELECT, TRIGGER ON cri_mid.sub TO cri_app;
SET ROLE cri_app;
CREATE TABLE cri_app.pages (id int, book int);
GRANT SELECT ON cri_app.pages TO cri_mid;
CREATE TRIGGER i AFTER INSERT ON cri_app.pages REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('cri-sub:', 'book', 'through', 'cri_mid.sub', 'by', 'id', 'to', 'author');
\c -
SET ROLE cri_mid;
SELECT * FROM counter_verify('cri_app.pages', 'cri-sub:', 'book');
RESET ROLE;
:is_taken

-- In an index of a partition that has another owner.
SET ROLE cri_app;
CREATE TABLE cri_app.split (id int, author int) PARTITION BY LIST (id);
CREATE TABLE cri_app.split_1 PARTITION OF cri_app.split FOR VALUES IN (1);
GRANT SELECT ON cri_app.split TO cri_mid;
SELECT counter_cache('cri_app.split', 'cri-split:', 'author');
RESET ROLE;
GRANT CREATE ON SCHEMA cri_app TO cri_mid;
ALTER TABLE cri_app.split_1 OWNER TO cri_mid;
SET ROLE cri_mid;
CREATE INDEX ON cri_app.split_1 ((author + cri_mid.trap(1)));
\c -
SET ROLE cri_mid;
SELECT * FROM counter_verify('cri_app.split', 'cri-split:', 'author');
RESET ROLE;
:is_taken

-- In a partition key of what a table is a partition of, which another owns.
SET ROLE cri_mid;
CREATE TABLE cri_mid.above (id int, author int) PARTITION BY RANGE ((author + cri_mid.trap(1)));
CREATE TABLE cri_mid.sub2 PARTITION OF cri_mid.above FOR VALUES FROM (0) TO (1000000) PARTITION BY LIST (id);
CREATE TABLE cri_mid.leaf2 PARTITION OF cri_mid.sub2 DEFAULT;
CREATE TABLE cri_mid.top2 (id int, author int) PARTITION BY RANGE ((author + cri_mid.trap(1)));
CREATE TABLE cri_mid.part PARTITION OF cri_mid.top2 FOR VALUES FROM (0) TO (1000000);
RESET ROLE;
GRANT CREATE ON SCHEMA cri_mid TO cri_app;
ALTER TABLE cri_mid.sub2 OWNER TO cri_app;
ALTER TABLE cri_mid.leaf2 OWNER TO cri_app;
ALTER TABLE cri_mid.part OWNER TO cri_app;
SET ROLE cri_app;
CREATE TRIGGER i AFTER INSERT ON cri_mid.sub2 FOR EACH ROW EXECUTE FUNCTION counter_rows('cri-sub2:', 'author');
CREATE TRIGGER i AFTER INSERT ON cri_mid.part FOR EACH ROW EXECUTE FUNCTION counter_rows('cri-part:', 'author');
GRANT SELECT ON cri_mid.sub2, cri_mid.part TO cri_mid;
\c -
SET ROLE cri_mid;
SET constraint_exclusion = on;
SELECT * FROM counter_verify('cri_mid.sub2', 'cri-sub2:', 'author');
SELECT * FROM counter_verify('cri_mid.part', 'cri-part:', 'author');
RESET constraint_exclusion;
RESET ROLE;
:is_taken
REVOKE SELECT ON cri_app.secret FROM cri_mid;

-- In a policy of the middle table, where TRUNCATE of it brings the counters to nothing.
SET ROLE cri_mid;
CREATE TABLE cri_mid.ruled (id int PRIMARY KEY, author text);
GRANT SELECT, TRIGGER ON cri_mid.ruled TO cri_app;
INSERT INTO cri_mid.ruled VALUES (1, 'cri-x');
SET ROLE cri_app;
CREATE TABLE cri_app.lines (id int PRIMARY KEY, book int);
CREATE TRIGGER i AFTER INSERT ON cri_app.lines REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('', 'book', 'through', 'cri_mid.ruled', 'by', 'id', 'to', 'author');
INSERT INTO cri_app.lines VALUES (1, 1);
SET ROLE cri_mid;
CREATE TRIGGER i AFTER INSERT ON cri_mid.ruled REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('', 'id', 'to', 'author', 'of', 'cri_app.lines');
CREATE TRIGGER t BEFORE TRUNCATE ON cri_mid.ruled FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('', 'id', 'to', 'author', 'of', 'cri_app.lines');
CREATE FUNCTION cri_mid.may(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM cri_mid.take(); RETURN true; END';
CREATE POLICY p ON cri_mid.ruled USING (cri_mid.may(id));
ALTER TABLE cri_mid.ruled ENABLE ROW LEVEL SECURITY;
TRUNCATE cri_mid.ruled;
RESET ROLE;
:is_taken

-- A table in a schema that is closed to somebody is closed to him, whatever rights he has on the table.
SET ROLE cri_app;
CREATE TABLE cri_app.open (id int PRIMARY KEY, author text);
CREATE TABLE cri_app.votes (k text);
GRANT SELECT ON cri_app.open, cri_app.votes TO PUBLIC;
SELECT counter_cache('cri_app.votes', 'cri-votes:', 'k');
SELECT 'cri_app.votes'::regclass::oid AS votes \gset
REVOKE USAGE ON SCHEMA cri_app FROM cri_mid;
SET ROLE cri_mid;
SELECT * FROM counter_verify(:votes, 'cri-votes:', 'k');
SELECT * FROM counter_verify(:votes, 'cri-votes:', 'k', key => 'x');
CREATE TABLE cri_mid.refers (book int);
CREATE TRIGGER i AFTER INSERT ON cri_mid.refers REFERENCING NEW TABLE AS n FOR EACH STATEMENT
    EXECUTE FUNCTION counter_rows('cri-refers:', 'book', 'through', 'cri_app.open', 'by', 'id', 'to', 'author');
INSERT INTO cri_mid.refers VALUES (1);
RESET ROLE;
GRANT USAGE ON SCHEMA cri_app TO cri_mid;

-- Keys of counted rows are of their own column's type, wherever they are asked for.
SET ROLE cri_app;
CREATE TABLE cri_app.wide (key int8, n int) PARTITION BY LIST (n);
CREATE TABLE cri_app.wide_1 PARTITION OF cri_app.wide FOR VALUES IN (1);
CREATE TABLE cri_app.narrow (id int4 PRIMARY KEY, t text);
INSERT INTO cri_app.narrow VALUES (7, 'x');
SELECT counter_cache('cri_app.wide', 'cri-wide:', 'key', through => 'cri_app.narrow.t');
BEGIN;
INSERT INTO cri_app.wide VALUES (9999999999, 1), (7, 1);
TRUNCATE cri_app.wide_1;
COMMIT;
SELECT counter_get('cri-wide:x');
RESET ROLE;

-- Two enums have one output function, and cannot be compared.
CREATE TYPE cri_app.one AS ENUM ('a');
CREATE TYPE cri_app.other AS ENUM ('a');
CREATE TABLE cri_app.e1 (k cri_app.one);
CREATE TABLE cri_app.e2 (id cri_app.other PRIMARY KEY, t text);
SELECT counter_cache('cri_app.e1', 'cri-e:', 'k', through => 'cri_app.e2.t');
ALTER TABLE cri_app.e2 ALTER id TYPE cri_app.one USING 'a';
INSERT INTO cri_app.e1 VALUES ('a');
INSERT INTO cri_app.e2 VALUES ('a', 'x');
SELECT counter_cache('cri_app.e1', 'cri-e:', 'k', through => 'cri_app.e2.t');
INSERT INTO cri_app.e1 VALUES ('a');
SELECT counter_get('cri-e:x');

DROP OPERATOR :extension_schema.= (cri_app.cid, counter), :extension_schema.= (cri_app.cid, cri_app.cid);
SET client_min_messages = warning;
DROP SCHEMA cri_app, cri_mid CASCADE;
DO 'BEGIN PERFORM counter_drop_prefix(''cri-''); END';
DROP OWNED BY cri_app, cri_mid;
DROP ROLE cri_app, cri_mid;
