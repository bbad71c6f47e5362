-- Caches, and how each stands: a row for each prefix that a table's rows are counted under. The triggers themselves decide what is
-- counted; this says what they were found like last, so that what happens to their table is noticed (src/api/cache_registry.rs).
-- Dumped by name: oids of another server mean nothing here, and a table that is left out of a dump leaves its row out.
CREATE TABLE counter_ext.cache (
    relation text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    -- As its triggers have them (src/caches/arguments.rs): the prefix, a column of the key, pairs of a word and a name.
    arguments text[] COLLATE "C" NOT NULL,
    relid oid NOT NULL,
    -- Of the columns that the arguments name, in their places.
    numbers smallint[] NOT NULL,
    middle oid NOT NULL DEFAULT 0,
    owner oid NOT NULL,
    found text NOT NULL,
    state text NOT NULL DEFAULT 'right',
    verified_at timestamptz,
    why text,
    retry_at timestamptz,
    -- Its keys have other texts now: counters of old ones are the cache's too.
    is_rekeyed boolean NOT NULL DEFAULT false,
    -- The session that made its triggers beside rows, or amounts, that these have not counted: while it lasts, a restore goes on, and
    -- brings the amounts of these rows.
    restored_by text,
    -- Arguments can be longer than an index takes.
    arguments_hash bigint GENERATED ALWAYS AS (pg_catalog.hash_array_extended(arguments, 0::pg_catalog.int8)) STORED,
    PRIMARY KEY (relid, arguments_hash),
    CONSTRAINT cache_state CHECK (state IN ('right', 'stale', 'unverified'))
);
SELECT pg_catalog.pg_extension_config_dump('counter_ext.cache', '');
COMMENT ON TABLE counter_ext.cache IS 'counter caches, and how each was found last; view counter_caches shows them';

-- Functions that every command of DDL runs are given the settings which decide how their texts are read and how names are quoted: those of
-- whoever gives the command would make something else of them. They are in PL/pgSQL, which keeps its plans for the
-- session: a function in SQL is planned anew in each call by another, for each cache.

