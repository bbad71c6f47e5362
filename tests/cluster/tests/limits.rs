//! Limits under load: never more than the maximum in any window, whoever asks; and what the bot filter does not count is counted as
//! filtered, through rollbacks, crashes, a dump and a standby.

use counter_ext_cluster_tests::cluster::Death;
use counter_ext_cluster_tests::session::{Address, Isolation};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, chance};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: u64 = 16;
const CONFIGURATION_LIMIT: &str = "53400";
const READ_ONLY: &str = "25006";

#[test]
fn a_long_window_gives_exactly_its_maximum() {
    let cluster = Cluster::start(Settings::preloaded());
    let address = cluster.address();
    for max in [1, 64, 5000] {
        let given: i64 = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    let mut session = address.connect();
                    scope.spawn(move || {
                        let allow = format!("counter_allow('hot:{max}', {max}, '1 hour')");
                        (0..5)
                            .map(|_| {
                                session.value::<i64>(&format!(
                                    "SELECT count(*) FILTER (WHERE {allow}) FROM generate_series(1, 400)"
                                ))
                            })
                            .sum::<i64>()
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client")).sum()
        });
        assert_eq!(given, max, "of {} requests", CLIENTS * 5 * 400);
    }
    cluster.finish();
}

/// When a request was made, and when its answer was there: it was granted or refused at some time between them.
type Answer = (Instant, Instant);

/// What was granted, and what was refused.
fn hammer(address: &Address, sql: &str, until: Instant) -> (Vec<Answer>, Vec<Answer>) {
    let mut session = address.connect();
    let (mut grants, mut refusals) = (Vec::new(), Vec::new());
    while Instant::now() < until {
        let before = Instant::now();
        let answers = if session.value::<bool>(sql) { &mut grants } else { &mut refusals };
        answers.push((before, Instant::now()));
    }
    (grants, refusals)
}

#[test]
fn no_window_ever_has_more_than_its_maximum() {
    let cluster = Cluster::start(Settings::preloaded());
    let address = cluster.address();
    const PER: Duration = Duration::from_millis(250);
    // With few it is the exact log; with many, instants are united. These are asked for five at a time, so that clients ask for more than there is also
    // where they are slow.
    for (max, at_once) in [(40, 1), (300, 5)] {
        let sql = &format!("SELECT counter_allow('short:{max}', {max}, '250 ms', {at_once})");
        let until = Instant::now() + load_time(3.0);
        let (grants, refusals): (Vec<_>, Vec<_>) = thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| hammer(&address, sql, until))).collect();
            clients.into_iter().map(|client| client.join().expect("a client")).unzip()
        });
        let mut grants = grants.concat();
        grants.sort();
        for (first, (begun, _)) in grants.iter().enumerate() {
            // All that surely lie within less than one length after this request was made.
            let later = grants[first..].iter().take_while(|(before, _)| *before < *begun + PER);
            let within = later.filter(|(_, after)| *after < *begun + PER).count() * at_once;
            assert!(within <= max, "{within} within {PER:?}");
        }
        // It gives what it may: whenever it refused, the window may have been full, up to how instants are united.
        let refusals = refusals.concat();
        assert!(!refusals.is_empty(), "{CLIENTS} clients ask for far more than {max} within {PER:?}");
        for (begun, ended) in refusals.iter().step_by(refusals.len().div_ceil(1000)) {
            // All that may lie within one length before this request was answered.
            let may_lie_within =
                grants.iter().filter(|(before, after)| *after + PER > *begun && before < ended).count()
                    * at_once;
            assert!(
                may_lie_within as f64 > max as f64 * 0.8,
                "refused after {may_lie_within} within {PER:?}"
            );
        }
    }
    cluster.finish();
}

