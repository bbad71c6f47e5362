//! What an entry holds: hashes while they are few, then registers; and reading it without a lock. Plain Rust;
//! `tests/memory_model` runs it in every interleaving.
//!
//! Contract:
//!
//! - The bytes are words of 64 bits, and nothing accesses a part of one: a register is a byte of a word, a hash is a
//!   word. Which of the two it is, `hashes` says.
//! - Hashes are added, and turned into registers, under the set's exclusive lock. Registers only rise, and are raised
//!   under at least the shared lock.
//! - Who reads without the lock looks at the generation before and after. It is 0 while the bytes change their meaning or
//!   their owner, and another one afterwards.

use super::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Registers in a word, a byte each.
pub const LANES: usize = 8;
/// In `hashes`: there are registers.
pub const IS_REGISTERS: u32 = u32::MAX;
/// Most hashes of an entry of the common size.
pub const MAX_HASHES: usize = 1280;

/// Most hashes that a table of so many words holds: it is at most five eighths full.
pub const fn max_hashes(words: usize) -> usize {
    words * 5 / 8
}

/// The register that a hash belongs to, and what it raises it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    pub register: usize,
    pub rank: u8,
}

/// An entry's contents. `rank` says where a hash goes once there are registers.
pub struct Contents<'a, F> {
    pub generation: &'a AtomicU64,
    /// Hashes held, not counting the hash 0; `IS_REGISTERS` once there are registers.
    pub hashes: &'a AtomicU32,
    /// Whether the hash 0 is held, which is no word of the table.
    pub has_zero: &'a AtomicU32,
    pub words: &'a [AtomicU64],
    pub rank: F,
}

impl<F: Fn(u64) -> Rank> Contents<'_, F> {
    // --- without a lock ---

    /// Whether the hash is held, if the entry is of this generation and was so all the while.
    pub fn holds_if(&self, generation: u64, hash: u64) -> Option<bool> {
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let held = self.holds(hash);
        fence(Ordering::Acquire);
        (self.generation.load(Ordering::Relaxed) == generation).then_some(held)
    }

    // --- under the set's lock, at least shared ---

    pub fn are_registers(&self) -> bool {
        self.hashes.load(Ordering::Relaxed) == IS_REGISTERS
    }

    pub fn holds(&self, hash: u64) -> bool {
        if self.are_registers() {
            let Rank { register, rank } = (self.rank)(hash);
            self.register(register) >= rank
        } else if hash == 0 {
            self.has_zero.load(Ordering::Relaxed) != 0
        } else {
            self.probe(hash).is_ok()
        }
    }

    fn register(&self, register: usize) -> u8 {
        (self.words[register / LANES].load(Ordering::Relaxed) >> (register % LANES * 8)) as u8
    }

    /// Where the hash is, or where it would go.
    fn probe(&self, hash: u64) -> Result<usize, usize> {
        // The upper bits: the lower ones are what registers are chosen by, and a full table has all of them.
        let places = self.words.len();
        let first = (hash >> 40) as usize % places;
        for step in 0..places {
            let at = (first + step) % places;
            match self.words[at].load(Ordering::Relaxed) {
                0 => return Err(at),
                found if found == hash => return Ok(at),
                _ => {}
            }
        }
        // A table that was read without the lock while it turned into registers: the generation tells.
        Err(first)
    }

    /// Raises a hash's register. There are registers.
    pub fn raise(&self, hash: u64) {
        let Rank { register, rank } = (self.rank)(hash);
        self.raise_word(register / LANES, u64::from(rank) << (register % LANES * 8));
    }

    /// Raises all registers, which come in their order. There are registers.
    pub fn raise_all(&self, registers: &[u8]) {
        for (word, lanes) in registers.as_chunks::<LANES>().0.iter().enumerate() {
            self.raise_word(word, u64::from_le_bytes(*lanes));
        }
    }

    fn raise_word(&self, word: usize, to: u64) {
        let word = &self.words[word];
        let mut held = word.load(Ordering::Relaxed);
        loop {
            let raised = higher_lanes(held, to);
            if raised == held {
                return;
            }
            match word.compare_exchange_weak(held, raised, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => held = now,
            }
        }
    }

    /// Copies the words, which are registers or hashes, into room that the caller has made.
    pub fn copy_words(&self, into: &mut Vec<u64>) {
        debug_assert!(into.capacity() >= self.words.len());
        // BOUND: the caller has made room for all words.
        into.extend(self.words.iter().map(|word| word.load(Ordering::Relaxed)));
    }

    // --- under the set's exclusive lock ---

    /// Adds a hash; `draw` gives the generation that it takes when hashes turn into registers.
    pub fn add(&self, hash: u64, draw: impl FnOnce() -> u64) {
        let held = self.hashes.load(Ordering::Relaxed);
        if held == IS_REGISTERS {
            self.raise(hash);
        } else if hash == 0 {
            self.has_zero.store(1, Ordering::Relaxed);
        } else if let Err(at) = self.probe(hash) {
            let zero = self.has_zero.load(Ordering::Relaxed);
            if (held + zero) as usize >= max_hashes(self.words.len()) {
                self.turn_into_registers(draw);
                self.raise(hash);
            } else {
                self.words[at].store(hash, Ordering::Relaxed);
                self.hashes.store(held + 1, Ordering::Relaxed);
            }
        }
    }

    /// From hashes to registers, for good. Takes no memory but 10 kB of the stack.
    pub fn turn_into_registers(&self, draw: impl FnOnce() -> u64) {
        if self.are_registers() {
            return;
        }
        self.close();
        let mut kept = [0; MAX_HASHES];
        let mut count = 0;
        for word in self.words {
            let hash = word.load(Ordering::Relaxed);
            if hash != 0 {
                kept[count] = hash;
                count += 1;
                word.store(0, Ordering::Relaxed);
            }
        }
        self.hashes.store(IS_REGISTERS, Ordering::Relaxed);
        kept[..count].iter().for_each(|hash| self.raise(*hash));
        if self.has_zero.load(Ordering::Relaxed) != 0 {
            self.raise(0);
        }
        self.open(draw());
    }

    /// From now on what the bytes say is nobody's: whoever reads one that is written after this finds the generation gone.
    pub fn close(&self) {
        self.generation.store(0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The bytes have an owner (again).
    pub fn open(&self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// Empties a closed entry.
    pub fn clear(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.hashes.store(0, Ordering::Relaxed);
        self.has_zero.store(0, Ordering::Relaxed);
    }
}

/// The higher of each pair of bytes.
fn higher_lanes(left: u64, right: u64) -> u64 {
    let (left, right) = (left.to_le_bytes(), right.to_le_bytes());
    u64::from_le_bytes(std::array::from_fn(|lane| left[lane].max(right[lane])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_rise_one_by_one(left: u64, right: u64) {
            let lanes = left.to_le_bytes().into_iter().zip(right.to_le_bytes()).map(|(left, right)| left.max(right));
            prop_assert!(higher_lanes(left, right).to_le_bytes().into_iter().eq(lanes));
            prop_assert_eq!(higher_lanes(higher_lanes(left, right), left), higher_lanes(left, right));
        }
    }

    #[test]
    fn the_common_size_holds_as_many_hashes_as_there_is_room_to_keep() {
        assert_eq!(max_hashes(2048), MAX_HASHES);
    }
}
