//! Every function of the extension with arguments drawn from the edges of their types, by several roles at once: no call loses the server or
//! its session, and none ends in an internal error.
//!
//! COUNTER_EXT_RANDOM_CALLS is how many calls are made (3,000 otherwise), COUNTER_EXT_TEST_SEED repeats the choices.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::{Address, Cluster, Session, Settings, chance};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

const SESSIONS: u64 = 4;
/// A session has one of these for some calls, and then another one.
const ROLES: &[&str] = &["postgres", "member", "stranger"];
const CALLS_OF_ROLE: usize = 40;

/// Ids, names, patterns, numbers and nonsense.
const TEXTS: &[&str] = &[
    "''",
    "'a'",
    "'a:b'",
    "'a:'",
    "'A'",
    "' '",
    "'é'",
    "E'\\x01'",
    "E'\\x01like:a'",
    "E'\\x02a'",
    "E'a\\nb'",
    "'100%'",
    "'{\"a\": 1}'",
    "'{a,b}'",
    "'parents'",
    "'children'",
    "'parent_id'",
    "'total'",
    "'counter_ext.total'",
    "'minute'",
    "'hour'",
    "'day'",
    "'forever'",
    "'7 days'",
    "'UTC'",
    "'Europe/Vienna'",
    "'2026-11-30'",
    "'-1'",
    "'9223372036854775807'",
    "'host=/nowhere dbname=x'",
    "repeat('x', 255)",
    "repeat('é', 127)",
    "repeat('x', 256)",
    "repeat('x', 100000)",
];
const INTEGERS: &[&str] = &["0", "1", "-1", "2", "10", "64", "1000", "32767", "-32768"];
const BIG: &[&str] = &["2147483647", "-2147483648", "1000000"];
const BIGGEST: &[&str] =
    &["9223372036854775807", "(-9223372036854775808)", "9223372036854775806", "4611686018427387904"];
const TIMES: &[&str] = &[
    "now()",
    "now() - interval '1 hour'",
    "now() + interval '2 hours'",
    "'epoch'",
    "'infinity'",
    "'-infinity'",
    "'4714-11-24 00:00:00+00 BC'",
    "'294276-12-31 23:59:59.999999+00'",
    "'2026-03-29 02:30 Europe/Vienna'",
];
const DATES: &[&str] =
    &["current_date", "'epoch'", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'"];
const INTERVALS: &[&str] = &[
    "'0'",
    "'1 us'",
    "'1 s'",
    "'1 min'",
    "'1 hour'",
    "'1 day'",
    "'7 days'",
    "'1 month'",
    "'31 days 1 us'",
    "'-1 s'",
    "'178000000 years'",
    "'-178000000 years'",
];
/// What stands for `anyelement`: a visitor, an actor.
const ELEMENTS: &[&str] = &[
    "'v'::text",
    "''::text",
    "repeat('x', 100000)",
    "1",
    "1::smallint",
    "9223372036854775807",
    "NULL::text",
    "NULL::int",
    "true",
    "now()",
    "1.5",
    "'{1,2}'::int[]",
    "row(1, 'a')",
    "'00000000-0000-0000-0000-000000000001'::uuid",
    "'127.0.0.1'::inet",
    "'\\x00ff'::bytea",
    "'a'::counter",
];

struct Function {
    name: String,
    is_procedure: bool,
    is_aggregate: bool,
    arguments: Vec<String>,
    /// Arguments that may be left out.
    defaults: usize,
    is_variadic: bool,
}

fn functions(session: &mut Session) -> Vec<Function> {
    // Types that SQL cannot give are left out: they are PostgreSQL's own to pass.
    let all = session.pairs::<String, String>(
        "SELECT p.oid::regproc::text || '|' || p.prokind::text || '|' || p.pronargdefaults || '|' || (p.provariadic <> 0)::text,
            coalesce((SELECT string_agg(format_type(t.type, NULL), '|' ORDER BY t.n)
                FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS t (type, n)), '')
         FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
         WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
             AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'counter_ext')
             AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype)
             AND 'internal'::regtype <> ALL (p.proargtypes::oid[])
         ORDER BY p.oid::regprocedure::text",
    );
    all.into_iter()
        .map(|(head, arguments)| {
            let parts: Vec<&str> = head.split('|').collect();
            Function {
                name: parts[0].to_owned(),
                is_procedure: parts[1] == "p",
                is_aggregate: parts[1] == "a",
                arguments: arguments.split('|').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                defaults: parts[2].parse().expect("a number"),
                is_variadic: parts[3] == "true",
            }
        })
        .collect()
}