/// Clients take from some of these keys together, in whatever order, alone, and give back: what is left is what nobody has. Their
/// locks are taken in one order, so no two of them wait for each other.
#[test]
fn limits_are_taken_together_or_not_at_all() {
    const KEYS: usize = 24;
    const MAX: i64 = 500;
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.max_limits", "2048"));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let address = cluster.address();
            thread::spawn(move || take_together(&mut address.connect(), client, KEYS, MAX))
        })
        .collect();
    wait::until("nobody waits for ever", load_time(3.0) + Duration::from_secs(60), || {
        clients.iter().all(thread::JoinHandle::is_finished)
    });
    let mut taken = [0; KEYS];
    for client in clients {
        let of_client = client.join().expect("a client");
        taken.iter_mut().zip(of_client).for_each(|(all, some)| *all += some);
    }
    let mut session = cluster.connect();
    for (key, taken) in taken.iter().enumerate() {
        let left: i64 = session
            .value(&format!("SELECT remaining FROM counter_limit('together:{key}', {MAX}, '1 hour', 0)"));
        assert_eq!(left, MAX - taken, "key {key}");
    }
    assert!(taken.iter().any(|taken| *taken > 0));
    cluster.finish();
}

fn take_together(session: &mut Session, client: u64, keys: usize, max: i64) -> Vec<i64> {
    let mut random = chance::generator(client);
    let mut taken = vec![0; keys];
    let until = Instant::now() + load_time(3.0);
    while Instant::now() < until {
        let chosen: Vec<usize> =
            (0..random.random_range(1..12)).map(|_| random.random_range(0..keys)).collect();
        let list = |each: &dyn Fn(&usize) -> String| {
            format!("'{{{}}}'", chosen.iter().map(each).collect::<Vec<_>>().join(","))
        };
        let cost = random.random_range(1..4i64);
        let arguments = format!(
            "{}, {}, {}, {}",
            list(&|key| format!("together:{key}")),
            list(&|_| max.to_string()),
            list(&|_| "1 hour".to_owned()),
            list(&|_| cost.to_string())
        );
        if !session.value::<bool>(&format!("SELECT counter_allow_all({arguments})")) {
            continue;
        }
        chosen.iter().for_each(|key| taken[*key] += cost);
        if random.random_ratio(1, 2) {
            for key in &chosen {
                session
                    .must(&format!("SELECT counter_limit_refund('together:{key}', {max}, '1 hour', {cost})"));
                taken[*key] -= cost;
            }
        }
        let alone = random.random_range(0..keys);
        if session.value::<bool>(&format!("SELECT counter_allow('together:{alone}', {max}, '1 hour')")) {
            taken[alone] += 1;
        }
    }
    taken
}

#[test]
fn counted_and_filtered_are_all_that_committed() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let mut session = cluster.connect();
    session.must(
        "INSERT INTO counter_ext.policy VALUES ('view:', 20, '1 hour', NULL), ('view:gap', 50, '1 s', '30 ms');
         INSERT INTO counter_ext.blocked VALUES ('actor:1')",
    );
    let ids = ["view:a", "view:b", "view:gap:a"];
    let mut attempted = [0i64; 3];
    for death in [None, Some(Death::Everything)] {
        let address = cluster.address();
        let committed: Vec<[i64; 3]> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let mut session = address.connect();
                    scope.spawn(move || view(&mut session, client, &ids))
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        for of_client in committed {
            for (all, some) in attempted.iter_mut().zip(of_client) {
                *all += some;
            }
        }
        if let Some(death) = death {
            cluster.die(death);
            cluster.start_again();
        }
        let mut session = cluster.connect();
        for (id, attempted) in ids.iter().zip(attempted) {
            let counted = session.get(id).expect("get");
            let filtered: i64 = session.value(&format!("SELECT counter_filtered('{id}')"));
            assert_eq!(counted + filtered, attempted, "{id}: {counted} counted, {filtered} filtered");
            assert!(counted > 0 && filtered > 0, "{id}: {counted} counted, {filtered} filtered");
        }
    }
    // Windows begin anew with the server.
    let mut session = cluster.connect();
    assert_eq!(session.value::<i64>("SELECT limits_in_use FROM counter_stats"), 0);
    assert!(!session.value::<bool>("SELECT counter_incr_from('view:a', 'actor:1')"), "still blocked");
    cluster.finish_allowing(&["was terminated by signal 9"]);
}