-- The arguments of a trigger, which pg_trigger has as texts that end with a NUL each.
CREATE FUNCTION counter_ext.trigger_arguments(arguments bytea) RETURNS text[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    -- No part of an escaped backslash is to be taken for the beginning of a NUL.
    RETURN (SELECT pg_catalog.array_agg(pg_catalog.convert_from(pg_catalog.decode(part, 'escape'), pg_catalog.getdatabaseencoding()) ORDER BY at)
        FROM pg_catalog.unnest(pg_catalog.string_to_array(pg_catalog.regexp_replace(pg_catalog.replace(
                pg_catalog.encode(arguments, 'escape'), '\\', '\134'), '\\000$', ''), '\000')) WITH ORDINALITY AS each (part, at));
END
$$;

-- The bytes of such arguments.
CREATE FUNCTION counter_ext.argument_bytes(arguments text[]) RETURNS bytea LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    RETURN (SELECT pg_catalog.string_agg(pg_catalog.convert_to(a, pg_catalog.getdatabaseencoding()) OPERATOR(pg_catalog.||) '\x00'::pg_catalog.bytea, ''::pg_catalog.bytea ORDER BY at)
        FROM pg_catalog.unnest(arguments) WITH ORDINALITY AS each (a, at));
END
$$;
-- What stands after a word.
CREATE FUNCTION counter_ext.argument_after(arguments text[], word text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT arguments[at OPERATOR(pg_catalog.+) 1] FROM pg_catalog.generate_series(3, pg_catalog.cardinality(arguments), 2) AS at
        WHERE arguments[at] OPERATOR(pg_catalog.=) word LIMIT 1);
END
$$;
-- The columns of a key, as a reader is shown them.
CREATE FUNCTION counter_ext.argument_key(arguments text[]) RETURNS text LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.concat_ws(', ', arguments[2], (SELECT pg_catalog.string_agg(arguments[at OPERATOR(pg_catalog.+) 1], ', ' ORDER BY at)
        FROM pg_catalog.generate_series(3, pg_catalog.cardinality(arguments), 2) AS at WHERE arguments[at] OPERATOR(pg_catalog.=) 'key'))
$$;
-- The table that rows are counted through; 0 where there is none. What is no name of two parts names none: a trigger of a role that may not
-- count says what it likes, and no command of others is to fail by it.
CREATE FUNCTION counter_ext.argument_middle(arguments text[]) RETURNS oid LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on AS $$
BEGIN
    RETURN (SELECT coalesce(CASE WHEN named.middle OPERATOR(pg_catalog.~)
                '^[ \t\n\r\f]*("([^"]|"")+"|[^". \t\n\r\f]+)[ \t\n\r\f]*\.[ \t\n\r\f]*("([^"]|"")+"|[^". \t\n\r\f]+)[ \t\n\r\f]*$'
            THEN pg_catalog.to_regclass(named.middle)::pg_catalog.oid END, 0::pg_catalog.oid)
        FROM counter_ext.argument_after(arguments, 'through') AS named (middle));
END
$$;
-- The numbers of the columns that arguments name, in their places; 0 where there is none of the name, NULL where it names no column.
CREATE FUNCTION counter_ext.argument_numbers(relation oid, middle oid, arguments text[]) RETURNS smallint[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.array_agg(CASE WHEN place.relid IS NULL THEN NULL ELSE coalesce((SELECT a.attnum FROM pg_catalog.pg_attribute a
            WHERE a.attrelid OPERATOR(pg_catalog.=) place.relid AND a.attname OPERATOR(pg_catalog.=) arguments[at]::pg_catalog.name
                AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2), 0::pg_catalog.int2) END ORDER BY at)
        FROM pg_catalog.generate_series(1, pg_catalog.cardinality(arguments)) AS at
        CROSS JOIN LATERAL (SELECT CASE WHEN at OPERATOR(pg_catalog.=) 2 THEN relation
            WHEN at OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 1 THEN NULL
            WHEN arguments[at OPERATOR(pg_catalog.-) 1] IN ('key', 'amount', 'only') THEN relation
            WHEN arguments[at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN middle END) AS place (relid));
END
$$;
-- The same arguments, with the names that all has now; NULL in the place of what is gone.
CREATE FUNCTION counter_ext.arguments_now(relation oid, middle oid, arguments text[], numbers smallint[]) RETURNS text[] LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.array_agg(CASE
            WHEN at OPERATOR(pg_catalog.>) 2 AND arguments[at OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) 'through' AND at OPERATOR(pg_catalog.%) 2 OPERATOR(pg_catalog.=) 0
                -- As it is written, while it names the same table.
                THEN CASE WHEN counter_ext.argument_middle(arguments) OPERATOR(pg_catalog.=) middle AND middle OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
                    THEN arguments[at] ELSE counter_ext.table_name(middle) END
            WHEN numbers[at] IS NULL THEN arguments[at]
            ELSE (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attnum OPERATOR(pg_catalog.=) numbers[at] AND NOT a.attisdropped
                AND a.attrelid OPERATOR(pg_catalog.=) CASE WHEN at OPERATOR(pg_catalog.>) 2 AND arguments[at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN middle ELSE relation END)
            END ORDER BY at)
        FROM pg_catalog.generate_series(1, pg_catalog.cardinality(arguments)) AS at);
END
$$;
-- A table's name with its schema, as SQL writes it.
CREATE FUNCTION counter_ext.table_name(relation oid) RETURNS text LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    RETURN (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE c.oid OPERATOR(pg_catalog.=) relation);
END
$$;

-- Every use of counter_rows by tables that last, each by the table or the partitioned one that it is a part of.
CREATE VIEW counter_ext.counting_trigger AS
    SELECT t.oid AS trigger_oid, t.tgrelid, coalesce(pg_catalog.pg_partition_root(t.tgrelid), t.tgrelid::pg_catalog.regclass)::pg_catalog.oid AS relid,
        t.tgparentid, t.tgenabled, t.arguments[1] AS prefix, t.arguments,
        CASE WHEN 'of' OPERATOR(pg_catalog.=) ANY (t.arguments[3:]) THEN counter_ext.argument_after(t.arguments, 'of') END AS of_table
    -- The function is slow. Where nothing but the NULs is escaped, the texts are between these. Arguments that are longer than any that count
    -- (src/caches/arguments.rs) are passed over: every command of anybody would take them apart.
    FROM (SELECT e.oid, e.tgrelid, e.tgparentid, e.tgenabled, e.tgfoid, e.tgnargs, CASE
            WHEN pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.>) 4096 THEN NULL
            WHEN pg_catalog.length(pg_catalog.encode(e.tgargs, 'escape')) OPERATOR(pg_catalog.=)
                    (pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.+) (3 OPERATOR(pg_catalog.*) e.tgnargs))
                THEN (pg_catalog.string_to_array(pg_catalog.encode(e.tgargs, 'escape'), '\000'))[:e.tgnargs]
            ELSE counter_ext.trigger_arguments(e.tgargs) END AS arguments
        FROM pg_catalog.pg_trigger e WHERE pg_catalog.octet_length(e.tgargs) OPERATOR(pg_catalog.<=) 4096) AS t
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) t.oid
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.refobjid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass
        AND t.tgfoid OPERATOR(pg_catalog.=) '@extschema@.counter_rows()'::pg_catalog.regprocedure
        AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::"char" AND c.relkind IN ('r', 'p') AND t.tgnargs OPERATOR(pg_catalog.>=) 2::pg_catalog.int2;
