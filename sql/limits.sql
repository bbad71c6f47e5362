-- The bot filter: policies by prefix of the id, and a block list. Edited with plain SQL by who may; counter_incr_from and counter_visit
-- read them whatever their caller may do to them.

CREATE TABLE counter_ext.policy (
    -- Ids that begin with it; the longest one holds, and '' is for all others.
    prefix text COLLATE "C" NOT NULL,
    -- At most so many views of one actor, at all these ids together, in any interval of this length.
    max_per_actor integer,
    per interval,
    -- The least time between two views of one actor at one id.
    min_interval interval,
    PRIMARY KEY (prefix),
    CONSTRAINT policy_prefix_length CHECK (pg_catalog.octet_length(prefix) OPERATOR(pg_catalog.<=) 255),
    CONSTRAINT policy_rate_whole CHECK ((max_per_actor IS NULL) OPERATOR(pg_catalog.=) (per IS NULL)),
    CONSTRAINT policy_max_per_actor CHECK (max_per_actor OPERATOR(pg_catalog.>=) 0),
    CONSTRAINT policy_per CHECK (
        pg_catalog.date_part('epoch', per) OPERATOR(pg_catalog.>) 0 AND per OPERATOR(pg_catalog.<=) interval '1000 years'),
    CONSTRAINT policy_min_interval CHECK (
        pg_catalog.date_part('epoch', min_interval) OPERATOR(pg_catalog.>=) 0
        AND min_interval OPERATOR(pg_catalog.<=) interval '1000 years')
);

CREATE TABLE counter_ext.blocked (
    actor text COLLATE "C" NOT NULL,
    reason text,
    -- NULL: for good.
    until timestamptz,
    -- All actors that are addresses in it.
    network cidr,
    PRIMARY KEY (actor),
    CONSTRAINT blocked_actor_length CHECK (pg_catalog.octet_length(actor) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(actor) OPERATOR(pg_catalog.<=) 255)
);

-- Actors are looked for without regard to capitals, in ASCII.
CREATE INDEX blocked_folded ON counter_ext.blocked (pg_catalog.lower(actor));
CREATE INDEX blocked_network ON counter_ext.blocked (actor) WHERE network IS NOT NULL;

-- A row names a network by its column, or by an actor that is an address with a mask; each gives the other. So is an address a network,
-- of itself, in any spelling but the one in which all are looked for.
CREATE FUNCTION counter_ext.complete_blocked() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.network IS DISTINCT FROM OLD.network THEN
            IF NEW.actor = OLD.actor AND OLD.actor = OLD.network::text THEN
                NEW.actor := NULL;
            END IF;
        ELSIF NEW.actor IS DISTINCT FROM OLD.actor THEN
            NEW.network := NULL;
        END IF;
    END IF;
    IF NEW.actor IS NULL THEN
        NEW.actor := NEW.network::text;
    ELSIF NEW.network IS NULL AND NEW.actor ~ '^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$' THEN
        BEGIN
            IF NEW.actor <> host(NEW.actor::inet) OR NEW.actor ~ ':.*[.]' THEN
                NEW.network := network(NEW.actor::inet);
            END IF;
        EXCEPTION WHEN data_exception THEN
            -- It only looks like one.
            NULL;
        END;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER complete_blocked BEFORE INSERT OR UPDATE ON counter_ext.blocked
    FOR EACH ROW EXECUTE FUNCTION counter_ext.complete_blocked();
ALTER TABLE counter_ext.blocked ENABLE ALWAYS TRIGGER complete_blocked;

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.policy ALTER COLUMN prefix SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.blocked ALTER COLUMN actor SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.policy', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.blocked', '');
COMMENT ON TABLE counter_ext.policy IS 'how often counter_incr_from counts an actor, by prefix of the id; the longest prefix holds';
COMMENT ON TABLE counter_ext.blocked IS 'actors, and networks of addresses, that counter_incr_from and counter_visit do not count';

-- Backends are told of a change when it commits. By row, since an apply worker fires no other triggers.
DO $$
DECLARE
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['policy', 'blocked'] LOOP
        EXECUTE pg_catalog.format('CREATE TRIGGER note_policy_change BEFORE INSERT OR UPDATE OR DELETE ON counter_ext.%I
            FOR EACH ROW EXECUTE FUNCTION counter_ext.note_policy_change()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_policy_truncate BEFORE TRUNCATE ON counter_ext.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_policy_change()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_policy_change,
            ENABLE ALWAYS TRIGGER note_policy_truncate', relation);
    END LOOP;
END
$$;
