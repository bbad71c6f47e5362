-- What becomes of 0.1.0. `make sql` makes sql/counter_ext--0.1.0--0.2.0.sql of this and of the SQL of 0.2.0.
--
-- The rules of sql/schema.sql hold: every function, operator and table is named with its schema.

-- The library comes first: what follows calls it.
DO $$
BEGIN
    IF @extschema@.counter_version() OPERATOR(pg_catalog.<>) '0.2.0'::pg_catalog.text THEN
        RAISE EXCEPTION 'the library of counter_ext that is loaded is version %', @extschema@.counter_version()
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Restart the server, so that it loads the library of version 0.2.0, and update the extension then.';
    END IF;
END
$$;

-- Who holds one of our locks has this one, or waits for it.
LOCK TABLE counter_ext.total IN ACCESS EXCLUSIVE MODE;

-- 0.1.0 buffered increments in the WAL, which 0.2.0 does not read. Its own last pass takes them in; its replication slot, which nobody
-- needs any more, stands for the question whether that was made. A database that has never buffered is not updated before that either: the
-- library of 0.1.0 that is to make the pass would not do with it.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_replication_slots s
               WHERE s.slot_name OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.name
                   AND s.slot_type OPERATOR(pg_catalog.=) 'physical'::pg_catalog.text) THEN
        RAISE EXCEPTION 'increments that version 0.1.0 has buffered may be in the WAL only'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Version 0.2.0 does not read them there. The replication slot "counter_ext" of version 0.1.0 still keeps that WAL.',
            HINT = 'If each database has had counter_compact() by version 0.1.0 after its last buffered increment, run SELECT '
                'pg_drop_replication_slot(''counter_ext''), and update then; else start the server with the library of version 0.1.0, and have it so.';
    END IF;
END
$$;

-- Triggers on our own tables, of which 0.2.0 has others. Those of others on them stay.
DO $$
DECLARE
    ours record;
BEGIN
    FOR ours IN SELECT t.tgname, t.tgrelid::pg_catalog.regclass AS relation FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
        WHERE c.relnamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
            AND p.pronamespace OPERATOR(pg_catalog.=) 'counter_ext'::pg_catalog.regnamespace
            AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    LOOP
        EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', ours.tgname, ours.relation);
    END LOOP;
END
$$;

-- Functions whose arguments or results are others now. What users have built on one of these is named in PostgreSQL's refusal to
-- drop it, and is to be dropped before, and made again after, the update. All others are replaced, and keep what depends on them.
DO $$
DECLARE
    refusal text;
    what text;