-- Those of counted tables, and those of the tables that rows are counted through.
CREATE VIEW counter_ext.cache_trigger AS
    SELECT trigger_oid, tgrelid, relid, tgparentid, tgenabled, prefix, arguments FROM counter_ext.counting_trigger WHERE of_table IS NULL;
CREATE VIEW counter_ext.middle_trigger AS
    SELECT trigger_oid, tgrelid, relid, tgparentid, tgenabled, prefix, arguments, of_table FROM counter_ext.counting_trigger WHERE of_table IS NOT NULL;

-- A partitioned table and all its partitions, or a partition. pg_partition_tree locks them: every command of DDL would wait for who holds
-- one of his own.
CREATE FUNCTION counter_ext.parts(relation oid) RETURNS SETOF oid LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY WITH RECURSIVE part AS (
        SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) relation
            AND (c.relkind OPERATOR(pg_catalog.=) 'p'::"char" OR c.relispartition)
        UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN part p ON p.oid OPERATOR(pg_catalog.=) i.inhparent WHERE NOT i.inhdetachpending
    )
    SELECT p.oid FROM part p;
END
$$;

-- What is different when a cache's keys, rows or triggers have changed other than by its triggers: types, collations and labels of
-- enums, parts of the table, which triggers are switched on.
CREATE FUNCTION counter_ext.cache_found(relation oid, arguments text[]) RETURNS text LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT pg_catalog.format('%s|%s|%s',
        (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(',', a.atttypid, a.attcollation,
                (SELECT pg_catalog.string_agg(pg_catalog.encode(pg_catalog.convert_to(e.enumlabel::pg_catalog.text, pg_catalog.getdatabaseencoding()), 'hex'), ',' ORDER BY e.oid) FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t
                    ON e.enumtypid OPERATOR(pg_catalog.=) t.oid OR e.enumtypid OPERATOR(pg_catalog.=) t.typbasetype
                    WHERE t.oid OPERATOR(pg_catalog.=) a.atttypid)), ';' ORDER BY n.at)
            FROM pg_catalog.unnest(counter_ext.argument_numbers(relation, named.middle, arguments)) WITH ORDINALITY AS n (number, at)
            JOIN pg_catalog.pg_attribute a ON a.attnum OPERATOR(pg_catalog.=) n.number AND a.attrelid OPERATOR(pg_catalog.=) CASE
                WHEN n.at OPERATOR(pg_catalog.>) 2 AND arguments[n.at OPERATOR(pg_catalog.-) 1] IN ('by', 'to') THEN named.middle ELSE relation END),
        (SELECT pg_catalog.string_agg(i.relid::pg_catalog.text, ',' ORDER BY i.relid) FROM
            (SELECT t.relid FROM counter_ext.parts(relation) AS t (relid) UNION ALL SELECT t.relid FROM counter_ext.parts(named.middle) AS t (relid)) i),
        -- Whether each counts outside replicas, but those that are there for replicas only. Those of partitions for TRUNCATE, which come and go
        -- with these, only where they do not.
        (SELECT pg_catalog.string_agg(CASE WHEN t.is_of_part AND p.tgenabled OPERATOR(pg_catalog.<>) 'D'::"char" THEN NULL WHEN p.tgenabled OPERATOR(pg_catalog.=) 'D'::"char" OR p.tgenabled OPERATOR(pg_catalog.=) 'R'::"char"
                AND (p.tgtype OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.=) 0::pg_catalog.int2 THEN 'D' ELSE 'O' END, ',' ORDER BY p.oid)
            -- By the table, each: every command of anybody would else look at all triggers for each cache.
            FROM pg_catalog.pg_trigger p JOIN (
                SELECT u.trigger_oid, u.is_of_part
                    FROM (SELECT relation UNION SELECT i.relid FROM counter_ext.parts(relation) AS i (relid)) r (oid) CROSS JOIN LATERAL (
                        SELECT g.trigger_oid, g.tgrelid OPERATOR(pg_catalog.<>) g.relid AND g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AS is_of_part
                            FROM counter_ext.counting_trigger g JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) g.trigger_oid
                            WHERE g.tgrelid OPERATOR(pg_catalog.=) r.oid AND e.tgargs OPERATOR(pg_catalog.=) own.bytes
                                AND g.relid OPERATOR(pg_catalog.=) relation OFFSET 0) u
                UNION ALL SELECT u.trigger_oid, u.is_of_part
                    FROM (SELECT named.middle UNION SELECT i.relid FROM counter_ext.parts(named.middle) AS i (relid)) r (oid) CROSS JOIN LATERAL (
                        SELECT g.trigger_oid, g.tgrelid OPERATOR(pg_catalog.<>) g.relid AND g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AS is_of_part
                            FROM counter_ext.middle_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) r.oid AND g.relid OPERATOR(pg_catalog.=) named.middle
                                AND g.prefix OPERATOR(pg_catalog.=) cache_found.arguments[1] OFFSET 0) u) t ON p.oid OPERATOR(pg_catalog.=) t.trigger_oid))
    FROM counter_ext.argument_middle(arguments) AS named (middle) CROSS JOIN counter_ext.argument_bytes(arguments) AS own (bytes));
