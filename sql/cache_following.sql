-- Whether a table is not as the row of its cache says.
CREATE FUNCTION counter_ext.cache_differs(relid oid, relation text, middle oid, arguments text[], numbers smallint[], found text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    RETURN (SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1
            AND c.oid::pg_catalog.regclass::pg_catalog.text OPERATOR(pg_catalog.=) $2)
        OR counter_ext.arguments_now($1, $3, $4, $5) IS DISTINCT FROM $4
        OR coalesce(counter_ext.cache_found($1, $4), '') OPERATOR(pg_catalog.<>) $6);
END
$$;

-- Brings a cache's row, its triggers, and where it is cheap its counters, to what its table is like after a command with this tag; for the
-- worker, which recounts by itself, after none. What its triggers' arguments are now, or NULL where it is no more.
CREATE FUNCTION counter_ext.follow_cache(relation oid, arguments text[], tag text) RETURNS text[] LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
DECLARE
    -- What a command's own transaction recounts; more than that is left to the worker.
    most_bytes_at_once CONSTANT pg_catalog.int8 := 16777216;
    -- Of counter_ext.cache. The type is not named here, or nothing could be done any more where somebody has renamed that schema.
    cache record;
    arguments_now pg_catalog.text[];
    middle_now pg_catalog.text[];
    found_now pg_catalog.text;
    restored_by_now pg_catalog.text;
    table_now pg_catalog.pg_class;
    bytes_now pg_catalog.int8;
