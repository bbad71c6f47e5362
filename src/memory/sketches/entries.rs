//! Asking sketches in memory, and adding to them. See the contract of `sketches/mod.rs`.

use std::sync::atomic::Ordering;

use super::places::{self, Place};
use super::room::{self, Hashed, LOADED, SketchKey, WORDS, room};
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
    if let Some(place) = places::recall(&hashed)
        && let Some(held) = room.contents(place.number).holds_if(place.generation, hash)
    {
        room.entry(place.number).mark_used();
        return held.into();
    }
    let (held, place) = {
        let set = room.lock_shared(hashed.set);
        let Some(number) = set.find(&hashed) else { return Covers::Unknown };
        let entry = set.entry(number);
        if entry.state.load(Ordering::Relaxed) != LOADED {
            return Covers::Unknown;
        }
        entry.mark_used();
        (set.contents(number).holds(hash), Place { number, generation: entry.generation() })
    };
    places::remember(&hashed, place);
    held.into()
}

/// A loaded sketch, copied.
pub fn get(key: SketchKey<'_>) -> Result<Option<Sketch>, OutOfMemory> {
    let Some(room) = room() else { return Ok(None) };
    let hashed = Hashed::new(&room, key);
    // Nothing is allocated under the lock.
    let mut words = fallible::with_room(WORDS, "a sketch of visitors")?;
    let (hashes, has_zero) = {
        let set = room.lock_shared(hashed.set);
        let Some(number) = set.find(&hashed) else { return Ok(None) };
        let entry = set.entry(number);
        if entry.state.load(Ordering::Relaxed) != LOADED {
            return Ok(None);
        }
        entry.mark_used();
        let contents = set.contents(number);
        contents.copy_words(&mut words);
        (contents.hashes.load(Ordering::Relaxed), contents.has_zero.load(Ordering::Relaxed) != 0)
    };
    room::sketch_of(&words, hashes, has_zero).map(Some)
}

/// Adds committed visits to a sketch that is in memory, loaded or being loaded.
pub fn add(key: SketchKey<'_>, visits: &Sketch) {
    let Some(room) = room() else { return };
    let hashed = Hashed::new(&room, key);
    {
        let set = room.lock_shared(hashed.set);
        let Some(number) = set.find(&hashed) else { return };
        let contents = set.contents(number);
        if contents.are_registers() {
            match (visits.explicit(), visits.registers()) {
                (Some(hashes), _) => hashes.iter().for_each(|hash| contents.raise(*hash as u64)),
                (_, Some(registers)) => contents.raise_all(registers),
                _ => {}
            }
            return;
        }
    }
    let set = room.lock_exclusive(hashed.set);
    if let Some(number) = set.find(&hashed) {
        set.take_in(number, visits);
    }
}
