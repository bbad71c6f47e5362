//! README's table of what works where, cell by cell, as a role that is no superuser: on a server with the library preloaded, on one
//! without, and on a hot standby.

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, pages, wait};
use std::time::Duration;

/// What a row of the table names, by what writes and what reads.
struct Capability {
    name: &'static str,
    /// Run once by the application, where a table or a declaration has to be there first.
    prepare: &'static str,
    write: &'static str,
    read: &'static str,
}

const CAPABILITIES: [Capability; 15] = [
    Capability {
        name: "counting, slotted",
        prepare: "",
        write: "SELECT counter_incr('a')",
        read: "SELECT counter_get('a')",
    },
    Capability {
        name: "counting, buffered",
        prepare: "",
        write: "SET counter_ext.mode = 'buffered'; SELECT counter_incr('b')",
        read: "SELECT counter_get('b')",
    },
    Capability {
        name: "likes",
        prepare: "",
        write: "SELECT counter_like('post:1', gen_random_uuid())",
        read: "SELECT counter_likes('post:1')",
    },
    Capability {
        name: "retries",
        prepare: "",
        write: "SELECT counter_incr_once('paid', 1, gen_random_uuid()), counter_apply('views', 1, '{a}')",
        read: "SELECT count(*) FROM counter_ext.source_offset",
    },
    Capability {
        name: "rate limits",
        prepare: "",
        write: "SELECT counter_allow('k', 5, '1 minute')",
        read: "SELECT * FROM counter_limit('k', 5, '1 minute', cost => 0)",
    },
    Capability {
        name: "block list",
        prepare: "",
        write: "SELECT counter_incr_from('video:1', 'user:7')",
        read: "SELECT counter_filtered('video:1')",
    },
    Capability {
        name: "counter caches",
        prepare: "CREATE TABLE comments (post_id int); SELECT counter_cache('comments', 'comments:', 'post_id')",
        write: "INSERT INTO comments VALUES (42)",
        read: "SELECT counter_get('comments:42')",
    },
    Capability {
        name: "unique viewers",
        prepare: "",
        write: "SELECT counter_visit('video:1', gen_random_uuid())",
        read: "SELECT counter_visitors('video:1')",
    },
    Capability {
        name: "sketches of your own",
        prepare: "",
        write: "SELECT counter_hll_agg(v) FROM generate_series(1, 100) AS v",
        read: "SELECT counter_uniq(v) FROM generate_series(1, 100) AS v",
    },
    Capability {
        name: "series",
        prepare: "SELECT counter_track('match:')",
        write: "SELECT counter_incr('match:1')",
        read: "SELECT * FROM counter_series('match:1', now() - interval '1 hour')",
    },
    Capability {
        name: "leaderboards",
        prepare: "SELECT counter_board('game:')",
        write: "SELECT counter_board_incr('game:', 'anna', 5)",
        read: "SELECT * FROM counter_board_top('game:')",
    },
    Capability {
        name: "live totals",
        prepare: "",
        write: "SELECT counter_watch('score:', 'scores')",
        read: "SELECT count(*) FROM counter_ext.watch",
    },
    Capability {
        name: "expiry",
        prepare: "",
        write: "SELECT counter_expire('session:', '30 days')",
        read: "SELECT * FROM counter_expiries",
    },
    Capability {
        name: "audit",
        prepare: "SELECT counter_audit('ad:', true)",
        write: "SELECT counter_incr('ad:anna')",
        read: "SELECT * FROM counter_audit_verify('ad:anna')",
    },
    Capability {
        name: "listings",
        prepare: "",
        write: "SELECT * FROM counter_list('')",
        read: "SELECT * FROM counters",
    },
];

const ROLE: &str = "
    CREATE ROLE app LOGIN;
    GRANT CREATE ON SCHEMA public TO app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA counter_ext TO app;
    GRANT EXECUTE ON FUNCTION counter_allow(text, bigint, interval, bigint), counter_limit(text, bigint, interval, bigint) TO app;
";

/// The rows of README's table: a name, and what it says of each of the three servers.
fn documented() -> Vec<Vec<String>> {
    let readme = pages::text("README.md");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| what works | preloaded")).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn as_app(cluster: &Cluster) -> Session {
    let mut session = cluster.connect();
    session.must("SET SESSION AUTHORIZATION app");
    session
}

fn prepare(cluster: &Cluster) {
    cluster.connect().must(ROLE);
    for capability in CAPABILITIES.iter().filter(|capability| !capability.prepare.is_empty()) {
        as_app(cluster).must(capability.prepare);
    }
}

fn assert_cell(cluster: &Cluster, capability: &Capability, cell: &str, refusal: &str) {
    let what = format!("{} on a server with {cell:?}", capability.name);
    let written = as_app(cluster).run(capability.write);
    match cell {
        "yes" => written.unwrap_or_else(|error| panic!("{what}: {}", describe(&error))),
        "reads" | "no" => assert_sqlstate(&what, written, refusal),
        other => panic!("{}: the table says {other:?}", capability.name),
    }
    if cell != "no" || refusal == "25006" {
        as_app(cluster).must(capability.read);
    }
}

#[test]
fn readme_says_what_works_where() {
    let rows = documented();
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, CAPABILITIES.map(|capability| capability.name), "the table's rows");

    let preloaded = Cluster::start(Settings::preloaded());
    prepare(&preloaded);
    let standby = preloaded.standby();
    let without = Cluster::start(Settings::without_preload());
    prepare(&without);
    let there = "SELECT count(*) = 1 FROM pg_roles WHERE rolname = 'app'";
    wait::until("the role is on the standby", Duration::from_secs(30), || {
        standby.connect().value::<bool>(there)
    });
    for (row, capability) in rows.iter().zip(&CAPABILITIES) {
        assert_cell(&preloaded, capability, &row[1], "55000");
        assert_cell(&without, capability, &row[2], "55000");
        assert_cell(&standby, capability, &row[3], "25006");
    }
    // Nothing is measured there but limits, whose counts stay what they are.
    assert_sqlstate("a reset on a standby", standby.connect().run("SELECT counter_stats_reset()"), "55000");
    assert_sqlstate(
        "a reset without preload",
        without.connect().run("SELECT counter_stats_reset()"),
        "55000",
    );
    assert!(
        standby
            .connect()
            .value::<bool>("SELECT increments IS NULL AND limits_refused = 0 FROM counter_stats")
    );
    standby.finish();
    without.finish();
    preloaded.finish();
}

/// The library is C to PostgreSQL, and its tables' owner is whoever installs it: the extension is not marked as trusted.
#[test]
fn it_takes_a_superuser_to_install() {
    let cluster = Cluster::start(Settings::without_preload().without_extension());
    cluster.connect().must(
        "CREATE ROLE app; GRANT CREATE ON DATABASE postgres TO app; GRANT CREATE ON SCHEMA public TO app",
    );
    assert_sqlstate("CREATE EXTENSION", as_app(&cluster).run("CREATE EXTENSION counter_ext"), "42501");
    cluster.finish();
}
