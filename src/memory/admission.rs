//! Whether a counter that memory has not is to be brought in: at once while there is room, else when it is asked for again.
//!
//! Contract: a segment of its own, of a header and the words of `doorkeeper.rs`, all atomics, read and written without a lock. Nothing
//! depends on what it says but how often counters are loaded. A crash leaves nothing: the segment is made anew with the server.

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::doorkeeper::{Doorkeeper, words_for};
use super::key::{Hashed, Key};
use super::lwlock::lock_for_start;
use super::segment::segment;

const SEGMENT: &std::ffi::CStr = c"counter_ext admission";
const CACHE_LINE: usize = 64;

/// Fills a line of the cache; the words follow it.
#[repr(C, align(64))]
struct Header {
    words: u64,
    sightings: AtomicU64,
}

const _: () = assert!(std::mem::size_of::<Header>() == CACHE_LINE);

static BASE: AtomicPtr<Header> = AtomicPtr::new(std::ptr::null_mut());

fn words() -> usize {
    words_for(crate::settings::max_counters())
}

fn bytes() -> usize {
    CACHE_LINE + std::mem::size_of::<Header>() + words() * std::mem::size_of::<AtomicU64>()
}

/// Asks for memory; called from the request hook.
pub fn request() {
    // SAFETY: called from shmem_request_hook, where this is allowed.
    unsafe { pg_sys::RequestAddinShmemSpace(bytes()) }
}

/// Makes the segment, or finds it made; called from the startup hook.
pub fn start() {
    let mut found = false;
    // SAFETY: called from shmem_startup_hook; the segment is as large as asked for, and all of it is zeroed before anybody else can see
    // the base address.
    unsafe {
        let _held = lock_for_start();
        let raw = pg_sys::ShmemInitStruct(SEGMENT.as_ptr(), bytes(), &mut found) as usize;
        let base = raw.next_multiple_of(CACHE_LINE) as *mut Header;
        if !found {
            std::ptr::write_bytes(base as *mut u8, 0, bytes() - CACHE_LINE);
            (*base).words = words() as u64;
        }
        BASE.store(base, Ordering::Release);
    }
}

fn doorkeeper() -> Option<Doorkeeper<'static>> {
    let base = BASE.load(Ordering::Relaxed);
    if base.is_null() {
        return None;
    }
    // SAFETY: mapped for the life of the process; a constant, and atomics. As many words follow the header as it says.
    unsafe {
        let words = std::slice::from_raw_parts(base.add(1).cast::<AtomicU64>(), (*base).words as usize);
        Some(Doorkeeper::new(words, &(*base).sightings))
    }
}

/// Whether a counter that somebody reads, and that memory has not, is to be loaded.
pub fn admits(key: Key<'_>) -> bool {
    let (Some(segment), Some(doorkeeper)) = (segment(), doorkeeper()) else { return false };
    let hashed = Hashed::new(&segment, key);
    segment.has_free_entry(hashed.partition) || doorkeeper.see(hashed.hash)
}
