//! How a sketch comes into memory, and how it leaves: loading, eviction, invalidation. See the contract of `sketches/mod.rs`.
//!
//! A load has a number, drawn for it alone, which the entry shows while it is being loaded. A loader that finds another
//! number there was overtaken or invalidated: its rows are too old, and it leaves the entry alone. A backend runs at most
//! one load; a load that is dropped without `finish`, or whose transaction aborts, gives its entry back.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::room::{ExclusiveSet, FREE, Hashed, LOADED, LOADING, Room, SketchKey, WAYS, room};
use crate::hll::Sketch;
use crate::pg::process;

/// How long a load may take before another backend begins anew.
const LOAD_PATIENCE_US: i64 = 1_000_000;

thread_local! {
    /// The entry that this backend is loading, and the number of the load.
    static MY_LOAD: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
}

/// A load under way.
pub struct Load<'a> {
    hashed: Hashed<'a>,
    room: Room,
}

/// Makes an entry for a sketch that is not in memory. Rows are to be read under a snapshot taken after this. `None` when
/// the entry is there already, or there is no room.
pub fn begin_load(key: SketchKey<'_>) -> Option<Load<'_>> {
    let room = room()?;
    abandon_load();
    let hashed = Hashed::new(&room, key);
    let mut set = room.lock_exclusive(hashed.set);
    if let Some(number) = set.find(&hashed) {
        let entry = set.entry(number);
        let age_us = process::now_us() - entry.load_began_us.load(Ordering::Relaxed);
        if entry.state.load(Ordering::Relaxed) != LOADING || age_us < LOAD_PATIENCE_US {
            return None;
        }
        // Its loader stands still, and will find that it was overtaken.
        forget(&set, number);
    }
    let number = free_entry(&set)?;
    // Its generation is 0: whoever remembers the entry by an older one looks again.
    set.contents(number).close();
    set.contents(number).clear();
    set.set_key(number, &hashed);
    let load = room.draw_generation();
    let entry = set.entry(number);
    entry.mark_used();
    entry.load.store(load, Ordering::Relaxed);
    entry.load_began_us.store(process::now_us(), Ordering::Relaxed);
    entry.state.store(LOADING, Ordering::SeqCst);
    set.contents(number).open(room.draw_generation());
    room.header().loaded.fetch_add(1, Ordering::Relaxed);
    MY_LOAD.set(Some((number, load)));
    Some(Load { hashed, room })
}

/// A free entry of the set, if need be by evicting one that was not used lately: in two rounds at most.
fn free_entry(set: &ExclusiveSet) -> Option<usize> {
    let room = set.room();
    let is_free = |number: &usize| set.entry(*number).state.load(Ordering::Relaxed) == FREE;
    if let Some(free) = set.numbers().find(is_free) {
        return Some(free);
    }
    for _ in 0..2 * WAYS {
        let way = room.hand(set.set()).fetch_add(1, Ordering::Relaxed) as usize % WAYS;
        let number = set.set() * WAYS + way;
        let entry = set.entry(number);
        if entry.state.load(Ordering::Relaxed) == LOADED && !entry.take_second_chance() {
            forget(set, number);
            room.header().evictions.fetch_add(1, Ordering::Relaxed);
            return Some(number);
        }
    }
    None
}

fn forget(set: &ExclusiveSet, number: usize) {
    set.contents(number).close();
    let entry = set.entry(number);
    entry.load.store(0, Ordering::Relaxed);
    entry.state.store(FREE, Ordering::SeqCst);
    set.room().header().loaded.fetch_sub(1, Ordering::Relaxed);
}

impl Load<'_> {
    /// Adds what the rows hold, and lets readers in.
    pub fn finish(self, rows: &Sketch) {
        let set = self.room.lock_exclusive(self.hashed.set);
        let Some((number, load)) = MY_LOAD.take() else { return };
        let entry = set.entry(number);
        // Forgotten meanwhile, and perhaps begun anew by somebody else: these rows are too old.
        if entry.load.load(Ordering::Relaxed) != load {
            return;
        }
        entry.load.store(0, Ordering::Relaxed);
        set.take_in(number, rows);
        entry.state.store(LOADED, Ordering::SeqCst);
    }
}

/// Gives back the entry that this backend was loading, if any: it failed, or changed its mind.
pub fn abandon_load() {
    let Some((number, load)) = MY_LOAD.take() else { return };
    let Some(room) = room() else { return };
    let set = room.lock_exclusive(number / WAYS);
    if set.entry(number).load.load(Ordering::Relaxed) == load {
        forget(&set, number);
    }
}

/// Forgets a database's sketches of some ids.
pub fn invalidate(database: u32, is_meant: impl Fn(&[u8]) -> bool) {
    let Some(room) = room() else { return };
    if room.header().loaded.load(Ordering::SeqCst) == 0 {
        return;
    }
    for set in 0..room.sets() {
        let set = room.lock_exclusive(set);
        for number in set.numbers() {
            let entry = set.entry(number);
            if entry.state.load(Ordering::Relaxed) != FREE
                && entry.database() == database
                && is_meant(set.id(number))
            {
                forget(&set, number);
            }
        }
    }
}

/// Forgets all sketches of a database that is gone, or whose tables are.
pub fn purge_database(database: u32) {
    invalidate(database, |_| true);
}