END
$$;

-- A session by its process, which no later one is called; NULL where there is none.
CREATE FUNCTION counter_ext.session_name(pid int) RETURNS text LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.format('%s since %s', a.pid, pg_catalog.extract('epoch', a.backend_start)) FROM pg_catalog.pg_stat_get_activity($1) a
$$;
CREATE FUNCTION counter_ext.session_lasts(name text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce($1 OPERATOR(pg_catalog.=) counter_ext.session_name(pg_catalog.split_part($1, ' ', 1)::pg_catalog.int4), false)
$$;

-- This session, if it seems to restore a dump as it makes a trigger: the table has rows already, or counters are being written. Where
-- definitions are restored before all data there is neither.
CREATE FUNCTION counter_ext.restoring_session(relation oid, middle oid, prefix text) RETURNS text LANGUAGE sql STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT counter_ext.session_name(pg_catalog.pg_backend_pid()) WHERE counter_ext.is_restored()
        OR EXISTS (SELECT FROM pg_catalog.unnest(ARRAY[$1, $2]) AS r (oid) LEFT JOIN LATERAL counter_ext.parts(r.oid) AS i (relid) ON true
            WHERE pg_catalog.pg_relation_size(coalesce(i.relid, r.oid)) OPERATOR(pg_catalog.>) 0::pg_catalog.int8)
        OR (SELECT pg_catalog.starts_with(t.id, $3) FROM counter_ext.total t WHERE t.id OPERATOR(pg_catalog.>=) $3 ORDER BY t.id LIMIT 1)
        OR (SELECT pg_catalog.starts_with(s.id, $3) FROM counter_ext.slot s WHERE s.id OPERATOR(pg_catalog.>=) $3 ORDER BY s.id LIMIT 1)
        OR EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.mode OPERATOR(pg_catalog.=) 'RowExclusiveLock'
            AND l.relation IN ('counter_ext.total'::pg_catalog.regclass::pg_catalog.oid, 'counter_ext.slot'::pg_catalog.regclass::pg_catalog.oid)
            AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
            AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid())
$$;

