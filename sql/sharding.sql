-- Counters spread over the nodes of a Citus cluster: each id is on one node, and Citus sends a call on to it. Our tables stay each node's
-- own. Nothing here needs Citus before it is called: what is Citus' own is looked up then.

-- Amounts on their way to another node: taken from counters here, in the transaction that writes the row, and given to that node, which counts each batch
-- once. Written by the worker.
CREATE SEQUENCE counter_ext.moving_batch;
CREATE TABLE counter_ext.moving (
    batch bigint NOT NULL DEFAULT pg_catalog.nextval('counter_ext.moving_batch'),
    -- The node's group, as Citus numbers it: a batch goes where it was first sent, even if the ids have moved on meanwhile.
    target integer NOT NULL,
    ids text[] NOT NULL,
    amounts bigint[] NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (batch)
);
SELECT pg_catalog.pg_extension_config_dump('counter_ext.moving', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.moving_batch', '');
COMMENT ON TABLE counter_ext.moving IS 'amounts of counters on their way to the node that has them now';

-- What these rows say, the worker does: only who owns the table writes them by hand.
CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.moving
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();
CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.moving
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();
ALTER TABLE counter_ext.moving ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;

-- Shards move, and rows follow. That everything has come is known of a shard of this node once every other node has said that it has nothing of it
-- any more; until then nobody here can tell whether a token was seen. Both tables say which placement is meant by its xmin here: a shard that has been
-- away, or comes back, has another one.

-- Shards of other nodes, and how far this node has come with giving away what it has of them.
CREATE TABLE counter_ext.shard_vacated (
    shard bigint NOT NULL,
    placed text NOT NULL,
    -- noted: transactions that may go by where it was before are not known yet. waiting: they are, and some may be open. free: they have ended.
    -- empty: no row was found since.
    state text NOT NULL CHECK (state IN ('noted', 'waiting', 'free', 'empty')),
    -- Those transactions, by their virtual ids: they had tokens, sources or likes locked once the shard had moved.
    writers text[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (shard)
);
COMMENT ON TABLE counter_ext.shard_vacated IS 'shards of other nodes; this node has nothing of those that are empty';

-- Shards of this node that no other node has anything of any more.
CREATE TABLE counter_ext.shard_arrived (
    shard bigint NOT NULL,
    placed text NOT NULL,
    PRIMARY KEY (shard)
);
COMMENT ON TABLE counter_ext.shard_arrived IS 'shards of this node that no other node has anything of any more';

CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_vacated
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();
CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_vacated
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();
ALTER TABLE counter_ext.shard_vacated ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;
CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_arrived
    FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand();
CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.shard_arrived
    FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand();
ALTER TABLE counter_ext.shard_arrived ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_row_written_by_hand;

-- Where the shards are that say whose each id is, and whether everything of them has arrived there as far as this node knows. No rows where nothing is
-- spread. STABLE: it sees what its caller's statement sees.
CREATE FUNCTION counter_ext.placed_shards()
    RETURNS TABLE (shard bigint, placed text, least_hash text, most_hash text, node_group integer, own_group integer, has_arrived boolean)
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT s.shardid, p.xmin::text, s.shardminvalue, s.shardmaxvalue, p.groupid, l.groupid,
            EXISTS (SELECT FROM counter_ext.shard_arrived a WHERE a.shard = s.shardid AND a.placed = p.xmin::text)
        FROM pg_catalog.pg_dist_shard s JOIN pg_catalog.pg_dist_placement p ON p.shardid = s.shardid AND p.shardstate = 1 CROSS JOIN pg_catalog.pg_dist_local_group l
        WHERE s.logicalrelid = to_regclass('counter_ext.shard_of_id');
END
$$;

-- Errors: 25006 a standby; 42501; 55000 there is no cluster here, or this node is not its coordinator.
CREATE FUNCTION counter_ext.check_citus(function text, on_coordinator boolean) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'citus') THEN
        RAISE EXCEPTION 'this database has no extension "citus"' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Counters are spread over nodes by Citus: put citus before counter_ext in shared_preload_libraries, run CREATE EXTENSION citus, '
                'and add nodes with citus_add_node(). One server needs none of this.';
    END IF;
    IF NOT on_coordinator THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = current_user AND r.rolsuper) THEN
        RAISE EXCEPTION 'permission denied for function %', function
            USING ERRCODE = 'insufficient_privilege', HINT = 'It changes what all nodes do: have a superuser call it.';
    END IF;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'cannot execute %() during recovery', function USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    SELECT l.groupid INTO own FROM pg_catalog.pg_dist_local_group l;
    IF own <> 0 THEN
        RAISE EXCEPTION 'this node is not the coordinator of its cluster, but that of group %', own
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = format('Call %s() on the coordinator.', function);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_dist_node n WHERE n.isactive AND n.noderole = 'primary' AND n.shouldhaveshards) THEN
        RAISE EXCEPTION 'the cluster has no node that may have shards' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Add one with citus_add_node(), or let the coordinator have shards with citus_set_node_property().';
    END IF;
