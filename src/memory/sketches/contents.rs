//! What an entry holds: hashes while they are few, then registers; and reading it without a lock. Plain Rust;
//! `tests/memory_model` runs it in every interleaving.
//!
//! Contract:
//!
//! - The bytes are words of 64 bits, and nothing accesses a part of one: a register is a byte of a word, a hash is a
//!   word. Where they are, how many hashes there are or that there are registers, `Table` says in one word, so that who reads
//!   without a lock has all of that of one moment.
//! - Hashes are added, moved to more words, and turned into registers, under the partition's exclusive lock. Registers only rise,
//!   and are raised under at least the shared lock.
//! - Who reads without the lock looks at the generation before and after. It is 0 while the words change their meaning, their place or
//!   their owner, and another one afterwards. Words are given back only behind `close`, and whoever is given some writes to them
//!   only behind a fence: who reads what another owner wrote finds the generation gone.

use super::sync::{AtomicU64, Ordering, fence};

/// Registers in a word, a byte each.
pub const LANES: usize = 8;
/// Most hashes of a table.
pub const MAX_HASHES: usize = 1280;
/// A table of so many words may be full: it is looked through from end to end.
const FEW_WORDS: usize = 16;

/// Most hashes that a table of so many words holds: a large one is at most five eighths full.
pub const fn max_hashes(words: usize) -> usize {
    if words <= FEW_WORDS { words } else { words * 5 / 8 }
}

/// The register that a hash belongs to, and what it raises it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rank {
    pub register: usize,
    pub rank: u8,
}

/// Where an entry's words are and what they are, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(u64);

/// Of the table's word: from which bit on the size of the body is, plus one.
const CLASS_SHIFT: u32 = 32;
const CLASS_MASK: u64 = 0xFF;
const HAS_ZERO: u64 = 1 << 40;
const HASHES_SHIFT: u32 = 48;
/// In place of the count of hashes: there are registers.
const IS_REGISTERS: u64 = 0xFFFF;

impl Table {
    /// No hashes, in the words of the entry itself.
    pub const EMPTY: Table = Table(0);

    /// No hashes, in a body of a size.
    pub fn in_body(bits: u32, class: usize) -> Table {
        Table(u64::from(bits) | (class as u64 + 1) << CLASS_SHIFT)
    }

    pub fn from_bits(bits: u64) -> Table {
        Table(bits)
    }

    /// The body and the number of its size; `None` where the words are the entry's own.
    pub fn body(self) -> Option<(u32, usize)> {
        let class = (self.0 >> CLASS_SHIFT & CLASS_MASK) as usize;
        Some((self.0 as u32, class.checked_sub(1)?))
    }

    pub fn are_registers(self) -> bool {
        self.0 >> HASHES_SHIFT == IS_REGISTERS
    }

    /// Hashes in the words. There are no registers.
    pub fn hashes(self) -> usize {
        (self.0 >> HASHES_SHIFT) as usize
    }

    /// Whether the hash 0 is held, which is no word of the table.
    pub fn has_zero(self) -> bool {
        self.0 & HAS_ZERO != 0
    }

    fn with_zero(self, has_zero: bool) -> Table {
        Table(self.0 & !HAS_ZERO | if has_zero { HAS_ZERO } else { 0 })
    }

    fn with_count(self, count: u64) -> Table {
        Table(self.0 & !(u64::MAX << HASHES_SHIFT) | count << HASHES_SHIFT)
    }
}

/// Gives the words of a table.
pub trait WordsOf<'a>: Fn(Table) -> &'a [AtomicU64] {}

impl<'a, F: Fn(Table) -> &'a [AtomicU64]> WordsOf<'a> for F {}

/// An entry's contents. `words` are those of a table, and `rank` says where a hash goes once there are registers.
pub struct Contents<'a, W, F> {
    pub generation: &'a AtomicU64,
    pub table: &'a AtomicU64,
    pub words: W,
    pub rank: F,
}

