//! A backend that gets no more memory: its statement fails with 53200, and neither the session nor the server ends.
//!
//! The limit is put on one backend, so that the rest of the server has memory still. Each statement meets several limits, so
//! that each of its allocations is the first to fail once.

use counter_ext_cluster_tests::processes::limit_memory;
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::{Cluster, Session, Settings};

const OUT_OF_MEMORY: &str = "53200";
const MIB: u64 = 1 << 20;
const LIMITS: [u64; 6] = [0, MIB / 4, MIB, 4 * MIB, 15 * MIB, 60 * MIB];

/// Half a million times one id: no time is spent on finding counters.
const MANY: &str = "array_fill('one'::text, ARRAY[500000])";

struct Limited {
    cluster: Cluster,
    /// Lost when the server restarts its backends.
    witness: Session,
    refused: usize,
}

impl Limited {
    fn start(settings: Settings) -> Limited {
        let cluster = Cluster::start(settings);
        let witness = cluster.connect();
        Limited { cluster, witness, refused: 0 }
    }

    /// Runs statements in a session of their own, again and again with more memory.
    fn run(&mut self, set_up: &str, statements: &[&str]) {
        for limit in LIMITS {
            let mut session = self.cluster.connect();
            session.must("SET statement_timeout = '300s'");
            // Catalogs and code that everything needs.
            session.must("SELECT counter_hll_count(counter_hll_agg(1)), counter_visitors('nobody')");
            session.must("DO $$ BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END $$");
            session.must(set_up);
            let pid = session.backend_pid();
            limit_memory(pid, Some(limit));
            for sql in statements {
                if let Err(error) = session.run(sql) {
                    let code = error.code().map(|code| code.code().to_owned());
                    assert_eq!(
                        code.as_deref(),
                        Some(OUT_OF_MEMORY),
                        "{sql} with {limit} bytes more: {}",
                        describe(&error)
                    );
                    self.refused += 1;
                }
            }
            limit_memory(pid, None);
            session.must("ROLLBACK; RESET ROLE");
            session.incr("after", 1).expect("the session goes on");
            assert!(session.get("after").expect("the session goes on") > 0);
        }
        let answer: i32 = self.witness.value("SELECT 1");
        assert_eq!(answer, 1, "the server did not restart");
    }

    fn finish(self) {
        assert!(self.refused > 0, "nothing ever failed: the limits are too high");
        self.cluster.finish_allowing(&[
            "out of memory",
            "Failed on request",
            "TopMemoryContext",
            "Grand total",
        ]);
    }
}

#[test]
fn arrays() {
    let mut limited = Limited::start(Settings::preloaded());
    for mode in ["slotted", "buffered"] {
        let set_up = format!("SET counter_ext.mode = {mode}");
        limited.run(&set_up, &[&format!("SELECT count(value) FROM counter_get_many({MANY})")]);
        limited.run(&set_up, &[&format!("SELECT counter_incr_many({MANY})")]);
        limited.run(
            &set_up,
            &["SELECT counter_incr_many((SELECT array_agg('k' || g) FROM generate_series(1, 50000) g))"],
        );
    }
    // More ids than are held pending.
    limited.run(
        "SELECT 1",
        &["SELECT counter_incr_many((SELECT array_agg('m' || g) FROM generate_series(1, 80000) g))"],
    );
    limited.run("SELECT 1", &[&format!("SELECT counter_apply('source', (random() * 1e15)::bigint, {MANY})")]);
    // Half of the batch overlaps the one before.
    let mut of_offsets =
        "SELECT counter_apply('offsets', n, n + 99999, (SELECT array_agg('k' || g) FROM generate_series(1, 100000) g), NULL)
         FROM (SELECT coalesce((SELECT upto FROM counter_ext.source_offset WHERE source = 'offsets'), 0) - 50000 AS n) AS first"
            .to_owned();
    limited.run("SELECT 1", &[&of_offsets]);
    of_offsets = of_offsets
        .replace("NULL)", "NULL, (SELECT array_agg(n + g % 100000) FROM generate_series(1, 100000) g))");
    limited.run("SELECT 1", &[&of_offsets]);
    limited.run("SELECT 1", &["SELECT counter_visitors_union(array_fill('one'::text, ARRAY[100000]))"]);
    limited.finish();
}

#[test]
fn sketches_of_a_role_without_rights() {
    let mut limited = Limited::start(Settings::preloaded());
    limited.cluster.connect().must("CREATE ROLE nobody");
    let set_up = "SET ROLE nobody; SET work_mem = '4MB'";
    for sql in [
        "SELECT #counter_hll_empty(24, 8, 0, 0)",
        "SELECT counter_hll_count(counter_hll_agg(g, 24, 8, 0, 0)) FROM generate_series(1, 1000) g",
        "SELECT length((counter_hll_agg(g, 24, 8, 0, 0))::text) FROM generate_series(1, 1000) g",
        "SELECT #(counter_hll_agg(g, 24, 8, 0, 0) || counter_hll_agg(-g, 24, 8, 0, 0)) FROM generate_series(1, 100) g",
        "SELECT #counter_hll_union_agg(s) FROM (SELECT counter_hll_agg(g, 24, 5, 0, 1) AS s FROM generate_series(1, 9) g GROUP BY g % 3) t",
        "SELECT count(*), sum(#s) FROM (SELECT counter_hll_agg(g, 20, 5, 0, 1) AS s FROM generate_series(1, 900) g GROUP BY g % 300) t",
        "SELECT count(*), sum(n) FROM (SELECT counter_uniq(g) AS n FROM generate_series(1, 60000) g GROUP BY g % 20000) t",
        "SELECT counter_hll_add(counter_hll_agg(g, 24, 8, 0, 0), 'x') FROM generate_series(1, 9) g",
        "SELECT #counter_hll_agg(g, 20, 5, 16384, 1) FROM generate_series(1, 40000) g",
    ] {
        limited.run(set_up, &[sql]);
    }
    limited.finish();
}

