//! Rate limits in shared memory: sliding windows of `window.rs`, and instants until which something may not come again.
//!
//! Contract:
//!
//! - A segment of its own: a header, sets of `WAYS` windows, sets of `WAYS` instants. A set is guarded as a whole by one LWLock,
//!   always exclusive (sets of instants share some), taken alone: after heavyweight locks, with no other lock of ours, and
//!   no wait, no allocation and nothing that can raise inside.
//! - Keys are not stored. A place in a set belongs to a key if it has the key's database and fingerprint: 128 bits of SipHash
//!   under seeds that are drawn at start and never leave the segment. So nobody can look for two keys that meet, and by
//!   chance none do.
//! - A place is in use until the instant that it shows. From then on it limits nobody, and anybody may take it; before, nobody
//!   may. A newcomer that finds no place is refused, and counted.
//! - A database may take a place in a set only while it holds fewer there than `PLACES_A_FREE_ONE` for each one that is free. So
//!   a database that is alone gets four fifths of each set (which is what `counter_ext.max_limits` promises), and one that floods
//!   its own limits leaves the rest to the others, of whom each again leaves a part.
//! - The time is read under the lock, from a clock that nobody sets, so each place sees it only go on.
//! - Nothing belongs to a transaction: what is taken stays taken when that rolls back.
//! - A crash between any two steps leaves nothing: the segment is made anew with the server, and all limits begin again.

use std::hash::Hasher;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::guarded::Guarded;
use super::lwlock::{self, LockGuard};
use super::window::Window;
use crate::pg::{process, random};

/// Places of a set that one database may hold when it is alone. A set overflows before the table is full; with 64 hardly so
/// while half of it is in use.
const WAYS_OF_ONE: usize = 64;
/// Places of a set.
const WAYS: usize = 80;
/// How many places a database may hold in a set for each one that is free there.
const PLACES_A_FREE_ONE: usize = 4;
/// Sets of instants for each set of windows.
const INSTANT_SETS: usize = 16;
/// Locks that the sets of instants share.
const INSTANT_LOCKS: usize = 128;
const CACHE_LINE: usize = 64;

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
    /// Its database has its share of the set, or the set is full: it is not known, and nothing was taken.
    NoRoom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    low: u64,
    high: u64,
    database: u32,
}

#[repr(C, align(64))]
struct Header {
    window_sets: u64,
    seeds: [u64; 4],
    locks: *mut pg_sys::LWLockPadded,
    refused: AtomicU64,
}

/// Whose the places of a set are, and until when. All zeros: free.
#[repr(C, align(64))]
struct Tags {
    low: [u64; WAYS],
    high: [u64; WAYS],
    busy_until_us: [i64; WAYS],
    database: [u32; WAYS],
}

#[repr(C, align(64))]
struct WindowSet {
    tags: Tags,
    /// A free place's window holds whatever it held before: whoever takes the place clears it first.
    windows: [Window; WAYS],
}

const _: () = {
    assert!(std::mem::size_of::<Header>() == CACHE_LINE);
    assert!(std::mem::size_of::<Tags>() == 28 * WAYS);
    assert!(std::mem::size_of::<WindowSet>() == 28 * WAYS + 1040 * WAYS);
    assert!(std::mem::size_of::<WindowSet>().is_multiple_of(CACHE_LINE));
    // Alone, a database is at its share when it has `WAYS_OF_ONE`.
    assert!(
        may_claim(WAYS_OF_ONE - 1, WAYS - WAYS_OF_ONE + 1) && !may_claim(WAYS_OF_ONE, WAYS - WAYS_OF_ONE)
    );
};

/// Whether a database that holds so many places of a set may take one more, when so many are free.
const fn may_claim(held: usize, free: usize) -> bool {
    held < PLACES_A_FREE_ONE * free
}

impl Tags {
    fn find(&self, wanted: Fingerprint) -> Option<usize> {
        let mut low = self.low.iter().enumerate();
        low.find(|(way, low)| {
            **low == wanted.low && self.high[*way] == wanted.high && self.database[*way] == wanted.database
        })
        .map(|(way, _)| way)
    }

