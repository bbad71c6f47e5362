//! Statements that are meant to wait for another session, and a proof that they do.

use crate::session::{Address, Session};
use crate::wait;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// Runs `statement` in a second session; once that waits for a lock, `meanwhile` in the first,
/// which must end the wait. Returns what the statement returned.
pub fn while_blocked<R: Send>(
    address: &Address,
    blocked: &mut Session,
    statement: impl FnOnce(&mut Session) -> R + Send,
    meanwhile: impl FnOnce(),
) -> R {
    let pid = blocked.backend_pid();
    let mut observer = address.connect();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let ended = &ended;
        let waiting = scope.spawn(move || {
            let result = statement(blocked);
            ended.store(true, SeqCst);
            result
        });
        wait::until("the second session waits for the first", SOON, || {
            assert!(!ended.load(SeqCst), "the statement did not wait");
            observer.value(&format!(
                "SELECT coalesce(bool_or(wait_event_type = 'Lock'), false)
                 FROM pg_stat_activity WHERE pid = {pid}"
            ))
        });
        meanwhile();
        waiting.join().expect("the blocked session")
    })
}
