//! One limit at a time.
//!
//! Contract: that of the folder.

use super::key::{LimitSubject, Request, Taken};
use super::room::{Limits, limits};
use super::set::Sought;
use super::{Outlook, Window};

/// Takes a cost from a key's window, if in no interval of its length more than the maximum is taken. `None` where there is no
/// shared memory.
pub fn take(request: &Request<'_>) -> Option<Taken> {
    let limits = limits()?;
    if request.asked() > request.max {
        return Some(Taken::No);
    }
    Some(take_and(&limits, request, |_, _| ()).0)
}

/// As `take`, and what is to be told of the window then.
pub fn take_and_tell(request: &Request<'_>) -> Option<(Taken, Outlook)> {
    let limits = limits()?;
    let (taken, outlook) = take_and(&limits, request, |window, now_us| match window {
        Some(window) => window.outlook(now_us, request.key.per_us, request.max, request.asked()),
        None => Outlook::of_nothing(request.max, request.asked()),
    });
    Some((taken, told(outlook, taken == Taken::Yes)))
}

/// What was asked for has been taken already, where it fitted.
pub(super) fn told(outlook: Outlook, is_allowed: bool) -> Outlook {
    if is_allowed { Outlook { fits_in_us: Some(0), ..outlook } } else { outlook }
}

fn take_and<T>(
    limits: &Limits,
    request: &Request<'_>,
    look: impl FnOnce(Option<&Window>, i64) -> T,
) -> (Taken, T) {
    let fingerprint = limits.fingerprint(&request.key);
    limits.with_window_set(limits.window_set_of(fingerprint.low), |set, now_us| {
        match set.seek(request, fingerprint, now_us) {
            Sought::At(way) => {
                let taken = if set.take(way, request, now_us) { Taken::Yes } else { Taken::No };
                (taken, look(Some(&set.windows[way]), now_us))
            }
            Sought::Nowhere => {
                let taken = if request.asked() > request.max { Taken::No } else { Taken::Yes };
                (taken, look(None, now_us))
            }
            Sought::NoRoom => (limits.refuse(), look(None, now_us)),
        }
    })
}

/// Gives back what was taken from a key's window, as far as it is still remembered; what can be taken now. `None` where there is
/// no shared memory.
pub fn refund(request: &Request<'_>) -> Option<u64> {
    let limits = limits()?;
    let fingerprint = limits.fingerprint(&request.key);
    let per_us = request.key.per_us;
    Some(limits.with_window_set(limits.window_set_of(fingerprint.low), |set, now_us| {
        let Some(way) = set.tags.find(fingerprint) else { return request.max };
        set.windows[way].give_back(now_us, per_us, request.cost);
        set.note_use(way, per_us);
        set.windows[way].outlook(now_us, per_us, request.max, 1).remaining
    }))
}

/// Forgets what was taken of a key, in windows of whatever length; whether there was anything. `None` where there is no shared
/// memory.
pub fn forget(database: u32, key: &[u8]) -> Option<bool> {
    let limits = limits()?;
    let low = limits.hash_of_subject(database, LimitSubject::Key(key));
    let set = limits.window_set_of(low);
    Some(limits.with_window_set(set, |set, now_us| set.tags.forget(low, database, now_us)))
}
