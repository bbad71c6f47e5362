//! Sketches are postgresql-hll's, byte for byte: both extensions make, unite, hash and read them in one server.
//!
//! Needs the extension `hll` (Debian: postgresql-15-hll). A packaged server without it is a failure, a server that
//! somebody built by hand a loud skip.

use counter_ext_cluster_tests::installation::Installation;
use counter_ext_cluster_tests::{Cluster, Session, Settings};
use std::io::Write;

/// A server with both extensions, and a session in it.
struct Both {
    cluster: Cluster,
    session: Session,
}

impl Both {
    fn start() -> Option<Both> {
        let cluster = Cluster::start(Settings::without_preload());
        let mut session = cluster.connect();
        if !session.value::<bool>("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hll')") {
            skip_or_fail(session.value("SELECT current_setting('server_version_num')::integer / 10000"));
            cluster.finish();
            return None;
        }
        session.must("CREATE EXTENSION hll");
        // Sorts of sketches in memory; no minutes of compilation for statements of a second.
        session.must("SET work_mem = '256MB'; SET jit = off");
        Some(Both { cluster, session })
    }

    fn must(&mut self, sql: &str) {
        self.session.must(sql);
    }

    /// Rows are differences: what it is about, and what was found there.
    fn assert_no_difference(&mut self, what: &str, sql: &str) {
        let differences: Vec<(String, String)> = self.session.pairs(sql);
        let shown: Vec<String> =
            differences.iter().take(5).map(|(what, found)| format!("\n{what}: {found:.300}")).collect();
        assert!(differences.is_empty(), "{what}: {} differences like {}", differences.len(), shown.concat());
    }
}

