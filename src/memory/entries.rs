//! A partition of counters: which entry holds which key, and which one goes for another. Plain Rust.
//!
//! Contract: used under the partition's lock, at least shared; `link`, `unlink` and `seize_victim` under the exclusive one. A long id is in
//! a body that is the entry's from `link` to `unlink`.

use std::sync::atomic::AtomicU64;

use super::entry::{self, Entry, StoredId};
use super::lifecycle::{COLD, LOADED};
use super::room::clock;
use super::room::dirt::Dirt;
use super::room::places::{Head, Places};
use super::room::pool::Pool;

#[derive(Clone, Copy)]
pub struct Entries<'a, P> {
    pub places: Places<'a, Entry>,
    pub dirt: Dirt<'a>,
    pub pool: P,
}

/// All of a key and its hash.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    pub hash: u64,
    pub database: u32,
    pub relation: u32,
    pub id: &'a [u8],
}

impl<'a, P: Pool> Entries<'a, P> {
    pub fn entry(&self, index: u32) -> &'a Entry {
        self.places.head(index)
    }

    /// The entry that holds a key.
    pub fn find(&self, key: Whole<'_>) -> Option<u32> {
        self.places.chain(key.hash).find(|index| {
            let entry = self.entry(*index);
            entry.hash() == key.hash
                && entry.database() == key.database
                && entry.relation() == key.relation
                && entry.id_bytes() == key.id.len()
                && entry::holds_id(self.id_words(*index), key.id)
        })
    }

    /// A copy of the id of the counter that an entry holds.
    pub fn id(&self, index: u32) -> StoredId {
        let mut id = StoredId::EMPTY;
        entry::read_id(self.id_words(index), id.room_for(self.entry(index).id_bytes()));
        id
    }

    fn id_words(&self, index: u32) -> &[AtomicU64] {
        let entry = self.entry(index);
        match entry.body() {
            Some(body) => self.pool.words(body),
            None => entry.inline_id(),
        }
    }

    /// Takes a free entry for a key, and puts it into its bucket's chain; `None` when none is free, or no body for a long id.
    pub fn link(&self, key: Whole<'_>) -> Option<u32> {
        let body = match entry::body_class(key.id.len()) {
            Some(class) => Some(self.pool.allocate(class)?),
            None => None,
        };
        let Some(index) = self.places.take() else {
            body.into_iter().for_each(|body| self.pool.give_back(body));
            return None;
        };
        let entry = self.entry(index);
        entry.set_key(key.hash, key.database, key.relation);
        entry.set_id_place(key.id.len(), body);
        entry::write_id(self.id_words(index), key.id);
        self.places.link(index);
        Some(index)
    }

    /// Takes an entry out of its chain; it is free.
    pub fn unlink(&self, index: u32) {
        self.places.unlink(index);
        if let Some(body) = self.entry(index).body() {
            self.pool.give_back(body);
        }
        self.places.put_back(index);
    }

    /// A clean entry that nobody has used lately, made one that nobody can pin, if the clock finds one that makes room for an id of this
    /// length: where entries are free and it is bodies that are short, one whose body has the same size. Entries that are being
    /// loaded stay.
    pub fn seize_victim(&self, id_bytes: usize) -> Option<u32> {
        let wanted = entry::body_class(id_bytes).filter(|_| self.places.free() > 0);
        let makes_room =
            |entry: &Entry| wanted.is_none() || entry.body().map(|body| self.pool.class(body)) == wanted;
        let entries = self.places.touched();
        let swept = clock::sweep(
            self.places.hand(),
            entries,
            |from| self.dirt.next_clean(from, entries),
            |index| {
                let entry = self.entry(index);
                matches!(entry.state(), LOADED | COLD)
                    && makes_room(entry)
                    && !entry.take_second_chance()
                    && entry.lifecycle().seize()
            },
        );
        self.places.set_hand(swept.hand);
        swept.victim
    }
}
