//! PgBouncer in transaction mode: each transaction may be on another of few connections. Counts are exact, in both modes, nothing of a
//! client's session reaches another client, and the audit log names who has acted.

use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::pooler::Pooler;
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{
    Address, Cluster, Ledger, Session, Settings, assert_sqlstate, chance, watch,
};
use postgres::Error;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

const CLIENTS: usize = 16;
const CONNECTIONS: usize = 4;

struct Client<'a> {
    number: usize,
    session: Session,
    ledger: &'a Ledger,
    random: StdRng,
    /// Whether its statements are prepared by name.
    prepares: bool,
}

impl<'a> Client<'a> {
    fn new(pooler: &Pooler, ledger: &'a Ledger, number: usize) -> Client<'a> {
        Client {
            number,
            session: pooler.address().connect(),
            ledger,
            random: chance::generator(number as u64),
            prepares: pooler.knows_prepared_statements() && number.is_multiple_of(2),
        }
    }

    fn incr(&mut self, id: &str, delta: i64) {
        let counted = match self.prepares {
            true => self.session.incr(id, delta),
            false => self.session.incr_unnamed(id, delta),
        };
        must("counter_incr", counted);
    }

    fn get(&mut self, id: &str) -> i64 {
        let read = match self.prepares {
            true => self.session.get(id),
            false => self.session.get_unnamed(id),
        };
        must("counter_get", read)
    }

    fn delta(&mut self) -> (usize, i64) {
        (self.random.random_range(0..self.ledger.ordinary()), self.random.random_range(1..10))
    }

    fn something(&mut self) {
        match self.random.random_range(0..9) {
            0..=1 => {
                let (counter, delta) = self.delta();
                let attempt = self.ledger.attempt(&[(counter, delta)]);
                let id = self.ledger.id(counter);
                self.incr(id, delta);
                attempt.acknowledged();
            }
            2 => {
                let (counter, _) = self.delta();
                let before = self.ledger.before(counter);
                let value = self.get(self.ledger.id(counter));
                self.ledger.check(counter, before, 0, value, "counter_get through the pooler");
            }
            3..=5 => self.transaction(),
            6 => self.named(),
            7 => {
                // Nobody is named: the session's user.
                self.incr(&format!("plain:{}", self.number), 1);
            }
            _ => self.session_settings(),
        }
    }

    /// Statement by statement, so that the pooler has to keep the connection for it.
    fn transaction(&mut self) {
        let mode = *["slotted", "buffered"].choose(&mut self.random).expect("a mode");
        self.session.must(&format!("BEGIN; SET LOCAL counter_ext.mode = '{mode}'"));
        let mut kept = Vec::new();
        for _ in 0..self.random.random_range(1..=3) {
            let (counter, delta) = self.delta();
            let before = self.ledger.before(counter);
            let own: i64 = kept.iter().filter(|(other, _)| *other == counter).map(|(_, delta)| delta).sum();
            self.session.must("SAVEPOINT s");
            let id = self.ledger.id(counter);
            self.incr(id, delta);
            let value = self.get(id);
            self.ledger.check(counter, before, own + delta, value, "counter_get in a transaction");
            if self.random.random_bool(0.3) {
                self.session.must("ROLLBACK TO s");
            } else {
                kept.push((counter, delta));
            }
        }
        if self.random.random_bool(0.2) {
            return self.session.must("ROLLBACK");
        }
        let attempt = self.ledger.attempt(&kept);
        self.session.must("COMMIT");
        attempt.acknowledged();
    }

    /// For one transaction it says who acts, in one of the ways there are.
    fn named(&mut self) {
        let number = self.number;
        let ways = [
            format!("SET LOCAL counter_ext.actor = 'client {number}'"),
            format!("SELECT set_config('counter_ext.actor', 'client {number}', false)"),
        ];
        let way = ways.choose(&mut self.random).expect("a way").clone();
        self.session.must(&format!("BEGIN; {way}"));
        self.incr(&format!("paid:{number}"), 1);
        self.session.must(["COMMIT", "ROLLBACK"].choose(&mut self.random).expect("an end"));
    }

    /// What a client tries to leave behind.
    fn session_settings(&mut self) {
        let number = self.number;
        match self.random.random_range(0..3) {
            0 => assert_sqlstate(
                "SET",
                self.session.run(&format!("SET counter_ext.actor = 'client {number}'")),
                "55P02",
            ),
            1 => self.session.must(&format!(
                "SELECT counter_incr('paid:{number}', 1, actor => 'client {number}'), set_config('counter_ext.actor', 'client {number}', false)"
            )),
            // A pooler of that version does not know that it takes away what others have prepared.
            _ if self.prepares => self.session.must("DISCARD PLANS; RESET ALL"),
            _ => self.session.must("DISCARD PLANS; DISCARD TEMP; UNLISTEN *; RESET ALL"),
        }
    }
}

fn must<T>(what: &str, result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {}", describe(&error)))
}

#[test]
fn counts_are_exact_and_actors_are_whoever_acts() {
    let cluster = Cluster::start(Settings::restless());
    let Some(pooler) = Pooler::start(&cluster, CONNECTIONS) else { return };
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    session.must("RESET counter_ext.mode");
    session.must("SELECT counter_audit('paid:', true)");
    session.must("SELECT counter_audit('plain:', true)");
    let ledger = Ledger::new("pooled", 10);
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let (pooler, ledger, stop, done) = (&pooler, &ledger, &stop, &done);
        let _ending = Ending(stop);
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let _ending = Ending(stop);
                let mut client = Client::new(pooler, ledger, number);
                while !stop.load(SeqCst) {
                    client.something();
                    done.fetch_add(1, SeqCst);
                }
            });
        }
        thread::sleep(load_time(2.0));
    });
    println!("PgBouncer {:?}: {} things done", pooler.version(), done.load(SeqCst));
    assert!(done.load(SeqCst) > 100);
    let shared: i64 = session.value(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
    assert!(shared <= CONNECTIONS as i64, "{CLIENTS} clients had {shared} connections");
    assert_clean(&pooler.address());
    ledger.settle_buffered(&mut session, "through the pooler");
    assert_named(&mut session);
    drop(pooler);
    cluster.finish();
}

