//! Bytes in shared memory that a lightweight lock guards.
//!
//! Contract: what is read without a lock is an atomic. Everything else is a `Guarded`, whose contents cannot be named
//! without `unsafe`, so that only the type that proves the lock (`partition.rs`) reaches them. A reference to the struct
//! around a `Guarded` promises nothing about its contents, and may therefore exist while another process writes them.

use std::cell::UnsafeCell;

#[repr(transparent)]
pub(super) struct Guarded<T>(UnsafeCell<T>);

impl<T> Guarded<T> {
    /// # Safety
    /// The caller holds the guarding lock exclusively for as long as the result lives, and has no other reference.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get_mut(&self) -> &mut T {
        // SAFETY: by the caller's promise nobody else reads or writes meanwhile.
        unsafe { &mut *self.0.get() }
    }

    /// For C functions that lock it by themselves.
    pub fn as_ptr(&self) -> *mut T {
        self.0.get()
    }
}
