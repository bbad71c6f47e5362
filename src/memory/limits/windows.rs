//! One limit at a time.
//!
//! Contract: that of the folder.

use super::super::room::mapped::Mapped;
use super::Outlook;
use super::entry::LimitHead;
use super::held::{Held, Sought, Took};
use super::key::{LimitSubject, Request, Taken};
use super::room::{Limits, limits};

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
    let (taken, outlook) = take_and(&limits, request, |held, index| match index {
        Some(index) => held.outlook(index, request, request.asked()),
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
    look: impl FnOnce(&Held<'_, Mapped<LimitHead>>, Option<u32>) -> T,
) -> (Taken, T) {
    let fingerprint = limits.fingerprint(&request.key);
    limits.with(limits.0.partition_of(fingerprint.low), |held| match held.seek(request, fingerprint) {
        Sought::At(index) => {
            let taken = match held.take(index, request) {
                Took::Yes => Taken::Yes,
                Took::No => Taken::No,
                Took::NoRoom => limits.refuse(),
            };
            let looked = look(held, Some(index));
            held.settle_at(index);
            (taken, looked)
        }
        Sought::Nowhere => {
            let taken = if request.asked() > request.max { Taken::No } else { Taken::Yes };
            (taken, look(held, None))
        }
        Sought::NoRoom => (limits.refuse(), look(held, None)),
    })
}

/// Gives back what was taken from a key's window, as far as it is still remembered; what can be taken now. `None` where there is
/// no shared memory.
pub fn refund(request: &Request<'_>) -> Option<u64> {
    let limits = limits()?;
    let fingerprint = limits.fingerprint(&request.key);
    Some(limits.with(limits.0.partition_of(fingerprint.low), |held| {
        let Some(index) = held.find(fingerprint) else { return request.max };
        held.give_back(index, request);
        let remaining = held.outlook(index, request, 1).remaining;
        held.settle_at(index);
        remaining
    }))
}

/// Forgets what was taken of a key, in windows of whatever length; whether there was anything. `None` where there is no shared
/// memory.
pub fn forget(database: u32, key: &[u8]) -> Option<bool> {
    let limits = limits()?;
    let low = limits.hash_of_subject(database, LimitSubject::Key(key));
    Some(limits.with(limits.0.partition_of(low), |held| held.forget(low, database)))
}
