//! Live totals: whoever listens hears the last value of each counter, whatever dies.

use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::session::{Address, Session, assert_excused};
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Cluster, Settings, chance, watch};
use postgres::Error;
use rand::Rng;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const COUNTERS: u32 = 60;
const SOON: Duration = Duration::from_secs(60);

type Heard = Mutex<HashMap<String, i64>>;

fn totals(payload: &str) -> Vec<(String, i64)> {
    let elements: Vec<Value> = serde_json::from_str(payload).expect("an array of JSON");
    let total = |element: &Value| Some((element["id"].as_str()?.to_owned(), element["value"].as_i64()?));
    elements.iter().map(|element| total(element).expect("an id and a value")).collect()
}

/// LISTEN first, then what there is, after recovery. Errors: the server was killed, or is being recovered still.
fn listen_and_read(
    address: &Address,
    channel: &str,
    prefix: &str,
) -> Result<(Session, Vec<(String, i64)>), Error> {
    let mut session = address.try_connect()?;
    session.run(&format!("LISTEN {channel}"))?;
    session.run("SELECT counter_get('live:0')")?;
    let known = session.try_pairs(&format!("SELECT id, value FROM counter_list('{prefix}', NULL, 1000)"))?;
    Ok((session, known))
}

/// What a page does that shows totals: LISTEN first, then read what there is, then take what comes; after a lost connection all
/// of that again.
fn listen(
    address: &Address,
    channel: &str,
    prefix: &str,
    stop: &AtomicBool,
    heard: &Heard,
    count: &AtomicU64,
) {
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        if session.is_none() {
            let Ok((connected, known)) = listen_and_read(address, channel, prefix) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            session = Some(connected);
            // What was dropped meanwhile is not there any more, and nobody says so again.
            *heard.lock().expect("no panic") = known.into_iter().collect();
        }
        let Some(connected) = &mut session else { continue };
        match connected.notifications(Duration::from_millis(100)) {
            Err(_) => session = None,
            Ok(notifications) => {
                for (name, payload) in notifications {
                    assert_eq!(name, channel);
                    assert!(payload.len() < 8000);
                    count.fetch_add(1, SeqCst);
                    heard.lock().expect("no panic").extend(totals(&payload));
                }
            }
        }
    }
}

fn add(address: &Address, stop: &AtomicBool, actor: u64) {
    let mut random = chance::generator(actor);
    let mut session: Option<Session> = None;
    while !stop.load(SeqCst) {
        let Some(connected) = address.connected(&mut session) else { continue };
        let mode = ["slotted", "buffered"][random.random_range(0..2)];
        let (id, delta) = (random.random_range(0..COUNTERS), random.random_range(1..9));
        let sql = match random.random_range(0..30) {
            0 => format!("SELECT counter_set('live:{id}', {delta})"),
            1 => format!("SELECT counter_drop('live:{id}')"),
            _ => format!("SET counter_ext.mode = '{mode}'; SELECT counter_incr('live:{id}', {delta})"),
        };
        if let Err(error) = connected.run(&sql) {
            assert_excused(&error, &["55000"], &sql);
            session = None;
        }
        thread::sleep(Duration::from_micros(500));
    }
}