BEGIN
    SELECT * INTO cache FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO table_now FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) cache.relid;
    arguments_now := counter_ext.arguments_now(cache.relid, cache.middle, cache.arguments, cache.numbers);
    IF table_now.oid IS NULL OR pg_catalog.array_position(arguments_now, NULL) IS NOT NULL THEN
        -- The table is gone, or the column: so are the counters, and nothing counts any more.
        PERFORM counter_ext.remove_cache(cache.relid, cache.arguments, cache.state OPERATOR(pg_catalog.<>) 'unverified');
        RETURN NULL;
    END IF;
    IF arguments_now OPERATOR(pg_catalog.<>) cache.arguments THEN
        PERFORM counter_ext.set_arguments(u.trigger_oid, u.tgrelid, arguments_now) FROM counter_ext.cache_trigger u
            WHERE u.relid OPERATOR(pg_catalog.=) cache.relid AND u.arguments OPERATOR(pg_catalog.=) cache.arguments;
        UPDATE counter_ext.cache AS c SET arguments = arguments_now WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    END IF;
    IF cache.middle OPERATOR(pg_catalog.<>) 0::pg_catalog.oid THEN
        -- Also where the counted table has another name now.
        middle_now := ARRAY[cache.prefix, counter_ext.argument_after(arguments_now, 'by'), 'to', counter_ext.argument_after(arguments_now, 'to'),
            'of', counter_ext.table_name(cache.relid)];
        PERFORM counter_ext.set_arguments(u.trigger_oid, u.tgrelid, middle_now) FROM counter_ext.middle_trigger u
            WHERE u.relid OPERATOR(pg_catalog.=) cache.middle AND u.prefix OPERATOR(pg_catalog.=) cache.prefix
                -- Of this table, under the name it had or has: the middle table can be somebody else's, with other caches.
                AND u.of_table IN (cache.relation, counter_ext.table_name(cache.relid))
                AND u.arguments OPERATOR(pg_catalog.<>) middle_now AND pg_catalog.cardinality(u.arguments) OPERATOR(pg_catalog.=) 6;
    END IF;
    cache.arguments := arguments_now;
    IF NOT EXISTS (SELECT FROM counter_ext.cache_trigger t WHERE t.relid OPERATOR(pg_catalog.=) cache.relid
            AND t.arguments OPERATOR(pg_catalog.=) cache.arguments) THEN
        -- A restore makes the triggers later. Else they were dropped: the counters stay, and are anybody's.
        IF pg_catalog.split_part(cache.found, '|', 3) OPERATOR(pg_catalog.=) '' THEN
            RETURN cache.arguments;
        END IF;
        DELETE FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
        RETURN NULL;
    END IF;
    IF cache.relation OPERATOR(pg_catalog.<>) cache.relid::pg_catalog.regclass::pg_catalog.text THEN
        UPDATE counter_ext.cache AS c SET relation = cache.relid::pg_catalog.regclass::pg_catalog.text WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    END IF;
    found_now := coalesce(counter_ext.cache_found(cache.relid, cache.arguments), '');
    IF found_now OPERATOR(pg_catalog.<>) cache.found AND tag IN ('CREATE TABLE', 'CREATE FOREIGN TABLE', 'CREATE TRIGGER') THEN
        -- A new partition has no rows. A restore makes triggers of counters that are right, one after the other; but rows of a
        -- partition that it has still to fill are counted, and come with their amounts as well.
        restored_by_now := CASE tag WHEN 'CREATE TRIGGER' THEN counter_ext.restoring_session(cache.relid, cache.middle, cache.prefix) END;
        UPDATE counter_ext.cache AS c SET found = found_now, restored_by = coalesce(restored_by_now, c.restored_by),
                state = CASE WHEN restored_by_now IS NOT NULL AND c.state OPERATOR(pg_catalog.=) 'right'
                        AND EXISTS (SELECT FROM (SELECT t.* FROM pg_catalog.pg_partition_tree(cache.relid) t UNION ALL SELECT t.* FROM pg_catalog.pg_partition_tree(cache.middle) t) i
                            WHERE i.isleaf AND pg_catalog.pg_relation_size(i.relid) OPERATOR(pg_catalog.=) 0::pg_catalog.int8)
                    THEN 'stale' ELSE c.state END
            WHERE c.relid OPERATOR(pg_catalog.=) cache.relid AND c.arguments OPERATOR(pg_catalog.=) cache.arguments;
    ELSIF found_now OPERATOR(pg_catalog.<>) cache.found THEN
        IF tag IS NOT NULL AND pg_catalog.split_part(cache.found, '|', 1) OPERATOR(pg_catalog.<>) pg_catalog.split_part(found_now, '|', 1) THEN
            -- A key of another type must be one that names counters still: better refused now than at the next INSERT.
            PERFORM counter_ext.check_cache(cache.relid, cache.arguments);
        END IF;
        UPDATE counter_ext.cache AS c SET found = found_now,
                state = CASE WHEN c.state OPERATOR(pg_catalog.=) 'unverified' THEN c.state ELSE 'stale' END,
                why = NULL, retry_at = NULL, is_rekeyed = c.is_rekeyed OR pg_catalog.right(c.found, 1) OPERATOR(pg_catalog.=) '*'
                    OR pg_catalog.split_part(c.found, '|', 1) OPERATOR(pg_catalog.<>) pg_catalog.split_part(found_now, '|', 1)
            WHERE c.relid OPERATOR(pg_catalog.=) cache.relid
            AND c.arguments OPERATOR(pg_catalog.=) cache.arguments
            RETURNING c.* INTO cache;
        bytes_now := pg_catalog.pg_relation_size(cache.relid) OPERATOR(pg_catalog.+) coalesce((SELECT pg_catalog.sum(pg_catalog.pg_relation_size(i.relid))
            FROM (SELECT t.relid FROM counter_ext.parts(cache.relid) AS t (relid) UNION ALL SELECT t.relid FROM counter_ext.parts(cache.middle) AS t (relid)) i), 0);
        IF tag IS NOT NULL AND cache.state OPERATOR(pg_catalog.=) 'stale' AND bytes_now OPERATOR(pg_catalog.<=) most_bytes_at_once
            AND pg_catalog.strpos(pg_catalog.split_part(found_now, '|', 3), 'D') OPERATOR(pg_catalog.=) 0
            AND NOT counter_ext.is_restored() AND NOT counter_ext.session_lasts(cache.restored_by) THEN
            PERFORM counter_ext.recount_one(cache.relid, cache.arguments, cache.middle,
                coalesce(table_now.relowner OPERATOR(pg_catalog.=) counter_ext.caller(), false));
        END IF;
    END IF;
    RETURN cache.arguments;
END
$$;

