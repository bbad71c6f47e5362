-- Foreign keys between counters and texts.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS counter_ext;
RESET client_min_messages;
\set VERBOSITY terse
CREATE TABLE type_pages (id counter PRIMARY KEY);
-- A text may not reference a counter: PostgreSQL could not delete what it refers to. A counter may reference a counter, and before PostgreSQL 18,
-- which wants both to have a collation or neither, a text.
CREATE TABLE type_children (page text REFERENCES type_pages);
CREATE TABLE type_children (page counter REFERENCES type_pages ON UPDATE CASCADE);
INSERT INTO type_pages VALUES ('type:a');
INSERT INTO type_children VALUES ('type:a');
INSERT INTO type_children VALUES ('type:b');
UPDATE type_pages SET id = 'type:c';
DELETE FROM type_pages;
SELECT page::text FROM type_children;
DROP TABLE type_children, type_pages;
CREATE TABLE type_parents (id text PRIMARY KEY);
CREATE TABLE type_children (parent counter REFERENCES type_parents ON UPDATE CASCADE);
INSERT INTO type_parents VALUES ('type:a');
INSERT INTO type_children VALUES ('type:a');
INSERT INTO type_children VALUES ('type:b');
UPDATE type_parents SET id = 'type:c';
DELETE FROM type_parents;
SELECT * FROM type_children;
DROP TABLE type_children, type_parents;