impl<'a, W: WordsOf<'a>, F: Fn(u64) -> Rank> Contents<'a, W, F> {
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

    // --- under the partition's lock, at least shared ---

    pub fn table(&self) -> Table {
        Table(self.table.load(Ordering::Relaxed))
    }

    pub fn are_registers(&self) -> bool {
        self.table().are_registers()
    }

    pub fn holds(&self, hash: u64) -> bool {
        let table = self.table();
        let words = (self.words)(table);
        if table.are_registers() {
            let Rank { register, rank } = (self.rank)(hash);
            let word = words[register / LANES].load(Ordering::Relaxed);
            (word >> (register % LANES * 8)) as u8 >= rank
        } else if hash == 0 {
            table.has_zero()
        } else {
            probe(words, hash).is_ok()
        }
    }

    /// Raises a hash's register. There are registers.
    pub fn raise(&self, hash: u64) {
        let Rank { register, rank } = (self.rank)(hash);
        let words = (self.words)(self.table());
        raise_word(&words[register / LANES], u64::from(rank) << (register % LANES * 8));
    }

    /// Raises all registers, which come in their order. There are registers.
    pub fn raise_all(&self, registers: &[u8]) {
        let words = (self.words)(self.table());
        for (word, lanes) in words.iter().zip(registers.as_chunks::<LANES>().0) {
            raise_word(word, u64::from_le_bytes(*lanes));
        }
    }

    /// Copies the words, which are registers or hashes, and says which. `Err`: there is no room for so many.
    pub fn copy_words(&self, into: &mut Vec<u64>) -> Result<Table, usize> {
        let table = self.table();
        let words = (self.words)(table);
        if into.capacity() < words.len() {
            return Err(words.len());
        }
        // BOUND: there is room for all words.
        into.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
        Ok(table)
    }

    // --- under the partition's exclusive lock ---

    /// Adds a hash; false where the words have no room for it.
    #[must_use]
    pub fn add(&self, hash: u64) -> bool {
        let table = self.table();
        if table.are_registers() {
            self.raise(hash);
            return true;
        }
        if hash == 0 {
            self.set_table(table.with_zero(true));
            return true;
        }
        let words = (self.words)(table);
        match probe(words, hash) {
            Ok(_) => true,
            Err(at) if table.hashes() < max_hashes(words.len()) => {
                words[at].store(hash, Ordering::Relaxed);
                self.set_table(table.with_count(table.hashes() as u64 + 1));
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the hashes to another place, an empty table with room for them; `draw` gives the generation that it has from then on. The
    /// words that they were in may be given back.
    pub fn move_to(&self, place: Table, draw: impl FnOnce() -> u64) {
        let table = self.table();
        self.close();
        let (from, to) = ((self.words)(table), (self.words)(place));
        to.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        let held = from.iter().map(|word| word.load(Ordering::Relaxed)).filter(|hash| *hash != 0);
        for hash in held {
            if let Err(at) = probe(to, hash) {
                to[at].store(hash, Ordering::Relaxed);
            }
        }
        self.set_table(place.with_zero(table.has_zero()).with_count(table.hashes() as u64));
        self.open(draw());
    }

    /// From hashes to registers, for good: the words are as many as registers need. Takes no memory but 10 kB of the stack.
    pub fn turn_into_registers(&self, draw: impl FnOnce() -> u64) {
        let table = self.table();
        if table.are_registers() {
            return;
        }
        self.close();
        let mut kept = [0; MAX_HASHES];
        let mut count = 0;
        for word in (self.words)(table) {
            let hash = word.load(Ordering::Relaxed);
            if hash != 0 {
                kept[count] = hash;
                count += 1;
                word.store(0, Ordering::Relaxed);
            }
        }
        self.set_table(table.with_count(IS_REGISTERS).with_zero(false));
        kept[..count].iter().for_each(|hash| self.raise(*hash));
        if table.has_zero() {
            self.raise(0);
        }
        self.open(draw());
    }

    /// From now on what the words say is nobody's: whoever reads one that is written after this finds the generation gone.
    pub fn close(&self) {
        self.generation.store(0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The words have an owner (again).
    pub fn open(&self, generation: u64) {
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// A closed entry holds nothing, in its own words.
    pub fn clear(&self) {
        (self.words)(Table::EMPTY).iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.set_table(Table::EMPTY);
    }

    fn set_table(&self, table: Table) {
        self.table.store(table.0, Ordering::Relaxed);
    }
}

/// Where the hash is, or where it would go.
fn probe(words: &[AtomicU64], hash: u64) -> Result<usize, usize> {
    // The upper bits: the lower ones are what registers are chosen by, and a full table has all of them.
    let places = words.len();
    let first = (hash >> 40) as usize % places;
    for step in 0..places {
        let at = (first + step) % places;
        match words[at].load(Ordering::Relaxed) {
            0 => return Err(at),
            found if found == hash => return Ok(at),
            _ => {}
        }
    }
    // Full, or read without the lock while the words changed their meaning: the generation tells.
    Err(first)
}

fn raise_word(word: &AtomicU64, to: u64) {
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

        #[test]
        fn the_parts_of_a_table_are_apart(bits: u32, class in 0usize..9, count in 0..IS_REGISTERS, zero: bool) {
            let table = Table::in_body(bits, class).with_count(count).with_zero(zero);
            prop_assert_eq!(table.body(), Some((bits, class)));
            prop_assert_eq!((table.hashes() as u64, table.has_zero(), table.are_registers()), (count, zero, false));
            let registers = table.with_count(IS_REGISTERS);
            prop_assert!(registers.are_registers());
            prop_assert_eq!(registers.body(), Some((bits, class)));
        }
    }

    #[test]
    fn the_largest_table_holds_as_many_hashes_as_there_is_room_to_keep() {
        assert_eq!(max_hashes(2048), MAX_HASHES);
        assert!((1..4096).all(|words| max_hashes(words) <= max_hashes(words + 1) || words == FEW_WORDS));
    }
}