END
$$;

-- Runs a query of one value on the nodes of some groups, NULL for all; each over a connection of its own, as the caller.
CREATE FUNCTION counter_ext.on_nodes(command text, groups bigint[])
    RETURNS TABLE (group_id integer, node text, succeeded boolean, answer text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        RETURN;
    END IF;
    -- There need be no such function where this one is made.
    RETURN QUERY EXECUTE
        'SELECT n.groupid, n.nodename || '':'' || n.nodeport, r.success, r.result
            FROM (SELECT array_agg(d.nodename) AS names, array_agg(d.nodeport) AS ports, array_agg($1) AS commands FROM pg_catalog.pg_dist_node d
                  WHERE d.isactive AND d.noderole = ''primary'' AND ($2 IS NULL OR d.groupid = ANY ($2))) AS a,
                LATERAL master_run_on_worker(a.names, a.ports, a.commands, true) AS r (name, port, success, result)
                JOIN pg_catalog.pg_dist_node n ON n.nodename = r.name AND n.nodeport = r.port
            WHERE a.names IS NOT NULL ORDER BY n.groupid'
        USING command, groups;
END
$$;

-- Calls a function on the nodes of some groups, in a transaction that is on their disks before they answer. Whoever waits for an answer holds
-- something that they may need: they give up after five seconds of waiting for a lock.
CREATE FUNCTION counter_ext.call_on_nodes(call text, groups bigint[])
    RETURNS TABLE (group_id integer, node text, succeeded boolean, answer text)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM counter_ext.on_nodes(format('SELECT %s FROM pg_catalog.set_config(''synchronous_commit'', ''on'', true) AS flushed, '
        'pg_catalog.set_config(''lock_timeout'', ''5s'', true) AS bounded', call), groups)
$$;

-- Functions of ours that Citus can send on: those whose first argument is an id, of a type that is one text or becomes one.
CREATE FUNCTION counter_ext.functions_by_id() RETURNS SETOF regprocedure
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'counter_ext'
        WHERE p.prokind = 'f' AND (
            p.proargtypes[0] IN ('text'::regtype, 'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'uuid'::regtype,
                (SELECT t.oid FROM pg_type t WHERE t.typname = 'counter' AND t.typnamespace = e.extnamespace))
            AND p.proname IN ('counter_add', 'counter_allow', 'counter_audit_verify', 'counter_drop', 'counter_filtered', 'counter_get',
                'counter_get_exact', 'counter_incr', 'counter_incr_at', 'counter_incr_from', 'counter_incr_once', 'counter_info', 'counter_like',
                'counter_liked', 'counter_likes', 'counter_limit', 'counter_limit_refund', 'counter_limit_reset', 'counter_rate',
                'counter_reset', 'counter_set', 'counter_total', 'counter_unlike', 'counter_visit', 'counter_visited',
                'counter_visitors', 'counter_visitors_add')
            AND p.pronamespace = e.extnamespace
            OR p.proname IN ('advance_source_here', 'get_many_here', 'incr_many_here', 'visitors_here')
            AND p.pronamespace = 'counter_ext'::regnamespace)
        ORDER BY p.oid
$$;

-- Who may do what with our tables: the rights that were granted, but for the owner's own.
CREATE FUNCTION counter_ext.table_grants() RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(json_agg(json_build_object('table', c.relname, 'role', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
            'right', a.privilege_type, 'grantable', a.is_grantable) ORDER BY c.relname, a.grantee, a.privilege_type), '[]')
        FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'counter_ext',
        aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND a.grantee <> c.relowner
$$;

-- Makes the rights on our tables those of another node. Called there by counter_citus_setup(). Errors: 42704 a role is missing.
CREATE FUNCTION counter_ext.take_table_grants(grants json) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command text;
    changes bigint := 0;
BEGIN
    FOR command IN
        WITH wanted AS (SELECT w::jsonb AS g FROM json_array_elements(grants) AS w),
            present AS (SELECT h::jsonb AS g FROM json_array_elements(counter_ext.table_grants()) AS h)
        SELECT format('REVOKE %s ON TABLE counter_ext.%I FROM %s', g->>'right', g->>'table', coalesce(quote_ident(g->>'role'), 'PUBLIC'))
            FROM (SELECT g FROM present EXCEPT SELECT g FROM wanted) AS gone
        UNION ALL
        SELECT format('GRANT %s ON TABLE counter_ext.%I TO %s%s', g->>'right', g->>'table', coalesce(quote_ident(g->>'role'), 'PUBLIC'),
                CASE WHEN (g->>'grantable')::boolean THEN ' WITH GRANT OPTION' ELSE '' END)
            FROM (SELECT g FROM wanted EXCEPT SELECT g FROM present) AS new
    LOOP
        EXECUTE command;
        changes := changes + 1;
    END LOOP;
    RETURN changes;
END
$$;

-- Errors: those of counter_ext.check_citus; 55000 a node has not got this version of the extension, or has caches; 08006 one does not answer.
CREATE FUNCTION counter_citus_setup() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    extension record;
    asked record;
    each regprocedure;
    group_of_shards integer;
    is_sent_on boolean;
BEGIN
    PERFORM counter_ext.check_citus('counter_citus_setup', true);
    SELECT e.extversion, quote_ident(n.nspname) AS schema INTO extension
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'counter_ext';
    FOR asked IN SELECT * FROM counter_ext.on_nodes(
        'SELECT coalesce((SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) ''counter_ext''), ''none'')', NULL)
    LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'node % does not answer: %', asked.node, asked.answer USING ERRCODE = 'connection_failure';
        ELSIF asked.answer <> extension.extversion THEN
            RAISE EXCEPTION 'node % has version % of counter_ext, the coordinator %', asked.node, asked.answer, extension.extversion
                USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Install the same version on all nodes. Where it is missing, run SET citus.enable_ddl_propagation = off and CREATE EXTENSION counter_ext there.';
        END IF;
    END LOOP;
    FOR asked IN SELECT * FROM counter_ext.on_nodes(format('SELECT pg_catalog.count(*) FROM %s.counter_caches', extension.schema), NULL) LOOP
        IF asked.answer <> '0' THEN
            RAISE EXCEPTION 'node % has % counter caches', asked.node, asked.answer USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'The counters of a cache would not be where its rows are. Call counter_uncache() for each row of the view counter_caches first.';
        END IF;
    END LOOP;

    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT pg_catalog.current_setting(''counter_ext.node'')', NULL) LOOP
        IF asked.answer <> '0' THEN
            RAISE EXCEPTION 'node % is number % of several that count the same counters', asked.node, asked.answer
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Counters are either on all nodes or spread over them: let it leave first, and set counter_ext.node to 0.';
        END IF;
    END LOOP;

    -- In one connection to each node, so that what is made can be used at once.
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    IF to_regclass('counter_ext.shard_of_id') IS NULL THEN
        CREATE TABLE counter_ext.shard_of_id (id text NOT NULL);
        COMMENT ON TABLE counter_ext.shard_of_id IS 'has no rows: an id is on the node that has this table''s shard for it';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = 'counter_ext.shard_of_id'::regclass) THEN
        PERFORM create_distributed_table('counter_ext.shard_of_id', 'id', colocate_with := 'none');
    END IF;
    SELECT p.colocationid INTO group_of_shards FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = 'counter_ext.shard_of_id'::regclass;
    FOR each IN SELECT * FROM counter_ext.functions_by_id() LOOP
        SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_object o WHERE o.classid = 'pg_proc'::regclass AND o.objid = each
            AND o.colocationid = group_of_shards AND o.force_delegation) INTO is_sent_on;
        IF NOT is_sent_on THEN
            PERFORM create_distributed_function(each, '$1', colocate_with := 'counter_ext.shard_of_id', force_delegation := true);
        END IF;
    END LOOP;

    FOR asked IN SELECT * FROM counter_ext.on_nodes(
        format('SELECT counter_ext.take_table_grants(%L)', counter_ext.table_grants()),
        (SELECT array_agg(n.groupid) FROM pg_catalog.pg_dist_node n WHERE n.groupid <> 0))
    LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'rights could not be granted on node %: %', asked.node, asked.answer
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Make the same roles on all nodes, and call it again.';
        END IF;
    END LOOP;

    -- A coordinator without shards has no counters: nothing is to be counted there, also by sessions that begin before they know of the shards.
    IF EXISTS (SELECT FROM counter_ext.placed_shards() AS s WHERE s.node_group = 0) THEN
        PERFORM counter_ext.set_serve(NULL);
    ELSE
        PERFORM counter_ext.set_serve('off');
    END IF;
    -- They bring what was counted before to where it belongs, and ask whether all of that has come.
    PERFORM FROM counter_ext.on_nodes('SELECT counter_ext.want_pass()', NULL);
