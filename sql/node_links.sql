-- A node's publication, and its subscriptions to those of others: what these are called, whose they are, and what they have.

CREATE FUNCTION counter_ext.is_subscribed_to_node(node integer) RETURNS boolean
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || node)
$$;

-- What a node publishes: its own rows, and those of nodes that have left and whose heir it is; of counters not those of likes, which each node counts
-- from the rows that it has.
CREATE FUNCTION counter_ext.node_publishes(node integer, heir_of integer[]) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('TABLE counter_ext.total WHERE (node = ANY (ARRAY[%1$s]) AND ascii(id) <> 1), TABLE counter_ext.visitors WHERE (node = ANY (ARRAY[%1$s])), '
        'TABLE counter_ext.member WHERE (node = ANY (ARRAY[%1$s])), TABLE counter_ext.like_of_node WHERE (node = ANY (ARRAY[%1$s])), '
        'TABLE counter_ext.drop_request WHERE (node = ANY (ARRAY[%2$s]))', array_to_string(node || heir_of, ', '), node)
$$;

-- The tables that nodes send each other.
CREATE FUNCTION counter_ext.node_relations() RETURNS oid[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY['counter_ext.total'::regclass, 'counter_ext.visitors'::regclass, 'counter_ext.member'::regclass, 'counter_ext.like_of_node'::regclass,
        'counter_ext.drop_request'::regclass]::oid[]
$$;

-- Publications and subscriptions are in no schema, so whoever may make some may have taken the names of ours: his publication would have the other nodes write
-- whatever tables he adds, with the rights of a superuser before PostgreSQL 16, and his subscription would have this server connect where he says.
-- Errors: 55000 one of that name is not a superuser's.
CREATE FUNCTION counter_ext.check_node_names() RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner name;
    taken name;
BEGIN
    SELECT r.rolname INTO owner FROM pg_publication p JOIN pg_roles r ON r.oid = p.pubowner WHERE p.pubname = 'counter_node' AND NOT r.rolsuper;
    IF FOUND THEN
        RAISE EXCEPTION 'publication "counter_node" belongs to role "%", which is no superuser', owner
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have the other nodes take any of its tables.',
            HINT = 'Run DROP PUBLICATION counter_node, or ALTER PUBLICATION counter_node OWNER TO a superuser, and call it again.';
    END IF;
    SELECT s.subname, r.rolname INTO taken, owner FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid JOIN pg_roles r ON r.oid = s.subowner
        WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$' AND NOT r.rolsuper ORDER BY s.subname LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'subscription "%" belongs to role "%", which is no superuser', taken, owner
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Its owner could have this server connect anywhere.',
            HINT = format('Run ALTER SUBSCRIPTION %1$s DISABLE, ALTER SUBSCRIPTION %1$s SET (slot_name = NONE) and DROP SUBSCRIPTION %1$s, and call it again.', taken);
    END IF;
END
$$;

-- What a subscription takes beside the tables that nodes send each other, by names; NULL where that is nothing.
CREATE FUNCTION counter_ext.subscribed_strangers(node integer) RETURNS text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(r.srrelid::regclass::text, ', ' ORDER BY r.srrelid) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
        JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || node AND r.srrelid <> ALL (counter_ext.node_relations())
$$;

-- Whose rows the publication has, by the name of a table.
CREATE FUNCTION counter_ext.node_published(relation name) RETURNS integer[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_to_array(substring(p.rowfilter, 'ARRAY[[]([0-9, ]+)[]]'), ', ')::integer[] FROM pg_publication_tables p
        WHERE p.pubname = 'counter_node' AND p.schemaname = 'counter_ext' AND p.tablename = relation
$$;

-- The nodes that have left and whose rows this one hands on, so that who joins later has them: all, on the lowest of those that have not left. Not those
-- that are `back`, nor those that this one still takes from.
CREATE FUNCTION counter_ext.node_is_heir_of(node integer, back integer[]) RETURNS integer[]
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(m.node ORDER BY m.node), '{}') FROM counter_ext.member m
        WHERE m.left_at IS NOT NULL AND m.node <> $1 AND m.node <> ALL (back) AND NOT counter_ext.is_subscribed_to_node(m.node)
            AND NOT EXISTS (SELECT FROM counter_ext.member o WHERE o.left_at IS NULL AND o.node < $1)
$$;

-- Brings the publication to what it should have; what is new of other nodes where it `may_add` that: their rows are here as a whole, and none is about to be
-- deleted. Returns whether it has less than before: what the same transaction deletes could still go out.
CREATE FUNCTION counter_ext.publish_node(node integer, back integer[], may_add boolean) RETURNS boolean
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    earlier integer[] := coalesce(counter_ext.node_published('total'), '{}');
    heir_of integer[] := ARRAY(SELECT n FROM unnest(counter_ext.node_is_heir_of(node, back)) AS n WHERE may_add OR n = ANY (earlier));
    is_right boolean;
    present record;
BEGIN
    PERFORM counter_ext.check_node_names();
    SELECT p.oid, p.puballtables, p.pubinsert AND p.pubupdate AND p.pubdelete AND NOT p.pubtruncate AND NOT p.pubviaroot AS has_options
        INTO present FROM pg_publication p WHERE p.pubname = 'counter_node';
    -- One of all tables cannot be changed into one of some.
    IF present.puballtables THEN
        DROP PUBLICATION counter_node;
    END IF;
    IF present.oid IS NULL OR present.puballtables THEN
        EXECUTE format('CREATE PUBLICATION counter_node FOR %s WITH (publish = ''insert, update, delete'')', counter_ext.node_publishes(node, heir_of));
        RETURN present.oid IS NOT NULL;
    END IF;
    IF NOT present.has_options THEN
        ALTER PUBLICATION counter_node SET (publish = 'insert, update, delete', publish_via_partition_root = false);
    END IF;
    -- A dump does not say what it publishes; or the number is another one; or somebody has left, or is back; or somebody has added what is none of ours.
    is_right := NOT EXISTS (SELECT FROM pg_publication_namespace n WHERE n.pnpubid = present.oid)
        AND NOT EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = present.oid
            AND (r.prattrs IS NOT NULL OR r.prrelid <> ALL (counter_ext.node_relations())))
        AND (SELECT bool_and(counter_ext.node_published(r.relation) IS NOT DISTINCT FROM r.nodes)
            FROM (VALUES ('total'::name, node || heir_of), ('visitors', node || heir_of), ('member', node || heir_of), ('like_of_node', node || heir_of),
                ('drop_request', ARRAY[node])) AS r (relation, nodes));
    IF NOT is_right THEN
        EXECUTE format('ALTER PUBLICATION counter_node SET %s', counter_ext.node_publishes(node, heir_of));
    END IF;
    RETURN NOT earlier <@ (node || heir_of);
