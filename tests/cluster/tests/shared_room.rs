//! What all databases share: one that fills it sends the others a slower way at most, and never for good.

use counter_ext_cluster_tests::buffered::{SOON, buffered, by_hand, in_rows};
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::{Cluster, Session, wait, watch};
use rustix::process::Signal;
use std::thread;
use std::time::Duration;

const MAX_COUNTERS: i64 = 64;

fn in_memory(session: &mut Session) -> i64 {
    session.value("SELECT counters_in_memory FROM counter_stats")
}

#[test]
fn increments_of_one_database_that_nobody_folds_do_not_shut_out_another() {
    let settings = by_hand().with("counter_ext.max_counters", &MAX_COUNTERS.to_string());
    let cluster = Cluster::start(settings.with("counter_ext.max_sketches", "32"));
    cluster.connect().must("CREATE DATABASE other");
    cluster.connect_to("other").must("CREATE EXTENSION counter_ext");
    let mut flooder = buffered(&cluster, "postgres");
    let mut buffering = buffered(&cluster, "other");
    let mut slotted = cluster.connect_to("other");
    slotted.must("SET counter_ext.mode = 'slotted'");

    // The flooder's worker stands still, so what is buffered stays so.
    let worker = watch::wait_for_compactor(&mut flooder);
    watch::wait_until_compactor_pauses(&mut flooder);
    signal(worker, Signal::STOP);
    for id in 0..3 * MAX_COUNTERS {
        flooder.incr(&format!("flood:{id}"), 1).expect("increment");
    }
    // What showed that the other database buffers holds an entry too.
    let held = in_memory(&mut flooder) + in_memory(&mut buffering);
    assert_eq!(held, MAX_COUNTERS, "every entry holds what is in no row yet");

    // The other database counts on in both modes, and reads rightly.
    for round in 1..=20i64 {
        for (session, id) in [(&mut buffering, "buffered"), (&mut slotted, "slotted")] {
            session.incr(id, 1).expect("increment");
            assert_eq!(session.get(id).expect("get"), round, "{id}");
        }
    }
    let many: Vec<String> = (0..200).map(|id| format!("many:{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for session in [&mut buffering, &mut slotted] {
        session.incr_many(&many, &vec![1; many.len()]).expect("increment");
    }
    assert_eq!(slotted.get("many:199").expect("get"), 2);
    assert_eq!(in_rows(&mut slotted, "buffered"), 20, "without room increments go to rows");
    // So does the flooder.
    flooder.incr("flood:0", 1).expect("increment");
    flooder.incr("more", 1).expect("increment");
    assert_eq!(flooder.get("flood:0").expect("get"), 2);
    assert_eq!(flooder.get("more").expect("get"), 1);

    signal(worker, Signal::CONT);
    flooder.compact().expect("compact");
    wait::until("the other database has entries again", SOON, || {
        slotted.get("slotted").expect("get");
        slotted.get("slotted").expect("get");
        in_memory(&mut slotted) > 0
    });
    let total = "SELECT sum(value)::bigint FROM counters WHERE id LIKE 'flood:%' OR id = 'more'";
    assert_eq!(flooder.value::<i64>(total), 3 * MAX_COUNTERS + 2);
    cluster.finish();
}

/// Nobody asks for a pass, and the interval is long: what is dirty would shut out others until then.
#[test]
fn a_room_that_is_half_dirty_is_folded_before_its_time() {
    let cluster = Cluster::start(by_hand().with("counter_ext.max_counters", &MAX_COUNTERS.to_string()));
    let mut session = buffered(&cluster, "postgres");
    session.incr("few", 1).expect("increment");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(in_rows(&mut session, "few"), 0, "one is not half");
    for id in 0..MAX_COUNTERS {
        session.incr(&format!("many:{id}"), 1).expect("increment");
    }
    wait::until("the worker folds what half of the room holds", SOON, || in_rows(&mut session, "few") == 1);
    assert_eq!(session.get("few").expect("get"), 1);
    cluster.finish();
}

/// Long ids are in memory of their own, which is short: some go for others, and short ids stay.
#[test]
fn ids_of_any_length_are_held_and_read_rightly() {
    const SHORT: i64 = 200;
    const LONG: i64 = 600;
    let cluster = Cluster::start(by_hand().with("counter_ext.max_counters", "4096"));
    let mut session = cluster.connect();
    let (short, long) = ("'short:' || n", "rpad('long:' || n || ':', 33 + n::int % 223, 'x')");
    session.must(&format!("SELECT counter_set({short}, n) FROM generate_series(1, {SHORT}) n"));
    session.must(&format!("SELECT counter_set({long}, n) FROM generate_series(1, {LONG}) n"));
    for _ in 0..3 {
        for (id, count) in [(short, SHORT), (long, LONG)] {
            let wrong =
                format!("SELECT count(*) FROM generate_series(1, {count}) n WHERE counter_get({id}) <> n");
            assert_eq!(session.value::<i64>(&wrong), 0);
        }
    }
    let (held, evictions): (i64, i64) =
        session.pairs("SELECT counters_in_memory, evictions FROM counter_stats")[0];
    assert!(evictions > 0, "long ones made room for each other");
    assert!((300..SHORT + LONG).contains(&held), "{held} are held");
    let bytes: i64 = session.value("SELECT counter_bytes FROM counter_stats");
    // Those of short ids, and what there is for long ones.
    assert!((held * 128..held * 160 + (96 << 10)).contains(&bytes), "{bytes} bytes");
    let loads = "SELECT loads FROM counter_stats";
    let before: i64 = session.value(loads);
    session.must(&format!("SELECT counter_get({short}) FROM generate_series(1, {SHORT}) n"));
    assert_eq!(session.value::<i64>(loads), before, "short ones are all in memory");
    cluster.finish();
}

#[test]
fn sketches_of_one_database_make_room_for_another() {
    let cluster = Cluster::start(by_hand().with("counter_ext.max_sketches", "32"));
    cluster.connect().must("CREATE DATABASE other");
    let mut other = cluster.connect_to("other");
    other.must("CREATE EXTENSION counter_ext");
    let mut flooder = cluster.connect();
    flooder.must("SELECT counter_visit('flood:' || n, n) FROM generate_series(1, 500) n");
    flooder.must("SELECT counter_visitors('flood:' || n) FROM generate_series(1, 500) n");
    other.must("SELECT counter_visit('page', n) FROM generate_series(1, 100) n");
    assert_eq!(other.visitors("page").expect("visitors"), 100);
    assert_eq!(other.visitors("page").expect("visitors"), 100);
    let evictions = "SELECT sketch_evictions FROM counter_stats";
    let before: i64 = other.value(evictions);
    assert!(before > 0, "the flooder's made room");
    assert!(!other.value::<bool>("SELECT counter_visit('page', 7)"), "seen already");
    assert_eq!(other.value::<i64>(evictions), before, "the other's is in memory");
    cluster.finish();
}