BEGIN
    DROP VIEW @extschema@.counter_stats;
    DROP FUNCTION counter_ext.statistics(), counter_ext.limit_statistics();
    DROP FUNCTION @extschema@.counter_hottest(integer);
    DROP FUNCTION @extschema@.counter_info(bigint), @extschema@.counter_info(@extschema@.counter);
    DROP FUNCTION @extschema@.counter_incr(bigint, bigint), @extschema@.counter_incr(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_allow(text, integer, interval, integer);
    DROP FUNCTION @extschema@.counter_like(bigint, bigint), @extschema@.counter_like(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_unlike(bigint, bigint), @extschema@.counter_unlike(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_liked(bigint, bigint), @extschema@.counter_liked(@extschema@.counter, bigint);
    DROP FUNCTION @extschema@.counter_cache(pg_catalog.regclass, text, text, boolean);
    DROP FUNCTION @extschema@.counter_verify(pg_catalog.regclass, text, text, boolean);
    DROP FUNCTION @extschema@.counter_visit(bigint, anyelement, bigint), @extschema@.counter_visit(bigint, text, bigint),
        @extschema@.counter_visit(@extschema@.counter, anyelement, bigint), @extschema@.counter_visit(@extschema@.counter, text, bigint);
    DROP FUNCTION @extschema@.counter_likers(text, text, integer), @extschema@.counter_liked_items(text, text, integer);
    DROP FUNCTION counter_ext.discount_likes(pg_catalog.regclass);
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS refusal := MESSAGE_TEXT, what := PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION '%', refusal
        USING ERRCODE = 'dependent_objects_still_exist', DETAIL = what,
        HINT = 'Version 0.2.0 has others in their place. Drop what is built on them, update, and make it again.';
END
$$;
-- The view goes on under its own name, with what users have built on it.
ALTER FUNCTION counter_ext.list_counters() RENAME TO list_counters_of_0_1_0;

-- Tables.
DROP TABLE counter_ext.journal;
ALTER TABLE counter_ext.slot
    ADD COLUMN at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    ADD COLUMN booked_at timestamptz;
ALTER TABLE counter_ext.token ADD COLUMN delta bigint;
ALTER TABLE counter_ext.source_offset
    ALTER COLUMN upto DROP NOT NULL,
    ADD COLUMN passed_over bigint NOT NULL DEFAULT 0,
    ADD COLUMN passed_upto bigint,
    ADD COLUMN resets bigint NOT NULL DEFAULT 0,
    ADD COLUMN reset_from bigint,
    ADD COLUMN reset_at timestamptz,
    ADD COLUMN reset_by text COLLATE "C";
ALTER TABLE counter_ext.blocked ADD COLUMN network cidr;
ALTER TABLE counter_ext.policy
    DROP CONSTRAINT policy_per,
    DROP CONSTRAINT policy_min_interval,
    ADD CONSTRAINT policy_per CHECK (
        pg_catalog.date_part('epoch', per) OPERATOR(pg_catalog.>) 0 AND per OPERATOR(pg_catalog.<=) interval '1000 years'),
    ADD CONSTRAINT policy_min_interval CHECK (
        pg_catalog.date_part('epoch', min_interval) OPERATOR(pg_catalog.>=) 0
        AND min_interval OPERATOR(pg_catalog.<=) interval '1000 years');
-- Likes are read through other indexes. Those whose time is no time have now one.
DROP INDEX counter_ext.liked_by_actor;
UPDATE counter_ext.liked SET (at) = ROW (pg_catalog.now()) WHERE NOT pg_catalog.isfinite(at);
ALTER TABLE counter_ext.liked
    DROP CONSTRAINT liked_pkey,
    ADD CONSTRAINT liked_pkey PRIMARY KEY (actor, item) INCLUDE (at),
    ADD CONSTRAINT liked_at_finite CHECK (pg_catalog.isfinite(at));
ALTER OPERATOR FAMILY @extschema@.counter_ops USING btree ADD
    FUNCTION 4 (@extschema@.counter, @extschema@.counter) pg_catalog.btequalimage(oid);
-- Sketches sort now. Before PostgreSQL 17 no command says so of an operator that is there.
UPDATE pg_catalog.pg_operator SET (oprcanmerge) = ROW (true)
    WHERE oid OPERATOR(pg_catalog.=) '@extschema@.=(@extschema@.counter_hll, @extschema@.counter_hll)'::pg_catalog.regoperator;

-- HERE COMES THE NEW VERSION.

DROP FUNCTION counter_ext.list_counters_of_0_1_0();

-- Actors that are networks are recognized as they are written.
UPDATE counter_ext.blocked SET (network) = ROW (NULL::cidr);

-- What the chains of the audit log add up to: see src/audit/anchor.rs. Each link's hash is a number of 256 bits, taken here as
-- eight of 32 bits, which cannot run over bigint for as many chains as there may be.
DO $$
DECLARE
    chains bigint;
    entries bigint;
    parts bigint[];
    carry bigint := 0;
    added bytea := ''::pg_catalog.bytea;
BEGIN
    SELECT pg_catalog.count(*), pg_catalog.sum(seq)::pg_catalog.int8 INTO chains, entries FROM counter_ext.audit_head;
    IF chains OPERATOR(pg_catalog.=) 0 THEN
        RETURN;
    END IF;
    SELECT pg_catalog.array_agg(each.part ORDER BY each.number) INTO parts FROM (
        SELECT n AS number, pg_catalog.sum(('x'::pg_catalog.text OPERATOR(pg_catalog.||)
            pg_catalog.encode(pg_catalog.substr(links.hash, n OPERATOR(pg_catalog.*) 4 OPERATOR(pg_catalog.+) 1, 4), 'hex'))::pg_catalog.bit(32)::pg_catalog.int8)::pg_catalog.int8 AS part
        FROM (
            SELECT pg_catalog.sha256(
                pg_catalog.int8send(26) OPERATOR(pg_catalog.||) 'counter_ext audit anchor 1'::pg_catalog.bytea
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.octet_length(raw.id)) OPERATOR(pg_catalog.||) raw.id
                OPERATOR(pg_catalog.||) pg_catalog.int8send(8) OPERATOR(pg_catalog.||) pg_catalog.int8send(raw.seq)
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.octet_length(raw.hash)) OPERATOR(pg_catalog.||) raw.hash) AS hash
            FROM (
                SELECT pg_catalog.convert_to(h.id, pg_catalog.getdatabaseencoding()) AS id, h.seq, h.hash FROM counter_ext.audit_head h
            ) AS raw
        ) AS links, pg_catalog.generate_series(0, 7) AS n
        GROUP BY n
    ) AS each;
    FOR n IN REVERSE 8..1 LOOP
        carry := carry OPERATOR(pg_catalog.+) parts[n];
        added := pg_catalog.substr(pg_catalog.int8send(carry), 5, 4) OPERATOR(pg_catalog.||) added;
        carry := carry OPERATOR(pg_catalog.>>) 32;
    END LOOP;
    -- This is no restore, for whose end the worker would wait.
    ALTER TABLE counter_ext.audit_anchor DISABLE TRIGGER note_foreign_insert;
    INSERT INTO counter_ext.audit_anchor (name, chains, entries, hash) VALUES ('heads', chains, entries, added);
    ALTER TABLE counter_ext.audit_anchor ENABLE ALWAYS TRIGGER note_foreign_insert;
END
$$;

-- Caches get the triggers that 0.2.0 makes; their rows are counted by the worker, or by counter_compact. Nothing here reads a table or runs
-- what its owner has written, nor does the update fail or wait for long by one: what cannot be had stays as it is. A table whose owner may not
-- count is none of a cache, whatever its triggers are called.
CREATE FUNCTION counter_ext.remake_cache(relation pg_catalog.regclass, prefix text, key_column text) RETURNS void
    AS 'MODULE_PATHNAME', 'remake_cache_wrapper' LANGUAGE c STRICT;
DO $$
DECLARE
    cache record;
    old record;
    lock_timeout_before CONSTANT pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    -- Of all tables together, and of one lock.
    waits_until CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => 60);
    longest_wait_ms CONSTANT pg_catalog.int4 := 10000;
