//! A PostgreSQL memory context as an allocator of Rust's collections.

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use pgrx::pg_sys;

use super::unguarded;

/// What is allocated here is counted as PostgreSQL's own is, and goes with the context, whether it was given back or not.
#[derive(Clone, Copy, Debug)]
pub struct Context(pg_sys::MemoryContext);

/// Every chunk is aligned to this.
const ALIGN: usize = pg_sys::MAXIMUM_ALIGNOF as usize;

impl Context {
    /// # Safety
    /// The context must outlive everything that is allocated in it, and be used by this process's one thread.
    pub unsafe fn new(context: pg_sys::MemoryContext) -> Context {
        Context(context)
    }
}

// SAFETY: a chunk is its owner's until it is given back or the context goes, which outlives all that is allocated in it, by
// the promise of `new`. A copy of a Context allocates from the same. Neither function raises: no layout is larger than
// MaxAllocHugeSize, and no memory is NULL rather than an ERROR.
unsafe impl Allocator for Context {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() > ALIGN {
            return Err(AllocError);
        }
        let flags = (pg_sys::MCXT_ALLOC_NO_OOM | pg_sys::MCXT_ALLOC_HUGE) as i32;
        // SAFETY: a live context.
        let chunk = unsafe { unguarded::MemoryContextAllocExtended(self.0, layout.size(), flags) };
        let start = NonNull::new(chunk.cast::<u8>()).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(start, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, chunk: NonNull<u8>, _layout: Layout) {
        // SAFETY: by the caller's promise a chunk of this context.
        unsafe { unguarded::pfree(chunk.as_ptr().cast()) };
    }
}