fn one_of(random: &mut StdRng, lists: &[&[&str]]) -> String {
    let list = lists.choose(random).expect("a list");
    (*list.choose(random).expect("a value")).to_owned()
}

fn argument(random: &mut StdRng, of_type: &str) -> String {
    if let Some(element) = of_type.strip_suffix("[]") {
        return match random.random_range(0..6) {
            0 => format!("NULL::{of_type}"),
            1 => format!("'{{}}'::{of_type}"),
            2 => format!("ARRAY[NULL]::{of_type}"),
            many => {
                let count = if many == 3 { 300 } else { random.random_range(1..4) };
                let values: Vec<String> = (0..count).map(|_| argument(random, element)).collect();
                format!("ARRAY[{}]::{of_type}", values.join(", "))
            }
        };
    }
    let is_null = random.random_range(0..12) == 0;
    let value = match of_type {
        "anyelement" | "anynonarray" | "\"any\"" => return one_of(random, &[ELEMENTS]),
        _ if is_null => "NULL".to_owned(),
        "text" | "counter" | "name" | "cstring" | "character varying" | "character" => {
            one_of(random, &[TEXTS])
        }
        "smallint" => one_of(random, &[INTEGERS]),
        "integer" => one_of(random, &[INTEGERS, BIG]),
        "bigint" => one_of(random, &[INTEGERS, BIG, BIGGEST]),
        "numeric" | "double precision" | "real" => {
            one_of(random, &[INTEGERS, BIGGEST, &["'NaN'", "1e-300", "0.5", "'infinity'"]])
        }
        "boolean" => one_of(random, &[&["true", "false"]]),
        "timestamp with time zone" | "timestamp without time zone" => one_of(random, &[TIMES]),
        "date" => one_of(random, &[DATES]),
        "interval" => one_of(random, &[INTERVALS]),
        "uuid" => one_of(random, &[&["gen_random_uuid()", "'00000000-0000-0000-0000-000000000000'"]]),
        "oid" => one_of(
            random,
            &[&["0", "1", "1259", "4294967295", "'counter_ext.total'::regclass", "'parents'::regclass"]],
        ),
        "regclass" => one_of(random, &[&["0", "1259", "'counter_ext.total'", "'parents'", "'children'"]]),
        "bytea" => one_of(
            random,
            &[&["''", "'\\x00'", "'\\x118b7f'", "'\\x148b7f00ff'", "repeat('x', 20000)::bytea"]],
        ),
        "inet" => one_of(random, &[&["'127.0.0.1'", "'::1/64'"]]),
        "json" | "jsonb" => one_of(random, &[&["'{}'", "'[1]'", "'null'", "'{\"a\": [1, 2]}'"]]),
        "pg_lsn" => one_of(random, &[&["'0/0'", "'FFFFFFFF/FFFFFFFF'"]]),
        "counter_hll" => one_of(
            random,
            &[&[
                "counter_hll_empty()",
                "(SELECT counter_hll_agg(g) FROM generate_series(1, 5) g)",
                "(SELECT counter_hll_agg(g) FROM generate_series(1, 20000) g)",
            ]],
        ),
        // A type that is new here: whatever its input makes of a word.
        _ => one_of(random, &[&["NULL", "'a'", "'0'"]]),
    };
    format!("({value})::{of_type}")
}

fn call(random: &mut StdRng, function: &Function) -> String {
    let most = function.arguments.len();
    let count = random.random_range(most - function.defaults..=most);
    let mut arguments: Vec<String> =
        function.arguments[..count].iter().map(|of_type| argument(random, of_type)).collect();
    if function.is_variadic && count == most {
        let last = arguments.pop().expect("an argument");
        arguments.push(format!("VARIADIC {last}"));
    }
    let call = format!("{}({})", function.name, arguments.join(", "));
    match function {
        Function { is_procedure: true, .. } => format!("CALL {call}"),
        Function { is_aggregate: true, .. } => format!("SELECT {call} FROM generate_series(1, 3)"),
        _ => format!("SELECT * FROM {call} LIMIT 100"),
    }
}

/// What to call, and what has come of it.
struct Run<'a> {
    address: &'a Address,
    functions: &'a [Function],
    left: AtomicUsize,
    worked: AtomicUsize,
    /// By SQLSTATE, how often.
    refused: Mutex<BTreeMap<String, usize>>,
    faults: Mutex<Vec<String>>,
}

