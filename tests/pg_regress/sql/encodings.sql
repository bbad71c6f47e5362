-- Messages name ids, tables and columns as they are, in whatever encoding the database and the client have.
\set database :DBNAME
SET client_min_messages = warning;
CREATE DATABASE enc_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE DATABASE enc_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE EXTENSION IF NOT EXISTS counter_ext;
\c enc_latin1
\encoding UTF8
CREATE EXTENSION counter_ext;
CREATE TABLE "tablé" ("clé" text, "dàte" date);
SELECT counter_incr('café', 9223372036854775807);
SELECT counter_incr('café', 1);
\set VERBOSITY terse
SELECT counter_get('café');
SELECT counter_cache('"tablé"', 'é:', 'pasdé');
SELECT counter_cache('"tablé"', 'é:', 'dàte');
SELECT counter_backfill('"tablé"', 'é:', 'clé');
-- A long id whole; control characters by their number, so that none begins a line of the log.
SELECT counter_incr(repeat('é', 255), 9223372036854775807), counter_incr(E'line\nof\tthe log', 9223372036854775807);
SELECT counter_incr(repeat('é', 255), 1), counter_incr(E'line\nof\tthe log', 1);
SELECT counter_get(repeat('é', 255));
SELECT counter_get(E'line\nof\tthe log');
-- The server's code is the same that a function sees.
DO $$ BEGIN PERFORM counter_get('café'); EXCEPTION WHEN numeric_value_out_of_range THEN
    RAISE NOTICE '% %', SQLERRM, octet_length(SQLERRM); END $$;
-- As it is in a warning.
SELECT value FROM counter_get_many(ARRAY['café']);
\c enc_ascii
\encoding SQL_ASCII
SET client_min_messages = warning;
CREATE EXTENSION counter_ext;
SELECT counter_incr('café', 9223372036854775807), counter_incr(E'raw \351', 9223372036854775807);
SELECT counter_incr('café', 1), counter_incr(E'raw \351', 1);
SELECT counter_get('café');
\encoding UTF8
-- What is no UTF-8 would be no error to a client of UTF-8.
SELECT counter_get('café');
SELECT counter_get(E'raw \351');
\c :database
-- In UTF-8 too.
SET client_min_messages = warning;
SELECT counter_incr('日本 café', 9223372036854775807);
SELECT counter_incr('日本 café', 1);
\set VERBOSITY terse
SELECT counter_get('日本 café');
-- A client that cannot be shown a character is shown its bytes' numbers, and keeps the error.
\encoding LATIN1
SELECT counter_get(id::text) FROM counters WHERE id ~ ' caf' AND octet_length(id) = 12;
\encoding UTF8
SELECT counter_drop('日本 café');
DROP DATABASE enc_latin1;
DROP DATABASE enc_ascii;
