//! What all databases share: one that fills it sends the others a slower way at most, and never for good.

use counter_ext_cluster_tests::buffered::{SOON, buffered, by_hand, in_rows};
use counter_ext_cluster_tests::processes::signal;
use counter_ext_cluster_tests::{Cluster, Session, wait};
use rustix::process::Signal;

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
    let worker: i32 = flooder.value("SELECT worker_pid FROM counter_stats");
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
