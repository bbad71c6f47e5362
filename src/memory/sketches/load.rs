//! Entries that come, and go: loading, eviction, invalidation. See the contract of the room.

use super::entries::{clear, take_in};
use super::*;

/// A load under way. Dropped before `finish`, it gives the entry back.
pub struct Load<'a> {
    hashed: Hashed<'a>,
    all: Sketches,
}

/// Makes an entry for a sketch that is not in memory. Rows are to be read under a snapshot taken after this. `None` when
/// the entry is there already, or there is no room.
pub fn begin_load(key: SketchKey<'_>) -> Option<Load<'_>> {
    let all = sketches()?;
    abandon_load();
    let hashed = Hashed::new(&all, key);
    let _held = all.lock_exclusive(hashed.set);
    if let Some(number) = hashed.find(&all) {
        // SAFETY: exclusive under the set's lock.
        let entry = unsafe { &*all.entry(number) };
        let age_us = process::now_us() - entry.load_began_us.load(Ordering::Relaxed);
        if entry.state.load(Ordering::Relaxed) != LOADING || age_us < LOAD_PATIENCE_US {
            return None;
        }
        // Its loader stands still, and will find that it was overtaken.
        forget(&all, number);
    }
    let number = free_entry(&all, hashed.set)?;
    // Its generation is 0: who remembers it by an older one looks again.
    fence(Ordering::SeqCst);
    clear(&all, number);
    let load = all.draw_generation();
    // SAFETY: exclusive under the set's lock, and free.
    unsafe {
        let entry = all.entry(number);
        (*entry).hash = hashed.hash;
        (*entry).database = key.database;
        (*entry).relation = key.relation;
        (*entry).day = key.day;
        (*entry).id_length = key.id.len() as u8;
        let stored = &mut (*entry).id;
        stored[..key.id.len()].copy_from_slice(key.id);
        (*entry).hashes.store(0, Ordering::Relaxed);
        (*entry).has_zero.store(0, Ordering::Relaxed);
        (*entry).used.store(1, Ordering::Relaxed);
        (*entry).load.store(load, Ordering::Relaxed);
        (*entry).load_began_us.store(process::now_us(), Ordering::Relaxed);
        (*entry).state.store(LOADING, Ordering::SeqCst);
        (*entry).generation.store(all.draw_generation(), Ordering::SeqCst);
    }
    all.header().loaded.fetch_add(1, Ordering::Relaxed);
    LOADS.set(Some((number, load)));
    Some(Load { hashed, all })
}

/// A free entry of the set, if need be by evicting one that was not used lately. The caller holds the exclusive lock.
fn free_entry(all: &Sketches, set: usize) -> Option<usize> {
    // SAFETY: exclusive under the set's lock.
    let entry = |number: usize| unsafe { &*all.entry(number) };
    let mut numbers = set * WAYS..(set + 1) * WAYS;
    if let Some(free) = numbers.find(|number| entry(*number).state.load(Ordering::Relaxed) == FREE) {
        return Some(free);
    }
    for _ in 0..2 * WAYS {
        let way = all.hand(set).fetch_add(1, Ordering::Relaxed) as usize % WAYS;
        let number = set * WAYS + way;
        let candidate = entry(number);
        if candidate.state.load(Ordering::Relaxed) == LOADED && candidate.used.swap(0, Ordering::Relaxed) == 0
        {
            forget(all, number);
            all.header().evictions.fetch_add(1, Ordering::Relaxed);
            return Some(number);
        }
    }
    None
}

/// The caller holds the exclusive lock.
fn forget(all: &Sketches, number: usize) {
    // SAFETY: exclusive under the set's lock.
    let entry = unsafe { &*all.entry(number) };
    entry.generation.store(0, Ordering::SeqCst);
    entry.load.store(0, Ordering::Relaxed);
    entry.state.store(FREE, Ordering::SeqCst);
    all.header().loaded.fetch_sub(1, Ordering::Relaxed);
}

impl Load<'_> {
    /// Adds what the rows hold, and lets readers in.
    pub fn finish(self, rows: &Sketch) {
        let Load { hashed, all } = self;
        let _held = all.lock_exclusive(hashed.set);
        let Some((number, load)) = LOADS.take() else { return };
        // SAFETY: exclusive under the set's lock.
        let entry = unsafe { &*all.entry(number) };
        // Forgotten meanwhile, and perhaps begun anew by somebody else: these rows are too old.
        if entry.load.load(Ordering::Relaxed) != load {
            return;
        }
        entry.load.store(0, Ordering::Relaxed);
        take_in(&all, number, rows);
        entry.state.store(LOADED, Ordering::SeqCst);
    }
}

/// Gives back the entry that this backend was loading, if any: it failed, or changed its mind.
pub fn abandon_load() {
    let Some((number, load)) = LOADS.take() else { return };
    let Some(all) = sketches() else { return };
    let _held = all.lock_exclusive(number / WAYS);
    // SAFETY: exclusive under the set's lock.
    let entry = unsafe { &*all.entry(number) };
    if entry.load.load(Ordering::Relaxed) == load {
        forget(&all, number);
    }
}

/// Forgets a database's sketches of some ids.
pub fn invalidate(database: u32, is_meant: impl Fn(&[u8]) -> bool) {
    let Some(all) = sketches() else { return };
    if all.header().loaded.load(Ordering::SeqCst) == 0 {
        return;
    }
    for set in 0..all.sets() {
        let _held = all.lock_exclusive(set);
        for number in set * WAYS..(set + 1) * WAYS {
            // SAFETY: exclusive under the set's lock.
            let entry = unsafe { &*all.entry(number) };
            if entry.state.load(Ordering::Relaxed) != FREE
                && entry.database == database
                && is_meant(&entry.id[..usize::from(entry.id_length)])
            {
                forget(&all, number);
            }
        }
    }
}
