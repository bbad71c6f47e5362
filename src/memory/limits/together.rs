//! Several limits in one call: all of them, or none.
//!
//! Contract: that of the folder. The locks of all sets are taken first, each once, in the order of the sets' numbers, and held to
//! the end.

use super::Outlook;
use super::key::{Fingerprint, Request, Taken};
use super::room::limits;
use super::set::Sought;
use super::windows::told;
use crate::pg::process;

/// Limits that one call takes from together.
pub const MOST_TOGETHER: usize = 32;

/// Takes from several windows, if each has room, else from none. One that is named several times has room if it has it for all
/// that is asked of it so far. `outlooks` are as many as there are requests, which are at most `MOST_TOGETHER`.
pub fn take_all(requests: &[Request<'_>], outlooks: &mut [Outlook]) -> Option<Taken> {
    let limits = limits()?;
    let count = requests.len();
    assert!(count <= MOST_TOGETHER && outlooks.len() == count);
    let mut fingerprints = [Fingerprint::default(); MOST_TOGETHER];
    let mut sets = [0; MOST_TOGETHER];
    for (at, request) in requests.iter().enumerate() {
        fingerprints[at] = limits.fingerprint(&request.key);
        sets[at] = limits.window_set_of(fingerprints[at].low);
    }
    let mut sets_to_lock = sets;
    let mut guards = [const { None }; MOST_TOGETHER];
    for (guard, set) in guards.iter_mut().zip(in_lock_order(&mut sets_to_lock[..count])) {
        *guard = Some(limits.lock(*set));
    }
    let now_us = process::clock_us();
    // SAFETY: all these sets' locks are held exclusively until the end, and one reference ends before the next begins.
    let set_of = |at: usize| unsafe { limits.window_set(sets[at]).get_mut() };

    // What a window is asked for by those before, which have not taken it yet.
    let earlier = |at: usize| -> u64 {
        let same = (0..at).filter(|before| fingerprints[*before] == fingerprints[at]);
        same.fold(0, |sum, before| sum.saturating_add(requests[before].cost))
    };
    let mut ways = [None; MOST_TOGETHER];
    let mut has_room = true;
    let mut is_allowed = true;
    for (at, request) in requests.iter().enumerate() {
        let set = set_of(at);
        let asked = request.asked().saturating_add(earlier(at));
        match set.seek(request, fingerprints[at], now_us) {
            Sought::At(way) => {
                ways[at] = Some(way);
                is_allowed &= set.windows[way].has_room(now_us, request.key.per_us, request.max, asked);
                // Nobody else of this call takes the place.
                set.tags.busy_until_us[way] = i64::MAX;
            }
            Sought::Nowhere => is_allowed &= asked <= request.max,
            Sought::NoRoom => has_room = false,
        }
    }
    is_allowed &= has_room;
    for (at, request) in requests.iter().enumerate() {
        let Some(way) = ways[at] else { continue };
        let set = set_of(at);
        if is_allowed && request.cost > 0 {
            set.windows[way].take(now_us, request.key.per_us, request.max, request.cost);
        }
        set.note_use(way, request.key.per_us);
    }
    for (at, request) in requests.iter().enumerate() {
        let asked = request.asked().saturating_add(if is_allowed { 0 } else { earlier(at) });
        let outlook = match ways[at] {
            Some(way) => set_of(at).windows[way].outlook(now_us, request.key.per_us, request.max, asked),
            None => Outlook::of_nothing(request.max, asked),
        };
        outlooks[at] = told(outlook, is_allowed);
    }
    drop(guards);
    Some(match (has_room, is_allowed) {
        (false, _) => limits.refuse(),
        (true, true) => Taken::Yes,
        (true, false) => Taken::No,
    })
}

/// The sets whose locks are to be taken, each once.
fn in_lock_order(sets: &mut [usize]) -> &[usize] {
    sets.sort_unstable();
    let mut distinct = 0;
    for at in 0..sets.len() {
        if at == 0 || sets[at] != sets[distinct - 1] {
            sets[distinct] = sets[at];
            distinct += 1;
        }
    }
    &sets[..distinct]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lock_is_taken_once_and_in_order() {
        assert_eq!(in_lock_order(&mut []), &[] as &[usize]);
        assert_eq!(in_lock_order(&mut [5]), &[5]);
        assert_eq!(in_lock_order(&mut [5, 2, 5, 9, 2, 5]), &[2, 5, 9]);
    }
}
