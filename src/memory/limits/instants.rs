//! Minimum intervals: instants until which something may not come again.
//!
//! Contract: that of the folder.

use super::held::Took;
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
    let (fingerprint, partition) = place_of(&limits, key);
    Some(match limits.with(partition, |held| held.begin_interval(fingerprint, key.per_us)) {
        Ok(until_us) => Ok(Begun { until_us }),
        Err(Took::NoRoom) => Err(limits.refuse()),
        Err(_) => Err(Taken::No),
    })
}

/// As if `begin` had not been called.
pub fn give_back(key: &LimitKey<'_>, begun: Begun) {
    let Some(limits) = limits() else { return };
    let (fingerprint, partition) = place_of(&limits, key);
    limits.with(partition, |held| held.give_back_interval(fingerprint, begun.until_us));
}

fn place_of(limits: &Limits, key: &LimitKey<'_>) -> (Fingerprint, usize) {
    let fingerprint = limits.fingerprint(key);
    (fingerprint, limits.0.partition_of(fingerprint.low))
}
