//! A full disk: increments fail and do not count, reads stay right, and everything goes on once
//! there is space.

use counter_ext_cluster_tests::cluster::SmallDisk;
use counter_ext_cluster_tests::{Cluster, Settings, watch};

const DISK_FULL: &str = "53100";

#[test]
fn on_a_full_disk_what_fails_does_not_count_and_what_is_acknowledged_does() {
    if !SmallDisk::is_possible() {
        return;
    }
    let cluster = Cluster::start(Settings::restless().with_data_on_small_disk());
    let mut session = cluster.connect();
    session.incr("known", 10).expect("increment");
    session.assert_count("known", 10);

    cluster.small_disk().fill();
    let mut expected = 10;
    let mut failed = 0;
    for attempt in 0..200 {
        // New counters need new pages sooner or later.
        session.must("BEGIN");
        session.incr("known", 1).expect("pending only");
        let ids: Vec<String> =
            (0..500).map(|n| format!("a rather long name for a counter {attempt}:{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        session.incr_many(&ids, &[1; 500]).expect("pending only");
        match session.run("COMMIT") {
            Ok(()) => expected += 1,
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code()), Some(DISK_FULL), "{error:?}");
                failed += 1;
                if failed == 5 {
                    break;
                }
            }
        }
        session.assert_count("known", expected);
    }
    assert!(failed > 0, "the disk never got full");
    session.assert_count("known", expected);

    cluster.small_disk().free();
    session.incr("known", 1).expect("increment with space again");
    session.assert_count("known", expected + 1);
    watch::wait_until_folded(&mut session);
    session.assert_count("known", expected + 1);
    cluster.finish_allowing(&["No space left on device"]);
}
