//! Whether something has changed since it was read, without a lock: a number of changes begun, and one of those ended. Plain Rust;
//! `tests/memory_model` runs it in every interleaving.
//!
//! Contract: who changes something counts it as begun before anybody can see any of it, and as ended once all can see all of it, or once
//! it is certain that nobody ever will. Who reads asks first whether nothing is under way, and keeps the number that says so: while it
//! `is_still` that number, no change that came after has shown anything yet. Numbers only rise, and are 64 bits wide: none comes again.

use super::sync::{AtomicU64, Ordering};

/// Changes of one thing. On a cache line of its own.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Generation {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Generation {
    /// Before anybody can see the change.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Everybody sees it, or nobody will.
    pub fn end(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    /// A number for what is read from now on; `None` while a change is under way.
    pub fn at_rest(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::SeqCst);
        (self.ended.load(Ordering::SeqCst) == begun).then_some(begun)
    }

    /// Whether nothing that was read then can be seen otherwise by now.
    pub fn is_still(&self, number: u64) -> bool {
        self.begun.load(Ordering::SeqCst) == number
    }
}
