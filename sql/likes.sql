-- Likes: a row each, partitioned by item so that they can lie on several disks (ALTER TABLE counter_ext.liked_7 SET TABLESPACE ...).

CREATE TABLE counter_ext.liked (
    item text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- One index for who likes what, once, and for what an actor likes; with the time, so that pages of it need no rows.
    PRIMARY KEY (actor, item) INCLUDE (at),
    CONSTRAINT liked_item_length CHECK (pg_catalog.octet_length(item) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(item) OPERATOR(pg_catalog.<=) 254),
    -- Pages go by it.
    CONSTRAINT liked_at_finite CHECK (pg_catalog.isfinite(at)),
    CONSTRAINT liked_actor_length CHECK (pg_catalog.octet_length(actor) OPERATOR(pg_catalog.>=) 1 AND pg_catalog.octet_length(actor) OPERATOR(pg_catalog.<=) 255)
) PARTITION BY HASH (item);
-- What pages of an item's likes are read through, newest first: there may be millions. An actor's are sorted for each page.
CREATE INDEX liked_by_item ON counter_ext.liked (item, at, actor);

-- What comes and goes by other ways than counter_like is counted too: a restore, an administrator's DELETE. By statement, from
-- transition tables, which go to disk when they are large.
CREATE FUNCTION counter_ext.note_foreign_likes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings TO on SET quote_all_identifiers TO off AS $$
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
BEGIN
    FOR number IN 0..15 LOOP
        EXECUTE pg_catalog.format('CREATE TABLE counter_ext.liked_%s PARTITION OF counter_ext.liked
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05)', number, number);
    END LOOP;
END
$$;

DO $$
DECLARE
    relation text;
BEGIN
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

-- Items and actors of other types than text. Each is the same C function, which asks PostgreSQL for the types of its call. An untyped
-- literal or parameter is text, PostgreSQL's preferred type of those that it could be.
CREATE FUNCTION counter_like(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_like(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_like_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_unlike(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_unlike_of_wrapper' LANGUAGE c VOLATILE STRICT;
CREATE FUNCTION counter_liked(item text, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item counter, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item counter, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item bigint, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item bigint, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item uuid, actor text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_liked(item uuid, actor anyelement) RETURNS boolean
    AS 'MODULE_PATHNAME', 'counter_liked_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_likes(item counter) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_likes(item bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION counter_likes(item uuid) RETURNS bigint
    AS 'MODULE_PATHNAME', 'counter_likes_of_wrapper' LANGUAGE c VOLATILE STRICT PARALLEL RESTRICTED;

-- Pages of likes, newest first: each goes on behind the last of the one before, through an index.
CREATE FUNCTION counter_likers(item text, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.actor, liked.at, counter_ext.like_cursor(liked.at, liked.actor) FROM counter_ext.liked
        WHERE liked.item OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND ROW(liked.at, liked.actor) OPERATOR(pg_catalog.<)
                ROW(counter_ext.like_cursor_at($2), counter_ext.like_cursor_name($2) COLLATE "C")
        ORDER BY liked.at DESC, liked.actor DESC LIMIT counter_ext.likers_here($1, $3);
END;
CREATE FUNCTION counter_liked_items(actor text, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT liked.item, liked.at, counter_ext.like_cursor(liked.at, liked.item) FROM counter_ext.liked
        WHERE liked.actor OPERATOR(pg_catalog.=) $1 COLLATE "C"
            AND ROW(liked.at, liked.item) OPERATOR(pg_catalog.<)
                ROW(counter_ext.like_cursor_at($2), counter_ext.like_cursor_name($2) COLLATE "C")
        ORDER BY liked.at DESC, liked.item DESC LIMIT counter_ext.liked_items_here($3);
END;
CREATE FUNCTION counter_likers(item counter, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_likers(item bigint, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_likers(item uuid, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (actor text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT actor, at, cursor FROM @extschema@.counter_likers($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_liked_items(actor bigint, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT item, at, cursor FROM @extschema@.counter_liked_items($1::pg_catalog.text, $2, $3); END;
CREATE FUNCTION counter_liked_items(actor uuid, after text DEFAULT NULL, max_rows integer DEFAULT 100)
    RETURNS TABLE (item text, at timestamptz, cursor text) LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC SELECT item, at, cursor FROM @extschema@.counter_liked_items($1::pg_catalog.text, $2, $3); END;

COMMENT ON TABLE counter_ext.liked IS 'likes, a row each; privileges on it decide who may like and read likes';