-- Rows of a dump find their tables again by name, in sessions of any kind.
CREATE FUNCTION counter_ext.restore_cache() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
BEGIN
    IF new.restored_by IS DISTINCT FROM counter_ext.session_name(pg_catalog.pg_backend_pid()) THEN
        -- Dumped.
        new.restored_by := NULL;
    END IF;
    -- A parallel restore fills this table while another session makes the triggers. An advisory lock anybody could hold for good.
    LOCK TABLE counter_ext.cache IN SHARE UPDATE EXCLUSIVE MODE;
    IF new.relid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(new.relation)::pg_catalog.oid THEN
        -- By our own hand, or restored where nothing has changed.
        NULL;
    ELSE
        new.relid := pg_catalog.to_regclass(new.relation);
    END IF;
    SELECT c.relowner INTO new.owner FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) new.relid;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    new.middle := counter_ext.argument_middle(new.arguments);
    new.numbers := counter_ext.argument_numbers(new.relid, new.middle, new.arguments);
    -- What is known of it is the dump's, in whichever order triggers and dumped row have come. Partitions may have been filled before
    -- and after the triggers.
    UPDATE counter_ext.cache AS c SET restored_by = coalesce(new.restored_by, c.restored_by), found = coalesce(counter_ext.cache_found(c.relid, c.arguments), ''),
            state = CASE WHEN 'right' IN (c.state, new.state) AND EXISTS (SELECT FROM pg_catalog.pg_partition_tree(c.relid) UNION ALL SELECT FROM pg_catalog.pg_partition_tree(c.middle)) THEN 'stale'
                WHEN c.state OPERATOR(pg_catalog.=) 'unverified' THEN new.state ELSE c.state END,
            verified_at = coalesce(c.verified_at, new.verified_at)
        WHERE c.relid OPERATOR(pg_catalog.=) new.relid AND c.arguments OPERATOR(pg_catalog.=) new.arguments
            AND (new.restored_by IS NOT NULL OR counter_ext.session_lasts(c.restored_by));
    IF FOUND OR pg_catalog.array_position(new.numbers, 0::pg_catalog.int2) IS NOT NULL OR EXISTS (SELECT FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) new.relid
            AND c.arguments OPERATOR(pg_catalog.=) new.arguments) THEN
        RETURN NULL;
    END IF;
    new.found := coalesce(counter_ext.cache_found(new.relid, new.arguments), '');
    RETURN new;
END
$$;
CREATE TRIGGER restore_cache BEFORE INSERT ON counter_ext.cache FOR EACH ROW EXECUTE FUNCTION counter_ext.restore_cache();
ALTER TABLE counter_ext.cache ENABLE ALWAYS TRIGGER restore_cache;

-- Calls of the functions in the extension's schema, which go with them when that is changed.
CREATE FUNCTION counter_ext.drop_prefix(prefix text) RETURNS bigint LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
    SELECT @extschema@.counter_drop_prefix($1);
END;
-- Who has given the command, as far as a function with its owner's rights can know.
CREATE FUNCTION counter_ext.caller() RETURNS oid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CASE pg_catalog.current_setting('role')
        WHEN 'none' THEN SESSION_USER::pg_catalog.name ELSE pg_catalog.current_setting('role')::pg_catalog.name END
$$;

-- What keeps others than the owner from reading these tables: functions that users can write, which planning a query could run, since
-- PostgreSQL works out constant parts of expressions in indexes, statistics, partition keys and checks as it plans, also in partition keys of
-- tables that these are partitions of; and another server, which answers when it likes. An operator's owner decides what its negator and its
-- commutator call.
CREATE FUNCTION counter_ext.obstacle(relation oid, middle oid) RETURNS text LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp AS $$
    WITH part AS MATERIALIZED (
        SELECT relation AS relid UNION SELECT middle
        UNION SELECT t.relid FROM counter_ext.parts(relation) AS t (relid)
        UNION SELECT t.relid FROM counter_ext.parts(middle) AS t (relid)
        UNION SELECT t.relid FROM pg_catalog.unnest(ARRAY[relation, middle]) AS r (oid) CROSS JOIN LATERAL pg_catalog.pg_partition_ancestors(r.oid) AS t (relid)
    ), holder AS MATERIALIZED (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS classid, p.relid AS objid FROM part p
        UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid, i.indexrelid
            FROM pg_catalog.pg_index i JOIN part p ON p.relid OPERATOR(pg_catalog.=) i.indrelid
        UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass::pg_catalog.oid, s.oid
            FROM pg_catalog.pg_statistic_ext s JOIN part p ON p.relid OPERATOR(pg_catalog.=) s.stxrelid
        UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass::pg_catalog.oid, k.oid
            FROM pg_catalog.pg_constraint k JOIN part p ON p.relid OPERATOR(pg_catalog.=) k.conrelid WHERE k.contype OPERATOR(pg_catalog.=) 'c'::"char"
    ), code AS (
        SELECT f.proowner AS owner FROM holder h
            JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) h.classid AND d.objid OPERATOR(pg_catalog.=) h.objid
            JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) d.refobjid
            WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        UNION ALL SELECT c.owner FROM holder h
            JOIN pg_catalog.pg_depend d ON d.classid OPERATOR(pg_catalog.=) h.classid AND d.objid OPERATOR(pg_catalog.=) h.objid
            JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) d.refobjid
            JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) o.oprcode
            CROSS JOIN LATERAL (VALUES (f.proowner), (o.oprowner)) AS c (owner)
            WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass
    )
    SELECT CASE WHEN EXISTS (SELECT FROM code c JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) c.owner WHERE NOT r.rolsuper)
            THEN 'indexes, statistics or partitions of the table call functions of users: counter_backfill recounts it, unless its middle table has another owner; the worker does not'
        WHEN EXISTS (SELECT FROM part p JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relid WHERE c.relkind OPERATOR(pg_catalog.=) 'f'::"char")
            THEN 'another server has rows of the table: counter_backfill recounts it, unless its middle table has another owner; the worker does not' END
