-- Several servers that count the same counters. Each has a publication with its own rows, and a subscription to that of each other node.

-- The nodes: each writes its own row, and the others get it by replication. Not dumped: a restored database is nobody's node until
-- counter_node_setup makes it one.
CREATE TABLE counter_ext.member (
    node integer NOT NULL,
    version text NOT NULL,
    -- Whom this node lets take the amounts of all nodes.
    harvester integer,
    -- Nodes whose first copy is complete there.
    copied integer[] NOT NULL DEFAULT '{}',
    since timestamptz NOT NULL DEFAULT pg_catalog.now(),
    left_at timestamptz,
    PRIMARY KEY (node),
    CONSTRAINT member_node CHECK (node OPERATOR(pg_catalog.>) 0)
);

-- What a node asks others to drop, until all of them have it: see src/nodes/requests.rs.
CREATE TABLE counter_ext.drop_request (
    node integer NOT NULL,
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
    -- The nodes that there were. One that joins later is not meant.
    asked integer[] NOT NULL,
    -- It has come with an earlier subscription, and not yet with this one.
    is_stale boolean NOT NULL DEFAULT false,
    PRIMARY KEY (node, id, entry)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- What this node is to drop, since another one has; taken by the next pass.
CREATE TABLE counter_ext.drop_wanted (
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
    PRIMARY KEY (id, entry)
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- What each node has last said of an item and an actor: see src/likes/by_node.rs. Not dumped: counter_node_setup begins with the likes that there are.
CREATE TABLE counter_ext.like_of_node (
    item text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    node integer NOT NULL,
    is_liked boolean NOT NULL,
    version bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (item, actor, node)
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.like_of_node ALTER COLUMN item SET STORAGE EXTERNAL, ALTER COLUMN actor SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.member ALTER COLUMN version SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.drop_request ALTER COLUMN id SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.drop_wanted ALTER COLUMN id SET STORAGE EXTERNAL;

COMMENT ON TABLE counter_ext.member IS 'nodes that count the same counters; each writes its own row';
COMMENT ON TABLE counter_ext.like_of_node IS 'what each node has last said of an item and an actor; the highest version holds, and makes rows of counter_ext.liked';
COMMENT ON TABLE counter_ext.drop_request IS 'counters that other nodes are asked to drop, until all of them have heard';
COMMENT ON TABLE counter_ext.drop_wanted IS 'counters that another node has dropped, and that the next pass drops here';

-- Only rows that come by replication fire these.
CREATE FUNCTION counter_ext.receive_node_row() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM counter_ext.check_node_of_row(OLD.node);
        RETURN OLD;
    END IF;
    PERFORM counter_ext.check_node_of_row(NEW.node);
    -- What an earlier subscription has left is replaced.
    IF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.member'::regclass THEN
        DELETE FROM counter_ext.member m WHERE m.node = NEW.node;
    ELSIF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.like_of_node'::regclass THEN
        DELETE FROM counter_ext.like_of_node l WHERE l.item = NEW.item AND l.actor = NEW.actor AND l.node = NEW.node;
    ELSIF TG_OP = 'INSERT' AND TG_RELID = 'counter_ext.drop_request'::regclass THEN
        DELETE FROM counter_ext.drop_request r WHERE r.node = NEW.node AND r.id = NEW.id AND r.entry = NEW.entry;
        -- What has come before is done: what has been counted since then stays.
        IF NOT FOUND AND current_setting('counter_ext.node')::integer = ANY (NEW.asked) THEN
            INSERT INTO counter_ext.drop_wanted (id, entry) VALUES (NEW.id, NEW.entry) ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['member', 'drop_request', 'like_of_node'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER receive_node_row BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.receive_node_row()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE REPLICA TRIGGER receive_node_row', relation);
    END LOOP;
END
$$;

-- What these rows say, the worker and others do: only who owns the tables writes them by hand, or has them sent by another server.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['member', 'drop_request', 'drop_wanted', 'like_of_node'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER check_row_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_written_by_hand,
            ENABLE ALWAYS TRIGGER check_row_written_by_hand', relation);
    END LOOP;
END
$$;

-- So it is with how far these have delivered to each other, which is beside what other sources have (src/api/idempotency.rs). counter_apply
-- writes rows past triggers.
CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.source_offset
    FOR EACH ROW WHEN (pg_catalog.starts_with(NEW.source, 'counter_ext.')) EXECUTE FUNCTION counter_ext.check_written_by_hand();
CREATE TRIGGER check_taken_by_hand BEFORE UPDATE OR DELETE ON counter_ext.source_offset
    FOR EACH ROW WHEN (pg_catalog.starts_with(OLD.source, 'counter_ext.')) EXECUTE FUNCTION counter_ext.check_written_by_hand();
ALTER TABLE counter_ext.source_offset ENABLE ALWAYS TRIGGER check_written_by_hand, ENABLE ALWAYS TRIGGER check_taken_by_hand;

CREATE TRIGGER receive_like AFTER INSERT OR UPDATE ON counter_ext.like_of_node FOR EACH ROW EXECUTE FUNCTION counter_ext.receive_like();
ALTER TABLE counter_ext.like_of_node ENABLE REPLICA TRIGGER receive_like;

-- Errors: 22004, 22023 what is asked for makes no sense; 25006 a standby; 42501; 55000 this server is not configured for it.
CREATE FUNCTION counter_ext.check_node_setup(node integer, peers text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    setting integer := current_setting('counter_ext.node')::integer;
BEGIN
    IF node IS NULL OR peers IS NULL OR array_position(peers, NULL) IS NOT NULL THEN
        RAISE EXCEPTION 'argument "%" is NULL', CASE WHEN node IS NULL THEN 'node' ELSE 'peers' END
            USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF node < 1 THEN
        RAISE EXCEPTION 'node % is no node''s number', node
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give each server a number from 1 on that no other has.';
    END IF;
    PERFORM counter_ext.check_may_set_up_nodes();
    FOR i IN 1 .. cardinality(peers) LOOP
        BEGIN
            PERFORM counter_ext.check_node_parameters(peers[i]);
        EXCEPTION WHEN syntax_error THEN
            -- Its message would show parts of what may be a password.
            RAISE EXCEPTION 'peer % of the list does not say how to connect to a server', i
                USING ERRCODE = 'syntax_error', HINT = 'Write it as for psql: ''host=b.example dbname=app user=counters'', with quotes around what has spaces.';
        END;
    END LOOP;
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'cannot execute counter_node_setup() during recovery' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF setting <> node THEN
        RAISE EXCEPTION 'counter_ext.node is %, not %', setting, node
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Run ALTER SYSTEM SET counter_ext.node = %s and SELECT pg_reload_conf(), and call it again.', node);
    END IF;
    IF to_regclass('counter_ext.shard_of_id') IS NOT NULL THEN
        RAISE EXCEPTION 'counters are spread over the nodes of a cluster here'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Counters are either on all nodes or spread over them.';
    END IF;
    IF current_setting('wal_level') <> 'logical' THEN
        RAISE EXCEPTION 'wal_level is %, not logical', current_setting('wal_level')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set wal_level = logical and restart the server.';
    END IF;
    PERFORM counter_ext.check_node_names();
END
$$;

-- What a peer says of itself, looked at. `problem` is what it has still to do, if anything. Errors: 55000 it is not fit to be one.
-- `published` are the nodes whose rows it publishes, `unpublished` those whose heir it is to be.
CREATE FUNCTION counter_ext.node_of_peer(node integer, peer text, OUT number integer, OUT slot text, OUT slot_state text, OUT published integer[],
    OUT unpublished integer[], OUT problem text)
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about json;
    reason text;
BEGIN
    BEGIN
        about := counter_ext.ask_node(peer)::json;
    EXCEPTION WHEN connection_exception THEN
        GET STACKED DIAGNOSTICS reason = MESSAGE_TEXT;
        problem := reason;
        RETURN;
    END;
    IF about->>'version' IS NULL THEN
        problem := 'a peer has no extension counter_ext yet';
        RETURN;
    END IF;
    IF about->>'version' <> (SELECT extversion FROM pg_extension WHERE extname = 'counter_ext') THEN
        RAISE EXCEPTION 'a peer has version % of counter_ext, this server another one', about->>'version'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Bring all nodes to the same version: install it, and run ALTER EXTENSION counter_ext UPDATE.';
    END IF;
    number := (about->>'node')::integer;
    IF number = node THEN
        RAISE EXCEPTION 'a peer is node % too', node
            USING ERRCODE = 'object_not_in_prerequisite_state',
            DETAIL = 'Two servers with the same number would overwrite each other''s counts.',
            HINT = 'Give one of them another counter_ext.node and reload it; leave this server itself out of its peers.';
    END IF;
    -- Before anything else that may pass with time: nobody who waits for that peer would mend it.
    IF NOT (about->>'is_a_superusers')::boolean THEN
        RAISE EXCEPTION 'publication "counter_node" of % is no superuser''s', CASE number WHEN 0 THEN 'a peer' ELSE 'node ' || number END
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have this server take any of its tables.',
            HINT = 'Run DROP PUBLICATION counter_node there, or ALTER PUBLICATION counter_node OWNER TO a superuser, and call counter_node_setup there.';
    END IF;
    IF number = 0 OR NOT (about->>'is_set_up')::boolean THEN
        problem := format('%s has not called counter_node_setup yet', CASE number WHEN 0 THEN 'a peer' ELSE 'node ' || number END);
        RETURN;
    END IF;
    IF NOT (about->>'is_right')::boolean THEN
        problem := format('node %s to publish its counters, all of them and nothing else: call counter_node_setup there', number);
        RETURN;
    END IF;
    slot := format('counter_node_%s_of_%s', node, about->>'database');
    slot_state := about->'slots'->>slot;
    published := ARRAY(SELECT p::integer FROM json_array_elements_text(CASE json_typeof(about->'published') WHEN 'array' THEN about->'published' ELSE '[]' END) AS p);
    unpublished := ARRAY(SELECT p::integer FROM json_array_elements_text(CASE json_typeof(about->'unpublished') WHEN 'array' THEN about->'unpublished' ELSE '[]' END) AS p);
END
$$;

-- What counter_node_setup would run.
CREATE FUNCTION counter_ext.node_plan(node integer, peers text[]) RETURNS SETOF text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    peer text;
    asked record;
    i integer := 0;
BEGIN
    RETURN NEXT format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'');',
        counter_ext.node_publishes(node, counter_ext.node_is_heir_of(node, '{}')));
    FOREACH peer IN ARRAY peers LOOP
        i := i + 1;
        asked := counter_ext.node_of_peer(node, peer);
        IF asked.problem IS NOT NULL THEN
            RETURN NEXT format('-- %s', asked.problem);
            CONTINUE;
        END IF;
        IF asked.slot_state IS NULL THEN
            RETURN NEXT format('SELECT pg_create_logical_replication_slot(%L, ''pgoutput''); -- on node %s', asked.slot, asked.number);
        END IF;
        IF NOT counter_ext.is_subscribed_to_node(asked.number) THEN
            -- Who reads this need not know a password.
            RETURN NEXT format('CREATE SUBSCRIPTION counter_node_%s CONNECTION ''<peer %s of the list>'' PUBLICATION counter_node WITH (create_slot = false, slot_name = %L, enabled = false);',
                asked.number, i, asked.slot);
            RETURN NEXT format('ALTER SUBSCRIPTION counter_node_%s ENABLE; -- where it takes counters and nothing else', asked.number);
        END IF;
    END LOOP;
END
$$;

-- What this server counted before it had a number becomes the node's.
CREATE FUNCTION counter_ext.number_own_rows(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.total t WHERE t.node = 0) THEN
        -- Nobody counts meanwhile.
        LOCK TABLE counter_ext.total IN SHARE ROW EXCLUSIVE MODE;
        UPDATE counter_ext.total t SET value = t.value + o.value, updated_at = greatest(t.updated_at, o.updated_at)
            FROM counter_ext.total o WHERE o.id = t.id AND o.node = 0 AND t.node = number_own_rows.node;
        DELETE FROM counter_ext.total o USING counter_ext.total t WHERE o.node = 0 AND t.id = o.id AND t.node = number_own_rows.node;
        UPDATE counter_ext.total t SET node = number_own_rows.node WHERE t.node = 0;
    END IF;
    IF EXISTS (SELECT FROM counter_ext.visitors v WHERE v.node = 0) THEN
        LOCK TABLE counter_ext.visitors IN SHARE ROW EXCLUSIVE MODE;
        UPDATE counter_ext.visitors v SET sketch = counter_ext.counter_hll_union(v.sketch, o.sketch), updated_at = greatest(v.updated_at, o.updated_at)
            FROM counter_ext.visitors o WHERE o.id = v.id AND o.day = v.day AND o.node = 0 AND v.node = number_own_rows.node;
        DELETE FROM counter_ext.visitors o USING counter_ext.visitors v
            WHERE o.node = 0 AND v.id = o.id AND v.day = o.day AND v.node = number_own_rows.node;
        UPDATE counter_ext.visitors v SET node = number_own_rows.node WHERE v.node = 0;
    END IF;
END
$$;

-- A server that was made as a copy of another one has its counters of likes under that one's number. Each node counts likes from the rows that it has.
CREATE FUNCTION counter_ext.number_counters_of_likes(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM counter_ext.total t WHERE t.id < chr(2) AND t.node <> $1) THEN
        LOCK TABLE counter_ext.total IN SHARE ROW EXCLUSIVE MODE;
        WITH gone AS (DELETE FROM counter_ext.total t WHERE t.id < chr(2) AND t.node <> $1 RETURNING t.id, t.value, t.updated_at)
            INSERT INTO counter_ext.total AS t (id, node, value, updated_at) SELECT g.id, $1, sum(g.value), max(g.updated_at) FROM gone g GROUP BY g.id
            ON CONFLICT ON CONSTRAINT total_pkey DO UPDATE SET value = t.value + excluded.value, updated_at = greatest(t.updated_at, excluded.updated_at);
    END IF;
END
$$;

-- Does what can be done now, and says what is still waited for; NULL where the node is ready, and nothing where it goes on at once in the next
-- transaction. In a transaction that has written nothing yet: a slot that is made on a peer waits there for transactions that write, and a slot that the
-- peer makes here would wait for this one.
CREATE FUNCTION counter_ext.node_step(node integer, peers text[]) RETURNS text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
    numbers integer[] := '{}';
    slots text[] := '{}';
    states text[] := '{}';
    published text[] := '{}';
    unpublished text[] := '{}';
    reachable text[] := '{}';
    -- Who is not subscribed to yet, and can be.
    fresh boolean[] := '{}';
    gone integer[];
    other integer;
    copies_anew boolean := false;
    publishes_less boolean;
    waits_for text;
    complete integer[];
BEGIN
    -- Who began a command before the reload may still count without the number; so may whatever other process runs a transaction.
    IF pg_conf_load_time() > clock_timestamp() - interval '1 second' OR EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
            AND CASE WHEN a.backend_type = 'client backend' THEN a.state = 'active' AND a.query_start < pg_conf_load_time() + interval '1 second'
                ELSE a.backend_type NOT IN ('walsender', 'autovacuum worker') AND a.xact_start < pg_conf_load_time() + interval '1 second' END)
    THEN
        RETURN 'commands that began before counter_ext.node was reloaded';
    END IF;
    PERFORM counter_ext.check_node_names();
    IF counter_ext.end_strange_subscriptions() THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(peers) LOOP
        asked := counter_ext.node_of_peer(node, peers[i]);
        IF asked.problem IS NOT NULL THEN
            waits_for := coalesce(waits_for, asked.problem);
            CONTINUE;
        END IF;
        IF asked.number = ANY (numbers) THEN
            RAISE EXCEPTION 'two of the peers are node %', asked.number
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name each server once, and give each a number of its own.';
        END IF;
        numbers := array_append(numbers, asked.number);
        slots := array_append(slots, asked.slot);
        states := array_append(states, asked.slot_state);
        published := array_append(published, asked.published::text);
        unpublished := array_append(unpublished, asked.unpublished::text);
        reachable := array_append(reachable, peers[i]);
    END LOOP;

    -- What has been missed cannot be had any more: it is copied once more, as a whole. Without a subscription that is so whatever fails from here on.
    FOR i IN 1 .. cardinality(numbers) LOOP
        IF coalesce(states[i], 'lost') = 'lost' AND counter_ext.is_subscribed_to_node(numbers[i]) THEN
            PERFORM counter_ext.unsubscribe_from_node(numbers[i]);
            copies_anew := true;
        END IF;
    END LOOP;
    IF copies_anew THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(numbers) LOOP
        fresh := array_append(fresh, NOT counter_ext.is_subscribed_to_node(numbers[i]));
        IF NOT fresh[i] THEN
            CONTINUE;
        END IF;
        other := (SELECT min(n) FROM unnest(published[i]::integer[]) AS n
            WHERE n <> numbers[i] AND (n = node OR n = ANY (numbers) OR counter_ext.is_subscribed_to_node(n)));
        IF other IS NOT NULL THEN
            waits_for := coalesce(waits_for, format('node %s to hand on no longer what node %s has counted: call counter_node_setup there, or counter_node_leave(%s) here where that one has left',
                numbers[i], other, other));
            fresh[i] := false;
            CONTINUE;
        END IF;
        other := (SELECT min(n) FROM unnest(unpublished[i]::integer[]) AS n WHERE n <> node AND n <> ALL (numbers));
        IF other IS NOT NULL THEN
            waits_for := coalesce(waits_for,
                format('node %s to hand on what node %s has counted, which has left: call counter_node_leave(%s) there', numbers[i], other, other));
            fresh[i] := false;
            CONTINUE;
        END IF;
        IF states[i] = 'lost' THEN
            PERFORM counter_ext.drop_node_slot(reachable[i], slots[i]);
        END IF;
        IF coalesce(states[i], 'lost') = 'lost' THEN
            PERFORM counter_ext.make_node_slot(reachable[i], slots[i]);
        END IF;
    END LOOP;

    PERFORM counter_ext.number_own_rows(node);
    publishes_less := counter_ext.publish_node(node, numbers, false);
    IF NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = node_step.node AND m.left_at IS NULL) THEN
        PERFORM counter_ext.number_counters_of_likes(node);
        INSERT INTO counter_ext.like_of_node (item, actor, node, is_liked, version, at)
            SELECT l.item, l.actor, node_step.node, true, 1, l.at FROM counter_ext.liked l ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO counter_ext.member AS m (node, version)
        SELECT node_step.node, e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext'
        ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET version = excluded.version, left_at = NULL
        WHERE m.version <> excluded.version OR m.left_at IS NOT NULL;
    IF publishes_less THEN
        RETURN '';
    END IF;
    FOR i IN 1 .. cardinality(numbers) LOOP
        IF fresh[i] THEN
            -- What this node hands on itself stays: its going would be handed on too.
            gone := ARRAY(SELECT n FROM unnest(numbers[i] || published[i]::integer[]) AS n
                WHERE n = numbers[i] OR n <> ALL (coalesce(counter_ext.node_published('total'), '{}')));
            DELETE FROM counter_ext.total t WHERE t.node = ANY (gone);
            DELETE FROM counter_ext.visitors v WHERE v.node = ANY (gone);
            DELETE FROM counter_ext.member m WHERE m.node = ANY (gone);
            DELETE FROM counter_ext.like_of_node l WHERE l.node = ANY (gone);
            UPDATE counter_ext.drop_request r SET is_stale = true WHERE r.node = numbers[i];
            UPDATE counter_ext.member m SET copied = array_remove(m.copied, numbers[i]) WHERE m.node = node_step.node;
            PERFORM counter_ext.subscribe_to_node(numbers[i], reachable[i], slots[i]);
        END IF;
    END LOOP;

    SELECT coalesce(array_agg(n ORDER BY n), '{}') INTO complete FROM unnest(numbers) AS n
        WHERE (SELECT bool_and(r.srsubstate IN ('s', 'r')) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
               JOIN pg_database d ON d.oid = s.subdbid
               WHERE d.datname = current_database() AND s.subname = 'counter_node_' || n);
    UPDATE counter_ext.member m SET copied = complete WHERE m.node = node_step.node AND NOT m.copied @> complete;
    DELETE FROM counter_ext.drop_request r WHERE r.node = ANY (complete) AND r.is_stale;
    IF waits_for IS NULL THEN
        SELECT CASE WHEN NOT n = ANY (complete) THEN format('the first copy of what node %s has', n)
                    ELSE format('node %s to copy what this node has', n) END
            INTO waits_for FROM unnest(numbers) AS n
            WHERE NOT n = ANY (complete)
                OR NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = n AND node_step.node = ANY (m.copied))
            ORDER BY n LIMIT 1;
    END IF;
    IF waits_for IS NULL THEN
        PERFORM counter_ext.publish_node(node, numbers, true);
    END IF;
    RETURN waits_for;
END
$$;

CREATE PROCEDURE counter_node_setup(node integer, peers text[] DEFAULT '{}', dry_run boolean DEFAULT false,
    patience interval DEFAULT interval '5 minutes')
    LANGUAGE plpgsql AS $$
DECLARE
    line pg_catalog.text;
    waits_for pg_catalog.text;
    said pg_catalog.text;
    give_up pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) patience;
