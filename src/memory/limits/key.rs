//! Limits as callers name them, and as their places are told apart.

use std::hash::Hasher;

/// What a limit is about.
#[derive(Clone, Copy, Debug)]
pub enum LimitSubject<'a> {
    /// A key of `counter_allow`.
    Key(&'a [u8]),
    /// An actor under a policy.
    ActorRate { prefix: &'a [u8], actor: &'a [u8] },
    /// An actor at an item.
    ActorAtItem { id: &'a [u8], actor: &'a [u8] },
}

/// Which limit. One of another length is another limit.
#[derive(Clone, Copy, Debug)]
pub struct LimitKey<'a> {
    pub database: u32,
    pub subject: LimitSubject<'a>,
    /// More than 0, at most `counter_ext.max_limit_period`, so that instants and periods add up within an i64.
    pub per_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    No,
    /// It is not known, nothing was taken, and there is no room for it: the places that it could have are those of keys over
    /// their limits.
    NoRoom,
}

/// What is asked of a limit.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub key: LimitKey<'a>,
    /// At most `i64::MAX`.
    pub max: u64,
    /// 0 takes nothing, and asks for 1.
    pub cost: u64,
}

impl Request<'_> {
    pub fn asked(&self) -> u64 {
        self.cost.max(1)
    }
}

/// What a place says whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of database and subject.
    pub low: u64,
    /// Of the period too.
    pub high: u32,
    pub database: u32,
}

impl Fingerprint {
    pub fn new(key: &LimitKey<'_>, seeds: [u64; 4]) -> Fingerprint {
        let [_, _, a, b] = seeds;
        Fingerprint {
            low: hash_of_subject(key.database, key.subject, seeds),
            high: hash(key.database, key.subject, key.per_us, a, b) as u32,
            database: key.database,
        }
    }
}

/// The low half of a fingerprint.
pub fn hash_of_subject(database: u32, subject: LimitSubject<'_>, [a, b, _, _]: [u64; 4]) -> u64 {
    hash(database, subject, 0, a, b)
}

/// SipHash: without the seeds nobody can tell anything about it. The standard library deprecates its name only.
#[allow(deprecated)]
fn hash(database: u32, subject: LimitSubject<'_>, per_us: i64, seed: u64, second_seed: u64) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(seed, second_seed);
    let (kind, first, second): (u32, &[u8], &[u8]) = match subject {
        LimitSubject::Key(key) => (0, key, &[]),
        LimitSubject::ActorRate { prefix, actor } => (1, prefix, actor),
        LimitSubject::ActorAtItem { id, actor } => (2, id, actor),
    };
    hasher.write_u64(u64::from(database) << 32 | u64::from(kind));
    hasher.write_i64(per_us);
    hasher.write_usize(first.len());
    hasher.write(first);
    hasher.write(second);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_different_kinds_never_share_a_fingerprint() {
        let key = |database, subject, per_us| LimitKey { database, subject, per_us };
        let rate = |prefix, actor| LimitSubject::ActorRate { prefix, actor };
        let at_item = |id, actor| LimitSubject::ActorAtItem { id, actor };
        let keys = [
            key(1, LimitSubject::Key(b"abc"), 5),
            key(2, LimitSubject::Key(b"abc"), 5),
            key(1, LimitSubject::Key(b"abc"), 6),
            key(1, LimitSubject::Key(b"ab"), 5),
            key(1, rate(b"", b"abc"), 5),
            key(1, rate(b"a", b"bc"), 5),
            key(1, rate(b"ab", b"c"), 5),
            key(1, at_item(b"a", b"bc"), 5),
            key(1, at_item(b"ab", b"c"), 5),
            key(1, at_item(b"abc", b""), 5),
        ];
        let hash_of = |key: &LimitKey<'_>, a, b| hash(key.database, key.subject, key.per_us, a, b);
        let hashes: std::collections::HashSet<u64> = keys.iter().map(|key| hash_of(key, 7, 8)).collect();
        assert_eq!(hashes.len(), keys.len());
        assert_ne!(hash_of(&keys[0], 7, 8), hash_of(&keys[0], 8, 7), "the seeds matter");
    }
}
