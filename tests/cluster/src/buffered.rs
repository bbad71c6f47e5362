//! Buffered mode, for the tests that are about it.

use crate::cluster::{Cluster, Death};
use crate::session::Session;
use crate::settings::Settings;
use crate::watch;
use std::time::Duration;

pub const SOON: Duration = Duration::from_secs(15);
pub const BUFFERED: &str = "SET counter_ext.mode = 'buffered'";
/// Half of the sessions count this way, half the other.
pub const MIXED: &str = "SELECT set_config('counter_ext.mode', CASE WHEN random() < 0.5 THEN 'buffered' ELSE 'slotted' END, false)";
pub const ASYNCHRONOUS: &str = "SET counter_ext.mode = 'buffered'; SET synchronous_commit = off";

/// Folds ten times a second.
pub fn often() -> Settings {
    Settings::preloaded().with("counter_ext.compact_interval", "100ms")
}

/// Folds only when asked to.
pub fn by_hand() -> Settings {
    Settings::compacted_by_hand()
}

/// A session in buffered mode that works.
pub fn buffered(cluster: &Cluster, database: &str) -> Session {
    let mut session = cluster.connect_to(database);
    watch::wait_until_buffered(&mut session);
    session.must(BUFFERED);
    session
}

pub fn buffered_increments(session: &mut Session) -> i64 {
    session.value("SELECT buffered_increments FROM counter_stats")
}

pub fn in_rows(session: &mut Session, id: &str) -> i64 {
    session.get_exact(id).expect("counter_get_exact")
}

/// Crashes the server, starts it again, and waits until everything is recovered.
pub fn crash(cluster: &mut Cluster) -> Session {
    cluster.die(Death::Everything);
    cluster.start_again();
    let mut session = cluster.connect();
    watch::wait_until_recovered(&mut session);
    session
}