#[test]
fn the_last_value_of_every_counter_is_heard_on_two_channels() {
    let mut cluster = Cluster::start(Settings::restless().with("fsync", "on"));
    let address = cluster.address();
    let mut session = cluster.connect();
    watch::wait_until_buffered(&mut session);
    session.must("SELECT counter_watch('live:', 'fast', '0 s'), counter_watch('live:1', 'slow', '0.7 s')");
    drop(session);
    let (ends, stops) = (AtomicBool::new(false), AtomicBool::new(false));
    let (fast, slow) = (Heard::default(), Heard::default());
    let (fasts, slows) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let (address, ends, stops) = (&address, &ends, &stops);
        let (fast, slow, fasts, slows) = (&fast, &slow, &fasts, &slows);
        let _ending = (Ending(ends), Ending(stops));
        scope.spawn(move || listen(address, "fast", "live:", ends, fast, fasts));
        scope.spawn(move || listen(address, "slow", "live:1", ends, slow, slows));
        let adders: Vec<_> = (0..3).map(|actor| scope.spawn(move || add(address, stops, actor))).collect();
        for _ in 0..2 {
            thread::sleep(load_time(2.0));
            // PostgreSQL takes that for a crash of all.
            cluster.kill_one(SOON, watch::compactor);
            cluster.wait_until_it_answers();
        }
        thread::sleep(load_time(2.0));
        stops.store(true, SeqCst);
        adders.into_iter().for_each(|adder| adder.join().expect("an adder"));
        let mut session = cluster.connect();
        watch::wait_until_recovered(&mut session);
        for (name, prefix, heard) in [("fast", "live:", fast), ("slow", "live:1", slow)] {
            wait::until("the last value of every counter is heard", SOON, || {
                let heard = heard.lock().expect("no panic").clone();
                let known: Vec<(String, i64)> =
                    session.pairs(&format!("SELECT id, value FROM counter_list('{prefix}', NULL, 1000)"));
                // What was dropped is heard as 0.
                let is_gone = |id: &String| !known.iter().any(|(other, _)| other == id);
                heard.iter().all(|(id, value)| !is_gone(id) || *value == 0)
                    && known.iter().all(|(id, value)| heard.get(id) == Some(value))
            });
            println!("{name}: {} counters", heard.lock().expect("no panic").len());
        }
        // Nothing changes, nothing is sent.
        thread::sleep(Duration::from_millis(1500));
        let before = (fasts.load(SeqCst), slows.load(SeqCst));
        thread::sleep(Duration::from_millis(1500));
        assert_eq!((fasts.load(SeqCst), slows.load(SeqCst)), before);
        println!("{before:?} notifications");
        assert!(before.0 > before.1 && before.1 > 2);
        ends.store(true, SeqCst);
    });
    cluster.finish_allowing(&["was terminated by signal 9", "Lock on"]);
}

/// More than one payload holds, and no more often than asked for.
#[test]
fn many_totals_are_split_and_come_in_time() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "20ms"));
    let (mut session, mut listener) = (cluster.connect(), cluster.connect());
    session.must("SELECT counter_watch('live:', 'live', '0.5 s')");
    listener.must("LISTEN live");
    session
        .must("SELECT counter_incr('live:' || repeat('x', 200) || n, n) FROM generate_series(1, 2500) AS n");
    let mut heard = HashMap::new();
    wait::until("all is heard", SOON, || {
        let notifications = listener.notifications(Duration::from_millis(100)).expect("a connection");
        for (_, payload) in notifications {
            assert!(payload.len() < 8000);
            heard.extend(totals(&payload));
        }
        heard.len() == 2500
    });
    assert_eq!(heard.values().sum::<i64>(), 2500 * 2501 / 2);
    let mut ticks = 0;
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        session.must("SELECT counter_incr('live:tick')");
        ticks += listener.notifications(Duration::from_millis(5)).expect("a connection").len();
    }
    assert!((2..=7).contains(&ticks), "{ticks} notifications in 3 s, one in 0.5 s at most");
    drop((session, listener));
    cluster.finish();
}