$$;

-- Recounts one cache; where that fails, says why and lets the worker try again later, each time. For others than the owner only where
-- nothing of the owner's runs: a function that never ends would keep the worker, or whoever gave a command, for good. What is found stays
-- so meanwhile, since whoever adds an index, statistics or a check waits for the lock.
CREATE FUNCTION counter_ext.recount_one(relation oid, arguments text[], middle oid, is_for_owner boolean) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout TO '100ms' AS $$
DECLARE
    message pg_catalog.text;
BEGIN
    BEGIN
        IF NOT is_for_owner THEN
            PERFORM counter_ext.lock_against_ddl(t.relid) FROM pg_catalog.unnest(ARRAY[$1, $3]) AS t (relid);
            message := counter_ext.obstacle($1, $3);
        END IF;
        IF message IS NULL THEN
            PERFORM counter_ext.recount_cache($1, $2, (SELECT pg_catalog.bool_or(c.is_rekeyed) FROM counter_ext.cache c
                WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2));
            -- Asked after rows and counters were read, which may have been some of a restore's.
            IF counter_ext.is_restored() THEN
                RAISE EXCEPTION 'the database is being restored' USING ERRCODE = 'object_in_use';
            END IF;
            UPDATE counter_ext.cache AS c SET state = 'right', verified_at = pg_catalog.clock_timestamp(), why = NULL, retry_at = NULL, is_rekeyed = false,
                    restored_by = NULL
                WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
            RETURN true;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        message := SQLERRM;
    END;
    PERFORM counter_ext.put_off($1, $2, message);
    RETURN false;
END
$$;

-- Lets the worker try again later.
CREATE FUNCTION counter_ext.put_off(relation oid, arguments text[], message text) RETURNS void LANGUAGE sql
    SET search_path = pg_catalog, pg_temp AS $$
    UPDATE counter_ext.cache AS c SET state = 'stale', why = $3,
            retry_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => CASE WHEN c.why IS NULL THEN 1 ELSE 5 END)
        WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2
$$;

