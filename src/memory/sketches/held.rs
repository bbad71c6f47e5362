//! A partition of sketches: which entry holds which key, how an entry grows, and which one goes for another. Plain Rust.
//!
//! A sketch has room for four visitors in its entry. The fifth takes it to a body, which grows by sizes (`room/bodies.rs`) to a whole
//! page: that is 16 kB, a table of up to 1280 hashes, and after them registers. Where there is no body of a size, one or two sizes more
//! will do; then a sketch goes that was not used lately and has such a body; and if there is none, the sketch itself, so that rows answer.
//! Pages are kept for whole ones (`PoolHead::keep_for_whole`), so that a flood of small sketches does not keep large ones out.
//!
//! Nothing is ever dirty: rows hold every committed visit, so an entry may go at any time.
//!
//! Contract: used under the partition's lock, at least shared; what says so, under the exclusive one. A body is its entry's from the
//! allocation until it is given back, which is behind `close`; nothing is written to a new one but behind a fence (`contents.rs`).

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::super::entry::{self, StoredId, body_class};
use super::super::room::bodies::{Body, CLASS_BYTES, WHOLE_PAGE};
use super::super::room::clock;
use super::super::room::places::Places;
use super::super::room::pool::Pool;
use super::contents::{Contents, LANES, MAX_HASHES, Rank, Table, WordsOf, max_hashes};
use super::entry::{OWN_WORDS, SketchHead, State, WholeKey};

/// Words of registers, and of the largest table.
pub const WORDS: usize = CLASS_BYTES[WHOLE_PAGE] / 8;
/// Registers of a visitors' sketch.
pub const REGISTERS: usize = WORDS * LANES;
/// A body may be larger than it needs to be by so many sizes.
const SPARE_CLASSES: usize = 2;

const _: () = {
    assert!(REGISTERS == 1 << 14);
    assert!(max_hashes(WORDS) == MAX_HASHES);
    assert!(OWN_WORDS < CLASS_BYTES[0] / 8);
};

/// Visits to add.
#[derive(Clone, Copy, Debug)]
pub enum Visits<'a> {
    Hashes(&'a [i64]),
    /// One byte each.
    Registers(&'a [u8]),
}

#[derive(Clone, Copy)]
pub struct Held<'a, P> {
    pub places: Places<'a, SketchHead>,
    pub pool: P,
    pub next_generation: &'a AtomicU64,
    /// Entries that went for others.
    pub evictions: &'a AtomicU64,
    pub rank: fn(u64) -> Rank,
}

/// The smallest size of a body that holds so many hashes; a whole page where none does.
pub fn class_for(hashes: usize) -> usize {
    CLASS_BYTES.iter().position(|bytes| max_hashes(bytes / 8) >= hashes).unwrap_or(WHOLE_PAGE)
}

/// Where the words of an entry are.
pub fn words_of<'a>(head: &'a SketchHead, pool: &'a impl Pool, table: Table) -> &'a [AtomicU64] {
    match table.body().and_then(|(bits, class)| Some((Body::from_bits(bits)?, class))) {
        Some((body, class)) => pool.words_of_class(body, class),
        None => head.own_words(),
    }
}

