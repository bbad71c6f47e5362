-- The bot filter: policies by prefix of the id, and a block list. Edited with plain SQL by who may; counter_incr_from reads them
-- whatever its caller may do to them.

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
    PRIMARY KEY (actor),
    CONSTRAINT blocked_actor_length CHECK (pg_catalog.octet_length(actor) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(actor) OPERATOR(pg_catalog.<=) 255)
);

-- Keys are read where they lie: never compressed, whatever columns somebody adds.
ALTER TABLE counter_ext.policy ALTER COLUMN prefix SET STORAGE EXTERNAL;
ALTER TABLE counter_ext.blocked ALTER COLUMN actor SET STORAGE EXTERNAL;

SELECT pg_catalog.pg_extension_config_dump('counter_ext.policy', '');
SELECT pg_catalog.pg_extension_config_dump('counter_ext.blocked', '');
COMMENT ON TABLE counter_ext.policy IS 'how often counter_incr_from counts an actor, by prefix of the id; the longest prefix holds';
COMMENT ON TABLE counter_ext.blocked IS 'actors that counter_incr_from does not count';

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