BEGIN
    FOR cache IN
        SELECT DISTINCT c.oid::pg_catalog.regclass AS relation, counter_ext.trigger_arguments(t.tgargs) AS arguments
        FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
        WHERE t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
            AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
            AND t.tgname OPERATOR(pg_catalog.~) '^counter_rows_(insert|delete|update|truncate)_[0-9a-f]{8}$'::pg_catalog.text
            AND t.tgnargs OPERATOR(pg_catalog.=) 2::pg_catalog.int2 AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) 4096
            AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::"char"
            AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
            AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
    LOOP
        PERFORM pg_catalog.set_config('lock_timeout', GREATEST(10, LEAST(longest_wait_ms, (1000 OPERATOR(pg_catalog.*)
            pg_catalog.date_part('epoch', waits_until OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp()))::pg_catalog.int4))::pg_catalog.text, true);
        BEGIN
            FOR old IN
                SELECT t.oid FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid OPERATOR(pg_catalog.=) cache.relation
                    AND t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
                    AND NOT t.tgisinternal AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    AND t.tgnargs OPERATOR(pg_catalog.=) 2::pg_catalog.int2 AND pg_catalog.octet_length(t.tgargs) OPERATOR(pg_catalog.<=) 4096
                    AND counter_ext.trigger_arguments(t.tgargs) OPERATOR(pg_catalog.=) cache.arguments
                    AND t.tgname OPERATOR(pg_catalog.~) '^counter_rows_(insert|delete|update|truncate)_[0-9a-f]{8}$'::pg_catalog.text
            LOOP
                PERFORM counter_ext.drop_trigger(old.oid);
            END LOOP;
            PERFORM counter_ext.remake_cache(cache.relation, cache.arguments[1], cache.arguments[2]);
            UPDATE counter_ext.cache AS c SET (state, why, retry_at, restored_by) = ROW ('stale', NULL::text, NULL::timestamptz, NULL::text)
                WHERE c.relid OPERATOR(pg_catalog.=) cache.relation::pg_catalog.oid AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'table % keeps the triggers by which version 0.1.0 counts its rows into counters "%": %', cache.relation, cache.arguments[1], SQLERRM
                USING ERRCODE = SQLSTATE,
                HINT = pg_catalog.format('When that is mended, have the table''s owner call %s.counter_cache(%L, %L, %L, take_over => true).',
                    '@extschema@', cache.relation, cache.arguments[1], cache.arguments[2]);
        END;
    END LOOP;
    PERFORM pg_catalog.set_config('lock_timeout', lock_timeout_before, true);
END
$$;
DROP FUNCTION counter_ext.remake_cache(pg_catalog.regclass, text, text);
