//! How far a standby is behind its primary.

use pgrx::pg_sys;

use super::{process, xact};

/// How long ago the primary committed what a standby has replayed last, in microseconds: what was committed before that is there. 0
/// where the standby is connected and has replayed all that the primary has told it of; a connection that hangs counts as one
/// until `wal_receiver_timeout` ends it. `None` on a primary, and where a standby that is not connected has replayed no commit
/// since it was started.
///
/// It is an upper bound: where the primary had nothing to commit for an hour, the next commit shows as an hour until it is replayed.
pub fn behind_us() -> Option<i64> {
    if !xact::in_recovery() {
        return None;
    }
    // What is told of is read before what is replayed, which only grows.
    if let Some(told) = told_of()
        && replayed() >= told
    {
        return Some(0);
    }
    match last_replayed_commit_us() {
        0 => None,
        // Clocks of two machines differ.
        at_us => Some(process::now_us().saturating_sub(at_us).max(0)),
    }
}

/// How far the primary's WAL goes, as it has said over the connection that there is now. `None` where there is none, or it has said
/// nothing yet.
fn told_of() -> Option<u64> {
    // SAFETY: the receiver's state lies in shared memory from the server's start to its end. Each field is aligned and read whole;
    // the lock that goes with them has no binding. Fields of two moments that come together can only be those around
    // the loss or the beginning of a connection.
    unsafe {
        let receiver = pg_sys::WalRcv;
        if receiver.is_null() {
            return None;
        }
        // A receiver is in that state before it has a connection, and ready once it has.
        let state = (&raw const (*receiver).walRcvState).read_volatile();
        let is_ready = (&raw const (*receiver).ready_to_display).read_volatile();
        // They are the same until the first message has come.
        let sent = (&raw const (*receiver).lastMsgSendTime).read_volatile();
        let came = (&raw const (*receiver).lastMsgReceiptTime).read_volatile();
        let is_connected = state == pg_sys::WalRcvState::WALRCV_STREAMING && is_ready && sent != came;
        is_connected.then(|| (&raw const (*receiver).latestWalEnd).read_volatile())
    }
}

fn replayed() -> u64 {
    // SAFETY: reads shared state under PostgreSQL's own lock; no timeline is asked for.
    unsafe { pg_sys::GetXLogReplayRecPtr(std::ptr::null_mut()) }
}

/// When the primary committed, or rolled back, what was replayed last; 0 for nothing since the start.
fn last_replayed_commit_us() -> i64 {
    // SAFETY: reads shared state under PostgreSQL's own lock.
    unsafe { pg_sys::GetLatestXTime() }
}