fn skip_or_fail(major: i32) {
    let package = format!("postgresql-{major}-hll");
    assert!(
        !Installation::get().is_packaged(),
        "this server has no extension hll to compare with: install the package {package}"
    );
    // Past the harness, which shows the output of failed tests only.
    let line = format!("\nskipped: no extension hll in this server; where it is packaged it is {package}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("write to stderr");
}

/// Every combination of parameters, and for each the numbers of values at which to look: few, and around the promotion
/// to registers, and around the one from SPARSE to FULL.
const GRID: &str = "
    CREATE TEMP TABLE grid AS
        SELECT row_number() OVER ()::integer AS p, log2m, regwidth, expthresh::bigint, sparseon,
            CASE expthresh WHEN -1 THEN (1 << log2m) * regwidth / 64 ELSE expthresh END AS most_explicit,
            -- So many registers take as much room as entries as all do.
            ceil((1 << log2m) * regwidth / (log2m + regwidth)::numeric)::integer AS sparse_end
        FROM unnest('{4,5,8,11,14,17}'::integer[]) log2m, generate_series(1, 7) regwidth,
            unnest('{-1,0,1,64,1024}'::integer[]) expthresh, generate_series(0, 1) sparseon;
    -- Two ways to count up that have every second value in common.
    CREATE TEMP TABLE elements AS
        SELECT v, CASE v % 2 WHEN 0 THEN -v ELSE v END AS w FROM generate_series(1, 60000::bigint) v;
    CREATE UNIQUE INDEX ON elements (v);
    CREATE TEMP TABLE filled AS
        SELECT log2m, row_number() OVER (PARTITION BY log2m ORDER BY v) AS registers, v AS n FROM (
            SELECT log2m, min(v) AS v FROM (SELECT DISTINCT log2m FROM grid) g, elements
            GROUP BY log2m, hll_hash_bigint(v)::text::bigint & ((1 << log2m) - 1)) first;
    CREATE TEMP TABLE steps AS
        SELECT p, n, row_number() OVER up AS step, lag(n) OVER up AS before FROM (
            SELECT DISTINCT p, x.n FROM grid LEFT JOIN filled f USING (log2m), LATERAL (
                SELECT unnest(ARRAY[0, 1, 2, 3, 5, 10, 100, 500, 1000, least(2 << log2m, 8000), f.n - 1, f.n, f.n + 1,
                    most_explicit - 1, most_explicit, most_explicit + 1]) AS n
                UNION ALL SELECT generate_series(0, 100) WHERE log2m <= 5) x
            WHERE f.registers = sparse_end AND x.n BETWEEN 0 AND 60000) s
        WINDOW up AS (PARTITION BY p ORDER BY n);
    ANALYZE grid, elements, steps";

/// Each grows over its steps; the result of a step is the sketch so far.
const MAKE: &str = "
    CREATE TEMP TABLE made AS
        SELECT p, n, step, a, hll_a, b, hll_b,
            get_byte(a::bytea, 0) & 15 AS stage_a, get_byte(b::bytea, 0) & 15 AS stage_b
        FROM (SELECT p, n, step, v,
                counter_hll_agg(v, log2m, regwidth, expthresh, sparseon) OVER growing AS a,
                counter_hll_agg(w, log2m, regwidth, expthresh, sparseon) OVER growing AS b,
                hll_add_agg(hll_hash_bigint(v), log2m, regwidth, expthresh, sparseon) OVER growing AS hll_a,
                hll_add_agg(hll_hash_bigint(w), log2m, regwidth, expthresh, sparseon) OVER growing AS hll_b
            FROM grid JOIN steps USING (p) LEFT JOIN elements ON v > before AND v <= n
            WINDOW growing AS (PARTITION BY p ORDER BY n)) g
        WHERE v = n OR n = 0;
    ANALYZE made";

/// What a row is about.
macro_rules! parameters_and {
    ($format:literal, $arguments:literal) => {
        concat!(
            "format('log2m %s regwidth %s expthresh %s sparseon %s: ",
            $format,
            "', log2m, regwidth, expthresh, sparseon, ",
            $arguments,
            ")"
        )
    };
}

#[test]
fn every_stage_every_parameter_and_every_union_is_the_same_bytes() {
    let Some(mut both) = Both::start() else { return };
    both.must(GRID);
    both.must(MAKE);
    assert_grid_meets_every_promotion(&mut both);
    made_alike(&mut both);
    read_alike(&mut both);
    united_alike(&mut both);
    counted_alike(&mut both);
    both.cluster.finish();
}

/// Without this the rest could compare too little: 6 steps from one stage to a later one, for 6 `log2m`.
fn assert_grid_meets_every_promotion(both: &mut Both) {
    let steps: i64 = both.session.value("SELECT count(*) FROM steps");
    assert_eq!(both.session.value::<i64>("SELECT count(*) FROM made"), steps, "sketches made");
    let promotions = "
        SELECT count(*) FROM (
            SELECT DISTINCT log2m, x.stage_a, y.stage_a FROM grid JOIN made x USING (p) JOIN made y USING (p)
            WHERE y.n = x.n + 1 AND y.stage_a > x.stage_a) d";
    assert_eq!(both.session.value::<i64>(promotions), 36, "promotions from one value to the next");
}

fn made_alike(both: &mut Both) {
    const SQL: &str = concat!(
        "SELECT ",
        parameters_and!("%s values", "n"),
        ", format('%s, postgresql-hll %s', left(a::text, 99), left(hll_a::text, 99)) FROM grid JOIN made USING (p)
         WHERE a::text <> hll_a::text OR b::text <> hll_b::text
             OR n = 0 AND counter_hll_empty(log2m, regwidth, expthresh, sparseon) <> a"
    );
    both.assert_no_difference("made", SQL);
}

/// As text, and as the bytes that COPY and drivers send.
fn read_alike(both: &mut Both) {
    const SQL: &str = concat!(
        "SELECT ",
        parameters_and!("%s values", "n"),
        ", a::text FROM grid JOIN made USING (p)
         WHERE hll_a::text::counter_hll <> a OR hll_a::text::counter_hll::text <> hll_a::text
             OR NOT hll_eq(a::text::hll, hll_a) OR a::text::hll::text <> a::text
             OR hll_send(hll_a)::counter_hll <> a OR NOT hll_eq(a::bytea::hll, hll_a)"
    );
    both.assert_no_difference("read", SQL);
}

/// Pairs across all stages, either way round: every pair where that is quick, else one of five. Then many at once.
fn united_alike(both: &mut Both) {
    both.must(
        "CREATE TEMP TABLE united AS
             SELECT p, log2m, a.n, b.n AS n_b, a.stage_a, b.stage_b,
                 a.a || b.b AS ab, b.b || a.a AS ba, a.hll_a || b.hll_b AS hll
             FROM grid JOIN made a USING (p) JOIN made b USING (p)
             WHERE log2m IN (8, 11) OR (a.step + 2 * b.step + p) % 5 = 0",
    );
    let pairs = "SELECT count(*) FROM (SELECT DISTINCT log2m, stage_a, stage_b FROM united) d";
    assert_eq!(both.session.value::<i64>(pairs), 6 * 16, "stages united with stages, by log2m");
    const SQL: &str = concat!(
        "SELECT ",
        parameters_and!("%s values || %s values", "n, n_b"),
        ", format('%s, postgresql-hll %s', left(ab::text, 99), left(hll::text, 99)) FROM grid JOIN united USING (p, log2m)
         WHERE ab::text <> hll::text OR ba <> ab"
    );
    both.assert_no_difference("united", SQL);
    const AGGREGATED: &str = concat!(
        "SELECT ",
        parameters_and!("%s sketches", "of"),
        ", format('%s, postgresql-hll %s', left(ours::text, 99), left(theirs::text, 99)) FROM grid JOIN (
             SELECT p, count(*) AS of, counter_hll_union_agg(s) AS ours, hll_union_agg(h) AS theirs,
                 counter_hll_union_agg(s ORDER BY n DESC) AS backwards
             FROM made, LATERAL (VALUES (a, hll_a), (b, hll_b)) x (s, h) GROUP BY p, n % 3
             UNION ALL
             SELECT p, count(*), counter_hll_union_agg(a), hll_union_agg(hll_a), counter_hll_union_agg(a ORDER BY n DESC)
             FROM made GROUP BY p) u USING (p)
         WHERE ours::text <> theirs::text OR backwards <> ours"
    );
    both.assert_no_difference("united by aggregates", AGGREGATED);
}

