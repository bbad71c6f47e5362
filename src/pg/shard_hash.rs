//! The hash by which Citus places rows that are keyed by text: PostgreSQL's own of a text with a deterministic collation.

use std::ffi::c_int;

unsafe extern "C-unwind" {
    // common/hashfn.h; not among pgrx's bindings.
    fn hash_bytes(key: *const u8, length: c_int) -> u32;
}

/// The hash of a text of at most 2 GB, as `hashtext()` gives it.
#[inline]
pub fn of_text(text: &[u8]) -> i32 {
    // SAFETY: reads as many bytes as it is told, which are there; calls nothing, and keeps nothing.
    unsafe { hash_bytes(text.as_ptr(), text.len() as c_int) as i32 }
}