-- Leaves a cache to the worker, or to the next command on its table. Where somebody has its row, the next command of anybody does it.
CREATE FUNCTION counter_ext.mark_stale(relation oid, arguments text[], cannot_tell boolean) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2
            AND c.state OPERATOR(pg_catalog.=) 'right')
        AND counter_ext.try_lock_cache($1, $2) THEN
        -- Looked at anew: another command may have put it right just before.
        UPDATE counter_ext.cache AS c SET state = 'stale', why = NULL, retry_at = NULL
            WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 AND c.state OPERATOR(pg_catalog.=) 'right'
                AND ($3 OR counter_ext.cache_differs(c.relid, c.relation, c.middle, c.arguments, c.numbers, c.found));
    END IF;
END
$$;

-- Follows the cache of a table that the command has not changed itself: it waits for nobody, or hardly. Whether nobody stood in its way.
CREATE FUNCTION counter_ext.try_follow_cache(relation oid, arguments text[], tag text) RETURNS boolean LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET lock_timeout TO '100ms' AS $$
BEGIN
    IF counter_ext.try_lock_cache($1, $2) THEN
        PERFORM counter_ext.follow_cache($1, $2, $3);
    END IF;
    RETURN true;
EXCEPTION WHEN lock_not_available OR serialization_failure OR deadlock_detected THEN
    RETURN false;
END
$$;

-- A piece of the worker's step: the next stale cache, if one is due and nobody else has it, of the caller's own where that is no superuser.
-- While a restore goes on none is: what it has still to bring would be counted once more.
CREATE FUNCTION counter_ext.recount_next() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    SET lock_timeout TO '100ms' AS $$
DECLARE
    next counter_ext.cache;
    arguments_now pg_catalog.text[];
BEGIN
    IF counter_ext.is_restored() THEN
        RETURN false;
    END IF;
    SELECT * INTO next FROM counter_ext.cache c
        WHERE c.state OPERATOR(pg_catalog.=) 'stale' AND (c.retry_at IS NULL OR c.retry_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp())
            AND (c.restored_by OPERATOR(pg_catalog.=) counter_ext.session_name(pg_catalog.pg_backend_pid()) OR NOT counter_ext.session_lasts(c.restored_by))
            AND pg_catalog.pg_has_role(counter_ext.caller(), c.owner, 'USAGE')
        ORDER BY c.retry_at NULLS FIRST LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- The table may have changed by a command that could only say that it is stale.
    BEGIN
        PERFORM counter_ext.lock_against_ddl(t.relid) FROM pg_catalog.unnest(ARRAY[next.relid, next.middle]) AS t (relid);
        arguments_now := counter_ext.follow_cache(next.relid, next.arguments, NULL);
    EXCEPTION WHEN OTHERS THEN
        PERFORM counter_ext.put_off(next.relid, next.arguments, SQLERRM);
        RETURN true;
    END;
    IF arguments_now IS NOT NULL THEN
        PERFORM counter_ext.recount_one(next.relid, arguments_now, next.middle, false);
    END IF;
    RETURN true;
END
$$;