    /// A free place for a database that has not got its share.
    fn find_free(&self, database: u32, now_us: i64) -> Option<usize> {
        let (mut held, mut free, mut first) = (0, 0, None);
        for way in 0..WAYS {
            if self.busy_until_us[way] <= now_us {
                free += 1;
                first = first.or(Some(way));
            } else if self.database[way] == database {
                held += 1;
            }
        }
        first.filter(|_| may_claim(held, free))
    }

    fn claim(&mut self, way: usize, by: Fingerprint) {
        self.low[way] = by.low;
        self.high[way] = by.high;
        self.database[way] = by.database;
    }

    /// Frees all that a database holds.
    fn purge(&mut self, database: u32) {
        for way in 0..WAYS {
            if self.database[way] == database {
                self.busy_until_us[way] = 0;
                self.claim(way, Fingerprint { low: 0, high: 0, database: 0 });
            }
        }
    }

    fn in_use(&self, now_us: i64) -> u64 {
        self.busy_until_us.iter().filter(|until| **until > now_us).count() as u64
    }
}

static BASE: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

const TRANCHE: &std::ffi::CStr = c"counter_ext_limits";
const SEGMENT: &std::ffi::CStr = c"counter_ext limits";

fn sets_wanted() -> usize {
    crate::settings::max_limits().div_ceil(WAYS_OF_ONE)
}

fn bytes(sets: usize) -> usize {
    let set = std::mem::size_of::<WindowSet>() + INSTANT_SETS * std::mem::size_of::<Tags>();
    CACHE_LINE + std::mem::size_of::<Header>() + sets * set
}

/// Asks for memory and locks; called from the request hook.
pub fn request() {
    let sets = sets_wanted();
    // SAFETY: called from shmem_request_hook, where this is allowed.
    unsafe {
        pg_sys::RequestAddinShmemSpace(bytes(sets));
        pg_sys::RequestNamedLWLockTranche(TRANCHE.as_ptr(), (sets + INSTANT_LOCKS) as i32);
    }
}

/// Makes the segment, or finds it made.
pub fn start() {
    let sets = sets_wanted();
    let mut found = false;
    process::start_clock();
    // SAFETY: called from shmem_startup_hook; the segment is as large as asked for, and every field that is read before it
    // is written (header and tags) is written before anybody else can see the base address.
    unsafe {
        let _lock = super::segment::lock_for_start();
        let raw = pg_sys::ShmemInitStruct(SEGMENT.as_ptr(), bytes(sets), &mut found) as usize;
        let base = raw.next_multiple_of(CACHE_LINE) as *mut Header;
        let limits = Limits(base);
        if !found {
            (*base).window_sets = sets as u64;
            (*base).seeds = std::array::from_fn(|_| random::bits());
            (*base).locks = pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr());
            (*base).refused = AtomicU64::new(0);
            for set in 0..sets {
                std::ptr::write_bytes(&raw mut (*limits.window_set(set).as_ptr()).tags, 0, 1);
            }
            for set in 0..sets * INSTANT_SETS {
                std::ptr::write_bytes(limits.instant_set(set).as_ptr(), 0, 1);
            }
        }
        BASE.store(base, Ordering::Release);
    }
}

#[derive(Clone, Copy)]
struct Limits(*mut Header);

fn limits() -> Option<Limits> {
    let base = BASE.load(Ordering::Relaxed);
    (!base.is_null()).then_some(Limits(base))
}

impl Limits {
    fn header(&self) -> &Header {
        // SAFETY: mapped for the life of the process; fields are constants or atomics.
        unsafe { &*self.0 }
    }

    fn window_sets(&self) -> usize {
        self.header().window_sets as usize
    }

    fn instant_sets(&self) -> usize {
        self.window_sets() * INSTANT_SETS
    }

    fn window_set(&self, set: usize) -> &Guarded<WindowSet> {
        assert!(set < self.window_sets());
        // SAFETY: in bounds: the segment was sized for so many, behind the header; any bytes will do.
        unsafe { &*(self.0.add(1) as *const Guarded<WindowSet>).add(set) }
    }

