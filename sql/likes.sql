-- Likes: a row each, partitioned by item so that they can lie on several disks (ALTER TABLE counter_ext.liked_7 SET TABLESPACE ...).

CREATE TABLE counter_ext.liked (
    item text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (item, actor),
    CONSTRAINT liked_item_length CHECK (pg_catalog.octet_length(item) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(item) OPERATOR(pg_catalog.<=) 254),
    CONSTRAINT liked_actor_length CHECK (pg_catalog.octet_length(actor) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(actor) OPERATOR(pg_catalog.<=) 255)
) PARTITION BY HASH (item);
-- An actor's likes; an item's are in the primary key.
CREATE INDEX liked_by_actor ON counter_ext.liked (actor, item);

-- What comes and goes by other ways than counter_like is counted too: a restore, an administrator's DELETE. By statement, from
-- transition tables, which go to disk when they are large.
CREATE FUNCTION counter_ext.note_foreign_likes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_partition_root(TG_RELID) IS DISTINCT FROM 'counter_ext.liked'::regclass THEN
        RAISE EXCEPTION 'this trigger function serves counter_ext.liked and its partitions only'
            USING ERRCODE = 'trigger_protocol_violated';
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        PERFORM counter_ext.count_likes(item, n) FROM (SELECT item, pg_catalog.count(*) AS n FROM came GROUP BY item) AS each;
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        PERFORM counter_ext.count_likes(item, OPERATOR(pg_catalog.-) n) FROM (SELECT item, pg_catalog.count(*) AS n FROM went GROUP BY item) AS each;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM counter_ext.empty_likes(TG_RELID);
    END IF;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    relation text;
BEGIN
    FOR number IN 0..15 LOOP
        EXECUTE pg_catalog.format('CREATE TABLE counter_ext.liked_%s PARTITION OF counter_ext.liked
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05)', number, number);
    END LOOP;
    FOR number IN -1..15 LOOP
        relation := CASE WHEN number OPERATOR(pg_catalog.<) 0 THEN 'liked' ELSE pg_catalog.concat('liked_', number) END;
        -- Keys are read where they lie: never compressed, whatever columns somebody adds.
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ALTER COLUMN item SET STORAGE EXTERNAL,
            ALTER COLUMN actor SET STORAGE EXTERNAL', relation);
        -- A statement fires the triggers of the table that it names, partition or whole; TRUNCATE those of all it empties.
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_insert AFTER INSERT ON counter_ext.%I REFERENCING NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_delete AFTER DELETE ON counter_ext.%I REFERENCING OLD TABLE AS went
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_update AFTER UPDATE ON counter_ext.%I
            REFERENCING OLD TABLE AS went NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
        EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_insert,
            ENABLE ALWAYS TRIGGER note_foreign_delete, ENABLE ALWAYS TRIGGER note_foreign_update', relation);
        IF number OPERATOR(pg_catalog.>=) 0 THEN
            EXECUTE pg_catalog.format('CREATE TRIGGER note_foreign_truncate BEFORE TRUNCATE ON counter_ext.%I
                FOR EACH STATEMENT EXECUTE FUNCTION counter_ext.note_foreign_likes()', relation);
            EXECUTE pg_catalog.format('ALTER TABLE counter_ext.%I ENABLE ALWAYS TRIGGER note_foreign_truncate', relation);
            PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('counter_ext.%I', relation)::pg_catalog.regclass, '');
        END IF;
    END LOOP;
END
$$;

CREATE FUNCTION counter_like(item bigint, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_like($1::pg_catalog.text::@extschema@.counter, $2::pg_catalog.text); END;
CREATE FUNCTION counter_like(item counter, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_like($1, $2::pg_catalog.text); END;
CREATE FUNCTION counter_like(item bigint, actor text) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_like($1::pg_catalog.text::@extschema@.counter, $2); END;
CREATE FUNCTION counter_unlike(item bigint, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_unlike($1::pg_catalog.text::@extschema@.counter, $2::pg_catalog.text); END;
CREATE FUNCTION counter_unlike(item counter, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_unlike($1, $2::pg_catalog.text); END;
CREATE FUNCTION counter_unlike(item bigint, actor text) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT BEGIN ATOMIC SELECT @extschema@.counter_unlike($1::pg_catalog.text::@extschema@.counter, $2); END;
CREATE FUNCTION counter_liked(item bigint, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_liked($1::pg_catalog.text::@extschema@.counter, $2::pg_catalog.text); END;
CREATE FUNCTION counter_liked(item counter, actor bigint) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_liked($1, $2::pg_catalog.text); END;
CREATE FUNCTION counter_liked(item bigint, actor text) RETURNS boolean
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_liked($1::pg_catalog.text::@extschema@.counter, $2); END;
CREATE FUNCTION counter_likes(item bigint) RETURNS bigint
    LANGUAGE sql VOLATILE STRICT PARALLEL RESTRICTED BEGIN ATOMIC SELECT @extschema@.counter_likes($1::pg_catalog.text::@extschema@.counter); END;

-- Pages of likes: each goes on after the last of the one before, through an index.
CREATE FUNCTION counter_likers(item text, after text DEFAULT '', max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.actor, liked.at FROM counter_ext.liked
        WHERE liked.item OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND liked.actor OPERATOR(pg_catalog.>) coalesce($2, '') COLLATE "C" ORDER BY liked.actor LIMIT $3;
END;
CREATE FUNCTION counter_liked_items(actor text, after text DEFAULT '', max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.item, liked.at FROM counter_ext.liked
        WHERE liked.actor OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND liked.item OPERATOR(pg_catalog.>) coalesce($2, '') COLLATE "C" ORDER BY liked.item LIMIT $3;
END;

COMMENT ON TABLE counter_ext.liked IS 'likes, a row each; privileges on it decide who may like and read likes';
COMMENT ON FUNCTION counter_likers(text, text, integer) IS 'who likes an item, in pages: after the last actor of the page before';
COMMENT ON FUNCTION counter_liked_items(text, text, integer) IS 'what an actor likes, in pages: after the last item of the page before';