-- A repair is no conflict of the caller's transaction: where another one has written the row since this one began, that stands.
CREATE FUNCTION counter_ext.note_verified(relation oid, arguments text[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE counter_ext.cache AS c SET state = 'right', verified_at = pg_catalog.clock_timestamp(), why = NULL, retry_at = NULL, restored_by = NULL
        WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
EXCEPTION WHEN serialization_failure THEN
    NULL;
END
$$;

-- Locks a cache's row for this transaction, if nobody else has it or has changed it.
CREATE FUNCTION counter_ext.try_lock_cache(relation oid, arguments text[]) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
EXCEPTION WHEN serialization_failure THEN
    RETURN false;
END
$$;

-- Tables that have another owner now, who must have the right to count: a command that gives one of these tables, or of all where NULL, to
-- one without it is refused. Where no command told of it (REASSIGN OWNED without the library preloaded), the cache says it.
CREATE FUNCTION counter_ext.follow_owners(relations oid[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN SELECT k.relid, k.prefix, k.arguments, k.middle, k.state, c.relowner,
                pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE') AS may_count,
                (SELECT coalesce(pg_catalog.bool_and(pg_catalog.has_column_privilege(c.relowner, k.middle, n.number, 'SELECT')
                        AND pg_catalog.has_schema_privilege(c.relowner, (SELECT m.relnamespace FROM pg_catalog.pg_class m WHERE m.oid OPERATOR(pg_catalog.=) k.middle), 'USAGE')), true)
                    FROM pg_catalog.unnest(k.numbers) WITH ORDINALITY AS n (number, at) WHERE n.at OPERATOR(pg_catalog.>) 2
                        AND k.arguments[n.at OPERATOR(pg_catalog.-) 1] IN ('by', 'to')) AS may_read
            FROM counter_ext.cache k JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.relid
            WHERE c.relowner OPERATOR(pg_catalog.<>) k.owner LOOP
        -- What was changed by another command waits until nobody has it.
        CONTINUE WHEN changed.relid OPERATOR(pg_catalog.<>) ALL (relations) AND NOT counter_ext.try_lock_cache(changed.relid, changed.arguments);
        IF changed.may_count AND changed.may_read THEN
            UPDATE counter_ext.cache AS c SET owner = changed.relowner WHERE c.relid OPERATOR(pg_catalog.=) changed.relid
                AND c.arguments OPERATOR(pg_catalog.=) changed.arguments;
        ELSIF relations IS NULL OR changed.relid OPERATOR(pg_catalog.=) ANY (relations) THEN
            IF changed.may_count THEN
                RAISE EXCEPTION 'role "%" may not read table %', pg_catalog.pg_get_userbyid(changed.relowner), changed.middle::pg_catalog.regclass
                    USING ERRCODE = 'insufficient_privilege',
                    DETAIL = pg_catalog.format('Rows of table %s are counted through it, with the rights of their table''s owner.', changed.relid::pg_catalog.regclass),
                    HINT = pg_catalog.format('GRANT SELECT ON %s TO %I;', changed.middle::pg_catalog.regclass, pg_catalog.pg_get_userbyid(changed.relowner));
            END IF;
            RAISE EXCEPTION 'role "%" may not count the rows of table %', pg_catalog.pg_get_userbyid(changed.relowner), changed.relid::pg_catalog.regclass
                USING ERRCODE = 'insufficient_privilege',
                DETAIL = pg_catalog.format('Triggers of the table count its rows into counters "%s" with the rights of its owner.', changed.prefix),
                HINT = pg_catalog.format('GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO %I;', pg_catalog.pg_get_userbyid(changed.relowner));
        ELSIF changed.state OPERATOR(pg_catalog.=) 'right' THEN
            UPDATE counter_ext.cache AS c SET state = 'stale', why = NULL, retry_at = NULL WHERE c.relid OPERATOR(pg_catalog.=) changed.relid
                AND c.arguments OPERATOR(pg_catalog.=) changed.arguments;
        END IF;
    END LOOP;
    -- A partition can be another's than the partitioned table: its triggers count with its owner's rights.
    FOR changed IN SELECT c.oid, c.relowner, k.prefix FROM pg_catalog.unnest(relations) AS r (oid)
            JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.oid AND c.relispartition
            JOIN counter_ext.cache k ON k.relid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid
            WHERE c.relowner OPERATOR(pg_catalog.<>) k.owner AND c.relkind OPERATOR(pg_catalog.=) 'r'::"char"
                AND NOT (pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                    AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')) LIMIT 1 LOOP
        RAISE EXCEPTION 'role "%" may not count the rows of partition %', pg_catalog.pg_get_userbyid(changed.relowner), changed.oid::pg_catalog.regclass
            USING ERRCODE = 'insufficient_privilege',
            DETAIL = pg_catalog.format('Triggers of the partition count its rows into counters "%s" with the rights of its owner.', changed.prefix),
            HINT = pg_catalog.format('GRANT SELECT, INSERT, UPDATE ON counter_ext.total TO %I;', pg_catalog.pg_get_userbyid(changed.relowner));
    END LOOP;
END
$$;

-- PostgreSQL has no command that changes a trigger's arguments. Whoever renames what they name holds that table's lock. The second
-- command has all sessions read the trigger's table anew.
CREATE FUNCTION counter_ext.set_arguments(trigger_oid oid, relation oid, arguments text[]) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE pg_catalog.pg_trigger AS t SET tgargs = counter_ext.argument_bytes($3) WHERE t.oid OPERATOR(pg_catalog.=) $1;
    UPDATE pg_catalog.pg_class AS c SET relhastriggers = true WHERE c.oid OPERATOR(pg_catalog.=) $2;
END
$$;

-- Runs commands that tell no event trigger: there is nothing to follow. The setting makes all plans of the session anew.
CREATE FUNCTION counter_ext.run_untold(commands text) RETURNS void LANGUAGE plpgsql STRICT
    SET search_path = pg_catalog, pg_temp SET session_replication_role TO replica AS $$
BEGIN
    EXECUTE commands;
END
$$;

-- Whether this transaction has a table for itself: what it does to it waits for nobody.
CREATE FUNCTION counter_ext.is_locked(relation oid) RETURNS boolean LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.relation OPERATOR(pg_catalog.=) $1 AND l.granted
        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock'
        AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))
$$;

-- Drops a trigger, if it is there. A command names its table, and that name is another one's as soon as its schema is renamed, which waits for
-- no lock.
CREATE FUNCTION counter_ext.drop_trigger(trigger_oid oid) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command CONSTANT pg_catalog.text := (SELECT pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::pg_catalog.regclass)
        FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) trigger_oid);
BEGIN
    IF command IS NOT NULL THEN
        EXECUTE command;
        PERFORM counter_ext.check_table_was_meant(NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) trigger_oid));
    END IF;
