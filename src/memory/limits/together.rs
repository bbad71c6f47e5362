//! Several limits in one call: all of them, or none.
//!
//! Contract: that of the folder. The locks of all partitions are taken first, each once, in the order of the partitions' numbers, and
//! held to the end.

use super::Outlook;
use super::held::{Sought, Took};
use super::key::{Fingerprint, Request, Taken};
use super::room::limits;
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
    let mut partitions = [0; MOST_TOGETHER];
    for (at, request) in requests.iter().enumerate() {
        fingerprints[at] = limits.fingerprint(&request.key);
        partitions[at] = limits.0.partition_of(fingerprints[at].low);
    }
    let mut partitions_to_lock = partitions;
    let mut guards = [const { None }; MOST_TOGETHER];
    for (guard, partition) in guards.iter_mut().zip(in_lock_order(&mut partitions_to_lock[..count])) {
        *guard = Some(limits.0.lock_partition(*partition));
    }
    // One time for all, which is before no partition's.
    let clock_us = process::clock_us();
    let latest_us = partitions[..count].iter().map(|partition| limits.held(*partition, clock_us).now_us);
    let now_us = latest_us.max().unwrap_or(clock_us);
    let held_at = |at: usize| limits.held(partitions[at], now_us);

    // What a window is asked for by those before, which have not taken it yet.
    let earlier = |at: usize| -> u64 {
        let same = (0..at).filter(|before| fingerprints[*before] == fingerprints[at]);
        same.fold(0, |sum, before| sum.saturating_add(requests[before].cost))
    };
    let mut places = [None; MOST_TOGETHER];
    let mut has_room = true;
    let mut is_allowed = true;
    for (at, request) in requests.iter().enumerate() {
        let held = held_at(at);
        let asked = request.asked().saturating_add(earlier(at));
        match held.seek(request, fingerprints[at]) {
            Sought::At(index) => {
                places[at] = Some(index);
                is_allowed &= held.has_room(index, request, asked);
            }
            Sought::Nowhere => is_allowed &= asked <= request.max,
            Sought::NoRoom => has_room = false,
        }
    }
    is_allowed &= has_room;
    let mut unremembered = None;
    for (at, request) in requests.iter().enumerate() {
        let Some(index) = places[at] else { continue };
        let request = if is_allowed { *request } else { Request { cost: 0, ..*request } };
        if held_at(at).take(index, &request) == Took::NoRoom {
            unremembered = Some(at);
            break;
        }
    }
    if let Some(end) = unremembered {
        // No memory for a cost so large: what was taken so far is given back.
        (has_room, is_allowed) = (false, false);
        for (at, request) in requests[..end].iter().enumerate() {
            if let Some(index) = places[at]
                && request.cost > 0
            {
                held_at(at).give_back(index, request);
            }
        }
    }
    for (at, request) in requests.iter().enumerate() {
        let asked = request.asked().saturating_add(if is_allowed { 0 } else { earlier(at) });
        let outlook = match places[at] {
            Some(index) => held_at(at).outlook(index, request, asked),
            None => Outlook::of_nothing(request.max, asked),
        };
        outlooks[at] = told(outlook, is_allowed);
    }
    (0..count).for_each(|at| held_at(at).settle(fingerprints[at]));
    drop(guards);
    Some(match (has_room, is_allowed) {
        (false, _) => limits.refuse(),
        (true, true) => Taken::Yes,
        (true, false) => Taken::No,
    })
}

/// The partitions whose locks are to be taken, each once.
fn in_lock_order(partitions: &mut [usize]) -> &[usize] {
    partitions.sort_unstable();
    let mut distinct = 0;
    for at in 0..partitions.len() {
        if at == 0 || partitions[at] != partitions[distinct - 1] {
            partitions[distinct] = partitions[at];
            distinct += 1;
        }
    }
    &partitions[..distinct]
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