END
$$;

-- Brings batches to the nodes that they are for, each once; says what was in the way, if anything, and whether there are more for those that took
-- some. Called by the worker, once the transaction that wrote the batches has committed.
CREATE FUNCTION counter_ext.deliver_moving(OUT problem text, OUT goes_on boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- For each node: one that does not answer keeps nothing from the others.
    most CONSTANT integer := 100;
    source text := (SELECT format('counter_ext.moving %s %s', s.system_identifier, d.oid)
        FROM pg_control_system() AS s, pg_database d WHERE d.datname = current_database());
    piece record;
    asked record;
    failed integer[] := '{}';
    delivered integer[] := '{}';
BEGIN
    goes_on := false;
    FOR piece IN SELECT m.* FROM counter_ext.moving m WHERE m.batch IN (
            SELECT n.batch FROM (SELECT o.batch, row_number() OVER (PARTITION BY o.target ORDER BY o.batch) AS nth FROM counter_ext.moving o) AS n
            WHERE n.nth <= most) ORDER BY m.batch
    LOOP
        CONTINUE WHEN piece.target = ANY (failed);
        SELECT * INTO asked FROM counter_ext.call_on_nodes(
            format('counter_ext.take_moved(%L, %L, %L, %L)', source, piece.batch, piece.ids, piece.amounts), ARRAY[piece.target]);
        IF asked.succeeded THEN
            DELETE FROM counter_ext.moving m WHERE m.batch = piece.batch;
            delivered := delivered || piece.target;
        ELSE
            problem := coalesce(asked.answer, format('there is no node of group %s', piece.target));
            failed := failed || piece.target;
        END IF;
    END LOOP;
    goes_on := EXISTS (SELECT FROM counter_ext.moving m WHERE m.target = ANY (delivered) AND m.target <> ALL (failed));
END
$$;

-- Transactions, by their virtual ids, that have a table locked for writing whose rows must not be looked for in vain. Vacuum is none of them.
CREATE FUNCTION counter_ext.writers_of_rows() RETURNS text[]
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(DISTINCT l.virtualtransaction), '{}') FROM pg_locks l
        WHERE l.locktype = 'relation' AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        AND l.relation IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'counter_ext'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname ~ '^(token|source_offset|liked(_[0-9]+)?)$')
        AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND l.pid IS DISTINCT FROM pg_backend_pid()