/// PgBouncer keeps its connections, so what a client has left on one is there still.
fn assert_clean(address: &Address) {
    let mut each: Vec<Session> = (0..CONNECTIONS).map(|_| address.connect_with("BEGIN")).collect();
    for session in &mut each {
        let left: String = session.value_unnamed(
            "SELECT current_setting('counter_ext.actor') || current_setting('counter_ext.mode')",
        );
        assert_eq!(left, "slotted", "left behind on a connection");
        session.must("COMMIT");
    }
}

fn assert_named(session: &mut Session) {
    session.must("SELECT counter_compact()");
    let entries = "(SELECT id, actor FROM counter_ext.audit_pending UNION ALL SELECT id, actor FROM counter_ext.audit_log) AS entries";
    let by_prefix: Vec<(String, i64)> = session
        .pairs(&format!("SELECT split_part(id, ':', 1), count(*) FROM {entries} GROUP BY 1 ORDER BY 1"));
    println!("{by_prefix:?}");
    assert_eq!(by_prefix.len(), 2, "both kinds of entries");
    let wrong: Vec<(String, String)> = session.pairs(&format!(
        "SELECT DISTINCT id, actor FROM {entries}
         WHERE actor <> CASE WHEN id LIKE 'paid:%' THEN 'client ' || substr(id, 6) ELSE session_user END"
    ));
    assert!(wrong.is_empty(), "entries that name the wrong actor: {wrong:?}");
    let unsound: i64 = session.value(
        "SELECT count(*) FROM counters, counter_audit_verify(id) AS v WHERE id ~ '^(paid|plain):' AND v.ok IS NOT true",
    );
    assert_eq!(unsound, 0, "the log against the totals");
}
