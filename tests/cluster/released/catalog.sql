-- Everything that PostgreSQL knows of the extension counter_ext, a line an object or part of one.
WITH
ext AS (SELECT e.* FROM pg_extension e WHERE e.extname = 'counter_ext'),
member AS (SELECT d.classid, d.objid FROM pg_depend d, ext WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = ext.oid AND d.deptype = 'e'),
relation AS (
    SELECT c.oid::regclass::text AS name, c.* FROM pg_class c
    WHERE c.oid IN (SELECT objid FROM member WHERE classid = 'pg_class'::regclass)
),
facts (kind, name, says) AS (
    SELECT 'extension', extname::text, concat_ws(' | ', extversion, extnamespace::regnamespace, extrelocatable, extowner::regrole) FROM ext
    UNION ALL
    SELECT 'dumped', config.relation::regclass::text, config.condition FROM ext, unnest(extconfig, extcondition) AS config (relation, condition)
    UNION ALL
    SELECT 'member', pg_describe_object(classid, objid, 0), '' FROM member
    UNION ALL
    SELECT 'comment', pg_describe_object(m.classid, m.objid, d.objsubid), d.description
    FROM member m JOIN pg_description d ON d.classoid = m.classid AND d.objoid = m.objid
    UNION ALL
    SELECT 'first rights', pg_describe_object(p.classoid, p.objoid, p.objsubid), (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(p.initprivs) AS a)
    FROM pg_init_privs p JOIN member m ON p.classoid = m.classid AND p.objoid = m.objid
    UNION ALL
    SELECT 'schema', n.nspname::text, concat_ws(' | ', n.nspowner::regrole,
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a))
    FROM pg_namespace n JOIN member m ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, concat_ws(' | ', pg_get_functiondef(p.oid), p.proowner::regrole,
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS a))
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE p.prokind <> 'a'
    UNION ALL
    SELECT 'aggregate', p.oid::regprocedure::text, concat_ws(' | ', pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
        p.provolatile, p.proparallel, p.proisstrict, p.proowner::regrole,
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS a), to_jsonb(g))
    FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    JOIN LATERAL (SELECT aggkind, aggnumdirectargs, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggfinalextra,
        aggfinalmodify, aggsortop, aggtranstype::regtype, aggtransspace, agginitval FROM pg_aggregate WHERE aggfnoid = p.oid) AS g ON true
    UNION ALL
    SELECT 'relation', r.name, concat_ws(' | ', r.relkind, r.relpersistence, r.relowner::regrole, r.relrowsecurity, r.relreplident, r.relispartition,
        r.relam, (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(r.reloptions) AS o),
        (SELECT string_agg(o, ' ' ORDER BY o) FROM pg_class t, unnest(t.reloptions) AS o WHERE t.oid = r.reltoastrelid),
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(r.relacl, acldefault('r', r.relowner))) AS a),
        pg_get_partkeydef(r.oid), pg_get_expr(r.relpartbound, r.oid), CASE r.relkind WHEN 'v' THEN pg_get_viewdef(r.oid) END)
    FROM relation r
    UNION ALL
    SELECT 'column', r.name || '.' || a.attname, concat_ws(' | ', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
        a.attstorage, a.attcompression, a.attidentity, a.attgenerated, (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(a.attoptions) AS o WHERE o NOT LIKE 'pg_attver=%'), a.attacl, a.attislocal, a.attinhcount,
        (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum))
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'constraint', r.name || '.' || c.conname, concat_ws(' | ', c.contype, c.condeferrable, c.convalidated, c.conislocal, c.coninhcount, pg_get_constraintdef(c.oid))
    FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
    UNION ALL
    SELECT 'index', i.indexrelid::regclass::text, concat_ws(' | ', pg_get_indexdef(i.indexrelid), i.indisprimary, i.indisvalid, i.indisreplident, i.indisclustered,
        (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = i.indexrelid))
    FROM relation r JOIN pg_index i ON i.indrelid = r.oid
    UNION ALL
    SELECT 'trigger', r.name || '.' || t.tgname, concat_ws(' | ', pg_get_triggerdef(t.oid), t.tgenabled, t.tgparentid <> 0)
    FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'parent', i.inhrelid::regclass::text, i.inhparent::regclass::text FROM relation r JOIN pg_inherits i ON i.inhrelid = r.oid
    UNION ALL
    SELECT 'type', t.oid::regtype::text, concat_ws(' | ', t.typowner::regrole, t.typlen, t.typbyval, t.typtype, t.typcategory, t.typispreferred, t.typdelim, t.typinput, t.typoutput,
        t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typanalyze, t.typalign, t.typstorage, t.typcollation, t.typdefault,
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(t.typacl, acldefault('T', t.typowner))) AS a))
    FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
    UNION ALL
    SELECT 'operator', o.oid::regoperator::text, concat_ws(' | ', o.oprowner::regrole, o.oprresult::regtype, o.oprcode::oid::regprocedure, o.oprcom::regoperator,
        o.oprnegate::regoperator, o.oprcanmerge, o.oprcanhash, o.oprrest, o.oprjoin)
    FROM pg_operator o JOIN member m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
    UNION ALL
    SELECT 'operator class', c.opcname::text, concat_ws(' | ', c.opcnamespace::regnamespace, c.opcowner::regrole, c.opcmethod, c.opcfamily = f.oid, f.opfname, c.opcintype::regtype, c.opcdefault, c.opckeytype)
    FROM pg_opclass c JOIN member m ON m.classid = 'pg_opclass'::regclass AND m.objid = c.oid JOIN pg_opfamily f ON f.oid = c.opcfamily
    UNION ALL
    SELECT 'operator of family', pg_describe_object('pg_amop'::regclass, o.oid, 0), concat_ws(' | ', o.amopstrategy, o.amoppurpose, o.amopopr::regoperator)
    FROM pg_amop o JOIN member m ON m.classid = 'pg_opfamily'::regclass AND m.objid = o.amopfamily
    UNION ALL
    SELECT 'function of family', pg_describe_object('pg_amproc'::regclass, p.oid, 0), concat_ws(' | ', p.amprocnum, p.amproc::oid::regprocedure)
    FROM pg_amproc p JOIN member m ON m.classid = 'pg_opfamily'::regclass AND m.objid = p.amprocfamily
    UNION ALL
    SELECT 'cast', pg_describe_object('pg_cast'::regclass, c.oid, 0), concat_ws(' | ', c.castfunc::regprocedure, c.castcontext, c.castmethod)
    FROM pg_cast c JOIN member m ON m.classid = 'pg_cast'::regclass AND m.objid = c.oid
    UNION ALL
    SELECT 'event trigger', t.evtname::text, concat_ws(' | ', t.evtevent, t.evtowner::regrole, t.evtfoid::regprocedure, t.evtenabled, t.evttags)
    FROM pg_event_trigger t JOIN member m ON m.classid = 'pg_event_trigger'::regclass AND m.objid = t.oid
)
SELECT kind || ' ' || name || ': ' || coalesce(says, '') FROM facts ORDER BY kind, name COLLATE "C", says COLLATE "C"
