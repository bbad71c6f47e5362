//! Pages of the journal's table are emptied and written again: a standby replays that by PostgreSQL's own rules, under no scan's feet,
//! and has the same bytes as its primary.

use counter_ext_cluster_tests::buffered::{BUFFERED, SOON, buffered, by_hand, often};
use counter_ext_cluster_tests::load::Ending;
use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait::{self, load_time};
use counter_ext_cluster_tests::{Address, Cluster, Session};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

const RECORDS: &str = "SELECT epoch, encode(record, 'hex') FROM counter_ext.journal_tail";

fn written(primary: &mut Session) -> String {
    primary.value("SELECT pg_current_wal_insert_lsn()::text")
}

fn has_replayed(standby: &mut Session, lsn: &str) -> bool {
    standby.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn"))
}

fn catch_up(primary: &mut Session, standby: &mut Session) {
    let lsn = written(primary);
    wait::until("the standby catches up", SOON, || has_replayed(standby, &lsn));
}

/// Pages of both parities are written anew.
fn overwrite(primary: &mut Session) {
    for round in 0..5 {
        primary.compact().expect("compact");
        for n in 0..50 {
            primary.incr(&format!("later:{round}:{n}"), 1).expect("increment");
        }
    }
}

/// A cursor on the standby stands on a page of the journal, with its pin, when the primary empties that page.
fn standing_on_a_page(delay: &str) -> (Cluster, Cluster, Session, Session, Vec<(i64, String)>) {
    let settings = by_hand().with("autovacuum", "off").with("max_standby_streaming_delay", delay);
    let primary = Cluster::start(settings);
    let mut on_primary = buffered(&primary, "postgres");
    let standby = primary.standby();
    for n in 0..50 {
        on_primary.incr(&format!("earlier:{n}"), 1).expect("increment");
    }
    let mut on_standby = standby.connect();
    catch_up(&mut on_primary, &mut on_standby);
    on_standby.must("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let rows: Vec<(i64, String)> = on_standby.pairs(RECORDS);
    assert!(rows.len() >= 50, "{} records", rows.len());
    on_standby.must(&format!("DECLARE records CURSOR FOR {RECORDS}; FETCH 1 FROM records"));
    overwrite(&mut on_primary);
    (primary, standby, on_primary, on_standby, rows)
}

#[test]
fn a_page_is_not_emptied_under_a_scan_on_the_standby() {
    let (primary, standby, mut on_primary, mut on_standby, rows) = standing_on_a_page("-1");
    let lsn = written(&mut on_primary);
    thread::sleep(Duration::from_secs(1));
    let replayed = has_replayed(&mut standby.connect(), &lsn);
    let rest: Vec<(i64, String)> = on_standby.pairs("FETCH ALL FROM records");
    assert_eq!(rest, rows[1..], "what the cursor stands on is what it was");
    assert!(!replayed, "replay waits for the scan");
    on_standby.must("COMMIT");
    catch_up(&mut on_primary, &mut on_standby);
    assert_eq!(on_standby.get("earlier:49").expect("counter_get"), 1);
    assert_eq!(on_standby.get("later:4:49").expect("counter_get"), 1);
    standby.finish();
    primary.finish();
}

#[test]
fn a_scan_on_the_standby_that_stands_in_the_way_is_cancelled_in_time() {
    let (primary, standby, mut on_primary, mut on_standby, _) = standing_on_a_page("100ms");
    let mut another = standby.connect();
    catch_up(&mut on_primary, &mut another);
    assert_eq!(another.get("later:4:49").expect("counter_get"), 1);
    let fetched = on_standby.run("FETCH ALL FROM records");
    // Idle in a transaction, it is told by losing its connection.
    assert!(fetched.is_err(), "the scan goes on over a page that is another one by now");
    standby.finish();
    primary.finish();
}

/// Clients count with and without rows of their own; until told to stop.
fn count(address: &Address, client: usize, stop: &AtomicBool) {
    let mut session = address.connect_with(BUFFERED);
    let mut n = 0;
    while !stop.load(SeqCst) {
        n += 1;
        let sql = match client % 3 {
            0 => format!("INSERT INTO witness VALUES ({n}); SELECT counter_incr('mixed:{}', 1)", n % 40),
            1 => format!("SET synchronous_commit = off; SELECT counter_incr('mixed:{}', 1)", n % 40),
            _ => format!("SELECT counter_incr('mixed:{}', 1)", n % 40),
        };
        session.must(&sql);
    }
}

/// Runs clients of all kinds while `body` runs.
fn under_mixed_load(address: &Address, body: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (address, stop) = (&address, &stop);
        let _ending = Ending(stop);
        for client in 0..6 {
            scope.spawn(move || count(address, client, stop));
        }
        scope.spawn(move || {
            let mut session = address.connect();
            while !stop.load(SeqCst) {
                // Whoever looks at rows leaves hints on them.
                let _: i64 = session.value("SELECT count(*) FROM counter_ext.journal_tail");
                session.must("VACUUM counter_ext.journal_tail");
                thread::sleep(Duration::from_millis(20));
            }
        });
        body();
    });
}