impl Run<'_> {
    fn session(&self, actor: u64) {
        let mut random = chance::generator(actor);
        while self.left.load(SeqCst) > 0 && self.faults.lock().expect("a lock").len() < 5 {
            let mut session =
                self.address.connect_with("SET statement_timeout = '3s'; SET lock_timeout = '1s'");
            let mode = ["slotted", "buffered"].choose(&mut random).expect("a mode");
            session.must(&format!("SET counter_ext.mode = {mode}; SET synchronous_commit = off"));
            session.must(&format!("SET ROLE {}", ROLES.choose(&mut random).expect("a role")));
            for _ in 0..CALLS_OF_ROLE {
                if !self.call(&mut session, &mut random) {
                    break;
                }
            }
        }
    }

    /// Whether the session lives.
    fn call(&self, session: &mut Session, random: &mut StdRng) -> bool {
        let one = |random: &mut StdRng| {
            let function = self.functions.choose(random).expect("a function");
            call(random, function)
        };
        let first = one(random);
        let procedure = first.starts_with("CALL");
        // In a block of its own, behind a savepoint, or alone.
        let sql = match random.random_range(0..8) {
            0 if !procedure => format!("BEGIN; {first}; {}; ROLLBACK", one(random)),
            1 if !procedure => format!("BEGIN; SAVEPOINT a; {first}; ROLLBACK TO a; {}; COMMIT", one(random)),
            2 if !procedure => format!("BEGIN READ ONLY; {first}; COMMIT"),
            _ => first,
        };
        let _ = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        let Err(error) = session.run(&sql) else {
            self.worked.fetch_add(1, SeqCst);
            return true;
        };
        let code = error.code().map(|code| code.code().to_owned());
        // What PostgreSQL says to two who grant something on one table at the same time.
        let is_postgresqls = describe(&error).contains("tuple concurrently");
        let is_fault = code.as_ref().is_none_or(|code| code.starts_with("XX")) && !is_postgresqls;
        if is_fault {
            let text: String = sql.chars().take(2000).collect();
            self.faults.lock().expect("a lock").push(format!("{text}\n    {}", describe(&error)));
        }
        let mut refused = self.refused.lock().expect("a lock");
        *refused.entry(code.unwrap_or_else(|| "the session ended".to_owned())).or_default() += 1;
        session.run("ROLLBACK").is_ok()
    }
}

#[test]
fn no_call_loses_the_server_or_ends_in_an_internal_error() {
    let calls = std::env::var("COUNTER_EXT_RANDOM_CALLS")
        .map_or(3000, |text| text.parse().expect("COUNTER_EXT_RANDOM_CALLS is a number"));
    let cluster = Cluster::start(Settings::restless().with("max_connections", "60"));
    let mut admin = cluster.connect();
    admin.must(
        "CREATE TABLE parents (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
         CREATE TABLE children (id int PRIMARY KEY, parent_id int REFERENCES parents);
         INSERT INTO parents SELECT g FROM generate_series(1, 5) g;
         CREATE ROLE stranger; CREATE ROLE member;
         GRANT ALL ON ALL TABLES IN SCHEMA counter_ext, public TO member;
         GRANT ALL ON SCHEMA counter_ext TO member;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA counter_ext, public TO member",
    );
    let began: String = admin.value("SELECT pg_postmaster_start_time()::text");
    let functions = functions(&mut admin);
    assert!(functions.len() > 150, "only {} functions are found", functions.len());
    let address = cluster.address();
    let run = Run {
        address: &address,
        functions: &functions,
        left: AtomicUsize::new(calls),
        worked: AtomicUsize::new(0),
        refused: Mutex::default(),
        faults: Mutex::default(),
    };
    let lives = thread::scope(|scope| {
        let sessions: Vec<_> = (0..SESSIONS)
            .map(|actor| {
                scope.spawn({
                    let run = &run;
                    move || run.session(actor)
                })
            })
            .collect();
        sessions.into_iter().filter_map(|session| session.join().err()).count() == 0
    });
    let faults = run.faults.into_inner().expect("a lock");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(lives, "a session could not connect any more");
    println!("{} of {calls} calls worked; refused: {:?}", run.worked.into_inner(), run.refused);
    // The same server, and it counts.
    let mut session = cluster.connect();
    assert_eq!(session.value::<String>("SELECT pg_postmaster_start_time()::text"), began);
    session.must("SELECT counter_drop('still'); SELECT counter_incr('still', 5)");
    session.assert_count("still", 5);
    // Whatever else was told to anybody is what these calls have asked for.
    cluster.finish_allowing(&["ERROR:", "WARNING:", "deadlock detected", "Lock on t", "could not serialize"]);
}
