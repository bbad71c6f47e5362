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

-- What other nodes are to drop. A row is deleted in the transaction that inserts it, so none is ever seen.
CREATE TABLE counter_ext.drop_request (
    node integer NOT NULL,
    id text COLLATE "C" NOT NULL,
    entry bigint NOT NULL,
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
COMMENT ON TABLE counter_ext.drop_request IS 'counters that other nodes are asked to drop; always empty';
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
        INSERT INTO counter_ext.drop_wanted (id, entry) VALUES (NEW.id, NEW.entry) ON CONFLICT DO NOTHING;
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

-- What these rows say, the worker and others do: only who owns the tables writes them by hand.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['member', 'drop_request', 'drop_wanted', 'like_of_node'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER check_written_by_hand BEFORE INSERT OR UPDATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.check_written_by_hand()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER check_written_by_hand', relation);
    END LOOP;
END
$$;

-- Nobody else says anything of an item and an actor to the end of the transaction.
CREATE FUNCTION counter_ext.lock_like(item text, actor text) RETURNS void
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(item, hashtextextended(actor, 0)))
$$;

-- Another node's word has arrived: the like is there, or not, as the word says that holds. What it changes is counted by the triggers on
-- counter_ext.liked.
CREATE FUNCTION counter_ext.receive_like() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_liked boolean;
BEGIN
    PERFORM counter_ext.lock_like(NEW.item, NEW.actor);
    is_liked := (SELECT l.is_liked FROM counter_ext.like_of_node l WHERE l.item = NEW.item AND l.actor = NEW.actor
        ORDER BY l.version DESC, l.node DESC LIMIT 1);
    IF is_liked THEN
        INSERT INTO counter_ext.liked (item, actor, at) VALUES (NEW.item, NEW.actor, NEW.at) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM counter_ext.liked l WHERE l.item = NEW.item AND l.actor = NEW.actor;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER receive_like AFTER INSERT OR UPDATE ON counter_ext.like_of_node FOR EACH ROW EXECUTE FUNCTION counter_ext.receive_like();
ALTER TABLE counter_ext.like_of_node ENABLE REPLICA TRIGGER receive_like;

-- What a node publishes: its own rows, and of its counters not those of likes, which each node counts from the rows that it has.
CREATE FUNCTION counter_ext.node_publishes(node integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('TABLE counter_ext.total WHERE (node = %1$s AND ascii(id) <> 1), TABLE counter_ext.visitors WHERE (node = %1$s), '
        'TABLE counter_ext.member WHERE (node = %1$s), TABLE counter_ext.drop_request WHERE (node = %1$s), TABLE counter_ext.like_of_node WHERE (node = %1$s)', node)
$$;

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
END
$$;

-- What a peer says of itself, looked at. `problem` is what it has still to do, if anything. Errors: 55000 it is not fit to be one.
CREATE FUNCTION counter_ext.node_of_peer(node integer, peer text, OUT number integer, OUT slot text, OUT slot_state text, OUT problem text)
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    about json;
    reason text;
BEGIN
    BEGIN
        about := counter_ext.ask_node(peer)::json;
    EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
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
    IF number = 0 OR NOT (about->>'is_published')::boolean THEN
        problem := format('%s has not called counter_node_setup yet', CASE number WHEN 0 THEN 'a peer' ELSE 'node ' || number END);
        RETURN;
    END IF;
    slot := format('counter_node_%s_of_%s', node, about->>'database');
    slot_state := about->'slots'->>slot;
END
$$;

-- What counter_node_setup would run.
CREATE FUNCTION counter_ext.node_plan(node integer, peers text[]) RETURNS SETOF text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    peer text;
    asked record;
BEGIN
    RETURN NEXT format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'');', counter_ext.node_publishes(node));
    FOREACH peer IN ARRAY peers LOOP
        asked := counter_ext.node_of_peer(node, peer);
        IF asked.problem IS NOT NULL THEN
            RETURN NEXT format('-- %s', asked.problem);
            CONTINUE;
        END IF;
        IF asked.slot_state IS NULL THEN
            RETURN NEXT format('SELECT pg_create_logical_replication_slot(%L, ''pgoutput''); -- on node %s', asked.slot, asked.number);
        END IF;
        IF NOT counter_ext.is_subscribed_to_node(asked.number) THEN
            RETURN NEXT format('CREATE SUBSCRIPTION counter_node_%s CONNECTION %L PUBLICATION counter_node WITH (create_slot = false, slot_name = %L);',
                asked.number, peer, asked.slot);
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION counter_ext.is_subscribed_to_node(node integer) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || node)
$$;

