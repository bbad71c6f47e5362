//! Instants until which something may not come again.
//!
//! Contract: that of the folder.

use super::key::{Fingerprint, LimitKey, Taken};
use super::room::{Limits, limits};

/// A key's instant that `begin` set, for `give_back`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    until_us: i64,
}

/// Begins a key's interval, in which it cannot begin again: `Err` says why it does not. `None` where there is no shared
/// memory.
pub fn begin(key: &LimitKey<'_>) -> Option<Result<Begun, Taken>> {
    let limits = limits()?;
    let (fingerprint, set) = instant_of(&limits, key);
    Some(limits.with_instant_set(set, |tags, now_us| {
        let way = match tags.find(fingerprint) {
            Some(way) if tags.busy_until_us[way] > now_us => return Err(Taken::No),
            Some(way) => way,
            None => tags.find_free(key.database, now_us).ok_or_else(|| limits.refuse())?,
        };
        let until_us = now_us + key.per_us;
        tags.claim(way, fingerprint);
        tags.busy_until_us[way] = until_us;
        Ok(Begun { until_us })
    }))
}

/// As if `begin` had not been called.
pub fn give_back(key: &LimitKey<'_>, begun: Begun) {
    let Some(limits) = limits() else { return };
    let (fingerprint, set) = instant_of(&limits, key);
    limits.with_instant_set(set, |tags, _| {
        if let Some(way) = tags.find(fingerprint)
            && tags.busy_until_us[way] == begun.until_us
        {
            tags.busy_until_us[way] = 0;
        }
    });
}

fn instant_of(limits: &Limits, key: &LimitKey<'_>) -> (Fingerprint, usize) {
    let fingerprint = limits.fingerprint(key);
    (fingerprint, (fingerprint.high % limits.instant_sets() as u64) as usize)
}