BEGIN
    PERFORM counter_ext.check_node_setup(node, peers);
    IF dry_run THEN
        FOR line IN SELECT p.p FROM counter_ext.node_plan(node, peers) AS p(p) LOOP
            RAISE NOTICE '%', line;
        END LOOP;
        RETURN;
    END IF;
    LOOP
        COMMIT;
        waits_for := counter_ext.node_step(node, peers);
        COMMIT;
        EXIT WHEN waits_for IS NULL;
        CONTINUE WHEN waits_for OPERATOR(pg_catalog.=) '';
        IF said IS NULL OR said OPERATOR(pg_catalog.<>) waits_for THEN
            RAISE NOTICE 'node % waits for: %', node, waits_for;
            said := waits_for;
        END IF;
        IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) give_up THEN
            RAISE EXCEPTION 'node % is not ready: it waits for: %', node, waits_for
                USING ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'What was made stays. Call counter_node_setup on every node, and here again.';
        END IF;
        PERFORM pg_catalog.pg_sleep(0.2);
    END LOOP;
    RAISE NOTICE 'node % is ready', node;
END
$$;

-- Ends what this node takes from one node, or from all; returns where slots are left to be dropped.
CREATE FUNCTION counter_ext.node_unsubscribe(which integer, OUT parameters text, OUT slot text) RETURNS SETOF record
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked record;
BEGIN
    PERFORM counter_ext.check_node_names();
    FOR asked IN SELECT substring(s.subname FROM '^counter_node_([0-9]+)$')::integer AS number, s.subconninfo, s.subslotname
        FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$'
    LOOP
        IF which IS NULL OR asked.number = which THEN
            PERFORM counter_ext.unsubscribe_from_node(asked.number);
            parameters := asked.subconninfo;
            slot := asked.subslotname;
            RETURN NEXT;
        END IF;
    END LOOP;
    IF which IS NULL THEN
        -- All others have them.
        DELETE FROM counter_ext.drop_request r WHERE r.node = current_setting('counter_ext.node')::integer;
    END IF;