/// PostgreSQL compares each page after replay with what it was on the primary.
#[test]
fn a_standby_has_the_same_bytes_as_its_primary() {
    let primary = Cluster::start(often().with("wal_consistency_checking", "'all'"));
    let mut on_primary = buffered(&primary, "postgres");
    on_primary.must("CREATE TABLE witness (n int)");
    let standby = primary.standby();
    under_mixed_load(&primary.address(), || thread::sleep(load_time(4.0)));
    let mut on_standby = standby.connect();
    catch_up(&mut on_primary, &mut on_standby);
    let total = |session: &mut Session| -> i64 {
        session.value("SELECT sum(counter_get('mixed:' || n))::bigint FROM generate_series(0, 39) AS n")
    };
    assert_eq!(total(&mut on_standby), total(&mut on_primary));
    standby.finish();
    primary.finish();
}

/// What is read on a standby under load is whole: records, totals, and no cursor's page.
#[test]
fn reads_on_a_standby_under_load_see_whole_records() {
    let primary = Cluster::start(often().with("max_standby_streaming_delay", "1s"));
    let mut on_primary = buffered(&primary, "postgres");
    on_primary.must("CREATE TABLE witness (n int)");
    let standby = primary.standby();
    let mut read = 0;
    under_mixed_load(&primary.address(), || {
        let mut session = standby.connect();
        let mut last = 0;
        let started = Instant::now();
        while started.elapsed() < load_time(4.0) {
            match read_whole(&mut session, &mut last) {
                Ok(()) => read += 1,
                // Recovery conflicts are PostgreSQL's to decide.
                Err(error) => match error.code().map(|code| code.code()) {
                    Some("40001") => session.must("ROLLBACK"),
                    _ => panic!("{}", describe(&error)),
                },
            }
        }
    });
    assert!(read > 10, "{read} reads");
    let mut on_standby = standby.connect();
    catch_up(&mut on_primary, &mut on_standby);
    standby.finish();
    primary.finish();
}

fn read_whole(session: &mut Session, last: &mut i64) -> Result<(), postgres::Error> {
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    let exact = session.get_exact("mixed:1")?;
    session.run(
        "DO $$ BEGIN
             PERFORM 1 FROM counter_ext.journal_tail WHERE get_byte(record, 0) <> 1 OR epoch <= 0 OR length(record) > 8192;
             IF FOUND THEN RAISE 'a record is none'; END IF;
         END $$",
    )?;
    assert_eq!(session.get_exact("mixed:1")?, exact, "one snapshot of rows");
    let now = session.get("mixed:1")?;
    assert!(now >= *last, "counter_get fell from {last} to {now}");
    *last = now;
    session.run("SELECT * FROM counter_info('mixed:1'); COMMIT")
}