-- Caches of these tables, or of all where NULL, that their triggers say and the registry does not. Whether their owners may count is asked
-- before a trigger's arguments are taken apart, and only of triggers that no partition has from its table: everybody's commands ask it.
CREATE FUNCTION counter_ext.unnoted_caches(relations oid[]) RETURNS TABLE (relid oid, prefix text, arguments text[], middle oid, owner oid)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY WITH candidate AS MATERIALIZED (
        SELECT g.trigger_oid, c.relowner FROM counter_ext.counting_trigger g
            JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) g.relid
            -- A partition can be another's than the partitioned table: its trigger has its owner's rights.
            JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) g.tgrelid
            WHERE g.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND ($1 IS NULL OR g.relid OPERATOR(pg_catalog.=) ANY ($1))
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
                AND pg_catalog.has_table_privilege(p.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(p.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE')
    )
    SELECT DISTINCT t.relid, t.prefix, t.arguments, t.middle, candidate.relowner FROM candidate CROSS JOIN LATERAL (
        SELECT u.relid, u.prefix, u.arguments, counter_ext.argument_middle(u.arguments) AS middle FROM counter_ext.cache_trigger u
            WHERE u.trigger_oid OPERATOR(pg_catalog.=) candidate.trigger_oid
                AND NOT EXISTS (SELECT FROM counter_ext.cache k WHERE k.relid OPERATOR(pg_catalog.=) u.relid AND k.arguments OPERATOR(pg_catalog.=) u.arguments)
            OFFSET 0) AS t
        WHERE pg_catalog.array_position(counter_ext.argument_numbers(t.relid, t.middle, t.arguments), 0::pg_catalog.int2) IS NULL;
END
$$;

-- Notes such a cache. Whether it was not noted meanwhile.
CREATE FUNCTION counter_ext.note_cache(relation oid, prefix text, arguments text[], middle oid, owner oid, restored_by text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET quote_all_identifiers TO off AS $$
BEGIN
    INSERT INTO counter_ext.cache (relation, prefix, arguments, relid, numbers, middle, owner, found, state, restored_by)
        VALUES ($1::pg_catalog.regclass::pg_catalog.text, $2, $3, $1, counter_ext.argument_numbers($1, $4, $3), $4, $5, '', 'unverified', $6)
        ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- After any command of DDL: brings the registry, and where it is cheap the counters, to what the tables are like now.
CREATE FUNCTION counter_ext.follow_tables() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
DECLARE
    -- Of counter_ext.cache. The type is not named here, or nothing could be done any more where somebody has renamed that schema.
    cache record;
    reset_trigger record;
    made record;
    -- Tables that the command is about, or the partitioned ones that these are parts of.
    named pg_catalog.oid[];
    -- Those in a schema that it is about.
    named_through pg_catalog.oid[] := '{}';
    locked pg_catalog.oid[];
    is_own pg_catalog.bool;
    is_near pg_catalog.bool;
    -- Whether what a cache has against the command is said to whoever gave it.
    may_refuse pg_catalog.bool;
    is_kept_waiting pg_catalog.bool := false;
BEGIN
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG NOT IN ('ALTER TABLE', 'ALTER TYPE', 'ALTER DOMAIN', 'ALTER SCHEMA',
            'ALTER TRIGGER', 'CREATE TRIGGER', 'CREATE SCHEMA', 'CREATE TABLE', 'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE', 'ALTER EXTENSION',
            -- They rename tables and columns of tables too.
            'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER SEQUENCE') THEN
        RETURN;
    END IF;
    IF pg_catalog.to_regclass('counter_ext.cache') IS NULL OR pg_catalog.to_regclass('counter_ext.total') IS NULL
        OR pg_catalog.to_regclass('counter_ext.cache_trigger') IS NULL THEN
        RETURN;
    END IF;
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG OPERATOR(pg_catalog.=) 'ALTER TABLE' THEN
        PERFORM counter_ext.release_partitions();
        -- ENABLE TRIGGER ALL, with which a restore ends, knows nothing of replicas. Only the command's own tables are looked at: it holds
        -- their locks, and nobody waits here for somebody else's.
        FOR reset_trigger IN SELECT p.oid, p.tgname, p.tgrelid::pg_catalog.regclass AS name, CASE WHEN pg_catalog.starts_with(p.tgname::pg_catalog.text, 'counter_rows_replica_') THEN 'REPLICA' ELSE 'ALWAYS' END AS sessions
                FROM counter_ext.counting_trigger u JOIN pg_catalog.pg_trigger p ON p.oid OPERATOR(pg_catalog.=) u.trigger_oid
                WHERE p.tgenabled OPERATOR(pg_catalog.=) 'O'::"char" AND p.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
                    AND u.tgrelid IN (SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c
                        WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass)
                    AND (p.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_(replica|truncate)_[0-9a-f]{8}$'
                        OR p.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^counter_rows_(insert|update|delete)_[0-9a-f]{8}$'
                        AND (p.tgtype OPERATOR(pg_catalog.&) 1::pg_catalog.int2) OPERATOR(pg_catalog.<>) 0::pg_catalog.int2) LOOP
            EXECUTE pg_catalog.format('ALTER TABLE %s ENABLE %s TRIGGER %I', reset_trigger.name, reset_trigger.sessions, reset_trigger.tgname);
            PERFORM counter_ext.check_table_was_meant(EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.oid OPERATOR(pg_catalog.=) reset_trigger.oid
                AND t.tgenabled OPERATOR(pg_catalog.<>) 'O'::"char"));
        END LOOP;
    END IF;
    PERFORM counter_ext.follow_owners(CASE TG_EVENT WHEN 'ddl_command_end' THEN ARRAY(SELECT c.objid FROM pg_catalog.pg_event_trigger_ddl_commands() c
        WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) ELSE '{}' END);
    named := ARRAY(SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(t.relid)::pg_catalog.oid, t.relid) FROM pg_catalog.unnest(
        CASE TG_EVENT WHEN 'ddl_command_end' THEN ARRAY(SELECT coalesce(t.tgrelid, c.objid) FROM pg_catalog.pg_event_trigger_ddl_commands() c
            LEFT JOIN pg_catalog.pg_trigger t ON c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid OPERATOR(pg_catalog.=) c.objid
            WHERE c.classid IN ('pg_catalog.pg_class'::pg_catalog.regclass, 'pg_catalog.pg_trigger'::pg_catalog.regclass))
        WHEN 'sql_drop' THEN ARRAY(SELECT d.objid FROM pg_catalog.pg_event_trigger_dropped_objects() d
            WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) END) AS t (relid));
    IF TG_TAG OPERATOR(pg_catalog.=) 'ALTER SCHEMA' AND TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' THEN
        named_through := ARRAY(SELECT r.oid FROM pg_catalog.pg_class r JOIN pg_catalog.pg_event_trigger_ddl_commands() c ON c.objid OPERATOR(pg_catalog.=) r.relnamespace
            WHERE c.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass AND r.relkind IN ('r', 'p'));
    END IF;
    -- Whoever has a cache decides over nobody's commands but those on its own table. A transaction that has changed its row, or holds its table,
    -- keeps others waiting for good; and what was noted past the triggers, as by DETACH PARTITION CONCURRENTLY, every command would find.
    FOR cache IN SELECT * FROM counter_ext.cache LOOP
        IF cache.relid OPERATOR(pg_catalog.=) ANY (named) THEN
            PERFORM counter_ext.follow_cache(cache.relid, cache.arguments, TG_TAG);
            CONTINUE;
        END IF;
        may_refuse := false;
        BEGIN
            CONTINUE WHEN NOT counter_ext.cache_differs(cache.relid, cache.relation, cache.middle, cache.arguments, cache.numbers, cache.found);
            -- Those which a command has for itself, though it does not name them.
            locked := coalesce(locked, ARRAY(SELECT DISTINCT coalesce(pg_catalog.pg_partition_root(l.relation)::pg_catalog.oid, l.relation) FROM pg_catalog.pg_locks l
                WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.granted AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.mode OPERATOR(pg_catalog.=) 'AccessExclusiveLock'
                    AND l.database OPERATOR(pg_catalog.=) (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())));
            is_own := cache.relid OPERATOR(pg_catalog.=) ANY (locked);
            is_near := cache.middle OPERATOR(pg_catalog.=) ANY (named OPERATOR(pg_catalog.||) locked)
                OR cache.relid OPERATOR(pg_catalog.=) ANY (named_through) OR cache.middle OPERATOR(pg_catalog.=) ANY (named_through);
            may_refuse := coalesce(is_own OR is_near OR cache.owner OPERATOR(pg_catalog.=) counter_ext.caller(), false);
            IF is_own THEN
                PERFORM counter_ext.follow_cache(cache.relid, cache.arguments, TG_TAG);
            ELSIF NOT is_kept_waiting AND (may_refuse
                    OR TG_TAG IN ('ALTER TYPE', 'ALTER DOMAIN') AND pg_catalog.pg_has_role(counter_ext.caller(), cache.owner, 'USAGE'))
            THEN
                -- What it finds of its owner's was done by no command with this tag.
                is_kept_waiting := NOT counter_ext.try_follow_cache(cache.relid, cache.arguments, CASE WHEN is_near THEN TG_TAG ELSE '' END);
                IF is_kept_waiting THEN
                    PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, false);
                END IF;
            ELSE
                PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, false);
            END IF;
        EXCEPTION WHEN OTHERS THEN
            IF may_refuse THEN
                RAISE;
            END IF;
            -- Somebody else's cache, whatever is wrong with it: the worker says so in its row.
            PERFORM counter_ext.mark_stale(cache.relid, cache.arguments, true);
        END;
    END LOOP;
    FOR made IN SELECT * FROM counter_ext.unnoted_caches(named) LOOP
        -- CREATE TRIGGER itself is checked by counter_ext.after_ddl.
        IF counter_ext.note_cache(made.relid, made.prefix, made.arguments, made.middle, made.owner,
                CASE TG_TAG WHEN 'CREATE TRIGGER' THEN counter_ext.restoring_session(made.relid, made.middle, made.prefix) END)
            AND TG_TAG OPERATOR(pg_catalog.=) 'CREATE SCHEMA' THEN
            PERFORM counter_ext.check_cache(made.relid, made.arguments);
        END IF;
    END LOOP;
    -- Those of others, whose owners may count since. Where another transaction is just noting one, this command does not wait, and whatever is
    -- wrong with one, it does not fail.
    BEGIN
        FOR made IN SELECT * FROM counter_ext.unnoted_caches(NULL) LOOP
            BEGIN
                LOCK TABLE counter_ext.cache IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
                PERFORM counter_ext.note_cache(made.relid, made.prefix, made.arguments, made.middle, made.owner, NULL);
            EXCEPTION WHEN OTHERS THEN
                NULL;
            END;
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    -- ATTACH is followed by counter_ext.after_ddl, which knows it from other commands: a restore's could give a partition its trigger first.
    IF TG_EVENT OPERATOR(pg_catalog.=) 'ddl_command_end' AND TG_TAG IN ('CREATE TABLE', 'CREATE SCHEMA') THEN
        PERFORM counter_ext.guard_partitions(c.objid) FROM (SELECT DISTINCT made_by.objid FROM pg_catalog.pg_event_trigger_ddl_commands() made_by
            WHERE made_by.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass) AS c;
    END IF;
