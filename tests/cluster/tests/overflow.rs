//! Totals past bigint: an error for who asks, never for the worker, and nothing is lost.

use counter_ext_cluster_tests::session::describe;
use counter_ext_cluster_tests::wait;
use counter_ext_cluster_tests::{Cluster, Session, Settings, assert_sqlstate, watch};
use std::time::Duration;

const OUT_OF_RANGE: &str = "22003";
const SOON: Duration = Duration::from_secs(10);

fn incr(session: &mut Session, id: &str, delta: i64) {
    session.incr(id, delta).unwrap_or_else(|error| panic!("{id}: {}", describe(&error)));
}

fn assert_out_of_range(session: &mut Session, id: &str) {
    assert_sqlstate("counter_get", session.get(id), OUT_OF_RANGE);
    assert_sqlstate("counter_get_exact", session.get_exact(id), OUT_OF_RANGE);
    // A batch serves the others, and says no number for this one.
    let batch = format!("SELECT id, value FROM counter_get_many(ARRAY['none', '{id}'])");
    let expected = [("none".to_owned(), Some(0)), (id.to_owned(), None)];
    assert_eq!(session.pairs::<String, Option<i64>>(&batch), expected, "counter_get_many");
    let listed = format!("SELECT value, overflowed FROM counters WHERE id = '{id}'");
    assert_eq!(session.pairs::<Option<i64>, bool>(&listed), [(None, true)], "counters");
    let cast = format!("SELECT '{id}'::text::counter::bigint");
    assert_sqlstate("cast to bigint", session.run(&cast), OUT_OF_RANGE);
}

/// Two legal increments past one end of bigint, then one back: `sign` says which end.
fn pushed_past_the_end_and_back(
    session: &mut Session,
    id: &str,
    sign: i64,
    fold: &mut dyn FnMut(&mut Session),
) {
    incr(session, id, sign * (i64::MAX - 1));
    incr(session, id, sign * 10);
    assert_out_of_range(session, id);
    incr(session, "small", 1);
    let small = session.get("small").expect("a small counter");
    fold(session);
    assert_out_of_range(session, id);
    session.assert_count("small", small);

    incr(session, id, sign * -100);
    session.assert_count(id, sign * (i64::MAX - 91));
    fold(session);
    session.assert_count(id, sign * (i64::MAX - 91));
}

#[test]
fn readers_of_a_total_past_bigint_get_22003_while_the_worker_goes_on() {
    let cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    watch::wait_for_compactor(&mut session);
    for (id, sign) in [("high", 1), ("low", -1)] {
        let mut is_past = false;
        pushed_past_the_end_and_back(&mut session, id, sign, &mut |session| {
            is_past = !is_past;
            if is_past {
                wait::until("small is folded", SOON, || {
                    session.value(
                        "SELECT NOT EXISTS (SELECT FROM counter_ext.slot WHERE id = 'small' AND delta <> 0)",
                    )
                });
                wait::until("counter_stats.overflowed shows it", SOON, || {
                    session.value("SELECT overflowed > 0 FROM counter_stats")
                });
            } else {
                watch::wait_until_folded(session);
            }
        });
    }
    wait::until("counter_stats.overflowed is 0 again", SOON, || {
        session.value("SELECT overflowed = 0 FROM counter_stats")
    });
    cluster.finish();
}

#[test]
fn without_a_worker_a_total_past_bigint_heals_too() {
    let cluster = Cluster::start(Settings::without_preload());
    let mut session = cluster.connect();
    for (id, sign) in [("high", 1), ("low", -1)] {
        pushed_past_the_end_and_back(&mut session, id, sign, &mut |session| {
            session.must("SELECT counter_compact()");
        });
    }
    assert_eq!(watch::unfolded(&mut session), 0, "slot rows left");
    cluster.finish();
}

/// Memory must not remember a wrapped sum: here the counter is evicted, and read again, while it is
/// past the end.
#[test]
fn a_total_past_bigint_is_out_of_range_after_eviction_and_restart_too() {
    let mut cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    incr(&mut session, "high", i64::MAX);
    incr(&mut session, "high", i64::MAX);
    incr(&mut session, "high", i64::MAX);
    for round in 0..3 {
        assert_out_of_range(&mut session, "high");
        session.must(&format!(
            "SELECT counter_incr('other:' || n), counter_get('other:' || n) FROM generate_series({round}, 40) AS n"
        ));
    }
    cluster.restart();
    let mut session = cluster.connect();
    assert_out_of_range(&mut session, "high");
    incr(&mut session, "high", -i64::MAX);
    assert_out_of_range(&mut session, "high");
    incr(&mut session, "high", -i64::MAX);
    session.assert_count("high", i64::MAX);
    watch::wait_until_folded(&mut session);
    session.assert_count("high", i64::MAX);
    cluster.finish();
}

#[test]
fn a_transaction_that_adds_more_than_bigint_fails_and_counts_nothing() {
    let cluster = Cluster::start(Settings::restless());
    let mut session = cluster.connect();
    session.must("BEGIN");
    incr(&mut session, "sum", i64::MAX);
    assert_sqlstate("second increment", session.incr("sum", 1), OUT_OF_RANGE);
    session.must("ROLLBACK");
    session.assert_count("sum", 0);
    let twice = session.incr_many(&["sum", "sum"], &[i64::MAX, i64::MAX]);
    assert_sqlstate("counter_incr_many", twice, OUT_OF_RANGE);
    session.assert_count("sum", 0);
    // An error within a savepoint takes only that savepoint's increments.
    session.must("BEGIN; SELECT counter_incr('sum', 5); SAVEPOINT s");
    assert_sqlstate("increment in a savepoint", session.incr("sum", i64::MAX), OUT_OF_RANGE);
    session.must("ROLLBACK TO s; COMMIT");
    session.assert_count("sum", 5);
    cluster.finish();
}