/// Both are exact as long as there are hashes, then within a standard error of each other and four of the truth.
/// Registers of 3 bits and less are full long before the last step, where neither can tell.
fn counted_alike(both: &mut Both) {
    const SQL: &str = concat!(
        "SELECT ",
        parameters_and!("%s values", "n"),
        ", format('%s, postgresql-hll %s', ours, theirs) FROM (
             SELECT *, #a AS ours, #hll_a AS theirs, 1.04 / sqrt(1 << log2m) * n AS deviation
             FROM grid JOIN made USING (p) WHERE n <= 2 << log2m AND (regwidth > 3 OR stage_a <= 2)) c
         WHERE CASE WHEN stage_a <= 2 THEN ours <> n OR theirs <> n
             -- Ours is an integer.
             ELSE abs(ours - theirs) > deviation + 0.5 OR abs(ours - n) > 4 * deviation + 0.5 END"
    );
    both.assert_no_difference("counted", SQL);
}

/// postgresql-hll writes SPARSE up to a size of the user's choice. Whatever it wrote, it becomes the one form.
#[test]
fn sketches_of_an_unusual_form_become_the_usual_one() {
    let Some(mut both) = Both::start() else { return };
    both.must(
        "CREATE TABLE usual AS SELECT n, counter_hll_agg(v, 8, 5, 0, 1) AS s
             FROM unnest('{0,1,50,90,99,200}'::integer[]) n JOIN generate_series(1, 200) v ON v <= n GROUP BY n;
         CREATE TABLE unusual (n integer, bytes integer, h hll);",
    );
    for most_sparse_bytes in [0, 20, 1000] {
        both.must(&format!(
            "SELECT hll_set_max_sparse({most_sparse_bytes});
             INSERT INTO unusual SELECT n, {most_sparse_bytes}, hll_add_agg(hll_hash_integer(v), 8, 5, 0, 1)
             FROM usual JOIN generate_series(1, 200) v ON v <= n GROUP BY n"
        ));
    }
    let unusual = "SELECT count(*) FROM unusual JOIN usual USING (n) WHERE h::text <> s::text";
    assert!(both.session.value::<i64>(unusual) >= 4, "sketches in another form than ours");
    both.assert_no_difference(
        "unusual",
        "SELECT format('%s values, SPARSE up to %s bytes', n, bytes), h::text FROM unusual JOIN usual USING (n)
         WHERE h::text::counter_hll <> s OR hll_send(h)::counter_hll <> s OR #(h::text::counter_hll) <> #s",
    );
    both.cluster.finish();
}

