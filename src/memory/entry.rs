//! What the entry of a counter holds: two cache lines. An id of up to `INLINE_BYTES` is in it; a longer one is its body.
//!
//! Contract: every field is an atomic, so that a reference to an entry may exist whatever other processes do. Key and id, the chain and the
//! load cell change under the partition's exclusive lock; `lifecycle.rs` says how value, state, pins and generation are used without it;
//! the rest changes under at least the shared one. An entry is dirty while it has a mark (`marks.rs`): it holds deltas that rows do not
//! have. The first line is what readers and committers touch.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::lifecycle::{FREE, Lifecycle, SEIZED};
use super::room::bodies::{Body, CLASS_BYTES};
use super::room::places::Head;

pub const MAX_ID_BYTES: usize = 255;
/// Ids up to this length take no body.
pub const INLINE_BYTES: usize = 32;
const INLINE_WORDS: usize = INLINE_BYTES / 8;
/// In `load_cell`: none.
pub const NO_CELL: u8 = u8::MAX;

#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Entry {
    /// LOADED: the committed total. LOADING: what was committed since the loader's snapshot, and the buffered deltas
    /// that it did not see. COLD: nothing.
    pub value: AtomicI64,
    /// Buffered deltas that are in the journal, and not in rows; by the parity of their epoch.
    pub unflushed: [AtomicI64; 2],
    /// Buffered deltas that are not in the journal yet; by the parity of their epoch.
    pub unjournaled: [AtomicI64; 2],
    generation: AtomicU64,
    state: AtomicU32,
    /// Transactions about to add to it: it stays. From `SEIZED` on it is free, or being freed, and cannot be pinned.
    pins: AtomicU32,
    /// Committed increments since the rate was last taken.
    increments: AtomicU32,
    /// Clock bit: read or written since the hand last passed.
    used: AtomicU8,
    id_bytes: AtomicU8,
    /// LOADING: the cell of the load.
    load_cell: AtomicU8,
    _unused: u8,
    hash: AtomicU64,
    /// When a buffered delta was last added, within `CHANGE_RESOLUTION_US`, in microseconds since 2000-01-01; 0 before the first.
    changed_at_us: AtomicI64,
    database: AtomicU32,
    relation: AtomicU32,
    next: AtomicU32,
    /// Increments a second, smoothed; the bits of an f32.
    rate: AtomicU32,
    /// The id, filled up with zeros; or in the first word the body that has it.
    id: [AtomicU64; INLINE_WORDS],
}

const _: () = {
    assert!(size_of::<Entry>() == 128);
    assert!(std::mem::offset_of!(Entry, hash) == 64);
    assert!(std::mem::offset_of!(Entry, id) == 96);
};

/// How often a hot counter's committers write when it changed: its line stays shared among them for that long.
const CHANGE_RESOLUTION_US: i64 = 100_000;

impl Head for Entry {
    fn hash(&self) -> u64 {
        self.hash.load(Ordering::Relaxed)
    }

    fn database(&self) -> u32 {
        self.database.load(Ordering::Relaxed)
    }

    fn next(&self) -> u32 {
        self.next.load(Ordering::Relaxed)
    }

    fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Relaxed);
    }

    fn start(&self) {
        self.pins.store(SEIZED, Ordering::Relaxed);
        self.generation.store(0, Ordering::Relaxed);
        self.state.store(FREE, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }
}