END
$$;

-- A table is about to be rewritten: its keys may be others, of the same type too.
CREATE FUNCTION counter_ext.follow_rewrites() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
BEGIN
    UPDATE counter_ext.cache AS c SET found = pg_catalog.concat(c.found, '*')
        WHERE coalesce(pg_catalog.pg_partition_root(pg_catalog.pg_event_trigger_table_rewrite_oid()),
            pg_catalog.pg_event_trigger_table_rewrite_oid()::pg_catalog.regclass)::pg_catalog.oid IN (c.relid, c.middle)
            -- Rows of another's table are counted through it: nobody waits for what he does.
            AND (coalesce(pg_catalog.pg_partition_root(pg_catalog.pg_event_trigger_table_rewrite_oid()),
                pg_catalog.pg_event_trigger_table_rewrite_oid()::pg_catalog.regclass)::pg_catalog.oid OPERATOR(pg_catalog.=) c.relid
                OR counter_ext.try_lock_cache(c.relid, c.arguments));
END
$$;

-- Ends a cache: its triggers, where there are some still, its row, and its counters if asked.
CREATE FUNCTION counter_ext.remove_cache(relation oid, arguments text[], drops_counters boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made record;
    table_name CONSTANT pg_catalog.text := counter_ext.table_name($1);
    known counter_ext.cache;
BEGIN
    DELETE FROM counter_ext.cache c WHERE c.relid OPERATOR(pg_catalog.=) $1 AND c.arguments OPERATOR(pg_catalog.=) $2 RETURNING c.* INTO known;
    -- A table that is gone has left the other's triggers, with its last name.
    FOR made IN SELECT t.oid FROM counter_ext.cache_trigger u
            JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) u.trigger_oid
            WHERE u.relid OPERATOR(pg_catalog.=) $1 AND u.arguments OPERATOR(pg_catalog.=) $2
                AND u.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
        UNION ALL SELECT t.oid FROM counter_ext.middle_trigger u
            JOIN pg_catalog.pg_trigger t ON t.oid OPERATOR(pg_catalog.=) u.trigger_oid
            WHERE u.relid OPERATOR(pg_catalog.=) coalesce(known.middle, counter_ext.argument_middle($2)) AND u.prefix OPERATOR(pg_catalog.=) $2[1]
                AND u.of_table IN (known.relation, table_name)
                AND u.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid LOOP
        PERFORM counter_ext.drop_trigger(made.oid);
    END LOOP;
    -- Without a prefix the counters could be anybody's. So could those that were never found to be the cache's, or are another's too: anybody
    -- makes a trigger on a table of his own, which says what it likes until its owner may count. They stay, unless the owner could drop
    -- them himself. So do those that visitors were noted beside.
    IF drops_counters AND $2[1] OPERATOR(pg_catalog.<>) '' AND known.relid IS NOT NULL
        AND (known.state OPERATOR(pg_catalog.<>) 'unverified' OR pg_catalog.has_table_privilege(known.owner, 'counter_ext.total'::pg_catalog.regclass, 'DELETE'))
        AND NOT EXISTS (SELECT FROM counter_ext.cache_trigger u JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) u.tgrelid
            WHERE u.prefix OPERATOR(pg_catalog.<>) '' AND (pg_catalog.starts_with(u.prefix, $2[1]) OR pg_catalog.starts_with($2[1], u.prefix))
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'INSERT')
                AND pg_catalog.has_table_privilege(c.relowner, 'counter_ext.total'::pg_catalog.regclass, 'UPDATE'))
        AND (pg_catalog.has_table_privilege(known.owner, 'counter_ext.visitors'::pg_catalog.regclass, 'DELETE') OR NOT EXISTS (
            SELECT FROM counter_ext.visitors v WHERE pg_catalog.starts_with(v.id, $2[1]) UNION ALL
            SELECT FROM counter_ext.visit v WHERE pg_catalog.starts_with(v.id, $2[1]))) THEN
        IF pg_catalog.has_table_privilege(known.owner, 'counter_ext.total'::pg_catalog.regclass, 'DELETE') THEN
            RETURN counter_ext.drop_prefix($2[1]);
        END IF;
        -- What there was of them before the cache, or was counted under the prefix by others, is not the owner's to take away: whoever may count
        -- brings counters to 0, and series, boards and the audit log say so.
        RETURN counter_ext.empty_prefix($2[1]);
    END IF;
    RETURN 0;
