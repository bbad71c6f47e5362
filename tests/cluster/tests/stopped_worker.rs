//! A worker that stands still at any instant holds nobody up (promise G5).
//!
//! The worker is stopped at random instants, thousands of times where `COUNTER_EXT_TEST_SECONDS` gives time for it. Whoever is at the
//! same statement all through a stop waits for the worker; what the worker was doing then, and what the session waits for, is
//! printed. PostgreSQL's own lightweight locks are the exception, and its lock on the end of a table, which whoever adds a page holds as
//! briefly and which is handed over to a sleeper: a process that is stopped with one in its hands holds everybody up who needs it, and those
//! who need what these hold.
//!
//! The worker takes our lightweight locks for microseconds. A stop meets it in between by chance, once in hundreds of times; more often, or
//! while it sleeps, reads pages or takes other locks inside, is a fault.

use counter_ext_cluster_tests::chance;
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::session::{Address, describe};
use counter_ext_cluster_tests::wait::load_time;
use counter_ext_cluster_tests::{Cluster, Session, Settings, watch};
use rand::Rng;
use rustix::process::Signal;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// A stop in which nobody seems to wait.
const SHORT_STOP: Duration = Duration::from_millis(25);
/// No call may last longer beside a stopped worker.
const BOUND: Duration = Duration::from_millis(1500);
/// And whoever waits has been seen waiting so often: a pause of the whole machine between two looks is no wait.
const FEWEST_LOOKS: usize = 20;
/// The worker goes on for at most so long between two stops.
const LONGEST_RUN_US: u64 = 4000;

/// A call that was under way when somebody looked: the process, when the statement began, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Call {
    pid: i32,
    began: String,
    waits_for: String,
}

fn calls(observer: &mut Session) -> Vec<Call> {
    let sql = "SELECT pid || ' ' || query_start,
                      coalesce(wait_event_type || ':' || wait_event, 'nothing') || ' in ' || left(query, 60)
               FROM pg_stat_activity
               WHERE backend_type = 'client backend' AND state = 'active' AND pid <> pg_backend_pid()";
    let pairs: Vec<(String, String)> = observer.pairs(sql);
    pairs
        .into_iter()
        .map(|(key, waits_for)| {
            let (pid, began) = key.split_once(' ').expect("a process and a time");
            Call { pid: pid.parse().expect("a process id"), began: began.to_owned(), waits_for }
        })
        .collect()
}

/// Those of `before` that are still at the same call.
fn still_there(before: &[Call], observer: &mut Session) -> Vec<Call> {
    let now = calls(observer);
    now.into_iter()
        .filter(|call| before.iter().any(|old| old.pid == call.pid && old.began == call.began))
        .collect()
}

/// What the worker does nowhere while it holds a lock of ours: functions of PostgreSQL that sleep, read, or wait.
const SLOW: [&str; 8] = [
    "ReadBuffer_common",
    "LockAcquireExtended",
    "WaitLatch",
    "pg_usleep",
    "XLogFlush",
    "XLogWrite",
    "ConditionVariableSleep",
    "ProcSleep",
];

/// Of so many stops one may meet the worker inside.
const STOPS_PER_CHANCE: usize = 50;

/// What was found in a stop in which a session waited all the time.
struct Wait {
    text: String,
    /// The worker was at something that takes long.
    is_slow: bool,
}

/// Waits on PostgreSQL's own lightweight locks, for the end of a table, or on the disk.
fn is_postgresqls(call: &Call) -> bool {
    let is_lock = call.waits_for.starts_with("LWLock:") && !call.waits_for.contains("counter_ext");
    is_lock || call.waits_for.starts_with("Lock:extend") || call.waits_for.starts_with("IO:")
}

/// Where the process is, as the debugger sees it, if there is one.
fn stack(pid: i32) -> String {
    let output = Command::new("gdb").args(["-p", &pid.to_string(), "-batch", "-ex", "bt 25"]).output();
    output.map_or_else(
        |error| format!("no stack: {error}"),
        |output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().filter(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n")
        },
    )
}