#[test]
fn savepoints() {
    let mut limited = Limited::start(Settings::preloaded());
    let blocks = |body: &str| {
        format!(
            "DO $$ BEGIN FOR g IN 1..8000 LOOP BEGIN {body} EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
        )
    };
    for mode in ["slotted", "buffered"] {
        let set_up = format!("SET counter_ext.mode = {mode}");
        limited.run(&set_up, &[&blocks("PERFORM counter_incr('kept' || g);")]);
        limited.run(&set_up, &[&blocks("PERFORM counter_incr('gone' || g); PERFORM 1 / 0;")]);
        limited.run(&set_up, &[&blocks("PERFORM counter_visit('v' || g % 7, g);")]);
        limited.run(
            &set_up,
            &[&blocks("PERFORM counter_incr('dropped' || g); PERFORM counter_drop('dropped' || g);")],
        );
    }
    limited.finish();
}

#[test]
fn families() {
    let mut limited = Limited::start(Settings::preloaded());
    limited.cluster.connect().must(
        "CREATE TABLE votes (item text, note text); \
         INSERT INTO votes SELECT 'item' || g % 20000, repeat('x', 20) FROM generate_series(1, 60000) g; \
         SELECT counter_incr_many((SELECT array_agg('many:' || g) FROM generate_series(1, 60000) g))",
    );
    let visits = "SELECT count(counter_visit('page' || g % 3000, g)) FROM generate_series(1, 20000) g";
    limited.run("SELECT 1", &["BEGIN", visits, "COMMIT"]);
    let likes = "SELECT count(counter_like('item' || g, 'somebody')) FROM generate_series(1, 4000) g";
    limited.run("SELECT 1", &["BEGIN", likes, "ROLLBACK"]);
    limited.run("SELECT 1", &["SELECT count(*), sum(value) FROM counters"]);
    limited.run("SELECT 1", &["SELECT count(*) FROM counter_hottest(1000000)"]);
    limited.run("SELECT 1", &["BEGIN", "SELECT counter_cache('votes', 'votes:', 'item')", "ROLLBACK"]);
    limited.cluster.connect().must("SELECT counter_cache('votes', 'votes:', 'item')");
    let many_keys = "INSERT INTO votes SELECT 'key' || g FROM generate_series(1, 70000) g";
    limited.run("SELECT 1", &["BEGIN", many_keys, "ROLLBACK"]);
    limited.run(
        "SELECT 1",
        &["INSERT INTO votes VALUES (repeat('x', 200))", "DELETE FROM votes WHERE item LIKE 'xx%'"],
    );
    limited.run("SELECT 1", &["SELECT count(*) FROM counter_verify('votes', 'votes:', 'item')"]);
    limited.run("SELECT 1", &["BEGIN", "SELECT counter_audit('many:', true)", "ROLLBACK"]);
    limited.finish();
}

#[test]
fn a_rolled_back_savepoint_leaves_no_memory_behind() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    let blocks = |many: u32| {
        format!(
            "DO $$ BEGIN FOR g IN 1..{many} LOOP BEGIN PERFORM counter_incr('gone' || g); RAISE division_by_zero; \
             EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$"
        )
    };
    session.must("BEGIN");
    session.must(&blocks(1000));
    let before = held_bytes(&mut session);
    session.must(&blocks(200_000));
    let grown = held_bytes(&mut session).saturating_sub(before);
    // They took 100 bytes each.
    assert!(grown < 10 * MIB, "{grown} bytes for 200,000 savepoints that are gone");
    session.must("ROLLBACK");
    cluster.finish();
}

fn held_bytes(session: &mut Session) -> u64 {
    let pid = session.backend_pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a backend to look at");
    let peak = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line of it");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[test]
fn no_backtrace_reaches_a_client() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut session = cluster.connect();
    // Raised by PostgreSQL inside of a call of ours, and raised by us.
    for sql in ["SELECT E'\\\\'::counter_hll", "SELECT counter_incr('')"] {
        let error = session.run(sql).expect_err("an error");
        let db = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {}", describe(&error)));
        assert_eq!(db.detail(), None, "{sql}");
        assert!(!db.message().contains("backtrace"), "{sql}: {}", db.message());
    }
    cluster.finish_allowing(&["invalid input syntax", "counter id is empty"]);
}
