//! How a sketch comes into memory, and how it leaves: loading, invalidation. See the contract of `sketches/mod.rs`.
//!
//! A load has a number, drawn for it alone, which the entry shows while it is being loaded. A loader that finds another
//! number there was overtaken or invalidated: its rows are too old, and it leaves the entry alone. A backend runs at most
//! one load; a load that is dropped without `finish`, or whose transaction aborts, gives its entry back.

use std::cell::Cell;
use std::sync::atomic::{Ordering, fence};

use super::entry::State;
use super::room::{Hashed, SketchKey, Sketches, room, visits_of};
use crate::hll::Sketch;
use crate::pg::process;
use crate::pg::session::session_local;

/// How long a load may take before another backend begins anew.
const LOAD_PATIENCE_US: i64 = 1_000_000;

/// A load of this backend: its entry, and its number.
#[derive(Clone, Copy)]
struct Mine {
    partition: usize,
    index: u32,
    number: u64,
}

session_local! {
    static MY_LOAD: Cell<Option<Mine>> = const { Cell::new(None) };
}

/// A load under way.
pub struct Load {
    room: Sketches,
}

/// Makes an entry for a sketch that is not in memory. Rows are to be read under a snapshot taken after this. `None` when
/// the entry is there already, or there is no room.
pub fn begin_load(key: SketchKey<'_>) -> Option<Load> {
    let room = room()?;
    abandon_load();
    let hashed = Hashed::new(&room, key);
    let now_us = process::now_us();
    let mut partition = room.lock_exclusive(hashed.partition);
    if let Some(index) = partition.find(&hashed) {
        let head = partition.head(index);
        if head.state() != State::Loading || now_us - head.load_began_us() < LOAD_PATIENCE_US {
            return None;
        }
        // Its loader stands still, and will find that it was overtaken.
        partition.forget(index);
    }
    let (index, number) = partition.begin(&hashed, now_us)?;
    MY_LOAD.set(Some(Mine { partition: hashed.partition, index, number }));
    Some(Load { room })
}

impl Load {
    /// Adds what the rows hold, and lets readers in, where there is memory for it.
    pub fn finish(self, rows: &Sketch) {
        let Some(mine) = MY_LOAD.take() else { return };
        let mut partition = self.room.lock_exclusive(mine.partition);
        let head = partition.head(mine.index);
        // Forgotten meanwhile, and perhaps begun anew by somebody else: these rows are too old.
        if head.load() != mine.number {
            return;
        }
        match visits_of(rows) {
            Some(visits) => {
                if partition.take_in(mine.index, visits) {
                    head.finish_load();
                }
            }
            None => partition.forget(mine.index),
        }
    }
}

/// Gives back the entry that this backend was loading, if any: it failed, or changed its mind.
pub fn abandon_load() {
    let Some(mine) = MY_LOAD.take() else { return };
    let Some(room) = room() else { return };
    let mut partition = room.lock_exclusive(mine.partition);
    if partition.head(mine.index).load() == mine.number {
        partition.forget(mine.index);
    }
}

/// Forgets a database's sketches of some ids.
pub fn invalidate(database: u32, is_meant: impl Fn(&[u8]) -> bool) {
    let Some(room) = room() else { return };
    // Who begins to load behind this sees what was committed before it; who began before shows an entry.
    fence(Ordering::SeqCst);
    for partition in (0..room.partitions()).filter(|partition| !room.is_empty(*partition)) {
        room.lock_exclusive(partition).forget_of(database, &is_meant);
    }
}

/// Forgets all sketches of a database that is gone, or whose tables are.
pub fn purge_database(database: u32) {
    invalidate(database, |_| true);
}