END
$$;

-- Nodes that have not taken what this one wrote up to a place in the log.
CREATE FUNCTION counter_ext.nodes_behind(upto pg_lsn) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(substring(s.slot_name FROM '^counter_node_([0-9]+)_of_'), ', ' ORDER BY s.slot_name)
        FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
        WHERE s.database = current_database() AND s.slot_name ~ ('^counter_node_[0-9]+_of_' || d.oid || '$')
            AND (upto IS NULL OR s.confirmed_flush_lsn < upto)
$$;

CREATE PROCEDURE counter_node_leave(node integer DEFAULT NULL, patience interval DEFAULT interval '5 minutes')
    LANGUAGE plpgsql AS $$
DECLARE
    own pg_catalog.int4 := pg_catalog.current_setting('counter_ext.node')::pg_catalog.int4;
    is_own pg_catalog.bool := node IS NULL OR node OPERATOR(pg_catalog.=) own;
    give_up pg_catalog.timestamptz := pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+) patience;
    compact pg_catalog.text;
    upto pg_catalog.pg_lsn;
    behind pg_catalog.text;
    slots pg_catalog.text[];
    parameters pg_catalog.text[];
BEGIN
    PERFORM counter_ext.check_may_set_up_nodes();
    IF own OPERATOR(pg_catalog.=) 0 THEN
        RAISE EXCEPTION 'this server is no node' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'counter_ext.node is 0.';
    END IF;
    PERFORM counter_ext.check_node_names();
    UPDATE counter_ext.member m SET (left_at, copied) = ROW (pg_catalog.now(), '{}')
        WHERE m.left_at IS NULL
            AND m.node OPERATOR(pg_catalog.=) CASE WHEN is_own THEN own ELSE counter_node_leave.node END;
    COMMIT;
    IF is_own THEN
        -- What it has counted stays counted elsewhere, so it has to get there.
        -- By the schema that it is in now: ALTER EXTENSION may have moved it.
        SELECT pg_catalog.format('SELECT %I.counter_compact()', n.nspname) INTO compact FROM pg_catalog.pg_extension e
            JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
            WHERE e.extname OPERATOR(pg_catalog.=) 'counter_ext';
        EXECUTE compact;
        COMMIT;
        upto := pg_catalog.pg_current_wal_lsn();
        LOOP
            behind := counter_ext.nodes_behind(upto);
            COMMIT;
            EXIT WHEN behind IS NULL;
            IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.>) give_up THEN
                RAISE EXCEPTION 'node % cannot leave: what it has counted has not reached node %', own, behind
                    USING ERRCODE = 'object_not_in_prerequisite_state',
                    HINT = 'Call it again once that node takes it, or call counter_node_leave(that node) here if it is gone for good.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.2);
        END LOOP;
    END IF;
    SELECT pg_catalog.array_agg(u.parameters), pg_catalog.array_agg(u.slot) INTO parameters, slots
        FROM counter_ext.node_unsubscribe(CASE WHEN is_own THEN NULL ELSE counter_node_leave.node END) AS u;
    COMMIT;
    PERFORM counter_ext.drop_node_slots(parameters, slots, give_up);
    IF NOT is_own THEN
        PERFORM counter_ext.inherit_from_node(own, counter_node_leave.node);
    ELSE
        behind := counter_ext.nodes_behind(NULL);
        IF behind IS NULL THEN
            PERFORM counter_ext.unpublish_node();
        ELSE
            RAISE NOTICE 'node % has left; call counter_node_leave(%) on node %', own, own, behind;
        END IF;
    END IF;