#[test]
fn a_column_of_postgresql_hll_becomes_ours_and_back() {
    let Some(mut both) = Both::start() else { return };
    // Out of line at the end: 1280 bytes at 200 values, 2563 where they are registers.
    both.must(
        "CREATE TABLE visits (day integer, visitors hll(12,5,-1,1) NOT NULL, expected text);
         INSERT INTO visits SELECT day, hll_add_agg(hll_hash_text('visitor ' || v), 12, 5, -1, 1)
         FROM generate_series(0, 60) day, generate_series(1, day * day) v GROUP BY day;
         UPDATE visits SET expected = visitors::text;
         ALTER TABLE visits ALTER visitors TYPE counter_hll USING visitors::text::counter_hll",
    );
    const CHANGED: &str = "SELECT day::text, visitors::text FROM visits WHERE visitors::text <> expected";
    both.assert_no_difference("as counter_hll", CHANGED);
    both.must("ALTER TABLE visits ALTER visitors TYPE counter_hll(12,5,-1,1)");
    both.assert_no_difference("as counter_hll(12,5,-1,1)", CHANGED);
    // Both go on from the same: a visitor who was there, and a new one; also by a hash made before.
    both.assert_no_difference(
        "added to",
        "SELECT day::text, visitors::text FROM visits
         WHERE counter_hll_add(counter_hll_add(visitors, 'visitor 1'), 'nobody')::text
             <> (visitors::text::hll || hll_hash_text('visitor 1') || hll_hash_text('nobody'))::text
             OR counter_hll_add(visitors, hll_hash_text('nobody')) <> counter_hll_add(visitors, 'nobody')",
    );
    both.must("ALTER TABLE visits ALTER visitors TYPE hll USING visitors::text::hll");
    both.assert_no_difference("as hll again", CHANGED);
    assert_eq!(both.session.value::<i64>("SELECT count(*) FROM visits"), 60, "days");
    both.cluster.finish();
}