fn work(address: &Address, number: u64, stop: &AtomicBool, done: &AtomicU64) {
    let mut random = chance::generator(number);
    let mut session = address.connect();
    match number % 4 {
        0 => session.must("SET counter_ext.mode = 'buffered'"),
        1 => session.must("SET counter_ext.mode = 'buffered'; SET synchronous_commit = off"),
        _ => {}
    }
    while !stop.load(SeqCst) {
        let (id, who) = (random.random_range(0..40), random.random_range(0..100_000));
        let sql = match random.random_range(0..10) {
            0..=3 => format!("SELECT counter_incr('hot:{}', 1)", id % 3),
            4 => format!("SELECT counter_incr('cold:{who}', 1)"),
            5 => format!("SELECT counter_like('liked:{id}', '{who}')"),
            6 => format!("SELECT counter_visit('page:{id}', {who})"),
            7 => format!("SELECT counter_allow('key:{id}', 1000, '1 second')"),
            8 => format!("SELECT counter_get('cold:{who}')"),
            _ => format!("SELECT counter_get('hot:{}')", id % 3),
        };
        if let Err(error) = session.run(&sql) {
            panic!("{sql}: {}", describe(&error));
        }
        done.fetch_add(1, SeqCst);
    }
}

/// Who waits for the stopped worker all the time.
fn observe(observer: &mut Session) -> Vec<Call> {
    let began = Instant::now();
    let mut waiting = calls(observer);
    let mut looks = 0;
    while !waiting.is_empty() && (began.elapsed() < BOUND || looks < FEWEST_LOOKS) {
        looks += 1;
        thread::sleep(SHORT_STOP);
        waiting = still_there(&waiting, observer);
        if waiting.iter().any(is_postgresqls) {
            waiting.clear();
        }
    }
    waiting
}

/// Stops the worker for a while. What waited for it all the time, with the worker's stack.
///
/// The observer needs locks of PostgreSQL's own too, for its snapshots: where the worker stands with one of those in its hands, the observer
/// waits as well, and the worker is let go on.
fn stop_once(observer: &mut Session, worker: i32) -> Option<Wait> {
    signal(worker, Signal::STOP);
    let (observed, freed) = (AtomicBool::new(false), AtomicBool::new(false));
    let waiting = thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            while !observed.load(SeqCst) && began.elapsed() < 2 * BOUND {
                thread::sleep(Duration::from_millis(2));
            }
            if !observed.load(SeqCst) {
                freed.store(true, SeqCst);
                signal(worker, Signal::CONT);
            }
        });
        let waiting = observe(observer);
        observed.store(true, SeqCst);
        waiting
    });
    let seen = !waiting.is_empty() && !freed.load(SeqCst);
    let found = seen.then(|| describe_wait(&waiting, worker)).flatten();
    signal(worker, Signal::CONT);
    found
}

/// What the worker is at, and those who wait for it; `None` where that is a lock of PostgreSQL's after all.
fn describe_wait(waiting: &[Call], worker: i32) -> Option<Wait> {
    let worker = stack(worker);
    let sessions: Vec<String> = waiting
        .iter()
        .take(2)
        .map(|call| format!("{} waits for {}\n{}", call.pid, call.waits_for, stack(call.pid)))
        .collect();
    // A lightweight lock of PostgreSQL's that the worker was just releasing.
    if sessions.iter().any(|session| session.contains("perform_spin_delay")) {
        return None;
    }
    let is_slow = SLOW.iter().any(|function| worker.contains(function));
    Some(Wait { text: format!("the worker:\n{worker}\n{}", sessions.join("\n")), is_slow })
}

#[test]
fn nobody_waits_for_a_worker_that_stands_still() {
    let cluster = Cluster::start(
        Settings::preloaded()
            .with("counter_ext.compact_interval", "10ms")
            .with("counter_ext.max_counters", "512")
            .with("wal_writer_delay", "10ms"),
    );
    let mut observer = cluster.connect();
    let worker = watch::wait_for_compactor(&mut observer);
    watch::wait_until_buffered(&mut cluster.connect());
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = cluster.address();
    let mut found: Vec<Wait> = Vec::new();
    let mut stops = 0;
    thread::scope(|scope| {
        let _ending = Ending(&stop);
        for number in 0..8 {
            let (address, stop, done) = (&address, &stop, &done);
            scope.spawn(move || work(address, number, stop, done));
        }
        let mut random = chance::generator(99);
        let end = Instant::now() + load_time(10.0);
        while Instant::now() < end {
            thread::sleep(Duration::from_micros(random.random_range(0..LONGEST_RUN_US)));
            stops += 1;
            if let Some(wait) = stop_once(&mut observer, worker) {
                println!("stop {stops}: {}", wait.text);
                found.push(wait);
            }
        }
    });
    println!("{stops} stops, {} calls", done.load(SeqCst));
    assert!(done.load(SeqCst) > 0, "nothing was called");
    let slow = found.iter().filter(|wait| wait.is_slow).count();
    assert_eq!(slow, 0, "the worker held somebody up while it was at something that takes long");
    assert!(
        found.len() <= 1 + stops / STOPS_PER_CHANCE,
        "somebody waited for a stopped worker in {} of {stops} stops",
        found.len()
    );
    cluster.finish();
}
