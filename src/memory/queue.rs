//! A queue of those who wait for whoever leads, without a lock. Plain Rust; `tests/memory_model` runs it in every interleaving.
//!
//! Contract: one word says who came last, and whether somebody leads. Everybody who waits says in a word of its own who came
//! before. Who finds that nobody leads, leads, and is in the queue himself; nobody else takes anything out of it. He leaves only
//! where nobody has come meanwhile, or gives what he has taken to one of those in it, who leads from then on. So somebody leads wherever somebody
//! waits. A member's words are the leader's from `enter` until it is told.

use super::sync::{AtomicU32, Ordering};

/// The end of a list, and a list of none. Members are numbers from 1 on.
pub const NOBODY: u32 = 0;

/// Somebody leads.
const LED: u32 = 1 << 31;

/// The queue whose word this is; 0 in the beginning.
pub struct Queue<'q> {
    pub word: &'q AtomicU32,
}

impl Queue<'_> {
    /// Enters the queue; `before` is told who came before. Whether the caller leads.
    pub fn enter(&self, member: u32, before: &AtomicU32) -> bool {
        debug_assert!(member != NOBODY && member < LED);
        let mut found = self.word.load(Ordering::Relaxed);
        loop {
            before.store(found & !LED, Ordering::Relaxed);
            match self.word.compare_exchange_weak(found, member | LED, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return found & LED == 0,
                Err(now) => found = now,
            }
        }
    }

    /// Takes all out who have come, the last first. For the leader.
    pub fn take(&self) -> u32 {
        self.word.swap(LED, Ordering::SeqCst) & !LED
    }

    /// Whether the leader, who has nobody left, leads no more: nobody has come.
    pub fn leave(&self) -> bool {
        self.word.compare_exchange(LED, NOBODY, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}
