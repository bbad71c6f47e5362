//! PostgreSQL's lightweight locks. A lock is held while its guard lives.
//!
//! Contract: PostgreSQL holds interrupts off while a lightweight lock is held, and its abort releases all of them. So an
//! `ERROR` that unwinds past a guard leaves the release to the abort.

use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // lwlock.h. Without the guard that pgrx's bindings put round every call: the only error that acquiring knows, too
    // many locks at once, cannot happen to those who take a few.
    fn LWLockAcquire(lock: *mut pg_sys::LWLock, mode: pg_sys::LWLockMode::Type) -> bool;
    fn LWLockRelease(lock: *mut pg_sys::LWLock);
}

/// A held lock. After a PostgreSQL `ERROR` the transaction's abort releases it, so a drop while unwinding does not.
pub(super) struct LockGuard(*mut pg_sys::LWLock);

/// # Safety
/// `lock` must be an initialised lock of the segment that this process does not hold.
pub(super) unsafe fn shared(lock: *mut pg_sys::LWLock) -> LockGuard {
    // SAFETY: by the caller's promise.
    unsafe { LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED) };
    LockGuard(lock)
}

/// # Safety
/// `lock` must be an initialised lock of the segment that this process does not hold.
pub(super) unsafe fn exclusive(lock: *mut pg_sys::LWLock) -> LockGuard {
    // SAFETY: by the caller's promise.
    unsafe { LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) };
    LockGuard(lock)
}

/// As `exclusive`, but gives up where it would wait.
///
/// # Safety
/// As for `exclusive`.
pub(super) unsafe fn try_exclusive(lock: *mut pg_sys::LWLock) -> Option<LockGuard> {
    // SAFETY: by the caller's promise.
    unsafe { pg_sys::LWLockConditionalAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE) }
        .then(|| LockGuard(lock))
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: acquired by the constructor, released once.
            unsafe { LWLockRelease(self.0) }
        }
    }
}

/// What keeps two processes from making a segment at once.
///
/// # Safety
/// Only from shmem_startup_hook, one at a time.
pub(super) unsafe fn lock_for_start() -> LockGuard {
    // SAFETY: a lock of the server's own array, which is there before the hook is called.
    unsafe { exclusive(&raw mut (*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock) }
}

/// lwlocklist.h; the same number in every supported version.
const ADDIN_SHMEM_INIT_LOCK: usize = 21;
