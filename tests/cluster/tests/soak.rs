//! All features at once, while anything dies at any time: `make soak MINUTES=30`. Nothing that was acknowledged is lost, nothing counts
//! twice, no read is impossible, and what one family says agrees with what another says of the same.
//!
//! COUNTER_EXT_SOAK_SECONDS is how long it goes on (20 otherwise), COUNTER_EXT_TEST_SEED repeats its random choices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use counter_ext_cluster_tests::buffered::MIXED;
use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::history::{self, Kind, Operation};
use counter_ext_cluster_tests::load::{Ending, pause};
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{assert_excused, is_end};
use counter_ext_cluster_tests::{
    Address, Cluster, Ledger, Session, Settings, Traffic, chance, under_load, wait, watch,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(30);
const FIRST_ACTOR: u64 = 2_000_000;
/// Statements of the soak that a fault may end otherwise than by the session's end: locks that a dead transaction still seems to hold,
/// a database in use, a worker that is not there yet. No deadlock: docs/limits.md says what may meet in one, and nothing of that is here.
const EXCUSED: &[&str] = &["55P03", "55006", "57014", "55000"];
const ITEMS: usize = 4;
const PARENTS: i32 = 5;

fn seconds() -> u64 {
    std::env::var("COUNTER_EXT_SOAK_SECONDS")
        .ok()
        .map_or(20, |text| text.parse().expect("a number of seconds"))
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_whatever_dies() {
    let until = Instant::now() + Duration::from_secs(seconds());
    let settings = Settings::restless()
        .with("fsync", "on")
        .with("checkpoint_timeout", "30s")
        .with("max_connections", "120");
    let mut random = chance::generator(0);
    let mut round = 0;
    // A new server now and then: no server lives as long as a soak may.
    while Instant::now() < until || round == 0 {
        let mut cluster = Cluster::start(settings.clone());
        set_up(&mut cluster.connect());
        let (address, ledger, soak) = (cluster.address(), Ledger::new("soak", 8), Soak::default());
        let server_until = until.min(Instant::now() + Duration::from_secs(150));
        while Instant::now() < server_until || round == 0 {
            round += 1;
            let fault = *Fault::ALL.choose(&mut random).expect("a fault");
            println!("round {round}: {fault:?}");
            let traffic = Traffic {
                clients: 6,
                readers: 0,
                survives_crashes: true,
                client_set_up: MIXED.to_owned(),
                ..Traffic::default()
            };
            under_load(&address, &ledger, &traffic, |stop| {
                beside(&soak, &address, round, stop, || {
                    pause(stop, Duration::from_millis(random.random_range(1500..4000)));
                    fault.happen(&mut cluster, &mut random);
                    cluster.wait_until_it_answers();
                    pause(stop, Duration::from_millis(random.random_range(500..2000)));
                });
            });
            let mut session = cluster.connect();
            ledger.settle_buffered(&mut session, &format!("round {round}"));
            soak.settle(&mut session, &ledger);
        }
        soak.tell();
        cluster.finish_allowing(&["was terminated by signal 9"]);
    }
}

fn set_up(session: &mut Session) {
    session.must(
        "SELECT counter_track('soak:', resolutions => '{minute,hour}', keep => '{2 days,forever}');
         SELECT counter_board('soak:');
         SELECT counter_watch('soak:', 'soak');
         SELECT counter_audit('audited:', true);
         CREATE TABLE child (n bigserial PRIMARY KEY, parent int NOT NULL);
         SELECT counter_cache('child', 'child:', 'parent')",
    );
    watch::wait_until_buffered(session);
}

/// Runs the body while every actor is at work.
fn beside(soak: &Soak, address: &Address, round: u64, stop: &AtomicBool, body: impl FnOnce()) {
    thread::scope(|scope| {
        let _ends = Ending(stop);
        let actors: [fn(&Soak, &mut Actor<'_>); 7] = [
            Soak::likes,
            Soak::visits,
            Soak::applies,
            Soak::children,
            Soak::history,
            Soak::history,
            Soak::odd_jobs,
        ];
        for (number, act) in actors.into_iter().enumerate() {
            scope.spawn(move || {
                let _ends = Ending(stop);
                let random = chance::generator(FIRST_ACTOR + round * 100 + number as u64);
                let mut actor = Actor { address, session: None, random, stop };
                while !stop.load(SeqCst) {
                    act(soak, &mut actor);
                }
            });
        }
        body();
        // The actors end before the scope does.
        stop.store(true, SeqCst);
    });
}

/// Whoever works on a server that may die.
struct Actor<'a> {
    address: &'a Address,
    session: Option<Session>,
    random: StdRng,
    stop: &'a AtomicBool,
}

impl Actor<'_> {
    /// `None`: the session is lost, and nobody knows whether it was done.
    fn try_to<T>(
        &mut self,
        what: &str,
        act: impl FnOnce(&mut Session) -> Result<T, postgres::Error>,
    ) -> Option<T> {
        let set_up = self.session.is_none();
        let session = self.address.connected(&mut self.session)?;
        let result = if set_up { session.run(MIXED).and_then(|()| act(session)) } else { act(session) };
        match result {
            Ok(value) => Some(value),
            Err(error) if is_end(&error) => {
                self.session = None;
                None
            }
            Err(error) => {
                assert_excused(&error, EXCUSED, what);
                None
            }
        }
    }
}

/// What the actors know of what they did.
#[derive(Default)]
struct Soak {
    /// Item and actor, and whether the like is there; those of which nobody knows are not in it.
    liked: Mutex<BTreeMap<(usize, u32), bool>>,
    visited: Mutex<(BTreeSet<i32>, BTreeSet<i32>)>,
    /// How far the batches of the source are acknowledged, and what they came to.
    applied: Mutex<(i64, i64)>,
    clock: Clock,
    operations: Mutex<Vec<Operation>>,
    faults: AtomicU64,
    likes_done: AtomicU64,
    children_done: AtomicI64,
    reads: AtomicU64,
}

struct Clock(Instant);

impl Default for Clock {
    fn default() -> Clock {
        Clock(Instant::now())
    }
}

impl Clock {
    fn now(&self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

impl Soak {
    fn likes(&self, actor: &mut Actor<'_>) {
        let (item, who) = (actor.random.random_range(0..ITEMS), actor.random.random_range(0..200));
        let likes = actor.random.random_bool(0.6);
        let function = if likes { "counter_like" } else { "counter_unlike" };
        let sql = format!("SELECT {function}('item:{item}', '{who}')");
        self.liked.lock().unwrap().remove(&(item, who));
        if actor.try_to(&sql, |session| session.run(&sql)).is_some() {
            self.liked.lock().unwrap().insert((item, who), likes);
            self.likes_done.fetch_add(1, SeqCst);
        }
    }

    fn visits(&self, actor: &mut Actor<'_>) {
        let visitor = actor.random.random_range(0..90);
        self.visited.lock().unwrap().0.insert(visitor);
        if actor.try_to("counter_visit", |session| session.visit("page", visitor)).is_some() {
            self.visited.lock().unwrap().1.insert(visitor);
        }
    }

    /// Batches of a source with offsets: one without an answer is sent again.
    fn applies(&self, actor: &mut Actor<'_>) {
        let (upto, _) = *self.applied.lock().unwrap();
        let (first, last) = (upto + 1, upto + 3);
        let sql = format!("SELECT counter_apply('source', {first}, {last}, '{{a1,a2,a1}}', '{{1,2,3}}')");
        if actor.try_to(&sql, |session| session.run(&sql)).is_some() {
            let mut applied = self.applied.lock().unwrap();
            *applied = (last, applied.1 + 4);
        }
    }

    fn children(&self, actor: &mut Actor<'_>) {
        let parent = actor.random.random_range(0..PARENTS);
        let sql = match actor.random.random_range(0..5) {
            0 => {
                format!("DELETE FROM child WHERE n IN (SELECT n FROM child WHERE parent = {parent} LIMIT 2)")
            }
            1 => format!(
                "UPDATE child SET parent = (parent + 1) % {PARENTS} WHERE n IN (SELECT n FROM child LIMIT 1)"
            ),
            2 => format!("BEGIN; INSERT INTO child (parent) VALUES ({parent}); ROLLBACK"),
            _ => format!("INSERT INTO child (parent) SELECT {parent} FROM generate_series(1, 3)"),
        };
        if actor.try_to(&sql, |session| session.run(&sql)).is_some() {
            self.children_done.fetch_add(1, SeqCst);
        }
    }

    /// One counter that some add to and some read; each operation is written down.
    fn history(&self, actor: &mut Actor<'_>) {
        let begun = self.clock.now();
        let operation = if actor.random.random_bool(0.5) {
            let delta = *[1, 2, 7, -3].choose(&mut actor.random).expect("a delta");
            let done = actor.try_to("counter_incr", |session| session.incr("history", delta));
            Operation { begun, ended: done.map(|()| self.clock.now()), kind: Kind::Increment(delta) }
        } else {
            let Some(value) = actor.try_to("counter_get", |session| session.get("history")) else { return };
            self.reads.fetch_add(1, SeqCst);
            Operation { begun, ended: Some(self.clock.now()), kind: Kind::Read(value) }
        };
        self.operations.lock().unwrap().push(operation);
    }

    /// What else goes on in a database.
    fn odd_jobs(&self, actor: &mut Actor<'_>) {
        let sql = match actor.random.random_range(0..9) {
            0 => "VACUUM counter_ext.total, counter_ext.slot",
            1 => "REINDEX TABLE CONCURRENTLY counter_ext.total",
            2 => "CHECKPOINT",
            3 => "SELECT counter_compact()",
            4 => "BEGIN; SELECT counter_incr('held'); SELECT txid_current(); SELECT pg_sleep(1); COMMIT",
            5 => {
                "SELECT count(*) FROM counters; SELECT * FROM counter_stats; SELECT * FROM counter_board_top('soak:', 5)"
            }
            6 => {
                "SELECT counter_allow('limited', 5, '10 s') FROM generate_series(1, 10); SELECT counter_trending('soak:', '5 minutes', 3)"
            }
            7 => {
                "LISTEN soak; SELECT counter_incr('audited:1', 3); SELECT counter_board_incr('soak:', '0', 0)"
            }
            _ => "ANALYZE; DISCARD ALL",
        };
        if let Some(session) = actor.address.connected(&mut actor.session)
            && let Err(error) = sql.split("; ").try_for_each(|statement| session.run(statement))
        {
            actor.session = None;
            assert_excused(&error, EXCUSED, sql);
        }
        pause(actor.stop, Duration::from_millis(50));
    }

    /// Nobody is at work, and everything is folded.
    fn settle(&self, session: &mut Session, ledger: &Ledger) {
        self.faults.fetch_add(1, SeqCst);
        for ((item, who), is_liked) in self.liked.lock().unwrap().iter() {
            let sql = format!("SELECT counter_liked('item:{item}', '{who}')");
            assert_eq!(session.value::<bool>(&sql), *is_liked, "like of {item} by {who}");
        }
        for item in 0..ITEMS {
            let sql = format!(
                "SELECT counter_likes('item:{item}'), (SELECT count(*) FROM counter_ext.liked WHERE item = 'item:{item}')"
            );
            let (number, rows) = session.pairs::<i64, i64>(&sql)[0];
            assert_eq!(number, rows, "likes of {item}");
        }
        {
            let visited = self.visited.lock().unwrap();
            let seen = session.visitors("page").expect("counter_visitors");
            let (acknowledged, attempted) = (visited.1.len() as i64, visited.0.len() as i64);
            assert!(
                (acknowledged..=attempted).contains(&seen),
                "{acknowledged} <= {seen} <= {attempted} visitors"
            );
        }
        {
            // A batch that nobody was told of counts from when it is sent again at the latest.
            let mut applied = self.applied.lock().unwrap();
            let (first, last) = (applied.0 + 1, applied.0 + 3);
            session.must(&format!(
                "SELECT counter_apply('source', {first}, {last}, '{{a1,a2,a1}}', '{{1,2,3}}')"
            ));
            *applied = (last, applied.1 + 4);
            assert_eq!(session.get("a1").expect("counter_get"), applied.1, "batches of a source");
        }
        for parent in 0..PARENTS {
            let sql = format!(
                "SELECT coalesce(counter_get('child:{parent}'), 0), (SELECT count(*) FROM child WHERE parent = {parent})"
            );
            let (cached, rows) = session.pairs::<i64, i64>(&sql)[0];
            assert_eq!(cached, rows, "rows of parent {parent}");
        }
        self.settle_history(session);
        self.settle_series_and_board(session, ledger);
        let problems = "SELECT concat(problem), 0::bigint FROM counter_audit_verify() WHERE ok IS NOT TRUE";
        assert_eq!(session.pairs::<String, i64>(problems), [], "what the audit says");
    }

    fn settle_history(&self, session: &mut Session) {
        let mut operations = self.operations.lock().unwrap();
        let begun = self.clock.now();
        let value = session.get("history").expect("counter_get");
        operations.push(Operation { begun, ended: Some(self.clock.now()), kind: Kind::Read(value) });
        history::check(&operations)
            .unwrap_or_else(|wrong| panic!("no order of the increments explains {wrong:?}"));
        // What was in doubt is known now: one increment stands for all until here.
        *operations = vec![Operation { begun: 0, ended: Some(0), kind: Kind::Increment(value) }];
        if value == 0 {
            operations.clear();
        }
    }

    fn settle_series_and_board(&self, session: &mut Session, ledger: &Ledger) {
        for id in ledger.ids() {
            let sql = format!(
                "SELECT counter_total('{id}', 'yesterday', 'tomorrow')::bigint, counter_get_exact('{id}')"
            );
            let (series, total) = session.pairs::<i64, i64>(&sql)[0];
            assert_eq!(series, total, "sum over the series of {id}");
        }
        session.compact().expect("counter_compact");
        wait::until("the board ranks as sorting does", SOON, || {
            session.value(
                "SELECT coalesce(bool_and(counter_board_rank('soak:', member) = rank), true) FROM (
                     SELECT substr(id::text, 6) AS member, rank() OVER (ORDER BY sum(value) DESC) AS rank
                     FROM counter_ext.total WHERE id >= 'soak:' AND id < 'soak;' GROUP BY id) AS sorted",
            )
        });
    }

    fn tell(&self) {
        println!(
            "{} rounds; {} likes, {} changes of children, {} batches applied, {} reads of the history checked, each round settled",
            self.faults.load(SeqCst),
            self.likes_done.load(SeqCst),
            self.children_done.load(SeqCst),
            self.applied.lock().unwrap().0 / 3,
            self.reads.load(SeqCst)
        );
    }
}

/// What happens to the server.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Backend,
    Compactor,
    Launcher,
    PausedCompactor,
    TerminatedBackends,
    Restart,
    Death(Death),
}

impl Fault {
    const ALL: [Fault; 10] = [
        Fault::Backend,
        Fault::Backend,
        Fault::Compactor,
        Fault::Launcher,
        Fault::PausedCompactor,
        Fault::TerminatedBackends,
        Fault::Restart,
        Fault::Death(Death::Postmaster),
        Fault::Death(Death::Everything),
        Fault::Death(Death::Immediate),
    ];

    fn happen(self, cluster: &mut Cluster, random: &mut StdRng) {
        match self {
            Fault::Backend => {
                let lot = random.random_range(0..1000);
                cluster.kill_one(SOON, |session| watch::some_client(session, lot));
            }
            Fault::Compactor => cluster.kill_one(SOON, watch::compactor),
            Fault::Launcher => cluster.kill_one(SOON, watch::launcher),
            Fault::PausedCompactor => {
                let pid = watch::wait_for_compactor(&mut cluster.connect());
                signal(pid, Signal::STOP);
                thread::sleep(Duration::from_secs(2));
                signal(pid, Signal::CONT);
            }
            Fault::TerminatedBackends => {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
                cluster.connect().value::<i64>(sql);
            }
            Fault::Restart => cluster.restart(),
            Fault::Death(death) => {
                cluster.die(death);
                cluster.start_again();
            }
        }
    }
}