    fn instant_set(&self, set: usize) -> &Guarded<Tags> {
        assert!(set < self.instant_sets());
        // SAFETY: in bounds: behind the sets of windows, as `bytes` adds up; any bytes will do.
        unsafe {
            &*((self.0.add(1) as *const WindowSet).add(self.window_sets()) as *const Guarded<Tags>).add(set)
        }
    }

    fn lock(&self, number: usize) -> LockGuard {
        assert!(number < self.window_sets() + INSTANT_LOCKS);
        // SAFETY: the tranche has so many locks; no caller holds one already.
        unsafe { lwlock::exclusive(&raw mut (*self.header().locks.add(number)).lock) }
    }

    fn with_window_set<T>(&self, set: usize, work: impl FnOnce(&mut WindowSet, i64) -> T) -> T {
        let _lock = self.lock(set);
        // SAFETY: the set's lock is held exclusively, and no closure is given another reference.
        work(unsafe { self.window_set(set).get_mut() }, process::clock_us())
    }

    fn with_instant_set<T>(&self, set: usize, work: impl FnOnce(&mut Tags, i64) -> T) -> T {
        let _lock = self.lock(self.window_sets() + set % INSTANT_LOCKS);
        // SAFETY: the set's lock is held exclusively, and no closure is given another reference.
        work(unsafe { self.instant_set(set).get_mut() }, process::clock_us())
    }

    fn fingerprint(&self, key: &LimitKey<'_>) -> Fingerprint {
        let [a, b, c, d] = self.header().seeds;
        Fingerprint { low: hash(key, a, b), high: hash(key, c, d), database: key.database }
    }

    fn refuse(&self) -> Taken {
        self.header().refused.fetch_add(1, Ordering::Relaxed);
        Taken::NoRoom
    }
}

/// SipHash: without the seeds nobody can tell anything about it. The standard library deprecates its name only.
#[allow(deprecated)]
fn hash(key: &LimitKey<'_>, seed: u64, second_seed: u64) -> u64 {
    let mut hasher = std::hash::SipHasher::new_with_keys(seed, second_seed);
    let (kind, first, second): (u32, &[u8], &[u8]) = match key.subject {
        LimitSubject::Key(key) => (0, key, &[]),
        LimitSubject::ActorRate { prefix, actor } => (1, prefix, actor),
        LimitSubject::ActorAtItem { id, actor } => (2, id, actor),
    };
    hasher.write_u64(u64::from(key.database) << 32 | u64::from(kind));
    hasher.write_i64(key.per_us);
    hasher.write_usize(first.len());
    hasher.write(first);
    hasher.write(second);
    hasher.finish()
}

/// Takes `cost` from a key's window, if in no interval of its length more than `max` is taken; `cost` 0 takes nothing, and asks for
/// 1. `None` where there is no shared memory.
pub fn take(key: &LimitKey<'_>, max: u32, cost: u32) -> Option<Taken> {
    let limits = limits()?;
    let asked = cost.max(1);
    if asked > max {
        return Some(Taken::No);
    }
    let fingerprint = limits.fingerprint(key);
    let set = (fingerprint.high % limits.window_sets() as u64) as usize;
    Some(limits.with_window_set(set, |set, now_us| {
        let way = match set.tags.find(fingerprint) {
            Some(way) => way,
            None => match set.tags.find_free(key.database, now_us) {
                Some(_) if cost == 0 => return Taken::Yes,
                Some(way) => {
                    set.tags.claim(way, fingerprint);
                    set.windows[way].clear();
                    way
                }
                None => return limits.refuse(),
            },
        };
        let window = &mut set.windows[way];
        let taken = if cost == 0 {
            window.has_room(now_us, key.per_us, max, asked)
        } else {
            window.take(now_us, key.per_us, max, cost)
        };
        set.tags.busy_until_us[way] = window.empty_at_us(key.per_us);
        if taken { Taken::Yes } else { Taken::No }
    }))
}

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