impl<'a, P: Pool> Held<'a, P> {
    pub fn head(&self, index: u32) -> &'a SketchHead {
        self.places.head(index)
    }

    /// What an entry holds, as its generation and the partition's lock let it be used.
    pub fn contents<'s>(&'s self, index: u32) -> Contents<'s, impl WordsOf<'s>, fn(u64) -> Rank> {
        let head = self.head(index);
        let words = move |table| words_of(head, &self.pool, table);
        Contents { generation: &head.generation, table: &head.table, words, rank: self.rank }
    }

    /// The entry that holds a key.
    pub fn find(&self, key: WholeKey<'_>) -> Option<u32> {
        self.places
            .chain(key.hash)
            .find(|index| self.head(*index).is_of(key) && entry::holds_id(self.id_words(*index), key.id))
    }

    /// A copy of the id that an entry is of.
    pub fn id(&self, index: u32) -> StoredId {
        let mut id = StoredId::EMPTY;
        entry::read_id(self.id_words(index), id.room_for(self.head(index).id_bytes()));
        id
    }

    fn id_words(&self, index: u32) -> &[AtomicU64] {
        let head = self.head(index);
        match head.id_body() {
            Some(body) => self.pool.words(body),
            None => head.inline_id(),
        }
    }

    /// Adds to registers, which takes no more than the shared lock; false where there are none.
    pub fn raise(&self, index: u32, visits: Visits<'_>) -> bool {
        let contents = self.contents(index);
        if !contents.are_registers() {
            return false;
        }
        match visits {
            Visits::Hashes(hashes) => hashes.iter().for_each(|hash| contents.raise(*hash as u64)),
            Visits::Registers(registers) => contents.raise_all(registers),
        }
        true
    }

    // --- under the exclusive lock ---

    /// An entry for a key that has none, empty, with the number of its load; if need be another one goes. `None`: there is no room.
    pub fn begin(&self, key: WholeKey<'_>, now_us: i64) -> Option<(u32, u64)> {
        let id_body = match body_class(key.id.len()) {
            Some(class) => Some(self.allocate(class, None)?),
            None => None,
        };
        let taken = self.places.take().or_else(|| {
            self.evict(|_, _| true);
            self.places.take()
        });
        let Some(index) = taken else {
            id_body.into_iter().for_each(|(body, _)| self.pool.give_back(body));
            return None;
        };
        let head = self.head(index);
        let contents = self.contents(index);
        contents.close();
        contents.clear();
        let load = self.draw();
        head.begin(key, id_body.map(|(body, _)| body), load, now_us);
        entry::write_id(self.id_words(index), key.id);
        self.places.link(index);
        contents.open(self.draw());
        Some((index, load))
    }

    /// Adds to an entry, whatever it holds. Where there is no memory for that it is forgotten, and false.
    pub fn take_in(&self, index: u32, visits: Visits<'_>) -> bool {
        let is_done = match visits {
            Visits::Hashes(hashes) => self.add_all(index, hashes),
            Visits::Registers(registers) => {
                let has_registers = self.make_registers(index);
                if has_registers {
                    self.contents(index).raise_all(registers);
                }
                has_registers
            }
        };
        if !is_done {
            self.forget(index);
        }
        is_done
    }

    fn add_all(&self, index: u32, hashes: &[i64]) -> bool {
        for (at, hash) in hashes.iter().enumerate() {
            if self.contents(index).add(*hash as u64) {
                continue;
            }
            // Room for the rest at once; of what is there already a part may be too much.
            let wanted = self.contents(index).table().hashes() + hashes.len() - at;
            let has_grown = if self.size(index) == WORDS {
                self.make_registers(index)
            } else {
                self.grow(index, class_for(wanted.min(MAX_HASHES)))
            };
            if !has_grown || !self.contents(index).add(*hash as u64) {
                return false;
            }
        }
        true
    }

    fn make_registers(&self, index: u32) -> bool {
        if self.contents(index).are_registers() {
            return true;
        }
        let is_whole = self.size(index) == WORDS || self.grow(index, WHOLE_PAGE);
        if is_whole {
            self.contents(index).turn_into_registers(|| self.draw());
        }
        is_whole
    }

    /// Words that an entry has.
    fn size(&self, index: u32) -> usize {
        self.head(index).table().body().map_or(OWN_WORDS, |(_, class)| CLASS_BYTES[class] / 8)
    }

    /// Moves an entry to a larger body, of a size at least.
    fn grow(&self, index: u32, class: usize) -> bool {
        let Some((body, class)) = self.allocate(class, Some(index)) else { return false };
        let smaller = self.body(index);
        self.contents(index).move_to(Table::in_body(body.bits(), class), || self.draw());
        smaller.into_iter().for_each(|body| self.pool.give_back(body));
        true
    }

    fn body(&self, index: u32) -> Option<Body> {
        self.head(index).table().body().and_then(|(bits, _)| Body::from_bits(bits))
    }

    /// A body of a size or a little more, and the number of its size; if need be a sketch goes for it, but not that of `keeps`.
    fn allocate(&self, class: usize, keeps: Option<u32>) -> Option<(Body, usize)> {
        let classes = class..=(class + SPARE_CLASSES).min(WHOLE_PAGE);
        let find = || classes.clone().find_map(|class| Some((self.pool.allocate(class)?, class)));
        let found = find().or_else(|| {
            let would_do = |body: Body| classes.contains(&self.pool.class(body));
            let has_one = |index: u32, head: &SketchHead| {
                Some(index) != keeps
                    && (self.body(index).is_some_and(would_do) || head.id_body().is_some_and(would_do))
            };
            if self.evict(has_one) { find() } else { None }
        })?;
        // What is written to it comes behind what its last owner did to the generation.
        fence(Ordering::SeqCst);
        Some(found)
    }

    /// Forgets a sketch that is wanted and was not used lately, if the clock finds one.
    fn evict(&self, is_wanted: impl Fn(u32, &SketchHead) -> bool) -> bool {
        let touched = self.places.touched();
        if touched == 0 {
            return false;
        }
        let swept = clock::sweep(self.places.hand(), touched, Some, |index| {
            let head = self.head(index);
            head.state() == State::Loaded && is_wanted(index, head) && !head.take_second_chance()
        });
        self.places.set_hand(swept.hand);
        if let Some(victim) = swept.victim {
            self.forget(victim);
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        swept.victim.is_some()
    }

    /// The entry is nobody's.
    pub fn forget(&self, index: u32) {
        let head = self.head(index);
        let contents = self.contents(index);
        contents.close();
        let bodies = [self.body(index), head.id_body()];
        contents.clear();
        self.places.unlink(index);
        head.end();
        self.places.put_back(index);
        bodies.into_iter().flatten().for_each(|body| self.pool.give_back(body));
    }

    fn draw(&self) -> u64 {
        self.next_generation.fetch_add(1, Ordering::Relaxed)
    }
}