$$;

-- How many shards of other nodes there are that this node may have something of, or that are not noted as they are placed now; but for those that
-- are named.
CREATE FUNCTION counter_ext.shards_not_vacated(others bigint[]) RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) FROM counter_ext.placed_shards() AS s WHERE s.node_group <> s.own_group
        AND NOT EXISTS (SELECT FROM counter_ext.shard_vacated v WHERE v.shard = s.shard AND v.placed = s.placed
            AND (v.state = 'empty' OR v.shard = ANY (others)))
$$;

-- Notes shards that are another node's now, and who may still go by where they were. Says of which shards it was noted before that nobody does any
-- more, and whether there is something to be noted at once. Each step is noted in a transaction of its own, which is on disk before the next one.
CREATE FUNCTION counter_ext.note_vacated_shards(OUT free_shards bigint[], OUT goes_on boolean)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now_writers text[] := counter_ext.writers_of_rows();
    changed bigint;
BEGIN
    -- What these transactions did is on disk too, by the order of the log: what is moved now is not lost here by a crash while it is kept there.
    SELECT array_agg(v.shard) INTO free_shards FROM counter_ext.shard_vacated v WHERE v.state = 'free';
    -- A prepared transaction has another virtual id once the server was started again: it may be any of those.
    UPDATE counter_ext.shard_vacated v SET state = 'free', writers = '{}'
        WHERE v.state = 'waiting' AND NOT v.writers && now_writers
            AND (v.writers = '{}' OR NOT EXISTS (SELECT FROM unnest(now_writers) AS w WHERE starts_with(w, '-1/')));
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := changed > 0;
    -- The shard was noted in an earlier transaction: whoever locks one of these tables from now on knows that it has moved.
    UPDATE counter_ext.shard_vacated v SET state = 'waiting', writers = now_writers WHERE v.state = 'noted';
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := goes_on OR changed > 0;
    -- Until whoever moved a shard has given back his lock on the placements, other sessions may not have been told. A savepoint that is released gives
    -- back that of its id.
    INSERT INTO counter_ext.shard_vacated AS v (shard, placed, state)
        SELECT s.shard, s.placed, 'noted' FROM counter_ext.placed_shards() AS s WHERE s.node_group <> s.own_group
        AND NOT EXISTS (SELECT FROM counter_ext.shard_vacated v WHERE v.shard = s.shard AND v.placed = s.placed)
        AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = to_regclass('pg_catalog.pg_dist_placement')
            AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND l.mode = 'RowExclusiveLock')
        ON CONFLICT (shard) DO UPDATE SET placed = excluded.placed, state = excluded.state, writers = '{}';
    GET DIAGNOSTICS changed = ROW_COUNT;
    goes_on := goes_on OR changed > 0;