/// Forgets all limits of a database that is gone: another one may get its number.
pub fn purge_database(database: u32) {
    let Some(limits) = limits() else { return };
    for set in 0..limits.window_sets() {
        limits.with_window_set(set, |set, _| set.tags.purge(database));
    }
    for set in 0..limits.instant_sets() {
        limits.with_instant_set(set, |tags, _| tags.purge(database));
    }
}

fn instant_of(limits: &Limits, key: &LimitKey<'_>) -> (Fingerprint, usize) {
    let fingerprint = limits.fingerprint(key);
    (fingerprint, (fingerprint.high % limits.instant_sets() as u64) as usize)
}

/// Shared memory that limits take.
pub fn size_bytes() -> u64 {
    limits().map_or(0, |limits| bytes(limits.window_sets()) as u64)
}

/// Of the whole server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    pub windows_in_use: u64,
    /// What one database can have.
    pub max_windows: u64,
    pub instants_in_use: u64,
    /// Calls that found their set full.
    pub refused: u64,
}

pub fn statistics() -> Option<Statistics> {
    let limits = limits()?;
    let windows = (0..limits.window_sets())
        .map(|set| limits.with_window_set(set, |set, now_us| set.tags.in_use(now_us)))
        .sum();
    let instants = (0..limits.instant_sets())
        .map(|set| limits.with_instant_set(set, |tags, now_us| tags.in_use(now_us)))
        .sum();
    Some(Statistics {
        windows_in_use: windows,
        max_windows: (limits.window_sets() * WAYS_OF_ONE) as u64,
        instants_in_use: instants,
        refused: limits.header().refused.load(Ordering::Relaxed),
    })
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
        let hashes: std::collections::HashSet<u64> = keys.iter().map(|key| hash(key, 7, 8)).collect();
        assert_eq!(hashes.len(), keys.len());
        assert_ne!(hash(&keys[0], 7, 8), hash(&keys[0], 8, 7), "the seeds matter");
    }

    fn empty() -> Tags {
        Tags { low: [0; WAYS], high: [0; WAYS], busy_until_us: [0; WAYS], database: [0; WAYS] }
    }

    #[test]
    fn a_place_is_free_when_its_time_has_come() {
        let mut tags = empty();
        let wanted = Fingerprint { low: 7, high: 8, database: 5 };
        assert_eq!((tags.find(wanted), tags.find_free(5, 0), tags.in_use(0)), (None, Some(0), 0));
        tags.busy_until_us = std::array::from_fn(|way| 100 + way as i64);
        assert_eq!((tags.find_free(5, 99), tags.in_use(99)), (None, WAYS as u64));
        assert_eq!((tags.find_free(5, 100), tags.in_use(100)), (Some(0), WAYS as u64 - 1));
        tags.claim(3, wanted);
        assert_eq!(tags.find(wanted), Some(3));
        assert_eq!(tags.find(Fingerprint { high: 9, ..wanted }), None);
        assert_eq!(tags.find(Fingerprint { database: 6, ..wanted }), None);
    }

    /// Takes places for new keys until there are none to be had; how many.
    fn flood(tags: &mut Tags, database: u32) -> usize {
        let mut taken = 0;
        while let Some(way) = tags.find_free(database, 0) {
            tags.claim(way, Fingerprint { low: taken as u64, high: 1, database });
            tags.busy_until_us[way] = 100;
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_flood_leaves_room_for_other_databases() {
        let mut tags = empty();
        assert_eq!(flood(&mut tags, 1), WAYS_OF_ONE);
        assert_eq!([2, 3].map(|database| flood(&mut tags, database)), [13, 3]);
        assert_eq!(tags.in_use(0), WAYS as u64);
        // The flooder goes; the others may have more, and its number begins with nothing.
        tags.purge(1);
        assert_eq!(tags.in_use(0), 16);
        assert_eq!(tags.find(Fingerprint { low: 0, high: 1, database: 1 }), None);
        assert!(tags.find(Fingerprint { low: 0, high: 1, database: 2 }).is_some());
        assert!(flood(&mut tags, 2) > 30);
    }
}
