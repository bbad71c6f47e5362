//! The segment of limits: where its sets lie, and their locks.
//!
//! Contract: that of the folder. A set is reached by who holds its lock exclusively: `with_window_set` and `with_instant_set` take it, and
//! `together` before it asks `window_set`.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::key::{Fingerprint, LimitKey, LimitSubject, Taken, hash_of_subject};
use super::set::{Tags, WAYS_OF_ONE, WindowSet};
use super::{Guarded, LockGuard, lock_for_start, lwlock};
use crate::pg::{process, random};

/// Sets of instants for each set of windows.
const INSTANT_SETS: usize = 16;
/// Locks that the sets of instants share.
const INSTANT_LOCKS: usize = 128;

const CACHE_LINE: usize = 64;

#[repr(C, align(64))]
struct Header {
    window_sets: u64,
    seeds: [u64; 4],
    locks: *mut pg_sys::LWLockPadded,
    refused: AtomicU64,
}

const _: () = {
    assert!(std::mem::size_of::<Header>() == CACHE_LINE);
    assert!(std::mem::size_of::<WindowSet>().is_multiple_of(CACHE_LINE));
};

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
        let _lock = lock_for_start();
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
pub(super) struct Limits(*mut Header);

pub(super) fn limits() -> Option<Limits> {
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

    pub fn instant_sets(&self) -> usize {
        self.window_sets() * INSTANT_SETS
    }

    pub fn window_set(&self, set: usize) -> &Guarded<WindowSet> {
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

    pub fn lock(&self, number: usize) -> LockGuard {
        assert!(number < self.window_sets() + INSTANT_LOCKS);
        // SAFETY: the tranche has so many locks; no caller holds one already.
        unsafe { lwlock::exclusive(&raw mut (*self.header().locks.add(number)).lock) }
    }

    pub fn with_window_set<T>(&self, set: usize, work: impl FnOnce(&mut WindowSet, i64) -> T) -> T {
        let _lock = self.lock(set);
        // SAFETY: the set's lock is held exclusively, and no closure is given another reference.
        work(unsafe { self.window_set(set).get_mut() }, process::clock_us())
    }

    pub fn with_instant_set<T>(&self, set: usize, work: impl FnOnce(&mut Tags, i64) -> T) -> T {
        let _lock = self.lock(self.window_sets() + set % INSTANT_LOCKS);
        // SAFETY: the set's lock is held exclusively, and no closure is given another reference.
        work(unsafe { self.instant_set(set).get_mut() }, process::clock_us())
    }

    pub fn fingerprint(&self, key: &LimitKey<'_>) -> Fingerprint {
        Fingerprint::new(key, self.header().seeds)
    }

    pub fn hash_of_subject(&self, database: u32, subject: LimitSubject<'_>) -> u64 {
        hash_of_subject(database, subject, self.header().seeds)
    }

    /// Where the windows of a subject are.
    pub fn window_set_of(&self, low: u64) -> usize {
        (low % self.window_sets() as u64) as usize
    }

    pub fn refuse(&self) -> Taken {
        self.header().refused.fetch_add(1, Ordering::Relaxed);
        Taken::NoRoom
    }
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
