-- What people build for many counters, in its best shape: keys compared as bytes, as ours are; rows as dense as ours.
SET client_min_messages = warning;
DROP TABLE IF EXISTS tail_plain, tail_liked, tail_likes;
CREATE TABLE tail_plain (id text COLLATE "C" PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE tail_liked (item text COLLATE "C", actor text COLLATE "C", at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (item, actor));
CREATE INDEX ON tail_liked (actor, item);
CREATE TABLE tail_likes (item text COLLATE "C" PRIMARY KEY, n bigint NOT NULL);