END
$$;

-- Rows that stay what they are, however often they come: those of ids that another node has go there, and then here. Says how many went, whether
-- there is more to do at once, of how many shards there may be more, how many rows the other node did not want any more, and what was in the way.
-- With `only_if_free` nothing is looked for while somebody may go by an old place. Called by the worker, at READ COMMITTED: each statement sees what
-- was committed before it.
-- Tokens, sources and likes stay until nobody goes by the old place of any shard: who looks for one in vain would do again what was done.
CREATE FUNCTION counter_ext.move_rows(only_if_free boolean, OUT moved bigint, OUT goes_on boolean, OUT unfinished bigint, OUT unwanted bigint, OUT problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- Of tokens and the like, and of sketches, which are larger.
    most CONSTANT integer := 5000;
    most_sketches CONSTANT integer := 1000;
    kind text;
    piece record;
    asked record;
    free_shards bigint[];
    is_free boolean;
    -- Groups of nodes that something was sent to, or could not be.
    busy integer[] := '{}';
    seen bigint := 0;
BEGIN
    moved := 0;
    unwanted := 0;
    -- A row that has gone must not come back after a crash: by then its shard may have arrived, and the row be an old one.
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT n.free_shards, n.goes_on INTO free_shards, goes_on FROM counter_ext.note_vacated_shards() AS n;
    is_free := counter_ext.shards_not_vacated(free_shards) = 0;
    IF only_if_free AND NOT is_free THEN
        unfinished := counter_ext.shards_not_vacated('{}');
        RETURN;
    END IF;
    -- One kind after the other: of those behind the first that has something nothing is read.
    FOREACH kind IN ARRAY ARRAY['likes', 'tokens', 'sources', 'visits', 'visitors'] LOOP
        FOR piece IN
            SELECT s.target, json_agg(s) AS rows FROM (
                SELECT counter_ext.owner_group(l.item) AS target, l.item, l.actor, l.at FROM counter_ext.liked l
                WHERE kind = 'likes' AND is_free AND counter_ext.owner_group(l.item) IS NOT NULL LIMIT most) AS s GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(t.id) AS target, t.token, t.id, t.at, t.delta FROM counter_ext.token t
                WHERE kind = 'tokens' AND is_free AND counter_ext.owner_group(t.id) IS NOT NULL LIMIT most) AS s GROUP BY s.target
            UNION ALL
            -- A node's own sources, by which it delivers what moves, are its own wherever they are.
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(o.source) AS target, o.* FROM counter_ext.source_offset o
                WHERE kind = 'sources' AND is_free AND counter_ext.owner_group(o.source) IS NOT NULL AND NOT starts_with(o.source, 'counter_ext.moving ') LIMIT most) AS s
                GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(v.id) AS target, v.id, v.day, v.slot, v.sketch::text AS sketch FROM counter_ext.visit v
                WHERE kind = 'visits' AND counter_ext.owner_group(v.id) IS NOT NULL LIMIT most_sketches) AS s GROUP BY s.target
            UNION ALL
            SELECT s.target, json_agg(s) FROM (
                SELECT counter_ext.owner_group(v.id) AS target, v.id, v.day, v.node, v.sketch::text AS sketch FROM counter_ext.visitors v
                WHERE kind = 'visitors' AND counter_ext.owner_group(v.id) IS NOT NULL LIMIT most_sketches) AS s GROUP BY s.target
        LOOP
            busy := busy || piece.target;
            seen := seen + json_array_length(piece.rows);
            -- Since it was looked whether all are free, another shard may have moved, and these rows be its.
            CONTINUE WHEN kind IN ('likes', 'tokens', 'sources') AND counter_ext.shards_not_vacated(free_shards) > 0;
            BEGIN
                SELECT * INTO asked FROM counter_ext.call_on_nodes(format('counter_ext.take_rows(%L, %L)', kind, piece.rows), ARRAY[piece.target]);
                IF asked.succeeded IS NOT TRUE THEN
                    problem := coalesce(asked.answer, format('there is no node of group %s', piece.target));
                    CONTINUE;
                END IF;
                -- As they were when they were sent: what has changed meanwhile goes the next time.
                CASE kind
                    WHEN 'likes' THEN
                        DELETE FROM counter_ext.liked l USING json_to_recordset(piece.rows) AS r (item text, actor text)
                            WHERE l.item = r.item AND l.actor = r.actor;
                    WHEN 'tokens' THEN
                        DELETE FROM counter_ext.token t USING json_to_recordset(piece.rows) AS r (token text, id text)
                            WHERE t.token = r.token AND t.id = r.id;
                    WHEN 'sources' THEN
                        DELETE FROM counter_ext.source_offset o USING json_populate_recordset(NULL::counter_ext.source_offset, piece.rows) AS r
                            WHERE o.source = r.source AND o IS NOT DISTINCT FROM r;
                    WHEN 'visits' THEN
                        DELETE FROM counter_ext.visit v USING json_to_recordset(piece.rows) AS r (id text, day date, slot bigint)
                            WHERE v.id = r.id AND v.day = r.day AND v.slot = r.slot;
                    ELSE
                        DELETE FROM counter_ext.visitors v USING json_to_recordset(piece.rows) AS r (id text, day date, node integer, sketch text)
                            WHERE v.id = r.id AND v.day = r.day AND v.node = r.node AND v.sketch::text = r.sketch;
                END CASE;
                -- What is deleted locks tables that others count by: nobody is asked any more in this transaction.
                moved := json_array_length(piece.rows);
                unwanted := asked.answer::bigint;
                goes_on := true;
                unfinished := counter_ext.shards_not_vacated('{}');
                RETURN;
            EXCEPTION
                -- Somebody holds a row. The others go all the same.
                WHEN lock_not_available OR deadlock_detected THEN
                    problem := SQLERRM;
            END;
        END LOOP;
    END LOOP;
    -- Those who could have written had ended before this looked, and it found nothing; nor was there more than it looked at.
    IF is_free AND seen < most_sketches THEN
        UPDATE counter_ext.shard_vacated v SET state = 'empty' FROM counter_ext.placed_shards() AS s
            WHERE v.shard = ANY (free_shards) AND s.shard = v.shard AND s.placed = v.placed AND s.node_group <> ALL (busy);
    END IF;
    unfinished := counter_ext.shards_not_vacated('{}');
