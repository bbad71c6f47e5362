//! Schemas full of traps: functions and operators with the names of PostgreSQL's own, which note that they ran.
//!
//! Where a name is looked up through search_path, the first exact match counts, and else the better match of any schema in it. So
//! there are two kinds: of the same arguments as PostgreSQL's own, for a schema that comes before pg_catalog, and of
//! arguments that PostgreSQL has no function or operator of, for one that comes after it.

use crate::Session;

/// Makes the schema, if need be, and fills it. Anybody may run into it.
pub fn set(session: &mut Session, schema: &str) {
    session.must(&format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
         GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
         CREATE SEQUENCE {schema}.ran;
         GRANT ALL ON SEQUENCE {schema}.ran TO PUBLIC;"
    ));
    session.must(&format!("SET search_path = pg_catalog; {}; RESET search_path", filling(schema)));
}

/// Also types of the names that casts go to, which run a trap when something is cast to them.
pub fn set_types(session: &mut Session, schema: &str) {
    session.must(&format!(
        "CREATE FUNCTION {schema}.cast_trap() RETURNS boolean LANGUAGE plpgsql AS
             $b$ BEGIN PERFORM pg_catalog.nextval('{schema}.ran'); RAISE EXCEPTION 'a trap ran: a cast'; END $b$"
    ));
    for name in
        ["text", "oid", "int8", "int4", "name", "regclass", "numeric", "pg_lsn", "counter", "counter_hll"]
    {
        let base = if name.starts_with("counter") { "text" } else { name };
        session.must(&format!(
            "CREATE DOMAIN {schema}.{name} AS pg_catalog.{base} CHECK ({schema}.cast_trap())"
        ));
    }
}

/// How many traps ran since it was asked last; also those of transactions that were rolled back.
pub fn ran(session: &mut Session, schema: &str) -> i64 {
    let ran =
        session.value(&format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {schema}.ran"));
    session.must(&format!("SELECT pg_catalog.setval('{schema}.ran', 1, false)"));
    ran
}

/// Traps of the first kind for all functions and operators of pg_catalog that can have one, and of the second for those that our SQL
/// may call, by the argument types that it may call them with.
fn filling(schema: &str) -> String {
    format!(
        r#"DO $traps$
DECLARE
    body CONSTANT text := '$b$ BEGIN PERFORM pg_catalog.nextval(''{schema}.ran''); RAISE EXCEPTION ''a trap ran: %'', ''NAME''; END $b$';
    kinds CONSTANT text[] := ARRAY['text', 'integer', 'bigint', 'oid', 'name', 'regclass'];
    one record;
    a text;
    b text;
BEGIN
    FOR one IN
        SELECT p.proname, p.oid, p.proretset, format_type(p.prorettype, NULL) AS returns,
            (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, n)) AS arguments
        FROM pg_proc p JOIN pg_type r ON r.oid = p.prorettype
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND r.typtype <> 'p'
          AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) t JOIN pg_type y ON y.oid = t
                          WHERE y.typtype = 'p' AND y.typname NOT IN ('anyelement', 'anyarray'))
          AND NOT p.proname IN ('nextval')
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION {schema}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %s', one.proname, coalesce(one.arguments, ''),
                one.returns, replace(body, 'NAME', one.proname));
        EXCEPTION WHEN duplicate_function OR invalid_function_definition THEN NULL;
        END;
    END LOOP;
    -- What takes arguments of any type: every other signature is a better match.
    FOR one IN SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
        AND (provariadic <> 0 OR proname IN ('concat', 'format', 'quote_ident', 'octet_length', 'date_part', 'now', 'ascii', 'encode',
             'count', 'set_config', 'pg_partition_root', 'pg_extension_config_dump', 'jsonb_build_object'))
    LOOP
        FOREACH a IN ARRAY kinds LOOP
            FOREACH b IN ARRAY kinds || ARRAY[NULL::text] LOOP
                BEGIN
                    EXECUTE format('CREATE FUNCTION {schema}.%I(%s) RETURNS text LANGUAGE plpgsql AS %s', one.proname,
                        concat_ws(', ', a, b), replace(body, 'NAME', one.proname));
                EXCEPTION WHEN duplicate_function THEN NULL;
                END;
                IF b IS NOT NULL THEN
                    BEGIN
                        EXECUTE format('CREATE FUNCTION {schema}.%I(%s) RETURNS text LANGUAGE plpgsql AS %s', one.proname,
                            concat_ws(', ', a, b, b), replace(body, 'NAME', one.proname));
                    EXCEPTION WHEN duplicate_function THEN NULL;
                    END;
                END IF;
            END LOOP;
        END LOOP;
    END LOOP;
    -- Operators of the same arguments as PostgreSQL's own, and of those that it has none for.
    FOR one IN
        SELECT DISTINCT o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r, format_type(o.oprresult, NULL) AS returns
        FROM pg_operator o WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprname NOT IN ('=>')
          AND NOT EXISTS (SELECT FROM pg_type y WHERE y.oid IN (oprleft, oprright, oprresult) AND y.typtype = 'p')
        UNION
        SELECT name, l, r, CASE WHEN name IN ('=', '<>', '<', '<=', '>', '>=') THEN 'boolean' ELSE 'text' END
        FROM unnest(ARRAY['=', '<>', '<', '<=', '>', '>=', '+', '-', '*', '||', '%', '&', '#']) name, unnest(kinds) l, unnest(kinds) r
        WHERE NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprname = name AND format_type(oprleft, NULL) = l AND format_type(oprright, NULL) = r)
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION {schema}.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %s',
                'trap_' || md5(one.oprname || one.l || one.r), one.l, one.r, one.returns,
                replace(body, 'NAME', one.l || ' ' || replace(one.oprname, '%', '%%') || ' ' || one.r));
            EXECUTE format('CREATE OPERATOR {schema}.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = {schema}.%I)', one.oprname, one.l, one.r,
                'trap_' || md5(one.oprname || one.l || one.r));
        EXCEPTION WHEN duplicate_function THEN NULL;
        END;
    END LOOP;
END
$traps$"#
    )
}