END
$$;

-- Behind counter_uncache, which has looked at whose table it is.
CREATE FUNCTION counter_ext.uncache(relation oid, prefix text, drops_counters boolean) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cache record;
    dropped pg_catalog.int8 := 0;
BEGIN
    FOR cache IN SELECT DISTINCT t.relid, t.arguments FROM counter_ext.cache_trigger t
            WHERE t.relid OPERATOR(pg_catalog.=) $1 AND t.prefix OPERATOR(pg_catalog.=) $2 LOOP
        dropped := dropped OPERATOR(pg_catalog.+) counter_ext.remove_cache(cache.relid, cache.arguments, drops_counters);
    END LOOP;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no triggers count the rows of table % into counters "%"', $1::pg_catalog.regclass, $2
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'View counter_caches lists the caches there are.';
    END IF;
    RETURN dropped;
END
$$;

CREATE VIEW @extschema@.counter_caches AS
    SELECT DISTINCT t.relid::pg_catalog.regclass AS "table", t.prefix, counter_ext.argument_key(t.arguments) AS key, coalesce(c.state, 'unverified') AS state, c.verified_at, c.why,
        counter_ext.argument_after(t.arguments, 'amount') AS amount, counter_ext.argument_after(t.arguments, 'only') AS "only",
        counter_ext.argument_after(t.arguments, 'through') OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||)
            pg_catalog.quote_ident(counter_ext.argument_after(t.arguments, 'to')) AS through
    FROM counter_ext.cache_trigger t LEFT JOIN counter_ext.cache c ON c.relid OPERATOR(pg_catalog.=) t.relid
        AND c.arguments OPERATOR(pg_catalog.=) t.arguments;
COMMENT ON VIEW @extschema@.counter_caches IS 'counter caches: what they count, by what, and whether they are right';
GRANT SELECT ON @extschema@.counter_caches TO PUBLIC;
