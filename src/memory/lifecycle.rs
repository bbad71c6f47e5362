//! An entry's life, as it looks to those who use the entry without a lock: its value, state, pins and generation.
//! Plain Rust; `tests/memory_model` runs every interleaving of it under loom.
//!
//! Contract:
//!
//! - An entry is begun, loaded, cooled and ended under its partition's exclusive lock. Everybody else may read its value
//!   or pin it without a lock, if they remember its generation from an earlier look under the lock.
//! - The generation is drawn anew, and never twice, whenever the entry begins, ends or loses its total. A reader that
//!   finds the same generation before and after it read the value therefore read this counter's total.
//! - A pin keeps the entry from being ended. Whoever ends it seizes the pins first, from none to `SEIZED` in one step.
//!   Whoever pins first and then finds it seized, or of another generation, takes the pin back. So a pin that is kept and
//!   an end exclude each other.

use super::sync::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// Nobody's.
pub const FREE: u32 = 0;
/// A loader sums its rows.
pub const LOADING: u32 = 1;
/// Its value is the committed total.
pub const LOADED: u32 = 2;
/// It holds buffered deltas, or is pinned; its total is not known.
pub const COLD: u32 = 3;

/// Added to the pins of an entry that is free or being freed.
pub const SEIZED: u32 = 1 << 31;

/// What of an entry is used without a lock.
#[derive(Clone, Copy)]
pub struct Lifecycle<'a> {
    pub value: &'a AtomicI64,
    pub state: &'a AtomicU32,
    pub pins: &'a AtomicU32,
    pub generation: &'a AtomicU64,
}

impl Lifecycle<'_> {
    // --- without a lock ---

    /// The total, if the entry is of this generation and has been loaded all the while.
    pub fn read(self, generation: u64) -> Option<i64> {
        if !self.is_loaded(generation) {
            return None;
        }
        let value = self.value.load(Ordering::SeqCst);
        self.is_loaded(generation).then_some(value)
    }

    fn is_loaded(self, generation: u64) -> bool {
        self.generation.load(Ordering::SeqCst) == generation && self.state.load(Ordering::SeqCst) == LOADED
    }

    /// Pins the entry if it is of this generation.
    pub fn try_pin(self, generation: u64) -> bool {
        let before = self.pins.fetch_add(1, Ordering::SeqCst);
        let is_ours = before < SEIZED && self.generation.load(Ordering::SeqCst) == generation;
        if !is_ours {
            self.unpin();
        }
        is_ours
    }

    pub fn unpin(self) {
        self.pins.fetch_sub(1, Ordering::SeqCst);
    }

    // --- under the partition's lock, at least shared ---

    pub fn pin(self) {
        self.pins.fetch_add(1, Ordering::SeqCst);
    }

    // --- under the partition's exclusive lock ---

    /// Makes it an entry that nobody can pin, unless somebody has.
    pub fn seize(self) -> bool {
        self.pins.compare_exchange(0, SEIZED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// As `seize`, in spite of pins: for a counter whose tables are gone, so that nobody will add to it.
    pub fn seize_in_spite_of_pins(self) {
        self.pins.fetch_add(SEIZED, Ordering::SeqCst);
    }

    /// The seized entry is nobody's any more.
    pub fn end(self) {
        self.generation.store(0, Ordering::SeqCst);
        self.state.store(FREE, Ordering::SeqCst);
        // Whoever reads what the next owner writes finds the generation gone when it looks again.
        fence(Ordering::SeqCst);
    }

    /// The free entry is a new counter's: LOADING or COLD. Its key is in place.
    pub fn begin(self, state: u32, generation: u64) {
        self.value.store(0, Ordering::SeqCst);
        self.state.store(state, Ordering::SeqCst);
        self.generation.store(generation, Ordering::SeqCst);
        self.pins.fetch_sub(SEIZED, Ordering::SeqCst);
    }

    /// The entry is about to get its total.
    pub fn load_begins(self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
        self.state.store(LOADING, Ordering::SeqCst);
    }

    /// The entry has its total.
    pub fn load_ends(self, total: i64) {
        self.value.store(total, Ordering::SeqCst);
        self.state.store(LOADED, Ordering::SeqCst);
    }

    /// The entry's total is not known any more. A load under way finds by the generation that it is not wanted.
    pub fn cool(self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
        self.state.store(COLD, Ordering::SeqCst);
    }
}
