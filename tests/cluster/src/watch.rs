//! What the server shows of itself: workers, backlog, waits.

use crate::session::{Address, Session};
use crate::wait;
use std::time::Duration;

/// How soon what is in the journal must be in rows after a start.
const RECOVERED_SOON: Duration = Duration::from_secs(30);
/// How soon a worker must be there, after a start, a crash or CREATE EXTENSION.
const WORKER_SOON: Duration = Duration::from_secs(15);

/// The compactor of the session's database, where one runs.
pub fn compactor(session: &mut Session) -> Option<i32> {
    session.value(
        "SELECT (SELECT pid FROM pg_stat_activity
         WHERE backend_type = 'counter_ext compactor' AND datname = current_database() LIMIT 1)",
    )
}

/// A client's backend, another one for each lot; none of ours.
pub fn some_client(session: &mut Session, lot: u32) -> Option<i32> {
    session.value(&format!(
        "SELECT (SELECT pid FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
         ORDER BY hashtext(({lot} + pid)::text) LIMIT 1)"
    ))
}

pub fn launcher(session: &mut Session) -> Option<i32> {
    session.value(
        "SELECT (SELECT pid FROM pg_stat_activity WHERE backend_type = 'counter_ext launcher' LIMIT 1)",
    )
}

pub fn wait_for_compactor(session: &mut Session) -> i32 {
    wait::for_some("a compactor runs in this database", WORKER_SOON, || compactor(session))
}

/// A new process, after the one with this id was killed.
pub fn wait_for_other_compactor(session: &mut Session, gone: i32) -> i32 {
    wait::for_some("another compactor runs in this database", WORKER_SOON, || {
        compactor(session).filter(|&pid| pid != gone)
    })
}

pub fn wait_for_other_launcher(session: &mut Session, gone: i32) -> i32 {
    wait::for_some("another launcher runs", WORKER_SOON, || launcher(session).filter(|&pid| pid != gone))
}

/// Everything committed so far is in `counter_ext.total` (emptied slot rows may stay).
pub fn wait_until_folded(session: &mut Session) {
    wait::until("every slot row is folded", WORKER_SOON, || unfolded(session) == 0);
}

/// Everything committed so far is in `counter_ext.total`, buffered increments too.
pub fn fold_everything(session: &mut Session) {
    wait_until_recovered(session);
    wait_for_compactor(session);
    session.compact().expect("counter_compact");
    session.compact().expect("counter_compact");
    wait_until_folded(session);
}

/// The worker has looked whether there is anything to recover, and has recovered it.
pub fn wait_until_recovered(session: &mut Session) {
    wait::until("the journal is read back", RECOVERED_SOON, || {
        session.value("SELECT journal_state = 'ready' FROM counter_stats")
    });
}

/// Commits wait for the one standby that there is, from now on.
pub fn make_standby_synchronous(session: &mut Session, within: Duration) {
    session.must("ALTER SYSTEM SET synchronous_standby_names = '*'");
    session.must("SELECT pg_reload_conf()");
    wait::until("the standby is synchronous", within, || {
        session.value("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
    });
}

/// Buffered mode has been asked for, and works from now on.
pub fn wait_until_buffered(session: &mut Session) {
    wait::until("buffered mode is ready", RECOVERED_SOON, || {
        session.value::<i64>(
            "SELECT count(counter_incr('watch:buffered')) FROM (SELECT set_config('counter_ext.mode', 'buffered', false)) AS s"
        );
        session.value("SELECT journal_state = 'ready' FROM counter_stats")
    });
}

/// Slot rows that hold something not yet in `counter_ext.total`.
pub fn unfolded(session: &mut Session) -> i64 {
    session.value("SELECT count(*) FROM counter_ext.slot WHERE delta <> 0")
}

/// The worker is in its pause between two passes, so that stopping it stops it without any lock in
/// its hands.
pub fn wait_until_compactor_pauses(session: &mut Session) {
    wait::until("the compactor pauses", WORKER_SOON, || {
        session.value(
            "SELECT coalesce(bool_or(wait_event_type IN ('Activity', 'Extension')), false) FROM pg_stat_activity
             WHERE backend_type = 'counter_ext compactor' AND datname = current_database()",
        )
    });
}

/// Panics when some process keeps waiting for a lock.
pub fn assert_no_lasting_wait(address: &Address) {
    let mut session = address.connect();
    wait::until("nobody waits for a lock", Duration::from_secs(15), || {
        session.value("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')")
    });
}

/// Reads so many other counters that memory with room for 16 keeps nothing it had.
pub fn evict_everything(session: &mut Session) {
    // Each is asked for again, or it would stay out.
    session.must(
        "SELECT counter_get('filler:' || n)
         FROM (SELECT n FROM generate_series(1, 64) AS n, generate_series(1, 4) ORDER BY n OFFSET 0) AS again",
    );
}

/// Panics unless counters were loaded into memory and evicted from it: else a test of both tested
/// neither.
pub fn assert_memory_was_in_use(session: &mut Session) {
    let (loads, evictions): (i64, i64) = session.pairs("SELECT loads, evictions FROM counter_stats")[0];
    println!("memory: {loads} loads, {evictions} evictions");
    assert!(loads > 0 && evictions > 0, "{loads} loads, {evictions} evictions");
}