impl Entry {
    pub fn lifecycle(&self) -> Lifecycle<'_> {
        Lifecycle { value: &self.value, state: &self.state, pins: &self.pins, generation: &self.generation }
    }

    pub fn state(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// The oid of the table of totals that the counter is in.
    pub fn relation(&self) -> u32 {
        self.relation.load(Ordering::Relaxed)
    }

    // --- under at least the shared lock ---

    /// The counter is in use: the clock gives it a second chance.
    pub fn touch(&self) {
        // Written only when it changes: readers of a hot counter keep its line shared.
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }

    /// Whether it was in use since this was last asked.
    pub fn take_second_chance(&self) -> bool {
        self.used.swap(0, Ordering::Relaxed) != 0
    }

    /// Notes increments for the rate.
    pub fn note_increments(&self, increments: u64) {
        let increments = u32::try_from(increments).unwrap_or(u32::MAX >> 1);
        self.increments.fetch_add(increments, Ordering::Relaxed);
    }

    /// Takes what was noted since this was last called, in `elapsed_s`; the newest interval weighs `smoothing`.
    pub fn take_rate(&self, elapsed_s: f64, smoothing: f64) {
        let now = f64::from(self.increments.swap(0, Ordering::Relaxed)) / elapsed_s.max(1e-3);
        let rate = self.increments_per_s();
        let smoothed = rate + smoothing * (now - rate);
        self.rate.store((smoothed as f32).to_bits(), Ordering::Relaxed);
    }

    pub fn increments_per_s(&self) -> f64 {
        f64::from(f32::from_bits(self.rate.load(Ordering::Relaxed)))
    }

    /// Notes that the counter changed.
    pub fn note_change(&self, at_us: i64) {
        if at_us - self.changed_at_us() >= CHANGE_RESOLUTION_US {
            self.changed_at_us.store(at_us, Ordering::Relaxed);
        }
    }

    pub fn changed_at_us(&self) -> i64 {
        self.changed_at_us.load(Ordering::Relaxed)
    }

    pub fn load_cell(&self) -> Option<u8> {
        Some(self.load_cell.load(Ordering::Relaxed)).filter(|cell| *cell != NO_CELL)
    }

    pub fn id_bytes(&self) -> usize {
        usize::from(self.id_bytes.load(Ordering::Relaxed))
    }

    /// The body that has the id, if it is a long one.
    pub fn body(&self) -> Option<Body> {
        if self.id_bytes() <= INLINE_BYTES {
            return None;
        }
        Body::from_bits(self.id[0].load(Ordering::Relaxed) as u32)
    }

    /// The words of a short id.
    pub fn inline_id(&self) -> &[AtomicU64] {
        &self.id
    }

    // --- under the exclusive lock ---

    /// All of a key but its id.
    pub fn set_key(&self, hash: u64, database: u32, relation: u32) {
        self.hash.store(hash, Ordering::Relaxed);
        self.database.store(database, Ordering::Relaxed);
        self.relation.store(relation, Ordering::Relaxed);
    }

    /// The id's length, and the body that has it if it is a long one.
    pub fn set_id_place(&self, id_bytes: usize, body: Option<Body>) {
        self.id_bytes.store(id_bytes as u8, Ordering::Relaxed);
        self.id[0].store(body.map_or(0, |body| u64::from(body.bits())), Ordering::Relaxed);
    }

    pub fn set_load_cell(&self, cell: Option<u8>) {
        self.load_cell.store(cell.unwrap_or(NO_CELL), Ordering::Relaxed);
    }

    /// The entry is another counter's from here on, which has not changed yet.
    pub fn forget_counts(&self) {
        self.increments.store(0, Ordering::Relaxed);
        self.rate.store(0, Ordering::Relaxed);
        self.changed_at_us.store(0, Ordering::Relaxed);
        for amounts in [&self.unflushed, &self.unjournaled] {
            amounts.iter().for_each(|amount| amount.store(0, Ordering::Relaxed));
        }
    }
}

/// An id of at most `MAX_ID_BYTES`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct StoredId {
    length: u8,
    bytes: [u8; MAX_ID_BYTES],
}

impl StoredId {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub const EMPTY: StoredId = StoredId { length: 0, bytes: [0; MAX_ID_BYTES] };

    /// Room for an id of this length.
    pub fn room_for(&mut self, length: usize) -> &mut [u8] {
        self.length = length as u8;
        &mut self.bytes[..length]
    }
}

/// The size of body that an id needs; `None` for one that needs none.
pub fn body_class(id_bytes: usize) -> Option<usize> {
    if id_bytes <= INLINE_BYTES {
        return None;
    }
    CLASS_BYTES.iter().position(|bytes| *bytes >= id_bytes)
}

/// Whether words hold an id, filled up with zeros where it is shorter than they are.
pub fn holds_id(words: &[AtomicU64], id: &[u8]) -> bool {
    let (whole, rest) = id.as_chunks::<8>();
    let same = |at: usize, word: u64| words[at].load(Ordering::Relaxed) == word;
    whole.iter().enumerate().all(|(at, bytes)| same(at, u64::from_le_bytes(*bytes)))
        && (rest.is_empty() || same(whole.len(), last_word(rest)))
}

/// Puts an id into words, of which there are enough.
pub fn write_id(words: &[AtomicU64], id: &[u8]) {
    let (whole, rest) = id.as_chunks::<8>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        words[whole.len()].store(last_word(rest), Ordering::Relaxed);
    }
}

/// Copies an id out of words.
pub fn read_id(words: &[AtomicU64], into: &mut [u8]) {
    for (word, bytes) in words.iter().zip(into.chunks_mut(8)) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..bytes.len()]);
    }
}

fn last_word(rest: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_are_themselves_in_words(id in prop::collection::vec(any::<u8>(), 1..256), other in prop::collection::vec(any::<u8>(), 1..256)) {
            let room = body_class(id.len()).map_or(INLINE_BYTES, |class| CLASS_BYTES[class]);
            prop_assert!(room >= id.len());
            // Whatever another one left.
            let words: Vec<AtomicU64> = (0..room / 8).map(|_| AtomicU64::new(u64::MAX)).collect();
            write_id(&words, &id);
            prop_assert!(holds_id(&words, &id));
            if other.len() == id.len() {
                prop_assert_eq!(holds_id(&words, &other), other == id);
            }
            let mut read = vec![0; id.len()];
            read_id(&words, &mut read);
            prop_assert_eq!(read, id);
        }
    }
}
