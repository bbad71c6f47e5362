//! Asking sketches in memory, and adding to them. See the contract of `sketches/mod.rs`.

use super::entry::State;
use super::places::{self, Place};
use super::room::{Hashed, SketchKey, room, sketch_of, visits_of};
use crate::fallible::{self, OutOfMemory};
use crate::hll::Sketch;

/// What an entry says about a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    Yes,
    No,
    /// The sketch is not in memory.
    Unknown,
}

impl From<bool> for Covers {
    fn from(held: bool) -> Covers {
        if held { Covers::Yes } else { Covers::No }
    }
}

/// Whether a loaded sketch has seen the hash, or cannot tell it from one it has.
pub fn covers(key: SketchKey<'_>, hash: u64) -> Covers {
    let Some(room) = room() else { return Covers::Unknown };
    let hashed = Hashed::new(&room, key);
    if let Some(place) = places::recall(&hashed) {
        let head = room.head(hashed.partition, place.index);
        if let Some(held) = room.contents(head).holds_if(place.generation, hash) {
            head.touch();
            return held.into();
        }
    }
    let (held, place) = {
        let partition = room.lock_shared(hashed.partition);
        let Some(index) = partition.find(&hashed) else { return Covers::Unknown };
        let head = partition.head(index);
        if head.state() != State::Loaded {
            return Covers::Unknown;
        }
        head.touch();
        (partition.contents(index).holds(hash), Place { index, generation: head.generation() })
    };
    places::remember(&hashed, place);
    held.into()
}

/// Whether a sketch that somebody asks, and that memory has not, is to be loaded: while there is room for it, else when it is asked again.
pub fn admits(key: SketchKey<'_>) -> bool {
    room().is_some_and(|room| room.admits(Hashed::new(&room, key).hash))
}

/// A loaded sketch, copied.
pub fn get(key: SketchKey<'_>) -> Result<Option<Sketch>, OutOfMemory> {
    let Some(room) = room() else { return Ok(None) };
    let hashed = Hashed::new(&room, key);
    // Nothing is allocated under the lock: what was not enough is made more, as the sketch may have grown, each time by a size at least.
    let mut words = Vec::new();
    loop {
        let copied = {
            let partition = room.lock_shared(hashed.partition);
            let Some(index) = partition.find(&hashed) else { return Ok(None) };
            let head = partition.head(index);
            if head.state() != State::Loaded {
                return Ok(None);
            }
            head.touch();
            let contents = partition.contents(index);
            contents.copy_words(&mut words)
        };
        match copied {
            Ok(table) => return sketch_of(table, &words).map(Some),
            Err(wanted) => words = fallible::with_room(wanted, "a sketch of visitors")?,
        }
    }
}

/// Adds committed visits to a sketch that is in memory, loaded or being loaded.
pub fn add(key: SketchKey<'_>, visits: &Sketch) {
    let Some(room) = room() else { return };
    let Some(visits) = visits_of(visits) else { return };
    let hashed = Hashed::new(&room, key);
    {
        let partition = room.lock_shared(hashed.partition);
        let Some(index) = partition.find(&hashed) else { return };
        if partition.raise(index, visits) {
            return;
        }
    }
    let mut partition = room.lock_exclusive(hashed.partition);
    if let Some(index) = partition.find(&hashed) {
        partition.take_in(index, visits);
    }
}
