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
CREATE FUNCTION pg_temp.is_taken() RETURNS bool LANGUAGE sql AS $$SELECT has_table_privilege('cri_mid', 'cri_app.secret', 'SELECT')$$;

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
SELECT pg_temp.is_taken();
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
SELECT pg_temp.is_taken();
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');
DROP INDEX cri_mid.trap;
SELECT * FROM counter_verify('cri_app.chapters', 'cri-by:', 'book');

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