END
$$;

-- Shards of another node, named by its group, that this one has nothing of any more. It is this node's worker that looks.
CREATE FUNCTION counter_ext.shards_vacated(target integer) RETURNS json
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF counter_ext.shards_not_vacated('{}') > 0 THEN
        PERFORM counter_ext.want_pass();
    END IF;
    RETURN (SELECT coalesce(json_agg(v.shard), '[]') FROM counter_ext.shard_vacated v
        JOIN counter_ext.placed_shards() AS s ON s.shard = v.shard AND s.placed = v.placed
        WHERE v.state = 'empty' AND s.node_group = shards_vacated.target);
END
$$;

-- Asks all other nodes which of this node's shards they have nothing of any more; says of how many everything has arrived since it last asked, and what was in the way.
-- Called by the worker.
CREATE FUNCTION counter_ext.look_for_arrivals(OUT arrived bigint, OUT problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer := (SELECT l.groupid FROM pg_catalog.pg_dist_local_group l);
    others bigint[];
    waiting json;
    asked record;
    answers integer := 0;
    vacated_by_all bigint[];
BEGIN
    arrived := 0;
    IF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        problem := 'there is no list of nodes';
        RETURN;
    END IF;
    -- Before anybody is asked: what an answer is about is the placement of now, or one before.
    SELECT json_agg(json_build_object('shard', s.shard, 'placed', s.placed)), array_agg(s.shard) INTO waiting, vacated_by_all
        FROM counter_ext.placed_shards() AS s WHERE s.node_group = own AND NOT s.has_arrived;
    IF waiting IS NULL THEN
        RETURN;
    END IF;
    -- Also those that cannot be asked now: nobody knows what they have.
    SELECT array_agg(DISTINCT g.groupid) INTO others FROM (
        SELECT n.groupid FROM pg_catalog.pg_dist_node n WHERE n.noderole = 'primary' UNION SELECT p.groupid FROM pg_catalog.pg_dist_placement p) AS g
        WHERE g.groupid <> own;
    FOR asked IN SELECT * FROM counter_ext.call_on_nodes(format('counter_ext.shards_vacated(%s)', own), coalesce(others, '{}')) LOOP
        IF asked.succeeded IS NOT TRUE THEN
            problem := format('node %s: %s', asked.node, asked.answer);
            RETURN;
        END IF;
        answers := answers + 1;
        vacated_by_all := ARRAY(SELECT unnest(vacated_by_all) INTERSECT SELECT j::bigint FROM json_array_elements_text(asked.answer::json) AS j);
    END LOOP;
    IF answers < coalesce(cardinality(others), 0) THEN
        problem := 'some nodes are not active';
        RETURN;
    END IF;
    INSERT INTO counter_ext.shard_arrived AS a (shard, placed)
        SELECT r.shard, r.placed FROM json_to_recordset(waiting) AS r (shard bigint, placed text) WHERE r.shard = ANY (vacated_by_all)
        ON CONFLICT (shard) DO UPDATE SET placed = excluded.placed;
    GET DIAGNOSTICS arrived = ROW_COUNT;
END
$$;

-- What move_rows() of another node sends. What is here already is left out. Returns how many rows came once all had arrived: those are older than what has
-- been done here since, as after a failover of the sender, and are not taken in.
CREATE FUNCTION counter_ext.take_rows(what text, rows text) RETURNS bigint
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unwanted bigint := 0;
BEGIN
    IF what IN ('likes', 'sources') THEN
        unwanted := (SELECT count(*) FROM json_array_elements(rows::json) AS r WHERE counter_ext.has_arrived(coalesce(r->>'item', r->>'source')));
    END IF;
    CASE what
        WHEN 'likes' THEN
            INSERT INTO counter_ext.liked (item, actor, at)
                SELECT r.item, r.actor, r.at FROM json_to_recordset(rows::json) AS r (item text, actor text, at timestamptz)
                WHERE NOT counter_ext.has_arrived(r.item) ON CONFLICT DO NOTHING;
        WHEN 'tokens' THEN
            INSERT INTO counter_ext.token (token, id, at, delta)
                SELECT r.token, r.id, r.at, r.delta FROM json_to_recordset(rows::json) AS r (token text, id text, at timestamptz, delta bigint)
                ON CONFLICT DO NOTHING;
        WHEN 'sources' THEN
            -- Nothing is applied here of a source before all of it has arrived: what comes until then is the latest.
            INSERT INTO counter_ext.source_offset AS o
                SELECT r.* FROM json_populate_recordset(NULL::counter_ext.source_offset, rows::json) AS r
                WHERE NOT counter_ext.has_arrived(r.source)
                ON CONFLICT (source) DO UPDATE SET upto = excluded.upto, skipped = excluded.skipped, batches = excluded.batches,
                    updated_at = excluded.updated_at, passed_over = excluded.passed_over, passed_upto = excluded.passed_upto,
                    resets = excluded.resets, reset_from = excluded.reset_from, reset_at = excluded.reset_at, reset_by = excluded.reset_by;
        ELSE
            -- Sketches are united in the next pass, however often they come.
            EXECUTE format('INSERT INTO counter_ext.visit (id, day, slot, sketch)
                SELECT r.id, r.day, hashint8extended((random() * 9e15)::bigint, 0), r.sketch::%s
                FROM json_to_recordset($1::json) AS r (id text, day date, sketch text)',
                (SELECT format_type(a.atttypid, NULL) FROM pg_attribute a
                 WHERE a.attrelid = 'counter_ext.visit'::regclass AND a.attname = 'sketch')) USING rows;
    END CASE;
    -- Looked at once the table is locked: from then on nothing is taken in that this node has said it has nothing of. The sender asks again.
    IF EXISTS (SELECT FROM json_array_elements(rows::json) AS r
               WHERE counter_ext.owner_group(coalesce(r->>'item', r->>'source', r->>'id')) IS NOT NULL)
    THEN
        RAISE EXCEPTION 'these rows belong to yet another node' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN unwanted;
END
$$;

-- For this database on this node, from the next session on.
CREATE FUNCTION counter_ext.set_serve(value text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('citus.enable_ddl_propagation', 'off', true);
    EXECUTE format('ALTER DATABASE %I %s', current_database(),
        CASE WHEN value IS NULL THEN 'RESET counter_ext.serve' ELSE format('SET counter_ext.serve = %L', value) END);
    PERFORM set_config('citus.enable_ddl_propagation', 'on', true);
END
$$;

-- What this node has to say for counter_citus_status(). Where something is to arrive, the worker is to ask for it.
CREATE FUNCTION counter_ext.citus_node() RETURNS json
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shards bigint;
    arrived bigint;
    functions bigint;
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NOT NULL THEN
        SELECT count(*), count(*) FILTER (WHERE s.has_arrived) INTO shards, arrived
            FROM counter_ext.placed_shards() AS s WHERE s.node_group = s.own_group;
        SELECT count(*) INTO functions FROM counter_ext.functions_by_id() AS f (f)
            JOIN pg_catalog.pg_dist_object o ON o.classid = 'pg_proc'::regclass AND o.objid = f.f AND o.force_delegation;
    END IF;
    IF shards > arrived THEN
        PERFORM counter_ext.want_pass();
    END IF;
    RETURN json_build_object('serves', current_setting('counter_ext.serve', true), 'shards', coalesce(shards, 0),
        'functions', coalesce(functions, 0),
        'moving', (SELECT count(*) FROM counter_ext.moving m), 'arriving', coalesce(shards - arrived, 0),
        'version', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext'));
END
$$;

-- Errors: 55000 there is no cluster here.
CREATE FUNCTION counter_citus_status()
    RETURNS TABLE (group_id integer, node text, serves boolean, shards bigint, functions bigint, moving bigint, arriving bigint, version text,
        problem text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    said json;
    wanted bigint := (SELECT count(*) FROM counter_ext.functions_by_id());
    own_version text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext');
BEGIN
    PERFORM counter_ext.check_citus('counter_citus_status', false);
    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT counter_ext.citus_node()', NULL) LOOP
        group_id := asked.group_id;
        node := asked.node;
        said := CASE WHEN asked.succeeded THEN asked.answer::json END;
        serves := said->>'serves' = 'on';
        shards := (said->>'shards')::bigint;
        functions := (said->>'functions')::bigint;
        moving := (said->>'moving')::bigint;
        arriving := (said->>'arriving')::bigint;
        version := said->>'version';
        problem := CASE
            WHEN NOT asked.succeeded THEN asked.answer
            WHEN version <> own_version THEN format('another version than %s', own_version)
            WHEN functions < wanted THEN format('%s functions are not sent on: call counter_citus_setup()', wanted - functions)
            WHEN shards > 0 AND NOT serves THEN 'it has shards, but counter_ext.serve is off'
        END;
        RETURN NEXT;
    END LOOP;
END
$$;

-- All counters of a node that has ids, as JSON: behind the view counters_everywhere.
CREATE FUNCTION counter_ext.list_everywhere()
    RETURNS TABLE (node text, id text, value bigint, slots integer, updated_at timestamptz, overflowed boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    groups bigint[];
    list text := (SELECT format('SELECT c.id, c.value, c.slots, c.updated_at, c.overflowed FROM %I.counters AS c', n.nspname)
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'counter_ext');
BEGIN
    IF to_regclass('counter_ext.shard_of_id') IS NULL OR to_regclass('pg_catalog.pg_dist_shard') IS NULL THEN
        RETURN QUERY EXECUTE 'SELECT NULL::text, l.* FROM (' || list || ') AS l';
        RETURN;
    END IF;
    -- As the caller, who need not be allowed to read our tables.
    SELECT array_agg(DISTINCT p.groupid) INTO groups FROM pg_catalog.pg_dist_placement p JOIN pg_catalog.pg_dist_shard s ON s.shardid = p.shardid
        WHERE s.logicalrelid = to_regclass('counter_ext.shard_of_id') AND p.shardstate = 1;
    FOR asked IN SELECT * FROM counter_ext.on_nodes('SELECT pg_catalog.json_agg(l) FROM (' || list || ') AS l', groups) LOOP
        IF NOT asked.succeeded THEN
            RAISE EXCEPTION 'node % does not answer: %', asked.node, asked.answer USING ERRCODE = 'connection_failure';
        END IF;
        RETURN QUERY SELECT asked.node, r.id, r.value, r.slots, r.updated_at, r.overflowed
            FROM json_to_recordset(nullif(asked.answer, '')::json)
                AS r (id text, value bigint, slots integer, updated_at timestamptz, overflowed boolean);
    END LOOP;
END
$$;
CREATE VIEW @extschema@.counters_everywhere AS SELECT * FROM counter_ext.list_everywhere();
GRANT SELECT ON @extschema@.counters_everywhere TO PUBLIC;

COMMENT ON VIEW @extschema@.counters_everywhere IS 'counters of all nodes of a Citus cluster, or of this server where there is none';