-- Its slot is left to the caller: PostgreSQL would drop it outside this transaction.
CREATE FUNCTION counter_ext.unsubscribe_from_node(node integer) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s DISABLE', node);
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s SET (slot_name = NONE)', node);
    EXECUTE format('DROP SUBSCRIPTION counter_node_%s', node);
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

-- Does what can be done now, and says what is still waited for; NULL where the node is ready. In a transaction that has written nothing yet: a
-- slot that is made on a peer waits there for transactions that write, and a slot that the peer makes here would wait for this one.
CREATE FUNCTION counter_ext.node_step(node integer, peers text[]) RETURNS text
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    peer text;
    asked record;
    numbers integer[] := '{}';
    slots text[] := '{}';
    reachable text[] := '{}';
    anew integer[] := '{}';
    waits_for text;
    complete integer[];
BEGIN
    -- Who began a command before the reload may still count without the number.
    IF pg_conf_load_time() > clock_timestamp() - interval '1 second' OR EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.state = 'active'
            AND a.backend_type = 'client backend' AND a.query_start < pg_conf_load_time() + interval '1 second')
    THEN
        RETURN 'commands that began before counter_ext.node was reloaded';
    END IF;
    FOREACH peer IN ARRAY peers LOOP
        asked := counter_ext.node_of_peer(node, peer);
        IF asked.problem IS NOT NULL THEN
            waits_for := coalesce(waits_for, asked.problem);
            CONTINUE;
        END IF;
        IF asked.number = ANY (numbers) THEN
            RAISE EXCEPTION 'two of the peers are node %', asked.number
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Name each server once, and give each a number of its own.';
        END IF;
        IF asked.slot_state IS NULL OR asked.slot_state = 'lost' THEN
            IF asked.slot_state = 'lost' THEN
                PERFORM counter_ext.drop_node_slot(peer, asked.slot);
            END IF;
            PERFORM counter_ext.make_node_slot(peer, asked.slot);
            anew := anew || asked.number;
        END IF;
        numbers := numbers || asked.number;
        slots := slots || asked.slot;
        reachable := reachable || peer;
    END LOOP;

    PERFORM counter_ext.number_own_rows(node);
    IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'counter_node') THEN
        EXECUTE format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'')', counter_ext.node_publishes(node));
    ELSIF (SELECT count(*) FROM pg_publication_tables p WHERE p.pubname = 'counter_node' AND p.rowfilter ~ format('\mnode = %s\M', node))
        <> (SELECT count(*) FROM regexp_matches(counter_ext.node_publishes(node), 'TABLE', 'g'))
    THEN
        -- A dump does not say what it publishes; or the number is another one.
        EXECUTE format('ALTER PUBLICATION counter_node SET %s', counter_ext.node_publishes(node));
    END IF;
    IF NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = node_step.node AND m.left_at IS NULL) THEN
        INSERT INTO counter_ext.like_of_node (item, actor, node, is_liked, version, at)
            SELECT l.item, l.actor, node_step.node, true, 1, l.at FROM counter_ext.liked l ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO counter_ext.member AS m (node, version)
        SELECT node_step.node, e.extversion FROM pg_extension e WHERE e.extname = 'counter_ext'
        ON CONFLICT ON CONSTRAINT member_pkey DO UPDATE SET version = excluded.version, left_at = NULL
        WHERE m.version <> excluded.version OR m.left_at IS NOT NULL;
    FOR i IN 1 .. cardinality(numbers) LOOP
        IF numbers[i] = ANY (anew) AND counter_ext.is_subscribed_to_node(numbers[i]) THEN
            -- What has been missed cannot be had any more: it is copied once more, as a whole.
            PERFORM counter_ext.unsubscribe_from_node(numbers[i]);
        END IF;
        IF NOT counter_ext.is_subscribed_to_node(numbers[i]) THEN
            DELETE FROM counter_ext.total t WHERE t.node = numbers[i];
            DELETE FROM counter_ext.visitors v WHERE v.node = numbers[i];
            DELETE FROM counter_ext.member m WHERE m.node = numbers[i];
            DELETE FROM counter_ext.like_of_node l WHERE l.node = numbers[i];
            UPDATE counter_ext.member m SET copied = array_remove(m.copied, numbers[i]) WHERE m.node = node_step.node;
            EXECUTE format('CREATE SUBSCRIPTION counter_node_%s CONNECTION %L PUBLICATION counter_node WITH (create_slot = false, slot_name = %L)',
                numbers[i], reachable[i], slots[i]);
        END IF;
    END LOOP;

    SELECT coalesce(array_agg(n ORDER BY n), '{}') INTO complete FROM unnest(numbers) AS n
        WHERE (SELECT bool_and(r.srsubstate IN ('s', 'r')) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
               JOIN pg_database d ON d.oid = s.subdbid
               WHERE d.datname = current_database() AND s.subname = 'counter_node_' || n);
    UPDATE counter_ext.member m SET copied = complete WHERE m.node = node_step.node AND NOT m.copied @> complete;
    IF waits_for IS NULL THEN
        SELECT CASE WHEN NOT n = ANY (complete) THEN format('the first copy of what node %s has', n)
                    ELSE format('node %s to copy what this node has', n) END
            INTO waits_for FROM unnest(numbers) AS n
            WHERE NOT n = ANY (complete)
                OR NOT EXISTS (SELECT FROM counter_ext.member m WHERE m.node = n AND node_step.node = ANY (m.copied))
            ORDER BY n LIMIT 1;
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
                    HINT = 'Call it again once that node takes it, or call counter_node_leave(that node) here if it is gone for good, and drop its slot.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.2);
        END LOOP;
    END IF;
    SELECT pg_catalog.array_agg(u.parameters), pg_catalog.array_agg(u.slot) INTO parameters, slots
        FROM counter_ext.node_unsubscribe(CASE WHEN is_own THEN NULL ELSE counter_node_leave.node END) AS u;
    COMMIT;
    PERFORM counter_ext.drop_node_slots(parameters, slots);
    IF is_own THEN
        behind := counter_ext.nodes_behind(NULL);
        IF behind IS NULL THEN
            DROP PUBLICATION IF EXISTS counter_node;
        ELSE
            RAISE NOTICE 'node % has left; call counter_node_leave(%) on node %', own, own, behind;
        END IF;
    END IF;
END
$$;

-- Slots of subscriptions that are gone. One whose server does not answer is told of: it keeps that server's log until it is dropped.
CREATE FUNCTION counter_ext.drop_node_slots(parameters text[], slots text[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR i IN 1 .. coalesce(cardinality(slots), 0) LOOP
        -- Whoever used it may take a moment to end.
        FOR attempt IN 1 .. 50 LOOP
            BEGIN
                PERFORM counter_ext.drop_node_slot(parameters[i], slots[i]);
                EXIT;
            EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
                IF attempt = 50 THEN
                    RAISE WARNING 'replication slot "%" could not be dropped: %', slots[i], SQLERRM
                        USING HINT = 'Drop it on that server with pg_drop_replication_slot(), or it will keep its WAL.';
                END IF;
                PERFORM pg_sleep(0.1);
            END;
        END LOOP;
    END LOOP;
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