/// (type, postgresql-hll's hash function, values): the hashes themselves stand in an explicit sketch. A `hll_hashval` is
/// taken as it is.
const SAME_HASH: &[(&str, &str, &str)] = &[
    ("boolean", "hll_hash_boolean", "VALUES (true), (false)"),
    ("smallint", "hll_hash_smallint", "SELECT v::smallint FROM generate_series(-32768, 32767, 257) v"),
    (
        "smallint",
        "hll_hash_smallint",
        "VALUES ((-32768)::smallint), ((-1)::smallint), (0::smallint), (32767::smallint)",
    ),
    (
        "integer",
        "hll_hash_integer",
        "SELECT v::integer FROM generate_series(-2147483648, 2147483647, 16777259) v",
    ),
    ("integer", "hll_hash_integer", "VALUES (-2147483648), (-1), (0), (1), (2147483647)"),
    ("bigint", "hll_hash_bigint", "SELECT v * 36028797018963971 FROM generate_series(-255::bigint, 255) v"),
    ("bigint", "hll_hash_bigint", "VALUES (-9223372036854775808), (-1), (0), (1), (9223372036854775807)"),
    // Every length of the hash's blocks and tails, with bytes above 127.
    (
        "bytea",
        "hll_hash_bytea",
        "SELECT substring(sha512(v::text::bytea), 1, v) FROM generate_series(0, 64) v",
    ),
    (
        "bytea",
        "hll_hash_bytea",
        r"VALUES ('\x'::bytea), ('\x00'), ('\x0000'), ('\xff'), (repeat('a', 3000000)::bytea)",
    ),
    ("text", "hll_hash_text", "SELECT repeat('aä€😀', v) FROM generate_series(0, 200) v"),
    ("text", "hll_hash_text", "SELECT left(repeat('0123456789abcdef', 5), v) FROM generate_series(0, 80) v"),
    // In line, compressed, out of line, both.
    ("text", "hll_hash_text", "SELECT content FROM pages"),
    ("text", "hll_hash_any", "SELECT content FROM pages"),
    ("varchar", "hll_hash_text", "SELECT content::varchar FROM pages"),
    ("boolean", "hll_hash_any", "VALUES (true), (false)"),
    ("\"char\"", "hll_hash_any", "SELECT v::\"char\" FROM unnest('{a,z,0}'::text[]) v"),
    (
        "smallint",
        "hll_hash_any",
        "VALUES ((-32768)::smallint), ((-1)::smallint), (0::smallint), (32767::smallint)",
    ),
    ("integer", "hll_hash_any", "VALUES (-2147483648), (-1), (0), (1), (2147483647)"),
    ("bigint", "hll_hash_any", "VALUES (-9223372036854775808), (-1), (0), (1), (9223372036854775807)"),
    ("oid", "hll_hash_any", "VALUES (0::oid), (1::oid), (4294967295::oid)"),
    ("bytea", "hll_hash_any", r"VALUES ('\x'::bytea), ('\x00'), ('\xff00ff')"),
    ("varchar", "hll_hash_any", "VALUES (''::varchar), ('a'), ('a '), ('ä')"),
    ("name", "hll_hash_any", "VALUES (''::name), ('a'), (repeat('x', 63)::name)"),
    // Only what has no blanks at its end.
    ("char(3)", "hll_hash_any", "VALUES ('abc'::char(3)), (' bc')"),
    (
        "date",
        "hll_hash_any",
        "VALUES ('infinity'::date), ('-infinity'), ('4713-01-01 BC'), ('2000-01-01'), ('2026-07-31')",
    ),
    ("time", "hll_hash_any", "VALUES ('00:00'::time), ('23:59:59.999999'), ('24:00')"),
    (
        "timestamp",
        "hll_hash_any",
        "VALUES ('infinity'::timestamp), ('1999-12-31 23:59:59.999999'), ('2026-07-31')",
    ),
    (
        "timestamptz",
        "hll_hash_any",
        "VALUES ('-infinity'::timestamptz), ('2026-07-31 12:00+02'), ('1970-01-01 00:00Z')",
    ),
    ("uuid", "hll_hash_any", "SELECT md5(v::text)::uuid FROM generate_series(1, 100) v"),
];

/// Types whose equal values have more than one form, or have parts: ours hashes what is equal alike, `hll_hash_any`
/// hashes the bytes that the type sends or keeps.
const OTHER_HASH: &[&str] = &[
    "'ab'::char(3)",
    "1::real",
    "1::double precision",
    "1::numeric",
    "'1 day'::interval",
    "'12:00+02'::timetz",
    "'10.0.0.1'::inet",
    "'10.0.0.0/8'::cidr",
    "'08:00:2b:01:02:03'::macaddr",
    "'{}'::jsonb",
    "ARRAY[1]",
    "'[1,2)'::int4range",
    "'a'::mood",
    "1::text::xid8",
];

