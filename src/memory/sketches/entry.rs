//! What the entry of a sketch holds: two cache lines. An id of up to `INLINE_BYTES` and up to `OWN_WORDS` visitors are in them; a longer
//! id is a body, and so are more visitors. Plain Rust.
//!
//! Contract: every field is an atomic, so that a reference to an entry may exist whatever other processes do. Generation, table and
//! words are used as `contents.rs` says; everything else changes under the partition's exclusive lock, but for the clock bit.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::super::entry::INLINE_BYTES;
use super::super::room::bodies::Body;
use super::super::room::places::Head;
use super::contents::Table;

/// Words of the entry itself, for the first hashes.
pub const OWN_WORDS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Free,
    Loading,
    Loaded,
}

const FREE: u8 = 0;
const LOADING: u8 = 1;
const LOADED: u8 = 2;

/// Whose an entry is, with the hash of all that.
#[derive(Clone, Copy, Debug)]
pub struct WholeKey<'a> {
    pub hash: u64,
    pub database: u32,
    pub relation: u32,
    pub day: i32,
    pub id: &'a [u8],
}

#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct SketchHead {
    pub generation: AtomicU64,
    pub table: AtomicU64,
    hash: AtomicU64,
    /// Who loads it: a number drawn for that load alone, 0 when nobody does.
    load: AtomicU64,
    /// When that load began.
    load_began_us: AtomicI64,
    database: AtomicU32,
    relation: AtomicU32,
    day: AtomicU32,
    next: AtomicU32,
    state: AtomicU8,
    /// Clock bit: asked or added to since the hand last passed.
    used: AtomicU8,
    id_bytes: AtomicU8,
    _unused: u8,
    _unused_too: u32,
    /// Hashes, while they are few.
    own: [AtomicU64; OWN_WORDS],
    /// The id, filled up with zeros; or in the first word the body that has it.
    id: [AtomicU64; INLINE_BYTES / 8],
}

const _: () = {
    assert!(size_of::<SketchHead>() == 128);
    assert!(std::mem::offset_of!(SketchHead, own) == 64);
    assert!(std::mem::offset_of!(SketchHead, id) == 96);
};

impl Head for SketchHead {
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
        self.generation.store(0, Ordering::Relaxed);
        self.table.store(0, Ordering::Relaxed);
        self.load.store(0, Ordering::Relaxed);
        self.state.store(FREE, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }
}

impl SketchHead {
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    pub fn own_words(&self) -> &[AtomicU64] {
        &self.own
    }

    // --- under at least the shared lock ---

    pub fn is_free(&self) -> bool {
        self.state() == State::Free
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            LOADING => State::Loading,
            LOADED => State::Loaded,
            _ => State::Free,
        }
    }

    /// The sketch is in use: the clock gives it a second chance.
    pub fn touch(&self) {
        // A store each time would make the line travel between cores.
        if self.used.load(Ordering::Relaxed) == 0 {
            self.used.store(1, Ordering::Relaxed);
        }
    }

    /// Whether it was in use since this was last asked.
    pub fn take_second_chance(&self) -> bool {
        self.used.swap(0, Ordering::Relaxed) != 0
    }

    /// Where the visitors are.
    pub fn table(&self) -> Table {
        Table::from_bits(self.table.load(Ordering::Relaxed))
    }

    pub fn is_of(&self, key: WholeKey<'_>) -> bool {
        self.hash() == key.hash
            && self.day.load(Ordering::Relaxed) == key.day as u32
            && self.database() == key.database
            && self.relation.load(Ordering::Relaxed) == key.relation
            && self.id_bytes() == key.id.len()
    }

    pub fn load(&self) -> u64 {
        self.load.load(Ordering::Relaxed)
    }

    pub fn load_began_us(&self) -> i64 {
        self.load_began_us.load(Ordering::Relaxed)
    }

    pub fn id_bytes(&self) -> usize {
        usize::from(self.id_bytes.load(Ordering::Relaxed))
    }

    /// The body that has the id, if it is a long one.
    pub fn id_body(&self) -> Option<Body> {
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

    /// The entry is a key's, which somebody begins to load. Its id is to be written.
    pub fn begin(&self, key: WholeKey<'_>, id_body: Option<Body>, load: u64, now_us: i64) {
        self.hash.store(key.hash, Ordering::Relaxed);
        self.database.store(key.database, Ordering::Relaxed);
        self.relation.store(key.relation, Ordering::Relaxed);
        self.day.store(key.day as u32, Ordering::Relaxed);
        self.id_bytes.store(key.id.len() as u8, Ordering::Relaxed);
        self.id[0].store(id_body.map_or(0, |body| u64::from(body.bits())), Ordering::Relaxed);
        self.load.store(load, Ordering::Relaxed);
        self.load_began_us.store(now_us, Ordering::Relaxed);
        self.used.store(1, Ordering::Relaxed);
        self.state.store(LOADING, Ordering::Relaxed);
    }

    pub fn finish_load(&self) {
        self.load.store(0, Ordering::Relaxed);
        self.state.store(LOADED, Ordering::Relaxed);
    }

    /// The entry is nobody's.
    pub fn end(&self) {
        self.load.store(0, Ordering::Relaxed);
        self.state.store(FREE, Ordering::Relaxed);
    }
}