END
$$;

-- Raises 40001 unless a command has come to the table that it was made for.
CREATE FUNCTION counter_ext.check_table_was_meant(was_meant boolean) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT was_meant THEN
        RAISE EXCEPTION 'the schema of a table whose rows are counted was renamed meanwhile'
            USING ERRCODE = 'serialization_failure', HINT = 'Try the transaction again.';
    END IF;
END
$$;

-- TRUNCATE of a partition fires no trigger of the partitioned table. So each partition that has rows has one of its own, with the same
-- arguments: made with the cache, and as a partition comes. A dump holds them like any other trigger of a table: where it is restored,
-- partitions are there before the partitioned table's triggers, so that none is made twice.
CREATE FUNCTION counter_ext.guard_partitions(relation oid) RETURNS void LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM counter_ext.parts(relation)) THEN
        RETURN;
    END IF;
    PERFORM counter_ext.run_untold(counter_ext.partition_guards(relation));
    PERFORM counter_ext.check_table_was_meant(counter_ext.partition_guards(relation) IS NULL);
END
$$;

-- The commands that make those that are missing; NULL where none is.
CREATE FUNCTION counter_ext.partition_guards(relation oid) RETURNS text LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_catalog.string_agg(pg_catalog.format('CREATE TRIGGER %1$I BEFORE TRUNCATE ON %2$s FOR EACH STATEMENT EXECUTE FUNCTION %4$s(%3$s);
            ALTER TABLE %2$s ENABLE ALWAYS TRIGGER %1$I', made.name, made.table_name, made.literals, made.function), ';')
        FROM (SELECT DISTINCT c.oid::pg_catalog.regclass AS table_name, e.tgfoid::pg_catalog.regproc AS function,
                pg_catalog.concat('counter_rows_truncate_', pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(e.tgargs), 'hex'), 8)) AS name,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(a), ', ' ORDER BY at) FROM pg_catalog.unnest(t.arguments) WITH ORDINALITY AS each (a, at)) AS literals
            FROM counter_ext.parts(relation) AS p (oid) JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.oid
            JOIN counter_ext.counting_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid
            JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) t.trigger_oid
            -- Bit 6 is TRUNCATE.
            WHERE c.relkind OPERATOR(pg_catalog.=) 'r'::"char" AND (e.tgtype OPERATOR(pg_catalog.&) 32::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger own WHERE own.tgrelid OPERATOR(pg_catalog.=) c.oid AND own.tgfoid OPERATOR(pg_catalog.=) e.tgfoid
                    AND (own.tgtype OPERATOR(pg_catalog.&) 32::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2 AND own.tgargs OPERATOR(pg_catalog.=) e.tgargs)) AS made
$$;

-- Drops those of partitions that were detached: another table has the cache that they say.
CREATE FUNCTION counter_ext.release_partitions() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    commands pg_catalog.text;
    released pg_catalog.oid[];
BEGIN
    SELECT pg_catalog.string_agg(pg_catalog.format('DROP TRIGGER %I ON %s', e.tgname, e.tgrelid::pg_catalog.regclass), ';'), pg_catalog.array_agg(e.oid)
        INTO commands, released FROM counter_ext.counting_trigger t JOIN pg_catalog.pg_trigger e ON e.oid OPERATOR(pg_catalog.=) t.trigger_oid
        WHERE e.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_truncate_[0-9a-f]{8}$'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger own WHERE own.tgrelid OPERATOR(pg_catalog.=) t.relid AND own.tgfoid OPERATOR(pg_catalog.=) e.tgfoid
                AND own.oid OPERATOR(pg_catalog.<>) e.oid AND own.tgargs OPERATOR(pg_catalog.=) e.tgargs)
            AND EXISTS (SELECT FROM counter_ext.cache other WHERE other.relid OPERATOR(pg_catalog.<>) t.relid AND other.middle OPERATOR(pg_catalog.<>) t.relid
                AND other.prefix OPERATOR(pg_catalog.=) t.prefix)
            AND counter_ext.is_locked(e.tgrelid);
    PERFORM counter_ext.run_untold(commands);
    PERFORM counter_ext.check_table_was_meant(NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) ANY (released)));
END
$$;