#[test]
fn values_are_hashed_the_same_way() {
    let Some(mut both) = Both::start() else { return };
    both.must(
        "CREATE TYPE mood AS ENUM ('a', 'b');
         CREATE TABLE pages (kind text, content text);
         INSERT INTO pages VALUES ('short', 'short'), ('empty', ''), ('compressed in line', repeat('x', 100000)),
             ('compressed out of line',
              (SELECT string_agg(md5(v::text) || repeat('-', 50), '') FROM generate_series(1, 5000) v));
         ALTER TABLE pages ALTER content SET STORAGE EXTERNAL;
         INSERT INTO pages VALUES ('out of line', repeat('y', 100000)), ('in line', repeat('z', 1000))",
    );
    let toasted = "SELECT count(*) FROM pages
        WHERE pg_column_size(content) <> octet_length(content) AND length(content) > 1000";
    assert!(both.session.value::<i64>(toasted) >= 2, "compressed pages");
    for (kind, function, values) in SAME_HASH {
        let sql = format!(
            "SELECT format('%s values, explicit: %s', count(DISTINCT v), #counter_hll_agg(v)),
                 format('%s, postgresql-hll %s', left(counter_hll_agg(v)::text, 99),
                     left(hll_add_agg({function}(v), 14, 5, -1, 1)::text, 99))
             FROM ({values}) x (v)
             HAVING counter_hll_agg(v)::text <> hll_add_agg({function}(v), 14, 5, -1, 1)::text
                 OR counter_hll_agg(v) <> counter_hll_agg({function}(v))
                 OR #counter_hll_agg(v) <> count(DISTINCT v) OR min(pg_typeof(v)::text) <> '{kind}'::regtype::text"
        );
        both.assert_no_difference(&format!("{kind} by {function}, {values}"), &sql);
    }
    for value in OTHER_HASH {
        let sql = format!(
            "SELECT counter_hll_agg({value})::text = hll_add_agg(hll_hash_any({value}), 14, 5, -1, 1)::text"
        );
        assert!(!both.session.value::<bool>(&sql), "{value} is said to be hashed differently");
    }
    both.cluster.finish();
}

/// At three times as many values as registers postgresql-hll's estimate is 1 % too high on average.
#[test]
fn the_estimate_is_no_worse_over_the_same_sketches() {
    let Some(mut both) = Both::start() else { return };
    both.must(
        "CREATE TABLE errors AS
             SELECT (#h::text::counter_hll) / (3.0 * 2048) - 1 AS ours, (#h) / (3.0 * 2048) - 1 AS theirs FROM (
                 SELECT hll_add_agg(hll_hash_bigint(sketch * 1000000 + v), 11, 5, -1, 1) AS h
                 FROM generate_series(1::bigint, 400) sketch, generate_series(1, 3 * 2048) v GROUP BY sketch) s",
    );
    let mut error = |of: &str| -> f64 {
        both.session.value(&format!("SELECT sqrt(avg({of} ^ 2))::double precision FROM errors"))
    };
    let (ours, theirs) = (error("ours"), error("theirs"));
    println!("root mean square error of 400 sketches: {ours:.5}, postgresql-hll {theirs:.5}");
    assert!(ours <= theirs, "{ours} is more than postgresql-hll's {theirs}");
    let standard = 1.04 / f64::sqrt(2048.0);
    assert!((0.8 * standard..1.1 * standard).contains(&ours), "{ours}, but a standard error is {standard}");
    let mean: f64 = both.session.value("SELECT avg(ours)::double precision FROM errors");
    assert!(mean.abs() < 3.0 * standard / f64::sqrt(400.0), "a bias of {mean}");
    both.cluster.finish();
}