END
$$;

-- Slots of subscriptions that are gone. One whose server cannot be reached, or that stays in use until the time that is given, is told of: it keeps that
-- server's log until it is dropped.
CREATE FUNCTION counter_ext.drop_node_slots(parameters text[], slots text[], give_up timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text;
    is_reached boolean;
BEGIN
    FOR i IN 1 .. coalesce(cardinality(slots), 0) LOOP
        LOOP
            problem := NULL;
            is_reached := true;
            BEGIN
                PERFORM counter_ext.drop_node_slot(parameters[i], slots[i]);
            EXCEPTION
                WHEN sqlclient_unable_to_establish_sqlconnection THEN
                    problem := SQLERRM;
                    is_reached := false;
                WHEN connection_exception THEN
                    problem := SQLERRM;
                -- What is no connection string is an error of its own from PostgreSQL 16 on.
                WHEN syntax_error THEN
                    problem := 'could not establish connection';
                    is_reached := false;
            END;
            EXIT WHEN problem IS NULL OR NOT is_reached OR clock_timestamp() > give_up;
            -- Whoever used it may take a moment to end.
            PERFORM pg_sleep(0.1);
        END LOOP;
        IF problem IS NOT NULL THEN
            RAISE WARNING 'replication slot "%" could not be dropped: %', slots[i], problem
                USING HINT = 'Drop it on that server with pg_drop_replication_slot(), or it will keep its WAL.';
        END IF;
    END LOOP;
END
$$;

-- A node is gone: what it has counted is handed on, and its slot keeps no log any more.
CREATE FUNCTION counter_ext.inherit_from_node(own integer, node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM counter_ext.check_node_names();
    IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'counter_node')
        AND NOT EXISTS (SELECT FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$' AND r.srsubstate NOT IN ('s', 'r'))
    THEN
        PERFORM counter_ext.publish_node(own, '{}', true);
    END IF;
    BEGIN
        PERFORM pg_drop_replication_slot(s.slot_name) FROM pg_replication_slots s JOIN pg_database d ON d.datname = s.database
            WHERE d.datname = current_database() AND s.slot_name = format('counter_node_%s_of_%s', node, d.oid) AND NOT s.active;
    EXCEPTION WHEN object_in_use THEN
        -- Then the node is not gone, and drops the slot itself when it leaves.
        NULL;
    END;
END
$$;

-- Called on every node. Errors: 22004; 42501; 55000 this server, or the one named, is no node.
CREATE FUNCTION counter_node_harvester(node integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer := current_setting('counter_ext.node')::integer;
BEGIN
    IF node IS NULL THEN
        RAISE EXCEPTION 'argument "node" is NULL' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'A harvester can be replaced by another one, but not by none: what it took for all nodes stands in its own rows.';
    END IF;
    PERFORM counter_ext.check_may_set_up_nodes();
    -- Whoever takes amounts by what was said before has committed, and so comes first on all nodes.
    LOCK TABLE counter_ext.member IN SHARE ROW EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = counter_node_harvester.node AND m.left_at IS NULL) THEN
        RAISE EXCEPTION 'there is no node %', node USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Call counter_node_setup there and here first.';
    END IF;
    UPDATE counter_ext.member m SET harvester = counter_node_harvester.node WHERE m.node = own AND m.left_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this server is no node' USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Call counter_node_setup first.';
    END IF;
END
$$;