/// Views of several actors, at every isolation level and in both modes; some roll back. What committed, by id.
fn view(session: &mut Session, client: u64, ids: &[&str; 3]) -> [i64; 3] {
    let mut random = chance::generator(client);
    let mut committed = [0; 3];
    let until = Instant::now() + load_time(2.0);
    while Instant::now() < until {
        let begin = Isolation::ALL.choose(&mut random).expect("a level").begin();
        let mode = ["slotted", "buffered"].choose(&mut random).expect("a mode");
        session.must(&format!("{begin}; SET LOCAL counter_ext.mode = '{mode}'"));
        let mut of_transaction = [0; 3];
        for _ in 0..random.random_range(1..4) {
            let which = random.random_range(0..ids.len());
            let (delta, actor) = (random.random_range(1..5), random.random_range(0..6));
            let call = format!("SELECT counter_incr_from('{}', 'actor:{actor}', {delta})", ids[which]);
            if random.random_ratio(1, 5) {
                session.must(&format!("SAVEPOINT s; {call}; ROLLBACK TO s"));
            } else {
                session.must(&call);
                of_transaction[which] += delta;
            }
        }
        if random.random_ratio(1, 5) {
            session.must("ROLLBACK");
        } else {
            session.must("COMMIT");
            committed.iter_mut().zip(of_transaction).for_each(|(all, some)| *all += some);
        }
    }
    committed
}