/// Anybody who may count makes an id of bytes that are no character, or of characters that are longer here than in UTF-8: the others are sent
/// all the same.
#[test]
fn what_is_no_utf8_is_sent_too() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "20ms"));
    for (encoding, bytes, sent) in [("WIN1252", "618162", "a\u{FFFD}b"), ("EUC_TW", "8ea2a1a1", "\u{4E42}")] {
        let database = encoding.to_lowercase();
        cluster.connect().must(&format!(
            "CREATE DATABASE {database} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        ));
        let (mut session, mut listener) = (cluster.connect_to(&database), cluster.connect_to(&database));
        session.must("CREATE EXTENSION counter_ext; SELECT counter_watch('', 'live', '0 s')");
        listener.must("LISTEN live");
        session.must(&format!(
            "SELECT counter_incr(convert_from('\\x{bytes}', '{encoding}'));
             SELECT counter_incr(n || convert_from(decode(repeat('{bytes}', 50), 'hex'), '{encoding}')) FROM generate_series(1, 500) AS n"
        ));
        let mut heard = HashMap::new();
        wait::until("all is heard", SOON, || {
            for (_, payload) in listener.notifications(Duration::from_millis(100)).expect("a connection") {
                heard.extend(totals(&payload));
            }
            heard.len() == 501
        });
        assert!(heard.contains_key(sent) && heard.contains_key(&format!("7{}", sent.repeat(50))));
    }
    cluster.finish();
}

/// Without a worker counter_compact sends, with the caller's commit; a restored watch goes on.
#[test]
fn without_preload_and_restored_watches_send() {
    let original = Cluster::start(Settings::without_preload());
    let (mut session, mut listener) = (original.connect(), original.connect());
    listener.must("LISTEN live");
    session.must("SELECT counter_watch('live:', 'live', '1 day')");
    session.must("SELECT counter_incr('live:a', 5)");
    session.must("SELECT counter_compact()");
    let mut heard = Vec::new();
    wait::until("what was compacted is heard", Duration::from_secs(30), || {
        heard.extend(listener.notifications(Duration::from_millis(100)).expect("a connection"));
        !heard.is_empty()
    });
    assert_eq!(heard, [("live".to_owned(), r#"[{"id":"live:a","value":5}]"#.to_owned())]);
    session.must("SELECT counter_incr('live:a', 5)");
    session.must("BEGIN; SELECT counter_compact(); ROLLBACK");
    assert!(listener.notifications(Duration::from_millis(500)).expect("a connection").is_empty());
    let dump = original.file("dump");
    original.tool("pg_dump", &["-Fc", "--file", &dump]);
    let copy = Cluster::start(Settings::restless().without_extension());
    copy.tool("pg_restore", &["--exit-on-error", "-d", "postgres", &dump]);
    let (mut restored, mut listener) = (copy.connect(), copy.connect());
    listener.must("LISTEN live");
    restored.must("SELECT counter_watch('live:', 'live', '0 s'); SELECT counter_incr('live:a', 7)");
    let mut last = String::new();
    wait::until("the restored watch sends", SOON, || {
        let heard = listener.notifications(Duration::from_millis(100)).expect("a connection");
        if let Some((_, payload)) = heard.into_iter().next_back() {
            last = payload;
        }
        last == r#"[{"id":"live:a","value":17}]"#
    });
    drop((session, listener, restored));
    original.finish();
    copy.finish();
}

/// A queue of a few hundred kilobytes, in place of PostgreSQL's 8 GB: the server's own functions, renamed, behind ones that know it. It is as full as the
/// real one is of that much, and refuses what finds no room, in the words and with the code of the server.
const SMALL_QUEUE: &str = "
    ALTER FUNCTION pg_catalog.pg_notify(text, text) RENAME TO pg_notify_of_server;
    ALTER FUNCTION pg_catalog.pg_notification_queue_usage() RENAME TO pg_notification_queue_usage_of_server;
    CREATE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql VOLATILE
        AS 'SELECT least(1, 12000 * pg_catalog.pg_notification_queue_usage_of_server())';
    CREATE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_catalog.pg_notify_of_server($1, $2);
        IF pg_catalog.pg_notification_queue_usage() >= 1 THEN
            RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = 'program_limit_exceeded';
        END IF;
    END $$";

/// A session that listens and stays in a transaction keeps everybody's notifications in the queue, until that is full.
#[test]
fn a_full_queue_stops_nothing_and_the_last_value_arrives() {
    let cluster = Cluster::start(Settings::preloaded().with("counter_ext.compact_interval", "20ms"));
    let (mut session, mut listener) = (cluster.connect(), cluster.connect());
    session.must(SMALL_QUEUE);
    session.must("SELECT counter_watch('live:', 'live', '0 s')");
    listener.must("LISTEN live");
    let mut holder = cluster.connect();
    holder.must("LISTEN other");
    holder.must("BEGIN; SELECT 1");
    let mut heard: HashMap<String, i64> = HashMap::new();
    let usage = "SELECT pg_notification_queue_usage()";
    // Whoever else sends fills it.
    wait::until("the queue is full", SOON, || {
        let _ = session.run(
            "SELECT pg_notify_of_server('other', repeat('x', 7000) || n) FROM generate_series(1, 10) AS n",
        );
        for (_, payload) in listener.notifications(Duration::from_millis(1)).expect("a connection") {
            heard.extend(totals(&payload));
        }
        session.value::<f64>(usage) >= 1.0
    });
    // And the worker finds no room, though it had looked before: what it looks at is one function, what refuses is the other.
    session.must(
        "CREATE OR REPLACE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql VOLATILE
             AS 'SELECT CASE WHEN backend_type = ''client backend'' THEN 1 ELSE 0.5 END FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()';
         CREATE OR REPLACE FUNCTION pg_catalog.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF 12000 * pg_catalog.pg_notification_queue_usage_of_server() >= 1 THEN
                 RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = 'program_limit_exceeded';
             END IF;
             PERFORM pg_catalog.pg_notify_of_server($1, $2);
         END $$",
    );
    let count = |session: &mut Session, rounds: i64| {
        let started = std::time::Instant::now();
        for n in 0..rounds {
            let mode = ["slotted", "buffered"][(n % 2) as usize];
            session.must(&format!("SET counter_ext.mode = '{mode}'; SELECT counter_incr('live:' || n, n) FROM generate_series(1, 50) AS n"));
        }
        started.elapsed()
    };
    let took = count(&mut session, 200);
    println!("200 rounds of 50 counters took {took:?} while the queue was full");
    session.compact().expect("counter_compact");
    assert_eq!(
        session
            .value::<i64>("SELECT sum(counter_get('live:' || n))::bigint FROM generate_series(1, 50) AS n"),
        200 * 50 * 51 / 2
    );
    wait::until("the worker has been refused", SOON, || {
        session.value("SELECT last_error LIKE '%too many notifications%' FROM counter_stats")
    });
    assert!(listener.notifications(Duration::from_millis(300)).expect("a connection").is_empty());
    // It is full as it says from now on: nothing is tried, and nothing fails.
    session.must(
        "CREATE OR REPLACE FUNCTION pg_catalog.pg_notification_queue_usage() RETURNS float8 LANGUAGE sql VOLATILE
             AS 'SELECT least(1, 12000 * pg_catalog.pg_notification_queue_usage_of_server())'",
    );
    count(&mut session, 20);
    let folds: i64 = session.value("SELECT compactions FROM counter_stats");
    wait::until("compaction goes on", SOON, || {
        session.value::<i64>("SELECT compactions FROM counter_stats") > folds + 3
    });
    assert!(listener.notifications(Duration::from_millis(300)).expect("a connection").is_empty());
    // The listener that held it all reads on: the queue is free.
    holder.must("COMMIT");
    wait::until("the last values arrive", SOON, || {
        for (_, payload) in listener.notifications(Duration::from_millis(100)).expect("a connection") {
            heard.extend(totals(&payload));
        }
        // Whoever sends moves the queue's end on.
        session.must("SELECT pg_notify_of_server('other', '')");
        (1..=50).all(|n| heard.get(&format!("live:{n}")) == Some(&(220 * n)))
    });
    drop((session, listener, holder));
    cluster.finish_allowing(&["too many notifications"]);
}