END
$$;

CREATE FUNCTION counter_ext.unpublish_node() RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM counter_ext.check_node_names();
    IF EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'counter_node') THEN
        DROP PUBLICATION counter_node;
    END IF;
END
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

-- What the peer has said of its publication need not be what it sends, or may be otherwise by now: so before anything is taken, this server looks at what
-- that would be. The context of an error in it would show the whole command, and with it a password. Errors: 55000 it would not be counters, all of them and nothing else.
CREATE FUNCTION counter_ext.subscribe_to_node(number integer, peer text, slot text) RETURNS void
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text;
    message text;
    detail text;
    hint text;
    strangers text;
    taken bigint;
BEGIN
    BEGIN
        EXECUTE format('CREATE SUBSCRIPTION counter_node_%s CONNECTION %L PUBLICATION counter_node WITH (create_slot = false, slot_name = %L, enabled = false)',
            number, peer, slot);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message || CASE detail WHEN '' THEN '' ELSE format(' (%s)', detail) END,
            HINT = coalesce(nullif(hint, ''), 'What was made stays. Call counter_node_setup again when that has changed.');
    END;
    -- The error takes the subscription back.
    strangers := counter_ext.subscribed_strangers(number);
    IF strangers IS NOT NULL THEN
        RAISE EXCEPTION 'node % publishes what is no counter: %', number, strangers
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Nothing was taken. Call counter_node_setup there, and here again.';
    END IF;
    taken := (SELECT count(*) FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_database d ON d.oid = s.subdbid
        WHERE d.datname = current_database() AND s.subname = 'counter_node_' || number);
    IF taken <> cardinality(counter_ext.node_relations()) THEN
        RAISE EXCEPTION 'node % does not publish all that its counters need', number
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Nothing was taken. Call counter_node_setup there, and here again.';
    END IF;
    EXECUTE format('ALTER SUBSCRIPTION counter_node_%s ENABLE', number);
END
$$;

-- Ends subscriptions to nodes that take what is no counter, as somebody may have had them do with REFRESH PUBLICATION; returns whether there
-- was one.
CREATE FUNCTION counter_ext.end_strange_subscriptions() RETURNS boolean
    LANGUAGE plpgsql STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    strange record;
    is_one boolean := false;
BEGIN
    FOR strange IN SELECT u.number, counter_ext.subscribed_strangers(u.number) AS relations
        FROM (SELECT substring(s.subname FROM '^counter_node_([0-9]+)$')::integer AS number FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
            WHERE d.datname = current_database() AND s.subname ~ '^counter_node_[0-9]+$') AS u
    LOOP
        IF strange.relations IS NOT NULL THEN
            PERFORM counter_ext.unsubscribe_from_node(strange.number);
            RAISE WARNING 'subscription "counter_node_%" is dropped, since it took what is no counter: %', strange.number, strange.relations
                USING HINT = format('The slot of node %s keeps its log until counter_node_setup here names that node.', strange.number);
            is_one := true;
        END IF;
    END LOOP;
    RETURN is_one;
END
$$;