#[test]
fn a_policy_holds_for_others_as_soon_as_it_is_committed() {
    let cluster = Cluster::start(Settings::preloaded());
    let (mut owner, mut viewer) = (cluster.connect(), cluster.connect());
    const VIEW: &str = "SELECT counter_incr_from('now:a', 'x')";
    assert!(viewer.value::<bool>(VIEW));
    // Also in a transaction that began before, whatever its snapshot sees.
    viewer.must("BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(viewer.value::<bool>(VIEW));
    for round in 0..20 {
        owner.must("BEGIN; INSERT INTO counter_ext.policy VALUES ('now:', 0, '1 s', NULL)");
        assert!(viewer.value::<bool>(VIEW), "not before it is committed, {round}");
        owner.must("COMMIT");
        assert!(!viewer.value::<bool>(VIEW), "committed, {round}");
        owner.must("UPDATE counter_ext.policy SET max_per_actor = NULL, per = NULL");
        assert!(viewer.value::<bool>(VIEW), "changed, {round}");
        owner.must("DELETE FROM counter_ext.policy; INSERT INTO counter_ext.blocked VALUES ('x')");
        assert!(!viewer.value::<bool>(VIEW), "blocked, {round}");
        owner.must("BEGIN; DELETE FROM counter_ext.blocked; PREPARE TRANSACTION 'unblock'");
        assert!(!viewer.value::<bool>(VIEW), "prepared, {round}");
        owner.must("COMMIT PREPARED 'unblock'");
        assert!(viewer.value::<bool>(VIEW), "unblocked, {round}");
    }
    viewer.must("COMMIT");
    assert_eq!(
        viewer.get("now:a").expect("get") + viewer.value::<i64>("SELECT counter_filtered('now:a')"),
        122
    );
    // The extension goes, and comes again, without policies.
    owner.must("INSERT INTO counter_ext.blocked VALUES ('x')");
    assert!(!viewer.value::<bool>(VIEW));
    owner.must("DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext");
    assert!(viewer.value::<bool>(VIEW));
    owner.must("INSERT INTO counter_ext.blocked VALUES ('x')");
    assert!(!viewer.value::<bool>(VIEW));
    cluster.finish();
}

#[test]
fn a_blocked_network_has_no_visitors_as_soon_as_it_is_committed() {
    let cluster = Cluster::start(Settings::preloaded());
    let (mut owner, mut viewer) = (cluster.connect(), cluster.connect());
    let mut hosts = 1..255;
    let mut is_new = |viewer: &mut Session| {
        let host = hosts.next().expect("a host");
        viewer.value::<bool>(&format!("SELECT counter_visit('now:v', '10.0.0.{host}', 1)"))
    };
    assert!(is_new(&mut viewer));
    viewer.must("BEGIN ISOLATION LEVEL REPEATABLE READ");
    for round in 0..20 {
        owner.must("BEGIN; INSERT INTO counter_ext.blocked (network) VALUES ('10.0.0.0/24')");
        assert!(is_new(&mut viewer), "not before it is committed, {round}");
        owner.must("COMMIT");
        assert!(!is_new(&mut viewer), "committed, {round}");
        owner.must("UPDATE counter_ext.blocked SET until = '-infinity'");
        assert!(is_new(&mut viewer), "changed, {round}");
        owner.must("DELETE FROM counter_ext.blocked");
        assert!(is_new(&mut viewer), "deleted, {round}");
    }
    viewer.must("COMMIT");
    assert_eq!(viewer.value::<i64>("SELECT counter_visitors('now:v')"), 61);
    assert_eq!(viewer.get("now:v").expect("get"), 61);
    assert_eq!(viewer.value::<i64>("SELECT counter_filtered('now:v')"), 20);
    // The extension goes, and comes again, without a list.
    owner.must("INSERT INTO counter_ext.blocked (network) VALUES ('10.0.0.0/24')");
    assert!(!is_new(&mut viewer));
    owner.must("DROP EXTENSION counter_ext; CREATE EXTENSION counter_ext");
    assert!(is_new(&mut viewer));
    owner.must("INSERT INTO counter_ext.blocked (network) VALUES ('10.0.0.0/24')");
    assert!(!is_new(&mut viewer));
    cluster.finish();
}

#[test]
fn a_full_table_refuses_newcomers_only_while_all_in_it_are_over_their_limits() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.max_limits", "64"));
    let mut session = cluster.connect();
    let twice = |key: &str, period: &str| {
        format!("SELECT counter_allow({key}, 1, '{period}') AND counter_allow({key}, 1, '{period}')")
    };
    session.must(&format!("{} FROM generate_series(1, 64) n", twice("'old:' || n", "15 s")));
    const NEW: &str = "SELECT counter_allow('new', 1, '1 s')";
    assert_sqlstate("counter_allow", session.run(NEW), CONFIGURATION_LIMIT);
    assert!(!session.value::<bool>("SELECT counter_allow('old:1', 1, '15 s')"), "those that are there stay");
    assert_sqlstate(
        "counter_allow",
        session.run("SELECT counter_allow('new', 1, '1 s', 0)"),
        CONFIGURATION_LIMIT,
    );
    // A view that nobody can tell about counts as filtered.
    session.must("INSERT INTO counter_ext.policy VALUES ('', 5, '1 s', NULL)");
    assert!(!session.value::<bool>("SELECT counter_incr_from('a', 'x')"));
    assert_eq!(session.value::<i64>("SELECT counter_filtered('a')"), 1);
    assert_eq!(session.value::<i64>("SELECT limits_in_use FROM counter_stats"), 64);
    assert_eq!(session.value::<i64>("SELECT limits_refused FROM counter_stats"), 3);
    wait::until("there is room again", Duration::from_secs(60), || session.run(NEW).is_ok());
    assert!(session.value::<bool>("SELECT counter_incr_from('a', 'x')"));
    // Those that are seen once make room for others, also where they have used all of their limit at once.
    session.must("UPDATE counter_ext.policy SET max_per_actor = NULL, per = NULL, min_interval = '1 hour'");
    session.must("SELECT counter_incr_from('b', 'actor:' || n) FROM generate_series(1, 3000) n");
    assert_eq!(session.get("b").expect("get"), 3000);
    cluster.finish();
}

#[test]
fn a_million_keys_fit_and_a_flood_of_more_locks_nobody_out_and_lets_nobody_off() {
    // What a server has where nobody sets it.
    let cluster = Cluster::start(Settings::preloaded().with("shared_buffers", "128MB"));
    let mut session = cluster.connect();
    assert!(session.value::<bool>("SELECT counter_allow('over', 3, '1 day', 3)"));
    assert!(!session.value::<bool>("SELECT counter_allow('over', 3, '1 day')"));
    let mut flood = |from: i64, to: i64| -> i64 {
        session.value(&format!(
            "SELECT count(*) FILTER (WHERE counter_allow('flood:' || n, 2, '1 day')) FROM generate_series({from}, {to}) n"
        ))
    };
    assert_eq!(flood(1, 1_000_000), 1_000_000);
    let mut other = cluster.connect();
    assert_eq!(other.value::<i64>("SELECT limits_in_use FROM counter_stats"), 1_000_001);
    assert!(other.value::<i64>("SELECT memory_bytes FROM counter_stats") < 128 << 20);
    let remembered = "SELECT sum(remaining)::bigint FROM generate_series(1, 1000000, 1000) n, counter_limit('flood:' || n, 2, '1 day', 0)";
    assert_eq!(other.value::<i64>(remembered), 1000, "each is known");
    // Past that, those who have used least go.
    assert_eq!(flood(1_000_001, 1_300_000), 300_000);
    assert!(!other.value::<bool>("SELECT counter_allow('over', 3, '1 day')"));
    let newcomer =
        "SELECT count(*) FILTER (WHERE counter_allow('newcomer', 5, '1 day')) FROM generate_series(1, 9)";
    assert_eq!(other.value::<i64>(newcomer), 5);
    assert_eq!(other.value::<i64>("SELECT limits_refused FROM counter_stats"), 0);
    cluster.finish();
}

#[test]
fn a_flood_in_one_database_leaves_room_for_the_others() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.max_limits", "64"));
    let mut session = cluster.connect();
    session.must("CREATE DATABASE other");
    let mut other = cluster.connect_to("other");
    other.must("CREATE EXTENSION counter_ext");
    // Each key goes over its limit, and stays.
    const FLOOD: &str = "DO $$ BEGIN FOR n IN 1..2000 LOOP
            BEGIN PERFORM counter_allow('flood:' || n, 1, '31 days'), counter_allow('flood:' || n, 1, '31 days');
            EXCEPTION WHEN configuration_limit_exceeded THEN NULL; END;
        END LOOP; END $$";
    session.must(FLOOD);
    assert_sqlstate(
        "counter_allow",
        session.run("SELECT counter_allow('new', 1, '1 s')"),
        CONFIGURATION_LIMIT,
    );
    // The other database's newcomers have a place, and are limited rightly.
    for user in 0..10 {
        let allowed = format!(
            "SELECT count(*) FILTER (WHERE counter_allow('user:{user}', 3, '1 hour')) FROM generate_series(1, 9)"
        );
        assert_eq!(other.value::<i64>(&allowed), 3, "user {user}");
    }
    // Minimum intervals too.
    for session in [&mut session, &mut other] {
        session.must("INSERT INTO counter_ext.policy VALUES ('', NULL, NULL, '31 days')");
    }
    session.must("SELECT counter_incr_from('b', 'actor:' || n) FROM generate_series(1, 500) n");
    assert_eq!(session.get("b").expect("get"), 0, "whoever cannot be remembered does not count");
    other.must("SELECT counter_incr_from('b', 'actor:' || n) FROM generate_series(1, 50) n");
    assert_eq!(other.get("b").expect("get"), 50);
    for user in 0..10 {
        let allowed = format!("SELECT counter_allow('user:{user}', 3, '1 hour')");
        assert!(!other.value::<bool>(&allowed), "user {user} is still over");
    }

    // The flooder's database goes, and its windows with it.
    drop(session);
    other.must("CREATE DATABASE third");
    let mut third = cluster.connect_to("third");
    third.must("CREATE EXTENSION counter_ext");
    third.must(FLOOD);
    let in_use = |session: &mut Session| session.value::<i64>("SELECT limits_in_use FROM counter_stats");
    let before = in_use(&mut other);
    drop(third);
    other.must("DROP DATABASE third");
    wait::until("the windows of a database that is gone are free", Duration::from_secs(30), || {
        in_use(&mut other) < before
    });
    cluster.finish();
}

#[test]
fn a_database_begins_with_nothing_whose_number_another_one_had() {
    let cluster = Cluster::start(Settings::preloaded());
    let mut admin = cluster.connect();
    for round in 0..3 {
        admin.must("CREATE DATABASE again OID = 77777");
        let mut session = cluster.connect_to("again");
        session.must("CREATE EXTENSION counter_ext");
        let allowed =
            "SELECT count(*) FILTER (WHERE counter_allow('k', 2, '1 day')) FROM generate_series(1, 5)";
        assert_eq!(session.value::<i64>(allowed), 2, "round {round}");
        session.must("INSERT INTO counter_ext.policy VALUES ('', NULL, NULL, '1 day')");
        assert!(session.value::<bool>("SELECT counter_incr_from('a', 'x')"), "round {round}");
        assert!(!session.value::<bool>("SELECT counter_incr_from('a', 'x')"), "round {round}");
        assert!(session.visit("v", 1).expect("visit"), "round {round}");
        session.incr("a", 4).expect("increment");
        assert_eq!(session.get("a").expect("get"), 5, "round {round}");
        assert_eq!(session.visitors("v").expect("visitors"), 1, "round {round}");
        drop(session);
        admin.must("DROP DATABASE again");
    }
    cluster.finish();
}

#[test]
fn the_longest_period_is_a_setting() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.max_limit_period", "366d"));
    let mut session = cluster.connect();
    assert!(session.value::<bool>("SELECT counter_allow('month', 1, '12 months')"));
    assert!(
        !session.value::<bool>("SELECT counter_allow('month', 1, '8766 hours')"),
        "a year is 365.25 days"
    );
    assert_sqlstate("counter_allow", session.run("SELECT counter_allow('k', 1, '367 days')"), "22023");
    cluster.finish();
}

#[test]
fn a_standby_limits_and_a_dump_keeps_policies() {
    let primary = Cluster::start(Settings::preloaded());
    let mut session = primary.connect();
    session.must(
        "INSERT INTO counter_ext.policy VALUES ('', 1, '1 day', '1 min');
         INSERT INTO counter_ext.blocked VALUES ('bot', 'why', '2100-01-01');
         INSERT INTO counter_ext.blocked (network) VALUES ('10.1.0.0/16')",
    );
    session.must("SELECT counter_incr_from('page', 'bot', 7), counter_incr_from('page', 'ann', 2)");
    let standby = primary.standby();
    let mut on_standby = standby.connect();
    let allowed =
        "SELECT count(*) FILTER (WHERE counter_allow('standby', 3, '1 hour')) FROM generate_series(1, 9)";
    assert_eq!(on_standby.value::<i64>(allowed), 3);
    assert_eq!(session.value::<i64>(allowed), 3, "each server has its own");
    let told = "SELECT array_agg(remaining) FROM counter_limit_all('{standby,standby}', '{3,5}', '{1 hour,2 hours}', '{0,2}')";
    assert_sqlstate("limit", on_standby.run("SELECT counter_limit('standby', 3, '0')"), "22023");
    assert_eq!(on_standby.value::<Vec<i64>>(told), [0, 5], "refused, so nothing is taken");
    assert_eq!(on_standby.value::<i64>("SELECT counter_limit_refund('standby', 3, '1 hour', 2)"), 2);
    assert_eq!(on_standby.value::<Vec<i64>>(told), [2, 3]);
    assert!(on_standby.value::<bool>("SELECT counter_limit_reset('standby')"));
    assert_sqlstate("counter_incr_from", on_standby.run("SELECT counter_incr_from('page', 'x')"), READ_ONLY);
    wait::until("the standby catches up", Duration::from_secs(30), || {
        on_standby.value("SELECT counter_filtered('page') = 7")
    });
    standby.finish();

    let script = primary.file("dump.sql");
    primary.tool("pg_dump", &["--file", &script]);
    let copy = Cluster::start(Settings::preloaded().without_extension());
    copy.tool("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--file", &script]);
    let mut session = copy.connect();
    assert_eq!(session.value::<i64>("SELECT counter_filtered('page')"), 7);
    assert_eq!(session.get("page").expect("get"), 2);
    assert!(!session.value::<bool>("SELECT counter_incr_from('page', 'bot')"), "blocked");
    assert!(!session.value::<bool>("SELECT counter_incr_from('page', '10.1.2.3')"), "in a blocked network");
    assert!(session.value::<bool>("SELECT counter_incr_from('page', 'ann')"), "windows are not dumped");
    assert!(!session.value::<bool>("SELECT counter_incr_from('page', 'ann')"), "the policy is");
    primary.finish();
    copy.finish();
}
